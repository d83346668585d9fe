"""The directory as the ledger tells it: people, schools and links rebuilt from applied plans.

``db verify --directory`` names whom ledger and tables differ in, and ``db repair`` plans the way
back. Both read person by person, so that the length of the history does not matter for memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, String, bindparam, select, text, type_coerce

from core.models import PROFILE_FIELDS, Kind
from core.storage.schema import Membership, School, User
from core.storage.stored import from_json
from sync.ledger.told_links import (
    Links,
    Moves,
    found_links,
    links_apart,
    read_moves,
    told_links,
)

REPAIR = "repair"
"""The kind of a plan that puts people back to what the ledger says."""

UNPLANNED = ("origin", "created_at", "hand_at", "archived_at", "kept_archived", "kept_until",
             "merged_into")  # fmt: skip
"""Columns that most plans set by the way, or never after the first; a repair sets them as said."""

_AT_ONCE = 500
_FIELDS = (*PROFILE_FIELDS, "email_folded", "status", "protected", "locked_fields")
_OF_SCHOOLS = ("name", "nces_id", "state_id", "number", "status")
COMPARED = {
    Kind.USER: (*_FIELDS, *UNPLANNED, "memberships", "revision"),
    Kind.SCHOOL: (*_OF_SCHOOLS, "revision"),
}
"""Everything of a person, or of a school, that plans write."""

Person = dict[str, Any]
"""A person or a school: name of a field → value."""


@dataclass(frozen=True, slots=True)
class Apart:
    """One person or school in which ledger and tables differ; None: they are not there."""

    kind: Kind
    target: str
    told: Person | None
    found: Person | None
    told_links: Links
    found_links: Links
    relinked: bool
    """Their links differ."""

    @property
    def fields(self) -> list[str]:
        """The names of the fields that differ; of who is missing or unknown, none."""
        links = ["links"] if self.relinked else []
        if self.told is None or self.found is None:
            return links if self.told is self.found else []
        told, found = self.told, self.found
        return [
            *(name for name in COMPARED[self.kind] if told.get(name) != found.get(name)), *links
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return who it is and what differs, without any value."""
        what = "changed"
        if self.told is None:
            what = "unknown"
        elif self.found is None:
            what = "missing"
        return {self.kind.value: self.target, "what": what, "fields": self.fields}


def people_apart(connection: Connection, district_id: int) -> Iterator[Apart]:
    """Yield everybody of a district in whom the ledger and the tables differ."""
    return _everything_apart(connection, district_id, Kind.USER)


def schools_apart(connection: Connection, district_id: int) -> Iterator[Apart]:
    """Yield the schools of a district in which the ledger and the tables differ."""
    return _everything_apart(connection, district_id, Kind.SCHOOL)


def _everything_apart(connection: Connection, district_id: int, kind: Kind) -> Iterator[Apart]:
    moves = read_moves(connection, district_id, kind)
    everybody = connection.execute(
        _EVERYBODY if kind is Kind.USER else _ALL_SCHOOLS,
        {"district": district_id},
        execution_options={"yield_per": _AT_ONCE},
    ).scalars()
    for ids in everybody.partitions(_AT_ONCE):
        yield from _apart(connection, district_id, ids, kind, moves)


def apart_among(connection: Connection, district_id: int, ids: Sequence[str]) -> Iterator[Apart]:
    """Yield those of these people and schools in which the ledger and the tables differ."""
    for kind in COMPARED:
        yield from _apart(
            connection, district_id, ids, kind, read_moves(connection, district_id, kind)
        )


def _apart(
    connection: Connection, district_id: int, ids: Sequence[str], kind: Kind, moves: Moves
) -> Iterator[Apart]:
    about = {"district": district_id, "ids": list(ids), "kind": kind.value}
    told: dict[str, Person] = {}
    linked: dict[str, Links] = {}
    tell = _person if kind is Kind.USER else _school
    for target, group in groupby(connection.execute(_CHANGES, about), attrgetter("target_id")):
        changes = list(group)
        one = tell(changes)
        if one is not None:
            told[target] = one
        linked[target] = told_links(target, changes, moves)
    found = (_found if kind is Kind.USER else _found_schools)(connection, about)
    there = found_links(connection, [one for one in ids if one in told or one in found])
    relinked = set(links_apart(connection, linked, there))
    for target in ids:
        if told.get(target) != found.get(target) or target in relinked:
            yield Apart(
                kind, target, told.get(target), found.get(target), linked.get(target, {}),
                there.get(target, {}), target in relinked,
            )  # fmt: skip


# -- what the ledger tells


def _person(changes: Sequence[Any]) -> Person | None:
    """Return what applied changes made of one person, in their order."""
    person: Person | None = None
    for change in changes:
        if change.action == "purge":
            person = None
            continue
        after = from_json(change.after) or {}
        if change.action == "create":
            person = _newcomer(change.applied_at)
        if person is None:
            continue
        _make(person, change, after)
    return person


def _school(changes: Sequence[Any]) -> Person | None:
    """Return what applied changes made of one school, in their order."""
    school: Person | None = None
    for change in changes:
        after = from_json(change.after) or {}
        if change.action == "create":
            school = {**dict.fromkeys(_OF_SCHOOLS), "status": "active", "revision": 1}
        if school is None:
            continue
        school.update({name: after[name] for name in _OF_SCHOOLS if name in after})
        if change.revision is not None:
            school["revision"] = change.revision + 1
    return school


def _newcomer(applied_at: str) -> Person:
    nothing = dict.fromkeys((*_FIELDS, *UNPLANNED))
    flags = {"protected": False, "kept_archived": False}
    return {
        **nothing, **flags, "locked_fields": [], "memberships": [], "created_at": applied_at,
        "revision": 1,
    }  # fmt: skip


def _make(person: Person, change: Any, after: Mapping[str, Any]) -> None:
    """Let a person be what one change says."""
    for name, value in after.items():
        if name == "memberships":
            person[name] = sorted((role, school, bool(primary)) for role, school, primary in value)
        elif name in _FIELDS or name in ("kept_archived", "kept_until", "merged_into"):
            person[name] = value
    if change.action == "create":
        person["origin"] = after.get("origin")
    else:
        if change.revision is not None:  # None: in the plan that created them
            person["revision"] = change.revision + 1
        if "status" in after:
            archived = after["status"] == "archived"
            since = after.get("archived_at") or change.applied_at
            person["archived_at"] = since if archived else None
    if change.plan_kind == "hand":
        person["hand_at"] = change.applied_at
    if change.plan_kind == REPAIR:
        person.update({name: after[name] for name in UNPLANNED if name in after})


# -- what the tables hold


def _found(connection: Connection, about: Mapping[str, Any]) -> dict[str, Person]:
    people: dict[str, Person] = {}
    for row in connection.execute(_USERS, about):
        person = dict(row._mapping)
        del person["id"]
        person["locked_fields"] = from_json(person["locked_fields"]) or []
        for name in ("protected", "kept_archived"):
            person[name] = bool(person[name])
        people[row.id] = person | {"memberships": []}
    for row in connection.execute(_MEMBERSHIPS, {"ids": list(people)}):
        people[row.user_id]["memberships"].append((row.role, row.school_id, bool(row.is_primary)))
    for person in people.values():
        person["memberships"].sort()
    return people


def _found_schools(connection: Connection, about: Mapping[str, Any]) -> dict[str, Person]:
    rows = connection.execute(_SCHOOLS, about)
    return {row.id: {name: getattr(row, name) for name in COMPARED[Kind.SCHOOL]} for row in rows}


# as they are stored, to be compared with what changes say
_USERS = select(
    *(
        type_coerce(User.table.c[name], String).label(name)
        if name in ("created_at", "hand_at", "archived_at")
        else User.table.c[name]
        for name in ("id", *_FIELDS, *UNPLANNED, "revision")
    )
).where(User.district_id == bindparam("district"), User.id.in_(bindparam("ids", expanding=True)))
_SCHOOLS = select(School.id, *(School.table.c[name] for name in COMPARED[Kind.SCHOOL])).where(
    School.district_id == bindparam("district"), School.id.in_(bindparam("ids", expanding=True))
)
_MEMBERSHIPS = select(
    Membership.user_id, Membership.role, Membership.school_id, Membership.is_primary
).where(Membership.user_id.in_(bindparam("ids", expanding=True)))


# --- Set-wise statements ---
# ix_changes_target finds the changes of each person; within a person the serials give the order.
# Everybody is listed as one stream, so that neither ids nor histories fill the memory.

_APPLIED = (
    " FROM changes c JOIN plans p ON p.id = c.plan_id WHERE p.district_id = :district"
    " AND p.status = 'applied'"
)
_CHANGES = text(
    "SELECT c.target_id, c.action, c.revision, c.after, c.record_id, c.basis, c.seq,"
    f" p.first_serial, p.kind AS plan_kind, p.applied_at{_APPLIED} AND c.kind = :kind"
    " AND c.target_id IN :ids ORDER BY c.target_id, p.first_serial, c.seq"
).bindparams(bindparam("ids", expanding=True))
_LISTED = (
    "SELECT id FROM {table} WHERE district_id = :district UNION ALL"
    f" SELECT DISTINCT c.target_id{_APPLIED} AND c.kind = '{{kind}}' AND c.action = 'create'"
    " AND NOT EXISTS (SELECT 1 FROM {table} u WHERE u.id = c.target_id"
    "  AND u.district_id = :district)"
)
_EVERYBODY = text(_LISTED.format(table="users", kind="user"))
_ALL_SCHOOLS = text(_LISTED.format(table="schools", kind="school"))
