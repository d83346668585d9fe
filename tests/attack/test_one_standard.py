"""One standard, one behaviour: whatever form a roster comes in, it means the same (F15, F19)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from rostersync.cli.printing.outcomes import met_sentence
from tests.attack.conftest import Attack
from tests.attack.forms import FORMS, NAMED_FORMS, ONEROSTER_FORMS, Form, new_form
from tests.attack.hostile import DIALECTS, people
from tests.kit.sizes import examples
from tests.kit.world import new_world

Make = Callable[..., Form]


@pytest.fixture
def make(attack: Attack, store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes a district whose roster comes in a form."""

    def new(form: str, count: int, **how: Any) -> Form:
        world = None
        if form not in DIALECTS:
            world = new_world(store, tmp_path, sources={"town": "board"})
        return new_form(form, people(count), attack, world, tmp_path, monkeypatch, **how)  # type: ignore[arg-type]

    return new


# --- F19 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", NAMED_FORMS)
def test_whoever_has_no_name_is_skipped_and_listed(make: Make, form: str) -> None:
    roster = make(form, 4)
    roster.people[2] |= {"given": "", "family": " "}
    roster.sync(code=0)
    if form == "gg4l":  # there a district may mask names
        assert roster.joined() == 4
        return
    assert roster.joined() == 3
    assert [rule for _, _, rule in roster.world.findings()] == ["missing-value"]


@pytest.mark.parametrize("form", NAMED_FORMS)
def test_one_of_the_two_names_is_a_name(make: Make, form: str) -> None:
    roster = make(form, 3)
    roster.people[1]["given"] = ""
    roster.people[2]["family"] = ""
    roster.sync(code=0)
    assert roster.joined() == 3
    assert roster.world.findings() == []


@pytest.mark.parametrize("form", FORMS)
def test_an_adult_has_no_grade(make: Make, form: str) -> None:
    roster = make(form, 3)
    roster.people[1] |= {"role": "teacher", "grade": "05"}
    roster.sync(code=0)
    grades = sorted(str(user["grade"]) for user in roster.world.users().values())
    assert grades == ["05", "05", "None"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("address", ["liam.carter at gotham", "liam", "@", "a@b@c", "a b@c.de"])
def test_an_address_that_is_none_is_left_out_and_listed(
    make: Make, form: str, address: str
) -> None:
    roster = make(form, 3)
    roster.people[1]["email"] = address
    roster.sync(code=0)
    assert roster.joined() == 3, "the person joins all the same"
    assert roster.user("p00001")["email"] is None
    assert [rule for _, _, rule in roster.world.findings()] == ["email-format"]
    assert "liam" not in repr(roster.world.rows("SELECT * FROM findings"))


@pytest.mark.parametrize("form", FORMS)
def test_an_address_that_becomes_none_does_not_clear_the_old_one(make: Make, form: str) -> None:
    roster = make(form, 3)
    roster.sync(code=0)
    roster.people[1]["email"] = "liam.carter at gotham"
    for _ in range(2):  # it is listed until it is put right
        outcome = roster.sync(code=0)
        assert roster.user("p00001")["email"] == "p00001@springfield.example"
        assert outcome.certificates["sis"]["left_out"] == 1
        assert outcome.certificates["sis"]["skipped"] == 0
        assert [rule for _, _, rule in roster.world.findings()] == ["email-format"]
    roster.people[1]["email"] = "robin@springfield.example"
    assert roster.sync(code=0).certificates["sis"]["left_out"] == 0
    assert roster.user("p00001")["email"] == "robin@springfield.example"


@pytest.mark.parametrize("form", ["classlink", "gg4l", "oneroster", "oneroster12"])
def test_a_reference_may_be_a_text_or_an_object(make: Make, form: str) -> None:
    roster: Any = make(form, 4)
    ways = {
        "p00001": lambda org: org["sourcedId"],
        "p00002": lambda org: {"sourcedId": org["sourcedId"]},
        "p00003": lambda org: {"href": "https://x.example/orgs/o1", **org},
    }

    def alter(person: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
        way = ways.get(person["id"], lambda org: org)
        if "roles" in record:
            record["roles"] = [{**one, "org": way(one["org"])} for one in record["roles"]]
        else:
            record["orgs"] = [way(org) for org in record["orgs"]]
        record["primaryOrg"] = way({"sourcedId": "o1", "type": "org"})
        record["agents"] = ["p1"]
        return record

    roster.vendor.alter = alter
    roster.sync(code=0)
    assert roster.world.findings() == []
    for user in roster.world.users().values():
        assert user["memberships"] == [("student", "Lincoln", True)], user


TYPES = ["studentUniqueId", "State", "District"]


@pytest.mark.parametrize("form", ONEROSTER_FORMS)
def test_i10_a_row_for_each_school_is_one_person_by_the_first_type_they_have(
    make: Make, form: str
) -> None:
    """So Ed-Fi's server gives its people: a student has one type, staff have several or one."""
    roster = make(form, 8, person_id_type=TYPES)
    ids = (
        [("studentUniqueId", "1")],
        [("District", "1"), ("state", "2"), ("Other", "3")],
        [("District", "1")],
        [("Other", "3")],
    )
    for number, person in enumerate(roster.people):
        role = "teacher" if number // 2 else "student"
        mine = ids[number // 2] if number % 2 else ids[number // 2][::-1]
        person |= {"given": "Sam", "family": f"Of {number // 2}", "role": role, "ids": mine}
        person["email"] = f"{person['id']}@springfield.example"
    roster.sync(code=0)
    keys = sorted(roster.world.rows("SELECT person_key, COUNT(*) FROM records r JOIN sources s"
                  " ON s.id = r.source_id WHERE s.name = 'sis' AND r.kind = 'user' AND"
                  " person_key IS NOT NULL GROUP BY person_key"))  # fmt: skip
    assert [tuple(row) for row in keys] == [
        ("userid:District:1", 2), ("userid:State:2", 2), ("userid:studentUniqueId:1", 2)
    ]  # fmt: skip
    assert roster.joined() == 5, "a person who has none of the types stays two"


EMPTY: list[Any] = ["", [], {}, None, "  ", [""], [None], [{}]]
OPTIONAL = (
    "metadata", "userIds", "orgs", "roles", "grades", "primaryOrg", "identifier", "username",
    "email", "middleName", "preferredFirstName", "userMasterIdentifier", "agents", "status",
    "enabledUser", "phone", "sms", "userProfiles", "resources", "dateLastModified",
)  # fmt: skip
OF_CLEVER = ("email", "roles.student.schools", "roles.student.grade", "roles.student.credentials",
             "roles.student.sis_id", "name.middle", "roles.student.preferred_name",
             "roles.student.graduation_year", "created", "district", "roles.teacher")  # fmt: skip


@pytest.mark.parametrize("form", DIALECTS)
def test_empty_is_absent_of_every_field(make: Make, form: str) -> None:
    """Nothing, ``""``, ``[]``, ``{}`` and null say the same, whatever the field's shape is."""
    roster: Any = make(form, 3)
    roster.sync(code=0)
    fields = OF_CLEVER if form == "clever" else OPTIONAL

    @given(field=st.sampled_from(fields), empty=st.sampled_from(EMPTY))
    @settings(max_examples=examples(12, long=len(fields) * len(EMPTY)))
    def prove(field: str, empty: Any) -> None:
        *way, last = field.split(".")

        def alter(person: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
            if person["id"] == "p00001":
                inner = record
                for step in way:
                    inner = inner[step]
                inner[last] = empty
            return record

        roster.vendor.alter = alter
        outcome = roster.sync()
        if field in ("roles", "orgs") and form in ("oneroster12",) and field == "roles":
            return  # without a role nobody can be read, as without the field
        assert outcome.exit_code == 0, outcome.error
        assert roster.world.findings() == [], (field, empty)
        assert roster.joined() == 3

    prove()


@pytest.mark.parametrize("form", FORMS)
def test_a_source_that_never_served_a_person_was_not_read_well(make: Make, form: str) -> None:
    roster = make(form, 0)
    outcome = roster.sync()
    assert outcome.exit_code == 12
    assert roster.world.value("SELECT complete_at FROM sources WHERE name = 'sis'") is None
    health = roster.world.value("SELECT health FROM sources WHERE name = 'sis'")
    assert '"good_at":"' not in str(health).replace(" ", "")


# --- F15 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_grade_that_is_not_understood_clears_none(make: Make, form: str) -> None:
    """ "Grade 10" for all: nobody's grade is emptied, and the word itself is told."""
    roster = make(form, 12)
    roster.sync(code=0)
    for person in roster.people:
        person["grade"] = "UI"
    outcome = roster.sync(code=0)
    assert {user["grade"] for user in roster.world.users().values()} == {"05"}
    assert outcome.certificates["sis"]["unknown"] == {"grade=UI": 12}
    assert "grade: UI (12)" in met_sentence(outcome.certificates["sis"])
    for person in roster.people:
        person["grade"] = "06"
    roster.sync(code=0)
    assert {user["grade"] for user in roster.world.users().values()} == {"06"}
    for person in roster.people:
        person["grade"] = None
    assert roster.sync().exit_code in (0, 10), "absent is said, and may clear: that is judged"


@pytest.mark.parametrize("form", ["clever", "clever_csv"])
def test_a_graduation_year_that_is_not_understood_clears_none(make: Make, form: str) -> None:
    roster = make(form, 12)
    for person in roster.people:
        person["year"] = "2031"
    roster.sync(code=0)
    for person in roster.people:
        person["year"] = "Class"
    outcome = roster.sync(code=0)
    assert {user["graduation_year"] for user in roster.world.users().values()} == {2031}
    assert outcome.certificates["sis"]["unknown"] == {"graduation_year=?": 12}
    for person in roster.people:
        person["year"] = "2032"
    roster.sync(code=0)
    assert {user["graduation_year"] for user in roster.world.users().values()} == {2032}


@pytest.mark.parametrize("form", ["clever", "oneroster12", "oneroster_csv11", "oneroster_csv12"])
def test_a_role_that_is_not_understood_ends_none(make: Make, form: str) -> None:
    roster = make(form, 3)
    second = "staff" if form == "clever" else "aide"
    roster.people[1] |= {"role": "teacher", "more_roles": [second]}
    roster.sync(code=0)
    before = roster.user("p00001")["memberships"]
    assert {role for role, _, _ in before} == {"teacher", "staff"}
    roster.people[1]["more_roles"] = ["coach"]
    outcome = roster.sync(code=0)
    assert roster.user("p00001")["memberships"] == before
    assert "role: coach (1)" in met_sentence(outcome.certificates["sis"])
    roster.people[1]["more_roles"] = []
    roster.sync(code=0)
    assert {role for role, _, _ in roster.user("p00001")["memberships"]} == {"teacher"}


@pytest.mark.parametrize("form", FORMS)
def test_whoever_has_only_a_role_that_is_not_understood_stays_as_they_are(
    make: Make, form: str
) -> None:
    if form == "clever_csv":
        pytest.skip("a role is a file there")
    roster = make(form, 3)
    roster.sync(code=0)
    roster.people[1]["role"] = "coach"
    roster.sync(code=0)
    assert roster.user("p00001")["status"] == "active"
    assert [rule for _, _, rule in roster.world.findings()] == ["unknown-role"]


@pytest.mark.parametrize("form", ONEROSTER_FORMS)
def test_a_word_for_may_sign_in_that_is_not_understood_lets_nobody_in_or_out(
    make: Make, form: str
) -> None:
    roster = make(form, 3)
    roster.people[1]["enabled"] = "false"
    roster.sync(code=0)
    assert roster.user("p00001")["status"] == "suspended"
    for person in roster.people:
        person["enabled"] = "perhaps"
    roster.sync(code=0)
    assert roster.user("p00001")["status"] == "suspended"
    assert roster.user("p00000")["status"] == "active"
