"""Inspecting a file: every row is read and checked, with what a person needs to correct it.

Used before an upload changes anything. ``inspect`` uses the connector as a run does, and adds what
a connector cannot see in one row: repeated ids, and values that a spreadsheet may have spoilt. It
keeps only masked values, and a few bytes for each key.

One file, because one walk over the rows collects everything that is told of them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from connectors.contract.connector import (
    Connector,
    FetchRequest,
    Page,
    Part,
    Record,
    RowFinding,
    RowsRefused,
)
from connectors.contract.masking import mask
from connectors.files.csv_write import unguarded
from core.errors import FileRefused, IncompleteFetch, NothingNew, RosterSyncError, SkipRecord
from core.models import Kind, fold_email, fold_name

MOST_FINDINGS = 10_000
"""How many findings are kept; with more, it is the wrong file. The others are counted."""
MOST_OF_A_KIND = 200
"""How many warnings of one rule in one column are kept; the others are counted."""

_NO_ROW = frozenset(
    {"csv", "nul", "row-too-long", "too-few-fields", "too-many-fields", "total-line"}
)
"""Rules for malformed rows, whose columns mean nothing."""

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Found:
    """One finding: where it is, what is wrong, and what to do. ``value`` is masked."""

    severity: Severity
    file: str | None
    line: int | None
    column: str
    rule: str
    value: str
    message: str
    hint: str


@dataclass(slots=True)
class Inspection:
    """The findings of a file. ``error`` says why it cannot be used as a whole, if that is so."""

    found: list[Found] = field(default_factory=list)
    rows: int = 0
    bad_rows: int = 0
    people: int = 0
    """Rows about a person; ``usable_people`` counts those that can be used."""
    usable_people: int = 0
    roles: Counter[str] = field(default_factory=Counter)
    """Usable people by role."""
    notes: tuple[str, ...] = ()
    error: RosterSyncError | None = None
    _counted: Counter[str] = field(default_factory=Counter)
    _kinds: Counter[tuple[str | None, str, str]] = field(default_factory=Counter)

    def add(self, found: Found) -> None:
        """Keep a finding, or only count it if there are too many."""
        self._counted[found.severity] += 1
        if found.severity == "warning":
            kind = (found.file, found.column, found.rule)
            self._kinds[kind] += 1
            if self._kinds[kind] > MOST_OF_A_KIND:
                return
        if len(self.found) < MOST_FINDINGS:
            self.found.append(found)

    @property
    def usable(self) -> int:
        """How many rows can be used."""
        return self.rows - self.bad_rows

    @property
    def nobody_usable(self) -> bool:
        """Whether the file has rows about people, but none that can be used."""
        return self.people > 0 and self.usable_people == 0

    @property
    def uncounted(self) -> int:
        """How many findings were only counted."""
        return self._counted.total() - len(self.found)

    def count(self, severity: Severity) -> int:
        """Return how many findings of this severity there are, kept or not."""
        return self._counted[severity]


def inspect(
    connector: Connector,
    request: FetchRequest,
    email_domains: frozenset[str] = frozenset(),
    padded: frozenset[str] = frozenset(),
) -> Inspection:
    """Read a whole file without keeping anything of it. ``email_domains`` are folded (F9).

    ``padded`` are numbers with leading zeros, without them, that the source had before.
    """
    return _Inspector(connector, email_domains, padded).read(request)


def _key_of(key: str) -> bytes:
    """Return by which few bytes a key is remembered."""
    return blake2b(key.encode(), digest_size=12).digest()


def _names_of(parsed: Record | Part | None) -> tuple[str, ...] | None:
    """Return the names of a row as they are compared; None where it could not be read."""
    if isinstance(parsed, Part):
        said = [parsed.data.get(name) for name in ("given_name", "family_name", "role", "org")]
    elif parsed is not None and parsed.user is not None:
        said = [parsed.user.given_name, parsed.user.family_name]
    elif parsed is not None and parsed.school is not None:
        said = [parsed.school.name]
    else:
        return None
    return tuple(fold_name(str(name or "")) for name in said)


class _Inspector:
    def __init__(
        self, connector: Connector, email_domains: frozenset[str], padded: frozenset[str]
    ) -> None:
        self.connector = connector
        self.padded = padded
        self.domains = email_domains
        self.people_streams = connector.people or {
            name for name, kind in connector.streams.items() if kind is Kind.USER
        }
        self.result = Inspection()
        self.seen: dict[bytes, int] = {}
        self.names: dict[bytes, int] = {}
        """Id → a hash of the names in its first row."""
        self.shapes: dict[tuple[str, str], _Shapes] = defaultdict(_Shapes)

    def read(self, request: FetchRequest) -> Inspection:
        result = self.result
        pages = self.connector.pages(request)
        try:
            while True:
                try:
                    page = next(pages)
                except StopIteration as end:
                    result.notes = end.value.notes
                    if not end.value.complete:
                        result.error = IncompleteFetch(end.value.reason or "It ends early.")
                    break
                self._page(page)
        except (FileRefused, IncompleteFetch, NothingNew) as error:
            result.error = error
            if isinstance(error, RowsRefused):
                for one in error.findings:
                    self._add("error", one)
        finally:
            pages.close()
        for (file, column), shapes in self.shapes.items():
            for line, value in shapes.short_ones():
                self._add("warning", _lost_zeros(file, line, column), value)
        result.found.sort(key=lambda one: (one.file or "", one.line or 0, one.column))
        return result

    def _page(self, page: Page) -> None:
        rows = page.split(page.body)
        lines: Sequence[int | None] = page.lines(rows) if page.lines else [None] * len(rows)
        about_people = page.stream in self.people_streams
        self.result.rows += len(rows)
        self.result.people += len(rows) if about_people else 0
        for raw, line in zip(rows, lines, strict=True):
            values: Mapping[str, object] = {}
            with suppress(SkipRecord):  # malformed row; parse reports it
                values = self.connector.fields(page.stream, raw)
            faults, doubts, unknown = self._row(page.stream, raw, line, values)
            for one in (*faults, *doubts):
                about = RowFinding(page.file, line, one.column, one.rule, one.message, one.hint)
                severity: Severity = "error" if faults else "warning"
                self._add(severity, about, _value(values, one.column))
            told = {one.column for one in (*faults, *doubts)}
            if faults:
                self.result.bad_rows += 1
            elif about_people:
                self.result.usable_people += 1
            for token in unknown:
                self._unknown(page, line, token, values)
            for column, value in values.items():
                if isinstance(value, str) and value and column not in told:
                    self._look(page, line, column, value)

    def _row(
        self, stream: str, raw: bytes, line: int | None, values: Mapping[str, object]
    ) -> tuple[list[SkipRecord], Sequence[SkipRecord], Sequence[str]]:
        """Return what is wrong with a row, what is left out of a usable one, and unknown words."""
        faults: list[SkipRecord] = []
        key: str | None = None
        parsed: Record | Part | None = None
        try:
            key = self.connector.identify(stream, raw)
            parsed = self.connector.parse(stream, raw)
        except SkipRecord as problem:
            faults = [*self.connector.faults(stream, raw)] or [problem]
        if key is not None:
            faults += self._repeated(stream, key, line, parsed)
        if self.connector.streams[stream] is Kind.USER:
            user = parsed.user if isinstance(parsed, Record) else None
            email = user.email if user is not None else _value(values, "email")
            if email and not any(one.column == "email" or one.rule in _NO_ROW for one in faults):
                faults += self._email(unguarded(email), line, remember=not faults)
            if user is not None and not faults:
                self.result.roles.update({member.role.value for member in user.memberships})
        if parsed is None or faults:
            return faults, (), ()
        return faults, parsed.doubts, parsed.unknown

    def _repeated(
        self, stream: str, key: str, line: int | None, parsed: Record | Part | None
    ) -> list[SkipRecord]:
        """Return what is wrong with a row whose id an earlier row has: it has other names.

        Rows with one id and the same names are put together.
        """
        key = f"{stream}\0{key}"
        names = hash(_names_of(parsed))
        first = self._first(key, line)
        if self.names.setdefault(_key_of(key), names) == names and parsed is not None:
            return []
        if first is None:
            return []
        return [
            SkipRecord(
                f"The row's id stands in line {first} already, with other names:"
                " their person stays as they are.",
                rule="repeated-id",
                hint="Give each person an id of their own, or correct the rows.",
            )
        ]

    def _email(self, address: str, line: int | None, *, remember: bool) -> list[SkipRecord]:
        """Return what is wrong with a valid address: its domain, or that it occurs twice."""
        email = fold_email(address)
        if self.domains and email.rpartition("@")[2] not in self.domains:
            return [
                SkipRecord(
                    "The email address is outside the district's domains.",
                    rule="email-domain",
                    column="email",
                    hint="Correct the address, or add its domain to email_domains.",
                )
            ]
        if self.connector.capabilities.unique_email:
            first = self._first(f"email\0{email}", line, remember=remember)
            if first is not None:
                return [
                    SkipRecord(
                        f"The email address stands in line {first} already; the first row is used.",
                        rule="repeated-email",
                        column="email",
                        hint="Give each person an address of their own.",
                    )
                ]
        return []

    def _unknown(
        self, page: Page, line: int | None, token: str, values: Mapping[str, object]
    ) -> None:
        """Warn of an unknown word; its value is left out."""
        name = token.partition("=")[0].casefold()
        column = next((c for c in values if c.casefold() in (name, f"{name}s")), name)
        about = RowFinding(
            page.file,
            line,
            column,
            "unknown-word",
            f"{column} holds a word that is not known here; it is left out.",
            "Correct it if it is a mistake.",
        )
        self._add("warning", about, _value(values, column))

    def _first(self, key: str, line: int | None, *, remember: bool = True) -> int | None:
        """Return the line of an earlier occurrence, or remember this one unless told not to."""
        digest = _key_of(key)
        if digest in self.seen:
            return self.seen[digest]
        if remember:
            self.seen[digest] = line or 0
        return None

    def _look(self, page: Page, line: int | None, column: str, value: str) -> None:
        """Warn of damage that a spreadsheet may have done to a usable value."""
        is_id = _is_id(column)
        if not is_id and value[0] not in _SUSPECT and value[-1] not in _SUSPECT:
            return
        if trap := _trap(column, value):
            rule, message, hint = trap
            about = RowFinding(page.file, line, column, rule, message, hint)
            self._add("warning", about, value)
        if is_id and value in self.padded:
            self._add("warning", _lost_zeros(page.file or "", line, column), value)
        elif is_id and value.isdecimal():
            self.shapes[page.file or "", column].met(value, line)

    def _add(self, severity: Severity, about: RowFinding, value: str | None = None) -> None:
        shown = about.value if value is None else mask(value)
        self.result.add(
            Found(
                severity, about.file, about.line, about.column, about.rule, shown,
                about.message, about.hint,
            )
        )  # fmt: skip


def _value(values: Mapping[str, object], column: str) -> str:
    folded = {name.casefold(): value for name, value in values.items()}
    return str(folded.get(column.casefold(), "")) if column else ""


# ---------------------------------------------------------------------- traps of spreadsheets

_DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}( 00:00:00)?|\d{1,2}-[A-Z][a-z]{2}|[A-Z][a-z]{2}-\d{2}"
)
_QUOTES = frozenset("\u201c\u201d\u201e\u2018")
_SUSPECT = _QUOTES | frozenset("+-@")
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+?\d+")


@lru_cache(maxsize=1_000)
def _is_id(column: str) -> bool:
    word = re.sub(r"[\W_]+", "", column.casefold())
    return word.endswith(("id", "number", "idnumber", "identifier"))


def _trap(column: str, value: str) -> tuple[str, str, str] | None:
    """Return (rule, message, hint) for a value that looks spoilt but can be used."""
    if _is_id(column) and _DATE.fullmatch(value):
        return (
            "date",
            f"{column} looks like a date: a spreadsheet may have made one of a number.",
            "Format the column as text, and paste the numbers again.",
        )
    if _is_id(column) and _ROUNDED.fullmatch(value) and column.casefold() != "idnumber":
        return (
            "scientific-number",
            f"{column} was rounded by a spreadsheet: the number is lost.",
            "Format the column as text before the numbers are pasted, and export again.",
        )
    if value[0] in _QUOTES or value[-1] in _QUOTES:
        return (
            "smart-quotes",
            f"{column} stands between typographic quotes, which become part of the value.",
            "Remove the quotes.",
        )
    if value[0] in "+@" or (value[0] == "-" and len(value) > 1):
        return (
            "formula-like",
            f"{column} begins with {value[0]}: a spreadsheet would take it for a formula.",
            "If it is meant so, leave it; exports put an apostrophe before it.",
        )
    return None


class _Shapes:
    """The numbers in one column: those that are shorter than the ones padded with zeros lost them.

    Numbers that are merely shorter than others have lost nothing.
    """

    def __init__(self) -> None:
        self.lengths: Counter[int] = Counter()
        self.padded: Counter[int] = Counter()
        self.lines: dict[int, list[tuple[int | None, str]]] = defaultdict(list)

    def met(self, value: str, line: int | None) -> None:
        self.lengths[len(value)] += 1
        if value[0] == "0":
            self.padded[len(value)] += 1
        elif len(self.lines[len(value)]) < MOST_OF_A_KIND:
            self.lines[len(value)].append((line, value))

    def short_ones(self) -> list[tuple[int | None, str]]:
        if not self.padded:
            return []
        usual, count = self.lengths.most_common(1)[0]
        if self.padded.keys() != {usual} or count * 2 <= self.lengths.total():
            return []  # no fixed width, so nothing shows that somebody is too short
        shorter = sorted(length for length in self.lengths if length < usual)
        return [one for length in shorter for one in self.lines[length]]


def _lost_zeros(file: str, line: int | None, column: str) -> RowFinding:
    return RowFinding(
        file or None, line, column, "leading-zeros",
        f"{column} has lost its leading zeros: a spreadsheet drops them.",
        "Format the column as text, and type the zeros again.",
    )  # fmt: skip
