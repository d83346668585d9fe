"""A district and its sources as a run works on them: the whole of their rows, as plain objects.

``core/tables.py`` declares the tables; its classes load too slowly for every start.
``tests/core/test_stored.py`` holds that the fields are the columns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from core.stored import DISTRICT, SOURCE, typed

Json = dict[str, Any]


@dataclass(slots=True, eq=False)
class District:
    """A tenant; see ``core.tables.District`` for what the fields say."""

    id: int
    slug: str
    name: str
    settings: Json
    serial: int
    chain: bytes
    season_state: Json | None
    handled_due: datetime | None
    told: Json | None


@dataclass(slots=True, eq=False)
class Source:
    """One configured connector of a district; see ``core.tables.Source`` for the fields."""

    id: int
    district_id: int
    name: str
    connector: str
    precedence: int
    config: Json
    mapping: Json
    keep_when_missing: list[str]
    own_numbers: list[str]
    configured: bool
    retired: bool
    vendor_district: str | None
    settings_print: bytes | None
    evidence_serial: int
    snapshot_serial: int | None
    complete_at: datetime | None
    full_at: datetime | None
    established: bool
    revision: str | None
    cursor: Json | None
    vendor_state: str | None
    vendor_time: datetime | None
    health: Json | None


def find_district(connection: Connection, slug: str) -> District | None:
    """Return the district of this name, if there is one."""
    row = connection.execute(_DISTRICT, {"slug": slug}).mappings().one_or_none()
    return None if row is None else District(**row)


def read_sources(connection: Connection, district_id: int) -> list[Source]:
    """Return the sources in force of a district, in precedence."""
    rows = connection.execute(_SOURCES, {"district": district_id}).mappings()
    return [Source(**row) for row in rows]


def _columns(row: type[District] | type[Source]) -> str:
    return ", ".join(field.name for field in fields(row))


_DISTRICT = typed(f"SELECT {_columns(District)} FROM districts WHERE slug = :slug", DISTRICT)
_SOURCES = typed(
    f"SELECT {_columns(Source)} FROM sources WHERE district_id = :district AND configured"
    " AND NOT retired ORDER BY precedence, id",
    SOURCE,
)
