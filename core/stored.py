"""How values are stored, and what a row must be read as where it is asked for in plain SQL.

A time is fixed-width text in UTC, JSON is text on SQLite and decoded by the driver on PostgreSQL,
a truth is 0 or 1 on SQLite. ``core/tables.py`` declares the tables with these types; whoever only
reads them names them here instead, for loading the classes takes longer than most commands take::

    connection.execute(typed("SELECT * FROM plans WHERE id = :plan", PLAN), {"plan": 12})

``tests/core/test_stored.py`` holds that the names here are those of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import JSON, Boolean, Dialect, String, TypeDecorator, text
from sqlalchemy.sql.selectable import TextualSelect

Types = Mapping[str, Any]
"""Column → its type, for those that are not read as they are stored."""


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


def typed(query: str, *types: Types) -> TextualSelect:
    """Return the query, its rows read by ``types``; of two with one name the later one counts."""
    columns: dict[str, Any] = {}
    for each in types:
        columns |= each
    return text(query).columns(**columns)


def _types(*, times: str = "", json: str = "", truths: str = "") -> Types:
    kinds = ((times, UtcTime()), (json, JSON(none_as_null=True)), (truths, Boolean()))
    return {name: kind for names, kind in kinds for name in names.split()}


DISTRICT = _types(times="handled_due", json="settings season_state told")
SOURCE = _types(
    times="complete_at full_at vendor_time",
    json="config mapping keep_when_missing own_numbers cursor health",
    truths="configured retired established",
)
USER = _types(
    times="created_at archived_at hand_at", json="locked_fields", truths="protected kept_archived"
)
MEMBERSHIP = _types(truths="is_primary")
RUN = _types(times="started_at finished_at", json="error")
FETCH = _types(times="at", json="certificate", truths="complete")
PLAN = _types(
    times="created_at expires_at decided_at applied_at",
    json="counts schools held certificates establishes additions effects",
    truths="standing guarded approved",
)
CHANGE = _types(json="before after basis")
PLAN_GROUP = _types(json="first")
CONFLICT = _types(times="decided_at created_at", json="candidates")
UPLOAD = _types(times="created_at modified_at kept_until", json="counts", truths="dry")
FLEX_DELIVERY = _types(times="changed_at")
FLEX_REQUEST = _types(times="created_at confirmed_at", json="fields")
