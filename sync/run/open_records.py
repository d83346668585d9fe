"""Open records: evidence that moved, or must be looked at again, until a plan settles it.

A table of its own, so that settling somebody does not write their evidence a second time. This is
how records are opened; ``sync/reading/evidence.py`` opens what moved, ``sync/ledger/apply.py`` and
planning close.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

_OPEN = "INSERT INTO open_records (record_id, source_id, kind, cause)"


def is_open(record: str) -> str:
    """SQL: is the record open whose id the expression is."""
    return f"EXISTS (SELECT 1 FROM open_records AS is_open WHERE is_open.record_id = {record})"


def opening(which: str, cause: str = "NULL") -> str:
    """SQL: open the records ``r`` of which ``which`` holds; whoever is open already stays so."""
    return (
        f"{_OPEN} SELECT r.id, r.source_id, r.kind, {cause} FROM records r WHERE {which}"
        " ON CONFLICT (record_id) DO NOTHING"
    )


def opening_moved(found: str, cause: str, again: str) -> str:
    """SQL: open the records ``r`` that the FROM and WHERE ``found`` have, each once.

    Expressions: ``cause`` says why a record moved, ``again`` what is kept of that
    (``excluded.cause``) where it is open already.
    """
    return (
        f"{_OPEN} SELECT DISTINCT r.id, r.source_id, r.kind, {cause}{found}"
        f" ON CONFLICT (record_id) DO UPDATE SET cause = {again}"
    )


def open_people_of(connection: Connection, source_id: int) -> None:
    """Open everybody of whom this source and another one speak: who wins has changed."""
    connection.execute(_OPEN_SHARED, {"source": source_id})


def open_source(connection: Connection, source_id: int) -> None:
    """Open everybody of whom this source speaks: what follows from its word has changed."""
    connection.execute(_OPEN_SOURCE, {"source": source_id})


_OPEN_SOURCE = text(opening("r.source_id = :source AND r.kind = 'user'"))
_OPEN_SHARED = text(
    opening(
        "r.id IN (SELECT l.record_id FROM links l"
        " WHERE l.target_id IN (SELECT m.target_id FROM links m JOIN records o ON o.id ="
        " m.record_id WHERE o.source_id = :source AND o.kind = 'user'))"
    )
)


def close(connection: Connection, records: Sequence[int]) -> None:
    """Close records about which there is nothing to do."""
    if records:
        connection.execute(_CLOSE, [{"id": record} for record in records])


_CLOSE = text("DELETE FROM open_records WHERE record_id = :id")
