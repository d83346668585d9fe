"""The overview: the state of every district, in a few queries for all of them together.

``status`` prints it, and ``rostersync/service/notify.py`` reports what has changed in it. Counts
only, no people. Nothing here writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Result, Select, bindparam, exists, func, select

from core.storage.schema import Conflict, District, OutsideEdit, Plan, Run, Source, Upload
from sync.rules.quarantine import is_stale, read_health
from sync.rules.return_guard import PAUSED_WORDS, TROUBLED_WORDS
from sync.rules.season import Season
from sync.rules.sync_times import next_run
from sync.run.calendar import Calendar, calendar_of
from sync.run.display import PLAN, RUN, UPLOAD, shown_id, shown_time
from sync.views.waiting import COUNT_WAITING

Json = dict[str, Any]

NEEDS = (
    "stopped",
    "failed",
    "edited",
    "upload",
    "held",
    "drifted",
    "stale",
    "withheld",
    "conflicts",
)
"""What needs a person, the most pressing first."""

WATCH = ("slowed", "failing", "vendor", "waiting", "rows", "look_alikes")
"""What ends by itself, or hurts nobody, but is worth a look."""


def overview(connection: Connection, now: datetime, slug: str | None = None) -> list[Json]:
    """Return the state of each district, or of one, sorted by what needs a person.

    ``needs`` and ``watch`` list slugs of ``NEEDS`` and ``WATCH``; times are UTC.
    """

    def read(statement: Select[*tuple[Any, ...]]) -> Result[*tuple[Any, ...]]:
        if slug is None:
            return connection.execute(statement)
        return connection.execute(statement.where(_OF_ONE), {"slug": slug})

    rows = read(select(District.table)).all()
    sources: dict[int, list[Any]] = defaultdict(list)
    for row in read(_SOURCES):
        sources[row.district_id].append(row)
    held = {row.district_id: row for row in read(_HELD)}
    conflicts = {row.district_id: row.open for row in read(_CONFLICTS)}
    waiting = {row.district_id: row.people for row in read(COUNT_WAITING)}
    edited = {row.district_id: row.people for row in read(_EDITED)}
    runs = {row.district_id: row for row in read(_RUNS)}
    uploads: dict[int, list[str]] = defaultdict(list)
    for row in read(_UPLOADS):
        if row.counts.get("waited"):
            uploads[row.district_id].append(shown_id(UPLOAD, row.id))
    found = [
        _one(
            calendar_of(row), sources[row.id], held.get(row.id), int(conflicts.get(row.id, 0)),
            uploads[row.id], runs.get(row.id), waiting.get(row.id, 0), edited.get(row.id, 0),
            row.look_alikes or 0, now,
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=_urgency)


_OF_ONE = District.slug == bindparam("slug")
_SOURCES = (
    select(
        Source.id,
        Source.district_id,
        Source.name,
        Source.health,
        Source.complete_at,
        Source.vendor_state,
        Source.vendor_time,
    )
    .join_from(Source.table, District.table, District.id == Source.district_id)
    .where(Source.configured, ~Source.retired)
    .order_by(Source.precedence, Source.id)
)
_HELD = (
    select(Plan.district_id, Plan.id, Plan.counts, Plan.held, Plan.status, Plan.expires_at)
    .join_from(Plan.table, District.table, District.id == Plan.district_id)
    .where(Plan.standing)
)
_CONFLICTS = (
    select(Conflict.district_id, func.count().label("open"))
    .join_from(Conflict.table, District.table, District.id == Conflict.district_id)
    .where(Conflict.status == "open")
    .group_by(Conflict.district_id)
)
_LATER_FILE = Upload.table.alias()
_UPLOADS = (
    select(Upload.id, Upload.district_id, Upload.counts)
    .join_from(Upload.table, District.table, District.id == Upload.district_id)
    .where(
        Upload.status == "FAILED",
        Upload.kept_until.is_not(None),
        ~exists().where(
            _LATER_FILE.c.source_id == Upload.source_id,
            _LATER_FILE.c.id > Upload.id,
            _LATER_FILE.c.status == "PROCESSED",
        ),
    )
    .order_by(Upload.id)
)
"""Files that waited and then could not be read: nobody was there to be told."""
_EDITED = (
    select(OutsideEdit.district_id, func.count().label("people"))
    .join_from(OutsideEdit.table, District.table, District.id == OutsideEdit.district_id)
    .group_by(OutsideEdit.district_id)
)
_OF_DISTRICT = Run.table.alias()
_LAST_RUN = (
    select(func.max(_OF_DISTRICT.c.id))
    .where(_OF_DISTRICT.c.district_id == District.id)
    .scalar_subquery()
)
_RUNS = select(
    Run.district_id, Run.id, Run.kind, Run.status, Run.started_at, Run.finished_at
).join_from(District.table, Run.table, Run.id == _LAST_RUN)


def _one(
    found: Calendar,
    sources: Sequence[Any],
    held: Any,
    conflicts: int,
    uploads: Sequence[str],
    last: Any,
    waiting: int,
    edited: int,
    look_alikes: int,
    now: datetime,
) -> Json:
    settings = found.settings
    on = found.on(now)
    row = next_run(settings, found.state, now)
    shown_sources = [_source(one, found, on.season, now) for one in sources]
    plan = None if held is None else _held(held)
    run = (
        None
        if last is None
        else {
            "id": shown_id(RUN, last.id),
            "kind": last.kind,
            "status": last.status,
            "started_at": shown_time(last.started_at),
        }
    )
    states = {one["state"] for one in shown_sources}
    facts = {
        "stopped": "stopped" in states,
        "failed": run is not None and run["status"] == "failed",
        "edited": edited > 0,
        "upload": bool(uploads),
        "held": plan is not None and plan["status"] == "held",
        "drifted": run is not None and run["status"] == "drifted",
        "stale": any(one["stale"] for one in shown_sources),
        "withheld": any(one["withheld_people"] for one in shown_sources),
        "conflicts": conflicts > 0,
        "slowed": "slowed" in states,
        "failing": "failing" in states,
        "vendor": any(
            one["vendor_state"] in PAUSED_WORDS | TROUBLED_WORDS for one in shown_sources
        ),
        "rows": any(one["unusable_rows"] for one in shown_sources),
        "look_alikes": look_alikes > 0,
        "waiting": waiting > 0 or (bool(found.state.waiting) and not found.state.waited_out),
    }
    good = [one["good_at"] for one in shown_sources if one["good_at"]]
    return {
        "district": settings.slug,
        "name": settings.name,
        "timezone": settings.timezone,
        "season": on.season.value,
        "why": on.why,
        "until": on.until if on.season is not Season.NORMAL else None,
        "next_run": None if row is None else shown_time(row.starts),
        "good_at": min(good) if len(good) == len(shown_sources) and good else None,
        "needs": [word for word in NEEDS if facts[word]],
        "watch": [word for word in WATCH if facts[word]],
        "held_plan": plan,
        "conflicts": conflicts,
        "failed_uploads": list(uploads),
        "outside_edits": edited,
        "waiting_schools": len(found.state.waiting) if not found.state.waited_out else 0,
        "waiting_people": waiting,
        "look_alikes": look_alikes,
        "sources": shown_sources,
        "last_run": run,
    }


def _source(row: Any, found: Calendar, season: Season, now: datetime) -> Json:
    health = read_health(row.health)
    complete_at = row.complete_at
    good = health.good_at or complete_at
    return {
        "source": row.name,
        "state": health.state,
        "failures": health.failures,
        "code": health.code,
        "reason": health.reason,
        "next_try": shown_time(health.next_try),
        "good_at": shown_time(good),
        "stale": season is not Season.PAUSED
        and bool(found.settings.sync_times)
        and _is_stale(health, complete_at, found, now),
        "vendor_state": row.vendor_state,
        "vendor_time": shown_time(row.vendor_time),
        "unusable_rows": health.unusable,
        "withheld_people": health.withheld,
    }


def _is_stale(health: Any, complete_at: datetime | None, found: Calendar, now: datetime) -> bool:
    """Count from the end of a pause at the earliest, because nothing is read in a pause."""
    hours = found.settings.freshness_hours
    if not is_stale(health, complete_at, hours, now):
        return False
    on = found.on(now)
    if on.since is None:
        return True
    back = datetime(on.since.year, on.since.month, on.since.day, tzinfo=found.settings.zone)
    return is_stale(health.model_copy(update={"good_at": back}), None, hours, now)


def _held(row: Any) -> Json:
    counts = {word: number for word, number in row.counts.items() if number}
    return {
        "id": shown_id(PLAN, row.id),
        "status": row.status,
        "counts": counts,
        "held": row.held,
        "expires_at": shown_time(row.expires_at),
    }


def _urgency(one: Json) -> tuple[Any, ...]:
    first = NEEDS.index(one["needs"][0]) if one["needs"] else len(NEEDS)
    second = WATCH.index(one["watch"][0]) if one["watch"] else len(WATCH)
    return (first, -len(one["needs"]), second, one["district"])
