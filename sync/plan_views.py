"""Plans and their changes as JSON, and the feed of applied changes that an app follows.

The ledger is the applied plans' changes: a change's serial is its plan's ``first_serial`` plus its
``seq``. Changes are read in the order of ``seq``, page by page. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from core.errors import UsageError
from core.models import PROFILE_FIELDS
from core.tables import Change, District, Plan, Record, Run, School, Source, User
from sync.views import PLAN, RUN, Json, parse_id, shown_id, shown_time

COUNTS: tuple[str, ...] = (
    "create", "update", "archive", "restore", "suspend", "unsuspend", "link", "unlink", "adopt",
    "merge", "purge", "leaves_scope", "conflict", "protected", "locked", "unchanged", "skipped",
)  # fmt: skip
"""What ``counts`` of a plan always has; people, not steps."""

_SCHOOL_COUNTS = ("create", "update", "archive")
_PAGE = 1000
_NAMES = ("given_name", "family_name")
_FIELD_ORDER = {name: index for index, name in enumerate(PROFILE_FIELDS)}


def plan_row(connection: Connection, word: str) -> Any:
    """Return the row of a plan by its id as printed. Raises ``UsageError``."""
    number = parse_id(PLAN, word)
    row = connection.execute(
        select(Plan).where(col(Plan.id) == number, col(Plan.status) != "draft")
    ).one_or_none()
    if row is None:
        raise UsageError(
            f"There is no plan {shown_id(PLAN, number)}.",
            hint="rostersync plans DISTRICT lists the plans.",
        )
    return row


def plan_json(connection: Connection, plan: Any) -> Json:
    """Return the head of a plan: everything but its changes."""
    slug = connection.execute(
        select(col(District.slug)).where(col(District.id) == plan.district_id)
    ).scalar_one()
    later = plan.superseded_by
    return {
        "id": shown_id(PLAN, plan.id),
        "district": slug,
        "kind": plan.kind,
        "status": plan.status,
        "digest": plan.digest.hex(),
        "created_at": shown_time(plan.created_at),
        "expires_at": shown_time(plan.expires_at),
        "base_serial": plan.base_serial,
        "season": plan.season,
        "guarded": bool(plan.guarded),
        "counts": {word: plan.counts.get(word, 0) for word in COUNTS},
        "schools": {word: plan.schools.get(word, 0) for word in _SCHOOL_COUNTS},
        "held": _held(connection, plan.held),
        "size": plan.size,
        "standing": bool(plan.standing),
        "superseded_by": None if later is None else shown_id(PLAN, later),
        "approved": bool(plan.approved),
        "decided_by": plan.decided_by,
        "decided_at": shown_time(plan.decided_at),
        "decision_reason": plan.decision_reason,
        "applied_at": shown_time(plan.applied_at),
        "domains": [
            {name: move[name] for name in ("from", "to", "people")}
            for move in (plan.effects or {}).get("domains", ())
        ],
    }


def _held(connection: Connection, groups: list[Json]) -> list[Json]:
    """Return the limits that tripped, with the names of their schools."""
    wanted = {group["school"] for group in groups if group.get("school")}
    if not wanted:
        return groups
    query: Any = select(col(School.id), col(School.name)).where(col(School.id).in_(wanted))
    names = {number: name for number, name in connection.execute(query)}  # noqa: C416
    return [
        group
        | {
            "school": names.get(group.get("school"), group.get("school")),
            "school_id": group.get("school"),
        }
        for group in groups
    ]


def plan_by_id(connection: Connection, number: int) -> Json:
    """Return the head of the plan with this number."""
    return plan_json(connection, plan_row(connection, str(number)))


def plans(connection: Connection, district: Any, *, limit: int | None = None) -> Iterator[Json]:
    """Yield the plans of a district, the newest first."""
    before: int | None = None
    while limit is None or limit > 0:
        query: Any = select(Plan).where(
            col(Plan.district_id) == district.id, col(Plan.status) != "draft"
        )
        if before is not None:
            query = query.where(col(Plan.id) < before)
        size = 100 if limit is None else min(limit, 100)
        page = connection.execute(query.order_by(col(Plan.id).desc()).limit(size)).all()
        if not page:
            return
        before = page[-1].id
        limit = None if limit is None else limit - len(page)
        for row in page:
            yield plan_json(connection, row)


def certificates(connection: Connection, plan_ids: list[int]) -> Json:
    """Return the certificates that plans rest on, by the name of the source."""
    found: Json = {}
    query = select(col(Plan.certificates)).where(col(Plan.id).in_(plan_ids)).order_by(col(Plan.id))
    for (kept,) in connection.execute(query):
        found |= kept or {}
    return found


def iter_changes(
    connection: Connection, plan_id: int, offset: int = 0, limit: int | None = None
) -> Iterator[Json]:
    """Yield at most ``limit`` changes of a plan from seq ``offset`` on, in the plan's order."""
    schools = school_names(connection, plan_id)
    left = limit
    at = offset
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        query = _query(plan_id).where(col(Change.seq) >= at).limit(size)
        page: Any = connection.execute(query).all()
        if not page:
            return
        yield from _shown(connection, page, schools)
        at = page[-1].seq + 1
        left = None if left is None else left - len(page)


def changes_at(
    connection: Connection, plan_id: int, seqs: Sequence[int], schools: Mapping[str, str]
) -> dict[int, Json]:
    """Return the changes with these seqs, by seq; ``schools`` as ``school_names`` gives them."""
    found: dict[int, Json] = {}
    for start in range(0, len(seqs), _PAGE):
        some = seqs[start : start + _PAGE]
        page: Any = connection.execute(_query(plan_id).where(col(Change.seq).in_(some))).all()
        found |= {change["seq"]: change for change in _shown(connection, page, schools)}
    return found


def _shown(connection: Connection, page: Any, schools: Mapping[str, str]) -> Iterator[Json]:
    records = _named_by_basis(connection, page)
    for row in page:
        yield _change_json(row, schools, records)


def _query(plan_id: int) -> Any:
    return (
        select(
            Change,
            col(User.given_name),
            col(User.family_name),
            col(Record.external_id),
            col(Source.name).label("source"),
        )
        .outerjoin(User, col(User.id) == col(Change.target_id))
        .outerjoin(Record, col(Record.id) == col(Change.record_id))
        .outerjoin(Source, col(Source.id) == col(Record.source_id))
        .where(col(Change.plan_id) == plan_id)
        .order_by(col(Change.seq))
    )


def _named_by_basis(connection: Connection, page: Any) -> dict[int, tuple[str, str]]:
    """Return source and external id of the records that changes rest on without naming them."""
    wanted = {row.basis[0][0] for row in page if row.record_id is None and row.basis}
    if not wanted:
        return {}
    query: Any = (
        select(col(Record.id), col(Source.name), col(Record.external_id))
        .join(Source, col(Source.id) == col(Record.source_id))
        .where(col(Record.id).in_(wanted))
    )
    return {number: (source, key) for number, source, key in connection.execute(query)}


def _first_person(plan_id: int) -> Any:
    return (
        select(col(Change.seq))
        .where(col(Change.plan_id) == plan_id, col(Change.kind) == "user")
        .order_by(col(Change.seq))
        .limit(1)
        .scalar_subquery()
    )


def school_names(connection: Connection, plan_id: int) -> dict[str, str]:
    """Return the names of a plan's schools by their id: those there are and those it creates."""
    district = select(col(Plan.district_id)).where(col(Plan.id) == plan_id).scalar_subquery()
    there: Any = select(col(School.id), col(School.name)).where(col(School.district_id) == district)
    names = {number: str(name) for number, name in connection.execute(there)}
    made: Any = select(col(Change.target_id), col(Change.after)).where(
        col(Change.plan_id) == plan_id,
        col(Change.kind) == "school",
        col(Change.action) == "create",
        # schools stand before people: a plan of a million is not gone through for a few schools
        col(Change.seq) < func.coalesce(_first_person(plan_id), 1 << 62),
    )
    for number, after in connection.execute(made):
        names.setdefault(number, str((after or {}).get("name", "")))
    return names


def _change_json(
    row: Any, schools: Mapping[str, str], records: Mapping[int, tuple[str, str]]
) -> Json:
    source, external_id = row.source, row.external_id
    if source is None and row.basis:
        source, external_id = records.get(row.basis[0][0], (None, None))
    is_school = row.kind == "school"
    return {
        "seq": row.seq,
        "kind": row.kind,
        "action": row.action,
        "user_id": None if is_school else row.target_id,
        "school_id": row.target_id if is_school else row.school_id or None,
        "name": schools.get(row.target_id) if is_school else _person(row),
        "source": source,
        "external_id": external_id,
        "role": row.role or None,
        "school": schools.get(row.target_id if is_school else row.school_id or ""),
        "fields": changed_fields(row.before, row.after, schools),
        "reason": row.reason,
    }


def _person(row: Any) -> str | None:
    """Return the name of the person of a change: as it becomes, else as the directory has it."""
    after, before = row.after or {}, row.before or {}
    names = [after.get(name) or before.get(name) or getattr(row, name) for name in _NAMES]
    return " ".join(name for name in names if name) or None


def changed_fields(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, schools: Mapping[str, str]
) -> dict[str, list[Any]]:
    """Return what a step changes as ``{field: [old, new]}``; memberships as roles and schools."""
    old, new = before or {}, after or {}
    keys = sorted(
        {*old, *new} - {"memberships", "email_folded"},
        key=lambda key: (_FIELD_ORDER.get(key, 99), key),
    )
    fields = {key: [old.get(key), new.get(key)] for key in keys if old.get(key) != new.get(key)}
    if "memberships" in old or "memberships" in new:
        fields |= _memberships(old.get("memberships") or [], new.get("memberships") or [], schools)
    return fields


def _memberships(
    old: list[list[Any]], new: list[list[Any]], schools: Mapping[str, str]
) -> dict[str, list[Any]]:
    """Show memberships, each ``[role, school id or "", is_primary]``, as people name them."""

    def roles(rows: list[list[Any]]) -> list[str]:
        return sorted({row[0] for row in rows})

    def names(rows: list[list[Any]]) -> list[str]:
        return sorted({schools.get(row[1], row[1]) for row in rows if row[1]})

    def primary(rows: list[list[Any]]) -> str | None:
        return next((schools.get(row[1], row[1]) for row in rows if row[1] and row[2]), None)

    shown: dict[str, list[Any]] = {}
    if roles(old) != roles(new):
        shown["roles"] = [roles(old), roles(new)]
    if names(old) != names(new):
        shown["schools"] = [names(old), names(new)]
    if max(len(names(old)), len(names(new))) > 1 and primary(old) != primary(new):
        shown["primary_school"] = [primary(old), primary(new)]
    if not shown and old != new:  # the same roles and schools, put together otherwise
        shown["memberships"] = [
            sorted(f"{row[0]} at {schools.get(row[1], row[1]) or 'no school'}" for row in rows)
            for rows in (old, new)
        ]
    return shown


def feed_end(connection: Connection, district: Any, since: int, limit: int | None) -> int:
    """Return the serial up to which one answer of the feed goes, which the app remembers."""
    newest = (
        connection.execute(
            select(func.max(col(Plan.first_serial) + col(Plan.size)) - 1).where(
                col(Plan.district_id) == district.id, col(Plan.status) == "applied"
            )
        ).scalar()
        or 0
    )
    return max(since, newest if limit is None else min(newest, since + limit))


def feed(connection: Connection, district: Any, since: int, end: int) -> Iterator[Json]:
    """Yield the applied changes with ``since < serial <= end``, in the order of their serials.

    Each is a change with ``serial``, ``at`` (when it was applied, UTC), ``actor``, ``run_id`` and
    ``plan_id``. Serials only grow: an app that remembers the last one misses nothing.
    """
    at = since
    while True:
        query: Any = (
            select(Plan, col(Run.actor))
            .outerjoin(Run, col(Run.id) == col(Plan.applied_run_id))
            .where(
                col(Plan.district_id) == district.id,
                col(Plan.status) == "applied",
                col(Plan.first_serial) + col(Plan.size) > at + 1,
                col(Plan.first_serial) <= end,
                col(Plan.size) > 0,
            )
            .order_by(col(Plan.first_serial))
            .limit(1)
        )
        plan: Any = connection.execute(query).one_or_none()
        if plan is None:
            return
        offset = max(0, at + 1 - plan.first_serial)
        until = min(plan.size, end + 1 - plan.first_serial)
        shared = {
            "at": shown_time(plan.applied_at),
            "actor": plan.actor,
            "run_id": None if plan.applied_run_id is None else shown_id(RUN, plan.applied_run_id),
            "plan_id": shown_id(PLAN, plan.id),
        }
        for change in iter_changes(connection, plan.id, offset, until - offset):
            yield {**change, "serial": plan.first_serial + change["seq"], **shared}
        at = plan.first_serial + until - 1
        if at >= end:
            return
