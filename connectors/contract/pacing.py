"""The clock of a connector, and how it stays below a vendor's limit of requests."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock: monotonic seconds, unix seconds, and a way to wait."""

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Pacer:
    """Stays below a vendor's limit: at most ``per_minute`` requests in any 60 seconds.

    Remembers when each of the last requests was sent, so a reading of a few hundred runs at full
    speed. Used by one client, for one token.
    """

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._clock = clock
        self._sent: deque[float] = deque(maxlen=per_minute)

    def wait(self) -> None:
        """Return when the next request may be sent."""
        if len(self._sent) == self._sent.maxlen:
            pause = self._sent[0] + _MINUTE - self._clock.monotonic()
            if pause > 0:
                self._clock.sleep(pause)
        self._sent.append(self._clock.monotonic())
