"""Failpoints: places between two statements where a test may stop or kill the program."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_FAILPOINT = threading.local()


def failpoint(name: str) -> None:
    """Mark a place between two statements where a test may kill the program.

    Does nothing unless ``ROSTERSYNC_FAILPOINT`` names the place: then the process ends at once, as
    by ``kill -9``.
    """
    if os.environ.get("ROSTERSYNC_FAILPOINT") == name:
        os._exit(137)
    hook = getattr(_FAILPOINT, "hook", None)
    if hook is not None:
        hook(name)


@contextmanager
def at_failpoints(hook: Any) -> Iterator[None]:
    """Call ``hook(name)`` at every failpoint that this thread passes. For tests."""
    _FAILPOINT.hook = hook
    try:
        yield
    finally:
        _FAILPOINT.hook = None
