"""Who is who: the pure decision, clause by clause (I5, "Who is who" 1)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.people.identity import Candidate, Traits, crossing, fold_name, judge


def known(
    *,
    given: str = "sam",
    family: str = "lee",
    email: str = "sam.lee@a.example",
    role: str = "student",
    **keys: str,
) -> Traits:
    return Traits(
        {(k if k == "master" else f"{k}:{role}"): frozenset([v]) for k, v in keys.items()},
        frozenset([email] if email else []),
        frozenset([given] if given else []),
        frozenset([family] if family else []),
        frozenset([role]),
    )


def one(who: Traits, user: str = "u1", **more: Any) -> Candidate:
    return Candidate(user, who, **more)


def said(verdict: Any) -> tuple[str, str | None, str]:
    return verdict.what, verdict.target, verdict.reason


@pytest.mark.parametrize(
    "key", ["state_id", "sis_id", "student_number", "staff_number", "crd_id", "master"]
)
def test_one_strong_key_links_whatever_the_address(key: str) -> None:
    new = known(email="new@b.example", **{key: "7"})
    assert said(judge(new, [one(known(**{key: "7"}))])) == ("link", "u1", f"same_{key}")


def test_a_strong_key_of_another_role_class_is_no_key() -> None:
    new = known(sis_id="7", email="", role="teacher")
    assert judge(new, [one(known(sis_id="7", email=""))]).what == "new"


def test_a_difference_in_another_strong_key_is_a_conflict_with_both_sides_of_the_evidence() -> None:
    verdict = judge(known(sis_id="7", state_id="1"), [one(known(sis_id="7", state_id="2"))])
    assert said(verdict) == ("conflict", None, "keys_contradict")
    ((user, evidence),) = verdict.evidence
    assert user == "u1"
    assert {"same_sis_id", "other_state_id", "same_email", "names_agree"} <= set(evidence)


def test_two_users_of_one_key_are_a_conflict() -> None:
    both = [one(known(sis_id="7")), one(known(sis_id="7"), "u2")]
    assert judge(known(sis_id="7"), both).reason == "several_candidates"


def test_a_key_of_one_user_and_address_and_names_of_another_are_a_conflict() -> None:
    by_key = one(known(sis_id="7", given="ann", family="roe", email="ann@a.example"))
    by_mail = one(known(), "u2")
    assert judge(known(sis_id="7"), [by_key, by_mail]).reason == "several_candidates"


def test_a_key_alone_with_a_strangers_name_and_address_is_a_conflict() -> None:
    stranger = one(known(sis_id="7", given="ann", family="roe", email="ann@a.example"))
    assert judge(known(sis_id="7"), [stranger]).reason == "keys_contradict"


def test_a_sibling_with_the_family_address_does_not_hide_the_one_by_key() -> None:
    sibling = one(known(given="kim", sis_id="8"), "u2")
    assert judge(known(sis_id="7"), [one(known(sis_id="7")), sibling]).target == "u1"


def test_two_new_people_with_one_key_are_a_conflict() -> None:
    assert judge(known(sis_id="7"), [one(known(sis_id="7"), strong_rivals=True)]).what == "conflict"


def test_i10_another_present_id_of_the_same_source_is_theirs_by_a_number_and_both_names() -> None:
    entry = one(known(sis_id="7"), present_here=True)
    assert said(judge(known(sis_id="7"), [entry])) == ("link", "u1", "same_sis_id")
    assert judge(known(sis_id="7", family="roe"), [entry]).what == "conflict"
    assert judge(known(sis_id="7", given=""), [entry]).what == "conflict"
    assert judge(known(), [one(known(), present_here=True)]).what == "conflict"


def test_i10_an_adults_entries_are_one_by_address_and_both_names() -> None:
    entry = one(known(role="teacher"), present_here=True, email_rivals=True)
    assert said(judge(known(role="staff"), [entry])) == ("link", "u1", "same_person")
    assert judge(known(role="staff", given="kim", family="roe"), [entry]).what == "new"
    assert judge(known(role="staff", family="roe"), [entry]).what == "conflict"
    assert judge(known(role="admin"), [entry]).what == "conflict", "nobody gains a role unasked"
    assert judge(known(role="student"), [entry]).what == "conflict"


def test_i9_an_address_of_somebody_with_another_given_name_and_id_is_a_familys() -> None:
    for where in ({"present_here": True}, {"absent_here": True, "archived": True}):
        match = judge(known(given="kim"), [one(known(), **where)])
        assert (match.what, match.shares_address_with) == ("new", ("u1",))
    several = [one(known(), sources=frozenset([1])), one(known(given="ann"), "u2",
               sources=frozenset([1]))]  # fmt: skip
    assert judge(known(given="kim"), several).what == "new"
    verdict = judge(known(), several)
    assert said(verdict) == ("conflict", None, "email_of_another"), "names of one are asked about"
    assert "shared_email" in verdict.evidence[0][1]


def test_i12_a_mononym_agrees_with_the_same_mononym_only() -> None:
    assert judge(known(given=""), [one(known(given=""))]).what == "link"
    assert judge(known(given=""), [one(known())]).reason == "email_of_another"
    assert judge(known(given="", family="roe"), [one(known(given=""))]).what == "conflict"


def test_i12_a_key_alone_with_a_strangers_one_name_is_a_conflict() -> None:
    stranger = one(known(sis_id="7", given="ann", family="roe", email="ann@a.example"))
    assert judge(known(sis_id="7", family=""), [stranger]).reason == "keys_contradict"
    same = one(known(sis_id="7", family="", email=""))
    assert judge(known(sis_id="7", given="", family="sam"), [same]).what == "link", "it is one name"
    assert judge(known(sis_id="7"), [same]).what == "link"
    assert judge(known(sis_id="7", given="", family=""), [stranger]).what == "link", "masked"


def test_i5_an_earlier_id_of_the_same_source_is_no_contradiction_if_a_strong_key_agrees() -> None:
    assert judge(known(sis_id="7"), [one(known(sis_id="7"), absent_here=True)]).reason == "moved"
    reused = judge(known(), [one(known(), absent_here=True)])
    assert said(reused) == ("conflict", None, "email_of_another")


def test_an_address_with_agreeing_names_links() -> None:
    assert said(judge(known(), [one(known())])) == ("link", "u1", "same_email")


def test_archived_users_are_candidates() -> None:
    assert judge(known(), [one(known(), archived=True)]).target == "u1"


@pytest.mark.parametrize(
    ("new", "candidate", "slug"),
    [
        (known(given="kim"), one(known()), "names_differ"),
        (known(given=""), one(known()), "names_unknown"),
        (known(role="teacher"), one(known()), "other_role_class"),
        (known(role="admin"), one(known(role="staff")), "gains_admin"),
        (known(), one(known(), email_rivals=True), "shared_email"),
        (known(sis_id="7"), one(known(sis_id="8")), "other_sis_id"),
    ],
)
def test_an_address_and_a_doubt_are_a_conflict_that_names_the_doubt(
    new: Traits, candidate: Candidate, slug: str
) -> None:
    verdict = judge(new, [candidate])
    assert said(verdict) == ("conflict", None, "email_of_another")
    assert slug in verdict.evidence[0][1]


def test_an_address_outside_the_districts_domains_is_weak() -> None:
    allowed = frozenset(["a.example"])
    assert judge(known(), [one(known())], allowed).what == "link"
    assert judge(known(), [one(known())], frozenset(["b.example"])).what == "conflict"


def test_names_alone_never_link_nor_doubt() -> None:
    assert judge(known(email="x@a.example"), [one(known(email="y@a.example"))]).what == "new"


def test_names_agree_without_accents_case_and_signs() -> None:
    assert fold_name("Zoë-Ann O'Neil") == fold_name("ZOE ANN ONEIL")
    assert fold_name("Straße") == fold_name("STRASSE")


# -- numbers that stand in another field (one vendor's SIS id is another's student number)


def test_a_number_in_another_field_and_agreeing_names_link() -> None:
    new = known(student_number="7", email="")
    assert said(judge(new, [one(known(sis_id="7", email=""))])) == (
        "link", "u1", "same_number_elsewhere",
    )  # fmt: skip


def test_a_number_in_another_field_and_the_address_link_unless_the_names_speak_against_it() -> None:
    candidate = [one(known(sis_id="7"))]
    assert judge(known(student_number="7", given=""), candidate).what == "link"
    assert judge(known(student_number="7", family="roe"), candidate).what == "link"
    assert judge(known(student_number="7", given="kim", family="roe"), candidate).what == "conflict"


def test_a_number_in_another_field_alone_says_nothing() -> None:
    stranger = one(known(sis_id="7", given="ann", email="ann@a.example"))
    assert judge(known(student_number="7"), [stranger]).what == "new"
    assert judge(known(student_number="7", role="teacher"), [one(known(sis_id="7"))]).reason == (
        "email_of_another"  # numbers are unique within a role class only
    )


def test_a_number_in_another_field_never_contradicts_by_itself() -> None:
    both = known(sis_id="7", student_number="9")  # there, the SIS id is the student number
    assert said(judge(known(student_number="7"), [one(both)])) == (
        "link", "u1", "same_number_elsewhere",
    )  # fmt: skip
    swapped = known(sis_id="9", student_number="7")
    assert judge(swapped, [one(both)]).what == "link"


def test_what_a_number_equals_in_its_own_field_it_means() -> None:
    other = one(known(sis_id="7", student_number="7"))
    assert judge(known(sis_id="7", student_number="8"), [other]).reason == "keys_contradict"


@pytest.mark.parametrize(
    "more", [{"present_here": True}, {"absent_here": True}, {"strong_rivals": True}]
)
def test_a_number_in_another_field_and_a_doubt_are_a_conflict(more: dict[str, bool]) -> None:
    new = known(student_number="7", email="")
    assert judge(new, [one(known(sis_id="7", email=""), **more)]).what == "conflict"


# -- properties

_VALUE = st.sampled_from(["", "1", "2"])
_KNOWN = st.builds(
    lambda given, family, email, role, keys: known(
        given=given, family=family, email=email and f"{email}@a.example", role=role,
        **{k: v for k, v in keys.items() if v},
    ),
    st.sampled_from(["", "sam", "kim"]),
    st.sampled_from(["lee", "roe"]),
    _VALUE,
    st.sampled_from(["student", "teacher", "admin"]),
    st.fixed_dictionaries(
        {"sis_id": _VALUE, "student_number": _VALUE, "state_id": _VALUE, "master": _VALUE}
    ),
)  # fmt: skip
_CANDIDATES = st.lists(
    st.builds(
        Candidate, st.just(""), _KNOWN, st.booleans(), st.booleans(), st.booleans(),
        st.booleans(), st.booleans(), st.frozensets(st.sampled_from([1, 2]), max_size=2),
    ),
    max_size=4,
).map(lambda some: [Candidate(f"u{n}", *_values(c)) for n, c in enumerate(some)])  # fmt: skip


def _values(candidate: Candidate) -> tuple[Any, ...]:
    return (
        candidate.known, candidate.archived, candidate.present_here, candidate.absent_here,
        candidate.strong_rivals, candidate.email_rivals, candidate.sources,
    )  # fmt: skip


@given(new=_KNOWN, candidates=_CANDIDATES)
def test_matching_never_joins_two_people_who_differ_in_a_strong_key(
    new: Traits, candidates: list[Candidate]
) -> None:
    verdict = judge(new, candidates)
    if verdict.what == "link":
        target = next(c for c in candidates if c.id == verdict.target).known
        crossed = crossing(new, target)
        for kind, values in new.keys.items():
            assert (
                kind not in target.keys
                or values & target.keys[kind]
                or any(kind in pair for pair in crossed)
            )
        assert (
            new.emails & target.emails
            or (crossed and new.given & target.given and new.family & target.family)
            or any(values & target.keys.get(kind, frozenset()) for kind, values in new.keys.items())
        )


@given(new=_KNOWN, candidates=_CANDIDATES)
def test_matching_does_not_depend_on_the_order_of_the_candidates(
    new: Traits, candidates: list[Candidate]
) -> None:
    verdicts = {judge(new, list(some)) for some in itertools.permutations(candidates)}
    assert len(verdicts) == 1


@given(new=_KNOWN, candidates=_CANDIDATES, target=_KNOWN)
def test_i9_an_address_that_several_of_one_source_share_links_nobody(
    new: Traits, candidates: list[Candidate], target: Traits
) -> None:
    shared = frozenset(["1@a.example"])
    family = [
        Candidate(f"f{n}", replace(some, emails=shared), sources=frozenset([3]))
        for n, some in enumerate((target, replace(target, given=frozenset(["ann"]))))
    ]
    verdict = judge(replace(new, emails=shared), [*candidates, *family])
    assert verdict.reason != "same_email"
