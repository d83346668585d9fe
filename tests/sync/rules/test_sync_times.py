"""The schedule: every configured time runs once a day, whatever the clocks and calendars do."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings import DistrictSettings, Pause
from sync.rules.return_guard import SeasonState, paused_by_hand, resumed_by_hand
from sync.rules.season import Season
from sync.rules.sync_times import (
    SPREAD,
    calendar,
    catch_up,
    due_times,
    last_due,
    next_due,
    next_run,
    start_offset,
)

CHICAGO = "America/Chicago"
TIMES = ("05:00", "10:00", "14:00", "19:00")
SECOND = timedelta(seconds=1)


def d(text: str) -> date:
    return date.fromisoformat(text)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def district(
    *pauses: Pause, times: tuple[str, ...] = TIMES, timezone: str = CHICAGO
) -> DistrictSettings:
    return DistrictSettings(
        slug="springfield",
        name="Springfield USD",
        timezone=timezone,
        sync_times=times,
        pause=pauses,
    )


SUMMER = Pause(start="06-15", end="08-10")


@pytest.mark.parametrize(
    ("zone", "winter", "summer"),
    [
        ("America/New_York", "10:00", "09:00"),
        ("America/Chicago", "11:00", "10:00"),
        ("America/Denver", "12:00", "11:00"),
        ("America/Phoenix", "12:00", "12:00"),
        ("America/Los_Angeles", "13:00", "12:00"),
        ("America/Anchorage", "14:00", "13:00"),
        ("Pacific/Honolulu", "15:00", "15:00"),
        ("America/Puerto_Rico", "09:00", "09:00"),
        ("Europe/London", "05:00", "04:00"),
        ("Europe/Berlin", "04:00", "03:00"),
    ],
)
def test_five_in_the_morning_is_local_in_summer_and_in_winter(
    zone: str, winter: str, summer: str
) -> None:
    assert due_times(d("2026-01-20"), zone, ["05:00"]) == [utc(f"2026-01-20T{winter}")]
    assert due_times(d("2026-07-20"), zone, ["05:00"]) == [utc(f"2026-07-20T{summer}")]


@pytest.mark.parametrize(
    ("zone", "day", "clock", "due"),
    [
        # clocks go forward: a time that does not exist runs once, when the clock goes on
        ("America/New_York", "2026-03-08", "02:30", "2026-03-08T07:00"),
        ("America/Chicago", "2026-03-08", "02:00", "2026-03-08T08:00"),
        ("America/Chicago", "2026-03-08", "01:59", "2026-03-08T07:59"),
        ("America/Chicago", "2026-03-08", "03:00", "2026-03-08T08:00"),
        ("America/Los_Angeles", "2026-03-08", "02:59", "2026-03-08T10:00"),
        ("Europe/Berlin", "2026-03-29", "02:30", "2026-03-29T01:00"),
        ("Europe/London", "2026-03-29", "01:15", "2026-03-29T01:00"),
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30"),
        ("Australia/Lord_Howe", "2026-10-04", "02:30", "2026-10-03T15:30"),
        # clocks go back: a time that comes twice runs once, the first time
        ("America/New_York", "2026-11-01", "01:30", "2026-11-01T05:30"),
        ("America/Chicago", "2026-11-01", "01:00", "2026-11-01T06:00"),
        ("America/Chicago", "2026-11-01", "02:00", "2026-11-01T08:00"),
        ("America/Los_Angeles", "2026-11-01", "01:59", "2026-11-01T08:59"),
        ("Europe/Berlin", "2026-10-25", "02:30", "2026-10-25T00:30"),
        ("Australia/Lord_Howe", "2026-04-05", "01:45", "2026-04-04T14:45"),
        ("Australia/Lord_Howe", "2026-04-05", "02:00", "2026-04-04T15:30"),
        # no daylight saving time at all
        ("America/Phoenix", "2026-03-08", "02:30", "2026-03-08T09:30"),
        ("America/Phoenix", "2026-11-01", "01:30", "2026-11-01T08:30"),
        ("Pacific/Honolulu", "2026-03-08", "02:30", "2026-03-08T12:30"),
        ("America/Puerto_Rico", "2026-03-08", "02:30", "2026-03-08T06:30"),
        ("America/Puerto_Rico", "2026-11-01", "01:30", "2026-11-01T05:30"),
        # a day that a zone left out
        ("Pacific/Apia", "2011-12-30", "05:00", "2011-12-30T10:00"),
        # clocks that go forward at midnight
        ("America/Havana", "2026-03-08", "00:30", "2026-03-08T05:00"),
    ],
)
def test_each_time_runs_once_on_the_days_when_the_clocks_change(
    zone: str, day: str, clock: str, due: str
) -> None:
    assert due_times(d(day), zone, [clock]) == [utc(due)]


def test_times_that_meet_behind_a_jump_are_one_sync() -> None:
    found = due_times(d("2026-03-08"), CHICAGO, ["03:00", "02:15", "02:45", "05:00"])
    assert found == [utc("2026-03-08T08:00"), utc("2026-03-08T10:00")]


def test_a_time_given_twice_is_one_sync_and_no_times_are_none() -> None:
    assert len(due_times(d("2026-05-05"), CHICAGO, ["05:00", "05:00"])) == 1
    assert due_times(d("2026-05-05"), CHICAGO, []) == []
    assert next_due(utc("2026-05-05T00:00"), CHICAGO, []) is None
    assert last_due(utc("2026-05-05T00:00"), CHICAGO, []) is None


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("2026-05-05T09:59:59", "2026-05-05T10:00"),
        ("2026-05-05T10:00:00", "2026-05-05T15:00"),
        ("2026-05-06T00:00:00", "2026-05-06T10:00"),
        ("2026-05-06T04:59:59", "2026-05-06T10:00"),
    ],
)
def test_the_next_due_time_is_later_than_the_moment_asked_about(after: str, due: str) -> None:
    assert next_due(utc(after), CHICAGO, TIMES) == utc(due)


def test_the_next_due_time_is_found_across_a_day_that_the_zone_left_out() -> None:
    before = utc("2011-12-29T23:00")
    left_out = next_due(before, "Pacific/Apia", ["05:00"])
    assert left_out == utc("2011-12-30T10:00")
    assert next_due(left_out, "Pacific/Apia", ["05:00"]) == utc("2011-12-30T15:00")


def test_a_midnight_that_the_clock_goes_back_over_is_due_once() -> None:
    """At St. John's in 2006 the clock went from 00:01 back to 23:01 of the day before."""
    zone, times = "America/St_Johns", ["00:00", "23:30"]
    midnight = utc("2006-10-29T02:30")
    in_the_hour_that_comes_again = midnight + timedelta(minutes=40)
    assert last_due(in_the_hour_that_comes_again, zone, times) == midnight
    assert next_due(midnight, zone, times) == utc("2006-10-30T03:00")
    due = catch_up(midnight, in_the_hour_that_comes_again, zone, times, "springfield")
    assert due is None


def test_a_machine_that_slept_for_a_week_catches_up_once() -> None:
    handled = utc("2026-05-05T10:00")
    now = utc("2026-05-12T16:00")
    due = catch_up(handled, now, CHICAGO, TIMES, "springfield")
    assert due == utc("2026-05-12T15:00")
    assert catch_up(due, now, CHICAGO, TIMES, "springfield") is None


def test_nothing_is_caught_up_when_nothing_was_missed() -> None:
    handled = utc("2026-05-05T10:00")
    now = utc("2026-05-05T14:59:59")
    assert catch_up(handled, now, CHICAGO, TIMES, "springfield") is None
    assert catch_up(None, now, CHICAGO, TIMES, "springfield") is None
    assert catch_up(handled, now, CHICAGO, (), "springfield") is None


def test_a_clock_that_is_set_back_runs_nothing_twice() -> None:
    handled = utc("2026-05-05T15:00")
    now = utc("2026-05-05T10:30")
    assert catch_up(handled, now, CHICAGO, TIMES, "springfield") is None


def test_a_sync_starts_after_its_offset_and_not_before() -> None:
    starts = utc("2026-05-05T15:00") + start_offset("springfield")
    handled = utc("2026-05-05T10:00")
    assert catch_up(handled, starts - SECOND, CHICAGO, TIMES, "springfield") is None
    assert catch_up(handled, starts, CHICAGO, TIMES, "springfield") == utc("2026-05-05T15:00")


def test_districts_that_share_a_time_are_spread_over_some_minutes() -> None:
    offsets = [start_offset(f"district-{number}") for number in range(200)]
    assert all(timedelta(0) <= offset < SPREAD for offset in offsets)
    minutes = [int(offset.total_seconds()) // 60 for offset in offsets]
    assert all(minutes.count(minute) > 20 for minute in range(5))


def test_a_district_starts_at_the_same_offset_in_every_process_and_release() -> None:
    assert start_offset("springfield") == timedelta(seconds=236)


def test_s1_the_calendar_shows_what_a_pause_skips_and_why() -> None:
    rows = list(
        calendar(
            district(SUMMER, times=("05:00",)), SeasonState(), d("2026-06-14"), d("2026-06-15")
        )
    )
    assert [(row.due.isoformat(), row.runs, row.why) for row in rows] == [
        ("2026-06-14T05:00:00-05:00", True, ""),
        ("2026-06-15T05:00:00-05:00", False, "paused from 06-15 to 08-10 of every year"),
    ]


def test_s2_additions_only_runs_and_says_so() -> None:
    pause = Pause(start="06-15", end="08-10", mode="additions_only")
    (row,) = calendar(
        district(pause, times=("05:00",)), SeasonState(), d("2026-07-01"), d("2026-07-01")
    )
    assert (row.runs, row.season) == (True, Season.ADDITIONS_ONLY)
    assert row.why == "additions only from 06-15 to 08-10 of every year"


def test_s1_the_calendar_knows_what_was_paused_and_resumed_by_hand() -> None:
    state = paused_by_hand(SeasonState(), d("2026-05-05"))
    assert next_run(district(), state, utc("2026-05-05T12:00")) is None
    state = resumed_by_hand(state, d("2026-05-06"), ())
    found = next_run(district(), state, utc("2026-05-06T12:00"))
    assert found is not None
    assert found.due == utc("2026-05-06T15:00")


def test_the_calendar_says_where_the_clock_was_changed() -> None:
    times = ("01:30", "02:30", "03:00", "05:00")
    (_, jumped, plain) = calendar(
        district(times=times), SeasonState(), d("2026-03-08"), d("2026-03-08")
    )
    assert (f"{jumped.due:%H:%M}", jumped.note) == ("03:00", "the clock jumps over 02:30")
    assert plain.note == ""
    twice, *others = calendar(
        district(times=times), SeasonState(), d("2026-11-01"), d("2026-11-01")
    )
    assert (f"{twice.due:%H:%M}", twice.note) == ("01:30", "01:30 comes twice, this is the first")
    assert [row.note for row in others] == ["", "", ""]


def test_the_calendar_shows_a_day_that_the_zone_left_out_once() -> None:
    samoa = district(times=("00:00", "05:00"), timezone="Pacific/Apia")
    rows = list(calendar(samoa, SeasonState(), d("2011-12-29"), d("2011-12-31")))
    assert [f"{row.due:%m-%d %H:%M}" for row in rows] == [
        "12-29 00:00",
        "12-29 05:00",
        "12-31 00:00",
        "12-31 05:00",
    ]


@pytest.mark.parametrize(
    ("after", "due"),
    [
        ("2026-06-14T12:00", "2026-06-14T15:00"),
        ("2026-06-15T01:00", "2026-08-11T10:00"),
        ("2026-07-01T12:00", "2026-08-11T10:00"),
        ("2026-08-11T12:00", "2026-08-11T15:00"),
    ],
)
def test_s1_the_next_run_is_after_the_pause(after: str, due: str) -> None:
    found = next_run(district(SUMMER), SeasonState(), utc(after))
    assert found is not None
    assert (found.due, found.runs) == (utc(due), True)


def test_the_next_run_may_be_one_that_is_due_and_has_not_started() -> None:
    due = utc("2026-05-05T15:00")
    found = next_run(district(), SeasonState(), due + SECOND)
    assert found is not None
    assert found.due == due


def test_the_next_run_may_have_been_due_before_midnight_and_start_after_it() -> None:
    found = next_run(district(times=("23:59",)), SeasonState(), utc("2026-05-06T05:00"))
    assert found is not None
    assert f"{found.due:%m-%d %H:%M}" == "05-05 23:59"


def test_there_is_no_next_run_without_times_or_in_a_pause_without_an_end() -> None:
    assert next_run(district(times=()), SeasonState(), utc("2026-05-05T00:00")) is None
    all_year = district(Pause(start="01-01", end="12-31"))
    assert next_run(all_year, SeasonState(), utc("2026-05-05T00:00")) is None


def test_a_sync_that_starts_after_midnight_belongs_to_the_day_on_which_it_starts() -> None:
    late = district(SUMMER, times=("23:59",))
    rows = calendar(late, SeasonState(), d("2026-06-13"), d("2026-06-14"))
    assert [row.runs for row in rows] == [True, False]
    found = next_run(late, SeasonState(), utc("2026-07-01T00:00"))
    assert found is not None
    assert f"{found.due:%m-%d %H:%M}" == "08-10 23:59"


ZONES = st.sampled_from(
    [
        "America/New_York", "America/Chicago", "America/Denver", "America/Phoenix",
        "America/Los_Angeles", "America/Anchorage", "Pacific/Honolulu", "America/Puerto_Rico",
        "America/St_Johns", "America/Havana", "Europe/Berlin", "Europe/Dublin",
        "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "Antarctica/Troll", "UTC",
    ]
)  # fmt: skip
CLOCKS = st.lists(st.times().map(lambda clock: f"{clock:%H:%M}"), max_size=8, unique=True)
CHANGES = [
    d(text)
    for text in ("2026-03-08", "2026-11-01", "2026-03-29", "2026-10-25", "2026-04-05", "2026-10-04")
]
DAYS = st.one_of(st.sampled_from(CHANGES), st.dates(d("2005-01-01"), d("2035-12-31")))


@given(DAYS, ZONES, CLOCKS)
def test_due_times_grow_strictly_and_serve_each_configured_time_once(
    day: date, zone: str, clocks: list[str]
) -> None:
    found = due_times(day, zone, clocks)
    assert all(one < other for one, other in pairwise(found))
    served = []
    for clock in clocks:
        (moment,) = due_times(day, zone, [clock])
        asked = datetime.combine(day, time.fromisoformat(clock))
        # the clock shows the time or has jumped over it, and a second before it did not yet
        shown = [
            one.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for one in (moment - SECOND, moment)
        ]
        assert shown[0] < asked <= shown[1]
        served.append(moment)
    assert found == sorted(set(served))
    midnight, noon, last = (
        datetime.combine(day, clock, ZoneInfo(zone)).astimezone(UTC)
        for clock in (time(0), time(12), time(23, 59, 59))
    )
    if last - midnight == timedelta(hours=23, minutes=59, seconds=59) and midnight < noon < last:
        assert len(found) == len(clocks)


@given(DAYS, ZONES, CLOCKS.filter(bool), st.times())
def test_the_next_due_time_and_the_last_one_have_no_other_between_them(
    day: date, zone: str, clocks: list[str], clock: time
) -> None:
    now = datetime.combine(day, clock, UTC)
    before, after = last_due(now, zone, clocks), next_due(now, zone, clocks)
    assert before is not None
    assert after is not None
    assert before <= now < after
    assert next_due(before, zone, clocks) == after
    assert last_due(after, zone, clocks) == after


@given(ZONES, CLOCKS.filter(bool), st.lists(st.integers(1, 3000), min_size=1, max_size=30))
def test_however_the_machine_sleeps_each_wakening_runs_once_at_most_and_ends_up_to_date(
    zone: str, clocks: list[str], sleeps: list[int]
) -> None:
    now = utc("2026-10-20T00:00")
    handled, ran = now, []
    for minutes in sleeps:
        now += timedelta(minutes=minutes)
        due = catch_up(handled, now, zone, clocks, "springfield")
        if due is not None:
            ran.append(due)
            handled = due
        assert catch_up(handled, now, zone, clocks, "springfield") is None
    assert ran == sorted(set(ran))
    following = next_due(handled, zone, clocks)
    assert following is not None
    assert following + start_offset("springfield") > now
