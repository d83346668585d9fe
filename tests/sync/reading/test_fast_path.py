"""The fast path and the set-wise path come to the same: evidence, findings, plans, people.

Two installations read the same days. One keeps its vendor-order snapshot, the other is made to
forget it before each reading, so that every row is compared in sets. Or it is made to forget its
fingerprints as well, so that every row is parsed and every fault found anew.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import currently_in_test_context, event, given, settings
from hypothesis import strategies as st

from core.storage.database import Database, open_database
from sync.reading.repeated_ids import CONTRADICTING
from tests.kit.paper import Day, JoinedPaper, Paper, Town
from tests.kit.sizes import examples

IDS = "abcdefghijklmn"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty, migrated database file to copy."""
    path = tmp_path_factory.mktemp("fast") / "template.db"
    database = open_database(f"sqlite:///{path}")
    database.engine.dispose()
    return path


@contextmanager
def two_towns(template: Path, rows: int, *, over: bool = False) -> Iterator[tuple[Town, Town]]:
    """Yield one town that remembers the vendor's order, and one that does not.

    A stretch of the order has ``rows`` rows at most. With ``over`` the second town starts over
    with every reading.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROSTERSYNC_KEY", "0" * 64)
        patch.setattr("sync.reading.order.byte_spans.ROWS", rows)
        patch.setattr("sync.reading.order.page_rows.ROWS", rows)
        patch.setattr("sync.reading.order.page_order.CRUMBS", 1)
        databases = []
        for name in ("fast", "slow"):
            path = Path(folder) / f"{name}.db"
            shutil.copyfile(template, path)
            databases.append(open_database(f"sqlite:///{path}"))
        try:
            slow = Town(databases[1], forgetful=True, over=over)
            yield Town(databases[0], forgetful=False), slow
        finally:
            for database in databases:
                database.engine.dispose()


# -- days


def a_user() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "id": st.sampled_from(IDS),
            "n": st.sampled_from(["Ash", "Birch", "Cedar"]),
            "s": st.sampled_from([None, "s1", "s2"]),
            "r": st.sampled_from(["student", "student", "teacher", "contact"]),
            "e": st.sampled_from([None, None, "one@a.example", "two@a.example"]),
            "x": st.sampled_from([None, None, None, None, None, "bad", "keyless", "gone"]),
        },
        optional={"f": st.sampled_from(IDS)},
    )


def a_role() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "id": st.sampled_from([f"r{n}" for n in range(8)]),
            "o": st.sampled_from(IDS),
            "r": st.sampled_from(["student", "teacher", "contact", "wizard"]),
            "s": st.sampled_from([None, "s1", "s2"]),
            "x": st.sampled_from([None, None, None, None, "bad", "keyless", "gone"]),
        }
    )


def a_school() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "id": st.sampled_from(["s1", "s2", "s3"]),
            "n": st.sampled_from(["Lincoln", "Adams"]),
            "x": st.sampled_from([None, None, None, None, None, "bad", "gone"]),
        }
    )


def clean(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in which each id stands once and nothing is wrong: most days are like that."""
    unique = {row["id"]: {**row, "x": None} for row in rows}
    return list(unique.values())


@st.composite
def edited(
    draw: st.DrawFn, rows: list[dict[str, Any]], row: st.SearchStrategy[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the rows of the next day: a few edits on those of the last."""
    rows = list(rows)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(rows) - 1, 0)))
        match draw(
            st.sampled_from(
                ["insert", "drop", "change", "move", "repeat", "touch", "touch all", "shuffle"]
            )
        ):
            case "insert":
                rows.insert(at, draw(row))
            case "drop" if rows:
                del rows[at]
            case "change" if rows:
                rows[at] = {**draw(row), "id": rows[at]["id"]}
            case "move" if rows:
                rows.insert(draw(st.integers(0, len(rows))), rows.pop(at))
            case "repeat" if rows:
                rows.insert(draw(st.integers(0, len(rows))), rows[at])
            case "touch" if rows:
                rows[at] = {**rows[at], "t": draw(st.integers(0, 3))}
            case "touch all":
                mark = draw(st.integers(0, 3))
                rows = [{**row, "t": mark} for row in rows]
            case "shuffle":
                rows = draw(st.permutations(rows))
    return rows


@st.composite
def some_days(draw: st.DrawFn, joined: bool) -> list[Day]:
    """Draw a few days of one roster."""
    people = draw(st.lists(a_user(), min_size=1, max_size=14))
    day = Day(
        schools=clean(draw(st.lists(a_school(), max_size=3))),
        users=clean(people) if draw(st.booleans()) else people,
        roles=clean(draw(st.lists(a_role(), max_size=8))) if joined else (),
        page_size=draw(st.integers(1, 12)),
    )
    days = [day]
    for _ in range(draw(st.integers(1, 4))):
        day = replace(
            day,
            schools=draw(edited(list(day.schools), a_school())),
            users=draw(edited(list(day.users), a_user())),
            roles=draw(edited(list(day.roles), a_role())) if joined else (),
        )
        served = replace(
            day,
            page_size=draw(st.sampled_from([day.page_size] * 3 + [1, 2, 5, 12])),
            cut_after=draw(st.sampled_from([None] * 6 + [0, 1, 2])),
            delta=draw(st.sampled_from([False] * 5 + [True])),
            absent=draw(
                st.sampled_from([frozenset()] * 6 + [frozenset({"schools"}), frozenset({"users"})])
            ),
            version=draw(st.sampled_from(["1"] * 5 + ["2"])),
        )
        if served.delta:
            served = replace(served, users=served.users[:2], roles=served.roles[:2])
        days.append(served)
    return days


def flags(joined: bool) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "origin": st.sampled_from(["sync", "file"]),
        "partial_is_usable": st.booleans(),
        "scoped_by_role": st.booleans(),
    }
    if not joined:  # no connector that joins rows asks for addresses that stand once
        optional["unique_email"] = st.booleans()
    return st.fixed_dictionaries({"joined": st.just(joined)}, optional=optional)


ROWS = st.sampled_from([1, 2, 3])
"""Rows of a stretch: small ones, so that days of a few people have several."""


def assert_the_same(
    template: Path, days: list[Day], kind: type[Paper], rows: int, **flags: Any
) -> None:
    """Read the days in both towns, and compare after each."""
    with two_towns(template, rows) as (fast, slow):
        for number, day in enumerate(days):
            ends = [town.sync(day, kind, **flags) for town in (fast, slow)]
            assert ends[0] == ends[1], f"day {number}"
            states = [town.state() for town in (fast, slow)]
            for state in states:
                state["findings"] = sorted(map(where_it_was_looked_at, state["findings"]), key=repr)
            for name in states[0]:
                assert states[0][name] == states[1][name], f"{name} after day {number}"
            if currently_in_test_context():
                event(f"status {ends[0]['status']}")
            assert fast.parsed <= slow.parsed


@settings(max_examples=examples(12, long=400))
@given(days=some_days(joined=False), flags=flags(joined=False), rows=ROWS)
def test_the_snapshot_changes_nothing_but_the_time_it_takes(
    template: Path, days: list[Day], flags: dict[str, Any], rows: int
) -> None:
    assert_the_same(template, days, Paper, rows, **flags)


@settings(max_examples=examples(12, long=400))
@given(days=some_days(joined=True), flags=flags(joined=True), rows=ROWS)
def test_the_snapshot_changes_nothing_where_people_are_joined_from_rows(
    template: Path, days: list[Day], flags: dict[str, Any], rows: int
) -> None:
    assert_the_same(template, days, JoinedPaper, rows, **flags)


@settings(max_examples=examples(12, long=400))
@given(days=some_days(joined=True), flags=flags(joined=True), rows=ROWS)
def test_a_fault_of_joined_rows_is_found_on_every_day_that_it_stands(
    template: Path, days: list[Day], flags: dict[str, Any], rows: int
) -> None:
    assert_as_if_read_anew(template, days, rows, **flags)


def assert_as_if_read_anew(template: Path, days: list[Day], rows: int, **flags: Any) -> None:
    """Read the days in both towns, of which one starts over with each, and compare after each."""
    with two_towns(template, rows, over=True) as (fast, slow):
        for number, day in enumerate(days):
            ends = [town.sync(day, JoinedPaper, **flags) for town in (fast, slow)]
            assert ends[0]["status"] == ends[1]["status"], f"day {number}"
            states = [town.state() for town in (fast, slow)]
            faults = [Counter(map(without_place, state.pop("findings"))) for state in states]
            assert faults[0] == faults[1], f"findings after day {number}"
            leave_out_forgotten_prints(*states)
            for state in states:  # two faults are one row or two by their places, see without_place
                state["plans"] = [re.sub('"skipped": [0-9]+', "", repr(p)) for p in state["plans"]]
            assert states[0] == states[1], f"day {number}"
            if currently_in_test_context():
                found = sum("unknown-role" in fault for fault in faults[0])
                event(f"faults of joined rows: {found}")


def leave_out_forgotten_prints(fast: dict[str, Any], slow: dict[str, Any]) -> None:
    """Leave out the prints of records whose print is forgotten until their row is read again.

    Another version of the connector forgets it, and the rows of a stream that is absent that day
    may be known again by the version before.
    """
    forgotten = {record[:2] for record in fast["records"] if record[2] == b""}
    for state in (fast, slow):
        state["records"] = [
            (*record[:2], None, *record[3:]) if record[:2] in forgotten else record
            for record in state["records"]
        ]


def where_it_was_looked_at(finding: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a finding, without its file and line if it is about several rows of one id.

    On the day such a row comes, an earlier one that is unchanged has not been looked at.
    """
    several = finding[4] in (CONTRADICTING, "repeated-id")
    return without_place(finding) if several else finding


def without_place(finding: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a finding without its file and line.

    On the day a row leaves, those that stay and are now at fault need not have been looked at.
    """
    fetch, stream, _, _, rule, message = finding
    return fetch, stream, rule, message


@pytest.mark.parametrize("stream", ["schools", "users"])
@pytest.mark.parametrize("touched", [{}, {"t": 1}])
@pytest.mark.parametrize("page_size", [1, 3])
def test_an_unchanged_row_that_is_contradicted_later_is_listed_too(
    template: Path, stream: str, touched: dict[str, Any], page_size: int
) -> None:
    """On the first day its line is not known, and it is counted all the same."""
    schools = [{"id": f"s{n}", "n": f"School {n}", "x": None} for n in range(4)]
    users = [
        {"id": f"p{n}", "n": f"Ash{n}", "s": None, "r": "student", "e": None, "x": None}
        for n in range(4)
    ]
    first = Day(schools, users, page_size=page_size)
    rows: list[dict[str, Any]] = list(getattr(first, stream))
    rows = [rows[0] | touched, *rows[1:], rows[0] | {"n": "Else"}]
    second = replace(first, **{stream: rows})
    assert_the_same(template, [first, second, second], Paper, 1)
    with two_towns(template, 1) as (town, _):
        for number, day, lines in ((1, first, set()), (2, second, {None, 6}), (3, second, {2, 6})):
            town.sync(day, Paper)
            if page_size == 1:
                found = [one for one in town.state()["findings"] if one[0] == number]
                assert {one[3] for one in found} == lines


def test_an_unchanged_row_shows_that_a_source_serves_people(template: Path) -> None:
    """A delta after a reading that left nothing in evidence: nobody has a known role (F19)."""
    contact = {"id": "a", "n": "Ash", "s": None, "r": "contact", "e": None, "x": None}
    day = Day([], [contact], page_size=1)
    assert_the_same(template, [day, replace(day, delta=True)], Paper, rows=1)


@pytest.mark.parametrize("page_size", [1, 12])
def test_each_role_whose_id_stands_twice_is_listed_read_anew_or_not(
    template: Path, page_size: int
) -> None:
    ash = {"id": "a", "n": "Ash", "s": None, "r": "student", "e": None, "x": None}
    own = {"o": "g", "x": None, "s": "s2", "r": "teacher", "id": "r2"}
    other = {"o": "m", "x": None, "s": "s1", "r": "teacher", "id": "r2"}
    first = Day([], [ash], roles=[own], page_size=page_size)
    days = [first, replace(first, roles=[own | {"t": 2}, own | {"t": 2}, other])]
    assert_as_if_read_anew(template, [*days, days[1]], rows=1)
    assert_the_same(template, [*days, days[1]], JoinedPaper, rows=1, joined=True)


@pytest.mark.parametrize("page_size", [1, 3])
def test_whoever_is_still_there_under_a_former_key_keeps_it(template: Path, page_size: int) -> None:
    ash = {"id": "a", "n": "Ash", "s": None, "r": "student", "e": None, "x": None}
    birch = {**ash, "id": "b", "n": "Birch", "f": "a"}
    both = Day([], [ash, birch, ash], page_size=page_size)
    assert_the_same(template, [replace(both, users=[ash]), both, both], Paper, rows=1)
    with two_towns(template, rows=1) as towns:
        for town in towns:
            town.sync(replace(both, users=[ash]), Paper)
            town.sync(both, Paper)
            found = {row[2]: row[1] for row in town.state()["users"]}
            assert found == {"Ash": "active", "Birch": "active"}


def test_a_row_that_says_gone_beside_rows_that_are_there_ends_nothing(template: Path) -> None:
    ash = {"id": "a", "n": "Ash", "s": None, "r": "student", "e": None, "x": None}
    gone = {**ash, "x": "gone"}
    first = Day([], [ash, ash, ash, gone], page_size=1)
    moved = replace(first, users=[gone, ash, ash, ash])
    days = [first, replace(moved, cut_after=2), moved]
    assert_as_if_read_anew(template, days, rows=1, joined=True)
    with two_towns(template, rows=1) as towns:
        for town in towns:
            # of files: a server whose ids come twice is not read whole (F11)
            how = {"joined": True, "origin": "file"}
            ends = [town.sync(day, JoinedPaper, **how)["status"] for day in days]
            assert ends == ["applied", "incomplete", "nothing_to_do"]
            assert [user[1] for user in town.state()["users"]] == ["active"]


def test_whoever_has_a_new_key_is_who_they_were_where_no_order_is_kept(database: Database) -> None:
    ash = {"id": "a", "n": "Ash"}
    town = Town(database, forgetful=True)
    town.sync(Day([], [ash]), Paper)
    town.sync(Day([], [{**ash, "id": "b", "f": "a"}]), Paper)
    (user,) = town.state()["users"]
    assert user[1:3] == ("active", "Ash")
