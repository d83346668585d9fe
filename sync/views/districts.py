"""Districts, sources and runs as JSON, in the shapes of the reference.

Plans and their changes are in ``plans``, people in ``people``, conflicts in ``conflicts``. Long
lists are generators that read page by page in the order of a key, so a million rows are never in
memory. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, func, or_, select

from core.storage.schema import District, Fetch, Link, Plan, Record, Run, Source, User
from sync.run.display import PLAN, RUN, shown_id, shown_time
from sync.run.find import Json, source_rows

BEYOND = 1 << 62
"""Greater than any id, seq or number of rows."""

_PAGE = 500


def time_zones(connection: Connection) -> dict[str, str]:
    """Return the time zone of every district by its slug."""
    return {row.slug: row.settings["timezone"] for row in connection.execute(_DISTRICTS)}


_DISTRICTS = select(District.table).order_by(District.slug)


def districts(connection: Connection) -> Iterator[Json]:
    """Yield every district in the order of its slug."""
    for row in connection.execute(_DISTRICTS).all():
        about = {"district": row.id}
        users = {row.status: row.people for row in connection.execute(_USERS, about)}
        number = connection.execute(_HELD_PLAN, about).scalar()
        yield {
            "district": row.slug,
            "name": row.name,
            "kind": row.settings.get("kind", "school"),
            "timezone": row.settings.get("timezone"),
            "serial": row.serial,
            "users": {word: users.get(word, 0) for word in ("active", "suspended", "archived")},
            "sources": [source.name for source in source_rows(connection, row.id)],
            "held_plan": None if number is None else shown_id(PLAN, number),
            "last_run": next(runs(connection, row, limit=1), None),
        }


_USERS = (
    select(User.status, func.count().label("people"))
    .where(User.district_id == bindparam("district"))
    .group_by(User.status)
)
_HELD_PLAN = select(Plan.id).where(
    Plan.district_id == bindparam("district"),
    Plan.standing,
    Plan.status.in_(("held", "approved")),
)


def sources(connection: Connection, district: Any | None = None) -> Iterator[Json]:
    """Yield the sources of one district, or of all, in the order of their precedence."""
    slugs = {row.id: row.slug for row in connection.execute(_DISTRICTS)}
    for row in source_rows(connection, None if district is None else district.id):
        yield {
            "district": slugs[row.district_id],
            "source": row.name,
            "connector": row.connector,
            "precedence": row.precedence,
            "status": _source_status(row),
            "people": connection.execute(_PEOPLE, {"source": row.id}).scalar_one(),
            "vendor_district": row.vendor_district,
            "vendor_state": row.vendor_state,
            "complete_at": shown_time(row.complete_at),
            "full_at": shown_time(row.full_at),
            "health": row.health or {},
        }


_PEOPLE = (
    select(func.count(Link.target_id.distinct()))
    .join_from(Link.table, Record.table, Record.id == Link.record_id)
    .where(Record.source_id == bindparam("source"), Record.kind == "user", Link.held)
)


def _source_status(row: Any) -> str:
    if row.retired:
        return "retired"
    return "configured" if row.configured else "not_in_file"


def runs(connection: Connection, district: Any, *, limit: int | None = None) -> Iterator[Json]:
    """Yield the runs of a district, the newest first."""
    for page in newest(connection, _RUNS, district.id, limit, _PAGE):
        yield from _run_page(connection, district.slug, page)


def newest(
    connection: Connection,
    query: Executable,
    district_id: int,
    limit: int | None,
    size: int,
) -> Iterator[Sequence[Any]]:
    """Yield the rows of a district page by page, the newest first, at most *limit* of them.

    *query* binds ``district``, ``before``, the id of the row before, and ``size``.
    """
    before, left = BEYOND, BEYOND if limit is None else limit
    while left > 0:
        about = {"district": district_id, "before": before, "size": min(left, size)}
        page = connection.execute(query, about).all()
        if not page:
            return
        yield page
        before = page[-1].id
        left -= len(page)


def _run_page(connection: Connection, slug: str, page: Any) -> Iterator[Json]:
    about = {"runs": [row.id for row in page]}
    plans: dict[int, list[str]] = {}
    for plan in connection.execute(_PLANS_OF_RUNS, about):
        for number in {plan.run_id, plan.applied_run_id}:
            plans.setdefault(number, []).append(shown_id(PLAN, plan.id))
    certificates: dict[int, Json] = {}
    for run_id, name, certificate in connection.execute(_FETCHES_OF_RUNS, about):
        certificates.setdefault(run_id, {})[name] = certificate
    for row in page:
        yield {
            "id": shown_id(RUN, row.id),
            "district": slug,
            "kind": row.kind,
            "status": row.status,
            "actor": row.actor,
            "started_at": shown_time(row.started_at),
            "finished_at": shown_time(row.finished_at),
            "plans": plans.get(row.id, []),
            "certificates": certificates.get(row.id, {}),
            "error": row.error,
        }


_RUN_IDS: Any = bindparam("runs", expanding=True)
_RUNS = (
    select(Run.table)
    .where(Run.district_id == bindparam("district"), Run.id < bindparam("before"))
    .order_by(Run.id.desc())
    .limit(bindparam("size"))
)
_PLANS_OF_RUNS = (
    select(Plan.run_id, Plan.applied_run_id, Plan.id)
    .where(
        or_(Plan.run_id.in_(_RUN_IDS), Plan.applied_run_id.in_(_RUN_IDS)), Plan.status != "draft"
    )
    .order_by(Plan.id)
)
_FETCHES_OF_RUNS = (
    select(Fetch.run_id, Source.name, Fetch.certificate)
    .join_from(Fetch.table, Source.table, Source.id == Fetch.source_id)
    .where(Fetch.run_id.in_(_RUN_IDS))
    .order_by(Fetch.id)
)
