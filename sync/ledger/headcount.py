"""The headcount (L3): active people whom each source holds in each group, after each plan.

Used by ``apply``, which counts the people of its plan before and after and stores the difference,
and by ``approval_needed``, which asks for the number that a limit is a share of. A group is stored
only when it changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import Connection, TextClause, text

from core.storage.database import Database
from core.storage.stored import to_json, utc_text
from sync.rules.limits import DISTRICT, DISTRICT_ROLE, SCHOOL_ROLE, Group
from sync.run.scratch_tables import PlanPlaces

Counts = Mapping[Group, int]


# -- who is held


@dataclass(frozen=True, slots=True)
class Held:
    """The queries that find who is held where."""

    people: TextClause
    """Person, source, school and role: a row for each membership, a person's rows together."""
    alone: TextClause | None = None
    """Source, school, role and number, of people with at most one membership; ``people`` leaves
    these out."""


def count(connection: Connection, plan_id: int, held: Held) -> Counts:
    """Count the active people of this plan that each source holds in each group."""
    about = {"plan": plan_id}
    alone: Counter[tuple[int, str, str]] = Counter()
    counted: Counter[Group] = Counter()
    if held.alone is not None:
        for source_id, school, role, number in connection.execute(held.alone, about):
            alone[source_id, school, role] = number
    rows = connection.execute(held.people, about, execution_options={"yield_per": 10_000})
    for _, theirs in groupby(rows, itemgetter(0)):  # a person counts once in each group (L2)
        places = [tuple(row[1:]) for row in theirs]
        if len(places) == 1:  # almost everybody
            alone[places[0]] += 1
        else:
            counted.update({group for place in places for group in _groups(*place)})
    for place, number in alone.items():
        for group in _groups(*place):
            counted[group] += number
    return counted


def _groups(source_id: int, school: str, role: str) -> tuple[Group, Group, Group]:
    """Return the groups of a person that a source holds in one role at one school."""
    return (
        Group(source_id, SCHOOL_ROLE, school, role),
        Group(source_id, DISTRICT_ROLE, "", role),
        Group(source_id, DISTRICT),
    )


# -- what is kept


def kept(connection: Connection, plan_id: int) -> Counts:
    """Return the newest headcount of every group of the plan's district."""
    rows = connection.execute(_KEPT, {"plan": plan_id})
    return {Group(row[0], *row[1:4]): row.people for row in rows}


def write(
    database: Database,
    connection: Connection,
    plan_id: int,
    now: str,
    before: Counts,
    after: Counts,
) -> None:
    """Store what a plan applied at ``now`` (UTC, as stored) has changed."""
    changed = {
        group: change
        for group in before.keys() | after.keys()
        if (change := after.get(group, 0) - before.get(group, 0))
    }
    rows = []
    last = _kept(database, connection, _LAST, changed, {})
    for group, change in sorted(changed.items(), key=_in_order):
        since, people = now, change
        if group in last:
            kept, kept_since = last[group]
            since, people = max(since, _just_after(kept_since)), kept + change
        words = (group.source_id, group.scope, group.school_id, group.role)
        rows.append((*words, plan_id, since, people))
    columns = ("source_id", "scope", "school_id", "role", "plan_id", "since", "people")
    database.insert_into(connection, "census", columns, rows)


def most_people(
    database: Database, connection: Connection, groups: Sequence[Group], start: str
) -> Counts:
    """Return n of L3 for each group: the greater of the people held at ``start`` and just now."""
    found = _kept(database, connection, _NOW_AND_THEN, groups, {"start": start})
    return {group: max(people or 0 for people in found.get(group, (0,))) for group in groups}


def _in_order(item: tuple[Group, int]) -> tuple[int, str, str, str]:
    group = item[0]
    return group.source_id, group.scope, group.school_id, group.role


def _just_after(stored: str) -> str:
    """Return the next point in time: the newest headcount counts, even if a clock was set back."""
    return utc_text(datetime.fromisoformat(stored) + timedelta(microseconds=1))


def _kept(
    database: Database,
    connection: Connection,
    wanted: Sequence[str],
    groups: Iterable[Group],
    about: Mapping[str, Any],
) -> dict[Group, Sequence[Any]]:
    """Return, in one query, what ``wanted`` selects for each group that has a headcount.

    Each group is looked up separately, so that old headcounts cost nothing.
    """
    query = _headcounts(database, wanted)
    found: dict[Group, Sequence[Any]] = {}
    for source_id, of_source in groupby(
        sorted(groups, key=attrgetter("source_id")), attrgetter("source_id")
    ):
        asked = [(group.scope, group.school_id, group.role) for group in of_source]
        bound = {**about, "source": source_id, "groups": to_json(asked)}
        for scope, school, role, *kept in connection.execute(query, bound):
            if kept[0] is not None:
                found[Group(source_id, scope, school, role)] = kept
    return found


# --- Set-wise statements ---
# People are counted over links, records and memberships at once, driven from the changes of the
# plan: CROSS JOIN keeps SQLite to that order. Headcounts are looked up for each group by itself, by
# the primary key of ``census``.


def held_where(database: Database) -> Held:
    """Query the people for whom a plan changes more than the profile."""
    basis = database.json_each("basis", "", "b")
    moves = " OR ".join(
        (
            database.json_has("after", "memberships"),
            database.json_has("after", "status"),
            f"EXISTS (SELECT 1 FROM {basis} WHERE {database.json_item('b', 2)} IS NOT NULL)",
        )
    )
    return Held(
        text(
            "SELECT u.id, r.source_id, COALESCE(m.school_id, ''), COALESCE(m.role, '') FROM users u"
            " JOIN links l ON l.target_id = u.id AND l.held JOIN records r ON r.id = l.record_id"
            " LEFT JOIN memberships m ON m.user_id = u.id WHERE u.status = 'active'"
            " AND u.id IN (SELECT target_id FROM changes WHERE plan_id = :plan AND kind = 'user'"
            f" AND (action <> 'update' OR {moves})) ORDER BY u.id"
        )
    )


EVERYBODY = Held(
    text(
        "SELECT u.id, r.source_id, COALESCE(m.school_id, ''), COALESCE(m.role, '') FROM users u"
        " JOIN links l ON l.target_id = u.id AND l.held JOIN records r ON r.id = l.record_id"
        " LEFT JOIN memberships m ON m.user_id = u.id WHERE u.status = 'active'"
        " AND u.district_id = (SELECT district_id FROM plans WHERE id = :plan) ORDER BY u.id"
    )
)
"""The query for everybody of the plan's district: a repair counts anew."""


def brought(database: Database, places: PlanPlaces) -> Held:
    """Ask for the people of a plan that only creates; ``new_memberships`` says where they are."""
    active = f"{database.json_text('c.after', 'status')} = 'active'"
    return Held(
        text(
            f"SELECT p.target_id, r.source_id, p.school_id, p.role FROM {places.name} p"
            " CROSS JOIN records r WHERE r.id = p.record_id AND p.active AND NOT p.alone"
            " ORDER BY p.target_id"
        ),
        text(
            f"SELECT r.source_id, p.school_id, p.role, COUNT(*) FROM {places.name} p"
            " CROSS JOIN records r WHERE r.id = p.record_id AND p.active AND p.alone"
            " GROUP BY 1, 2, 3"
            # people without a membership have no row there, and no role in their change
            " UNION ALL SELECT r.source_id, '', '', COUNT(*) FROM changes c CROSS JOIN records r"
            " WHERE c.plan_id = :plan AND c.kind = 'user' AND c.role IS NULL"
            f" AND r.id = c.record_id AND {active} GROUP BY 1"
        ),
    )


_KEPT = text(
    "SELECT c.source_id, c.scope, c.school_id, c.role, c.people FROM census c JOIN sources s"
    " ON s.id = c.source_id WHERE s.district_id = (SELECT district_id FROM plans WHERE id = :plan)"
    " ORDER BY c.since, c.plan_id"
)
_NEWEST = "ORDER BY since DESC, plan_id DESC LIMIT 1"
_NOW = f"SELECT people FROM census WHERE {{this}} {_NEWEST}"
_LAST = (_NOW, f"SELECT since FROM census WHERE {{this}} {_NEWEST}")
_NOW_AND_THEN = (_NOW, f"SELECT people FROM census WHERE {{this}} AND since <= :start {_NEWEST}")


def _headcounts(database: Database, wanted: Sequence[str]) -> TextClause:
    item = database.json_item
    this = (
        f"source_id = :source AND scope = {item('g', 0)} AND school_id = {item('g', 1)}"
        f" AND role = {item('g', 2)}"
    )
    columns = ", ".join(f"({each.format(this=this)})" for each in wanted)
    return text(
        f"SELECT {item('g', 0)}, {item('g', 1)}, {item('g', 2)}, {columns}"
        f" FROM {database.json_rows('groups', 'g')}"
    )
