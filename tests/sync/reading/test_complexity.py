"""What a sync may cost, without a clock: statements, parsed rows, written rows, steps, memory.

The same edits are read at two sizes. Work that follows the changes stays as it is; work that must
look at everybody may grow with the roster, never with its square.
"""

from __future__ import annotations

import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from core.storage.database import Database, open_database
from sync.reading.order.byte_spans import ROWS
from sync.reading.order.fingerprints import Prints
from tests.kit.paper import Day, Paper, Town

SMALL, LARGE = 2_100, 4_200
PAGES = 4
CHANGED = 10
_TARGET = re.compile(r'(?:INSERT INTO|UPDATE|DELETE FROM)\s+"?(\w+)"?')
_TEMPORARY = re.compile(
    r"stage_|todo_|marks|holds|conflict_people|holdings|leavers|joiners|staying|pairs|moved_schools|grown"
    r"|explained|new_keys|found|plan_places"
)

_SETS = re.compile(r"UPDATE (users|records) SET (.*?) (?:FROM|WHERE) ")


@dataclass
class Cost:
    """What one sync cost."""

    statements: int = 0
    written: Counter[str] = field(default_factory=Counter)
    """Rows written by table, the temporary ones left out."""
    steps: int = 0
    """Thousands of steps of SQLite's machine."""
    parsed: int = 0


@contextmanager
def counted(database: Database) -> Iterator[Cost]:
    """Count what happens on a database."""
    cost = Cost()

    def tick() -> int:
        cost.steps += 1
        return 0

    def watch(dbapi: Any, _record: object) -> None:
        if database.is_sqlite:
            dbapi.set_progress_handler(tick, 1_000)

    def executed(_connection: Connection, cursor: Any, statement: str, *_rest: object) -> None:
        cost.statements += 1
        found = _TARGET.search(statement)
        if found and not _TEMPORARY.match(found.group(1)) and cursor.rowcount > 0:
            cost.written[found.group(1)] += cursor.rowcount

    load = database.loading

    @contextmanager
    def loading(
        connection: Connection, table: str, columns: Sequence[str], types: Sequence[str] = ()
    ) -> Iterator[Callable[[Sequence[Any]], None]]:
        cost.statements += 1
        with load(connection, table, columns, types) as put:

            def counted_too(row: Sequence[Any]) -> None:
                if not _TEMPORARY.match(table):
                    cost.written[table] += 1
                put(row)

            yield counted_too

    database.engine.dispose()
    event.listen(database.engine, "connect", watch)
    event.listen(database.engine, "after_cursor_execute", executed)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "loading", loading)
            yield cost
    finally:
        event.remove(database.engine, "connect", watch)
        event.remove(database.engine, "after_cursor_execute", executed)


def roster(size: int, *, renamed: int = 0, touched: bool = False, joined: int = 0) -> Day:
    """Return a roster, some of whose people have another name, in always as many pages."""
    users: list[dict[str, Any]] = [
        {
            "id": f"p{number:06d}",
            "n": "Ash",
            "s": f"s{number % 5}",
            "r": "student" if number % 12 else "teacher",
            "e": f"p{number}@a.example",
            **({"t": 1} if touched else {}),
        }
        for number in range(size)
    ]
    users += [
        {
            "id": f"q{number}",
            "n": "Cedar",
            "s": "s1",
            "r": "student",
            "e": f"q{number}@a.example",
            "p": f"master:q{number}",
        }
        for number in range(joined)
    ]
    for number in range(renamed):
        users[number * (size // renamed)]["n"] = "Birch"
    schools = [{"id": f"s{number}", "n": f"School {number}"} for number in range(5)]
    return Day(schools, users, page_size=size // PAGES)


def syncs(database: Database, size: int, **flags: Any) -> dict[str, Cost]:
    """Sync a new town five times on one day, and return what each time cost."""
    town = Town(database, forgetful=False)
    town.between = timedelta(hours=3)
    costs = {}
    for name, day, status in (
        ("first", roster(size), "applied"),
        ("no change", roster(size), "nothing_to_do"),
        ("a few", roster(size, renamed=CHANGED), "applied"),
        ("touched", roster(size, renamed=CHANGED, touched=True), "nothing_to_do"),
        ("newcomers", roster(size, renamed=CHANGED, touched=True, joined=CHANGED), "applied"),
    ):
        with counted(database) as cost:
            assert town.sync(day, Paper, **flags)["status"] == status
        cost.parsed = town.parsed
        costs[name] = cost
    return costs


def test_a_sync_in_which_nothing_changed_parses_and_writes_nobody(database: Database) -> None:
    cost = syncs(database, SMALL)["no change"]
    assert cost.parsed == 0
    assert set(cost.written) <= {"runs", "fetches", "sources", "plans", "districts"}
    assert sum(cost.written.values()) <= 10


def test_a_sync_parses_and_writes_whom_it_finds_changed_and_nobody_else(
    database: Database,
) -> None:
    cost = syncs(database, SMALL)["a few"]
    assert cost.parsed == CHANGED
    assert cost.written["records"] <= CHANGED
    assert cost.written["open_records"] == 2 * CHANGED  # opened, and settled
    assert cost.written["changes"] == CHANGED
    assert cost.written["users"] <= 3 * CHANGED
    assert cost.written["memberships"] == 0


def test_an_update_sets_only_what_some_change_names(database: Database) -> None:
    """SQLite writes each index of which a column is set, whatever to."""
    town = Town(database, forgetful=False)
    town.sync(roster(SMALL), Paper)
    columns: dict[str, set[str]] = {"users": set(), "records": set()}

    def executed(_connection: Connection, _cursor: Any, statement: str, *_rest: object) -> None:
        found = _SETS.search(statement)
        sets = set(re.findall(r"(\w+) = ", found.group(2))) if found else set()
        if found and sets & {"revision", "version"}:  # of somebody who was found changed
            columns[found.group(1)] |= sets

    event.listen(database.engine, "after_cursor_execute", executed)
    try:
        assert town.sync(roster(SMALL, renamed=CHANGED), Paper)["status"] == "applied"
    finally:
        event.remove(database.engine, "after_cursor_execute", executed)
    assert columns["users"] == {"revision", "family_name"}
    assert "data" in columns["records"]
    assert columns["records"].isdisjoint({"external_id", "email", "person_key"})


def test_a_sync_looks_one_by_one_only_at_the_rows_around_a_change(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    town, looked_at = Town(database, forgetful=False), 0
    town.sync(roster(LARGE), Paper)
    of_all = Prints.of_all

    def counting(prints: Prints, rows: Sequence[bytes]) -> list[bytes]:
        nonlocal looked_at
        looked_at += len(rows)
        return of_all(prints, rows)

    monkeypatch.setattr(Prints, "of_all", counting)
    assert town.sync(roster(LARGE), Paper)["status"] == "nothing_to_do"
    assert looked_at <= 2 * PAGES * ROWS
    looked_at = 0
    assert town.sync(roster(LARGE, renamed=CHANGED), Paper)["status"] == "applied"
    assert looked_at <= (2 * PAGES + CHANGED) * ROWS


def test_a_sync_parses_and_writes_whoever_joins_and_nobody_else(database: Database) -> None:
    cost = syncs(database, SMALL)["newcomers"]
    assert cost.parsed == CHANGED
    assert cost.written["records"] == CHANGED
    assert cost.written["open_records"] == 2 * CHANGED  # opened, and settled
    assert cost.written["changes"] == CHANGED
    assert cost.written["users"] == cost.written["links"] == cost.written["memberships"] == CHANGED


def test_a_day_that_touches_every_record_parses_and_writes_nobody(database: Database) -> None:
    cost = syncs(database, SMALL)["touched"]
    assert cost.parsed == 0
    assert set(cost.written) <= {
        "runs", "fetches", "sources", "plans", "districts", "snapshot_chunks", "touched",
    }  # fmt: skip
    assert sum(cost.written.values()) <= 10 + 2 * 2 * PAGES


class Blunt(Paper):
    """Does not tell what it reads of a row."""

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return nothing."""
        return None


def test_without_gists_a_touched_day_parses_all_and_writes_nobody(database: Database) -> None:
    town = Town(database, forgetful=False)
    town.sync(roster(SMALL), Blunt)
    with counted(database) as cost:
        assert town.sync(roster(SMALL, touched=True), Blunt)["status"] == "nothing_to_do"
    assert town.parsed == SMALL
    assert not {"records", "changes", "users"} & set(cost.written)


def test_after_an_upgrade_everybody_is_parsed_once_and_their_gists_are_kept(
    database: Database,
) -> None:
    town = Town(database, forgetful=False)
    town.sync(roster(SMALL), Paper)
    upgraded = replace(roster(SMALL), version="2")
    assert town.sync(upgraded, Paper)["status"] == "nothing_to_do"
    assert town.parsed > SMALL
    assert town.sync(replace(upgraded, users=roster(SMALL, touched=True).users), Paper)
    assert town.parsed == 0


@pytest.mark.parametrize("flags", [{}, {"unique_email": True}])
def test_statements_follow_the_pages_and_steps_the_changes(
    tmp_path: Path, flags: dict[str, Any]
) -> None:
    costs = []
    for size in (SMALL, LARGE):
        database = open_database(f"sqlite:///{tmp_path / f'{size}.db'}")
        costs.append(syncs(database, size, **flags))
        database.engine.dispose()
    small, large = costs
    for name in ("no change", "a few", "newcomers"):
        assert large[name].statements == small[name].statements, name
    assert large["no change"].steps <= small["no change"].steps + 3
    counting_people = 6 * (LARGE - SMALL) // 1_000  # how many were not changed: one index scan
    assert large["a few"].steps <= small["a few"].steps + counting_people + 5
    counting_active = 3 * (LARGE - SMALL) // 1_000  # what the limit of additions is a share of (L6)
    most = small["newcomers"].steps + counting_people + counting_active + 5
    assert large["newcomers"].steps <= most
    batches = LARGE // 500
    for name in ("first", "touched"):
        assert large[name].statements <= small[name].statements + 20 * batches, name
        assert large[name].steps <= 2.5 * small[name].steps + 20, name


def peak_of(town: Town, day: Day, status: str) -> int:
    """Return the most bytes that Python held during a sync."""
    tracemalloc.start()
    try:
        assert town.sync(day, Paper)["status"] == status
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_roster(tmp_path: Path) -> None:
    peaks = []
    for size in (5_000, 20_000):
        database = open_database(f"sqlite:///{tmp_path / f'{size}.db'}")
        town = Town(database, forgetful=False)
        days = [roster(size), roster(size, renamed=CHANGED)]
        for day in days:
            day.page_size = 1_000
        town.sync(days[0], Paper)
        peaks.append([peak_of(town, days[0], "nothing_to_do"), peak_of(town, days[1], "applied")])
        database.engine.dispose()
    for small, large in zip(*peaks, strict=True):
        assert large <= 1.5 * small


@pytest.mark.long
def test_memory_of_a_first_sync_does_not_grow_with_the_roster(tmp_path: Path) -> None:
    peaks = []
    for size in (5_000, 20_000):
        database = open_database(f"sqlite:///{tmp_path / f'{size}.db'}")
        day = roster(size)
        day.page_size = 1_000
        peaks.append(peak_of(Town(database, forgetful=False), day, "applied"))
        database.engine.dispose()
    assert peaks[1] <= 1.5 * peaks[0]


def test_a_file_full_of_shared_addresses_costs_what_any_file_costs(tmp_path: Path) -> None:
    steps = []
    for size in (SMALL, LARGE):
        database = open_database(f"sqlite:///{tmp_path / f'{size}.db'}")
        day = roster(size)
        pairs = [{**row, "e": f"p{number // 2}@a.example"} for number, row in enumerate(day.users)]
        with counted(database) as cost:
            town = Town(database, forgetful=False)
            assert town.sync(replace(day, users=pairs), Paper, unique_email=True)
        steps.append(cost.steps)
        database.engine.dispose()
    assert steps[1] <= 5 * steps[0] + 20
