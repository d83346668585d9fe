"""Templates: for each file format a file with the right headers and one example row.

Used by ``rostersync template``. The example must be replaced; its address is at a domain that
nobody owns (RFC 2606).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from connectors.files.csv_write import csv_bytes, new_file
from connectors.oneroster_standard.manifest import manifest_rows
from core.errors import UsageError

Sheet = tuple[Sequence[str], Sequence[Sequence[str]]]

_ONEROSTER_USERS = (
    "sourcedId", "status", "dateLastModified", "enabledUser", "orgSourcedIds", "role", "username",
    "userIds", "givenName", "familyName", "middleName", "identifier", "email", "sms", "phone",
    "agentSourcedIds", "grades", "password",
)  # fmt: skip
TEMPLATES: Mapping[str, Mapping[str, Sheet]] = {
    "user_csv": {
        "users.csv": (
            ("firstname", "lastname", "email", "role", "gradyear", "status", "idnumber"),
            [("Sam", "Example", "sam@school.example", "student", "2030", "Active", "900001")],
        )
    },
    "finra_flex": {
        "UploadUsersTemplate.csv": (
            ("crd_id", "first_name", "last_name", "email"),
            [("1234567", "Sam", "Example", "sam@firm.example")],
        )
    },
    "clever_csv": {
        "schools.csv": (
            ("School_id", "School_name", "School_number", "State_id"),
            [("1", "Example School", "101", "")],
        ),
        "students.csv": (
            ("School_id", "Student_id", "Student_number", "State_id", "Last_name", "Middle_name",
             "First_name", "Grade", "Graduation_year", "Student_email", "Username"),
            [("1", "s1", "900001", "", "Example", "", "Sam", "9", "2030",
              "sam@school.example", "")],
        ),
        "teachers.csv": (
            ("School_id", "Teacher_id", "Teacher_number", "State_teacher_id", "Teacher_email",
             "First_name", "Middle_name", "Last_name", "Username"),
            [("1", "t1", "", "", "kim@school.example", "Kim", "", "Example", "")],
        ),
        "staff.csv": (
            ("School_id", "Staff_id", "Staff_email", "First_name", "Last_name", "Username"),
            [("1", "f1", "lee@school.example", "Lee", "Example", "")],
        ),
    },
    "oneroster_csv": {
        "manifest.csv": (("propertyName", "value"), manifest_rows("1.1", "example")),
        "orgs.csv": (
            ("sourcedId", "status", "dateLastModified", "name", "type", "identifier",
             "parentSourcedId"),
            [("d1", "", "", "Example District", "district", "", ""),
             ("s1", "", "", "Example School", "school", "101", "d1")],
        ),
        "users.csv": (
            _ONEROSTER_USERS,
            [("u1", "", "", "true", "s1", "student", "sam", "", "Sam", "Example", "", "900001",
              "sam@school.example", "", "", "", "09", "")],
        ),
    },
}  # fmt: skip


def sheets(name: str) -> Mapping[str, Sheet]:
    """Return the files of a format: name → header and rows. Raises ``UsageError``."""
    if name not in TEMPLATES:
        raise UsageError(
            f"There is no template {name}.", hint=f"Templates: {', '.join(TEMPLATES)}."
        )
    return TEMPLATES[name]


def write_template(name: str, to: Path) -> None:
    """Write a template as ``.csv``, ``.xlsx`` (one file) or ``.zip``. Raises ``UsageError``."""
    files = sheets(name)
    kind = to.suffix.lower()
    if kind == ".zip":
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, (header, rows) in files.items():
                archive.writestr(file, csv_bytes(header, rows))
        written = content.getvalue()
    elif len(files) > 1:
        raise UsageError(
            f"{name} is a set of {len(files)} files.", hint=f"Give --output {name}.zip."
        )
    elif kind == ".xlsx":
        written = _workbook(next(iter(files.values())))
    else:
        written = csv_bytes(*next(iter(files.values())))
    with new_file(to) as stream:
        stream.write(written)


def _workbook(sheet: Sheet) -> bytes:
    """Return one sheet whose cells are text, so that no program turns a number into another."""
    import openpyxl

    header, rows = sheet
    book = openpyxl.Workbook()
    page = book.active
    for number, row in enumerate((header, *rows), start=1):
        for column, value in enumerate(row, start=1):
            cell = page.cell(number, column, value)
            cell.number_format = "@"
    for column in range(1, len(header) + 1):
        page.column_dimensions[page.cell(1, column).column_letter].number_format = "@"
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()
