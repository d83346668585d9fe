"""Kills: whatever moment a program dies at, all of its plan is there or nothing of it.

The victim is a forked child that really ends there, as by ``kill -9``: at every failpoint between
two statements of reading, planning, applying and approving, and at random moments. Afterwards the
chain verifies, and the next run makes of the district what an undisturbed one would have.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import text

from core.errors import Busy
from core.failpoints import at_failpoints
from core.storage.database import Database, open_database
from sync.ledger import chain
from tests.kit.databases import new_postgres_database
from tests.kit.sizes import LONG
from tests.kit.world import Roster, World, new_world
from tests.sync.machine import ledger_model

Act = Callable[[World], object]
TRIES = 10 if LONG else 5
"""How many kills at random moments each store sees."""


@dataclass
class Theatre:
    """A district just before something is done, which can be set up as often as wanted."""

    copy: Callable[[], Database]
    """Open a fresh copy of the district's database."""
    rosters: dict[str, Roster]
    act: Act
    now: datetime

    def world(self) -> World:
        """Return a fresh copy of the district."""
        return World(self.copy(), self.rosters, self.now)


def yesterday(world: World) -> None:
    """Read and apply a first roster with some of everything."""
    world.sis.school("grant", "Grant Middle").school("old", "Old School")
    world.sis.students(30).teachers(4).person("st0005", enabled=False)
    world.sis.person("both", memberships=[("teacher", "lincoln"), ("staff", "grant")])
    world.sync(code=0)
    world.sis.without("st0000")
    world.sync(code=0)
    world.protect(world.add("staff", given_name="Pat"), False)


def today(world: World) -> None:
    """Change the roster so that the next plan has every kind of step, and one that is held."""
    world.sis.school("new", "New School").school("grant", "Grant School")
    del world.sis.schools["old"]
    world.sis.student("st0000")  # returns
    world.sis.students(3, start=100, school="new")
    world.sis.student("st0004", grade="05").student("st0005", enabled=True)
    world.sis.student("st0006", enabled=False).student("st0007", school="grant")
    world.sis.person("both", memberships=[("teacher", "new"), ("staff", "grant")])
    world.sis.without("st0001", "te000", "te001", "te002")  # one leaves, too many teachers do
    world.save()


def syncs(world: World) -> object:
    return world.sync()


def approves(world: World) -> object:
    return world.approve()


def edits(world: World) -> object:
    return world.edit(world.id_of("st0004") or "", given_name="Kim", role="staff")


@pytest.fixture(params=["sqlite", "postgresql"])
def copies(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Database, Callable[[], Database]]]:
    """Yield an empty migrated database, and a function that opens copies of it as it then is."""
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    with ExitStack() as opened:

        def keep(database: Database) -> Database:
            opened.callback(database.engine.dispose)
            return database

        if request.param == "sqlite":
            first = tmp_path / "first.db"
            shutil.copyfile(request.getfixturevalue("_migrated_sqlite"), first)
            numbers = iter(range(1000))

            def copy() -> Database:
                path = tmp_path / f"copy{next(numbers)}.db"
                shutil.copyfile(first, path)
                return keep(open_database(f"sqlite:///{path}"))

            yield open_database(f"sqlite:///{first}"), copy
            return
        server = request.getfixturevalue("postgres_url")
        template = request.getfixturevalue("_migrated_postgresql")
        url = opened.enter_context(new_postgres_database(server, template))
        name = url.partition("?")[0].rpartition("/")[2]

        def copy_on_server() -> Database:
            return keep(open_database(opened.enter_context(new_postgres_database(server, name))))

        yield open_database(url), copy_on_server


@pytest.fixture
def stage(
    copies: tuple[Database, Callable[[], Database]], tmp_path: Path
) -> Callable[[Act], Theatre]:
    """Return a function that sets up the district before an act."""
    database, copy = copies

    def before(act: Act) -> Theatre:
        world = new_world(database, tmp_path)
        yesterday(world)
        today(world)
        if act is approves:
            world.sync(code=10)
        if database.is_sqlite:
            with database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        database.engine.dispose()
        return Theatre(copy, world.rosters, act, world.now)

    return before


def told(world: World) -> ledger_model.Told:
    """Return the directory, but for when things happened and how records are numbered."""
    with world.database.read() as connection:
        there = ledger_model.stored(connection)
        keys = connection.execute(text("SELECT id, source_id, kind, external_id FROM records"))
        names = {row.id: tuple(row)[1:] for row in keys}
    there.links = {names[record]: link for record, link in there.links.items()}  # type: ignore[misc]
    return there


def sound(world: World) -> None:
    """Assert that chain, ledger and census are in order."""
    assert chain.verify(world.database)["intact"]
    with world.database.read() as connection:
        replayed, there = ledger_model.replay(connection), ledger_model.stored(connection)
        assert ledger_model.differences(replayed, there) == []
        assert ledger_model.census(connection) == ledger_model.kept_census(connection)
    assert int(world.value("SELECT COUNT(*) FROM plans WHERE standing")) <= 1


@contextmanager
def child(theatre: Theatre, database: Database, **variables: str) -> Iterator[int]:
    """Run the act in a child process; yield its process id."""
    database.engine.dispose()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking beside threads is what this test is about
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ.update(variables)
            own = Database(database.url.render_as_string(hide_password=False))
            theatre.act(World(own, theatre.rosters, theatre.now))
            code = 0
        finally:
            os._exit(code)
    try:
        yield pid
    finally:
        with_status = os.waitpid(pid, 0)[1]
        codes.append(os.waitstatus_to_exitcode(with_status))


codes: list[int] = []
"""How the children ended, newest last."""


def names_passed(theatre: Theatre) -> list[str]:
    """Return the failpoints that an undisturbed act passes, each once, in order."""
    passed: dict[str, None] = {}
    with at_failpoints(lambda name: passed.setdefault(name)):
        theatre.act(theatre.world())
    return list(passed)


def finish(world: World) -> ledger_model.Told:
    """Run once more, waiting until the database has noticed that the dead are dead."""
    for _ in range(100):
        try:
            world.sync()
            break
        except Busy:
            time.sleep(0.1)
    return told(world)


def undisturbed(theatre: Theatre) -> tuple[ledger_model.Told, ledger_model.Told, ledger_model.Told]:
    """Return the directory before, after the act, and after another run."""
    world = theatre.world()
    before = told(world)
    theatre.act(world)
    after = told(world)
    return before, after, finish(world)


def died_well(
    theatre: Theatre, world: World, ends: object, name: str, *, damaged: bool = False
) -> None:
    """Assert all or nothing, an intact chain, and that the work is completed afterwards.

    ``damaged``: before the act, the directory is not as the ledger says.
    """
    before, after, end = ends  # type: ignore[misc]
    now = told(world)
    assert now in (before, after), (
        name, ledger_model.differences(now, before), ledger_model.differences(now, after),
    )  # fmt: skip
    if not (damaged and now == before):
        sound(world)
    if theatre.act is not syncs and now == before:
        theatre.act(world)
    differences = ledger_model.differences(finish(world), end)
    assert not differences, (name, differences)
    assert int(world.value("SELECT COUNT(*) FROM runs WHERE status = 'running'")) == 0, name
    sound(world)


def drawn(names: list[str], theatre: Theatre) -> list[str]:
    """Return the failpoints of the quick suite: every other one on SQLite, the rest elsewhere."""
    return names[::2] if theatre.world().database.is_sqlite else names[1::2]


@pytest.mark.parametrize("act", [syncs, approves, edits])
def test_a_kill_at_any_failpoint_leaves_all_or_nothing(
    stage: Callable[[Act], Theatre], act: Act
) -> None:
    theatre = stage(act)
    names = names_passed(theatre)
    inside = [name for name in names if name.startswith("apply.")]
    assert len(inside) >= (20 if act is syncs else 10), inside
    ends = undisturbed(theatre)
    for name in names if LONG else drawn(names, theatre):
        world = theatre.world()
        with child(theatre, world.database, ROSTERSYNC_FAILPOINT=name):
            pass
        assert codes[-1] == 137, f"nobody died at {name}"
        died_well(theatre, world, ends, name)
        if name in inside:
            world.database.engine.dispose()


def test_a_kill_at_a_random_moment_leaves_all_or_nothing(
    stage: Callable[[Act], Theatre],
) -> None:
    theatre = stage(syncs)
    ends = undisturbed(theatre)
    world = theatre.world()
    began = time.monotonic()
    with child(theatre, world.database):
        pass
    assert codes[-1] == 0
    length = time.monotonic() - began
    moments = random.Random(20261005)
    for _ in range(TRIES):
        world = theatre.world()
        with child(theatre, world.database) as pid:
            time.sleep(moments.uniform(0, length))
            os.kill(pid, signal.SIGKILL)
        assert codes[-1] in (0, -signal.SIGKILL)
        died_well(theatre, world, ends, "a random moment")


def test_a_lock_left_behind_by_the_dead_holds_up_nobody(
    stage: Callable[[Act], Theatre],
) -> None:
    theatre = stage(syncs)
    world = theatre.world()
    with child(theatre, world.database, ROSTERSYNC_FAILPOINT="run.read"):
        pass
    assert codes[-1] == 137
    if world.database.is_sqlite:
        lock = Path(f"{world.database.url.database}.lock-1")
        assert lock.exists()
        with FileLock(lock, timeout=0):
            pass
    finish(world)
    assert world.user("st0004")["grade"] == "05"
