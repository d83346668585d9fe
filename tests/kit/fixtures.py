"""Worlds for the engine's tests: a district with rosters that a test edits, on both stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.database import Database
from tests.engine.kit import World, new_world

NewWorld = Callable[..., World]


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
