"""One store for tests of vendors: what differs between the stores is tested in tests/engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.database import Database, open_database


@pytest.fixture
def store(
    _migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """Yield an open, migrated, empty SQLite database."""
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    path = tmp_path / "rostersync.db"
    shutil.copyfile(_migrated_sqlite, path)
    opened = open_database(f"sqlite:///{path}")
    yield opened
    opened.engine.dispose()
