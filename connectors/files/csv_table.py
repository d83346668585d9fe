"""A CSV file's rows as values, read by the names in the header of the file.

Used by every file connector. A row is parsed only when one of its values is asked for.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
from pydantic import ValidationError

from connectors.contract.meant import SUSPECTED, meant, meant_text
from connectors.files.csv_rows import Header, fields_of, near
from connectors.files.csv_write import unguarded
from core.errors import FileRefused, IncompleteFetch, SkipRecord
from core.models import LONGEST

_packed = msgspec.msgpack.Encoder().encode
_NOTE = re.compile(
    rb"[\s,\"(*=-]*(?:(?:grand |sub ?)?(?:total|sum|count)s?\b"
    rb"|(?:record|row|student|user|line)s?(?: count| total)?\s*:"
    rb"|\d[\d,]* (?:rows?|records?|students?|users?|people|lines?)\b"
    rb"|(?:end of|page \d|generated|printed|exported|created|report|copyright|confidential)\b)",
    re.IGNORECASE,
)
"""How a total or a note begins that a program wrote below, above or between the records."""
_NO_NUMBER = re.compile(r"[^\d.,\s%]")
_LEAST_WIDTH = 4
"""A list of people or schools is wider; a file of two columns may well hold such words."""

R = TypeVar("R", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Shape(Generic[R]):
    """The shape of a file's rows: a NamedTuple whose fields are the names of the columns read.

    ``key`` is the column that identifies a row. ``ids`` are columns that never hold free text: a
    row with too many fields keeps its key only if nothing but such columns stands before it,
    because the usual cause is a comma inside a name. Surplus blank cells at the end of a row are
    ignored, and cells that are missing there are blank, unless a required one is among them (F16).
    """

    row: type[R]
    key: str
    required: tuple[str, ...]
    ids: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names found in real files → the column that they mean."""
    address: str = ""
    """The column of an email address: in a row whose fields have slipped it holds none."""
    as_written: tuple[str, ...] = ()
    """Columns in which every word counts: what people and schools are called, and roles. In the
    others a word such as NULL is nothing, and 1001.0 is 1001 (F16)."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(self.row._fields)  # type: ignore[attr-defined]


class Table(Generic[R]):
    """One file's rows, read by the names in its header, in any order and case.

    Raises ``FileRefused`` naming the file and the column when a required column is missing, or
    ``IncompleteFetch`` when the file ends inside its header.
    """

    def __init__(self, header: Header, shape: Shape[R], *, guarded: bool = False) -> None:
        """Read the header. ``guarded``: remove the apostrophes that our own exports add."""
        self.header = header
        self.shape = shape
        self._guarded = guarded
        self.notes: list[str] = []
        positions = {name: at for at, name in enumerate(header.folded) if name}
        for alias, column in shape.aliases.items():
            at = positions.get(alias.casefold())
            if at is not None and column.casefold() not in positions:
                positions[column.casefold()] = at
                self.notes.append(f"{header.file}: {header.names[at]} is read as {column}.")
        missing = [column for column in shape.required if column.casefold() not in positions]
        if missing:
            self._refuse(missing, positions)
        self._width = len(header.names)
        self._least = 1 + max(positions[column.casefold()] for column in shape.required)
        self._address_at = positions.get(shape.address.casefold(), -1)
        at = positions[shape.key.casefold()]
        before = {name.casefold() for name in (*shape.ids, *shape.aliases, shape.key)}
        self._key_at = at
        self._key_survives = all(name in before for name in header.folded[:at])
        self._read = {positions[name] for c in shape.columns if (name := c.casefold()) in positions}
        # A column that the file lacks is read from a blank field after the last one.
        self._pick = itemgetter(
            *(positions.get(column.casefold(), self._width) for column in shape.columns)
        )
        self._make = shape.row._make  # type: ignore[attr-defined]
        written = {column.casefold() for column in shape.as_written}
        self._meant_at = {at for at in self._read if header.folded[at] not in written}
        self._last: tuple[bytes, R] | None = None

    def _refuse(self, missing: list[str], positions: Mapping[str, int]) -> NoReturn:
        header, known = self.header, {column.casefold() for column in self.shape.columns}
        if not header.ended:
            raise IncompleteFetch(f"{header.file} is cut in the middle of its first line.")
        names = ", ".join(missing)
        if not known.intersection(positions):
            # Quote nothing, because without a header the first line is a person's row.
            first = header.names[0] if len(header.names) == 1 else ""
            if "," in first:
                raise FileRefused(
                    f"{header.file} has each line between quotes as a whole: it is one column.",
                    hint="Export it again as CSV, with quotes only around single fields.",
                )
            for character, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
                if character in first:
                    raise FileRefused(
                        f"{header.file} is separated by {word}, not by commas.",
                        hint="Export it as CSV with commas.",
                    )
            raise FileRefused(
                f"{header.file} has no known column name in its first line; missing: {names}.",
                hint="The first line must be the header.",
            )
        strangers = [name for name in header.names if name and name.casefold() not in known]
        hints = [near(column, strangers) for column in missing]
        raise FileRefused(
            f"{header.file} lacks the required column{'s'[: len(missing) > 1]} {names}.",
            hint=" ".join(
                f"{column}:{hint}" for column, hint in zip(missing, hints, strict=True) if hint
            ),
        )

    def has(self, column: str) -> bool:
        """Whether the file has this column, under this name."""
        return column.casefold() in self.header.folded

    @property
    def context(self) -> bytes:
        """What decides how a row is read, apart from its bytes: the column names in order."""
        return "\x1f".join(self.header.folded).encode()

    def read(self, raw: bytes) -> R:
        """Return one row. Raises ``SkipRecord``; a row of the wrong width has no certain field."""
        if self._last is not None and self._last[0] is raw:
            return self._last[1]
        values = self._cells(raw)
        if SUSPECTED.search(raw):
            values = self._as_meant(values)
        if self._guarded and b"'" in raw:
            values = [unguarded(value) for value in values]
        values.append("")
        row: R = self._make(self._pick(values))
        self._last = (raw, row)
        return row

    def _as_meant(self, values: Sequence[str]) -> list[str]:
        meant_at = self._meant_at
        return [meant(v) if at in meant_at else meant_text(v) for at, v in enumerate(values)]

    def note_key(self, raw: bytes) -> str | None:
        """Return a key for a row that is no record, but a total or a note below the list.

        It is about nobody, so nobody stays because of it. None: it is a record.
        """
        if _NOTE.match(raw) is None or self._width < _LEAST_WIDTH:
            return None
        with suppress(SkipRecord):
            filled = [value for value in fields_of(raw) if value]
            if len(filled) < 3 or not any(map(_NO_NUMBER.search, filled[1:])):
                return f"note:{blake2b(raw, digest_size=8).hexdigest()}"
        return None

    def _cells(self, raw: bytes) -> list[str]:
        """Return exactly as many fields as the header has, or raise ``SkipRecord``."""
        if key := self.note_key(raw):
            raise SkipRecord(
                "The line is a total or a note, not a record.",
                rule="total-line",
                column=self.shape.address or self.shape.key,
                key=key,
                hint="Delete this line.",
            )
        values = fields_of(raw)
        if b"\n" in raw:
            self._refuse_a_swallowed_row(values)
        count = len(values)
        if count == self._width:
            return values
        if self._least <= count < self._width:
            return values + [""] * (self._width - count)
        if count > self._width and not any(values[self._width :]) and not self._slipped(raw):
            return values[: self._width]
        raise self._wrong_width(raw, values)

    def _slipped(self, raw: bytes) -> bool:
        """Whether the fields of a row have moved because of a comma inside one of them."""
        if _comma_inside(raw) is not None:
            return True
        if self._address_at < 0:
            return False
        values = fields_of(raw)
        address, after = values[self._address_at], values[self._address_at + 1]
        return "@" not in address if address else "@" in after

    def _refuse_a_swallowed_row(self, values: Sequence[str]) -> None:
        """Refuse a row of several lines in which a quote has swallowed another person's row."""
        for at, value in enumerate(values):
            read = at in self._read
            if "\n" in value and value.count(",") >= (1 if read else max(1, self._least - 1)):
                raise SkipRecord(
                    "A quote reaches over the end of the line and takes in another row.",
                    rule="open-quote",
                    column=self.header.names[at] if at < self._width else "",
                    hint='Close the quote on its line, and write a quote inside a field as "".',
                )

    def gist(self, raw: bytes) -> bytes | None:
        """Return the values read from one row; None for a row that cannot be read."""
        try:
            return _packed(self.read(raw))
        except SkipRecord:
            return None

    def ids(self, raw: bytes) -> R:
        """Return one row for its key, which may be certain even if the rest is not (F5).

        With too many fields, the fields up to the key are returned and all others are blank, if
        only ``Shape.ids`` come before the key. With too few, the file may have lost bytes:
        ``SkipRecord``, and the row has no key.
        """
        try:
            return self.read(raw)
        except SkipRecord as problem:
            if problem.rule != "too-many-fields" or not self._key_survives:
                raise
            sure = fields_of(raw)[: self._key_at + 1]
            values = sure + [""] * (self._width + 1 - len(sure))
            row: R = self._make(self._pick(values))
            return row

    def _wrong_width(self, raw: bytes, values: Sequence[str]) -> SkipRecord:
        names, count = self.header.names, len(values)
        if count < self._width:
            lacking = {column.casefold() for column in self.shape.required}
            at = next(
                (n for n in range(count, self._width) if names[n].casefold() in lacking), count
            )
            return SkipRecord(
                f"The row has {count} fields; the header has {self._width}.",
                rule="too-few-fields",
                column=names[at],
                hint="Look for a line break inside a field, or a row cut short.",
            )
        inside = _comma_inside(raw)
        return SkipRecord(
            f"The row has {count} fields; the header has {self._width}.",
            rule="too-many-fields",
            column="" if inside is None else names[inside],
            hint="Put a field that holds a comma between quotes.",
        )

    def mapping(self, raw: bytes, *, hide: Iterable[str] = ()) -> dict[str, str]:
        """Return the row as column → value, as written, without the columns in ``hide``."""
        values = self._as_meant(self._cells(raw))
        hidden = {name.casefold() for name in hide}
        return {
            name: unguarded(value) if self._guarded else value
            for name, value in zip(self.header.names, values, strict=True)
            if name and name.casefold() not in hidden
        }


def _comma_inside(raw: bytes) -> int | None:
    """Return the field that a comma inside it has cut; None if there is no sign of such a comma.

    People write a space after a comma inside a name (``Lima, Jr``); programs write none between
    fields.
    """
    try:
        values = next(csv.reader([raw.decode()]))[1:]
    except (csv.Error, UnicodeDecodeError):
        return None
    filled = [at for at, value in enumerate(values) if value.strip()]
    spaced = [at for at in filled if values[at][:1] == " " and values[at].lstrip()[:1] != '"']
    return spaced[0] if spaced and len(spaced) < len(filled) else None


def invalid(problem: ValidationError, key: str | None, columns: Mapping[str, str]) -> SkipRecord:
    """Turn the model's refusal of a row into a ``SkipRecord`` that quotes no value.

    ``columns`` maps a field of the model to the column it was read from.
    """
    return all_invalid(problem, key, columns)[0]


def all_invalid(
    problem: ValidationError, key: str | None, columns: Mapping[str, str]
) -> list[SkipRecord]:
    """Turn the model's refusal of a row into one ``SkipRecord`` for each column at fault."""
    found: dict[str, SkipRecord] = {}
    for error in problem.errors(include_input=False, include_url=False):
        name = str(error["loc"][0]) if error["loc"] else ""
        column = columns.get(name, name)
        if error["type"].endswith("too_long"):
            about = error.get("ctx", {})
            fits = f"{about.get('max_length', LONGEST)} characters"
            if "max_bytes" in about:
                fits = f"{about['max_bytes']} bytes in UTF-8"
            said, rule, hint = "is too long", "too-long", f"At most {fits} fit."
        elif error["type"].endswith("too_short"):
            said, rule, hint = "is blank", "missing-value", f"Fill in {column}."
        else:
            said, rule, hint = "cannot be used", "bad-value", f"Type {column} again."
        found.setdefault(
            column, SkipRecord(f"{column} {said}.", rule=rule, column=column, key=key, hint=hint)
        )
    return list(found.values())


def blank(column: str, key: str | None = None) -> SkipRecord:
    """Return the refusal of a row in which a required column is blank."""
    return SkipRecord(
        f"{column} is blank.",
        rule="missing-value",
        column=column,
        key=key,
        hint=f"Fill in {column}.",
    )
