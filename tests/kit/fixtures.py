"""Fixtures of the kits: a district to work on, for any test, on both stores.

``world``, ``school`` and ``make_world`` have rosters that a test edits in Python; ``new_town`` and
``middle`` have a calendar; ``cli`` is the command line in this process.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.storage.database import Database, open_database
from tests.kit.command_line import Called, Cli
from tests.kit.school_year import SUMMER, Town, filled
from tests.kit.world import World, new_world

NewWorld = Callable[..., World]
NewTown = Callable[..., Town]


@pytest.fixture
def cli(database: Database, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs the command line on the test's database."""
    from rostersync.cli.app import run

    url = database.url.render_as_string(hide_password=False)

    def call(*arguments: str) -> Called:
        capsys.readouterr()
        code = run([*arguments, "--database", url])
        return Called(code, *capsys.readouterr())

    return call


@pytest.fixture
def make_world(database: Database, tmp_path: Path) -> NewWorld:
    """Return a function that makes a world on an empty database; the test runs on each store."""

    def make(**how: object) -> World:
        return new_world(database, tmp_path, **how)  # type: ignore[arg-type]

    return make


@pytest.fixture
def world(make_world: NewWorld) -> World:
    """A district with one vendor source, ``sis``, and nobody on its roster yet."""
    return make_world()


@pytest.fixture
def school(make_world: NewWorld) -> World:
    """A school of 3 teachers and 22 students, 7 of them eighth graders, read and applied."""
    world = make_world()
    world.sis.teachers(3).students(15, grade="07").students(7, start=15, grade="08")
    assert world.sync().status == "applied"
    return world


@pytest.fixture
def new_town(database: Database, tmp_path: Path) -> NewTown:
    """Return a function that loads a district; the test runs once on each store."""

    def make(more: str = "", **options: object) -> Town:
        return Town(database, tmp_path, more, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def middle(new_town: NewTown) -> Town:
    """Worked example 1: a middle school, synced in June, with a summer before it."""
    return filled(new_town(SUMMER))


@pytest.fixture
def store(
    _migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """Yield an open, migrated, empty SQLite database, for tests that need no other store."""
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    path = tmp_path / "rostersync.db"
    shutil.copyfile(_migrated_sqlite, path)
    opened = open_database(f"sqlite:///{path}")
    yield opened
    opened.engine.dispose()
