"""Python's garbage collector, and how to make it run less often while many rows are handled.

Used by reading and planning, and by the command line while it loads its modules. Rows are freed by
reference counting; searching them for cycles that do not exist takes a tenth of a first sync or of
a start. Only a process of our own is tuned (``look_seldom`` says so): an app that embeds
rostersync keeps the collector that it has.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUALLY = gc.get_threshold()
_SELDOM = (50_000, 20, 100)
"""Thresholds for the young and the older generation (Python's own are 700 and 10)."""

_tuned = False


def look_seldom() -> None:
    """Collect rarely from now on: the process is ours, and ``seldom`` may tune it."""
    global _tuned
    _tuned = True
    gc.set_threshold(*_SELDOM)


def look_no_more() -> None:
    """Exempt all existing objects: looking through them takes a fifth of a command."""
    gc.freeze()


def look_as_usual() -> None:
    """Collect as often as Python does by default: a process that stays up must not leak cycles."""
    gc.set_threshold(*_USUALLY)


@contextmanager
def seldom() -> Iterator[None]:
    """Collect rarely until the block ends, in a process of our own.

    Nothing is frozen or forgotten: what was made in the block is looked at after it, so a process
    that runs many syncs does not grow.
    """
    if not _tuned:
        yield
        return
    before = gc.get_threshold()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
