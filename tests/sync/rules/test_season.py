"""The calendar of a district: one season for each day, whatever windows meet on it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings import Pause
from sync.rules.season import HandPause, Season, allows, at, next_change, season_on

NORMAL, ADDITIONS, PAUSED = Season.NORMAL, Season.ADDITIONS_ONLY, Season.PAUSED
SUMMER = Pause(start="06-15", end="08-10")
WINTER = Pause(start="12-20", end="01-06")
DAY = timedelta(days=1)


def d(text: str) -> date:
    return date.fromisoformat(text)


def test_s1_there_is_no_pause_by_default() -> None:
    found = season_on(d("2026-07-01"), ())
    assert (found.season, found.since, found.until) == (NORMAL, None, None)
    assert next_change(d("2026-07-01"), ()) is None


@pytest.mark.parametrize(
    ("day", "season"),
    [
        ("2026-06-14", NORMAL),
        ("2026-06-15", PAUSED),
        ("2026-08-10", PAUSED),
        ("2026-08-11", NORMAL),
        ("2031-06-15", PAUSED),
        ("1999-08-10", PAUSED),
    ],
)
def test_s1_a_pause_covers_whole_days_and_both_ends_every_year(day: str, season: Season) -> None:
    assert season_on(d(day), (SUMMER,)).season is season


@pytest.mark.parametrize(
    ("day", "season"),
    [
        ("2026-12-19", NORMAL),
        ("2026-12-20", PAUSED),
        ("2026-12-31", PAUSED),
        ("2027-01-01", PAUSED),
        ("2027-01-06", PAUSED),
        ("2027-01-07", NORMAL),
    ],
)
def test_s1_a_pause_may_wrap_the_new_year(day: str, season: Season) -> None:
    found = season_on(d(day), (WINTER,))
    assert found.season is season
    if season is PAUSED:
        assert (found.since, found.until) == (d("2026-12-20"), d("2027-01-06"))


def test_s1_a_dated_pause_is_for_one_year_and_may_wrap_it() -> None:
    pause = (Pause(start="2026-12-20", end="2027-01-06"),)
    assert season_on(d("2027-01-01"), pause).season is PAUSED
    assert season_on(d("2027-12-25"), pause).season is NORMAL
    assert season_on(d("2025-12-25"), pause).season is NORMAL
    assert next_change(d("2027-01-07"), pause) is None


@pytest.mark.parametrize(
    ("start", "end", "paused", "normal"),
    [
        ("02-29", "03-02", ["2028-02-29", "2027-03-01", "2027-03-02"], ["2027-02-28"]),
        ("02-20", "02-29", ["2028-02-29", "2027-02-28"], ["2027-03-01", "2028-03-01"]),
        ("02-20", "02-28", ["2027-02-28", "2028-02-28"], ["2028-02-29"]),
        ("02-29", "02-29", ["2028-02-29"], ["2027-02-28", "2027-03-01"]),
        ("03-01", "02-27", ["2028-03-01", "2027-02-27"], ["2028-02-29", "2028-02-28"]),
    ],
)
def test_s1_a_pause_on_the_29th_of_february_works_in_every_year(
    start: str, end: str, paused: list[str], normal: list[str]
) -> None:
    pause = (Pause(start=start, end=end),)
    assert {season_on(d(day), pause).season for day in paused} == {PAUSED}
    assert {season_on(d(day), pause).season for day in normal} == {NORMAL}


def test_s1_a_pause_up_to_the_29th_of_february_ends_on_the_28th_in_other_years() -> None:
    pause = (Pause(start="02-20", end="02-29"),)
    assert season_on(d("2027-02-25"), pause).until == d("2027-02-28")
    assert season_on(d("2028-02-25"), pause).until == d("2028-02-29")
    assert season_on(d("2027-03-05"), (Pause(start="02-29", end="03-09"),)).since == d("2027-03-01")


def test_a_pause_of_one_leap_day_is_next_seen_eight_years_later_around_1900() -> None:
    leap_day = (Pause(start="02-29", end="02-29"),)
    assert next_change(d("1896-03-01"), leap_day) == d("1904-02-29")


def test_where_windows_meet_the_strictest_wins() -> None:
    both = (Pause(start="07-01", end="09-01", mode="additions_only"), SUMMER)
    seasons = [season_on(d(day), both).season for day in ("2026-06-20", "2026-07-20", "2026-08-20")]
    assert seasons == [PAUSED, PAUSED, ADDITIONS]
    assert next_change(d("2026-06-20"), both) == d("2026-08-11")
    assert next_change(d("2026-08-11"), both) == d("2026-09-02")


def test_windows_that_touch_are_one_stretch() -> None:
    both = (SUMMER, Pause(start="2026-08-11", end="2026-08-20"))
    found = season_on(d("2026-07-01"), both)
    assert (found.since, found.until) == (d("2026-06-15"), d("2026-08-20"))


def test_a_pause_all_year_has_no_end() -> None:
    for pause in (Pause(start="01-01", end="12-31"), Pause(start="07-01", end="06-30")):
        found = season_on(d("2026-07-01"), (pause,))
        assert (found.season, found.since, found.until) == (PAUSED, None, None)


def test_the_end_is_found_behind_a_very_long_dated_window() -> None:
    pauses = (Pause(start="2020-01-01", end="2050-07-01"), SUMMER)
    assert season_on(d("2026-01-01"), pauses).until == d("2050-08-10")


def test_s1_a_pause_by_hand_without_an_end_lasts_until_it_is_resumed() -> None:
    hand = HandPause(since=d("2026-10-01"))
    assert season_on(d("2026-09-30"), (), hand).season is NORMAL
    found = season_on(d("2036-10-01"), (), hand)
    assert (found.season, found.since, found.until) == (PAUSED, d("2026-10-01"), None)
    assert found.why == "paused by hand from 2026-10-01 until resumed"


def test_s1_a_pause_by_hand_with_an_end_ends_by_itself() -> None:
    hand = HandPause(since=d("2026-10-01"), until=d("2026-10-05"), mode="additions_only")
    assert season_on(d("2026-10-05"), (), hand).season is ADDITIONS
    assert season_on(d("2026-10-06"), (), hand).season is NORMAL


def test_additions_only_by_hand_does_not_soften_a_pause() -> None:
    hand = HandPause(since=d("2026-07-01"), mode="additions_only")
    assert season_on(d("2026-07-02"), (SUMMER,), hand).season is PAUSED
    assert season_on(d("2026-08-11"), (SUMMER,), hand).season is ADDITIONS


def test_a_resume_by_hand_silences_the_window_until_it_ends_and_no_longer() -> None:
    resumed = d("2026-07-20")
    seasons = {
        day: season_on(d(day), (SUMMER,), None, resumed).season
        for day in ("2026-07-19", "2026-07-20", "2026-08-10", "2027-06-14", "2027-06-15")
    }
    assert seasons == {
        "2026-07-19": PAUSED,
        "2026-07-20": NORMAL,
        "2026-08-10": NORMAL,
        "2027-06-14": NORMAL,
        "2027-06-15": PAUSED,
    }
    found = season_on(d("2026-08-01"), (SUMMER,), None, resumed)
    assert (found.since, found.until) == (d("2026-07-20"), d("2027-06-14"))
    assert found.why == "resumed by hand on 2026-07-20"


def test_a_resume_by_hand_does_not_touch_a_window_that_begins_later() -> None:
    pauses = (SUMMER, Pause(start="08-01", end="08-20", mode="additions_only"))
    resumed = d("2026-07-20")
    assert season_on(d("2026-07-31"), pauses, None, resumed).season is NORMAL
    assert season_on(d("2026-08-01"), pauses, None, resumed).season is ADDITIONS


def test_a_resume_in_a_window_that_wraps_lasts_over_the_new_year() -> None:
    resumed = d("2026-12-28")
    assert season_on(d("2027-01-03"), (WINTER,), None, resumed).season is NORMAL
    assert season_on(d("2027-12-21"), (WINTER,), None, resumed).season is PAUSED


def test_a_pause_by_hand_after_a_resume_ends_and_leaves_the_window_silent() -> None:
    hand = HandPause(since=d("2026-07-25"), until=d("2026-07-30"))
    seasons = [
        season_on(d(day), (SUMMER,), hand, d("2026-07-20")).season
        for day in ("2026-07-24", "2026-07-25", "2026-07-31")
    ]
    assert seasons == [NORMAL, PAUSED, NORMAL]


def test_a_pause_by_hand_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match="end before it starts"):
        HandPause(since=d("2026-07-25"), until=d("2026-07-24"))


@pytest.mark.parametrize(
    ("zone", "last_second_before", "first_second_after"),
    [
        ("America/New_York", "2026-06-15T03:59:59", "2026-08-11T04:00:00"),
        ("America/Chicago", "2026-06-15T04:59:59", "2026-08-11T05:00:00"),
        ("America/Denver", "2026-06-15T05:59:59", "2026-08-11T06:00:00"),
        ("America/Phoenix", "2026-06-15T06:59:59", "2026-08-11T07:00:00"),
        ("America/Los_Angeles", "2026-06-15T06:59:59", "2026-08-11T07:00:00"),
        ("America/Anchorage", "2026-06-15T07:59:59", "2026-08-11T08:00:00"),
        ("Pacific/Honolulu", "2026-06-15T09:59:59", "2026-08-11T10:00:00"),
        ("America/Puerto_Rico", "2026-06-15T03:59:59", "2026-08-11T04:00:00"),
        ("Europe/Berlin", "2026-06-14T21:59:59", "2026-08-10T22:00:00"),
        ("Australia/Lord_Howe", "2026-06-14T13:29:59", "2026-08-10T13:30:00"),
    ],
)
def test_s1_a_pause_begins_and_ends_at_local_midnight(
    zone: str, last_second_before: str, first_second_after: str
) -> None:
    second = timedelta(seconds=1)
    before = datetime.fromisoformat(last_second_before).replace(tzinfo=UTC)
    after = datetime.fromisoformat(first_second_after).replace(tzinfo=UTC)
    moments = (before, before + second, after - second, after)
    seasons = [at(moment, zone, (SUMMER,)).season for moment in moments]
    assert seasons == [NORMAL, PAUSED, PAUSED, NORMAL]


def test_s2_additions_only_lets_people_in_and_nothing_else() -> None:
    actions = ["create", "restore", "link", "adopt", "update", "archive", "suspend", "unsuspend"]
    allowed = [action for action in actions if allows(ADDITIONS, action)]
    assert allowed == ["create", "restore", "link", "adopt"]
    assert not allows(ADDITIONS, "unlink", during_pause=True)
    assert all(allows(NORMAL, action) for action in actions)


def test_s1_paused_lets_nothing_through_unless_a_person_asks() -> None:
    assert not allows(PAUSED, "create")
    assert allows(PAUSED, "create", during_pause=True)
    assert allows(PAUSED, "archive", during_pause=True)


def test_a_time_without_a_zone_has_no_season() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        at(datetime(2026, 7, 1), "America/Chicago", ())  # noqa: DTZ001


MODES = st.sampled_from(["paused", "additions_only"])
DAYS = st.dates(d("2019-01-01"), d("2032-12-31"))
MONTH_DAYS = st.dates(d("2020-01-01"), d("2020-12-31")).map(lambda day: day.isoformat()[5:])
YEARLY = st.builds(Pause, start=MONTH_DAYS, end=MONTH_DAYS, mode=MODES)
DATED = st.tuples(DAYS, DAYS, MODES).map(
    lambda parts: Pause(
        start=min(parts[:2]).isoformat(), end=max(parts[:2]).isoformat(), mode=parts[2]
    )
)
PAUSES = st.lists(st.one_of(YEARLY, DATED), max_size=4).map(tuple)
HANDS = st.one_of(
    st.none(),
    st.tuples(DAYS, DAYS, MODES).map(
        lambda parts: HandPause(since=min(parts[:2]), until=max(parts[:2]), mode=parts[2])
    ),
    st.builds(HandPause, since=DAYS, mode=MODES),
)


def covers(pause: Pause, day: date) -> bool:
    """Walk a window day by day: a dated one as it is, a yearly one through a leap year and on."""
    yearly = len(pause.start) == 5
    walked, end = (d(f"2020-{edge}" if yearly else edge) for edge in (pause.start, pause.end))
    covered = {walked}
    while walked != end:
        walked = d("2020-01-01") if yearly and walked == d("2020-12-31") else walked + DAY
        covered.add(walked)
    return (day.replace(year=2020) if yearly else day) in covered


@given(PAUSES, HANDS, DAYS)
def test_every_day_has_exactly_one_season_the_strictest_of_its_windows(
    pauses: tuple[Pause, ...], hand: HandPause | None, day: date
) -> None:
    modes = {pause.mode for pause in pauses if covers(pause, day)}
    if hand is not None and hand.since <= day and (hand.until is None or day <= hand.until):
        modes.add(hand.mode)
    expected = PAUSED if "paused" in modes else ADDITIONS if modes else NORMAL
    assert season_on(day, pauses, hand).season is expected


@given(PAUSES, HANDS, st.one_of(st.none(), DAYS), DAYS)
def test_a_stretch_has_one_season_and_another_one_on_either_side(
    pauses: tuple[Pause, ...], hand: HandPause | None, resumed: date | None, day: date
) -> None:
    found = season_on(day, pauses, hand, resumed)
    first, last = found.since or day - 400 * DAY, found.until or day + 400 * DAY
    inside = {first + DAY * step for step in range(0, (last - first).days + 1, 29)} | {first, last}
    assert {season_on(one, pauses, hand, resumed).season for one in inside} == {found.season}
    if found.since is not None:
        assert season_on(found.since - DAY, pauses, hand, resumed).season is not found.season
    if found.until is not None:
        change = next_change(day, pauses, hand, resumed)
        assert change == found.until + DAY
        assert season_on(change, pauses, hand, resumed).season is not found.season


@given(PAUSES, DAYS, DAYS)
def test_a_resume_only_ever_takes_pauses_away_and_only_from_its_day_on(
    pauses: tuple[Pause, ...], resumed: date, day: date
) -> None:
    with_it = season_on(day, pauses, None, resumed).season
    without = season_on(day, pauses).season
    order = [NORMAL, ADDITIONS, PAUSED]
    assert order.index(with_it) <= order.index(without)
    if day < resumed:
        assert with_it is without
    assert season_on(resumed, pauses, None, resumed).season is NORMAL


@pytest.mark.parametrize("day", [date.min, date.max])
def test_even_the_first_and_the_last_day_of_all_have_a_season(day: date) -> None:
    # no district file may say so, but what is far away must still be no error
    forever = Pause.model_construct(start="0001-01-01", end="9999-12-31")
    assert season_on(day, (WINTER,)).season is PAUSED
    assert season_on(day, (WINTER, forever)).until is None
