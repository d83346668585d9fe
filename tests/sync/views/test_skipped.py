"""Which readings of a source tell what could not be used, off tables that were written straight."""

from __future__ import annotations

from typing import Any

import pytest

from core.storage.database import Database
from core.storage.tables import Fetch, Finding
from sync.views import skipped as room
from sync.views.skipped import Skipped, skipped
from tests.kit import tables as given

READ: dict[str, Any] = {"records": 9}
CHANGES: dict[str, Any] = {"records": 2, "incremental": True}
NOTHING_NEW: dict[str, Any] = {"records": 0, "unchanged": True}
FAILED: dict[str, Any] = {"records": 0}


@pytest.fixture
def _source(database: Database) -> None:
    given.store(database, [given.district(), given.source(1, "sis"), given.source(2, "other")])


def read(
    database: Database,
    number: int,
    certificate: dict[str, Any],
    *lines: int,
    complete: bool = True,
    source: int = 1,
) -> None:
    """Store a reading, and the lines that could not be used in it."""
    fetch = Fetch(
        id=number, run_id=number, source_id=source, at=given.AT.replace(hour=number),
        complete=complete, certificate=certificate,
    )  # fmt: skip
    findings = [
        Finding(
            fetch_id=number, seq=seq, stream="users", file="users.csv", line=line, rule="csv",
            message="The row is not CSV.",
        )
        for seq, line in enumerate(lines, 1)
    ]  # fmt: skip
    given.store(database, [fetch, *findings])


def found(database: Database, **options: Any) -> tuple[Skipped, list[int]]:
    with database.read() as connection:
        one = skipped(connection, 1, **options)
        return one, [row["line"] for row in one.rows]


@pytest.mark.usefixtures("_source")
def test_a_source_that_was_never_read_has_no_time_and_no_rows(database: Database) -> None:
    read(database, 1, READ, 4, source=2)
    read(database, 2, FAILED, complete=False)
    one, lines = found(database)
    assert (one.read_at, one.of, one.left, lines) == (None, 0, 0, [])


@pytest.mark.usefixtures("_source")
def test_only_the_last_whole_reading_counts(database: Database) -> None:
    read(database, 1, READ, 2, 3)
    read(database, 2, READ, 5)
    read(database, 3, READ, 7, source=2)
    one, lines = found(database)
    assert (one.read_at, one.complete) == ("2026-09-01T02:00:00Z", True)
    assert (one.of, lines) == (1, [5])


@pytest.mark.usefixtures("_source")
def test_readings_without_a_row_hide_nothing_however_many_they_are(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_FETCHES", 2)
    read(database, 1, READ, 2, 3)
    for number in range(2, 6):
        read(database, number, NOTHING_NEW)
        read(database, number + 6, FAILED, complete=False)
    one, lines = found(database)
    assert (one.read_at, lines) == ("2026-09-01T01:00:00Z", [2, 3])


@pytest.mark.usefixtures("_source")
def test_after_a_reading_of_the_latest_changes_the_rows_of_the_whole_one_stand(
    database: Database,
) -> None:
    read(database, 1, READ, 1)
    read(database, 2, READ, 2, 3)
    read(database, 3, CHANGES, 30)
    read(database, 4, FAILED | {"records": 1}, 40, complete=False)  # read again by the next
    read(database, 5, CHANGES, 50, 51)
    one, lines = found(database)
    assert (one.read_at, one.complete) == ("2026-09-01T05:00:00Z", True)
    assert (one.of, lines) == (5, [50, 51, 30, 2, 3])
    one, lines = found(database, most=3)
    assert (one.of, one.left, lines) == (5, 2, [50, 51, 30])


@pytest.mark.usefixtures("_source")
def test_of_a_reading_that_broke_off_the_rows_it_came_to_are_told(database: Database) -> None:
    read(database, 1, READ, 2, 3)
    read(database, 2, READ, 4, complete=False)
    one, lines = found(database)
    assert (one.complete, one.of, lines) == (False, 1, [4])
