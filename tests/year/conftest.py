"""Towns on each store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.database import Database
from tests.year.kit import SUMMER, Town, filled, install

NewTown = Callable[..., Town]


@pytest.fixture(autouse=True)
def _town_connector(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


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
