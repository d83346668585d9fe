"""The locks of a district: one run at a time, one service for what is due, one plan applied.

Run and due locks belong to a process: the operating system or the server releases them when their
holder dies. The apply lock belongs to a write transaction.

On PostgreSQL the run lock belongs to a connection of its own, which can end while the run goes on.
Therefore each write transaction of the run asks whether the lock is still held, and the next holder
waits for such a transaction to end: two runs never write at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Busy, LockLost

_RUN_LOCKS = 0x726F7374  # "rost": keeps our advisory locks apart from other programs'
_DUE_LOCKS = 0x726F7364  # "rosd"
_WRITE_LOCKS = 0x726F7377  # "rosw": shared by the write transactions of a run


class HeldLock:
    """A lock that a run holds, and can be asked whether it still does."""

    def __init__(self, what: str, own: Connection | None = None, number: int = 0) -> None:
        self._what = what
        self._own = own
        self._number = number

    def check(self, connection: Connection) -> None:
        """Let a write transaction of the run begin; raise ``LockLost`` if the lock has ended.

        A lock of the operating system (SQLite) ends with its process only.
        """
        if self._own is None:
            return
        connection.execute(_SHARE, {"number": self._number})
        try:
            self._own.execute(_ALIVE)
        except SQLAlchemyError:  # it never becomes another connection: SQLAlchemy refuses that
            raise LockLost(
                f"The database connection that held {self._what} has ended, so another run may"
                " have begun: this one wrote nothing more.",
                hint="Start it again. If it happens often, see whether the server, or a proxy in"
                " front of it, ends connections that are idle for a while.",
            ) from None


_SHARE = text("SELECT pg_advisory_xact_lock_shared(:number)")
_ALIVE = text("SELECT 1")
_WAIT = text("SELECT pg_advisory_xact_lock(:number)")
_TAKE = text("SELECT pg_try_advisory_lock(:number)")
_RELEASE = text("SELECT pg_advisory_unlock(:number)")


class DistrictLocks:
    """Locks of districts in one database."""

    is_sqlite: bool
    url: URL

    @property
    def engine(self) -> Engine:
        """The engine that an advisory lock's own connection comes from."""
        raise NotImplementedError

    @contextmanager
    def run_lock(self, district: str, district_id: int) -> Iterator[HeldLock]:
        """Hold the run lock of a district: two runs of one district never overlap.

        The operating system or the server releases it when its holder dies. Raises ``Busy``. Each
        write transaction of the run should ask ``check``.
        """
        busy = Busy(
            f"Another run of {district} is under way.",
            hint="Wait until it has ended (rostersync runs shows it), then try again.",
        )
        with self._held(_RUN_LOCKS, "lock", district_id, busy) as own:
            writes = (_WRITE_LOCKS << 32) + district_id
            if own is not None:  # a run whose lock has ended may be about to commit
                own.execute(_WAIT, {"number": writes})
            yield HeldLock(f"the lock of {district}'s runs", own, writes)

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
    def _held(
        self, locks: int, word: str, district_id: int, busy: Busy
    ) -> Iterator[Connection | None]:
        """Hold a lock; on PostgreSQL, return the connection that it belongs to."""
        if self.is_sqlite:
            lock = FileLock(f"{self.url.database}.{word}-{district_id}", thread_local=False)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise busy from None
            try:
                yield None
            finally:
                lock.release()
            return
        number = {"number": (locks << 32) + district_id}
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            got = connection.execute(_TAKE, number).scalar()
            if not got:
                raise busy
            try:
                yield connection
            finally:
                with suppress(SQLAlchemyError):  # its connection has ended, and the lock with it
                    connection.execute(_RELEASE, number)

    def apply_lock(self, connection: Connection, district_id: int) -> None:
        """Take the apply lock of a district until the write transaction ends; waits for it."""
        if not self.is_sqlite:  # on SQLite a write transaction excludes every other one already
            connection.execute(
                text("SELECT id FROM districts WHERE id = :id FOR UPDATE"), {"id": district_id}
            )
