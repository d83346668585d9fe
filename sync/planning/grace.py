"""Grace: people who are in no roster and have not left yet, and when they will (S7).

Used by the engine to count days, and by ``users --leaving``, ``status`` and the notifications.
Nothing here writes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from core.settings import Pause
from core.storage.schema import Census, School
from sync.rules.limits import DISTRICT, DISTRICT_ROLE, SCHOOL_ROLE, Group, allowed_in, rule_for
from sync.rules.return_guard import SeasonState, graced_on
from sync.rules.season import local_day
from sync.run.calendar import Calendar

_DAY = timedelta(days=1)
_HORIZON = 1_000
"""Days after which a pause counts as having no end."""


def paused_days(state: SeasonState, pauses: Sequence[Pause]) -> Callable[[date, date], int]:
    """Return a function that counts the days of a pause after one day, up to another."""

    @lru_cache(maxsize=4_000)
    def is_one(day: date) -> bool:
        return state.paused_on(day, pauses)

    @lru_cache(maxsize=1_000)
    def count(first: date, last: date) -> int:
        return sum(is_one(first + n * _DAY) for n in range(1, (last - first).days + 1))

    return count


@dataclass(frozen=True, slots=True)
class Leaver:
    """A person in grace. ``leaves_on`` is the first local day on which a run may archive them.

    None: they are in a pause without an end. ``fetches_left``: complete readings still to come.
    """

    user_id: str
    sources: tuple[str, ...]
    absent_since: date
    leaves_on: date | None
    fetches_left: int


def leaving(
    connection: Connection, found: Calendar, now: datetime, within: int | None = None
) -> Iterator[Leaver]:
    """Yield everybody in grace, in the order of their ids; ``within`` days only, if given.

    People who are protected, named in an open conflict or still shared by another source are not
    included, because they do not leave.
    """
    today = found.today(now)
    count = paused_days(found.state, found.settings.pause)

    @lru_cache(maxsize=1_000)
    def leaves_on(since: date, fetches: int) -> date | None:
        day = max(today, since)
        for _ in range(_HORIZON):
            paused = found.state.paused_on(day, found.settings.pause)
            enough = (day - since).days - count(since, day) >= found.settings.grace.days
            if enough and not paused and (fetches <= 0 or day > today or _more_today(found, now)):
                return day
            day += _DAY
        return None

    last = None if within is None else today + within * _DAY
    for user_id, rows in _people(connection, found):
        since = max(local_day(row.absent_since, found.settings.timezone) for row in rows)
        left = max(found.settings.grace.fetches - row.absent_fetches for row in rows)
        if (today - since).days - count(since, today) >= found.settings.grace.days and left <= 0:
            continue  # grace is over: the next run plans it, or the held plan names them
        day = leaves_on(since, left)
        if last is None or (day is not None and day <= last):
            names = tuple(dict.fromkeys(row.name for row in rows))
            yield Leaver(user_id, names, since, day, max(left, 0))


def _more_today(found: Calendar, now: datetime) -> bool:
    """Return whether another sync is due on this local day."""
    from sync.rules.sync_times import next_due

    due = next_due(now, found.settings.timezone, found.settings.sync_times)
    return due is not None and found.today(due) == found.today(now)


@dataclass(frozen=True, slots=True)
class _Absent:
    name: str
    source_id: int
    absent_since: datetime
    absent_fetches: int


def _people(connection: Connection, found: Calendar) -> Iterator[tuple[str, list[_Absent]]]:
    """Yield each user whose every hold is absent, with those holds."""
    rows: list[_Absent] = []
    last: str | None = None
    for user_id, name, source_id, since, fetches in connection.execute(
        _ABSENT_PEOPLE, {"district": found.district_id}
    ):
        if user_id != last:
            if last is not None:
                yield last, rows
            last, rows = user_id, []
        rows.append(_Absent(name, source_id, datetime.fromisoformat(since), fetches))
    if last is not None:
        yield last, rows


def warnings(connection: Connection, found: Calendar, now: datetime) -> list[dict[str, Any]]:
    """Return the limits that the people in grace will exceed if none of them comes back.

    Each ``{"limit", "source", "school", "role", "allowed", "found"}``: counts, no names. The limits
    count and hold when grace ends; until then there is time to look into it. After a pause there
    are none, because the guard judges those people and a rollover explains most.
    """
    if graced_on(found.state, found.settings.grace, found.today(now)) is not None:
        return []
    people: dict[Group, set[str]] = defaultdict(set)
    names: dict[int, str] = {}
    in_grace = {one.user_id for one in leaving(connection, found, now)}
    if not in_grace:
        return []
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for user_id, school_id, role in connection.execute(
        _PLACES_OF_ABSENT, {"district": found.district_id}
    ):
        places[user_id].append((school_id, role))
    for user_id, rows in _people(connection, found):
        if user_id not in in_grace:
            continue
        for row in rows:
            names[row.source_id] = row.name
            people[Group(row.source_id, DISTRICT)].add(user_id)
            for school_id, role in places[user_id] or [("", "")]:
                people[Group(row.source_id, SCHOOL_ROLE, school_id, role)].add(user_id)
                people[Group(row.source_id, DISTRICT_ROLE, "", role)].add(user_id)
    school_names = {
        str(number): str(name)
        for number, name in connection.execute(_SCHOOLS, {"district": found.district_id})
    }
    today, warned = found.today(now), []
    for group, leavers in sorted(people.items(), key=lambda one: (one[0].scope, one[0].school_id)):
        school = school_names.get(group.school_id, group.school_id)
        rule = rule_for(group, found.settings.limits, (group.school_id, school), today)
        held = connection.execute(
            _CENSUS,
            {
                "source": group.source_id, "scope": group.scope, "school": group.school_id,
                "role": group.role, "now": now,
            },
        ).scalar()  # fmt: skip
        allowed = allowed_in(group, int(held or 0), rule)
        if len(leavers) > allowed:
            warned.append(
                {
                    "limit": group.scope,
                    "source": names[group.source_id],
                    "school": school or None,
                    "role": group.role or None,
                    "allowed": allowed,
                    "found": len(leavers),
                }
            )
    return warned


_SCHOOLS = select(School.id, School.name).where(School.district_id == bindparam("district"))
_CENSUS = (
    select(Census.people)
    .where(
        Census.source_id == bindparam("source"),
        Census.scope == bindparam("scope"),
        Census.school_id == bindparam("school"),
        Census.role == bindparam("role"),
        Census.since <= bindparam("now"),
    )
    .order_by(Census.since.desc(), Census.plan_id.desc())
    .limit(1)
)


# --- Set-wise statements ---
# They begin with the open records, because everybody in grace is among them and those are few;
# records, links and users are then looked up by their keys.
_ABSENT_PEOPLE = text(
    "SELECT u.id, s.name, s.id, r.absent_since, r.absent_fetches FROM open_records w"
    " JOIN records r ON r.id = w.record_id"
    " JOIN sources s ON s.id = w.source_id JOIN links l ON l.record_id = r.id AND l.held"
    " JOIN users u ON u.id = l.target_id WHERE s.district_id = :district AND w.kind = 'user'"
    " AND NOT r.present AND r.absent_since IS NOT NULL AND u.status <> 'archived'"
    " AND NOT u.protected AND NOT EXISTS (SELECT 1 FROM links o JOIN records p"
    " ON p.id = o.record_id WHERE o.target_id = u.id AND p.present)"
    " ORDER BY u.id, s.precedence, s.id"
)
_PLACES_OF_ABSENT = text(
    "SELECT m.user_id, m.school_id, m.role FROM memberships m WHERE m.user_id IN"
    " (SELECT l.target_id FROM open_records w JOIN records r ON r.id = w.record_id"
    " JOIN sources s ON s.id = w.source_id JOIN links l ON l.record_id = r.id AND l.held"
    " WHERE s.district_id = :district AND w.kind = 'user' AND NOT r.present)"
)
