"""Approval: a sealed plan is applied, released, or refused by a person (P3-P6).

None of these takes the run lock: they hold the apply lock for the length of their transaction.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from core.database import Database
from core.errors import Drift, Held, RosterSyncError, UsageError
from core.failpoints import failpoint
from core.settings import DistrictSettings
from core.stored import from_json, utc_text
from sync.ledger.apply import Drifted, apply_in
from sync.ledger.chain import fold
from sync.ledger.effects import SOURCE_KINDS
from sync.ledger.seal import reseal_without
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
    return _decide(database, plan_id, "apply", actor, None, during_pause, now, apply=True)


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

    If somebody in it changed since, nothing is applied; a new held plan without them is stored, and
    the outcome names it.
    """
    return _decide(database, plan_id, "approve", actor, reason, during_pause, now, apply=apply)


def reject_plan(
    database: Database, plan_id: int, *, actor: str, reason: str, now: Clock | None = None
) -> Outcome:
    """Refuse a plan. Each of its changes stays refused until its evidence changes (P4)."""
    at = (now or utc_now)()
    with database.write() as connection:
        plan = _plan(connection, plan_id)
        database.apply_lock(connection, plan.district_id)
        plan = _plan(connection, plan_id)
        if plan.status not in ("planned", "held", "approved"):
            raise UsageError(
                f"The plan P{plan_id} is {plan.status}; only a plan that waits can be rejected.",
                hint=f"rostersync plans {plan.slug} lists the plans.",
            )
        about = {
            "plan": plan_id, "district": plan.district_id, "now": utc_text(at), "actor": actor,
            "reason": reason,
        }  # fmt: skip
        connection.execute(_REMEMBER, about)
        connection.execute(_REJECT, about)
        run_id = open_run(connection, plan.district_id, "reject", actor, at)
        close_run_in(connection, run_id, "rejected", at)
    return Outcome(plan.slug, "rejected", run_id, [plan_id])


_REMEMBER = text(
    "INSERT INTO rejections (district_id, content_print, target_id, plan_id)"
    " SELECT CAST(:district AS BIGINT), content_print, MIN(target_id), CAST(:plan AS BIGINT)"
    " FROM changes c WHERE plan_id = :plan AND content_print IS NOT NULL AND NOT EXISTS"
    " (SELECT 1 FROM rejections r WHERE r.district_id = :district"
    "  AND r.content_print = c.content_print) GROUP BY content_print"
)
_REJECT = text(
    "UPDATE plans SET status = 'rejected', standing = FALSE, decided_by = :actor,"
    " decided_at = :now, decision_reason = :reason WHERE id = :plan"
)
_APPROVE = text(
    "UPDATE plans SET status = 'approved', approved = TRUE, decided_by = :actor,"
    " decided_at = :now, decision_reason = :reason WHERE id = :plan"
)


def _decide(
    database: Database,
    plan_id: int,
    act: str,
    actor: str,
    reason: str | None,
    during_pause: bool,
    now: Clock | None,
    *,
    apply: bool,
) -> Outcome:
    at = (now or utc_now)()
    with database.write() as connection:
        plan = _plan(connection, plan_id)
        database.apply_lock(connection, plan.district_id)
        plan = _plan(connection, plan_id)
        outcome = Outcome(plan.slug, "applied", None, [plan_id], _certificates(plan))
        if act == "approve" and plan.status in ("held", "planned"):
            approving = True
        elif act == "apply" and plan.status == "held":
            outcome.status = "held"
            outcome.error = Held(
                f"The plan P{plan_id} is held: it waits for a person's approval.",
                hint=f"Review it with rostersync show P{plan_id}, then rostersync approve"
                f" P{plan_id} or rostersync reject P{plan_id} --reason ….",
            )
            return outcome
        elif plan.status in ("planned", "approved"):
            approving = False
        else:
            return _not_waiting(connection, plan, outcome)
        if plan.expires_at is not None and plan.expires_at < utc_text(at):
            connection.execute(_EXPIRE, {"plan": plan_id})
            return _drifted(outcome, f"The plan P{plan_id} has expired.", plan)
        if _paused(plan, at):
            if not during_pause:
                outcome.status = "paused"
                return outcome
            if not (approving or plan.approved or plan.guarded) and _takes(connection, plan_id):
                outcome.status = "held"
                outcome.error = Held(
                    f"The plan P{plan_id} takes people away, was made before the pause and was"
                    " not judged as one in a pause is.",
                    hint=f"Review it with rostersync show P{plan_id} and release it with"
                    f" rostersync approve P{plan_id} --during-pause, or make a new plan.",
                )
                return outcome
        run_id = outcome.run_id = open_run(connection, plan.district_id, act, actor, at)
        about = {"plan": plan_id, "actor": actor, "now": utc_text(at), "reason": reason}
        if approving:
            connection.execute(_APPROVE, about)
            connection.execute(_DECIDE_PAIRS, about)
        if not apply:
            outcome.status = "planned"
            close_run_in(connection, run_id, "planned", at)
            return outcome
        _check_seal(connection, plan)
        approved = approving or bool(plan.approved)
        try:
            apply_in(database, connection, plan_id, run_id=run_id, now=at, approved=approved)
        except Drifted as drift:
            return _after_drift(database, connection, plan, outcome, drift, run_id, at)
        close_run_in(connection, run_id, "applied", at)
        failpoint("approval.done")
    failpoint("approval.committed")
    return outcome


_EXPIRE = text("UPDATE plans SET status = 'expired', standing = FALSE WHERE id = :plan")
_DECIDE_PAIRS = text(  # releasing a resembling pair is the decision that they are two people (L7)
    "UPDATE conflicts SET status = 'resolved', decision = 'new', decided_by = :actor,"
    " decided_at = :now WHERE status = 'open' AND reason = 'resembles_leaver' AND record_id IN"
    " (SELECT record_id FROM changes WHERE plan_id = :plan AND action = 'create')"
)
_PLAN = text(
    "SELECT p.*, d.slug, d.settings AS district_settings, d.season_state FROM plans p"
    " JOIN districts d ON d.id = p.district_id WHERE p.id = :plan AND p.status <> 'draft'"
)


def _plan(connection: Connection, plan_id: int) -> Any:
    plan = connection.execute(_PLAN, {"plan": plan_id}).one_or_none()
    if plan is None:
        raise UsageError(
            f"There is no plan P{plan_id}.", hint="rostersync plans DISTRICT lists the plans."
        )
    return plan


def _certificates(plan: Any) -> dict[str, dict[str, Any]]:
    return dict(from_json(plan.certificates))


def _takes(connection: Connection, plan_id: int) -> bool:
    query = text("SELECT 1 FROM takings WHERE plan_id = :plan AND NOT explained LIMIT 1")
    return connection.execute(query, {"plan": plan_id}).first() is not None


def _paused(plan: Any, at: datetime) -> bool:
    """Say whether a pause keeps a plan that sources made from running (S1)."""
    if plan.kind not in SOURCE_KINDS:
        return False
    settings = DistrictSettings.model_validate(from_json(plan.district_settings))
    state = SeasonState.model_validate(from_json(plan.season_state) or {})
    on = season.at(at, settings.timezone, settings.pause, state.hand, state.resumed)
    return on.season is Season.PAUSED


def _not_waiting(connection: Connection, plan: Any, outcome: Outcome) -> Outcome:
    """Answer for a plan that has run, was refused, or was overtaken."""
    if plan.status == "applied":
        outcome.status = "nothing_to_do"
        return outcome
    if plan.status == "rejected":
        raise UsageError(
            f"The plan P{plan.id} was rejected.",
            hint="Run rostersync plan again; what was rejected stays out until its data change.",
        )
    return _drifted(outcome, f"The plan P{plan.id} is {plan.status}.", plan, connection)


def _drifted(
    outcome: Outcome, message: str, plan: Any, connection: Connection | None = None
) -> Outcome:
    outcome.status = "drifted"
    hint = f"Run rostersync plan {plan.slug} and review the new plan."
    if connection is not None:
        standing = connection.execute(
            text("SELECT id FROM plans WHERE district_id = :d AND standing"),
            {"d": plan.district_id},
        ).scalar()
        if standing is not None:
            outcome.plan_ids = [int(standing)]
            more, fewer = _difference(connection, plan.id, int(standing))
            message += (
                f" P{standing} stands in its place: {more} changes came to it,"
                f" {fewer} are no longer in it."
            )
            hint = f"Review it with rostersync show P{standing}, then approve that one."
    outcome.error = Drift(message, hint=hint)
    return outcome


def _difference(connection: Connection, old: int, new: int) -> tuple[int, int]:
    def only_in(one: int, other: int) -> int:
        return int(
            connection.execute(
                text(
                    "SELECT COUNT(*) FROM changes a WHERE a.plan_id = :one AND NOT EXISTS"
                    " (SELECT 1 FROM changes b WHERE b.plan_id = :other"
                    " AND b.target_id = a.target_id AND b.action = a.action)"
                ),
                {"one": one, "other": other},
            ).scalar_one()
        )

    return only_in(new, old), only_in(old, new)


def _check_seal(connection: Connection, plan: Any) -> None:
    """Refuse a plan whose changes are not the ones that were sealed (rule 2)."""
    digest, size, erased, altered = fold(connection, plan.id)
    if erased or altered or digest != bytes(plan.digest) or size != plan.size:
        raise RosterSyncError(
            f"The changes of the plan P{plan.id} are not the ones that were sealed.",
            hint="Somebody or something wrote to the database by another door: run"
            " rostersync db verify, and make a new plan.",
        )


def _after_drift(
    database: Database,
    connection: Connection,
    plan: Any,
    outcome: Outcome,
    drift: Drifted,
    run_id: int,
    at: datetime,
) -> Outcome:
    """Apply nothing; of a held plan store a new one without the drifted people (P5)."""
    outcome.status = "drifted"
    error = drift.as_error(f"P{plan.id}")
    outcome.error = error
    was_standing = bool(plan.standing)
    connection.execute(
        text("UPDATE plans SET status = 'drifted', standing = FALSE WHERE id = :plan"),
        {"plan": plan.id},
    )
    if was_standing:
        held = reseal_without(database, connection, plan.id, drift.targets, at)
        if held is not None:
            outcome.plan_ids = [held]
            outcome.error = Drift(
                error.message,
                hint=f"Without them the plan is P{held}: rostersync show P{held}, then approve it.",
            )
    close_run_in(connection, run_id, "drifted", at, outcome.error)
    return outcome
