"""Finding a district or a source by its name, with a likely name where there is none.

Used wherever a person or a program names one. Reads only.
"""

from __future__ import annotations

import difflib
from typing import Any

from sqlalchemy import Connection, text

from core import stored
from core.errors import UsageError
from core.stored import typed

Json = dict[str, Any]
"""One JSON object of the outside contract."""


def district_row(connection: Connection, slug: str) -> Any:
    """Return the row of a district. Raises ``UsageError`` with the likely name."""
    row = connection.execute(_DISTRICT, {"slug": slug}).one_or_none()
    if row is not None:
        return row
    known = list(connection.execute(_SLUGS).scalars())
    near = difflib.get_close_matches(slug, known, n=1)
    hint = "Load a district file first: rostersync load FILE.toml."
    if known:
        hint = f"Did you mean {near[0]}?" if near else "rostersync districts lists them."
    raise UsageError(f"There is no district {slug!r}.", hint=hint)


def source_row(connection: Connection, district: Any, name: str) -> Any:
    """Return the row of one source of a district. Raises ``UsageError`` with those there are."""
    rows = {row.name: row for row in source_rows(connection, district.id)}
    if name not in rows:
        raise UsageError(
            f"{district.slug} has no source {name!r}.",
            hint=f"Its sources: {', '.join(rows) or 'none yet'}.",
        )
    return rows[name]


def source_rows(connection: Connection, district_id: int | None) -> list[Any]:
    """Return the rows of a district's sources, or of all, in the order of their precedence."""
    where = "" if district_id is None else " WHERE district_id = :district"
    query = f"SELECT * FROM sources{where} ORDER BY district_id, precedence, id"
    return list(connection.execute(typed(query, stored.SOURCE), {"district": district_id}))


_DISTRICT = typed("SELECT * FROM districts WHERE slug = :slug", stored.DISTRICT)
_SLUGS = text("SELECT slug FROM districts ORDER BY slug")
