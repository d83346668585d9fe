"""A table is said once: rows, plain SQL and SQLModel classes are derived from it and agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    insert,
    select,
)
from sqlalchemy.orm import Session

import core.storage.schema
import core.storage.tables
from core.storage.columns import Json, Row, every_table, typed
from core.storage.database import Database
from core.storage.schema import District, Source, User
from core.storage.stored import UtcTime

TABLES = Row.__subclasses__()
ALLOWED = {
    "users": {"status": ["active", "suspended", "archived"], "origin": ["sync", "file", "manual"]},
    "schools": {"status": ["active", "archived"]},
    "plans": {"status": ["draft", "held", "applied"]},
    "uploads": {"status": ["PENDING", "FAILED"]},
    "flex_requests": {"status": ["open", "confirmed"]},
    "installation": {"id": [1]},
}
"""What the constraints of the tables let through."""

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(-(2**31), 2**31), WORDS)
DOCUMENTS = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
).filter(lambda value: value is not None)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=UTC)
)
VALUES = (
    (Json, DOCUMENTS),
    (UtcTime, MOMENTS),
    (Boolean, st.booleans()),
    (BigInteger, st.integers(0, 2**63 - 1)),
    (Integer, st.integers(0, 2**31 - 1)),
    (LargeBinary, st.binary(max_size=20)),
    (String, WORDS),
)


def values_of(table: str, column: Column[Any]) -> st.SearchStrategy[Any]:
    if column.foreign_keys:
        return st.just(1)  # the one district that there is
    allowed = ALLOWED.get(table, {}).get(column.name)
    if allowed is not None:
        return st.sampled_from(allowed)
    found = next(values for kind, values in VALUES if isinstance(column.type, kind))
    return st.none() | found if column.nullable else found


def a_row_of(row: type[Row], *, needed_only: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            column.name: values_of(row.table_name, column)
            for column in row.table.columns
            if not needed_only
            or not (column.nullable or column.default is not None or column.autoincrement is True)
        }
    )


@contextmanager
def with_its_district(row: type[Row], database: Database) -> Iterator[Any]:
    with database.read() as connection:  # what is written here is thrown away
        if row is not District:
            about = {"id": 1, "slug": "springfield", "name": "Springfield", "settings": {}}
            connection.execute(insert(District.table), about)
        yield connection


def as_read(connection: Any, row: type[Row]) -> list[dict[str, Any]]:
    """Return the one row of a table, as each of the ways of reading sees it."""
    mapped = getattr(core.storage.tables, row.__name__)
    with Session(connection) as session:
        by_session = session.execute(select(mapped)).scalar_one()
        return [
            vars(row.one_of(connection.execute(select(row.table)))),
            dict(
                connection.execute(typed(f"SELECT * FROM {row.table_name}", row)).mappings().one()
            ),
            {column.name: getattr(by_session, column.name) for column in row.table.columns},
        ]


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    database = Database(migrated_url)
    yield database
    database.close()


@pytest.mark.parametrize("row", TABLES, ids=lambda row: row.__name__)
@settings(max_examples=8)
@given(data=st.data())
def test_a_row_is_the_same_by_whichever_way_it_is_written_and_read(
    row: type[Row], database: Database, data: st.DataObject
) -> None:
    values = data.draw(a_row_of(row))
    with with_its_district(row, database) as connection:
        connection.execute(insert(row.table), values)
        assert as_read(connection, row) == [values] * 3
    with with_its_district(row, database) as connection:
        with Session(connection) as session:
            session.add(getattr(core.storage.tables, row.__name__)(**values))
            session.flush()
        assert as_read(connection, row) == [values] * 3


@pytest.mark.parametrize("row", TABLES, ids=lambda row: row.__name__)
@settings(max_examples=4)
@given(data=st.data())
def test_what_is_left_out_gets_the_same_default_by_either_way(
    row: type[Row], database: Database, data: st.DataObject
) -> None:
    values = data.draw(a_row_of(row, needed_only=True))
    ids = {"id": 1} if "id" in row.table.columns and "id" not in values else {}
    with with_its_district(row, database) as connection:
        connection.execute(insert(row.table), values | ids)
        (by_core, *_) = as_read(connection, row)
    with with_its_district(row, database) as connection:
        with Session(connection) as session:
            session.add(getattr(core.storage.tables, row.__name__)(**values, **ids))
            session.flush()
        assert as_read(connection, row) == [by_core] * 3
    assert by_core.items() >= values.items()


def test_a_column_that_was_not_read_is_not_guessed() -> None:
    district = District(id=1, slug="springfield")
    assert district.slug == "springfield"
    with pytest.raises(AttributeError, match="settings of District was not read"):
        _ = district.settings


def test_each_declared_table_is_in_the_database_under_its_own_name() -> None:
    assert {row.table_name for row in TABLES} == set(every_table().tables)
    assert [type(column) for column in (Source.id, User.email)] == [Column, Column]
    with pytest.raises(AttributeError, match="no table Nobody"):
        _ = core.storage.tables.Nobody


PARTIAL = [
    (table, index)
    for table in every_table().sorted_tables
    for index in sorted(table.indexes, key=lambda one: str(one.name))
    if index.dialect_options["sqlite"]["where"] is not None
]


@pytest.mark.parametrize(("table", "index"), PARTIAL, ids=[str(one.name) for _, one in PARTIAL])
def test_an_expression_uses_the_partial_index_of_its_condition(
    sqlite_url: str, table: Table, index: Index
) -> None:
    """SQLite uses it only for the very words of the index; PostgreSQL understands others, too."""
    engine = Database(sqlite_url).engine
    every_table().create_all(engine)
    name, *null = str(index.dialect_options["sqlite"]["where"]).split(" ", 1)
    condition = table.c[name].is_not(None) if null else table.c[name]
    query = select(table).where(*(column == "x" for column in index.columns), condition)
    written = query.compile(engine)
    with engine.begin() as connection:
        plan = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {written}", tuple(written.params.values())
        ).all()
    assert [row.detail for row in plan if f" {index.name} " in row.detail] != [], plan


def test_there_are_partial_indexes_of_a_truth_and_of_what_is_not_null() -> None:
    assert {str(index.name) for _, index in PARTIAL} >= {"uq_plans_standing", "ix_records_person"}
