"""The user file: one CSV with everybody who should be active, in seven columns.

Header ``firstname,lastname,email,role,gradyear,status,idnumber``; letter case does not matter
anywhere, nor does the order of the columns. One file may hold everybody, or only the students, or
only the adults: a file speaks for the roles it has people of (``scoped_by_role``).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field, ValidationError

from connectors.contract.connector import Capabilities, Certificate, Page, Record, Trace
from connectors.contract.file_exchange import (
    ExampleFile,
    ExportedRow,
    ExportFile,
    ExportRequest,
    GivenFiles,
    HeldPerson,
)
from connectors.contract.meant import lost
from connectors.contract.words import is_address
from connectors.files import user_file
from connectors.files.csv_table import Shape, Table, all_invalid
from connectors.files.csv_write import unguarded
from connectors.files.file_connector import FileConfig, FileConnector
from connectors.files.file_set import FileSet, the_one_file
from connectors.files.recognition import (
    columns_of_the_one_file,
    other_format,
    refuse_other_formats,
)
from connectors.files.strict_header import refuse_strangers, words_for
from core.errors import SkipRecord
from core.models import Kind, Membership, NormalizedUser, Role, fold_email

# ------------------------------------------------------------------------------------ config


class UserCsvConfig(FileConfig):
    """Config of ``user_csv``."""

    path: str | None = Field(
        default=None,
        description="The CSV file (or a zip or folder that holds just one); a relative path "
        "starts at the district file.",
    )
    scope_roles: tuple[Role, ...] = Field(
        default=(),
        description="The roles this file speaks for. Empty: the roles it has people of.",
    )


# ------------------------------------------------------------------------------- wire shapes


class UserRow(NamedTuple):
    """One row of the file."""

    firstname: str
    lastname: str
    email: str
    role: str
    gradyear: str
    status: str
    idnumber: str


_SHAPE = Shape(
    UserRow,
    key="email",
    required=("firstname", "lastname", "email"),
    address="email",
    as_written=("firstname", "lastname", "role", "gradyear", "status"),
)
_ROLES = {
    "": Role.STUDENT,
    "student": Role.STUDENT,
    "teacher": Role.TEACHER,
    "staff": Role.STAFF,
    "admin": Role.ADMIN,
}
_ACTIVE = {"", "active", "1"}
_SCIENTIFIC = re.compile(r"\d([.,]\d+)?[eE]\+?\d+")
_YEAR = re.compile(r"(?:19|20|21)\d\d")
_FROM = {
    "external_id": "idnumber",
    "given_name": "firstname",
    "family_name": "lastname",
    "email": "email",
    "graduation_year": "gradyear",
    "student_number": "idnumber",
    "staff_number": "idnumber",
}

# --------------------------------------------------------------------------------- the class


class UserCsv(FileConnector):
    """Reads the user file."""

    name = "user_csv"
    version = "3"
    title = "User file: one CSV with everybody who should be active"
    config_model = UserCsvConfig
    capabilities = Capabilities(
        origin="file",
        partial_is_usable=False,
        scoped_by_role=True,
        unique_email=True,
        binds_email_domains=True,
        takes_uploads=True,
    )
    streams = {"users": Kind.USER}  # noqa: RUF012
    config: UserCsvConfig

    def read_set(self, files: FileSet) -> Generator[Page, None, Certificate]:
        """Serve the rows of the file. Raises ``FileRefused`` for unknown or missing columns."""
        refuse_other_formats(files, single="user_csv")
        file = the_one_file(files)
        header = file.header()
        refuse_strangers(header, UserRow._fields, _ALSO_CALLED)
        table = self.tables["users"] = Table(header, _SHAPE)
        notes = [*files.notes, *table.notes]
        if not table.has("role"):
            notes.append(f"{file.name} has no role column: everybody is read as a student.")
        pages = yield from file.pages("users", header, table.context)
        return Certificate(
            complete=True, pages=pages, vendor_time=files.modified, notes=tuple(notes)
        )

    def identify(self, stream: str, raw: bytes) -> str:
        """Return ``id:IDNUMBER`` where there is one, else ``email:ADDRESS``, both folded."""
        return self.tables[stream].note_key(raw) or _key(self._read(stream, raw))

    def _read(self, stream: str, raw: bytes) -> UserRow:
        row: UserRow = self.tables[stream].read(raw)
        return row

    def parse(self, stream: str, raw: bytes) -> Record:
        """Return the user of one row."""
        row = self._read(stream, raw)
        key = _key(row)
        for problem in _faults(row, key):
            raise problem
        if b"'" in raw:
            row = UserRow._make(unguarded(value) for value in row)
        student = _ROLES[row.role.casefold()] is Role.STUDENT
        try:
            user = NormalizedUser(
                external_id=key,
                given_name=row.firstname,
                family_name=row.lastname,
                email=row.email,
                memberships=(Membership(role=_ROLES[row.role.casefold()]),),
                graduation_year=int(row.gradyear) if student and row.gradyear else None,
                student_number=row.idnumber if student else None,
                staff_number=None if student else row.idnumber,
            )
        except ValidationError as problem:
            raise all_invalid(problem, key, _FROM)[0] from None
        former = (f"email:{fold_email(row.email)}",) if row.idnumber else ()
        return Record(Kind.USER, key, user, former_keys=former, by_address=not row.idnumber)

    def traced(self, stream: str, row: UserRow) -> Trace:
        """Return the names of a row that cannot be used."""
        return Trace(None, unguarded(row.firstname), unguarded(row.lastname))

    def row_faults(self, stream: str, key: str, row: UserRow) -> list[SkipRecord]:
        """Return what is wrong with the values of a row."""
        return [*_faults(row, key), *_too_long(row, key)]

    @classmethod
    def recognises(cls, files: GivenFiles) -> bool:
        """Say whether there is one file, and it has the three columns that must be there."""
        there = columns_of_the_one_file(files) >= set(_SHAPE.required)
        return there and not other_format(files)

    @classmethod
    def template(cls) -> Mapping[str, ExampleFile]:
        """Return one student."""
        example = ("Sam", "Example", "sam@school.example", "student", "2030", "Active", "900001")
        return {user_file.NAME: ExampleFile(user_file.HEADER, [example])}

    @classmethod
    def export_rows(cls, request: ExportRequest) -> Sequence[ExportFile]:
        """Return a user file of everybody."""
        return [
            ExportFile(user_file.NAME, user_file.HEADER, lambda: map(_exported, request.people()))
        ]


_ALSO_CALLED = words_for(
    {
        "given": "firstname", "family": "lastname", "email": "email", "role": "role",
        "year": "gradyear", "status": "status", "number": "idnumber",
    }
)  # fmt: skip
"""Names that people give the columns; they are suggested, never taken."""


def _exported(person: HeldPerson) -> ExportedRow:
    profile, said = person.profile, person.said
    role = user_file.role_of({member["role"] for member in said.get("memberships", [])})
    number = said.get("student_number") or said.get("staff_number")
    # without an idnumber the address is the key: it must be the one that the source knows
    email = profile["email"] if number else said.get("email")
    return user_file.user_row(person.user_id, profile, role, email=email, number=number)


def _faults(row: UserRow, key: str | None) -> Iterator[SkipRecord]:
    """Yield what is wrong with the values of a row, the first column first."""
    formulas = [name for name, value in zip(row._fields, row, strict=True) if value[:1] == "="]
    for column in formulas:
        yield SkipRecord(
            f"{column} is a formula, not a value.",
            rule="formula",
            column=column,
            key=key,
            hint="Copy the column and paste it as values, then save again.",
        )
    for column, value in zip(row._fields, row, strict=True):
        if column != "idnumber" and (problem := lost(value, column, key)):
            formulas.append(column)
            yield problem
    if not (row.firstname or row.lastname):
        yield SkipRecord(
            "firstname and lastname are blank.",
            rule="missing-value",
            column="lastname",
            key=key,
            hint="Fill in at least one of the two.",
        )
    if "email" not in formulas:
        try:
            _email(row, key)
        except SkipRecord as problem:
            yield problem
    role = _ROLES.get(row.role.casefold())
    if role is None and "role" not in formulas:
        yield SkipRecord(
            "role is none of admin, teacher, staff, student.",
            rule="unknown-role",
            column="role",
            key=key,
            hint="Blank means student.",
        )
    year = row.gradyear
    wrong_year = year and not (year.isascii() and _YEAR.fullmatch(year))
    if wrong_year and role in (Role.STUDENT, None) and "gradyear" not in formulas:
        yield SkipRecord(
            "gradyear is not a year of four digits.",
            rule="gradyear",
            column="gradyear",
            key=key,
            hint="Write 2027, or leave it blank.",
        )
    if row.status.casefold() not in _ACTIVE and "status" not in formulas:
        yield SkipRecord(
            "status is neither Active nor 1.",
            rule="status",
            column="status",
            key=key,
            hint="The file lists active people only: to remove somebody, leave the row out.",
        )


def _too_long(row: UserRow, key: str) -> list[SkipRecord]:
    """Return the values that the user model does not take."""
    try:
        NormalizedUser(
            external_id=key, given_name=row.firstname, family_name=row.lastname, email=row.email,
            student_number=row.idnumber,
        )  # fmt: skip
    except ValidationError as problem:
        return all_invalid(problem, key, _FROM)
    return []


def _refuse_a_lost_number(number: str) -> None:
    """Refuse an id that a spreadsheet has rounded or that it would compute."""
    if _SCIENTIFIC.fullmatch(number):
        raise SkipRecord(
            "idnumber was rounded by a spreadsheet (like 1.0E+05): the number is lost.",
            rule="scientific-number",
            column="idnumber",
            hint="Format the column as text before the numbers are pasted, and export again.",
        )
    if problem := lost(number, "idnumber"):
        raise problem
    if number.startswith("="):
        raise SkipRecord(
            "idnumber is a formula, not a value.",
            rule="formula",
            column="idnumber",
            hint="Copy the column and paste it as values, then save again.",
        )


def _key(row: UserRow) -> str:
    _refuse_a_lost_number(row.idnumber)
    if row.idnumber:
        return f"id:{unguarded(row.idnumber).casefold()}"
    return f"email:{fold_email(_email(row, None))}"


def _email(row: UserRow, key: str | None) -> str:
    if not row.email:
        raise SkipRecord(
            "email is blank.",
            rule="missing-value",
            column="email",
            key=key,
            hint="Every row needs an email address.",
        )
    if not is_address(row.email):
        raise SkipRecord(
            "email is not an email address.",
            rule="email-format",
            column="email",
            key=key,
            hint="One address, like name@school.example, without quotes or blanks.",
        )
    return row.email
