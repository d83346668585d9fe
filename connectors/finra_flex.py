"""The FINRA FLEX upload of a firm: the template UploadUsersTemplate, taken whole or not at all.

Header ``crd_id,first_name,last_name,email``. Everything is checked before anybody is taken in, and
one person without a FinPro account refuses the whole file and lists all of them (I8).
Docs: https://www.finra.org/events-training/flex ; accounts: https://finra.org/industry/finpro

One file, because a format is one file: its rules refuse or take it as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    ConnectorConfig,
    FetchRequest,
    Page,
    Record,
    RowFinding,
    RowsRefused,
)
from connectors.contract.file_exchange import (
    ExampleFile,
    ExportedRow,
    ExportFile,
    ExportRequest,
    GivenFiles,
    HeldPerson,
    LeftOut,
)
from connectors.contract.masking import mask
from connectors.contract.meant import lost
from connectors.contract.words import is_address
from connectors.files.csv_file import CsvFile
from connectors.files.csv_rows import fields_of
from connectors.files.csv_table import Shape, Table, all_invalid, blank
from connectors.files.csv_write import unguarded
from connectors.files.file_connector import FileConfig, FileConnector
from connectors.files.file_set import FileSet, open_files, the_one_file
from connectors.files.recognition import (
    columns_of_the_one_file,
    other_format,
    refuse_other_formats,
)
from connectors.files.strict_header import refuse_strangers, words_for
from core.errors import ConfigError, FileRefused, IncompleteFetch, SkipRecord
from core.models import Kind, Membership, NormalizedUser, Role

# ------------------------------------------------------------------------------------ config


class FinProColumns(BaseModel):
    """How the columns of the FinPro Access Tracking report are called; FINRA does not publish them.

    https://finra.org/industry/finpro names the report; a data dictionary of 2023 names the field
    "Is FinPro user?".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crd_id: str = Field(default="Individual CRD#", description="The column of the CRD number.")
    has_account: str | None = Field(
        default="Is FinPro user?",
        description="The column that says whether there is an account; none: all listed have one.",
    )
    yes: tuple[str, ...] = Field(
        default=("y", "yes", "true", "1"), description="Words in it that mean yes."
    )


class FinraFlexConfig(FileConfig):
    """Config of ``finra_flex``. It is fed by ``upload`` only."""

    finpro_report: str | None = Field(
        default=None, description="The firm's FinPro Access Tracking report, as CSV or xlsx."
    )
    finpro_columns: FinProColumns = Field(
        default=FinProColumns(), description="How the report's columns are called."
    )
    finpro_stale_days: int = Field(
        default=30, ge=1, description="A report older than this is warned of."
    )

    @model_validator(mode="after")
    def _uploads_only(self) -> Self:
        if self.inbound or self.sftp:
            raise ValueError("finra_flex is fed by uploads only: leave inbound and sftp out")
        return self


# ------------------------------------------------------------------------------- wire shapes


class FlexRow(NamedTuple):
    """One row of the template (file-rules.md 11.2)."""

    crd_id: str
    first_name: str
    last_name: str
    email: str


_SHAPE = Shape(
    FlexRow,
    key="crd_id",
    required=FlexRow._fields,
    address="email",
    as_written=("first_name", "last_name"),
)
_ALSO_CALLED = words_for(
    {"given": "first_name", "family": "last_name", "email": "email", "number": "crd_id"}
)
EXAMPLE = FlexRow("1234567", "Sam", "Example", "sam@firm.example")
"""The row that the template comes with."""
_TEMPLATE = "UploadUsersTemplate.csv"
_CRD = re.compile(r"[0-9]{1,10}")
_FROM = {
    "external_id": "crd_id", "crd_id": "crd_id", "given_name": "first_name",
    "family_name": "last_name", "email": "email",
}  # fmt: skip

# ------------------------------------------------------------------------ who has an account


class Accounts(Protocol):
    """A registry that knows who has an account. Another one than FinPro's implements this."""

    def without(self, crd_ids: Iterable[str]) -> set[str]:
        """Return those of ``crd_ids`` (without leading zeros) that have no account."""

    def warnings(self, now: datetime) -> list[str]:
        """Return sentences about the registry itself, such as that it is old."""


class FinProReport:
    """The firm's FinPro Access Tracking report. Raises ``ConfigError`` if it cannot be read."""

    def __init__(self, path: Path, columns: FinProColumns, stale_days: int) -> None:
        self._name = path.name
        self._stale = timedelta(days=stale_days)
        try:
            with open_files(path) as files:
                file = the_one_file(files)
                self.as_of = files.modified
                self._known = frozenset(_accounts(file, columns))
        except (FileRefused, IncompleteFetch) as problem:
            raise ConfigError(
                f"The FinPro report cannot be read. {problem.message}",
                hint=f"Check finpro_report and finpro_columns. {problem.hint}".strip(),
            ) from None

    def without(self, crd_ids: Iterable[str]) -> set[str]:
        """Return who is not in the report, or has no account by it."""
        return set(crd_ids) - self._known

    def warnings(self, now: datetime) -> list[str]:
        """Warn of a report past its days."""
        if now - self.as_of <= self._stale:
            return []
        return [
            f"The FinPro report {self._name} is {(now - self.as_of).days} days old:"
            " export it again, people may have got an account since."
        ]


def _accounts(file: CsvFile, columns: FinProColumns) -> Iterable[str]:
    header = file.header()
    wanted = [columns.crd_id, *([columns.has_account] if columns.has_account else [])]
    missing = [name for name in wanted if name.casefold() not in header.folded]
    if missing:
        raise FileRefused(
            f"{file.name} has no column {', '.join(missing)}; it has"
            f" {', '.join(name for name in header.names[:20] if name)}."
        )
    places = [header.folded.index(name.casefold()) for name in wanted]
    for _, raw in file.rows():
        try:
            values = fields_of(raw)
        except SkipRecord:
            continue  # a malformed line of the report gives nobody an account
        if len(values) <= max(places):
            continue
        crd, *has = (values[place] for place in places)
        if not has or has[0].casefold() in columns.yes:
            yield _bare(crd)


def _bare(crd_id: str) -> str:
    return crd_id.lstrip("0") or crd_id


# --------------------------------------------------------------------------------- the class


class FinraFlex(FileConnector):
    """Reads the FINRA FLEX upload."""

    name = "finra_flex"
    version = "2"
    title = "FINRA FLEX: a firm's people for the learning platform, by one upload"
    docs = "https://www.finra.org/events-training/flex"
    config_model = FinraFlexConfig
    capabilities = Capabilities(
        origin="file", partial_is_usable=False, unique_email=True, upload_only=True,
        one_upload=True, takes_uploads=True, binds_email_domains=True,
    )  # fmt: skip
    streams = {"people": Kind.USER}  # noqa: RUF012
    config: FinraFlexConfig

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        self._directory = "."

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve the people, if each of them can be taken; else raise ``RowsRefused``."""
        self._directory = request.directory
        return super().pages(request)

    def accounts(self) -> Accounts | None:
        """Return the registry to ask; None: none is configured. Another registry overrides this."""
        if self.config.finpro_report is None:
            return None
        path = Path(self._directory, self.config.finpro_report).expanduser()
        return FinProReport(path, self.config.finpro_columns, self.config.finpro_stale_days)

    def read_set(self, files: FileSet) -> Generator[Page, None, Certificate]:
        """Check every row and every account first, then serve the rows."""
        refuse_other_formats(files, single="finra_flex")
        file = the_one_file(files)
        header = file.header()
        refuse_strangers(header, FlexRow._fields, _ALSO_CALLED)
        table = self.tables["people"] = Table(header, _SHAPE)
        accounts = self.accounts()
        people = self._check(file, accounts)
        notes = [*files.notes]
        if accounts is None:
            notes.append("finpro_report is not configured: FinPro accounts were not checked.")
        else:
            notes += accounts.warnings(datetime.now(UTC))
        pages = yield from file.pages("people", header, table.context)
        return Certificate(
            complete=True,
            pages=pages,
            declared={"people": people},
            vendor_time=files.modified,
            notes=tuple(notes),
        )

    def _example(self, file: CsvFile, line: int, row: FlexRow) -> RowFinding | None:
        """Return what is wrong with the template's own row, if it was left in the file (I8)."""
        if unguarded(row.email).casefold() != EXAMPLE.email:
            return None
        return RowFinding(
            file.name, line, "email", "example-row",
            "This is the example row of the template, and no person of the firm.",
            "Remove the line.", mask(row.email),
        )  # fmt: skip

    def _check(self, file: CsvFile, accounts: Accounts | None) -> int:
        """Raise ``RowsRefused`` with every row that cannot be taken; return how many there are."""
        lines: dict[str, int] = {}
        emails: dict[str, int] = {}
        found: list[RowFinding] = []
        count = 0
        for line, raw in file.rows():
            count += 1
            faults = self.faults("people", raw)
            found.extend(
                RowFinding(
                    file.name, line, one.column, one.rule, one.message, one.hint,
                    self._shown(raw, one.column),
                )
                for one in faults
            )  # fmt: skip
            wrong = {one.column for one in faults}
            try:
                row = self._read(raw)
            except SkipRecord:
                continue  # it is no row: that was told
            if (example := self._example(file, line, row)) is not None:
                found.append(example)
                continue
            email = unguarded(row.email).casefold()
            for column, value, seen in (
                ("crd_id", _bare(row.crd_id), lines), ("email", email, emails),
            ):  # fmt: skip
                if column in wrong:
                    continue
                first = seen.setdefault(value, line)
                if first != line:
                    found.append(
                        RowFinding(
                            file.name, line, column, f"repeated-{column.replace('_', '-')}",
                            f"{column} stands in line {first} already.",
                            "Remove one of the two lines.", mask(value),
                        )
                    )  # fmt: skip
        found.extend(
            RowFinding(
                file.name, lines[crd], "crd_id", "no-finpro-account",
                "This person has no FinPro account.",
                "Have them create it (finpro.finra.org), export the FinPro Access Tracking"
                " report again, then upload the file again.", mask(crd),
            )
            for crd in (accounts.without(lines) if accounts is not None else ())
        )  # fmt: skip
        if found:
            found.sort(key=lambda one: (one.line or 0, one.column))
            bad = len({one.line for one in found})
            raise RowsRefused(
                f"{file.name}: {bad} of {count} lines cannot be taken, so nobody was:"
                f" {', '.join(str(line) for line in sorted({one.line or 0 for one in found})[:20])}"
                f"{' …' if bad > 20 else ''}.",
                hint="Put these lines right as the report says, and upload the whole file again.",
                findings=found,
            )
        return count

    def _shown(self, raw: bytes, column: str) -> str:
        try:
            return mask(self.tables["people"].mapping(raw).get(column, ""))
        except SkipRecord:
            return ""

    def _read(self, raw: bytes) -> FlexRow:
        row: FlexRow = self.tables["people"].read(raw)
        return row

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the CRD number without leading zeros."""
        row = self._read(raw)
        if problem := _crd_fault(row.crd_id):
            raise problem
        return _bare(row.crd_id)

    def parse(self, stream: str, raw: bytes) -> Record:
        """Return one person of the firm."""
        key = self.identify(stream, raw)
        faults: list[SkipRecord] = []
        user = _user(key, self._read(raw), faults)
        if user is None:
            raise faults[0]
        return Record(Kind.USER, key, user)

    def row_faults(self, stream: str, key: str, row: FlexRow) -> list[SkipRecord]:
        """Return what is wrong with the values of a row."""
        faults: list[SkipRecord] = []
        _user(key, row, faults)
        return faults

    def fields(self, stream: str, raw: bytes) -> Mapping[str, str]:
        """Return the row as column → value."""
        return self.tables["people"].mapping(raw)

    @classmethod
    def recognises(cls, files: GivenFiles) -> bool:
        """Say whether there is one file, and it has the CRD number and both names."""
        there = columns_of_the_one_file(files) >= {"crd_id", "first_name", "last_name"}
        return there and not other_format(files)

    @classmethod
    def template(cls) -> Mapping[str, ExampleFile]:
        """Return one person of a firm."""
        return {_TEMPLATE: ExampleFile(FlexRow._fields, [EXAMPLE])}

    @classmethod
    def export_rows(cls, request: ExportRequest) -> Sequence[ExportFile]:
        """Return the template with everybody in it."""
        return [ExportFile(_TEMPLATE, FlexRow._fields, lambda: map(_exported, request.people()))]


def _exported(person: HeldPerson) -> ExportedRow:
    given, family = person.profile["given_name"], person.profile["family_name"]
    email = person.profile["email"]
    if given and family and email:
        return (person.said["external_id"], given, family, email)
    return LeftOut(person.user_id, "a FLEX file needs both names and an email address")


def _formula(column: str, key: str | None = None) -> SkipRecord:
    return SkipRecord(
        f"{column} is a formula, not a value.", rule="formula", column=column, key=key,
        hint="Copy the column and paste it as values, then save again.",
    )  # fmt: skip


def _crd_fault(crd_id: str) -> SkipRecord | None:
    if _CRD.fullmatch(crd_id):
        return None
    if problem := lost(crd_id, "crd_id"):
        return problem
    if crd_id.startswith("="):
        return _formula("crd_id")
    return SkipRecord(
        "crd_id is not a number of digits only." if crd_id else "crd_id is blank.",
        rule="crd-id",
        column="crd_id",
        hint="It is the person's CRD number, as FINRA shows it.",
    )


def _user(key: str, row: FlexRow, faults: list[SkipRecord]) -> NormalizedUser | None:
    """Return the person of a row, or None where it cannot be used; ``faults`` then holds why."""
    for column, value in zip(row._fields[1:], row[1:], strict=True):
        if value.startswith("="):
            faults.append(_formula(column, key))
        elif problem := lost(value, column, key):
            faults.append(problem)
        elif not value:
            faults.append(blank(column, key))
        elif column == "email" and not is_address(value):
            faults.append(
                SkipRecord(
                    "email is not an email address.", rule="email-format", column="email", key=key,
                    hint="One address, like name@firm.example, without quotes or blanks.",
                )
            )  # fmt: skip
    row = FlexRow._make(unguarded(value) for value in row)
    try:
        user = NormalizedUser(
            external_id=key, given_name=row.first_name, family_name=row.last_name,
            email=row.email, memberships=(Membership(role=Role.STAFF),), crd_id=key,
        )  # fmt: skip
    except ValidationError as problem:
        faults += all_invalid(problem, key, _FROM)
        return None
    return None if faults else user
