"""Quarantine: a source that fails again and again is polled less, then stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from connectors.contract.connector import VendorDistrict
from core.errors import CredentialsRefused, VendorFailure
from sync.rules.quarantine import (
    Health,
    after_failure,
    after_success,
    is_due,
    is_stale,
    read_health,
)
from sync.sources.health import resume_source
from tests.kit.fixtures import NewTown
from tests.kit.school_year import Town, TownRoster, classes

NOW = datetime(2026, 9, 1, 5, tzinfo=UTC)


def failed(times: int, code: str = "vendor_failure") -> Health:
    health = Health()
    for _ in range(times):
        health = after_failure(health, code, NOW)
    return health


def test_two_failures_in_a_row_change_nothing() -> None:
    assert is_due(failed(2), NOW)
    assert failed(2).state == "failing"


@pytest.mark.parametrize(("times", "hours"), [(3, 6), (4, 12), (5, 24), (6, 48)])
def test_the_waits_grow(times: int, hours: int) -> None:
    health = failed(times)
    assert health.state == "slowed"
    assert not is_due(health, NOW + timedelta(hours=hours) - timedelta(seconds=1))
    assert is_due(health, NOW + timedelta(hours=hours))


def test_after_the_longest_wait_the_source_is_stopped() -> None:
    assert failed(7).state == "stopped"
    assert not is_due(failed(7), NOW + timedelta(days=400))


def test_refused_credentials_stop_at_once() -> None:
    assert failed(1, "credentials_refused").state == "stopped"


def test_a_success_forgets_every_failure() -> None:
    assert after_success(failed(6), NOW) == Health(good_at=NOW)


def test_health_is_read_back_as_it_was_kept() -> None:
    assert read_health(failed(4).stored()) == failed(4)
    assert read_health({}) == Health()


def test_a_source_is_stale_when_no_good_data_came_for_longer_than_the_objective() -> None:
    health = after_success(Health(), NOW)
    assert not is_stale(health, None, 26, NOW + timedelta(hours=26))
    assert is_stale(health, None, 26, NOW + timedelta(hours=26, seconds=1))
    nothing_new = after_success(health, NOW + timedelta(hours=20), good=False)
    assert is_stale(nothing_new, None, 26, NOW + timedelta(hours=27))
    assert not is_stale(Health(), None, 26, NOW)


# -- in the engine


@pytest.fixture
def town(new_town: NewTown) -> Town:
    town = new_town()
    town.vendor.join(*classes("s1", g06=9, g07=9))
    town.sync("2026-09-01 05:00")
    return town


def health(town: Town) -> Health:
    (row,) = town.rows("SELECT s.health FROM sources s")
    stored: Any = row.health
    return read_health(msgspec.json.decode(stored) if isinstance(stored, str) else stored)


def poll(town: Town, at: str) -> bool:
    """Run as the schedule does; say whether the vendor was asked."""
    before = town.vendor.reads
    town.sync(at, scheduled=True)
    return town.vendor.reads > before


def test_scheduled_runs_poll_a_failing_source_less_and_nobody_leaves(town: Town) -> None:
    town.vendor.fails = VendorFailure("The vendor is down.")
    asked = [
        f"{day:02} {hour}"
        for day in range(2, 12)
        for hour in ("05:00", "10:00", "14:00", "19:00")
        if poll(town, f"2026-09-{day:02} {hour}")
    ]
    assert asked == [
        "02 05:00", "02 10:00", "02 14:00", "03 05:00", "03 19:00", "04 19:00", "06 19:00",
    ]  # fmt: skip
    assert health(town).state == "stopped"
    assert len(town.active) == 18
    town.vendor.fails = None
    assert not poll(town, "2026-09-20 05:00")
    assert resume_source(town.database, town.slug, "sis")
    assert poll(town, "2026-09-20 10:00")
    assert health(town).state == "ok"


def test_a_set_aside_source_makes_a_scheduled_run_incomplete(town: Town) -> None:
    town.vendor.fails = CredentialsRefused("The vendor refused the token.")
    assert town.sync("2026-09-02 05:00", scheduled=True).exit_code == 14
    outcome = town.sync("2026-09-02 10:00", scheduled=True)
    assert (outcome.status, outcome.exit_code) == ("incomplete", 12)
    assert outcome.error is not None
    assert "source resume" in outcome.error.hint


def test_a_slowed_source_is_tried_again_at_a_time_of_the_districts_own_clock(town: Town) -> None:
    town.vendor.fails = VendorFailure("The vendor is down.")
    for hour in ("05:00", "10:00", "14:00"):
        town.sync(f"2026-09-02 {hour}", scheduled=True)
    error = town.sync("2026-09-02 19:00", scheduled=True).error
    assert error is not None
    assert "tried again at 2026-09-02 20:00 CDT" in error.message


def test_a_person_may_always_try_and_a_success_ends_the_quarantine(town: Town) -> None:
    town.vendor.fails = CredentialsRefused("The vendor refused the token.")
    town.sync("2026-09-02 05:00", scheduled=True)
    town.vendor.fails = None
    town.sync("2026-09-02 06:00")
    assert health(town).state == "ok"


def test_a_stopped_sources_discovery_is_tried_daily_and_its_success_resumes_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def districts(config: Any) -> list[VendorDistrict]:
        tried.append(town.now)
        if town.now.day < 5:
            raise CredentialsRefused("Still refused.")
        return [VendorDistrict("d1", "Springfield")]

    monkeypatch.setattr(TownRoster, "districts", districts)
    town.vendor.fails = CredentialsRefused("The vendor refused the token.")
    town.sync("2026-09-02 05:00", scheduled=True)
    town.vendor.fails = None
    asked = [
        f"{day:02} {hour}"
        for day in range(2, 7)
        for hour in ("06:00", "10:00", "19:00")
        if poll(town, f"2026-09-{day:02} {hour}")
    ]
    assert [f"{at:%d %H:%M}" for at in tried] == ["03 06:00", "04 06:00", "05 06:00"]
    assert asked[0] == "05 06:00"
    assert health(town).state == "ok"


def test_a_short_roster_again_and_again_is_polled_less_too(town: Town) -> None:
    town.vendor.short = True
    for hour in ("05:00", "10:00", "14:00"):
        assert poll(town, f"2026-09-02 {hour}")
    assert not poll(town, "2026-09-02 19:00")
    assert len(town.active) == 18
