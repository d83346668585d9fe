"""The guard: the first complete run after any pause is judged with care, and only that one."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UsageError
from core.settings import Pause
from sync.rules.return_guard import (
    PAUSED_WORDS,
    TROUBLED_WORDS,
    Guard,
    SeasonState,
    advance,
    paused_by_hand,
    resumed_by_hand,
    returns_from,
    wait_for,
    with_other_calendar,
)
from sync.rules.season import Season

SUMMER = (Pause(start="06-15", end="08-10"),)
ADDITIONS = (Pause(start="06-15", end="08-10", mode="additions_only"),)
HOLDS, NONE, EXPLAINS = Guard.HOLDS, Guard.NONE, Guard.EXPLAINS


def d(text: str) -> date:
    return date.fromisoformat(text)


def run(
    state: SeasonState,
    day: str,
    pauses: tuple[Pause, ...] = SUMMER,
    *,
    complete: bool = True,
    during_pause: bool = False,
    vendor: dict[str, bool] | None = None,
    unchanged_since: str | None = None,
) -> tuple[SeasonState, Guard]:
    """Run once, through JSON as the database keeps it."""
    after, guard = advance(
        SeasonState.model_validate_json(state.model_dump_json()),
        state.on(d(day), pauses),
        complete=complete,
        during_pause=during_pause,
        vendor_paused=vendor,
        unchanged_since=None if unchanged_since is None else d(unchanged_since),
    )
    return SeasonState.model_validate(after.model_dump(mode="json")), guard


def guards(days: list[str], pauses: tuple[Pause, ...] = SUMMER) -> list[Guard]:
    state, found = SeasonState(), []
    for day in days:
        state, guard = run(state, day, pauses)
        found.append(guard)
    return found


def test_the_first_run_of_a_new_district_is_not_guarded() -> None:
    assert guards(["2026-11-02", "2026-11-02", "2026-11-03"]) == [NONE, NONE, NONE]
    assert SeasonState.model_validate({}) == SeasonState()


@pytest.mark.parametrize("pauses", [SUMMER, ADDITIONS])
def test_s3_the_first_complete_run_after_a_pause_is_guarded(pauses: tuple[Pause, ...]) -> None:
    days = ["2026-06-14", "2026-07-01", "2026-08-11", "2026-08-11", "2026-08-12"]
    assert guards(days, pauses) == [NONE, NONE, HOLDS, NONE, NONE]


def test_s3_a_pause_that_passed_while_nothing_ran_counts_too() -> None:
    assert guards(["2026-06-14", "2026-09-01", "2026-09-02"]) == [NONE, HOLDS, NONE]


def test_s3_a_district_that_starts_in_a_pause_returns_from_it() -> None:
    assert guards(["2026-07-01", "2026-08-11"]) == [NONE, HOLDS]


def test_s3_each_summer_has_its_own_guard() -> None:
    days = ["2026-06-01", "2026-08-11", "2027-06-01", "2027-08-11", "2027-08-12"]
    assert guards(days) == [NONE, HOLDS, NONE, HOLDS, NONE]


def test_s3_an_incomplete_run_is_guarded_and_does_not_use_the_guard_up() -> None:
    state, _ = run(SeasonState(), "2026-06-14")
    for day in ("2026-08-11", "2026-08-15"):
        state, guard = run(state, day, complete=False)
        assert guard is HOLDS
    state, guard = run(state, "2026-08-16")
    assert (guard, state.returned) == (HOLDS, d("2026-08-11"))
    assert run(state, "2026-08-16")[1] is NONE


def test_s1_a_run_asked_for_in_a_pause_is_guarded_and_leaves_the_guard_for_the_return() -> None:
    state, _ = run(SeasonState(), "2026-06-14")
    state, guard = run(state, "2026-07-01", during_pause=True)
    assert guard is HOLDS
    state, guard = run(state, "2026-07-02", during_pause=True)
    assert guard is HOLDS
    assert run(state, "2026-08-11")[1] is HOLDS


def test_during_pause_means_nothing_outside_a_pause() -> None:
    state, _ = run(SeasonState(), "2026-06-01")
    assert run(state, "2026-06-02", during_pause=True)[1] is NONE
    assert run(state, "2026-07-01", ADDITIONS, during_pause=True)[1] is NONE


def test_s1_a_pause_by_hand_for_an_hour_is_a_pause_and_its_return_is_guarded() -> None:
    state, _ = run(SeasonState(), "2026-10-01")
    state = paused_by_hand(state, d("2026-10-01"))
    assert state.on(d("2026-10-01"), SUMMER).season is Season.PAUSED
    state = resumed_by_hand(state, d("2026-10-01"), SUMMER)
    assert state.on(d("2026-10-01"), SUMMER).season is Season.NORMAL
    state, guard = run(state, "2026-10-01")
    assert guard is HOLDS
    assert run(state, "2026-10-01")[1] is NONE


def test_s1_a_pause_by_hand_lasts_until_resume() -> None:
    state = paused_by_hand(run(SeasonState(), "2026-10-01")[0], d("2026-10-01"))
    assert state.on(d("2028-01-01"), ()).season is Season.PAUSED
    state = resumed_by_hand(state, d("2028-01-02"), ())
    assert state.on(d("2028-01-02"), ()).season is Season.NORMAL
    state, guard = run(state, "2028-01-02", ())
    assert (guard, state.returned) == (HOLDS, d("2028-01-02"))


def test_s1_a_pause_by_hand_with_an_end_returns_the_day_after() -> None:
    state = paused_by_hand(run(SeasonState(), "2026-10-01")[0], d("2026-10-01"), d("2026-10-05"))
    assert state.on(d("2026-10-06"), ()).season is Season.NORMAL
    state, guard = run(state, "2026-10-08", ())
    assert (guard, state.returned) == (HOLDS, d("2026-10-06"))


def test_a_resume_in_summer_is_guarded_once_and_the_window_stays_silent() -> None:
    state, _ = run(SeasonState(), "2026-06-14")
    state = resumed_by_hand(state, d("2026-07-20"), SUMMER)
    found = []
    for day in ("2026-07-20", "2026-07-21", "2026-08-11", "2027-06-14", "2027-08-11"):
        state, guard = run(state, day)
        found.append(guard)
    assert found == [HOLDS, NONE, NONE, NONE, HOLDS]


def reloaded(state: SeasonState, day: str, before: tuple[Pause, ...]) -> SeasonState:
    """Load a district file in which these pauses no longer stand."""
    return with_other_calendar(state, state.on(d(day), before), state.on(d(day), ()))


@pytest.mark.parametrize("day", ["2026-07-01", "2026-08-10", "2026-08-11", "2026-08-20"])
def test_s3_a_pause_that_is_taken_out_of_the_file_still_owes_its_guard(day: str) -> None:
    state, _ = run(SeasonState(), "2026-06-14")
    state = reloaded(state, day, SUMMER)
    state, guard = run(state, day, ())
    assert guard is HOLDS
    assert run(state, "2026-08-25", ())[1] is NONE


@pytest.mark.parametrize("day", ["2026-06-01", "2026-08-12"])
def test_a_pause_that_owes_nothing_is_taken_out_of_the_file_without_a_trace(day: str) -> None:
    state, _ = run(SeasonState(), "2026-05-30")
    state, _ = run(state, "2026-08-11") if day > "2026-08" else (state, NONE)
    assert reloaded(state, day, SUMMER) == state


def test_s7_the_days_of_a_pause_stay_days_of_a_pause_when_it_is_taken_out_of_the_file() -> None:
    state, _ = run(SeasonState(), "2026-06-14")
    state = reloaded(state, "2026-07-01", SUMMER)
    days = ["2026-06-14", "2026-06-15", "2026-06-30", "2026-07-01", "2026-07-02"]
    assert [state.paused_on(d(day), ()) for day in days] == [False, True, True, False, False]


def test_a_resume_without_a_pause_changes_nothing() -> None:
    state, _ = run(SeasonState(), "2026-10-01")
    assert resumed_by_hand(state, d("2026-10-02"), SUMMER) == state


def test_a_pause_by_hand_that_would_be_over_already_is_refused() -> None:
    with pytest.raises(UsageError, match="over already") as refused:
        paused_by_hand(SeasonState(), d("2026-10-02"), d("2026-10-01"))
    assert refused.value.exit_code == 2


def test_s3_the_return_from_a_vendors_own_pause_is_guarded() -> None:
    state, _ = run(SeasonState(), "2026-05-01", ())
    state, in_it = run(state, "2026-06-05", (), vendor={"clever": True, "hr": False})
    state, still = run(state, "2026-08-01", (), vendor={"clever": True, "hr": False})
    state, back = run(state, "2026-08-02", (), vendor={"clever": False, "hr": False})
    state, after = run(state, "2026-08-02", (), vendor={"clever": False, "hr": False})
    assert [in_it, still, back, after] == [NONE, NONE, HOLDS, NONE]
    assert state.returned == d("2026-08-02")


def test_s3_one_vendor_is_back_while_another_one_still_pauses() -> None:
    state, _ = run(SeasonState(), "2026-06-05", (), vendor={"clever": True, "gg4l": True})
    state, guard = run(state, "2026-08-01", (), vendor={"clever": True, "gg4l": False})
    assert guard is HOLDS
    state, guard = run(state, "2026-08-02", (), vendor={"clever": True, "gg4l": False})
    assert guard is NONE
    assert run(state, "2026-08-09", (), vendor={"clever": False, "gg4l": False})[1] is HOLDS


def test_s3_a_vendors_return_is_owed_until_that_source_is_read_in_a_complete_run() -> None:
    state, _ = run(SeasonState(), "2026-06-05", (), vendor={"clever": True})
    state, guard = run(state, "2026-08-01", (), vendor={"hr": False})
    assert guard is NONE
    state, guard = run(state, "2026-08-02", (), vendor={"clever": False}, complete=False)
    assert guard is HOLDS
    assert run(state, "2026-08-03", (), vendor={"clever": False})[1] is HOLDS


def test_s3_a_vendors_troubles_are_no_pause() -> None:
    assert {"paused", "suspended", "disconnected"} == PAUSED_WORDS
    assert {"pending", "error"} == TROUBLED_WORDS


def test_s6_after_14_unchanged_days_without_a_pause_the_guard_only_explains() -> None:
    state, _ = run(SeasonState(), "2026-05-01", ())
    for since, expected in (("2026-07-19", NONE), ("2026-07-18", EXPLAINS)):
        assert run(state, "2026-08-01", (), unchanged_since=since)[1] is expected


def test_a_return_from_a_pause_is_guarded_even_if_nothing_changed_for_long() -> None:
    state, _ = run(SeasonState(), "2026-06-14")
    assert run(state, "2026-08-11", unchanged_since="2026-06-14")[1] is HOLDS


def test_s6_a_new_return_forgets_the_schools_that_waited_after_the_last_one() -> None:
    state, _ = run(SeasonState(), "2026-06-14")
    state, _ = run(state, "2026-08-11")
    state = wait_for(state, ["b", "a", "b"])
    assert state.waiting == ("a", "b")
    state, _ = run(state, "2026-08-12")
    assert state.waiting == ("a", "b")
    state, _ = run(state, "2027-08-11")
    assert state.waiting == ()


STEPS = st.lists(
    st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), min_size=1, max_size=40
)


@given(STEPS, st.sampled_from([SUMMER, ADDITIONS]))
def test_between_a_pause_and_the_next_unguarded_run_there_is_a_complete_guarded_one(
    steps: list[tuple[int, bool, bool]], pauses: tuple[Pause, ...]
) -> None:
    """Walk day by day beside the state, which sees only the days on which something ran."""
    state, day = SeasonState(), d("2025-01-01")
    known = owed = False
    for pause_length, complete, during_pause in steps:
        for _ in range(pause_length):
            day += timedelta(days=1)
            paused = state.on(day, pauses).season is not Season.NORMAL
            owed = owed or (paused and known)
        on = state.on(day, pauses)
        state, guard = advance(state, on, complete=complete, during_pause=during_pause)
        if on.season is not Season.NORMAL:
            owed = known = True
            assert guard is (HOLDS if during_pause and on.season is Season.PAUSED else NONE)
            assert returns_from(state, on) is None
            continue
        assert guard is (HOLDS if owed else NONE)
        if complete:
            owed, known = False, True
