"""What one reading of a source came to: its certificate and its counts, stream by stream.

Filled by ``sync/reading/stream.py`` while the source is read; ``sync/reading/absence.py`` and
``sync/reading/evidence.py`` judge and keep it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.contract.connector import Certificate
from core.errors import RosterSyncError


@dataclass(slots=True)
class FetchResult:
    """What a reading came to. ``counted`` rows by stream; ``parsed`` how many were not known."""

    certificate: Certificate
    counted: dict[str, int] = field(default_factory=dict)
    pages: dict[str, int] = field(default_factory=dict)
    parsed: int = 0
    compared: dict[str, bool] = field(default_factory=dict)
    """Streams whose absent may be read off a snapshot; the others are compared in sets."""
    ordered: set[str] = field(default_factory=set)
    """Streams of which a snapshot may have met rows unchanged, which are then not on the stage."""
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
    """Field → parsed rows that have it and of whom nothing of ours reads it."""
    error: RosterSyncError | None = None
    """What ended the reading early, if something did."""
