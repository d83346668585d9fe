"""Moves of a district between email domains: in the changes of a plan, and as aliases.

A plan's moves are sealed with it; once it is applied, the old domain is an alias for matching.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

from core.models import fold_email
from core.storage.stored import from_json

LEAST = 3
"""How many people must move together for a change of domain."""


def moves_of(connection: Connection, plan_id: int) -> list[dict[str, Any]]:
    """Return the changes of domain that a plan makes, each with its number of people.

    ``{"from", "to", "people", "alias"}``: ``people`` keep the local part of their address. With
    ``alias`` they are at least half of everybody at the old domain, which becomes an alias.
    """
    moves: Counter[tuple[str, str]] = Counter()
    for before, after in connection.execute(_MOVES, {"plan": plan_id}):
        old, new = (
            (from_json(values) or {}).get("email_folded") or "" for values in (before, after)
        )
        (old_local, _, old_domain), (new_local, _, new_domain) = (
            email.rpartition("@") for email in (old, new)
        )
        if old_local == new_local != "" and old_domain != new_domain:
            moves[old_domain, new_domain] += 1
    return [
        {
            "from": old,
            "to": new,
            "people": people,
            "alias": 2 * people >= _at(connection, plan_id, old),
        }
        for (old, new), people in sorted(moves.items())
        if people >= LEAST
    ]


def _at(connection: Connection, plan_id: int, domain: str) -> int:
    about = {"plan": plan_id, "domain": f"%@{domain}"}
    return int(connection.execute(_AT, about).scalar_one())


_MOVES = text(
    "SELECT before, after FROM changes WHERE plan_id = :plan AND kind = 'user'"
    " AND action = 'update' AND CAST(after AS TEXT) LIKE '%email_folded%'"
)
_AT = text(
    "SELECT COUNT(*) FROM users u JOIN plans p ON p.district_id = u.district_id"
    " WHERE p.id = :plan AND u.email_folded LIKE :domain AND u.status <> 'archived'"
)


# -- aliases


def read_aliases(
    connection: Connection, district_id: int, *, ahead: bool = False
) -> dict[str, str]:
    """Return the district's old email domains, each with the one that came after it.

    ``ahead``: only those that a person renamed ahead of the sources.
    """
    rows = connection.execute(_AHEAD if ahead else _ALIASES, {"district": district_id})
    return {str(old): str(new) for old, new in rows}


def spellings(email: str, aliases: Mapping[str, str]) -> set[str]:
    """Return an address as matching compares it: at its own domain, and at earlier and later ones.

    After a change of domain, the old address still belongs to its person.
    """
    folded = fold_email(email)
    local, at, domain = folded.rpartition("@")
    if not at or not aliases:
        return {folded}
    newest = _newest(domain, aliases)
    same = {old for old in aliases if _newest(old, aliases) == newest} | {newest, domain}
    return {f"{local}@{one}" for one in same}


def at_newest(email: str, aliases: Mapping[str, str]) -> str:
    """Return a folded address at the domain that replaced its own."""
    local, _, domain = fold_email(email).rpartition("@")
    return f"{local}@{_newest(domain, aliases)}"


def _newest(domain: str, aliases: Mapping[str, str]) -> str:
    seen = {domain}
    while (following := aliases.get(domain)) is not None and following not in seen:
        seen.add(following)
        domain = following
    return domain


_ALIASES = text("SELECT old, new FROM domain_aliases WHERE district_id = :district")
_AHEAD = text(
    "SELECT a.old, a.new FROM domain_aliases a JOIN plans p ON p.id = a.plan_id"
    " WHERE a.district_id = :district AND p.kind = 'domain'"
)
