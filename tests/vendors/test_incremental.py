"""Between full fetches only changes are read: any mixture of both reaches the same directory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.storage.database import Database, open_database
from rostersync.emulator import District
from rostersync.emulator.district.days import (
    Changes,
    Day,
    Disables,
    Enables,
    Joins,
    Leaves,
    Returns,
    ToBeDeleted,
)
from tests.kit.sizes import examples
from tests.kit.vendor_world import VendorWorld, at_vendor

FEEDS = {
    "clever": {"events": True},
    "gg4l": {"events": True},
    "classlink": {"delta": True},
    "oneroster12": {"delta": True},
}
"""Vendor → the config that switches its feed of changes on."""
EVERY_FEED = pytest.mark.parametrize("vendor", list(FEEDS))
WITH_EVENTS = pytest.mark.parametrize("vendor", ["clever", "gg4l"])

GENEROUS = {"percent": 100, "least": 1000}
LIMITS = {
    "limits": {"school_role": GENEROUS, "district_role": GENEROUS, "district": GENEROUS},
}
"""These tests are about reading; limits have tests of their own."""


@contextmanager
def reading_changes(database: Database, vendor: str, *days: Day, **more: Any) -> Iterator[Any]:
    district = District(seed=12, users=90, schools=2, days=days)
    with at_vendor(
        database, district, vendor, config=FEEDS[vendor], settings=LIMITS, own_time=True, **more
    ) as world:
        world.sync(code=0)
        world.assert_equal_to_truth()
        yield world


def is_incremental(outcome: Any) -> bool:
    return bool(outcome.certificates["sis"]["incremental"])


def assert_nothing_but_leavers_is_behind(world: VendorWorld) -> None:
    """Shared people are as the vendor says; leavers since the last full fetch wait."""
    truth, directory = world.truth(), world.directory()
    assert truth.keys() <= directory.keys()
    for key, said in truth.items():
        assert directory[key].email == said.email
        assert directory[key].family_name == said.family_name
        assert directory[key].enabled == said.enabled
        assert directory[key].grade == said.grade


EDITS = st.sampled_from(
    [
        Joins(2),
        Leaves(1, role="student"),
        Returns(1),
        Changes(3),
        Disables(1),
        Enables(1),
        ToBeDeleted(1, role="student"),
    ]
)
DAYS = st.lists(
    st.tuples(
        st.lists(EDITS, max_size=3, unique_by=type),
        st.sampled_from(["not read", "changes", "changes", "all"]),
        st.booleans(),
    ),
    min_size=2,
    max_size=6,
)
"""Each day: what happens, how it is read, and whether half the events of the day get lost."""
BEFORE = Day(Leaves(8, role="student"), Disables(7))
"""Somebody can come back, and be enabled again, whatever the script asks for."""


@pytest.fixture(scope="module")
def empty(_migrated_sqlite: Path) -> Path:
    return _migrated_sqlite


@EVERY_FEED
@settings(max_examples=examples(6, long=40), phases=(Phase.explicit, Phase.generate))
@given(script=DAYS)
def test_full_and_incremental_in_any_mixture_reach_the_same_directory(
    empty: Path, vendor: str, script: list[tuple[list[Any], str, bool]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROSTERSYNC_KEY", "0" * 64)
        path = Path(folder) / "rostersync.db"
        shutil.copyfile(empty, path)
        database = open_database(f"sqlite:///{path}")
        days = [BEFORE, *(Day(*edits) for edits, _, _ in script)]
        with reading_changes(database, vendor, *days, day=1) as world:
            lossy = False
            for day, (_, how, loses) in enumerate(script, 2):
                world.turn_to(day)
                if loses and vendor in ("clever", "gg4l"):
                    world.emulator.fail("lost_events")
                if how == "not read":
                    continue
                before = world.archived()
                outcome = world.sync(full=how == "all")
                assert outcome.exit_code == 0, outcome.error
                if how == "all":
                    world.assert_equal_to_truth()
                    lossy = False
                    continue
                lossy = lossy or loses
                assert world.archived() <= before, "changes alone prove no absence"
                if not lossy:
                    assert_nothing_but_leavers_is_behind(world)
            world.sync(full=True, code=0)
            world.assert_equal_to_truth()
        database.engine.dispose()


@EVERY_FEED
def test_the_first_run_of_a_local_day_reads_in_full_and_the_next_ones_only_changes(
    store: Database, vendor: str
) -> None:
    days = (Day(Joins(2), Changes(3)), Day(Changes(2)))
    with reading_changes(store, vendor, *days) as world:
        world.turn_to(1)
        outcome = world.sync()
        assert is_incremental(outcome)
        assert outcome.status == "applied"
        world.assert_equal_to_truth()
        world.turn_to(2)
        outcome = world.later(days=1).sync()
        assert not is_incremental(outcome)
        world.assert_equal_to_truth()


@WITH_EVENTS
def test_a_deleted_event_only_makes_suspect_until_the_next_full_fetch(
    store: Database, vendor: str
) -> None:
    """F4."""
    with reading_changes(store, vendor, Day(Leaves(2, role="student"))) as world:
        world.turn_to(1)
        outcome = world.sync()
        assert is_incremental(outcome)
        assert outcome.certificates["sis"]["suspected"] == 2
        assert world.archived() == 0
        outcome = world.later(days=1).sync(code=0)
        assert not is_incremental(outcome)
        assert outcome.certificates["sis"]["suspected"] == 0
        assert world.archived() == 2
        world.assert_equal_to_truth()


@pytest.mark.parametrize("vendor", ["classlink", "oneroster12"])
def test_tobedeleted_in_a_delta_only_makes_suspect_until_the_next_full_fetch(
    store: Database, vendor: str
) -> None:
    """F4."""
    with reading_changes(store, vendor, Day(ToBeDeleted(2, role="student"))) as world:
        world.turn_to(1)
        outcome = world.sync()
        assert is_incremental(outcome)
        assert outcome.certificates["sis"]["suspected"] == 2
        assert world.archived() == 0
        world.later(days=1).sync(code=0)
        assert world.archived() == 2
        world.assert_equal_to_truth()


@WITH_EVENTS
def test_whoever_left_and_came_back_while_the_second_event_was_lost_stays(
    store: Database, vendor: str
) -> None:
    days = (Day(Leaves(2, role="student")), Day(Returns(2)))
    with reading_changes(store, vendor, *days) as world:
        world.turn_to(1)
        assert is_incremental(world.sync())
        world.turn_to(2)
        world.emulator.fail("lost_events")
        assert is_incremental(world.sync())
        world.turn_to(2)
        world.later(days=1).sync(code=0)
        assert world.archived() == 0
        world.assert_equal_to_truth()


@WITH_EVENTS
@pytest.mark.parametrize("lost", ["too old", "unknown"])
def test_a_cursor_that_is_lost_leads_to_a_full_fetch(
    store: Database, vendor: str, lost: str
) -> None:
    with reading_changes(store, vendor, Day(Leaves(1, role="student"), Joins(1))) as world:
        world.turn_to(1)
        if lost == "unknown" and vendor == "clever":
            cursor = '{"event": "nonsense", "at": 9999999999}'
        elif vendor == "clever":
            cursor = '{"event": null, "at": 0}'
        else:
            cursor = '{"after": 0}' if lost == "too old" else '{"before": "nonsense"}'
        with store.write() as connection:
            connection.exec_driver_sql("UPDATE sources SET cursor = ?", (cursor,))
        outcome = world.sync(code=0)
        assert not is_incremental(outcome)
        assert world.archived() == 1
        world.assert_equal_to_truth()


@EVERY_FEED
def test_asking_for_everything_takes_no_shortcut(store: Database, vendor: str) -> None:
    with reading_changes(store, vendor, Day(Leaves(1, role="student"))) as world:
        world.turn_to(1)
        assert not is_incremental(world.sync(full=True, code=0))
        assert world.archived() == 1


@pytest.mark.parametrize("vendor", ["classlink", "gg4l"])
def test_an_unchanged_revision_skips_the_fetch_but_only_for_a_local_day(
    store: Database, vendor: str
) -> None:
    district = District(seed=12, users=90, schools=2)
    with at_vendor(store, district, vendor, "discovery") as world:
        world.sync(code=0)
        assert world.sync(code=0).certificates["sis"]["unchanged"]
        assert not world.later(days=1).sync(code=0).certificates["sis"]["unchanged"]
