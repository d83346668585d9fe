"""Resembling pairs (L7): somebody new who may be somebody who leaves, or who stays all the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.command_line import Cli
from tests.kit.fixtures import NewWorld
from tests.kit.world import World


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


# -- those who stay


IN_GRACE = {"grace": {"days": 5, "fetches": 1}}
ADDITIONS_ONLY = {"pause": [{"start": "01-01", "end": "12-31", "mode": "additions_only"}]}
STAYING = pytest.mark.parametrize(
    "settings", [IN_GRACE, ADDITIONS_ONLY], ids=["in grace", "additions only"]
)


def staying(make_world: NewWorld, settings: dict[str, Any]) -> World:
    """A district of 20 and Ana, in which leavers stay for a while."""
    world = make_world()
    for number in range(20):
        world.sis.student(f"st{number}", email=f"sam{number}@old.example")
    world.sis.student("old", given_name="Ana", email="ana@old.example")
    world.sync(code=0)
    world.settle(guard="off", **settings)
    return world


@STAYING
def test_l7_whose_record_moved_while_they_stay_is_one_person(
    make_world: NewWorld, settings: dict[str, Any]
) -> None:
    world = staying(make_world, settings)
    user = world.id_of("old")
    world.sis.without("old")
    world.sync(code=0)
    assert world.count() == 21, "they stay"
    world.later(days=1)
    world.sis.student("new", given_name="Ana", family_name="Of old", email="ana@new.example")
    outcome = world.sync(code=0)
    done = {"link": 1, "update": 1, "unlink": 1}
    if settings is ADDITIONS_ONLY:  # what they lose waits (S2)
        del done["unlink"]
    assert world.actions(outcome.plan_ids[0]) == done
    assert (world.id_of("new"), world.count()) == (user, 21)
    assert world.user("new")["email"] == "ana@new.example"
    world.later(days=30)
    world.settle(pause=[])
    world.sync(code=0)
    assert (world.user("new")["status"], world.count("archived")) == ("active", 0)
    held = "SELECT COUNT(*) FROM links WHERE target_id = :user AND held"
    assert world.value(held, user=user) == 1
    assert world.sync(code=0).status == "nothing_to_do"
    assert world.intact()


@STAYING
def test_l7_a_district_at_a_new_domain_with_new_ids_has_nobody_twice(
    make_world: NewWorld, settings: dict[str, Any]
) -> None:
    world = staying(make_world, settings)
    before = set(world.users())
    roster, world.sis.people = world.sis.people, {}
    for key, person in roster.items():
        moved = person["fields"]["email"].replace("@old", "@new")
        world.sis.student(f"x{key}", **person["fields"] | {"email": moved})
    world.sync(code=0)
    assert set(world.users()) == before
    assert {user["email"].partition("@")[2] for user in world.users().values()} == {"new.example"}
    assert (world.count(), world.conflicts()) == (21, [])


def test_l7_whose_record_moved_while_they_are_protected_is_one_person(
    make_world: NewWorld,
) -> None:
    world = staying(make_world, {})
    user = world.id_of("old") or ""
    world.protect(user)
    world.sis.without("old").student("new", given_name="Ana", family_name="Of old",
                                     email="ana@new.example")  # fmt: skip
    outcome = world.sync(code=0)
    assert world.actions(outcome.plan_ids[0]) == {"link": 1, "update": 1, "unlink": 1}
    counts = world.plan_row(outcome.plan_ids[0])["counts"]
    assert [counts[word] for word in ("link", "update", "unlink", "protected")] == [1, 1, 1, 0]
    assert (world.id_of("new"), world.count()) == (user, 21)
    assert world.intact()


@STAYING
def test_l7_who_is_only_alike_joins_beside_those_who_stay(
    make_world: NewWorld, settings: dict[str, Any]
) -> None:
    world = staying(make_world, settings)
    user = world.id_of("old")
    world.sis.without("old").student("new", given_name="Ana", family_name="Of old",
                                     email="lopez@new.example")  # fmt: skip
    world.sync(code=0)
    assert world.id_of("new") not in (None, user)
    assert world.count() == 22
    assert world.conflicts() == []


@STAYING
def test_l7_two_who_may_be_the_one_who_stays_wait_for_a_person(
    make_world: NewWorld, settings: dict[str, Any]
) -> None:
    world = staying(make_world, settings)
    user = world.id_of("old")
    world.sis.without("old")
    for key, domain in (("one", "new"), ("two", "other")):
        world.sis.student(key, given_name="Ana", family_name="Of old",
                          email=f"ana@{domain}.example")  # fmt: skip
    world.sync(code=10)
    assert world.limits() == {"resembling"}
    assert (world.id_of("one"), world.id_of("two"), world.count()) == (None, None, 21)
    conflicts = {key: number for number, key, _, _ in world.conflicts()}
    world.resolve(conflicts["one"], link=user)
    world.resolve(conflicts["two"], new=True)
    world.sync(code=0)
    assert world.id_of("one") == user
    assert world.id_of("two") not in (None, user)
    assert (world.count(), world.conflicts(), world.standing()) == (22, [], None)


@pytest.mark.parametrize("settings", [{}, IN_GRACE], ids=["leaves", "in grace"])
def test_l7_of_whom_a_person_said_that_they_are_new_is_not_somebody_who_leaves(
    make_world: NewWorld, settings: dict[str, Any]
) -> None:
    world = make_world()
    world.sis.students(20).student("old", sis_id="77", given_name="Ana")
    world.sync(code=0)
    world.settle(**settings)
    user = world.id_of("old")
    world.sis.student("new", sis_id="77", given_name="Kim", family_name="Else")
    world.sync()
    ((conflict, key, _, _),) = world.conflicts()
    assert key == "new"
    world.resolve(conflict, new=True)
    world.sis.without("old")
    world.sync(code=0)
    assert world.id_of("new") not in (None, user)
    assert (world.id_of("old"), world.user("old")["given_name"]) == (user, "Ana")
    assert world.count("archived") == (0 if settings else 1)
    assert world.conflicts() == []


@pytest.mark.any_store
@pytest.mark.parametrize("source", ["sis", "hr"])
def test_nobody_who_moved_to_another_id_or_source_is_said_to_be_in_no_source(
    make_world: NewWorld, cli: Cli, source: str
) -> None:
    world = make_world(sources={"sis": "board", "hr": "board"})
    world.sis.students(20)
    world.rosters["hr"].teacher("boss")
    who = {"given_name": "Ana", "family_name": "Lee", "email": "al@x.example", "sis_id": "77"}
    world.sis.teacher("one", **who)
    world.sync(code=0)
    world.sis.without("one")
    world.rosters[source].teacher("two", **who)
    told = cli("show", f"P{world.sync().plan_ids[0]}").out
    assert "Ana Lee (sis:one): this source has that record no more" in told
    assert "no source has them any more" not in told
    assert world.count("archived") == 0
