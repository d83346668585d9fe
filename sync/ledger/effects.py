"""Effects: what applying a plan does in addition to its changes; sealed with it.

``sync/ledger/apply.py`` calls ``take_effect`` inside its transaction; nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    TextClause,
    bindparam,
    delete,
    exists,
    insert,
    select,
    text,
    update,
)

from core.storage.database import Database
from core.storage.schema import Conflict, DomainAlias, OpenRecord, Record, Source, Undone
from core.storage.watch import forget_outside_edits, outside_edits
from sync.ledger.directory import apart_among
from sync.run.open_records import opening

SOURCE_KINDS = ("sync", "upload")
"""Plans that sources made: their takings count in the limits (L4)."""


@dataclass(frozen=True, slots=True)
class _Applying:
    """The plan that is being applied; ``about`` binds ``plan`` and ``district``."""

    database: Database
    connection: Connection
    about: Mapping[str, Any]
    now: datetime


def take_effect(
    database: Database,
    connection: Connection,
    kind: str,
    effects: Mapping[str, Any],
    about: Mapping[str, Any],
    now: datetime,
) -> None:
    """Do what a plan of this kind and with these effects does in addition to its changes.

    ``about`` binds ``plan`` and ``district``.
    """
    applying = _Applying(database, connection, about, now)
    if kind in SOURCE_KINDS:
        connection.execute(_REDONE, about)
    elif kind != "hand":
        _open_again(applying)
    for name, take in _EFFECTS.items():
        if given := effects.get(name):
            take(applying, given)


def settle_outside_edits(connection: Connection, district_id: int) -> None:
    """Forget who was edited past the ledger, if they are now as the ledger says."""
    noted = outside_edits(connection, district_id)
    for first in range(0, len(noted), 500):
        some = noted[first : first + 500]
        apart = {one.target for one in apart_among(connection, district_id, some)}
        forget_outside_edits(connection, district_id, set(some) - apart)


def _retire(applying: _Applying, sources: Sequence[int]) -> None:
    """Sources hold nobody any more, and whatever was asked about their records is settled."""
    applying.connection.execute(_RETIRE, {"sources": sources, "retired": True})
    gone = {"sources": sources, "decided_at": applying.now}
    applying.connection.execute(_CONFLICTS_GONE, gone)


def _unretire(applying: _Applying, sources: Sequence[int]) -> None:
    """Sources speak again; the next run looks at everybody whom they share."""
    applying.connection.execute(_RETIRE, {"sources": sources, "retired": False})
    applying.connection.execute(_OPEN_RECORDS_OF_SOURCES, {"sources": sources})


def _alias(applying: _Applying, domains: Sequence[Mapping[str, Any]]) -> None:
    """Remember for matching which email domain came after which."""
    for move in domains:
        if move["alias"]:
            # a move back ends the alias of the move there
            _unalias(applying, (move["from"], move["to"]))
            alias = {
                "district_id": applying.about["district"],
                "old": move["from"],
                "new": move["to"],
                "plan_id": applying.about["plan"],
            }
            applying.connection.execute(_ALIAS, alias)


def _unalias(applying: _Applying, domains: Iterable[str]) -> None:
    """Forget what came after these domains."""
    for old in domains:
        about = {"district": applying.about["district"], "domain": old}
        applying.connection.execute(_NO_ALIAS, about)


def _purge(applying: _Applying, _: object) -> None:
    """Erase everything that tells of the people whom the plan purges, but for the digests."""
    for erase in _PURGE:
        applying.connection.execute(erase, applying.about)


def _remove(applying: _Applying, _: object) -> None:
    """Take away the rows of people whom no plan has made."""
    for remove in _REMOVE:
        applying.connection.execute(remove, applying.about)


def _forget_undone(applying: _Applying, _: object) -> None:
    """What was undone is done again: nothing is held because of the undoing."""
    for ids in _touched(applying.database):
        applying.connection.execute(_forgetting_undone(ids), applying.about)


def _remember_undone(applying: _Applying, _: object) -> None:
    """What the plan undoes is held once when a run would redo it (P8)."""
    _forget_undone(applying, _)
    for ids in _touched(applying.database):
        applying.connection.execute(_remembering_undone(ids), applying.about)


def _open_again(applying: _Applying) -> None:
    """Let the next run look at every record that the plan's changes speak of."""
    for ids in _touched(applying.database):
        applying.connection.execute(_opening_again(ids), applying.about)


_EFFECTS: Mapping[str, Callable[[_Applying, Any], None]] = {
    "retire": _retire,
    "unretire": _unretire,
    "domains": _alias,
    "unalias": _unalias,
    "purge": _purge,
    "redone": _forget_undone,
    "undone": _remember_undone,
    "removes": _remove,
}


_REDONE = delete(Undone.table).where(  # settled: it was done again, or nothing is left to do
    Undone.district_id == bindparam("district"),
    ~exists().where(OpenRecord.record_id == Undone.record_id),
)
_SOURCES: Any = bindparam("sources", expanding=True)
_RETIRE = update(Source.table).where(Source.id.in_(_SOURCES))
_CONFLICTS_GONE = (
    update(Conflict.table)
    .where(
        Conflict.status == "open",
        Conflict.record_id.in_(select(Record.id).where(Record.source_id.in_(_SOURCES))),
    )
    .values(status="gone")
)
_NO_ALIAS = delete(DomainAlias.table).where(
    DomainAlias.district_id == bindparam("district"), DomainAlias.old == bindparam("domain")
)
_ALIAS = insert(DomainAlias.table)


# --- Set-wise statements ---
# They say in one statement each what follows for all people or records that a plan mentions, whose
# ids they take from its changes. A purge erases in the order in which the rows refer to each other:
# what leads to the records of these people is still there while it is needed.

_PURGED = "(SELECT target_id FROM changes WHERE plan_id = :plan AND action = 'purge')"
_THEIR_RECORDS = f"(SELECT record_id FROM links WHERE target_id IN {_PURGED})"
_PURGE = (
    text(
        "UPDATE plans SET decision_reason = NULL WHERE kind = 'hand' AND id IN"
        f" (SELECT plan_id FROM changes WHERE target_id IN {_PURGED})"
    ),
    text(
        "UPDATE changes SET before = NULL, after = NULL, basis = NULL, salt = NULL,"
        f" content_print = NULL WHERE target_id IN {_PURGED} AND plan_id <> :plan"
    ),
    text(f"DELETE FROM conflicts WHERE record_id IN {_THEIR_RECORDS}"),
    text(f"DELETE FROM undone WHERE record_id IN {_THEIR_RECORDS}"),
    text(
        "DELETE FROM parts WHERE EXISTS (SELECT 1 FROM records r"
        " WHERE r.source_id = parts.source_id AND r.external_id = parts.owner"
        f" AND r.kind = 'user' AND r.id IN {_THEIR_RECORDS})"
    ),
    text(f"DELETE FROM open_records WHERE record_id IN {_THEIR_RECORDS}"),
    text(f"DELETE FROM records WHERE id IN {_THEIR_RECORDS}"),
    text(f"DELETE FROM links WHERE target_id IN {_PURGED}"),
    text(f"DELETE FROM memberships WHERE user_id IN {_PURGED}"),
    text(f"DELETE FROM rejections WHERE target_id IN {_PURGED}"),
    text(f"DELETE FROM not_same WHERE one IN {_PURGED} OR other IN {_PURGED}"),
    text(f"DELETE FROM pupils WHERE user_id IN {_PURGED}"),
    text(f"DELETE FROM users WHERE id IN {_PURGED}"),
)
"""Nothing about the people whom a plan purges stays, except for the digests of the chain."""
_REMOVE = (
    text(f"DELETE FROM memberships WHERE user_id IN {_PURGED}"),
    text(f"DELETE FROM users WHERE id IN {_PURGED}"),
)


def _touched(database: Database) -> tuple[str, ...]:
    """SQL: the ids of the records that a plan's changes mention."""
    basis = database.json_each("c.basis", "", "b")
    return (
        "SELECT c.record_id FROM changes c WHERE c.plan_id = :plan AND c.record_id IS NOT NULL",
        f"SELECT {database.to_int(database.json_item('b', 0))} FROM changes c, {basis}"
        " WHERE c.plan_id = :plan AND c.basis IS NOT NULL",
        "SELECT l.record_id FROM changes c JOIN links l ON l.target_id = c.target_id"
        " WHERE c.plan_id = :plan",
    )


def _opening_again(ids: str) -> TextClause:
    return text(opening(f"r.id IN ({ids})"))


def _forgetting_undone(ids: str) -> TextClause:
    return text(f"DELETE FROM undone WHERE record_id IN ({ids})")


def _remembering_undone(ids: str) -> TextClause:
    return text(
        "INSERT INTO undone (record_id, district_id, version, plan_id)"
        " SELECT r.id, CAST(:district AS BIGINT), r.version, CAST(:plan AS BIGINT)"
        f" FROM records r WHERE r.kind = 'user' AND r.id IN ({ids})"
        " AND NOT EXISTS (SELECT 1 FROM undone u WHERE u.record_id = r.id)"
    )


_OPEN_RECORDS_OF_SOURCES = text(opening("r.present AND r.source_id IN :sources")).bindparams(
    _SOURCES
)
