"""One broken calendar for each guard of the seasons, and a short life that shows what it broke.

A *focus* is the machine with a few rules only, woven for one part of the year: random enough not
to know the answer, narrow enough to meet it within a few runs.

One file, because it is one list: a mutant for each guard. It patches private functions, since what
is taken away is the guard itself and no public name can do that.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RULE_MARKER, initialize, rule
from sqlalchemy import text

from sync import engine, season_memory
from sync.acts import approval
from sync.planning import plan, return_check
from sync.reading import evidence, read_sources
from sync.rules import return_guard, rollover, season
from sync.rules.return_guard import SeasonState
from sync.rules.rollover import Rollover, Ruling
from sync.rules.season import Season
from sync.sources import district_load
from tests.sync.machine.machine_seasons import Seasons, modes

Patch = Callable[[pytest.MonkeyPatch], None]
few = st.lists(st.sampled_from(["s0", "s3", "s7", "t0"]), min_size=1, max_size=2, unique=True)


class Focus(Seasons):
    """The machine without its rules, and with the one source that the seasons are about."""

    def teardown(self) -> None:
        self.ids = {}  # how a story ends is told elsewhere
        super().teardown()

    @initialize()
    def a_first_roster(self) -> None:
        with self.database.write() as connection:
            connection.execute(text("UPDATE sources SET configured = FALSE WHERE name = 'second'"))
        super().a_first_roster()

    def sync_it(self, way: str = "whole", **options: Any) -> None:
        self.run("sync", way, None, **options)

    def pause_for_two_days(self, by_hand: bool, mode: str = "paused") -> None:
        if by_hand:
            self.the_district_is_paused(None, mode)
        else:
            self.the_calendar_has_a_pause(0, 2, mode, False)

    def news(self, keys: list[str]) -> None:
        """Let a few leave, one join, and one change."""
        self.number += 1
        self.people_are_taken_off(keys)
        self.world.sis.student(f"new{self.number}", grade="06")
        if "s0" in self.world.sis.people:
            self.world.sis.people["s0"]["fields"]["username"] = f"name{self.number}"


def _no_rule(name: str) -> Callable[..., None]:
    method = getattr(Seasons, name)

    def act(self: Focus, *about: Any, **more: Any) -> None:
        method(self, *about, **more)

    return act


for _name, _found in inspect.getmembers(Seasons):
    if hasattr(_found, RULE_MARKER):
        setattr(Focus, _name, _no_rule(_name))


class Ends(Focus):
    """A pause begins by hand or by the calendar, and a sync comes on its last day or after it."""

    @rule(by_hand=st.booleans(), days=st.sampled_from([0, 2]), over=st.booleans(), keys=few)
    def a_sync_at_the_end_of_a_pause(
        self, by_hand: bool, days: int, over: bool, keys: list[str]
    ) -> None:
        if by_hand:
            self.the_district_is_paused(days, "paused")
        else:
            self.the_calendar_has_a_pause(0, days, "paused", True)
        self.time_passes(days + over)
        self.news(keys)
        self.sync_it()
        self.the_district_is_resumed()


class Overlaps(Focus):
    """A window of the calendar and a pause by hand lie on the same day; then both are ended."""

    @rule(window=modes, by_hand=st.sampled_from(["additions_only", "paused"]), keys=few)
    def two_at_once(self, window: str, by_hand: str, keys: list[str]) -> None:
        self.the_calendar_has_a_pause(0, 5, window, False)
        self.the_district_is_paused(None, by_hand)
        self.news(keys)
        self.sync_it()
        self.the_district_is_resumed()
        self.sync_it()
        self.time_passes(8)


class Acts(Focus):
    """A person applies in a pause what was planned before it, and edits somebody."""

    @rule(keys=few, asked=st.booleans())
    def a_plan_from_before_the_pause(self, keys: list[str], asked: bool) -> None:
        self.news(keys)
        self.run("plan", "whole", None)
        self.the_district_is_paused(None, "paused")
        self.a_planned_plan_is_applied(asked)
        self.a_hand_act_works_in_every_season(self.number)
        self.the_district_is_resumed()


class HalfWay(Focus):
    """The pause comes while a run plans."""

    @rule(keys=few)
    def it_is_paused_half_way(self, keys: list[str]) -> None:
        self.news(keys)
        self.sync_with_a_pause_in_it("paused")
        self.the_district_is_resumed()


class Windows(Focus):
    """Additions only, by hand and by the calendar."""

    @rule(by_hand=st.booleans(), keys=few)
    def a_sync_in_a_window(self, by_hand: bool, keys: list[str]) -> None:
        self.pause_for_two_days(by_hand, "additions_only")
        self.news(keys)
        self.sync_it()
        self.the_calendar_is_emptied()
        self.the_district_is_resumed()


class Returns(Focus):
    """A pause, a rollover, and a few who leave with the graduates; days later there is a sync."""

    @rule(keys=few, by_hand=st.booleans())
    def a_summer(self, keys: list[str], by_hand: bool) -> None:
        self.summer("all", keys, by_hand=by_hand)
        self.time_passes(1)
        self.sync_it()

    def summer(self, how: str, keys: list[str], *, by_hand: bool) -> None:
        self.pause_for_two_days(by_hand)
        self.time_passes(3)
        if by_hand:
            self.the_district_is_resumed()
        if how:
            self.the_new_year_begins(how, True)
        self.people_are_taken_off(keys)
        self.sync_it()


class PartReturns(Returns):
    """Only some of the students have gone up by then."""

    @rule(keys=few, by_hand=st.booleans())
    def a_summer(self, keys: list[str], by_hand: bool) -> None:
        self.summer("some", keys, by_hand=by_hand)


class LateReturns(Returns):
    """No rollover has come by the return; the days after it are lived through."""

    @rule(keys=few, rolls_over=st.booleans())
    def a_summer(self, keys: list[str], rolls_over: bool) -> None:
        self.summer("", keys, by_hand=False)
        self.time_passes(1)
        if rolls_over:
            self.the_new_year_begins("all", True)
        self.sync_it()
        for days in (14, 3):
            self.time_passes(days)
            self.sync_it()


class Breaks(LateReturns):
    """A pause far from the end of the school year."""

    turn = date(2026, 6, 30)


class Graduates(Returns):
    """A school without a rollover, whose students carry the year in which they graduate."""

    turn = date(2026, 6, 30)
    graduation_years: ClassVar[dict[str, int]] = {"s0": 2030, "s3": 2026, "s7": 2025}

    @rule(keys=few, by_hand=st.booleans())
    def a_summer(self, keys: list[str], by_hand: bool) -> None:
        self.summer("", keys, by_hand=by_hand)


class Asked(Focus):
    """Somebody asks for a sync in the pause; more have left when it is over."""

    @rule(keys=few)
    def a_summer(self, keys: list[str]) -> None:
        self.pause_for_two_days(by_hand=False)
        self.the_new_year_begins("all", leavers=False)
        self.people_are_taken_off(keys)
        self.sync_it(during_pause=True)
        self.time_passes(3)
        self.people_are_taken_off(["s1", "t1"])
        self.sync_it()


class Incomplete(Focus):
    """The first sync after the pause is incomplete."""

    @rule(keys=few)
    def a_summer(self, keys: list[str]) -> None:
        self.pause_for_two_days(by_hand=False)
        self.the_new_year_begins("all", leavers=False)
        self.time_passes(3)
        self.sync_it("says_so")
        self.people_are_taken_off(keys)
        self.sync_it()


class Approvals(Focus):
    """The return with ``guard = "approve"``."""

    @rule(keys=few)
    def a_summer(self, keys: list[str]) -> None:
        self.the_guard_is_set("approve")
        self.pause_for_two_days(False)
        self.time_passes(3)
        self.news(keys)
        self.sync_it()


class Graces(Focus):
    """People leave and have days, or readings, of grace; a pause comes between."""

    @rule(keys=few, asked=st.booleans())
    def they_leave_and_a_pause_comes(self, keys: list[str], asked: bool) -> None:
        self.the_guard_is_set("off")
        self.grace_is_changed(2, 3 if asked else 1)
        self.people_are_taken_off(keys)
        self.sync_it()
        self.the_district_is_paused(None, "paused")
        if asked:
            self.sync_it(during_pause=True)
        self.time_passes(3)
        self.the_district_is_resumed()
        self.time_passes(2 if asked else 1)
        self.sync_it()


class GracedReturns(Focus):
    """People are gone on the return, and their grace ends days after it."""

    @rule(keys=few)
    def they_leave_in_the_pause(self, keys: list[str]) -> None:
        self.grace_is_changed(2, 2)
        self.the_district_is_paused(None, "paused")
        self.the_new_year_begins("all", False)
        self.people_are_taken_off(keys)
        self.time_passes(1)
        self.the_district_is_resumed()
        self.sync_it()
        self.time_passes(3)
        self.sync_it()


class Vendors(Focus):
    """The vendor has a pause, or troubles, of its own."""

    @rule(state=st.sampled_from(["paused", "pending"]), keys=few)
    def it_says_so(self, state: str, keys: list[str]) -> None:
        self.the_vendor_says_of_itself(state)
        if state == "pending":
            self.people_are_taken_off(keys)
        self.sync_it()
        self.the_vendor_says_of_itself(None)
        self.time_passes(1)
        if state == "paused":
            self.people_are_taken_off(keys)
            self.sync_it()


class Files(Focus):
    """The pause is taken out of the district file, while it lasts or after it."""

    @rule(days=st.sampled_from([0, 2, 5]), keys=few)
    def a_pause_that_is_taken_back(self, days: int, keys: list[str]) -> None:
        self.the_calendar_has_a_pause(0, 3, "paused", False)
        self.time_passes(days)
        self.the_calendar_is_emptied()
        self.people_are_taken_off(keys)
        self.sync_it()


@dataclass(frozen=True)
class Mutant:
    """A guard taken away, and the focus that must fail without it."""

    patch: Patch
    focus: type[Focus]


MUTANTS: dict[str, Mutant] = {}


def without(guarded_by: str, focus: type[Focus]) -> Callable[[Patch], Patch]:
    """Add the mutant that takes this guard away."""

    def add(patch: Patch) -> Patch:
        assert guarded_by not in MUTANTS
        MUTANTS[guarded_by] = Mutant(patch, focus)
        return patch

    return add


class _NoSeason:
    """The words of the seasons without one of them."""

    NORMAL, PAUSED, ADDITIONS_ONLY = Season.NORMAL, Season.PAUSED, Season.ADDITIONS_ONLY

    def __init__(self, **gone: object) -> None:
        self.__dict__.update(gone)


# -- the calendar: sync/rules/season.py


@without("a pause lasts to the end of its last day", Ends)
def _last_day(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        season._Calendar,
        "_by_hand",
        staticmethod(
            lambda hand, day: hand.since <= day and (hand.until is None or day < hand.until)
        ),
    )


@without("a pause with an end ends by itself", Ends)
def _ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(season._Calendar, "_by_hand", staticmethod(lambda hand, day: hand.since <= day))


@without("the strictest of two seasons wins", Overlaps)
def _strictest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(season, "_STRICTNESS", {one: -rank for one, rank in season._STRICTNESS.items()})


@without("every year the pause comes again", Ends)
def _yearly(patch: pytest.MonkeyPatch) -> None:
    real = season._covers
    patch.setattr(
        season, "_covers", lambda pause, day: None if len(pause.start) == 5 else real(pause, day)
    )


@without("a resume silences the window of its day", Overlaps)
def _resumed(patch: pytest.MonkeyPatch) -> None:
    real = season._Calendar.__init__
    patch.setattr(
        season._Calendar, "__init__", lambda self, pauses, hand, _: real(self, pauses, hand, None)
    )


# -- runs and acts in a pause: sync/engine.py, sync/acts/approval.py, sync/season_memory.py


@without("in a pause nothing is read", Ends)
def _not_paused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "Season", _NoSeason(PAUSED=object()))


@without("additions only takes nothing away", Windows)
def _takes_too(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "Season", _NoSeason(ADDITIONS_ONLY=object()))


@without("no plan of a source runs in a pause unasked", Acts)
def _approval(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval, "_paused", lambda *_: False)


@without("a plan from before the pause takes nobody away in it", Acts)
def _from_before(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval, "_takes", lambda *_: False)


@without("a run sees the pause that came while it planned", HalfWay)
def _half_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "check_season", lambda *_: None)


@without("such a run ends, and does not plan again", HalfWay)
def _again(patch: pytest.MonkeyPatch) -> None:
    def blind(run: Any) -> bool:
        season_memory.paused_meanwhile(run)
        run.season = replace(run.season, season=Season.NORMAL)
        return False

    patch.setattr(engine, "paused_meanwhile", blind)


# -- the guard is owed: sync/rules/return_guard.py


def advancing(patch: pytest.MonkeyPatch, **forced: Any) -> None:
    """Let the calendar see each run otherwise than it was."""
    real = return_guard.advance
    patch.setattr(season_memory, "advance", lambda *a, **how: real(*a, **{**how, **forced}))


@without("the first run after a pause is guarded", Returns)
def _owed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(return_guard, "returns_from", lambda *_: None)


@without("a run asked for in a pause is guarded", Asked)
def _asked(patch: pytest.MonkeyPatch) -> None:
    advancing(patch, during_pause=False)


@without("an act in the pause does not use the guard up", Asked)
def _used_up(patch: pytest.MonkeyPatch) -> None:
    real = return_guard.advance

    def spent(state: SeasonState, on: Any, **how: Any) -> Any:
        after, judged = real(state, on, **how)
        if how["during_pause"]:  # as if it had been the return
            after = after.model_copy(update={"complete_on": on.day.max, "paused_seen": None})
        return after, judged

    patch.setattr(season_memory, "advance", spent)
    resumed = return_guard.resumed_by_hand
    patch.setattr(
        "sync.acts.pause.resumed_by_hand",
        lambda state, *a: resumed(state, *a).model_copy(
            update={} if state.complete_on != state.complete_on.max else {"paused_seen": None}
        ),
    )


@without("an incomplete run does not use it up", Incomplete)
def _incomplete(patch: pytest.MonkeyPatch) -> None:
    advancing(patch, complete=True)


@without("the return from a vendor's own pause is guarded", Vendors)
def _vendor(patch: pytest.MonkeyPatch) -> None:
    advancing(patch, vendor_paused={})


@without("while a vendor is in trouble nobody leaves", Vendors)
def _trouble(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(read_sources, "TROUBLED_WORDS", frozenset())


@without("a pause that is taken out of the file still owes its guard", Files)
def _taken_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(district_load, "with_other_calendar", lambda state, *_: state)


# -- what a rollover explains: sync/rules/rollover.py, sync/planning/return_check.py


@without("half of a school must have gone up", PartReturns)
def _half(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rollover, "has_rolled_over", property(lambda self: self.moved_up > 0))


@without("up is one grade up", PartReturns)
def _one_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollover, "is_one_up", lambda before, now: now is not None)


@without("only the highest grade finishes", Returns)
def _highest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        Rollover, "explains", lambda self, grade: self.has_rolled_over and grade is not None
    )


@without("only students finish", Returns)
def _students(patch: pytest.MonkeyPatch) -> None:
    real = return_check._taken

    def careless(*about: Any, **more: Any) -> Any:
        for one in real(*about, **more):
            yield replace(one, finished=one.finished or "07")

    patch.setattr(return_check, "_taken", careless)


@without("what nothing explains is held, however few they are", Returns)
def _held(patch: pytest.MonkeyPatch) -> None:
    real = rollover.judge

    def mild(*about: Any, **more: Any) -> Ruling:
        verdict = real(*about, **more)
        return Ruling.LIMITS if verdict is Ruling.HELD else verdict

    patch.setattr(return_check, "judge", mild)


@without("what was held stays held in the next run", Returns)
def _held_before(patch: pytest.MonkeyPatch) -> None:
    real = rollover.judge
    patch.setattr(
        return_check, "judge", lambda *a, **more: real(*a, **{**more, "held_before": False})
    )


@without("a rollover is expected only of a pause that spans the turn of the year", Breaks)
def _spans(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(return_guard, "spans_year_end", lambda *_: True)


@without("only who has graduated is explained by their year", Graduates)
def _graduated(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(return_check, "newest_year_end", lambda *_: date(2099, 6, 30))


@without("a late school waits", LateReturns)
def _waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rollover, "waits", property(lambda self: False))


@without("the guard stands where a school waits", LateReturns)
def _stands(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rollover, "_guard_at", lambda school, judged, state: judged)


@without("it waits for 14 days and no longer", LateReturns)
def _late(patch: pytest.MonkeyPatch) -> None:
    for module in (return_guard, rollover):
        patch.setattr(module, "is_late", lambda *_: False)


@without("approve asks for everything", Approvals)
def _approve(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(return_check, "holds_additions", lambda *_: False)


# -- grace: sync/planning/grace.py, sync/reading/evidence.py, sync/season_memory.py


@without("the days of grace stand still in a pause", Graces)
def _days(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "paused_days", lambda *_: lambda first, last: 0)


@without("the readings of grace stand still in a pause", Graces)
def _readings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evidence, "_AGE_FIRST", evidence._AGE)


@without("somebody who was gone on the return is judged so when their grace ends", GracedReturns)
def _gone_by(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine, "gone_by", lambda *_: None)


FOCUSES = sorted({mutant.focus for mutant in MUTANTS.values()}, key=lambda one: one.__name__)
