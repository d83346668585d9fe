"""Conflicts: what only a person can decide, decided once and remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, exists, insert, select, text, update

from core.errors import UsageError
from core.models import Kind, checked_actor
from core.storage.database import Database
from core.storage.schema import Conflict, District, Link, Record, School, User
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
    checked_actor(actor)
    if (link is None) == (not new):
        raise UsageError("Say whose record it is.", hint="Give either --link or --new.")
    with database.write() as connection:
        row = connection.execute(_CONFLICT, {"conflict": conflict_id}).one_or_none()
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
        decided = {"decision": decision, "decided_by": actor, "decided_at": at}
        connection.execute(_DECIDE, {"conflict": conflict_id, **decided})
        connection.execute(_OPEN_RECORD, {"record": row.record_id})
        if row.kind == Kind.SCHOOL:  # its people wait for the decision
            connection.execute(_OPEN_SOURCE, {"record": row.record_id})
        for candidate in {*_ids(row.candidates), decision}:
            connection.execute(_OPEN_CANDIDATE, {"target": candidate})
        run_id = open_run(connection, row.district_id, "resolve", actor, at)
        close_run_in(connection, run_id, "applied", at)
    return Outcome(row.slug, "applied", run_id)


def _target(connection: Connection, row: Any, link: str) -> str:
    query = _SCHOOL if row.kind == Kind.SCHOOL else _USER
    about = {"target": link, "district": row.district_id}
    found = connection.execute(query, about).scalar()
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


_CONFLICT = (
    select(Conflict.table, District.slug)
    .join_from(Conflict.table, District.table, District.id == Conflict.district_id)
    .where(Conflict.id == bindparam("conflict"))
)
_SCHOOL = select(School.id).where(
    School.id == bindparam("target"), School.district_id == bindparam("district")
)
_USER = select(User.id).where(
    User.id == bindparam("target"), User.district_id == bindparam("district")
)
_DECIDE = (
    update(Conflict.table).where(Conflict.id == bindparam("conflict")).values(status="resolved")
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
    values = {"reason": reason, "candidates": found}
    again = {"record": record_id, "district": district_id, **values}
    if not connection.execute(_ASK_AGAIN, again).rowcount:
        about = {"district_id": district_id, "kind": kind.value, "record_id": record_id}
        connection.execute(_ASK, {**about, **values, "created_at": now})


_ASK_AGAIN = update(Conflict.table).where(
    Conflict.record_id == bindparam("record"),
    Conflict.status == "open",
    Conflict.district_id == bindparam("district"),
)
_ASK = insert(Conflict.table).values(status="open")


def _ids(candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(candidate["id"]) for candidate in candidates]


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
        for one in row.candidates:
            about = {"user": one["id"], "source": row.source_id}
            if connection.execute(_IS_LOST, about).first():
                stand[one["id"]] = list(one.get("evidence", ()))
        if stand:
            found[row.record_id] = (LOST, stand)
    return found


_STILL_LOST = (
    select(Conflict.record_id, Conflict.candidates, Record.source_id)
    .join_from(Conflict.table, Record.table, Record.id == Conflict.record_id)
    .where(
        Conflict.record_id.in_(bindparam("records", expanding=True)),
        Conflict.kind == "user",
        Conflict.status == "open",
        Conflict.reason == bindparam("reason"),
    )
)
_IS_LOST = select(User.id).where(
    User.id == bindparam("user"),
    User.merged_into.is_(None),
    ~exists().where(
        Link.target_id == User.id,
        Link.held,
        Record.id == Link.record_id,
        Record.source_id == bindparam("source"),
        Record.present,
        Record.in_scope,
    ),
)


# --- Set-wise statements ---
# What ``opening`` in ``sync/run/open_records.py`` makes is INSERT ... SELECT, in plain SQL like the
# conditions that it takes. Each finds its records by an id, by their source or by the index of the
# targets of links.
_OPEN_RECORD = text(opening("r.id = :record"))
_OPEN_SOURCE = text(
    opening(
        "r.kind = 'user' AND r.present AND r.source_id ="
        " (SELECT source_id FROM records WHERE id = :record)"
    )
)
_OPEN_CANDIDATE = text(opening("r.id IN (SELECT record_id FROM links WHERE target_id = :target)"))
