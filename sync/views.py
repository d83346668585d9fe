"""What people and programs may read: the JSON shapes of the outside contract, off the tables.

Rooms: districts, sources, runs and conflicts here; plans and their changes in ``plan_views``;
people in ``people_views``. Everything long is a generator that reads page by page in the order of a
key, so a plan of a million changes is never in memory. Nothing here writes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from core.errors import UsageError
from core.tables import Conflict, District, Fetch, Link, Plan, Record, Run, Source, User
from sync.shown import CONFLICT as CONFLICT
from sync.shown import PLAN as PLAN
from sync.shown import RUN as RUN
from sync.shown import parse_id as parse_id
from sync.shown import shown_id as shown_id
from sync.shown import shown_time as shown_time

Json = dict[str, Any]

_PAGE = 500


def district_row(connection: Connection, slug: str) -> Any:
    """Return the row of a district. Raises ``UsageError`` with the likely name."""
    row = connection.execute(select(District).where(col(District.slug) == slug)).one_or_none()
    if row is not None:
        return row
    known = [
        str(name)
        for (name,) in connection.execute(select(District.slug).order_by("slug"))  # type: ignore[call-overload]
    ]
    near = difflib.get_close_matches(slug, known, n=1)
    hint = "Load a district file first: rostersync load FILE.toml."
    if known:
        hint = f"Did you mean {near[0]}?" if near else "rostersync districts lists them."
    raise UsageError(f"There is no district {slug!r}.", hint=hint)


def time_zones(connection: Connection) -> dict[str, str]:
    """Return the time zone of every district by its slug."""
    rows: Any = connection.execute(select(col(District.slug), col(District.settings)))
    return {slug: settings["timezone"] for slug, settings in rows}


def source_row(connection: Connection, district: Any, name: str) -> Any:
    """Return the row of one source of a district. Raises ``UsageError`` with those there are."""
    rows = {row.name: row for row in source_rows(connection, district.id)}
    if name not in rows:
        raise UsageError(
            f"{district.slug} has no source {name!r}.",
            hint=f"Its sources: {', '.join(rows) or 'none yet'}.",
        )
    return rows[name]


def source_rows(connection: Connection, district_id: int | None) -> list[Any]:
    """Return the rows of a district's sources, or of all, in the order of their precedence."""
    query = select(Source).order_by(col(Source.district_id), col(Source.precedence), col(Source.id))
    if district_id is not None:
        query = query.where(col(Source.district_id) == district_id)
    return list(connection.execute(query))


def districts(connection: Connection) -> Iterator[Json]:
    """Yield every district in the order of its slug."""
    for row in connection.execute(select(District).order_by(col(District.slug))).all():
        by_status = (
            select(col(User.status), func.count())
            .where(col(User.district_id) == row.id)
            .group_by(col(User.status))
        )
        users = {status: count for status, count in connection.execute(by_status)}  # noqa: C416
        yield {
            "district": row.slug,
            "name": row.name,
            "kind": row.settings.get("kind", "school"),
            "timezone": row.settings.get("timezone"),
            "serial": row.serial,
            "users": {word: users.get(word, 0) for word in ("active", "suspended", "archived")},
            "sources": [source.name for source in source_rows(connection, row.id)],
            "held_plan": _held_plan(connection, row.id),
            "last_run": next(runs(connection, row, limit=1), None),
        }


def _held_plan(connection: Connection, district_id: int) -> str | None:
    number = connection.execute(
        select(col(Plan.id)).where(
            col(Plan.district_id) == district_id,
            col(Plan.standing),
            col(Plan.status).in_(("held", "approved")),
        )
    ).scalar()
    return None if number is None else shown_id(PLAN, number)


def sources(connection: Connection, district: Any | None = None) -> Iterator[Json]:
    """Yield the sources of one district, or of all, in the order of their precedence."""
    slugs = {row.id: row.slug for row in connection.execute(select(District))}
    for row in source_rows(connection, None if district is None else district.id):
        held = connection.execute(
            select(func.count(func.distinct(col(Link.target_id))))
            .select_from(Link)
            .join(Record, col(Record.id) == col(Link.record_id))
            .where(col(Record.source_id) == row.id, col(Record.kind) == "user", col(Link.held))
        ).scalar()
        yield {
            "district": slugs[row.district_id],
            "source": row.name,
            "connector": row.connector,
            "precedence": row.precedence,
            "status": _source_status(row),
            "people": held or 0,
            "vendor_district": row.vendor_district,
            "vendor_state": row.vendor_state,
            "complete_at": shown_time(row.complete_at),
            "full_at": shown_time(row.full_at),
            "health": row.health or {},
        }


def _source_status(row: Any) -> str:
    if row.retired:
        return "retired"
    return "configured" if row.configured else "not_in_file"


def runs(connection: Connection, district: Any, *, limit: int | None = None) -> Iterator[Json]:
    """Yield the runs of a district, the newest first."""
    before: int | None = None
    while limit is None or limit > 0:
        query: Any = select(Run).where(col(Run.district_id) == district.id)
        if before is not None:
            query = query.where(col(Run.id) < before)
        size = _PAGE if limit is None else min(limit, _PAGE)
        page = connection.execute(query.order_by(col(Run.id).desc()).limit(size)).all()
        if not page:
            return
        before = page[-1].id
        limit = None if limit is None else limit - len(page)
        yield from _run_page(connection, district.slug, page)


def _run_page(connection: Connection, slug: str, page: Any) -> Iterator[Json]:
    numbers = [row.id for row in page]
    plans: dict[int, list[str]] = {}
    plan_rows: Any = connection.execute(
        select(col(Plan.run_id), col(Plan.applied_run_id), col(Plan.id))
        .where(
            (col(Plan.run_id).in_(numbers)) | (col(Plan.applied_run_id).in_(numbers)),
            col(Plan.status) != "draft",
        )
        .order_by(col(Plan.id))
    ).all()
    for run_id, applied_run_id, plan_id in plan_rows:
        for number in {run_id, applied_run_id}:
            plans.setdefault(number, []).append(shown_id(PLAN, plan_id))
    certificates: dict[int, Json] = {}
    for run_id, name, certificate in connection.execute(
        select(col(Fetch.run_id), col(Source.name), col(Fetch.certificate))
        .join(Source, col(Source.id) == col(Fetch.source_id))
        .where(col(Fetch.run_id).in_(numbers))
        .order_by(col(Fetch.id))
    ):
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


def conflicts(
    connection: Connection, district: Any, *, status: str | None = "open"
) -> Iterator[Json]:
    """Yield the conflicts of a district, the oldest first; ``status`` None: also the settled."""
    after = 0
    while True:
        query: Any = (
            select(Conflict, col(Record.external_id), col(Source.name).label("source"))
            .outerjoin(Record, col(Record.id) == col(Conflict.record_id))
            .outerjoin(Source, col(Source.id) == col(Record.source_id))
            .where(col(Conflict.district_id) == district.id, col(Conflict.id) > after)
            .order_by(col(Conflict.id))
            .limit(_PAGE)
        )
        if status is not None:
            query = query.where(col(Conflict.status) == status)
        page = connection.execute(query).all()
        if not page:
            return
        after = page[-1].id
        for row in page:
            yield {
                "id": shown_id(CONFLICT, row.id),
                "district": district.slug,
                "kind": row.kind,
                "source": row.source,
                "external_id": row.external_id,
                "reason": row.reason,
                "candidates": row.candidates,
                "status": row.status,
                "decision": row.decision,
                "decided_by": row.decided_by,
                "decided_at": shown_time(row.decided_at),
                "created_at": shown_time(row.created_at),
            }


def conflict_row(connection: Connection, word: str) -> Any:
    """Return a conflict by its id as printed, with the ``slug`` of its district.

    Raises ``UsageError``.
    """
    number = parse_id(CONFLICT, word)
    query: Any = (
        select(Conflict, col(District.slug))
        .join(District, col(District.id) == col(Conflict.district_id))
        .where(col(Conflict.id) == number)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UsageError(
            f"There is no conflict {shown_id(CONFLICT, number)}.",
            hint="rostersync conflicts DISTRICT lists them.",
        )
    return row
