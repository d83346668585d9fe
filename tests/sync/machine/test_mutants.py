"""Each guard of the engine is shown to be needed: without it the state machine fails.

And with every guard in place the same short walks find nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from core.storage.database import Database, open_database
from tests.kit.world import World, new_world
from tests.sync.machine.machine_focus import FOCUSES, Focus
from tests.sync.machine.mutants import MUTANTS
from tests.sync.machine.test_state_machine import key

__all__ = ["key"]

QUICK = settings(
    max_examples=100,
    stateful_step_count=5,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
WITH_A_STORY = [guard for guard, mutant in MUTANTS.items() if mutant.scenario is not None]


def on_sqlite(focus: type[Focus], migrated: Path) -> type[Focus]:
    """Return the focus on copies of an empty SQLite database."""

    def open_new(folder: Path) -> Database:
        path = folder / "rostersync.db"
        shutil.copyfile(migrated, path)
        return open_database(f"sqlite:///{path}")

    return type(focus.__name__, (focus,), {"open_new": staticmethod(open_new)})


@pytest.mark.parametrize("guard", MUTANTS)
def test_without_the_guard_the_state_machine_fails(
    guard: str,
    _migrated_sqlite: Path,  # noqa: PT019 - its value is used
    key: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mutant = MUTANTS[guard]
    mutant.patch(monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(on_sqlite(mutant.focus, _migrated_sqlite), settings=QUICK)


@pytest.mark.parametrize("focus", FOCUSES, ids=lambda focus: focus.__name__)
def test_with_every_guard_in_place_a_focus_finds_nothing(
    focus: type[Focus],
    _migrated_sqlite: Path,  # noqa: PT019 - its value is used
    key: None,
) -> None:
    few = settings(QUICK, max_examples=2)
    run_state_machine_as_test(on_sqlite(focus, _migrated_sqlite), settings=few)


@pytest.mark.parametrize("guard", WITH_A_STORY)
def test_without_the_guard_its_story_ends_badly(
    guard: str,
    _migrated_sqlite: Path,  # noqa: PT019 - its value is used
    tmp_path: Path,
    key: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Database] = []

    def make(**how: object) -> World:
        shutil.copyfile(_migrated_sqlite, tmp_path / "rostersync.db")
        opened.append(open_database(f"sqlite:///{tmp_path / 'rostersync.db'}"))
        return new_world(opened[-1], tmp_path, **how)  # type: ignore[arg-type]

    mutant = MUTANTS[guard]
    assert mutant.scenario is not None
    mutant.patch(monkeypatch)
    try:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            mutant.scenario(make)
    finally:
        for database in opened:
            database.engine.dispose()
