"""I10: records of one source that agree in both names and in a strong number are one person."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from sync.views.why import why
from tests.kit.fixtures import NewWorld
from tests.kit.sizes import examples
from tests.kit.town import P, Town, child
from tests.kit.world import World

JANE = {"given_name": "Jane", "family_name": "Doe"}
DOE = {**JANE, "staff_number": "4711", "email": "jane.doe@a.example"}


@pytest.fixture
def world(make_world: NewWorld) -> World:
    world = make_world()
    world.sis.school("grant", "Grant Middle").students(5)
    return world


def both(world: World, one: dict[str, Any], other: dict[str, Any], roles: Any = None) -> World:
    first, second = roles or ("teacher", "staff")
    world.sis.person("e1", first, **one).person("e2", second, school="grant", **other)
    return world


def test_two_entries_with_one_number_are_one_user_on_the_first_day(world: World) -> None:
    both(world, DOE, {**DOE, "email": None}).sync(code=0)
    assert world.id_of("e1") == world.id_of("e2")
    assert world.user("e1")["memberships"] == [
        ("staff", "Grant Middle", False), ("teacher", "Lincoln High", True)
    ]  # fmt: skip
    assert len(world.users()) == 6


def test_and_on_any_later_day(world: World) -> None:
    world.sis.person("e1", "teacher", **DOE)
    world.sync(code=0)
    world.sis.person("e2", "staff", school="grant", **DOE)
    world.sync(code=0)
    assert world.id_of("e1") == world.id_of("e2")
    assert world.conflicts() == []
    roles = {role for role, _, _ in world.user("e1")["memberships"]}
    assert roles == {"teacher", "staff"}


@pytest.mark.parametrize(
    ("keys", "one_person"),
    [
        (("userid:State:1", "userid:District:2"), True),
        (("userid:State:1", "userid:State:2"), False),
        (("userid:State:1", "master:2"), True),
        (("master:1", "master:2"), False),
    ],
)
def test_keys_contradict_each_other_only_within_one_kind(
    world: World, keys: tuple[str, str], *, one_person: bool
) -> None:
    one, other = ({**DOE, "person_key": key} for key in keys)
    both(world, one, other).sync(code=0)
    assert (world.id_of("e1") == world.id_of("e2")) is one_person


def test_a_student_with_a_row_for_each_school_is_one_user(world: World) -> None:
    both(
        world, {**JANE, "student_number": "9"}, {**JANE, "student_number": "9"},
        ("student", "student"),
    ).sync(code=0)  # fmt: skip
    assert world.id_of("e1") == world.id_of("e2")
    schools = {school for _, school, _ in world.user("e1")["memberships"]}
    assert schools == {"Lincoln High", "Grant Middle"}


@pytest.mark.parametrize("what", ["email", "username"])
@pytest.mark.parametrize("later", [False, True])
def test_adults_with_one_address_or_login_and_both_names_are_one_user(
    world: World, what: str, later: bool
) -> None:
    fields = {**JANE, what: "jane@a.example"}
    world.reconfigure(roles=["student", "teacher", "staff", "admin", "contact"])
    world.sis.person("e1", "teacher", **fields)
    if later:
        world.sync(code=0)
    both(world, fields, fields, ("teacher", "contact")).sync(code=0)
    assert world.id_of("e1") == world.id_of("e2")


@pytest.mark.parametrize("what", ["email", "username"])
def test_students_with_one_address_and_both_names_stay_two(world: World, what: str) -> None:
    fields = {**JANE, what: "jane@a.example"}
    both(world, fields, fields, ("student", "student")).sync()
    assert world.id_of("e1") != world.id_of("e2")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DOE, {**DOE, "given_name": "John"}),
        (DOE, {**DOE, "state_id": "1", "staff_number": "4712", "email": None}),
        ({**DOE, "state_id": "1"}, {**DOE, "state_id": "2"}),
        ({**JANE, "staff_number": "1"}, {**JANE, "sis_id": "1"}),
        (JANE, JANE),
    ],
)
def test_who_differs_in_a_name_or_a_number_is_two_people(
    world: World, one: dict[str, Any], other: dict[str, Any]
) -> None:
    both(world, one, other).sync()
    assert world.id_of("e1") != world.id_of("e2")


def test_three_entries_that_agree_two_by_two_are_one_user(world: World) -> None:
    both(world, {**JANE, "staff_number": "1"}, {**JANE, "state_id": "2"})
    world.sis.person("e3", "teacher", **JANE, staff_number="1", state_id="2")
    world.sync(code=0)
    assert len({world.id_of(key) for key in ("e1", "e2", "e3")}) == 1


def test_an_entry_that_leaves_takes_its_role_and_leaves_the_person(world: World) -> None:
    both(world, DOE, DOE).sync(code=0)
    world.sis.without("e2")
    world.sync(code=0)
    user = world.user("e1")
    assert (user["status"], user["memberships"]) == ("active", [("teacher", "Lincoln High", True)])
    world.sis.person("e2", "staff", school="grant", **DOE)
    world.sync(code=0)
    assert world.id_of("e1") == world.id_of("e2")


def test_entries_of_one_person_match_another_source_as_one(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board", "second": "board"})
    world.sis.person("a", "teacher", **DOE)
    world.second.person("e1", "teacher", **DOE).person("e2", "staff", **DOE)
    world.sync(code=0)
    assert world.id_of("a") == world.id_of("e1", "second") == world.id_of("e2", "second")
    assert len(world.users()) == 1


# -- whatever the entries, their order and the days on which they come

_ENTRY = st.builds(
    P,
    st.just(""),
    st.sampled_from(["Jane", "John"]),
    st.sampled_from(["Doe", "Roe"]),
    st.sampled_from(["", "", "x@a.example", "y@a.example"]),
    st.sampled_from(["", "1", "2", "02"]),
    st.sampled_from(["student", "teacher", "aide"]),
    st.sampled_from(["s1", "s2"]),
    st.just("09"),
    st.just("true"),
    st.just(""),
    user_ids=st.sampled_from(["", "", "{State:7}", "{State:8}"]),
)


def _adult(entry: P) -> bool:
    return entry.role != "student"


def _number(entry: P) -> str:
    return entry.ident.lstrip("0")


def _one_person(one: P, other: P) -> bool:
    if (one.given, one.family, _adult(one)) != (other.given, other.family, _adult(other)):
        return False
    return bool(
        (one.ident and _number(one) == _number(other))
        or (one.user_ids and one.user_ids == other.user_ids)
        or (_adult(one) and one.email and one.email == other.email)
    )


def _reached_from(entry: P, rows: list[P]) -> set[str]:
    """Return whom an entry is one person with, directly or by way of others."""
    reached, ahead = {entry.key}, [entry]
    while ahead:
        one = ahead.pop()
        new = [row for row in rows if row.key not in reached and _one_person(one, row)]
        reached |= {row.key for row in new}
        ahead += new
    return reached


def _groups(entries: list[P]) -> set[frozenset[str]]:
    """Return who is one person with whom, told a second time: pair by pair, until nobody joins."""
    groups = [{entry.key} for entry in entries]
    by_key = {entry.key: entry for entry in entries}
    for one in entries:
        for other in entries:
            if _one_person(one, other):
                mine = next(group for group in groups if one.key in group)
                theirs = next(group for group in groups if other.key in group)
                if mine is not theirs:
                    mine |= theirs
                    groups.remove(theirs)
    found: set[frozenset[str]] = set()
    for group in groups:
        numbers = {_number(by_key[key]) for key in group if by_key[key].ident}
        states = {by_key[key].user_ids for key in group if by_key[key].user_ids}
        apart = len(numbers) > 1 or len(states) > 1
        found |= {frozenset([key]) for key in group} if apart else {frozenset(group)}
    return found


@settings(max_examples=examples(5, long=100))
@given(entries=st.lists(_ENTRY, min_size=2, max_size=6), seed=st.integers(0, 9))
def test_who_is_one_person_on_the_first_day_depends_on_what_entries_say_alone(
    database: Database, tmp_path_factory: pytest.TempPathFactory, entries: list[P], seed: int
) -> None:
    rows = [entry._replace(key=f"e{number}") for number, entry in enumerate(entries)]
    mixed = random.Random(seed).sample(rows, len(rows))
    told = []
    for order in (rows, mixed):
        town = Town(database, tmp_path_factory.mktemp("entries"))
        town.write([*(child(n) for n in range(3)), *order])
        town.sync(expect="applied")
        users = {row.key: town.user(row.key).id for row in rows}
        groups = {frozenset(key for key in users if users[key] == user) for user in users.values()}
        assert groups == _groups(rows)
        for group in groups:
            mine = {(row.role, row.school) for row in rows if row.key in group}
            assert len(_memberships(town, users[min(group)])) == len(mine), "a role is missing"
        assert town.sync().status == "nothing_to_do"
        told.append([
            tuple(getattr(town.user(row.key), name) for name in ("given_name", "email", "state_id"))
            for row in rows
        ])  # fmt: skip
    assert told[0] == told[1], "what becomes of somebody depends on the order of the rows"


@settings(max_examples=examples(5, long=100))
@given(entries=st.lists(_ENTRY, min_size=2, max_size=4))
@example(entries=[  # the last is the second one again, who is asked about because of the first
    P("", "Jane", "Doe", ident="2", role="teacher"),
    P("", "John", "Doe", ident="2", role="teacher", user_ids="{State:7}"),
    P("", "Jane", "Doe", role="student"),
    P("", "John", "Doe", role="aide", user_ids="{State:7}"),
])  # fmt: skip
@example(entries=[  # the first and the last are one person by way of the second
    P("", "John", "Roe", "x@a.example", role="teacher"),
    P("", "John", "Roe", "x@a.example", "2", "teacher", user_ids="{State:7}"),
    P("", "John", "Roe", "", "02", "aide", user_ids="{State:8}"),
    P("", "John", "Roe", role="aide", user_ids="{State:7}"),
])  # fmt: skip
def test_entries_that_come_day_by_day_join_the_same_people_or_are_asked_about(
    database: Database, tmp_path_factory: pytest.TempPathFactory, entries: list[P]
) -> None:
    rows = [entry._replace(key=f"e{number}") for number, entry in enumerate(entries)]
    town = Town(database, tmp_path_factory.mktemp("days"))
    for day in range(1, len(rows) + 1):
        town.write([*(child(n) for n in range(3)), *rows[:day]])
        town.sync()
    asked = {conflict.external_id for conflict in town.conflicts()}
    first_day = _groups(rows)
    waiting = asked | {row.key for row in rows if town.user(row.key) is None}
    for key in waiting - asked:  # a question about one entry keeps the person's others waiting
        page = why(database, town.slug, f"sis:{key}")
        assert page["situation"] == "in_conflict"
        assert {one["external_id"] for one in page["conflicts"]} <= asked
    for one in rows:
        for other in rows:
            if one.key < other.key and not waiting & {one.key, other.key}:
                together = town.user(one.key).id == town.user(other.key).id
                expected = any({one.key, other.key} <= group for group in first_day)
                if together:
                    assert other.key in _reached_from(one, rows)
                elif expected and _one_person(one, other):
                    raise AssertionError(f"{one.key} and {other.key} are two accounts")


def _memberships(town: Town, user: str) -> list[Any]:
    return town.ask("SELECT role, school_id FROM memberships WHERE user_id = :user", user=user)
