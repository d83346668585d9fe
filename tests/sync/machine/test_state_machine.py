"""The ten rules of the design, held up against whatever may happen to a district."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import rule, run_state_machine_as_test

from core.storage.database import Database, open_database
from tests.sync.machine import machine

_numbers = itertools.count()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)


@pytest.fixture
def on_sqlite(_migrated_sqlite: Path, key: None) -> type[machine.Engine]:
    class OnSqlite(machine.Engine):
        @staticmethod
        def open_new(folder: Path) -> Database:  # type: ignore[override]
            path = folder / "rostersync.db"
            shutil.copyfile(_migrated_sqlite, path)
            return open_database(f"sqlite:///{path}")

        @rule(edits=machine.edits)
        def a_full_parse_makes_the_same_plan(self, edits: list[Any]) -> None:
            self.edit(edits)
            self.set_way("sis", "whole")
            self.set_way("second", "whole")
            fast, full = machine.same_plan_without_shortcuts(self.world, self.folder)
            assert fast == full

    return OnSqlite


def test_the_rules_hold_whatever_happens(on_sqlite: type[machine.Engine]) -> None:
    run_state_machine_as_test(on_sqlite, settings=settings(max_examples=8, stateful_step_count=20))


@pytest.mark.long
def test_the_rules_hold_whatever_happens_for_long(on_sqlite: type[machine.Engine]) -> None:
    run_state_machine_as_test(
        on_sqlite, settings=settings(max_examples=400, stateful_step_count=50)
    )


@pytest.fixture
def on_postgresql(
    postgres_url: str, _migrated_postgresql: str, key: None
) -> Iterator[type[machine.Engine]]:
    from contextlib import ExitStack

    from tests.kit.databases import new_postgres_database

    with ExitStack() as databases:

        class OnPostgresql(machine.Engine):
            @staticmethod
            def open_new(folder: Path) -> Database:  # type: ignore[override]
                url = databases.enter_context(
                    new_postgres_database(postgres_url, _migrated_postgresql)
                )
                return open_database(url)

        yield OnPostgresql


def test_the_rules_hold_on_postgresql(on_postgresql: type[machine.Engine]) -> None:
    run_state_machine_as_test(
        on_postgresql, settings=settings(max_examples=3, stateful_step_count=16)
    )
