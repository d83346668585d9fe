"""What an app that embeds rostersync calls; the command line is a thin layer over the same.

Every function takes a ``Database`` (``rostersync.open_database(url)``) and a district's slug. Long
results are iterators that hold a read transaction until they are exhausted or closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.storage.database import Database

if TYPE_CHECKING:
    from sync.acts.upload import Uploaded
    from sync.run.outcome import Outcome
    from sync.sources.district_load import LoadResult
    from sync.views.people import UserFilter


def load_district(database: Database, path: str | Path, *, dry_run: bool = False) -> LoadResult:
    """Create or update districts and sources from a file; it removes nothing.

    Raises ``ConfigError`` naming key and line.
    """
    from sync.sources.district_load import load_district_file

    return load_district_file(database, Path(path), dry_run=dry_run)


def plan(
    database: Database,
    district: str,
    *,
    sources: Sequence[str] = (),
    full: bool = False,
    actor: str,
) -> Outcome:
    """Read the rosters and store what would change as plans; change nobody.

    The outcome names the plans; ``error`` says why a source could not be read.
    """
    from sync.engine import plan_district

    return plan_district(database, district, sources=sources, full=full, actor=actor)


def sync(
    database: Database,
    district: str,
    *,
    sources: Sequence[str] = (),
    full: bool = False,
    during_pause: bool = False,
    actor: str,
) -> Outcome:
    """Read the rosters and apply what is safe; the rest waits as a held plan."""
    from sync.engine import sync_district

    return sync_district(
        database, district, sources=sources, full=full, during_pause=during_pause, actor=actor
    )


def upload(
    database: Database,
    district: str,
    path: str | Path,
    *,
    source: str | None = None,
    dry: bool = False,
    during_pause: bool = False,
    without_report: bool = False,
    actor: str,
) -> Uploaded:
    """Read an uploaded file; the result lists what is wrong in which line.

    ``without_report``: take a firm's one upload although no FinPro report is configured.
    """
    from sync.acts.upload import upload_file

    return upload_file(
        database, district, Path(path), source=source, dry=dry, during_pause=during_pause,
        without_report=without_report, actor=actor,
    )  # fmt: skip


def apply(
    database: Database, plan_id: str | int, *, during_pause: bool = False, actor: str
) -> Outcome:
    """Apply a planned or approved plan: exactly what was sealed, or nothing."""
    from sync.acts.approval import apply_plan

    return apply_plan(database, _number(plan_id), actor=actor, during_pause=during_pause)


def approve(
    database: Database,
    plan_id: str | int,
    *,
    reason: str | None = None,
    apply: bool = True,
    during_pause: bool = False,
    actor: str,
) -> Outcome:
    """Release a held plan and, unless told otherwise, apply it."""
    from sync.acts.approval import approve_plan

    return approve_plan(
        database,
        _number(plan_id),
        actor=actor,
        reason=reason,
        apply=apply,
        during_pause=during_pause,
    )


def reject(database: Database, plan_id: str | int, *, reason: str, actor: str) -> Outcome:
    """Refuse a plan; it is remembered until the evidence changes."""
    from sync.acts.approval import reject_plan

    return reject_plan(database, _number(plan_id), actor=actor, reason=reason)


def users(
    database: Database, district: str, wanted: UserFilter | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the users of a district in the shape of ``rostersync users --json``."""
    from sync.run import find
    from sync.views import people

    with database.read() as connection:
        row = find.district_row(connection, district)
        yield from people.users(connection, row, wanted)


def changes(
    database: Database, district: str, since: int | str, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the applied changes after a cursor, each with its own: the feed that an app follows.

    An app that remembers the ``cursor`` of the last change it got misses nothing. ``since`` is that
    cursor, 0 for the start, or a bare serial (of which nobody can tell whether it is of this
    history). Raises ``UnknownCursor`` when the first change is asked for, if this ledger never
    gave the cursor: read all users, then go on from its ``go_on_from``.
    """
    from sync.ledger.cursor import serial_of
    from sync.run import find
    from sync.views import plans

    with database.read() as connection:
        row = find.district_row(connection, district)
        serial = serial_of(connection, row, since)
        end = plans.feed_end(connection, row, serial, limit)
        yield from plans.feed(connection, row, serial, end)


def cursor(database: Database, district: str) -> str:
    """Return the cursor after the newest change: take it, read all users, then follow from it.

    What is applied while the users are read comes again as a change, so nothing is missed.
    """
    from sync.ledger.cursor import cursor_now
    from sync.run import find

    with database.read() as connection:
        return cursor_now(connection, find.district_row(connection, district))


def _number(plan_id: str | int) -> int:
    from sync.run.display import PLAN, parse_id

    return plan_id if isinstance(plan_id, int) else parse_id(PLAN, plan_id)
