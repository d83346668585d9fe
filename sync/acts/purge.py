"""Purge: a plan that erases people who have been archived longer than the district keeps them.

What the ledger says about them is erased with them; its digests stay, so the chain still verifies
and counts what was erased. A purge cannot be undone.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from core.errors import UsageError
from core.models import Kind
from core.storage.database import Database
from core.storage.stored import utc_text
from sync.acts.ordered_plan import named_in_conflicts, order_plan
from sync.ledger.draft import Step
from sync.ledger.erasure import sealed_erasure
from sync.run.clock import Clock
from sync.run.outcome import Outcome


def purge(
    database: Database,
    slug: str,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Store a ``planned`` plan to erase people beyond ``retention_days``; nobody is erased yet.

    It leaves out people that a source still shares (archived by hand, to be kept so), who are in
    the held plan, or whom an open conflict names. Raises ``UsageError`` if the district keeps
    everybody.
    """
    with order_plan(database, slug, "purge", actor=actor, reason=reason, now=now) as asked:
        days = asked.settings.retention_days
        if not days:
            raise UsageError(
                f"{slug} keeps archived people: retention_days is 0.",
                hint="Set retention_days in the district file and load it.",
            )
        about = {
            "district": asked.district_id,
            "before": utc_text(asked.now - timedelta(days=days)),
        }
        named = named_in_conflicts(asked.connection, asked.district_id)
        for row in asked.connection.execute(_ARCHIVED_FOR_LONG, about).all():
            if row.id not in named:
                asked.draft.add(
                    [Step(Kind.USER, "purge", row.id, row.revision, "retention", role=row.role)]
                )
            if asked.draft.full:
                asked.draft.flush(asked.connection)
        asked.draft.flush(asked.connection)
        asked.effects["purge"] = sealed_erasure(asked.connection, asked.draft.plan_id)
    return asked.outcome


# --- Set-wise statements ---
# Who may be erased follows from the whole directory: no source shares them, and the held plan does
# not change them. Records are found by their user, the plan by the index of standing plans.

_ARCHIVED_FOR_LONG = text(
    "SELECT u.id, u.revision, (SELECT MIN(m.role) FROM memberships m WHERE m.user_id = u.id)"
    " AS role FROM users u WHERE u.district_id = :district AND u.status = 'archived'"
    " AND u.archived_at < :before AND NOT EXISTS (SELECT 1 FROM links l JOIN records r"
    " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id WHERE l.target_id = u.id"
    " AND r.present AND NOT s.retired) AND NOT EXISTS (SELECT 1 FROM plans p JOIN changes c"
    " ON c.plan_id = p.id WHERE p.district_id = :district AND p.standing AND c.target_id = u.id)"
    " ORDER BY u.id"
)
