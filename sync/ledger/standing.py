"""The standing held plan: a district has at most one, and this decides which (P3, P5).

A new held plan replaces it, or keeps it if nothing differs; after drift one without the people who
drifted takes its place. Nothing is applied here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, select, text, update

from core.storage.database import Database
from core.storage.schema import Change, Plan, PlanGroup, Taking
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
    standing = connection.execute(_STANDING, {"district": district_id}).one_or_none()
    if standing is not None and standing.expires_at < now:
        connection.execute(_OF_PLAN, {"plan": standing.id, "status": "expired", "standing": False})
        standing = None
    if standing is not None and held_id is not None and _same(connection, standing.id, held_id):
        connection.execute(_OF_PLAN, {"plan": standing.id, "expires_at": expires})
        for query in (*_DELETE_STEPS, _DELETE_PLAN):
            connection.execute(query, {"plan": held_id})
        return int(standing.id)
    if standing is not None:
        superseded = {"status": "superseded", "standing": False, "superseded_by": held_id}
        connection.execute(_OF_PLAN, {"plan": standing.id, **superseded})
    if held_id is not None:
        connection.execute(_OF_PLAN, {"plan": held_id, "standing": True})
    return held_id


_STANDING = select(Plan.id, Plan.expires_at).where(
    Plan.district_id == bindparam("district"), Plan.standing
)
_OF_PLAN = update(Plan.table).where(Plan.id == bindparam("plan"))
_DELETE_STEPS = tuple(
    delete(of.table).where(of.plan_id == bindparam("plan")) for of in (Change, Taking, PlanGroup)
)
_DELETE_PLAN = delete(Plan.table).where(Plan.id == bindparam("plan"))


def _same(connection: Connection, one: int, other: int) -> bool:
    """Return whether two plans have the same changes, based on the same evidence."""
    return not connection.execute(_DIFFERENCE, {"one": one, "other": other}).first()


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
    for copy, drop in ((_COPY_CHANGES, _DROP_CHANGES), (_COPY_TAKINGS, _DROP_TAKINGS)):
        connection.execute(copy, about)
        for start in range(0, len(targets), _AT_ONCE):
            some = targets[start : start + _AT_ONCE]
            connection.execute(drop, {"held": held_id, "targets": some})
    renumber(connection, held_id)
    trips, expires = connection.execute(_TRIPS, {"plan": plan_id}).one()
    if seal_held(database, connection, held_id, trips, expires or now) is None:
        connection.execute(_DELETE_PLAN, {"plan": held_id})
        return None
    connection.execute(_OF_PLAN, {"plan": held_id, "standing": True})
    return held_id


_AT_ONCE = 500
_TRIPS = select(Plan.held, Plan.expires_at).where(Plan.id == bindparam("plan"))
_DROP_CHANGES, _DROP_TAKINGS = (
    delete(of.table).where(
        of.plan_id == bindparam("held"), of.target_id.in_(bindparam("targets", expanding=True))
    )
    for of in (Change, Taking)
)


# --- Set-wise statements ---
# Two plans are the same if they have the same steps, whatever their order: a full join of what each
# step says, counted, finds the first that only one of them has. A plan without some people is made
# by the database from the one that stood.

_DIFFERENCE = text(
    "SELECT 1 FROM (SELECT content_print, COUNT(*) AS n FROM changes WHERE plan_id = :one"
    " GROUP BY content_print) AS a FULL OUTER JOIN (SELECT content_print, COUNT(*) AS n"
    " FROM changes WHERE plan_id = :other GROUP BY content_print) AS b"
    " ON a.content_print = b.content_print WHERE a.n IS NULL OR b.n IS NULL OR a.n <> b.n LIMIT 1"
)
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
