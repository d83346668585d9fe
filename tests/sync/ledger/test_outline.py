"""A large plan is shown from its outline, and looks just as if its changes had been counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.storage.database import Database, open_database
from sync.views import plans as plan_views
from sync.views.plan_summary import Summary, summarize
from tests.kit.paper import Paper, Town
from tests.sync.reading.test_complexity import counted, roster


@pytest.fixture(autouse=True)
def _every_plan_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.ledger.seal.LARGE", 1)


def plans_of(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.execute(text("SELECT id FROM plans ORDER BY id")).scalars())


def shown(database: Database, plan: int, **how: int) -> Summary:
    with database.read() as connection:
        return summarize(connection, plan, **{"schools": 3, "each": 2, **how})


def test_an_outline_shows_what_counting_the_changes_shows(database: Database) -> None:
    town = Town(database, forgetful=False)
    town.sync(roster(300), Paper)
    town.sync(roster(300, renamed=30, joined=3), Paper)
    left = roster(300, renamed=30, joined=3)
    assert town.sync(replace(left, users=left.users[90:]), Paper)["status"] == "held"
    some = replace(left, users=[*left.users[80:], *roster(300, renamed=10).users[:5]])
    town.sync(some, Paper)
    plans = plans_of(database)
    assert len(plans) >= 4
    how: list[dict[str, Any]] = [{}, {"each": 9}, {"each": 30}, {"schools": 99, "each": 5}]
    outlined = [[shown(database, plan, **one) for one in how] for plan in plans]
    with database.write() as connection:
        kept = connection.execute(text("SELECT COUNT(DISTINCT plan_id) FROM plan_groups")).scalar()
        assert kept == len(plans)
        connection.execute(text("DELETE FROM plan_groups"))
    assert outlined == [[shown(database, plan, **one) for one in how] for plan in plans]


def test_a_large_plan_is_opened_without_going_through_it(tmp_path: Path) -> None:
    steps = []
    for size in (1_000, 8_000):
        database = open_database(f"sqlite:///{tmp_path / f'{size}.db'}")
        Town(database, forgetful=False).sync(roster(size), Paper)
        (plan,) = plans_of(database)
        with counted(database) as cost, database.read() as connection:
            summarize(connection, plan, schools=15, each=5)
            list(plan_views.iter_changes(connection, plan, offset=size - 10, limit=10))
        steps.append(cost.steps)
        database.engine.dispose()
    assert steps[1] <= steps[0] + 3
