"""The collector of cycles, and how seldom it looks while many rows pass through.

Used by reading and planning, and by the command line while it loads its modules. Rows are freed by
their count of references; what is looked for in vain costs a tenth of a first sync or of a start.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_USUALLY = gc.get_threshold()
_SELDOM = (50_000, 20, 100)
"""Allocations before a look at the young, and looks before one at the older (Python: 700, 10)."""


def look_seldom() -> None:
    """Look for cycles seldom from now on."""
    gc.set_threshold(*_SELDOM)


def look_no_more() -> None:
    """Leave what is there to the end of the process: looking through it is a fifth of a command."""
    gc.freeze()


def look_as_usual() -> None:
    """Look for cycles as often as Python does: what stays up must not keep them."""
    gc.set_threshold(*_USUALLY)


@contextmanager
def seldom() -> Iterator[None]:
    """Look for cycles seldom, and leave out what was there before, until the block ends."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.freeze()
    look_seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not frozen:  # somebody else's frozen objects stay theirs
            gc.unfreeze()
