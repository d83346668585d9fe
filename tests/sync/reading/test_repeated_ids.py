"""F14: one id on several rows of one reading says what all of its rows say, whatever the order."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from sync.reading.repeated_ids import contradiction
from tests.kit.sizes import examples
from tests.kit.town import P, Town, child


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    return Town(database, tmp_path)


def places(town: Town, key: str) -> set[tuple[str, str]]:
    rows = town.ask(
        "SELECT m.role, s.name FROM memberships m JOIN schools s ON s.id = m.school_id"
        " WHERE m.user_id = :user",
        user=town.user(key).id,
    )
    return {(row.role, row.name) for row in rows}


def findings(town: Town) -> list[tuple[int, str, str]]:
    rows = town.ask(
        'SELECT line, "column" AS col, rule FROM findings WHERE fetch_id = (SELECT MAX(f.id)'
        " FROM fetches f JOIN sources s ON s.id = f.source_id WHERE s.district_id = :d)"
        " ORDER BY line"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        (["userid:State:1", "userid:District:2", None], None),
        (["userid:State:1", "userid:state:2"], "person_key"),
        (["userid:State:1", "master:1"], None),
        (["master:1", "master:2", "userid:State:1"], "person_key"),
    ],
)
def test_somebody_may_have_a_key_of_each_kind(keys: list[str | None], wrong: str | None) -> None:
    for some in itertools.permutations({"person_key": key} for key in keys):
        assert contradiction(some) == wrong


@pytest.mark.parametrize("order", [1, -1])
def test_the_schools_of_all_rows_are_united_whatever_their_order(town: Town, order: int) -> None:
    rows = [child(1), child(1, school="s2")]
    town.write([child(0), *rows[::order]])
    town.sync(expect="applied")
    assert places(town, "k1") == {("student", "Lincoln High"), ("student", "Grant Middle")}
    assert findings(town) == []
    assert town.sync().status == "nothing_to_do"


def test_a_row_that_goes_takes_its_school_along_and_one_that_comes_brings_it(town: Town) -> None:
    both = {("student", "Lincoln High"), ("student", "Grant Middle")}
    town.write([child(0), child(1)])
    town.sync(expect="applied")
    town.write([child(0), child(1), *(child(n) for n in range(2, 9)), child(1, school="s2")])
    town.sync(expect="applied")
    assert places(town, "k1") == both
    town.write([child(0), child(1), *(child(n) for n in range(2, 9))])
    town.sync(expect="applied")
    assert places(town, "k1") == {("student", "Lincoln High")}


@pytest.mark.parametrize(
    ("other", "column"),
    [
        ({"family": "Else"}, "family_name"), ({"ident": "I999"}, "student_number"),
        ({"email": "x@a.example"}, "email"),
    ],
)  # fmt: skip
def test_rows_that_contradict_each_other_leave_their_person_and_are_listed(
    town: Town, other: dict[str, Any], column: str
) -> None:
    town.write([child(0), child(1)])
    town.sync(expect="applied")
    before = town.state()
    town.write([child(0), child(1, grade="11"), child(1, grade="11", **other)])
    town.sync()
    assert town.state() == before
    assert findings(town) == [
        (3, column, "contradicting-rows"), (4, column, "contradicting-rows")
    ]  # fmt: skip
    town.sync()
    assert len(findings(town)) == 2, "they are listed each time"
    town.write([child(0), child(1, grade="11")])
    town.sync(expect="applied")
    assert (town.user("k1").grade, findings(town)) == ("11", [])


def test_somebody_new_whose_rows_contradict_each_other_does_not_join(town: Town) -> None:
    town.write([child(0), child(1), child(1, given="Else")])
    town.sync(expect="applied")
    assert town.user("k1") is None
    assert [rule for _, _, rule in findings(town)] == ["contradicting-rows"] * 2


_ROW = st.builds(
    lambda key, school, role, grade, email, family: child(
        key,
        school=school,
        role=role,
        grade=grade,
        email=email,
        family=family or f"Family{key}",
        ident="" if role == "student" else f"I{key}",
    ),
    st.integers(0, 3),
    st.sampled_from(["s1", "s2"]),
    st.just("teacher"),
    st.sampled_from(["09", "10"]),
    st.sampled_from(["", "mail@a.example"]),
    st.sampled_from(["", "", "", "Else"]),
)


@settings(max_examples=examples(10, long=300))
@given(
    days=st.lists(st.lists(_ROW, min_size=1, max_size=5), min_size=1, max_size=2),
    seed=st.integers(0, 99),
)
def test_what_rows_say_together_depends_on_no_order_and_on_no_shortcut(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    days: list[list[P]],
    seed: int,
) -> None:
    told = []
    mix = random.Random(seed)
    for mixed in (False, True):
        town = Town(database, tmp_path_factory.mktemp("rows"))
        for day in days:
            rows = [*day, *(child(n) for n in range(10, 16))]
            town.write(mix.sample(rows, len(rows)) if mixed else rows)
            town.sync()
            told.append(_told(town))
        if mixed:  # a day's roster says the same after other days as on a first one
            alone = Town(database, tmp_path_factory.mktemp("alone"))
            alone.write([*days[-1], *(child(n) for n in range(10, 16))])
            alone.sync()
            asked = {one.external_id for one in town.conflicts()}  # whose address was another's
            for key, said in _told(alone).items():
                assert key in asked or told[-1][key] == said
    half = len(told) // 2
    assert told[:half] == told[half:]
    for key, said in told[-1].items():
        rows = [row for row in days[-1] if row.key == key]
        if rows and len({row.family for row in rows}) == 1:
            schools = {"s1": "Lincoln High", "s2": "Grant Middle"}
            assert said[2] == {(row.role, schools[row.school]) for row in rows}


def _told(town: Town) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number in range(16):
        user = town.user(f"k{number}")
        if user is not None and user.status == "active":
            found[f"k{number}"] = (user.family_name, user.email, places(town, f"k{number}"))
    return found
