"""Rows that could not be used, or not wholly: what the last reading of a source met, and why.

The command ``skipped`` lists them, ``sync/views/why_missing.py`` names a few, and
``sync/views/left_open.py`` counts them. A row is listed once, with everything that is wrong with
it. No value of a row is stored: file, line, column and rule lead to it, or a server's id. Reads
only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, select

from core.storage.schema import Fetch, Finding
from sync.run.display import shown_time
from sync.run.find import Json
from sync.views.districts import BEYOND

_PAGE = 1_000
_FETCHES = 100
"""How many fetches are looked at in one query."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The rows of a source that could not be used, and those of which a value was left out.

    ``read_at`` is the time (UTC) of the last reading that reached any row, None if there was none.
    ``complete`` says whether it was complete. ``of`` counts the rows that could not be used,
    ``left_out`` the others; ``rows`` yields all of them, except for the last ``left``. ``withheld``
    counts people who are missing and stay, because a row may be about any of them (F5);
    ``withheld_by`` says which rows these are: ``{"stream", "file", "line"}``.
    """

    read_at: str | None
    complete: bool
    of: int
    left_out: int
    left: int
    rows: Iterator[Json]
    withheld: int = 0
    withheld_by: Sequence[Json] = ()


def skipped(connection: Connection, source_id: int, *, most: int | None = None) -> Skipped:
    """Return the rows of a source that could not be used; ``rows`` yields at most ``most``.

    Keys of a row: ``stream``, ``file`` and ``line`` (None for a vendor's record), ``external_id``
    (of a vendor's record), ``left_out`` (the row is used without the value) and ``faults``, each
    with ``column`` (may be empty), ``rule``, ``message`` and ``hint``. What its first fault says
    stands in the row, too.
    """
    readings = _readings(connection, source_id)
    if not readings:
        return Skipped(None, complete=False, of=0, left_out=0, left=0, rows=iter(()))
    fetches = [int(one.id) for one in readings]
    counted = connection.execute(_COUNT, {"fetches": fetches}).one()
    number, of = int(counted.rows), int(counted.unusable or 0)
    shown = number if most is None else min(most, number)
    return Skipped(
        shown_time(readings[0].at),
        complete=readings[0].complete,
        of=of,
        left_out=number - of,
        left=number - shown,
        rows=_rows(connection, fetches, shown),
        withheld=sum(int(one.certificate.get("withheld") or 0) for one in readings),
        withheld_by=[row for one in readings for row in one.certificate.get("withheld_by") or ()],
    )


_F = Finding.table.c
_WITHOUT_PLACE = and_(_F.line.is_(None), _F.external_id.is_(None))
_ROWS = (
    select(func.min(case((_F.left_out, 1), else_=0)).label("used"))
    .where(_F.fetch_id.in_(bindparam("fetches", expanding=True)))
    .group_by(
        _F.fetch_id, _F.stream, _F.file, _F.line, _F.external_id,
        case((_WITHOUT_PLACE, _F.seq), else_=0),
    )
    .subquery()
)  # fmt: skip
"""Each row once: 1 where all that is wrong with it are values that were left out, else 0."""
_COUNT = select(
    func.count().label("rows"), func.sum(1 - _ROWS.c.used).label("unusable")
).select_from(_ROWS)


def _rows(connection: Connection, fetches: Sequence[int], most: int) -> Iterator[Json]:
    """Yield each row once, with its faults."""
    for place, faults in islice(groupby(_faults(connection, fetches), _place), most):
        found = list(faults)
        stream, file, line, external_id = place[1:5]
        told = [
            {"column": one.column, "rule": one.rule, "message": one.message, "hint": one.hint}
            for one in found
        ]
        yield {
            "stream": stream, "file": file, "line": line, "external_id": external_id,
            "left_out": all(one.left_out for one in found), **told[0], "faults": told,
        }  # fmt: skip


def _place(fault: Any) -> tuple[Any, ...]:
    """Return what tells one row from another; a row of which neither is known stands alone."""
    alone = fault.line is None and fault.external_id is None
    place = (fault.fetch_id, fault.stream, fault.file, fault.line, fault.external_id)
    return (*place, fault.seq if alone else 0)


def _faults(connection: Connection, fetches: Sequence[int]) -> Iterator[Any]:
    """Yield the findings of some fetches page by page; a broken export may have a million.

    They were stored in the order of their rows, so those of one row stand together.
    """
    for fetch in fetches:
        last = 0
        while page := connection.execute(
            _FINDINGS, {"fetch": fetch, "last": last, "size": _PAGE}
        ).all():
            yield from page
            last = page[-1].seq


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
