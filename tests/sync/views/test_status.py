"""``status`` and ``rollover``: what needs a person comes first; the report of the return."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import event, text

from core.errors import CredentialsRefused, VendorFailure
from core.storage.database import Database
from core.storage.stored import utc_text
from sync.views.overview import overview
from sync.views.rollover_report import rollover_report
from tests.kit.command_line import Cli
from tests.kit.fixtures import NewTown
from tests.kit.school_year import Person, Town, classes, staff


def stood(town: Town) -> list[dict[str, object]]:
    with town.database.read() as connection:
        return overview(connection, town.clock())


def filled(town: Town) -> Town:
    town.vendor.join(*staff("s1", 12), *classes("s1", g06=20, g07=20, g08=20))
    town.sync("2026-09-01 05:00")
    return town


def test_what_needs_a_person_comes_first(database: Database, tmp_path: Path) -> None:
    towns = {
        slug: filled(Town(database, tmp_path, slug=slug))
        for slug in ("calm", "held", "refused", "flaky", "silent")
    }
    towns["held"].vendor.leave(*(f"s1-g06-{n:04}" for n in range(9)))
    towns["refused"].vendor.fails = CredentialsRefused("No.")
    towns["flaky"].vendor.fails = VendorFailure("Down.")
    for slug, town in towns.items():
        if slug != "silent":
            town.sync("2026-09-02 05:00", scheduled=True)
    calm = towns["calm"]
    calm.at("2026-09-02 07:30")
    found = stood(calm)
    assert [one["district"] for one in found] == ["refused", "held", "flaky", "silent", "calm"]
    assert [one["needs"][:1] for one in found] == [["stopped"], ["held"], ["stale"], ["stale"], []]


def test_a_pause_is_shown_with_its_end_and_raises_no_freshness_alarm(new_town: NewTown) -> None:
    town = filled(new_town('[[district.pause]]\nstart = "09-05"\nend = "09-30"\n'))
    town.sync("2026-09-04 19:00")
    town.at("2026-09-20 05:00")
    (one,) = stood(town)
    assert (one["season"], str(one["until"])) == ("paused", "2026-09-30")
    assert one["needs"] == []
    town.at("2026-10-01 23:00")
    assert stood(town)[0]["needs"] == []
    town.at("2026-10-02 05:00")  # 29 hours after the pause, and still nothing
    assert stood(town)[0]["needs"] == ["stale"]


def test_the_status_of_a_thousand_districts_takes_as_many_queries_as_of_one(
    database: Database, tmp_path: Path
) -> None:
    town = filled(Town(database, tmp_path, slug="first"))
    asked: list[str] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def count(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    stood(town)
    one = len(asked)
    with database.write() as connection:
        for number in range(1000):
            connection.execute(
                text(
                    "INSERT INTO districts (slug, name, settings, serial, chain, season_state)"
                    " SELECT :slug, name, settings, serial, chain, season_state FROM districts"
                    " WHERE slug = 'first'"
                ),
                {"slug": f"d{number}"},
            )
    asked.clear()
    assert len(stood(town)) == 1001
    assert len(asked) == one


def test_status_on_the_command_line(cli: Cli, new_town: NewTown) -> None:
    town = filled(new_town())
    town.vendor.leave(*(f"s1-g06-{n:04}" for n in range(9)))
    town.sync("2026-09-02 05:00")
    shown = cli("status")
    assert shown.code == 0
    assert f"P{town.standing} holds 9 changes: show P{town.standing}" in shown.out
    assert "1 district, 1 in need of a person." in shown.out
    (one,) = cli("status", "--json").document
    assert (one["district"], one["held_plan"]["id"]) == (town.slug, f"P{town.standing}")


def test_status_tells_the_next_try_on_the_districts_own_clock(
    cli: Cli,
    new_town: NewTown,
) -> None:
    town = filled(new_town())
    town.vendor.fails = VendorFailure("Down.")
    for hour in ("05:00", "10:00", "14:00"):
        town.sync(f"2026-09-02 {hour}", scheduled=True)
    assert "sis fails, next try 2026-09-02 20:00 CDT" in cli("status").out
    (one,) = cli("status", "--json").document
    assert one["sources"][0]["next_try"] == "2026-09-03T01:00:00Z"


def test_status_without_districts_says_how_to_begin(cli: Cli) -> None:
    assert "rostersync load" in cli("status").out


# -- the rollover report


@pytest.fixture
def returned(new_town: NewTown) -> Town:
    town = new_town('[[district.pause]]\nstart = "06-15"\nend = "08-10"\n')
    town.vendor.schools = {"s1": "Lincoln", "s2": "Grant"}
    town.vendor.join(
        *staff("s1", 12), *classes("s1", g06=20, g07=20, g08=20), *classes("s2", g06=9, g07=9)
    )
    town.vendor.leave("s2-g06-0008")
    town.sync("2026-06-01 05:00")
    town.vendor.leave("s1-teacher-011")
    town.sync("2026-06-12 05:00")
    town.vendor.data_time = datetime(2026, 8, 9, tzinfo=UTC)
    town.vendor.roll_over()
    town.vendor.join(Person("s1-teacher-011", "teacher"), Person("new", grade="06"))
    town.vendor.change("s1-g06-0000", school="s2")
    town.vendor.leave("s1-teacher-000")
    town.sync("2026-08-11 05:00")
    return town


def test_the_report_counts_by_school_and_role_what_the_return_came_to(returned: Town) -> None:
    with returned.database.read() as connection:
        report = rollover_report(returned.database, connection, returned.slug, returned.clock())
    assert str(report["since"]) == "2026-08-11"
    assert report["sources"][0]["vendor_time"] == "2026-08-09T00:00:00Z"
    groups = {(one["school"], one["role"]): one for one in report["groups"]}
    students = groups["Lincoln", "student"]
    assert (students["new"], students["left"], students["moved"]) == (1, 20, 1)
    teachers = groups["Lincoln", "teacher"]
    assert (teachers["returned"], teachers["held"]) == (1, 1)
    assert report["totals"] == {"new": 1, "returned": 1, "left": 20, "moved": 1, "held": 1}


def test_the_report_lists_who_is_still_in_though_no_roster_has_them(returned: Town) -> None:
    old = utc_text(datetime(2025, 9, 1, tzinfo=UTC))
    with returned.database.write() as connection:
        for number, (origin, protected) in enumerate((("manual", "TRUE"), ("sync", "FALSE"))):
            connection.execute(
                text(
                    "INSERT INTO users (id, district_id, status, origin, revision, protected,"
                    " kept_archived, locked_fields, created_at) SELECT :id, id, 'active', :origin,"
                    f" 1, {protected}, FALSE, '[]', :old FROM districts"
                ),
                {"id": f"u{number}", "origin": origin, "old": old},
            )
    with returned.database.read() as connection:
        report = rollover_report(returned.database, connection, returned.slug, returned.clock())
    assert report["still_in"] == {"stale": 2, "manual_stale": 1, "protected": 1, "manual": 1}


def test_rollover_on_the_command_line(cli: Cli, returned: Town) -> None:
    shown = cli("rollover", returned.slug)
    assert shown.code == 0
    assert (
        "sis: the vendor's data are of 2026-08-08 19:00 CDT,"
        " last read completely 2026-08-11 05:00 CDT" in shown.out
    )
    assert "users springfield --origin manual --stale" in shown.out
    assert cli("rollover", returned.slug, "--json").document["totals"]["left"] == 20
