"""Schools that go away under their people, that come back, and that get another id (F13)."""

from __future__ import annotations

from typing import Any

import pytest

from sync.views.plans import plan_by_id
from tests.kit.fixtures import NewWorld
from tests.kit.world import World


@pytest.fixture
def two(make_world: NewWorld) -> World:
    """Two schools with thirty students each."""
    world = make_world()
    world.sis.school("lincoln", "Lincoln High", number="1").school("grant", "Grant Middle")
    world.sis.students(30, school="lincoln").students(30, start=30, school="grant")
    world.sync(code=0)
    return world


def status_of(world: World, name: str) -> set[str]:
    rows = world.rows("SELECT status FROM schools WHERE name = :name", name=name)
    return {row.status for row in rows}


def at(world: World, name: str) -> int:
    return sum(
        name in {school for _, school, _ in u["memberships"]} for u in world.users().values()
    )


def missing(outcome: Any) -> list[Any]:
    return list(outcome.certificates["sis"].get("missing_schools", ()))


def test_a_school_that_people_name_stays_and_the_run_says_so_every_time(two: World) -> None:
    del two.sis.schools["grant"]
    for _ in range(3):
        outcome = two.sync(code=0)
        assert outcome.status == "nothing_to_do"
        assert status_of(two, "Grant Middle") == {"active"}
        assert at(two, "Grant Middle") == 30
        assert missing(outcome) == [{"external_id": "grant", "name": "Grant Middle", "people": 30}]
    two.sis.school("grant", "Grant Middle")
    assert missing(two.sync(code=0)) == []


def test_it_goes_once_nobody_names_it_any_more(two: World) -> None:
    del two.sis.schools["grant"]
    two.sync(code=0)
    for number in range(30, 60):
        two.sis.student(f"st{number:04}", school="lincoln")
        if number % 10 == 9:
            two.later(days=8)
            two.sync(code=0)
    assert two.sync(code=0).status == "nothing_to_do"
    assert status_of(two, "Grant Middle") == {"archived"}


def test_somebody_new_at_a_school_that_is_gone_joins_there(two: World) -> None:
    del two.sis.schools["grant"]
    two.sis.student("new", school="grant")
    outcome = two.sync(code=0)
    assert missing(outcome)[0]["people"] == 31
    assert two.user("new")["memberships"] == [("student", "Grant Middle", True)]


def renumbered(world: World, **numbers: str) -> None:
    del world.sis.schools["lincoln"]
    world.sis.school("L2", "Lincoln High", **numbers)
    world.sis.students(30, school="L2")


@pytest.mark.parametrize("number", [None, "2"], ids=["no number", "another number"])
def test_a_school_under_another_id_is_asked_about_and_nobody_is_moved(
    two: World, number: str | None
) -> None:
    renumbered(two, **({"number": number} if number else {}))
    before = two.dump()
    for _ in range(2):
        outcome = two.sync(code=0)
        assert outcome.status == "nothing_to_do"
        assert two.dump() == before
        assert [(key, reason) for _, key, reason, _ in two.conflicts("school")] == [
            ("L2", "same_name")
        ]


def test_the_answer_that_it_is_the_same_school_keeps_it(two: World) -> None:
    renumbered(two)
    two.sync(code=0)
    ((conflict, _, _, candidates),) = two.conflicts("school")
    two.resolve(conflict, link=candidates[0])
    for _ in range(3):
        two.sync(code=0)
        assert status_of(two, "Lincoln High") == {"active"}
    assert two.value("SELECT COUNT(*) FROM schools WHERE name = 'Lincoln High'") == 1
    assert at(two, "Lincoln High") == 30
    assert two.sync(code=0).status == "nothing_to_do"


def test_the_answer_that_it_is_another_school_moves_its_people_by_approval(two: World) -> None:
    renumbered(two)
    two.sync(code=0)
    ((conflict, _, _, _),) = two.conflicts("school")
    two.resolve(conflict, new=True)
    two.sync(code=10)
    assert two.limits() == {"moved"}
    two.approve()
    two.sync()
    assert status_of(two, "Lincoln High") == {"active", "archived"}


def test_the_same_number_under_another_id_is_the_same_school_at_once(two: World) -> None:
    renumbered(two, number="1")
    for _ in range(3):
        two.sync(code=0)
        assert status_of(two, "Lincoln High") == {"active"}
    assert two.conflicts("school") == []
    assert two.value("SELECT COUNT(*) FROM schools WHERE name = 'Lincoln High'") == 1
    assert two.sync(code=0).status == "nothing_to_do"


def test_a_school_that_comes_back_is_counted(two: World) -> None:
    for number in range(30, 60):
        two.sis.person(f"st{number:04}", memberships=[("student", "lincoln"), ("student", "grant")])
    two.sync(code=0)
    for number in range(30, 60):
        two.sis.student(f"st{number:04}", school="lincoln")
    del two.sis.schools["grant"]
    two.sync(code=0)
    two.sync(code=0)
    assert status_of(two, "Grant Middle") == {"archived"}
    two.sis.school("grant", "Grant Middle")
    outcome = two.sync(code=0)
    with two.database.read() as connection:
        (plan,) = (plan_by_id(connection, number) for number in outcome.plan_ids)
    assert plan["schools"]["restore"] == 1
