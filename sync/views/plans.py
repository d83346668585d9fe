"""Plans and their changes as JSON, and the feed of applied changes that an app follows.

The ledger is the applied plans' changes: a change's serial is its plan's ``first_serial`` plus its
``seq``. Changes are read in the order of ``seq``, page by page. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from core.errors import UsageError
from core.models import PROFILE_FIELDS
from core.storage.columns import typed
from core.storage.schema import Change, District, Plan, Record, Run, School, Source, User
from sync.ledger.cursor import newest_serial, shown_cursor
from sync.run.display import PLAN, RUN, parse_id, shown_id, shown_time
from sync.run.find import Json
from sync.views.districts import BEYOND, newest

COUNTS: tuple[str, ...] = (
    "create", "update", "archive", "restore", "suspend", "unsuspend", "link", "unlink", "adopt",
    "merge", "purge", "leaves_scope", "conflict", "protected", "locked", "unchanged", "skipped",
)  # fmt: skip
"""The keys that ``counts`` of a plan always has; they count people, not steps."""

_SCHOOL_COUNTS = ("create", "update", "archive", "restore", "link", "unlink")
_PAGE = 1000
_PLANS_PAGE = 100
_NAMES = ("given_name", "family_name")
_FIELD_ORDER = {name: index for index, name in enumerate(PROFILE_FIELDS)}


def plan_row(connection: Connection, word: str) -> Any:
    """Return the row of a plan by its id as printed. Raises ``UsageError``."""
    number = parse_id(PLAN, word)
    row = connection.execute(_PLAN, {"plan": number}).one_or_none()
    if row is None:
        raise UsageError(
            f"There is no plan {shown_id(PLAN, number)}.",
            hint="rostersync plans DISTRICT lists the plans.",
        )
    return row


_PLAN = select(Plan.table).where(Plan.id == bindparam("plan"), Plan.status != "draft")


def plan_json(connection: Connection, plan: Any) -> Json:
    """Return the head of a plan: everything but its changes."""
    slug = connection.execute(_SLUG, {"district": plan.district_id}).scalar_one()
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
        "guarded": plan.guarded,
        "counts": {word: plan.counts.get(word, 0) for word in COUNTS},
        "schools": {word: plan.schools.get(word, 0) for word in _SCHOOL_COUNTS},
        "held": _held(connection, plan.held),
        "size": plan.size,
        "standing": plan.standing,
        "superseded_by": None if later is None else shown_id(PLAN, later),
        "approved": plan.approved,
        "decided_by": plan.decided_by,
        "decided_at": shown_time(plan.decided_at),
        "decision_reason": plan.decision_reason,
        "applied_at": shown_time(plan.applied_at),
        "domains": [
            {name: move[name] for name in ("from", "to", "people")}
            for move in (plan.effects or {}).get("domains", ())
        ],
    }


_SLUG = select(District.slug).where(District.id == bindparam("district"))


def _held(connection: Connection, groups: list[Json]) -> list[Json]:
    """Return the limits that were exceeded, with the names of their schools."""
    wanted = {group["school"] for group in groups if group.get("school")}
    if not wanted:
        return groups
    rows = connection.execute(_SCHOOLS, {"schools": list(wanted)})
    names = {row.id: row.name for row in rows}
    return [
        group
        | {
            "school": names.get(group.get("school"), group.get("school")),
            "school_id": group.get("school"),
        }
        for group in groups
    ]


_SCHOOLS = select(School.id, School.name).where(School.id.in_(bindparam("schools", expanding=True)))


def plan_by_id(connection: Connection, number: int) -> Json:
    """Return the head of the plan with this id."""
    return plan_json(connection, plan_row(connection, str(number)))


def plans(connection: Connection, district: Any, *, limit: int | None = None) -> Iterator[Json]:
    """Yield the plans of a district, the newest first."""
    for page in newest(connection, _PLANS, district.id, limit, _PLANS_PAGE):
        for row in page:
            yield plan_json(connection, row)


_PLANS = (
    select(Plan.table)
    .where(
        Plan.district_id == bindparam("district"),
        Plan.status != "draft",
        Plan.id < bindparam("before"),
    )
    .order_by(Plan.id.desc())
    .limit(bindparam("size"))
)


def certificates(connection: Connection, plan_ids: list[int]) -> Json:
    """Return the certificates that plans are based on, by name of the source."""
    found: Json = {}
    for kept in connection.execute(_CERTIFICATES, {"plans": plan_ids}).scalars():
        found |= kept or {}
    return found


_CERTIFICATES = (
    select(Plan.certificates)
    .where(Plan.id.in_(bindparam("plans", expanding=True)))
    .order_by(Plan.id)
)


def iter_changes(
    connection: Connection, plan_id: int, offset: int = 0, limit: int | None = None
) -> Iterator[Json]:
    """Yield at most ``limit`` changes of a plan from seq ``offset`` on, in the plan's order."""
    schools = school_names(connection, plan_id)
    left = BEYOND if limit is None else limit
    at = offset
    while left > 0:
        about = {"plan": plan_id, "at": at, "size": min(left, _PAGE)}
        page = connection.execute(_CHANGES_FROM, about).all()
        if not page:
            return
        yield from _shown(connection, page, schools)
        at = page[-1].seq + 1
        left -= len(page)


def changes_at(
    connection: Connection, plan_id: int, seqs: Sequence[int], schools: Mapping[str, str]
) -> dict[int, Json]:
    """Return the changes with these seqs, by seq; ``schools`` as ``school_names`` gives them."""
    found: dict[int, Json] = {}
    for start in range(0, len(seqs), _PAGE):
        about = {"plan": plan_id, "seqs": seqs[start : start + _PAGE]}
        page = connection.execute(_CHANGES_AT, about).all()
        found |= {change["seq"]: change for change in _shown(connection, page, schools)}
    return found


def _shown(connection: Connection, page: Any, schools: Mapping[str, str]) -> Iterator[Json]:
    records = _named_by_basis(connection, page)
    families = _families(connection, page)
    for row in page:
        change = _change_json(row, schools, records)
        if shared := (row.before or {}).get(_FAMILY):
            change[_FAMILY] = [{"id": user, "name": families.get(user)} for user in shared]
        yield change


_FAMILY = "shares_address_with"
"""Of somebody who joins: whose address theirs is, too (I9)."""


def _families(connection: Connection, page: Any) -> dict[str, str]:
    """Return the names of those whose address somebody shares who joins, by user id."""
    wanted = {user for row in page for user in (row.before or {}).get(_FAMILY, ())}
    if not wanted:
        return {}
    rows = connection.execute(_FAMILY_NAMES, {"users": sorted(wanted)})
    return {row.id: " ".join(filter(None, (row.given_name, row.family_name))) for row in rows}


_FAMILY_NAMES = select(User.id, User.given_name, User.family_name).where(
    User.id.in_(bindparam("users", expanding=True))
)


def _named_by_basis(connection: Connection, page: Any) -> dict[int, tuple[str, str]]:
    """Return source and external id of the records behind changes that do not name them."""
    wanted = {row.basis[0][0] for row in page if row.record_id is None and row.basis}
    if not wanted:
        return {}
    rows = connection.execute(_RECORDS, {"records": list(wanted)})
    return {number: (source, key) for number, source, key in rows}


_RECORDS = (
    select(Record.id, Source.name, Record.external_id)
    .join_from(Record.table, Source.table, Source.id == Record.source_id)
    .where(Record.id.in_(bindparam("records", expanding=True)))
)


def school_names(connection: Connection, plan_id: int) -> dict[str, str]:
    """Return the names of a plan's schools by their id: those there are and those it creates."""
    about = {"plan": plan_id, "beyond": BEYOND}
    names = {row.id: row.name for row in connection.execute(_SCHOOLS_THERE, about)}
    for number, after in connection.execute(_SCHOOLS_MADE, about):
        names.setdefault(number, str((after or {}).get("name", "")))
    return names


_DISTRICT_OF_PLAN = select(Plan.district_id).where(Plan.id == bindparam("plan")).scalar_subquery()
_SCHOOLS_THERE = select(School.id, School.name).where(School.district_id == _DISTRICT_OF_PLAN)


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
        "fields": changed_fields(
            None if row.action == "create" else row.before, row.after, schools
        ),
        "reason": row.reason,
    }


def _person(row: Any) -> str | None:
    """Return the name of a change's person: the new one, or else the one in the directory."""
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
    if not shown and old != new:  # the same roles and schools in another combination
        shown["memberships"] = [
            sorted(f"{row[0]} at {schools.get(row[1], row[1]) or 'no school'}" for row in rows)
            for rows in (old, new)
        ]
    return shown


def feed_end(connection: Connection, district: Any, since: int, limit: int | None) -> int:
    """Return the serial at which one answer of the feed ends; the app remembers it."""
    newest = newest_serial(connection, district)
    return max(since, newest if limit is None else min(newest, since + limit))


def feed(connection: Connection, district: Any, since: int, end: int) -> Iterator[Json]:
    """Yield the applied changes with ``since < serial <= end``, in the order of their serials.

    Each is a change with ``serial``, ``cursor``, ``at`` (when it was applied, UTC), ``actor``,
    ``run_id`` and ``plan_id``. An app that remembers the last cursor misses nothing, also after a
    backup was restored.
    """
    at = since
    while True:
        about = {"district": district.id, "next": at + 1, "end": end}
        plan = connection.execute(_NEXT_APPLIED, about).one_or_none()
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
            serial = plan.first_serial + change["seq"]
            yield {**change, "serial": serial, "cursor": shown_cursor(serial, plan.chain), **shared}
        at = plan.first_serial + until - 1
        if at >= end:
            return


_NEXT_APPLIED = (
    select(
        Plan.id,
        Plan.first_serial,
        Plan.size,
        Plan.chain,
        Plan.applied_at,
        Plan.applied_run_id,
        Run.actor,
    )
    .join_from(Plan.table, Run.table, Run.id == Plan.applied_run_id, isouter=True)
    .where(
        Plan.district_id == bindparam("district"),
        Plan.status == "applied",
        Plan.first_serial + Plan.size > bindparam("next"),
        Plan.first_serial <= bindparam("end"),
        Plan.size > 0,
    )
    .order_by(Plan.first_serial)
    .limit(1)
)


# --- Set-wise statements ---
# The changes of a plan are read page by page in the order of its key, each with what the directory
# and the evidence say now. A plan has its schools first: those it creates are found without reading
# its people.

_CHANGES = (
    "SELECT c.seq, c.kind, c.action, c.target_id, c.record_id, c.role, c.school_id, c.before,"
    " c.after, c.basis, c.reason, u.given_name, u.family_name, r.external_id, s.name AS source"
    " FROM changes c LEFT JOIN users u ON u.id = c.target_id"
    " LEFT JOIN records r ON r.id = c.record_id LEFT JOIN sources s ON s.id = r.source_id"
    " WHERE c.plan_id = :plan"
)
_CHANGES_FROM = typed(f"{_CHANGES} AND c.seq >= :at ORDER BY c.seq LIMIT :size", Change)
_CHANGES_AT = typed(f"{_CHANGES} AND c.seq IN :seqs ORDER BY c.seq", Change).bindparams(
    bindparam("seqs", expanding=True)
)
_SCHOOLS_MADE = typed(
    "SELECT target_id, after FROM changes WHERE plan_id = :plan AND kind = 'school'"
    " AND action = 'create' AND seq < COALESCE((SELECT seq FROM changes WHERE plan_id = :plan"
    " AND kind = 'user' ORDER BY seq LIMIT 1), :beyond)",
    Change,
)
