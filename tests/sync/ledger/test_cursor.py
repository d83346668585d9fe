"""A cursor says of which history a serial is: no app that follows skips or repeats silently."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rostersync
from core.storage.database import Database
from rostersync import UnknownCursor, UsageError
from tests.kit.command_line import Cli, D
from tests.kit.fixtures import NewWorld
from tests.kit.sizes import examples
from tests.kit.world import SLUG, World
from tests.sync.ledger.backup import Restore, back_up

History = list[tuple[int, str]]
"""Serial and cursor of each change: two apps with the same have seen the same changes."""


def ledger(database: Database) -> History:
    """Return the whole history as the feed tells it from its start."""
    return [(one["serial"], one["cursor"]) for one in rostersync.changes(database, SLUG, 0)]


class Follower:
    """An app that follows the changes and remembers the last cursor, as the reference says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cursor = "0"
        self.seen: History = []
        self.refused = 0

    def follow(self, database: Database, limit: int | None) -> None:
        """Ask what is new; read everything anew if the cursor is refused."""
        try:
            for one in rostersync.changes(database, SLUG, self.cursor, limit):
                self.seen.append((one["serial"], one["cursor"]))
                self.cursor = one["cursor"]
        except UnknownCursor as unknown:
            self.refused += 1
            self.cursor = unknown.go_on_from
            self.seen = ledger(database)  # all users stand for all of their changes

    def is_up_to_date(self, database: Database) -> bool:
        """Say whether it has seen just what there is up to its cursor, each change once."""
        whole = ledger(database)
        return self.seen == whole[: len(self.seen)] and (
            self.cursor == (self.seen[-1][1] if self.seen else "0")
        )


def act(world: World, rng: random.Random) -> None:
    """Change something: one person by hand, or several people by one plan."""
    number = rng.randrange(10**9)
    if rng.random() < 0.5:
        world.add(given_name="Rae", family_name=f"Hand {number}")
        return
    start = rng.randrange(10**6)
    world.sis.students(rng.randint(2, 4), start=start)
    world.sync()


_STEPS = st.lists(
    st.sampled_from(["act", "act", "follow", "follow", "back up", "restore", "restore"]),
    min_size=6,
    max_size=10,
)


def test_after_any_backup_restored_no_follower_skips_or_repeats(make_world: NewWorld) -> None:
    world = make_world()
    world.sis.students(3)
    world.sync(code=0)
    start = back_up(world.database)

    @given(steps=_STEPS, seed=st.integers(0, 10**6))
    @settings(max_examples=examples(3, long=80))
    def prove(steps: list[str], seed: int) -> None:
        start()
        rng = random.Random(seed)
        followers = [Follower("a"), Follower("b"), Follower("c")]
        backups: list[Restore] = [start]
        for step in steps:
            if step == "act":
                act(world, rng)
            elif step == "back up":
                backups.append(back_up(world.database))
            elif step == "restore":
                rng.choice(backups)()
                act(world, rng)  # what is lost is followed by something else at once
            else:
                one = rng.choice(followers)
                one.follow(world.database, rng.choice([None, 1, 2, 3]))
                assert one.is_up_to_date(world.database)
        for one in followers:
            one.follow(world.database, None)
            one.follow(world.database, None)
            assert one.is_up_to_date(world.database)
            assert one.seen == ledger(world.database)

    prove()


def test_a_cursor_of_a_lost_history_is_refused_with_where_to_go_on(world: World, cli: Cli) -> None:
    world.sis.students(3)
    world.sync(code=0)
    restore = back_up(world.database)
    world.add(family_name="Lost")
    lost = rostersync.cursor(world.database, SLUG)
    restore()
    world.add(family_name="Other")
    now = rostersync.cursor(world.database, SLUG)
    assert lost.partition("-")[0] == now.partition("-")[0], "the same serial, another change"
    called = cli("changes", D, "--since", lost, "--json")
    assert called.code == 2
    error = called.document["error"]
    assert error["code"] == "unknown_cursor"
    assert error["go_on_from"] == now
    assert f"then go on from {now}." in called.err
    on = cli("changes", D, "--since", error["go_on_from"], "--json")
    assert (on.code, on.document["changes"], on.document["cursor"]) == (0, [], now)


def test_a_bare_serial_beyond_the_end_is_refused_and_one_that_exists_is_taken(
    world: World, cli: Cli
) -> None:
    world.sis.students(3)
    world.sync(code=0)
    end = cli("changes", D, "--json").document["serial"]
    for serial in range(end + 1):
        answer = cli("changes", D, "--since", str(serial), "--json")
        assert answer.code == 0
        assert [one["serial"] for one in answer.document["changes"]] == [
            *range(serial + 1, end + 1)
        ]
    for serial in (end + 1, 999999):
        refused = cli("changes", D, "--since", str(serial))
        assert refused.code == 2
        assert refused.out == ""
        assert f"its last change has the serial {end}." in refused.err
        with pytest.raises(UnknownCursor):
            next(rostersync.changes(world.database, SLUG, serial))


def test_before_anything_was_applied_only_the_start_is_known(world: World, cli: Cli) -> None:
    assert cli("changes", D, "--json").document == {
        "district": D, "serial": 0, "cursor": "0", "changes": [],
    }  # fmt: skip
    assert cli("changes", D, "--since", "1").code == 2


@given(word=st.one_of(st.text(), st.from_regex(r"\d{1,4}-[0-9a-f]{0,20}", fullmatch=True)))
@settings(max_examples=examples(10, long=300))
def test_whatever_is_no_cursor_gets_a_sentence(filled: Any, word: str) -> None:
    if (
        word.isascii()
        and word.strip().isdecimal()
        and int(word) <= int(rostersync.cursor(filled.database, SLUG).partition("-")[0])
    ):
        list(rostersync.changes(filled.database, SLUG, word))
        return
    with pytest.raises(UsageError) as refused:
        list(rostersync.changes(filled.database, SLUG, word))
    assert refused.value.exit_code == 2
    assert "cursor" in refused.value.message


@pytest.fixture
def filled(world: World) -> World:
    """A world with a few changes."""
    world.sis.students(2)
    world.sync(code=0)
    return world


def test_another_database_refuses_the_cursor(make_world: NewWorld, world: World, cli: Cli) -> None:
    """The same acts in another database have other hashes: salts are never the same."""
    world.sis.students(3)
    world.sync(code=0)
    mine = rostersync.cursor(world.database, SLUG)
    foreign = f"{mine.partition('-')[0]}-{'0' * 16}"
    assert cli("changes", D, "--since", foreign).code == 2
    assert cli("changes", D, "--since", mine).code == 0
