"""Rows of ``runs``: who did what and when, and how it ended."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from core.errors import RosterSyncError
from core.stored import to_json, utc_text


def open_run(connection: Connection, district_id: int, kind: str, actor: str, now: datetime) -> int:
    """Record that a run begins, and return its id."""
    about = {"district": district_id, "kind": kind, "actor": actor[:255], "now": utc_text(now)}
    return int(connection.execute(_OPEN, about).scalar_one())


def close_run_in(
    connection: Connection,
    run_id: int,
    status: str,
    now: datetime,
    error: RosterSyncError | None = None,
) -> None:
    """Record how a run ended."""
    document = None if error is None else to_json(error.as_json())
    about = {"id": run_id, "status": status, "now": utc_text(now), "error": document}
    connection.execute(_CLOSE, about)


def close_killed(connection: Connection, district_id: int, now: datetime) -> None:
    """Record that runs without an end were killed.

    Call it only while holding the district's run lock: then no other run can be under way.
    """
    about = {"district": district_id, "now": utc_text(now), "error": to_json(_KILLED)}
    connection.execute(_CLOSE_KILLED, about)


_KILLED = {
    "code": "killed",
    "message": "The run ended before it could say how: its process was stopped.",
    "hint": "Nothing was half applied. The next run went on from there.",
}
_CLOSE_KILLED = text(
    "UPDATE runs SET status = 'failed', finished_at = :now, error = :error"
    " WHERE district_id = :district AND status = 'running'"
)
_OPEN = text(
    "INSERT INTO runs (district_id, kind, status, actor, started_at)"
    " VALUES (:district, :kind, 'running', :actor, :now) RETURNING id"
)
_CLOSE = text("UPDATE runs SET status = :status, finished_at = :now, error = :error WHERE id = :id")
