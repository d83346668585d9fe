"""What is due: the districts that a service should sync now, and which due times are handled.

A due time counts as handled when its run has ended, whatever the result. A service that is killed
in between runs it again: syncing twice applies nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, or_, select, update

from core.storage.database import Database
from core.storage.schema import District, Upload
from sync.rules.season import Season
from sync.rules.sync_times import catch_up
from sync.run.calendar import Calendar, calendar_of
from sync.run.display import local_moment
from sync.sources.received_files import PENDING, PROCESSING, QUEUED


@dataclass(frozen=True, slots=True)
class Due:
    """One sync that should start; of several missed ones, only the last (it catches up once)."""

    slug: str
    district_id: int
    at: datetime
    """The due time, UTC."""
    paused: bool
    """A pause skips it: nothing is run."""
    zone: str = "UTC"
    """The time zone of the district, in which its due time is told."""

    @property
    def told(self) -> str:
        """The due time on the district's own clock."""
        return local_moment(self.at.isoformat(), self.zone)


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
        since = row.handled_due
        at = catch_up(since, now, settings.timezone, settings.sync_times, settings.slug)
        if not settings.sync_times and row.id in waited_for:
            at = _today(almanac, now) if _today(almanac, now) > since else None
        if at is not None:
            paused = almanac.on(now).season is Season.PAUSED
            found.append(Due(settings.slug, int(row.id), at, paused, settings.timezone))
    yield from sorted(found, key=lambda due: (due.at, due.slug))


def _today(almanac: Calendar, now: datetime) -> datetime:
    """Return when a district's day began, which is when uploads are read without sync times."""
    day = almanac.today(now)
    return datetime(day.year, day.month, day.day, tzinfo=almanac.settings.zone).astimezone(UTC)


def handled(database: Database, district_id: int, at: datetime) -> None:
    """Record that everything due up to ``at`` is handled; this never goes back."""
    with database.write() as connection:
        connection.execute(_HANDLED, {"district": district_id, "at": at})


def is_handled(database: Database, district_id: int, at: datetime) -> bool:
    """Say whether what was due at ``at`` has been taken care of."""
    with database.read() as connection:
        found = connection.execute(_HANDLED_UNTIL, {"district": district_id}).scalar()
    return found is not None and found >= at


_HANDLED_UNTIL = select(District.handled_due).where(District.id == bindparam("district"))
_DISTRICTS = select(
    District.id, District.slug, District.settings, District.season_state, District.handled_due
)
_WAITING_UPLOADS = (
    select(Upload.district_id)
    .where(Upload.status.in_((PENDING, QUEUED, PROCESSING)), Upload.original.is_not(None))
    .distinct()
)
_HANDLED = (
    update(District.table)
    .where(
        District.id == bindparam("district"),
        or_(District.handled_due.is_(None), District.handled_due < bindparam("at")),
    )
    .values(handled_due=bindparam("at"))
)
