"""The vendors' certification checklist, AC1 to AC24: each has a test of its number here."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.contract.pacing import Clock
from connectors.contract.urls import parse_links, same_origin
from connectors.http.oauth import OAuth1
from core.storage.database import Database
from rostersync.emulator import District
from rostersync.emulator.district.days import (
    Changes,
    Day,
    Disables,
    Enables,
    Joins,
    Leaves,
    NewIds,
    RenamesSchools,
    Returns,
    Rollover,
    ToBeDeleted,
)
from tests.kit.vendor_world import at_vendor

RULES = Path(__file__).parents[2] / "docs" / "design" / "rules.md"
EVERY_VENDOR = pytest.mark.parametrize(
    "vendor", ["clever", "classlink", "gg4l", "oneroster", "oneroster12"]
)


def people(*days: Day, users: int = 150, **more: Any) -> District:
    return District(seed=31, users=users, schools=3, days=days, **more)


def test_every_number_has_a_test_or_a_sentence() -> None:
    tested = {
        int(found[1])
        for name in dir(sys.modules[__name__])
        if (found := re.match(r"test_ac(\d\d)_", name))
    }
    section = RULES.read_text(encoding="utf-8").partition("## What the vendors ask for\n")[2]
    elsewhere = section.partition("### AC1")[0]  # the numbers whose tests stand in other files
    said = {int(number) for number in re.findall(r"\bAC(\d+)\b", elsewhere)}
    assert said == {6, 7}
    assert tested | said >= set(range(1, 25))


@EVERY_VENDOR
def test_ac01_the_vendors_id_is_the_key_and_nothing_else(store: Database, vendor: str) -> None:
    day = Day(Changes(20, fields=("email", "username", "name")))
    with at_vendor(store, people(day), vendor) as world:
        world.sync(code=0)
        before = {key: world.id_of(key) for key in world.truth()}
        world.day(1)
        assert {key: world.id_of(key) for key in world.truth()} == before


@EVERY_VENDOR
def test_ac02_equal_missing_and_odd_emails_all_come_in(store: Database, vendor: str) -> None:
    with at_vendor(store, people(users=1500), vendor) as world:
        world.sync(code=0)
        emails = [said.email for said in world.truth().values()]
        given = [email for email in emails if email]
        assert None in emails, "somebody has no address"
        assert len(set(given)) < len(given), "two share an address"
        world.assert_equal_to_truth()


@pytest.mark.parametrize("vendor", ["clever", "oneroster12"])
def test_ac03_a_person_of_two_roles_is_one_user_and_may_lose_one_role(
    store: Database, vendor: str
) -> None:
    days = (Day(Changes(3, role="teacher", fields=("role",))),)
    with at_vendor(store, people(*days, users=600), vendor) as world:
        world.sync(code=0)
        world.day(1)
        roles = [{role for role, _, _ in said.memberships} for said in world.truth().values()]
        assert any(len(some) > 1 for some in roles)
        world.assert_equal_to_truth()


@EVERY_VENDOR
def test_ac04_primary_and_further_schools_are_kept(store: Database, vendor: str) -> None:
    with at_vendor(store, people(users=600), vendor) as world:
        world.sync(code=0)
        schools = [[m for m in said.memberships if m[1]] for said in world.truth().values()]
        assert any(len(some) > 1 for some in schools)
        assert any(not some for some in schools), "district people have none"
        world.assert_equal_to_truth()


@EVERY_VENDOR
def test_ac05_a_new_id_of_a_known_person_is_never_a_silent_merge(
    store: Database, vendor: str
) -> None:
    with at_vendor(store, people(Day(NewIds(2))), vendor) as world:
        world.sync(code=0)
        before = world.count("active") + world.count("suspended")
        world.later(days=2).emulator.day = 1
        outcome = world.sync()
        assert outcome.exit_code in (0, 10), outcome.error
        assert world.archived() == 0, "nobody is archived beside a person who resembles them"
        decided = {reason for plan in outcome.plan_ids for _, _, reason in world.changes(plan)}
        assert decided or world.conflicts(), "it is in a plan, or a person decides"
        assert world.count("active") + world.count("suspended") <= before + 2


@EVERY_VENDOR
def test_ac08_whoever_is_no_longer_shared_is_archived_and_comes_back_as_the_same(
    store: Database, vendor: str
) -> None:
    days = (Day(Leaves(2), ToBeDeleted(2)), Day(Returns(2)))
    with at_vendor(store, people(*days), vendor) as world:
        world.sync(code=0)
        ids = set(world.users())
        world.day(1)
        assert world.archived() == 4
        assert set(world.users()) == ids, "archived, never deleted"
        world.day(2)
        assert world.archived() == 2
        assert set(world.users()) == ids
        world.assert_equal_to_truth()


@pytest.mark.parametrize("vendor", ["classlink", "gg4l", "oneroster", "oneroster12"])
def test_ac09_a_disabled_account_is_suspended_not_archived(store: Database, vendor: str) -> None:
    days = (Day(Disables(3)), Day(Enables(3)))
    with at_vendor(store, people(*days), vendor) as world:
        world.sync(code=0)
        suspended = world.count("suspended")
        world.day(1)
        assert (world.count("suspended"), world.archived()) == (suspended + 3, 0)
        world.day(2)
        assert world.count("suspended") == suspended


@EVERY_VENDOR
def test_ac10_only_a_complete_pull_archives(store: Database, vendor: str) -> None:
    config = {"page_size": 50, "attempts": 1}
    with at_vendor(store, people(Day(Leaves(2))), vendor, config=config) as world:
        world.sync(code=0)
        world.later(days=2).emulator.day = 1
        world.emulator.fail("server_error", stream="users", page=3)
        assert world.sync().exit_code == 12
        assert world.archived() == 0
        world.emulator.heal()
        world.sync(code=0)
        assert world.archived() == 2


@EVERY_VENDOR
def test_ac11_a_mass_removal_is_held_and_approval_resumes(store: Database, vendor: str) -> None:
    with at_vendor(store, people(Day(Leaves(0.3))), vendor) as world:
        world.sync(code=0)
        world.later(days=2).emulator.day = 1
        assert world.sync().exit_code == 10
        assert world.archived() == 0
        world.approve()
        world.assert_equal_to_truth()


def test_ac12_a_reference_to_what_is_not_shared_blocks_nobody(store: Database) -> None:
    with at_vendor(store, people(), "oneroster") as world:
        world.emulator.fail("forbidden", stream="schools")
        outcome = world.sync(code=0)
        assert outcome.status == "applied"
        assert world.count() + world.count("suspended") == len(world.truth())


@EVERY_VENDOR
def test_ac13_people_need_no_section(store: Database, vendor: str) -> None:
    with at_vendor(store, people(), vendor) as world:
        world.sync(code=0)
        asked = {logged.path for logged in world.emulator.requests}
        assert not [path for path in asked if "section" in path or "class" in path.lower()[10:]]
        world.assert_equal_to_truth()


def test_ac14_several_syncs_a_day_and_one_on_demand(store: Database) -> None:
    days = (Day(Joins(1)), Day(Joins(1)), Day(Joins(1)))
    with at_vendor(store, people(*days), "clever") as world:
        world.sync(code=0)
        for day in (1, 2, 3):
            world.later(hours=4).emulator.day = day
            assert world.sync().status == "applied"
            world.assert_equal_to_truth()


@pytest.mark.parametrize(
    ("vendor", "mode"), [("clever", "lookup"), ("classlink", "discovery"), ("gg4l", "discovery")]
)
def test_ac15_rotated_credentials_just_work_and_a_vanished_district_is_disconnected(
    store: Database, vendor: str, mode: str
) -> None:
    with at_vendor(store, people(Day(Leaves(1), Joins(1))), vendor, mode) as world:
        world.sync(code=0)
        world.emulator.rotate()
        world.day(1)
        world.assert_equal_to_truth()
        before = world.dump()
        world.emulator.fail("district_vanished")
        outcome = world.later(days=1).sync()
        assert (outcome.status, outcome.exit_code) == ("incomplete", 12)
        assert outcome.certificates["sis"]["vendor_state"] == "disconnected"
        assert world.dump() == before
        world.emulator.heal()
        assert world.later(days=1).sync().exit_code == 0


def test_ac16_the_rate_limit_is_kept_and_429_is_waited_out(store: Database) -> None:
    with at_vendor(store, people(), "clever", config={"page_size": 10}) as world:
        world.emulator.fail("rate_limited_empty", stream="users", page=2, times=2)
        assert world.sync().status == "applied"
        world.assert_equal_to_truth()


@EVERY_VENDOR
def test_ac17_pages_are_read_to_the_end_and_no_further(store: Database, vendor: str) -> None:
    with at_vendor(store, people(), vendor, config={"page_size": 7}) as world:
        world.sync(code=0)
        world.assert_equal_to_truth()
        world.emulator.fail("endless_paging", stream="users", page=3)
        before = world.requests
        assert world.later(days=1).sync().exit_code == 12
        assert world.requests - before < 60


def test_ac18_signatures_follow_rfc_5849_and_the_path_is_signed_as_written() -> None:
    import oauthlib.oauth1 as reference

    url = "https://oneroster.example/a%2Fb/ims/oneroster/v1p1/users?filter=role%3D%27x%20y%27"
    for method in ("HMAC-SHA256", "HMAC-SHA1"):
        ours = OAuth1("key", SecretStr("s3cret"), Clock(), method=method)  # type: ignore[arg-type]
        theirs = reference.Client(
            "key", "s3cret", signature_method=method, nonce="n0nce", timestamp="1700000000"
        )
        signature = re.search(r'oauth_signature="([^"]+)"', theirs.sign(url)[1]["Authorization"])
        assert signature is not None
        assert signature[1] in ours.sign("GET", url, "n0nce", 1700000000)


def test_ac19_no_link_leads_to_another_host(store: Database) -> None:
    assert parse_links('https://a.example/users?offset=1; rel="next"')
    assert not same_origin("https://elsewhere.example/users", "https://a.example/users")
    with at_vendor(store, people(), "gg4l", config={"page_size": 40}) as world:
        world.emulator.fail("foreign_link")
        assert world.sync().status == "applied"
        world.assert_equal_to_truth()


@pytest.mark.parametrize("vendor", ["clever", "gg4l"])
def test_ac20_changes_are_read_in_order_and_once_more_without_harm(
    store: Database, vendor: str
) -> None:
    days = (Day(Changes(9)), Day(Changes(9)))
    district = people(*days)
    with at_vendor(store, district, vendor, config={"events": True}, own_time=True) as world:
        world.sync(code=0)
        for day in (1, 2):
            world.turn_to(day)
            assert world.sync().certificates["sis"]["incremental"]
            assert world.sync().status == "nothing_to_do"
            world.assert_equal_to_truth()


@pytest.mark.parametrize("state", ["paused", "pending", "error"])
def test_ac21_a_vendors_own_pause_or_error_is_shown_and_archives_nobody(
    store: Database, state: str
) -> None:
    with at_vendor(store, people(Day(Leaves(2))), "clever") as world:
        world.sync(code=0)
        world.emulator.vendor_state = state
        world.later(days=2).emulator.day = 1
        outcome = world.sync()
        assert outcome.certificates["sis"]["vendor_state"] == state
        if state != "paused":  # Clever's data in a pause is frozen, not wrong
            assert world.archived() == 0


@EVERY_VENDOR
def test_ac22_a_rollover_keeps_everybody_the_same_user(store: Database, vendor: str) -> None:
    with at_vendor(
        store, people(Day(Rollover()), users=300), vendor, settings={"guard": "approve"}
    ) as world:
        world.sync(code=0)
        before = {key: world.id_of(key) for key in world.truth()}
        world.day(1, approve=True)
        world.assert_equal_to_truth()
        for key in world.truth().keys() & before.keys():
            assert world.id_of(key) == before[key]


def test_ac23_after_its_end_a_grant_is_not_used(store: Database) -> None:
    with at_vendor(
        store, people(), "gg4l", "discovery", expiry_date="2020-01-01T00:00:00.000+00:00"
    ) as world:
        outcome = world.sync()
        assert (outcome.status, outcome.exit_code) == ("incomplete", 12)
        assert "ended on 2020-01-01" in str(outcome.error)
        assert world.count() == 0


@EVERY_VENDOR
def test_ac24_a_role_that_is_switched_off_is_like_unsharing(store: Database, vendor: str) -> None:
    with at_vendor(store, people(), vendor) as world:
        world.sync(code=0)
        world.emulator.fail("empty_role", role="teacher")
        outcome = world.later(days=1).sync()
        assert outcome.exit_code in (10, 12)
        assert world.archived() == 0
        world.emulator.heal()
        world.later(days=1).sync(code=0)
        world.assert_equal_to_truth()


def test_schools_follow_the_vendor_too(store: Database) -> None:
    with at_vendor(store, people(Day(RenamesSchools(2))), "clever") as world:
        world.sync(code=0)
        world.day(1)
        names = {row[0] for row in world.rows("SELECT name FROM schools")}
        assert names == {school.name for school in world.emulator.district.view(1).schools}
