"""Rows of ``runs``: who did what and when, and how it ended."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, update

from core.errors import RosterSyncError
from core.models import checked_actor
from core.storage.schema import Run


def open_run(connection: Connection, district_id: int, kind: str, actor: str, now: datetime) -> int:
    """Record that a run begins, and return its id."""
    values = {
        "district_id": district_id, "kind": kind, "status": "running",
        "actor": checked_actor(actor), "started_at": now,
    }  # fmt: skip
    return connection.execute(_OPEN, values).scalar_one()


def close_run_in(
    connection: Connection,
    run_id: int,
    status: str,
    now: datetime,
    error: RosterSyncError | None = None,
) -> None:
    """Record how a run ended."""
    document = None if error is None else error.as_json()
    values = {"status": status, "finished_at": now, "error": document}
    connection.execute(_CLOSE, {"run": run_id, **values})


def close_running_in(
    connection: Connection, run_id: int, status: str, now: datetime, error: RosterSyncError
) -> None:
    """Record how a run ended, unless somebody else has recorded it."""
    values = {"status": status, "finished_at": now, "error": error.as_json()}
    connection.execute(_CLOSE_RUNNING, {"run": run_id, **values})


def close_killed(connection: Connection, district_id: int, now: datetime) -> None:
    """Record that runs without an end were killed.

    Call it only while holding the district's run lock: then no other run can be under way.
    """
    values = {"status": "failed", "finished_at": now, "error": _KILLED}
    connection.execute(_CLOSE_KILLED, {"district": district_id, **values})


_KILLED = {
    "code": "killed",
    "message": "The run ended before it could say how: its process was stopped.",
    "hint": "Nothing was half applied. The next run went on from there.",
}
_OPEN = insert(Run.table).returning(Run.id)
_CLOSE = update(Run.table).where(Run.id == bindparam("run"))
_CLOSE_RUNNING = _CLOSE.where(Run.status == "running")
_CLOSE_KILLED = update(Run.table).where(
    Run.district_id == bindparam("district"), Run.status == "running"
)
