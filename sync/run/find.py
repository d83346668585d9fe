"""Finding a district or a source by its name; if there is none, a similar name is suggested.

Used wherever a person or a program names one, and by a run for what it works on. Reads only.
"""

from __future__ import annotations

import difflib
from typing import Any

from sqlalchemy import Connection, bindparam, select

from core.errors import UsageError
from core.storage.schema import District, Source

Json = dict[str, Any]
"""One JSON object of the outside contract."""


def find_district(connection: Connection, slug: str) -> District | None:
    """Return the district of this name, if there is one."""
    return District.one_of(connection.execute(_DISTRICT, {"slug": slug}))


def district_row(connection: Connection, slug: str) -> District:
    """Return the district of this name. Raises ``UsageError`` with the likely name."""
    row = find_district(connection, slug)
    if row is not None:
        return row
    known = list(connection.execute(_SLUGS).scalars())
    near = difflib.get_close_matches(slug, known, n=1)
    hint = "Load a district file first: rostersync load FILE.toml."
    if known:
        hint = f"Did you mean {near[0]}?" if near else "rostersync districts lists them."
    raise UsageError(f"There is no district {slug!r}.", hint=hint)


def source_row(connection: Connection, district: District, name: str) -> Source:
    """Return one source of a district. Raises ``UsageError`` with those there are."""
    rows = {row.name: row for row in source_rows(connection, district.id)}
    if name not in rows:
        raise UsageError(
            f"{district.slug} has no source {name!r}.",
            hint=f"Its sources: {', '.join(rows) or 'none yet'}.",
        )
    return rows[name]


def source_rows(connection: Connection, district_id: int | None) -> list[Source]:
    """Return a district's sources, or those of all districts, in the order of their precedence."""
    if district_id is None:
        return Source.all_of(connection.execute(_ALL_SOURCES))
    return Source.all_of(connection.execute(_SOURCES, {"district": district_id}))


def sources_in_force(connection: Connection, district_id: int) -> list[Source]:
    """Return the sources of a district that a run reads, in the order of their precedence."""
    return Source.all_of(connection.execute(_IN_FORCE, {"district": district_id}))


_DISTRICT = select(District.table).where(District.slug == bindparam("slug"))
_SLUGS = select(District.slug).order_by(District.slug)
_ALL_SOURCES = select(Source.table).order_by(Source.district_id, Source.precedence, Source.id)
_SOURCES = _ALL_SOURCES.where(Source.district_id == bindparam("district"))
_IN_FORCE = _SOURCES.where(Source.configured, ~Source.retired)
