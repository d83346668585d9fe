"""After a sync the directory equals the vendor: field by field, at each vendor, day after day."""

from __future__ import annotations

import pytest

from core.storage.database import Database
from rostersync.emulator import District
from rostersync.emulator.district.days import (
    Changes,
    Day,
    Disables,
    DomainChange,
    Enables,
    Joins,
    Leaves,
    RenamesSchools,
    Returns,
    Rollover,
    ToBeDeleted,
    Touches,
)
from tests.kit.vendor_world import WAYS, at_vendor

EVERY_VENDOR = pytest.mark.parametrize(
    "vendor", ["clever", "clever31", "classlink", "gg4l", "oneroster", "oneroster12"]
)

SCRIPT = (
    Day(Joins(12), Leaves(9), Changes(30)),
    Day(),
    Day(Returns(4), ToBeDeleted(6), Disables(5)),
    Day(Changes(10, fields=("role", "username")), RenamesSchools()),
    Day(Enables(3), Returns(2), Joins(5)),
    Day(Touches()),
    Day(DomainChange("b.example")),
    Day(Rollover()),
    Day(Joins(3)),
)
"""One of everything; the last days are past the limits and have to be approved."""


BIG = (
    ("clever", "token"),
    ("classlink", "proxy"),
    ("gg4l", "district"),
    ("oneroster", "oauth2"),
    ("oneroster12", "oauth2"),
)
SIZES = [(*way, 10_000) for way in BIG] + [(*way, 1_000) for way in WAYS if way not in BIG]


@pytest.mark.parametrize(("vendor", "mode", "users"), SIZES)
def test_a_district_is_equal_to_the_vendor_and_a_second_sync_finds_nothing(
    store: Database, vendor: str, mode: str, users: int
) -> None:
    days = (Day(Joins(20), Leaves(15), Changes(50)),)
    district = District(seed=3, users=users, schools=18, days=days)
    with at_vendor(store, district, vendor, mode) as world:
        assert world.sync().status == "applied"
        assert world.sync().status == "nothing_to_do"
        world.day(1)
        world.assert_equal_to_truth()


@EVERY_VENDOR
def test_day_by_day_the_directory_follows_the_vendor(store: Database, vendor: str) -> None:
    district = District(seed=5, users=1_000, contacts=0.05, days=SCRIPT)
    with at_vendor(store, district, vendor) as world:
        world.sync(code=0)
        world.assert_equal_to_truth()
        for day in range(1, len(SCRIPT) + 1):
            world.day(day, approve=True)
            world.assert_equal_to_truth()


@EVERY_VENDOR
def test_whoever_comes_back_under_the_same_id_is_the_same_user(
    store: Database, vendor: str
) -> None:
    district = District(seed=6, users=400, days=(Day(Leaves(2)), Day(Returns(2))))
    with at_vendor(store, district, vendor) as world:
        world.sync(code=0)
        before = {key: world.id_of(key) for key in world.truth()}
        world.day(1)
        assert world.archived() == 2
        world.day(2)
        assert world.archived() == 0
        assert {key: world.id_of(key) for key in world.truth()} == before
        world.assert_equal_to_truth()


@pytest.mark.long
@EVERY_VENDOR
def test_a_district_of_100_000_is_equal_to_the_vendor(store: Database, vendor: str) -> None:
    district = District(
        seed=4, users=100_000, days=(Day(Joins(200), Leaves(150), Changes(500)), Day(Touches()))
    )
    with at_vendor(store, district, vendor) as world:
        world.sync(code=0)
        world.assert_equal_to_truth()
        world.day(1, approve=True)  # one of few teachers of a school leaves: that is held
        world.assert_equal_to_truth()
        world.day(2)
        world.assert_equal_to_truth()
