"""Open records: evidence that changed, or must be looked at again, until a plan settles it.

They have a table of their own, so that settling somebody does not write their evidence again. The
functions here open records; ``sync/reading/evidence.py`` opens what changed, and
``sync/ledger/apply.py`` and planning close.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, text

from core.storage.schema import OpenRecord

_OPEN = "INSERT INTO open_records (record_id, source_id, kind, cause)"


def is_open(record: str) -> str:
    """SQL: whether the record with this id (an expression) is open."""
    return f"EXISTS (SELECT 1 FROM open_records AS is_open WHERE is_open.record_id = {record})"


def opening(which: str, cause: str = "NULL") -> str:
    """SQL: open the records ``r`` that meet the condition ``which``; open ones stay open."""
    return (
        f"{_OPEN} SELECT r.id, r.source_id, r.kind, {cause} FROM records r WHERE {which}"
        " ON CONFLICT (record_id) DO NOTHING"
    )


def opening_moved(found: str, cause: str, again: str) -> str:
    """SQL: open the records ``r`` that the FROM and WHERE in ``found`` select, each once.

    Two expressions: ``cause`` says why a record changed; ``again`` says which cause is kept
    (``excluded.cause`` is the new one) if it is open already.
    """
    return (
        f"{_OPEN} SELECT DISTINCT r.id, r.source_id, r.kind, {cause}{found}"
        f" ON CONFLICT (record_id) DO UPDATE SET cause = {again}"
    )


def open_people_of(connection: Connection, source_id: int) -> None:
    """Open everybody who is in this source and in another one: the order of precedence changed."""
    connection.execute(_OPEN_PEOPLE_OF_SEVERAL, {"source": source_id})


def open_source(connection: Connection, source_id: int) -> None:
    """Open everybody who is in this source: what follows from its data has changed."""
    connection.execute(_OPEN_PEOPLE, {"source": source_id})


def close(connection: Connection, records: Sequence[int]) -> None:
    """Close records that need nothing to be done."""
    if records:
        connection.execute(_CLOSE, [{"id": record} for record in records])


_CLOSE = delete(OpenRecord.table).where(OpenRecord.record_id == bindparam("id"))


# --- Set-wise statements ---
# They insert from ``records`` what is not open yet, which is one statement for a million people.
# Both find the records by the indexes of ``records`` and ``links``.

_OPEN_PEOPLE = text(opening("r.source_id = :source AND r.kind = 'user'"))
_OPEN_PEOPLE_OF_SEVERAL = text(
    opening(
        "r.id IN (SELECT l.record_id FROM links l"
        " WHERE l.target_id IN (SELECT m.target_id FROM links m JOIN records o ON o.id ="
        " m.record_id WHERE o.source_id = :source AND o.kind = 'user'))"
    )
)
