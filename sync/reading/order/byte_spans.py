"""Stretches: rows of a page that are known again by the fingerprint of their bytes.

A stretch is a few rows that stand side by side, its bytes run from the start of its first row to
the start of the row after its last one. Where a new body holds the same bytes, these rows are cut
out of it, neither split nor fingerprinted one by one; what is left is read like a smaller page.
Works on bytes only; ``sync/reading/order/page_order.py`` says which stretches to look for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

ROWS = 16
"""Rows of a stretch at most: 1 % changed at random leaves six stretches of seven as they were."""
WINDOW = 256 << 10
"""How many bytes beyond its place a stretch is looked for."""
TRIES = 4
"""How often its first key may stand there without the stretch."""
NEAR_SPANS = 2
"""How many of its own lengths it is looked for further, where its first key has been met."""

Fingerprint = Callable[[bytes | memoryview], bytes]

_SPAN = Struct("<IHH16s")
_NOWHERE = 0xFFFF
_NEAR = 1024
"""Most bytes that usually stand between two rows."""
_HEAD = 16
"""So many first bytes of a row are looked for between two rows."""


class Span(NamedTuple):
    """The bytes of a stretch: how many they are, of how many rows, and their fingerprint.

    ``key_at`` is where the key of the first row stands in that row, if it does so letter by letter.
    """

    size: int
    rows: int
    key_at: int
    digest: bytes


def pack(spans: Sequence[Span]) -> bytes:
    """Pack spans for a stored chunk."""
    return b"".join(_SPAN.pack(*span) for span in spans)


def unpack(packed: bytes) -> list[Span]:
    """Return the spans of a stored chunk."""
    return [Span(*fields) for fields in _SPAN.iter_unpack(packed)]


def row_starts(body: bytes, rows: Sequence[bytes]) -> list[int] | None:
    """Return where each row begins in a body; None if a row does not stand there as it is."""
    starts, at, gap = [], 0, 0
    find, stands = body.find, body.startswith
    for row in rows:
        start, head = at + gap, row[:_HEAD]
        # as far behind the last one as that was behind its last, unless it stands before that, too
        if not stands(row, start) or find(head, at, start + len(head) - 1) >= 0:
            start = find(row, at, at + len(row) + _NEAR)
            if start < 0:
                start = find(row, at)
                if start < 0:
                    return None
            gap = start - at
        starts.append(start)
        at = start + len(row)
    return starts


def spans_of(
    body: bytes,
    starts: Sequence[int],
    rows: Sequence[bytes],
    keys: Sequence[str],
    of: tuple[int, int],
    end: int | None,
    fingerprint: Fingerprint,
) -> list[Span]:
    """Return the stretches of the rows ``of[0]`` up to ``of[1]`` of a body.

    ``end`` is where the row after them begins. None: nothing comes after them; a last few rows,
    at least one, are then left out, because a stretch ends where a row begins.
    """
    first, stop = of
    count = stop - first
    if end is None:
        bounds = list(range(first, stop, ROWS))
        ends = [starts[row] for row in bounds]
    else:
        parts = -(-count // ROWS)
        bounds = [first + count * part // parts for part in range(parts + 1)] if parts else []
        ends = [*(starts[row] for row in bounds[:-1]), end]
    view = memoryview(body)
    spans = []
    for (row, after), (start, stop_at) in zip(pairwise(bounds), pairwise(ends), strict=True):
        key = keys[row].encode()
        key_at = rows[row].find(key, 0, _NOWHERE) if key else -1
        spans.append(
            Span(
                stop_at - start,
                after - row,
                _NOWHERE if key_at < 0 else key_at,
                fingerprint(view[start:stop_at]),
            )
        )
    return spans


def stands_at(body: bytes, at: int, span: Span, fingerprint: Fingerprint) -> bool:
    """Say whether a stretch begins at a place of a body. A row comes after it always."""
    end = at + span.size
    return end < len(body) and fingerprint(memoryview(body)[at:end]) == span.digest


def look_for(
    body: bytes, at: int, span: Span, key: str, fingerprint: Fingerprint, *, not_at: int | None
) -> int:
    """Return where a stretch begins in a body, a little after ``at``, by its first key; or -1.

    At ``not_at`` it does not: if its first row is there, it is there changed.
    """
    if span.key_at == _NOWHERE:
        return -1
    word, end = key.encode(), at + WINDOW
    found = body.find(word, at + span.key_at, end)
    for _ in range(TRIES):
        start = found - span.key_at
        if found < 0 or start == not_at:
            return -1
        if stands_at(body, start, span, fingerprint):
            return start
        end = min(end, found + NEAR_SPANS * span.size)  # this was its first row, or a short id
        found = body.find(word, found + 1, end)
    return -1
