"""The synthetic district: the same each time, exact to the person, and as strange as real ones."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest

from rostersync.emulator.district.days import (
    Changes,
    Day,
    Disables,
    DomainChange,
    Enables,
    Joins,
    Leaves,
    NewIds,
    RenamesSchools,
    Returns,
    Rollover,
    ToBeDeleted,
    Touches,
    ordinary_week,
)
from rostersync.emulator.district.generator import District
from rostersync.emulator.district.truth import Truth


def people(district: District, day: int, vendor: str | None = None) -> dict[str, Truth]:
    found = list(district.truth(day, vendor))
    by_id = {entry.external_id: entry for entry in found}
    assert len(by_id) == len(found)
    return by_id


def test_the_same_seed_gives_the_same_district_and_another_seed_another() -> None:
    def read(seed: int) -> list[Truth]:
        return list(District(seed=seed, users=400, days=ordinary_week()).truth(4, "clever"))

    assert read(3) == read(3)
    assert read(3) != read(4)


def test_a_day_may_be_asked_for_in_any_order() -> None:
    forwards, backwards = (District(users=400, days=ordinary_week()) for _ in range(2))
    ahead = [list(forwards.truth(day)) for day in range(11)]
    back = [list(backwards.truth(day)) for day in reversed(range(11))]
    assert ahead == back[::-1]


def test_the_roles_are_mixed_as_in_a_real_district() -> None:
    district = District(users=4_000, contacts=0.1)
    mix = Counter(person.roles for person in district.view().people())
    assert 0.85 < mix["student",] / 3_600 < 0.92
    assert 0.05 < mix["teacher",] / 3_600 < 0.09
    assert 300 < mix["contact",] < 500
    assert mix["teacher", "staff"] > 0
    assert mix["admin",] > 0


def test_the_people_are_as_strange_as_real_ones() -> None:
    everybody = list(District(users=4_000).view().people())
    assert any(not person.email for person in everybody)
    assert any(person.email and "@" not in person.email for person in everybody)
    assert any(person.shares_email for person in everybody)
    assert any(not person.family.isascii() for person in everybody)
    assert any("'" in person.family and "-" in person.family for person in everybody)
    assert any(len(person.schools) > 1 for person in everybody)
    assert any("staff" in person.roles and not person.schools for person in everybody)
    assert any(person.grade == "UG" for person in everybody)
    assert any(not person.middle for person in everybody)


def test_twins_share_name_grade_and_school_and_sometimes_an_address() -> None:
    everybody = list(District(users=4_000).view().people())
    twins = [p for p in everybody if p.shares_email and p.email]
    assert twins
    for twin in twins:
        elder = everybody[twin.index - 1]
        assert (twin.family, twin.grade, twin.schools[0]) == (
            elder.family, elder.grade, elder.schools[0],
        )  # fmt: skip
        assert twin.email == elder.email
    own = Counter(p.email for p in everybody if p.email and not p.shares_email)
    assert own.most_common(1)[0][1] == 1


def test_a_student_is_in_a_school_of_their_grade() -> None:
    district = District(users=3_000)
    for person in district.view().people("student"):
        if person.grade == "UG":
            continue
        grade = {"PK": -1, "KG": 0}.get(person.grade) if person.grade in ("PK", "KG") else None
        grade = int(person.grade) if grade is None else grade
        school = district.view().schools[person.schools[0]]
        assert school.low <= grade <= school.high


@pytest.mark.parametrize("schools", [1, 2, 3])
def test_a_district_may_have_very_few_schools(schools: int) -> None:
    view = District(users=300, schools=schools).view()
    assert len(view.schools) == schools
    assert {s for person in view.people() for s in person.schools} == set(range(schools))


def test_joins_and_leaves_are_exact() -> None:
    district = District(users=1_000, days=(Day(Joins(17), Leaves(40)), Day(Returns(9))))
    base, first, second = (people(district, day) for day in range(3))
    assert len(first.keys() - base.keys()) == 17
    assert len(base.keys() - first.keys()) == 40
    assert len(second.keys() - first.keys()) == 9
    assert (second.keys() - first.keys()) < base.keys()
    assert all(first[key] == base[key] for key in first.keys() & base.keys())
    assert all(second[key] == base[key] for key in second.keys() - first.keys())


@pytest.mark.parametrize(
    ("field", "differs"),
    [
        ("email", "email"),
        ("name", "family_name"),
        ("username", "username"),
        ("school", "memberships"),
        ("grade", "grade"),
        ("role", "memberships"),
    ],
)
def test_a_change_changes_exactly_that_many_people_in_that_field(field: str, differs: str) -> None:
    role = "teacher" if field == "role" else "student"
    script = (Day(Changes(25, fields=(field,), role=role)),)
    district = District(users=2_000, schools=16, days=script)
    base, after = people(district, 0), people(district, 1)
    changed = [key for key in base if base[key] != after[key]]
    assert len(changed) == 25
    in_field = [k for k in changed if getattr(base[k], differs) != getattr(after[k], differs)]
    assert len(in_field) >= 20  # one in the top grade, or with no other school, gets a new name


def test_edits_can_be_aimed_at_a_role_or_a_school() -> None:
    district = District(
        users=2_000, days=(Day(Leaves(9, role="teacher")), Day(Leaves(30, school=1)))
    )
    gone = people(district, 0).keys() - people(district, 1).keys()
    assert all(people(district, 0)[key].memberships[0][0] == "teacher" for key in gone)
    gone = people(district, 1).keys() - people(district, 2).keys()
    assert {people(district, 1)[key].memberships[0][1] for key in gone} == {"1"}


def test_the_domain_changes_for_everybody_or_for_some() -> None:
    def domains(share: float) -> Counter[str]:
        district = District(users=1_000, days=(Day(DomainChange("b.example", share=share)),))
        return Counter((entry.email or "").rpartition("@")[2] for entry in district.truth(1))

    assert domains(1)["a.example"] == 0
    assert domains(1)["b.example"] > 900
    assert 300 < domains(0.5)["b.example"] < 700


def test_a_new_vendor_id_is_a_new_entry_of_the_same_person() -> None:
    district = District(users=500, days=(Day(NewIds(8)),))
    base, after = people(district, 0, "clever"), people(district, 1, "clever")
    gone, come = base.keys() - after.keys(), after.keys() - base.keys()
    assert len(gone) == len(come) == 8
    assert {base[key].person for key in gone} == {after[key].person for key in come}
    assert {base[key].email for key in gone} == {after[key].email for key in come}
    assert list(after) == sorted(after)


def test_tobedeleted_people_are_gone_and_disabled_ones_are_not() -> None:
    district = District(
        users=500, days=(Day(ToBeDeleted(6), Disables(5)), Day(Enables(2), Returns(6)))
    )
    base, first, second = (people(district, day) for day in range(3))
    assert len(base.keys() - first.keys()) == 6
    assert sum(not entry.enabled for entry in first.values()) == 5
    assert sum(not entry.enabled for entry in second.values()) == 3
    assert second.keys() == base.keys()
    leaving = [p for p in district.view(1).people(leaving=True) if p.leaving]
    assert len(leaving) == 6
    assert not any(p.leaving for p in district.view(2).people(leaving=True))


def test_a_rollover_moves_everybody_up_and_fills_kindergarten() -> None:
    district = District(users=3_000, days=(Day(Leaves(20)), Day(Rollover())))
    before, after = people(district, 1), people(district, 2)
    seniors = {key for key, entry in before.items() if entry.grade == "12"}
    assert seniors
    assert before.keys() - after.keys() == seniors
    newcomers = after.keys() - before.keys()
    assert len(newcomers) == len(seniors)
    assert {after[key].grade for key in newcomers} == {"KG"}
    for key in before.keys() & after.keys():
        assert before[key].graduation_year == after[key].graduation_year
        if before[key].grade == "05":
            assert after[key].grade == "06"
        if before[key].grade in (None, "UG"):
            assert before[key] == after[key]


def test_a_touch_moves_the_date_of_everybody_and_changes_nobody() -> None:
    district = District(users=300, days=(Day(Touches()),))
    assert list(district.truth(0)) == list(district.truth(1))
    times = [[person.modified for person in district.view(day).people()] for day in (0, 1)]
    assert all(late > early for early, late in zip(*times, strict=True))


def test_a_renamed_school_keeps_its_number() -> None:
    district = District(users=300, days=(Day(RenamesSchools(1)), Day(RenamesSchools(1))))
    names = [district.view(day).schools[0].name for day in range(3)]
    assert len(set(names)) == 3
    assert len({district.view(day).schools[0].number for day in range(3)}) == 1


def test_a_script_that_asks_for_too_many_people_says_which_day() -> None:
    district = District(users=50, days=(Day(), Day(Returns(3))))
    with pytest.raises(ValueError, match="Day 2: Returns asks for 3 people, and only 0 fit"):
        district.view(2)
    with pytest.raises(ValueError, match="days 0 to 2"):
        district.view(3)


def test_a_share_takes_as_many_as_fit() -> None:
    district = District(users=100, days=(Day(Leaves(4)), Day(Returns(0.5))))
    assert people(district, 2) == people(district, 0)


def test_only_the_changed_people_have_a_new_date() -> None:
    district = District(users=800, days=(Day(Changes(10)), Day(Joins(4), Touches(3))))
    midnight = district.population.at(1).timestamp()
    view = district.view(2)
    slots = view.touched_since(midnight)
    assert slots is not None
    assert len(slots) == 17
    recent = {p.slot for p in view.people() if p.modified > midnight}
    assert recent == set(slots)
    later = view.touched_since(district.population.at(2).timestamp())
    assert later is not None
    assert len(later) == 7
    assert view.touched_since(district.population.epoch - 9) is None


def test_reading_a_large_district_takes_no_more_memory_than_a_small_one() -> None:
    def peak(users: int) -> int:
        district = District(users=users, days=(Day(Leaves(0.01), Joins(0.01), Changes(0.01)),))
        tracemalloc.start()
        try:
            count = sum(1 for _ in district.truth(1, "clever"))
            assert 0.98 * users < count < 1.02 * users
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)  # what is made once is not counted
    small, large = peak(2_000), peak(20_000)
    # A person's name alone takes more than the few bytes that each may cost.
    assert (large - small) / 18_000 < 30


@pytest.mark.parametrize("users", [1, 2, 5, 13, 40, 100])
def test_the_ordinary_week_fits_a_district_of_any_size(users: int) -> None:
    district = District(users=users, days=ordinary_week())
    assert len(list(district.truth(0))) == users
    for day in range(1, 11):
        people(district, day, "clever")
