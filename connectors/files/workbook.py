"""An Excel workbook (.xlsx) as a CSV file: one sheet of it, cell by cell, line for line.

Used by ``connectors.files.file_set``. Docs: https://openpyxl.readthedocs.io/en/stable/optimized.html
(read-only mode streams the rows). Line N of the CSV is row N of the sheet, whatever the cells hold.
"""

from __future__ import annotations

import csv
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from xml.parsers import expat

from connectors.files.strict_header import is_familiar
from core.errors import FileRefused, IncompleteFetch
from core.private_folder import PrivateFolder

MAX_SHARED = 64 << 20
"""The table of texts is the only part that is held in memory."""
MAX_ROWS = 1_048_576
"""As many as a sheet can have."""
MAX_BYTES = 128 << 20
"""Of all parts, unpacked. XML is read at a few megabytes a second."""
MAX_COLUMNS = 256
"""A sheet of people has a dozen; in a workbook thousands cost minutes and next to no bytes."""
MAX_CELLS = 3_000_000
"""400,000 people in seven columns: half a minute of a processor. A larger list belongs into CSV."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OverflowError)


def is_workbook(path: Path) -> bool:
    """Say whether a zip is an Excel workbook."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.NameToInfo
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError):
        return False


@contextmanager
def as_csv(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield a temporary CSV file with the rows of the sheet that is read, and notes.

    Formulas stay formulas (``=B2``), because their values are not computed here. Raises
    ``FileRefused`` for a workbook that cannot be read or is too large.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {member.filename: member.file_size for member in archive.infolist()}
        _refuse_doctypes(path, archive)
    if parts.get("xl/sharedStrings.xml", 0) > MAX_SHARED or sum(parts.values()) > MAX_BYTES:
        raise _too_large(path)
    with PrivateFolder() as folder:
        csv_path = folder.reserve(folder.path / "sheet.csv", sum(parts.values()))
        notes = _convert(path, csv_path)
        yield csv_path, notes


def _refuse_doctypes(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse parts with a document type: no spreadsheet writes one, and its entities can grow.

    A parser reads each part up to its first element, for only before it a document type can stand:
    behind a comment of any length, in any encoding.
    """

    def refuse(*_: object) -> None:
        raise FileRefused(
            f"{path.name} declares a document type: it is no workbook of a spreadsheet.",
            hint="Save the list as CSV UTF-8.",
        )

    def begin(*_: object) -> None:
        raise _BegunError

    try:
        for member in archive.infolist():
            parser = expat.ParserCreate()
            parser.StartDoctypeDeclHandler = refuse
            parser.StartElementHandler = begin
            with archive.open(member) as part, suppress(_BegunError, expat.ExpatError):
                parser.ParseFile(part)
    except (*_DAMAGED, NotImplementedError, RuntimeError):
        raise _unreadable(path) from None


class _BegunError(Exception):
    """The first element of a part has begun."""


def _convert(path: Path, to: Path) -> list[str]:
    import warnings

    import openpyxl

    with warnings.catch_warnings(), path.open("rb") as content:
        warnings.simplefilter("ignore")  # about styles and validations, which are not read here
        try:
            book = openpyxl.load_workbook(content, read_only=True, keep_links=False)
        except Exception:  # noqa: BLE001 - a damaged workbook may fail in any way
            raise _unreadable(path) from None
        try:
            if not book.worksheets:
                raise IncompleteFetch(f"{path.name} holds no sheet.")
            sheet, notes = _chosen(path, book)
            shown = _Shown()
            with to.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                for number, row in enumerate(_rows(path, sheet, shown), start=1):
                    if number > MAX_ROWS:
                        raise FileRefused(f"{path.name} has more rows than a sheet can have.")
                    writer.writerow(row or [""])
            if shown.padded:
                notes.append(
                    f"{path.name}: {shown.padded:,} numbers are read with the leading zeros that"
                    " their cells show."
                )
        finally:
            book.close()
    return notes


def _chosen(path: Path, book: Any) -> tuple[Any, list[str]]:
    """Return the sheet to read, and notes: the first one with a known header."""
    if len(book.worksheets) == 1:
        return book.worksheets[0], []
    visible = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    sheets = visible or book.worksheets
    headed = [sheet for sheet in sheets[:_LOOKED_AT] if _has_a_header(path, sheet)]
    chosen = (headed or sheets)[0]
    number = book.worksheets.index(chosen) + 1
    notes = [f"{path.name}: of {len(book.worksheets)} sheets number {number} is read."]
    if len(headed) > 1:
        notes.append(
            f"{path.name}: {len(headed)} sheets have such a header; only the first of them is read."
        )
    return chosen, notes


def _has_a_header(path: Path, sheet: Any) -> bool:
    """Say whether the first row of a sheet that is not blank names columns of a roster."""
    for row in islice(_rows(path, sheet, _Shown()), _LOOKED_AT):
        if any(row):
            return sum(is_familiar(cell) for cell in row) > 1
    return False


_LOOKED_AT = 20
"""So many sheets, and so many of their first rows, are looked at for a header."""


class _Shown:
    """Tells how a cell is shown, and counts the numbers that are shown with leading zeros."""

    def __init__(self) -> None:
        self.padded = 0

    def text(self, cell: Any) -> str:
        value = cell.value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if value < 0 or value != value or value >= 1e15 or int(value) != value:
                return _text(value)
            zeros = _zeros(cell.number_format)
            written = str(int(value))
            if len(written) < zeros.count("0"):
                self.padded += 1
            return _filled(written, zeros) if zeros else written
        return _text(value)


@lru_cache(maxsize=1_000)
def _zeros(number_format: str | None) -> str:
    """Return a format like ``00000`` or ``000-0000``, bare; blank for one that pads nothing."""
    first = (number_format or "").partition(";")[0]
    bare = re.sub(r'_.|\\(?=[- ])|"', "", first).strip()
    return bare if bare.count("0") > 1 and not bare.strip("0- ") else ""


def _filled(digits: str, zeros: str) -> str:
    digits = digits.zfill(zeros.count("0"))
    surplus, rest = digits[: len(digits) - zeros.count("0")], list(digits)[::-1]
    del rest[len(digits) - len(surplus) :]
    return surplus + "".join(rest.pop() if sign == "0" else sign for sign in zeros)


def _rows(path: Path, sheet: Any, shown: _Shown) -> Iterator[Sequence[str]]:
    sheet.reset_dimensions()  # what the sheet says about its size may be wrong
    width = total = 0
    rows = sheet.iter_rows()
    while True:
        try:
            cells = next(rows, None)
        except Exception:  # noqa: BLE001 - as above
            raise _unreadable(path) from None
        if cells is None:
            return
        if len(cells) > MAX_COLUMNS:
            raise FileRefused(f"{path.name} has more than {MAX_COLUMNS:,} columns.")
        total += len(cells)
        if total > MAX_CELLS:
            raise _too_large(path)
        row = ["" if cell.value is None else shown.text(cell) for cell in cells]
        while row and not row[-1] and len(row) > width:
            row.pop()
        if row and not width:
            width = len(row)
        if row:
            row += [""] * (width - len(row))
        yield row


def _text(cell: object) -> str:
    """Return a cell as a person sees it, on one line."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ") if cell.time() != time() else cell.date().isoformat()
    if isinstance(cell, (date, time)):
        return cell.isoformat()
    return " ".join(str(cell).replace("\x00", "").split("\n")).replace("\r", "")


def _too_large(path: Path) -> FileRefused:
    return FileRefused(f"{path.name} is too large for a workbook.", hint="Save it as CSV UTF-8.")


def _unreadable(path: Path) -> FileRefused:
    return FileRefused(
        f"{path.name} cannot be read as an Excel workbook.",
        hint="Open it in the spreadsheet program and save it as CSV UTF-8.",
    )
