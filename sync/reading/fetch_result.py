"""The result of one reading of a source: its certificate and its counts by stream.

Filled by ``sync/reading/stream.py`` while the source is read; ``sync/reading/absence.py`` and
``sync/reading/evidence.py`` judge and keep it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.contract.connector import Certificate
from core.errors import RosterSyncError


@dataclass(slots=True)
class FetchResult:
    """The result of a reading. ``counted``: rows by stream; ``parsed``: how many were unknown."""

    certificate: Certificate
    counted: dict[str, int] = field(default_factory=dict)
    pages: dict[str, int] = field(default_factory=dict)
    parsed: int = 0
    compared: dict[str, bool] = field(default_factory=dict)
    """Streams whose absent rows the page order can tell; the others are compared in sets."""
    ordered: set[str] = field(default_factory=set)
    """Streams in which the page order may have found unchanged rows, which are not staged."""
    keyless: set[str] = field(default_factory=set)
    """Streams with a row whose key could not be read (F5)."""
    tail: set[str] = field(default_factory=set)
    """Keys that stood after the last row that was met: they are missing if a file was cut there."""
    kept: int = 0
    """People who were missed and stay, because a row that was refused speaks of them (F12)."""
    unusable: dict[str, int] = field(default_factory=dict)
    """Rows that could not be used, by stream."""
    unknown: dict[str, int] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    """Field → number of parsed rows that have it although we do not read it."""
    error: RosterSyncError | None = None
    """The error that ended the reading early, if any."""
