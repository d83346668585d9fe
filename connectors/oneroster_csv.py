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

One file, because a format is one file: its columns, its records, its template and its export.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple

from pydantic import ValidationError

from connectors.contract.connector import Capabilities, Certificate, Page, Part, Record, Trace
from connectors.contract.file_exchange import ExampleFile, ExportFile, ExportRequest, GivenFiles
from connectors.contract.meant import leave_out_the_lost, lost
from connectors.contract.words import is_address, no_address, unknown_word
from connectors.files.csv_file import CsvFile
from connectors.files.csv_table import Shape, Table, all_invalid, blank
from connectors.files.file_connector import FileConfig, FileConnector
from connectors.files.file_set import FileSet, not_this_set
from connectors.files.recognition import other_format, refuse_other_formats
from connectors.oneroster_standard import vocabulary as words
from connectors.oneroster_standard.csv_export import example_set, export_files
from connectors.oneroster_standard.manifest import EXPECTED, header_notes, survey
from core.errors import FileRefused, SkipRecord
from core.models import Kind, NormalizedSchool, NormalizedUser, Role

# ------------------------------------------------------------------------------------ config


class OneRosterCsvConfig(FileConfig):
    """Config of ``oneroster_csv``."""

    person_id_type: words.PersonIdTypes = ()


# ------------------------------------------------------------------------------- wire shapes


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
_AS_WRITTEN = (
    "role", "givenName", "middleName", "familyName",
    "preferredGivenName", "preferredMiddleName", "preferredFamilyName",
)  # fmt: skip
_SHAPES: dict[tuple[str, str], Shape[Any]] = {
    ("1.1", "orgs"): Shape(
        OrgRow, "sourcedId", ("sourcedId", "name", "type"), _IDS, _ID_ALIASES, as_written=("name",)
    ),
    ("1.1", "users"): Shape(
        UserRow,
        "sourcedId",
        (
            "sourcedId", "enabledUser", "orgSourcedIds", "role", "username",
            "givenName", "familyName",
        ),
        _IDS,
        _USER_ALIASES,
        "email",
        _AS_WRITTEN,
    ),
    ("1.2", "users"): Shape(
        UserRow,
        "sourcedId",
        ("sourcedId", "enabledUser", "username", "givenName", "familyName"),
        _IDS,
        _USER_ALIASES,
        "email",
        _AS_WRITTEN,
    ),
    ("1.2", "roles"): Shape(
        RoleRow,
        "sourcedId",
        ("sourcedId", "userSourcedId", "roleType", "role", "orgSourcedId"),
        _IDS,
        _ID_ALIASES,
        as_written=("role",),
    ),
}  # fmt: skip
_SHAPES["1.2", "orgs"] = _SHAPES["1.1", "orgs"]

_STREAMS = {"orgs": "schools", "users": "users", "roles": "roles"}
COLUMNS = {
    "external_id": "sourcedId",
    "given_name": "givenName",
    "middle_name": "middleName",
    "family_name": "familyName",
    "preferred_given_name": "preferredGivenName",
    "preferred_middle_name": "preferredMiddleName",
    "preferred_family_name": "preferredFamilyName",
    "email": "email",
    "username": "username",
    "grade": "grades",
    "state_id": "userIds",
    "student_number": "identifier",
    "staff_number": "identifier",
    "nces_id": "identifier",
    "number": "identifier",
    "person_key": "userMasterIdentifier",
    "name": "name",
    "school": "orgSourcedIds",
    "role": "role",
}
"""Our field → the column it is read from."""


# --------------------------------------------------------------------------------- the class


class OneRosterCsv(FileConnector):
    """Reads a OneRoster 1.1 or 1.2 CSV set. ``capabilities.joined`` is settled by its version."""

    name = "oneroster_csv"
    version = "4"
    title = "OneRoster CSV 1.1 and 1.2, as a zip or a folder"
    docs = "https://www.imsglobal.org/spec/oneroster/v1p2/bind/csv"
    config_model = OneRosterCsvConfig
    capabilities = Capabilities(
        origin="file", partial_is_usable=False, joined=True, takes_uploads=True
    )
    streams = {"schools": Kind.SCHOOL, "users": Kind.USER, "roles": Kind.USER}  # noqa: RUF012
    hidden = ("password",)
    set_files = ("orgs.csv", "users.csv")
    people = frozenset({"users"})
    config: OneRosterCsvConfig
    _not_schools: frozenset[str] = frozenset()
    """Orgs that are no schools: a membership there is one at no school."""

    def read_set(self, files: FileSet) -> Generator[Page, None, Certificate]:
        """Serve schools, users and (1.2) roles.

        Raises ``FileRefused`` for any other files and for a missing required column, and
        ``IncompleteFetch`` for one that lacks a file or is cut.
        """
        refuse_other_formats(files)
        found = survey(files)
        self.capabilities = replace(type(self).capabilities, joined=found.version == "1.2")
        headers = {name: file.header() for name, file in found.files.items()}
        notes = found.notes
        for name, header in headers.items():
            try:
                table = Table(header, _SHAPES[found.version, name], guarded=True)
                if name in found.delta and not table.has("status"):
                    raise FileRefused(
                        f"{header.file} lacks the column status, which a delta file needs."
                    )
            except FileRefused as problem:
                raise not_this_set(files, problem, self.name, EXPECTED) from None
            self.tables[_STREAMS[name]] = table
            notes += header_notes(table, found.version, name)
        if "schools" in self.tables:
            self._not_schools = _not_schools(found.files["orgs"], self.tables["schools"])
        context = self._context(found.version)
        pages = 0
        for name, header in headers.items():
            stream = _STREAMS[name]
            served = found.files[name].pages(stream, header, context + self.tables[stream].context)
            pages += yield from served
        quiet = {_STREAMS[name] for name in found.delta | found.silent}
        return Certificate(
            complete=True,
            pages=pages,
            incremental=bool(quiet),
            absent_streams=frozenset(quiet | ({"roles"} if found.version == "1.1" else set())),
            vendor_time=files.modified,
            notes=(*files.notes, *notes),
        )

    def _context(self, version: str) -> bytes:
        """Return what beside its header decides how a row reads."""
        districts = blake2b("\x1f".join(sorted(self._not_schools)).encode(), digest_size=16)
        joins = "\x1f".join(self.config.person_id_type)
        return f"{version}\x1e{joins}\x1e{districts.hexdigest()}\x1e".encode()

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the row's sourcedId."""
        if note := self.tables[stream].note_key(raw):
            return note
        key: str = self.tables[stream].ids(raw).sourcedId
        if not key:
            raise blank("sourcedId")
        if problem := lost(key, "sourcedId"):
            raise problem
        return key

    def parse(self, stream: str, raw: bytes) -> Record | Part:
        """Return a school, a user (1.1), or a part of a user (1.2)."""
        key = self.identify(stream, raw)
        faults: list[SkipRecord] = []
        said = self._said(stream, key, self._row(stream, raw, key), faults)
        if said is None:
            raise faults[0]
        return said

    def traced(self, stream: str, row: Any) -> Trace | None:
        """Return whose row it is: the names of a user, the user of a role."""
        if stream == "users":
            return Trace(None, row.givenName, row.familyName)
        return Trace(row.userSourcedId or None) if stream == "roles" else None

    def row_faults(self, stream: str, key: str, row: Any) -> list[SkipRecord]:
        """Return what is wrong with the values of a row."""
        faults: list[SkipRecord] = []
        self._said(stream, key, row, faults)
        return faults

    def _said(
        self, stream: str, key: str, row: Any, faults: list[SkipRecord]
    ) -> Record | Part | None:
        """Return what a row says, or None where it cannot be used; ``faults`` then holds why."""
        if stream == "schools":
            return _school(key, row, faults)
        if stream == "roles":
            return _role(key, row, self._not_schools, faults)
        if self.capabilities.joined:
            return self._part(key, row, faults)
        return self._user(key, row, faults)

    def _user(self, key: str, row: UserRow, faults: list[SkipRecord]) -> Record | None:
        deleted, unknown = _status(row.status)
        if deleted:
            return Record(Kind.USER, key, deleted=True, unknown=tuple(unknown))
        roles = []
        for token in _list(row.role):
            role = words.our_role(token)
            if role:
                roles.append(role)
            else:
                unknown.append(unknown_word("role", token))
        strange = len(roles) < len(_list(row.role))
        if not roles:
            faults.append(_no_role(key, met=bool(row.role)))
        schools = [org for org in _list(row.orgSourcedIds) if org not in self._not_schools]
        orgs: list[str | None] = [*schools] or [None]
        primary = row.primaryOrgSourcedId if row.primaryOrgSourcedId in orgs else orgs[0]
        student, staff = words.numbers(_unless_lost(row.identifier), roles)
        if problem := lost(row.orgSourcedIds, "orgSourcedIds", key):
            faults.append(problem)
        doubts: list[SkipRecord] = []
        profile = self._profile(key, row, unknown, faults, doubts)
        if Role.STUDENT not in roles:
            profile = _without_grade(profile)
        try:
            user = NormalizedUser(
                **profile,
                unread_at=tuple(org or "" for org in orgs) if strange else None,
                **({"student_number": student} if student else {"staff_number": staff}),
                memberships=words.memberships(
                    ((role, org) for role in roles for org in orgs), primary
                ),
            )
        except ValidationError as problem:
            faults += all_invalid(problem, key, COLUMNS)
        if faults:
            return None
        return Record(Kind.USER, key, user, unknown=tuple(unknown), doubts=tuple(doubts))

    def _part(self, key: str, row: UserRow, faults: list[SkipRecord]) -> Part | None:
        deleted, unknown = _status(row.status)
        if deleted:
            return Part(key, key, {}, deleted=True, unknown=tuple(unknown))
        doubts: list[SkipRecord] = []
        profile = self._profile(key, row, unknown, faults, doubts)
        try:
            # Whether identifier is a student's or an adult's number only the roles can say.
            user = NormalizedUser(**profile, staff_number=_unless_lost(row.identifier))
        except ValidationError as problem:
            faults += all_invalid(problem, key, COLUMNS)
        if faults:
            return None
        data = user.model_dump(mode="json", exclude_defaults=True)
        data["identifier"] = data.pop("staff_number", None)
        data["primary"] = row.primaryOrgSourcedId or None
        return Part(key, key, data, unknown=tuple(unknown), doubts=tuple(doubts))

    def _profile(
        self,
        key: str,
        row: UserRow,
        unknown: list[str],
        faults: list[SkipRecord],
        doubts: list[SkipRecord],
    ) -> dict[str, Any]:
        if not (row.givenName or row.familyName):
            faults.append(
                SkipRecord(
                    "givenName and familyName are blank.",
                    rule="missing-value",
                    column="familyName",
                    key=key,
                    hint="Fill in at least one of the two.",
                )
            )
        unread: list[str] = []
        enabled = words.truth(row.enabledUser, default=True)
        if enabled is None:
            unknown.append(unknown_word("enabledUser", row.enabledUser))
            unread.append("enabled")
        grade, strange = words.first_grade(_list(row.grades))
        if strange is not None:
            unknown.append(unknown_word("grade", strange))
            unread += () if grade else ("grade",)
        email = row.email
        if email and not is_address(email):
            doubts.append(no_address(key))
            unread.append("email")
            email = ""
        ids = words.split_user_ids(row.userIds) if row.userIds else ()
        person = words.person_key(row.userMasterIdentifier, ids, self.config.person_id_type)
        if person and (problem := lost(person.rpartition(":")[2], "userMasterIdentifier", key)):
            faults.append(problem)  # numbers that were rounded alike would join strangers
        if problem := lost(row.identifier, "identifier", key):
            doubts.append(problem)
            unread += ["student_number", "staff_number"]
        profile: dict[str, Any] = {
            "external_id": key,
            "given_name": row.givenName,
            "middle_name": row.middleName,
            "family_name": row.familyName,
            "preferred_given_name": row.preferredGivenName,
            "preferred_middle_name": row.preferredMiddleName,
            "preferred_family_name": row.preferredFamilyName,
            "email": email,
            "username": row.username,
            "grade": grade,
            "state_id": words.state_id(ids),
            "enabled": enabled is not False,
            "person_key": person,
        }
        unread += leave_out_the_lost(profile, key, COLUMNS, doubts)
        profile["unread"] = tuple(unread) or None
        # The model need not look at what is blank: this is half of its work.
        return {name: value for name, value in profile.items() if value or value is False}

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
        known = words.in_order(
            (Role(r["role"]), r["org"], r["primary"]) for r in roles if r["role"]
        )
        if roles and not known:
            raise _no_role(owner, met=True)
        strange_at = dict.fromkeys(r["org"] or "" for r in roles if not r["role"])
        orgs = [org for _, org, _ in known]
        primary = user.data.get("primary")
        if primary not in orgs:
            primary = orgs[0] if orgs else None
        profile = {k: v for k, v in user.data.items() if k not in ("identifier", "primary")}
        if all(role is not Role.STUDENT for role, _, _ in known):
            profile = _without_grade(profile)
        student, staff = words.numbers(
            user.data.get("identifier"), [role for role, _, _ in known] or [Role.STAFF]
        )
        try:
            joined = NormalizedUser(
                **profile,
                unread_at=tuple(strange_at) or None,
                student_number=student,
                staff_number=staff,
                memberships=words.memberships(((role, org) for role, org, _ in known), primary),
            )
        except ValidationError as problem:
            raise all_invalid(problem, owner, COLUMNS)[0] from None
        return Record(Kind.USER, owner, joined)

    # -- files that people give and take

    @classmethod
    def recognises(cls, files: GivenFiles) -> bool:
        """Say whether there is a users.csv beside a list of orgs or a manifest."""
        there = "users.csv" in files and ("orgs.csv" in files or "manifest.csv" in files)
        return there and not other_format(files)

    @classmethod
    def template(cls) -> Mapping[str, ExampleFile]:
        """Return a set of OneRoster 1.1 with a district, a school and a student."""
        return example_set()

    @classmethod
    def export_rows(cls, request: ExportRequest) -> Sequence[ExportFile]:
        """Return what a source holds, in the version that was read last."""
        return export_files(request, COLUMNS)


def _not_schools(file: CsvFile, table: Table[OrgRow]) -> frozenset[str]:
    """Return the ids of the district, its departments and the like, of orgs.csv."""
    ids = set()
    for _, raw in file.rows():
        with suppress(SkipRecord):
            row = table.read(raw)
            if words.is_gone(row.status) or words.is_no_school(row.type):
                ids.add(row.sourcedId)
    return frozenset(ids)


# ------------------------------------------------------------------------ values of the rows


def _status(token: str) -> tuple[bool, list[str]]:
    """Return (is the row deleted, unknown vocabulary)."""
    if words.is_gone(token):
        return True, []
    return False, [] if token.casefold() in ("", "active") else [unknown_word("status", token)]


def _without_grade(profile: dict[str, Any]) -> dict[str, Any]:
    """Return an adult's profile: a grade is a student's."""
    left = {name: value for name, value in profile.items() if name != "grade"}
    unread = tuple(name for name in left.get("unread") or () if name != "grade")
    return left | {"unread": unread or None}


def _unless_lost(number: str) -> str:
    return "" if lost(number, "") else number


def _list(value: str) -> list[str]:
    """Return the items of a list field, each once, trimmed."""
    if "," not in value:
        return [value] if value else []
    return list(dict.fromkeys(item for part in value.split(",") if (item := part.strip())))


def _school(key: str, row: OrgRow, faults: list[SkipRecord]) -> Record | None:
    """Return the school of an org; any other org, such as a district, comes as ``deleted``."""
    deleted, unknown = _status(row.status)
    if deleted or words.is_no_school(row.type):
        return Record(Kind.SCHOOL, key, deleted=True, unknown=tuple(unknown))
    if not words.is_school(row.type):
        faults.append(words.no_type(key) if row.type else blank("type", key))
        return None
    nces_id, number = words.school_numbers(row.identifier)
    try:
        school = NormalizedSchool(external_id=key, name=row.name, nces_id=nces_id, number=number)
    except ValidationError as problem:
        faults += all_invalid(problem, key, COLUMNS)
        return None
    return Record(Kind.SCHOOL, key, school=school, unknown=tuple(unknown))


def _role(
    key: str, row: RoleRow, not_schools: frozenset[str], faults: list[SkipRecord]
) -> Part | None:
    if not row.userSourcedId:
        faults.append(blank("userSourcedId", key))
        return None
    for column, value in (("userSourcedId", row.userSourcedId), ("orgSourcedId", row.orgSourcedId)):
        if problem := lost(value, column, key):
            faults.append(problem)
            return None
    deleted, unknown = _status(row.status)
    if deleted:
        return Part(row.userSourcedId, key, {}, deleted=True, unknown=tuple(unknown))
    role = words.our_role(row.role)
    if role is None:
        unknown.append(unknown_word("role", row.role))
    data = {
        "role": role and role.value,
        "org": None if row.orgSourcedId in not_schools else row.orgSourcedId or None,
        "primary": row.roleType.casefold() == "primary",
    }
    return Part(row.userSourcedId, key, data, unknown=tuple(unknown))


def _no_role(key: str, *, met: bool) -> SkipRecord:
    if met:
        return SkipRecord(
            "No role of this person is known.",
            rule="unknown-role",
            column="role",
            key=key,
            hint="Use a role of the standard, such as student, teacher, aide or administrator.",
        )
    return blank("role", key)
