"""The table of kills: each command, killed at each failpoint that it passes, on both databases.

A row is a command; its columns are the failpoints in the order in which it passes them, as often as
it does. Whatever is killed where, the directory is as before or as after, the chain and the counts
are in order, and doing it again ends where an undisturbed one ends. The quick suite draws from the
table with a fixed seed, half of the commands on each database, for ten seconds each. ``make
test-long`` walks over all of it, and kills each command once more a few statements after each
failpoint: about 900 kills.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from core.failpoints import at_failpoints
from core.storage.database import Database
from core.storage.tables import Source
from sync.acts.merge import merge_users
from sync.acts.pause import pause_district, resume_district
from sync.acts.purge import purge
from sync.acts.rename_domain import rename_domain
from sync.acts.repair import repair
from sync.acts.retire import retire_source
from sync.acts.undo import undo_run
from sync.acts.upload import read_waiting, upload_file
from sync.acts.vendor_switch import switch_source
from sync.run.outcome import Outcome
from tests.kit import user_files
from tests.kit.world import SLUG, World, new_world
from tests.sync.ledger.test_kill import (
    Act,
    Theatre,
    child,
    codes,
    copies,
    died_well,
    today,
    undisturbed,
    yesterday,
)

__all__ = ["copies"]

SEED = 20261130
SECONDS = 10.0
"""How long the quick suite kills on each database."""
AT_MOST, AT_LEAST = 12, 6
"""How many kills the quick suite makes on each database, within that time and beyond it."""


def ordered(world: World, outcome: Outcome) -> object:
    """Apply a plan that was just ordered."""
    return world.apply(outcome.plan_ids[0]) if outcome.plan_ids else None


def undoes(world: World) -> object:
    run = world.value("SELECT MAX(applied_run_id) FROM plans WHERE kind = 'sync'")
    return ordered(world, undo_run(world.database, run, actor="x", now=world.clock))


def merges(world: World) -> object:
    stays, goes = (world.id_of(key) or "" for key in ("st0020", "st0021"))
    if world.user("st0021")["id"] != goes:
        return None
    return ordered(world, merge_users(world.database, SLUG, stays, goes, actor="x",
                                      now=world.clock))  # fmt: skip


def renames(world: World) -> object:
    about = ("old.example", "new.example")
    return ordered(world, rename_domain(world.database, SLUG, *about, actor="x", now=world.clock))


def repairs(world: World) -> object:
    return ordered(world, repair(world.database, SLUG, actor="x", now=world.clock))


def retires(world: World) -> object:
    asked = retire_source(world.database, SLUG, "sis", actor="x", now=world.clock)
    return ordered(world, asked)


def switches(world: World) -> object:
    return ordered(world, switch_source(world.database, SLUG, "sis", "second", actor="x",
                                        now=world.clock))  # fmt: skip


def uploads(world: World) -> object:
    path = world.sis.path.with_name("people.csv")
    path.write_text(user_files.people(range(4)))
    return upload_file(world.database, SLUG, path, source="file", actor="x", now=world.clock)


def pauses(world: World) -> object:
    pause_district(world.database, SLUG, actor="x", now=world.clock)
    return world.sync()


def resumes(world: World) -> object:
    resume_district(world.database, SLUG, actor="x", now=world.clock)
    return world.sync()


TABLE: dict[str, Act] = {
    "sync": lambda world: world.sync(),
    "sync --full": lambda world: world.sync(full=True),
    "plan, apply": lambda world: ordered(world, world.plan()),
    "approve": lambda world: world.standing() and world.approve(),
    "reject": lambda world: world.standing() and world.reject(world.standing() or 0),
    "user edit": lambda world: world.edit(world.id_of("st0024") or "", given_name="Kim"),
    "user archive": lambda world: world.archive(world.id_of("st0025") or "", keep=True),
    "user lock": lambda world: world.lock(world.id_of("st0026") or "", "grade"),
    "undo": undoes,
    "merge": merges,
    "rename-domain": renames,
    "purge": lambda world: ordered(world, purge(world.database, SLUG, actor="x", now=world.clock)),
    "db repair": repairs,
    "source retire": retires,
    "switch": switches,
    "upload": uploads,
    "pause": pauses,
    "resume": resumes,
}
"""Command → what is done."""


def joins(world: World, name: str, connector: str, config: dict[str, object]) -> None:
    """Give the district one more source."""
    with Session(world.database.engine) as session:
        about = {"name": name, "connector": connector, "precedence": 9, "config": config}
        session.add(Source(district_id=int(world.value("SELECT id FROM districts")), **about))
        session.commit()


def damages(world: World) -> None:
    """Write past the ledger."""
    with world.database.write() as connection:
        for statement in (
            "UPDATE users SET grade = '12' WHERE family_name = 'Of st0011'",
            "DELETE FROM memberships WHERE user_id IN"
            " (SELECT id FROM users WHERE family_name = 'Of st0012')",
            "UPDATE schools SET name = 'x' WHERE name = 'Lincoln High'",
            "UPDATE links SET target_id = (SELECT id FROM users WHERE family_name = 'Of st0013')"
            " WHERE target_id = (SELECT id FROM users WHERE family_name = 'Of st0014')",
        ):
            connection.exec_driver_sql(statement)


BEFORE: dict[str, Callable[[World], object]] = {
    "db repair": damages,
    "switch": lambda world: joins(world, "second", "board", {"path": str(world.sis.path)}),
    "upload": lambda world: joins(world, "file", "user_csv", {}),
    "resume": lambda world: pause_district(world.database, SLUG, actor="x", now=world.clock),
}
"""Command → what must be so before it is called, if anything."""


@pytest.fixture
def district(
    copies: tuple[Database, Callable[[], Database]], tmp_path: Path
) -> Callable[[Act], Theatre]:
    """Return a district with a held plan, a changed roster and somebody to purge, for an act."""
    database, copy = copies
    world = new_world(database, tmp_path, retention_days=30)
    world.sis.person("long-gone")
    world.sis.person("st0027", email="sam@old.example")
    yesterday(world)
    world.sis.without("long-gone")
    world.sync(code=0)
    world.later(days=40)
    today(world)
    for number, school in enumerate(world.sis.schools.values()):
        school["nces_id"] = f"{number:012}"  # another vendor's schools are known by it
    world.sync(code=10)
    world.sis.students(2, start=200).student("st0008", grade="11")
    world.save()
    if database.is_sqlite:
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.engine.dispose()
    return lambda act: Theatre(copy, world.rosters, act, world.now)


def before(made: Callable[[World], object] | None, theatre: Theatre) -> Theatre:
    """Return the theatre with something done in each copy of its district."""
    if made is None:
        return theatre

    def copy() -> Database:
        database = theatre.copy()
        made(World(database, theatre.rosters, theatre.now))
        return database

    return replace(theatre, copy=copy)


def passed(theatre: Theatre) -> list[str]:
    """Return the failpoints that an undisturbed act passes, in order, as often as it does."""
    names: list[str] = []
    world = theatre.world()
    with at_failpoints(names.append):
        theatre.act(world)
    return names


def killed_at(act: Act, number: int, statements: int = 0) -> Act:
    """Return the act, ended as by ``kill -9`` at the failpoint with this number.

    ``statements``: it ends only before so many more of them have been sent to the database.
    """

    def act_and_die(world: World) -> object:
        left, more = [number], [statements]

        def count(*_: object) -> None:
            more[0] -= left[0] < 0
            if left[0] < 0 and more[0] <= 0:
                os._exit(137)

        def hook(_: str) -> None:
            if left[0] == 0 and not statements:
                os._exit(137)
            left[0] -= 1

        event.listen(world.database.engine, "before_cursor_execute", count)
        with at_failpoints(hook):
            return act(world)

    return act_and_die


class Table:
    """The table of one database, with what an undisturbed command comes to."""

    def __init__(self, district: Callable[[Act], Theatre]) -> None:
        self.theatres = {
            name: before(BEFORE.get(name), district(act)) for name, act in TABLE.items()
        }
        self._columns: dict[str, list[str]] = {}
        self._ends: dict[str, object] = {}

    def columns(self, name: str) -> list[str]:
        """Return the failpoints that a command passes, in order."""
        if name not in self._columns:
            self._columns[name] = passed(self.theatres[name])
            assert self._columns[name], f"{name} passes no failpoint"
        return self._columns[name]

    def kill(self, name: str, number: int, statements: int = 0) -> None:
        """Kill a command at a failpoint, or a little later, and see that everything holds."""
        theatre = self.theatres[name]
        if name not in self._ends:
            self._ends[name] = undisturbed(theatre)
        where = f"{name} at {self.columns(name)[number]} ({number}, {statements} statements on)"
        world = theatre.world()
        act = killed_at(theatre.act, number, statements)
        with child(Theatre(theatre.copy, theatre.rosters, act, theatre.now), world.database):
            pass
        # a few statements after its last failpoint a command may have ended
        assert codes[-1] == 137 or (statements and codes[-1] == 0), f"nobody died: {where}"
        died_well(theatre, world, self._ends[name], where, damaged=BEFORE.get(name) is damages)
        read_waiting(world.database, SLUG, now=world.clock)  # as the next scheduled run does
        statuses = [row.status for row in world.rows("SELECT status FROM uploads ORDER BY id")]
        assert statuses[-1:] in ([], ["PROCESSED"]), where
        assert set(statuses) <= {"PROCESSED", "FAILED"}, where  # the same file came once more
        world.database.engine.dispose()


def test_kills_drawn_from_the_table_leave_all_or_nothing(
    copies: tuple[Database, Callable[[], Database]], district: Callable[[Act], Theatre]
) -> None:
    table, chance = Table(district), random.Random(SEED)
    commands = chance.sample(list(TABLE), len(TABLE))
    half = commands[::2] if copies[0].is_sqlite else commands[1::2]
    began, kills = time.monotonic(), 0
    while kills < AT_LEAST or (kills < AT_MOST and time.monotonic() - began < SECONDS):
        name = half[kills % len(half)]
        table.kill(name, chance.randrange(len(table.columns(name))))
        kills += 1


@pytest.mark.long
def test_a_kill_anywhere_in_the_table_leaves_all_or_nothing(
    district: Callable[[Act], Theatre],
) -> None:
    table, chance = Table(district), random.Random(SEED)
    everything = {place for name in TABLE for place in table.columns(name)}
    assert {"apply.checked", "apply.district", "order.sealed", "reject.remembered"} <= everything
    assert sum(len(table.columns(name)) for name in TABLE) > 200
    for name in TABLE:
        for number in range(len(table.columns(name))):
            table.kill(name, number)
            table.kill(name, number, chance.randint(1, 6))
