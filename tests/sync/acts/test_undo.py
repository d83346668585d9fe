"""Undo (P8): a run's changes are turned round by a plan off the ledger, on both stores."""

from __future__ import annotations

import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import UsageError
from core.storage.database import Database
from sync.acts import hand_edit
from sync.acts.merge import merge_users
from sync.acts.rename_domain import rename_domain
from sync.acts.retire import retire_source
from sync.acts.undo import undo_run
from sync.acts.upload import upload_file
from sync.acts.vendor_switch import switch_source
from sync.ledger.chain import verify
from sync.run.outcome import Outcome
from tests.kit.sizes import examples
from tests.kit.town import P, Town, child


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    town = Town(database, tmp_path)
    town.write([child(n) for n in range(12)])
    town.sync()
    return town


def undo(town: Town, done: Outcome) -> Outcome:
    assert done.run_id is not None
    town.tick()
    planned = undo_run(town.database, done.run_id, actor="test", now=town.clock)
    assert planned.status == "planned", planned
    applied = town.apply(planned)
    applied.left = planned.left
    return applied


def expected(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the state before, with people created since as archived and held by nobody."""
    made = after["users"].keys() - before["users"].keys()
    schools = after["schools"].keys() - before["schools"].keys()
    new = {user: after["users"][user] for user in made}
    assert all(user["status"] == "archived" for user in new.values())
    assert all(after["schools"][school][0] == "archived" for school in schools)
    links = {r: link for r, link in after["links"].items() if link[0] in made | schools}
    assert not any(held for _, held in links.values())
    return {
        "users": before["users"] | new,
        "members": sorted(before["members"] + [m for m in after["members"] if m[0] in made]),
        "links": before["links"] | links,
        "schools": before["schools"] | {s: after["schools"][s] for s in schools},
        "retired": before["retired"],
    }


def test_c31_undo_puts_everybody_back_to_the_state_before_the_run(town: Town) -> None:
    before = town.state()
    people = [child(n) for n in range(1, 12)]
    people[0] = people[0]._replace(family="Newname", school="s2")
    people[1] = people[1]._replace(enabled="false")
    town.write([*people, child(77)])
    done = town.sync(expect="applied")
    assert town.state() != before
    undone = undo(town, done)
    after = town.state()
    assert after == expected(before, after)
    assert town.counts(undone.plan_ids[0]) == {
        "archive": 1, "restore": 1, "unsuspend": 1, "update": 1,
    }  # fmt: skip
    assert verify(town.database, town.slug)["intact"]


def test_p8_the_next_run_does_not_redo_it_but_holds_it_once_and_says_so(town: Town) -> None:
    town.write([child(n) for n in range(1, 12)])
    undo(town, town.sync(expect="applied"))
    assert len(town.users("active")) == 12
    again = town.sync()
    assert again.status == "held"
    (plan,) = town.ask("SELECT held FROM plans WHERE district_id = :d AND standing")
    assert "undone" in str(plan.held)
    assert len(town.users("active")) == 12
    town.approve()
    assert len(town.users("active")) == 11
    assert town.sync().status == "nothing_to_do"


def test_p8_new_evidence_is_no_redo(town: Town) -> None:
    town.write([child(0, family="Newname"), *(child(n) for n in range(1, 12))])
    undo(town, town.sync(expect="applied"))
    town.write([child(0, family="Another"), *(child(n) for n in range(1, 12))])
    assert town.sync().status == "applied"
    assert town.user("k0").family_name == "Another"


def test_p8_people_changed_since_are_listed_and_left(town: Town) -> None:
    people = [child(n, family=f"New{n}") for n in range(2)] + [child(n) for n in range(2, 12)]
    town.write(people)
    done = town.sync(expect="applied")
    edited = town.user("k0").id
    hand_edit.edit_user(
        town.database,
        town.slug,
        edited,
        hand_edit.UserEdit({"username": "mine"}),
        actor="principal",
    )
    undone = undo(town, done)
    assert undone.left == [edited]
    assert town.user("k0").family_name == "New0"
    assert town.user("k1").family_name == "Family1"


def test_p8_undo_of_an_undo_does_it_again_and_the_next_run_finds_nothing(town: Town) -> None:
    town.write([child(0, family="Newname"), *(child(n) for n in range(2, 12)), child(77)])
    done = town.sync(expect="applied")
    after = town.state()
    undone = undo(town, done)
    undo(town, undone)
    assert town.state()["users"].keys() == after["users"].keys()
    assert {u["id"]: u["status"] for u in town.state()["users"].values()} == {
        u["id"]: u["status"] for u in after["users"].values()
    }
    assert town.state()["links"] == after["links"]
    assert town.sync().status == "nothing_to_do"
    third = undo(town, undo(town, undo(town, done_of(town))))
    assert third.status == "applied"


def done_of(town: Town) -> Outcome:
    """Return the last run that applied a plan."""
    (row,) = town.ask(
        "SELECT applied_run_id FROM plans WHERE district_id = :d AND first_serial IS NOT NULL"
        " ORDER BY first_serial DESC LIMIT 1"
    )
    return Outcome(town.slug, "applied", row.applied_run_id)


def test_p8_somebody_created_and_undone_comes_back_with_the_same_id(town: Town) -> None:
    town.write([child(n) for n in range(13)])
    undo(town, town.sync(expect="applied"))
    created = town.user("k12")
    assert created.status == "archived"
    assert town.sync().status == "held"
    town.approve()
    assert town.user("k12").id == created.id
    assert town.user("k12").status == "active"


def test_p8_a_retirement_is_undone(town: Town) -> None:
    before = town.state()
    town.tick()
    done = town.apply(retire_source(town.database, town.slug, "sis", actor="x", now=town.clock))
    assert town.users("active") == []
    undo(town, done)
    assert town.state() == before
    assert town.sync().status == "nothing_to_do"


def test_p8_a_run_that_applied_nothing_and_no_run_at_all_are_refused(town: Town) -> None:
    nothing = town.sync(expect="nothing_to_do")
    with pytest.raises(UsageError, match="applied no plan"):
        undo_run(town.database, nothing.run_id or 0, actor="test")
    with pytest.raises(UsageError, match="no run"):
        undo_run(town.database, 9_999_999, actor="test")


def test_p8_an_undo_that_no_longer_fits_drifts(town: Town) -> None:
    town.write([child(0, family="Newname"), *(child(n) for n in range(1, 12))])
    done = town.sync(expect="applied")
    planned = undo_run(town.database, done.run_id or 0, actor="test", now=town.clock)
    hand_edit.protect_user(town.database, town.slug, town.user("k0").id, True, actor="principal")
    from sync.acts.approval import apply_plan

    outcome = apply_plan(town.database, planned.plan_ids[0], actor="test", now=town.clock)
    assert outcome.status == "drifted"
    assert town.user("k0").family_name == "Newname"


# -- apply, undo, state equal to before: hypothesis decides the plans

_WHO = st.integers(0, 9)
_EDITS = st.one_of(
    st.tuples(st.just("leave"), _WHO),
    st.tuples(st.just("come"), st.integers(10, 14)),
    st.tuples(st.just("rename"), _WHO),
    st.tuples(st.just("move"), _WHO),
    st.tuples(st.just("disable"), _WHO),
    st.tuples(st.just("role"), _WHO),
    st.tuples(st.just("mail"), _WHO),
)
_HAND = st.tuples(
    st.sampled_from(["add", "edit", "archive", "keep", "restore", "protect", "lock", "unlock"]),
    _WHO,
)
_ROUND = st.one_of(
    st.tuples(st.sampled_from(["roster", "upload"]), st.lists(_EDITS, min_size=1, max_size=6)),
    st.tuples(st.just("hand"), _HAND),
    st.tuples(st.just("merge"), st.tuples(_WHO, _WHO)),
    st.tuples(st.sampled_from(["domain", "undone"]), st.none()),
)
_LAST = st.one_of(_ROUND, st.tuples(st.sampled_from(["switch", "retire"]), st.none()))


class _Story:
    """Days of a town, as hypothesis tells them."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.people: dict[int, P] = {n: child(n) for n in range(10)}
        self.town.write(self.people.values())
        self.town.sync("sis")

    def roster(self, edits: list[tuple[str, int]]) -> list[Outcome]:
        """Sync another roster, and release what is held of it: at most two runs that apply."""
        self._edit(edits)
        self.town.write(self.people.values())
        runs = [self.town.sync("sis")]
        if runs[0].status == "held":
            runs.append(self.town.approve())
        return [run for run in runs if self._applied(run)]

    def upload(self, edits: list[tuple[str, int]]) -> list[Outcome]:
        """Upload another roster as a zip, and release what is held of it."""
        self._edit(edits)
        self.town.write(self.people.values())
        file = self.town.folder / "set.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for member in sorted((self.town.folder / "sis").iterdir()):
                archive.write(member, member.name)
        self.town.tick()
        town = self.town
        told = upload_file(town.database, town.slug, file, source="sis", actor="x", now=town.clock)
        runs = [told.outcome] if told.outcome is not None else []
        if runs and runs[0].status == "held":
            runs.append(self.town.approve())
        return [run for run in runs if self._applied(run)]

    def merge(self, two: tuple[int, int]) -> list[Outcome]:
        """Make one of two users, if there are two."""
        users = [self.town.user(f"k{who}") for who in two]
        ids = {user.id for user in users if user is not None and user.merged_into is None}
        if len(ids) < 2:
            return []
        self.town.tick()
        where, about = (self.town.database, self.town.slug), {"now": self.town.clock, "actor": "x"}
        planned = merge_users(*where, *sorted(ids), **about)
        return [self.town.apply(planned)] if planned.plan_ids else []

    def domain(self, _: None) -> list[Outcome]:
        """Move everybody to another domain, or back."""
        self.town.tick()
        at_new = any("@b.example" in (user.email or "") for user in self.town.users())
        old, new = ("b.example", "a.example") if at_new else ("a.example", "b.example")
        planned = rename_domain(
            self.town.database, self.town.slug, old, new, actor="x", now=self.town.clock
        )
        return [self.town.apply(planned)] if planned.plan_ids else []

    def undone(self, _: None) -> list[Outcome]:
        """Undo whatever was applied last."""
        self.town.tick()
        last = done_of(self.town).run_id or 0
        planned = undo_run(self.town.database, last, actor="x", now=self.town.clock)
        return [self.town.apply(planned)] if planned.plan_ids else []

    def switch(self, _: None) -> list[Outcome]:
        """Let another source follow, which has other ids and does not share the last one."""
        shared = list(self.people.values())[:-1]
        self.town.write([one._replace(key=f"n{one.key}") for one in shared], "next")
        self.town.tick()
        planned = switch_source(
            self.town.database, self.town.slug, "sis", "next", actor="x", now=self.town.clock
        )
        return [self.town.apply(planned)] if planned.plan_ids else []

    def _edit(self, edits: list[tuple[str, int]]) -> None:
        for what, who in edits:
            if what == "come":
                self.people[who] = child(who)
            elif who in self.people:
                old = self.people[who]
                match what:
                    case "leave" if len(self.people) > 2:
                        del self.people[who]
                    case "rename":
                        self.people[who] = old._replace(family=old.family + "x")
                    case "move":
                        self.people[who] = old._replace(school="s2" if old.school == "s1" else "s1")
                    case "disable":
                        self.people[who] = old._replace(
                            enabled="true" if old.enabled == "false" else "false"
                        )
                    case "role":
                        self.people[who] = old._replace(role="teacher")
                    case "mail":
                        self.people[who] = old._replace(email=f"x{old.email}")

    def _applied(self, run: Outcome) -> bool:
        asked = "SELECT 1 FROM plans WHERE applied_run_id = :r AND district_id = :d"
        return bool(self.town.ask(asked, r=run.run_id))

    def hand(self, act: tuple[str, int]) -> list[Outcome]:
        what, who = act
        town, about = self.town, {"actor": "principal", "now": self.town.clock}
        town.tick()
        user = town.user(f"k{who}")
        if what == "add":
            edit = hand_edit.UserEdit({"family_name": "Sub", "given_name": "A"}, role="teacher")
            return [hand_edit.add_user(town.database, town.slug, edit, **about)]
        if user is None:
            return []
        where = (town.database, town.slug, user.id)
        match what:
            case "edit":
                edit = hand_edit.UserEdit({"family_name": "Edited"}, role="staff")
                done = hand_edit.edit_user(*where, edit, **about)
            case "archive":
                done = hand_edit.archive_user(*where, **about)
            case "keep":
                until = (town.now + timedelta(days=9)).date()
                done = hand_edit.archive_user(*where, keep=True, until=until, **about)
            case "restore":
                done = hand_edit.restore_user(*where, **about)
            case "protect":
                done = hand_edit.protect_user(*where, True, **about)
            case "lock":
                done = hand_edit.lock_fields(*where, ["family_name", "email"], True, **about)
            case _:
                done = hand_edit.lock_fields(*where, [], False, **about)
        return [done] if done.status == "applied" else []

    def retire(self, _: None) -> list[Outcome]:
        self.town.tick()
        planned = retire_source(
            self.town.database, self.town.slug, "sis", actor="x", now=self.town.clock
        )
        return [self.town.apply(planned)] if planned.plan_ids else []


@settings(max_examples=examples(10, long=200))
@given(rounds=st.lists(_ROUND, max_size=2), last=_LAST)
@example([], ("switch", None))
@example([], ("upload", [("leave", 1), ("come", 10), ("rename", 2)]))
@example([("roster", [("leave", 1), ("come", 10)])], ("undone", None))
@example([], ("merge", (1, 2)))
@example([], ("domain", None))
@example([("hand", ("keep", 0))], ("hand", ("keep", 0)))
def test_p8_apply_then_undo_leaves_the_state_before_whatever_the_plan(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    rounds: list[Any],
    last: tuple[str, Any],
) -> None:
    town = Town(database, tmp_path_factory.mktemp("town"), ("sis", "next"))
    story = _Story(town)
    for kind, about in rounds:
        getattr(story, kind)(about)
    kind, about = last
    before = town.state()
    done = getattr(story, kind)(about)
    changed = town.state()
    undone = [undo(town, run) for run in reversed(done)]
    assert not any(run.left for run in undone)
    after = town.state()
    assert after == expected(before, after)
    for run in reversed(undone):
        undo(town, run)
    again = town.state()
    assert again["links"] == changed["links"]
    assert again["schools"] == changed["schools"]
    assert {u: v["status"] for u, v in again["users"].items()} == {
        u: v["status"] for u, v in changed["users"].items()
    }
    assert verify(town.database, town.slug)["intact"]


def test_an_archive_that_stays_so_is_one_act_and_so_is_its_undo(town: Town) -> None:
    user = town.user("k3").id
    where, about = (town.database, town.slug, user), {"actor": "x", "now": town.clock}
    before = town.state()
    done = hand_edit.archive_user(*where, keep=True, **about)
    assert town.counts(done.plan_ids[0]) == {"archive": 1}
    assert (town.user("k3").status, bool(town.user("k3").kept_archived)) == ("archived", True)
    assert hand_edit.archive_user(*where, keep=True, **about).status == "nothing_to_do"
    undone = undo(town, done)
    assert town.counts(undone.plan_ids[0]) == {"restore": 1}
    assert town.state() == before
