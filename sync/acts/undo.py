"""Undo: a plan made from the ledger that puts people back to what they were before a run (P8).

Every change is reversed: fields, links and statuses return, and created people end archived. People
who were changed since are listed and left alone. ``sync/ledger/apply.py`` applies it like any plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from core.errors import UsageError
from core.models import Kind
from core.storage.database import Database
from core.storage.schema import District, Plan, Run
from core.storage.stored import from_json
from sync.acts.ordered_plan import OrderedPlan, order_plan
from sync.ledger.directory import REPAIR
from sync.ledger.draft import Step
from sync.ledger.effects import SOURCE_KINDS
from sync.run.clock import Clock
from sync.run.display import RUN, shown_id
from sync.run.outcome import Outcome

REASON = "undone"
_PAGE = 5_000
_OF_STATUS = frozenset({"kept_archived", "kept_until", "protected"})
"""What belongs to an archive or a restore by hand: whether it is kept, until when, protected."""
_STATUS = {
    ("archived", "active"): "restore",
    ("archived", "suspended"): "restore",
    ("active", "archived"): "archive",
    ("suspended", "archived"): "archive",
    ("active", "suspended"): "suspend",
    ("suspended", "active"): "unsuspend",
}


def undo_run(
    database: Database,
    run_id: int,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Store a ``planned`` plan that undoes a run; ``outcome.left`` names who is left alone.

    Left alone are people and schools that were changed after the run, or whose history was purged.
    Raises ``UsageError`` for a run that does not exist, that applied nothing, or that purged.
    """
    with database.read() as connection:
        slug = connection.execute(_SLUG_OF_RUN, {"run": run_id}).scalar()
    if slug is None:
        raise UsageError(
            f"There is no run {shown_id(RUN, run_id)}.",
            hint="rostersync runs DISTRICT lists them.",
        )
    with order_plan(database, slug, "undo", actor=actor, reason=reason, now=now) as asked:
        plans = _plans(asked.connection, asked.district_id, slug, run_id)
        for plan in plans:
            _undo_plan(asked, plan.id)
        _turn_effects(asked, plans)
        asked.effects["undoes"] = [plan.id for plan in plans]
        asked.effects["left"] = len(asked.outcome.left)
    return asked.outcome


def _plans(connection: Connection, district_id: int, slug: str, run_id: int) -> Sequence[Any]:
    """Return the plans that a run applied, the last one first."""
    plans = connection.execute(_PLANS, {"run": run_id, "district": district_id}).all()
    if not plans:
        raise UsageError(
            f"The run {shown_id(RUN, run_id)} applied no plan: there is nothing to undo.",
            hint=f"rostersync runs {slug} shows which runs applied one.",
        )
    if any(plan.kind == "purge" for plan in plans):
        raise UsageError(
            "A purge cannot be undone: what it erased is gone.",
            hint="People who are still shared join again at the next run.",
        )
    if any(plan.kind == REPAIR for plan in plans):
        raise UsageError(
            "A repair cannot be undone: it put people back to what the history says.",
            hint="Change them with rostersync user edit, or at their source.",
        )
    return plans


def _undo_plan(asked: OrderedPlan, plan_id: int) -> None:
    draft, connection = asked.draft, asked.connection
    schools: dict[str, list[Any]] = {}
    for (kind, target), rows in groupby(
        _changes(connection, plan_id), key=lambda row: (row.kind, row.target_id)
    ):
        if kind == Kind.SCHOOL:  # two records may describe one school
            schools.setdefault(target, []).extend(rows)
        else:
            _turn(asked, Kind.USER, target, list(rows), connection, plan_id)
        if draft.full:
            draft.flush(connection)
    for target, found in schools.items():
        _turn(asked, Kind.SCHOOL, target, found, connection, plan_id)


def _turn(
    asked: OrderedPlan,
    kind: Kind,
    target: str,
    rows: Sequence[Any],
    connection: Connection,
    plan_id: int,
) -> None:
    """Write the reverse changes of one person or school, or list them as left alone."""
    first = rows[0]
    expected = 1 if first.revision is None else first.revision + 1
    if first.now_revision != expected or any(row.salt is None for row in rows):
        asked.outcome.left.append(target)
        return
    back = _Back()
    for row in reversed(rows):
        back.over(row)
    if kind is Kind.USER and back.after.get("status") == "archived" and not back.created:
        back.after["archived_at"] = _archived_at(asked, target, plan_id)
    steps = back.steps(kind, target, first.now_revision, first.role, first.school_id)
    if steps:
        asked.draft.add(steps)


def _archived_at(asked: OrderedPlan, target: str, plan_id: int) -> str | None:
    """Return since when somebody was archived before a plan restored them."""
    about = {"target": target, "plan": plan_id, "district": asked.district_id}
    row = asked.connection.execute(_ARCHIVED_BEFORE, about).one_or_none()
    return None if row is None else (from_json(row.after) or {}).get("archived_at", row.applied_at)


@dataclass(slots=True)
class _Back:
    """The reverse of one person's changes, collected from the last to the first."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    links: list[tuple[str, int, dict[str, Any] | None, dict[str, Any] | None]] = field(
        default_factory=list
    )
    """(action, record, before, after) of links that are made, ended or moved."""
    holds: dict[int, int] = field(default_factory=dict)
    """Record → the value that its hold returns to."""
    created: bool = False

    def over(self, row: Any) -> None:
        """Reverse one change."""
        before, after = (from_json(row.before) or {}), (from_json(row.after) or {})
        if row.action == "create":
            self.created = True
            self.before |= {"status": self.before.get("status", after.get("status", "active"))}
            self.after = {"status": "archived"}
            self.links = [link for link in self.links if link[0] != "unlink"]
            self.holds = dict.fromkeys(self.holds, 0)
            if row.record_id is not None and "target" not in before:
                self.holds[row.record_id] = 0  # else it goes back to whom it came from (I13)
            return
        for name, old in before.items():
            if name != "target":
                self.before.setdefault(name, after.get(name))
                self.after[name] = old
        for record, _, held, _ in from_json(row.basis) or ():
            if held is not None and record is not None:
                self.holds[record] = 1 - held
        if row.record_id is not None and row.action in ("link", "adopt", "unlink"):
            self._link_over(row.action, row.record_id, row.target_id, before, after)

    def _link_over(
        self, action: str, record: int, target: str, before: dict[str, Any], after: dict[str, Any]
    ) -> None:
        if "target" in after and after["target"] is None:  # a link that was ended returns
            self.links.append(("link", record, None, None))
        elif "target" in after:  # in a merge, a link that moved to somebody else returns
            other = "link" if action == "unlink" else "unlink"
            self.links.append((other, record, after, before))
        elif action != "unlink":
            self.links.append(("unlink", record, {"target": target}, {"target": None}))

    def steps(
        self, kind: Kind, target: str, revision: int, role: str | None, school: str | None
    ) -> list[Step]:
        """Return the reverse as steps."""
        steps: list[Step] = []

        def step(action: str, **more: Any) -> None:
            steps.append(
                Step(kind, action, target, revision, REASON, role=role, school=school, **more)
            )

        old, new = dict(self.before), dict(self.after)
        status = old.pop("status", None), new.pop("status", None)
        at = new.pop("archived_at", None)
        changed = {name: value for name, value in new.items() if old.get(name) != value}
        if None not in status and status[0] != status[1]:
            was = {"status": status[0]}
            is_now = {"status": status[1]} | ({"archived_at": at} if at else {})
            if changed.keys() <= _OF_STATUS:  # one act, as before
                was |= {name: old.get(name) for name in changed}
                is_now |= changed
                changed = {}
            step(_STATUS[status], before=was, after=is_now)
        if changed:
            step("update", before={name: old.get(name) for name in changed}, after=changed)
        for action, record, before, after_link in self.links:
            if self.created and action == "unlink":
                self.holds[record] = 0  # they keep their records, not held, to return by
                continue
            step(action, record_id=record, before=before, after=after_link)
        ended = {record for action, record, _, _ in self.links if action == "unlink"}
        if self.created:
            ended = set()
        basis = [[r, None, held, 0] for r, held in sorted(self.holds.items()) if r not in ended]
        if basis and not steps:
            step("link" if any(held for _, _, held, _ in basis) else "unlink")
        if basis:
            steps[0] = steps[0]._replace(basis=basis)
        return steps


def _changes(connection: Connection, plan_id: int) -> Iterator[Any]:
    """Yield the changes of a plan in order, each with its target's current revision."""
    last = -1
    while rows := connection.execute(
        _CHANGES_WITH_REVISIONS, {"plan": plan_id, "last": last, "page": _PAGE}
    ).all():
        yield from rows
        last = rows[-1].seq


def _turn_effects(asked: OrderedPlan, plans: Sequence[Any]) -> None:
    """Reverse the effects that the plans had in addition to their changes."""
    for plan in plans:
        done: Mapping[str, Any] = plan.effects or {}
        for name, other in (("retire", "unretire"), ("unretire", "retire")):
            if done.get(name):
                asked.effects[other] = done[name]
                asked.always = True
        if moves := done.get("domains"):
            asked.effects["unalias"] = [move["from"] for move in moves if move["alias"]]
            asked.always = True
        if plan.kind in (*SOURCE_KINDS, "switch") or done.get("redone"):
            asked.effects["undone"] = True
        elif done.get("undone"):
            asked.effects["redone"] = True


_SLUG_OF_RUN = (
    select(District.slug)
    .join_from(Run.table, District.table, District.id == Run.district_id)
    .where(Run.id == bindparam("run"))
)
_PLANS = (
    select(Plan.id, Plan.kind, Plan.effects)
    .where(
        Plan.applied_run_id == bindparam("run"),
        Plan.status == "applied",
        Plan.district_id == bindparam("district"),
    )
    .order_by(Plan.first_serial.desc())
)


# --- Set-wise statements ---
# The changes of a plan are read page by page in the order of its key, each with what its target has
# become. Somebody who was archived before the run is found by the order of the ledger.

_CHANGES_WITH_REVISIONS = text(
    "SELECT c.*, COALESCE(u.revision, s.revision) AS now_revision FROM changes c"
    " LEFT JOIN users u ON u.id = c.target_id AND c.kind = 'user'"
    " LEFT JOIN schools s ON s.id = c.target_id AND c.kind = 'school'"
    " WHERE c.plan_id = :plan AND c.seq > :last ORDER BY c.seq LIMIT :page"
)
_ARCHIVED_BEFORE = text(
    "SELECT p.applied_at, c.after FROM changes c JOIN plans p ON p.id = c.plan_id"
    " JOIN plans undone ON undone.id = :plan WHERE c.target_id = :target AND p.status = 'applied'"
    " AND p.first_serial < undone.first_serial AND c.action IN ('archive', 'leaves_scope', 'merge')"
    " AND p.district_id = :district ORDER BY p.first_serial DESC LIMIT 1"
)
