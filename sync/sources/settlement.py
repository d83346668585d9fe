"""Settling: a source learns how its reading ended, once it is kept.

Used by the engine after evidence is committed: a file connector then moves the set away, with the
report beside it.
"""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy import Connection, bindparam, select

from connectors.contract.connector import Connector, RowFinding, Settlement
from core.errors import RosterSyncError
from core.failpoints import failpoint
from core.storage.database import Database
from core.storage.schema import Fetch, Finding
from sync.sources.blame import blaming


class Result(Protocol):
    """The attributes of a source's result that are needed here."""

    certificate: dict[str, Any]
    complete: bool
    error: RosterSyncError | None


def tell_connector(
    database: Database, connector: Connector, run_id: int, source_id: int, result: Result
) -> None:
    """Tell the connector. If it cannot tidy up, that is noted and does not fail the run."""
    with database.read() as connection:
        if result.certificate.get("unchanged"):
            run_id = _run_that_read_it(connection, source_id)
        found = findings_of(connection, run_id, source_id)
    failpoint("settle.kept")
    try:
        with blaming(connector.name):
            connector.settled(Settlement(result.complete, result.error, found))
    except RosterSyncError as problem:
        notes = result.certificate.setdefault("notes", [])
        notes.append(f"{problem.message} The set is moved away at the next run.")


def _run_that_read_it(connection: Connection, source_id: int) -> int:
    """Return the run that read the same data before: its findings are still valid."""
    for run_id, certificate in connection.execute(_FETCHES, {"source": source_id}):
        if not certificate.get("unchanged"):
            return int(run_id)
    return 0


_FETCHES = (
    select(Fetch.run_id, Fetch.certificate)
    .where(Fetch.source_id == bindparam("source"), Fetch.complete)
    .order_by(Fetch.id.desc())
    .limit(100)
)


def findings_of(connection: Connection, run_id: int, source_id: int) -> list[RowFinding]:
    """Return the rows that could not be used in a run's reading of a source."""
    about = {"run": run_id, "source": source_id}
    return [RowFinding(*row) for row in connection.execute(_FINDINGS, about)]


_FINDINGS = (
    select(Finding.file, Finding.line, Finding.column, Finding.rule, Finding.message, Finding.hint)
    .join_from(Finding.table, Fetch.table, Fetch.id == Finding.fetch_id)
    .where(Fetch.run_id == bindparam("run"), Fetch.source_id == bindparam("source"))
    .order_by(Finding.fetch_id, Finding.seq)
)
