"""Whatever goes wrong at a vendor: right status and exit code, nobody archived, and then truth."""

from __future__ import annotations

import random
from typing import Any

import pytest

from core.storage.database import Database
from rostersync.emulator import FAULTS, District
from rostersync.emulator.district.days import Changes, Day, Joins, Leaves
from sync.run.outcome import Outcome
from tests.kit.vendor_world import WAYS, VendorWorld, at_vendor

DISTRICT_TOTALS = {"classlink", "oneroster", "oneroster12"}
"""Vendors that declare how many users there are."""
LOOKED_UP = {
    ("clever31", "lookup"), ("classlink", "discovery"), ("classlink", "server"),
    ("gg4l", "discovery"),
}  # fmt: skip
"""Ways in that ask for the list of districts at every run."""
HARMLESS = {"clock_skew", "foreign_link", "lost_events", "token_expired"}
OF_ACCOUNTS = {"token_revoked", "token_swapped", "district_vanished", "discovery_empty"}
EVERYWHERE = OF_ACCOUNTS | {"clock_skew", "token_expired", "empty_users", "lost_events"}
"""Faults that do not strike one page; the others strike the second page of users."""


def expected(vendor: str, mode: str, fault: str) -> tuple[str, int]:
    """Return the status and exit code in which a run with this fault ends."""
    looked_up = (vendor, mode) in LOOKED_UP
    if fault in HARMLESS or (fault == "discovery_empty" and not looked_up):
        return "applied", 0
    if fault == "token_swapped":
        return "refused", 2
    if fault in ("token_revoked", "forbidden") or (fault == "district_vanished" and not looked_up):
        return "refused", 14
    if fault == "empty_role" and vendor in DISTRICT_TOTALS:
        return "held", 10  # the totals agree: it is a complete roster that shrank
    return "incomplete", 12


def _can_have(vendor: str, fault: str) -> bool:
    vendors = FAULTS[fault].vendors
    return vendors is None or vendor.removesuffix("31") in vendors


def _pairs() -> list[Any]:
    """Return every fault at every way in, two ways of each fault in the quick run."""
    pairs = []
    for fault in FAULTS:
        ways = [way for way in WAYS if _can_have(way[0], fault)]
        quick = random.Random(f"2026 {fault}").sample(ways, 2 if len(ways) > 1 else 1)
        pairs += [
            pytest.param(
                *way, fault, id="-".join((*way, fault)),
                marks=[] if way in quick else [pytest.mark.long],
            )
            for way in ways
        ]  # fmt: skip
    return pairs


def _district() -> District:
    days = (Day(Leaves(3), Joins(3), Changes(4)),)
    return District(seed=3, users=150, schools=3, days=days)


CONFIG = {"page_size": 50, "read_timeout": 0.5, "attempts": 2}


def _settles(world: VendorWorld) -> None:
    """Run once more, now that nothing is wrong: the directory is equal to the vendor."""
    was_away = world.value("SELECT vendor_state FROM sources") == "disconnected"
    outcome = world.sync()
    if was_away:
        _holds_just_those_who_left(world, outcome)
        outcome = world.approve()
    assert outcome.status in ("applied", "nothing_to_do"), (outcome, outcome.error)
    world.assert_equal_to_truth()


def _holds_just_those_who_left(world: VendorWorld, outcome: Outcome) -> None:
    """The first complete run of a district that is back is guarded (S3).

    It was away in October, so no rollover is expected and nobody waits (S6): a person decides about
    those whom the vendor no longer has (S5), and about nobody else.
    """
    assert (outcome.status, outcome.exit_code) == ("held", 10), (outcome, outcome.error)
    plan = world.standing()
    assert plan is not None
    assert world.limits(plan) == {"guard"}
    gone = {world.id_of(key) for key in world.statuses().keys() - world.truth().keys()}
    assert {(action, user) for action, user, _ in world.changes(plan)} == {
        ("archive", user) for user in gone
    }


@pytest.mark.parametrize(("vendor", "mode", "fault"), _pairs())
def test_a_fault_ends_in_its_status_archives_nobody_and_is_made_good_by_the_next_run(
    store: Database, vendor: str, mode: str, fault: str
) -> None:
    with at_vendor(store, _district(), vendor, mode, config=CONFIG) as world:
        world.sync(code=0)
        before = set(world.users())
        world.later(days=2).emulator.day = 1
        where: dict[str, Any] = {} if fault in EVERYWHERE else {"stream": "users", "page": 2}
        world.emulator.fail(fault, **({"role": "student"} if fault == "empty_role" else where))

        outcome = world.sync()

        status, code = expected(vendor, mode, fault)
        assert (outcome.status, outcome.exit_code) == (status, code), outcome.error
        if status == "applied":
            world.assert_equal_to_truth()
        else:
            assert world.archived() == 0
        if fault in OF_ACCOUNTS and status != "applied":
            assert set(world.users()) == before, "nobody of another district came in"
        world.emulator.heal()
        _settles(world)


PASSING = [
    name
    for name, kind in FAULTS.items()
    if kind.transport and name not in ("token_revoked", "forbidden")
]
"""Faults that may be gone when asked again."""


def _passing() -> list[Any]:
    pairs = []
    for number, fault in enumerate(PASSING):
        quick = WAYS[number % len(WAYS)]
        pairs += [
            pytest.param(
                *way, fault, id="-".join((*way, fault)),
                marks=[] if way == quick else [pytest.mark.long],
            )
            for way in WAYS
        ]  # fmt: skip
    return pairs


@pytest.mark.parametrize(("vendor", "mode", "fault"), _passing())
def test_a_fault_that_passes_is_not_noticed(
    store: Database, vendor: str, mode: str, fault: str
) -> None:
    with at_vendor(store, _district(), vendor, mode, config=CONFIG) as world:
        world.sync(code=0)
        world.later(days=2).emulator.day = 1
        world.emulator.fail(fault, stream="users", page=2, times=1)
        assert world.sync().status == "applied"
        world.assert_equal_to_truth()


@pytest.mark.parametrize("vendor", ["clever", "gg4l"])
def test_more_may_be_missing_than_are_asked_for_by_id_and_still_nobody_leaves(
    store: Database, vendor: str
) -> None:
    """F3: where no total is declared, 200 of the missing are asked for."""
    with at_vendor(store, District(seed=8, users=700, schools=3), vendor) as world:
        world.sync(code=0)
        world.emulator.fail("empty_role", role="student")
        outcome = world.sync()
        assert (outcome.status, outcome.exit_code) == ("incomplete", 12)
        asked = [r for r in world.emulator.requests if r.stream == "user"]
        assert len(asked) == 200
        assert world.archived() == 0


def test_a_roster_that_moves_once_while_it_is_read_is_read_again(store: Database) -> None:
    with at_vendor(store, _district(), "classlink", config=CONFIG) as world:
        world.sync(code=0)
        world.later(days=2).emulator.day = 1
        world.emulator.fail("revision_changes", stream="users", page=2, times=1)
        assert world.sync().status == "applied"
        world.assert_equal_to_truth()
