"""I11: a number is compared as written, then without the zeros that a spreadsheet ate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.models import without_zeros
from core.storage.database import Database
from tests.kit.sizes import examples
from tests.kit.town import Town, child


def test_only_the_zeros_of_whole_numbers_are_left_out() -> None:
    assert [without_zeros(value) for value in ("00123", "123", "A012", "0A12", "000", "0")] == [
        "123", "123", "A012", "0A12", "0", "0",
    ]  # fmt: skip


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    town = Town(database, tmp_path, ("sis", "second"))
    town.write([child(n, ident=f"00{n + 1}", email="") for n in range(6)])
    town.write([child(90)], "second")
    town.sync(expect="applied")
    return town


def test_a_number_without_its_zeros_links_where_the_names_agree(town: Town) -> None:
    town.write([child(90), child(3, key="x", ident="4", email="")], "second")
    done = town.sync(expect="applied")
    assert town.user("x", "second").id == town.user("k3").id
    rows = town.ask(
        "SELECT reason FROM changes WHERE plan_id = :p AND action = 'link'", p=done.plan_ids[0]
    )
    assert [row.reason for row in rows] == ["same_number_without_zeros"]


def test_a_number_without_its_zeros_and_other_names_says_nothing(town: Town) -> None:
    town.write([child(90), child(50, key="x", ident="4", email="")], "second")
    town.sync(expect="applied")
    assert town.user("x", "second").id != town.user("k3").id


def test_a_number_as_written_comes_first(town: Town) -> None:
    town.write([*(child(n, ident=f"00{n + 1}", email="") for n in range(6)),
                child(70, ident="4", email="")])  # fmt: skip
    town.sync(expect="applied")
    town.write([child(90), child(70, key="x", ident="4", email="")], "second")
    town.sync(expect="applied")
    assert town.user("x", "second").id == town.user("k70").id


def test_two_who_have_the_number_but_for_its_zeros_are_asked_about(town: Town) -> None:
    town.write([*(child(n, ident=f"00{n + 1}", email="") for n in range(6)),
                child(3, key="twin", ident="0004", email="")])  # fmt: skip
    town.sync()
    town.write([child(90), child(3, key="x", ident="4", email="")], "second")
    town.sync()
    assert town.user("x", "second") is None


@settings(max_examples=examples(5, long=100))
@given(numbers=st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True),
       width=st.integers(2, 6), addresses=st.booleans())  # fmt: skip
def test_whose_very_ids_lost_their_zeros_stay_who_they_are(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int],
    width: int,
    addresses: bool,
) -> None:
    """Where the number is the id itself, the same source brings everybody under another id."""
    town = Town(database, tmp_path_factory.mktemp("zeros"))
    mail = {} if addresses else {"email": ""}
    whole = [child(n, key=f"{n:0{width}}", ident=f"{n:0{width}}", **mail) for n in numbers]
    bare = [row._replace(key=row.key.lstrip("0"), ident=row.ident.lstrip("0")) for row in whole]
    town.write([*whole, child(90)])
    town.sync()
    known = {row.key.lstrip("0"): town.user(row.key).id for row in whole}
    for rows in (bare, whole):  # and the zeros are typed again the next day
        town.write([*rows, child(90)])
        town.sync()
        assert {row.key.lstrip("0"): town.user(row.key).id for row in rows} == known
        assert len(town.users("active")) == len(numbers) + 1


@settings(max_examples=examples(5, long=100))
@given(
    numbers=st.lists(st.integers(1, 40), min_size=1, max_size=5, unique=True),
    width=st.integers(2, 6),
    eaten=st.booleans(),
    first=st.booleans(),
)
def test_a_roster_whose_zeros_were_eaten_doubles_nobody(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    numbers: list[int],
    width: int,
    eaten: bool,
    first: bool,
) -> None:
    town = Town(database, tmp_path_factory.mktemp("zeros"), ("sis", "second"))
    whole = [child(n, ident=f"{n:0{width}}", email="") for n in numbers]
    bare = [row._replace(key=f"x{row.key}", ident=row.ident.lstrip("0") if eaten else row.ident)
            for row in whole]  # fmt: skip
    if first:  # both on the first day
        town.write(whole)
        town.write(bare, "second")
        town.sync()
    else:
        town.write(whole)
        town.sync("sis")
        town.write(bare, "second")
        town.sync()
    assert len(town.users()) == len(numbers)
    for row in whole:
        assert town.user(row.key).id == town.user(f"x{row.key}", "second").id
