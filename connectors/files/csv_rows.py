"""CSV rows as bytes: split a block of a file into rows, and a row into its fields.

Used by every file connector. Rows stay bytes until one is parsed, so that an unchanged file is
never decoded field by field. Bytes are UTF-8 with lone LF as line end, as
``connectors.files.csv_file`` serves them. The grammar is RFC 4180, read tolerantly: a quote counts
only at the start of a field, before which blanks may stand, and a line break inside a quoted field
belongs to the field.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import methodcaller
from typing import NamedTuple

from core.errors import FileRefused, SkipRecord

MAX_ROW_BYTES = 1 << 20
"""A row longer than this is not a roster's row, but a quote that was never closed."""
MAX_COLUMNS = 10_000

_BLANK = b', \t\n"'
"""The bytes of an empty row: spreadsheets leave rows of bare commas behind."""


def _stays_open(line: bytes, inside: bool) -> bool:
    """Whether a quoted field is still open at the end of ``line``; ``inside``: it began in one."""
    at = 0
    while True:
        if inside:
            at = line.find(b'"', at)
            if at < 0:
                return True
            if line[at + 1 : at + 2] == b'"':
                at += 2
                continue
            inside = False
        elif line[at : at + 1] == b'"':
            inside = True
            at += 1
            continue
        at = line.find(b",", at) + 1
        if at == 0:
            return False
        while line[at : at + 1] == b" ":
            at += 1


_QUOTES = methodcaller("count", b'"')
_ODD = (1).__and__
"""Every line of every file passes here, so its quotes are counted without a step of Python."""


def _ragged(lines: Sequence[bytes]) -> bool:
    """Whether a line contains half of a quoted field: then lines are not yet rows."""
    return 1 in map(_ODD, map(_QUOTES, lines))


def _walk(lines: Iterable[bytes]) -> Iterator[tuple[int, int, bool]]:
    """Yield each row as (index of its first line, index after its last, was it closed)."""
    start, inside, index = 0, False, -1
    for index, line in enumerate(lines):
        if inside:
            inside = b'"' not in line or _stays_open(line, inside=True)
        elif line.count(b'"') & 1:
            inside = _stays_open(line, inside=False)
        if not inside:
            yield start, index + 1, True
            start = index + 1
    if inside:
        yield start, index + 1, False


def whole_rows(buffer: bytes) -> int:
    """Return the length of the complete rows at the start of ``buffer``; 0 if it has none."""
    end = buffer.rfind(b"\n") + 1
    if not end or b'"' not in buffer:
        return end
    lines = buffer[: end - 1].split(b"\n")
    if not _ragged(lines):
        return end
    for start, _, closed in _walk(lines):
        if not closed:
            return sum(len(line) + 1 for line in lines[:start])
    return end


def _lines_of(body: bytes) -> list[bytes]:
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def split_rows(body: bytes) -> list[bytes]:
    """Return the rows of ``body`` without parsing their fields; blank rows are left out."""
    lines = _lines_of(body)
    if b'"' in body and _ragged(lines):
        lines = [b"\n".join(lines[start:end]) for start, end, _ in _walk(lines)]
    return [line for line in lines if line.strip(_BLANK)]


def row_lines(body: bytes, first_line: int) -> list[int]:
    """Return the line on which each row of ``split_rows(body)`` begins."""
    lines = _lines_of(body)
    if b'"' not in body or not _ragged(lines):
        return [line for line, row in enumerate(lines, first_line) if row.strip(_BLANK)]
    return [
        first_line + start
        for start, end, _ in _walk(lines)
        if b"\n".join(lines[start:end]).strip(_BLANK)
    ]


def first_rows(lines: Sequence[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield each closed row with the index after its last line."""
    for start, end, closed in _walk(lines):
        if closed:
            yield b"\n".join(lines[start:end]), end


def is_cut(row: bytes) -> bool:
    """Whether ``row`` ends inside a quoted field."""
    return any(not closed for _, _, closed in _walk(row.split(b"\n")))


def fields_of(row: bytes) -> list[str]:
    """Return the fields of one row, stripped of surrounding blanks.

    Raises ``SkipRecord`` (rule ``csv``) for a row that is not CSV, (``row-too-long``) past 1 MiB,
    (``nul``) for a NUL character.
    """
    if len(row) > MAX_ROW_BYTES:
        raise SkipRecord(
            "The row is longer than 1 MiB.",
            rule="row-too-long",
            hint="Look for a quote that is never closed.",
        )
    if b"\x00" in row:
        raise SkipRecord(
            "The row holds a NUL character.", rule="nul", hint="Export the file again."
        )
    text = row.decode()
    if '"' not in text and "\n" not in text:
        return [value.strip() for value in text.split(",")]
    try:
        # A wrong quote on one line harms only that line; a row of several lines must be certain.
        values = next(csv.reader([text], strict="\n" in text, skipinitialspace=True))
    except csv.Error:
        raise SkipRecord(
            "The row is not CSV.",
            rule="csv",
            hint='Quote a field that holds a comma, and write a quote inside it as "".',
        ) from None
    return [value.strip() for value in values]


class Header(NamedTuple):
    """The first row of a file: the names as written, its line, and whether its line has an end."""

    file: str
    names: tuple[str, ...]
    line: int
    ended: bool

    @property
    def folded(self) -> tuple[str, ...]:
        """The names in the form in which they are compared."""
        return tuple(name.casefold() for name in self.names)

    @property
    def width(self) -> int:
        """The number of columns up to the last one with a name."""
        return max(at for at, name in enumerate(self.names, start=1) if name)


def header_of(file: str, row: bytes, line: int, *, ended: bool) -> Header:
    """Read a header row. Raises ``FileRefused`` for one that names nothing or a name twice."""
    if b"\x00" in row:
        raise FileRefused(
            f"{file} holds NUL characters in its first line: "
            "it looks like UTF-16 without a byte order mark.",
            hint="Save the file as CSV UTF-8.",
        )
    if row.count(b",") >= MAX_COLUMNS:
        raise FileRefused(f"{file} has more than {MAX_COLUMNS:,} columns.")
    try:
        names = tuple(" ".join(name.strip("\ufeff \t").splitlines()) for name in fields_of(row))
    except SkipRecord as problem:
        raise FileRefused(
            f"{file}: its first line is not a CSV header. {problem.message}", hint=problem.hint
        ) from None
    header = Header(file, names, line, ended)
    seen: set[str] = set()
    for position, name in enumerate(header.folded, start=1):
        if name and name in seen:
            raise FileRefused(
                f"{file}: column {position} has the name of an earlier column.",
                hint="Each column name may stand in the header once.",
            )
        seen.add(name)
    return header


def joined_headers(body: bytes, header: Header, line: int) -> tuple[bytes, int]:
    """Return the rows without those that repeat the header, and how many there were.

    Each leaves a blank line, so that lines are counted as before. ``line`` is that of the first
    row. Raises ``FileRefused`` if the columns are in another order from there on.
    """
    folded = header.folded
    longest = max(folded, key=len).encode()
    lower = body.lower()
    at, found = lower.find(longest), 0
    while at >= 0:
        start = body.rfind(b"\n", 0, at) + 1
        end = body.find(b"\n", at)
        with suppress(SkipRecord):
            names = [name.casefold() for name in fields_of(body[start:end])]
            if sorted(filter(None, names)) == sorted(filter(None, folded)):
                if names[: header.width] != list(folded[: header.width]):
                    place = line + body.count(b"\n", 0, start)
                    raise FileRefused(
                        f"{header.file}: line {place} is another"
                        " header with its columns in another order, as where files were joined.",
                        hint="Send one file with one header.",
                    )
                found += 1
                body = body[:start] + b" " * (end - start) + body[end:]
        at = lower.find(longest, end)
    return body, found


def near(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean …?`` for a misspelt name, or nothing.

    Spaces, underscores and additional words do not matter (``Email Address``: email).
    """
    spelling = {bare_name(k): k for k in known}
    bare = bare_name(name)
    found = difflib.get_close_matches(bare, spelling, 1, 0.75)
    if not found and bare:
        found = [k for k in spelling if len(k) > 3 and (k in bare or (len(bare) > 3 and bare in k))]
    return f" Did you mean {spelling[found[0]]}?" if found else ""


def bare_name(name: str) -> str:
    """Return a column name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name.casefold())
