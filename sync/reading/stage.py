"""The stage: temporary tables that hold one reading of a source until it is kept or discarded.

``sync/reading/fetch.py`` fills it while the source is read, ``sync/reading/evidence.py`` merges it
into the evidence in one transaction. Nothing on the stage is evidence yet: dropping the stage
undoes the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

from core.database import Database
from core.models import Kind


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


UNSETTLED = f"(SELECT key FROM stage_entries WHERE kind = '{Kind.USER}' AND state IN :unsettled)"
"""SQL: the owners whose rows could not be joined, or whose deletion was not believed (F4).

Nothing in these rows would be new to the next reading, so they are all marked to be looked at
again. Otherwise the fault would be reported only once, and suspects would never leave.
"""


def of_unsettled(query: str) -> TextClause:
    """Return a query that has ``UNSETTLED``; it binds ``unsettled``, the states that count."""
    return text(query).bindparams(bindparam("unsettled", expanding=True))


ENTRY_COLUMNS = (
    "seq", "place", "kind", "stream", "key", "state", "raw_print", "gist_print",
    "norm_print", "data", "email", "person_key", "roles", "former", "file", "line",
)  # fmt: skip
PART_COLUMNS = ("seq", "place", "stream", "key", "owner", "state", "raw_print", "gist_print",
                "data", "file", "line")  # fmt: skip
CHUNK_COLUMNS = ("stream", "position", "digest", "count", "prints", "keys", "spans")
_CHUNK_TYPES = ("text", "int4", "bytea", "int4", "bytea", "bytea", "bytea")
PASSED_COLUMNS = ("stream", "key")
GIST_COLUMNS = ("kind", "key", "gist_print", "norm_print")
REFUSED_COLUMNS = ("stream", "owner", "given", "family", "doubtful")
FINDING_COLUMNS = ("stream", "file", "line", "col", "rule", "message", "hint")

_TABLES = {
    "stage_entries": "seq BIGINT, place BIGINT, kind TEXT, stream TEXT, key TEXT, state INTEGER,"
    " raw_print {blob}, gist_print {blob}, norm_print {blob}, data TEXT, email TEXT,"
    " person_key TEXT, roles TEXT, former TEXT, file TEXT, line INTEGER",
    "stage_parts": "seq BIGINT, place BIGINT, stream TEXT, key TEXT, owner TEXT, state INTEGER,"
    " raw_print {blob}, gist_print {blob}, data TEXT, file TEXT, line INTEGER",
    "stage_gists": "kind TEXT, key TEXT, gist_print {blob}, norm_print {blob}",
    "stage_passed": "stream TEXT, key TEXT",
    "stage_gone": "kind TEXT, key TEXT, cause TEXT",
    "stage_gone_parts": "stream TEXT, key TEXT",
    "stage_refused": "stream TEXT, owner TEXT, given TEXT, family TEXT, doubtful BOOLEAN",
    "stage_chunks": "stream TEXT, position INTEGER, digest {blob}, count INTEGER, prints {blob},"
    " keys {blob}, spans {blob}",
    "stage_findings": "stream TEXT, file TEXT, line INTEGER, col TEXT, rule TEXT, message TEXT,"
    " hint TEXT, joined BOOLEAN DEFAULT FALSE",
}


class Stage:
    """The stage of one reading, on a connection of its own."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self.database = database
        self.connection = connection
        self._blob = "BLOB" if database.is_sqlite else "BYTEA"

    def reset(self) -> None:
        """Clear the stage and prepare it for a reading."""
        with self.transaction():
            for name, columns in _TABLES.items():
                self.connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
                self.connection.exec_driver_sql(
                    f"CREATE TEMPORARY TABLE {name} ({columns.format(blob=self._blob)})"
                )
            if not self.database.is_sqlite:  # compressing them would cost more than it saves
                self.connection.exec_driver_sql(
                    "ALTER TABLE stage_chunks ALTER prints SET STORAGE EXTERNAL,"
                    " ALTER keys SET STORAGE EXTERNAL, ALTER spans SET STORAGE EXTERNAL"
                )

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

    def add(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Put rows on the stage."""
        if rows:
            self.database.insert_into(self.connection, table, columns, rows)

    def adding(
        self, table: str, columns: Sequence[str]
    ) -> AbstractContextManager[Callable[[Sequence[Any]], None]]:
        """Put rows on the stage as the block makes them; it must not query the stage."""
        return self.database.loading(self.connection, table, columns)

    def add_chunk(self, chunk: Sequence[Any]) -> None:
        """Put a page's part of the new snapshot on the stage."""
        self.database.insert_into(
            self.connection, "stage_chunks", CHUNK_COLUMNS, [chunk], types=_CHUNK_TYPES
        )

    def ready(self) -> None:
        """Index what was read, before it is compared in sets."""
        with self.transaction() as connection:
            for name, on in (
                ("entries", "stage_entries (kind, key)"),
                ("former", "stage_entries (former) WHERE former IS NOT NULL"),
                ("parts", "stage_parts (stream, key)"),
                ("owners", "stage_parts (owner) WHERE owner IS NOT NULL"),
                ("passed", "stage_passed (stream, key)"),
            ):
                connection.exec_driver_sql(f"CREATE INDEX IF NOT EXISTS ix_stage_{name} ON {on}")
            self.database.analyze(connection, *_TABLES)

    def findings(self) -> int:
        """Count the rows that could not be used."""
        with self.transaction() as connection:
            return int(connection.execute(text("SELECT COUNT(*) FROM stage_findings")).scalar_one())


@contextmanager
def open_stage(database: Database) -> Iterator[Stage]:
    """Open a stage on a connection of its own; it is gone afterwards."""
    with database.engine.connect() as connection:
        stage = Stage(database, connection)
        stage.reset()
        try:
            yield stage
        finally:
            if not database.is_sqlite and not connection.closed:
                connection.rollback()
                with stage.transaction():
                    for name in _TABLES:
                        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
