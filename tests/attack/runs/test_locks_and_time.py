"""A run that loses its lock writes nothing more, and one that takes too long is ended in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import text

from core.errors import LockLost, RunTooLong
from core.failpoints import at_failpoints
from core.storage.database import Database
from sync.run import deadline
from tests.kit.world import World, new_world
from tests.sync.ledger.test_kill import sound

BEFORE = ("evidence.records", "evidence.committed", "run.read", "plan.drafted", "plan.sealed")
BETWEEN = ("evidence.committed", "run.read")
"""Of these, the places where the run has no transaction under way."""
INSIDE = ("apply.checked", "apply.plan", "apply.district")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A district of nine people whose roster has changed since the last sync."""
    world = new_world(database, tmp_path, run_minutes=1)
    world.sis.students(6).teachers(3)
    world.sync(code=0)
    world.sis.student("st0001", grade="05").student("st0100")
    world.save()
    return world


def applied(world: World) -> int:
    return int(world.value("SELECT COUNT(*) FROM plans WHERE status = 'applied'"))


def last_run(world: World) -> tuple[str, str]:
    """Return the status of the newest run and the code of its error."""
    row = world.rows("SELECT * FROM runs ORDER BY id DESC LIMIT 1")[0]
    return row.status, str(row.error)


def once_at(name: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that acts the first time that a failpoint is passed."""
    left = [act]

    def hook(passed: str) -> None:
        if passed == name and left:
            left.pop()()

    return hook


# -- the lock


def end_lock(database: Database) -> None:
    """End the connection that holds a run lock, as a server or a proxy may do."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        ended = connection.execute(text(f"{query} AND mode = 'ExclusiveLock'")).scalars().all()
    assert ended == [True]


@pytest.mark.parametrize("place", [*BEFORE, *INSIDE])
def test_a_run_whose_lock_has_ended_never_writes_beside_the_next(world: World, place: str) -> None:
    if world.database.is_sqlite:
        pytest.skip("a lock of the operating system ends with its process only")
    other = World(
        Database(world.database.url.render_as_string(hide_password=False)),
        world.rosters, world.now,
    )  # fmt: skip
    codes: list[int] = []
    beside = Thread(target=lambda: codes.append(other.sync().exit_code))

    def attack() -> None:
        end_lock(other.database)
        beside.start()
        if place in BETWEEN:
            beside.join()
            return
        beside.join(0.5)
        assert beside.is_alive(), "both are writing at the same time"

    with at_failpoints(once_at(place, attack)), pytest.raises(LockLost, match="has ended"):
        world.sync()
    beside.join()
    assert codes == [0]
    assert applied(world) == 2, "both have applied a plan"
    assert world.user("st0001")["grade"] == "05"
    assert int(world.value("SELECT COUNT(*) FROM runs WHERE status = 'running'")) == 0
    sound(world)
    other.database.close()


# -- time


@pytest.mark.parametrize("place", BEFORE)
def test_a_run_that_takes_too_long_is_closed_with_a_sentence_and_changes_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    later = [0.0]
    real = deadline.time.monotonic
    monkeypatch.setattr(deadline.time, "monotonic", lambda: real() + later[0])

    def attack() -> None:
        later[0] = 61.0

    before = world.dump()
    with at_failpoints(once_at(place, attack)), pytest.raises(RunTooLong, match="1 minutes"):
        world.sync()
    assert world.dump() == before
    status, error = last_run(world)
    assert (status, "run_too_long" in error) == ("incomplete", True)
    later[0] = 0.0
    world.sync(code=0)
    assert world.user("st0001")["grade"] == "05"
    sound(world)


@pytest.mark.parametrize("place", INSIDE)
def test_a_plan_that_is_being_applied_is_never_cut_short(
    world: World, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    later = [0.0]
    real = deadline.time.monotonic
    monkeypatch.setattr(deadline.time, "monotonic", lambda: real() + later[0])

    def attack() -> None:
        later[0] = 61.0

    with at_failpoints(once_at(place, attack)):
        assert world.sync().status == "applied"
    assert last_run(world)[0] == "applied"
    sound(world)
