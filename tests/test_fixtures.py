"""The ground that storage tests stand on: both stores are real, and start empty."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from core.storage.database import Database
from tests.kit import databases


def _leave_a_table(url: str) -> list[str]:
    engine = sa.create_engine(url)
    try:
        before = sa.inspect(engine).get_table_names()
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE footprint (id INTEGER)"))
        return before
    finally:
        engine.dispose()


def test_a_test_gets_an_empty_database(database_url: str) -> None:
    assert _leave_a_table(database_url) == []


def test_the_next_test_gets_an_empty_database_too(database_url: str) -> None:
    assert _leave_a_table(database_url) == []


def test_the_postgresql_of_the_tests_is_a_real_one(postgresql_url: str) -> None:
    engine = sa.create_engine(postgresql_url)
    try:
        with engine.connect() as connection:
            version = connection.execute(sa.text("SHOW server_version_num")).scalar_one()
    finally:
        engine.dispose()
    assert int(version) >= 160000


def test_what_cannot_run_here_is_skipped_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "IN_CI", False)
    with pytest.raises(pytest.skip.Exception, match="there is no server"):
        databases.cannot_run("there is no server")


def test_what_cannot_run_in_ci_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "IN_CI", True)
    with pytest.raises(pytest.fail.Exception, match="there is no server"):
        databases.cannot_run("there is no server")


def test_a_migrated_database_is_current_and_empty(database: Database) -> None:
    database.prepare()
    with database.write() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM districts")).scalar() == 0
        connection.execute(sa.text("DROP TABLE changes"))


def test_the_next_one_has_all_its_tables_again(database: Database) -> None:
    assert "changes" in sa.inspect(database.engine).get_table_names()
