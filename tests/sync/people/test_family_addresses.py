"""I9: an address that several people of one source share is no evidence, on whatever day they come.

And the plan says whose address a newcomer shares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from sync.run.find import district_row
from sync.views import plans
from tests.kit.sizes import examples
from tests.kit.town import P, Town, child

FAMILY = "the.smiths@a.example"


def sibling(number: int, **more: Any) -> P:
    values = {"family": "Smith", "email": FAMILY, "key": f"f{number}"} | more
    return child(100 + number, **values)


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    return Town(database, tmp_path)


def write(town: Town, *people: P, source: str = "sis") -> None:
    town.write([*(child(n) for n in range(4)), *people], source)


def shared_with(town: Town, plan_id: int) -> dict[str, list[str]]:
    with town.database.read() as connection:
        assert district_row(connection, town.slug)
        return {
            change["external_id"]: sorted(user["name"] for user in change["shares_address_with"])
            for change in plans.iter_changes(connection, plan_id)
            if "shares_address_with" in change
        }


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_sibling_joins_on_a_later_day_and_the_plan_says_whose_address_it_is(
    town: Town, first: int
) -> None:
    siblings = [sibling(n) for n in range(first)]
    write(town, *siblings)
    town.sync(expect="applied")
    write(town, *siblings, sibling(9))
    done = town.sync(expect="applied")
    assert (town.user("f9").status, town.conflicts()) == ("active", [])
    names = [f"Given{100 + n} Smith" for n in range(first)]
    assert shared_with(town, done.plan_ids[0]) == {"f9": sorted(names)}
    assert town.sync().status == "nothing_to_do"


def test_a_sibling_of_somebody_archived_joins(town: Town) -> None:
    write(town, sibling(0))
    town.sync(expect="applied")
    write(town)
    town.sync(expect="applied")
    write(town, sibling(1))
    town.sync(expect="applied")
    assert (town.user("f0").status, town.user("f1").status) == ("archived", "active")


def test_the_same_given_name_with_another_id_is_asked_about(town: Town) -> None:
    write(town, sibling(0))
    town.sync(expect="applied")
    write(town, sibling(0), sibling(0, key="f1", ident="I999"))
    town.sync()
    assert town.user("f1") is None
    assert [row.reason for row in town.conflicts()] == ["email_of_another"]


def test_an_address_of_one_person_of_another_source_is_still_asked_about(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path, ("sis", "second"))
    write(town, sibling(0))
    write(town, source="second")
    town.sync(expect="applied")
    write(town, sibling(1), source="second")
    town.sync()
    assert town.user("f1", "second") is None
    assert [row.reason for row in town.conflicts()] == ["email_of_another"]


def test_an_address_that_several_of_another_source_share_is_no_evidence(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path, ("sis", "second"))
    write(town, sibling(0), sibling(1))
    write(town, source="second")
    town.sync(expect="applied")
    write(town, sibling(2), source="second")
    town.sync(expect="applied")
    assert town.user("f2", "second").status == "active"
    write(town, sibling(2), sibling(0, key="x", ident=""), source="second")
    town.sync()
    assert town.user("x", "second") is None, "with the names of one of them it is asked about"


@pytest.mark.parametrize("first_day", [True, False])
def test_the_names_of_one_who_shares_an_address_are_asked_about(
    database: Database, tmp_path: Path, *, first_day: bool
) -> None:
    town = Town(database, tmp_path, ("sis", "second"))
    write(town, sibling(0), sibling(1))
    if not first_day:
        write(town, source="second")
        town.sync(expect="applied")
    write(town, sibling(0, key="x", ident=""), source="second")
    town.sync()
    assert town.user("x", "second") is None
    assert [row.reason for row in town.conflicts()] == ["email_of_another"]


@settings(max_examples=examples(5, long=100))
@given(
    days=st.lists(
        st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=3),
        min_size=1, max_size=4,
    ),
    adults=st.sets(st.integers(0, 5), max_size=2),
)  # fmt: skip
def test_a_family_is_as_many_people_whatever_the_days_on_which_they_come(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    days: list[list[tuple[bool, int]]],
    adults: set[int],
) -> None:
    town = Town(database, tmp_path_factory.mktemp("family"))
    there: set[int] = set()
    ever: set[int] = set()
    for day in days:
        for comes, number in day:
            there = there | {number} if comes else there - {number}
        ever |= there
        write(
            town,
            *(sibling(n, role="teacher" if n in adults else "student") for n in sorted(there)),
        )
        town.sync()
        if standing := town.ask("SELECT id FROM plans WHERE district_id = :d AND standing"):
            assert standing
            town.approve()
            town.sync()
        assert town.conflicts() == []
        users = {number: town.user(f"f{number}") for number in ever}
        assert len({user.id for user in users.values()}) == len(ever), "two share one account"
        for number in there:
            assert users[number].status == "active", "somebody waits"
            assert users[number].given_name == f"Given{100 + number}"
