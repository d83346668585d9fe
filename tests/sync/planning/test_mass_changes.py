"""Mass changes by a vendor (L10): a few are applied, many are held as a group of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.fixtures import NewWorld
from tests.kit.sizes import examples
from tests.kit.world import World

DOMAIN = "springfield.example"
PEOPLE = 30
ALLOWED = 10
"""Of 30 people five percent are one: the least of ten counts."""

Values = dict[str, Any]


def values_of(number: int) -> Values:
    """Return what the vendor says of one student on a good day."""
    return {
        "given_name": f"Given{number}",
        "middle_name": f"Middle{number}",
        "family_name": f"Family{number}",
        "email": f"s{number}@{DOMAIN}",
        "username": f"s{number}",
        "sis_id": f"1{number:04}",
        "student_number": f"2{number:04}",
        "state_id": f"3{number:04}",
        "grade": "07",
        "graduation_year": 2031,
        "school": "lincoln",
    }


def blank(field: str) -> Callable[[int], Values]:
    return lambda number: {field: None}


SPOILT: dict[str, tuple[str, Callable[[int], Values]]] = {
    **{
        f"{field} is emptied": ("blanked", blank(field))
        for field in (
            "given_name", "middle_name", "family_name", "email", "username", "sis_id",
            "student_number", "state_id", "grade", "graduation_year",
        )
    },
    "everybody has one name": (
        "renamed", lambda number: {"given_name": "X", "family_name": "WRONG"}
    ),
    "the names of others": (
        "renamed", lambda number: {"given_name": f"G{number}", "family_name": f"F{number}"}
    ),
    "another school": ("moved", lambda number: {"school": "grant"}),
    "masked names": ("renamed", lambda number: {"given_name": "***", "family_name": "***"}),
    "no school": ("moved", lambda number: {"school": None}),
    "a vendor's domain": (
        "outside_domains", lambda number: {"email": f"s{number}@vendor.example"}
    ),
}  # fmt: skip
"""What a vendor does to somebody, and the limit that counts it."""

kinds = st.sampled_from(sorted(SPOILT))


@pytest.fixture
def many(make_world: NewWorld) -> World:
    """Thirty students, whose vendor is read and applied."""
    world = make_world(email_domains=[DOMAIN])
    world.sis.school("grant", "Grant Middle")
    as_on_a_good_day(world)
    assert world.sync().status == "applied"
    return world


def as_on_a_good_day(world: World) -> None:
    for number in range(PEOPLE):
        world.sis.student(key_of(number), **values_of(number))


def key_of(number: int) -> str:
    return f"s{number:02}"


def spoil(world: World, kind: str, numbers: range) -> None:
    for number in numbers:
        wanted = {"school": "lincoln", **SPOILT[kind][1](number)}
        world.sis.student(key_of(number), **wanted)


def spoilt(world: World, kind: str) -> set[int]:
    """Return whom the directory shows as the vendor spoilt them."""
    schools = {"grant": "Grant Middle", "lincoln": "Lincoln High", None: ""}
    by_key = {key: world.user(key) for key in map(key_of, range(PEOPLE))}

    def shows(number: int) -> bool:
        user = by_key[key_of(number)]
        wanted = dict(SPOILT[kind][1](number))
        if "school" in wanted:
            name = schools[wanted.pop("school")]
            return [school for _, school, _ in user["memberships"]] == [name]
        return all(user[field] == value for field, value in wanted.items())

    return {number for number in range(PEOPLE) if shows(number)}


def settled(world: World) -> None:
    """Put everything right, and let a month pass: nothing of it counts any more."""
    as_on_a_good_day(world)
    world.sync()
    if world.standing() is not None:
        world.approve()
    world.later(days=30)
    assert world.sync().status == "nothing_to_do"


@settings(max_examples=examples(12, long=300))
@given(
    kind=kinds,
    earlier=st.integers(0, 12),
    now=st.integers(0, 14),
    days=st.sampled_from([0.1, 1, 6.9, 7.1]),
)
def test_more_than_allowed_of_a_kind_in_the_window_are_held_and_the_rest_flows(
    many: World, kind: str, earlier: int, now: int, days: float
) -> None:
    settled(many)
    spoil(many, kind, range(earlier))
    first = many.sync()
    applied = earlier if earlier <= ALLOWED else 0
    assert len(spoilt(many, kind)) == applied
    assert first.status == ("nothing_to_do" if not earlier else "applied" if applied else "held")
    many.later(days=days)
    spoil(many, kind, range(earlier + now))
    many.sis.student("s29", **{**values_of(29), "username": f"news{days}"})
    second = many.sync()
    counted = applied if days < 7 else 0
    pending = earlier + now - applied
    if pending and counted + pending > ALLOWED:
        assert (second.status, second.exit_code) == ("held", 10)
        assert many.limits() == {SPOILT[kind][0]}
        assert len(spoilt(many, kind)) == applied
        assert many.actions(many.standing()) == {"update": pending}
        (trip,) = many.held()
        assert (trip["found"], trip["allowed"]) == (counted + pending, ALLOWED)
        assert trip["people"] == PEOPLE
    else:
        assert second.status == "applied"
        assert len(spoilt(many, kind)) == earlier + now
    assert many.user("s29")["username"] == f"news{days}", "the rest flows"


@settings(max_examples=examples(6, long=100))
@given(kind=kinds)
def test_what_was_approved_does_not_count_and_what_is_put_right_is_held_no_more(
    many: World, kind: str
) -> None:
    settled(many)
    spoil(many, kind, range(11))
    assert many.sync().status == "held"
    as_on_a_good_day(many)
    assert many.sync().status == "nothing_to_do", "the vendor has put it right"
    assert many.standing() is None
    spoil(many, kind, range(11))
    assert many.sync().status == "held"
    assert many.approve().status == "applied"
    assert spoilt(many, kind) == set(range(11))
    spoil(many, kind, range(21))
    assert many.sync().status == "applied", "ten more are not more than allowed"


@settings(max_examples=examples(6, long=100))
@given(kinds=st.lists(kinds, min_size=2, max_size=2, unique_by=lambda kind: SPOILT[kind][0]))
def test_each_kind_has_a_limit_of_its_own(many: World, kinds: list[str]) -> None:
    settled(many)
    few, too_many = kinds
    spoil(many, too_many, range(11))
    spoil(many, few, range(11, 21))
    assert many.sync().status == "held"
    assert many.limits() == {SPOILT[too_many][0]}
    assert len(spoilt(many, few)) == 10
    assert not spoilt(many, too_many)


def test_all_changes_of_one_person_are_held_together(many: World) -> None:
    spoil(many, "email is emptied", range(11))
    many.sis.student("s00", email=None, username="another")
    many.sync(code=10)
    assert many.user("s00")["username"] == "s0", "P1"


@pytest.mark.parametrize("limit", ["blanked", "renamed", "moved"])
def test_the_district_file_says_how_many(many: World, limit: str) -> None:
    many.settle(limits={limit: {"percent": 0, "least": 2}})
    kind = next(kind for kind, (named, _) in SPOILT.items() if named == limit)
    spoil(many, kind, range(3))
    many.sync(code=10)
    (trip,) = many.held()
    assert (trip["limit"], trip["found"], trip["allowed"]) == (limit, 3, 2)
    many.settle(limits={limit: {"percent": 10, "least": 2}})
    assert many.sync(code=0).status == "applied", "three of thirty are ten percent"


def test_blanked_says_which_fields_and_outside_domains_which_domain(many: World) -> None:
    for number in range(12):
        many.sis.student(key_of(number), email=None, **({"grade": None} if number < 4 else {}))
    many.sync(code=10)
    (trip,) = many.held()
    assert trip["fields"] == {"email": 12, "grade": 4}
    settled(many)
    spoil(many, "a vendor's domain", range(12))
    many.sync(code=10)
    (trip,) = many.held()
    assert trip["fields"] == {"vendor.example": 12}


# -- what is not counted


def test_a_move_to_a_domain_of_the_district_flows(many: World) -> None:
    many.settle(email_domains=[DOMAIN, "new.example"])
    for number in range(PEOPLE):
        many.sis.student(key_of(number), email=f"s{number}@NEW.example")
    assert many.sync(code=0).status == "applied"
    assert many.user("s07")["email"] == "s7@NEW.example"


def test_where_the_district_lists_no_domain_any_domain_flows(many: World) -> None:
    many.settle(email_domains=[])
    spoil(many, "a vendor's domain", range(PEOPLE))
    assert many.sync(code=0).status == "applied"


def test_other_local_parts_flow_where_the_names_stay(many: World) -> None:
    for number in range(PEOPLE):
        many.sis.student(key_of(number), email=f"given{number}.family{number}@{DOMAIN}")
    assert many.sync(code=0).status == "applied"


def test_a_new_family_name_and_names_in_other_letters_flow(many: World) -> None:
    for number in range(PEOPLE):
        many.sis.student(key_of(number), family_name="Álvarez")
    assert many.sync(code=0).status == "applied"
    for number in range(PEOPLE):
        many.sis.student(key_of(number), given_name="ALVAREZ", family_name=f"GIVEN{number}")
    assert many.sync(code=0).status == "applied", "the names changed places"


def test_one_more_school_and_one_of_two_schools_flow(many: World) -> None:
    both: list[tuple[str, str | None]] = [("student", "lincoln"), ("student", "grant")]
    for number in range(PEOPLE):
        many.sis.person(key_of(number), memberships=both)
    assert many.sync(code=0).status == "applied"
    for number in range(PEOPLE):
        many.sis.student(key_of(number), school="grant")
    assert many.sync(code=0).status == "applied"


def test_a_locked_field_is_neither_emptied_nor_counted(many: World) -> None:
    for number in range(PEOPLE):
        many.lock(many.user(key_of(number))["id"], "email")
    spoil(many, "email is emptied", range(PEOPLE))
    assert many.sync(code=0).status == "nothing_to_do"


def test_what_our_own_mapping_empties_is_a_change_of_ours(many: World) -> None:
    many.reconfigure(mapping={"username": ""})
    many.sync(code=10)
    assert many.limits() == {"settings"}


# -- per source


def test_people_whom_the_source_held_before_are_counted_by_source(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board", "second": "board"})
    for roster, start in ((world.sis, 0), (world.second, 20)):
        for number in range(start, start + 20):
            roster.student(key_of(number), **values_of(number))
    world.sync(code=0)
    for roster, start in ((world.sis, 0), (world.second, 20)):
        for number in range(start, start + 9):
            roster.student(key_of(number), email=None)
    assert world.sync(code=0).status == "applied", "nine of each source"
    for number in range(29, 33):
        world.second.student(key_of(number), email=None)
    world.sync(code=10)
    (trip,) = world.held()
    assert (trip["source"], trip["found"]) == ("second", 13)


def test_a_second_source_that_joins_the_same_people_is_not_suspected(make_world: NewWorld) -> None:
    world = make_world(sources={"first": "board", "sis": "board"})
    world.rosters["first"].person("other", "staff")
    for number in range(20):
        world.sis.student(key_of(number), **values_of(number))
    world.sync(code=0)
    for number in range(20):
        world.rosters["first"].student(
            key_of(number), **{**values_of(number), "email": f"s{number}@other.example"}
        )
    world.settle(email_domains=[DOMAIN])
    world.sync()
    assert world.limits() == set()


@pytest.mark.parametrize("kind", ["another school", "grade is emptied"])
def test_those_who_come_back_to_a_source_say_what_they_say_as_if_for_the_first_time(
    many: World, kind: str
) -> None:
    """L10 counts people whom the source held before; coming back has a limit of its own (L6)."""
    many.sis.without(*map(key_of, range(ALLOWED + 2)))
    many.sync()
    assert many.approve().status == "applied"
    many.later(days=1)
    as_on_a_good_day(many)
    spoil(many, kind, range(ALLOWED + 2))
    assert many.sync().status == "applied"
    assert spoilt(many, kind) == set(range(ALLOWED + 2))
