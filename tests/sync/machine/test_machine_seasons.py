"""Rule 7 and S1 to S7, held up against whatever a year does to a district."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from core.storage.database import Database, open_database
from tests.sync.machine.machine_seasons import Seasons
from tests.sync.machine.mutants_seasons import FOCUSES, MUTANTS, Focus
from tests.sync.machine.test_state_machine import key

__all__ = ["key"]

OnSqlite = Callable[[type[Seasons]], type[Seasons]]


@pytest.fixture
def on_sqlite(_migrated_sqlite: Path, key: None) -> OnSqlite:
    def open_new(folder: Path) -> Database:
        path = folder / "rostersync.db"
        shutil.copyfile(_migrated_sqlite, path)
        return open_database(f"sqlite:///{path}")

    def make(kind: type[Seasons]) -> type[Seasons]:
        return type(kind.__name__, (kind,), {"open_new": staticmethod(open_new)})

    return make


def test_the_rules_hold_the_year_round(on_sqlite: OnSqlite) -> None:
    run_state_machine_as_test(
        on_sqlite(Seasons),
        settings=settings(max_examples=4, stateful_step_count=20, derandomize=True, database=None),
    )


@pytest.mark.long
def test_the_rules_hold_for_many_years(on_sqlite: OnSqlite) -> None:
    run_state_machine_as_test(
        on_sqlite(Seasons), settings=settings(max_examples=60, stateful_step_count=40)
    )


QUICK = settings(
    max_examples=12,
    stateful_step_count=2,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("focus", FOCUSES, ids=lambda one: one.__name__)
def test_with_every_guard_in_place_a_focus_finds_nothing(
    focus: type[Focus], on_sqlite: OnSqlite
) -> None:
    run_state_machine_as_test(on_sqlite(focus), settings=settings(QUICK, max_examples=2))


@pytest.mark.long
@pytest.mark.parametrize("focus", FOCUSES, ids=lambda one: one.__name__)
def test_a_focus_finds_nothing_for_long_either(focus: type[Focus], on_sqlite: OnSqlite) -> None:
    run_state_machine_as_test(
        on_sqlite(focus), settings=settings(max_examples=20, stateful_step_count=4)
    )


@pytest.mark.parametrize("guard", MUTANTS)
def test_without_the_guard_the_machine_fails(
    guard: str, on_sqlite: OnSqlite, monkeypatch: pytest.MonkeyPatch
) -> None:
    MUTANTS[guard].patch(monkeypatch)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        run_state_machine_as_test(on_sqlite(MUTANTS[guard].focus), settings=QUICK)
