"""Values as programs write and lose them: the same in every form that a roster comes in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from tests.attack.conftest import Attack
from tests.attack.forms import NAMED_FORMS, Form, new_form
from tests.attack.hostile import DIALECTS, people
from tests.kit.sizes import LONG, examples
from tests.kit.world import new_world

Make = Callable[..., Form]
ONEROSTER = [form for form in NAMED_FORMS if form.startswith("oneroster")]


@pytest.fixture
def make(attack: Attack, store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes a district whose roster comes in a form."""

    def new(form: str, count: int, **how: Any) -> Form:
        world = None
        if form not in DIALECTS:
            world = new_world(store, tmp_path, sources={"town": "board"})
        return new_form(form, people(count), attack, world, tmp_path, monkeypatch, **how)  # type: ignore[arg-type]

    return new


def _numbered(roster: Form) -> None:
    for number, person in enumerate(roster.people):
        person["number"] = str(4711 + number)


FIELDS = ("given_name", "family_name", "email", "grade", "student_number", "memberships", "status")


def _said(roster: Form) -> list[list[str]]:
    return sorted([str(user[name]) for name in FIELDS] for user in roster.world.users().values())


WRITTEN = {
    "number": ("{}.0", '="{}"', "'{}", "{}"),
    "grade": ("05.0", "5.0", '="05"', "5"),
    "email": ("NULL", "null", r"\N", "N/A", "None", "undefined", "-", "[]", ""),
    "given": ('="{}"', "{}"),
}
"""How programs write what a person's record says; an address is taken away from the last one."""


@pytest.mark.parametrize("form", NAMED_FORMS)
def test_what_programs_write_around_a_value_changes_nobody(make: Make, form: str) -> None:
    roster = make(form, 9)
    _numbered(roster)
    without = roster.people[-1]
    if form != "user_csv":  # there everybody needs an address
        without["email"] = ""
    roster.sync(code=0)
    said, plain = _said(roster), [dict(person) for person in roster.people]

    @given(data=st.data())
    @settings(max_examples=examples(3, long=100))
    def prove(data: st.DataObject) -> None:
        for person, as_it_was in zip(roster.people, plain, strict=True):
            person |= as_it_was
            for field in ("number", "grade", *(() if form in DIALECTS else ("given",))):
                way = data.draw(st.sampled_from(WRITTEN[field]))
                person[field] = way.format(person[field]) if "{}" in way else way
        if not without["email"]:
            without["email"] = data.draw(st.sampled_from(WRITTEN["email"]))
        outcome = roster.sync(code=0)
        assert outcome.status == "nothing_to_do"
        assert roster.world.findings() == []
        assert _said(roster) == said

    prove()


LOST = {
    "number": ("1.23457E+11", "1e+05", "#N/A"),
    "grade": ("#REF!", "1.2E+05"),
    "email": ("#N/A", "#NAME?", "mailto:liam@springfield.example", "liam@springfield.example."),
    "given": ("#VALUE!", "#BEZUG!"),
}


@pytest.mark.parametrize("form", NAMED_FORMS)
def test_what_a_spreadsheet_lost_clears_nothing_and_is_told(make: Make, form: str) -> None:
    roster = make(form, 6)
    _numbered(roster)
    roster.sync(code=0)
    said, person = _said(roster), roster.people[2]
    as_it_was = dict(person)
    for field, ways in LOST.items():
        if form == "user_csv" and field == "grade":
            continue  # it has no grades
        for way in ways if LONG else ways[:1]:
            person |= {**as_it_was, field: way}
            outcome = roster.sync()
            lost_key = form == "user_csv" and field == "number"
            assert outcome.exit_code == (12 if lost_key else 0), "whose row it is nobody can tell"
            if lost_key:
                assert _said(roster) == said
                continue
            assert outcome.status == "nothing_to_do", (field, way)
            assert _said(roster) == said, (field, way)
            told = [rule for _, _, rule in roster.world.findings()]
            if field == "grade":
                assert outcome.certificates["sis"]["unknown"], way
            else:
                assert len(told) == 1, (field, way, told)
            assert "liam" not in repr(roster.world.rows("SELECT * FROM findings"))


@pytest.mark.parametrize("form", ONEROSTER)
def test_numbers_that_were_rounded_alike_join_no_strangers(make: Make, form: str) -> None:
    roster = make(form, 4, person_id_type=["Fed"])
    for person in roster.people:
        person["ids"] = [("Fed", "1.23457E+11")]
    roster.sync()
    assert roster.joined() == 0, "nobody can tell who they are"
    assert {rule for _, _, rule in roster.world.findings()} == {"scientific-number"}


@pytest.mark.parametrize("form", ONEROSTER)
def test_a_type_of_org_that_is_not_understood_takes_nobody_from_their_school(
    make: Make, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster: Any = make(form, 4)
    roster.sync(code=0)
    before = _said(roster)
    if form in DIALECTS:
        school = roster.vendor._school
        monkeypatch.setattr(
            roster.vendor, "_school", lambda *about: school(*about) | {"type": "Elementary"}
        )
    else:
        write = roster._write

        def odd(name: str, header: str, rows: Any) -> None:
            if name == "orgs.csv":
                rows = [[*rows[0][:2], "Elementary"]]
            write(name, header, rows)

        roster._write = odd
    outcome = roster.sync()
    assert _said(roster) == before
    assert outcome.exit_code in (0, 12)
    assert "unknown-type" in [rule for _, _, rule in roster.world.findings()]
