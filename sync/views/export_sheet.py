"""One file of an export: its name, its header, its rows, and whom it cannot carry.

Used by ``export`` and ``export_sets``, which make them, and by whoever writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from core.models import PROFILE_FIELDS

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Somebody whom the file cannot carry, and why."""

    user_id: str
    reason: str


Exported = tuple[str | int, ...] | LeftOut


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file; ``rows`` may be asked for once or often, and are streamed."""

    file: str
    header: tuple[str, ...]
    rows: Callable[[], Iterator[Exported]]


def held_by(connection: Connection, source: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield everybody active or suspended whom a source holds, and what it said of them last.

    The first is a mapping of ``user_id``, ``status`` and the fields of the profile, as the
    directory has them; the second is the normalised record.
    """
    about = {"source": source.id, "after": 0, "size": _PAGE}
    while page := connection.execute(_HELD, about).mappings().all():
        about["after"] = page[-1]["record_id"]
        for row in page:
            yield row, msgspec.json.decode(row["data"])


_HELD = text(
    "SELECT r.id AS record_id, r.data, u.id AS user_id, u.status,"
    f" {', '.join(f'u.{name}' for name in PROFILE_FIELDS)} FROM records r"
    " JOIN links l ON l.record_id = r.id JOIN users u ON u.id = l.target_id"
    " WHERE r.source_id = :source AND r.kind = 'user' AND l.held AND u.status <> 'archived'"
    " AND r.id > :after ORDER BY r.id LIMIT :size"
)
