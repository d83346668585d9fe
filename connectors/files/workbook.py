"""An Excel workbook (.xlsx) as a CSV file: its first sheet, cell by cell, line for line.

Used by ``connectors.files.file_set``. Docs: https://openpyxl.readthedocs.io/en/stable/optimized.html
(read-only mode streams the rows). Line N of the CSV is row N of the sheet, whatever the cells hold.
"""

from __future__ import annotations

import csv
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from core.errors import FileRefused, IncompleteFetch

MAX_SHARED = 64 << 20
"""The table of texts is the one part that is held in memory."""
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
    """Yield a CSV file with the rows of the first sheet, and notes; it is gone afterwards.

    Formulas stay formulas (``=B2``), for what they would show was not computed here. Raises
    ``FileRefused`` for a workbook that cannot be read or is too large.
    """
    with zipfile.ZipFile(path) as archive:
        parts = {member.filename: member.file_size for member in archive.infolist()}
        _refuse_entities(path, archive)
    if parts.get("xl/sharedStrings.xml", 0) > MAX_SHARED or sum(parts.values()) > MAX_BYTES:
        raise _too_large(path)
    with tempfile.TemporaryDirectory(prefix="rostersync-") as folder:
        csv_path = Path(folder, "sheet.csv")
        notes = _convert(path, csv_path)
        yield csv_path, notes


def _refuse_entities(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse parts that declare entities: no spreadsheet writes them, and they can grow at will."""
    try:
        for member in archive.infolist():
            with archive.open(member) as part:
                start = part.read(8192).replace(b"\x00", b"")
            if b"<!DOCTYPE" in start or b"<!ENTITY" in start:
                raise FileRefused(
                    f"{path.name} declares XML entities: it is no workbook of a spreadsheet."
                )
    except (*_DAMAGED, NotImplementedError, RuntimeError):
        raise _unreadable(path) from None


def _convert(path: Path, to: Path) -> list[str]:
    import warnings

    import openpyxl

    with warnings.catch_warnings(), path.open("rb") as content:
        warnings.simplefilter("ignore")  # about styles and validations, which nobody reads here
        try:
            book = openpyxl.load_workbook(content, read_only=True, keep_links=False)
        except Exception:  # noqa: BLE001 - a damaged workbook fails in any way it likes
            raise _unreadable(path) from None
        try:
            if not book.worksheets:
                raise IncompleteFetch(f"{path.name} holds no sheet.")
            sheet = book.worksheets[0]
            with to.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                for number, row in enumerate(_rows(path, sheet), start=1):
                    if number > MAX_ROWS:
                        raise FileRefused(f"{path.name} has more rows than a sheet can have.")
                    writer.writerow(row or [""])
            notes = [f"{path.name}: the first sheet is read."] if len(book.worksheets) > 1 else []
        finally:
            book.close()
    return notes


def _rows(path: Path, sheet: Any) -> Iterator[Sequence[str]]:
    sheet.reset_dimensions()  # the sheet's own word on its size may be a lie
    width = total = 0
    rows = sheet.iter_rows(values_only=True)
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
        row = [_text(cell) for cell in cells]
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
