"""The types by which rows are read in plain SQL are those that the tables are declared with."""

from __future__ import annotations

from dataclasses import fields

import pytest
from sqlalchemy import JSON, Boolean
from sqlmodel import SQLModel

from core import rows, stored, tables
from core.stored import Types, UtcTime

READ = {
    tables.District: stored.DISTRICT,
    tables.Source: stored.SOURCE,
    tables.User: stored.USER,
    tables.Membership: stored.MEMBERSHIP,
    tables.Run: stored.RUN,
    tables.Fetch: stored.FETCH,
    tables.Plan: stored.PLAN,
    tables.Change: stored.CHANGE,
    tables.PlanGroup: stored.PLAN_GROUP,
    tables.Conflict: stored.CONFLICT,
    tables.Upload: stored.UPLOAD,
    tables.FlexDelivery: stored.FLEX_DELIVERY,
    tables.FlexRequest: stored.FLEX_REQUEST,
}
KINDS = (UtcTime, JSON, Boolean)


def kinds_of(types: Types) -> dict[str, type]:
    return {name: kind for name, each in types.items() for kind in KINDS if isinstance(each, kind)}


@pytest.mark.parametrize("table", READ, ids=lambda table: table.__name__)
def test_a_row_in_plain_sql_is_read_as_its_table_declares(table: type[SQLModel]) -> None:
    declared = {
        column.name: column.type for column in SQLModel.metadata.tables[table.__tablename__].columns
    }
    assert kinds_of(READ[table]) == kinds_of(declared)


@pytest.mark.parametrize("row", [rows.District, rows.Source], ids=lambda row: row.__name__)
def test_a_plain_object_has_the_columns_of_its_table(row: type) -> None:
    table = getattr(tables, row.__name__).__tablename__
    assert [one.name for one in fields(row)] == list(SQLModel.metadata.tables[table].columns.keys())
