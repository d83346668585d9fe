"""Every expression of Core that a module keeps is understood by both databases.

SQLite takes almost anything. PostgreSQL wants to know the type of each value, and that what is
grouped is what is selected, so a statement that no test runs there may not run at all.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Delete,
    Engine,
    Insert,
    Integer,
    LargeBinary,
    Select,
    Update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.types import NullType

from core.storage.columns import Json
from core.storage.database import Database
from core.storage.stored import UtcTime
from tests.sync.test_statements import MODULES, parts_of

KINDS = (Select, Insert, Update, Delete)
FEWEST = 100


def expressions() -> Iterator[tuple[str, Any]]:
    """Yield the expressions that the modules keep, each with its place."""
    for module in MODULES:
        kept = vars(importlib.import_module(module.removesuffix(".py").replace("/", ".")))
        for name, value in kept.items():
            for part in parts_of(value):
                if isinstance(part, KINDS):
                    yield f"{module}: {name}", part


def a_value(bind: Any) -> Any:
    """Return a value that fits the column with which a parameter is compared, or which it sets."""
    kind = bind.type
    values: tuple[tuple[type[Any], Any], ...] = (
        (UtcTime, datetime(2026, 9, 1, tzinfo=UTC)), (Json, {}), (Boolean, True),
        (BigInteger, 1), (Integer, 1), (LargeBinary, b"x"), (NullType, 1),
    )  # fmt: skip
    found = next((value for one, value in values if isinstance(kind, one)), "x")
    return [found] if bind.expanding else found


def fault_of(engine: Engine, statement: Any) -> str | None:
    """Return what a database says against a statement; that a row does not fit is no fault."""
    try:
        binds = statement.compile(engine).binds
        values = {name: a_value(bind) for name, bind in binds.items() if bind.required}
        with engine.connect() as connection:
            connection.execute(statement, values)
            connection.rollback()
    except IntegrityError:
        return None
    except (SQLAlchemyError, DBAPIError) as error:
        return str(error).splitlines()[0]
    return None


def test_both_databases_understand_every_expression(migrated_url: str) -> None:
    database = Database(migrated_url)
    found = list(expressions())
    faults = {place: fault for place, one in found if (fault := fault_of(database.engine, one))}
    database.close()
    assert faults == {}
    assert len(found) >= FEWEST
