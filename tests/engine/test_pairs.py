"""Resembling pairs (L7): somebody new who may be somebody who leaves in the same run."""

from __future__ import annotations

from tests.engine.conftest import NewWorld
from tests.engine.kit import World


def test_l7_the_same_local_part_and_names_at_a_new_domain_is_one_update(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(20).student("old", given_name="Ana", email="ana@old.example")
    world.sync(code=0)
    user = world.id_of("old")
    world.sis.without("old").student("new", given_name="Ana", family_name="Of old",
                                     email="ana@new.example")  # fmt: skip
    outcome = world.sync(code=0)
    assert world.actions(outcome.plan_ids[0]) == {"link": 1, "update": 1, "unlink": 1}
    assert world.id_of("new") == user
    assert world.user("new")["email"] == "ana@new.example"
    assert world.count("archived") == 0


def test_l7_the_same_id_is_one_update(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(20).student("old", sis_id="77", given_name="Ana")
    world.sync(code=0)
    user = world.id_of("old")
    world.sis.without("old").student("new", sis_id="77", given_name="Anna", family_name="Else")
    world.sync(code=0)
    assert world.id_of("new") == user
    assert world.count("archived") == 0


def alike(world: World) -> str:
    """Let somebody leave and somebody of the same name join; return the leaver's id."""
    world.sis.students(20).student("old", given_name="Ana", family_name="Lopez")
    world.sync(code=0)
    user = world.id_of("old")
    world.sis.without("old").student("new", given_name="Ana", family_name="Lopez")
    world.sync(code=10)
    assert world.limits() == {"resembling"}
    assert world.actions(world.standing()) == {"archive": 1, "create": 1}
    assert [(key, reason) for _, key, reason, _ in world.conflicts()] == [
        ("new", "resembles_leaver")
    ]
    return user or ""


def test_l7_only_the_names_a_pair_is_held_and_approving_makes_two_people(
    make_world: NewWorld,
) -> None:
    world = make_world()
    user = alike(world)
    assert world.sync().exit_code == 10, "the pair stands"
    assert world.approve().status == "applied"
    assert world.users()[user]["status"] == "archived"
    assert world.id_of("new") not in (None, user)
    assert world.conflicts() == []


def test_l7_resolve_link_turns_the_pair_into_an_update(make_world: NewWorld) -> None:
    world = make_world()
    user = alike(world)
    world.resolve(world.conflicts()[0][0], link=user)
    world.sync(code=0)
    assert world.id_of("new") == user
    assert world.users()[user]["status"] == "active"
    assert (world.conflicts(), world.standing()) == ([], None)


def test_l7_resolve_new_turns_the_pair_into_archive_and_create(make_world: NewWorld) -> None:
    world = make_world()
    user = alike(world)
    world.resolve(world.conflicts()[0][0], new=True)
    world.sync(code=0)
    assert world.users()[user]["status"] == "archived"
    assert world.user("new")["status"] == "active"
    assert (world.conflicts(), world.standing()) == ([], None)


def test_l7_a_newcomer_who_resembles_a_leaver_of_the_standing_plan_is_held_with_them(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(20)
    for number in range(4):
        world.sis.student(f"old{number}", given_name=f"Ana{number}", family_name="Lopez")
    world.sync(code=0)
    world.sis.without("old0", "old1", "old2", "old3")
    world.sync(code=10)
    world.sis.student("new", given_name="Ana0", family_name="Lopez")
    world.sync(code=10)
    assert world.actions(world.standing()) == {"archive": 4, "create": 1}
    assert world.id_of("new") is None
