"""People who wait for a rollover are known by name, wherever one looks (S6)."""

from __future__ import annotations

from typing import Any

from rostersync.service.notify import tell
from sync.run import find
from sync.run.calendar import calendar_of
from sync.views import overview, why
from sync.views.waiting import waiting_now, waiting_of_run
from tests.kit.school_year import AUGUST, Person, Town

GONE = ("s1-g06-0000", "s1-g06-0001")


def now_waiting(town: Town) -> list[dict[str, Any]]:
    with town.database.read() as connection:
        row = find.district_row(connection, town.slug)
        return waiting_now(connection, calendar_of(row).district_id)


def counted(town: Town) -> dict[str, Any]:
    with town.database.read() as connection:
        (one,) = overview.overview(connection, town.clock(), town.slug)
        return one


def test_a_sync_names_whom_it_lets_wait_and_status_counts_them(middle: Town) -> None:
    middle.vendor.leave(*GONE)
    outcome = middle.sync(AUGUST)
    assert outcome.status == "waiting"
    assert outcome.run_id is not None
    with middle.database.read() as connection:
        named = waiting_of_run(connection, outcome.run_id)
    assert [(one["name"], one["role"], one["school"], one["what"]) for one in named] == [
        (f"Sam Family {key}", "student", "Lincoln", "archive") for key in GONE
    ]
    assert now_waiting(middle) == named
    assert counted(middle)["waiting_people"] == 2


def test_a_dry_run_names_them_and_changes_nothing_of_what_is_known(middle: Town) -> None:
    middle.sync(AUGUST)
    middle.vendor.leave(*GONE)
    outcome = middle.plan("2026-08-11 06:00")
    assert outcome.run_id is not None
    with middle.database.read() as connection:
        assert len(waiting_of_run(connection, outcome.run_id)) == 2
    assert now_waiting(middle) == []
    assert counted(middle)["waiting_people"] == 0


def test_who_is_back_or_explained_waits_no_more_and_later_nobody_does(middle: Town) -> None:
    middle.vendor.leave(*GONE)
    middle.sync(AUGUST)
    middle.vendor.join(Person(GONE[0], grade="06"))
    middle.sync("2026-08-12 05:00")
    assert [one["name"] for one in now_waiting(middle)] == [f"Sam Family {GONE[1]}"]
    assert middle.sync("2026-08-24 05:00").status == "held"
    assert now_waiting(middle) == []


def test_those_of_a_source_that_fails_are_still_known(middle: Town) -> None:
    middle.vendor.leave(*GONE)
    middle.sync(AUGUST)
    middle.vendor.short = True
    middle.sync("2026-08-11 10:00")
    assert len(now_waiting(middle)) == 2


def test_why_says_that_they_wait_and_never_that_they_are_archived(middle: Town) -> None:
    middle.vendor.leave(*GONE)
    middle.sync(AUGUST)
    (user,) = {one["user_id"] for one in now_waiting(middle)[:1]}
    page = why.why(middle.database, middle.slug, user, now=middle.clock)
    codes = [one["code"] for one in page["reasons"]]
    assert "waits_for_rollover" in codes
    assert not any("archived" in one["means"] for one in page["reasons"])
    assert "rolls over" in page["next"]["leaves"]


def test_a_growing_number_is_told_again_and_the_same_one_is_not(middle: Town) -> None:
    def told() -> list[str]:
        found = tell(middle.database, middle.slug, middle.clock(), lambda *_: True)
        return [one.topic for one in found if one.topic in ("rollover", "waiting")]

    middle.vendor.leave(GONE[0])
    middle.sync(AUGUST)
    assert told() == ["rollover"]
    middle.sync("2026-08-12 05:00")
    assert told() == []
    middle.vendor.leave(GONE[1], "s1-g06-0002")
    middle.sync("2026-08-13 05:00")
    assert told() == ["waiting"]
    middle.vendor.join(Person(GONE[1], grade="06"))
    middle.sync("2026-08-14 05:00")
    assert told() == []
    middle.vendor.leave(GONE[1])
    middle.sync("2026-08-17 05:00")
    assert told() == ["waiting"], "it has grown again"
