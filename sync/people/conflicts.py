"""Conflicts: what only a person can decide, decided once and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, text

from core.errors import UsageError
from core.models import Kind
from core.storage.database import Database
from core.storage.stored import from_json, to_json, utc_text
from sync.run.clock import Clock, utc_now
from sync.run.open_records import opening
from sync.run.outcome import Outcome
from sync.run.run_rows import close_run_in, open_run

NEW = "new"
LOST = "resembles_lost"
"""Somebody new at the new vendor of a switch resembles somebody that it does not share."""
REUSED = "reused_id"
"""A source speaks of somebody else under an id that is a known person's (I13)."""


def resolve(
    database: Database,
    conflict_id: int,
    *,
    link: str | None,
    new: bool,
    actor: str,
    now: Clock | None = None,
) -> Outcome:
    """Decide who a record is: ``link`` names a user or school, ``new`` says that it is new.

    The decision opens the record and the candidates; the next run acts on it. A decision may be
    changed until then. Raises ``UsageError`` for a conflict or a target that does not exist.
    """
    at = (now or utc_now)()
    if (link is None) == (not new):
        raise UsageError("Say whose record it is.", hint="Give either --link or --new.")
    with database.write() as connection:
        row = connection.execute(_CONFLICT, {"id": conflict_id}).one_or_none()
        if row is None:
            raise UsageError(
                f"There is no conflict C{conflict_id}.",
                hint="rostersync conflicts DISTRICT lists them.",
            )
        database.apply_lock(connection, row.district_id)
        if row.status == "gone":
            raise UsageError(
                f"The conflict C{conflict_id} is gone: there is nothing left to decide.",
                hint=f"rostersync conflicts {row.slug} lists the open ones.",
            )
        decision = NEW if link is None else _target(connection, row, link)
        connection.execute(
            _DECIDE,
            {"id": conflict_id, "decision": decision, "actor": actor, "now": utc_text(at)},
        )
        connection.execute(_OPEN_RECORD, {"record": row.record_id})
        if row.kind == Kind.SCHOOL:  # its people wait for the decision
            connection.execute(_OPEN_SOURCE, {"record": row.record_id})
        for candidate in {*_ids(row.candidates), decision}:
            connection.execute(_OPEN_CANDIDATE, {"target": candidate})
        run_id = open_run(connection, row.district_id, "resolve", actor, at)
        close_run_in(connection, run_id, "applied", at)
    return Outcome(row.slug, "applied", run_id)


def _target(connection: Connection, row: Any, link: str) -> str:
    table = "schools" if row.kind == Kind.SCHOOL else "users"
    found = connection.execute(
        text(f"SELECT id FROM {table} WHERE id = :id AND district_id = :district"),
        {"id": link, "district": row.district_id},
    ).scalar()
    if found is not None:
        return str(found)
    if link in _ids(row.candidates):
        raise UsageError(
            f"{link} has not joined yet: the same run found both.",
            hint=f"Run rostersync sync {row.slug} first, then decide.",
        )
    raise UsageError(
        f"{row.slug} has no such {row.kind}: {link}.",
        hint=f"Candidates: {', '.join(_ids(row.candidates))}.",
    )


def leave_to_a_person(
    connection: Connection,
    kind: Kind,
    district_id: int,
    record_id: int,
    reason: str,
    candidates: Mapping[str, Sequence[str]],
    now: datetime,
    asked: Mapping[str, Any] | None = None,
) -> None:
    """Open the conflict of a record, or update who it may be: ``candidates`` → evidence.

    ``asked`` is what the first candidate is asked about, kept until it is decided.
    """
    found: list[dict[str, Any]] = [
        {"id": one, "evidence": list(said)} for one, said in candidates.items()
    ]
    found[0] |= asked or {}
    about = {
        "kind": kind.value,
        "district": district_id,
        "record": record_id,
        "reason": reason,
        "candidates": to_json(found),
        "now": utc_text(now),
    }
    if not connection.execute(_AGAIN, about).rowcount:
        connection.execute(_NEW, about)


def _ids(candidates: Any) -> list[str]:
    return [str(candidate["id"]) for candidate in from_json(candidates)]


def still_resembling_lost(
    connection: Connection, record_ids: Sequence[int]
) -> dict[int, tuple[str, dict[str, list[str]]]]:
    """Return record id → (reason, candidates) for records that a switch left to a person.

    Until then they neither join nor double anybody. A candidate that the record's source shares by
    now, or who was merged, is dropped.
    """
    found: dict[int, tuple[str, dict[str, list[str]]]] = {}
    if not record_ids:
        return found
    for row in connection.execute(_STILL_LOST, {"records": list(record_ids), "reason": LOST}):
        stand: dict[str, list[str]] = {}
        for one in from_json(row.candidates):
            about = {"id": one["id"], "source": row.source_id}
            if connection.execute(_IS_LOST, about).first():
                stand[one["id"]] = list(one.get("evidence", ()))
        if stand:
            found[row.record_id] = (LOST, stand)
    return found


_STILL_LOST = text(
    "SELECT c.record_id, c.candidates, r.source_id FROM conflicts c"
    " JOIN records r ON r.id = c.record_id WHERE c.record_id IN :records AND c.kind = 'user'"
    " AND c.status = 'open' AND c.reason = :reason"
).bindparams(bindparam("records", expanding=True))
_IS_LOST = text(
    "SELECT 1 FROM users u WHERE u.id = :id AND u.merged_into IS NULL AND NOT EXISTS (SELECT 1"
    " FROM links l JOIN records r ON r.id = l.record_id WHERE l.target_id = u.id AND l.held"
    " AND r.source_id = :source AND r.present AND r.in_scope)"
)
_AGAIN = text(
    "UPDATE conflicts SET candidates = :candidates, reason = :reason WHERE record_id = :record"
    " AND status = 'open' AND district_id = :district"
)
_NEW = text(
    "INSERT INTO conflicts (district_id, kind, record_id, candidates, reason, status, created_at)"
    " VALUES (:district, :kind, :record, :candidates, :reason, 'open', :now)"
)
_CONFLICT = text(
    "SELECT c.*, d.slug FROM conflicts c JOIN districts d ON d.id = c.district_id WHERE c.id = :id"
)
_DECIDE = text(
    "UPDATE conflicts SET status = 'resolved', decision = :decision, decided_by = :actor,"
    " decided_at = :now WHERE id = :id"
)
_OPEN_RECORD = text(opening("r.id = :record"))
_OPEN_SOURCE = text(
    opening(
        "r.kind = 'user' AND r.present AND r.source_id ="
        " (SELECT source_id FROM records WHERE id = :record)"
    )
)
_OPEN_CANDIDATE = text(opening("r.id IN (SELECT record_id FROM links WHERE target_id = :target)"))
