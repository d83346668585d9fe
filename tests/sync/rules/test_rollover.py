"""The rollover: what a new school year explains of who is missing, and what it does not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.models import GRADES
from sync.rules.return_guard import Guard, SeasonState
from sync.rules.rollover import (
    LADDER,
    Pupil,
    Rollover,
    Ruling,
    explained,
    explains_newcomer,
    holds_additions,
    is_one_up,
    judge,
    next_grade,
    rollovers,
    waiting_schools,
)

RETURNED = date(2026, 8, 11)
BACK = SeasonState(returned=RETURNED, year_turned=True)
FROM_A_BREAK = SeasonState(returned=RETURNED)
"""Back from a pause that spans no turn of the year."""
EXPLAINED, LIMITS, WAITING, HELD = (
    Ruling.EXPLAINED,
    Ruling.LIMITS,
    Ruling.WAITING,
    Ruling.HELD,
)


def school(name: str, **classes: tuple[int, str | None]) -> list[Pupil]:
    """Make the students of a school: ``_07=(4, "08")`` are four of grade 07 who are in 08 now."""
    return [
        Pupil(f"{name}-{key}-{number}", name, key.lstrip("_").split("x")[0], now)
        for key, (count, now) in classes.items()
        for number in range(count)
    ]


NEW_YEAR = rollovers(school("lincoln", _07=(17, "08"), _08=(5, None)))
OLD_YEAR = rollovers(school("lincoln", _07=(17, "07"), _08=(5, None)))


def verdict(finished: str | None = None, **given: Any) -> Ruling:
    values: dict[str, Any] = {
        "schools": NEW_YEAR,
        "guard": Guard.HOLDS,
        "state": BACK,
        "policy": "explain",
        "day": RETURNED,
    }
    return judge(["lincoln"], finished, **(values | given))


def test_worked_example_1_in_august_the_graduates_go_and_the_two_teachers_are_held() -> None:
    pupils = school("lincoln", _06=(8, "07"), _07=(9, "08"), _08=(5, None))
    schools = rollovers(pupils)
    assert sorted(explained(pupils, schools)) == [f"lincoln-_08-{n}" for n in range(5)]
    assert verdict("08", schools=schools) is EXPLAINED
    assert verdict(None, schools=schools) is HELD


def test_worked_example_1_in_october_the_limits_alone_judge() -> None:
    assert verdict("08", guard=Guard.NONE) is LIMITS
    assert verdict(None, guard=Guard.NONE) is LIMITS


@pytest.mark.parametrize(("up", "rolled"), [(4, False), (5, True), (6, True)])
def test_s4_a_school_has_rolled_over_when_half_of_its_lower_grades_are_one_up(
    up: int, rolled: bool
) -> None:
    pupils = school("lincoln", _07=(up, "08"), _07xstayed=(10 - up, "07"), _08=(50, None))
    assert rollovers(pupils)["lincoln"].has_rolled_over is rolled


def test_s4_the_missing_of_the_lower_grades_count_as_not_gone_up() -> None:
    found = rollovers(school("lincoln", _07=(4, "08"), _07xgone=(6, None), _08=(5, None)))
    assert found["lincoln"] == Rollover("lincoln", "08", lower=10, moved_up=4)
    assert not found["lincoln"].has_rolled_over


def test_s4_a_missing_student_of_a_lower_grade_is_not_explained() -> None:
    pupils = school("lincoln", _06=(9, "07"), _07xgone=(1, None), _08=(3, None))
    assert len(list(explained(pupils, rollovers(pupils)))) == 3
    assert verdict("07") is HELD


def test_s4_a_graduate_who_is_still_there_is_not_among_the_explained() -> None:
    pupils = school("lincoln", _07=(9, "08"), _08=(1, None), _08xstays=(1, "08"), _08xno=(1, ""))
    assert list(explained(pupils, rollovers(pupils))) == ["lincoln-_08-0"]


def test_s4_the_highest_grade_is_that_of_each_school() -> None:
    pupils = [
        *school("k8", KG=(5, "01"), _07=(5, "08"), _08=(5, None)),
        *school("high", _09=(5, "10"), _11=(5, "12"), _12=(5, None)),
        *school("primary", PK=(5, "KG"), KG=(5, "01"), _05=(5, "06")),
    ]
    found = rollovers(pupils)
    assert {name: one.highest for name, one in found.items()} == {
        "k8": "08",
        "high": "12",
        "primary": "05",
    }
    assert all(one.has_rolled_over for one in found.values())
    assert len(list(explained(pupils, found))) == 10


def test_s4_an_eighth_grader_of_a_k12_school_does_not_leave_by_finishing_it() -> None:
    pupils = school("k12", KG=(20, "01"), _08=(5, None), _12=(5, None))
    assert {user.split("-")[1] for user in explained(pupils, rollovers(pupils))} == {"_12"}


def test_s4_students_who_went_up_into_the_next_school_count_for_the_old_one() -> None:
    pupils = school("middle", _06=(3, "07"), _07=(3, "08"), _08=(3, "09"))
    assert rollovers(pupils)["middle"].has_rolled_over
    assert list(explained(pupils, rollovers(pupils))) == []


def test_s4_without_grades_nothing_is_explained_and_nothing_waited_for() -> None:
    pupils = [
        Pupil("a", "staffed", None, None),
        Pupil("b", "staffed", "", None),
        Pupil("c", "staffed", "UG", None),
        Pupil("d", "staffed", "Other", "Other"),
    ]
    assert rollovers(pupils) == {}
    assert list(explained(pupils, {})) == []
    assert verdict("UG", schools={}) is HELD
    assert verdict(None, schools={}) is HELD


def test_s4_ungraded_students_neither_count_nor_hinder() -> None:
    pupils = school("lincoln", _07=(5, "08"), UG=(50, "UG"), PS=(1, None), _08=(1, None))
    assert rollovers(pupils)["lincoln"] == Rollover("lincoln", "08", lower=5, moved_up=5)
    assert verdict("PS", schools=rollovers(pupils)) is HELD


def test_s4_a_school_of_one_grade_cannot_tell_so_its_missing_are_held_at_once() -> None:
    found = rollovers(school("lincoln", _09=(5, None), _09xgone_up=(50, "10")))
    assert not found["lincoln"].can_tell
    assert verdict("09", schools=found) is HELD
    assert waiting_schools(found, Guard.HOLDS, BACK, "explain") == []


def test_s4_who_finished_one_of_two_schools_is_explained() -> None:
    found = NEW_YEAR | rollovers(school("arts", _08=(4, "09"), _12=(1, None)))
    both = judge(
        ["lincoln", "arts"],
        "08",
        schools=found,
        guard=Guard.HOLDS,
        state=BACK,
        policy="explain",
        day=RETURNED,
    )
    assert both is EXPLAINED


def test_s4_newcomers_of_a_school_that_has_rolled_over_are_explained() -> None:
    for schools, guard, expected in (
        (NEW_YEAR, Guard.HOLDS, True),
        (NEW_YEAR, Guard.EXPLAINS, True),
        (NEW_YEAR, Guard.NONE, False),
        (OLD_YEAR, Guard.HOLDS, False),
        ({}, Guard.HOLDS, False),
    ):
        assert expected is explains_newcomer(
            "lincoln", schools=schools, guard=guard, state=BACK, policy="explain"
        )
    assert not explains_newcomer(
        "lincoln", schools=NEW_YEAR, guard=Guard.HOLDS, state=BACK, policy="off"
    )


def test_s5_in_a_guarded_run_every_other_taking_is_held_also_of_district_people() -> None:
    assert verdict(None) is HELD
    for nowhere in ([], [""]):
        assert HELD is judge(
            nowhere,
            None,
            schools=NEW_YEAR,
            guard=Guard.HOLDS,
            state=BACK,
            policy="explain",
            day=RETURNED,
        )


def test_s5_approve_holds_everything_of_that_run_graduates_and_additions_too() -> None:
    assert verdict("08", policy="approve") is HELD
    assert verdict("08", policy="approve", schools=OLD_YEAR) is HELD
    assert verdict(None, policy="approve", guard=Guard.NONE) is LIMITS
    assert verdict("08", policy="approve", guard=Guard.EXPLAINS) is LIMITS
    assert holds_additions(Guard.HOLDS, "approve")
    assert not holds_additions(Guard.NONE, "approve")
    assert not holds_additions(Guard.HOLDS, "explain")
    assert waiting_schools(OLD_YEAR, Guard.HOLDS, BACK, "approve") == []


def test_s5_off_leaves_the_limits_alone_to_judge() -> None:
    for guard in Guard:
        assert verdict("08", policy="off", guard=guard) is LIMITS
        assert verdict(None, policy="off", guard=guard, held_before=True) is LIMITS
    assert waiting_schools(OLD_YEAR, Guard.HOLDS, BACK, "off") == []


def test_s5_what_a_guarded_run_held_the_next_run_does_not_let_through() -> None:
    assert verdict(None, guard=Guard.NONE, held_before=True) is HELD


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2026-08-11", WAITING), ("2026-08-23", WAITING), ("2026-08-24", HELD), ("2026-10-01", HELD)],
)
def test_s6_takings_wait_until_14_days_after_the_end_of_the_pause(
    day: str, expected: Ruling
) -> None:
    """The pause ends on 2026-08-10, so that 2026-08-24 is 14 days after it."""
    for finished in ("08", "07", None):
        assert verdict(finished, schools=OLD_YEAR, day=date.fromisoformat(day)) is expected


def test_s6_a_school_that_waits_has_its_guarded_run_when_its_rollover_comes() -> None:
    waiting = BACK.model_copy(
        update={"waiting": tuple(waiting_schools(OLD_YEAR, Guard.HOLDS, BACK, "explain"))}
    )
    later = {"guard": Guard.NONE, "state": waiting, "day": RETURNED + timedelta(days=5)}
    assert verdict("08", schools=OLD_YEAR, **later) is WAITING
    assert verdict("08", schools=NEW_YEAR, **later) is EXPLAINED
    assert verdict(None, schools=NEW_YEAR, **later) is HELD
    assert waiting_schools(OLD_YEAR, Guard.NONE, waiting, "explain") == ["lincoln"]
    assert waiting_schools(NEW_YEAR, Guard.NONE, waiting, "explain") == []
    late = later | {"day": RETURNED + timedelta(days=30)}
    assert verdict("08", schools=OLD_YEAR, **late) is HELD
    assert verdict("08", schools=NEW_YEAR, **late) is EXPLAINED


def test_s6_a_school_that_does_not_wait_keeps_no_guard() -> None:
    assert waiting_schools(OLD_YEAR, Guard.NONE, BACK, "explain") == []
    assert waiting_schools(OLD_YEAR, Guard.EXPLAINS, BACK, "explain") == []


def test_s6_one_late_school_does_not_keep_the_others_waiting() -> None:
    schools = OLD_YEAR | rollovers(school("grant", _09=(5, "10"), _12=(2, None)))
    grant = judge(
        ["grant"],
        "12",
        schools=schools,
        guard=Guard.HOLDS,
        state=BACK,
        policy="explain",
        day=RETURNED,
    )
    assert grant is EXPLAINED
    assert verdict("08", schools=schools) is WAITING


def test_s1_a_run_asked_for_in_a_pause_waits_for_the_rollover_like_the_guarded_one() -> None:
    asked = SeasonState(paused_seen=RETURNED, year_turned=True)
    assert verdict("08", schools=OLD_YEAR, state=asked) is WAITING
    assert verdict("08", state=asked) is EXPLAINED


def test_s6_after_a_pause_that_spans_no_turn_of_the_year_nobody_waits() -> None:
    assert verdict("08", schools=OLD_YEAR, state=FROM_A_BREAK) is HELD
    assert verdict(None, schools=OLD_YEAR, state=FROM_A_BREAK) is HELD
    assert verdict("08", schools=NEW_YEAR, state=FROM_A_BREAK) is EXPLAINED
    assert waiting_schools(OLD_YEAR, Guard.HOLDS, FROM_A_BREAK, "explain") == []


def test_s8_graduates_are_explained_by_their_year_with_or_without_grades() -> None:
    for schools in ({}, OLD_YEAR, NEW_YEAR):
        assert verdict(None, schools=schools, graduated=True) is EXPLAINED
        assert verdict(None, schools=schools, graduated=True, guard=Guard.EXPLAINS) is EXPLAINED
        assert verdict(None, schools=schools, graduated=True, guard=Guard.NONE) is LIMITS
        assert verdict(None, schools=schools, graduated=True, policy="approve") is HELD
        assert verdict(None, schools=schools, graduated=True, policy="off") is LIMITS


def test_s6_without_a_pause_the_guard_only_explains_and_the_limits_judge_the_rest() -> None:
    assert verdict("08", guard=Guard.EXPLAINS) is EXPLAINED
    assert verdict("07", guard=Guard.EXPLAINS) is LIMITS
    assert verdict(None, guard=Guard.EXPLAINS) is LIMITS
    assert verdict("08", guard=Guard.EXPLAINS, schools=OLD_YEAR) is LIMITS


def test_s4_the_grades_follow_one_another_up_to_13() -> None:
    climbed = ["IT"]
    while (up := next_grade(climbed[-1])) is not None:
        climbed.append(up)
    assert climbed == [
        *("IT", "PR", "PK", "TK", "KG", "01", "02", "03", "04"),
        *("05", "06", "07", "08", "09", "10", "11", "12", "13"),
    ]
    assert [next_grade(grade) for grade in ("13", "PS", "UG", "Other", "")] == [None] * 5
    assert set(GRADES) - set(LADDER) == {"PS", "UG", "Other"}


def test_s4_only_the_very_next_grade_is_one_up_but_not_every_state_has_tk() -> None:
    assert is_one_up("07", "08")
    assert is_one_up("PK", "TK")
    assert is_one_up("PK", "KG")
    for before, now in (("07", "07"), ("07", "09"), ("08", "07"), ("07", None), ("07", "")):
        assert not is_one_up(before, now)
    assert not is_one_up("UG", "Other")


GRADE = st.sampled_from([*GRADES, None])
PUPILS = st.lists(
    st.builds(
        Pupil,
        user_id=st.uuids().map(str),
        school_id=st.sampled_from(["a", "b", "c"]),
        grade_before=GRADE,
        grade_now=GRADE,
    ),
    max_size=30,
)


@given(PUPILS)
def test_s4_one_more_missing_lower_student_never_explains_anybody_else(
    pupils: list[Pupil],
) -> None:
    before = set(explained(pupils, rollovers(pupils)))
    for index, pupil in enumerate(pupils):
        gone = Pupil(pupil.user_id, pupil.school_id, pupil.grade_before, None)
        fewer = [*pupils[:index], gone, *pupils[index + 1 :]]
        assert set(explained(fewer, rollovers(fewer))) <= before | {pupil.user_id}


@given(
    PUPILS, st.sampled_from(list(Guard)), st.integers(0, 30), st.sampled_from(["a", "b", "c"]),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_s5_a_guarded_run_leaves_nothing_but_the_explained_to_the_limits_or_to_chance(
    pupils: list[Pupil], guard: Guard, days: int, place: str, turned: bool, graduated: bool
) -> None:
    schools = rollovers(pupils)
    for finished in (None, *GRADES):
        found = judge(
            [place],
            finished,
            schools=schools,
            guard=guard,
            state=BACK if turned else FROM_A_BREAK,
            policy="explain",
            day=RETURNED + timedelta(days=days),
            graduated=graduated,
        )
        explains = graduated or (place in schools and schools[place].explains(finished))
        if guard is Guard.NONE:
            assert found is LIMITS
        elif explains:
            assert found is EXPLAINED
        elif guard is Guard.EXPLAINS:
            assert found is LIMITS
        else:
            waits = place in schools and schools[place].waits and days < 13 and turned
            assert found is (WAITING if waits else HELD)
