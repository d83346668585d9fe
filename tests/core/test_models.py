"""The user model: what every roster is normalised into."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.models import GRADES, INVISIBLE, Membership, NormalizedUser, Role, ceds_grade, fold_email

BREAKS = {"Cc", "Zl", "Zp"}
"""The categories of control characters and of line and paragraph separators."""


def _user(**fields: object) -> NormalizedUser:
    return NormalizedUser.model_validate({"external_id": "1", **fields})


@pytest.mark.parametrize("blank", [None, "", "   ", "\t"])
def test_absent_null_empty_and_blank_are_one_and_the_same(blank: str | None) -> None:
    assert _user(email=blank, given_name=blank) == _user()


def test_a_student_without_email_and_a_contact_without_first_name_are_people() -> None:
    assert _user(family_name="Okafor", given_name=None).email is None


def test_an_email_is_kept_as_given_and_compared_folded() -> None:
    assert _user(email=" Ada@Springfield.Example ").email == "Ada@Springfield.Example"
    assert fold_email(" Ada@Springfield.Example ") == "ada@springfield.example"


@pytest.mark.parametrize("field", ["password", "birth_date", "gender", "race"])
def test_there_is_no_place_for_demographics_or_passwords(field: str) -> None:
    assert field not in NormalizedUser.model_fields
    with pytest.raises(ValidationError):
        _user(**{field: "x"})


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_no_database_stores_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        _user(family_name=text)


def test_roles_are_tied_to_schools() -> None:
    user = _user(memberships=[{"role": "teacher", "school": "s1", "primary": True}])
    assert user.memberships == (Membership(role=Role.TEACHER, school="s1", primary=True),)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("Kindergarten", "KG"), ("KG", "KG"), ("k", "KG"), ("5", "05"), ("05", "05"), ("13", "13"),
        ("InfantToddler", "IT"), ("PreKindergarten", "PK"), ("TransitionalKindergarten", "TK"),
        ("PostGraduate", "PS"), ("Ungraded", "UG"), ("Other", "Other"), ("Grade Nine", None),
        ("0", None), ("14", None), ("", None),
    ],
)  # fmt: skip
def test_grades_become_ceds_codes(token: str, code: str | None) -> None:
    assert ceds_grade(token) == code


@given(st.text())
def test_any_grade_token_has_a_ceds_code_or_none(token: str) -> None:
    assert ceds_grade(token) in (None, *GRADES)


@given(st.text(), st.text())
def test_any_text_is_a_name_or_is_refused_by_field(given_name: str, email: str) -> None:
    try:
        user = _user(given_name=given_name, email=email)
    except ValidationError as error:
        blamed = {detail["loc"][0] for detail in error.errors()}
    else:
        blamed = set()
        seen = INVISIBLE.sub("", unicodedata.normalize("NFC", given_name))
        seen = "".join(" " if unicodedata.category(one) in BREAKS else one for one in seen)
        assert (user.given_name or "").split() == seen.split()
    assert blamed <= {"given_name", "email"}


@given(parts=st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1), min_size=1),
       breaks=st.text("\n\r\t\x0b\x0c\x1b\x7f\x85\u2028 ", min_size=1))  # fmt: skip
def test_a_line_break_inside_a_value_is_a_space(parts: list[str], breaks: str) -> None:
    """A spreadsheet lets people press return in a cell, and a terminal would obey an escape."""
    user = NormalizedUser(external_id="1", family_name=breaks.join(parts))
    assert user.family_name is not None
    assert user.family_name.isprintable()
    if set(breaks) != {" "}:
        plain = NormalizedUser(external_id="1", family_name=" ".join(parts))
        assert user.family_name == plain.family_name
    assert NormalizedUser(external_id="1", family_name=user.family_name) == user
