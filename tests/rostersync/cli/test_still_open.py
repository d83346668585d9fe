"""A run tells what is open, with counts and commands, and what a person needs to go on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rostersync
from rostersync.cli.printing.outcomes import suspected_sentence
from rostersync.cli.printing.still_open import still_open
from sync.run.clock import utc_now
from tests.kit.command_line import Cli, D
from tests.kit.fixtures import NewWorld
from tests.kit.sizes import examples
from tests.kit.world import World

PEOPLE = 8
_KEYS = [f"st{number:04}" for number in range(PEOPLE)]


@dataclass
class Day:
    """What is wrong with the roster on one day: the numbers of people."""

    broken: set[int] = field(default_factory=set)
    keyless: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    conflicts: int = 0


_SOME = st.sets(st.integers(0, PEOPLE - 1), max_size=3)


@st.composite
def days(draw: st.DrawFn) -> Day:
    broken = draw(_SOME)
    keyless = draw(_SOME) - broken
    gone = draw(st.sets(st.integers(0, PEOPLE - 1), max_size=1)) - broken - keyless
    return Day(broken, keyless, gone, draw(st.integers(0, 1)))


def wrong(world: World, day: Day, number: int) -> None:
    """Write a roster on which this is wrong; ``number`` makes its newcomers new ones."""
    world.sis.people.clear()
    world.sis.students(PEOPLE)
    for one in day.broken:
        world.sis.row(_KEYS[one], broken=True)
    for one in day.keyless:
        world.sis.row(_KEYS[one], keyless=True)
    world.sis.without(*(_KEYS[one] for one in day.gone))
    for one in range(day.conflicts):  # a newcomer with the address of somebody made by hand
        email = f"by-hand-{number}-{one}@x.example"
        world.add(given_name="Rae", email=email)
        world.sis.teacher(f"new-{number}-{one}", given_name="Kim", email=email)


def test_everything_that_is_open_is_told_by_sync_and_status(make_world: NewWorld, cli: Cli) -> None:
    world = make_world()
    world.sis.students(PEOPLE)
    world.sync(code=0)
    numbers = iter(range(10_000))

    @given(day=days())
    @settings(max_examples=examples(5, long=60))
    def prove(day: Day) -> None:
        wrong(world, day, next(numbers))
        read_before = "SELECT external_id FROM records WHERE kind = 'user' AND present"
        named = set(world.sis.people) - {_KEYS[one] for one in day.keyless}
        missing = {row[0] for row in world.rows(read_before)} - named
        outcome = world.sync()
        left = outcome.left_open
        rows = len(day.broken | day.keyless)
        assert left.get("unusable_rows", {}).get("sis", 0) == rows
        assert left.get("conflicts", 0) == len(world.conflicts())
        withheld = left.get("withheld", {}).get("sis")
        assert (withheld is not None) == bool(day.keyless and missing)
        if withheld is not None:
            assert withheld["people"] == len(missing)
            assert len(withheld["rows"]) == len(day.keyless)
            assert all(row["file"] == "people.txt" for row in withheld["rows"])
        # told the same by the second sync, which finds nothing to do, and by status
        world.save()
        called = cli("sync", D)
        sentences = list(still_open(left, D))
        assert len(sentences) == len(left)
        for sentence in sentences:
            assert sentence in called.out
            assert f"rostersync {sentence.rpartition('rostersync ')[2]}" in called.out
        assert cli("sync", D, "--json").document["left_open"] == left
        (one,) = cli("status", "--json").document
        (source,) = one["sources"]
        assert (source["unusable_rows"], one["conflicts"]) == (rows, len(world.conflicts()))
        assert source["withheld_people"] == (withheld or {"people": 0})["people"]
        assert ("withheld" in one["needs"], "rows" in one["watch"]) == (
            withheld is not None, bool(rows),
        )  # fmt: skip
        shown = cli("status").out
        assert ("could not be used: skipped" in shown.replace("\n", " ")) == bool(rows)
        assert ("conflict" in shown) == bool(world.conflicts())

    prove()


def test_the_row_that_keeps_a_leaver_in_is_named(world: World, cli: Cli) -> None:
    world.sis.students(5)
    world.sync(code=0)
    world.sis.without("st0001").row("st0003", keyless=True)
    world.save()
    called = cli("sync", D)
    assert called.code == 12
    assert "springfield: partial. Nobody leaves because of what could not be read;" in called.out
    assert "2 people who are missing stay, because a row that could not be read" in called.out
    assert "people.txt" in called.out
    document = cli("sync", D, "--json").document
    (row,) = document["certificates"]["sis"]["withheld_by"]
    assert (row["stream"], row["file"]) == ("people", "people.txt")
    assert document["left_open"]["withheld"]["sis"] == {"people": 2, "rows": [row]}


def test_python_is_told_the_same(world: World) -> None:
    world.sis.students(5).row("st0003", broken=True)
    world.sync(code=0)
    outcome = rostersync.sync(world.database, D, actor="app")
    assert outcome.status == "nothing_to_do"
    assert outcome.left_open == {"unusable_rows": {"sis": 1}}


def test_nothing_is_said_where_nothing_is_open(world: World, cli: Cli) -> None:
    world.sis.students(5)
    world.sync(code=0)
    world.save()
    assert "Still open" not in cli("sync", D).out
    assert cli("sync", D, "--json").document["left_open"] == {}


@pytest.mark.parametrize("days", [2])
def test_whoever_leaves_when_grace_ends_is_counted(
    make_world: NewWorld, cli: Cli, days: int
) -> None:
    world = make_world(grace={"days": days, "fetches": 1})
    world.sis.students(5)
    world.sync(code=0)
    world.sis.without("st0001")
    outcome = world.sync(code=0)
    assert outcome.left_open == {"leaving_people": 1}
    (said,) = still_open(outcome.left_open, D)
    assert said == "1 person leaves when the grace ends: rostersync users springfield --leaving"


def test_no_failure_of_a_source_makes_status_forget_its_rows(world: World, cli: Cli) -> None:
    world.sis.students(5).row("st0003", broken=True)
    world.sync(code=0)
    world.sis.reads(fails="file")
    world.sync()
    assert cli("status", "--json").document[0]["sources"][0]["unusable_rows"] == 1
    world.sis.reads()
    world.sync()
    world.sis.reads(fails="refused")
    world.sync()
    cli("source", "resume", D, "sis")
    assert cli("status", "--json").document[0]["sources"][0]["unusable_rows"] == 1


@pytest.mark.parametrize(
    ("number", "said"),
    [(1, "1 person was called deleted by the vendor, and stays"), (2, "2 people were called")],
)
def test_deletions_that_prove_nothing_yet_are_told(number: int, said: str) -> None:
    sentence = suspected_sentence(number)
    assert sentence.startswith(said)
    assert "--full" in sentence


def test_a_sync_in_a_pause_says_until_when(world: World, cli: Cli) -> None:
    until = (utc_now() + timedelta(days=9)).date()
    world.sis.students(3)
    world.save()
    assert cli("pause", D, "--until", until.isoformat()).code == 0
    called = cli("sync", D)
    assert called.code == 0
    assert f"The district is paused until {until}, this day included:" in called.out
    assert f"rostersync schedule {D}" in called.out
    document = cli("sync", D, "--json").document
    assert (document["status"], document["paused_until"]) == ("paused", until.isoformat())


def test_a_pause_without_an_end_says_who_ends_it(world: World, cli: Cli) -> None:
    assert cli("pause", D).code == 0
    called = cli("sync", D)
    assert f"The district is paused until somebody resumes it (rostersync resume {D})" in (
        called.out
    )
    assert cli("sync", D, "--json").document["paused_until"] is None


@pytest.mark.usefixtures("world")
def test_every_act_by_hand_names_the_run_that_undo_takes_back(cli: Cli) -> None:
    added = cli("user", "add", D, "--given", "Rae", "--family", "Hand", "--role", "staff")
    user = added.out.split()[0]
    acts = [
        added,
        cli("user", "edit", D, user, "--family", "Other"),
        cli("user", "archive", D, user),
        cli("user", "restore", D, user),
        cli("user", "lock", D, user, "--field", "email"),
    ]
    for act in acts:
        assert act.code == 0, act
        (run,) = re.findall(r"To take it back: rostersync undo (R\d+)$", act.out, re.M)
        undone = cli("undo", run)
        assert undone.code == 0, undone
    again = cli("user", "lock", D, user, "--field", "email")
    assert "It was so already." in again.out
    assert "undo" not in again.out, "nothing was done, so there is nothing to take back"
