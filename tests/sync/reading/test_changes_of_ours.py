"""Changes that we cause ourselves (L8): by a mapping, a filter, a version of a connector."""

from __future__ import annotations

from tests.kit.fixtures import NewWorld


def test_l8_more_than_ten_changes_of_our_own_are_held(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    world.reconfigure(mapping={"username": "{key}"})
    world.sync(code=10)
    assert world.limits() == {"settings"}
    world.approve()
    assert world.user("st0003")["username"] == "st0003"
    assert world.sync(code=0).status == "nothing_to_do"


def test_l8_ten_changes_of_our_own_are_applied(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(10)
    world.sync(code=0)
    world.reconfigure(mapping={"username": "{key}"})
    world.sync(code=0)
    assert world.user("st0003")["username"] == "st0003"


def test_l8_a_change_of_our_own_is_one_also_of_whoever_is_read_on_a_later_day(
    make_world: NewWorld,
) -> None:
    """A file of other roles, and rows that are torn: they were not read as everybody else was."""
    world = make_world(sources={"sis": "board_file"}, config={"scoped": True})
    world.sis.students(30).teachers(3)
    world.sync(code=0)
    world.reconfigure(mapping={"username": "{key}"})
    students = {key: world.sis.people.pop(key) for key in list(world.sis.people) if key < "t"}
    world.sync(code=0)
    assert world.user("te000")["username"] == "te000"
    world.sis.people = students
    for key in students:
        world.sis.row(key, broken=key > "st0000")
    world.sync(code=0)
    assert world.user("st0000")["username"] == "st0000"
    for key in students:
        world.sis.row(key, broken=False)
    world.sync(code=10)
    assert world.limits() == {"settings"}
    world.approve()
    world.sis.students(30, grade="05")
    world.sync(code=0)
    assert world.user("st0003")["grade"] == "05"


def test_l8_whoever_says_what_they_said_moves_not_when_they_are_read_on_a_later_day(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    for number in range(20):
        world.sis.row(f"st{number:04}", keyless=True)
    versions = world.rows("SELECT id, version FROM records ORDER BY id")
    world.reconfigure(roles=["student", "teacher"])
    world.sync(code=12)
    for number in range(20):
        world.sis.row(f"st{number:04}", keyless=False)
    assert world.sync(code=0).status == "nothing_to_do"
    assert world.rows("SELECT id, version FROM records ORDER BY id") == versions
    world.sis.students(30, grade="05")
    world.sync(code=0)
    assert world.user("st0003")["grade"] == "05"


def test_l8_leaves_scope_is_always_held(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30).teachers(1)
    world.sync(code=0)
    world.reconfigure(roles=["student"])
    world.sync(code=10)
    assert world.limits() == {"leaves_scope"}
    assert world.actions(world.standing()) == {"leaves_scope": 1}
    assert world.count() == 31
    world.approve()
    assert world.user("te000")["status"] == "archived"
