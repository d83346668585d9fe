"""Export of a source whose file is a set of files: Clever CSV and OneRoster CSV, packed as a zip.

Used by ``export``, like ``sync/views/export.py`` for the formats of one file. Who is where is what
the source said last; a person's fields are what the directory says. Uploaded back, the set changes
nobody: other rows of the set (of classes, of people out of scope) are not there, for they make no
user. Only the order of two schools may differ where the source is restricted to some ``schools``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from connectors.clever_csv import COLUMNS as CLEVER
from connectors.clever_csv import HEADERS as CLEVER_HEADERS
from connectors.oneroster_csv import COLUMNS as ONEROSTER
from connectors.oneroster_standard.manifest import STANDARD, manifest_rows
from core.errors import UsageError
from core.models import PROFILE_FIELDS, UserStatus
from sync.sources.mapping import places_of, read_rules
from sync.views.export_sheet import Exported, LeftOut, Sheet, held_by


def set_of(connection: Connection, district: Any, source: Any) -> list[Sheet]:
    """Return the files of a source's set, with everybody active or suspended whom it holds.

    Raises ``UsageError`` where a mapping rule reads what the set does not hold: uploaded back, it
    would read otherwise.
    """
    found = SETS[source.connector](connection, district, source)
    held = {name for sheet in found for name in sheet.header}
    for rule in read_rules(source.mapping, source.name):
        for place in places_of(rule):
            if place not in held:
                raise UsageError(
                    f"The mapping of {source.name} reads {place}, which an export does not hold:"
                    " uploaded back, it would change people.",
                    hint="--format json has everybody; so has an export without --source.",
                )
    return found


def _schools(connection: Connection, source: Any) -> Iterator[dict[str, Any]]:
    for (data,) in connection.execute(_SCHOOLS, {"source": source.id}):
        yield msgspec.json.decode(data)


_SCHOOLS = text(
    "SELECT data FROM records WHERE source_id = :source AND kind = 'school' AND present"
    " ORDER BY external_id"
)


def _row(
    header: tuple[str, ...], columns: Mapping[str, str], values: Mapping[str, Any], **more: Any
) -> tuple[str | int, ...]:
    """Return the cells of a row: our ``values`` by the ``columns`` they are read from."""
    cells = {columns[name]: value for name, value in values.items() if name in columns}
    return tuple("" if (value := (more | cells).get(name)) is None else value for name in header)


# ------------------------------------------------------------------------------------- Clever


def _clever(connection: Connection, district: Any, source: Any) -> list[Sheet]:
    def schools() -> Iterator[Exported]:
        for school in _schools(connection, source):
            yield _row(CLEVER_HEADERS["schools"], CLEVER["schools"], school)

    def people(stream: str) -> Callable[[], Iterator[Exported]]:
        role = stream.removesuffix("s")
        header, columns = CLEVER_HEADERS[stream], CLEVER[stream]

        def rows() -> Iterator[Exported]:
            for user, said in held_by(connection, source):
                kind, _, number = said["external_id"].partition(":")
                if kind != role:
                    continue
                if not (user["given_name"] or user["family_name"]):
                    yield LeftOut(user["user_id"], "a Clever file needs a name")
                    continue
                profile = {name: user[name] for name in PROFILE_FIELDS}
                profile |= {"external_id": number, "sis_id": number}
                for member in said.get("memberships", []):
                    yield _row(header, columns, profile | {"school": member.get("school")})

        return rows

    return [
        Sheet("schools.csv", CLEVER_HEADERS["schools"], schools),
        *(
            Sheet(f"{stream}.csv", CLEVER_HEADERS[stream], people(stream))
            for stream in ("students", "teachers", "staff")
        ),
    ]


# ---------------------------------------------------------------------------------- OneRoster

_IDS = ("sourcedId", "status", "dateLastModified")
_WORDS = {"student": "student", "teacher": "teacher", "staff": "aide", "contact": "guardian"}


def _oneroster(connection: Connection, district: Any, source: Any) -> list[Sheet]:
    about = {"source": source.id}
    version = "1.2" if connection.execute(_JOINED, about).first() else "1.1"
    extra: tuple[str, ...] = ()
    if version == "1.1":  # no columns of 1.1, but read; written only where somebody needs them
        extra = tuple(
            column for name, column in _BEYOND.items() if _anybody_has(connection, source, name)
        )
    headers = {
        name: (*_IDS, *STANDARD[version, name].split(), *(extra if name == "users" else ()))
        for name in ("orgs", "users", *(["roles"] if version == "1.2" else []))
    }
    top = _free(connection, source, district.slug)

    def orgs() -> Iterator[Exported]:
        about = {"sourcedId": top, "name": district.name, "type": "district"}
        yield _row(headers["orgs"], {}, {}, **about)
        for school in _schools(connection, source):
            identifier = school.get("nces_id") or school.get("number")
            yield _row(
                headers["orgs"], ONEROSTER, school, type="school", identifier=identifier,
                parentSourcedId=top,
            )  # fmt: skip

    def users() -> Iterator[Exported]:
        for user, said in held_by(connection, source):
            yield _user(headers["users"], user, said, top)

    def roles() -> Iterator[Exported]:
        for user, said in held_by(connection, source):
            if isinstance(_user(headers["users"], user, said, top), LeftOut):
                continue
            for number, member in enumerate(said.get("memberships", []), start=1):
                yield _row(
                    headers["roles"], {}, {},
                    sourcedId=f"{said['external_id']}-{number}",
                    userSourcedId=said["external_id"],
                    roleType="primary" if member.get("primary") else "secondary",
                    role=_role_word(member, version),
                    orgSourcedId=member.get("school") or top,
                )  # fmt: skip

    def manifest() -> Iterator[Exported]:
        yield from manifest_rows(version, source.name)

    found = [
        Sheet("manifest.csv", ("propertyName", "value"), manifest),
        Sheet("orgs.csv", headers["orgs"], orgs),
        Sheet("users.csv", headers["users"], users),
    ]
    if version == "1.2":
        found.append(Sheet("roles.csv", headers["roles"], roles))
    return found


_JOINED = text("SELECT 1 FROM parts WHERE source_id = :source LIMIT 1")
_BEYOND = {
    "preferred_given_name": "preferredGivenName",
    "preferred_middle_name": "preferredMiddleName",
    "preferred_family_name": "preferredFamilyName",
    "person_key": "userMasterIdentifier",
}


def _anybody_has(connection: Connection, source: Any, name: str) -> bool:
    if name == "person_key":
        query = "SELECT 1 FROM records WHERE source_id = :source AND person_key LIKE 'master:%'"
    else:
        query = (
            "SELECT 1 FROM users u JOIN links l ON l.target_id = u.id JOIN records r"
            f" ON r.id = l.record_id WHERE r.source_id = :source AND u.{name} IS NOT NULL"
        )
    return connection.execute(text(f"{query} LIMIT 1"), {"source": source.id}).first() is not None


def _free(connection: Connection, source: Any, wish: str) -> str:
    """Return an id for the district's own org that no school has."""
    taken = {school["external_id"] for school in _schools(connection, source)}
    while wish in taken:
        wish += "-district"
    return wish


def _user(header: tuple[str, ...], user: Any, said: dict[str, Any], top: str) -> Exported:
    if not (user["given_name"] or user["family_name"]):
        return LeftOut(user["user_id"], "a OneRoster file needs a name")
    members = said.get("memberships", [])
    main = next((m["school"] for m in members if m.get("primary")), None)
    roles = {member["role"] for member in members}
    orgs = dict.fromkeys([*([main] if main else []), *(m.get("school") or top for m in members)])
    kind, _, key = (said.get("person_key") or "").partition(":")
    ids = []
    if kind == "userid":
        ids.append("{" + key + "}")
    if user["state_id"]:
        ids.append("{stateId:" + user["state_id"] + "}")
    if any("{" in one[1:-1] or "}" in one[1:-1] for one in ids):
        return LeftOut(user["user_id"], "an id with braces has no place in a OneRoster file")
    return _row(
        header, {name: ONEROSTER[name] for name in _PLAIN}, user,
        sourcedId=said["external_id"],
        enabledUser="false" if user["status"] == UserStatus.SUSPENDED.value else "true",
        orgSourcedIds=",".join(orgs),
        role=",".join(dict.fromkeys(_role_word(member, "1.1") for member in members)),
        userIds=",".join(ids),
        identifier=user["student_number"] if "student" in roles else user["staff_number"],
        grades=user["grade"],
        userMasterIdentifier=key if kind == "master" else None,
        primaryOrgSourcedId=main,
    )  # fmt: skip


_PLAIN = (
    "given_name", "middle_name", "family_name", "preferred_given_name", "preferred_middle_name",
    "preferred_family_name", "email", "username",
)  # fmt: skip


def _role_word(member: Mapping[str, Any], version: str) -> str:
    if member["role"] != "admin":
        return _WORDS[member["role"]]
    if version == "1.1":
        return "administrator"
    return "siteAdministrator" if member.get("school") else "districtAdministrator"


SETS: dict[str, Callable[[Connection, Any, Any], list[Sheet]]] = {
    "clever_csv": _clever, "oneroster_csv": _oneroster,
}  # fmt: skip
"""The connectors whose format is a set of files."""
