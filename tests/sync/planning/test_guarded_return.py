"""The first run after a pause, through the whole engine (S3-S6), on both stores.

One file, because the rules S3 to S6 are read beside it in their order.
"""

from __future__ import annotations

import pytest

from core.errors import VendorFailure
from tests.kit.fixtures import NewTown
from tests.kit.school_year import (
    AUGUST,
    GRADUATES,
    JUNE,
    SUMMER,
    TWO_TEACHERS,
    Person,
    Town,
    classes,
    filled,
    staff,
)


def guard(policy: str) -> str:
    return f'guard = "{policy}"\n{SUMMER}'


def test_worked_example_1_in_october_the_teachers_and_the_eighth_graders_are_held(
    middle: Town,
) -> None:
    middle.sync(AUGUST)
    middle.sync("2026-10-05 05:00")
    middle.vendor.leave(*TWO_TEACHERS, *GRADUATES)
    outcome = middle.sync("2026-10-05 10:00")
    assert (outcome.status, outcome.exit_code) == ("held", 10)
    assert middle.held()["archive"] == TWO_TEACHERS | GRADUATES
    assert middle.limits() == {"school_role", "district_role"}
    assert middle.archived == set()


def test_worked_example_1_in_august_the_graduates_go_and_the_teachers_are_held(
    middle: Town,
) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave(*TWO_TEACHERS)
    outcome = middle.sync(AUGUST)
    assert (outcome.status, outcome.exit_code) == ("held", 10)
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": TWO_TEACHERS}
    assert "guard" in middle.limits()
    # and they stay held, run after run, until somebody decides
    assert middle.sync("2026-08-12 05:00").status == "held"
    assert middle.active >= TWO_TEACHERS
    assert middle.approve().status == "applied"
    assert middle.archived == GRADUATES | TWO_TEACHERS
    assert middle.sync("2026-08-12 10:00").status == "nothing_to_do"


def test_explained_leavers_never_count_in_the_window_of_the_limits(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.sync(AUGUST)
    middle.vendor.leave("s1-g07-0000")
    middle.sync("2026-08-12 05:00")
    assert middle.archived == GRADUATES | {"s1-g07-0000"}


# -- S3


@pytest.mark.parametrize("word", ["paused", "suspended", "disconnected"])
def test_s3_the_return_of_a_vendor_from_its_own_pause_is_guarded(
    new_town: NewTown, word: str
) -> None:
    town = filled(new_town())
    town.vendor.state = word
    town.sync("2026-06-15 05:00")
    town.vendor.state = None
    town.vendor.roll_over()
    town.vendor.leave("s1-teacher-000")
    assert town.sync("2026-08-11 05:00").status == "held"
    assert town.archived == GRADUATES
    assert town.held() == {"archive": {"s1-teacher-000"}}


@pytest.mark.parametrize("word", ["pending", "error"])
def test_s3_while_a_vendor_is_in_trouble_people_join_and_nobody_leaves(
    new_town: NewTown, word: str
) -> None:
    town = filled(new_town())
    town.vendor.state = word
    town.vendor.leave("s1-g06-0001")
    town.vendor.join(Person("new", grade="06"))
    town.sync("2026-09-15 05:00")
    assert town.archived == set()
    assert "new" in town.active
    town.vendor.state = None
    town.sync("2026-09-15 10:00")
    assert town.archived == {"s1-g06-0001"}


def test_s3_an_incomplete_first_run_leaves_the_guard_for_the_next_one(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000")
    middle.vendor.short = True
    assert middle.sync(AUGUST).exit_code == 12
    assert middle.archived == set()
    middle.vendor.short = False
    middle.sync("2026-08-11 10:00")
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": {"s1-teacher-000"}}


def test_s3_a_vendor_that_fails_at_first_is_guarded_when_it_answers(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000")
    middle.vendor.fails = VendorFailure("The vendor is down.")
    for day in range(11, 15):
        assert middle.sync(f"2026-08-{day} 05:00").exit_code == 12
    middle.vendor.fails = None
    middle.sync("2026-08-17 05:00")
    assert middle.held() == {"archive": {"s1-teacher-000"}}
    assert middle.archived == GRADUATES


# -- S4


def test_s4_a_graduate_of_a_k8_school_leaves_and_a_missing_seventh_grader_is_held(
    new_town: NewTown,
) -> None:
    town = new_town(SUMMER)
    town.vendor.join(*classes("s1", gKG=6, g01=6, g02=6, g05=6, g07=6, g08=6))
    town.sync(JUNE)
    graduates = set(town.vendor.roll_over())
    town.vendor.leave("s1-g05-0000", "s1-g07-0000")
    assert town.sync(AUGUST).status == "held"
    assert town.archived == graduates
    assert town.held() == {"archive": {"s1-g05-0000", "s1-g07-0000"}}


def test_s4_fifth_graders_who_go_on_to_the_middle_school_are_updates(new_town: NewTown) -> None:
    town = new_town(SUMMER)
    town.vendor.schools = {"s1": "Lincoln", "s2": "Grant Middle"}
    town.vendor.join(*classes("s1", g03=8, g04=8, g05=8), *classes("s2", g06=8, g07=8, g08=8))
    town.sync(JUNE)
    graduates = set(town.vendor.roll_over())
    for n in range(8):
        town.vendor.change(f"s1-g05-{n:04}", school="s2")
    outcome = town.sync(AUGUST)
    assert outcome.status == "applied"
    assert town.archived == graduates
    assert len(graduates) == 8


def test_s4_a_staff_only_source_has_nothing_explained_and_nothing_waited_for(
    new_town: NewTown,
) -> None:
    town = new_town(SUMMER)
    town.vendor.join(*staff("s1", 30))
    town.sync(JUNE)
    town.vendor.leave("s1-teacher-000")
    assert town.sync(AUGUST).status == "held"
    assert town.held() == {"archive": {"s1-teacher-000"}}


def test_s4_a_source_without_grades_has_its_leavers_held_at_once(new_town: NewTown) -> None:
    town = new_town(SUMMER)
    town.vendor.join(*(Person(f"st{n:02}") for n in range(40)))
    town.sync(JUNE)
    town.vendor.leave("st00")
    assert town.sync(AUGUST).status == "held"
    assert town.held() == {"archive": {"st00"}}


def test_s4_newcomers_of_a_school_that_rolled_over_never_count_as_too_many(
    new_town: NewTown,
) -> None:
    town = new_town(SUMMER)
    town.vendor.join(*classes("s1", g06=30, g07=30, g08=30))
    town.sync(JUNE)
    graduates = set(town.vendor.roll_over())
    town.vendor.join(*(Person(f"new{n:03}", grade="06") for n in range(120)))
    assert town.sync(AUGUST).status == "applied"
    assert town.archived == graduates
    assert len(town.active) == 180
    # nor do they fill the window for those who come later
    town.vendor.join(*(Person(f"late{n:03}", grade="06") for n in range(50)))
    assert town.sync("2026-08-12 05:00").status == "applied"
    assert len(town.active) == 230


# -- S5


def test_s5_approve_holds_every_change_of_the_guarded_run(new_town: NewTown) -> None:
    town = filled(new_town(guard("approve")))
    town.vendor.roll_over()
    town.vendor.leave("s1-teacher-000")
    town.vendor.join(Person("new", grade="06"))
    assert town.sync(AUGUST).status == "held"
    assert town.archived == set()
    assert "new" not in town.active
    held = town.held()
    assert held["archive"] == GRADUATES | {"s1-teacher-000"}
    assert held["create"] == {"new"}
    assert len(held["update"]) == 17
    assert town.sync("2026-08-11 10:00").status == "held"
    assert town.held() == held
    assert town.approve().status == "applied"
    assert town.archived == GRADUATES | {"s1-teacher-000"}
    assert "new" in town.active
    town.vendor.join(Person("newer", grade="06"))
    assert town.sync("2026-08-12 05:00").status == "applied"


def test_s5_off_leaves_the_limits_alone_to_judge(new_town: NewTown) -> None:
    town = filled(new_town(guard("off")))
    town.vendor.roll_over()
    town.vendor.leave("s1-teacher-000")
    assert town.sync(AUGUST).status == "held"
    assert town.archived == {"s1-teacher-000"}
    assert town.held() == {"archive": GRADUATES}


# -- S6


def test_s6_while_the_vendor_is_late_takings_wait_and_newcomers_come_in(middle: Town) -> None:
    middle.vendor.leave("s1-teacher-000", *GRADUATES)
    middle.vendor.join(Person("new", grade="06"))
    outcome = middle.sync(AUGUST)
    assert (outcome.status, outcome.exit_code) == ("waiting", 0)
    assert middle.archived == set()
    assert middle.standing is None
    assert "new" in middle.active
    # the vendor rolls over three days later: the graduates are explained, the teacher is held
    middle.vendor.roll_over()
    middle.sync("2026-08-14 05:00")
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": {"s1-teacher-000"}}
    assert middle.season_state["waiting"] == []
    assert middle.rows("SELECT * FROM pupils") == []


def test_s6_after_14_days_what_waited_goes_to_the_held_plan(middle: Town) -> None:
    middle.vendor.leave("s1-teacher-000", "s1-g06-0000")
    for day in range(11, 24):
        assert middle.sync(f"2026-08-{day} 05:00").status == "waiting", day
        assert middle.standing is None
    assert middle.sync("2026-08-24 05:00").status == "held"
    assert middle.held() == {"archive": {"s1-teacher-000", "s1-g06-0000"}}
    assert middle.archived == set()


def test_s6_a_school_that_is_late_keeps_no_other_school_waiting(new_town: NewTown) -> None:
    town = new_town(SUMMER)
    town.vendor.schools = {"s1": "Lincoln", "s2": "Grant"}
    town.vendor.join(*classes("s1", g06=9, g07=9, g08=9), *classes("s2", g06=9, g07=9, g08=9))
    town.sync(JUNE)
    first = set(town.vendor.roll_over("s1"))
    town.vendor.leave("s2-g06-0000")
    assert town.sync(AUGUST).status == "waiting"
    assert town.archived == first
    assert len(town.season_state["waiting"]) == 1
    town.sync("2026-08-12 05:00")
    second = set(town.vendor.roll_over("s2"))
    town.sync("2026-08-13 05:00")
    assert town.archived == first | second
    assert town.held() == {"archive": {"s2-g06-0000"}}


def test_s6_grades_of_before_the_pause_are_remembered_while_a_school_waits(middle: Town) -> None:
    """Half of the grades come one day, the rest the next: the first half is not forgotten."""
    middle.vendor.leave("s1-teacher-000")
    middle.sync(AUGUST)
    for n in range(8):
        middle.vendor.change(f"s1-g06-{n:04}", grade="07")
    middle.sync("2026-08-12 05:00")
    assert middle.standing is None
    assert middle.archived == set()
    for n in range(9):
        middle.vendor.change(f"s1-g07-{n:04}", grade="08")
    middle.vendor.leave(*GRADUATES)
    middle.sync("2026-08-13 05:00")
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": {"s1-teacher-000"}}


def test_s6_without_a_pause_a_rollover_after_14_quiet_days_explains_its_graduates(
    new_town: NewTown,
) -> None:
    town = filled(new_town())
    for day in range(1, 30, 4):
        town.sync(f"2026-07-{day:02} 05:00")
    town.vendor.roll_over()
    town.vendor.leave("s1-teacher-000")
    town.sync("2026-08-11 05:00")
    assert town.archived == GRADUATES | {"s1-teacher-000"}  # one teacher of three: within limits
    assert town.standing is None


def test_s6_without_a_pause_and_without_quiet_days_the_limits_judge(new_town: NewTown) -> None:
    town = filled(new_town())
    town.vendor.change("s1-g06-0000", enabled=False)
    town.sync("2026-08-05 05:00")
    town.vendor.roll_over()
    assert town.sync("2026-08-11 05:00").status == "held"
    assert town.held() == {"archive": GRADUATES}


# -- rules that hold in between


def test_a_rejected_guarded_taking_stays_refused_while_its_evidence_is_the_same(
    middle: Town,
) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000")
    middle.sync(AUGUST)
    middle.reject()
    for hour in ("10:00", "14:00"):
        middle.sync(f"2026-08-11 {hour}")
        assert middle.standing is None
        assert "s1-teacher-000" in middle.active


def test_a_person_who_comes_back_leaves_the_held_plan(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000", "s1-teacher-001")
    middle.sync(AUGUST)
    middle.vendor.join(Person("s1-teacher-000", "teacher"))
    middle.sync("2026-08-12 05:00")
    assert middle.held() == {"archive": {"s1-teacher-001"}}
    middle.vendor.join(Person("s1-teacher-001", "teacher"))
    assert middle.sync("2026-08-13 05:00").status in ("applied", "nothing_to_do")
    assert middle.standing is None


def test_what_is_added_to_the_held_plan_later_is_judged_by_the_limits(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000")
    middle.sync(AUGUST)
    middle.vendor.leave("s1-g06-0003")
    middle.sync("2026-08-20 05:00")
    assert middle.archived == GRADUATES | {"s1-g06-0003"}
    assert middle.held() == {"archive": {"s1-teacher-000"}}


def test_a_guarded_suspension_is_held_like_any_other_taking(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.change("s1-teacher-002", enabled=False)
    assert middle.sync(AUGUST).status == "held"
    assert middle.held() == {"suspend": {"s1-teacher-002"}}
    assert middle.with_status("suspended") == set()


def test_s6_after_a_winter_break_the_guard_judges_once_and_then_the_limits_do(
    new_town: NewTown,
) -> None:
    """In January no school rolls over: nobody waits for it, nor needs an approval until summer."""
    town = new_town('[[district.pause]]\nstart = "12-20"\nend = "01-04"\n')
    town.vendor.join(*staff("s1", 3), *classes("s1", g06=20, g07=20, g08=20))
    town.sync("2026-12-18 05:00")
    town.vendor.leave("s1-g06-0000")
    assert town.sync("2027-01-05 05:00").status == "held"
    assert town.held() == {"archive": {"s1-g06-0000"}}
    town.vendor.leave("s1-g06-0001")
    town.sync("2027-01-06 05:00")
    assert town.archived == {"s1-g06-0001"}
    assert town.held() == {"archive": {"s1-g06-0000"}}


def test_s6_a_vendor_that_is_weeks_late_still_explains_its_graduates(middle: Town) -> None:
    middle.vendor.leave("s1-teacher-000")
    for day in ("08-11", "08-24", "08-30"):
        middle.sync(f"2026-{day} 05:00")
    assert middle.held() == {"archive": {"s1-teacher-000"}}
    middle.vendor.roll_over()
    middle.sync("2026-09-01 05:00")
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": {"s1-teacher-000"}}


def test_s6_the_wait_does_not_end_in_a_run_that_was_not_complete(middle: Town) -> None:
    middle.vendor.leave("s1-teacher-000")
    middle.sync(AUGUST)
    middle.vendor.short = True
    middle.sync("2026-08-24 05:00")
    assert middle.season_state["waited_out"] is False
    middle.vendor.short = False
    middle.sync("2026-08-25 05:00")
    assert middle.held() == {"archive": {"s1-teacher-000"}}


def test_the_next_summer_compares_with_the_grades_of_that_june(new_town: NewTown) -> None:
    """What was remembered for a school that never rolled over is of last year."""
    town = new_town(SUMMER)
    town.vendor.join(*staff("s1", 9), *classes("s1", g06=9, g07=9, g08=9))
    town.sync(JUNE)
    town.vendor.leave("s1-teacher-000")
    assert town.sync(AUGUST).status == "waiting"
    town.sync("2026-08-24 05:00")
    town.approve()
    town.vendor.join(*(Person(f"new{n}", grade="08") for n in range(4)))
    town.sync("2027-06-14 05:00")
    graduates = set(town.vendor.roll_over())
    assert len(graduates) == 13
    assert town.sync("2027-08-11 05:00").status == "applied"
    assert town.archived == graduates | {"s1-teacher-000"}


def test_a_run_killed_before_it_applied_leaves_the_guard_for_the_next_one(middle: Town) -> None:
    from core.failpoints import at_failpoints

    class Killed(Exception):
        pass

    def kill(name: str) -> None:
        if name == "apply.plan":
            raise Killed

    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000")
    with pytest.raises(Killed), at_failpoints(kill):
        middle.sync(AUGUST)
    assert middle.archived == set()
    middle.vendor.leave("s1-teacher-001")
    middle.sync("2026-08-11 10:00")
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": TWO_TEACHERS}
