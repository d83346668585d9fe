"""Each guard of the engine is shown to be needed: without it a test that is there fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from core.database import Database, open_database
from tests.engine import machine
from tests.engine.kit import World, new_world
from tests.engine.mutants import MUTANTS
from tests.engine.test_state_machine import key, on_sqlite

__all__ = ["key", "on_sqlite"]


@pytest.mark.parametrize("guard", MUTANTS)
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
    mutant.patch(monkeypatch)
    try:
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            mutant.scenario(make)
    finally:
        for database in opened:
            database.engine.dispose()


BY_MACHINE = [guard for guard, mutant in MUTANTS.items() if mutant.machine]
QUICK = settings(
    max_examples=60,
    stateful_step_count=30,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    "guard",
    [
        guard if guard in ("protection", "limits") else pytest.param(guard, marks=pytest.mark.long)
        for guard in BY_MACHINE
    ],
)
def test_without_the_guard_the_state_machine_fails(
    guard: str, on_sqlite: type[machine.Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    MUTANTS[guard].patch(monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(on_sqlite, settings=QUICK)
