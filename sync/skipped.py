"""Rows that could not be used: what the last reading of a source passed over, and why.

The command ``skipped`` lists them, ``sync/why_not.py`` names a few. No value of a row is kept:
file, line, column and rule lead to it. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlmodel import col

from core.tables import Fetch, Finding
from sync.views import Json, shown_time

_PAGE = 1_000
_FETCHES = 100
"""How many fetches are looked at in one query."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What could not be used of a source.

    ``read_at`` is the time of the last reading that came to any row, in UTC; None: there was none
    yet. ``complete`` says whether it was whole. ``of`` counts the rows that could not be used,
    ``rows`` yields them, all but the last ``left``.
    """

    read_at: str | None
    complete: bool
    of: int
    left: int
    rows: Iterator[Json]


def skipped(connection: Connection, source_id: int, *, most: int | None = None) -> Skipped:
    """Return what could not be used of a source; ``rows`` yields at most ``most`` of it.

    Keys of a row: ``stream``, ``file`` and ``line`` (None for a vendor's record), ``column`` (may
    be empty), ``rule``, ``message``, ``hint``.
    """
    readings = _readings(connection, source_id)
    if not readings:
        return Skipped(None, complete=False, of=0, left=0, rows=iter(()))
    fetches = [int(one.id) for one in readings]
    of = int(
        connection.execute(
            select(func.count()).select_from(Finding).where(col(Finding.fetch_id).in_(fetches))
        ).scalar_one()
    )
    shown = of if most is None else min(most, of)
    return Skipped(
        shown_time(readings[0].at),
        complete=readings[0].complete,
        of=of,
        left=of - shown,
        rows=_rows(connection, fetches, shown),
    )


def _rows(connection: Connection, fetches: Sequence[int], most: int) -> Iterator[Json]:
    """Yield the findings of some fetches page by page: a broken export may have a million."""
    for fetch in fetches:
        last = 0
        while most > 0:
            page = connection.execute(
                select(Finding)
                .where(col(Finding.fetch_id) == fetch, col(Finding.seq) > last)
                .order_by(col(Finding.seq))
                .limit(min(most, _PAGE))
            ).all()
            if not page:
                break
            last, most = page[-1].seq, most - len(page)
            for row in page:
                yield {
                    "stream": row.stream, "file": row.file, "line": row.line,
                    "column": row.column, "rule": row.rule, "message": row.message,
                    "hint": row.hint,
                }  # fmt: skip


def _readings(connection: Connection, source_id: int) -> list[Any]:
    """Return the fetches whose findings stand, the newest first; none if no row was read yet.

    It is the last one that came to a row: one that found nothing new, or failed before, says
    nothing of rows. Where it asked for the latest changes only, what was wrong with the other rows
    still is: those before it count too, up to the last that read everything.
    """
    found: list[Any] = []
    for fetch in _newest_first(connection, source_id):
        if fetch.certificate.get("unchanged") or not fetch.certificate.get("records"):
            continue
        if found and not fetch.complete:
            continue  # what it came to was read again by the one after it
        found.append(fetch)
        if not fetch.complete or not fetch.certificate.get("incremental"):
            break
    return found


def _newest_first(connection: Connection, source_id: int) -> Iterator[Any]:
    before: int | None = None
    while True:
        query: Any = (
            select(Fetch)
            .where(col(Fetch.source_id) == source_id)
            .order_by(col(Fetch.id).desc())
            .limit(_FETCHES)
        )
        if before is not None:
            query = query.where(col(Fetch.id) < before)
        page = connection.execute(query).all()
        if not page:
            return
        yield from page
        before = page[-1].id
