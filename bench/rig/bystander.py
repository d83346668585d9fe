"""Stands by while a sync runs: reads a user and begins a hand edit every few milliseconds.

    python -m bench.rig.bystander URL

A line on its input ends it; it answers with the longest wait of each kind and how often it tried.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_PAUSE = 0.005
_PATIENCE = 3600.0
"""Seconds: the program gives up after 30, but how long it would have waited is to be seen."""
_USER = "SELECT * FROM users ORDER BY id LIMIT 1"


class Tries:
    """One thing that is tried again and again, in a thread of its own."""

    def __init__(self, attempt: Callable[[], Callable[[], object]]) -> None:
        self._attempt = attempt
        self._over = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.tries, self.longest = 0, 0.0

    def begin(self) -> None:
        """Begin, and return when the first try is over."""
        self._thread.start()
        self._begun.wait()

    def end(self) -> dict[str, Any]:
        """End after the try that is under way; return what was found."""
        self._over.set()
        self._thread.join()
        return {"tries": self.tries, "longest": self.longest}

    def _run(self) -> None:
        attempt = self._attempt()  # a connection of SQLite belongs to the thread that made it
        while not self._over.wait(_PAUSE):
            began = time.perf_counter()
            attempt()
            self.longest = max(self.longest, time.perf_counter() - began)
            self.tries += 1
            self._begun.set()


def on_sqlite(path: str) -> dict[str, Tries]:
    """Return what is tried on SQLite: a hand edit needs the one write lock."""
    import sqlite3

    def reader() -> Callable[[], object]:
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
        return lambda: connection.execute(_USER).fetchall()

    def editor() -> Callable[[], object]:
        connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)

        def edit() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

        return edit

    return {"reader": Tries(reader), "hand edit": Tries(editor)}


def on_postgres(url: str) -> dict[str, Tries]:
    """Return what is tried on PostgreSQL: a hand edit needs the row of its district."""
    import psycopg

    def reader() -> Callable[[], object]:
        connection = psycopg.connect(url, autocommit=True)
        return lambda: connection.execute(_USER).fetchall()

    def editor() -> Callable[[], object]:
        connection = psycopg.connect(url)

        def edit() -> None:
            connection.execute("SELECT id FROM districts WHERE id = 1 FOR UPDATE")
            connection.rollback()

        return edit

    return {"reader": Tries(reader), "hand edit": Tries(editor)}


def main() -> None:
    url = sys.argv[1]
    lite = url.startswith("sqlite")
    kinds = on_sqlite(url.removeprefix("sqlite:///")) if lite else on_postgres(url)
    for tries in kinds.values():
        tries.begin()
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    print(json.dumps({name: tries.end() for name, tries in kinds.items()}), flush=True)


if __name__ == "__main__":
    main()
