"""Grace (S7): its days and its fetches, what stops them, and who is told."""

from __future__ import annotations

from datetime import date

import pytest

from core.settings import MOST_DAYS
from sync.acts import pause
from sync.planning import grace
from tests.kit.command_line import Cli
from tests.kit.fixtures import NewTown
from tests.kit.school_year import Person, Town, classes, staff

GRACE = "grace = { days = 3, fetches = 4 }\n"
GONE = "s1-g06-0000"


def filled(town: Town) -> Town:
    town.vendor.join(*staff("s1", 12), *classes("s1", g06=30, g07=30, g08=30))
    town.sync("2026-05-04 05:00")
    return town


@pytest.fixture
def town(new_town: NewTown) -> Town:
    return filled(new_town(GRACE))


def leavers(town: Town, within: int | None = None) -> dict[str, date | None]:
    with town.database.read() as connection:
        found = pause.calendar_of_district(connection, town.slug)
        return {
            one.user_id: one.leaves_on
            for one in grace.leaving(connection, found, town.clock(), within)
        }


def test_s7_both_the_days_and_the_fetches_must_be_reached(town: Town) -> None:
    town.vendor.leave(GONE)
    for when in ("05-05 05:00", "05-05 10:00", "05-05 14:00", "05-05 19:00", "05-07 19:00"):
        town.sync(f"2026-{when}")
        assert town.archived == set(), when  # the fourth fetch has come, the third day has not
    town.sync("2026-05-08 05:00")
    assert town.archived == {GONE}


def test_s7_days_without_fetches_are_not_enough(town: Town) -> None:
    town.vendor.leave(GONE)
    for when in ("05-05 05:00", "05-20 05:00", "05-21 05:00"):
        town.sync(f"2026-{when}")
        assert town.archived == set(), when
    town.sync("2026-05-22 05:00")
    assert town.archived == {GONE}


def test_s7_an_incomplete_fetch_does_not_count(town: Town) -> None:
    town.vendor.leave(GONE)
    town.sync("2026-05-05 05:00")
    town.vendor.short = True
    for day in range(6, 12):
        town.sync(f"2026-05-{day:02} 05:00")
    town.vendor.short = False
    for day in (12, 13):
        town.sync(f"2026-05-{day} 05:00")
        assert town.archived == set()
    town.sync("2026-05-14 05:00")
    assert town.archived == {GONE}


def test_s7_grace_stands_still_in_a_pause(new_town: NewTown) -> None:
    town = filled(
        new_town(f'guard = "off"\n{GRACE}[[district.pause]]\nstart = "05-07"\nend = "05-20"\n')
    )
    town.vendor.leave(GONE)
    for when in ("05-05 05:00", "05-05 10:00", "05-05 14:00", "05-06 05:00"):
        town.sync(f"2026-{when}")
    assert leavers(town) == dict.fromkeys(leavers(town), date(2026, 5, 22))
    town.sync("2026-05-21 05:00")
    assert town.archived == set()
    town.sync("2026-05-22 05:00")  # one day before the pause, two after it
    assert town.archived == {GONE}


def test_s7_a_pause_by_hand_that_is_over_stops_the_days_too(town: Town) -> None:
    town.vendor.leave(GONE)
    for when in ("05-05 05:00", "05-05 10:00", "05-05 14:00", "05-05 19:00"):
        town.sync(f"2026-{when}")
    assert set(leavers(town).values()) == {date(2026, 5, 8)}
    town.at("2026-05-06 08:00")
    pause.pause_district(town.database, town.slug, actor="ada", now=town.clock)
    assert set(leavers(town).values()) == {None}
    town.at("2026-05-15 08:00")
    pause.resume_district(town.database, town.slug, actor="ada", now=town.clock)
    assert set(leavers(town).values()) == {date(2026, 5, 18)}


def test_s7_a_return_ends_the_grace(town: Town) -> None:
    town.vendor.leave(GONE)
    town.sync("2026-05-05 05:00")
    assert len(leavers(town)) == 1
    town.vendor.join(Person(GONE, grade="06"))
    town.sync("2026-05-06 05:00")
    assert leavers(town) == {}
    town.vendor.leave(GONE)  # and a new absence starts anew
    for day in range(7, 10):
        town.sync(f"2026-05-{day:02} 05:00")
    assert town.archived == set()
    town.sync("2026-05-10 05:00")
    assert town.archived == {GONE}


def test_s7_without_grace_the_reading_that_misses_them_is_enough(new_town: NewTown) -> None:
    town = filled(new_town())
    town.vendor.leave(GONE)
    town.sync("2026-05-05 05:00")
    assert town.archived == {GONE}
    assert leavers(town) == {}


def test_leavers_are_listed_with_their_day_and_only_those_within_the_days_asked(
    town: Town,
) -> None:
    town.vendor.leave(GONE)
    town.sync("2026-05-05 05:00")
    town.vendor.leave("s1-g07-0000")
    for when in ("05-06 05:00", "05-06 10:00", "05-06 14:00", "05-06 19:00"):
        town.sync(f"2026-{when}")
    assert sorted(str(day) for day in leavers(town).values()) == ["2026-05-08", "2026-05-09"]
    assert len(leavers(town, within=2)) == 1
    assert len(leavers(town, within=1)) == 0


def test_somebody_protected_is_not_about_to_leave(town: Town) -> None:
    town.vendor.leave(GONE)
    town.sync("2026-05-05 05:00")
    (user_id,) = leavers(town)
    with town.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE users SET protected = TRUE WHERE id = '{user_id}'")
    assert leavers(town) == {}


def test_s7_entering_grace_past_a_limit_warns_and_the_limit_holds_when_grace_ends(
    town: Town,
) -> None:
    town.vendor.leave(*(f"s1-teacher-{n:03}" for n in range(5)))
    assert town.sync("2026-05-05 05:00").status in ("nothing_to_do", "waiting")
    with town.database.read() as connection:
        found = pause.calendar_of_district(connection, town.slug)
        warned = grace.warnings(connection, found, town.clock())
    assert {(w["limit"], w["allowed"], w["found"]) for w in warned} == {
        ("school_role", 3, 5),
        ("district_role", 3, 5),
    }
    for day in range(6, 8):
        assert town.sync(f"2026-05-{day:02} 05:00").exit_code == 0
    assert town.sync("2026-05-08 05:00").status == "held"
    assert len(town.held()["archive"]) == 5


def test_users_leaving_on_the_command_line(cli: Cli, new_town: NewTown) -> None:
    # the command line has the clock of today, on which their grace must not be over yet
    town = filled(new_town(f"grace = {{ days = {MOST_DAYS}, fetches = 1 }}\n"))
    town.vendor.leave(*(f"s1-teacher-{n:03}" for n in range(5)))
    town.sync("2026-05-05 05:00")
    shown = cli("users", town.slug, "--leaving")
    assert shown.code == 0
    assert "5 teachers of Lincoln are gone from sis, more than the limit of 3" in shown.out
    (one, *rest) = cli("users", town.slug, "--leaving", "--json").document
    assert len(rest) == 4
    assert (one["absent_since"], one["roles"]) == ("2026-05-05", ["teacher"])


SUMMER = '[[district.pause]]\nstart = "06-15"\nend = "08-10"\n'
GRADUATES = {f"s1-g08-{n:04}" for n in range(5)}


@pytest.mark.parametrize("given", ["days = 3, fetches = 2", "days = 0, fetches = 3"])
def test_s7_graduates_whose_grace_ends_after_the_guarded_run_are_still_explained(
    new_town: NewTown, given: str
) -> None:
    """And so is the teacher who was gone with them still held, however few they are."""
    town = new_town(f"grace = {{ {given} }}\n{SUMMER}")
    town.vendor.join(*staff("s1", 9), *classes("s1", g06=8, g07=9, g08=5))
    town.sync("2026-06-12 05:00")
    town.vendor.roll_over()
    town.vendor.leave("s1-teacher-000")
    for day in (11, 12, 13, 14):
        town.sync(f"2026-08-{day} 05:00")
    assert town.archived == GRADUATES
    assert town.held() == {"archive": {"s1-teacher-000"}}
    town.vendor.leave("s1-teacher-001")  # weeks later the limits judge again
    for day in (1, 2, 3, 4, 5):
        town.sync(f"2026-10-0{day} 05:00")
    assert town.archived == GRADUATES | {"s1-teacher-001"}
    assert town.rows("SELECT 1 FROM pupils") == []


def test_s7_somebody_who_left_only_after_the_guarded_run_is_judged_by_the_limits(
    new_town: NewTown,
) -> None:
    town = new_town(f"grace = {{ days = 2, fetches = 1 }}\n{SUMMER}")
    town.vendor.join(*staff("s1", 9), *classes("s1", g06=8, g07=9, g08=5))
    town.sync("2026-06-12 05:00")
    town.vendor.roll_over()
    town.sync("2026-08-11 05:00")
    town.vendor.leave("s1-teacher-000")
    for day in (12, 13, 14):
        town.sync(f"2026-08-{day} 05:00")
    assert town.archived == GRADUATES | {"s1-teacher-000"}
    assert town.standing is None
