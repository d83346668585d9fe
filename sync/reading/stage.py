"""The stage: temporary tables that hold one reading of a source until it is kept or discarded.

``sync/reading/fetch.py`` fills it while the source is read, ``sync/reading/evidence.py`` merges it
into the evidence in one transaction. Nothing on the stage is evidence yet: dropping the stage
undoes the reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

from core.models import Kind
from core.storage.database import Database
from sync.run.scratch import Scratch
from sync.run.scratch_tables import (
    StagedChunks,
    StagedEntries,
    StagedFindings,
    StagedGists,
    StagedGone,
    StagedGoneParts,
    StagedParts,
    StagedPassed,
    StagedRefused,
    StagedUnited,
)


class State(IntEnum):
    """What the reading found about one key."""

    SEEN = 0
    """Present and unchanged."""
    DATA = 1
    """New or changed: ``data`` holds it."""
    DELETED = 2
    """The vendor itself says that it is gone (F4)."""
    EXCLUDED = 3
    """Present, but outside the roles and schools that this source is asked for."""
    UNREADABLE = 4
    """Present, but the row could not be used: its person stays as they are (F5)."""


_CHUNK_TYPES = ("text", "int4", "bytea", "int4", "bytea", "bytea", "bytea")


class Stage:
    """The stage of one reading, on a connection of its own; having it, its tables stand."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self.database = database
        self.connection = connection
        self.reset()

    def reset(self) -> None:
        """Clear the stage and prepare it for a reading."""
        with self.transaction() as connection:
            self.entries = StagedEntries(connection)
            self.parts = StagedParts(connection)
            self.gists = StagedGists(connection)
            self.passed = StagedPassed(connection)
            self.united = StagedUnited(connection)
            self.gone = StagedGone(connection)
            self.gone_parts = StagedGoneParts(connection)
            self.refused = StagedRefused(connection)
            self.chunks = StagedChunks(connection)
            self.findings = StagedFindings(connection)
            if not self.database.is_sqlite:  # compressing them would cost more than it saves
                connection.exec_driver_sql(
                    "ALTER TABLE stage_chunks ALTER prints SET STORAGE EXTERNAL,"
                    " ALTER keys SET STORAGE EXTERNAL, ALTER spans SET STORAGE EXTERNAL"
                )

    @property
    def tables(self) -> Sequence[Scratch]:
        """Every table of the stage."""
        return (
            self.entries, self.parts, self.gists, self.passed, self.united,
            self.gone, self.gone_parts, self.refused, self.chunks, self.findings,
        )  # fmt: skip

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a short transaction that writes nothing but the stage."""
        self.connection.execution_options(rostersync_write=False)
        with self.connection.begin():
            yield self.connection

    @contextmanager
    def merge(self) -> Iterator[Connection]:
        """Open the write transaction in which the stage becomes evidence."""
        self.connection.execution_options(rostersync_write=True)
        try:
            with self.connection.begin():
                yield self.connection
        finally:
            self.connection.execution_options(rostersync_write=False)

    def add_chunk(self, chunk: Sequence[Any]) -> None:
        """Put a page's part of the new snapshot on the stage."""
        self.database.insert_into(
            self.connection, self.chunks.name, tuple(self.chunks.columns), [chunk],
            types=_CHUNK_TYPES,
        )  # fmt: skip

    def ready(self) -> None:
        """Index what was read, before it is compared in sets."""
        with self.transaction() as connection:
            for table in (self.entries, self.parts, self.passed):
                table.index()
            self.database.analyze(connection, *(table.name for table in self.tables))

    def count_unusable(self) -> int:
        """Count the rows that could not be used: each once, however much is wrong with it."""
        return int(self.findings.connection.execute(_UNUSABLE_ROWS).scalar_one())


@contextmanager
def open_stage(database: Database) -> Iterator[Stage]:
    """Open a stage on a connection of its own; it is gone afterwards."""
    with database.engine.connect() as connection:
        stage = Stage(database, connection)
        try:
            yield stage
        finally:
            if not database.is_sqlite and not connection.closed:
                connection.rollback()
                with stage.transaction():
                    for table in stage.tables:
                        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table.name}")


# --- Set-wise statements ---
# They are about the stage: a row counts once, however much is wrong with it. Of the statements that
# mark rows to be looked at again, a part is here, because two modules have such statements.

_UNUSABLE_ROWS = text(
    "SELECT COUNT(*) FROM (SELECT DISTINCT stream, file, line,"
    " CASE WHEN line IS NULL THEN key END AS key,"
    " CASE WHEN line IS NULL AND key IS NULL THEN number END AS number FROM"
    " (SELECT f.*, ROW_NUMBER() OVER () AS number FROM stage_findings f WHERE NOT f.used) AS n"
    ") AS unusable"
)
"""A row has a line in its file or a server's id; a row with neither is a row of its own."""
UNSETTLED = f"(SELECT key FROM stage_entries WHERE kind = '{Kind.USER}' AND state IN :unsettled)"
"""SQL: the owners whose rows could not be joined, or whose deletion was not believed (F4).

Nothing in these rows would be new to the next reading, so they are all marked to be looked at
again. Otherwise the fault would be reported only once, and suspects would never leave.
"""


def of_unsettled(query: str) -> TextClause:
    """Return a query that has ``UNSETTLED``; it binds ``unsettled``, the states that count."""
    return text(query).bindparams(bindparam("unsettled", expanding=True))
