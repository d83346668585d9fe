"""How times and JSON are stored, on both databases, for statements in plain SQL.

A time is fixed-width text in UTC; JSON is text on SQLite and decoded by the driver on PostgreSQL.
``core/storage/columns.py`` has ``typed``, which reads the rows of such a statement as their table
says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Dialect, String, TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A point in time, kept as fixed-width ISO text in UTC, so that it sorts and compares alike.

    Raises ``ValueError`` for a naive value.
    """

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Write an aware time as UTC text with microseconds."""
        return None if value is None else utc_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Read the text back as an aware UTC time."""
        return None if value is None else datetime.fromisoformat(value)


def utc_text(value: datetime) -> str:
    """Return ``value`` as the text that ``UtcTime`` stores. Raises ``ValueError`` if naive."""
    if value.tzinfo is None:
        raise ValueError("a time without a zone cannot be stored")
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def from_json(value: Any) -> Any:
    """Return what a JSON column holds, which only PostgreSQL's driver has decoded already."""
    return msgspec.json.decode(value) if isinstance(value, str) else value


def to_json(value: Any) -> str:
    """Return ``value`` as a JSON column takes it, on both databases."""
    return msgspec.json.encode(value).decode()
