"""What a draft removes or holds because of what people have decided or must decide.

People in an open conflict do not leave (rule 6), rejected changes do not return (P4), and what was
undone is not redone automatically (P8). Used by ``sync/planning/plan.py`` before it seals.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select, text

from core.storage.schema import Change, Conflict, Rejection, Undone
from core.storage.stored import utc_text
from sync.planning.workspace import Workspace

_TARGETS = 1_000


def list_named_in_conflicts(work: Workspace, connection: Connection) -> set[str]:
    """Fill the table, and return its people."""
    named = named_in_conflicts(connection, work.district_id)
    rows = [(user,) for user in sorted(named)]
    work.tables.conflict_people.add(work.database, rows)
    return named


def named_in_conflicts(connection: Connection, district_id: int) -> set[str]:
    """Return the users whom an open conflict names: they do not leave (rule 6)."""
    found = connection.execute(_NAMED_IN_CONFLICTS, {"district": district_id}).scalars()
    return {str(user["id"]) for candidates in found for user in candidates}


def keep_named_in_conflicts(work: Workspace, connection: Connection) -> int:
    """Remove archives of people in open conflicts; return how many conflicts are open.

    Conflicts that have resolved themselves are closed first.
    """
    about = {"district": work.district_id}
    connection.execute(_CLOSE_SETTLED_CONFLICTS, {**about, "now": utc_text(work.now)})
    if work.draft.counts["archive"]:
        archives = connection.execute(_ARCHIVES_IN_CONFLICT, {"plan": work.draft.plan_id})
        for target in archives.scalars().all():
            work.draft.forget(connection, target, ["archive"])
    return int(connection.execute(_COUNT_CONFLICTS, about).scalar_one())


def drop_rejected(work: Workspace, connection: Connection) -> None:
    """Leave out people whose changes were rejected, as long as their evidence is the same (P4)."""
    about = {"plan": work.draft.plan_id, "district": work.district_id}
    if not connection.execute(_ANY_REJECTED, {"district": work.district_id}).first():
        return
    rejected = sorted(connection.execute(_REJECTED_PEOPLE, about).scalars())
    actions: dict[str, list[str]] = {}
    for first in range(0, len(rejected), _TARGETS):
        targets = rejected[first : first + _TARGETS]
        wanted = {"plan": work.draft.plan_id, "targets": targets}
        for target, action in connection.execute(_ACTIONS, wanted):
            actions.setdefault(target, []).append(action)
    for target, done in actions.items():
        work.draft.forget(connection, target, sorted(set(done)))


def mark_undone(work: Workspace, connection: Connection) -> None:
    """Mark people who would be changed again on evidence whose effect was undone (P8)."""
    about = {"plan": work.draft.plan_id, "district": work.district_id}
    if connection.execute(_ANY_UNDONE, {"district": work.district_id}).first():
        work.draft.flush(connection)
        connection.execute(_MARK_UNDONE, about)


def forget_moved(work: Workspace, connection: Connection) -> None:
    """Remove the leaving of people whose record only moved (``pairs``)."""
    for action, people in connection.execute(_DONE_BY_MOVED, {"plan": work.draft.plan_id}):
        work.draft.counts[action] -= people
        work.draft.in_order = False
        if action == "unlink":  # among those who left, only protected people have one
            work.counts["protected"] -= people
    for query in (
        _FORGET_MOVED_CHANGES,
        _FORGET_MOVED_TAKINGS,
        _FORGET_MOVED_MARKS,
        _FORGET_MOVED_SUSPECTED,
    ):
        connection.execute(query, {"plan": work.draft.plan_id})


_NAMED_IN_CONFLICTS = select(Conflict.candidates).where(
    Conflict.district_id == bindparam("district"),
    Conflict.status == "open",
    Conflict.kind == "user",
    Conflict.reason != "resembles_leaver",
)
_COUNT_CONFLICTS = (
    select(func.count())
    .select_from(Conflict.table)
    .where(Conflict.district_id == bindparam("district"), Conflict.status == "open")
)
_ANY_REJECTED = (
    select(Rejection.target_id).where(Rejection.district_id == bindparam("district")).limit(1)
)
_ACTIONS = select(Change.target_id, Change.action).where(
    Change.plan_id == bindparam("plan"),
    Change.target_id.in_(bindparam("targets", expanding=True)),
)
_ANY_UNDONE = select(Undone.record_id).where(Undone.district_id == bindparam("district")).limit(1)


# --- Set-wise statements ---
# They compare a whole draft with what was decided, or with ``pairs``, and read its changes once, by
# the primary key; otherwise PostgreSQL would join a large plan with itself row by row. Links and
# changes of one person are found by the indexes of targets.
_CLOSE_SETTLED_CONFLICTS = text(  # linked meanwhile, or no longer shared
    "UPDATE conflicts SET status = 'gone', decided_at = :now WHERE district_id = :district"
    " AND status = 'open' AND ((reason <> 'reused_id' AND EXISTS (SELECT 1 FROM links l"
    " WHERE l.record_id = conflicts.record_id)) OR NOT EXISTS (SELECT 1 FROM records r"
    " WHERE r.id = conflicts.record_id AND r.present AND r.in_scope))"
)
_ARCHIVES_IN_CONFLICT = text(
    "SELECT DISTINCT target_id FROM changes WHERE plan_id = :plan AND action = 'archive'"
    " AND target_id IN (SELECT target_id FROM conflict_people)"
)
_REJECTED_PEOPLE = text(
    "SELECT DISTINCT c.target_id FROM changes c JOIN rejections r ON r.district_id = :district"
    " AND r.content_print = c.content_print WHERE c.plan_id = :plan"
)
_MARK_UNDONE = text(
    "INSERT INTO marks SELECT c.target_id, r.source_id, 'undone' FROM undone u"
    " JOIN records r ON r.id = u.record_id AND r.version = u.version"
    " JOIN links l ON l.record_id = r.id JOIN changes c ON c.target_id = l.target_id"
    " WHERE u.district_id = :district AND c.plan_id = :plan AND c.kind = 'user'"
    " UNION SELECT c.target_id, r.source_id, 'undone' FROM changes c"
    " JOIN undone u ON u.record_id = c.record_id"
    " JOIN records r ON r.id = u.record_id AND r.version = u.version"
    " WHERE u.district_id = :district AND c.plan_id = :plan AND c.kind = 'user'"
)
_OF_MOVED = "(SELECT target_id FROM pairs WHERE moved = 1)"
_DONE_BY_MOVED = text(
    "SELECT action, COUNT(DISTINCT target_id) FROM changes WHERE plan_id = :plan AND target_id IN"
    f" {_OF_MOVED} GROUP BY action"
)
_FORGET_MOVED_CHANGES = text(
    f"DELETE FROM changes WHERE plan_id = :plan AND target_id IN {_OF_MOVED}"
)
_FORGET_MOVED_TAKINGS = text(
    f"DELETE FROM takings WHERE plan_id = :plan AND target_id IN {_OF_MOVED}"
)
_FORGET_MOVED_MARKS = text(f"DELETE FROM marks WHERE target_id IN {_OF_MOVED}")
_FORGET_MOVED_SUSPECTED = text(f"DELETE FROM suspected WHERE target_id IN {_OF_MOVED}")
