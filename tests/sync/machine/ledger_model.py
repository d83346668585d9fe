"""The directory, told a second time: the ledger replayed from nothing, and counts made anew.

None of this shares a line with ``sync/``; the state machine holds one against the other.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from core.models import PROFILE_FIELDS
from tests.kit.world import decoded

Group = tuple[int, str, str, str]
"""Source id, scope, school id, role."""


@dataclass
class Told:
    """Users, schools and links as applied changes made them."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    schools: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: dict[int, tuple[str, bool]] = field(default_factory=dict)


ATTRIBUTES = ("protected", "kept_archived", "kept_until", "locked_fields", "merged_into")


def replay(connection: Connection, *, before: int = 1 << 62) -> Told:
    """Return what the ledger makes of an empty directory, up to a serial."""
    told = Told()
    plans = connection.execute(
        text(
            "SELECT id FROM plans WHERE status = 'applied' AND first_serial < :before"
            " ORDER BY first_serial, id"
        ),
        {"before": before},
    ).scalars()
    for plan in plans.all():
        changes = connection.execute(
            text("SELECT * FROM changes WHERE plan_id = :plan ORDER BY seq"), {"plan": plan}
        ).all()
        links = dict(told.links)
        for change in changes:
            _make(told, change, links)
        for change in changes:
            for record, _, held, _ in decoded(change.basis) or ():
                if held is not None and record in links:
                    links[record] = (links[record][0], bool(held))
        told.links = links
    return told


def _make(told: Told, change: Any, links: dict[int, tuple[str, bool]]) -> None:
    if change.action == "purge":
        del told.users[change.target_id]
        for record in [one for one, (target, _) in links.items() if target == change.target_id]:
            del links[record]
        return
    after = decoded(change.after) or {}
    if "target" in after:  # a link that ends, or goes to somebody else: only people ask for that
        links.pop(change.record_id, None)
        if after["target"] is not None:
            links[change.record_id] = (after["target"], True)
    elif change.action in ("create", "link", "adopt") and change.record_id is not None:
        links.setdefault(change.record_id, (change.target_id, True))
    if change.kind == "school":
        if change.action == "create":
            told.schools[change.target_id] = {"status": "active"}
        told.schools[change.target_id].update(after)
        return
    if change.action == "create":
        told.users[change.target_id] = {
            **dict.fromkeys(PROFILE_FIELDS), "protected": False, "kept_archived": False,
            "kept_until": None, "locked_fields": [], "memberships": [], "merged_into": None,
        }  # fmt: skip
    user = told.users[change.target_id]
    for name, value in after.items():
        if name == "memberships":
            user[name] = sorted((role, school, bool(primary)) for role, school, primary in value)
        elif name not in ("archived_at", "target"):
            user[name] = value


def touched_after(connection: Connection, serial: int) -> set[str]:
    """Return the users whom plans touched that were applied after the one of this serial."""
    return set(
        connection.execute(
            text(
                "SELECT c.target_id FROM changes c JOIN plans p ON p.id = c.plan_id"
                " WHERE p.status = 'applied' AND p.first_serial > :serial AND c.kind = 'user'"
            ),
            {"serial": serial},
        ).scalars()
    )


def fields_apart(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of what two tellings of a user differ in."""
    return [name for name in sorted(one | other) if one.get(name) != other.get(name)]


def stored(connection: Connection) -> Told:
    """Return what the tables of the directory say."""
    told = Told()
    names = (*PROFILE_FIELDS, "email_folded", "status", "origin", *ATTRIBUTES)
    for row in connection.execute(text("SELECT * FROM users")):
        told.users[row.id] = {name: getattr(row, name) for name in names} | {"memberships": []}
        user = told.users[row.id]
        user["locked_fields"] = decoded(user["locked_fields"])
        for name in ("protected", "kept_archived"):
            user[name] = bool(user[name])
    for row in connection.execute(text("SELECT * FROM memberships")):
        member = (row.role, row.school_id, bool(row.is_primary))
        told.users[row.user_id]["memberships"].append(member)
    for user in told.users.values():
        user["memberships"].sort()
    for row in connection.execute(text("SELECT * FROM schools")):
        told.schools[row.id] = {
            name: getattr(row, name) for name in ("status", "name", "nces_id", "state_id", "number")
        }
    for row in connection.execute(text("SELECT * FROM links")):
        told.links[row.record_id] = (row.target_id, bool(row.held))
    return told


def differences(one: Told, other: Told) -> list[str]:
    """Return in words where two tellings differ; a missing field is the same as an empty one."""
    found = []
    for noun in ("users", "schools"):
        ours, theirs = getattr(one, noun), getattr(other, noun)
        for key in sorted(ours.keys() | theirs.keys()):
            a, b = ours.get(key), theirs.get(key)
            if a is None or b is None:
                found.append(f"{noun} {key}: {a} / {b}")
                continue
            found += [
                f"{noun} {key}.{name}: {a.get(name)!r} / {b.get(name)!r}"
                for name in sorted(a.keys() | b.keys())
                if a.get(name) != b.get(name)
            ]
    if one.links != other.links:
        found.append(f"links: {set(one.links.items()) ^ set(other.links.items())}")
    return found


def census(connection: Connection) -> Counter[Group]:
    """Count the active people whom each source holds in each group, from nothing."""
    counted: Counter[Group] = Counter()
    people: dict[str, set[int]] = {}
    for user, source in connection.execute(
        text(
            "SELECT l.target_id, r.source_id FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN users u ON u.id = l.target_id WHERE l.held AND u.status = 'active'"
        )
    ):
        people.setdefault(user, set()).add(source)
    places: dict[str, list[tuple[str, str]]] = {}
    for user, school, role in connection.execute(
        text("SELECT user_id, school_id, role FROM memberships")
    ):
        places.setdefault(user, []).append((school, role))
    for user, sources in people.items():
        mine = places.get(user) or [("", "")]
        for source in sources:
            groups = {(source, "school_role", school, role) for school, role in mine}
            groups |= {(source, "district_role", "", role) for _, role in mine}
            counted.update(groups | {(source, "district", "", "")})
    return counted


def kept_census(connection: Connection) -> Counter[Group]:
    """Return the newest census that apply has kept of each group."""
    kept: Counter[Group] = Counter()
    for row in connection.execute(text("SELECT * FROM census ORDER BY since, plan_id")):
        kept[row.source_id, row.scope, row.school_id, row.role] = row.people
    return Counter({group: people for group, people in kept.items() if people})
