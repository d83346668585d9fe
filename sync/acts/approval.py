"""Approval: a sealed plan is applied, released, or refused by a person (P3-P6).

None of these takes the run lock; each holds the apply lock during its transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, select, text, update

from core.errors import Drift, Held, RosterSyncError, UsageError
from core.failpoints import failpoint
from core.models import checked_actor, checked_reason
from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.schema import Change, Conflict, District, Plan, Taking
from sync.acts.flex import refuse_apply
from sync.ledger.apply import Drifted, apply_in
from sync.ledger.chain import fold
from sync.ledger.effects import SOURCE_KINDS
from sync.ledger.standing import reseal_without
from sync.rules import season
from sync.rules.return_guard import SeasonState
from sync.rules.season import Season
from sync.run.clock import Clock, utc_now
from sync.run.outcome import Outcome
from sync.run.run_rows import close_run_in, open_run


def apply_plan(
    database: Database,
    plan_id: int,
    *,
    actor: str,
    during_pause: bool = False,
    now: Clock | None = None,
) -> Outcome:
    """Apply a planned or an approved plan: exactly what was sealed, or nothing.

    A held plan: status ``held``. Applied already: ``nothing_to_do``. Rejected: ``UsageError``.
    Superseded, expired or no longer fitting: ``drifted``.
    """
    at = (now or utc_now)()
    return _carry_out(database, _Order(plan_id, "apply", actor, at, during_pause=during_pause))


def approve_plan(
    database: Database,
    plan_id: int,
    *,
    actor: str,
    reason: str | None = None,
    apply: bool = True,
    during_pause: bool = False,
    now: Clock | None = None,
) -> Outcome:
    """Release the district's held plan and, unless told otherwise, apply it (P5).

    If somebody in it has changed since, nothing is applied; a new held plan without them is stored,
    and the outcome names it.
    """
    at = (now or utc_now)()
    order = _Order(
        plan_id, "approve", actor, at, reason=reason, during_pause=during_pause, apply=apply
    )
    return _carry_out(database, order)


def reject_plan(
    database: Database, plan_id: int, *, actor: str, reason: str, now: Clock | None = None
) -> Outcome:
    """Reject a plan. Each of its changes stays rejected until its evidence changes (P4)."""
    at = (now or utc_now)()
    checked_actor(actor)
    checked_reason(reason)
    with database.write() as connection:
        plan = _locked_plan(database, connection, plan_id)
        if plan.status not in ("planned", "held", "approved"):
            raise UsageError(
                f"The plan P{plan_id} is {plan.status}; only a plan that waits can be rejected.",
                hint=f"rostersync plans {plan.slug} lists the plans.",
            )
        about = {"plan": plan_id, "district": plan.district_id}
        connection.execute(_REMEMBER_CHANGES, about)
        failpoint("reject.remembered")
        decision = {"plan": plan_id, "actor": actor, "now": at, "reason": reason}
        connection.execute(_REJECT, decision)
        run_id = open_run(connection, plan.district_id, "reject", actor, at)
        close_run_in(connection, run_id, "rejected", at)
    return Outcome(plan.slug, "rejected", run_id, [plan_id])


_PLAN_ITSELF = update(Plan.table).where(Plan.id == bindparam("plan"))
_DECIDE = _PLAN_ITSELF.values(
    decided_by=bindparam("actor"), decided_at=bindparam("now"), decision_reason=bindparam("reason")
)
_REJECT = _DECIDE.values(status="rejected", standing=False)
_APPROVE = _DECIDE.values(status="approved", approved=True)


@dataclass(frozen=True, slots=True)
class _Order:
    """What a person wants done with a plan, and when they said so."""

    plan_id: int
    act: Literal["apply", "approve"]
    actor: str
    at: datetime
    reason: str | None = None
    during_pause: bool = False
    apply: bool = True
    """False: approve only."""

    def __post_init__(self) -> None:
        """Refuse words that cannot be kept, before anything is done."""
        checked_actor(self.actor)
        checked_reason(self.reason)


def _carry_out(database: Database, order: _Order) -> Outcome:
    """Release and apply a plan as ordered, or answer why not; one transaction either way."""
    with database.write() as connection:
        plan = _locked_plan(database, connection, order.plan_id)
        outcome = Outcome(plan.slug, "applied", None, [plan.id], _certificates(plan))
        if _is_in_the_way(connection, plan, order, outcome):
            return outcome
        refuse_apply(connection, plan.run_id)
        outcome.run_id = open_run(connection, plan.district_id, order.act, order.actor, order.at)
        if order.act == "approve" and plan.status != "approved":
            _release(connection, order)
        if not order.apply:
            outcome.status = "planned"
            close_run_in(connection, outcome.run_id, "planned", order.at)
            return outcome
        _run_sealed(database, connection, plan, order, outcome)
        failpoint("approval.done")
    failpoint("approval.committed")
    return outcome


def _is_in_the_way(connection: Connection, plan: Any, order: _Order, outcome: Outcome) -> bool:
    """Say whether a plan cannot run now; the outcome then tells why and what to do."""
    if plan.status not in ("planned", "held", "approved"):
        _not_waiting(connection, plan, outcome)
    elif plan.status == "held" and order.act == "apply":
        _held(
            outcome,
            f"The plan P{plan.id} is held: it waits for a person's approval.",
            f"Review it with rostersync show P{plan.id}, then rostersync approve P{plan.id}"
            f" or rostersync reject P{plan.id} --reason ….",
        )
    elif plan.expires_at is not None and plan.expires_at < order.at:
        connection.execute(_EXPIRE, {"plan": plan.id})
        _drifted(outcome, f"The plan P{plan.id} has expired.", plan)
    elif _paused(plan, order.at) and not order.during_pause:
        outcome.status, outcome.at = "paused", order.at
    elif _paused(plan, order.at) and not _judged_as_in_a_pause(connection, plan, order):
        _held(
            outcome,
            f"The plan P{plan.id} takes people away, was made before the pause and was not judged"
            " as one in a pause is.",
            f"Review it with rostersync show P{plan.id} and release it with rostersync approve"
            f" P{plan.id} --during-pause, or make a new plan.",
        )
    else:
        return False
    return True


def _judged_as_in_a_pause(connection: Connection, plan: Any, order: _Order) -> bool:
    """Say whether a person, or the guard, has looked at whatever the plan takes away (S1)."""
    seen = order.act == "approve" or plan.approved or plan.guarded
    return seen or not _takes(connection, plan.id)


def _held(outcome: Outcome, message: str, hint: str) -> None:
    outcome.status = "held"
    outcome.error = Held(message, hint=hint)


def _release(connection: Connection, order: _Order) -> None:
    about = {"plan": order.plan_id, "actor": order.actor, "now": order.at}
    connection.execute(_APPROVE, about | {"reason": order.reason})
    connection.execute(_DECIDE_PAIRS, about)


def _run_sealed(
    database: Database, connection: Connection, plan: Any, order: _Order, outcome: Outcome
) -> None:
    """Apply the plan as it was sealed, or say who drifted."""
    assert outcome.run_id is not None  # noqa: S101 - the caller opened it
    _check_seal(connection, plan)
    approved = order.act == "approve" or plan.approved
    try:
        apply_in(
            database, connection, plan.id, run_id=outcome.run_id, now=order.at, approved=approved
        )
    except Drifted as drift:
        _after_drift(database, connection, plan, outcome, drift, order.at)
        return
    close_run_in(connection, outcome.run_id, "applied", order.at)


_EXPIRE = _PLAN_ITSELF.values(status="expired", standing=False)
_CREATED = select(Change.record_id).where(
    Change.plan_id == bindparam("plan"), Change.action == "create"
)
_DECIDE_PAIRS = (  # releasing a resembling pair is the decision that they are two people (L7)
    update(Conflict.table)
    .where(
        Conflict.status == "open",
        Conflict.reason == "resembles_leaver",
        Conflict.record_id.in_(_CREATED),
    )
    .values(
        status="resolved",
        decision="new",
        decided_by=bindparam("actor"),
        decided_at=bindparam("now"),
    )
)
_PLAN = (
    select(
        Plan.table, District.slug, District.settings.label("district_settings"),
        District.season_state,
    )
    .join_from(Plan.table, District.table, District.id == Plan.district_id)
    .where(Plan.id == bindparam("plan"), Plan.status != "draft")
)  # fmt: skip


def _plan(connection: Connection, plan_id: int) -> Any:
    plan = connection.execute(_PLAN, {"plan": plan_id}).one_or_none()
    if plan is None:
        raise UsageError(
            f"There is no plan P{plan_id}.", hint="rostersync plans DISTRICT lists the plans."
        )
    return plan


def _locked_plan(database: Database, connection: Connection, plan_id: int) -> Any:
    """Take the apply lock of the plan's district and return the plan as it is then."""
    database.apply_lock(connection, _plan(connection, plan_id).district_id)
    return _plan(connection, plan_id)


def _certificates(plan: Any) -> dict[str, dict[str, Any]]:
    return dict(plan.certificates)


def _takes(connection: Connection, plan_id: int) -> bool:
    return connection.execute(_TAKES, {"plan": plan_id}).first() is not None


_TAKES = (
    select(Taking.target_id).where(Taking.plan_id == bindparam("plan"), ~Taking.explained).limit(1)
)


def _paused(plan: Any, at: datetime) -> bool:
    """Return whether a pause keeps a plan that sources made from running (S1)."""
    if plan.kind not in SOURCE_KINDS:
        return False
    settings = DistrictSettings.model_validate(plan.district_settings)
    state = SeasonState.model_validate(plan.season_state or {})
    on = season.at(at, settings.timezone, settings.pause, state.hand, state.resumed)
    return on.season is Season.PAUSED


def _not_waiting(connection: Connection, plan: Any, outcome: Outcome) -> None:
    """Return the outcome for a plan that was already applied, rejected or superseded."""
    if plan.status == "applied":
        outcome.status = "nothing_to_do"
        return
    if plan.status == "rejected":
        raise UsageError(
            f"The plan P{plan.id} was rejected.",
            hint="Run rostersync plan again; what was rejected stays out until its data change.",
        )
    _drifted(outcome, f"The plan P{plan.id} is {plan.status}.", plan, connection)


def _drifted(
    outcome: Outcome, message: str, plan: Any, connection: Connection | None = None
) -> None:
    outcome.status = "drifted"
    hint = f"Run rostersync plan {plan.slug} and review the new plan."
    if connection is not None:
        standing = connection.execute(_STANDING, {"district": plan.district_id}).scalar()
        if standing is not None:
            outcome.plan_ids = [standing]
            more, fewer = _difference(connection, plan.id, standing)
            message += (
                f" P{standing} stands in its place: {more} changes came to it,"
                f" {fewer} are no longer in it."
            )
            hint = f"Review it with rostersync show P{standing}, then approve that one."
    outcome.error = Drift(message, hint=hint)


_STANDING = select(Plan.id).where(Plan.district_id == bindparam("district"), Plan.standing)


def _difference(connection: Connection, old: int, new: int) -> tuple[int, int]:
    def only_in(one: int, other: int) -> int:
        about = {"one": one, "other": other}
        return int(connection.execute(_COUNT_ONLY_IN_ONE, about).scalar_one())

    return only_in(new, old), only_in(old, new)


def _check_seal(connection: Connection, plan: Any) -> None:
    """Refuse a plan whose changes are not the ones that were sealed (rule 2)."""
    digest, size, erased, altered = fold(connection, plan.id)
    if erased or altered or digest != plan.digest or size != plan.size:
        raise RosterSyncError(
            f"The changes of the plan P{plan.id} are not the ones that were sealed.",
            hint="Somebody or something wrote to the database by another door: run"
            " rostersync db verify, and make a new plan.",
        )


def _ordered_again(plan: Any) -> str:
    """Say how to see who drifted, and how to ask for the same plan once more."""
    see = f"rostersync show P{plan.id} --drift names them and says what has changed."
    for move in (plan.effects or {}).get("domains", ()) if plan.kind == "domain" else ():
        return (
            f"{see} Ask for the plan again: rostersync rename-domain {plan.slug}"
            f" --from {move['from']} --to {move['to']}"
        )
    return f"{see} Ask for the plan again with the command that made it."


def _after_drift(
    database: Database,
    connection: Connection,
    plan: Any,
    outcome: Outcome,
    drift: Drifted,
    at: datetime,
) -> None:
    """Apply nothing; in place of a held plan, store a new one without the drifted people (P5)."""
    outcome.status = "drifted"
    error = drift.as_error(f"P{plan.id}")
    if plan.kind not in SOURCE_KINDS:
        error = Drift(error.message, hint=_ordered_again(plan))
    outcome.error = error
    connection.execute(_DRIFTED, {"plan": plan.id})
    if plan.standing:
        held = reseal_without(database, connection, plan.id, drift.targets, at)
        if held is not None:
            outcome.plan_ids = [held]
            outcome.error = Drift(
                error.message,
                hint=f"Without them the plan is P{held}: rostersync show P{held}, then approve it.",
            )
    assert outcome.run_id is not None  # noqa: S101 - the caller opened it
    close_run_in(connection, outcome.run_id, "drifted", at, outcome.error)


_DRIFTED = _PLAN_ITSELF.values(status="drifted", standing=False)


# --- Set-wise statements ---
# They work on all changes of a plan at once, of which there may be a million. Changes are found by
# their plan, and those of another plan by their target.

_REMEMBER_CHANGES = text(
    "INSERT INTO rejections (district_id, content_print, target_id, plan_id)"
    " SELECT CAST(:district AS BIGINT), content_print, MIN(target_id), CAST(:plan AS BIGINT)"
    " FROM changes c WHERE plan_id = :plan AND content_print IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM rejections r WHERE r.district_id = :district"
    "  AND r.content_print = c.content_print) GROUP BY content_print"
)
_COUNT_ONLY_IN_ONE = text(
    "SELECT COUNT(*) FROM changes a WHERE a.plan_id = :one AND NOT EXISTS"
    " (SELECT 1 FROM changes b WHERE b.plan_id = :other"
    " AND b.target_id = a.target_id AND b.action = a.action)"
)
