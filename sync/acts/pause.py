"""Pausing: ``pause`` and ``resume`` by hand, and the current season of a district.

Both take the apply lock briefly and never wait for a run: a run under way notices the pause before
it applies anything, and then changes nobody (rule 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, select

from core.failpoints import failpoint
from core.storage.database import Database
from core.storage.schema import District
from sync.planning.return_check import forget_pupils
from sync.rules.return_guard import (
    PAUSED_WORDS,
    SeasonState,
    paused_by_hand,
    resumed_by_hand,
    returns_from,
)
from sync.rules.season import Season, next_change
from sync.rules.sync_times import calendar, next_run
from sync.run import display, find
from sync.run.calendar import Calendar, calendar_of, keep_state
from sync.run.clock import Clock, utc_now
from sync.run.run_rows import close_run_in, open_run

Mode = Literal["paused", "additions_only"]


def calendar_of_district(connection: Connection, slug: str) -> Calendar:
    """Read a district's calendar. Raises ``UsageError`` for an unknown district."""
    return calendar_of(find.district_row(connection, slug))


def pause_district(
    database: Database,
    slug: str,
    *,
    until: date | None = None,
    mode: Mode = "paused",
    actor: str,
    now: Clock | None = None,
) -> dict[str, Any]:
    """Pause a district from now on, and return its season as ``season_json`` gives it.

    ``until`` is the last day, None: until ``resume_district``. A pause by hand replaces the one
    before it. Raises ``UsageError``.
    """
    at = (now or utc_now)()
    with database.write() as connection:
        found = _locked(database, connection, slug)
        new = found.on(at).season is Season.NORMAL
        state = paused_by_hand(found.state, found.today(at), until, mode)
        if new:  # what was remembered belongs to another pause
            forget_pupils(connection, found.district_id)
        return _keep(connection, found, state, "pause", actor, at)


def resume_district(
    database: Database, slug: str, *, actor: str, now: Clock | None = None
) -> dict[str, Any]:
    """End today's pause, by hand or by the calendar, and return the season afterwards.

    The next complete run is guarded. Without a pause today nothing changes (``changed`` False).
    """
    at = (now or utc_now)()
    with database.write() as connection:
        found = _locked(database, connection, slug)
        state = resumed_by_hand(found.state, found.today(at), found.settings.pause)
        return _keep(connection, found, state, "resume", actor, at)


def _locked(database: Database, connection: Connection, slug: str) -> Calendar:
    database.apply_lock(connection, calendar_of_district(connection, slug).district_id)
    return calendar_of_district(connection, slug)


def _keep(
    connection: Connection,
    found: Calendar,
    state: SeasonState,
    act: str,
    actor: str,
    at: datetime,
) -> dict[str, Any]:
    changed = state != found.state
    if changed:
        keep_state(connection, found.district_id, state)
        failpoint("season.kept")
        run_id = open_run(connection, found.district_id, act, actor, at)
        close_run_in(connection, run_id, "applied", at)
        failpoint("season.told")
    after = Calendar(found.district_id, found.settings, state)
    vendors = vendor_states(connection, found.district_id)
    return {**season_json(after, at, vendors), "changed": changed}


def vendor_states(connection: Connection, district_id: int) -> dict[str, str]:
    """Return source → the vendor's own state, for vendors that told one."""
    return {
        source.name: source.vendor_state
        for source in find.sources_in_force(connection, district_id)
        if source.vendor_state is not None
    }


def season_json(found: Calendar, now: datetime, vendors: Mapping[str, str]) -> dict[str, Any]:
    """Return a district's season: ours, the vendors' own, and what comes next."""
    on = found.on(now)
    follows = next_change(on.day, found.settings.pause, found.state.hand, found.state.resumed)
    row = next_run(found.settings, found.state, now)
    back = {
        name: False for name in found.state.vendor_paused if vendors.get(name) not in PAUSED_WORDS
    }
    return {
        "district": found.settings.slug,
        "timezone": found.settings.timezone,
        "season": on.season.value,
        "why": on.why,
        "since": on.since,
        "until": on.until,
        "next_season": None
        if follows is None
        else {"from": follows, "season": found.state.on(follows, found.settings.pause).season},
        "guard_owed": on.season is Season.NORMAL
        and returns_from(found.state, on, back) is not None,
        "waiting_schools": len(found.state.waiting),
        "vendors": dict(vendors),
        "next_run": None if row is None else display.shown_time(row.starts),
    }


def calendars(
    connection: Connection,
    slug: str | None,
    *,
    now: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
    days: int = 7,
) -> Iterator[dict[str, Any]]:
    """Yield the calendar of one district, or of each: its days, with the syncs due on them.

    From ``first`` (else today) to ``last``, at most ``days`` days unless ``last`` is given.
    Times are local times of the district. Raises ``UsageError``.
    """
    at = now or utc_now()
    rows = (
        District.all_of(connection.execute(select(District.table).order_by(District.slug)))
        if slug is None
        else [find.district_row(connection, slug)]
    )
    for row in rows:
        found = calendar_of(row)
        start = first or found.today(at)
        end = last or start + timedelta(days=days - 1)
        yield {
            "district": found.settings.slug,
            "timezone": found.settings.timezone,
            "days": _days(found, start, end),
        }


def _days(found: Calendar, first: date, last: date) -> list[dict[str, Any]]:
    shown: dict[date, dict[str, Any]] = {}
    owed = returns_from(found.state, found.state.on(first, found.settings.pause)) is not None
    for row in calendar(found.settings, found.state, first, last):
        day = row.due.date()
        if day not in shown:
            shown[day] = {
                "day": day,
                "season": row.season.value,
                "why": row.why,
                "guarded": owed and row.season is Season.NORMAL,
                "runs": [],
            }
            owed = row.season is not Season.NORMAL
        shown[day]["runs"].append(
            {
                "at": f"{row.due:%H:%M}",
                "starts": display.shown_time(row.starts),
                "runs": row.runs,
                "note": row.note,
            }
        )
    return list(shown.values())
