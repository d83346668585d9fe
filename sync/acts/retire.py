"""Retire a source: a plan that ends its holds and archives people nobody else holds (P7, F10).

Used by ``source retire`` and by the end of a vendor switch. Applying the plan marks the source as
retired; from then on it shares nobody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import text

from core.models import Kind
from core.settings import Grace
from core.storage.database import Database
from sync.acts.ordered_plan import OrderedPlan, context_of, named_in_conflicts, order_plan, people
from sync.ledger.draft import Step
from sync.planning.decide import decide_user
from sync.run import find
from sync.run.clock import Clock
from sync.run.outcome import Outcome

REASON = "source_retired"


def retire_source(
    database: Database,
    slug: str,
    source: str,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Store a ``planned`` plan that ends everything a source holds; nobody is changed yet.

    When it is applied, people that nobody else holds are archived. Protected people stay. People in
    an open conflict are left out; a second retirement takes them once the conflict is decided.
    Raises ``UsageError`` for an unknown district or source.
    """
    with order_plan(database, slug, "retire", actor=actor, reason=reason, now=now) as asked:
        row = find.source_row(asked.connection, asked.district, source)
        _end_people(asked, row.id)
        _end_schools(asked, row.id)
        asked.always = not row.retired
        asked.effects["retire"] = [row.id]
    return asked.outcome


def _end_people(asked: OrderedPlan, source_id: int) -> None:
    """End the source's hold on everybody, as if all of its records were gone."""
    about = {"source": source_id}
    context = replace(context_of(asked), grace=Grace(days=0, fetches=1))
    named = named_in_conflicts(asked.connection, asked.district_id)
    protected = conflicts = 0
    for user in people(asked, _HELD_PEOPLE, about):
        for record in user.records:
            if record.source_id == source_id:
                record.present = False
        decision = decide_user(user, context, in_conflict=user.id in named)
        if decision.situation.name == "left_in_conflict":
            conflicts += 1
            continue
        protected += decision.protected
        if decision.steps:
            asked.draft.add([_as_retirement(step) for step in decision.steps])
            if asked.draft.full:
                asked.draft.flush(asked.connection)
    asked.extra |= {"protected": protected, "conflict": conflicts}


def _as_retirement(step: Step) -> Step:
    return step._replace(reason=REASON) if step.reason in ("absent", "leaves_scope") else step


def _end_schools(asked: OrderedPlan, source_id: int) -> None:
    """Archive the schools that no other source names; their people are not touched."""
    rows = asked.connection.execute(_HELD_SCHOOLS, {"source": source_id}).all()
    by_school: dict[str, list[Any]] = {}
    for row in rows:
        by_school.setdefault(row.id, []).append(row)
    for school_id, records in by_school.items():
        first = records[0]
        basis = [[row.record_id, row.version, 0, 1] for row in records]
        if first.named_elsewhere or first.status == "archived":
            steps = [
                Step(
                    Kind.SCHOOL, "unlink", school_id, first.revision, REASON, school=school_id,
                    record_id=row.record_id, record_version=row.version,
                )
                for row in records
            ]  # fmt: skip
        else:
            steps = [
                Step(
                    Kind.SCHOOL, "archive", school_id, first.revision, REASON, school=school_id,
                    before={"status": "active"}, after={"status": "archived"},
                )
            ]  # fmt: skip
        steps[0] = steps[0]._replace(basis=basis)
        asked.draft.add(steps)


# --- Set-wise statements ---
# They find everything that one source holds, starting from its records. A school comes with whether
# another source names it, so that no second statement asks for each of them.

_HELD_PEOPLE = (
    "SELECT DISTINCT l.target_id FROM links l JOIN records r ON r.id = l.record_id"
    " WHERE r.source_id = :source AND r.kind = 'user' AND l.held"
)
_HELD_SCHOOLS = text(
    "SELECT s.id, s.status, s.revision, r.id AS record_id, r.version, EXISTS (SELECT 1"
    " FROM links o JOIN records x ON x.id = o.record_id JOIN sources c ON c.id = x.source_id"
    " WHERE o.target_id = s.id AND o.held AND x.present AND x.source_id <> :source"
    " AND NOT c.retired) AS named_elsewhere FROM links l JOIN records r ON r.id = l.record_id"
    " JOIN schools s ON s.id = l.target_id WHERE r.source_id = :source AND r.kind = 'school'"
    " AND l.held ORDER BY s.id, r.id"
)
