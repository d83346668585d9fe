"""Runs: the row that says who did what when, and how it ended."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from core.errors import RosterSyncError
from core.stored import to_json, utc_text


def open_run(connection: Connection, district_id: int, kind: str, actor: str, now: datetime) -> int:
    """Write down that a run begins; return its id."""
    about = {"district": district_id, "kind": kind, "actor": actor[:255], "now": utc_text(now)}
    return int(connection.execute(_OPEN, about).scalar_one())


def close_run_in(
    connection: Connection,
    run_id: int,
    status: str,
    now: datetime,
    error: RosterSyncError | None = None,
) -> None:
    """Write down how a run ended."""
    document = None if error is None else to_json(error.as_json())
    about = {"id": run_id, "status": status, "now": utc_text(now), "error": document}
    connection.execute(_CLOSE, about)


_OPEN = text(
    "INSERT INTO runs (district_id, kind, status, actor, started_at)"
    " VALUES (:district, :kind, 'running', :actor, :now) RETURNING id"
)
_CLOSE = text("UPDATE runs SET status = :status, finished_at = :now, error = :error WHERE id = :id")
