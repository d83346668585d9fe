"""I13: an id that suddenly speaks of somebody else is asked about, and nobody is changed meanwhile.

The property tests reuse ids in every way that a source can: for another child, of an archived
pupil, swapped between two, handed on in a ring, beside people who only change their names.

One file, because every story here is about the same question and its answers.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from sync.acts.approval import approve_plan
from sync.acts.undo import undo_run
from sync.people.conflicts import resolve
from tests.kit.sizes import examples
from tests.kit.town import P, Town
from tests.kit.town import child as town_child

ZOE = {
    "given": "Zoe", "family": "Zimmer", "email": "zoe.zimmer@a.example", "ident": "N900",
    "login": "zoe",
}  # fmt: skip


def child(number: int, **more: Any) -> P:
    """Return one of the students, with a login of their own whatever their id."""
    return town_child(number, **({"login": f"user{number}"} | more))


def other(number: int) -> P:
    """Return somebody new who has the address and the number of one of the students."""
    return child(500 + number, key=f"n{number}", ident=f"I{number}",
                 email=f"g{number}.f{number}@a.example")  # fmt: skip


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    town = Town(database, tmp_path)
    town.write(roster())
    town.sync(expect="applied")
    return town


def roster(*changed: P, without: tuple[str, ...] = (), many: int = 12) -> list[P]:
    """Return a school, some of whose rows say something else."""
    rows = {row.key: row for row in (*(child(n) for n in range(many)), *changed)}
    return [row for key, row in rows.items() if key not in without]


def asked(town: Town) -> list[tuple[str, str]]:
    return [(row.external_id, row.reason) for row in town.conflicts()]


def decide(town: Town, **decision: Any) -> None:
    (conflict,) = town.conflicts()
    values = {"link": None, "new": False} | decision
    resolve(town.database, conflict.id, actor="principal", now=town.clock, **values)


def test_a_reused_id_is_asked_about_and_nobody_is_changed(town: Town) -> None:
    before = town.state()
    town.write(roster(child(3, **ZOE)))
    done = town.sync()
    assert town.state() == before
    assert done.plan_ids == []
    assert asked(town) == [("k3", "reused_id")]
    town.sync()
    assert (town.state(), asked(town)) == (before, [("k3", "reused_id")]), "it is asked once"


def test_nobody_asked_about_is_archived_meanwhile(town: Town) -> None:
    user = town.user("k3").id
    town.write(roster(child(3, **ZOE)))
    town.sync()
    town.write(roster(without=("k3",)))
    town.sync()
    assert {row.id: row.status for row in town.users()}[user] == "active"
    town.sync()
    assert {row.id: row.status for row in town.users()}[user] == "archived", "the id is gone"
    assert town.conflicts() == []


def test_an_id_that_says_again_what_it_said_is_no_question_any_more(town: Town) -> None:
    before = town.state()
    town.write(roster(child(3, **ZOE)))
    town.sync()
    town.write(roster())
    town.sync()
    assert (town.conflicts(), town.state()) == ([], before)
    assert town.sync().status == "nothing_to_do"


def test_resolve_link_is_a_change_of_name(town: Town) -> None:
    user = town.user("k3").id
    town.write(roster(child(3, **ZOE)))
    town.sync()
    decide(town, link=user)
    town.sync(expect="applied")
    now = town.user("k3")
    assert (now.id, now.given_name, now.family_name) == (user, "Zoe", "Zimmer")
    assert len(town.users()) == 12
    assert town.sync().status == "nothing_to_do"


def test_resolve_new_archives_the_old_one_and_creates_the_new_one(town: Town) -> None:
    old = town.user("k3").id
    town.write(roster(child(3, **ZOE)))
    town.sync()
    decide(town, new=True)
    town.sync(expect="applied")
    users = {row.id: row for row in town.users()}
    assert (users[old].status, users[old].given_name) == ("archived", "Given3")
    now = town.user("k3")
    assert (now.id != old, now.status, now.given_name) == (True, "active", "Zoe")
    assert len(users) == 13
    assert town.sync().status == "nothing_to_do"


def test_the_id_of_an_archived_pupil_is_asked_about_too(town: Town) -> None:
    old = town.user("k3").id
    town.write(roster(without=("k3",)))
    town.sync(expect="applied")
    town.write(roster(child(3, **ZOE)))
    town.sync()
    assert asked(town) == [("k3", "reused_id")]
    assert town.user("k3").status == "archived"
    decide(town, new=True)
    town.sync(expect="applied")
    assert {row.id: row.status for row in town.users()}[old] == "archived"
    assert town.user("k3").status == "active"
    assert town.ask(
        "SELECT l.held FROM links l WHERE l.target_id = :user", user=town.user("k3").id
    )[0].held
    town.write(roster(child(3, **ZOE, grade="10")))
    town.sync(expect="applied")
    assert town.user("k3").grade == "10", "the new one follows the record"


def test_two_swapped_ids_are_one_question_and_one_answer(town: Town) -> None:
    three, four = town.user("k3").id, town.user("k4").id
    before = {row.id: row.given_name for row in town.users()}
    town.write(roster(child(4, key="k3"), child(3, key="k4")))
    town.sync()
    assert asked(town) == [("k3", "reused_id")]
    decide(town, link=four)
    town.sync(expect="applied")
    assert (town.user("k3").id, town.user("k4").id) == (four, three)
    assert {row.id: row.given_name for row in town.users()} == before, "nobody's name changed"
    assert {row.status for row in town.users()} == {"active"}
    assert town.sync().status == "nothing_to_do"


def test_two_swapped_ids_may_be_two_changes_of_name(town: Town) -> None:
    three, four = town.user("k3").id, town.user("k4").id
    town.write(roster(child(4, key="k3"), child(3, key="k4")))
    town.sync()
    decide(town, link=three)
    town.sync(expect="applied")
    assert (town.user("k3").id, town.user("k4").id) == (three, four)
    assert town.user("k3").given_name == "Given4"
    assert (town.conflicts(), town.sync().status) == ([], "nothing_to_do")


def test_a_reused_id_may_be_given_to_somebody_known(town: Town) -> None:
    three, five = town.user("k3").id, town.user("k5").id
    town.write(roster(child(3, **ZOE)))
    town.sync()
    decide(town, link=five)
    town.sync()
    users = {row.id: row.status for row in town.users()}
    assert (town.user("k3").id, users[three], users[five]) == (five, "archived", "active")
    assert town.sync().status == "nothing_to_do"


def test_undo_of_a_decided_reuse_puts_both_back(town: Town) -> None:
    before = town.state()
    old = town.user("k3").id
    town.write(roster(child(3, **ZOE)))
    town.sync()
    decide(town, new=True)
    done = town.sync(expect="applied")
    town.apply(undo_run(town.database, done.run_id or 0, actor="x", now=town.clock))
    assert town.user("k3").id == old
    after = town.state()
    new = set(after["users"]) - set(before["users"])
    assert {after["users"].pop(user)["status"] for user in new} == {"archived"}
    after["members"] = [row for row in after["members"] if row[0] not in new]
    assert after == before


def test_undo_of_swapped_records_puts_both_back(town: Town) -> None:
    before, four = town.state(), town.user("k4").id
    town.write(roster(child(4, key="k3"), child(3, key="k4")))
    town.sync()
    decide(town, link=four)
    done = town.sync(expect="applied")
    town.apply(undo_run(town.database, done.run_id or 0, actor="x", now=town.clock))
    assert town.state() == before


@pytest.mark.parametrize(
    "same",
    [
        {"given": "Given3"}, {"family": "Family3"}, {"email": "g3.f3@a.example"}, {"ident": "I3"},
        {"email": "G3.F3@A.EXAMPLE"}, {"family": "given3"}, {"login": "USER3"},
    ],
    ids=str,
)  # fmt: skip
def test_whoever_keeps_a_name_an_address_or_a_number_is_the_same_person(
    town: Town, same: dict[str, str]
) -> None:
    user = town.user("k3").id
    town.write(roster(child(3, **(ZOE | same))))
    town.sync(expect="applied")
    assert (town.user("k3").id, town.conflicts()) == (user, [])


def test_a_protected_user_stays_when_their_id_is_given_to_somebody_new(town: Town) -> None:
    from sync.acts.hand_edit import protect_user

    old = town.user("k3").id
    protect_user(town.database, town.slug, old, True, actor="x", now=town.clock)
    town.write(roster(child(3, **ZOE)))
    town.sync()
    decide(town, new=True)
    town.sync(expect="applied")
    assert {row.id: row.status for row in town.users()}[old] == "active"
    assert town.user("k3").id != old


def test_whom_another_source_holds_stays_when_their_id_is_reused(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path, ("sis", "second"))
    town.write(roster())
    town.write(roster(), "second")
    town.sync(expect="applied")
    old = town.user("k3").id
    assert town.user("k3", "second").id == old
    town.write(roster(child(3, **ZOE)))
    town.sync()
    assert asked(town) == [("k3", "reused_id")]
    decide(town, new=True)
    town.sync()
    assert {row.id: row.status for row in town.users()}[old] == "active"
    assert (town.user("k3").id != old, town.user("k3", "second").id) == (True, old)


# -- a vendor that names everybody anew (L10)


def wrong(number: int, **kept: str) -> P:
    """Return a row that has nothing in common with the student's, but for what is kept."""
    said = {
        "given": "X",
        "family": f"Wrong{number}",
        "email": "",
        "ident": "",
        "login": f"w{number}",
    }
    return child(number, **(said | kept))


def test_of_all_who_are_named_anew_only_the_one_that_a_person_said_is_archived(town: Town) -> None:
    before, three = town.state(), town.user("k3").id
    town.write(wrong(number) for number in range(12))
    assert (town.sync().plan_ids, town.state()) == ([], before)
    assert sorted(asked(town)) == sorted((f"k{number}", "reused_id") for number in range(12))
    (conflict,) = (one.id for one in town.conflicts() if one.external_id == "k3")
    resolve(town.database, conflict, link=None, new=True, actor="principal", now=town.clock)
    done = town.sync(expect="applied")
    assert [user.id for user in town.users("archived")] == [three]
    assert len(town.conflicts()) == 11
    town.apply(undo_run(town.database, done.run_id or 0, actor="x", now=town.clock))
    town.sync()
    users = town.state()["users"]
    assert {user: users[user] for user in before["users"]} == before["users"]
    assert len(town.conflicts()) == 11


def test_an_approval_of_what_the_vendor_renamed_leaves_the_questions_open(town: Town) -> None:
    town.write(roster(many=24))
    town.sync(expect="applied")
    kept = {user.id for user in town.users()}
    rows = [
        wrong(number, ident=f"I{number}") if number < 12 else wrong(number) for number in range(24)
    ]
    town.write(rows)
    town.sync(expect="held")
    in_question = {town.user(f"k{number}").id for number in range(12, 24)}
    before = town.state()["users"]
    town.approve()
    after = town.state()["users"]
    assert {town.user(f"k{number}").given_name for number in range(12)} == {"X"}
    assert {user: after[user] for user in in_question} == {
        user: before[user] for user in in_question
    }
    assert {user.id for user in town.users("active")} == kept
    assert len(town.conflicts()) == 12


def test_an_answer_is_kept_while_the_season_takes_nothing(
    database: Database, tmp_path: Path
) -> None:
    pause = ('start = "2026-09-02"', 'end = "2026-09-20"', 'mode = "additions_only"')
    town = Town(database, tmp_path, more="\n".join(("[[district.pause]]", *pause)))
    town.write(roster())
    town.sync(expect="applied")
    old = town.user("k0").id
    town.write(roster(child(100, key="k0")))
    town.sync()
    decide(town, new=True)
    town.tick(days=2)
    for _ in range(2):
        town.sync(expect="nothing_to_do")
        assert town.conflicts() == [], "it was answered"
        assert (town.user("k0").id, town.user("k0").status) == (old, "active")
    town.tick(days=30)
    town.sync(expect="applied")
    assert town.user("k0").id != old
    assert {user.id: user.status for user in town.users()}[old] == "archived"


def test_who_is_in_question_by_now_is_in_no_approved_rename(town: Town) -> None:
    town.write(wrong(number, ident=f"I{number}") for number in range(12))
    held = town.sync(expect="held")
    before = town.state()
    town.write(wrong(number) for number in range(12))
    town.sync()
    assert len(town.conflicts()) == 12
    done = approve_plan(town.database, held.plan_ids[0], actor="principal", now=town.clock)
    assert (done.status, town.state()) == ("drifted", before)


def test_who_is_asked_about_elsewhere_keeps_their_id_until_that_is_answered(town: Town) -> None:
    first, second, third = (town.user(f"k{number}").id for number in range(3))
    town.write(roster(child(1, key="k0"), child(2, key="k1"), child(0, key="k2")))
    town.sync()
    question = {row.external_id: row.id for row in town.conflicts()}

    def somebody_new(key: str) -> None:
        resolve(town.database, question[key], link=None, new=True, actor="x", now=town.clock)

    somebody_new("k1")
    town.sync(expect="nothing_to_do")
    assert town.user("k1").id == second, "the question about k0 names them"
    assert set(asked(town)) == {("k0", "reused_id"), ("k2", "reused_id")}
    somebody_new("k0")
    somebody_new("k2")
    town.sync(expect="applied")
    assert asked(town) == []
    statuses = {user.id: user.status for user in town.users()}
    for user in (first, second, third):
        held = town.ask("SELECT 1 FROM links WHERE target_id = :user AND held", user=user)
        assert (statuses[user] == "active") == bool(held), "no account stays that nothing holds"


def test_of_two_swapped_ids_both_may_be_somebody_new(town: Town) -> None:
    old = {town.user("k3").id, town.user("k4").id}
    town.write(roster(child(4, key="k3"), child(3, key="k4")))
    town.sync()
    decide(town, new=True)
    town.sync(expect="applied")
    assert {user.id for user in town.users("archived")} == old
    assert (town.user("k3").given_name, town.user("k4").given_name) == ("Given4", "Given3")
    assert (len(town.users("active")), town.conflicts()) == (12, [])
    assert town.sync().status == "nothing_to_do"


@pytest.mark.parametrize("more", ["", "grace = { days = 7 }"], ids=["leaves", "in grace"])
def test_who_is_said_to_be_new_is_not_somebody_who_leaves(
    database: Database, tmp_path: Path, more: str
) -> None:
    town = Town(database, tmp_path, more=more)
    town.write(roster())
    town.sync(expect="applied")
    three, seven = town.user("k3").id, town.user("k7").id
    town.write(roster(child(7, key="k3")))
    town.sync()
    decide(town, new=True)
    town.write(roster(child(7, key="k3"), without=("k7",)))
    town.sync(expect="applied")
    statuses = {user.id: user.status for user in town.users()}
    assert town.user("k3").id not in (three, seven)
    assert (statuses[three], statuses[seven]) == ("archived", "active" if more else "archived")


def test_an_answer_waits_for_a_question_of_the_run_that_would_carry_it_out(town: Town) -> None:
    old = town.user("k3").id
    town.write(roster(child(3, **ZOE)))
    town.sync()
    decide(town, new=True)
    town.write(roster(child(3, **ZOE), other(3)))
    town.sync(expect="nothing_to_do")
    assert asked(town) == [("n3", "keys_contradict")]
    assert (town.user("k3").id, town.user("k3").status) == (old, "active")
    decide(town, new=True)
    town.sync(expect="applied")
    assert {user.id: user.status for user in town.users()}[old] == "archived"
    assert (town.user("k3").given_name, town.user("n3").given_name) == ("Zoe", "Given503")


# -- whatever is reused


_REUSES = st.sampled_from(["stranger", "swap", "ring", "next", "same"])
_LATER = st.sampled_from(["nothing", "the next one leaves", "somebody has the same keys"])


@settings(max_examples=examples(5, long=100))
@example(  # as it was found
    ways=[("stranger", "nothing")] * 3 + [("swap", "nothing")], answers=["new"], grace=False
)
@example(ways=[("next", "the next one leaves")], answers=["new"], grace=True)
@example(ways=[("swap", "somebody has the same keys")], answers=["new"], grace=False)
@given(
    ways=st.lists(st.tuples(_REUSES, _LATER), min_size=1, max_size=4),
    answers=st.lists(st.sampled_from(["new", "holder", "swapped"]), min_size=1, max_size=8),
    grace=st.booleans(),
)
def test_once_all_is_answered_each_record_has_one_user_and_each_active_user_a_record(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    ways: list[tuple[str, str]],
    answers: list[str],
    grace: bool,
) -> None:
    more = "grace = { days = 7 }" if grace else ""
    town = Town(database, tmp_path_factory.mktemp("answered"), more=more)
    town.write(roster(many=20))
    town.sync(expect="applied")
    rows = {row.key: row for row in roster(many=20)}
    for number, (way, _) in enumerate(ways):
        keys = [f"k{3 * number + step}" for step in range(3)]
        those = [child(3 * number + step) for step in range(3)]
        now = {
            "stranger": [child(100 + number)], "swap": [those[1], those[0]],
            "ring": [*those[1:], those[0]], "next": [those[1]], "same": [],
        }[way]  # fmt: skip
        rows |= {key: row._replace(key=key) for key, row in zip(keys, now, strict=False)}
    town.write(rows.values())
    town.sync()
    said = itertools.cycle(answers)
    answer_all(town, said)
    for number, (_, later) in enumerate(ways):
        if later == "the next one leaves":
            del rows[f"k{3 * number + 1}"]
        elif later == "somebody has the same keys":
            rows[f"n{3 * number}"] = other(3 * number)
    town.write(rows.values())
    for _ in range(6):
        if town.sync().status == "held":
            town.approve()
        if not answer_all(town, said):
            break
    assert town.conflicts() == [], "people are asked for ever"
    town.tick(days=10)  # grace is over
    if town.sync().status == "held":
        town.approve()
    assert town.sync().status == "nothing_to_do"
    held = town.ask(
        "SELECT r.external_id, l.target_id FROM links l JOIN records r ON r.id = l.record_id"
        " JOIN sources s ON s.id = r.source_id"
        " WHERE s.district_id = :d AND r.kind = 'user' AND r.present AND l.held"
    )
    assert sorted(row.external_id for row in held) == sorted(rows), "a record has one user"
    assert len({row.target_id for row in held}) == len(rows), "two people share one account"
    assert {row.target_id for row in held} == {user.id for user in town.users("active")}


def answer_all(town: Town, answers: Iterator[str]) -> bool:
    """Answer every open question; say whether there was one."""
    conflicts = town.conflicts()
    for conflict in conflicts:
        found = conflict.candidates
        first = (json.loads(found) if isinstance(found, str) else found)[0]
        swapped_with = first.get("swapped_with", first)["id"]
        link = {"new": None, "holder": first["id"], "swapped": swapped_with}[next(answers)]
        if conflict.reason != "reused_id":  # nobody is two people
            link = None
        resolve(town.database, conflict.id, link=link, new=link is None, actor="x", now=town.clock)
    return bool(conflicts)


_WAYS = st.sampled_from(["stranger", "swap", "ring", "rename", "same", "gone"])


@settings(max_examples=examples(5, long=100))
@example(ways=["ring"], answers=["open", *["new"] * 7], archived=False)
@given(
    ways=st.lists(_WAYS, min_size=1, max_size=4),
    answers=st.lists(st.sampled_from(["new", "holder", "open"]), min_size=8, max_size=8),
    archived=st.booleans(),
)
def test_no_account_changes_its_owner_unless_a_person_said_so(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    ways: list[str],
    answers: list[str],
    archived: bool,
) -> None:
    town = Town(database, tmp_path_factory.mktemp("reuse"))
    town.write(roster(many=20))
    town.sync(expect="applied")
    owners = {row.id: row.given_name for row in town.users()}
    if archived:
        town.write(roster(many=20, without=("k0",)))
        town.sync(expect="applied")
    rows = {row.key: row for row in roster(many=20)}
    renamed, gone, at = set[str](), set[str](), 0
    for number, way in enumerate(ways):
        one, two, three = (f"k{at + step}" for step in range(3))
        first, second, third = (child(at + step) for step in range(3))
        match way:
            case "stranger":
                rows[one] = child(100 + number, key=one)
            case "swap":
                rows[one], rows[two] = second._replace(key=one), first._replace(key=two)
            case "ring":
                rows[one], rows[two], rows[three] = (
                    second._replace(key=one), third._replace(key=two), first._replace(key=three)
                )  # fmt: skip
            case "rename":
                rows[one] = first._replace(given=f"Given{200 + number}", family="Other")
                renamed.add(town.user(one).id)
            case "gone":
                del rows[one]
                gone.add(town.user(one).id)
        at += 3
    town.write(rows.values())
    town.sync()
    linked = {key: town.user(key).id for key in rows}
    for user in town.users():
        if user.id not in renamed:
            assert user.given_name == owners[user.id], "an account has another owner"
        if user.id not in gone and not (archived and user.id == linked.get("k0")):
            assert user.status == "active"
    said: dict[int, tuple[str, str]] = {}
    for conflict, answer in zip(town.conflicts(), answers, strict=False):
        assert conflict.reason == "reused_id"
        found = conflict.candidates
        candidates = json.loads(found) if isinstance(found, str) else found
        holder = candidates[0]["id"]
        assert holder == linked[conflict.external_id]
        if answer != "open":
            said[conflict.id] = (answer, holder)
            resolve(
                town.database, conflict.id, link=None if answer == "new" else holder,
                new=answer == "new", actor="x", now=town.clock,
            )  # fmt: skip
    town.sync()
    town.sync()
    decided_new = {holder for answer, holder in said.values() if answer == "new"}
    users = {user.id: user for user in town.users()}
    for user_id, name in owners.items():
        user = users[user_id]
        if user.given_name != name:
            assert user_id in renamed or any(answer == "holder" for answer, _ in said.values()), (
                "an account has another owner, and nobody said so"
            )
        if user_id in decided_new and user_id not in gone:
            assert user.status == "archived" or town.ask(
                "SELECT 1 FROM links WHERE target_id = :user AND held", user=user_id
            )
    present = [key for key in rows if town.user(key) is not None]
    assert len(present) == len(rows), "a record is nobody's"
    holders = [town.user(key).id for key in rows]
    assert len(set(holders)) == len(holders), "two people share one account"
