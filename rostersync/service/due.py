"""What is due: the districts that a service should sync now, and which due times are handled.

A due time counts as handled when its run has ended, whatever the result. A service that is killed
in between runs it again: syncing twice applies nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from core.storage.database import Database
from core.storage.stored import utc_text
from sync.rules.season import Season
from sync.rules.sync_times import catch_up
from sync.run.calendar import Calendar, calendar_of


@dataclass(frozen=True, slots=True)
class Due:
    """One sync that should start; of several missed ones, only the last (it catches up once)."""

    slug: str
    district_id: int
    at: datetime
    """The due time, UTC."""
    paused: bool
    """A pause skips it: nothing is run."""


class Calendars:
    """The calendars of all districts, parsed again only when they change."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any, Calendar]] = {}

    def of(self, row: Any) -> Calendar:
        """Return the calendar of a row of ``districts``."""
        known = self._known.get(row.id)
        if known is None or known[0] != row.settings or known[1] != row.season_state:
            known = (row.settings, row.season_state, calendar_of(row))
            self._known[row.id] = known
        return known[2]


def due_now(database: Database, calendars: Calendars, now: datetime) -> Iterator[Due]:
    """Yield what is due, the longest due first. A new district is watched from now on."""
    found = []
    with database.read() as connection:
        rows = connection.execute(_DISTRICTS).all()
        waited_for = set(connection.execute(_WAITING_UPLOADS).scalars())
    for row in rows:
        almanac = calendars.of(row)
        if row.handled_due is None:
            handled(database, int(row.id), now)
            continue
        settings = almanac.settings
        since = datetime.fromisoformat(row.handled_due)
        at = catch_up(since, now, settings.timezone, settings.sync_times, settings.slug)
        if not settings.sync_times and row.id in waited_for:
            at = _today(almanac, now) if _today(almanac, now) > since else None
        if at is not None:
            paused = almanac.on(now).season is Season.PAUSED
            found.append(Due(settings.slug, int(row.id), at, paused))
    yield from sorted(found, key=lambda due: (due.at, due.slug))


def _today(almanac: Calendar, now: datetime) -> datetime:
    """Return when a district's day began, which is when uploads are read without sync times."""
    day = almanac.today(now)
    return datetime(day.year, day.month, day.day, tzinfo=almanac.settings.zone).astimezone(UTC)


def handled(database: Database, district_id: int, at: datetime) -> None:
    """Record that everything due up to ``at`` is handled; this never goes back."""
    with database.write() as connection:
        connection.execute(_HANDLED, {"id": district_id, "at": utc_text(at)})


def is_handled(database: Database, district_id: int, at: datetime) -> bool:
    """Say whether what was due at ``at`` has been taken care of."""
    with database.read() as connection:
        found = connection.execute(_HANDLED_UNTIL, {"id": district_id}).scalar()
    return found is not None and datetime.fromisoformat(str(found)) >= at


_HANDLED_UNTIL = text("SELECT handled_due FROM districts WHERE id = :id")
_DISTRICTS = text("SELECT id, slug, settings, season_state, handled_due FROM districts")
_WAITING_UPLOADS = text(
    "SELECT DISTINCT district_id FROM uploads"
    " WHERE status IN ('PENDING', 'QUEUED', 'PROCESSING') AND original IS NOT NULL"
)
_HANDLED = text(
    "UPDATE districts SET handled_due = :at WHERE id = :id"
    " AND (handled_due IS NULL OR handled_due < :at)"
)
