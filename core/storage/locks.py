"""The locks of a district: one run at a time, one service for what is due, one plan applied.

Run and due locks belong to a process: the operating system or the server releases them when their
holder dies. The apply lock belongs to a write transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL

from core.errors import Busy

_RUN_LOCKS = 0x726F7374  # "rost": keeps our advisory locks apart from other programs'
_DUE_LOCKS = 0x726F7364  # "rosd"


class DistrictLocks:
    """Locks of districts in one database."""

    is_sqlite: bool
    url: URL

    @property
    def engine(self) -> Engine:
        """The engine that an advisory lock's own connection comes from."""
        raise NotImplementedError

    @contextmanager
    def run_lock(self, district: str, district_id: int) -> Iterator[None]:
        """Hold the run lock of a district: two runs of one district never overlap.

        The operating system or the server releases it when its holder dies. Raises ``Busy``.
        """
        busy = Busy(
            f"Another run of {district} is under way.",
            hint="Wait until it has ended (rostersync runs shows it), then try again.",
        )
        with self._held(_RUN_LOCKS, "lock", district_id, busy):
            yield

    @contextmanager
    def due_lock(self, district: str, district_id: int) -> Iterator[None]:
        """Hold what is due in a district: of two services only one takes care of it.

        It is released as the run lock is. Raises ``Busy``.
        """
        busy = Busy(
            f"Another service takes care of what is due in {district}.",
            hint="Nothing has to be done: it is tried again.",
        )
        with self._held(_DUE_LOCKS, "due", district_id, busy):
            yield

    @contextmanager
    def _held(self, locks: int, word: str, district_id: int, busy: Busy) -> Iterator[None]:
        if self.is_sqlite:
            lock = FileLock(f"{self.url.database}.{word}-{district_id}", thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise busy from None
            try:
                yield
            finally:
                lock.release()
            return
        number = {"number": (locks << 32) + district_id}
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            got = connection.execute(text("SELECT pg_try_advisory_lock(:number)"), number).scalar()
            if not got:
                raise busy
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:number)"), number)

    def apply_lock(self, connection: Connection, district_id: int) -> None:
        """Take the apply lock of a district until the write transaction ends; waits for it."""
        if not self.is_sqlite:  # on SQLite a write transaction excludes every other one already
            connection.execute(
                text("SELECT id FROM districts WHERE id = :id FOR UPDATE"), {"id": district_id}
            )
