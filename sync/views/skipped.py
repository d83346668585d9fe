"""Rows that could not be used: what the last reading of a source skipped, and why.

The command ``skipped`` lists them, ``sync/views/why_missing.py`` names a few. No value of a row is
stored; file, line, column and rule lead to it. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from core.storage.schema import Fetch, Finding
from sync.run.display import shown_time
from sync.run.find import Json
from sync.views.districts import BEYOND

_PAGE = 1_000
_FETCHES = 100
"""How many fetches are looked at in one query."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The rows of a source that could not be used.

    ``read_at`` is the time (UTC) of the last reading that reached any row, None if there was none.
    ``complete`` says whether it was complete. ``of`` counts the rows that could not be used;
    ``rows`` yields them, except for the last ``left``.
    """

    read_at: str | None
    complete: bool
    of: int
    left: int
    rows: Iterator[Json]


def skipped(connection: Connection, source_id: int, *, most: int | None = None) -> Skipped:
    """Return the rows of a source that could not be used; ``rows`` yields at most ``most``.

    Keys of a row: ``stream``, ``file`` and ``line`` (None for a vendor's record), ``column`` (may
    be empty), ``rule``, ``message``, ``hint``.
    """
    readings = _readings(connection, source_id)
    if not readings:
        return Skipped(None, complete=False, of=0, left=0, rows=iter(()))
    fetches = [int(one.id) for one in readings]
    of = int(connection.execute(_COUNT, {"fetches": fetches}).scalar_one())
    shown = of if most is None else min(most, of)
    return Skipped(
        shown_time(readings[0].at),
        complete=readings[0].complete,
        of=of,
        left=of - shown,
        rows=_rows(connection, fetches, shown),
    )


_COUNT = (
    select(func.count())
    .select_from(Finding.table)
    .where(Finding.fetch_id.in_(bindparam("fetches", expanding=True)))
)


def _rows(connection: Connection, fetches: Sequence[int], most: int) -> Iterator[Json]:
    """Yield the findings of some fetches page by page; a broken export may have a million."""
    for fetch in fetches:
        last = 0
        while most > 0:
            about = {"fetch": fetch, "last": last, "size": min(most, _PAGE)}
            page = connection.execute(_FINDINGS, about).all()
            if not page:
                break
            last, most = page[-1].seq, most - len(page)
            for row in page:
                yield {
                    "stream": row.stream, "file": row.file, "line": row.line,
                    "column": row.column, "rule": row.rule, "message": row.message,
                    "hint": row.hint,
                }  # fmt: skip


_FINDINGS = (
    select(Finding.table)
    .where(Finding.fetch_id == bindparam("fetch"), Finding.seq > bindparam("last"))
    .order_by(Finding.seq)
    .limit(bindparam("size"))
)


def _readings(connection: Connection, source_id: int) -> list[Any]:
    """Return the fetches with valid findings, the newest first; none if no row was read yet.

    That is the last fetch that reached a row; one that found nothing new, or failed earlier, says
    nothing about rows. If it asked only for changes, findings about other rows are still valid:
    earlier fetches count too, back to the last full one.
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
    about = {"source": source_id, "before": BEYOND, "size": _FETCHES}
    while page := connection.execute(_PAGE_OF_FETCHES, about).all():
        yield from page
        about["before"] = page[-1].id


_PAGE_OF_FETCHES = (
    select(Fetch.table)
    .where(Fetch.source_id == bindparam("source"), Fetch.id < bindparam("before"))
    .order_by(Fetch.id.desc())
    .limit(bindparam("size"))
)
