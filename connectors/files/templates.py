"""Templates: a connector's example files, written as a CSV, a workbook or a zip.

Used by ``rostersync template``. The example must be replaced; its address is at a domain that
nobody owns (RFC 2606).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from connectors.contract.file_exchange import ExampleFile
from connectors.files.csv_write import csv_bytes, new_file
from core.errors import UsageError


def write_template(files: Mapping[str, ExampleFile], to: Path) -> None:
    """Write a template as ``.csv``, ``.xlsx`` (one file) or ``.zip``. Raises ``UsageError``."""
    kind = to.suffix.lower()
    if kind == ".zip":
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in files.items():
                archive.writestr(name, csv_bytes(file.header, file.rows))
        written = content.getvalue()
    elif len(files) > 1:
        raise UsageError(
            f"The template is a set of {len(files)} files.", hint="Give --output FILE.zip."
        )
    elif kind == ".xlsx":
        written = _workbook(next(iter(files.values())))
    else:
        written = template_csv(files)
    with new_file(to) as stream:
        stream.write(written)


def template_csv(files: Mapping[str, ExampleFile]) -> bytes:
    """Return a template of one file as CSV."""
    (file,) = files.values()
    return csv_bytes(file.header, file.rows)


def _workbook(file: ExampleFile) -> bytes:
    """Return one sheet whose cells are text, so that no program turns a number into another."""
    import openpyxl

    book = openpyxl.Workbook()
    page = book.active
    for number, row in enumerate((file.header, *file.rows), start=1):
        for column, value in enumerate(row, start=1):
            cell = page.cell(number, column, value)
            cell.number_format = "@"
    for column in range(1, len(file.header) + 1):
        page.column_dimensions[page.cell(1, column).column_letter].number_format = "@"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()
