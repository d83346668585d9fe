"""Alembic's entry: runs our migrations on the connection that ``Database.upgrade`` hands over."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

import core.storage.schema  # noqa: F401 - the tables that a migration is compared with
from core.storage.columns import Json, every_table
from core.storage.stored import UtcTime


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write column types in SQLAlchemy's own words, so that a migration needs no code of today."""
    if kind == "type":
        if isinstance(item, UtcTime):
            return "sa.String(length=32)"
        if isinstance(item, Json):
            return "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=every_table(),
    render_as_batch=True,
    render_item=render_item,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
