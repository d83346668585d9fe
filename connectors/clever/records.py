"""Clever's school and user records, and what they say in our words. Used by ``clever.py`` only.

Docs: https://dev.clever.com/docs/users, https://dev.clever.com/docs/schools
Absent, null and ``""`` are the same: all three occur. Demographics have no field here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec
from pydantic import ValidationError

from connectors.contract.connector import Record, Trace
from connectors.contract.json_records import (
    UNREADABLE,
    Reader,
    Word,
    address_of,
    build,
    decode,
    extra_fields,
    gist_of,
    no_name,
    text,
    told,
    unusable,
)
from connectors.contract.meant import leave_out_the_lost
from connectors.contract.words import unknown_word
from core.errors import SkipRecord
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, Role, ceds_grade

ROLES: dict[str, Role] = {
    "student": Role.STUDENT,
    "teacher": Role.TEACHER,
    "staff": Role.STAFF,
    "district_admin": Role.ADMIN,
    "contact": Role.CONTACT,
}
"""A key of a user's ``roles`` to our role. v3 shows school admins as staff."""


class SchoolRecord(msgspec.Struct):
    """A school."""

    id: Word
    name: Word = None
    school_number: Word = None
    state_id: Word = None
    nces_id: Word = None
    rostersync_deleted: bool = False


class Name(msgspec.Struct):
    """A name; contacts may carry it whole in ``last``."""

    first: Word = None
    middle: Word = None
    last: Word = None


class Named(msgspec.Struct):
    """The names of a person, to be read where the rest of their record cannot be."""

    name: Name | None = None


class Credentials(msgspec.Struct):
    """How a person signs in at the district. Passwords are not read."""

    district_username: Word = None


class RoleRecord(msgspec.Struct):
    """What any of the role objects may carry of what we use."""

    school: Word = None
    schools: list[Word] | None = None
    sis_id: Word = None
    state_id: Word = None
    student_number: Word = None
    teacher_number: Word = None
    staff_id: Word = None
    grade: Word = None
    graduation_year: Word = None
    email: Word = None
    credentials: Credentials | None = None
    preferred_name: Name | None = None


class UserRecord(msgspec.Struct):
    """A user with the roles it has."""

    id: Word
    name: Name | None = None
    email: Word = None
    roles: dict[str, RoleRecord | None] | None = None
    rostersync_deleted: bool = False


LEFT_OUT = frozenset(
    {
        "created", "last_modified", "district", "data", "ext", "enrollments", "location", "phone",
        "principal", "high_grade", "low_grade", "mdr_number", "sis_id", "lms_status", "lms_state",
    }
)  # fmt: skip
"""Fields that Clever documents and that say nothing about our users and schools.

https://dev.clever.com/docs/api-v30-data-model
"""


_school = Reader(SchoolRecord)
_user = Reader(UserRecord)
_named = msgspec.json.Decoder(Named)
_NOTHING, _NO_NAME, _NO_CREDENTIALS = RoleRecord(), Name(), Credentials()


def gist(stream: str, raw: bytes) -> bytes | None:
    """Return what is read of a school or user."""
    return gist_of(_school, raw) if stream == "schools" else gist_of(_user, raw)


def trace(raw: bytes) -> Trace | None:
    """Return the names of a user whose record cannot be used."""
    try:
        name = _named.decode(raw).name or _NO_NAME
        return Trace(None, text(name.first) or "", text(name.last) or "")
    except (*UNREADABLE, ValueError):  # or a number of more digits than anybody writes
        return None


def parse_school(raw: bytes) -> Record:
    """Return the school that a record describes."""
    wire = decode(_school, raw, "id")
    key = text(wire.id) or ""
    if wire.rostersync_deleted:
        return Record(Kind.SCHOOL, key, deleted=True)
    school = build(
        NormalizedSchool,
        key,
        {
            "external_id": key,
            "name": text(wire.name),
            "nces_id": told(wire.nces_id),
            "state_id": told(wire.state_id),
            "number": told(wire.school_number),
        },
    )
    extra = extra_fields(raw, SchoolRecord, LEFT_OUT)
    return Record(Kind.SCHOOL, key, school=school, extra=extra)


def parse_user(raw: bytes) -> Record:
    """Return the user that a record describes, with all its roles."""
    wire = decode(_user, raw, "id")
    key = text(wire.id) or ""
    if wire.rostersync_deleted:
        return Record(Kind.USER, key, deleted=True)
    roles: dict[Role, RoleRecord] = {}
    unknown: list[str] = []
    strange_at: list[str] = []
    for word, record in (wire.roles or {}).items():
        if record is None:
            continue
        if word in ROLES:
            roles[ROLES[word]] = record
        else:
            unknown.append(unknown_word("role", word))
            strange_at += _schools(record) or [""]
    if not roles:
        raise SkipRecord(
            "A user has no role that is known.",
            rule="unknown-role",
            column="roles",
            key=key,
            hint="Ask the district which data it shares with the app.",
        )
    student = roles.get(Role.STUDENT, _NOTHING)
    teacher = roles.get(Role.TEACHER, _NOTHING)
    staff = roles.get(Role.STAFF, _NOTHING)
    grade_word = told(student.grade)
    grade = ceds_grade(grade_word) if grade_word else None
    unread: list[str] = []
    if grade_word and grade is None:
        unknown.append(unknown_word("grade", grade_word))
        unread.append("grade")
    name = wire.name or _NO_NAME
    if not (text(name.first) or text(name.last)):
        raise no_name(key, "name")
    doubts: list[SkipRecord] = []
    email = address_of(key, wire.email, doubts) or address_of(key, student.email, doubts)
    if doubts and email is None:
        unread.append("email")
    year_word = told(student.graduation_year)
    year = _year(year_word)
    if year_word and year is None:
        unknown.append(unknown_word("graduation_year", year_word))
        unread.append("graduation_year")
    preferred = student.preferred_name or _NO_NAME
    username = sis_id = state_id = None
    for record in roles.values():  # of each number the first role that has one
        username = username or told((record.credentials or _NO_CREDENTIALS).district_username)
        sis_id = sis_id or told(record.sis_id)
        state_id = state_id or told(record.state_id)
    try:
        memberships = _memberships(roles)
    except ValidationError as error:
        raise unusable(error, key) from None
    doubts = doubts[:1]
    said = {
        "external_id": key,
        "given_name": text(name.first),
        "middle_name": text(name.middle),
        "family_name": text(name.last),
        "preferred_given_name": text(preferred.first),
        "preferred_middle_name": text(preferred.middle),
        "preferred_family_name": text(preferred.last),
        "email": email,
        "username": username,
        "memberships": memberships,
        "grade": grade,
        "graduation_year": year,
        "sis_id": sis_id,
        "student_number": told(student.student_number),
        "state_id": state_id,
        "staff_number": told(teacher.teacher_number) or told(staff.staff_id),
        "unread_at": tuple(dict.fromkeys(strange_at)) or None,
    }
    unread += leave_out_the_lost(said, key, {}, doubts)
    said["unread"] = tuple(unread) or None
    user = build(NormalizedUser, key, said)
    return Record(
        Kind.USER,
        key,
        user=user,
        unknown=tuple(unknown),
        extra=extra_fields(raw, UserRecord, LEFT_OUT),
        doubts=tuple(doubts),
    )


def _memberships(roles: Mapping[Role, RoleRecord]) -> tuple[Membership, ...]:
    """Return each role at each of its schools, or at none; the first primary school wins."""
    found: list[Membership] = []
    primary_is_open = True
    for role, record in roles.items():
        main, schools = text(record.school), _schools(record)
        for school in dict.fromkeys(schools):
            primary = primary_is_open and school == main
            primary_is_open = primary_is_open and not primary
            found.append(_membership(role, school, primary))
        if not schools:
            found.append(_membership(role, None, False))
    return tuple(found)


def _schools(record: RoleRecord) -> list[str]:
    """Return the schools of a role, the main one first."""
    main = text(record.school)
    others = [school for school in map(text, record.schools or ()) if school is not None]
    return others if main is None or others[:1] == [main] else [main, *others]


@lru_cache(maxsize=4096)
def _membership(role: Role, school: str | None, primary: bool) -> Membership:
    """Share equal memberships: a school has thousands of them."""
    return Membership(role=role, school=school, primary=primary)


@lru_cache(maxsize=256)
def _year(word: str | None) -> int | None:
    return int(word) if word and re.fullmatch(r"(?:19|20|21)\d\d", word) else None
