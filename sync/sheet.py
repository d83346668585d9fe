"""One file of an export: its name, its header, its rows, and whom it cannot carry.

Used by ``export`` and ``export_sets``, which make them, and by whoever writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, select
from sqlmodel import col

from core.models import PROFILE_FIELDS, UserStatus
from core.tables import Link, Record, User

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
    after = 0
    while True:
        query: Any = (
            select(col(Record.id).label("record_id"), col(Record.data), *_WANTED)
            .join(Link, col(Link.record_id) == col(Record.id))
            .join(User, col(User.id) == col(Link.target_id))
            .where(
                col(Record.source_id) == source.id,
                col(Record.kind) == "user",
                col(Link.held),
                col(User.status) != UserStatus.ARCHIVED.value,
                col(Record.id) > after,
            )
            .order_by(col(Record.id))
            .limit(_PAGE)
        )
        page = connection.execute(query).mappings().all()
        if not page:
            return
        after = page[-1]["record_id"]
        for row in page:
            yield row, msgspec.json.decode(row["data"])


_WANTED: tuple[Any, ...] = (
    col(User.id).label("user_id"), col(User.status), *(getattr(User, n) for n in PROFILE_FIELDS),
)  # fmt: skip
