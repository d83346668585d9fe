"""How much of a thing is tried: a little in ``make test``, much in ``make test-long``."""

from __future__ import annotations

from hypothesis import settings

LONG = settings.default.max_examples >= 1000
"""Whether the profile ``long`` is on (``tests/conftest.py``)."""


def examples(quick: int, *, long: int) -> int:
    """Return the number of examples for a property whose every example costs whole syncs."""
    return long if LONG else quick
