"""OneRoster CSV 1.1 and 1.2: a zip or a folder with manifest.csv, orgs.csv, users.csv, roles.csv.

Docs: https://www.imsglobal.org/spec/oneroster/v1p2/bind/csv (1.2) and
https://www.imsglobal.org/oneroster-v11-final-csv-tables (1.1).

Only the files that users are built from are read; the others may come or not. Columns are read by
name: order, case, the misspellings met in the wild and missing optional columns become notes. In
1.1 a user is one row; in 1.2 a user is a row of users.csv joined with rows of roles.csv. A set with
a file in mode delta speaks only of what changed: its certificate is ``incremental``. Membership at
an org that is no school (the district) is membership at no school. ``identifier`` is the number of
a student or of an adult; ``sis_id`` has no column in OneRoster and is left to mapping rules. Begin
and end dates of roles are not read: what a row says must not depend on the day it is read.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from connectors.base import Capabilities, Certificate, Page, Part, Record
from connectors.csv_file import CsvFile
from connectors.csv_rows import Shape, Table, invalid, unknown_token
from connectors.files import (
    FileConfig,
    FileConnector,
    FileSet,
    no_such_set,
    not_this_set,
)
from core.errors import FileRefused, IncompleteFetch, SkipRecord
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, Role, ceds_grade

# ------------------------------------------------------------------------------------ config


class OneRosterCsvConfig(FileConfig):
    """Config of ``oneroster_csv``."""

    person_id_type: str | None = Field(
        default=None,
        description="A type of userIds (such as Fed) that joins the rows of one person; "
        "userMasterIdentifier wins over it.",
    )


# ------------------------------------------------------------------------------- wire shapes


class PropertyRow(NamedTuple):
    """One row of manifest.csv."""

    propertyName: str
    value: str


class OrgRow(NamedTuple):
    """What is read of a row of orgs.csv."""

    sourcedId: str
    status: str
    name: str
    type: str
    identifier: str


class UserRow(NamedTuple):
    """What is read of a row of users.csv, of both versions. Never the password."""

    sourcedId: str
    status: str
    enabledUser: str
    orgSourcedIds: str
    role: str
    username: str
    userIds: str
    givenName: str
    familyName: str
    middleName: str
    identifier: str
    email: str
    grades: str
    userMasterIdentifier: str
    preferredGivenName: str
    preferredMiddleName: str
    preferredFamilyName: str
    primaryOrgSourcedId: str


class RoleRow(NamedTuple):
    """What is read of a row of roles.csv (1.2)."""

    sourcedId: str
    status: str
    userSourcedId: str
    roleType: str
    role: str
    orgSourcedId: str


_ID_ALIASES = {"sourceID": "sourcedId", "dataLastModified": "dateLastModified"}
_IDS = ("sourcedId", "status", "dateLastModified")
_USER_ALIASES = {
    **_ID_ALIASES,
    "userId": "userIds",
    "grade": "grades",
    "orgSourcedId": "orgSourcedIds",
    "preferredFirstName": "preferredGivenName",
    "prefferedGivenName": "preferredGivenName",
    "prefferedFirstName": "preferredGivenName",
    "prefferedMiddleName": "preferredMiddleName",
    "preferredLastName": "preferredFamilyName",
    "prefferedFamilyName": "preferredFamilyName",
    "prefferedLastName": "preferredFamilyName",
}
_MANIFEST = Shape(PropertyRow, key="propertyName", required=("propertyName", "value"))
_SHAPES: dict[tuple[str, str], Shape[Any]] = {
    ("1.1", "orgs"): Shape(OrgRow, "sourcedId", ("sourcedId", "name", "type"), _IDS, _ID_ALIASES),
    ("1.1", "users"): Shape(
        UserRow,
        "sourcedId",
        (
            "sourcedId", "enabledUser", "orgSourcedIds", "role", "username",
            "givenName", "familyName",
        ),
        _IDS,
        _USER_ALIASES,
    ),
    ("1.2", "users"): Shape(
        UserRow,
        "sourcedId",
        ("sourcedId", "enabledUser", "username", "givenName", "familyName"),
        _IDS,
        _USER_ALIASES,
    ),
    ("1.2", "roles"): Shape(
        RoleRow,
        "sourcedId",
        ("sourcedId", "userSourcedId", "roleType", "role", "orgSourcedId"),
        _IDS,
        _ID_ALIASES,
    ),
}  # fmt: skip
_SHAPES["1.2", "orgs"] = _SHAPES["1.1", "orgs"]

_STANDARD = {
    ("1.1", "orgs"): "name type identifier parentSourcedId",
    ("1.1", "users"): "enabledUser orgSourcedIds role username userIds givenName familyName "
    "middleName identifier email sms phone agentSourcedIds grades password",
    ("1.2", "users"): "enabledUser username userIds givenName familyName middleName identifier "
    "email sms phone agentSourcedIds grades password userMasterIdentifier resourceSourcedIds "
    "preferredGivenName preferredMiddleName preferredFamilyName primaryOrgSourcedId pronouns",
    ("1.2", "roles"): "userSourcedId roleType role beginDate endDate orgSourcedId "
    "userProfileSourcedId",
}
_STANDARD["1.2", "orgs"] = _STANDARD["1.1", "orgs"]
_MAY_LACK = {"resourceSourcedIds", "dateLastModified", "status"}
"""Columns whose lack is no news: 1.2.1 dropped the first, bulk files need not fill the others."""

_STREAMS = {"orgs": "schools", "users": "users", "roles": "roles"}
_FILES = frozenset(
    (
        "manifest", "orgs", "users", "roles", "academicSessions", "categories", "classes",
        "classResources", "courses", "courseResources", "demographics", "enrollments",
        "lineItems", "resources", "results", "scoreScales", "lineItemLearningObjectiveIds",
        "lineItemScoreScales", "resultLearningObjectiveIds", "resultScoreScales", "userProfiles",
        "userResources",
    )
)  # fmt: skip

_EXPECTED = "manifest.csv, orgs.csv, users.csv and, for OneRoster 1.2, roles.csv"

_ROLES = {
    "student": Role.STUDENT,
    "teacher": Role.TEACHER,
    "administrator": Role.ADMIN,
    "principal": Role.ADMIN,
    "siteadministrator": Role.ADMIN,
    "districtadministrator": Role.ADMIN,
    "systemadministrator": Role.ADMIN,
    "aide": Role.STAFF,
    "proctor": Role.STAFF,
    "counselor": Role.STAFF,
    "parent": Role.CONTACT,
    "guardian": Role.CONTACT,
    "relative": Role.CONTACT,
}
_RANK = {role: rank for rank, role in enumerate(Role)}
_NOT_SCHOOLS = {"department", "district", "local", "state", "national"}
_BOOLEANS = {
    "": True, "true": True, "1": True, "y": True, "yes": True, "t": True,
    "false": False, "0": False, "n": False, "no": False, "f": False,
}  # fmt: skip
_STATE_ID_TYPES = {"stateid", "state"}
_NCES = re.compile(r"\d{12}")
_USER_ID = re.compile(r"\{([^{}]*)\}")
_FROM = {
    "external_id": "sourcedId",
    "given_name": "givenName",
    "middle_name": "middleName",
    "family_name": "familyName",
    "preferred_given_name": "preferredGivenName",
    "preferred_middle_name": "preferredMiddleName",
    "preferred_family_name": "preferredFamilyName",
    "state_id": "userIds",
    "student_number": "identifier",
    "staff_number": "identifier",
    "nces_id": "identifier",
    "number": "identifier",
    "school": "orgSourcedId",
    "person_key": "userMasterIdentifier",
}

# --------------------------------------------------------------------------------- the class


@dataclass(frozen=True, slots=True)
class _Survey:
    """What is there to read: the version, each file with its mode, and what was odd."""

    version: str
    files: dict[str, CsvFile]
    delta: frozenset[str]
    silent: frozenset[str]
    notes: list[str] = field(default_factory=list)


class OneRosterCsv(FileConnector):
    """Reads a OneRoster 1.1 or 1.2 CSV set. ``capabilities.joined`` is settled by its version."""

    name = "oneroster_csv"
    version = "1"
    title = "OneRoster CSV 1.1 and 1.2, as a zip or a folder"
    docs = "https://www.imsglobal.org/spec/oneroster/v1p2/bind/csv"
    config_model = OneRosterCsvConfig
    capabilities = Capabilities(origin="file", partial_is_usable=False, joined=True)
    streams = {"schools": Kind.SCHOOL, "users": Kind.USER, "roles": Kind.USER}  # noqa: RUF012
    hidden = ("password",)
    set_files = ("orgs.csv", "users.csv")
    config: OneRosterCsvConfig
    _not_schools: frozenset[str] = frozenset()
    """Orgs that are no schools: a membership there is one at no school."""

    def read_set(self, files: FileSet) -> Generator[Page, None, Certificate]:
        """Serve schools, users and (1.2) roles.

        Raises ``FileRefused`` for a set that is none or lacks a required column, and
        ``IncompleteFetch`` for one that lacks a file or is cut.
        """
        survey = _survey(files)
        self.capabilities = replace(type(self).capabilities, joined=survey.version == "1.2")
        headers = {name: file.header() for name, file in survey.files.items()}
        notes = survey.notes
        for name, header in headers.items():
            try:
                table = Table(header, _SHAPES[survey.version, name])
                if name in survey.delta and not table.has("status"):
                    raise FileRefused(
                        f"{header.file} lacks the column status, which a delta file needs."
                    )
            except FileRefused as problem:
                raise not_this_set(files, problem, self.name, _EXPECTED) from None
            self.tables[_STREAMS[name]] = table
            notes += _header_notes(table, survey.version, name)
        if "schools" in self.tables:
            self._not_schools = _not_schools(survey.files["orgs"], self.tables["schools"])
        context = self._context(survey.version)
        pages = 0
        for name, header in headers.items():
            stream = _STREAMS[name]
            served = survey.files[name].pages(stream, header, context + self.tables[stream].context)
            pages += yield from served
        quiet = {_STREAMS[name] for name in survey.delta | survey.silent}
        return Certificate(
            complete=True,
            pages=pages,
            incremental=bool(quiet),
            absent_streams=frozenset(quiet | ({"roles"} if survey.version == "1.1" else set())),
            vendor_time=files.modified,
            notes=(*files.notes, *notes),
        )

    def _context(self, version: str) -> bytes:
        """Return what beside its header decides how a row reads."""
        districts = blake2b("\x1f".join(sorted(self._not_schools)).encode(), digest_size=16)
        joins = self.config.person_id_type or ""
        return f"{version}\x1e{joins}\x1e{districts.hexdigest()}\x1e".encode()

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the row's sourcedId."""
        key: str = self.tables[stream].ids(raw).sourcedId
        if not key:
            raise SkipRecord("sourcedId is blank.", rule="missing-value", column="sourcedId")
        return key

    def parse(self, stream: str, raw: bytes) -> Record | Part:
        """Return a school, a user (1.1), or a part of a user (1.2)."""
        key = self.identify(stream, raw)
        row = self._row(stream, raw, key)
        try:
            if stream == "schools":
                return _school(key, row)
            if stream == "roles":
                return _role(key, row, self._not_schools)
            if self.capabilities.joined:
                return self._part(key, row)
            return self._user(key, row)
        except ValidationError as problem:
            raise invalid(problem, key, _FROM) from None

    def _user(self, key: str, row: UserRow) -> Record:
        deleted, unknown = _status(row.status)
        if deleted:
            return Record(Kind.USER, key, deleted=True, unknown=tuple(unknown))
        roles = []
        for token in _list(row.role):
            role = _ROLES.get(token.casefold())
            if role:
                roles.append(role)
            else:
                unknown.append(unknown_token("role", token))
        if not roles:
            raise _no_role(key, met=bool(unknown and row.role))
        schools = [org for org in _list(row.orgSourcedIds) if org not in self._not_schools]
        orgs: list[str | None] = [*schools] or [None]
        primary = row.primaryOrgSourcedId if row.primaryOrgSourcedId in orgs else orgs[0]
        pairs = tuple((role, org) for role in roles for org in orgs)
        profile = self._profile(key, row, unknown, student=Role.STUDENT in roles)
        user = NormalizedUser(**profile, memberships=_memberships(pairs, primary))
        return Record(Kind.USER, key, user, unknown=tuple(unknown))

    def _part(self, key: str, row: UserRow) -> Part:
        deleted, unknown = _status(row.status)
        if deleted:
            return Part(key, key, {}, deleted=True, unknown=tuple(unknown))
        user = NormalizedUser(**self._profile(key, row, unknown, student=False))
        data = user.model_dump(mode="json", exclude_defaults=True)
        # Whether identifier is a student's or an adult's number only the roles can say.
        data["identifier"] = data.pop("staff_number", None)
        data["primary"] = row.primaryOrgSourcedId or None
        return Part(key, key, data, unknown=tuple(unknown))

    def _profile(
        self, key: str, row: UserRow, unknown: list[str], *, student: bool
    ) -> dict[str, Any]:
        if not (row.givenName or row.familyName):
            raise SkipRecord(
                "givenName and familyName are blank.",
                rule="missing-value",
                column="familyName",
                key=key,
            )
        enabled = _BOOLEANS.get(row.enabledUser.casefold())
        if enabled is None:
            unknown.append(unknown_token("enabledUser", row.enabledUser))
        state_id, person_key = self._ids(row)
        profile = {
            "external_id": key,
            "given_name": row.givenName,
            "middle_name": row.middleName,
            "family_name": row.familyName,
            "preferred_given_name": row.preferredGivenName,
            "preferred_middle_name": row.preferredMiddleName,
            "preferred_family_name": row.preferredFamilyName,
            "email": row.email,
            "username": row.username,
            "grade": _grade(row.grades, unknown),
            "state_id": state_id,
            "student_number" if student else "staff_number": row.identifier,
            "enabled": enabled is not False,
            "person_key": person_key,
        }
        # The model need not look at what is blank: this is half of its work.
        return {name: value for name, value in profile.items() if value or value is False}

    def _ids(self, row: UserRow) -> tuple[str | None, str | None]:
        """Return (state id, what joins the rows of one person) of userIds and master id."""
        person_key = f"master:{row.userMasterIdentifier}" if row.userMasterIdentifier else None
        if not row.userIds:
            return None, person_key
        state_id = None
        wanted = (self.config.person_id_type or "").strip()
        for kind, value in _user_ids(row.userIds):
            if state_id is None and re.sub(r"[\s_-]", "", kind).casefold() in _STATE_ID_TYPES:
                state_id = value
            if person_key is None and wanted and kind.casefold() == wanted.casefold():
                person_key = f"userid:{wanted}:{value}"
        return state_id, person_key

    def combine(self, owner: str, parts: Sequence[tuple[str, Part]]) -> Record | None:
        """Join a row of users.csv with the rows of roles.csv that name it (1.2).

        Roles without a user make no entry. A user without any role is a user without membership;
        one with unknown roles only is skipped (rule ``unknown-role``).
        """
        user = next((part for stream, part in parts if stream == "users"), None)
        if user is None:
            return None
        if user.deleted:
            return Record(Kind.USER, owner, deleted=True)
        roles = [part.data for stream, part in parts if stream == "roles" and not part.deleted]
        known = [(Role(r["role"]), r["org"], r["primary"]) for r in roles if r["role"]]
        if roles and not known:
            raise _no_role(owner, met=True)
        known.sort(key=lambda r: (not r[2], _RANK[r[0]], r[1] or ""))
        orgs = [org for _, org, _ in known]
        primary = user.data.get("primary")
        if primary not in orgs:
            primary = orgs[0] if orgs else None
        profile = {k: v for k, v in user.data.items() if k not in ("identifier", "primary")}
        student = any(role is Role.STUDENT for role, _, _ in known)
        profile["student_number" if student else "staff_number"] = user.data.get("identifier")
        try:
            memberships = _memberships(tuple((role, org) for role, org, _ in known), primary)
            joined = NormalizedUser(**profile, memberships=memberships)
        except ValidationError as problem:
            raise invalid(problem, owner, _FROM) from None
        return Record(Kind.USER, owner, joined)


# ---------------------------------------------------------------------------- what is there


def _not_schools(file: CsvFile, table: Table[OrgRow]) -> frozenset[str]:
    """Return the ids of the district, its departments and the like, of orgs.csv."""
    ids = set()
    for _, raw in file.rows():
        with suppress(SkipRecord):
            row = table.read(raw)
            if row.type.casefold() != "school":
                ids.add(row.sourcedId)
    return frozenset(ids)


def _survey(files: FileSet) -> _Survey:
    """Decide version and modes from the manifest and, where they differ, from the files."""
    manifest = files.file("manifest.csv")
    version, modes, notes = _read_manifest(manifest) if manifest else ("", {}, [])
    there = {name for name in _FILES if files.file(f"{name}.csv")}
    if not there.intersection(("manifest", "users", "orgs", "roles")):
        raise no_such_set(files, "OneRoster", _EXPECTED)
    if not manifest:
        notes.append("manifest.csv is missing: every file is read as bulk.")
    version = _settle_version(files, version, notes)
    needed = ["orgs", "users", *(["roles"] if version == "1.2" else [])]
    for name in needed:
        if name in there and manifest and modes.get(name) not in ("bulk", "delta"):
            said = modes.get(name) or "not listed"
            notes.append(f"{name}.csv is {said} in manifest.csv; it is read as bulk.")
    whole = any(name in there and modes.get(name) != "delta" for name in needed)
    silent = {n for n in needed if n not in there and modes.get(n) == "absent" and not whole}
    gone = [f"{n}.csv" for n in needed if n not in there and n not in silent]
    if gone:
        raise IncompleteFetch(
            f"{files.label} lacks {', '.join(gone)}.", hint=f"Expected {_EXPECTED}."
        )
    found = {n: file for n in needed if (file := files.file(f"{n}.csv"))}
    delta = frozenset(n for n in found if modes.get(n) == "delta")
    return _Survey(version, found, delta, frozenset(silent), notes)


def _read_manifest(file: CsvFile) -> tuple[str, dict[str, str], list[str]]:
    """Return (OneRoster version, file → mode, notes)."""
    table = Table(file.header(), _MANIFEST)
    names = {name.casefold(): name for name in _FILES}
    version, modes, notes = "", {}, []
    for line, raw in file.rows():
        try:
            row = table.read(raw)
        except SkipRecord as problem:
            notes.append(f"{file.name} line {line}: {problem.message}")
            continue
        name = row.propertyName.casefold()
        if name == "oneroster.version":
            version = row.value
        elif name.startswith("file."):
            modes[names.get(name[5:], name[5:])] = row.value.casefold()
    return version, modes, notes


def _settle_version(files: FileSet, said: str, notes: list[str]) -> str:
    """Return 1.1 or 1.2. The files win over the manifest."""
    if said.startswith("1.2"):
        return "1.2"
    users = files.file("users.csv")
    if users is None:
        seen = "1.2" if files.file("roles.csv") and not said.startswith("1.1") else "1.1"
    else:
        names = set(users.header().folded)
        with_role = "role" in names
        seen = "1.2" if not with_role and files.file("roles.csv") else "1.1"
    if said and not said.startswith(seen):
        notes.append(f"manifest.csv says OneRoster {said[:12]}; the files are read as {seen}.")
    return seen


def _header_notes(table: Table[Any], version: str, name: str) -> list[str]:
    """Say what of the header is not as the standard has it. Nothing of it fails."""
    file, notes = table.header.file, list(table.notes)
    standard = ["sourcedId", "status", "dateLastModified", *_STANDARD[version, name].split()]
    aliases = {alias.casefold(): column for alias, column in table.shape.aliases.items()}
    spelled = {column.casefold(): column for column in standard}
    rank = {column: at for at, column in enumerate(standard)}
    read = []
    strange = []
    for folded, written in zip(table.header.folded, table.header.names, strict=True):
        column = spelled.get(folded) or aliases.get(folded)
        if column in rank:
            read.append(column)
        elif folded and not folded.startswith("metadata."):
            strange.append(written[:40])
    if read != sorted(read, key=rank.__getitem__):
        notes.append(f"{file}: the columns are not in the order of the standard.")
    lacking = [c for c in standard if c not in read and c not in _MAY_LACK]
    if lacking:
        notes.append(f"{file} has no column {', '.join(lacking)}.")
    if strange:
        notes.append(f"{file}: not read, for the standard does not know it: {', '.join(strange)}.")
    return notes


# ------------------------------------------------------------------------ values of the rows


def _status(token: str) -> tuple[bool, list[str]]:
    """Return (is the row deleted, unknown vocabulary). ``inactive`` is a draft's tobedeleted."""
    status = token.casefold()
    if status in ("", "active"):
        return False, []
    if status in ("tobedeleted", "inactive"):
        return True, []
    return False, [unknown_token("status", token)]


def _list(value: str) -> list[str]:
    """Return the items of a list field, each once, trimmed."""
    if "," not in value:
        return [value] if value else []
    return list(dict.fromkeys(item for part in value.split(",") if (item := part.strip())))


def _user_ids(value: str) -> Iterable[tuple[str, str]]:
    """Yield (type, identifier) of ``{LDAP:x},{Fed:y}``; a bare value has the type ''."""
    for item in _USER_ID.findall(value) if "{" in value else value.split(","):
        kind, colon, identifier = item.partition(":")
        if not colon:
            kind, identifier = "", kind
        if identifier.strip():
            yield kind.strip(), identifier.strip()


def _grade(value: str, unknown: list[str]) -> str | None:
    """Return the first CEDS code of a list of grades."""
    if not value:
        return None
    grade = None
    for token in _list(value):
        code = ceds_grade(token)
        if code is None:
            unknown.append(unknown_token("grade", token))
        elif grade is None:
            grade = code
    return grade


@lru_cache(maxsize=4096)
def _memberships(
    pairs: tuple[tuple[Role, str | None], ...], primary: str | None
) -> tuple[Membership, ...]:
    """Return each role at each org once, in one order whatever the order of the rows.

    Kept: a school's people share a few values of this, and making them is a third of a row's cost.
    """
    distinct = sorted(set(pairs), key=lambda pair: (_RANK[pair[0]], pair[1] or ""))
    first = next((pair for pair in distinct if pair[1] and pair[1] == primary), None)
    return tuple(
        Membership(role=role, school=org, primary=(role, org) == first) for role, org in distinct
    )


def _school(key: str, row: OrgRow) -> Record:
    """Return the school of an org; an org that is none (a district) comes as ``deleted``.

    ``identifier`` is "for example the NCES id" to the standard: twelve digits are one, anything
    else is a number.
    """
    deleted, unknown = _status(row.status)
    kind = row.type.casefold()
    if kind != "school" and kind not in _NOT_SCHOOLS:
        unknown.append(unknown_token("type", row.type))
    if deleted or kind != "school":
        return Record(Kind.SCHOOL, key, deleted=True, unknown=tuple(unknown))
    is_nces = bool(_NCES.fullmatch(row.identifier))
    school = NormalizedSchool(
        external_id=key,
        name=row.name,
        nces_id=row.identifier if is_nces else None,
        number=None if is_nces else row.identifier,
    )
    return Record(Kind.SCHOOL, key, school=school, unknown=tuple(unknown))


def _role(key: str, row: RoleRow, not_schools: frozenset[str]) -> Part:
    if not row.userSourcedId:
        raise SkipRecord(
            "userSourcedId is blank.", rule="missing-value", column="userSourcedId", key=key
        )
    deleted, unknown = _status(row.status)
    if deleted:
        return Part(row.userSourcedId, key, {}, deleted=True, unknown=tuple(unknown))
    role = _ROLES.get(row.role.casefold())
    if role is None:
        unknown.append(unknown_token("role", row.role))
    data = {
        "role": role and role.value,
        "org": None if row.orgSourcedId in not_schools else row.orgSourcedId or None,
        "primary": row.roleType.casefold() == "primary",
    }
    return Part(row.userSourcedId, key, data, unknown=tuple(unknown))


def _no_role(key: str, *, met: bool) -> SkipRecord:
    if met:
        return SkipRecord(
            "No role of this person is known.", rule="unknown-role", column="role", key=key
        )
    return SkipRecord("role is blank.", rule="missing-value", column="role", key=key)
