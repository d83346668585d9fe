"""People whose rows cannot be joined: told at every reading, and nobody else is looked at for them.

Evidence keeps their rows, so nothing of them is new to the next reading by itself. The same holds
of people whose rows say that they are gone, where that is not believed yet.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.storage.database import Database, open_database
from tests.kit.paper import Day, JoinedPaper, Town
from tests.sync.reading.test_complexity import counted


def user(key: str, name: str = "Ash", **more: Any) -> dict[str, Any]:
    return {"id": key, "n": name, **more}


def role(key: str, owner: str, role: str = "student", **more: Any) -> dict[str, Any]:
    return {"id": key, "o": owner, "r": role, "s": "s1", **more}


KNOWN = Day(
    schools=[{"id": "s1", "n": "Lincoln"}],
    users=[user("a"), user("b"), user("c")],
    roles=[role("r1", "a"), role("r2", "b"), role("r3", "c")],
)
UNKNOWN = replace(KNOWN, roles=[role("r1", "a"), role("r2", "b", "wizard"), role("r3", "c")])
"""Of b's roles not one is known: the rows r2 (line 3) and b say so only together."""


@pytest.fixture(params=[False, True], ids=["in order", "in sets"])
def town(request: pytest.FixtureRequest, database: Database) -> Town:
    return Town(database, forgetful=request.param)


def read(town: Town, day: Day, **flags: Any) -> str:
    return str(town.sync(day, JoinedPaper, joined=True, **flags)["status"])


def found(town: Town) -> list[tuple[Any, ...]]:
    """Return file, line and rule of what the last reading found."""
    query = (
        "SELECT file, line, rule FROM findings"
        " WHERE fetch_id = (SELECT MAX(id) FROM fetches) ORDER BY 1, 2"
    )
    with town.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def names(town: Town) -> dict[str, str]:
    """Return the people who are there, as evidence knows them."""
    query = "SELECT external_id, data FROM records WHERE kind = 'user' AND present"
    with town.database.read() as connection:
        rows = connection.execute(text(query)).all()
    return {key: "Birch" if "Birch" in data else "Ash" for key, data in rows}


def count(town: Town, table: str) -> int:
    with town.database.read() as connection:
        return int(connection.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


def test_who_cannot_be_joined_is_told_at_every_reading_and_only_their_rows_are_read_again(
    town: Town,
) -> None:
    assert read(town, UNKNOWN) == "applied"
    assert found(town) == [("roles.csv", 3, "unknown-role")]
    records = town.state()["records"]
    for _ in range(3):
        assert read(town, UNKNOWN) == "nothing_to_do"
        assert found(town) == [("roles.csv", 3, "unknown-role")]
        assert town.parsed == 2
        assert town.state()["records"] == records


def test_the_line_that_is_told_is_where_the_row_stands_today(town: Town) -> None:
    read(town, UNKNOWN)
    read(town, replace(UNKNOWN, roles=[role("r9", "c"), *UNKNOWN.roles]))
    assert found(town) == [("roles.csv", 4, "unknown-role")]


def test_the_row_at_fault_is_told_and_not_one_that_is_deleted(town: Town) -> None:
    read(town, replace(KNOWN, roles=[*KNOWN.roles, role("r4", "b")]))
    for _ in range(2):
        read(town, replace(UNKNOWN, roles=[*UNKNOWN.roles, role("r4", "b", x="gone")]))
        assert found(town) == [("roles.csv", 3, "unknown-role")]


def test_where_a_deletion_brings_the_fault_to_light_it_is_told_on_its_day(town: Town) -> None:
    read(town, replace(UNKNOWN, roles=[*UNKNOWN.roles, role("r4", "b")]))
    deleted = replace(UNKNOWN, roles=[*UNKNOWN.roles, role("r4", "b", x="gone")])
    for line in (5, 3, 3):
        read(town, deleted)
        assert found(town) == [("roles.csv", line, "unknown-role")]


def test_a_row_that_was_deleted_before_is_not_told_for_one_that_left(town: Town) -> None:
    roles = [*UNKNOWN.roles, role("r4", "b", x="gone")]
    read(town, replace(UNKNOWN, roles=[*roles, role("r5", "b")]))
    for line in (None, 3, 3):  # those that stay were not looked at on the day the other left
        read(town, replace(UNKNOWN, roles=roles))
        assert [one[1:] for one in found(town)] == [(line, "unknown-role")]


def test_who_can_be_joined_again_settles_and_is_no_longer_read(town: Town) -> None:
    read(town, UNKNOWN)
    assert read(town, KNOWN) == "applied"
    assert (found(town), sorted(names(town))) == ([], ["a", "b", "c"])
    assert read(town, KNOWN) == "nothing_to_do"
    assert (found(town), town.parsed) == ([], 0)


def test_who_was_known_stays_as_they_were_while_they_cannot_be_joined(town: Town) -> None:
    read(town, KNOWN)
    renamed = [user("a"), user("b", "Birch"), user("c")]
    for _ in range(2):
        assert read(town, replace(UNKNOWN, users=renamed)) == "nothing_to_do"
        assert len(found(town)) == 1
        assert names(town)["b"] == "Ash"
    read(town, replace(KNOWN, users=renamed))
    assert (found(town), names(town)["b"]) == ([], "Birch")


def test_what_their_other_rows_say_is_not_lost_while_one_cannot_be_read(town: Town) -> None:
    read(town, KNOWN)
    renamed = replace(KNOWN, users=[user("a"), user("b", "Birch"), user("c")])
    bad = role("r2", "b", x="bad")
    for _ in range(2):
        read(town, replace(renamed, roles=[role("r1", "a"), bad, role("r3", "c")]))
        assert found(town) == [("roles.csv", 3, "bad-value")]
        assert names(town)["b"] == "Ash"
    read(town, renamed)  # the row is again just what it was
    assert (found(town), names(town)["b"]) == ([], "Birch")


def test_after_a_delta_and_a_reading_that_broke_off_they_are_told_again(town: Town) -> None:
    read(town, KNOWN)
    wizard = replace(UNKNOWN, users=(), roles=[UNKNOWN.roles[1]], delta=True)
    assert read(town, wizard) == "nothing_to_do"
    assert found(town) == [("roles.csv", 2, "unknown-role")]
    assert read(town, replace(KNOWN, users=[user("c")], roles=(), delta=True)) == "nothing_to_do"
    assert found(town) == []  # of others it says nothing
    assert read(town, replace(UNKNOWN, cut_after=1)) == "incomplete"
    for _ in range(2):
        read(town, UNKNOWN)
        assert found(town) == [("roles.csv", 3, "unknown-role")]


def test_where_very_many_cannot_be_joined_the_order_is_forgotten_and_they_are_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.reading.page_order_store.MANY_TOUCHED", 1)
    town = Town(database, forgetful=False)
    for _ in range(3):
        read(town, UNKNOWN)
        assert found(town) == [("roles.csv", 3, "unknown-role")]
        assert (count(town, "snapshot_chunks"), count(town, "touched")) == (0, 0)
    read(town, KNOWN)
    assert (found(town), count(town, "snapshot_chunks")) == ([], 3)


def test_what_many_of_them_cost_grows_as_they_do_and_never_with_their_square(
    tmp_path: Path,
) -> None:
    first: list[int] = []
    again: list[int] = []
    for size in (500, 2_000):
        database = open_database(f"sqlite:///{tmp_path / f'{size}.db'}")
        day = replace(
            UNKNOWN,
            users=[user(f"u{number}") for number in range(size)],
            roles=[role(f"r{number}", f"u{number}", "wizard") for number in range(size)],
            page_size=size,
        )
        town = Town(database, forgetful=False)
        for steps in (first, again):
            with counted(database) as cost:
                read(town, day)
            steps.append(cost.steps)
        assert len(found(town)) == size
        database.engine.dispose()
    assert first[1] <= 5 * first[0] + 20
    assert again[1] <= 5 * again[0] + 20


# -- people whose deletion is not believed yet (F4)


GONE = replace(KNOWN, users=[user("a"), user("b", x="gone"), user("c")])
NOT_BELIEVED = {
    "a delta": replace(GONE, users=[GONE.users[1]], roles=(), delta=True),
    "a reading that broke off": replace(GONE, cut_after=2),
}


@pytest.mark.parametrize("said_in", NOT_BELIEVED)
def test_who_is_only_suspect_leaves_once_a_full_reading_says_the_same(
    town: Town, said_in: str
) -> None:
    read(town, KNOWN)
    for _ in range(2):
        read(town, NOT_BELIEVED[said_in])
        assert sorted(names(town)) == ["a", "b", "c"]
    assert read(town, GONE) == "applied"
    assert sorted(names(town)) == ["a", "c"]
    assert (read(town, GONE), town.parsed) == ("nothing_to_do", 0)


@pytest.mark.parametrize("said_in", NOT_BELIEVED)
def test_who_is_only_suspect_stays_once_a_full_reading_has_them_as_they_were(
    town: Town, said_in: str
) -> None:
    read(town, KNOWN)
    read(town, NOT_BELIEVED[said_in])
    assert read(town, KNOWN) == "nothing_to_do"
    assert names(town) == dict.fromkeys("abc", "Ash")
    assert (read(town, KNOWN), town.parsed) == ("nothing_to_do", 0)


# -- what else the order must not vouch for


def test_what_a_delta_moved_is_compared_though_its_stream_was_silent_since(town: Town) -> None:
    read(town, KNOWN)
    read(town, replace(KNOWN, users=[user("b", "Birch")], roles=(), delta=True))
    assert names(town)["b"] == "Birch"
    read(town, replace(KNOWN, absent=frozenset({"users"})))
    read(town, KNOWN)
    assert names(town)["b"] == "Ash"


def test_who_was_not_met_beside_a_row_without_an_id_is_missed_once_it_has_one(town: Town) -> None:
    read(town, KNOWN)
    keyless = [user("b"), user("c", x="keyless")]
    read(town, replace(KNOWN, users=keyless, roles=[role("r1", "a", "teacher"), *KNOWN.roles[1:]]))
    assert sorted(names(town)) == ["a", "b", "c"]
    read(town, replace(KNOWN, users=[user("b"), user("c")], roles=KNOWN.roles[1:]))
    assert sorted(names(town)) == ["b", "c"]


def test_nobody_is_joined_from_what_a_vendor_left_out(town: Town) -> None:
    read(town, KNOWN, reads_by_id=True)
    before = town.state()
    # b's own row and c's role are on a page that was not served, and b answers
    short = replace(
        KNOWN, users=[user("a"), user("c")], roles=[role("r1", "a"), role("r2", "b")],
        there=frozenset("b"),
    )  # fmt: skip
    assert read(town, short, reads_by_id=True) == "incomplete"
    after = town.state()
    for kept in ("users", "memberships", "parts"):
        assert after[kept] == before[kept]
    data = {record[1]: record[3] for record in before["records"]}
    assert {record[1]: record[3] for record in after["records"]} == data
