"""The tables as SQLModel classes, for a program that wants mapped objects and sessions.

Each class is made of its declaration in ``core/storage/schema.py`` when it is first asked for, with
the same name, columns and defaults; nothing is declared here. Loading SQLModel takes longer than
most commands take to run, so none of our commands imports this module::

    from core.storage.tables import District

    with Session(engine) as session:
        session.exec(select(District).where(District.slug == "springfield")).one()
"""

from __future__ import annotations

from datetime import datetime
from types import new_class
from typing import Any

from sqlalchemy import Column
from sqlmodel import Field, SQLModel

from core.storage import schema
from core.storage.columns import Json, Row, every_table
from core.storage.stored import UtcTime


def __getattr__(name: str) -> Any:
    """Return the class of the table that ``core/storage/schema.py`` declares by this name."""
    row = getattr(schema, name, None)
    if isinstance(row, type) and issubclass(row, Row) and row is not Row:
        if name not in _MAPPED:
            _MAPPED[name] = _mapped(row)
        return _MAPPED[name]
    raise AttributeError(f"core/storage/schema.py declares no table {name}")


_MAPPED: dict[str, type[SQLModel]] = {}


def _mapped(row: type[Row]) -> type[SQLModel]:
    every_table()  # so that foreign keys find what they point at
    columns = row.table.columns
    body = {
        "__module__": __name__,
        "__doc__": row.__doc__,
        "__table__": row.table,
        "__annotations__": {one.name: _kind(one) for one in columns},
        **{one.name: _field(one) for one in columns},
    }
    return new_class(row.__name__, (SQLModel,), {"table": True}, lambda names: names.update(body))


def _kind(column: Column[Any]) -> Any:
    if isinstance(column.type, Json):
        return Any
    kind = datetime if isinstance(column.type, UtcTime) else column.type.python_type
    return kind | None if column.nullable or column.autoincrement is True else kind


def _field(column: Column[Any]) -> Any:
    options: dict[str, Any] = {"sa_column": column}
    default: Any = column.default
    if default is None:
        if column.nullable or column.autoincrement is True:
            options["default"] = None
    elif default.is_callable:
        options["default_factory"] = lambda: default.arg(None)
    else:
        options["default"] = default.arg
    return Field(**options)
