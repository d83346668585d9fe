"""The databases of a bench: made, copied, brought to rest and sized, on SQLite and PostgreSQL."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from bench.rig.process import Companion, script

STORES = ("sqlite", "postgresql")


class Store(Protocol):
    """One kind of database. A database is known by its URL."""

    name: str

    def new(self) -> str:
        """Make an empty database."""
        ...

    def copy(self, url: str) -> str:
        """Copy a database that nobody uses at the moment."""
        ...

    def drop(self, url: str) -> None:
        """Delete a database."""
        ...

    def settle(self, url: str) -> None:
        """Do at once what the store would do by itself soon, in the middle of a measurement."""
        ...

    def size(self, url: str) -> int:
        """Return the bytes that the database takes on the disk."""
        ...

    def used(self, url: str) -> int:
        """Return the bytes of it that are in use."""
        ...

    def execute(self, url: str, statement: str) -> Any:
        """Run a statement and return the first value that it returns."""
        ...


class Sqlite:
    """SQLite, a file for each database."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)

    def new(self) -> str:
        """Name a file; the program makes it."""
        return f"sqlite:///{self._folder / f'bench{next(self._numbers)}.db'}"

    def copy(self, url: str) -> str:
        """Copy the file, which holds everything once its log is in it."""
        self.settle(url)
        copy = self.new()
        shutil.copyfile(_path(url), _path(copy))
        return copy

    def drop(self, url: str) -> None:
        """Delete the file and what stands beside it."""
        path = _path(url)
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink()

    def settle(self, url: str) -> None:
        """Move the write-ahead log into the file."""
        self.execute(url, "PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self, url: str) -> int:
        """Return the length of the file after a checkpoint."""
        self.settle(url)
        return _path(url).stat().st_size

    def used(self, url: str) -> int:
        """Return the bytes of the pages that are not free: later changes go into free ones."""
        pages = self.execute(url, "PRAGMA page_count") - self.execute(url, "PRAGMA freelist_count")
        return int(pages * self.execute(url, "PRAGMA page_size"))

    def execute(self, url: str, statement: str) -> Any:
        """Run a statement in a transaction of its own."""
        with closing(sqlite3.connect(_path(url), isolation_level=None)) as connection:
            row = connection.execute(statement).fetchone()
            return row[0] if row else None


class Postgres:
    """PostgreSQL, a server in a process of its own with its settings as they come."""

    name = "postgresql"

    def __init__(self, server: Companion) -> None:
        self._server = server
        self._numbers = count(1)
        self._names: dict[str, str] = {}

    def new(self) -> str:
        """Make an empty database."""
        return self._create("")

    def copy(self, url: str) -> str:
        """Make a database of the files of another."""
        return self._create(f' TEMPLATE "{self._names[url]}" STRATEGY FILE_COPY')

    def drop(self, url: str) -> None:
        """Drop the database."""
        self._ask("postgres", f'DROP DATABASE "{self._names.pop(url)}" WITH (FORCE)')

    def settle(self, url: str) -> None:
        """Run VACUUM (ANALYZE), and have written what is still to be written.

        PostgreSQL's own daemons come by once a minute and once in five, and do just that after a
        first sync, which makes every table anew. They would then run in the middle of whatever is
        measured next.
        """
        self.execute(url, "VACUUM (ANALYZE)")
        self.execute(url, "CHECKPOINT")

    def size(self, url: str) -> int:
        """Return the bytes of the database."""
        return int(self.execute(url, "SELECT pg_database_size(current_database())"))

    def used(self, url: str) -> int:
        """Return the bytes of the database: what is free within its pages is not known."""
        return self.size(url)

    def execute(self, url: str, statement: str) -> Any:
        """Run a statement in a transaction of its own, or in none where it allows none."""
        return self._ask(self._names[url], statement)["value"]

    def _create(self, how: str) -> str:
        name = f"bench{next(self._numbers)}"
        self._ask("postgres", f'CREATE DATABASE "{name}"{how}')
        url = str(self._ask(name, "SELECT 1")["url"])
        self._names[url] = name
        return url

    def _ask(self, name: str, statement: str) -> Any:
        return self._server.ask(f"{name} {statement}")


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def opened(names: Sequence[str], folder: Path) -> Iterator[list[Store]]:
    """Open the stores of these names, and take down what they needed."""
    with ExitStack() as stack:
        found: list[Store] = []
        for name in names:
            if name == "sqlite":
                found.append(Sqlite(folder))
            else:
                found.append(Postgres(stack.enter_context(Companion(*script("rig.postgres")))))
        yield found
