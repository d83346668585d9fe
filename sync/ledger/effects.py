"""Effects: what applying a plan does in addition to its changes; sealed with it.

``sync/ledger/apply.py`` calls ``take_effect`` inside its transaction; nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, text

from core.storage.database import Database
from sync.run.open_records import is_open, opening

SOURCE_KINDS = ("sync", "upload")
"""Plans that sources made: their takings count in the limits (L4)."""


@dataclass(frozen=True, slots=True)
class _Applying:
    """The plan that is being applied; ``about`` binds ``plan``, ``district`` and ``now``."""

    database: Database
    connection: Connection
    about: Mapping[str, Any]


def take_effect(
    database: Database,
    connection: Connection,
    kind: str,
    effects: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Do what a plan of this kind and with these effects does in addition to its changes.

    ``about`` binds ``plan``, ``district`` and ``now``.
    """
    applying = _Applying(database, connection, about)
    if kind in SOURCE_KINDS:
        connection.execute(_REDONE, about)
    elif kind != "hand":
        _open_again(applying)
    for name, take in _EFFECTS.items():
        if given := effects.get(name):
            take(applying, given)


def _retire(applying: _Applying, sources: Sequence[int]) -> None:
    """Sources hold nobody any more, and whatever was asked about their records is settled."""
    about = {"sources": sources, "now": applying.about["now"]}
    applying.connection.execute(_RETIRE, {"sources": sources})
    applying.connection.execute(_CONFLICTS_GONE, about)


def _unretire(applying: _Applying, sources: Sequence[int]) -> None:
    """Sources speak again; the next run looks at everybody whom they share."""
    applying.connection.execute(_UNRETIRE, {"sources": sources})
    applying.connection.execute(_OPEN_SOURCE, {"sources": sources})


def _alias(applying: _Applying, domains: Sequence[Mapping[str, Any]]) -> None:
    """Remember for matching which email domain came after which."""
    for move in domains:
        if move["alias"]:
            # a move back ends the alias of the move there
            _unalias(applying, (move["from"], move["to"]))
            about = {**applying.about, "old": move["from"], "new": move["to"]}
            applying.connection.execute(_ALIAS, about)


def _unalias(applying: _Applying, domains: Iterable[str]) -> None:
    """Forget what came after these domains."""
    for old in domains:
        applying.connection.execute(_NO_ALIAS, {**applying.about, "old": old})


def _purge(applying: _Applying, _: object) -> None:
    """Erase everything that tells of the people whom the plan purges, but for the digests."""
    for erase in _PURGE:
        applying.connection.execute(text(erase.format(people=_PURGED)), applying.about)


def _forget_undone(applying: _Applying, _: object) -> None:
    """What was undone is done again: nothing is held because of the undoing."""
    for ids in _touched(applying.database):
        query = f"DELETE FROM undone WHERE record_id IN ({ids})"
        applying.connection.execute(text(query), applying.about)


def _remember_undone(applying: _Applying, _: object) -> None:
    """What the plan undoes is held once when a run would redo it (P8)."""
    _forget_undone(applying, _)
    for ids in _touched(applying.database):
        applying.connection.execute(text(_INSERT_UNDONE.format(ids=ids)), applying.about)


_EFFECTS: Mapping[str, Callable[[_Applying, Any], None]] = {
    "retire": _retire,
    "unretire": _unretire,
    "domains": _alias,
    "unalias": _unalias,
    "purge": _purge,
    "redone": _forget_undone,
    "undone": _remember_undone,
}


_REDONE = text(  # settled: it was done again, or nothing is left to do
    f"DELETE FROM undone WHERE district_id = :district AND NOT {is_open('undone.record_id')}"
)
_RETIRE = text("UPDATE sources SET retired = TRUE WHERE id IN :sources").bindparams(
    bindparam("sources", expanding=True)
)
_UNRETIRE = text("UPDATE sources SET retired = FALSE WHERE id IN :sources").bindparams(
    bindparam("sources", expanding=True)
)
_OPEN_SOURCE = text(opening("r.present AND r.source_id IN :sources")).bindparams(
    bindparam("sources", expanding=True)
)
_CONFLICTS_GONE = text(
    "UPDATE conflicts SET status = 'gone', decided_at = :now WHERE status = 'open'"
    " AND record_id IN (SELECT id FROM records WHERE source_id IN :sources)"
).bindparams(bindparam("sources", expanding=True))


_NO_ALIAS = text("DELETE FROM domain_aliases WHERE district_id = :district AND old = :old")
_ALIAS = text(
    "INSERT INTO domain_aliases (district_id, old, new, plan_id)"
    " VALUES (:district, :old, :new, :plan)"
)


# -- a purge: nothing about these people stays, except for the digests of the chain

_PURGED = "(SELECT target_id FROM changes WHERE plan_id = :plan AND action = 'purge')"
_THEIR_RECORDS = "(SELECT record_id FROM links WHERE target_id IN {people})"
_PURGE = (
    "UPDATE plans SET decision_reason = NULL WHERE kind = 'hand' AND id IN"
    " (SELECT plan_id FROM changes WHERE target_id IN {people})",
    "UPDATE changes SET before = NULL, after = NULL, salt = NULL, content_print = NULL"
    " WHERE target_id IN {people} AND plan_id <> :plan",
    "DELETE FROM conflicts WHERE record_id IN " + _THEIR_RECORDS,
    "DELETE FROM undone WHERE record_id IN " + _THEIR_RECORDS,
    "DELETE FROM parts WHERE EXISTS (SELECT 1 FROM records r WHERE r.source_id = parts.source_id"
    " AND r.external_id = parts.owner AND r.kind = 'user' AND r.id IN " + _THEIR_RECORDS + ")",
    "DELETE FROM open_records WHERE record_id IN " + _THEIR_RECORDS,
    "DELETE FROM records WHERE id IN " + _THEIR_RECORDS,
    "DELETE FROM links WHERE target_id IN {people}",
    "DELETE FROM memberships WHERE user_id IN {people}",
    "DELETE FROM rejections WHERE target_id IN {people}",
    "DELETE FROM not_same WHERE one IN {people} OR other IN {people}",
    "DELETE FROM pupils WHERE user_id IN {people}",
    "DELETE FROM users WHERE id IN {people}",
)


# -- evidence that a person's plan left behind: the next run looks at it again


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


def _open_again(applying: _Applying) -> None:
    """Let the next run look at every record that the plan's changes speak of."""
    for ids in _touched(applying.database):
        applying.connection.execute(text(opening(f"r.id IN ({ids})")), applying.about)


_INSERT_UNDONE = (
    "INSERT INTO undone (record_id, district_id, version, plan_id)"
    " SELECT r.id, CAST(:district AS BIGINT), r.version, CAST(:plan AS BIGINT)"
    " FROM records r WHERE r.kind = 'user' AND r.id IN ({ids})"
    " AND NOT EXISTS (SELECT 1 FROM undone u WHERE u.record_id = r.id)"
)
