"""Fetches and files (F1 to F10): what a reading proves, and what it does not.

One file, because the rules F1 to F10 are read beside it in their order.
"""

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


@pytest.fixture
def paper(make_world: NewWorld) -> World:
    """Thirty students of a set of files, read and applied."""
    world = make_world(sources={"sis": "board_file"})
    world.sis.students(30)
    world.sync(code=0)
    return world


# -- F1


def test_f1_an_incomplete_fetch_creates_and_updates_and_ends_nothing(thirty: World) -> None:
    thirty.sis.people = {k: v for k, v in thirty.sis.people.items() if k > "st0001"}
    thirty.sis.student("st0002", grade="05").reorder()
    thirty.sis.people = {"new": thirty.sis.student("new").people.pop("new"), **thirty.sis.people}
    thirty.sis.reads(fails="at_end")
    outcome = thirty.sync(code=12)
    assert outcome.status == "incomplete"
    assert thirty.user("new")["status"] == "active"
    assert thirty.user("st0002")["grade"] == "05"
    assert thirty.count() == 31


def test_f1_an_incomplete_fetch_ends_no_role_and_the_next_complete_one_does(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(10)
    both: list[tuple[str, str | None]] = [("teacher", "lincoln"), ("staff", "lincoln")]
    for number in range(5):
        world.sis.person(f"a{number}", memberships=both)
    world.sync(code=0)
    world.sis.teacher("a0", grade="05").reads(fails="at_end")
    world.sync(code=12)
    assert world.user("a0")["grade"] == "05"
    assert {role for role, _, _ in world.user("a0")["memberships"]} == {"staff", "teacher"}
    world.sis.reads()
    world.sync(code=0)
    assert {role for role, _, _ in world.user("a0")["memberships"]} == {"teacher"}


def test_f1_a_role_that_ends_with_a_link_made_in_an_incomplete_run_ends_later(
    make_world: NewWorld,
) -> None:
    world = make_world()
    world.sis.students(10)
    world.sync(code=0)
    user = world.add("staff", email="pat@springfield.example")
    world.sis.teacher("pat", email="pat@springfield.example").reads(fails="at_end")
    world.sync(code=12)
    world.resolve(world.conflicts()[0][0], link=user)
    world.sync(code=12)
    assert {role for role, _, _ in world.user("pat")["memberships"]} == {"staff", "teacher"}
    world.sis.reads()
    world.sync(code=0)
    assert {role for role, _, _ in world.user("pat")["memberships"]} == {"teacher"}


def test_f1_an_incomplete_file_set_changes_nobody(paper: World) -> None:
    before = paper.dump()
    paper.sis.student("new").student("st0002", grade="05").without("st0000")
    paper.sis.reads(complete=False)
    assert paper.sync(code=12).status == "incomplete"
    assert paper.dump() == before
    paper.sis.reads()
    paper.sync(code=0)
    assert (paper.count(), paper.count("archived")) == (30, 1)


def test_f1_nothing_of_an_incomplete_fetch_can_be_approved(thirty: World) -> None:
    thirty.sis.without(*(f"st{n:04}" for n in range(20))).reads(complete=False)
    thirty.sync(code=12)
    assert thirty.standing() is None
    thirty.sync(code=12)
    assert thirty.count() == 30


# -- F2


def test_f2_an_empty_roster_is_incomplete(thirty: World) -> None:
    thirty.sis.without(*list(thirty.sis.people))
    assert thirty.sync(code=12).status == "incomplete"
    assert thirty.count() == 30


def test_f2_a_first_roster_with_nobody_is_incomplete(world: World) -> None:
    assert world.sync(code=12).status == "incomplete"
    assert world.count() == 0


def test_f2_one_role_gone_is_shrunk_and_held(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(30).teachers(4)
    world.sync(code=0)
    world.sis.without("te000", "te001", "te002", "te003")
    assert world.sync(code=10).status == "held"
    assert world.count() == 34


# -- F3


def test_f3_one_of_the_missing_who_answers_makes_the_fetch_incomplete(
    make_world: NewWorld,
) -> None:
    world = make_world(config={"asks_by_id": True})
    world.sis.students(30)
    world.sync(code=0)
    world.sis.without("st0000", "st0001").reads(still_there=["st0001"])
    assert world.sync(code=12).status == "incomplete"
    assert world.count() == 30
    world.sis.reads()
    world.sync(code=0)
    assert world.count() == 28


def test_f3_with_a_declared_total_nobody_is_asked_for(make_world: NewWorld) -> None:
    world = make_world(config={"asks_by_id": True})
    world.sis.students(30)
    world.sync(code=0)
    world.sis.without("st0000").reads(still_there=["st0000"], declared={"people": 29})
    world.sync(code=0)
    assert world.count("archived") == 1


def test_f3_short_of_the_declared_total_is_incomplete(thirty: World) -> None:
    thirty.sis.without("st0000").reads(declared={"people": 30})
    assert thirty.sync(code=12).status == "incomplete"
    assert thirty.count() == 30


# -- F4


@pytest.mark.parametrize("connector", ["board", "board_file"])
def test_f4_tobedeleted_in_a_full_reading_ends_the_hold(
    make_world: NewWorld, connector: str
) -> None:
    world = make_world(sources={"sis": connector})
    world.sis.students(30)
    world.sync(code=0)
    world.sis.row("st0000", deleted=True)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "archived"
    world.sis.row("st0000", deleted=False)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"


def test_f4_limits_apply_to_tobedeleted(thirty: World) -> None:
    for number in range(4):
        thirty.sis.row(f"st{number:04}", deleted=True)
    thirty.sync(code=10)
    assert thirty.count() == 30


def test_f4_tobedeleted_in_an_incomplete_fetch_ends_nothing(thirty: World) -> None:
    thirty.sis.row("st0000", deleted=True).reads(fails="at_end")
    thirty.sync(code=12)
    assert thirty.count() == 30
    thirty.sis.reads()
    thirty.sync(code=0)
    assert thirty.count() == 29


def test_s3_while_its_vendor_is_in_trouble_nobody_leaves_by_its_word_either(thirty: World) -> None:
    thirty.sis.without("st0000").row("st0001", deleted=True).student("st0002", grade="05")
    for state in ("pending", "error"):
        thirty.sis.reads(state=state)
        thirty.sync(code=0)
        assert thirty.count() == 30
    assert thirty.user("st0002")["grade"] == "05"
    thirty.sis.reads()
    thirty.sync(code=0)
    assert thirty.count() == 28


# -- F5


def test_f5_an_unreadable_row_is_not_absence_and_its_person_stays(thirty: World) -> None:
    thirty.sis.row("st0003", broken=True).student("st0004", grade="05")
    before = thirty.user("st0003")
    assert thirty.sync(code=0).status == "applied"
    assert thirty.user("st0003") == before
    assert thirty.findings() == [(None, "role", "torn")]
    thirty.sync(code=0)
    assert thirty.findings() == [(None, "role", "torn")], "reported at each reading"


def test_f5_while_a_key_cannot_be_read_nobody_leaves(thirty: World) -> None:
    thirty.sis.row("st0003", keyless=True).without("st0000").student("new")
    outcome = thirty.sync(code=12)
    assert outcome.status == "partial"
    assert thirty.count() == 31
    thirty.sis.row("st0003", keyless=False)
    thirty.sync(code=0)
    assert thirty.user("st0000")["status"] == "archived"
    assert thirty.count() == 30


# -- F6


def test_f6_a_role_of_which_the_file_has_nobody_is_out_of_scope(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board_file"}, config={"scoped": True})
    world.sis.students(30).teachers(4)
    world.sync(code=0)
    world.sis.without("te000", "te001", "te002", "te003", "st0000")
    world.sync(code=0)
    assert {k for k, s in world.statuses().items() if s == "archived"} == {"st0000"}


def test_f6_a_role_with_less_than_half_has_all_its_missing_held(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board_file"}, config={"scoped": True})
    world.sis.students(30).teachers(3)
    world.sync(code=0)
    world.sis.without("te000", "te001")
    world.sync(code=10)
    assert "shrunk_role" in world.limits()
    assert world.count() == 33


def test_f6_whoever_has_another_role_now_is_there_in_that_one(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board_file"}, config={"scoped": True})
    world.sis.students(30).teachers(2).person("ad000", "admin").person("ad001", "admin")
    world.sync(code=0)
    world.sis.without("te000", "ad000").person("te001", "admin")
    world.sync()
    assert world.user("te001")["memberships"] == [("admin", "Lincoln High", True)]
    assert world.user("te000")["status"] == "active"  # the file has no teacher any more
    assert world.user("ad000")["status"] == "archived"


def test_f6_a_role_has_shrunk_though_those_who_are_left_of_it_have_another_key(
    make_world: NewWorld,
) -> None:
    world = make_world(sources={"sis": "board_file"}, config={"scoped": True})
    world.sis.students(30).teachers(5)
    world.sync(code=0)
    world.sis.without("te000", "te001", "te002", "te003", "te004")
    for number in (3, 4):
        world.sis.teacher(f"key{number}", family_name=f"Of te{number:03}")
        world.sis.row(f"key{number}", former=[f"te{number:03}"])
    world.sync(code=10)
    assert "shrunk_role" in world.limits()


def test_f6_a_file_speaks_for_its_scope_roles(make_world: NewWorld) -> None:
    world = make_world(
        sources={"sis": "board_file"}, config={"scoped": True, "scope_roles": ["teacher"]}
    )
    world.sis.students(30).teachers(10)
    world.sync(code=0)
    world.sis.without("st0000", "te000")
    world.sync(code=0)
    assert {k for k, s in world.statuses().items() if s == "archived"} == {"te000"}


# -- F8


def test_f8_a_source_that_fails_freezes_only_whom_it_alone_holds(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board", "second": "board"})
    world.sis.students(20)
    for number in range(20):
        world.second.student(f"x{number:03}")
    world.sync(code=0)
    world.sis.without("st0000").student("st0001", grade="05")
    world.second.without("x000").reads(fails="refused")
    outcome = world.sync()
    assert (outcome.status, outcome.exit_code) == ("partial", 14)
    assert world.user("st0000")["status"] == "archived"
    assert world.user("st0001")["grade"] == "05"
    assert world.user("x000", "second")["status"] == "active"


def test_f8_who_is_shared_by_a_failed_and_a_good_source_is_kept(make_world: NewWorld) -> None:
    """Gone from the good source, still held by the one that failed: nobody leaves."""
    world = make_world(sources={"sis": "board", "second": "board"})
    for roster in (world.sis, world.second):
        roster.school("lincoln", "Lincoln High", nces_id="1")
    world.sis.students(20).student("both", email="both@springfield.example")
    world.second.students(20, start=100)
    world.sync(code=0)
    world.second.student("x", email="both@springfield.example")
    world.sync(code=0)
    world.resolve(world.conflicts()[0][0], link=world.id_of("both"))
    world.sync(code=0)
    assert world.id_of("x", "second") == world.id_of("both")
    world.sis.without("both")
    world.second.reads(fails="refused")
    world.sync()
    assert world.user("both")["status"] == "active"


# -- F9


def test_f9_an_address_outside_the_domains_is_skipped_and_the_person_stays(
    make_world: NewWorld,
) -> None:
    world = make_world(sources={"sis": "board_file"}, email_domains=["springfield.example"])
    world.sis.students(20).student("ana", email="ana@springfield.example")
    world.sync(code=0)
    world.sis.student("ana", email="ana@else.example").student("bo", email="bo@else.example")
    world.sync(code=0)
    assert world.user("ana")["email"] == "ana@springfield.example"
    assert world.id_of("bo") is None
    assert [rule for _, _, rule in world.findings()] == ["email-domain"] * 2


def test_f9_a_new_key_that_names_the_former_one_keeps_the_user(make_world: NewWorld) -> None:
    world = make_world(sources={"sis": "board_file"})
    world.sis.students(20).student("ana@x", email="ana@springfield.example")
    world.sync(code=0)
    user = world.id_of("ana@x")
    world.sis.without("ana@x").student("77", email="ana@springfield.example", family_name="Of a")
    world.sis.row("77", former=["ana@x"])
    world.sync(code=0)
    assert world.id_of("77") == user
    assert world.count() == 21


# -- F10


def test_f10_narrowing_is_not_leaving(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.school("grant", "Grant Middle").students(10).students(3, start=10, school="grant")
    world.sync(code=0)
    world.reconfigure(schools=["lincoln"])
    world.sync(code=10)
    assert "leaves_scope" in world.limits()
    assert world.actions(world.standing()) == {"leaves_scope": 3}
    assert world.count() == 13
    world.reconfigure(schools=[])
    world.sync(code=0)
    assert (world.count(), world.standing()) == (13, None)


def test_f10_removing_a_source_changes_nobody(make_world: NewWorld) -> None:
    from sqlalchemy import text

    world = make_world(sources={"sis": "board", "second": "board"})
    world.sis.students(5)
    world.second.student("x")
    world.sync(code=0)
    with world.database.write() as connection:
        connection.execute(text("UPDATE sources SET configured = FALSE WHERE name = 'second'"))
    before = world.dump()
    assert world.sync(code=0).status == "nothing_to_do"
    assert world.dump() == before


# -- the fast path


def test_an_unchanged_roster_is_not_parsed(thirty: World) -> None:
    thirty.sync(code=0)
    assert thirty.parsed() == 0
    thirty.sis.student("st0004", grade="05")
    thirty.sync(code=0)
    assert thirty.parsed() == 1


def test_another_order_is_nothing_to_do(thirty: World) -> None:
    thirty.sis.reorder()
    assert thirty.sync(code=0).status == "nothing_to_do"
    assert thirty.parsed() == 0


def test_the_vendors_nothing_new_skips_only_the_fetch(thirty: World) -> None:
    thirty.sis.reads(revision="r1")
    thirty.sync(code=0)
    user = thirty.user("st0004")["id"]
    thirty.edit(user, given_name="Kim")
    thirty.sync(code=0)
    assert thirty.user("st0004")["given_name"] == "Sam", "a hand edit is open all the same"


def test_of_two_who_name_one_former_key_one_is_who_it_was(thirty: World) -> None:
    before = thirty.id_of("st0004")
    thirty.sis.without("st0004")
    for key in ("st0900", "st0901"):
        thirty.sis.student(key).row(key, former=["st0004"])
    thirty.sync(code=0)
    assert [thirty.id_of(key) for key in ("st0900", "st0901")].count(before) == 1
    assert thirty.count() == 31
