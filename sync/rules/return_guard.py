"""The guard: whether a run is the first complete one after a pause, and how it is then judged.

Used by the engine between reading and planning, and by ``pause`` and ``resume``. Values in, values
out; ``SeasonState`` is what a district remembers from one run to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.errors import UsageError
from core.settings import Grace, Pause
from sync.rules.season import (
    HandPause,
    Season,
    SeasonOnDay,
    is_paused,
    newest_year_end,
    season_on,
)

UNCHANGED_DAYS = 14
"""After this many days without any change, a rollover may explain leavers (S6)."""

_DAY = timedelta(days=1)
_FETCHES_TAKE = timedelta(days=7)
"""How much longer than its days the fetches of grace may take; then nobody is explained."""
_REMEMBERED = timedelta(days=400)


PAUSED_WORDS = frozenset({"paused", "suspended", "disconnected"})
"""States of a vendor that count as its own pause (S3): its frozen data are still read."""

TROUBLED_WORDS = frozenset({"pending", "error"})
"""States in which a vendor's data are read and shown, and nobody leaves (S3).

Clever: https://dev.clever.com/docs/districts, ``state``.
"""


class Guard(StrEnum):
    """How a run is judged because of a pause before it."""

    NONE = "none"
    """The limits alone judge."""
    EXPLAINS = "explains"
    """A rollover explains what it can; the limits judge the rest (S6)."""
    HOLDS = "holds"
    """Guarded (S3): a rollover explains what it can; every other taking is held (S5)."""


class SeasonState(BaseModel):
    """What ``districts.season_state`` keeps.

    ``SeasonState.model_validate(stored)`` reads it, also the empty one of a new district;
    ``model_dump(mode="json")`` writes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hand: HandPause | None = None
    resumed: date | None = None
    """The day of the last resume by hand, see ``season_on``."""
    complete_on: date | None = None
    """The day of the last complete run outside all of our own pauses."""
    paused_seen: date | None = None
    """The last day since then in one of our own pauses: the guard is still due."""
    vendor_paused: Mapping[str, date] = Field(default_factory=dict)
    """Source → the last day it was seen in its vendor's own pause, and not complete since."""
    vendor_since: Mapping[str, date] = Field(default_factory=dict)
    """Source → the first day on which it was seen in that pause."""
    year_turned: bool = False
    """The last pause spanned the turn of the year: schools are expected to roll over (S6)."""
    returned: date | None = None
    """The first day after the last pause, from which the days of S6 count. None in a pause."""
    past: tuple[HandPause, ...] = ()
    """Past pauses by hand, of the last year or so: grace did not advance in them (S7)."""
    waiting: tuple[str, ...] = ()
    """Ids of the schools that had not rolled over: the guard still applies to them (S6)."""
    guarded_on: date | None = None
    """The day of the last complete guarded run, or of the last rollover of a school that waited.
    People who were gone by then are judged like in that run once their grace is over."""
    waited_out: bool = False
    """The 14 days of S6 are over: what waited went to the held plan, and from here on a rollover of
    these schools still explains, but the limits judge the rest. After a winter break, for example,
    no school rolls over, and its people must not need approvals until summer."""

    def on(self, day: date, pauses: Sequence[Pause]) -> SeasonOnDay:
        """Return the season of a day, including pauses by hand."""
        return season_on(day, pauses, self.hand, self.resumed)

    def paused_on(self, day: date, pauses: Sequence[Pause]) -> bool:
        """Return whether a day is or was in a pause, including past pauses by hand."""
        return any(
            one.since <= day and (one.until is None or day <= one.until) for one in self.past
        ) or is_paused(day, pauses, self.hand, self.resumed)

    def _with_past(self, today: date) -> tuple[HandPause, ...]:
        if self.hand is None:
            return self.past
        last = today if self.hand.until is None else min(self.hand.until, today)
        over = self.hand.model_copy(update={"until": max(last, self.hand.since)})
        kept = [one for one in self.past if one.until is None or one.until > today - _REMEMBERED]
        return (*kept, over)


def paused_by_hand(
    state: SeasonState,
    today: date,
    until: date | None = None,
    mode: Literal["paused", "additions_only"] = "paused",
) -> SeasonState:
    """Return the state after ``pause``. It takes effect at once, and the guard is due after it.

    Raises ``UsageError`` if it would have ended already.
    """
    if until is not None and until < today:
        raise UsageError(
            f"A pause until {until} would be over already, today is {today}.",
            hint="Give the last day of the pause, today or later.",
        )
    hand = HandPause(since=today, until=until, mode=mode)
    past = state._with_past(today)
    return state.model_copy(
        update={"hand": hand, "past": past, "paused_seen": today, "returned": None}
    )


def resumed_by_hand(state: SeasonState, today: date, pauses: Sequence[Pause]) -> SeasonState:
    """Return the state after ``resume``; unchanged if there is no pause today."""
    if state.on(today, pauses).season is Season.NORMAL:
        return state
    past = state._with_past(today)
    return state.model_copy(
        update={"hand": None, "past": past, "resumed": today, "paused_seen": today}
    )


def with_other_calendar(state: SeasonState, before: SeasonOnDay, after: SeasonOnDay) -> SeasonState:
    """Return the state after a district file changed the pauses; what they require is not lost.

    ``before`` and ``after`` are the same day by the old calendar and by the new one. A pause that
    is removed from the file, during or after it, still requires its guard (S3), and its days still
    were days of a pause (S7).
    """
    day = before.day
    if before.season is not Season.NORMAL:
        if after.season is not Season.NORMAL:
            return state
        since = min(before.since or day, day)
        mode: Literal["paused", "additions_only"] = (
            "paused" if before.season is Season.PAUSED else "additions_only"
        )
        over = HandPause(since=since, until=max(since, day - _DAY), mode=mode)
        past = (*state.past, over)
        return state.model_copy(update={"paused_seen": day, "past": past, "returned": None})
    back = returns_from(state, before)
    if back is None or returns_from(state, after) is not None or after.season is not Season.NORMAL:
        return state
    return state.model_copy(update={"paused_seen": back - _DAY})


def returns_from(
    state: SeasonState, on: SeasonOnDay, vendor_paused: Mapping[str, bool] | None = None
) -> date | None:
    """Return the first day after the pause that a run on this day returns from, if it does.

    None in a pause, and when a complete run has come since the last one. A pause that passed
    while nothing ran counts like any other. For ``vendor_paused`` see ``advance``.
    """
    if on.season is not Season.NORMAL:
        return None
    back: list[date] = []
    marks = [mark for mark in (state.complete_on, state.paused_seen) if mark is not None]
    if on.since is not None and any(mark < on.since for mark in marks):
        back.append(on.since)
    if state.paused_seen is not None:
        back.append(state.paused_seen + _DAY)
    for source, paused in (vendor_paused or {}).items():
        if not paused and source in state.vendor_paused:
            back.append(state.vendor_paused[source] + _DAY)
    return min(max(back), on.day) if back else None


def spans_year_end(
    state: SeasonState, last_day: date, pauses: Sequence[Pause], year_end: str
) -> bool:
    """Say whether the pause that ends with ``last_day`` spans the turn of the year (S6).

    The turn is the night after ``year_end``: a pause that has one of its two days spans it. Of
    several pauses without a complete run between them one is enough.
    """
    old = newest_year_end(last_day, year_end)
    new = old + _DAY
    if any(
        state.vendor_since.get(source, last) <= new and old <= last
        for source, last in state.vendor_paused.items()
    ):
        return True
    if state.complete_on is not None and state.complete_on > old:
        return False  # the guard of that pause was used up
    return any(state.paused_on(day, pauses) for day in (old, new) if day <= last_day)


def advance(
    state: SeasonState,
    on: SeasonOnDay,
    *,
    complete: bool,
    during_pause: bool = False,
    vendor_paused: Mapping[str, bool] | None = None,
    unchanged_since: date | None = None,
    pauses: Sequence[Pause] = (),
    year_end: str = "06-30",
) -> tuple[SeasonState, Guard]:
    """Return how to judge a run, and the state to keep if the run is kept.

    Call it between reading and planning. ``complete``: every source that the district syncs was
    read completely. ``vendor_paused``: for each source read, whether its vendor is in a pause of
    its own (Clever ``paused``, a GG4L suspension) or the district was disconnected (S3);
    ``unchanged_since``: the last day before this run on which the rosters changed. ``pauses`` and
    ``year_end`` are the district's: they say whether a rollover is expected (S6). A run that stores
    nothing (``plan``) discards the state. The guard is due after any pause and is used up by a
    complete run outside a pause; with ``during_pause`` a run in a pause is guarded and uses up
    nothing (S1).
    """
    vendors = dict(vendor_paused or {})
    seen = dict(state.vendor_paused) | {name: on.day for name, paused in vendors.items() if paused}
    since = {name: state.vendor_since.get(name, day) for name, day in seen.items()}
    if on.season is not Season.NORMAL:
        guarded = during_pause and on.season is Season.PAUSED
        update: dict[str, Any] = {
            "paused_seen": on.day, "vendor_paused": seen, "vendor_since": since, "returned": None,
            "year_turned": spans_year_end(state, on.until or on.day, pauses, year_end),
        }  # fmt: skip
        return state.model_copy(update=update), Guard.HOLDS if guarded else Guard.NONE
    back = returns_from(state, on, vendors)
    after: dict[str, Any] = {"vendor_paused": seen, "vendor_since": since}
    if back is not None:
        spans = spans_year_end(state, back - _DAY, pauses, year_end)
        after |= {"returned": back, "year_turned": spans}
    if complete:
        owed = {name: day for name, day in seen.items() if vendors.get(name, True)}
        after |= {"vendor_paused": owed, "complete_on": on.day, "paused_seen": None}
        after |= {"vendor_since": {name: since[name] for name in owed}}
        if back is not None:
            after |= {"waiting": (), "waited_out": False}
    return state.model_copy(update=after), _guard(on.day, back, unchanged_since)


def _guard(day: date, back: date | None, unchanged_since: date | None) -> Guard:
    if back is not None:
        return Guard.HOLDS
    if unchanged_since is not None and (day - unchanged_since).days >= UNCHANGED_DAYS:
        return Guard.EXPLAINS
    return Guard.NONE


def wait_for(
    state: SeasonState,
    schools: Iterable[str],
    *,
    complete_on: date | None = None,
    guarded: bool = False,
) -> SeasonState:
    """Return the state after a kept run that leaves these schools waiting for their rollover.

    ``complete_on``: the day of the run, if it was complete; ``guarded``: it used the guard up.
    """
    waiting = tuple(sorted(set(schools)))
    over = state.waited_out or (complete_on is not None and is_late(state, complete_on))
    update: dict[str, Any] = {"waiting": waiting, "waited_out": bool(waiting) and over}
    if complete_on is not None and (guarded or set(waiting) < set(state.waiting)):
        update["guarded_on"] = complete_on
    return state.model_copy(update=update)


def graced_on(state: SeasonState, grace: Grace, day: date) -> date | None:
    """Return ``guarded_on`` while somebody who was gone by then may still be in grace (S7)."""
    if state.guarded_on is None or (grace.days == 0 and grace.fetches == 1):
        return None
    over = (day - state.guarded_on).days > grace.days + _FETCHES_TAKE.days
    return None if over else state.guarded_on


def held_from(state: SeasonState) -> date | None:
    """Return the first day on which nobody waits any more (S6); None while a pause lasts."""
    return None if state.returned is None else state.returned + (UNCHANGED_DAYS - 1) * _DAY


def is_late(state: SeasonState, day: date) -> bool:
    """Return whether the pause ended so long ago that nobody waits any longer (S6).

    ``returned`` is the day after its last day, so that day 14 is counted from the pause's end.
    """
    return state.returned is not None and (day - state.returned).days + 1 >= UNCHANGED_DAYS
