"""The ground that storage tests stand on: both stores are real, and start empty."""

from __future__ import annotations

import sqlalchemy as sa


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
