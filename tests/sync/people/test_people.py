"""People (I1 to I5) and the rules that never bend: ids, protection, locks, conflicts."""

from __future__ import annotations

import pytest

from tests.kit.fixtures import NewWorld
from tests.kit.world import World


@pytest.fixture
def thirty(make_world: NewWorld) -> World:
    """Thirty students, read and applied."""
    world = make_world()
    world.sis.students(30)
    world.sync(code=0)
    return world


# -- rules 4 and 5


def test_who_returns_keeps_id_and_history(thirty: World) -> None:
    user = thirty.id_of("st0000")
    thirty.sis.without("st0000")
    thirty.sync(code=0)
    thirty.later(days=300)
    thirty.sis.student("st0000", given_name="Kim")
    thirty.sync(code=0)
    assert thirty.id_of("st0000") == user
    assert (thirty.user("st0000")["status"], thirty.user("st0000")["given_name"]) == (
        "active",
        "Kim",
    )
    reasons = [
        row[0]
        for row in thirty.rows(
            "SELECT c.reason FROM changes c JOIN plans p ON p.id = c.plan_id"
            " WHERE c.target_id = :user AND p.status = 'applied' ORDER BY p.first_serial + c.seq",
            user=user,
        )
    ]
    assert reasons[:3] == ["new_in_source", "absent", "returned"]


def test_who_returns_disabled_comes_back_suspended(thirty: World) -> None:
    thirty.sis.without("st0000")
    thirty.sync(code=0)
    thirty.sis.student("st0000", enabled=False)
    thirty.sync(code=0)
    assert thirty.user("st0000")["status"] == "suspended"
    thirty.sis.student("st0000", enabled=True)
    thirty.sync(code=0)
    assert thirty.user("st0000")["status"] == "active"


def test_somebody_suspended_who_leaves_is_archived(thirty: World) -> None:
    thirty.sis.student("st0000", enabled=False)
    thirty.sync(code=0)
    thirty.sis.without("st0000")
    thirty.sync(code=0)
    assert thirty.user("st0000")["status"] == "archived"


def test_whom_no_source_ever_held_no_run_archives(thirty: World) -> None:
    user = thirty.add("staff")
    thirty.protect(user, False)
    for _ in range(3):
        thirty.later(days=200)
        thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "active"


def test_a_protected_user_stays_when_their_source_drops_them(thirty: World) -> None:
    user = thirty.user("st0000")["id"]
    thirty.protect(user)
    thirty.sis.without("st0000")
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "active"
    thirty.protect(user, False)
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "archived", "lifted: nothing holds them"


def test_grace_keeps_who_left_for_days_and_complete_fetches(make_world: NewWorld) -> None:
    world = make_world(grace={"days": 3, "fetches": 2})
    world.sis.students(30)
    world.sync(code=0)
    world.sis.without("st0000")
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"
    world.later(days=4)
    world.sis.reads(complete=False)
    world.sync(code=12)
    assert world.user("st0000")["status"] == "active", "days alone do not end it"
    world.sis.reads()
    world.sync(code=0)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "archived"


def test_who_returns_in_grace_has_never_left(make_world: NewWorld) -> None:
    world = make_world(grace={"days": 3, "fetches": 1})
    world.sis.students(30)
    world.sync(code=0)
    world.sis.without("st0000")
    world.sync(code=0)
    world.later(days=2)
    world.sis.student("st0000")
    world.sync(code=0)
    world.later(days=9)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"


# -- rule 6, I5


def test_i5_a_new_record_with_another_users_email_is_a_conflict(thirty: World) -> None:
    user = thirty.add("staff", email="pat@springfield.example")
    thirty.sis.teacher("pat", email="PAT@springfield.example")
    thirty.sync(code=0)
    assert thirty.id_of("pat") is None
    ((_, key, reason, candidates),) = thirty.conflicts()
    assert (key, reason, candidates) == ("pat", "email_of_another", [user])
    thirty.sync(code=0)
    assert len(thirty.conflicts()) == 1


def test_i5_two_newcomers_of_two_sources_with_one_address_are_a_conflict(
    make_world: NewWorld,
) -> None:
    world = make_world(sources={"sis": "board", "second": "board"})
    world.sis.teacher("a", email="pat@springfield.example")
    world.second.teacher("b", email="pat@springfield.example")
    world.sync()
    assert world.count() == 1
    assert [(key, reason) for _, key, reason, _ in world.conflicts()] == [("b", "email_of_another")]


def test_i5_a_leaver_named_in_an_open_conflict_is_not_archived(thirty: World) -> None:
    thirty.sis.student("st0000", email="ana@springfield.example", given_name="Ana")
    thirty.sync(code=0)
    thirty.sis.student(
        "other", email="ana@springfield.example", given_name="Ana", family_name="Else"
    )
    thirty.sync(code=0)
    thirty.sis.without("st0000")
    for _ in range(2):
        thirty.sync(code=0)
    assert thirty.user("st0000")["status"] == "active"
    thirty.resolve(thirty.conflicts()[0][0], new=True)
    thirty.sync()
    assert thirty.user("other")["status"] == "active"
    assert thirty.user("st0000")["status"] == "archived"


def test_i5_entries_of_one_person_join_by_person_key(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(20)
    world.sis.person("p-t", "teacher", person_key="master:1")
    world.sis.person("p-s", "staff", person_key="master:1")
    world.sync(code=0)
    assert world.id_of("p-t") == world.id_of("p-s")
    assert {role for role, _, _ in world.user("p-t")["memberships"]} == {"staff", "teacher"}
    world.sis.without("p-s")
    world.sync(code=0)
    assert world.user("p-t")["status"] == "active"
    assert {role for role, _, _ in world.user("p-t")["memberships"]} == {"teacher"}
    world.sis.person("p-n", "admin", person_key="master:1")
    world.sync(code=0)
    assert world.id_of("p-n") == world.id_of("p-t")
    assert world.count() == 21


def test_i5_the_same_email_within_a_source_does_not_join_newcomers(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.teacher("a", email="pat@springfield.example")
    world.sync(code=0)
    world.sis.teacher("b", email="pat@springfield.example")
    world.sync(code=0)
    assert world.id_of("b") is None
    assert len(world.conflicts()) == 1


# -- I1 to I4


def test_i1_a_restored_user_whom_no_source_holds_is_protected(thirty: World) -> None:
    thirty.sis.without("st0000")
    thirty.sync(code=0)
    user = thirty.user("st0000")["id"]
    thirty.restore(user)
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "active"
    assert thirty.users()[user]["protected"]


def test_i1_with_no_protect_the_next_run_archives_them_again(thirty: World) -> None:
    thirty.sis.without("st0000")
    thirty.sync(code=0)
    user = thirty.user("st0000")["id"]
    thirty.restore(user, protect=False)
    assert thirty.users()[user]["status"] == "active"
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "archived"


def test_i2_a_manually_archived_user_who_is_shared_returns(thirty: World) -> None:
    user = thirty.user("st0000")["id"]
    thirty.archive(user)
    assert thirty.users()[user]["status"] == "archived"
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "active"


def test_i2_with_keep_they_stay_archived_until_a_person_restores_them(thirty: World) -> None:
    user = thirty.user("st0000")["id"]
    thirty.archive(user, keep=True)
    for _ in range(2):
        thirty.sis.student("st0000", grade=f"0{_ + 1}")
        thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "archived"
    thirty.restore(user)
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "active"
    assert thirty.users()[user]["grade"] == "02"


def test_i2_keep_until_a_day_ends_by_itself(thirty: World) -> None:
    user = thirty.user("st0000")["id"]
    thirty.archive(user, keep=True, until=(thirty.now).date().replace(day=10))
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "archived"
    thirty.later(days=10)
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "active"


def test_i3_an_edit_is_overwritten_unless_its_field_is_locked(thirty: World) -> None:
    user = thirty.user("st0000")["id"]
    thirty.edit(user, given_name="Kim", grade="07")
    thirty.lock(user, "grade")
    thirty.sync(code=0)
    assert (thirty.users()[user]["given_name"], thirty.users()[user]["grade"]) == ("Sam", "07")
    thirty.sis.student("st0000", grade="03")
    thirty.sync(code=0)
    assert thirty.users()[user]["grade"] == "07"
    thirty.lock(user, "grade", locked=False)
    thirty.sync(code=0)
    assert thirty.users()[user]["grade"] == "03"


def test_i3_editing_the_role_locks_it(thirty: World) -> None:
    user = thirty.user("st0000")["id"]
    thirty.edit(user, role="staff")
    for _ in range(2):
        thirty.sync(code=0)
    assert thirty.users()[user]["memberships"] == [("staff", "Lincoln High", True)]
    assert thirty.users()[user]["locked_fields"] == ["role"]


def test_i4_a_linked_manual_user_keeps_origin_and_protection(thirty: World) -> None:
    user = thirty.add("staff", email="pat@springfield.example")
    thirty.sis.teacher("pat", email="pat@springfield.example")
    thirty.sync(code=0)
    thirty.resolve(thirty.conflicts()[0][0], link=user)
    thirty.sync(code=0)
    assert thirty.id_of("pat") == user
    assert thirty.users()[user]["origin"] == "manual"
    assert thirty.users()[user]["protected"]
    thirty.sis.without("pat")
    thirty.sync(code=0)
    assert thirty.users()[user]["status"] == "active"


# -- two sources


@pytest.fixture
def shared(make_world: NewWorld) -> World:
    """Somebody whom two sources share, among others."""
    world = make_world(sources={"sis": "board", "second": "board"})
    for roster in (world.sis, world.second):
        roster.school("lincoln", "Lincoln High", nces_id="1")
    world.sis.students(20).teacher("a", email="pat@springfield.example", username="first")
    world.second.students(20, start=100)
    world.sync(code=0)
    world.second.teacher("b", email="pat@springfield.example", username="second", sis_id="9")
    world.sync(code=0)
    world.resolve(world.conflicts()[0][0], link=world.id_of("a"))
    world.sync(code=0)
    assert world.id_of("a") == world.id_of("b", "second")
    return world


def test_field_by_field_the_first_source_that_says_something_wins(shared: World) -> None:
    assert (shared.user("a")["username"], shared.user("a")["sis_id"]) == ("first", "9")
    shared.sis.teacher("a", username=None)
    shared.sync(code=0)
    assert shared.user("a")["username"] == "second"


def test_absence_from_one_source_ends_only_that_hold(shared: World) -> None:
    shared.sis.without("a")
    shared.sync(code=0)
    assert shared.user("a")["status"] == "active"
    assert shared.user("a")["username"] == "second"
    shared.second.without("b")
    shared.sync(code=0)
    assert shared.user("a")["status"] == "archived"


def test_a_school_that_two_sources_name_is_one_school(shared: World) -> None:
    assert shared.value("SELECT COUNT(*) FROM schools") == 1


# -- schools


def test_a_school_that_is_gone_is_archived_and_its_people_are_not_touched(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.school("grant", "Grant Middle").students(10)
    world.sync(code=0)
    del world.sis.schools["grant"]
    world.sync(code=0)
    assert dict(world.rows("SELECT name, status FROM schools")) == {
        "Lincoln High": "active", "Grant Middle": "archived",
    }  # fmt: skip
    world.sis.school("grant", "Grant Middle School")
    world.sync(code=0)
    assert dict(world.rows("SELECT name, status FROM schools")) == {
        "Lincoln High": "active", "Grant Middle School": "active",
    }  # fmt: skip


def test_a_school_of_only_the_same_name_waits_for_a_person(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board", "second": "board"})
    world.sis.students(10)
    world.second.students(10, start=100)
    world.sync(code=0)
    assert world.value("SELECT COUNT(*) FROM schools") == 1
    conflict = world.value("SELECT id FROM conflicts WHERE kind = 'school' AND status = 'open'")
    assert world.user("st0100", "second")["memberships"] == [("student", "", False)]
    world.resolve(conflict, link=world.value("SELECT id FROM schools"))
    world.sync(code=0)
    assert world.user("st0100", "second")["memberships"] == [("student", "Lincoln High", True)]
