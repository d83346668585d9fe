"""Plans (P1 to P7): what is sealed is what runs, and what stands while it waits.

One file, because the rules P1 to P7 are read beside it in their order.
"""

from __future__ import annotations

import pytest
from sqlalchemy import text

from core.errors import Busy, UsageError
from core.failpoints import at_failpoints
from sync import engine
from sync.engine import sync_district
from tests.kit.fixtures import NewWorld
from tests.kit.world import SLUG, World


@pytest.fixture
def held(make_world: NewWorld) -> World:
    """Thirty students of whom four are gone: the plan that archives them stands."""
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    world.sis.without("st0000", "st0001", "st0002", "st0003")
    world.sync(code=10)
    return world


# -- P1


def test_p1_all_changes_of_one_person_are_in_one_plan(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    for number in range(4):
        world.sis.student(f"st{number:04}", enabled=False, grade="05", given_name="Kim")
    world.sis.student("st0010", grade="06")
    outcome = world.sync(code=10)
    safe, held = outcome.plan_ids
    assert world.actions(safe) == {"update": 1}
    assert world.actions(held) == {"suspend": 4, "update": 4}
    assert {u["given_name"] for u in world.users().values()} == {"Sam"}


def test_p1_there_is_at_most_one_held_plan(held: World) -> None:
    held.sis.without("st0004")
    held.sync(code=10)
    assert held.value("SELECT COUNT(*) FROM plans WHERE status = 'held'") == 1


def test_p1_a_dry_run_changes_no_byte_of_the_user_tables(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30).teachers(3)
    empty = world.dump()
    world.plan()
    assert world.dump() == empty
    world.sync(code=0)
    before, serial = world.dump(), world.value("SELECT serial FROM districts")
    world.sis.without("st0000", "te000", "te001").student("new").student("st0010", grade="06")
    world.sis.school("grant", "Grant Middle").student("st0011", school="grant", enabled=False)
    for _ in range(2):
        outcome = world.plan(full=True)
        assert outcome.exit_code == 10
    assert world.dump() == before
    assert world.value("SELECT serial FROM districts") == serial


def test_p1_a_plan_made_dry_is_applied_as_it_was_sealed(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(5)
    (plan,) = world.plan().plan_ids
    digest = world.plan_row(plan)["digest"]
    assert world.apply(plan).status == "applied"
    assert world.plan_row(plan)["digest"] == digest
    assert world.count() == 5
    assert world.sync(code=0).status == "nothing_to_do"


def test_a_plan_whose_changes_were_written_to_is_refused(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(5)
    (plan,) = world.plan().plan_ids
    with world.database.write() as connection:
        connection.execute(text("UPDATE changes SET reason = 'other' WHERE seq = 2"))
    before = world.dump()
    with pytest.raises(Exception, match="not the ones that were sealed"):
        world.apply(plan)
    assert world.dump() == before


# -- P2


def test_p2_a_raw_change_moves_no_version_and_no_digest(held: World) -> None:
    before = held.rows("SELECT external_id, version FROM records ORDER BY id")
    standing = held.standing()
    for key in held.sis.people:
        held.sis.row(key, touched="2026-10-06")
    held.sync(code=10)
    assert held.rows("SELECT external_id, version FROM records ORDER BY id") == before
    assert held.standing() == standing


def test_p2_a_plan_does_not_mind_that_others_were_applied_since(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(5)
    world.sync(code=0)
    world.sis.student("st0001", grade="05")
    (plan,) = world.plan().plan_ids
    world.edit(world.id_of("st0002") or "", given_name="Kim")
    assert world.apply(plan).status == "applied"
    assert world.user("st0001")["grade"] == "05"


def test_p2_two_dry_runs_of_one_roster_name_the_same_people(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(5)
    first, second = (world.plan(full=True).plan_ids[0] for _ in range(2))
    assert world.changes(first) == world.changes(second)


def test_p2_evidence_that_moved_is_drift(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    world.sis.without("st0000")
    (plan,) = world.plan().plan_ids
    world.sis.student("st0000")
    world.plan()  # nobody was changed, but they are shared again
    before = world.dump()
    outcome = world.apply(plan)
    assert (outcome.status, outcome.exit_code) == ("drifted", 11)
    assert outcome.error is not None
    assert world.user("st0000")["id"] in outcome.error.message
    assert world.dump() == before


def test_p2_a_newcomers_evidence_that_moved_is_drift(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    world.sis.student("new", grade="05")
    (plan,) = world.plan().plan_ids
    world.sis.student("new", grade="06")
    world.plan()
    assert world.apply(plan).status == "drifted"
    assert world.count() == 30


def test_p2_a_key_that_was_linked_meanwhile_is_drift(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    first = world.add("staff", email="pat@springfield.example")
    second = world.add("staff")
    world.sis.teacher("pat", email="pat@springfield.example")
    world.sync(code=0)
    conflict = world.conflicts()[0][0]
    world.resolve(conflict, link=first)
    (plan,) = world.plan().plan_ids
    world.resolve(conflict, link=second)
    world.sync(code=0)
    assert world.id_of("pat") == second
    assert world.apply(plan).status == "drifted"
    assert world.users()[first]["memberships"][0][0] == "staff"


# -- P3


def test_p3_the_same_set_keeps_its_id_and_its_expiry_is_renewed(held: World) -> None:
    plan = held.standing()
    expires = held.plan_row(plan or 0)["expires_at"]
    held.later(days=5)
    held.sync(code=10)
    assert held.standing() == plan
    assert held.plan_row(plan or 0)["expires_at"] > expires


def test_p3_a_different_set_supersedes(held: World) -> None:
    plan = held.standing() or 0
    held.sis.student("st0000")
    held.sis.without("st0004")
    held.sync(code=10)
    assert held.standing() != plan
    row = held.plan_row(plan)
    assert (row["status"], row["superseded_by"]) == ("superseded", held.standing())


def test_p3_nothing_left_to_hold_supersedes_by_none(held: World) -> None:
    plan = held.standing() or 0
    held.sis.students(4)
    held.sync(code=0)
    assert held.standing() is None
    row = held.plan_row(plan)
    assert (row["status"], row["superseded_by"]) == ("superseded", None)


@pytest.mark.parametrize("way", ["cut", "fails", "says_so", "nobody"])
def test_p3_a_run_with_an_incomplete_fetch_leaves_the_held_plan_alone(
    held: World, way: str
) -> None:
    plan = held.standing()
    match way:
        case "cut":
            held.sis.cut(10)
        case "fails":
            held.sis.reads(fails="refused")
        case "says_so":
            held.sis.reads(complete=False)
        case "nobody":
            held.sis.without(*list(held.sis.people))
    held.sync()
    assert held.standing() == plan
    assert held.approve(plan).status == "applied"
    assert held.count("archived") == 4


def test_p3_an_approved_plan_that_waits_to_be_applied_counts_as_the_held_one(
    held: World,
) -> None:
    plan = held.standing() or 0
    assert held.approve(plan, apply=False).status == "planned"
    assert held.count("archived") == 0
    held.sync()
    assert held.standing() == plan
    assert held.plan_row(plan)["status"] == "approved"
    assert held.apply(plan).status == "applied"
    assert held.count("archived") == 4


# -- P4


def test_p4_a_rejection_is_remembered_until_the_evidence_changes(held: World) -> None:
    plan = held.standing() or 0
    held.reject(plan)
    for _ in range(2):
        assert held.sync(code=0).plan_ids == []
    assert held.count() == 30
    held.sis.student("st0000")
    held.sync(code=0)
    held.sis.without("st0000")
    held.sync(code=0)
    assert held.user("st0000")["status"] == "archived"
    assert held.count() == 29, "the other three stay rejected"


# -- P5


def test_p5_approve_releases_and_applies_the_standing_plan(held: World) -> None:
    outcome = held.approve()
    assert (outcome.status, outcome.exit_code) == ("applied", 0)
    assert held.count("archived") == 4
    assert held.intact()


def test_p5_approve_of_a_superseded_plan_applies_nothing_and_names_the_standing_one(
    held: World,
) -> None:
    plan = held.standing() or 0
    held.sis.without("st0004")
    held.sync(code=10)
    before = held.dump()
    outcome = held.approve(plan)
    assert (outcome.exit_code, outcome.plan_ids) == (11, [held.standing()])
    assert outcome.error is not None
    assert "1 changes came to it" in outcome.error.message
    assert held.dump() == before


def test_p5_an_expired_plan_is_not_applied(held: World) -> None:
    plan = held.standing() or 0
    held.later(days=8)
    outcome = held.approve(plan)
    assert (outcome.status, outcome.exit_code) == ("drifted", 11)
    assert held.count("archived") == 0
    held.sync(code=10)
    assert held.standing() not in (None, plan)


def test_p5_on_drift_a_new_plan_without_the_drifted_is_stored(held: World) -> None:
    plan = held.standing() or 0
    user = held.user("st0002")["id"]
    held.edit(user, given_name="Kim")
    before = held.dump()
    outcome = held.approve(plan)
    assert (outcome.status, outcome.exit_code) == ("drifted", 11)
    assert outcome.error is not None
    assert user in outcome.error.message
    assert held.dump() == before
    standing = held.standing()
    assert outcome.plan_ids == [standing]
    assert held.plan_row(plan)["status"] == "drifted"
    assert held.actions(standing) == {"archive": 3}
    assert held.approve(standing).status == "applied"
    assert held.count("archived") == 3
    assert held.intact()


def test_p5_when_everybody_drifted_no_plan_is_left(held: World) -> None:
    plan = held.standing() or 0
    for _, target, _ in held.changes(plan):
        held.edit(target, given_name="Kim")
    outcome = held.approve(plan)
    assert outcome.exit_code == 11
    assert held.standing() is None


def test_p5_apply_of_a_held_plan_is_held_again_nothing_to_do_and_rejected(held: World) -> None:
    plan = held.standing() or 0
    assert held.apply(plan).exit_code == 10
    assert held.count("archived") == 0
    held.approve(plan)
    again = held.apply(plan)
    assert (again.status, again.exit_code) == ("nothing_to_do", 0)
    assert held.approve(plan).status == "nothing_to_do"
    held.sis.without("st0004", "st0005", "st0006", "st0007")
    held.sync(code=10)
    other = held.standing() or 0
    held.reject(other)
    for act in (held.apply, held.approve):
        with pytest.raises(UsageError) as caught:
            act(other)
        assert caught.value.exit_code == 2


# -- P6


def test_p6_approve_waits_for_no_run_and_the_run_plans_again(held: World) -> None:
    """While a run has read and planned, somebody approves: the run finds the drift and replans."""
    plan = held.standing() or 0
    held.sis.student("st0010", grade="05").student("st0011", grade="05")
    done: list[str] = []

    def hook(name: str) -> None:
        if name == "run.read" and not done:
            done.append(name)
            assert held.approve(plan).status == "applied"

    with at_failpoints(hook):
        outcome = sync_district(held.database, SLUG, actor="test", now=held.clock)
    assert outcome.exit_code == 0
    assert held.count("archived") == 4


def test_p6_a_hand_edit_in_the_middle_of_a_run_is_kept_and_replanned(held: World) -> None:
    user = held.user("st0010")["id"]
    held.lock(user, "given_name")
    held.sis.student("st0010", grade="05").student("st0011", grade="05")
    held.save()
    done: list[str] = []

    def hook(name: str) -> None:
        if name == "plan.sealed" and not done:
            done.append(name)
            edited.append(user)

    edited: list[str] = []
    with at_failpoints(hook):
        real = engine._apply

        def late(run: object, plans: object) -> bool:
            if len(done) == 1:
                done.append("edited")
                held.edit(user, given_name="Kim")
            return real(run, plans)  # type: ignore[arg-type]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "_apply", late)
            outcome = sync_district(held.database, SLUG, actor="test", now=held.clock)
    assert outcome.exit_code == 10, "the held plan stands on"
    assert held.user("st0010")["given_name"] == "Kim"
    assert held.user("st0010")["grade"] == held.user("st0011")["grade"] == "05"
    assert held.intact()


# -- P7


def test_p7_user_commands_apply_at_once(make_world: NewWorld) -> None:
    world = make_world()
    user = world.add("staff", given_name="Pat")
    assert world.users()[user]["status"] == "active"
    assert world.value("SELECT kind FROM plans WHERE status = 'applied'") == "hand"
    assert world.intact()


def test_two_runs_of_a_district_never_overlap(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(3)
    world.save()
    caught: list[str] = []

    def hook(name: str) -> None:
        if name == "run.read" and not caught:
            caught.append("")
            with pytest.raises(Busy):
                sync_district(world.database, SLUG, actor="second", now=world.clock)

    with at_failpoints(hook):
        sync_district(world.database, SLUG, actor="first", now=world.clock)
    assert caught
    assert world.count() == 3


# -- S1


def test_s1_in_a_pause_no_plan_of_a_source_runs(held: World) -> None:
    plan = held.standing() or 0
    day = held.now.date().isoformat()
    held.settle(pause=[{"start": day, "end": day}])
    before = held.dump()
    assert held.approve(plan).status == "paused"
    outcome = held.sync(code=0)
    assert (outcome.status, outcome.certificates) == ("paused", {})
    assert held.dump() == before
    user = held.add("staff")
    assert held.users()[user]["status"] == "active", "hand acts work"
    assert held.approve(plan, during_pause=True).status == "applied"
    held.later(days=1)
    assert held.sync(code=0).status == "nothing_to_do", "a pause with an end ends by itself"


# -- the ledger


def test_the_chain_is_broken_by_whoever_writes_to_an_applied_change(held: World) -> None:
    assert held.intact()
    with held.database.write() as connection:
        connection.execute(text("UPDATE changes SET after = '{}' WHERE plan_id = 1 AND seq = 3"))
    assert not held.intact()


def test_the_serials_of_the_feed_follow_one_another(held: World) -> None:
    held.approve()
    held.add("staff")
    rows = held.rows(
        "SELECT p.first_serial + c.seq FROM changes c JOIN plans p ON p.id = c.plan_id"
        " WHERE p.status = 'applied' ORDER BY 1"
    )
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert held.value("SELECT serial FROM districts") == len(rows)
