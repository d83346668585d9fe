"""The terms on which a source is read, and the keyed fingerprints that depend on them.

Other terms give other fingerprints of the same bytes: a setting that changes how bytes are read
makes every record new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from sync.reading.order.page_order import WIDTH
from sync.sources.mapping import Rule


@dataclass(frozen=True, slots=True)
class ReadingTerms:
    """What a source is asked for, apart from its connector: settings that shape evidence."""

    key: bytes
    """The installation's key."""
    print: bytes
    """Fingerprint of connector version, mapping and filters; all raw fingerprints depend on it."""
    rules: tuple[Rule, ...] = ()
    email_domains: frozenset[str] = frozenset()
    """Folded; empty binds nothing."""


class Prints:
    """Keyed fingerprints of raw bytes: 16 bytes, different for each source's terms and stream."""

    def __init__(self, terms: ReadingTerms, stream: str) -> None:
        self._terms = terms
        self._stream = stream
        self._context: bytes | None = None
        self._base = blake2b(digest_size=WIDTH)

    def turn(self, context: bytes) -> None:
        """Set the context of a page; the same bytes in another context have another fingerprint."""
        if context == self._context:
            return
        self._context = context
        about = blake2b(self._terms.print, digest_size=32, key=self._terms.key)
        about.update(self._stream.encode() + b"\0" + context)
        self._base = blake2b(digest_size=WIDTH, key=about.digest())

    def of(self, raw: bytes | memoryview) -> bytes:
        """Return the fingerprint of some bytes."""
        base = self._base.copy()
        base.update(raw)
        return base.digest()

    def of_all(self, rows: Sequence[bytes]) -> list[bytes]:
        """Return the fingerprint of each row."""
        copy = self._base.copy
        prints = []
        for raw in rows:
            base = copy()
            base.update(raw)
            prints.append(base.digest())
        return prints
