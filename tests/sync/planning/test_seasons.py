"""Seasons (S1, S2) and what August makes of the first worked example."""

from __future__ import annotations

from datetime import datetime

from tests.kit.fixtures import NewWorld
from tests.kit.world import World

SUMMER = [{"start": "06-15", "end": "08-10"}]


def at(world: World, day: str) -> World:
    """Set the clock to noon of a day."""
    world.now = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    return world


def test_example_1_august(make_world: NewWorld) -> None:
    """After the summer, grades one up: five eighth graders are explained, two teachers held."""
    world = at(make_world(pause=SUMMER), "2026-06-01")
    world.sis.teachers(3).students(15, grade="07").students(7, start=15, grade="08")
    assert world.sync(code=0).status == "applied"
    at(world, "2026-06-20")
    assert world.sync(code=0).status == "paused"
    at(world, "2026-08-11")
    world.sis.without("te000", "te001", *(f"st{n:04}" for n in range(15, 20)))
    world.sis.students(15, grade="08")
    world.sync(code=10)
    gone = {key for key, status in world.statuses().items() if status == "archived"}
    assert gone == {f"st{n:04}" for n in range(15, 20)}
    assert world.actions(world.standing()) == {"archive": 2}
    assert world.user("st0000")["grade"] == "08"
    assert world.approve().status == "applied"
    assert world.user("te000")["status"] == "archived"
    assert world.intact()


def test_s1_a_pause_covers_whole_local_days_both_ends_included(make_world: NewWorld) -> None:
    world = make_world(pause=SUMMER, timezone="America/Chicago")
    world.sis.students(3)
    for moment, paused in (
        ("2026-06-15T04:59:00+00:00", False),  # 23:59 of the 14th in Chicago
        ("2026-06-15T05:01:00+00:00", True),
        ("2026-08-11T04:59:00+00:00", True),  # 23:59 of the 10th
        ("2026-08-11T05:01:00+00:00", False),
    ):
        world.now = datetime.fromisoformat(moment)
        assert (world.sync(code=0).status == "paused") is paused, moment


def test_s1_a_dry_run_is_allowed_in_a_pause(make_world: NewWorld) -> None:
    world = at(make_world(pause=SUMMER), "2026-07-01")
    world.sis.students(3)
    outcome = world.plan()
    assert world.actions(outcome.plan_ids[0]) == {"create": 3}
    assert world.apply(outcome.plan_ids[0]).status == "paused"
    assert world.count() == 0


def test_s2_additions_only_creates_restores_and_links_and_the_rest_waits(
    make_world: NewWorld,
) -> None:
    world = make_world(
        pause=[{"start": "06-15", "end": "08-10", "mode": "additions_only"}], guard="off"
    )
    at(world, "2026-06-01")
    world.sis.students(30)
    world.sync(code=0)
    world.sis.without("st0000")
    world.sync(code=0)
    at(world, "2026-07-01")
    world.sis.student("st0000").student("new").without("st0001")
    world.sis.student("st0002", grade="05").student("st0003", enabled=False)
    world.sync(code=0)
    assert world.user("st0000")["status"] == world.user("new")["status"] == "active"
    assert world.user("st0001")["status"] == world.user("st0003")["status"] == "active"
    assert world.user("st0002")["grade"] is None
    at(world, "2026-08-11")
    world.sync(code=0)
    assert world.user("st0001")["status"] == "archived"
    assert world.user("st0003")["status"] == "suspended"
    assert world.user("st0002")["grade"] == "05"


def test_s2_whoever_is_known_under_another_id_is_linked_at_once(make_world: NewWorld) -> None:
    world = make_world(
        pause=[{"start": "06-15", "end": "08-10", "mode": "additions_only"}], guard="off"
    )
    at(world, "2026-06-01")
    world.sis.students(30).student("old", sis_id="77", grade="05")
    world.sync(code=0)
    user = world.id_of("old")
    at(world, "2026-07-01")
    world.sis.without("old").student("new", sis_id="77", grade="06", family_name="Of old")
    outcome = world.sync(code=0)
    assert world.actions(outcome.plan_ids[0]) == {"link": 1, "update": 1}
    assert (world.id_of("new"), world.user("new")["grade"]) == (user, "06")
    assert world.sync(code=0).status == "nothing_to_do"
    at(world, "2026-08-11")
    outcome = world.sync(code=0)
    assert world.actions(outcome.plan_ids[0]) == {"unlink": 1}
    assert (world.user("new")["status"], world.count()) == ("active", 31)
