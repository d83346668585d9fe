"""Headway: whether a stream of pages still brings anybody, or goes on without an end (F18).

Used by ``sync/reading/stream.py`` for every source that is read from a server, built-in or plugin.
A reading that ends by itself is judged by its distinct ids (F11); this is about one that would not.
"""

from __future__ import annotations

from collections.abc import Callable

from core.errors import IncompleteFetch

_EVERY_PAGE = 8
"""Up to this page each one is looked at; then the 16th, the 32nd and so on: looking costs."""


class Headway:
    """Ends a reading whose page was served before, or brings nobody new."""

    def __init__(self, source: str, stream: str) -> None:
        self._source = source
        self._stream = stream
        self._bodies: set[tuple[int, int]] = set()

    def served(self, body: bytes) -> None:
        """Note a page. Raises ``IncompleteFetch`` for one that was served before.

        Bodies are told apart by length and hash: to keep them would take the roster's memory.
        """
        known = len(self._bodies)
        self._bodies.add((len(body), hash(body)))
        if len(self._bodies) == known:
            raise self._end("served a page twice")

    def look(self, page: int, somebody_new: Callable[[], bool]) -> None:
        """Look at a page, the first being 1. Raises ``IncompleteFetch`` if it brings nobody new."""
        if (page <= _EVERY_PAGE or page & (page - 1) == 0) and not somebody_new():
            raise self._end("served a page on which every id had come before")

    def _end(self, what: str) -> IncompleteFetch:
        return IncompleteFetch(
            f"The source {self._source} {what} ({self._stream}); the reading was stopped there.",
            hint="The next run tries again. If it stays so, report it to the vendor, or to the"
            " author of the connector.",
        )
