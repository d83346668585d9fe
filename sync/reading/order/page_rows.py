"""The rows of one page that are examined one by one: all of them, or those left after a cut.

Used by ``sync/reading/stream.py``. Knows where each row stands in its page, and what the snapshot
keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from connectors.contract.connector import Page
from sync.reading.order.byte_spans import ROWS, Span, pack, row_starts, spans_of
from sync.reading.order.fingerprints import Prints
from sync.reading.order.page_order import Chunk, Cut


@dataclass(slots=True)
class PageRows:
    """Rows of a page, with their fingerprints.

    ``body`` is what they were split from: the page's own, or what a cut left of it. ``starts`` says
    where each row begins there, ``before`` how many rows stand before each stretch that was cut
    out. ``count`` is of all rows of the page.
    """

    page: Page
    body: bytes
    raw: Sequence[bytes]
    prints: list[bytes]
    count: int
    cut: Cut | None = None
    starts: Sequence[int] | None = None
    before: Sequence[int] = ()
    _lines: Sequence[int] | None = field(default=None, repr=False)
    _numbers: Sequence[int] | None = field(default=None, repr=False)

    @classmethod
    def all_of(cls, page: Page, prints: Prints) -> PageRows:
        """Return all rows of a page."""
        raw = page.split(page.body)
        return cls(page, page.body, raw, prints.of_all(raw), len(raw))

    @classmethod
    def left_by(cls, cut: Cut, page: Page, prints: Prints) -> PageRows | None:
        """Return the rows that a cut left, or None where these are no whole rows."""
        raw = page.split(cut.rest)
        placed = cut.rows_before(raw)
        if placed is None:
            return None
        starts, before = placed
        count = len(raw) + sum(span.rows for _, _, span in cut.met)
        return cls(page, cut.rest, raw, prints.of_all(raw), count, cut, starts, before)

    def known_chunk(self) -> Chunk | None:
        """Return the stored chunk that the page is, row by row, if it is one."""
        return None if self.cut is None else self.cut.known_tail(b"".join(self.prints))

    def may_have_cut(self, keys: set[str]) -> bool:
        """Return whether a row with one of these keys may be among those that were cut out."""
        if self.cut is None:
            return False
        left = keys.difference(*(stretch.keys for stretch in self.cut.kept))
        chunks = {id(met.stretch.chunk): met.stretch.chunk for met in self.cut.met}
        return any(not left.isdisjoint(chunk.key_list()) for chunk in chunks.values())

    def number(self, row: int) -> int:
        """Return the number in the page, from 0, of a row that is left."""
        if self.cut is None:
            return row
        if self._numbers is None:
            numbers: list[int] = []
            gone = 0
            for (_, _, span), rows in zip(self.cut.met, self.before, strict=True):
                numbers += range(len(numbers) + gone, rows + gone)
                gone += span.rows
            self._numbers = [*numbers, *range(len(numbers) + gone, self.count)]
        return self._numbers[row]

    def line(self, row: int) -> int | None:
        """Return the line of the file on which a row begins, if the page is of a file."""
        if self.page.lines is None:
            return None
        if self._lines is None:
            raw = self.raw if self.cut is None else self.page.split(self.page.body)
            self._lines = self.page.lines(raw)
        return self._lines[self.number(row)]

    def stored(self, keys: Sequence[str], prints: Prints) -> tuple[bytes, list[str], bytes]:
        """Return what the snapshot keeps of the page: fingerprints and keys of rows, and spans.

        ``keys`` are of the rows that are left. No spans: the rows do not stand in the body as they
        are, or are too few.
        """
        if self.cut is None:
            starts = row_starts(self.body, self.raw) if self.count > ROWS else None
            whole = self._spans(starts, keys, 0, self.count, None, prints)
            return b"".join(self.prints), list(keys), pack(whole)
        spans: list[Span] = []
        found: list[bytes] = []
        all_keys: list[str] = []
        first = 0
        for (place, stretch, span), rows in zip(self.cut.met, self.before, strict=True):
            spans += self._spans(self.starts, keys, first, rows, place, prints)
            found += self.prints[first:rows]
            all_keys += keys[first:rows]
            first = rows
            spans.append(span)
            found.append(stretch.joined_prints)
            all_keys += stretch.keys
        spans += self._spans(self.starts, keys, first, len(self.raw), None, prints)
        found += self.prints[first:]
        all_keys += keys[first:]
        return b"".join(found), all_keys, pack(spans)

    def _spans(
        self,
        starts: Sequence[int] | None,
        keys: Sequence[str],
        first: int,
        stop: int,
        end: int | None,
        prints: Prints,
    ) -> list[Span]:
        if starts is None or first == stop:
            return []
        return spans_of(self.body, starts, self.raw, keys, (first, stop), end, prints.of)
