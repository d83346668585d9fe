"""The directory as the ledger tells it: each person rebuilt from applied plans, beside the tables.

``db verify --directory`` names whom the two differ in, and ``db repair`` plans the way back. Both
read person by person, so that the length of the history does not matter for memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, String, bindparam, select, text, type_coerce

from core.models import PROFILE_FIELDS
from core.storage.schema import Membership, User
from core.storage.stored import from_json

REPAIR = "repair"
"""The kind of a plan that puts people back to what the ledger says."""

UNPLANNED = ("origin", "created_at", "hand_at", "archived_at", "kept_archived", "kept_until",
             "merged_into")  # fmt: skip
"""Columns that most plans set by the way, or never after the first; a repair sets them as said."""

_AT_ONCE = 500
_FIELDS = (*PROFILE_FIELDS, "email_folded", "status", "protected", "locked_fields")
COMPARED = (*_FIELDS, *UNPLANNED, "memberships", "revision")
"""Everything of a person that plans write."""

Person = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Apart:
    """One person in whom the ledger and the tables differ; None: they are not there."""

    user_id: str
    told: Person | None
    found: Person | None

    @property
    def fields(self) -> list[str]:
        """The names of the fields that differ; of a person who is missing or unknown, none."""
        if self.told is None or self.found is None:
            return []
        return [name for name in COMPARED if self.told.get(name) != self.found.get(name)]

    def as_json(self) -> dict[str, Any]:
        """Return who it is and what differs, without any value."""
        what = "missing" if self.found is None else "unknown" if self.told is None else "changed"
        return {"user": self.user_id, "what": what, "fields": self.fields}


def people_apart(connection: Connection, district_id: int) -> Iterator[Apart]:
    """Yield everybody of a district in whom the ledger and the tables differ."""
    everybody = connection.execute(
        _EVERYBODY, {"district": district_id}, execution_options={"yield_per": _AT_ONCE}
    ).scalars()
    for ids in everybody.partitions(_AT_ONCE):
        yield from apart_among(connection, district_id, ids)


def apart_among(connection: Connection, district_id: int, ids: Sequence[str]) -> Iterator[Apart]:
    """Yield those of these people in whom the ledger and the tables differ."""
    told, found = _told(connection, district_id, ids), _found(connection, district_id, ids)
    for user_id in ids:
        one, other = told.get(user_id), found.get(user_id)
        if one != other:
            yield Apart(user_id, one, other)


# -- what the ledger tells


def _told(connection: Connection, district_id: int, ids: Sequence[str]) -> dict[str, Person]:
    rows = connection.execute(_CHANGES, {"district": district_id, "ids": list(ids)})
    people = {
        target: _person(changes) for target, changes in groupby(rows, attrgetter("target_id"))
    }
    return {target: person for target, person in people.items() if person is not None}


def _person(changes: Iterator[Any]) -> Person | None:
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


def _found(connection: Connection, district_id: int, ids: Sequence[str]) -> dict[str, Person]:
    about = {"district": district_id, "ids": list(ids)}
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


# as they are stored, to be compared with what changes say
_USERS = select(
    *(
        type_coerce(User.table.c[name], String).label(name)
        if name in ("created_at", "hand_at", "archived_at")
        else User.table.c[name]
        for name in ("id", *_FIELDS, *UNPLANNED, "revision")
    )
).where(User.district_id == bindparam("district"), User.id.in_(bindparam("ids", expanding=True)))
_MEMBERSHIPS = select(
    Membership.user_id, Membership.role, Membership.school_id, Membership.is_primary
).where(Membership.user_id.in_(bindparam("ids", expanding=True)))


# --- Set-wise statements ---
# ix_changes_target finds the changes of each person; within a person the serials give the order.
# Everybody is listed as one stream, so that neither ids nor histories fill the memory.

_OF_PEOPLE = (
    " FROM changes c JOIN plans p ON p.id = c.plan_id WHERE p.district_id = :district"
    " AND p.status = 'applied' AND c.kind = 'user'"
)
_CHANGES = text(
    "SELECT c.target_id, c.action, c.revision, c.after, p.kind AS plan_kind, p.applied_at"
    f"{_OF_PEOPLE} AND c.target_id IN :ids ORDER BY c.target_id, p.first_serial, c.seq"
).bindparams(bindparam("ids", expanding=True))
_EVERYBODY = text(
    "SELECT id FROM users WHERE district_id = :district UNION ALL"
    f" SELECT DISTINCT c.target_id{_OF_PEOPLE} AND c.action = 'create'"
    " AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = c.target_id"
    "  AND u.district_id = :district)"
)
