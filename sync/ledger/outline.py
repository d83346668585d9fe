"""The outline of a large plan: its groups, how many changes each has, and its first ones.

Written when a plan is sealed, so that opening a plan of a million changes needs no counting. A
small plan has none and is counted when it is read. Used by ``sync/ledger/seal.py``, and by
``sync/views/plan_summary.py``, which shows it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from core.models import Kind
from core.storage.database import Database
from core.storage.schema import Change, PlanGroup
from core.storage.stored import to_json

LARGE = 10_000
"""A plan with this many changes has an outline."""
FIRST = 10
"""Of how many changes of a group, the first ones, the seq is stored."""

_COLUMNS = ("plan_id", "kind", "action", "school_id", "role", "changes", "first")


class GroupKey(NamedTuple):
    """What the changes of a group have in common; ``school`` and ``role`` may be empty."""

    kind: str
    action: str
    school: str
    role: str


@lru_cache(maxsize=4096)
def _group_of(kind: str, action: str, school: str | None, role: str | None) -> GroupKey:
    return GroupKey(kind, action, "" if kind == Kind.SCHOOL else school or "", role or "")


class Outline:
    """The groups of one plan. Each change is noted once, in the plan's order."""

    def __init__(self) -> None:
        self.counts: dict[GroupKey, int] = {}
        self.first: dict[GroupKey, list[int]] = {}

    def note(self, kind: str, action: str, school: str | None, role: str | None, seq: int) -> None:
        """Count one change. Changes of schools are counted without a school."""
        key = _group_of(kind, action, school, role)
        count = self.counts.get(key, 0)
        self.counts[key] = count + 1
        if count < FIRST:
            self.first.setdefault(key, []).append(seq)

    def write(self, database: Database, connection: Connection, plan_id: int) -> None:
        """Store the outline of a sealed plan."""
        rows = [
            (plan_id, *key, count, to_json(self.first[key]))
            for key, count in sorted(self.counts.items())
        ]
        database.insert_into(connection, "plan_groups", _COLUMNS, rows)


def outline_of(connection: Connection, plan_id: int) -> Outline:
    """Return the outline of a plan by reading its changes."""
    outline = Outline()
    rows = connection.execution_options(yield_per=10_000).execute(_CHANGES, {"plan": plan_id})
    for row in rows:
        outline.note(*row)
    connection.execution_options(yield_per=None)
    return outline


def stored_outline(connection: Connection, plan_id: int) -> Outline | None:
    """Return the stored outline of a plan, if there is one."""
    outline = Outline()
    for row in connection.execute(_GROUPS, {"plan": plan_id}):
        key = GroupKey(row.kind, row.action, row.school_id, row.role)
        outline.counts[key], outline.first[key] = row.changes, row.first
    return outline if outline.counts else None


_CHANGES = (
    select(Change.kind, Change.action, Change.school_id, Change.role, Change.seq)
    .where(Change.plan_id == bindparam("plan"))
    .order_by(Change.seq)
)
_GROUPS = select(PlanGroup.table).where(PlanGroup.plan_id == bindparam("plan"))
