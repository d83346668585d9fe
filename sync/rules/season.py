"""The season of a day: what a district's calendar lets a run do on it.

Used by the engine before it judges a plan, by the schedule and by ``status``. Values in, values
out: no clock, no database. Days are local days of the district.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, model_validator

from core.settings import Pause

_DAY = timedelta(days=1)
_CYCLE = 9
"""Years: a window that stands on 02-29 comes back after eight years at most (1896, 1904)."""


class Season(StrEnum):
    """What runs may do. A stricter season wins over a milder one on the same day."""

    NORMAL = "normal"
    ADDITIONS_ONLY = "additions_only"
    """Creates, restores, links and adoptions only; the rest waits as open (S2)."""
    PAUSED = "paused"
    """No source changes anybody, but for one act asked for with ``--during-pause`` (S1)."""


class HandPause(BaseModel):
    """A pause by hand, from the day it was asked for. Without ``until``: until it is resumed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: date
    until: date | None = None
    """The last day of it."""
    mode: Literal["paused", "additions_only"] = "paused"

    @model_validator(mode="after")
    def _is_a_period(self) -> Self:
        if self.until is not None and self.until < self.since:
            raise ValueError("the pause would end before it starts")
        return self


@dataclass(frozen=True, slots=True)
class SeasonOnDay:
    """The season of one day. ``why`` is a phrase for people.

    ``since`` and ``until`` are the first and last day of the stretch of days with this same
    season around ``day``; None: it has no such end.
    """

    day: date
    season: Season
    why: str
    since: date | None
    until: date | None


def season_on(
    day: date,
    pauses: Sequence[Pause],
    hand: HandPause | None = None,
    resumed: date | None = None,
) -> SeasonOnDay:
    """Return the season of a day; every day has exactly one.

    Windows cover whole days, both ends included (S1). A window on 02-29 begins on 03-01, or ends
    on 02-28, in years without that day. ``resumed`` is the day of the last resume by hand: each
    configured window that covered it is silent from then on until that window ends, and comes
    again the next year. Where several windows meet, the strictest wins.
    """
    calendar = _Calendar(pauses, hand, resumed)
    season, why = calendar.look_up(day)
    return SeasonOnDay(day, season, why, calendar.first(day, season), calendar.last(day, season))


def look_up(
    day: date,
    pauses: Sequence[Pause],
    hand: HandPause | None = None,
    resumed: date | None = None,
) -> tuple[Season, str]:
    """Return the season of a day and why; much quicker than ``season_on``, which knows its ends."""
    return _Calendar(pauses, hand, resumed).look_up(day)


def is_paused(
    day: date,
    pauses: Sequence[Pause],
    hand: HandPause | None = None,
    resumed: date | None = None,
) -> bool:
    """Say whether a day has a pause of any mode; much quicker than ``season_on``."""
    return look_up(day, pauses, hand, resumed)[0] is not Season.NORMAL


ADDITIONS = frozenset({"create", "restore", "link", "adopt"})
"""The actions of a source that additions only lets through (S2)."""


def allows(season: Season, action: str, *, during_pause: bool = False) -> bool:
    """Return whether a source's change may be planned for applying; if not, it waits as open.

    Hand acts are not asked: they work in every season (rule 7).
    """
    if season is Season.PAUSED:
        return during_pause
    return season is Season.NORMAL or action in ADDITIONS


def at(
    now: datetime,
    timezone: str,
    pauses: Sequence[Pause],
    hand: HandPause | None = None,
    resumed: date | None = None,
) -> SeasonOnDay:
    """Return the season of the local day that holds ``now``. Raises ``ValueError`` if naive."""
    return season_on(local_day(now, timezone), pauses, hand, resumed)


def local_day(now: datetime, timezone: str) -> date:
    """Return the day that a district's calendar shows. Raises ``ValueError`` for a naive time."""
    if now.tzinfo is None:
        raise ValueError("a time without a zone has no local day")
    return now.astimezone(ZoneInfo(timezone)).date()


def newest_year_end(day: date, year_end: str) -> date:
    """Return the last day of the newest school year that ends on ``day`` or before it.

    ``year_end`` is MM-DD; 02-29 is 02-28 in years without that day.
    """
    found = _last_day(day.year, year_end)
    if found > day:
        found = date.min if day.year == date.min.year else _last_day(day.year - 1, year_end)
    return found


def next_change(
    day: date,
    pauses: Sequence[Pause],
    hand: HandPause | None = None,
    resumed: date | None = None,
) -> date | None:
    """Return the first day after ``day`` that has another season; None if there is none."""
    until = season_on(day, pauses, hand, resumed).until
    return None if until is None else _after(until)


class _Calendar:
    """The windows of a district, and on which days its season can turn."""

    def __init__(
        self, pauses: Sequence[Pause], hand: HandPause | None, resumed: date | None
    ) -> None:
        self.pauses = pauses
        self.hand = hand
        self.resumed = resumed

    def look_up(self, day: date) -> tuple[Season, str]:
        """Return the season of a day and why."""
        found = (Season.NORMAL, "no pause")
        if self.hand is not None and self._by_hand(self.hand, day):
            found = (Season(self.hand.mode), _hand_words(self.hand))
        for pause in self.pauses:
            start = _covers(pause, day)
            if start is None:
                continue
            if self.resumed is not None and start <= self.resumed <= day:
                if found[0] is Season.NORMAL:
                    found = (Season.NORMAL, f"resumed by hand on {self.resumed}")
            elif _STRICTNESS[Season(pause.mode)] > _STRICTNESS[found[0]]:
                found = (Season(pause.mode), _pause_words(pause))
        return found

    def first(self, day: date, season: Season) -> date | None:
        """Return the first day of the stretch around ``day``."""
        for year in reversed(self._years(day)):
            if year > day.year:
                continue
            for turn in sorted(self._turns(year), reverse=True):
                if date.min < turn <= day and self.look_up(turn - _DAY)[0] is not season:
                    return turn
        return None

    def last(self, day: date, season: Season) -> date | None:
        """Return the last day of the stretch around ``day``."""
        for year in self._years(day):
            if year < day.year:
                continue
            for turn in sorted(self._turns(year)):
                if turn > day and self.look_up(turn)[0] is not season:
                    return turn - _DAY
        return None

    @staticmethod
    def _by_hand(hand: HandPause, day: date) -> bool:
        return hand.since <= day and (hand.until is None or day <= hand.until)

    def _years(self, day: date) -> list[int]:
        """The years in which a stretch that holds ``day`` can end.

        Far from every dated window only yearly ones turn the season; if none of them does so
        within a cycle, none ever does.
        """
        marks = {day.year, *(turn.year for turn in self._fixed_turns())}
        near = {mark + step for mark in marks for step in range(-_CYCLE, _CYCLE + 1)}
        return sorted(year for year in near if date.min.year <= year <= date.max.year)

    def _turns(self, year: int) -> set[date]:
        turns = {turn for turn in self._fixed_turns() if turn.year == year}
        for pause in self.pauses:
            if _is_yearly(pause):
                turns.add(_first_day(year, pause.start))
                turns.update(_days_after(_last_day(year, pause.end)))
        return turns

    def _fixed_turns(self) -> Iterator[date]:
        for pause in self.pauses:
            if not _is_yearly(pause):
                yield date.fromisoformat(pause.start)
                yield from _days_after(date.fromisoformat(pause.end))
        if self.hand is not None:
            yield self.hand.since
            if self.hand.until is not None:
                yield from _days_after(self.hand.until)
        if self.resumed is not None:
            yield self.resumed


_STRICTNESS = {season: rank for rank, season in enumerate(Season)}


def _covers(pause: Pause, day: date) -> date | None:
    """Return the day on which the window that covers ``day`` began; None if it does not."""
    if not _is_yearly(pause):
        covered = pause.start <= day.isoformat() <= pause.end
        return date.fromisoformat(pause.start) if covered else None
    # "06-15" and "2026-06-15" sort as the days they name
    today = day.isoformat()[5:]
    if pause.start <= pause.end:
        return _first_day(day.year, pause.start) if pause.start <= today <= pause.end else None
    if today >= pause.start:
        return _first_day(day.year, pause.start)
    if today <= pause.end:
        return _first_day(day.year - 1, pause.start) if day.year > date.min.year else date.min
    return None


def _is_yearly(pause: Pause) -> bool:
    return len(pause.start) == len("MM-DD")


def _first_day(year: int, month_day: str) -> date:
    """Return the first day of a window in a year; only 02-29 may be missing from it."""
    try:
        return date.fromisoformat(f"{year:04}-{month_day}")
    except ValueError:
        return date(year, 3, 1)


def _last_day(year: int, month_day: str) -> date:
    try:
        return date.fromisoformat(f"{year:04}-{month_day}")
    except ValueError:
        return date(year, 2, 28)


def _after(day: date) -> date | None:
    return None if day == date.max else day + _DAY


def _days_after(day: date) -> tuple[date, ...]:
    return () if day == date.max else (day + _DAY,)


_MODE_WORDS = {"paused": "paused", "additions_only": "additions only"}


def _hand_words(hand: HandPause) -> str:
    end = "until resumed" if hand.until is None else f"to {hand.until}"
    return f"{_MODE_WORDS[hand.mode]} by hand from {hand.since} {end}"


def _pause_words(pause: Pause) -> str:
    every = " of every year" if _is_yearly(pause) else ""
    return f"{_MODE_WORDS[pause.mode]} from {pause.start} to {pause.end}{every}"
