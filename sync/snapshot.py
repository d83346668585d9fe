"""The vendor-order snapshot: what a stream held last time, in the order it was served.

It is a cache. ``Order`` compares a new page with the next stretch of it: one comparison of bytes
for a page in which nothing changed, a look a little further ahead where something did. What it
passes over and never meets again is missing; what it does not know is a miss. The answer must be
the same as that of a comparison in sets, only sooner.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct

WIDTH = 16
"""Bytes of one fingerprint."""
VOID = bytes(WIDTH)
"""The fingerprint of a row that must be read again next time: no bytes have it."""
NO_KEY = ""
"""The key of a row whose key could not be read, or that stood twice: nobody is missed by it."""
LOOK_AHEAD = 2
"""How many stored chunks beyond the current page a changed order is searched in."""


_CELL = Struct(f"{WIDTH}s")


@dataclass(slots=True)
class Chunk:
    """One stored page: its position, the fingerprint of the whole, those of its rows, the keys."""

    position: int
    digest: bytes | None
    count: int
    prints: bytes
    keys: bytes

    def key_list(self) -> list[str]:
        """Return the keys of the rows, in order."""
        return self.keys.decode().split("\0") if self.count else []

    def print_list(self) -> list[bytes]:
        """Return the fingerprints of the rows, in order."""
        return [cell[0] for cell in _CELL.iter_unpack(self.prints)]


def join_keys(keys: Sequence[str]) -> bytes:
    """Pack keys for a chunk; no key holds a NUL."""
    return "\0".join(keys).encode()


@dataclass(slots=True)
class Match:
    """What comparing one page found: the known key of each row (None: a miss), and who was passed.

    ``passed`` are keys that the snapshot expected before the page's end and that were not met.
    """

    keys: list[str | None]
    passed: list[str]


@dataclass(slots=True)
class _Open:
    """A stored chunk unpacked for comparison."""

    chunk: Chunk
    prints: list[bytes]
    keys: list[str]


class Order:
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
        self._ahead: deque[_Open | Chunk] = deque()
        self._at = 0
        """How many rows of the first chunk ahead are behind us."""

    def whole_page(self, digest: bytes) -> Chunk | None:
        """Return the next stored chunk if it is exactly the page with this digest, else None."""
        chunk = self._next_whole()
        if chunk is None or chunk.digest is None or chunk.digest != digest:
            return None
        self._ahead.popleft()
        return chunk

    def same_rows(self, prints: bytes) -> Chunk | None:
        """Return the next stored chunk if its rows are exactly these, else None."""
        chunk = self._next_whole()
        if chunk is None or chunk.prints != prints:
            return None
        self._ahead.popleft()
        return chunk

    def match(self, prints: Sequence[bytes]) -> Match:
        """Compare the rows of a page with what comes next, looking a little further ahead."""
        stored, keys = self._view(len(prints))
        found, passed, at = _walk(prints, stored, keys)
        self._consume(at)
        return Match(found, [key for key in passed if key != NO_KEY])

    def rest(self) -> list[str] | None:
        """Return the keys of one more stored chunk that was never reached; None when all are."""
        if not self._more(1):
            return None
        first = self._ahead.popleft()
        keys = first.keys if isinstance(first, _Open) else first.key_list()
        keys, self._at = keys[self._at :], 0
        return [key for key in keys if key != NO_KEY]

    def _next_whole(self) -> Chunk | None:
        if self._at or not self._more(1):
            return None
        first = self._ahead[0]
        return first.chunk if isinstance(first, _Open) else first

    def _more(self, chunks: int) -> bool:
        """Have so many stored chunks at hand, if there are so many."""
        while len(self._ahead) < chunks and self._load is not None:
            chunk = self._load(self._position)
            if chunk is None:
                self._load = None
            else:
                self._position = chunk.position + 1
                self._ahead.append(self._without_touched(chunk))
        return len(self._ahead) >= chunks

    def _view(self, rows: int) -> tuple[list[bytes], list[str]]:
        """Unpack the page's stretch of the order and what lies a little ahead of it."""
        prints: list[bytes] = []
        keys: list[str] = []
        number = 0
        while len(prints) - self._at < rows * (1 + LOOK_AHEAD) and self._more(number + 1):
            item = self._ahead[number]
            if isinstance(item, Chunk):
                item = _Open(item, item.print_list(), item.key_list())
                self._ahead[number] = item
            prints += item.prints
            keys += item.keys
            number += 1
        return prints[self._at :], keys[self._at :]

    def _consume(self, rows: int) -> None:
        self._at += rows
        while self._ahead:
            first = self._ahead[0]
            count = first.chunk.count if isinstance(first, _Open) else first.count
            if self._at < count:
                return
            self._at -= count
            self._ahead.popleft()

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
        return Chunk(chunk.position, None, chunk.count, prints, chunk.keys)


def _walk(
    prints: Sequence[bytes], stored: Sequence[bytes], keys: Sequence[str]
) -> tuple[list[str | None], list[str], int]:
    """Match rows with stored ones in order; return the keys found, those passed, and how far."""
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
        # A single row that moved must not make all between it and here look passed over: go
        # ahead only if what follows follows there too.
        if ahead > at and (
            coming is None or coming not in index or stored[ahead + 1 : ahead + 2] == [coming]
        ):
            passed.extend(keys[at:ahead])
            found.append(keys[ahead])
            at = ahead + 1
        else:
            found.append(None)
    if at == 0 and found:  # nothing is as it was: walk on by as many rows as the page has
        at = min(end, len(found))
        passed.extend(keys[:at])
    return found, passed, at
