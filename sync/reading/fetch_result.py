"""The result of one reading of a source: its certificate and its counts by stream.

Filled by ``sync/reading/stream.py`` while the source is read; ``sync/reading/absence.py`` and
``sync/reading/evidence.py`` judge and keep it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from connectors.contract.connector import Certificate
from core.errors import RosterSyncError
from sync.sources.soundness import storable

_MOST_WORDS = 200
"""Different words or fields that are counted one by one; whatever comes after them is ``?``."""


_MOST_PLACES = 20
"""So many rows that keep leavers in are named; ``skipped`` lists all."""


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
    repeated: dict[str, int] = field(default_factory=dict)
    """Rows whose id an earlier row of their stream has, by stream."""
    keyless: set[str] = field(default_factory=set)
    """Streams with a row whose key could not be read (F5)."""
    keyless_rows: list[dict[str, Any]] = field(default_factory=list)
    """Where the first of these rows are: ``{"stream", "file", "line"}``."""
    tail: set[str] = field(default_factory=set)
    """Keys that stood after the last row that was met: they are missing if a file was cut there."""
    kept: int = 0
    """People who were missed and stay, because a row that was refused speaks of them (F12)."""
    unusable: dict[str, int] = field(default_factory=dict)
    """Rows that could not be used, by stream."""
    left_out: int = 0
    """Values that were left out of rows that are used otherwise (``Record.doubts``)."""
    unknown: dict[str, int] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    """Field → number of parsed rows that have it although we do not read it."""
    error: RosterSyncError | None = None
    """What ended the reading early, if something did."""

    def withhold(self, stream: str, file: str | None, line: int | None) -> None:
        """Note a row that may be about anybody: nobody of its stream counts as missing (F5)."""
        self.keyless.add(stream)
        if len(self.keyless_rows) < _MOST_PLACES:
            self.keyless_rows.append({"stream": stream, "file": file, "line": line})

    def meet(self, unknown: Iterable[str], extra: Iterable[str]) -> None:
        """Count the words that a row has and nobody understands, and the fields nobody reads."""
        for token in unknown:
            word = storable(token, 120)
            _count(self.unknown, word, f"{word.partition('=')[0]}=?")
        for name in extra:
            _count(self.extra, storable(name, 80), "?")


def _count(counts: dict[str, int], name: str, beyond: str) -> None:
    if name not in counts and len(counts) >= _MOST_WORDS:
        name = beyond
    counts[name] = counts.get(name, 0) + 1
