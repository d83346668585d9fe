"""A record that cannot be used, or has the id of another, archives nobody (F5, F12, F14, I13).

Whatever is wrong with the record of somebody whom a server still serves: they stay, as they were.
Under the id of somebody else, in whatever form, no account changes its owner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from tests.attack.conftest import Attacked
from tests.attack.forms import NAMED_FORMS
from tests.attack.hostile import DIALECTS, people
from tests.attack.test_one_standard import Make, make
from tests.kit.sizes import examples

__all__ = ["make"]

PEOPLE = 24
Fault = Callable[[dict[str, Any]], Any]
Attack = Callable[..., Attacked]
_OF_CLEVER = {"given": "first", "family": "last"}
_OF_ONEROSTER = {"given": "givenName", "family": "familyName"}


def saying(**values: Any) -> Fault:
    """Say something else in fields of a record, whatever they are called there."""

    def alter(record: dict[str, Any]) -> Any:
        for name, value in values.items():
            if "name" in record and name in _OF_CLEVER:
                record["name"] = {**record["name"], _OF_CLEVER[name]: value}
            else:
                record[_OF_ONEROSTER.get(name, name)] = value
        return record

    return alter


def without_roles(value: Any) -> Fault:
    """Serve a record whose role is something else."""

    def alter(record: dict[str, Any]) -> Any:
        record["roles" if "roles" in record else "role"] = value
        return record

    return alter


KEYED: dict[str, Fault] = {
    "a name is a list": saying(given=["Robin"]),
    "a name is an object": saying(family={"text": "Of"}),
    "a name is endless": saying(family="x" * 5_000),
    "no name": saying(given="", family=None),
    "an endless address": saying(email="x" * 5_000 + "@springfield.example"),
    "no address at all": saying(email="robin at home"),
    "an address in a list": saying(email=["robin@springfield.example"]),
    "no role": without_roles(None),
    "an unknown role": without_roles("wizard"),
    "a number for a role": without_roles(7),
    "nothing but an id": lambda record: dict([next(iter(record.items()))]),
    "an id that is a number of the same digits, and no name": saying(given=None, family=""),
    "a NUL in the name": saying(given="Ro\0bin"),
}  # fmt: skip
KEYLESS: dict[str, Fault] = {
    "no id": lambda record: {k: v for k, v in record.items() if k not in ("id", "sourcedId")},
    "an id of null": lambda record: {**record, next(iter(record)): None},
    "an empty id": lambda record: {**record, next(iter(record)): " "},
    "an id in a list": lambda record: {**record, next(iter(record)): [record[next(iter(record))]]},
    "an endless id": lambda record: {**record, next(iter(record)): "x" * 9_000},
    "a text": lambda _: "no record",
    "null": lambda _: None,
    "a list": lambda record: [record],
    "an empty record": lambda _: {},
    "half of a surrogate pair": saying(given="\ud83d"),
}  # fmt: skip
RENUMBERED: dict[str, Fault] = {
    "another id, and no role": lambda record: without_roles(None)(_renumbered(record)),
    "another id, and an unknown role": lambda record: without_roles("wizard")(_renumbered(record)),
    "another id, and an endless address": lambda record: saying(email="x" * 5_000 + "@a.example")(
        _renumbered(record)
    ),
}  # fmt: skip
"""The id is new, but the names tell whose record it is."""
FAULTS = KEYED | KEYLESS | RENUMBERED


def _renumbered(record: dict[str, Any]) -> dict[str, Any]:
    name = next(iter(record))
    return {**record, name: f"new-{record[name]}"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_f12_whoever_is_served_stays_whatever_is_wrong_with_their_record(
    database: Database, attack_on: Attack, dialect: str
) -> None:
    district = attack_on(database, dialect, count=PEOPLE)
    everybody = {person["id"] for person in district.vendor.people}

    @settings(max_examples=examples(2, long=60))
    @given(
        faults=st.dictionaries(
            st.integers(0, PEOPLE - 1), st.sampled_from(sorted(FAULTS)), max_size=9
        ),
        leavers=st.sets(st.integers(0, PEOPLE - 1), max_size=2),
    )
    @example(faults=dict(enumerate([*RENUMBERED, "no role", "no name", "a name is a list"])),
             leavers={9, 10})  # fmt: skip
    def prove(faults: dict[int, str], leavers: set[int]) -> None:
        vendor, world = district.vendor, district.world
        vendor.people = people(PEOPLE)
        vendor.alter = lambda person, record: record
        world.later(days=9)
        assert world.sync(sources=["sis"]).exit_code == 0
        gone = {f"p{n:05d}" for n in leavers - faults.keys()}
        told = {f"p{n:05d}": FAULTS[fault] for n, fault in faults.items()}
        vendor.people = [one for one in people(PEOPLE) if one["id"] not in gone]
        vendor.alter = lambda person, record: told.get(person["id"], lambda r: r)(record)
        keyless = any(fault in KEYLESS for fault in faults.values())
        for _ in range(2):  # a second reading of the same says the same
            outcome = world.later(hours=1).sync(sources=["sis"])
            statuses = world.statuses("sis")
            assert {k for k, s in statuses.items() if s == "active"} == everybody - (
                set() if keyless else gone
            ), (faults, outcome)
        assert outcome.exit_code == (12 if keyless else 0), outcome

    prove()


# --- the id of another ----------------------------------------------------------------------------


def named(make: Make, form: str) -> Any:
    """Return a district in which everybody has names of their own."""
    roster = make(form, PEOPLE)
    for number, person in enumerate(roster.people):
        person |= {"given": f"Ana{number}", "family": f"Lima{number}"}
    roster.sync(code=0)
    return roster


def unchanged(roster: Any, before: dict[str, Any]) -> bool:
    return bool(roster.world.users() == before)


@pytest.mark.parametrize("form", NAMED_FORMS)
def test_f12_whoever_has_the_id_of_another_stays_and_so_does_the_other(
    make: Make, form: str
) -> None:
    roster = named(make, form)
    before = roster.world.users()
    roster.people[3]["id"] = "p00004"
    for _ in range(2):
        roster.sync()
        assert unchanged(roster, before)
        assert {rule for _, _, rule in roster.world.findings()} == {"contradicting-rows"}
    roster.people[3]["id"] = "p00003"
    roster.sync(code=0)
    assert unchanged(roster, before)


@pytest.mark.parametrize("form", NAMED_FORMS)
def test_i13_three_ids_that_go_round_are_asked_about(make: Make, form: str) -> None:
    """A number or a username that is the id itself says nothing of whose the id is."""
    roster = named(make, form)
    before = roster.world.users()
    one, two, three = roster.people[3:6]
    one["id"], two["id"], three["id"] = two["id"], three["id"], one["id"]
    for _ in range(2):
        roster.sync(code=0)
        assert unchanged(roster, before)
        assert [reason for _, _, reason, _ in roster.world.conflicts()] == ["reused_id"] * 3


@pytest.mark.parametrize("form", NAMED_FORMS)
def test_i13_whoever_has_the_id_of_somebody_who_left_stays_until_a_person_has_answered(
    make: Make, form: str
) -> None:
    roster = named(make, form)
    before = roster.world.users()
    third = roster.world.id_of(
        {"clever_csv": "student:", "user_csv": "id:"}.get(form, "") + "p00003"
    )
    del roster.people[4]
    roster.people[3]["id"] = "p00004"
    for _ in range(2):
        roster.sync(code=0)
        assert unchanged(roster, before)
    ((conflict, _, reason, candidates),) = roster.world.conflicts()
    assert reason == "reused_id"
    assert third in candidates
    roster.world.resolve(conflict, link=third)
    roster.sync()
    assert roster.world.users()[third]["status"] == "active"
