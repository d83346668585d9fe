"""The standing held plan: a district has at most one, and this decides which (P3, P5).

A new held plan replaces it, or keeps it if nothing differs; after drift one without the people who
drifted takes its place. Nothing is applied here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, text

from core.storage.database import Database
from core.storage.stored import from_json, utc_text
from sync.ledger.seal import OPEN_HELD, renumber, seal_held


def supersede_standing(
    database: Database,
    connection: Connection,
    district_id: int,
    held_id: int | None,
    now: datetime,
    expires: datetime,
) -> int | None:
    """Make ``held_id`` the district's standing held plan, or keep the old one if it is the same.

    Returns the id of the plan that now stands, or None.
    """
    standing = connection.execute(
        text("SELECT id, expires_at FROM plans WHERE district_id = :d AND standing"),
        {"d": district_id},
    ).one_or_none()
    if standing is not None and standing.expires_at < utc_text(now):
        connection.execute(_EXPIRE, {"id": standing.id})
        standing = None
    if standing is not None and held_id is not None and _same(connection, standing.id, held_id):
        connection.execute(_RENEW, {"id": standing.id, "expires": utc_text(expires)})
        for table in ("changes", "takings", "plan_groups"):
            connection.execute(text(f"DELETE FROM {table} WHERE plan_id = :id"), {"id": held_id})
        connection.execute(text("DELETE FROM plans WHERE id = :id"), {"id": held_id})
        return int(standing.id)
    if standing is not None:
        connection.execute(_SUPERSEDE, {"id": standing.id, "by": held_id})
    if held_id is not None:
        connection.execute(text("UPDATE plans SET standing = TRUE WHERE id = :id"), {"id": held_id})
    return held_id


def _same(connection: Connection, one: int, other: int) -> bool:
    """Return whether two plans have the same changes, based on the same evidence."""
    return not connection.execute(_DIFFERENCE, {"one": one, "other": other}).first()


_DIFFERENCE = text(
    "SELECT 1 FROM (SELECT content_print, COUNT(*) AS n FROM changes WHERE plan_id = :one"
    " GROUP BY content_print) AS a FULL OUTER JOIN (SELECT content_print, COUNT(*) AS n"
    " FROM changes WHERE plan_id = :other GROUP BY content_print) AS b"
    " ON a.content_print = b.content_print WHERE a.n IS NULL OR b.n IS NULL OR a.n <> b.n LIMIT 1"
)
_EXPIRE = text("UPDATE plans SET status = 'expired', standing = FALSE WHERE id = :id")
_RENEW = text("UPDATE plans SET expires_at = :expires WHERE id = :id")
_SUPERSEDE = text(
    "UPDATE plans SET status = 'superseded', standing = FALSE, superseded_by = :by WHERE id = :id"
)


def reseal_without(
    database: Database,
    connection: Connection,
    plan_id: int,
    targets: Sequence[str],
    now: datetime,
) -> int | None:
    """Store a held plan like ``plan_id`` but without some people, and let it stand (P5).

    Returns its id, or None if nobody is left.
    """
    held_id = int(connection.execute(OPEN_HELD, {"plan": plan_id}).scalar_one())
    about = {"plan": plan_id, "held": held_id}
    for query in (_COPY_CHANGES, _COPY_TAKINGS):
        for chunk in range(0, max(len(targets), 1), 500):
            some = list(targets[chunk : chunk + 500]) or [""]
            if chunk == 0:
                connection.execute(query, about)
            table = "changes" if query is _COPY_CHANGES else "takings"
            connection.execute(_DROP_OF[table], {"held": held_id, "targets": some})
    renumber(connection, held_id)
    trips, expires = connection.execute(
        text("SELECT held, expires_at FROM plans WHERE id = :plan"), about
    ).one()
    until = datetime.fromisoformat(expires) if expires else now
    if seal_held(database, connection, held_id, from_json(trips), until) is None:
        connection.execute(text("DELETE FROM plans WHERE id = :id"), {"id": held_id})
        return None
    connection.execute(text("UPDATE plans SET standing = TRUE WHERE id = :id"), {"id": held_id})
    return held_id


_COPY_CHANGES = text(
    "INSERT INTO changes (plan_id, seq, kind, action, target_id, revision, record_id,"
    " record_version, role, school_id, before, after, basis, reason, salt, digest, content_print)"
    " SELECT CAST(:held AS BIGINT), seq, kind, action, target_id, revision, record_id,"
    " record_version, role, school_id, before, after, basis, reason, salt, digest, content_print"
    " FROM changes WHERE plan_id = :plan"
)
_COPY_TAKINGS = text(
    "INSERT INTO takings (plan_id, target_id, source_id, school_id, role, what, explained,"
    " guarded) SELECT CAST(:held AS BIGINT), target_id, source_id, school_id, role, what,"
    " explained, guarded"
    " FROM takings WHERE plan_id = :plan"
)
_DROP_OF = {
    table: text(f"DELETE FROM {table} WHERE plan_id = :held AND target_id IN :targets").bindparams(
        bindparam("targets", expanding=True)
    )
    for table in ("changes", "takings")
}
