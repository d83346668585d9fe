"""Open records: evidence that moved, or must be looked at again, until a plan settles it.

A table of its own, so that settling somebody does not write their evidence a second time. This is
how records are opened; ``sync/evidence.py`` opens what moved, ``sync/apply.py`` and planning close.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

_COLUMNS = "INSERT INTO open_records (record_id, source_id, kind, cause)"


def is_open(record: str) -> str:
    """SQL: is the record open whose id the expression is."""
    return f"EXISTS (SELECT 1 FROM open_records WHERE open_records.record_id = {record})"


def opening(which: str, cause: str = "NULL") -> str:
    """SQL: open the records ``r`` of which ``which`` holds; whoever is open already stays so."""
    return (
        f"{_COLUMNS} SELECT r.id, r.source_id, r.kind, {cause} FROM records r WHERE {which}"
        " ON CONFLICT (record_id) DO NOTHING"
    )


def opening_moved(found: str, cause: str, again: str = "excluded.cause") -> str:
    """SQL: open the records of ``:source`` that the query ``found`` has, each once.

    ``found`` selects ``id`` and ``kind``; ``cause`` says of a row ``s`` of it why it moved, and
    ``again`` what is kept of whoever is open already.
    """
    return (
        f"WITH s AS MATERIALIZED ({found}) {_COLUMNS}"
        f" SELECT s.id, CAST(:source AS BIGINT), s.kind, {cause} FROM s WHERE TRUE"
        f" ON CONFLICT (record_id) DO UPDATE SET cause = {again}"
    )


def close(connection: Connection, records: Sequence[int]) -> None:
    """Close records about which there is nothing to do."""
    if records:
        connection.execute(_CLOSE, [{"id": record} for record in records])


_CLOSE = text("DELETE FROM open_records WHERE record_id = :id")
