"""A backup of a whole database in memory, and its restoration, as an operator's own tools do it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import text

from core.storage.database import Database
from core.storage.schema import District

Restore = Callable[[], None]


def back_up(database: Database) -> Restore:
    """Copy everything; return what puts it back, the counters of ids too."""
    return _of_sqlite(database) if database.is_sqlite else _of_postgresql(database)


def _of_sqlite(database: Database) -> Restore:
    kept = sqlite3.connect(":memory:")

    def copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        source.backup(target)

    live = sqlite3.connect(str(database.url.database))
    copy(live, kept)
    live.close()

    def restore() -> None:
        database.engine.dispose()
        live = sqlite3.connect(str(database.url.database))
        copy(kept, live)
        live.close()

    return restore


def _of_postgresql(database: Database) -> Restore:
    tables = District.table.metadata.sorted_tables
    with database.read() as connection:
        rows: dict[str, Sequence[Any]] = {
            table.name: [dict(row._mapping) for row in connection.execute(table.select())]
            for table in tables
        }
        counters = connection.execute(
            text(
                "SELECT schemaname || '.' || sequencename, last_value FROM pg_sequences"
                " WHERE schemaname = 'public'"
            )
        ).all()

    def restore() -> None:
        with database.write() as connection:
            names = ", ".join(f'"{table.name}"' for table in tables)
            connection.execute(text(f"TRUNCATE {names}"))
            for table in tables:
                if rows[table.name]:
                    connection.execute(table.insert(), rows[table.name])
            for name, last in counters:
                connection.execute(
                    text("SELECT setval(:name, :value, :called)"),
                    {"name": name, "value": last or 1, "called": last is not None},
                )

    return restore
