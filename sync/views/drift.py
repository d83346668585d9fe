"""Drift: whose changes of a plan no longer fit, and what has moved under them (P2, P5).

Used by ``show --drift``. It asks by the preconditions of ``sync/ledger/apply.py``; nothing here
writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, text

from core.database import Database
from sync.ledger.apply import preconditions, shape_of
from sync.ledger.new_memberships import places

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Drifting:
    """One person or school whose changes would not be applied.

    ``moved`` is what is no longer as the plan saw it, sorted: ``revision`` (the user or school
    itself), ``evidence`` (what a source says of them), ``link`` (whose record it is), ``school``
    (one that they are to be at).
    """

    target: str
    kind: str
    actions: tuple[str, ...]
    moved: tuple[str, ...]


def drift_of(database: Database, connection: Connection, plan: Any) -> Iterator[Drifting]:
    """Yield whoever has drifted since a plan was made, by id; nobody, once it was applied.

    ``plan`` is its row. A plan with one of them applies nothing.
    """
    if plan.status == "applied":
        return
    about = {"plan": plan.id, "district": plan.district_id}
    moved: dict[str, set[str]] = defaultdict(set)
    shape = shape_of(database, connection, plan.id, plan.kind)
    for what, query in preconditions(database, shape, f"({places(database)})"):
        for target in connection.execute(text(query), about).scalars():
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


_CHANGES = text(
    "SELECT target_id, kind, action FROM changes WHERE plan_id = :plan AND target_id IN :targets"
    " ORDER BY seq"
).bindparams(bindparam("targets", expanding=True))
