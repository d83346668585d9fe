"""Looking up what evidence knows about rows, so that only new and changed ones are parsed.

Used by ``sync/reading/stream.py`` for the rows that the snapshot does not know. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import TextClause, bindparam, select, text

from core.models import Kind
from core.storage.database import Database
from core.storage.schema import Part, Record, Source
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
        self._connection = stage.connection
        self._database = stage.database
        self._about: dict[str, Any] = {
            "source": source.id,
            "about": stream if joined else kind.value,
        }
        self._query = (_prints_of_parts if joined else _prints_of_records)(stage.database)
        anything = _ANY_PART if joined else _ANY_RECORD
        self.empty = not self._connection.execute(anything, {"source": source.id}).first()

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


_ANY_RECORD = select(Record.id).where(Record.source_id == bindparam("source")).limit(1)
_ANY_PART = select(Part.key).where(Part.source_id == bindparam("source")).limit(1)


# --- Set-wise statements ---
# Thousands of keys are asked for at a time, for every page that is not as it was: they are bound as
# one list, so that the statement is always the same, and looked up by ``uq_records_key`` or the
# primary key of ``parts``.


def _prints_of_records(database: Database) -> TextClause:
    return text(
        "SELECT external_id, raw_print, gist_print, norm_print FROM records"
        " WHERE source_id = :source AND kind = :about AND in_scope AND present AND NOT suspect"
        f" AND {database.among('external_id', 'keys')}"
    )


def _prints_of_parts(database: Database) -> TextClause:
    return text(
        "SELECT key, raw_print, gist_print, NULL FROM parts"
        f" WHERE source_id = :source AND stream = :about AND {database.among('key', 'keys')}"
    )
