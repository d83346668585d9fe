"""Drift: which people's changes no longer fit in a plan, and what has changed since (P2, P5).

Used by ``show --drift``. It checks the preconditions of ``sync/ledger/apply.py``; nothing here
writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from core.storage.database import Database
from core.storage.schema import Change
from sync.ledger.apply import preconditions, shape_of
from sync.ledger.new_memberships import places

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Drifting:
    """One person or school whose changes would not be applied.

    ``moved`` lists, sorted, what has changed since the plan was made: ``revision`` (the user or
    school itself), ``evidence`` (what a source says about them), ``link`` (whose record it is),
    ``school`` (a school that they are to join).
    """

    target: str
    kind: str
    actions: tuple[str, ...]
    moved: tuple[str, ...]


def drift_of(database: Database, connection: Connection, plan: Any) -> Iterator[Drifting]:
    """Yield the people and schools that have drifted, by id; nobody once the plan was applied.

    ``plan`` is its row. A plan with one of them applies nothing.
    """
    if plan.status == "applied":
        return
    about = {"plan": plan.id, "district": plan.district_id}
    moved: dict[str, set[str]] = defaultdict(set)
    shape = shape_of(database, connection, plan.id, plan.kind)
    for what, query in preconditions(database, shape, f"({places(database)})"):
        for target in connection.execute(query, about).scalars():
            moved[target].add(what)
    targets = sorted(moved)
    for first in range(0, len(targets), _PAGE):
        some = targets[first : first + _PAGE]
        actions: dict[str, dict[str, None]] = defaultdict(dict)
        kinds: dict[str, str] = {}
        for row in connection.execute(_CHANGES, {"plan": plan.id, "targets": some}):
            actions[row.target_id][row.action] = None
            kinds[row.target_id] = row.kind
        for target in some:
            yield Drifting(
                target, kinds[target], tuple(actions[target]), tuple(sorted(moved[target]))
            )


_CHANGES = (
    select(Change.target_id, Change.kind, Change.action)
    .where(
        Change.plan_id == bindparam("plan"),
        Change.target_id.in_(bindparam("targets", expanding=True)),
    )
    .order_by(Change.seq)
)
