"""Vendor switch (C23): all go over at once, keep their ids, and nobody leaves in that step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import UsageError
from core.storage.database import Database
from sync.acts.retire import retire_source
from sync.acts.undo import undo_run
from sync.acts.vendor_switch import switch_source
from sync.ledger.chain import verify
from sync.people.conflicts import resolve
from sync.run.outcome import Outcome
from tests.kit.town import P, Town, child


def switch(town: Town, old: str, new: str) -> Outcome:
    town.tick()
    return switch_source(town.database, town.slug, old, new, actor="x", now=town.clock)


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    town = Town(database, tmp_path, ("sis", "next"))
    town.write([child(n) for n in range(30)])
    town.sync("sis")
    return town


def at_next(numbers: Sequence[int]) -> list[P]:
    return [child(n, key=f"n{n}") for n in numbers]


def test_c23_people_keep_their_ids_and_nobody_is_archived_or_doubled(town: Town) -> None:
    before = town.state()
    ids = {n: town.user(f"k{n}").id for n in range(30)}
    town.write([*at_next(range(28)), child(50, key="n50")], "next")
    planned = switch(town, "sis", "next")
    assert planned.status == "planned"
    assert town.state() == before
    assert town.counts(planned.plan_ids[0]) == {
        "create": 1, "link": 28, "unlink": 28, "update": 28,
    }  # fmt: skip
    report = planned.report or {}
    assert (report["people"], report["matched"], report["weak"], report["lost"]) == (30, 28, 0, 2)
    (school,) = report["schools"]
    assert (school["name"], school["lost"]) == ("Lincoln High", 2)
    done = town.apply(planned)
    assert {n: town.user(f"n{n}", "next").id for n in range(28)} == {n: ids[n] for n in range(28)}
    assert len(town.users("active")) == 31, "lost people stay until the old one is retired"
    assert town.sync().status == "nothing_to_do"
    undone = undo_run(town.database, done.run_id or 0, actor="x", now=town.clock)
    town.apply(undone)
    after = town.state()
    made = after["users"].keys() - before["users"].keys()
    assert [after["users"][user]["status"] for user in made] == ["archived"]
    assert {u: after["users"][u] for u in before["users"]} == before["users"]
    assert {r: after["links"][r] for r in before["links"]} == before["links"]
    assert after["retired"] == before["retired"]


def test_c23_the_old_source_is_then_retired_and_takes_only_the_lost(town: Town) -> None:
    town.write(at_next(range(28)), "next")
    town.apply(switch(town, "sis", "next"))
    town.tick()
    town.apply(retire_source(town.database, town.slug, "sis", actor="x", now=town.clock))
    assert {user.family_name for user in town.users("archived")} == {"Family28", "Family29"}
    town.write([*at_next(range(28)), child(29, key="late")], "next")
    town.sync(expect="applied")
    assert len(town.users()) == 30
    assert verify(town.database, town.slug)["intact"]


def test_c23_whom_a_person_must_decide_is_a_conflict_and_is_not_archived(town: Town) -> None:
    stranger = child(29, key="n29", ident="", given="Other")  # the address of another
    swapped = [
        child(27, key="n27", ident="I28"), child(28, key="n28", ident="I27")
    ]  # fmt: skip
    town.write([*at_next(range(27)), *swapped, stranger], "next")
    planned = switch(town, "sis", "next")
    assert {row.external_id for row in town.conflicts()} == {"n27", "n28", "n29"}
    assert (planned.report or {})["weak"] == 3
    town.apply(planned)
    town.tick()
    retired = retire_source(town.database, town.slug, "sis", actor="x", now=town.clock)
    assert town.counts(retired.plan_ids[0]) == {"conflict": 3}
    town.apply(retired)
    assert len(town.users("active")) == 30
    for conflict in town.conflicts():
        user = town.user(f"k{conflict.external_id[1:]}").id
        resolve(town.database, conflict.id, link=user, new=False, actor="x", now=town.clock)
    town.sync()
    for n in (27, 28, 29):
        assert town.user(f"n{n}", "next").id == town.user(f"k{n}").id
    assert len(town.users()) == 30


def test_a_switch_to_a_roster_that_is_not_whole_changes_nothing(town: Town) -> None:
    town.write([], "next")
    outcome = switch(town, "sis", "next")
    assert (outcome.exit_code, outcome.plan_ids) == (12, [])
    assert len(town.users("active")) == 30


def test_schools_known_by_name_only_are_decided_first(town: Town) -> None:
    orgs = (
        "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\n"
        "d1,,,Town,district,,\ns1,,,Lincoln High,school,,d1\ns2,,,Grant Middle,school,,d1\n"
    )
    town.write(at_next(range(30)), "next", orgs=orgs)
    with pytest.raises(UsageError, match="2 schools"):
        switch(town, "sis", "next")
    rows = town.ask(
        "SELECT id, candidates FROM conflicts WHERE district_id = :d AND kind = 'school'"
    )
    schools = {s.name: s.id for s in town.ask("SELECT id, name FROM schools")}
    assert len(rows) == 2
    for row in rows:
        link = next(s for s in schools.values() if s in str(row.candidates))
        resolve(town.database, row.id, link=link, new=False, actor="x", now=town.clock)
    planned = switch(town, "sis", "next")
    assert town.counts(planned.plan_ids[0])["link"] == 30


def test_a_switch_needs_two_sources_of_the_district(town: Town) -> None:
    for pair in (("sis", "sis"), ("sis", "nobody"), ("nobody", "next")):
        with pytest.raises(UsageError):
            switch(town, *pair)
