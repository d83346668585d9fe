"""What a sync measured on loopback costs at a distance: a projection, not a measurement."""

from __future__ import annotations

from typing import NamedTuple

ROUND_TRIP = 0.1
"""Seconds until the first byte of an answer is there."""
BYTES_A_SECOND = 100e6 / 8
"""100 Mbit/s. No compression is counted on."""


class Projected(NamedTuple):
    """Seconds: of waiting for answers, of their transfer, and of the whole process."""

    waiting: float
    transfer: float
    seconds: float


def project(requests: int, served: int, seconds: float, per_minute: int | None = None) -> Projected:
    """Return what a sync takes that took ``seconds`` on loopback.

    Nothing is taken to overlap, though the next page of a full reading comes while one is compared,
    and what loopback took stays in: it is the most that a sync takes where no request is repeated.
    ``per_minute`` is the vendor's limit; who reaches it waits for the next minute.
    """
    waiting = requests * ROUND_TRIP
    if per_minute is not None:
        waiting = max(waiting, (requests - 1) // per_minute * 60.0)
    transfer = served / BYTES_A_SECOND
    return Projected(waiting, transfer, waiting + transfer + seconds)
