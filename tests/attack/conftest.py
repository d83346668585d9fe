"""A district with two sources: ``sis`` is read from a hostile server, ``town`` is healthy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from core.storage.database import Database, open_database
from core.storage.tables import Source
from sync.run.outcome import Outcome
from tests.attack.hostile import CONNECTORS, Hostile, people
from tests.kit.world import World, new_world

SECRETS = ("token", "bearer", "client_secret", "api_key")


@dataclass
class Attacked:
    """The district, its hostile vendor, and how to look at what came of it."""

    world: World
    vendor: Hostile
    newcomers: int = 0

    def sync(self, *, code: int | None = None) -> Outcome:
        """Let somebody new join in the healthy source, sync, and see that they arrived (F8)."""
        self.newcomers += 1
        key = f"town{self.newcomers}"
        self.world.rosters["town"].teacher(key)
        self.world.later(days=1)  # limits count what joins within a week
        outcome = self.world.sync(code=code)
        assert self.world.user(key, "town")["status"] == "active", (outcome, outcome.error)
        return outcome

    def spared(self) -> None:
        """Nobody whom the vendor still has was archived."""
        statuses = self.world.statuses("sis")
        gone = {person["id"] for person in self.vendor.people if
                statuses.get(person["id"]) == "archived"}  # fmt: skip
        assert not gone

    def told(self) -> str:
        """Return everything that runs, readings and findings keep: no name may stand there."""
        kept: list[Any] = []
        for table in ("runs", "fetches", "findings"):
            kept += [tuple(row) for row in self.world.rows(f"SELECT * FROM {table}")]
        return repr(kept)

    def certificate(self) -> dict[str, Any]:
        """Return the certificate of the last reading of the hostile source."""
        found = self.world.value(
            "SELECT f.certificate FROM fetches f JOIN sources s ON s.id = f.source_id"
            " WHERE s.name = 'sis' ORDER BY f.id DESC LIMIT 1"
        )
        document = json.loads(found) if isinstance(found, str) else found
        return dict(document)


Attack = Callable[..., Attacked]


@pytest.fixture
def attack_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Attacked]]:
    """Return a function that makes such a district on a database, in one dialect."""
    with ExitStack() as open_servers:

        def make(database: Database, dialect: str, *, count: int = 20, **how: Any) -> Attacked:
            vendor = open_servers.enter_context(Hostile(dialect))
            vendor.people = people(count)
            world = new_world(database, tmp_path, sources={"town": "board"})
            add_source(world, "sis", CONNECTORS[dialect], vendor.config(**how), monkeypatch)
            return Attacked(world, vendor)

        yield make


@pytest.fixture
def attack(store: Database, attack_on: Callable[..., Attacked]) -> Attack:
    """Return a function that makes such a district on SQLite."""
    return lambda dialect, **how: attack_on(store, dialect, **how)


def add_source(
    world: World,
    name: str,
    connector: str,
    config: Mapping[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Give the district of a world another source; its secrets stand in the environment."""
    stored = dict(config)
    for secret in SECRETS:
        if secret in stored:
            monkeypatch.setenv(f"ATTACK_{secret.upper()}", stored[secret])
            stored[secret] = f"env:ATTACK_{secret.upper()}"
    with Session(world.database.engine) as session:
        district = world.value("SELECT id FROM districts")
        session.add(
            Source(
                district_id=district, name=name, connector=connector, precedence=9, config=stored
            )
        )
        session.commit()


@pytest.fixture
def both(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Database, Database]]:
    """Yield two empty databases with our tables: one of SQLite, one of PostgreSQL."""
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    path = tmp_path / "edges.db"
    shutil.copyfile(request.getfixturevalue("_migrated_sqlite"), path)
    with ExitStack() as stack:
        url = stack.enter_context(request.getfixturevalue("_postgresql_pool").lend())
        opened = open_database(f"sqlite:///{path}"), open_database(url)
        yield opened
        for database in opened:
            database.engine.dispose()
