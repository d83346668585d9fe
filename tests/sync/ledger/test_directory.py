"""The directory rebuilt from the ledger is the directory, until somebody writes past the ledger."""

from __future__ import annotations

from pathlib import Path

from core.storage.database import Database
from sync.ledger.directory import people_apart
from tests.kit.world import World, new_world


def apart(world: World) -> list[str]:
    with world.database.read() as connection:
        return [str(one.as_json()) for one in people_apart(connection, 1)]


def test_what_plans_made_is_what_the_ledger_tells(database: Database, tmp_path: Path) -> None:
    world = new_world(database, tmp_path)
    world.sis.school("grant", "Grant").students(12).teachers(3).person("st0003", enabled=False)
    world.sync(code=0)
    assert apart(world) == []
