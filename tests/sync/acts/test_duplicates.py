"""Duplicates, merge and not-same: people who look like one, on both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from core.storage.database import Database
from sync.acts import hand_edit
from sync.acts.duplicates import duplicates, not_same
from sync.acts.merge import merge_users
from sync.acts.undo import undo_run
from sync.engine import plan_district, sync_district
from sync.ledger.chain import verify
from sync.people.look_alikes import MANY, OLD
from sync.run import find
from sync.views.overview import overview
from tests.kit.town import Town, child


@pytest.fixture
def town(database: Database, tmp_path: Path) -> Town:
    """A town in which a substitute was added twice, once by hand at another domain."""
    town = Town(database, tmp_path)
    sub = child(50, given="Sub", family="Stitute", email="sub.s@a.example", role="teacher")
    town.write([*(child(n) for n in range(6)), sub])
    town.sync()
    town.tick()
    edit = hand_edit.UserEdit(
        {"given_name": "Sub", "family_name": "Stitute", "email": "sub.s@b.example"}, role="teacher"
    )
    hand_edit.add_user(database, town.slug, edit, actor="principal", now=town.clock)
    return town


def pairs(town: Town) -> list[tuple[set[str], list[str]]]:
    with town.database.read() as connection:
        district = find.district_row(connection, town.slug)
        return [
            ({user["id"] for user in pair["users"]}, pair["reasons"])
            for pair in duplicates(connection, district)
        ]


def manual(town: Town) -> str:
    return next(str(user.id) for user in town.users() if user.origin == "manual")


def test_c22_two_users_who_look_like_one_are_listed_with_the_reason(town: Town) -> None:
    ((two, reasons),) = pairs(town)
    assert two == {manual(town), town.user("k50").id}
    assert "names_agree" in reasons


def test_c22_names_alone_and_siblings_with_one_address_are_not_listed(town: Town) -> None:
    twins = [child(60 + n, given=f"Kid{n}", family="Twin", email="f@mail.example") for n in (0, 1)]
    same = [child(70 + n, given="Jo", family="Smith", email=f"jo{n}@a.example") for n in (0, 1)]
    town.write([*(child(n) for n in range(6)), *twins, *same])
    town.sync()
    assert len(pairs(town)) == 1


def counted(town: Town) -> tuple[int, int, int]:
    """Return how many pairs a plan, a sync and the overview count."""
    found = [
        run(town.database, town.slug, actor="x", now=town.clock).left_open.get("look_alikes", 0)
        for run in (plan_district, sync_district)
    ]
    with town.database.read() as connection:
        (one,) = overview(connection, town.now, town.slug)
    return found[0], found[1], one["look_alikes"]


PAIR = {"given": "Jo", "family": "Pair", "ident": "", "key": "second", "email": "else@a.example"}


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({}, True),
        ({"given": "JO", "family": "pair"}, True),
        ({"email": ""}, True),
        ({"grade": "10"}, False),
        ({"school": "s2"}, False),
        ({"role": "teacher"}, False),
        ({"family": "Other"}, False),
        ({"ident": "I7"}, True),
    ],
)
def test_i10_names_school_and_grade_in_common_look_alike_and_are_counted(
    town: Town, other: dict[str, Any], *, alike: bool
) -> None:
    one = child(81, given="Jo", family="Pair", ident="")
    rest = [child(n) for n in range(6)]
    town.write([*rest, one, child(82, **{**PAIR, **other})])
    town.sync()
    two = {town.user("k81").id, town.user("second").id}
    assert [pair for pair in pairs(town) if pair[0] == two] == (
        [(two, ["names_agree", "same_school_and_grade"])] if alike else []
    )
    assert counted(town) == ((2,) * 3 if alike else (1,) * 3)


def test_i10_other_numbers_tell_them_apart_and_so_does_a_person(town: Town) -> None:
    first = child(81, given="Jo", family="Pair", ident="I901")
    rest = [child(n) for n in range(6)]
    town.write([*rest, first, child(82, **{**PAIR, "ident": "I902"})])
    town.sync()
    assert counted(town) == (1, 1, 1)
    town.write([*rest, first, child(82, **PAIR)])
    town.sync()
    assert counted(town) == (2, 2, 2)
    not_same(town.database, town.slug, town.user("k81").id, town.user("second").id, actor="x")
    assert counted(town) == (1, 1, 1)


def test_i10_somebody_with_one_name_looks_like_their_like(town: Town) -> None:
    one = child(81, given="", family="Pair", ident="")
    town.write([*(child(n) for n in range(6)), one, child(82, **{**PAIR, "given": ""})])
    town.sync()
    assert counted(town) == (2, 2, 2)


@pytest.mark.parametrize(("many", "alike"), [(3, 1 + 3), (MANY + 1, 1)])
def test_i10_a_name_of_very_many_people_is_no_hint(town: Town, many: int, alike: int) -> None:
    """Comparing every two of them would take hours in a large district."""
    same = [child(n, given="Jo", family="Pair", ident="") for n in range(200, 200 + many)]
    town.write([*(child(n) for n in range(6)), *same])
    town.sync()
    assert counted(town) == (alike,) * 3


def test_i10_look_alikes_are_counted_once_a_twentieth_changed_or_a_day_went_by(town: Town) -> None:
    """Counting looks at everybody, so a sync of a few changes leaves it to a later one."""
    sub = child(50, given="Sub", family="Stitute", email="sub.s@a.example", role="teacher")
    some = [sub, *(child(n) for n in range(300) if n != 50)]
    town.write(some)
    town.sync(expect="held")
    town.approve()
    town.sync()
    alike = [child(700 + n, given="Jo", family="Pair", ident="") for n in range(2)]
    town.write([*some, *alike])
    town.sync()
    assert counted(town) == (1, 1, 1)  # two of three hundred changed, and not a day ago
    assert len(pairs(town)) == 2
    more = [child(800 + n) for n in range(14)]
    town.write([*some, *alike, *more])
    town.sync()
    assert counted(town) == (2, 2, 2)
    fewer = [child(700, given="Jo", family="Pair", ident=""), child(701), *more]
    town.write([*some, *fewer])
    town.sync()
    assert counted(town) == (2, 2, 2)
    town.now += OLD
    assert counted(town)[1:] == (1, 1)


def test_c22_people_told_apart_are_listed_no_more(town: Town) -> None:
    not_same(town.database, town.slug, manual(town), town.user("k50").id, actor="principal")
    assert pairs(town) == []
    with pytest.raises(UsageError):
        not_same(town.database, town.slug, manual(town), manual(town), actor="principal")


def test_p7_a_merge_is_a_plan_that_keeps_one_id_and_moves_the_records(town: Town) -> None:
    stays, goes = manual(town), town.user("k50").id
    before = town.state()
    town.tick()
    planned = merge_users(town.database, town.slug, stays, goes, actor="x", now=town.clock)
    assert (planned.status, town.state()) == ("planned", before)
    assert town.counts(planned.plan_ids[0])["merge"] == 1
    done = town.apply(planned)
    one = town.user("k50")
    assert (one.id, one.status, one.email, bool(one.protected)) == (
        stays, "active", "sub.s@a.example", True,
    )  # fmt: skip
    (gone,) = (user for user in town.users() if user.id == goes)
    assert (gone.status, gone.merged_into) == ("archived", stays)
    assert pairs(town) == []
    assert town.sync().status == "nothing_to_do"
    undone = undo_run(town.database, done.run_id or 0, actor="x", now=town.clock)
    town.apply(undone)
    assert town.state() == before
    assert verify(town.database, town.slug)["intact"]


def test_a_merged_user_is_no_candidate_any_more(town: Town) -> None:
    stays, goes = town.user("k50").id, manual(town)
    town.apply(merge_users(town.database, town.slug, stays, goes, actor="x", now=town.clock))
    other = child(
        51, given="Sub", family="Stitute", email="sub.s@b.example", role="teacher", ident=""
    )
    town.write([*(child(n) for n in range(6)), child(50, given="Sub", family="Stitute",
                email="sub.s@a.example", role="teacher"), other])  # fmt: skip
    town.sync()
    assert town.conflicts() == []
    assert town.user("k51").id not in (stays, goes)


def test_a_merge_of_one_user_or_of_a_merged_one_is_refused(town: Town) -> None:
    stays, goes = town.user("k50").id, manual(town)
    with pytest.raises(UsageError, match="two users"):
        merge_users(town.database, town.slug, stays, stays, actor="x")
    town.apply(merge_users(town.database, town.slug, stays, goes, actor="x", now=town.clock))
    with pytest.raises(UsageError, match="two users"):
        merge_users(town.database, town.slug, goes, stays, actor="x")
