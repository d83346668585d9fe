"""The guard of write transactions: the run that opened it is asked before each of them begins.

A run uses it to stop before it writes when its lock or its time has ended, without every step
having to think of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy import Connection

Guard = Callable[[Connection], None]
"""Asked when a write transaction begins: it may refuse by raising an error."""

_GUARD: ContextVar[Guard | None] = ContextVar("guard", default=None)


@contextmanager
def guarded(guard: Guard) -> Iterator[None]:
    """Ask ``guard`` at the beginning of each write transaction inside the block.

    It sees the transactions of this thread only, whatever connection they use.
    """
    before = _GUARD.set(guard)
    try:
        yield
    finally:
        _GUARD.reset(before)


def ask_guard(connection: Connection) -> None:
    """Ask the guard of this thread, if there is one, whether a transaction may begin."""
    guard = _GUARD.get()
    if guard is not None and connection.get_execution_options().get("rostersync_write", False):
        guard(connection)
