"""Effects: what applying a plan does beside its changes, sealed with it.

``sync/ledger/apply.py`` calls ``take_effect`` inside its transaction; nothing else does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, text

from core.database import Database
from sync.run.open_records import is_open, opening

SOURCE_KINDS = ("sync", "upload")
"""Plans that sources made: their takings count in the limits (L4)."""


def take_effect(
    database: Database,
    connection: Connection,
    kind: str,
    effects: Mapping[str, Any],
    about: Mapping[str, Any],
) -> None:
    """Do what a plan of this kind and these effects does beside its changes.

    ``about`` binds ``plan``, ``district`` and ``now``.
    """
    if kind in SOURCE_KINDS:
        connection.execute(_REDONE, about)
    elif kind != "hand":
        for query in _open_again(database):
            connection.execute(text(query), about)
    if sources := effects.get("retire"):
        connection.execute(_RETIRE, {"sources": sources})
        connection.execute(_CONFLICTS_GONE, {"sources": sources, "now": about["now"]})
    if sources := effects.get("unretire"):
        connection.execute(_UNRETIRE, {"sources": sources})
        connection.execute(_OPEN_SOURCE, {"sources": sources})
    if domains := effects.get("domains"):
        _alias(connection, domains, about)
    for old in effects.get("unalias", ()):
        connection.execute(_NO_ALIAS, {**about, "old": old})
    if effects.get("purge"):
        for erase in _PURGE:
            connection.execute(text(erase.format(people=_PURGED)), about)
    if effects.get("undone"):
        for query in _remember_undone(database):
            connection.execute(text(query), about)
    elif effects.get("redone"):
        for query in _forget_undone(database):
            connection.execute(text(query), about)


_REDONE = text(  # settled: done again, or nothing left to do
    f"DELETE FROM undone WHERE NOT {is_open('undone.record_id')}"
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


def _alias(
    connection: Connection, domains: Sequence[Mapping[str, Any]], about: Mapping[str, Any]
) -> None:
    """Remember for matching which domain came after which."""
    for move in domains:
        if move["alias"]:
            for old in (move["from"], move["to"]):  # a move back ends the alias of the move there
                connection.execute(_NO_ALIAS, {**about, "old": old})
            connection.execute(_ALIAS, {**about, "old": move["from"], "new": move["to"]})


_NO_ALIAS = text("DELETE FROM domain_aliases WHERE district_id = :district AND old = :old")
_ALIAS = text(
    "INSERT INTO domain_aliases (district_id, old, new, plan_id)"
    " VALUES (:district, :old, :new, :plan)"
)


# -- a purge: nothing that tells of these people stays, but the digests that the chain is made of

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
    """SQL: the ids of the records that a plan's changes speak of."""
    basis = database.json_each("c.basis", "", "b")
    return (
        "SELECT c.record_id FROM changes c WHERE c.plan_id = :plan AND c.record_id IS NOT NULL",
        f"SELECT {database.to_int(database.json_item('b', 0))} FROM changes c, {basis}"
        " WHERE c.plan_id = :plan AND c.basis IS NOT NULL",
        "SELECT l.record_id FROM changes c JOIN links l ON l.target_id = c.target_id"
        " WHERE c.plan_id = :plan",
    )


def _open_again(database: Database) -> tuple[str, ...]:
    return tuple(opening(f"r.id IN ({ids})") for ids in _touched(database))


def _remember_undone(database: Database) -> tuple[str, ...]:
    insert = (
        "INSERT INTO undone (record_id, district_id, version, plan_id)"
        " SELECT r.id, CAST(:district AS BIGINT), r.version, CAST(:plan AS BIGINT)"
        " FROM records r WHERE r.kind = 'user' AND r.id IN ({ids})"
        " AND NOT EXISTS (SELECT 1 FROM undone u WHERE u.record_id = r.id)"
    )
    return (
        *_forget_undone(database),
        *(insert.format(ids=ids) for ids in _touched(database)),
    )


def _forget_undone(database: Database) -> tuple[str, ...]:
    return tuple(f"DELETE FROM undone WHERE record_id IN ({ids})" for ids in _touched(database))
