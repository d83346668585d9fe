"""Where a connector's time comes from, and how it keeps below a vendor's rate of requests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from: seconds that only grow, unix seconds, and a way to wait."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Pacer:
    """Keeps below a vendor's rate: at most ``per_minute`` requests in any 60 seconds.

    A token bucket that holds a twelfth of the minute's requests, so that burst and refill together
    never pass the limit. Used by one client, for one token.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._clock = clock
        self._burst = float(max(1, per_minute // 12))
        self._rate = max(per_minute - self._burst, 1.0) / 60.0
        self._tokens = self._burst
        self._at = clock.monotonic()

    def wait(self) -> None:
        """Return when the next request may go out."""
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            pause = (1.0 - self._tokens) / self._rate
            self._clock.sleep(pause)
            self._tokens = 1.0
            self._at = self._clock.monotonic()
        self._tokens -= 1.0
