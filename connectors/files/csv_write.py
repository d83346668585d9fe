"""Writing CSV, for every export, template and report.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and somebody
may have chosen a name for that purpose (https://owasp.org/www-community/attacks/CSV_Injection).
Such a cell gets an apostrophe in front; ``unguarded`` removes it again when we read our own export.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from core.errors import ConfigError, UsageError

_FORMULA = re.compile(r"[\'\s]*[=+\-@\uff0b\uff0d\uff1d\uff20]|\'*[\t\r\n]")
_GUARDED = re.compile(r"\'(?:[\'\s]*[=+\-@\uff0b\uff0d\uff1d\uff20]|\'*[\t\r\n])")


def guarded(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula. Numbers stay numbers."""
    text = "" if value is None else str(value)
    return f"'{text}" if not isinstance(value, int) and _FORMULA.match(text) else text


def unguarded(text: str) -> str:
    """Return the value of a cell that ``guarded`` may have written."""
    return text[1:] if text.startswith("'") and _GUARDED.match(text) else text


def write_csv(stream: IO[str], header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write a header and rows, LF at each end, every cell guarded; return the number of rows."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([guarded(name) for name in header])
    count = 0
    for row in rows:
        writer.writerow([guarded(value) for value in row])
        count += 1
    return count


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a small CSV as UTF-8."""
    text = io.StringIO()
    write_csv(text, header, rows)
    return text.getvalue().encode()


def cells_of(
    header: Sequence[str], values: Mapping[str, str | int | None]
) -> tuple[str | int, ...]:
    """Return the cells of a row: the ``values`` by their columns, blank where there is none."""
    return tuple("" if (value := values.get(name)) is None else value for name in header)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Create a file that somebody named; it is removed again on failure.

    Raises ``UsageError`` if it exists already, ``ConfigError`` if it cannot be written.
    """
    try:
        stream = path.open("xb")
    except FileExistsError:
        raise UsageError(f"{path.name} is there already.", hint="Give another --output.") from None
    except OSError as problem:
        raise ConfigError(
            f"{path.name} cannot be written: {problem.strerror or type(problem).__name__}.",
            hint="Give another --output.",
        ) from None
    try:
        with stream:
            yield stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise
