"""Clever CSV, "Basic Roster": schools.csv, students.csv, teachers.csv and, optionally, staff.csv.

Docs: https://support.clever.com/hc/en-us/articles/203114867 (Clever's SFTP files); GG4L delivers
the same files as "Basic Roster". Headers are read in any case and any order. The files list active
people only. A person at two schools has two rows, so each person is joined from rows. Ids are
unique within one file only: the key of a person carries the file's role (``student:ID``).

One file, because a format is one file: its columns, its records, its template and its export.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from pydantic import ValidationError

from connectors.contract.connector import Capabilities, Certificate, Page, Part, Record, Trace
from connectors.contract.file_exchange import (
    ExampleFile,
    ExportedRow,
    ExportFile,
    ExportRequest,
    GivenFiles,
    LeftOut,
)
from connectors.contract.meant import leave_out_the_lost, lost
from connectors.contract.words import is_address, no_address, unknown_word
from connectors.files.csv_table import Shape, Table, all_invalid, blank
from connectors.files.csv_write import cells_of
from connectors.files.file_connector import FileConfig, FileConnector
from connectors.files.file_set import FileSet, no_such_set, not_this_set
from connectors.files.recognition import other_format, refuse_other_formats
from core.errors import FileRefused, IncompleteFetch, SkipRecord
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, Role, ceds_grade

# ------------------------------------------------------------------------------------ config


class CleverCsvConfig(FileConfig):
    """Config of ``clever_csv``."""


# ------------------------------------------------------------------------------- wire shapes


class SchoolRow(NamedTuple):
    """What is read of a row of schools.csv."""

    School_id: str
    School_name: str
    School_number: str
    State_id: str
    NCES_id: str


class StudentRow(NamedTuple):
    """What is read of a row of students.csv. Never demographics, contacts or the password."""

    School_id: str
    Student_id: str
    Student_number: str
    State_id: str
    Last_name: str
    Middle_name: str
    First_name: str
    Preferred_first_name: str
    Preferred_middle_name: str
    Preferred_last_name: str
    Grade: str
    Graduation_year: str
    Student_email: str
    Username: str


class TeacherRow(NamedTuple):
    """What is read of a row of teachers.csv."""

    School_id: str
    Teacher_id: str
    Teacher_number: str
    State_teacher_id: str
    Teacher_email: str
    First_name: str
    Middle_name: str
    Last_name: str
    Username: str


class StaffRow(NamedTuple):
    """What is read of a row of staff.csv."""

    School_id: str
    Staff_id: str
    Staff_email: str
    First_name: str
    Middle_name: str
    Last_name: str
    Username: str


_NAMES = (
    "First_name", "Middle_name", "Last_name",
    "Preferred_first_name", "Preferred_middle_name", "Preferred_last_name",
)  # fmt: skip
_SHAPES: dict[str, Shape[Any]] = {
    "schools": Shape(
        SchoolRow,
        "School_id",
        ("School_id", "School_name"),
        ("School_id",),
        {"Nces_school_id": "NCES_id"},
        as_written=("School_name",),
    ),
    "students": Shape(
        StudentRow,
        "Student_id",
        ("School_id", "Student_id", "Last_name", "First_name"),
        ("School_id", "Student_id", "Student_number", "State_id"),
        {"Email": "Student_email"},
        "Student_email",
        _NAMES,
    ),
    "teachers": Shape(
        TeacherRow,
        "Teacher_id",
        ("School_id", "Teacher_id", "Last_name", "First_name"),
        ("School_id", "Teacher_id", "Teacher_number", "State_teacher_id"),
        {"State_id": "State_teacher_id", "Email": "Teacher_email"},
        "Teacher_email",
        _NAMES,
    ),
    "staff": Shape(
        StaffRow,
        "Staff_id",
        ("School_id", "Staff_id", "Last_name", "First_name"),
        ("School_id", "Staff_id"),
        {"Email": "Staff_email"},
        "Staff_email",
        _NAMES,
    ),
}
_ROLES = {"students": Role.STUDENT, "teachers": Role.TEACHER, "staff": Role.STAFF}
_EXPECTED = "schools.csv, students.csv, teachers.csv and, optionally, staff.csv"
_NEEDED = ("schools", "students", "teachers")

# --------------------------------------------------------------------------------- the class


class CleverCsv(FileConnector):
    """Reads the CSV files of a Clever "Basic Roster"."""

    name = "clever_csv"
    version = "4"
    title = 'Clever CSV ("Basic Roster"), as a zip or a folder'
    docs = "https://support.clever.com/hc/en-us/articles/203114867"
    config_model = CleverCsvConfig
    capabilities = Capabilities(
        origin="file", partial_is_usable=False, joined=True, takes_uploads=True
    )
    streams = {  # noqa: RUF012
        "schools": Kind.SCHOOL,
        "students": Kind.USER,
        "teachers": Kind.USER,
        "staff": Kind.USER,
    }
    hidden = (
        "Password", "DOB", "Gender", "Race", "Hispanic_Latino", "Home_language", "ELL_status",
        "FRL_status", "IEP_status", "Section_504_status", "Gifted_status", "Disability_status",
        "Disability_type", "Disability_code", "Unweighted_gpa", "Weighted_gpa",
        "Student_street", "Student_city", "Student_state", "Student_zip",
    )  # fmt: skip
    set_files = ("schools.csv", "students.csv", "teachers.csv")
    config: CleverCsvConfig

    def read_set(self, files: FileSet) -> Generator[Page, None, Certificate]:
        """Serve schools, students, teachers and, if there is such a file, staff.

        Raises ``FileRefused`` for any other files and for a missing required column, and
        ``IncompleteFetch`` for one that lacks a file or is cut.
        """
        refuse_other_formats(files)
        notes = _survey(files)
        found = {n: file for n in _SHAPES if (file := files.file(f"{n}.csv"))}
        headers = {name: file.header() for name, file in found.items()}
        for name, header in headers.items():
            try:
                table = self.tables[name] = Table(header, _SHAPES[name], guarded=True)
            except FileRefused as problem:
                raise not_this_set(files, problem, self.name, _EXPECTED) from None
            notes += table.notes
        pages = 0
        for name, header in headers.items():
            context = self.tables[name].context
            pages += yield from found[name].pages(name, header, context)
        return Certificate(
            complete=True,
            pages=pages,
            absent_streams=frozenset(_SHAPES.keys() - found.keys()),
            vendor_time=files.modified,
            notes=(*files.notes, *notes),
        )

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the school's id, or ``student:ID@SCHOOL`` for a person's row at a school."""
        if note := self.tables[stream].note_key(raw):
            return note
        row = self.tables[stream].ids(raw)
        if stream == "schools":
            return _filled(row.School_id, "School_id")
        return f"{_owner(stream, row)}@{row.School_id}"

    def parse(self, stream: str, raw: bytes) -> Record | Part:
        """Return a school, or one row of a person."""
        key = self.identify(stream, raw)
        faults: list[SkipRecord] = []
        said = _said(stream, key, self._row(stream, raw, key), faults)
        if said is None:
            raise faults[0]
        return said

    def traced(self, stream: str, row: Any) -> Trace | None:
        """Return whose row it is, at whatever school, and the names in it."""
        if stream == "schools":
            return None
        return Trace(_owner(stream, row), row.First_name, row.Last_name)

    def row_faults(self, stream: str, key: str, row: Any) -> list[SkipRecord]:
        """Return what is wrong with the values of a row."""
        faults: list[SkipRecord] = []
        _said(stream, key, row, faults)
        return faults

    def combine(self, owner: str, parts: Sequence[tuple[str, Part]]) -> Record | None:
        """Join the rows of one person.

        Where rows differ, the row of the school with the lowest id wins, and others fill its
        blanks: the order of the rows must not matter. Nothing in the format names the primary
        school of somebody who has two, so nobody's is named then.
        """
        rows = sorted(
            ((stream, part.data) for stream, part in parts if not part.deleted),
            key=lambda row: row[1]["school"] or "\U0010ffff",
        )
        if not rows:
            return None
        profile: dict[str, Any] = {}
        for _, data in rows:
            for name, value in data.items():
                if name != "school":
                    profile.setdefault(name, value)
        pairs = {(_ROLES[stream], data["school"]) for stream, data in rows}
        if any(school for _, school in pairs):
            pairs = {(role, school) for role, school in pairs if school}
        alone = len(pairs) == 1
        memberships = tuple(
            Membership(role=role, school=school, primary=alone and bool(school))
            for role, school in sorted(pairs, key=lambda pair: pair[1] or "")
        )
        return Record(Kind.USER, owner, NormalizedUser(**profile, memberships=memberships))

    # -- files that people give and take

    @classmethod
    def recognises(cls, files: GivenFiles) -> bool:
        """Say whether there is a students.csv beside schools or teachers."""
        there = "students.csv" in files and ("schools.csv" in files or "teachers.csv" in files)
        return there and not other_format(files)

    @classmethod
    def template(cls) -> Mapping[str, ExampleFile]:
        """Return one school with a student, a teacher and a member of staff."""
        return {
            f"{stream}.csv": ExampleFile(tuple(row), [tuple(row.values())])
            for stream, row in _EXAMPLES.items()
        }

    @classmethod
    def export_rows(cls, request: ExportRequest) -> Sequence[ExportFile]:
        """Return the schools, and everybody in the file of their role."""
        return [
            ExportFile(f"{stream}.csv", shape.columns, partial(_exported, request, stream))
            for stream, shape in _SHAPES.items()
        ]


def _exported(request: ExportRequest, stream: str) -> Iterator[ExportedRow]:
    header, columns = _SHAPES[stream].columns, COLUMNS[stream]

    def cells(values: Mapping[str, Any]) -> ExportedRow:
        return cells_of(header, {columns[name]: values[name] for name in values if name in columns})

    if stream == "schools":
        yield from map(cells, request.schools())
        return
    for person in request.people():
        kind, _, number = person.said["external_id"].partition(":")
        if kind != _ROLES[stream]:
            continue
        profile = {**person.profile, "external_id": number, "sis_id": number}
        if not (profile["given_name"] or profile["family_name"]):
            yield LeftOut(person.user_id, "a Clever file needs a name")
            continue
        for member in person.said.get("memberships", []):
            yield cells(profile | {"school": member.get("school")})


def _survey(files: FileSet) -> list[str]:
    """Check that the set is there. Returns notes."""
    there = {name for name in _SHAPES if files.file(f"{name}.csv")}
    if not there:
        raise no_such_set(files, "Clever", _EXPECTED)
    gone = [f"{name}.csv" for name in _NEEDED if name not in there]
    if gone:
        raise IncompleteFetch(
            f"{files.label} lacks {', '.join(gone)}.", hint=f"Expected {_EXPECTED}."
        )
    if files.file("admins.csv"):
        return ["admins.csv is not read: Clever replaced it by staff.csv."]
    return []


# ------------------------------------------------------------------------ values of the rows

_FROM_ALL = {
    "given_name": "First_name",
    "middle_name": "Middle_name",
    "family_name": "Last_name",
    "username": "Username",
    "school": "School_id",
}
COLUMNS: dict[str, dict[str, str]] = {
    "schools": {
        "external_id": "School_id",
        "name": "School_name",
        "number": "School_number",
        "state_id": "State_id",
        "nces_id": "NCES_id",
    },
    "students": _FROM_ALL
    | {
        "external_id": "Student_id",
        "sis_id": "Student_id",
        "email": "Student_email",
        "preferred_given_name": "Preferred_first_name",
        "preferred_middle_name": "Preferred_middle_name",
        "preferred_family_name": "Preferred_last_name",
        "grade": "Grade",
        "graduation_year": "Graduation_year",
        "student_number": "Student_number",
        "state_id": "State_id",
    },
    "teachers": _FROM_ALL
    | {
        "external_id": "Teacher_id",
        "sis_id": "Teacher_id",
        "email": "Teacher_email",
        "staff_number": "Teacher_number",
        "state_id": "State_teacher_id",
    },
    "staff": _FROM_ALL | {"external_id": "Staff_id", "sis_id": "Staff_id", "email": "Staff_email"},
}
"""Our field → the column it is read from, by stream."""
_EXAMPLES = {
    "schools": {
        "School_id": "1", "School_name": "Example School", "School_number": "101", "State_id": "",
    },
    "students": {
        "School_id": "1", "Student_id": "s1", "Student_number": "900001", "State_id": "",
        "Last_name": "Example", "Middle_name": "", "First_name": "Sam", "Grade": "9",
        "Graduation_year": "2030", "Student_email": "sam@school.example", "Username": "",
    },
    "teachers": {
        "School_id": "1", "Teacher_id": "t1", "Teacher_number": "", "State_teacher_id": "",
        "Teacher_email": "kim@school.example", "First_name": "Kim", "Middle_name": "",
        "Last_name": "Example", "Username": "",
    },
    "staff": {
        "School_id": "1", "Staff_id": "f1", "Staff_email": "lee@school.example",
        "First_name": "Lee", "Last_name": "Example", "Username": "",
    },
}  # fmt: skip
"""The rows of the template, by stream."""


def _filled(value: str, column: str) -> str:
    if not value:
        raise blank(column)
    if problem := lost(value, column):
        raise problem
    return value


def _owner(stream: str, row: Any) -> str:
    """Return the key of a person: the second column of each shape is the id."""
    return f"{_ROLES[stream].value}:{_filled(row[1], row._fields[1])}"


def _said(stream: str, key: str, row: Any, faults: list[SkipRecord]) -> Record | Part | None:
    """Return what a row says, or None where it cannot be used; ``faults`` then holds why."""
    if stream == "schools":
        return _school(key, row, faults)
    if not (row.First_name or row.Last_name):
        faults.append(
            SkipRecord(
                "First_name and Last_name are blank.",
                rule="missing-value",
                column="Last_name",
                key=key,
                hint="Fill in at least one of the two.",
            )
        )
    owner = f"{_ROLES[stream].value}:{row[1] or key}"
    profile, unknown = _PROFILES[stream](row)
    unread = [word.partition("=")[0] for word in unknown]
    doubts: list[SkipRecord] = []
    if problem := lost(row.School_id, "School_id", key):
        faults.append(problem)
    if profile["email"] and not is_address(profile["email"]):
        doubts.append(no_address(key, COLUMNS[stream]["email"]))
        unread.append("email")
        profile["email"] = None
    profile |= {
        "given_name": row.First_name, "middle_name": row.Middle_name, "family_name": row.Last_name,
        "username": row.Username,
    }  # fmt: skip
    unread += leave_out_the_lost(profile, key, COLUMNS[stream], doubts)
    try:
        school = Membership(role=_ROLES[stream], school=row.School_id or None).school
    except ValidationError as problem:
        faults += all_invalid(problem, key, COLUMNS[stream])
        school = None
    try:
        user = NormalizedUser(
            external_id=owner,
            sis_id=row[1],
            unread=tuple(unread) or None,
            **profile,
        )
    except ValidationError as problem:
        faults += all_invalid(problem, key, COLUMNS[stream])
    if faults:
        return None
    data = {"school": school, **user.model_dump(mode="json", exclude_defaults=True)}
    return Part(owner, key, data, unknown=tuple(unknown), doubts=tuple(doubts))


def _school(key: str, row: SchoolRow, faults: list[SkipRecord]) -> Record | None:
    try:
        school = NormalizedSchool(
            external_id=key,
            name=row.School_name,
            nces_id=row.NCES_id,
            state_id=row.State_id,
            number=row.School_number,
        )
    except ValidationError as problem:
        faults += all_invalid(problem, key, COLUMNS["schools"])
        return None
    return Record(Kind.SCHOOL, key, school=school)


def _student(row: StudentRow) -> tuple[dict[str, Any], list[str]]:
    unknown = []
    grade = ceds_grade(row.Grade) if row.Grade else None
    if row.Grade and grade is None:
        unknown.append(unknown_word("grade", row.Grade))
    year = row.Graduation_year
    known = year.isascii() and year.isdecimal() and len(year) == 4 and 1900 <= int(year) <= 2200
    if year and not known:
        unknown.append(unknown_word("graduation_year", year))
    profile = {
        "email": row.Student_email,
        "preferred_given_name": row.Preferred_first_name,
        "preferred_middle_name": row.Preferred_middle_name,
        "preferred_family_name": row.Preferred_last_name,
        "grade": grade,
        "graduation_year": int(year) if known else None,
        "student_number": row.Student_number,
        "state_id": row.State_id,
    }
    return profile, unknown


def _teacher(row: TeacherRow) -> tuple[dict[str, Any], list[str]]:
    profile = {
        "email": row.Teacher_email,
        "staff_number": row.Teacher_number,
        "state_id": row.State_teacher_id,
    }
    return profile, []


def _staff(row: StaffRow) -> tuple[dict[str, Any], list[str]]:
    return {"email": row.Staff_email}, []


_PROFILES: dict[str, Any] = {"students": _student, "teachers": _teacher, "staff": _staff}
