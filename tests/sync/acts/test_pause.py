"""Pause and resume by hand, what a vendor's own pause shows, and the calendar (S1, S3)."""

from __future__ import annotations

from datetime import date

import pytest

from core.errors import UsageError
from core.failpoints import at_failpoints
from rostersync.cli.commands.seasons import calendar_lines, season_lines
from sync.acts import pause as pausing
from sync.rules.return_guard import SeasonState
from tests.kit.command_line import Cli
from tests.kit.fixtures import NewTown
from tests.kit.school_year import Person, Town, classes, staff


@pytest.fixture
def town(new_town: NewTown) -> Town:
    town = new_town('[[district.pause]]\nstart = "06-15"\nend = "08-10"\n')
    town.vendor.join(*staff("s1", 9), *classes("s1", g06=9, g07=9, g08=9))
    town.sync("2026-05-04 05:00")
    return town


def pause(town: Town, **options: object) -> dict[str, object]:
    return pausing.pause_district(
        town.database, town.slug, actor="ada", now=town.clock, **options,  # type: ignore[arg-type]
    )  # fmt: skip


def resume(town: Town) -> dict[str, object]:
    return pausing.resume_district(town.database, town.slug, actor="ada", now=town.clock)


def test_a_pause_by_hand_takes_effect_at_once_and_lasts_until_resume(town: Town) -> None:
    shown = pause(town)
    assert (shown["season"], shown["until"], shown["next_run"]) == ("paused", None, None)
    town.vendor.leave("s1-teacher-000")
    assert town.sync("2026-05-05 10:00").status == "paused"
    assert town.sync("2026-06-01 10:00").status == "paused"
    shown = resume(town)
    assert (shown["season"], shown["guard_owed"]) == ("normal", True)
    assert town.sync("2026-06-01 10:30").status == "held"
    assert town.archived == set()


def test_a_pause_by_hand_with_an_end_ends_by_itself(town: Town) -> None:
    shown = pause(town, until=date(2026, 5, 6))
    assert shown["until"] == date(2026, 5, 6)
    assert town.sync("2026-05-06 19:00").status == "paused"
    assert town.sync("2026-05-07 05:00").status == "nothing_to_do"


def test_additions_only_by_hand_lets_people_in(town: Town) -> None:
    pause(town, mode="additions_only")
    town.vendor.leave("s1-teacher-000")
    town.vendor.join(Person("new"))
    assert town.sync("2026-05-05 10:00").status == "applied"
    assert "new" in town.active
    assert town.archived == set()


def test_a_resume_without_a_pause_changes_nothing(town: Town) -> None:
    before = town.season_state
    assert resume(town)["changed"] is False
    assert town.season_state == before


def test_a_pause_that_would_be_over_already_is_refused(town: Town) -> None:
    with pytest.raises(UsageError, match="would be over already"):
        pause(town, until=date(2026, 5, 3))


def test_who_paused_and_resumed_stands_in_the_history(town: Town) -> None:
    moment = town.clock()
    pause(town)
    resume(town)
    acts = [(run.kind, run.actor, run.status) for run in town.runs_after(moment)[-2:]]
    assert acts == [("pause", "ada", "applied"), ("resume", "ada", "applied")]


def test_a_pause_that_comes_while_a_run_is_under_way_keeps_it_from_changing_anybody(
    town: Town,
) -> None:
    def act(name: str) -> None:
        if name == "run.read":
            pause(town)

    town.vendor.join(Person("new"))
    town.vendor.leave("s1-teacher-000")
    with at_failpoints(act):
        outcome = town.sync("2026-05-05 05:00")
    assert outcome.status == "paused"
    assert "new" not in town.active
    assert town.archived == set()
    assert SeasonState.model_validate(town.season_state).hand is not None


def test_a_resume_that_comes_while_a_run_plans_is_not_forgotten(town: Town) -> None:
    done = []
    pause(town, mode="additions_only")

    def act(name: str) -> None:
        if name == "run.read" and not done:
            done.append(name)
            resume(town)

    town.vendor.join(Person("new"))
    town.vendor.leave("s1-teacher-000")
    with at_failpoints(act):
        outcome = town.sync("2026-05-05 05:00")
    assert outcome.status == "held"  # guarded
    assert "new" in town.active
    state = SeasonState.model_validate(town.season_state)
    assert (state.hand, state.resumed) == (None, date(2026, 5, 5))


def test_a_vendors_own_pause_is_shown_beside_ours(town: Town) -> None:
    town.vendor.state = "paused"
    town.sync("2026-05-05 05:00")
    with town.database.read() as connection:
        found = pausing.calendar_of_district(connection, town.slug)
        vendors = pausing.vendor_states(connection, found.district_id)
    shown = pausing.season_json(found, town.clock(), vendors)
    assert (shown["season"], shown["vendors"]) == ("normal", {"sis": "paused"})
    assert "The vendor of sis says: paused." in season_lines(shown)


def test_the_calendar_shows_what_runs_and_what_a_pause_skips(town: Town) -> None:
    with town.database.read() as connection:
        (one,) = pausing.calendars(
            connection, town.slug, first=date(2026, 6, 13), last=date(2026, 8, 12)
        )
    assert calendar_lines(one) == [
        "springfield (America/Chicago)",
        "  Sat 2026-06-13  05:00  10:00  14:00  19:00",
        "  Sun 2026-06-14  05:00  10:00  14:00  19:00",
        "  Mon 2026-06-15 to Mon 2026-08-10: 228 syncs skipped,"
        " paused from 06-15 to 08-10 of every year",
        "  Tue 2026-08-11  05:00  10:00  14:00  19:00  (the first run is guarded)",
        "  Wed 2026-08-12  05:00  10:00  14:00  19:00",
    ]


def test_pause_resume_and_schedule_on_the_command_line(cli: Cli, town: Town) -> None:
    paused = cli("pause", town.slug, "--json")
    assert (paused.code, paused.document["season"]) == (0, "paused")
    assert "skipped, paused by hand" in cli("schedule", town.slug).out
    assert cli("sync", town.slug, "--json").document["status"] == "paused"
    resumed = cli("resume", town.slug)
    assert resumed.code == 0
    assert cli("schedule", "--json", "--days", "2").document[0]["district"] == town.slug
    assert cli("pause", town.slug, "--until", "soon").code == 2
    assert cli("pause", "nowhere").code == 2
    assert cli("schedule", "--from", "2026-02-02", "--to", "2026-01-01").code == 2
