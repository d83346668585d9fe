"""The page order: what a stream contained last time, in the order it was served.

It is a cache. ``PageOrder`` compares a new page with the next part of it: one comparison of bytes
for a few rows in which nothing changed, a look a little further ahead where something did. What it
passes over and never meets again is missing; what it does not know is a miss. The answer must be
the same as that of a comparison in sets, only sooner.

One file, because the order and the look ahead are one algorithm.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple

from sync.reading.order.byte_spans import Fingerprint, Span, look_for, row_starts, stands_at, unpack

WIDTH = 16
"""Bytes of one fingerprint."""
VOID = bytes(WIDTH)
"""The fingerprint of a row that must be read again next time; no row has it."""
NO_KEY = ""
"""The key for rows with an unreadable or repeated key: nobody is missing because of it."""
LOOK_AHEAD = 2
"""How far a changed order is searched ahead, in multiples of the current page's rows."""
LOST = 8
"""After this many missing spans in a row, the rest of a page is split."""
CRUMBS = 4
"""A chunk whose stretches have fewer rows than this, on the average, gets new ones."""


_CELL = Struct(f"{WIDTH}s")


@dataclass(slots=True)
class Chunk:
    """One stored page: its position, its fingerprints, those of its rows, their keys.

    ``digest`` is the fingerprint of the whole, where it may be trusted whole; a page of more than a
    few rows has the fingerprints of its stretches instead (``spans``).
    """

    position: int
    digest: bytes | None
    count: int
    prints: bytes
    keys: bytes
    spans: bytes | None = None
    _keys: list[str] | None = field(default=None, repr=False, compare=False)
    _prints: list[bytes] | None = field(default=None, repr=False, compare=False)

    def key_list(self) -> list[str]:
        """Return the keys of the rows, in order."""
        if self._keys is None:
            self._keys = self.keys.decode().split("\0") if self.count else []
        return self._keys

    def print_list(self) -> list[bytes]:
        """Return the fingerprints of the rows, in order."""
        if self._prints is None:
            self._prints = [cell[0] for cell in _CELL.iter_unpack(self.prints)]
        return self._prints

    def stretches(self) -> list[Stretch]:
        """Return the rows in spans; the last one, or the only one, has no fingerprint."""
        spans = unpack(self.spans or b"")
        found: list[Stretch] = []
        row = 0
        if len(spans) * CRUMBS <= self.count:
            voids = VOID in self.prints
            for span in spans:
                stop = row + span.rows
                void = voids and VOID in self.prints[row * WIDTH : stop * WIDTH]
                found.append(Stretch(self, row, stop, None if void else span))
                row = stop
        found.append(Stretch(self, row, self.count, None))
        return found


class Stretch:
    """Rows ``first`` up to ``stop`` of a stored chunk. With a span their bytes are known."""

    __slots__ = ("chunk", "first", "span", "stop")

    def __init__(self, chunk: Chunk, first: int, stop: int, span: Span | None) -> None:
        self.chunk = chunk
        self.first = first
        self.stop = stop
        self.span = span

    @property
    def key(self) -> str:
        """The key of its first row."""
        return self.chunk.key_list()[self.first]

    @property
    def keys(self) -> list[str]:
        """The keys of its rows."""
        return self.chunk.key_list()[self.first : self.stop]

    @property
    def prints(self) -> list[bytes]:
        """The fingerprints of its rows."""
        return self.chunk.print_list()[self.first : self.stop]

    @property
    def joined_prints(self) -> bytes:
        """The fingerprints of its rows, joined."""
        return self.chunk.prints[self.first * WIDTH : self.stop * WIDTH]


def join_keys(keys: Sequence[str]) -> bytes:
    """Pack keys for a chunk; no key holds a NUL."""
    return "\0".join(keys).encode()


class Met(NamedTuple):
    """A stretch that was cut out of a body, and the place in what was left where it stood."""

    place: int
    stretch: Stretch
    span: Span


@dataclass(frozen=True, slots=True)
class Cut:
    """A page's body without the stretches that stand in it as they stood last time.

    ``met`` are these stretches, in order. ``kept`` are those of the order that were looked for and
    not met, of ``seen`` in all.
    """

    rest: bytes
    met: Sequence[Met]
    kept: Sequence[Stretch]
    seen: int

    def known_tail(self, prints: bytes) -> Chunk | None:
        """Return the stored chunk that the page is whole, if ``rest`` has rows with these prints.

        It is, if all of the chunk's stretches were met, and its last few rows are all the others.
        """
        chunk = self.met[0].stretch.chunk
        tail = self.kept[0] if self.kept else None
        if tail is None or tail.chunk is not chunk or tail.stop != chunk.count:
            return None
        whole = self.met[-1].stretch.chunk is chunk and self.met[0].stretch.first == 0
        rows = sum(span.rows for _, _, span in self.met)
        same = whole and rows == tail.first and chunk.prints[tail.first * WIDTH :] == prints
        return chunk if same else None

    def rows_before(self, rows: Sequence[bytes]) -> tuple[list[int], list[int]] | None:
        """Return where each row of ``rest`` begins, and how many stand before each cut.

        None, if the rest does not consist of whole rows: the body must then be read completely.
        """
        starts = row_starts(self.rest, rows)
        if starts is None:
            return None
        before = [bisect_left(starts, met.place) for met in self.met]
        for met, row in zip(self.met, before, strict=True):
            if row >= len(rows) or starts[row] != met.place:
                return None
        return starts, before


@dataclass(slots=True)
class PageMatch:
    """What comparing one page found: the known key of each row (None: a miss), and who was passed.

    ``passed`` are keys that the snapshot expected before the page's end and that were not met.
    Nothing is behind us until the order accepts the match.
    """

    keys: list[str | None]
    passed: list[str]
    rows: int
    cut: Cut | None


class PageOrder:
    """The stored order of one stream, walked once from its first chunk to its last.

    ``load(position)`` gives the next stored chunk at or after a position, or None. ``touched`` are
    keys that the snapshot must not vouch for.
    """

    def __init__(
        self, load: Callable[[int], Chunk | None] | None, touched: frozenset[str] = frozenset()
    ) -> None:
        self._load = load
        self.touched = touched
        self._position = 0
        self._ahead: deque[Stretch] = deque()
        self._at = 0
        """How many rows of the first stretch ahead are behind us."""
        self._head = 0
        """Where the first row of a page began the last time."""

    # -- pages of which nothing has changed

    def has_digest(self) -> bool:
        """Say whether the next stored chunk is known by the fingerprint of the whole."""
        chunk = self._front()
        return chunk is not None and chunk.digest is not None

    def whole_page(self, digest: bytes) -> Chunk | None:
        """Return the next stored chunk if it is exactly the page with this digest, else None."""
        chunk = self._front()
        return chunk if chunk is not None and chunk.digest == digest else None

    def same_rows(self, prints: bytes) -> Chunk | None:
        """Return the next stored chunk if its rows are exactly these, else None."""
        chunk = self._front()
        return chunk if chunk is not None and chunk.prints == prints else None

    def drop(self, chunk: Chunk) -> None:
        """Move past the next stored chunk."""
        while self._ahead and self._ahead[0].chunk is chunk:
            self._ahead.popleft()

    def _front(self) -> Chunk | None:
        """Return the next stored chunk, if all of its rows are still ahead."""
        if self._at or not self._more(1):
            return None
        first = self._ahead[0]
        return first.chunk if first.first == 0 and self._all_ahead(first.chunk) else None

    def _all_ahead(self, chunk: Chunk) -> bool:
        row = 0
        for stretch in self._ahead:
            if stretch.chunk is not chunk or stretch.first != row:
                break
            row = stretch.stop
        return row == chunk.count

    # -- pages of which something has changed

    def cut(self, body: bytes, fingerprint: Fingerprint, avoid: AbstractSet[str]) -> Cut | None:
        """Look for the next spans in a body, and cut out those that are there unchanged.

        Stretches with a key of ``avoid`` stay. None, if nothing can be cut out.
        """
        met: list[Met] = []
        kept: list[Stretch] = []
        pieces: list[bytes] = []
        seen = at = lost = left = 0
        here, guess = True, self._head
        tail = 0
        """Bytes that rows without a span will take at least, if they are still there."""
        while lost < LOST and self._more(seen + 1):
            stretch = self._ahead[seen]
            seen += 1
            span = stretch.span
            begun = seen == 1 and self._at > 0
            if span is None or begun or (avoid and not avoid.isdisjoint(stretch.keys)):
                kept.append(stretch)
                here = False
                if met:
                    last = met[-1].span
                    tail += (stretch.stop - stretch.first) * (last.size // last.rows) // 2
                continue
            if len(body) - at - tail <= span.size:  # the page ends before
                kept.append(stretch)
                break
            if here and stands_at(body, guess, span, fingerprint):
                found = guess
            else:
                not_at = guess if here else None
                found = look_for(body, at, span, stretch.key, fingerprint, not_at=not_at)
            if found < 0:
                kept.append(stretch)
                lost, here = lost + 1, False
                continue
            if not kept and not met:
                self._head = found
            pieces.append(body[at:found])
            left += found - at
            met.append(Met(left, stretch, span))
            at = guess = found + span.size
            lost, here, tail = 0, True, 0
        if not met:
            return None
        return Cut(b"".join([*pieces, body[at:]]), met, kept, seen)

    def match(self, prints: Sequence[bytes], cut: Cut | None = None) -> PageMatch:
        """Compare the rows of a page with the next stored rows, looking a little ahead.

        With a cut, the rows are those that are left, and what was met is neither here nor there.
        """
        kept, seen = (cut.kept, cut.seen) if cut is not None else ((), 0)
        stored, keys = self._view(len(prints), kept, seen)
        found, passed, at = _walk(prints, stored, keys)
        return PageMatch(found, [key for key in passed if key != NO_KEY], at, cut)

    def accept(self, match: PageMatch) -> None:
        """Move past what a page has found and skipped."""
        if match.cut is not None:
            for _ in range(match.cut.seen):
                self._ahead.popleft()
            self._ahead.extendleft(reversed(match.cut.kept))
        self._at += match.rows
        while self._ahead:
            first = self._ahead[0]
            count = first.stop - first.first
            if self._at < count:
                return
            self._at -= count
            self._ahead.popleft()

    def rest(self) -> list[str] | None:
        """Return the keys of another stored chunk that was never reached; None at the end."""
        if not self._more(1):
            return None
        chunk = self._ahead[0].chunk
        keys: list[str] = []
        while self._ahead and self._ahead[0].chunk is chunk:
            keys += self._ahead.popleft().keys
        keys, self._at = keys[self._at :], 0
        return [key for key in keys if key != NO_KEY]

    def _more(self, stretches: int) -> bool:
        """Have so many stored stretches at hand, if there are so many."""
        while len(self._ahead) < stretches and self._load is not None:
            chunk = self._load(self._position)
            if chunk is None:
                self._load = None
            else:
                self._position = chunk.position + 1
                self._ahead.extend(self._without_touched(chunk).stretches())
        return len(self._ahead) >= stretches

    def _view(self, rows: int, kept: Sequence[Stretch], seen: int) -> tuple[list[bytes], list[str]]:
        """Return the page's part of the order, and a little beyond it."""
        prints: list[bytes] = []
        keys: list[str] = []
        for stretch in self._from(kept, seen):
            if len(prints) - self._at >= rows * (1 + LOOK_AHEAD):
                break
            prints += stretch.prints
            keys += stretch.keys
        return prints[self._at :], keys[self._at :]

    def _from(self, kept: Sequence[Stretch], seen: int) -> Iterator[Stretch]:
        yield from kept
        while self._more(seen + 1):
            yield self._ahead[seen]
            seen += 1

    def _without_touched(self, chunk: Chunk) -> Chunk:
        if not self.touched:
            return chunk
        keys = chunk.key_list()
        if self.touched.isdisjoint(keys):
            return chunk
        prints = b"".join(
            VOID if key in self.touched else print_
            for key, print_ in zip(keys, chunk.print_list(), strict=True)
        )
        return Chunk(chunk.position, None, chunk.count, prints, chunk.keys, chunk.spans)


def _walk(
    prints: Sequence[bytes], stored: Sequence[bytes], keys: Sequence[str]
) -> tuple[list[str | None], list[str], int]:
    """Match rows with stored ones in order; return the keys found, those skipped, and how far."""
    found: list[str | None] = []
    passed: list[str] = []
    index: dict[bytes, int] | None = None
    at, end, last = 0, len(stored), len(prints) - 1
    for number, print_ in enumerate(prints):
        if at < end and stored[at] == print_:
            found.append(keys[at])
            at += 1
            continue
        coming = prints[number + 1] if number < last else None
        if at + 1 < end and stored[at + 1] == print_:  # one row left
            passed.append(keys[at])
            found.append(keys[at + 1])
            at += 2
            continue
        if coming is not None and at < end:
            if at + 1 < end and stored[at + 1] == coming:  # changed in its place
                passed.append(keys[at])
                found.append(None)
                at += 1
                continue
            if stored[at] == coming:  # a new row
                found.append(None)
                continue
        if index is None:
            index = {value: place for place, value in enumerate(stored)}
        ahead = index.get(print_, -1)
        # A single moved row must not make everything in between look skipped: jump ahead only if
        # the following rows match there too.
        if ahead > at and (
            coming is None or coming not in index or stored[ahead + 1 : ahead + 2] == [coming]
        ):
            passed.extend(keys[at:ahead])
            found.append(keys[ahead])
            at = ahead + 1
        else:
            found.append(None)
    if at == 0 and found:  # nothing matches: move on by as many rows as the page has
        at = min(end, len(found))
        passed.extend(keys[:at])
    return found, passed, at
