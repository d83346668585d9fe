"""Invisible characters in a file, removed before anything is compared (F16).

Used by ``connectors.files.csv_file``. Programs leave zero-width and direction characters, no-break
spaces at the ends of cells, a byte order mark in the middle where files were joined, and the end
mark of DOS (0x1A). Accents may be written as one character or as two (NFC and NFD). None of it is
intended, and any of it would turn a known person or key into another one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from core.models import INVISIBLE

_NO_BREAK = "\u00a0\u2007\u202f"
_AT_THE_ENDS = re.compile(f'(?<=[,"\n])[{_NO_BREAK}]+|[{_NO_BREAK}]+(?=[,"\n])')
_STARTS = (
    b"\xc2\xa0", b"\xc2\xad", b"\xcd\x8f", b"\xd8\x9c", b"\xe1\xa0\x8e", b"\xe2\x80", b"\xe2\x81",
    b"\xef\xb8", b"\xef\xbb\xbf", b"\xf3\xa0",
)  # fmt: skip
"""How these characters begin in UTF-8. Looking for bytes is a hundred times faster than a pattern,
and most files have letters with accents but none of these."""
_END_MARK = b"\x1a"


@dataclass(slots=True)
class Unseen:
    """Removes invisible characters from text and counts them. One object per reading of a file."""

    invisible: int = 0
    no_break: int = 0
    composed: int = 0
    """Lines that held accents written as two characters."""
    end_mark: bool = False
    _held: str = ""

    def cleaned(self, text: str, *, last: bool) -> str:
        """Return the cleaned ``text`` so far; its end waits for characters that belong to it."""
        text = self._held + text
        self._held = ""
        if not last:
            at = _last_ascii(text)
            text, self._held = text[:at], text[at:]
        if text.isascii():
            return text
        if _may_hold_any(text.encode()):
            text = self._without(text)
        if not unicodedata.is_normalized("NFC", text):
            lines = text.split("\n")
            self.composed += sum(not unicodedata.is_normalized("NFC", line) for line in lines)
            text = unicodedata.normalize("NFC", text)
        return text

    def _without(self, text: str) -> str:
        text, count = INVISIBLE.subn("", text)
        self.invisible += count
        text, count = _AT_THE_ENDS.subn("", text)
        self.no_break += count
        return text

    def without_end_mark(self, end: bytes) -> bytes:
        """Return the last bytes of a file without the end mark of DOS and what follows it."""
        body = end.rstrip(_END_MARK + b" \n")
        rest = end[len(body) :]
        if _END_MARK not in rest:
            return end
        self.end_mark = True
        return body + (b"\n" if rest.partition(_END_MARK)[0].endswith(b"\n") else b"")

    def notes(self, file: str) -> list[str]:
        """Return sentences about what was removed."""
        said = []
        if self.invisible:
            said.append(f"{file}: {_times(self.invisible, 'invisible character')} left out.")
        if self.no_break:
            said.append(f"{file}: {_times(self.no_break, 'no-break space')} at the end of a cell"
                        " left out.")  # fmt: skip
        if self.composed:
            said.append(f"{file}: {_times(self.composed, 'line')} with accents written as two"
                        " characters read as if they were one.")  # fmt: skip
        if self.end_mark:
            said.append(f"{file}: the end mark of DOS (0x1A) at its end left out.")
        return said


def _may_hold_any(text: bytes) -> bool:
    """Whether invisible characters or no-break spaces may be in ``text``."""
    return any(start in text for start in _STARTS)


def _times(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _last_ascii(text: str) -> int:
    """Return the position of the last plain character, which a later mark may change; 0: none."""
    for at in range(len(text) - 1, max(-1, len(text) - 4096), -1):
        if text[at].isascii():
            return at
    return len(text)
