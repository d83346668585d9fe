"""The same districts as files: OneRoster 1.1 and 1.2 CSV, Clever's Basic Roster, the user CSV.

Files are written row by row, whatever the size. A path that ends in ``.zip`` becomes one archive,
any other a folder; the same district and day give the same bytes.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from rostersync.emulator.district import truth
from rostersync.emulator.district.generator import District
from rostersync.emulator.district.ids import IDS
from rostersync.emulator.district.people import Person
from rostersync.emulator.district.truth import Truth
from rostersync.emulator.district.view import DELETED, SCHOOL_UPDATED, DayView
from rostersync.emulator.vendors import oneroster_records

Row = Sequence[str]
Table = tuple[str, Row, Iterable[Row]]
"""(file name, header, rows)."""

_FILES_11 = (
    "academicSessions", "categories", "classes", "classResources", "courses", "courseResources",
    "demographics", "enrollments", "lineItems", "orgs", "resources", "results", "users",
)  # fmt: skip
_FILES_12 = (
    *_FILES_11, "lineItemLearningObjectiveIds", "lineItemScoreScales",
    "resultLearningObjectiveIds", "resultScoreScales", "roles", "scoreScales", "userProfiles",
    "userResources",
)  # fmt: skip
_COMMON = ("sourcedId", "status", "dateLastModified")
_ORGS = (*_COMMON, "name", "type", "identifier", "parentSourcedId")
_SESSIONS = (
    *_COMMON, "title", "type", "startDate", "endDate", "parentSourcedId", "schoolYear",
)  # fmt: skip
_USERS_11 = (
    *_COMMON, "enabledUser", "orgSourcedIds", "role", "username", "userIds", "givenName",
    "familyName", "middleName", "identifier", "email", "sms", "phone", "agentSourcedIds", "grades",
    "password",
)  # fmt: skip
_USERS_12 = (
    *_COMMON, "enabledUser", "username", "userIds", "givenName", "familyName", "middleName",
    "identifier", "email", "sms", "phone", "agentSourcedIds", "grades", "password",
    "userMasterIdentifier", "preferredGivenName", "preferredMiddleName", "preferredFamilyName",
    "primaryOrgSourcedId", "pronouns",
)  # fmt: skip
_ROLES_12 = (
    *_COMMON, "userSourcedId", "roleType", "role", "beginDate", "endDate", "orgSourcedId",
    "userProfileSourcedId",
)  # fmt: skip


def write_oneroster(
    district: District,
    path: Path,
    *,
    day: int = 0,
    version: Literal["1.1", "1.2"] = "1.1",
    mode: Literal["bulk", "delta"] = "bulk",
) -> None:
    """Write a OneRoster CSV set with its manifest.

    ``bulk`` is everybody present, without status and date; ``delta`` what the day's edits changed
    (``status`` and ``dateLastModified`` filled). Ids are those of ``truth`` ``oneroster``.
    """
    view = district.view(day)
    two = version == "1.2"
    writer = _OneRoster(view, two=two, delta=mode == "delta")
    tables: list[Table] = [("orgs.csv", _ORGS, writer.orgs())]
    if mode == "bulk":
        tables.append(("academicSessions.csv", _SESSIONS, writer.sessions()))
    tables.append(("users.csv", _USERS_12 if two else _USERS_11, writer.users()))
    if two:
        tables.append(("roles.csv", _ROLES_12, writer.roles()))
    present = {name.removesuffix(".csv") for name, _, _ in tables}
    manifest = [("manifest.version", "1.0"), ("oneroster.version", version)]
    manifest += [
        (f"file.{name}", mode if name in present else "absent")
        for name in sorted(_FILES_12 if two else _FILES_11)
    ]
    manifest.append(("source.systemName", "rostersync emulator"))
    _write(path, [("manifest.csv", ("propertyName", "value"), manifest), *tables])


class _OneRoster:
    """The rows of a OneRoster set. REST records are the base: the two bindings say the same."""

    def __init__(self, view: DayView, *, two: bool, delta: bool) -> None:
        self.view = view
        self.two = two
        self.delta = delta
        self.seed = view.district.seed
        self.ids = IDS["oneroster"]

    def _changed(self) -> Iterator[tuple[Person, bool]]:
        """Yield everybody (bulk) or those who changed (delta), and whether they are gone."""
        if not self.delta:
            for person in self.view.people():
                yield person, False
            return
        last = {e.slot: e.kind for e in self.view.events() if e.kind != SCHOOL_UPDATED}
        for slot, kind in sorted(last.items()):
            yield self.view.person(slot), kind == DELETED

    def _common(self, sourced_id: str, modified: int, *, gone: bool) -> tuple[str, str, str]:
        if not self.delta:
            return sourced_id, "", ""
        # People who are simply no longer served have no date of their own for it, so the day's is
        # used.
        when = int(self.view.population.at(self.view.day).timestamp()) if gone else modified
        return sourced_id, "tobedeleted" if gone else "active", oneroster_records.iso(when)

    def orgs(self) -> Iterator[Row]:
        parent = self.ids.district(self.seed)
        renamed = {e.slot for e in self.view.events() if e.kind == SCHOOL_UPDATED}
        now = int(self.view.population.at(self.view.day).timestamp())
        if not self.delta:
            yield (*self._common(parent, now, gone=False),
                   self.view.district.name, "district", "1", "")  # fmt: skip
        for school in self.view.schools:
            if self.delta and school.index not in renamed:
                continue
            sourced_id = self.ids.school(school.index, self.seed)
            yield (*self._common(sourced_id, now, gone=False),
                   school.name, "school", school.number, parent)  # fmt: skip

    def sessions(self) -> Iterator[Row]:
        end = self.view.population.year_end
        yield (f"SY{end}", "", "", f"{end - 1}-{end}", "schoolYear",
               f"{end - 1}-08-15", f"{end}-06-15", "", str(end))  # fmt: skip

    def _orgs_of(self, person: Person, entry: int = 0) -> list[str]:
        schools = [self.ids.school(s, self.seed) for s in person.schools]
        alone = not schools or person.roles[entry] == "admin"
        return [self.ids.district(self.seed)] if alone else schools

    def users(self) -> Iterator[Row]:
        for person, gone in self._changed():
            common = self._common(self.ids.user(person.slot, self.seed), person.modified, gone=gone)
            enabled = "true" if person.enabled else "false"
            user_ids = ",".join(f"{{{t}:{i}}}" for t, i in truth.user_ids(person))
            number = person.student_number or person.staff_number
            child = self.ids.user(person.child, self.seed) if "contact" in person.roles else ""
            name = (person.given, person.family, person.middle)
            if self.two:
                orgs = self._orgs_of(person)
                primary = orgs[0] if person.schools else ""
                yield (*common, enabled, person.username, user_ids, *name, number, person.email,
                       "", "", child, person.grade, "", "", person.preferred, "", "", primary,
                       "")  # fmt: skip
                continue
            split = self.view.district.split_roles and len(person.roles) > 1
            for entry in (0, 1) if split else (0,):
                role = oneroster_records.role_11(person, entry)
                own = (f"{common[0]}_R2", *common[1:]) if entry else common
                yield (*own, enabled, ",".join(self._orgs_of(person, entry)), role,
                       person.username, user_ids, *name, number, person.email, "", "", child,
                       person.grade, "")  # fmt: skip

    def roles(self) -> Iterator[Row]:
        for person, gone in self._changed():
            user = self.ids.user(person.slot, self.seed)
            schools = [self.ids.school(s, self.seed) for s in person.schools]
            for number, role in enumerate(
                oneroster_records.roles_12(person, schools, self.ids.district(self.seed))
            ):
                common = self._common(f"{user}-R{number}", person.modified, gone=gone)
                yield (*common, user, role["roleType"], role["role"], "", "",
                       role["org"]["sourcedId"], "")  # fmt: skip


# Clever's Basic Roster.

_SCHOOLS = ("School_id", "School_name", "School_number", "State_id", "Low_grade", "High_grade")
_STUDENTS = (
    "School_id", "Student_id", "Student_number", "State_id", "Last_name", "Middle_name",
    "First_name", "Grade", "Gender", "Graduation_year", "DOB", "Race", "Hispanic_Latino",
    "Ell_status", "Frl_status", "IEP_status", "Student_zip", "Student_email", "Username",
)  # fmt: skip
_TEACHERS = (
    "School_id", "Teacher_id", "Teacher_number", "State_teacher_id", "Teacher_email", "First_name",
    "Middle_name", "Last_name", "Title", "Username",
)  # fmt: skip
_STAFF = (
    "School_id", "Staff_id", "Staff_email", "First_name", "Last_name", "Department", "Title",
    "Username", "Role",
)  # fmt: skip


def write_clever(district: District, path: Path, *, day: int = 0) -> None:
    """Write a Basic Roster: schools, students, teachers, staff; only active people are in it.

    A teacher or member of staff at several schools has a row for each. Admins without a school
    and guardians have no file here.
    """
    view = district.view(day)
    number = {school.index: school.number for school in view.schools}

    def grade(code: str) -> str:
        return {"PK": "PreKindergarten", "KG": "Kindergarten", "UG": "Ungraded"}.get(
            code
        ) or code.lstrip("0")

    def schools() -> Iterator[Row]:
        for school in view.schools:
            low = "Kindergarten" if school.low < 1 else str(school.low)
            yield school.number, school.name, school.number, school.state_id, low, str(school.high)

    def students() -> Iterator[Row]:
        for p in view.people("student"):
            year = str(p.graduation_year or "")
            yield (number[p.schools[0]], p.sis_id, p.student_number, p.state_id, p.family,
                   p.middle, p.given, grade(p.grade), "", year, "", "", "", "N", "", "", "",
                   p.email, p.username)  # fmt: skip

    def teachers() -> Iterator[Row]:
        for p in view.people("teacher"):
            for school in p.schools:
                yield (number[school], p.sis_id, p.staff_number, p.state_id, p.email, p.given,
                       p.middle, p.family, p.title, p.username)  # fmt: skip

    def staff() -> Iterator[Row]:
        for p in view.people("staff"):
            for school in p.schools or (-1,):
                yield (number.get(school, ""), p.staff_number, p.email, p.given, p.family, "",
                       p.title, p.username, "")  # fmt: skip

    _write(
        path,
        [
            ("schools.csv", _SCHOOLS, schools()),
            ("students.csv", _STUDENTS, students()),
            ("teachers.csv", _TEACHERS, teachers()),
            ("staff.csv", _STAFF, staff()),
        ],
    )


def clever_truth(district: District, *, day: int = 0) -> Iterator[tuple[str, Truth]]:
    """Yield (file, entry) of what a Basic Roster says; a teacher who is staff too is in both."""
    view = district.view(day)
    number = {school.index: school.number for school in view.schools}
    for person in view.people():
        for role in person.roles:
            if role not in ("student", "teacher", "staff"):
                continue
            at = person.schools[:1] if role == "student" else person.schools
            rows = tuple((role, number[s], not n and role != "staff") for n, s in enumerate(at))
            student, staff = role == "student", role == "staff"
            yield (
                {"student": "students", "teacher": "teachers"}.get(role, role) + ".csv",
                Truth(
                    person=person.index,
                    external_id=person.staff_number if staff else person.sis_id,
                    given_name=person.given,
                    middle_name=None if staff else person.middle or None,
                    family_name=person.family,
                    email=person.email or None,
                    username=person.username,
                    memberships=rows or ((role, None, False),),
                    grade=(person.grade or None) if student else None,
                    graduation_year=person.graduation_year if student else None,
                    sis_id=None if staff else person.sis_id,
                    student_number=person.student_number if student else None,
                    staff_number=None if student else person.staff_number,
                    state_id=None if staff else person.state_id or None,
                ),
            )


# The user CSV.


def write_user_csv(district: District, path: Path, *, day: int = 0) -> int:
    """Write one user CSV; return how many people it cannot carry.

    It leaves out guardians, and people without an own address in a domain of the district (see
    ``truth.in_user_csv``).
    """
    view = district.view(day)
    left_out = 0

    def rows() -> Iterator[Row]:
        nonlocal left_out
        for person in view.people():
            if not truth.in_user_csv(person):
                left_out += 1
                continue
            entry = truth.of(person, "user_csv", district.seed)
            yield (person.given, person.family, person.email, entry.memberships[0][0],
                   str(person.graduation_year or ""), "Active", entry.external_id)  # fmt: skip

    header = ("firstname", "lastname", "email", "role", "gradyear", "status", "idnumber")
    with path.open("w", encoding="utf-8", newline="") as out:
        _table(out, header, rows())
    return left_out


def user_csv_truth(district: District, *, day: int = 0) -> Iterator[Truth]:
    """Yield what a user CSV says, row by row."""
    for person in district.view(day).people():
        if truth.in_user_csv(person):
            yield truth.of(person, "user_csv", district.seed)


def _write(path: Path, tables: Sequence[Table]) -> None:
    if path.suffix.lower() != ".zip":
        path.mkdir(parents=True, exist_ok=True)
        for name, header, rows in tables:
            with (path / name).open("w", encoding="utf-8", newline="") as out:
                _table(out, header, rows)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, header, rows in tables:
            entry = zipfile.ZipInfo(name)  # always of 1980: the same roster is the same file
            entry.compress_type = zipfile.ZIP_DEFLATED
            with (
                archive.open(entry, "w", force_zip64=True) as raw,
                io.TextIOWrapper(raw, encoding="utf-8", newline="") as out,
            ):
                _table(out, header, rows)


def _table(out: io.TextIOBase | io.TextIOWrapper, header: Row, rows: Iterable[Row]) -> None:
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
