"""Email domains: a change found in a sync, one rehearsed ahead, and the alias it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.storage.database import Database
from sync.acts import approval, hand_edit
from sync.acts.rename_domain import rename_domain
from sync.acts.undo import undo_run
from sync.views import plans
from tests.kit.town import Town, child


def at(town: Town, domain: str) -> int:
    return sum(user.email.endswith(f"@{domain}") for user in town.users("active") if user.email)


def domains(town: Town, plan_id: int) -> list[tuple[str, str, int]]:
    with town.database.read() as connection:
        moves = plans.plan_by_id(connection, plan_id)["domains"]
    return [(move["from"], move["to"], move["people"]) for move in moves]


def aliases(town: Town) -> dict[str, str]:
    rows = town.ask("SELECT old, new FROM domain_aliases WHERE district_id = :d")
    return {row.old: row.new for row in rows}


def big(database: Database, tmp_path: Path, people: int, *, ids: bool = True) -> Town:
    town = Town(database, tmp_path)
    keys = {} if ids else {"ident": ""}
    town.write(child(n, **keys) for n in range(people))
    town.sync(expect="applied")
    return town


def change(town: Town, people: int, *, ids: bool) -> None:
    """Move everybody to b.example and check that it is one step and nobody is doubled."""
    before = {user.id for user in town.users()}
    keys = {} if ids else {"ident": ""}
    town.write(
        child(n, "b.example", key=f"k{n}" if ids else f"new{n}", **keys) for n in range(people)
    )
    done = town.sync(expect="applied")
    (plan,) = done.plan_ids
    counts = town.counts(plan)
    assert counts["update"] == people
    assert not {"create", "archive"} & counts.keys()
    assert domains(town, plan) == [("a.example", "b.example", people)]
    assert {user.id for user in town.users()} == before
    assert at(town, "b.example") == people
    assert aliases(town) == {"a.example": "b.example"}
    assert town.sync().status == "nothing_to_do"


@pytest.mark.parametrize("ids", [True, False], ids=["stable ids", "no ids"])
def test_c24_all_addresses_move_to_a_new_domain_nobody_is_doubled_or_archived(
    database: Database, tmp_path: Path, ids: bool
) -> None:
    people = 1_000 if database.is_sqlite else 200
    change(big(database, tmp_path, people, ids=ids), people, ids=ids)


@pytest.mark.long
@pytest.mark.parametrize("ids", [True, False], ids=["stable ids", "no ids"])
def test_c24_a_hundred_thousand_addresses_move(
    database: Database, tmp_path: Path, ids: bool
) -> None:
    change(big(database, tmp_path, 100_000, ids=ids), 100_000, ids=ids)


def test_c24_a_partial_change_and_two_domains_at_once(database: Database, tmp_path: Path) -> None:
    town = Town(database, tmp_path)
    domain = ["a.example", "b.example"]
    town.write(child(n, domain[n % 2]) for n in range(40))
    town.sync()
    town.write(
        child(n, (["c.example", "d.example"] if n < 30 else domain)[n % 2]) for n in range(40)
    )
    done = town.sync(expect="applied")
    assert domains(town, done.plan_ids[0]) == [
        ("a.example", "c.example", 15), ("b.example", "d.example", 15),
    ]  # fmt: skip
    assert len(town.users()) == 40
    assert aliases(town) == {"a.example": "c.example", "b.example": "d.example"}


def test_one_person_at_a_new_domain_is_no_change_of_domain(
    database: Database, tmp_path: Path
) -> None:
    town = big(database, tmp_path, 10)
    town.write([child(0, "b.example"), *(child(n) for n in range(1, 10))])
    done = town.sync(expect="applied")
    assert domains(town, done.plan_ids[0]) == []
    assert aliases(town) == {}


def test_the_old_domain_is_an_alias_for_matching(database: Database, tmp_path: Path) -> None:
    town = big(database, tmp_path, 10)
    town.write(child(n, "b.example") for n in range(10))
    town.sync(expect="applied")
    edit = hand_edit.UserEdit(
        {"given_name": "Sub", "family_name": "Stitute", "email": "sub@b.example"}, role="teacher"
    )
    user = hand_edit.add_user(database, town.slug, edit, actor="x", now=town.clock).user_id
    late = child(50, given="Sub", family="Stitute", email="sub@a.example", role="teacher", ident="")
    town.write([*(child(n, "b.example") for n in range(10)), late])
    town.sync(expect="applied")
    assert town.user("k50").id == user


def test_p7_a_rename_is_rehearsed_ahead_and_no_sync_changes_it_back(
    database: Database, tmp_path: Path
) -> None:
    town = big(database, tmp_path, 10)
    locked = town.user("k3").id
    hand_edit.lock_fields(database, town.slug, locked, ["email"], True, actor="x", now=town.clock)
    before = town.state()
    town.tick()
    planned = rename_domain(
        database, town.slug, "a.example", "@B.example", actor="x", now=town.clock
    )
    assert (planned.status, town.state()) == ("planned", before)
    assert town.counts(planned.plan_ids[0]) == {"update": 9, "locked": 1}
    assert domains(town, planned.plan_ids[0]) == [("a.example", "b.example", 9)]
    done = town.apply(planned)
    assert at(town, "b.example") == 9
    assert town.sync().status == "nothing_to_do", "the roster still says the old domain"
    town.write(child(n, "b.example") for n in range(10))
    assert town.sync().status == "nothing_to_do", "and now it says the new one"
    undone = undo_run(database, done.run_id or 0, actor="x", now=town.clock)
    town.apply(undone)
    assert town.state() == before
    assert aliases(town) == {}


def test_p7_a_rename_leaves_whose_new_address_somebody_has(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path)
    town.write([child(1), child(2), child(3, email="g1.f1@b.example")])
    town.sync()
    planned = rename_domain(
        database, town.slug, "a.example", "b.example", actor="x", now=town.clock
    )
    assert planned.left == [town.user("k1").id]
    assert town.counts(planned.plan_ids[0])["update"] == 1


def test_a_stale_rename_says_who_drifted_and_how_to_ask_for_it_again(
    database: Database, tmp_path: Path
) -> None:
    town = big(database, tmp_path, 5)
    (plan,) = rename_domain(
        database, town.slug, "a.example", "b.example", actor="x", now=town.clock
    ).plan_ids
    user = town.users()[0].id
    hand_edit.edit_user(
        database, town.slug, user, hand_edit.UserEdit({"family_name": "Other"}), actor="x",
        now=town.clock,
    )  # fmt: skip
    outcome = approval.apply_plan(database, plan, actor="x", now=town.clock)
    assert outcome.status == "drifted"
    assert outcome.error is not None
    assert user in outcome.error.message
    wanted = f"rostersync rename-domain {town.slug} --from a.example --to b.example"
    assert wanted in str(outcome.error.hint)
    assert f"rostersync show P{plan} --drift" in str(outcome.error.hint)
