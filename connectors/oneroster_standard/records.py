"""OneRoster's JSON records, 1.1 and 1.2, and what they say in our words.

Docs: https://www.imsglobal.org/spec/oneroster/v1p2, https://www.imsglobal.org/oneroster-v11-final-specification
Both versions are read by one shape: 1.1 has one ``role`` and ``orgs``, 1.2 has ``roles``. Absent,
null and ``""`` are the same. Passwords, profiles and demographics have no field here, and ``href``
is never read: it may name another host or another tenant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
from connectors.contract.meant import leave_out_the_lost, lost
from connectors.contract.words import unknown_word
from connectors.oneroster_standard import vocabulary as words
from core.errors import RetryableError, SkipRecord
from core.models import Kind, NormalizedSchool, NormalizedUser, Role

DROPPED = frozenset({"password", "credentials", "userProfiles", "demographics", "sms", "phone"})
"""Keys of a record that nothing may read, not even a mapping rule."""

LEFT_OUT = DROPPED | {
    "dateLastModified", "metadata", "agents", "pronouns", "resources", "parent", "children",
}  # fmt: skip
"""Fields that the standard knows and that say nothing about our users and schools."""


COLUMNS = {
    "given_name": "givenName",
    "middle_name": "middleName",
    "family_name": "familyName",
    "preferred_given_name": "preferredFirstName",
    "preferred_middle_name": "preferredMiddleName",
    "preferred_family_name": "preferredLastName",
    "state_id": "userIds",
    "student_number": "identifier",
    "staff_number": "identifier",
}
"""Our field → the field it is read from, where they are called otherwise."""


class Ref(msgspec.Struct):
    """A reference to another record. Its ``href`` is never followed."""

    sourcedId: Word = None


class UserId(msgspec.Struct):
    """An id that the person has in another system."""

    type: Word = None
    identifier: Word = None


class RoleEntry(msgspec.Struct):
    """One role at one org (1.2). Its dates are not read: the vendor's roster decides."""

    role: Word = None
    roleType: Word = None
    org: Ref | None = None


class Metadata(msgspec.Struct):
    """Extensions of vendors that we know."""

    primary_school: Word = msgspec.field(name="gg4l.primary_school", default=None)
    primary_grade: Word = msgspec.field(name="gg4l.primaryGrade", default=None)


class UserRecord(msgspec.Struct):
    """A user of either version."""

    sourcedId: Word
    status: Word = None
    enabledUser: Word = None
    givenName: Word = None
    middleName: Word = None
    familyName: Word = None
    preferredFirstName: Word = None
    preferredMiddleName: Word = None
    preferredLastName: Word = None
    preferredGivenName: Word = None
    preferredFamilyName: Word = None
    username: Word = None
    email: Word = None
    identifier: Word = None
    userMasterIdentifier: Word = None
    userIds: list[UserId] | None = None
    role: Word = None
    orgs: list[Ref] | None = None
    roles: list[RoleEntry] | None = None
    primaryOrg: Ref | None = None
    grades: list[Word] | Word = None
    metadata: Metadata | None = None


class OrgRecord(msgspec.Struct):
    """An org; only schools become our schools."""

    sourcedId: Word
    status: Word = None
    name: Word = None
    type: Word = None
    identifier: Word = None


class Named(msgspec.Struct):
    """The names of a person, to be read where the rest of their record cannot be."""

    givenName: Word = None
    familyName: Word = None


class Dated(msgspec.Struct):
    """When a record was last touched."""

    dateLastModified: Word = None


_user = Reader(UserRecord)
_org = Reader(OrgRecord)
_dated = msgspec.json.Decoder(Dated)
_named = msgspec.json.Decoder(Named)
_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])

_NOT_ROWS = frozenset({"statusInfoSet", "errors", "warnings", "imsx_CodeMinor"})


def rows_of(body: bytes, keys: Sequence[str]) -> list[msgspec.Raw]:
    """Return the records of an answer.

    They stand under the resource's own name, else under the path's, else under the only list that
    there is. Raises ``RetryableError`` for an answer without them: status 200 may hide an error.
    """
    try:
        envelope = _envelope.decode(body)
        for key in keys:
            if key in envelope:
                return _array.decode(envelope[key])
        lists = [
            value
            for key, value in envelope.items()
            if key not in _NOT_ROWS and bytes(value)[:1] == b"["
        ]
        if len(lists) == 1:
            return _array.decode(lists[0])
    except UNREADABLE:
        pass
    found = "a web page" if body.lstrip()[:1] == b"<" else "something that is cut or no list"
    raise RetryableError(
        f"The roster server answered with {found} instead of {keys[0]}.",
        hint="If it stays so, check the base URL and the permissions of this source.",
    )


def split_rows(body: bytes, keys: Sequence[str]) -> list[bytes]:
    """Return the raw records of a page."""
    return [bytes(row) for row in rows_of(body, keys)]


def single_of(body: bytes, key: str) -> bytes:
    """Return the record of a single answer, ``{"user": {…}}``; bare records are met too."""
    try:
        envelope = _envelope.decode(body)
    except UNREADABLE:
        raise RetryableError("The roster server answered with no record.") from None
    if key in envelope:
        return bytes(envelope[key])
    if "sourcedId" in envelope:
        return body
    raise RetryableError("The roster server answered with no record.")


def touched(raw: bytes | msgspec.Raw) -> str | None:
    """Return a record's ``dateLastModified`` as it stands there."""
    try:
        return text(_dated.decode(raw).dateLastModified)
    except UNREADABLE:
        return None


def org_facts(raw: bytes | msgspec.Raw) -> tuple[str, str, str]:
    """Return (sourcedId, type in small letters, identifier) of an org; ``""`` for what is not."""
    org = decode(_org, bytes(raw), "sourcedId")
    return (
        text(org.sourcedId) or "",
        (text(org.type) or "").lower(),
        text(org.identifier) or "",
    )


def is_whole(raw: bytes) -> bool:
    """Tell whether a user record says what the person is (an event may carry less)."""
    try:
        user = _user.decode(raw)
    except UNREADABLE:
        return False
    return bool(text(user.role) or any(text(entry.role) for entry in user.roles or ()))


def trace(raw: bytes) -> Trace | None:
    """Return the names of a user whose record cannot be used."""
    try:
        user = _named.decode(raw)
        return Trace(None, text(user.givenName) or "", text(user.familyName) or "")
    except (*UNREADABLE, ValueError):  # or a number of more digits than anybody writes
        return None


def gist(stream: str, raw: bytes) -> bytes | None:
    """Return what is read of an org or a user."""
    return gist_of(_org, raw) if stream == "schools" else gist_of(_user, raw)


def parse_school(raw: bytes) -> Record:
    """Return the school of an org; any other org, such as a district, comes as ``deleted``."""
    wire = decode(_org, raw, "sourcedId")
    key = text(wire.sourcedId) or ""
    unknown = _status_words(wire.status)
    kind = told(wire.type)
    if words.is_gone(text(wire.status)) or (kind is not None and words.is_no_school(kind)):
        return Record(Kind.SCHOOL, key, deleted=True, unknown=unknown)
    if kind is not None and not words.is_school(kind):
        raise words.no_type(key)
    nces_id, number = words.school_numbers(told(wire.identifier))
    values = {"external_id": key, "name": text(wire.name), "nces_id": nces_id, "number": number}
    school = build(NormalizedSchool, key, values)
    extra = extra_fields(raw, OrgRecord, LEFT_OUT)
    return Record(Kind.SCHOOL, key, school=school, unknown=unknown, extra=extra)


def parse_user(raw: bytes, id_types: Sequence[str], *, nameless: bool = False) -> Record:
    """Return the user of a record. Several records of one person share their ``person_key``.

    ``nameless``: somebody without any name is accepted, because the vendor masks names.
    """
    wire = decode(_user, raw, "sourcedId")
    key = text(wire.sourcedId) or ""
    unknown = list(_status_words(wire.status))
    if words.is_gone(text(wire.status)):
        return Record(Kind.USER, key, deleted=True)
    metadata = wire.metadata or Metadata()
    strange_at: list[str] = []
    pairs, primary = _pairs(wire, metadata, unknown, strange_at)
    if not pairs:
        raise SkipRecord(
            "A user has no role that is known.",
            rule="unknown-role",
            column="roles" if wire.roles else "role",
            key=key,
            hint="Ask the vendor which roles it sends for these people.",
        )
    roles = {role for role, _ in pairs}
    if not (nameless or text(wire.givenName) or text(wire.familyName)):
        raise no_name(key, "familyName")
    unread: list[str] = []
    doubts: list[SkipRecord] = []
    email = address_of(key, wire.email, doubts)
    if doubts:
        unread.append("email")
    enabled = words.truth(told(wire.enabledUser), default=True)
    if enabled is None:
        unknown.append(unknown_word("enabledUser", text(wire.enabledUser) or ""))
        unread.append("enabled")
    ids = [(text(one.type) or "", told(one.identifier) or "") for one in wire.userIds or ()]
    student_number, staff_number = words.numbers(told(wire.identifier), roles)
    person = words.person_key(told(wire.userMasterIdentifier), ids, id_types)
    if person and (problem := lost(person.rpartition(":")[2], "userMasterIdentifier", key)):
        raise problem  # numbers that were rounded alike would join strangers
    grade = None
    if Role.STUDENT in roles:  # an adult has none
        grade, strange = _grade(wire, metadata)
        if strange is not None:
            unknown.append(unknown_word("grade", strange))
            unread += () if grade else ("grade",)
    try:
        memberships = words.memberships(pairs, primary)
    except ValidationError as error:
        raise unusable(error, key) from None
    said = {
        "external_id": key,
        "given_name": text(wire.givenName),
        "middle_name": text(wire.middleName),
        "family_name": text(wire.familyName),
        "preferred_given_name": text(wire.preferredFirstName) or text(wire.preferredGivenName),
        "preferred_middle_name": text(wire.preferredMiddleName),
        "preferred_family_name": text(wire.preferredLastName) or text(wire.preferredFamilyName),
        "email": email,
        "username": told(wire.username),
        "memberships": memberships,
        "grade": grade,
        "state_id": words.state_id(ids),
        "student_number": student_number,
        "staff_number": staff_number,
        "enabled": enabled is not False,
        "person_key": person,
        "unread_at": tuple(dict.fromkeys(strange_at)) or None,
    }
    unread += leave_out_the_lost(said, key, COLUMNS, doubts)
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


def _pairs(
    wire: UserRecord, metadata: Metadata, unknown: list[str], strange_at: list[str]
) -> tuple[list[tuple[Role, str | None]], str | None]:
    """Return the roles at their orgs, and the org that is the primary one.

    To ``strange_at`` come the orgs (``""``: none) at which a role is not understood.
    1.2 names it (``primaryOrg``, else the first primary role), GG4L in its metadata; otherwise it
    is the first org.
    """
    pairs: list[tuple[Role, str | None]] = []
    main: str | None = None
    held = [entry for entry in wire.roles or () if text(entry.role)]  # an empty one is none
    for entry in held:
        role, org = _role(entry.role, unknown), _id(entry.org)
        if role is None:
            strange_at.append(org or "")
            continue
        pairs.append((role, org))
        if main is None and (text(entry.roleType) or "").lower() == "primary":
            main = org
    if not held and (role := _role(wire.role, unknown)) is not None:
        orgs = [org for org in map(_id, wire.orgs or ()) if org is not None]
        pairs += [(role, org) for org in orgs] or [(role, None)]
        main = orgs[0] if orgs else None
    there = {org for _, org in pairs}
    named = (_id(wire.primaryOrg), text(metadata.primary_school))
    return pairs, next((org for org in named if org in there and org is not None), main)


def _id(ref: Ref | None) -> str | None:
    return text(ref.sourcedId) if ref is not None else None


def _role(value: Word, unknown: list[str]) -> Role | None:
    word = text(value)
    if word is None:
        return None
    role = words.our_role(word)
    if role is None:
        unknown.append(unknown_word("role", word))
    return role


def _grade(wire: UserRecord, metadata: Metadata) -> tuple[str | None, str | None]:
    """Return the grade, and the first word that is not a grade."""
    found: list[Word] = list(wire.grades) if isinstance(wire.grades, list) else [wire.grades]
    given: Iterable[str] = filter(None, map(told, [metadata.primary_grade, *found]))
    return words.first_grade(given)


def _status_words(value: Word) -> tuple[str, ...]:
    word = text(value)
    if word is None or word.lower() == "active" or words.is_gone(word):
        return ()
    return (unknown_word("status", word),)
