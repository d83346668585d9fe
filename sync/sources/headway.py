"""Headway: whether a stream of pages still brings anybody, or goes on without an end (F18).

Used by ``sync/reading/stream.py`` for every source that is read from a server, built-in or plugin.
A reading that ends by itself is judged by its different ids (F11). This is about one that would
not: it is ended when a page has been served again too often, or a later page brings nobody new.
"""

from __future__ import annotations

from collections.abc import Callable

from core.errors import IncompleteFetch

MOST_REPEATED = 16
"""So many pages may be served again in a reading, one or several, before it is ended."""

_FIRST_LOOK = 16
"""The first page that is looked at for new ids; then the 32nd, the 64th and so on: it costs."""


class Headway:
    """Ends a reading that goes on without bringing anybody."""

    def __init__(self, source: str, stream: str) -> None:
        self._source = source
        self._stream = stream
        self._bodies: set[tuple[int, int]] = set()
        self._repeated = 0

    def served(self, body: bytes) -> None:
        """Note a page. Raises ``IncompleteFetch`` when too many were served before.

        Bodies are told apart by length and hash: to keep them would take the roster's memory.
        """
        known = len(self._bodies)
        self._bodies.add((len(body), hash(body)))
        self._repeated += len(self._bodies) == known
        if self._repeated >= MOST_REPEATED:
            raise self._end("served the same pages again and again")

    def look(self, page: int, somebody_new: Callable[[], bool]) -> None:
        """Look at a page, the first being 1. Raises ``IncompleteFetch`` if it brings nobody new."""
        if page >= _FIRST_LOOK and page & (page - 1) == 0 and not somebody_new():
            raise self._end("served a page on which every id had come before")

    def _end(self, what: str) -> IncompleteFetch:
        return IncompleteFetch(
            f"The source {self._source} {what} ({self._stream}); the reading was stopped there.",
            hint="The next run tries again. If it stays so, report it to the vendor, or to the"
            " author of the connector.",
        )
