"""How a temporary table is declared and made; ``sync/run/scratch_tables.py`` declares all of them.

A temporary table belongs to one connection. Making the object makes the table, empty, and there is
no other way to get one: a function that needs the table takes the object, so it cannot read what
nobody made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from sqlalchemy import Connection

from core.storage.database import Database

_WORDS = {
    True: {"BYTES": "BLOB", "NUMBERED": "INTEGER PRIMARY KEY"},
    False: {"BYTES": "BYTEA", "NUMBERED": "INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY"},
}
"""Is it SQLite → the database's words for bytes, and for a number that counts the rows from 1."""


class Scratch:
    """One temporary table. Having the object means that the table stands on its connection."""

    name: ClassVar[str]
    columns: ClassVar[Mapping[str, str]]
    """Column → its type in SQL."""
    indexes: ClassVar[Mapping[str, str]]
    """Index → what it is on: made by ``index``, once the table is filled."""
    filled_by: ClassVar[Sequence[str]]
    """The modules of ``sync`` whose statements write rows of it."""
    read_by: ClassVar[Sequence[str]]
    """The modules of ``sync`` whose statements read it."""

    def __init_subclass__(
        cls,
        name: str,
        columns: str,
        filled_by: Sequence[str],
        read_by: Sequence[str],
        indexes: Mapping[str, str] | None = None,
    ) -> None:
        """Declare a table; ``columns`` is a list in SQL, with ``BYTES`` and ``NUMBERED``."""
        cls.name = name
        cls.columns = dict(one.split(" ", 1) for one in columns.split(", "))
        cls.indexes = indexes or {}
        cls.filled_by = filled_by
        cls.read_by = read_by

    def __init__(self, connection: Connection) -> None:
        """Make the table anew, empty; an earlier one of the same name on the connection ends."""
        words = _WORDS[connection.dialect.name == "sqlite"]
        columns = ", ".join(
            f"{name} {' '.join(words.get(word, word) for word in kind.split())}"
            for name, kind in self.columns.items()
        )
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {self.name}")
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {self.name} ({columns})")
        self._connection = connection
        self._standing().update({self.name: id(self)})

    @property
    def connection(self) -> Connection:
        """The connection that has the table. Raises ``RuntimeError`` if it was made anew since."""
        if self._standing().get(self.name) != id(self):
            raise RuntimeError(f"the scratch table {self.name} was made anew by somebody else")
        return self._connection

    def _standing(self) -> dict[str, int]:
        found: dict[str, int] = self._connection.info.setdefault("scratch", {})
        return found

    def add(
        self,
        database: Database,
        rows: Sequence[Sequence[Any]],
        columns: Sequence[str] | None = None,
    ) -> None:
        """Load rows in bulk: all columns in their order, or only these."""
        if rows:
            names = columns or tuple(self.columns)
            database.insert_into(self.connection, self.name, names, rows)

    def adding(self, database: Database) -> AbstractContextManager[Callable[[Sequence[Any]], None]]:
        """Load rows as the block makes them: it may ask nothing on the connection meanwhile."""
        return database.loading(self.connection, self.name, tuple(self.columns))

    def index(self, *names: str) -> None:
        """Make the indexes, or those of them that are named, if they are not there yet."""
        for name in names or self.indexes:
            on = self.indexes[name]
            self.connection.exec_driver_sql(
                f"CREATE INDEX IF NOT EXISTS {name} ON {self.name} {on}"
            )

    def clear(self) -> None:
        """Throw the rows away."""
        self.connection.exec_driver_sql(f"DELETE FROM {self.name}")

    def count(self) -> int:
        """Return how many rows there are."""
        found = self.connection.exec_driver_sql(f"SELECT COUNT(*) FROM {self.name}")
        return int(found.scalar_one())
