"""Merge: a plan that makes one user of two who are one person (P7). It can be undone.

The first stays, with their id and history; the other is archived, and their records move.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, select

from core.errors import UsageError
from core.models import PROFILE_FIELDS, UserStatus
from core.storage.database import Database
from core.storage.schema import User
from sync.acts.ordered_plan import OrderedPlan, context_of, order_plan, people
from sync.ledger.draft import Step
from sync.people.person import UserView, stored_profile
from sync.planning.decide import decide_user, step_for
from sync.run.clock import Clock
from sync.run.outcome import Outcome

REASON = "merged"


def merge_users(
    database: Database,
    slug: str,
    stays: str,
    goes: str,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Store a ``planned`` plan that makes ``goes`` part of ``stays``; nobody is changed yet.

    Fields follow the records of both, by precedence; fields without any record are filled from the
    one who goes. If either is protected, the result is. Raises ``UsageError`` if they are one user.
    """
    with order_plan(database, slug, "merge", actor=actor, reason=reason, now=now) as asked:
        about = {"one": stays, "other": goes, "district": asked.district_id}
        found = {user.id: user for user in people(asked, _TWO, about)}
        merged = asked.connection.execute(_MERGED, {"district": asked.district_id}).scalars()
        gone = set(merged) & found.keys()
        if len(found) < 2 or gone:
            raise UsageError(
                f"A merge needs two users of {slug} who are not merged yet.",
                hint=f"rostersync duplicates {slug} lists who looks like one person.",
            )
        keeper, other = found[stays], found[goes]
        _go(asked, other, keeper.id)
        _stay(asked, keeper, other)
    return asked.outcome


def _go(asked: OrderedPlan, user: UserView, into: str) -> None:
    """Archive the one who goes, and move their records."""
    before: dict[str, Any] = {"merged_into": None}
    after: dict[str, Any] = {"merged_into": into}
    if user.status != UserStatus.ARCHIVED:
        before["status"], after["status"] = user.status, UserStatus.ARCHIVED.value
    steps = [step_for(user, "merge", REASON, before=before, after=after)]
    steps += [
        step_for(
            user, "unlink", REASON, record_id=record.id, record_version=record.version,
            before={"target": user.id}, after={"target": into},
        )
        for record in user.records
    ]  # fmt: skip
    asked.draft.add(steps)


def _stay(asked: OrderedPlan, user: UserView, other: UserView) -> None:
    """Let the one who stays follow the records of both."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    steps: list[Step] = []
    both = [*user.records, *other.records]
    if any(record.speaks for record in both):
        user.records = both
        for step in decide_user(user, context_of(asked)).steps:
            if step.action == "update":
                before |= dict(step.before or {})
                after |= dict(step.after or {})
            basis = [] if step.basis is None else list(step.basis)
            steps.append(step._replace(reason=REASON, basis=basis or None))
    else:
        for name in PROFILE_FIELDS:
            if user.profile[name] is None and other.profile[name] is not None:
                before[name], after[name] = None, other.profile[name]
        if "email" in after:
            before["email_folded"] = None
            after["email_folded"] = stored_profile(after)["email_folded"]
        if not user.memberships and other.memberships:
            before["memberships"], after["memberships"] = [], [list(m) for m in other.memberships]
        if user.status == UserStatus.ARCHIVED and other.status != UserStatus.ARCHIVED:
            steps.append(
                step_for(
                    user, "restore", REASON, before={"status": user.status},
                    after={"status": other.status},
                )
            )  # fmt: skip
    if other.protected and not user.protected:
        before["protected"], after["protected"] = False, True
    if after:
        updates = [step for step in steps if step.action == "update"]
        if updates:
            at = steps.index(updates[0])
            steps[at] = updates[0]._replace(before=before, after=after)
        else:
            steps.append(step_for(user, "update", REASON, before=before, after=after))
    if steps:
        asked.draft.add(steps)


_TWO = "SELECT id AS target_id FROM users WHERE id IN (:one, :other) AND district_id = :district"
_MERGED = select(User.id).where(
    User.district_id == bindparam("district"), User.merged_into.is_not(None)
)
