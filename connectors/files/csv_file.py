"""One CSV file, served as pages of whole rows.

Used by ``connectors.files.file_set``. Memory stays flat: a file is read 2 MiB at a time, never as a
whole. Encodings: UTF-8 with or without byte order mark, UTF-16 with one; CRLF, LF and CR line ends.
All rows come out as UTF-8 with LF, so that a file saved in another encoding holds equal rows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from connectors.contract.connector import Page
from connectors.files.csv_rows import (
    MAX_ROW_BYTES,
    Header,
    fields_of,
    first_rows,
    header_of,
    is_cut,
    joined_headers,
    row_lines,
    split_rows,
    whole_rows,
)
from connectors.files.unseen import Unseen
from core.errors import FileRefused, IncompleteFetch, SkipRecord

PAGE_BYTES = 2 << 20
_HEADER_BYTES = 1 << 16
MAX_FILE_BYTES = 4 << 30
_NOTHING = b', \t\n"\xef\xbb\xbf'
_SEPARATOR_LINE = re.compile(rb'"?sep=.?"?[,;\t ]*', re.IGNORECASE)
"""What some programs write above the header, to tell Excel how the file is separated."""


def _decoder(file: str, start: bytes) -> tuple[int, str]:
    """Return (length of the byte order mark, encoding) for the first bytes of a file."""
    if start.startswith(codecs.BOM_UTF8):
        return 3, "utf-8"
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise FileRefused(f"{file} is UTF-32.", hint="Save the file as CSV UTF-8.")
    if start.startswith(codecs.BOM_UTF16_LE):
        return 2, "utf-16-le"
    if start.startswith(codecs.BOM_UTF16_BE):
        return 2, "utf-16-be"
    return 0, "utf-8"


def _something_else(start: bytes) -> str:
    """Return what a file is by its first bytes, if it is none of rows and columns."""
    text = start[:512].removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return "a workbook or an archive"
    if text.startswith(b"%PDF"):
        return "a PDF"
    if text.startswith(b"{\\rtf"):
        return "a text document"
    if text.startswith((b"{", b"[{")):
        return "JSON"
    if re.match(rb"<[!?a-zA-Z]", text):
        return "a web page" if b"<html" in text.lower() or b"<table" in text.lower() else "XML"
    return ""


def _stretches(
    file: str, stream: IO[bytes], unseen: Unseen, size: int = PAGE_BYTES
) -> Iterator[bytes]:
    """Read a stream as blocks of UTF-8 with LF line ends. Raises ``FileRefused``.

    ``size``: how many bytes are read at a time.

    Invisible characters are removed, and counted in ``unseen`` (F16).
    """
    start = stream.read(size)
    if other := _something_else(start):
        raise FileRefused(f"{file} is not CSV but {other}.", hint="Save it as CSV UTF-8.")
    skip, encoding = _decoder(file, start)
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    chunk, carry, line, total = start[skip:], b"", 1, 0
    pending = False  # the decoder keeps the first bytes of an unfinished character
    held = False  # the end of the last stretch waits for the marks that may follow it
    while True:
        more = stream.read(size)
        total += len(chunk)
        if total > MAX_FILE_BYTES:
            raise FileRefused(f"{file} is larger than 4 GiB.")
        plain = encoding == "utf-8" and not pending and chunk.isascii()
        if plain and more[:1].isascii():  # else a mark may follow that belongs to its last letter
            text = unseen.cleaned("", last=True).encode() + chunk if held else chunk
            held = False
        else:
            try:
                decoded = decoder.decode(chunk, final=not more)
            except UnicodeDecodeError as problem:
                raise _bad_encoding(file, encoding, problem, line, at_end=not more) from None
            pending = bool(decoder.getstate()[0])
            text = unseen.cleaned(decoded, last=not more).encode()
            held = bool(more)
        text = carry + text if carry else text
        carry = b""
        if more and text.endswith(b"\r"):
            text, carry = text[:-1], b"\r"
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not more:
            text = unseen.without_end_mark(text)
        line += text.count(b"\n")
        if text:
            yield text
        if not more:
            return
        chunk = more


def _bad_encoding(
    file: str, encoding: str, problem: UnicodeDecodeError, line: int, *, at_end: bool
) -> FileRefused | IncompleteFetch:
    if (
        at_end
        and problem.end >= len(problem.object)
        and problem.reason
        in (
            "unexpected end of data",
            "truncated data",
        )
    ):
        return IncompleteFetch(f"{file} is cut in the middle: it ends inside a character.")
    before = problem.object[: problem.start]
    if encoding == "utf-8":
        line += before.count(b"\n") or before.count(b"\r")
        return FileRefused(
            f"{file} is not UTF-8: line {line} holds a byte that UTF-8 does not have.",
            hint="It looks like Windows-1252 or Latin-1. Save the file as CSV UTF-8.",
        )
    return FileRefused(f"{file} is not the UTF-16 that it says it is.", hint="Save it as UTF-8.")


@dataclass(frozen=True, slots=True)
class CsvFile:
    """One CSV file of a set. ``name`` is its name as found, without folders."""

    name: str
    _open: Callable[[], AbstractContextManager[IO[bytes]]]
    notes: list[str] = field(default_factory=list)
    """What the last reading of its rows had to correct, in sentences."""

    def header(self) -> Header:
        """Read the first row that is not blank.

        Raises ``IncompleteFetch`` for an empty file, ``FileRefused`` for one that is not CSV.
        """
        with self._open() as stream:
            header, _, _ = self._first(_stretches(self.name, stream, Unseen(), _HEADER_BYTES))
            return header

    def _first(self, stretches: Iterator[bytes]) -> tuple[Header, bytes, int]:
        """Return the header, what was read beyond it, and the line on which that begins."""
        buffer, line, ended = b"", 1, True
        while True:
            blank = 0
            lines = buffer.split(b"\n")[:-1]
            for row, end in first_rows(lines):
                if row.strip(_NOTHING) and not _SEPARATOR_LINE.fullmatch(row):
                    header = header_of(self.name, row, line, ended=ended)
                    rest = sum(len(line) + 1 for line in lines[:end])
                    return header, buffer[rest:], line + end - blank
                line += end - blank
                blank = end
            buffer = buffer[sum(len(line) + 1 for line in lines[:blank]) :]
            if not ended:
                raise IncompleteFetch(f"{self.name} is cut in the middle of its first line.")
            if len(buffer) > MAX_ROW_BYTES:
                raise FileRefused(f"{self.name}: its first line is longer than 1 MiB.")
            more = next(stretches, None)
            if more is None:
                if not buffer.strip(_NOTHING):
                    raise IncompleteFetch(f"{self.name} is empty: it has not even a header.")
                ended = False
                more = b"\n"
            buffer += more

    def pages(self, stream: str, expected: Header, context: bytes) -> Generator[Page, None, int]:
        """Serve the rows after the header, and return the number of pages.

        ``expected`` is the header that ``header()`` read. Raises ``IncompleteFetch`` for a file
        that is cut in the middle or changed meanwhile, ``FileRefused`` for one that is not text.
        A file without rows has no page.
        """
        pages = repeats = 0
        unseen = Unseen()
        with self._open() as opened:
            stretches = _stretches(self.name, opened, unseen)
            header, buffer, line = self._first(stretches)
            if header != expected:
                raise IncompleteFetch(f"{self.name} changed while it was read.")
            while True:
                if end := whole_rows(buffer):
                    body, buffer = buffer[:end], buffer[end:]
                    whole, joined = joined_headers(body, header, line)
                    repeats += joined
                    yield self._page(stream, whole, line, context)
                    pages += 1
                    line += body.count(b"\n")
                if len(buffer) > MAX_ROW_BYTES:
                    raise FileRefused(
                        f"{self.name}: the row on line {line} is longer than 1 MiB.",
                        hint="Look for a quote that is never closed.",
                    )
                more = next(stretches, None)
                if more is None:
                    break
                buffer = buffer + more if buffer else more
        if buffer.strip(_NOTHING) or is_cut(buffer):
            self._refuse_a_cut_row(buffer, line, header.width)
            yield self._page(stream, buffer + b"\n", line, context)
            pages += 1
        self.notes[:] = unseen.notes(self.name)
        if buffer.strip(_NOTHING):
            self.notes.append(
                f"{self.name}: its last line has no line end: if the file was cut there, the last"
                " value may be half of one."
            )
        if repeats:
            times = "once" if repeats == 1 else f"{repeats:,} times"
            self.notes.append(
                f"{self.name}: the header stands in the middle {times}, as where files were joined."
            )
        return pages

    def _page(self, stream: str, body: bytes, line: int, context: bytes) -> Page:
        lines = partial(_lines, body, line)
        return Page(stream, body, split_rows, context=context, file=self.name, lines=lines)

    def _refuse_a_cut_row(self, row: bytes, line: int, width: int) -> None:
        """Refuse a last row without a line end if it may be truncated."""
        if is_cut(row):
            raise IncompleteFetch(
                f"{self.name} is cut in the middle: a quote that opens on line {line} never closes."
            )
        try:
            whole = len(fields_of(row)) >= width
        except SkipRecord:
            whole = True
        if not whole:
            raise IncompleteFetch(
                f"{self.name} is cut in the middle: its last line, {line}, ends too early."
            )

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Yield (line, row) of a small file."""
        for page in self.pages("", self.header(), b""):
            yield from zip(row_lines_of(page), page.split(page.body), strict=True)


def _lines(body: bytes, first_line: int, rows: object) -> list[int]:
    return row_lines(body, first_line)


def row_lines_of(page: Page) -> list[int]:
    """Return the line on which each row of a page begins."""
    return list(page.lines(())) if page.lines else []
