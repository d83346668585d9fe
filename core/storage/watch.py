"""The watch over the directory: triggers note whose rows somebody writes past the ledger.

A transaction that applies a plan says so, and the triggers let it pass; the migrations ``0009`` and
``0011`` make them. Anything else that writes these tables, such as a database tool or another
program, leaves the ids in ``outside_edits``. Asking whether there is any costs a look at an empty
table, however many people there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, bindparam, delete, func, insert, select, text

from core.storage.database import MANY_ROWS, Database
from core.storage.schema import Applying, OutsideEdit


@contextmanager
def applying(
    database: Database, connection: Connection, plan_id: int, *, size: int = 0
) -> Iterator[None]:
    """Let the caller's transaction write the directory as a plan of this size says.

    If the block fails, the transaction must be rolled back, which ends this as well.
    """
    if not database.is_sqlite:
        connection.execute(_SAY, {"plan": str(plan_id)})
        yield
        connection.execute(_SAY, {"plan": ""})
    elif size < MANY_ROWS:
        connection.execute(_BEGIN, {"plan_id": plan_id})
        yield
        connection.execute(_END)
    else:
        with _unwatched(connection):
            yield


@contextmanager
def _unwatched(connection: Connection) -> Iterator[None]:
    """Take SQLite's triggers away until the block ends; no other transaction sees it.

    A trigger costs microseconds for each row, and making it again a millisecond.
    """
    triggers = connection.execute(_TRIGGERS).all()
    for name, _ in triggers:
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
    yield
    for _, make in triggers:
        connection.exec_driver_sql(make)


def count_outside_edits(connection: Connection, district_id: int) -> int:
    """Return how many people and schools of a district were edited past the ledger."""
    return int(connection.execute(_COUNT, {"district": district_id}).scalar_one())


def outside_edits(connection: Connection, district_id: int) -> list[str]:
    """Return the ids of the people and schools of a district that were edited past the ledger."""
    return list(connection.execute(_IDS, {"district": district_id}).scalars())


def forget_outside_edits(connection: Connection, district_id: int, targets: Iterable[str]) -> None:
    """Forget that these people and schools were edited: they are as the ledger says."""
    rows = [{"district": district_id, "target": target_id} for target_id in targets]
    if rows:
        connection.execute(_FORGET, rows)


_BEGIN = insert(Applying.table)
_END = delete(Applying.table)
_SAY = select(func.set_config("rostersync.applying", bindparam("plan"), True))
_COUNT = (
    select(func.count())
    .select_from(OutsideEdit.table)
    .where(OutsideEdit.district_id == bindparam("district"))
)
_IDS = (
    select(OutsideEdit.target_id)
    .where(OutsideEdit.district_id == bindparam("district"))
    .order_by(OutsideEdit.target_id)
)
_FORGET = delete(OutsideEdit.table).where(
    OutsideEdit.district_id == bindparam("district"), OutsideEdit.target_id == bindparam("target")
)
_TRIGGERS = text(
    "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'outside%'"
)
