"""In a pause: what a run, a plan and an approval do in it (S1), and additions only (S2)."""

from __future__ import annotations

from sync.acts.approval import apply_plan
from tests.kit.fixtures import NewTown
from tests.kit.school_year import AUGUST, GRADUATES, SUMMER, TWO_TEACHERS, Person, Town, filled


def test_s1_in_a_pause_nothing_is_read_and_nobody_changes(middle: Town) -> None:
    middle.vendor.roll_over()
    asked = middle.vendor.reads
    outcome = middle.sync("2026-06-15 05:00")
    assert (outcome.status, outcome.exit_code) == ("paused", 0)
    assert middle.sync("2026-08-10 19:00").status == "paused"
    assert middle.vendor.reads == asked
    assert middle.archived == set()


def test_s1_a_plan_may_be_made_in_a_pause_and_waits_there(middle: Town) -> None:
    middle.vendor.join(Person("new", grade="06"))
    planned = middle.plan("2026-07-01 05:00")
    assert planned.status == "planned"
    (plan,) = planned.plan_ids
    refused = apply_plan(middle.database, plan, actor="ada", now=middle.clock)
    assert (refused.status, refused.exit_code) == ("paused", 0)
    assert "new" not in middle.active
    done = apply_plan(middle.database, plan, actor="ada", during_pause=True, now=middle.clock)
    assert done.status == "applied"
    assert "new" in middle.active


def test_s1_a_plan_in_a_pause_uses_no_guard_up_and_forgets_nothing(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave(*TWO_TEACHERS)
    middle.sync("2026-06-20 05:00")
    before = middle.season_state
    middle.plan("2026-07-01 05:00")
    middle.plan("2026-08-12 05:00")
    assert middle.season_state == before
    middle.sync("2026-08-12 10:00")
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": TWO_TEACHERS}


def test_s1_one_sync_may_be_asked_for_in_a_pause_and_is_guarded(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000")
    outcome = middle.sync("2026-08-05 05:00", during_pause=True)
    assert outcome.status == "held"
    assert middle.archived == GRADUATES
    assert middle.held() == {"archive": {"s1-teacher-000"}}
    # the guard is not used up by it
    middle.vendor.leave("s1-teacher-001")
    assert middle.sync(AUGUST).status == "held"
    assert middle.held() == {"archive": TWO_TEACHERS}
    assert middle.archived == GRADUATES


def test_s1_a_held_plan_is_not_approved_into_a_pause_unless_asked(middle: Town) -> None:
    middle.vendor.leave(*GRADUATES)
    middle.sync("2026-06-14 05:00")
    standing = middle.standing
    middle.at("2026-06-15 10:00")
    assert middle.approve(standing).status == "paused"
    assert middle.archived == set()
    assert middle.approve(standing, during_pause=True).status == "applied"
    assert middle.archived == GRADUATES


def test_s1_a_plan_made_before_the_pause_takes_nobody_away_in_it_unapproved(
    middle: Town,
) -> None:
    middle.vendor.leave("s1-g06-0000")
    (plan,) = middle.plan("2026-06-14 05:00").plan_ids
    middle.at("2026-06-16 05:00")
    applied = apply_plan(middle.database, plan, actor="ada", during_pause=True, now=middle.clock)
    assert (applied.status, applied.exit_code) == ("held", 10)
    assert middle.archived == set()
    assert middle.approve(plan, during_pause=True).status == "applied"
    assert middle.archived == {"s1-g06-0000"}


def test_s1_a_plan_made_in_a_pause_is_judged_as_guarded(middle: Town) -> None:
    middle.vendor.roll_over()
    middle.vendor.leave("s1-teacher-000")
    middle.plan("2026-08-05 05:00")
    assert middle.held() == {"archive": {"s1-teacher-000"}}


# -- S2


def test_s2_additions_only_lets_people_in_and_nobody_out(new_town: NewTown) -> None:
    town = filled(new_town(SUMMER.replace('end = "08-10"', 'end = "08-10"\nmode="additions_only"')))
    town.vendor.roll_over()
    town.vendor.leave("s1-teacher-000")
    town.vendor.join(Person("new", grade="06"))
    outcome = town.sync("2026-07-01 05:00")
    assert outcome.status == "applied"
    assert "new" in town.active
    assert town.archived == set()
    assert town.standing is None
    town.sync(AUGUST)
    assert town.archived == GRADUATES
    assert town.held() == {"archive": {"s1-teacher-000"}}


def test_s2_somebody_who_left_before_comes_back_in_additions_only(new_town: NewTown) -> None:
    town = filled(new_town(SUMMER.replace('end = "08-10"', 'end = "08-10"\nmode="additions_only"')))
    town.vendor.leave("s1-g06-0001")
    town.sync("2026-06-12 10:00")
    assert town.archived == {"s1-g06-0001"}
    town.vendor.join(Person("s1-g06-0001", grade="06"))
    town.sync("2026-07-01 05:00")
    assert town.archived == set()
