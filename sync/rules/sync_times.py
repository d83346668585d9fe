"""The schedule: when a district's syncs are due, and what its calendar skips.

Used by the loop that stays up, by ``schedule`` and by ``status``. Values in, values out: no clock.
Results are in UTC; ``sync_times`` are local times ("05:00") of the district's zone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.settings import DistrictSettings
from sync.rules.return_guard import SeasonState
from sync.rules.season import Season, local_day, look_up

SPREAD = timedelta(minutes=5)
"""Districts that share a time start within this long after it."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_AROUND = (1, 0, -1, -2)
"""Days in which the last due time may lie: tomorrow, where a clock went back over midnight, and
one more behind, where a zone left out a whole day."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the calendar: a sync that is due, and whether it runs.

    ``due`` is the moment of its time on the clock (local, aware), ``starts`` when it starts (UTC):
    a little later, so that districts that share a time do not start at once. ``why`` says what
    skips it or lets it do less; "" for a plain run. ``note`` says where the clock was changed.
    """

    due: datetime
    starts: datetime
    season: Season
    runs: bool
    why: str
    note: str = ""


def due_times(day: date, timezone: str, sync_times: Iterable[str]) -> list[datetime]:
    """Return the moments at which the syncs of one local day are due: UTC, strictly increasing.

    A time that exists twice on that day is due the first time. One that the clock jumps over is
    due when the clock goes on; times that meet there are one sync.
    """
    zone = ZoneInfo(timezone)
    clocks = (time.fromisoformat(clock) for clock in sync_times)
    return sorted({_first_moment(datetime.combine(day, clock), zone) for clock in clocks})


def next_due(after: datetime, timezone: str, sync_times: Sequence[str]) -> datetime | None:
    """Return the first due time later than ``after`` (aware); None without sync times."""
    if not sync_times:
        return None
    day = local_day(after, timezone)
    while True:
        for due in due_times(day, timezone, sync_times):
            if due > after:
                return due
        day += _DAY


def last_due(until: datetime, timezone: str, sync_times: Sequence[str]) -> datetime | None:
    """Return the last due time not later than ``until`` (aware); None without sync times."""
    today = local_day(until, timezone)
    for step in _AROUND:
        for due in reversed(due_times(today + step * _DAY, timezone, sync_times)):
            if due <= until:
                return due
    return None


def catch_up(
    handled: datetime | None, now: datetime, timezone: str, sync_times: Sequence[str], slug: str
) -> datetime | None:
    """Return the due time whose sync should start now, if there is one.

    ``handled``: the last due time that was taken care of, or the moment since when the district is
    watched; None: not watched until now, so nothing was missed. However many syncs a sleeping
    machine missed, this is the last of them only: one run reads everything there is to read.
    """
    if handled is None:
        return None
    due = last_due(now - start_offset(slug), timezone, sync_times)
    return due if due is not None and due > handled else None


def start_offset(slug: str) -> timedelta:
    """Return how long after its time a district's sync starts: whole seconds, under ``SPREAD``.

    It depends on the slug alone: it is the same on every machine and day, and no district moves
    because another one comes or goes.
    """
    number = int.from_bytes(hashlib.blake2b(slug.encode(), digest_size=8).digest())
    return timedelta(seconds=number % int(SPREAD.total_seconds()))


def calendar(
    district: DistrictSettings,
    state: SeasonState,
    first: date,
    last: date,
    after: datetime | None = None,
) -> Iterator[Row]:
    """Yield what is due from the first to the last local day, both included, in order of time.

    ``after``: leave out what starts at that moment or before it.
    """
    zone = ZoneInfo(district.timezone)
    offset = start_offset(district.slug)
    seasons: dict[date, tuple[Season, str]] = {}
    latest: datetime | None = None
    day = first
    while day <= last:
        for due in due_times(day, district.timezone, district.sync_times):
            if latest is not None and due <= latest:
                continue  # a day that the zone left out falls on the next one's midnight
            latest = due
            starts = due + offset
            if after is not None and starts <= after:
                continue
            on_day = starts.astimezone(zone).date()
            if on_day not in seasons:
                seasons[on_day] = look_up(on_day, district.pause, state.hand, state.resumed)
            season, why = seasons[on_day]
            yield Row(
                due=due.astimezone(zone),
                starts=starts,
                season=season,
                runs=season is not Season.PAUSED,
                why="" if season is Season.NORMAL else why,
                note=_note(day, due, zone, district.sync_times),
            )
        if day == date.max:
            return
        day += _DAY


def next_run(district: DistrictSettings, state: SeasonState, after: datetime) -> Row | None:
    """Return the next sync that no pause skips, starting later than ``after`` (aware).

    None without sync times, and in a pause that has no end.
    """
    if not district.sync_times:
        return None
    day = local_day(after, district.timezone) - _DAY
    while True:
        if look_up(day, district.pause, state.hand, state.resumed)[0] is Season.PAUSED:
            until = state.on(day, district.pause).until
            if until is None:
                return None
            # the last day too: a sync due late on it may start after midnight
            day = max(day, until)
        for row in calendar(district, state, day, day + _DAY, after):
            if row.runs:
                return row
        day += _DAY


def _first_moment(clock: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment (UTC) at which a zone's clock shows ``clock`` (naive) or later."""
    moment = clock.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if _shown(moment, zone) == clock:
        return moment
    # Jumped over. fold=0 counted from before the jump and fold=1 from after it (PEP 495), so that
    # the jump lies between the two moments.
    before, after = clock.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    while after - before > _SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        before, after = (middle, after) if _shown(middle, zone) < clock else (before, middle)
    return after


def _shown(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _note(day: date, due: datetime, zone: ZoneInfo, sync_times: Iterable[str]) -> str:
    """Return a sentence for a due time whose local time is missing or comes twice that day."""
    shown = due.astimezone(zone)
    jumped = []
    for clock in sorted(sync_times):
        asked = datetime.combine(day, time.fromisoformat(clock))
        if _first_moment(asked, zone) == due and shown.replace(tzinfo=None) != asked:
            jumped.append(clock)
    if jumped:
        return f"the clock jumps over {', '.join(jumped)}"
    if shown.replace(fold=1).utcoffset() != shown.utcoffset():
        return f"{shown:%H:%M} comes twice, this is the first"
    return ""
