"""Sealing: a draft becomes the plan to apply and at most one held plan, each with its digest.

What was reviewed is what runs (rule 2): a sealed plan's changes are never written again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, text, update

from core.steps import log_of, note, step
from core.storage.database import MANY_ROWS, Database
from core.storage.schema import Change, Plan, Taking, User
from sync.ledger.domain_moves import moves_of
from sync.ledger.draft import DIGEST_SIZE, Draft, canonical
from sync.ledger.outline import LARGE, outline_of
from sync.rules.limits import SCHOOL_ROLE, Trip
from sync.run.display import PLAN, shown_id
from sync.run.scratch_tables import Holds, Marks

log = log_of(__name__)

ACTIONS = (
    "create", "update", "archive", "restore", "suspend", "unsuspend", "link", "unlink", "adopt",
    "merge", "purge", "leaves_scope",
)  # fmt: skip
_COMING = ("create", "restore")
_EXTRA = ("conflict", "protected", "locked", "unchanged", "skipped")
_SCHOOL_ACTIONS = ("create", "update", "archive", "restore", "link", "unlink")


def discard_drafts(connection: Connection, district_id: int) -> None:
    """Remove what a run left behind that was killed while planning."""
    about = {"district": district_id}
    for query in _DISCARD_DRAFTS:
        connection.execute(query, about)


_OF_DISTRICT = (Plan.district_id == bindparam("district"), Plan.status == "draft")
_DRAFTS = select(Plan.id).where(*_OF_DISTRICT)
_DISCARD_DRAFTS = (
    delete(Change.table).where(Change.plan_id.in_(_DRAFTS)),
    delete(Taking.table).where(Taking.plan_id.in_(_DRAFTS)),
    delete(Plan.table).where(*_OF_DISTRICT),
)


def digest_of(connection: Connection, plan_id: int) -> tuple[bytes, int]:
    """Return the digest over a plan's changes in their order, and how many there are."""
    digest, size = blake2b(digest_size=DIGEST_SIZE), 0
    rows = connection.execution_options(yield_per=10_000).execute(_DIGESTS, {"plan": plan_id})
    for (part,) in rows:
        digest.update(part)
        size += 1
    connection.execution_options(yield_per=None)
    return digest.digest(), size


_DIGESTS = select(Change.digest).where(Change.plan_id == bindparam("plan")).order_by(Change.seq)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of schools and sources, as a held plan shows them."""

    schools: Mapping[str, str]
    sources: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of judging a draft."""

    district_id: int
    holds: Holds
    """The people whose changes wait for approval."""
    marks: Marks
    trips: Sequence[Trip]
    """The limits that were exceeded: why there is a held plan."""
    extra: Mapping[str, int]
    """Counts that are not actions: ``conflict``, ``protected``, ``locked``, ``skipped``."""
    names: Names


@dataclass(slots=True)
class _Seal:
    """What is stored with a plan when it is closed."""

    digest: bytes
    size: int
    counts: Mapping[str, int]
    schools: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(_SCHOOL_ACTIONS, 0))
    status: str = "planned"
    held: Sequence[Mapping[str, Any]] = ()
    additions: Mapping[int, int] = field(default_factory=dict)
    """Source id → people created or restored (L6)."""
    expires: datetime | None = None

    def close(self, connection: Connection, plan_id: int) -> None:
        """Store it: from now on nothing changes the plan's list of changes."""
        connection.execute(
            _OF_PLAN,
            {
                "plan": plan_id,
                "status": self.status,
                "digest": self.digest,
                "size": self.size,
                "counts": dict(self.counts),
                "schools": dict(self.schools),
                "held": [dict(trip) for trip in self.held],
                "additions": {str(key): n for key, n in self.additions.items() if n},
                "expires_at": self.expires,
            },
        )


def seal(
    connection: Connection, draft: Draft, judged: Judged, expires: datetime
) -> tuple[int | None, int | None]:
    """Split the draft by ``holds`` and seal both parts; return the plan's and the held one's id.

    A part without changes is not stored; its id is None.
    """
    with step(log, "seal plan", plan=shown_id(PLAN, draft.plan_id)) as done:
        plan_id, held_id = _seal_both(connection, draft, judged, expires)
        done.tell(changes=draft.size, held=held_id is not None)
    return plan_id, held_id


def _seal_both(
    connection: Connection, draft: Draft, judged: Judged, expires: datetime
) -> tuple[int | None, int | None]:
    draft.flush(connection)
    if draft.size >= MANY_ROWS:  # the statistics do not know this plan's id yet
        draft.database.analyze(connection, _ANALYZED, "takings")
    rest = _Seal(
        b"",
        0,
        {name: draft.counts[name] for name in ACTIONS},
        {name: draft.school_counts[name] for name in _SCHOOL_ACTIONS},
        additions=dict(draft.additions),
        expires=expires,
    )
    held_id = _split_off_held(judged.holds, draft.plan_id)
    if held_id is not None:
        trips = [_trip(trip, judged.names) for trip in judged.trips]
        held = seal_held(draft.database, connection, held_id, trips, expires) or {}
        rest.counts = {name: people - held.get(name, 0) for name, people in rest.counts.items()}
        rest.additions = _without_held(judged, rest.additions)
    return _seal_rest(connection, draft, held_id, judged, rest), held_id


def _split_off_held(holds: Holds, plan_id: int) -> int | None:
    """Move the changes of everybody in ``holds`` to a plan of their own; return its id."""
    connection = holds.connection
    if not connection.execute(_ANY_HELD, {"plan": plan_id}).first():
        return None
    held_id = int(connection.execute(OPEN_HELD, {"plan": plan_id}).scalar_one())
    for query in (_MOVE_CHANGES, _MOVE_TAKINGS, _GUARD_HELD):
        connection.execute(query, {"plan": plan_id, "held": held_id})
    for each in (plan_id, held_id):
        renumber(connection, each)
    return held_id


def seal_held(
    database: Database,
    connection: Connection,
    held_id: int,
    trips: Sequence[Mapping[str, Any]],
    expires: datetime,
) -> dict[str, int] | None:
    """Seal a held plan; return how many people each action has in it. Without changes: None."""
    digest, size = digest_of(connection, held_id)
    if size == 0:
        return None
    counts = dict.fromkeys((*ACTIONS, *_EXTRA), 0)
    for action, people in connection.execute(_COUNT, {"plan": held_id}):
        counts[action] = people
    digest = _with_moves(connection, held_id, digest)
    _write_outline(database, connection, held_id, size)
    _Seal(digest, size, counts, status="held", held=trips, expires=expires).close(
        connection, held_id
    )
    return counts


def _seal_rest(
    connection: Connection, draft: Draft, held_id: int | None, judged: Judged, seal: _Seal
) -> int | None:
    """Seal what is not held; return its id, or None if nothing is left."""
    intact = draft if held_id is None and draft.in_order else None
    if intact is None:
        seal.digest, seal.size = digest_of(connection, draft.plan_id)
    else:
        seal.digest, seal.size = draft.digest(), draft.size
    if seal.size == 0:
        connection.execute(_DELETE_PLAN, {"plan": draft.plan_id})
        return None
    if draft.counts["update"]:
        seal.digest = _with_moves(connection, draft.plan_id, seal.digest)
    _write_outline(draft.database, connection, draft.plan_id, seal.size, intact)
    unchanged = _unchanged(connection, draft, held_id, judged.district_id)
    seal.counts = {**seal.counts, **judged.extra, "unchanged": unchanged}
    seal.close(connection, draft.plan_id)
    return draft.plan_id


def _unchanged(connection: Connection, draft: Draft, held_id: int | None, district_id: int) -> int:
    """Count the people of the directory who are in neither part."""
    people = int(connection.execute(_PEOPLE, {"district": district_id}).scalar_one())
    touched = 0
    if any(draft.counts[action] for action in ACTIONS if action not in _COMING):
        plans = {"plan": draft.plan_id, "held": held_id or 0}
        touched = int(connection.execute(_TOUCHED, plans).scalar_one())
    return max(0, people - touched)


def _without_held(judged: Judged, additions: Mapping[int, int]) -> dict[int, int]:
    left = dict(additions)
    for source_id, people in judged.marks.connection.execute(_COUNT_ADDED):
        left[source_id] = left.get(source_id, 0) - people
    return left


def seal_whole(
    connection: Connection,
    draft: Draft,
    *,
    expires: datetime | None = None,
    effects: Mapping[str, Any] | None = None,
    extra: Mapping[str, int] | None = None,
) -> None:
    """Seal a draft that no limit judges: an act by hand, an undo, a switch (P7).

    ``effects`` are what applying it does in addition to its changes; the digest covers them.
    """
    draft.flush(connection)
    counts = {name: draft.counts[name] for name in ACTIONS}
    counts |= dict.fromkeys(_EXTRA, 0) | dict(extra or {})
    schools = {name: draft.school_counts[name] for name in _SCHOOL_ACTIONS}
    intact = draft if draft.in_order else None
    digest = draft.digest() if intact else digest_of(connection, draft.plan_id)[0]
    _write_outline(draft.database, connection, draft.plan_id, draft.size, intact)
    if effects:
        digest = with_effects(digest, effects)
        connection.execute(_OF_PLAN, {"plan": draft.plan_id, "effects": dict(effects)})
    _Seal(digest, draft.size, counts, schools, expires=expires).close(connection, draft.plan_id)
    note(log, "seal plan", plan=shown_id(PLAN, draft.plan_id), changes=draft.size)


def _write_outline(
    database: Database,
    connection: Connection,
    plan_id: int,
    size: int,
    intact: Draft | None = None,
) -> None:
    """Store the outline of a large plan; ``intact`` is the draft if the plan is all of it."""
    if size >= LARGE:
        outline = intact.outline if intact is not None else outline_of(connection, plan_id)
        outline.write(database, connection, plan_id)


def _with_moves(connection: Connection, plan_id: int, digest: bytes) -> bytes:
    """Seal the changes of email domain that a plan makes."""
    moves = moves_of(connection, plan_id)
    if not moves:
        return digest
    effects = {"domains": moves}
    connection.execute(_OF_PLAN, {"plan": plan_id, "effects": effects})
    return with_effects(digest, effects)


def with_effects(digest: bytes, effects: Mapping[str, Any]) -> bytes:
    """Return the digest over a plan's changes and its effects."""
    return blake2b(digest + canonical(effects), digest_size=DIGEST_SIZE).digest()


def _trip(trip: Trip, names: Names) -> dict[str, Any]:
    """Return an exceeded limit as it is stored and shown."""
    group = trip.group
    shown: dict[str, Any] = {
        "limit": trip.limit,
        "scope": "district",
        "allowed": trip.allowed,
        "found": trip.found,
        "people": trip.people,
        "source": names.sources.get(trip.source_id or 0),
        "school": None,
        "role": None,
    }
    if trip.fields:
        shown["fields"] = dict(trip.fields)
    if group is not None:
        shown["role"] = group.role or None
        where = "the district"
        if group.scope == SCHOOL_ROLE:
            shown["school"] = group.school_id or None
            where = names.schools.get(group.school_id, group.school_id) or "no school"
        who = {"": "people of no role"}.get(group.role, group.role)
        shown["scope"] = where if group.scope == "district" else f"{who}, {where}"
    return shown


def renumber(connection: Connection, plan_id: int) -> None:
    """Number a plan's changes from 0, in their order."""
    about = {"plan": plan_id}
    connection.execute(_NUMBER_BELOW_ZERO, about)
    connection.execute(_NUMBER_FROM_ZERO, about)


_ANALYZED = "changes (plan_id, seq, kind, action, target_id, record_id)"
"""Not the columns of JSON, which would have to be read completely."""
_OF_PLAN = update(Plan.table).where(Plan.id == bindparam("plan"))
_DELETE_PLAN = delete(Plan.table).where(Plan.id == bindparam("plan"))
_NUMBER_FROM_ZERO = (
    update(Change.table).where(Change.plan_id == bindparam("plan")).values(seq=-1 - Change.seq)
)
_COUNT = (
    select(Change.action, func.count(Change.target_id.distinct()))
    .where(Change.plan_id == bindparam("plan"))
    .group_by(Change.action)
)
_PEOPLE = (
    select(func.count())
    .select_from(User.table)
    .where(User.district_id == bindparam("district"), User.status != "archived")
)
_TOUCHED = select(func.count(Change.target_id.distinct())).where(
    Change.plan_id.in_((bindparam("plan"), bindparam("held"))),
    Change.kind == "user",
    Change.action.not_in(_COMING),
)


# --- Set-wise statements ---
# A plan is split by whom the temporary table of the held names, however many they are, and what is
# left in each part is numbered anew in one statement. The columns of a plan that go with its held
# part are copied by the database.

_ANY_HELD = text(
    "SELECT 1 FROM holds h WHERE EXISTS (SELECT 1 FROM changes c WHERE c.plan_id = :plan"
    " AND c.target_id = h.target_id) LIMIT 1"
)
OPEN_HELD = text(
    "INSERT INTO plans (district_id, run_id, kind, status, standing, digest, created_at,"
    " base_serial, season, guarded, counts, schools, held, certificates, establishes, additions,"
    " approved, size) SELECT district_id, run_id, kind, 'draft', FALSE, digest, created_at,"
    " base_serial, season, guarded, '{}', '{}', '[]', certificates, '[]', '{}', FALSE, 0"
    " FROM plans WHERE id = :plan RETURNING id"
)
_MOVE_CHANGES = text(
    "UPDATE changes SET plan_id = :held WHERE plan_id = :plan AND kind = 'user'"
    " AND target_id IN (SELECT target_id FROM holds)"
)
_MOVE_TAKINGS = text(
    "UPDATE takings SET plan_id = :held WHERE plan_id = :plan"
    " AND target_id IN (SELECT target_id FROM holds)"
)
_GUARD_HELD = text(  # it is carried from one held plan to the next, until a person decides
    "UPDATE plans SET guarded = TRUE WHERE id = :held"
    " AND EXISTS (SELECT 1 FROM holds WHERE why = 'guard')"
)
_NUMBER_BELOW_ZERO = text(  # so that no number meets one that is still in use
    "UPDATE changes SET seq = -numbered.n FROM (SELECT seq AS old, ROW_NUMBER() OVER"
    " (ORDER BY seq) AS n FROM changes WHERE plan_id = :plan) AS numbered"
    " WHERE changes.plan_id = :plan AND changes.seq = numbered.old"
)
_COUNT_ADDED = text(
    "SELECT m.source_id, COUNT(DISTINCT m.target_id) FROM marks m WHERE m.mark = 'added'"
    " AND m.target_id IN (SELECT target_id FROM holds) GROUP BY m.source_id"
)
