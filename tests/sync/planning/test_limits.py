"""Limits (L1 to L9): what counts as taking away, and when a person must approve.

One file, because the rules L1 to L9 are read beside it in their order.
"""

from __future__ import annotations

from datetime import datetime

import pytest

from core.errors import WrongDistrict
from core.settings import LimitRule
from sync.rules.limits import DISTRICT, DISTRICT_ROLE, SCHOOL_ROLE, Group, allowed_in
from tests.kit.fixtures import NewWorld
from tests.kit.world import World


def scopes(world: World) -> dict[str, tuple[int, int]]:
    """Return scope → (allowed, found) of the standing plan."""
    return {trip["scope"]: (trip["allowed"], trip["found"]) for trip in world.held()}


def test_example_1_october(school: World) -> None:
    school.sis.without("te000", "te001", "st0015", "st0016", "st0017", "st0018", "st0019")
    school.sync(code=10)
    assert school.count() == 25
    assert scopes(school)["teacher, Lincoln High"] == (1, 2)
    assert scopes(school)["student, Lincoln High"] == (3, 5)


def test_example_2_a_week_of_held_archives(make_world: NewWorld) -> None:
    """The numbers divided by ten: 60 of 1,000, then 5 back and 12 more."""
    world = make_world()
    world.sis.students(1000)
    world.sync(code=0)
    world.sis.without(*(f"st{n:04}" for n in range(60)))
    world.sync(code=10)
    monday = world.standing()
    assert monday is not None
    for number in range(8):
        world.later(hours=5)
        if number == 3:
            world.sis.students(5)
        if number == 6:
            world.sis.without(*(f"st{n:04}" for n in range(60, 72)))
        world.sync(code=10)
    standing = world.standing()
    assert standing is not None
    assert world.plan_row(monday)["status"] == "superseded"
    assert world.actions(standing) == {"archive": 67}
    late = world.approve(monday)
    assert (late.status, late.exit_code, late.plan_ids) == ("drifted", 11, [standing])
    assert world.count("archived") == 0
    assert world.approve(standing).status == "applied"
    assert world.count("archived") == 67


def test_example_3_a_new_mapping_that_changes_nothing_settles_silently(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(300)
    world.sync(code=0)  # the first complete fetch creates all (L6)
    assert world.count() == 300
    world.reconfigure(mapping={"given_name": "{fields.given_name}"})
    assert world.sync(code=0).status == "nothing_to_do"
    assert world.parsed() == 301, "everybody and the school is read anew"
    world.reconfigure(mapping={"given_name": "{fields.given_name} {key}"})
    world.sync(code=10)
    assert world.limits() == {"settings"}
    assert world.actions(world.standing()) == {"update": 300}
    assert world.count() == 300


# -- L1


def test_l1_archive_suspend_and_loss_of_a_role_are_takings(make_world: NewWorld) -> None:
    world = make_world()
    both: list[tuple[str, str | None]] = [("teacher", "lincoln"), ("staff", "lincoln")]
    world.sis.students(20)
    for number in range(20):
        world.sis.person(f"a{number:02}", memberships=both)
    world.sync(code=0)

    for number in range(4):
        world.sis.student(f"st{number:04}", enabled=False)
    world.sync(code=10)
    assert world.count("suspended") == 0
    assert world.actions(world.standing()) == {"suspend": 4}

    for number in range(4):
        world.sis.student(f"st{number:04}", enabled=True)
        world.sis.teacher(f"a{number:02}")
    world.sync(code=10)
    assert world.actions(world.standing()) == {"update": 4}
    assert set(scopes(world)) == {"staff, Lincoln High", "staff, the district"}


def test_l1_the_end_of_a_hold_is_a_taking_of_that_source(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board", "second": "board"})
    for roster in (world.sis, world.second):
        roster.school("lincoln", "Lincoln High", nces_id="1")
    for number in range(20):
        world.sis.student(f"st{number:04}", email=f"st{number:04}@springfield.example")
    world.second.person("other", "staff")
    world.sync(code=0)
    for number in range(20):
        world.second.student(f"x{number:04}", email=f"st{number:04}@springfield.example")
    world.sync(code=0)
    for conflict, key, _, _ in world.conflicts():
        world.resolve(conflict, link=world.id_of(f"st{key[1:]}"))
    world.sync(code=0)
    assert len(world.statuses("second")) == 21
    world.second.without("x0000", "x0001", "x0002", "x0003")
    world.sync(code=10)
    assert world.count() == 21
    assert world.actions(world.standing()) == {"unlink": 4}


def test_l1_a_move_between_schools_takes_nothing_away(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.school("grant", "Grant Middle").students(20)
    world.sync(code=0)
    world.sis.students(10, school="grant")
    assert world.sync(code=0).status == "applied", "more than three, and none of them is taken"
    moved = [u for u in world.users().values() if u["memberships"][0][1] == "Grant Middle"]
    assert len(moved) == 10


# -- L2


def test_l2_no_school_and_no_role_are_groups(make_world: NewWorld) -> None:
    world = make_world()
    for number in range(20):
        world.sis.student(f"d{number:02}", school=None)
        world.sis.person(f"n{number:02}", memberships=[])
    world.sync(code=0)
    world.sis.without("d00", "d01", "d02", "d03")
    world.sync(code=10)
    assert scopes(world)["student, no school"] == (3, 4)
    world.sis.student("d00", school=None)
    world.sis.without("n00", "n01", "n02", "n03")
    world.sync(code=10)
    assert world.held()[0]["limit"] == "school_role"
    assert {trip["found"] for trip in world.held()} == {4}
    assert world.count("archived") == 3


def test_l2_a_person_counts_once_in_each_group_they_are_in(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.school("grant", "Grant Middle")
    both: list[tuple[str, str | None]] = [("student", "lincoln"), ("student", "grant")]
    for number in range(20):
        world.sis.person(f"b{number:02}", memberships=both)
    world.sync(code=0)
    world.sis.without("b00", "b01", "b02", "b03")
    world.sync(code=10)
    assert scopes(world) == {
        "student, Lincoln High": (3, 4),
        "student, Grant Middle": (3, 4),
        "student, the district": (3, 4),
    }


# -- L3


@pytest.mark.parametrize(
    ("scope", "people", "allowed"),
    [
        (SCHOOL_ROLE, 0, 3), (SCHOOL_ROLE, 1, 3), (SCHOOL_ROLE, 2, 1), (SCHOOL_ROLE, 3, 1),
        (SCHOOL_ROLE, 5, 2), (SCHOOL_ROLE, 6, 3), (SCHOOL_ROLE, 39, 3), (SCHOOL_ROLE, 40, 4),
        (DISTRICT_ROLE, 49, 4), (DISTRICT_ROLE, 1000, 100), (DISTRICT, 3, 3),
    ],
)  # fmt: skip
def test_l3_arithmetic(scope: str, people: int, allowed: int) -> None:
    assert allowed_in(Group(1, scope), people, LimitRule(percent=10, least=3)) == allowed


def test_l3_the_district_may_lose_five_percent_and_at_least_ten(make_world: NewWorld) -> None:
    world = make_world()
    for number in range(11):
        world.sis.school(f"s{number:02}", f"School {number}")
        world.sis.students(12, start=number * 12, school=f"s{number:02}")
        world.sis.teachers(2, start=number * 2, school=f"s{number:02}")
    world.sync(code=0)
    gone = [f"st{number * 12:04}" for number in range(11)]
    world.sis.without(*gone)
    world.sync(code=10)
    assert scopes(world) == {"the district": (10, 11)}


def test_l3_as_many_as_allowed_leave_and_one_more_is_held(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(40)
    world.sync(code=0)
    world.later(days=8)
    world.sis.without("st0000", "st0001", "st0002", "st0003")
    world.sync(code=0)
    assert world.count("archived") == 4
    world.sis.without("st0004")
    world.sync(code=10)
    assert scopes(world)["student, Lincoln High"] == (4, 5)
    assert world.count("archived") == 4


def test_l3_n_is_the_number_when_the_window_began_if_that_is_greater(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(50)
    world.sync(code=0)
    world.later(days=8)
    world.sis.without("st0000")
    world.sync(code=0)
    world.later(days=1)
    world.sis.without("st0001", "st0002", "st0003", "st0004")  # of 50, not of 49: 5 allowed
    world.sync(code=0)
    assert world.count("archived") == 5


def test_l3_people_are_counted_in_the_order_of_the_plans_even_if_a_clock_is_set_back(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(40)
    world.sync(code=0)
    world.later(hours=-2)
    world.sis.students(20, start=40)
    world.sync(code=0)
    world.later(hours=3)
    world.sis.without(*(f"st{n:04}" for n in range(6)))
    world.sync(code=0)  # 10 % of 60
    assert world.count("archived") == 6


def test_l3_both_of_two_teachers_are_never_taken(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(40).teachers(2)
    world.sync(code=0)
    world.sis.without("te000", "te001")
    world.sync(code=10)
    assert scopes(world)["teacher, Lincoln High"] == (1, 2)
    assert world.count("archived") == 0


def test_l3_an_override_for_one_school_and_role_in_its_days(make_world: NewWorld) -> None:
    override = {
        "school": "Lincoln High", "role": "student", "percent": 50, "least": 5,
        "from": "10-01", "to": "10-31",
    }  # fmt: skip
    role = {"role": "student", "percent": 50, "least": 5, "from": "10-01", "to": "10-31"}
    world = make_world(limits={"override": [override, role]})
    world.sis.students(20)
    world.sync(code=0)
    world.sis.without(*(f"st{n:04}" for n in range(9)))
    world.sync(code=0)
    world.now = datetime.fromisoformat("2026-11-20T12:00:00+00:00")
    world.sis.without(*(f"st{n:04}" for n in range(9, 13)))
    world.sync(code=10)
    assert scopes(world)["student, Lincoln High"] == (3, 4)


# -- L4


def left(world: World, *keys: str) -> None:
    world.sis.without(*keys)
    world.sync()


def test_l4_the_window_counts_what_was_applied_without_approval(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(20)
    world.sync(code=0)
    left(world, "st0000", "st0001")
    world.later(days=3)
    world.sis.without("st0002", "st0003")
    world.sync(code=10)
    assert scopes(world)["student, Lincoln High"] == (3, 4)


def test_l4_what_was_approved_does_not_count(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    left(world, "st0000", "st0001", "st0002", "st0003")
    assert world.approve().status == "applied"
    world.sis.without("st0004", "st0005", "st0006")
    assert world.sync(code=0).status == "applied"
    assert world.count("archived") == 7


def test_l4_what_was_done_by_hand_does_not_count(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    for key in ("st0000", "st0001", "st0002", "st0003"):
        world.archive(world.user(key)["id"])
    world.sis.without(*(f"st{n:04}" for n in range(7)))
    assert world.sync(code=0).status == "applied"
    assert world.count("archived") == 7


def test_l4_who_is_back_again_does_not_count(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    left(world, "st0000", "st0001", "st0002")
    world.sis.students(3)
    world.sync(code=0)
    world.sis.without("st0003", "st0004", "st0005")
    world.sync(code=0)
    assert world.count("archived") == 3


def test_l4_what_was_rejected_does_not_count(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    left(world, "st0000", "st0001", "st0002", "st0003")
    world.reject(world.standing() or 0)
    world.sis.without("st0004", "st0005", "st0006")
    world.sync(code=0)
    assert sorted(world.statuses().values()).count("archived") == 3
    assert world.user("st0000")["status"] == "active"


# -- L5


def test_l5_all_takings_of_a_group_are_held_and_safe_changes_go_on(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30).teachers(10)
    world.sync(code=0)
    world.sis.without("st0000", "st0001", "st0002", "st0003", "te000")
    world.sis.student("new").student("st0010", grade="05")
    world.sync(code=10)
    assert world.actions(world.standing()) == {"archive": 4}
    assert world.user("te000")["status"] == "archived"
    assert world.user("new")["status"] == "active"
    assert world.user("st0010")["grade"] == "05"


def test_l5_the_held_who_fit_when_the_window_has_moved_on_are_applied(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    left(world, "st0000", "st0001", "st0002")
    world.later(days=2)
    left(world, "st0003", "st0004")
    assert world.count("archived") == 3
    assert world.standing() is not None
    world.later(days=6)
    assert world.sync(code=0).status == "applied"
    assert world.count("archived") == 5
    assert world.standing() is None


# -- L6


def test_l6_additions_past_fifty_are_held(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    world.sis.students(50, start=100)
    assert world.sync(code=0).status == "applied"
    world.sis.students(1, start=200)
    world.sync(code=10)
    assert world.limits() == {"additions"}
    assert world.count() == 80
    world.later(days=8)
    world.sync(code=0)
    assert world.count() == 81


def test_l6_there_is_no_limit_until_a_first_complete_fetch_is_applied(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(70).cut(20)
    world.sync(code=12)
    assert world.count() == 20
    world.sis.reads()
    world.sync(code=0)
    assert world.count() == 70


def test_l6_a_dry_run_does_not_establish(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(60)
    world.plan()
    world.sis.students(70, start=100)
    world.sync(code=0)
    assert world.count() == 130


def test_l6_restores_are_additions(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(120)
    world.sync(code=0)
    world.sis.without(*(f"st{n:04}" for n in range(70)))
    world.sync(code=10)
    world.approve()
    world.sis.students(70)
    world.sync(code=10)
    assert world.limits() == {"additions"}
    assert world.actions(world.standing()) == {"restore": 70}


# -- L9


def test_l9_credentials_of_another_district_are_refused(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(3).reads(district="d1")
    world.sync(code=0)
    world.sis.students(1).reads(district="d2")
    before = world.dump()
    outcome = world.sync(code=2)
    assert isinstance(outcome.error, WrongDistrict)
    assert world.dump() == before


def test_i7_updates_of_everybody_at_once_have_no_limit(world: World) -> None:
    """Clever holds more than 75 % of updates; here a change is no taking (L1)."""
    world.sis.students(100)
    world.sync(code=0)
    world.sis.students(100, grade="05")
    assert world.sync(code=0).status == "applied"
    assert {user["grade"] for user in world.users().values()} == {"05"}
