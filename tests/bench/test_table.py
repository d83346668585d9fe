"""What a row of the bench says, without measuring anything."""

from __future__ import annotations

import pytest

from bench.measures.projection import project
from bench.rig.process import Ran
from bench.rig.table import Cost, Floor, Goal, Table
from bench.rosters.days import TOUCHED, days_of
from rostersync.emulator.district.generator import District


def ran(seconds: float, peak_mb: float = 100.0) -> Ran:
    return Ran(seconds, seconds, peak_mb, 0, "")


def test_a_row_is_divided_by_its_floor_once_the_start_is_taken_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table()
    cost = table.processes(
        "no change", "sqlite", [ran(2.0), ran(4.0), ran(3.0)], users=10, start=Cost(1.0, 1.0),
        floor=Floor(Cost(0.5, 0.5), "raw GET"), goal=Goal(ratio=5.0, dream=2.2, mb=200),
    )  # fmt: skip
    assert cost == Cost(2.0, 2.0)
    (row,) = table.rows
    assert (row["seconds"], row["whole_seconds"], row["ratio"]) == (2.0, 3.0, 4.0)
    assert row["missed"] == []
    printed = capsys.readouterr().out
    assert "4.00 x" in printed
    assert "of 0.500 s raw GET" in printed
    assert "reach 5.0 x, dream 2.2 x, 200 MB" in printed


def test_a_row_says_what_it_missed(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.processes(
        "no change", "sqlite", [ran(3.0, 250.0)], start=Cost(1.0, 1.0),
        floor=Floor(Cost(0.5, 0.5), "raw GET"), goal=Goal(ratio=3.0, mb=200),
    )  # fmt: skip
    assert table.rows[0]["missed"] == ["ratio", "memory"]
    assert "MISSED: ratio, memory" in capsys.readouterr().out


def test_a_goal_in_seconds_is_one_of_the_whole_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table()
    table.processes("no change", "sqlite", [ran(1.5)], start=Cost(1.0, 1.0), goal=Goal(seconds=1.1))
    assert table.rows[0]["missed"] == ["seconds"]
    printed = capsys.readouterr().out
    assert "1.50 s" in printed
    assert "reach 1.1 s" in printed


def test_one_person_changes_even_in_the_smallest_district() -> None:
    district = District(users=300, days=days_of(("0.001", TOUCHED, "0.05"), 300))
    assert [district.view(day).event_count() for day in (1, 2, 3)] == [1, 0, 15]


def test_a_projection_adds_waiting_and_transfer_to_what_was_measured() -> None:
    assert project(10, 25_000_000, 2.0) == (1.0, 2.0, 5.0)


def test_a_projection_waits_where_the_vendor_limits_requests() -> None:
    assert project(2_500, 0, 0.0, per_minute=600).seconds == 250.0
    assert project(2_500, 0, 0.0, per_minute=300).seconds == 480.0
