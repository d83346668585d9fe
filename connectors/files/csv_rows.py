"""CSV rows as bytes: cut a stretch of a file into rows, and read a row by the names of its header.

Used by every file connector. Rows stay bytes until one is parsed, so that an unchanged file is
never decoded field by field. Bytes are UTF-8 with lone LF as line end, as
``connectors.files.csv_file`` serves them. The grammar is RFC 4180, read tolerantly: a quote counts
only at the start of a field, and a line break inside a quoted field belongs to the field.
"""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar

import msgspec
from pydantic import ValidationError

from connectors.files.csv_write import unguarded
from core.errors import FileRefused, IncompleteFetch, SkipRecord

MAX_ROW_BYTES = 1 << 20
"""A row longer than this is no row of a roster, but a quote that was never closed."""
MAX_COLUMNS = 10_000

_packed = msgspec.msgpack.Encoder().encode

_BLANK = b', \t\n"'
"""What a row of nothing is made of: spreadsheets leave rows of bare commas behind."""


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


def _ragged(lines: Sequence[bytes]) -> bool:
    """Whether a line holds half of a quoted field: then lines are not yet rows."""
    return any(line.count(b'"') & 1 for line in lines)


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
    """Return the length of the whole rows at the beginning of ``buffer``; 0: it holds none."""
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
        values = next(csv.reader([text]))
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
        names = tuple(name.strip("\ufeff \t") for name in fields_of(row))
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


def near(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean …?`` for a misspelt name, or nothing.

    It takes spaces, underscores and more words for what they are (``Email Address``: email).
    """
    spelling = {bare_name(k): k for k in known}
    bare = bare_name(name)
    found = difflib.get_close_matches(bare, spelling, 1, 0.75)
    if not found and bare:
        found = [k for k in spelling if len(k) > 3 and (k in bare or (len(bare) > 3 and bare in k))]
    return f" Did you mean {spelling[found[0]]}?" if found else ""


def bare_name(name: str) -> str:
    """Return a column name without case, blanks and signs."""
    return re.sub(r"[\W_]+", "", name.casefold())


R = TypeVar("R", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True)
class Shape(Generic[R]):
    """What a file's rows are read as: a NamedTuple whose fields are the names of the columns read.

    ``key`` is the column that identifies a row. ``ids`` are columns that never hold free text: a
    row with too many fields keeps its key only if nothing but such columns stands before it,
    because the usual cause is a comma inside a name.
    """

    row: type[R]
    key: str
    required: tuple[str, ...]
    ids: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names met in real files → the column they stand for."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(self.row._fields)  # type: ignore[attr-defined]


class Table(Generic[R]):
    """One file's rows, read by the names in its header, whatever their order and case.

    Raises ``FileRefused`` naming the file and the column when a required column is missing, or
    ``IncompleteFetch`` when the file ends inside its header.
    """

    def __init__(self, header: Header, shape: Shape[R], *, guarded: bool = False) -> None:
        """Read the header. ``guarded``: take off the apostrophes that our own exports put on."""
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
        at = positions[shape.key.casefold()]
        before = {name.casefold() for name in (*shape.ids, *shape.aliases, shape.key)}
        self._key_at = at
        self._key_survives = all(name in before for name in header.folded[:at])
        # A column the file does not have is read from one blank field behind the last.
        self._pick = itemgetter(
            *(positions.get(column.casefold(), self._width) for column in shape.columns)
        )
        self._make = shape.row._make  # type: ignore[attr-defined]
        self._last: tuple[bytes, R] | None = None

    def _refuse(self, missing: list[str], positions: Mapping[str, int]) -> NoReturn:
        header, known = self.header, {column.casefold() for column in self.shape.columns}
        if not header.ended:
            raise IncompleteFetch(f"{header.file} is cut in the middle of its first line.")
        names = ", ".join(missing)
        if not known.intersection(positions):
            # Quote nothing: without a header the first line is somebody's row.
            first = header.names[0] if len(header.names) == 1 else ""
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
        hints = [near(column, [name for name in header.names if name]) for column in missing]
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
        """What decides, beside its bytes, how a row reads: the names of the columns in order."""
        return "\x1f".join(self.header.folded).encode()

    def read(self, raw: bytes) -> R:
        """Return one row. Raises ``SkipRecord``; a row of the wrong width has no sure fields."""
        if self._last is not None and self._last[0] is raw:
            return self._last[1]
        values = fields_of(raw)
        if len(values) != self._width:
            raise self._wrong_width(values)
        if self._guarded and b"'" in raw:
            values = [unguarded(value) for value in values]
        values.append("")
        row: R = self._make(self._pick(values))
        self._last = (raw, row)
        return row

    def gist(self, raw: bytes) -> bytes | None:
        """Return what is read of one row; None for a row that cannot be read."""
        try:
            return _packed(self.read(raw))
        except SkipRecord:
            return None

    def ids(self, raw: bytes) -> R:
        """Return one row for the sake of its key, which may be sure where the rest is not (F5).

        With too many fields, what stands up to the key is returned and all else is blank, if
        nothing but ``Shape.ids`` stands before the key. With too few the file may have lost bytes:
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

    def _wrong_width(self, values: list[str]) -> SkipRecord:
        few = len(values) < self._width
        return SkipRecord(
            f"The row has {len(values)} fields; the header has {self._width}.",
            rule="too-few-fields" if few else "too-many-fields",
            column=self.header.names[len(values) if few else -1],
            hint="Look for a line break inside a field, or a row cut short."
            if few
            else "Put a field that holds a comma between quotes.",
        )

    def mapping(self, raw: bytes, *, hide: Iterable[str] = ()) -> dict[str, str]:
        """Return the row as column → value, as written, without the columns in ``hide``."""
        values = fields_of(raw)
        if len(values) != self._width:
            raise self._wrong_width(values)
        hidden = {name.casefold() for name in hide}
        return {
            name: unguarded(value) if self._guarded else value
            for name, value in zip(self.header.names, values, strict=True)
            if name and name.casefold() not in hidden
        }


_WORD = re.compile(r"ext:[\w.-]{1,40}|[a-z][A-Za-z]{0,30}|\d{1,3}[A-Za-z]?")


def unknown_token(name: str, token: str) -> str:
    """Return ``name=token`` for a word of a vocabulary that is not known.

    A token that might be somebody's name (in a row whose fields slipped) becomes ``?``.
    """
    return f"{name}={token if _WORD.fullmatch(token) else '?'}"


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
            most = error.get("ctx", {}).get("max_length", 1024)
            said, rule, hint = "is too long", "too-long", f"At most {most} characters fit."
        elif error["type"].endswith("too_short"):
            said, rule, hint = "is blank", "missing-value", f"Fill in {column}."
        else:
            said, rule, hint = "cannot be used", "bad-value", f"Type {column} again."
        found.setdefault(
            column, SkipRecord(f"{column} {said}.", rule=rule, column=column, key=key, hint=hint)
        )
    return list(found.values())


def blank(column: str, key: str | None = None) -> SkipRecord:
    """Return the refusal of a row in which a column is blank that must not be."""
    return SkipRecord(
        f"{column} is blank.",
        rule="missing-value",
        column=column,
        key=key,
        hint=f"Fill in {column}.",
    )
