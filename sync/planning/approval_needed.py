"""The people of a draft who must wait for approval, and the limits that require it.

Counts takings in SQL, judges with ``sync/rules/limits.py``, and leaves the held people in the
temporary table ``holds``. All changes of one person go the same way (P1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, String, TextClause, bindparam, cast, func, select, text

from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.schema import Plan, User
from core.storage.stored import utc_text
from sync.ledger import headcount
from sync.ledger.draft import Draft
from sync.rules.limits import (
    DISTRICT,
    DISTRICT_ROLE,
    SCHOOL_ROLE,
    SCOPES,
    Group,
    Trip,
    allowed_in,
    own_changes_allowed,
    rule_for,
    share_allowed,
)
from sync.rules.suspicions import BLANKED, OUTSIDE_DOMAINS, rule_of
from sync.run.scratch_tables import PlanTables


@dataclass(frozen=True, slots=True)
class Counting:
    """What counting needs in addition to the draft."""

    district_id: int
    settings: DistrictSettings
    source_ids: Sequence[int]
    now: datetime
    today: date
    school_names: Mapping[str, str]
    established: bool
    """A first complete fetch of the district has been applied before (L6)."""


def judge(tables: PlanTables, draft: Draft, counting: Counting) -> list[Trip]:
    """Fill ``holds`` by the limits, and return the limits that were exceeded."""
    connection = tables.holds.connection
    trips: list[Trip] = []
    if draft.taken:
        for source_id in counting.source_ids:
            trips += _takings(connection, draft, counting, source_id)
    if counting.established:
        trips += _additions(connection, draft, counting)
    trips += _marked(draft.database, connection, counting)
    trips += _suspicious(connection, draft, counting)
    tables.holds.index()
    return trips


# -- takings (L1-L5)


def _takings(
    connection: Connection, draft: Draft, counting: Counting, source_id: int
) -> list[Trip]:
    start = utc_text(counting.now - timedelta(days=counting.settings.limits.window_days))
    about = {"plan": draft.plan_id, "source": source_id, "start": start}
    trips = []
    taken = {group: found for group, found, now in _found(connection, about, source_id) if now}
    held = headcount.most_people(draft.database, connection, list(taken), start)
    for group, found in taken.items():
        words = (group.school_id, counting.school_names.get(group.school_id, group.school_id))
        rule = rule_for(group, counting.settings.limits, words, counting.today)
        allowed = allowed_in(group, held[group], rule)
        if found > allowed:
            trips.append(Trip(group.scope, allowed, found, held[group], group, source_id))
            connection.execute(_HOLD_TAKEN[group.scope], about | _where(group))
    return trips


def _where(group: Group) -> dict[str, str]:
    return {"school": group.school_id, "role": group.role, "scope": group.scope}


def _found(
    connection: Connection, about: dict[str, Any], source_id: int
) -> list[tuple[Group, int, int]]:
    """Return each group with the distinct people taken within the window and now, and those now."""
    rows = connection.execute(_TAKEN_IN_GROUPS, about)
    return [
        (Group(source_id, SCOPES[scope], school, role), int(found), int(now))
        for scope, school, role, found, now in rows
    ]


_GROUPS = {
    SCHOOL_ROLE: ("school_id, role", "school_id", "role"),
    DISTRICT_ROLE: ("role", "''", "role"),
    DISTRICT: ("one", "''", "''"),
}
"""Scope → what its people are grouped by, and the school and the role of such a group."""


# -- additions (L6)


def _additions(connection: Connection, draft: Draft, counting: Counting) -> list[Trip]:
    trips = []
    active = None
    for source_id, count in sorted(draft.additions.items()):
        if not count:
            continue
        if active is None:
            active = int(
                connection.execute(_ACTIVE, {"district": counting.district_id}).scalar_one()
            )
        allowed = share_allowed(active, counting.settings.limits.additions)
        start = counting.now - timedelta(days=counting.settings.limits.window_days)
        about = {"district": counting.district_id, "start": start}
        added = connection.execute(_ADDED, about).scalars()
        earlier = sum(additions.get(str(source_id), 0) for additions in added)
        if count + earlier > allowed:
            trips.append(Trip("additions", allowed, count + earlier, active, None, source_id))
            connection.execute(_HOLD_ADDED, {"source": source_id})
    return trips


_ACTIVE = (
    select(func.count())
    .select_from(User.table)
    .where(User.district_id == bindparam("district"), User.status == "active")
)
_ADDED = select(Plan.additions).where(
    Plan.district_id == bindparam("district"),
    Plan.status == "applied",
    ~Plan.approved,
    Plan.applied_at > bindparam("start"),
    cast(Plan.establishes, String) == "[]",
)


# -- what the decisions marked (L7, L8, F6, F10)


def _marked(database: Database, connection: Connection, counting: Counting) -> list[Trip]:
    trips = []
    for mark, source_id, found in connection.execute(_COUNT_MARKS).all():
        if mark == "settings":
            group = Group(source_id, DISTRICT)
            held = headcount.most_people(database, connection, [group], utc_text(counting.now))
            people = held[group]
            allowed = own_changes_allowed(people)
        else:
            people, allowed = 0, 0
        if found > allowed:
            trips.append(Trip(mark, allowed, found, people, None, source_id))
            connection.execute(_HOLD_MARKED, {"mark": mark, "source": source_id})
    return trips


ALWAYS_HELD = ("leaves_scope", "shrunk_role", "resembling", "standing", "guard", "undone")
"""Marks that always hold their people; ``settings`` holds only beyond its limit (L8)."""


# -- what a vendor changes (L10)


def _suspicious(connection: Connection, draft: Draft, counting: Counting) -> list[Trip]:
    """Hold all suspicious changes of a kind and source that are too many, and keep the others."""
    about: dict[str, Any] = {"plan": draft.plan_id}
    found = connection.execute(_KINDS_SUSPECTED, about).all()
    if not found:
        return []
    start = utc_text(counting.now - timedelta(days=counting.settings.limits.window_days))
    trips = []
    for kind, source_id in found:
        this = {**about, "kind": kind, "source": source_id, "start": start}
        people = int(connection.execute(_SUSPECTED_IN_WINDOW, this).scalar_one())
        group = Group(source_id, DISTRICT)
        held = headcount.most_people(draft.database, connection, [group], start)[group]
        allowed = share_allowed(held, rule_of(kind, counting.settings.limits))
        if people > allowed:
            named = kind in (BLANKED, OUTSIDE_DOMAINS)
            fields: dict[str, int] = {}
            if named:
                rows = connection.execute(_SUSPECTED_FIELDS, this)
                fields = {str(word): int(number) for word, number in rows}
            trips.append(Trip(kind, allowed, people, held, None, source_id, fields))
            connection.execute(_HOLD_SUSPECTED, this)
    connection.execute(_KEEP_SUSPICIONS, about)
    return trips


# --- Set-wise statements ---
# They count a whole draft, and what was applied in the window, in one pass for all groups; the
# takings and suspicions of a source are found by their indexes. What they hold goes into ``holds``,
# and marks and suspicions come from scratch tables, too.
_ALL_TAKINGS = (
    "SELECT target_id, school_id, role, 1 AS now, 1 AS one FROM takings"
    " WHERE plan_id = :plan AND source_id = :source AND NOT explained"
    " UNION ALL SELECT t.target_id, t.school_id, t.role, 0, 1 FROM takings t"
    " JOIN plans p ON p.id = t.plan_id JOIN users u ON u.id = t.target_id"
    " WHERE t.source_id = :source AND NOT t.explained AND p.status = 'applied'"
    " AND NOT p.approved AND p.applied_at > :start AND ("  # and not back again (L4)
    "  (t.what = 'archive' AND u.status = 'archived')"
    "  OR (t.what = 'suspend' AND u.status = 'suspended')"
    "  OR (t.what = 'role' AND NOT EXISTS (SELECT 1 FROM memberships m"
    "   WHERE m.user_id = u.id AND m.role = t.role))"
    "  OR (t.what = 'hold' AND NOT EXISTS (SELECT 1 FROM links l JOIN records r"
    "   ON r.id = l.record_id WHERE l.target_id = u.id AND l.held AND r.source_id = :source)))"
)


def _in_groups(takings: str) -> TextClause:
    """SQL: count in every group the people and takings that this query selects."""
    return text(
        f"WITH taken AS MATERIALIZED ({takings})"
        + " UNION ALL".join(
            f" SELECT {SCOPES.index(scope)}, {school}, {role}, COUNT(DISTINCT target_id), SUM(now)"
            f" FROM taken GROUP BY {by}"
            for scope, (by, school, role) in _GROUPS.items()
        )
        + " ORDER BY 1, 2, 3"
    )


_TAKEN_IN_GROUPS = _in_groups(_ALL_TAKINGS)
_HOLD_TAKEN = {
    scope: text(
        "INSERT INTO holds SELECT DISTINCT target_id, :scope, source_id FROM takings"
        f" WHERE plan_id = :plan AND source_id = :source AND NOT explained{where}"
    )
    for scope, where in {
        SCHOOL_ROLE: " AND school_id = :school AND role = :role",
        DISTRICT_ROLE: " AND role = :role",
        DISTRICT: "",
    }.items()
}
_HOLD_ADDED = text(
    "INSERT INTO holds SELECT target_id, 'additions', source_id FROM marks"
    " WHERE mark = 'added' AND source_id = :source"
)
_COUNT_MARKS = text(
    "SELECT mark, source_id, COUNT(DISTINCT target_id) FROM marks"
    " WHERE mark IN :marks GROUP BY mark, source_id ORDER BY mark, source_id"
).bindparams(bindparam("marks", value=[*ALWAYS_HELD, "settings"], expanding=True))
_HOLD_MARKED = text(
    "INSERT INTO holds SELECT DISTINCT target_id, mark, source_id FROM marks"
    " WHERE mark = :mark AND source_id = :source"
)
_OF_PLAN = (  # people who were removed from the draft are not changed by it
    "EXISTS (SELECT 1 FROM changes c WHERE c.plan_id = :plan AND c.target_id = s.target_id)"
)
_KINDS_SUSPECTED = text(
    f"SELECT DISTINCT s.kind, s.source_id FROM suspected s WHERE {_OF_PLAN} ORDER BY 1, 2"
)
_THIS_KIND = f"FROM suspected s WHERE s.kind = :kind AND s.source_id = :source AND {_OF_PLAN}"
_SUSPECTED_IN_WINDOW = text(
    f"SELECT COUNT(*) FROM (SELECT s.target_id {_THIS_KIND} UNION SELECT s.target_id"
    " FROM suspicions s JOIN plans p ON p.id = s.plan_id WHERE s.source_id = :source"
    " AND s.kind = :kind AND p.status = 'applied' AND NOT p.approved AND p.applied_at > :start)"
    " AS people"
)
_SUSPECTED_FIELDS = text(
    f"SELECT s.about, COUNT(DISTINCT s.target_id) {_THIS_KIND} GROUP BY s.about ORDER BY 1"
)
_HOLD_SUSPECTED = text(
    f"INSERT INTO holds SELECT DISTINCT s.target_id, s.kind, s.source_id {_THIS_KIND}"
)
_KEEP_SUSPICIONS = text(
    "INSERT INTO suspicions (plan_id, target_id, source_id, kind, about) SELECT DISTINCT"
    " CAST(:plan AS BIGINT), s.target_id, s.source_id, s.kind, s.about FROM suspected s"
    f" WHERE {_OF_PLAN} AND s.target_id NOT IN (SELECT target_id FROM holds)"
)
