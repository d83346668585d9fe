"""The overview: the state of every district, in a few queries for all of them together.

``status`` prints it, and ``rostersync/service/notify.py`` reports what has changed in it. Counts
only, no people. Nothing here writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from core.storage.stored import from_json
from sync.rules.quarantine import is_stale, read_health
from sync.rules.return_guard import PAUSED_WORDS, TROUBLED_WORDS
from sync.rules.season import Season
from sync.rules.sync_times import next_run
from sync.run.calendar import Calendar, calendar_of
from sync.run.display import PLAN, RUN, UPLOAD, shown_id, shown_time
from sync.views.waiting import COUNT_WAITING

Json = dict[str, Any]

NEEDS = ("stopped", "failed", "upload", "held", "drifted", "stale", "conflicts")
"""What needs a person, the most pressing first."""

WATCH = ("slowed", "failing", "vendor", "waiting")
"""What ends by itself but is worth a look."""


def overview(connection: Connection, now: datetime, slug: str | None = None) -> list[Json]:
    """Return the state of each district, or of one, sorted by what needs a person.

    ``needs`` and ``watch`` list slugs of ``NEEDS`` and ``WATCH``; times are UTC.
    """
    where = "" if slug is None else " WHERE d.slug = :slug"
    about = {} if slug is None else {"slug": slug}
    rows = connection.execute(text(f"SELECT d.* FROM districts d{where}"), about).all()
    sources: dict[int, list[Any]] = defaultdict(list)
    for row in connection.execute(text(f"{_SOURCES}{where}{_IN_ORDER}"), about):
        sources[row.district_id].append(row)
    held = {row.district_id: row for row in connection.execute(text(f"{_HELD}{where}"), about)}
    conflicts = {
        row[0]: row[1] for row in connection.execute(text(f"{_CONFLICTS}{where}{_BY}"), about)
    }
    waiting = {
        row[0]: int(row[1])
        for row in connection.execute(text(f"{COUNT_WAITING}{where}{_BY_WAITING}"), about)
    }
    runs = {row.district_id: row for row in connection.execute(text(f"{_RUNS}{where}"), about)}
    uploads: dict[int, list[str]] = defaultdict(list)
    for row in connection.execute(text(f"{_UPLOADS}{where}{_UPLOADS_IN_ORDER}"), about):
        if from_json(row.counts).get("waited"):
            uploads[row.district_id].append(shown_id(UPLOAD, row.id))
    found = [
        _one(
            calendar_of(row), sources[row.id], held.get(row.id), int(conflicts.get(row.id, 0)),
            uploads[row.id], runs.get(row.id), waiting.get(row.id, 0), now,
        )
        for row in rows
    ]  # fmt: skip
    return sorted(found, key=_urgency)


_SOURCES = (
    "SELECT s.id, s.district_id, s.name, s.health, s.complete_at, s.vendor_state, s.vendor_time"
    " FROM sources s JOIN districts d ON d.id = s.district_id AND s.configured AND NOT s.retired"
)
_IN_ORDER = " ORDER BY s.precedence, s.id"
_HELD = (
    "SELECT p.district_id, p.id, p.counts, p.held, p.status, p.expires_at FROM plans p"
    " JOIN districts d ON d.id = p.district_id AND p.standing"
)
_CONFLICTS = (
    "SELECT c.district_id, COUNT(*) FROM conflicts c JOIN districts d ON d.id = c.district_id"
    " AND c.status = 'open'"
)
_UPLOADS = (
    "SELECT u.id, u.district_id, u.counts FROM uploads u JOIN districts d ON d.id = u.district_id"
    " AND u.status = 'FAILED' AND u.kept_until IS NOT NULL AND NOT EXISTS (SELECT 1 FROM uploads l"
    "  WHERE l.source_id = u.source_id AND l.id > u.id AND l.status = 'PROCESSED')"
)
"""Files that waited and then could not be read: nobody was there to be told."""
_UPLOADS_IN_ORDER = " ORDER BY u.id"
_BY = " GROUP BY c.district_id"
_BY_WAITING = " GROUP BY w.district_id"
_RUNS = (
    "SELECT r.district_id, r.id, r.kind, r.status, r.started_at, r.finished_at FROM districts d"
    " JOIN runs r ON r.id = (SELECT MAX(l.id) FROM runs l WHERE l.district_id = d.id)"
)


def _one(
    found: Calendar,
    sources: Sequence[Any],
    held: Any,
    conflicts: int,
    uploads: Sequence[str],
    last: Any,
    waiting: int,
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
            "started_at": shown_time(_time(last.started_at)),
        }
    )
    states = {one["state"] for one in shown_sources}
    facts = {
        "stopped": "stopped" in states,
        "failed": run is not None and run["status"] == "failed",
        "upload": bool(uploads),
        "held": plan is not None and plan["status"] == "held",
        "drifted": run is not None and run["status"] == "drifted",
        "stale": any(one["stale"] for one in shown_sources),
        "conflicts": conflicts > 0,
        "slowed": "slowed" in states,
        "failing": "failing" in states,
        "vendor": any(
            one["vendor_state"] in PAUSED_WORDS | TROUBLED_WORDS for one in shown_sources
        ),
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
        "waiting_schools": len(found.state.waiting) if not found.state.waited_out else 0,
        "waiting_people": waiting,
        "sources": shown_sources,
        "last_run": run,
    }


def _source(row: Any, found: Calendar, season: Season, now: datetime) -> Json:
    health = read_health(from_json(row.health))
    complete_at = _time(row.complete_at)
    good = health.good_at or complete_at
    return {
        "source": row.name,
        "state": health.state,
        "failures": health.failures,
        "code": health.code,
        "next_try": shown_time(health.next_try),
        "good_at": shown_time(good),
        "stale": season is not Season.PAUSED
        and bool(found.settings.sync_times)
        and _is_stale(health, complete_at, found, now),
        "vendor_state": row.vendor_state,
        "vendor_time": shown_time(_time(row.vendor_time)),
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
    counts = {word: number for word, number in from_json(row.counts).items() if number}
    return {
        "id": shown_id(PLAN, row.id),
        "status": row.status,
        "counts": counts,
        "held": from_json(row.held),
        "expires_at": shown_time(_time(row.expires_at)),
    }


def _urgency(one: Json) -> tuple[Any, ...]:
    first = NEEDS.index(one["needs"][0]) if one["needs"] else len(NEEDS)
    second = WATCH.index(one["watch"][0]) if one["watch"] else len(WATCH)
    return (first, -len(one["needs"]), second, one["district"])


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
