"""What is suspicious about one update (L10), whatever the names and addresses are."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.models import PROFILE_FIELDS
from sync.rules.suspicions import Suspicion, suspicions_of, words_of

words = st.text("abcdeéüßñ", min_size=1, max_size=6)
domains = st.sampled_from(["a.example", "b.example", "Sub.A.example", "vendor.test"])
places = st.lists(
    st.tuples(st.just("student"), st.sampled_from(["", "s1", "s2", "s3"]), st.just(False)),
    min_size=1, max_size=3, unique=True,
)  # fmt: skip


def kinds(before: dict[str, Any], after: dict[str, Any], **how: Any) -> set[str]:
    profile = dict.fromkeys(PROFILE_FIELDS) | how.get("profile", {}) | before
    found = suspicions_of(before, after, profile, how.get("domains", set()))
    return {one.kind for one in found}


@given(st.dictionaries(st.sampled_from(PROFILE_FIELDS), st.none() | words, min_size=1))
def test_every_field_that_is_empty_afterwards_is_named(after: dict[str, str | None]) -> None:
    before = dict.fromkeys(after, "before")
    profile = dict.fromkeys(PROFILE_FIELDS) | before
    found = suspicions_of(before, after, profile, set())
    emptied = {name for name, value in after.items() if value is None}
    assert {one.about for one in found if one.kind == "blanked"} == emptied


@given(st.tuples(words, words), st.tuples(words, words))
def test_names_are_others_only_if_no_word_of_them_stays(
    old: tuple[str, str], new: tuple[str, str]
) -> None:
    before, after = ({"given_name": given, "family_name": family} for given, family in (old, new))
    stays = words_of(old) & words_of(new)
    assert ("renamed" in kinds(before, after)) is not bool(stays)
    assert "renamed" not in kinds(before, before | {"given_name": new[0]})
    swapped = {"given_name": old[1].upper(), "family_name": old[0].upper()}
    assert "renamed" not in kinds(before, swapped)


def test_case_accents_and_signs_are_no_other_name() -> None:
    before = {"given_name": "José", "family_name": "O'Neill-Muñoz"}
    assert kinds(before, {"given_name": "JOSE", "family_name": "MUNOZ"}) == set()
    assert kinds(before, {"given_name": "Kim", "family_name": "neill"}) == set()
    assert kinds(before, {"given_name": "X", "family_name": "WRONG"}) == {"renamed"}


def test_names_of_signs_only_are_other_names_and_real_ones_after_them_are_not() -> None:
    masked = {"given_name": "***", "family_name": "\u2022\u2022\u2022"}
    named = {"given_name": "Ana", "family_name": "Lima"}
    assert kinds(named, masked) == {"renamed"}
    assert kinds(masked, named) == set()
    assert kinds(named, {"given_name": None, "family_name": None}) == {"blanked"}


def test_a_person_of_one_name_is_renamed_too() -> None:
    alone = {"profile": {"given_name": None, "family_name": "Sukarno"}}
    assert kinds({"family_name": "Sukarno"}, {"family_name": "WRONG"}, **alone) == {"renamed"}


@given(words, domains, words, domains)
def test_an_address_is_outside_only_at_another_domain_that_is_not_listed(
    local: str, old: str, other: str, new: str
) -> None:
    before, after = {"email": f"{local}@{old}"}, {"email": f"{other}@{new}"}
    listed = {"a.example", "b.example"}
    wanted = new.casefold() not in listed and new.casefold() != old.casefold()
    assert ("outside_domains" in kinds(before, after, domains=listed)) is wanted
    assert "outside_domains" not in kinds(before, after)
    assert "outside_domains" not in kinds({"email": None}, after, domains=listed)


@given(places, places)
def test_somebody_moved_who_is_at_none_of_their_schools_any_more(
    old: list[tuple[str, str, bool]], new: list[tuple[str, str, bool]]
) -> None:
    left, joined = ({school for _, school, _ in at if school} for at in (old, new))
    found = suspicions_of({"memberships": old}, {"memberships": new}, {}, set())
    wanted = left | joined if left and not left & joined else set()
    assert found == [Suspicion("moved", school) for school in sorted(wanted)]
