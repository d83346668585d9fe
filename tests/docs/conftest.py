"""A reader at an empty folder, with nothing of this machine's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.console import Reader


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Return a reader called maria, as the pages call the admin."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROSTERSYNC_DATABASE_URL", "ROSTERSYNC_KEY", "ROSTERSYNC_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGNAME", "maria")
    return Reader(tmp_path)
