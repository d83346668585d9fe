"""The deadline of a run: a run that takes longer than its district allows is ended in order.

Its time is looked at when a source is read and when a transaction begins, never in the middle of
one: a plan is applied as a whole or not at all.
"""

from __future__ import annotations

import time

from core.errors import RunTooLong

MINUTE = 60.0
"""Seconds."""


class Deadline:
    """When a run must have ended, counted from now."""

    def __init__(self, minutes: int, district: str) -> None:
        self._minutes = minutes
        self._district = district
        self._until = time.monotonic() + MINUTE * minutes

    def left(self) -> float:
        """Return how many seconds are left. Raises ``RunTooLong`` if there is none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise RunTooLong(
                f"The run of {self._district} was ended: it took more than {self._minutes}"
                " minutes. What had been read completely is kept, and nobody was changed.",
                hint="The next run goes on from there. If the district is that large or a vendor"
                " that slow, set a longer run_minutes for it.",
            )
        return left
