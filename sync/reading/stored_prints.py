"""Looking up what evidence knows about rows, so that only new and changed ones are parsed.

Used by ``sync/reading/stream.py`` for the rows that the snapshot does not know. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import text

from core.models import Kind
from core.storage.schema import Source
from sync.reading.stage import Stage

_ROWS_PER_LOOKUP = 5_000


class StoredPrints(NamedTuple):
    """What evidence knows about one row: its raw, gist and normalised fingerprints."""

    raw: bytes | None
    gist: bytes | None
    norm: bytes | None


class Records:
    """Looks up what evidence knows about keys, as far as it is still valid."""

    def __init__(self, stage: Stage, source: Source, stream: str, kind: Kind, joined: bool) -> None:
        connection = stage.connection
        self._connection = connection
        self._database = stage.database
        if joined:
            table, key, norm, about = "parts", "key", "NULL", {"about": stream}
            where = "stream = :about"
        else:
            table, key, norm, about = "records", "external_id", "norm_print", {"about": kind.value}
            where = "kind = :about AND in_scope AND present AND NOT suspect"
        self._about: dict[str, Any] = about | {"source": source.id}
        self._query = text(
            f"SELECT {key}, raw_print, gist_print, {norm} FROM {table}"
            f" WHERE source_id = :source AND {where} AND {self._database.among(key, 'keys')}"
        )
        self.empty = not connection.execute(
            text(f"SELECT 1 FROM {table} WHERE source_id = :source LIMIT 1"),
            {"source": source.id},
        ).first()

    def look_up(self, keys: Sequence[str]) -> dict[str, StoredPrints]:
        """Return those of ``keys`` that are known."""
        if self.empty:
            return {}
        known: dict[str, StoredPrints] = {}
        for start in range(0, len(keys), _ROWS_PER_LOOKUP):
            some = self._database.bound_list(keys[start : start + _ROWS_PER_LOOKUP])
            for row in self._connection.execute(self._query, self._about | {"keys": some}):
                known[row[0]] = StoredPrints(row[1], row[2], row[3])
        return known
