"""Which format a file is, found from its headers and its files' names (file-rules.md 2.2, 4.2).

Used by the upload, and by the file connectors to name a foreign format that was sent instead of
theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from connectors.contract.connector import Connector
from connectors.files.csv_file import CsvFile
from connectors.files.file_set import FileSet, open_files
from core.errors import FileRefused, IncompleteFetch


def recognise(path: Path, formats: Mapping[str, type[Connector]]) -> list[str]:
    """Return the names of the formats that recognise the file; none if it is unknown."""
    try:
        with open_files(path) as files:
            given = _Given(files.files())
            return [name for name, one in formats.items() if one.recognises(given)]
    except (FileRefused, IncompleteFetch):
        return []


class _Given(Mapping[str, Sequence[str]]):
    """Name → header of the uploaded files; a header is read when it is first asked for."""

    def __init__(self, files: Sequence[CsvFile]) -> None:
        self._files = {file.name.casefold(): file for file in files}

    def __getitem__(self, name: str) -> Sequence[str]:
        try:
            return self._files[name].header().folded
        except (FileRefused, IncompleteFetch):
            return ()

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def columns_of_the_one_file(given: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """Return the columns if there is only one file; none if there are several."""
    return frozenset(next(iter(given.values()))) if len(given) == 1 else frozenset()


# ------------------------------------------------------------- formats that are not read here


class OtherFormat(NamedTuple):
    """A format that is not read here: its name, and sets of columns that identify it."""

    name: str
    marks: tuple[frozenset[str], ...]


def _columns(*lists: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(one.split(",")) for one in lists)


OTHERS = (
    OtherFormat(
        "a Canvas SIS import",
        _columns("user_id,login_id", "course_id,user_id,role", "account_id,parent_account_id"),
    ),
    OtherFormat(
        "Microsoft School Data Sync (SDS) V1",
        _columns("sis id,school sis id", "section sis id,sis id", "sis id,name"),
    ),
    OtherFormat(
        "Microsoft School Data Sync (SDS) V2",
        _columns("sourcedid,username,activedirectorymatchid", "usersourcedid,orgsourcedid,role"),
    ),
    OtherFormat(
        "a user list of Google Workspace",
        _columns(
            "first name [required],last name [required],email address [required]",
            "org unit path [required],email address [required]",
        ),
    ),
    OtherFormat(
        "a user list of Microsoft Entra (Azure)",
        _columns("userprincipalname,displayname", "user name [userprincipalname] required"),
    ),
    OtherFormat(
        "Apple School Manager",
        _columns("person_id,person_number,first_name,last_name", "location_id,location_name"),
    ),
    OtherFormat(
        "a user list of Moodle",
        _columns(
            "username,firstname,lastname,email,course1",
            "username,firstname,lastname,email,cohort1",
            "username,password,firstname,email",
        ),
    ),
    OtherFormat(
        "an export of PowerSchool",
        _columns(
            "student_number,last_name,first_name,grade_level",
            "students.student_number,students.last_name",
            "students.dcid,students.last_name",
            "teachers.teachernumber,teachers.last_name",
        ),
    ),
    OtherFormat(
        "an ad hoc export of Infinite Campus",
        _columns(
            "student.studentnumber,student.lastname", "individual.lastname,individual.firstname"
        ),
    ),
    OtherFormat("an export of Aeries", _columns("stu.id,stu.ln", "stu.id,stu.fn", "tch.tn,tch.te")),
    OtherFormat(
        "an export of Synergy", _columns("sis number,last name", "sis_number,last_name,first_name")
    ),
    OtherFormat(
        "an export of Skyward",
        _columns("other id,student last name", "other id,last name"),
    ),
    OtherFormat("a user import of Schoology", _columns("uniq user id,first name,last name")),
    OtherFormat(
        "a user list of Active Directory",
        _columns("samaccountname,givenname", "samaccountname,name", "dn,objectclass"),
    ),
    OtherFormat("a user list of Okta", _columns("login,firstname,lastname,email")),
    OtherFormat("data of Ed-Fi", _columns("studentuniqueid,lastsurname")),
    OtherFormat(
        "a list of contacts of Google or Outlook",
        _columns("e-mail 1 - value", "e-mail address,e-mail display name"),
    ),
)
"""Docs: canvas.instructure.com/doc/api/file.sis_csv.html, learn.microsoft.com/schooldatasync,
support.google.com/a/answer/40057, support.apple.com/guide/apple-school-manager,
docs.moodle.org/en/Upload_users, and for student information systems the names of their tables and
fields, as their own export screens write them into a header."""
_OF_A_SET = (
    OtherFormat(
        "one file of a set of OneRoster (connector oneroster_csv) or of Microsoft SDS",
        _columns("sourcedid,username", "sourcedid,givenname", "sourcedid,name,type"),
    ),
    OtherFormat(
        "one file of a Clever set (connector clever_csv)",
        _columns(
            "school_id,student_id,last_name,first_name",
            "school_id,teacher_id,last_name,first_name",
            "school_id,staff_id,last_name,first_name",
        ),
    ),
    OtherFormat(
        "the UploadUsersTemplate of FINRA FLEX (connector finra_flex)",
        _columns("crd_id,first_name,last_name,email"),
    ),
    OtherFormat(
        "the user file (connector user_csv)",
        _columns("firstname,lastname,email,role,idnumber"),
    ),
)
"""Formats that are read here, by another connector; for the connectors that take a single file."""
_OF_ONEROSTER = {"sourcedid", "sourceid", "roletype"}


def other_format(given: Mapping[str, Sequence[str]]) -> str:
    """Return the name of the foreign format whose columns a set has, or nothing.

    ``given`` is name → header, folded.
    """
    for name in given:
        header = frozenset(given[name])
        for other in OTHERS:
            for marks in other.marks:
                # roles.csv of OneRoster has the columns of SDS's, and more
                if marks <= header and not ("role" in marks and header & _OF_ONEROSTER):
                    return other.name
    return ""


def refuse_other_formats(files: FileSet, *, single: str = "") -> None:
    """Raise ``FileRefused`` naming the format, if the set has a foreign one.

    ``single`` is the name of a connector that takes one file: the formats of our other connectors
    are foreign to it.
    """
    if single and (name := _of_another_connector(files, single)):
        raise FileRefused(
            f"{files.label} is {name}, and not what this source reads.",
            hint="Give it to a source of that connector, or fill in the file that"
            f" rostersync template {single} writes.",
        )
    if name := other_format(_Given(files.files())):
        raise FileRefused(
            f"{files.label} is {name}, which is not read here.",
            hint="Export OneRoster CSV (orgs.csv, users.csv …) or Clever CSV instead, or fill in"
            " the file that rostersync template user_csv writes.",
        )


def _of_another_connector(files: FileSet, single: str) -> str:
    header = columns_of_the_one_file(_Given(files.files()))
    found = (one.name for one in _OF_A_SET for marks in one.marks if marks <= header)
    return next((name for name in found if f"(connector {single})" not in name), "")


def refuse_named_others(path: Path) -> None:
    """Raise ``FileRefused`` naming the format, if a file has a foreign one."""
    with suppress(IncompleteFetch), open_files(path) as files:
        refuse_other_formats(files)
