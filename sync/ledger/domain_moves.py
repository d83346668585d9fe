"""Moves of a district between email domains: in the changes of a plan, and as aliases.

A plan's moves are sealed with it; once it is applied, the old domain is an alias for matching.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Text, bindparam, cast, exists, func, select

from core.models import fold_email
from core.storage.schema import Change, DomainAlias, Plan, User

LEAST = 3
"""How many people must move together for a change of domain."""


def moves_of(connection: Connection, plan_id: int) -> list[dict[str, Any]]:
    """Return the changes of domain that a plan makes, each with its number of people.

    ``{"from", "to", "people", "alias"}``: ``people`` keep the local part of their address. With
    ``alias`` they are at least half of everybody at the old domain, which becomes an alias.
    """
    moves: Counter[tuple[str, str]] = Counter()
    for before, after in connection.execute(_MOVES, {"plan": plan_id}):
        old, new = ((values or {}).get("email_folded") or "" for values in (before, after))
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


_MOVES = select(Change.before, Change.after).where(
    Change.plan_id == bindparam("plan"),
    Change.kind == "user",
    Change.action == "update",
    cast(Change.after, Text).like("%email_folded%"),
)
_AT = (
    select(func.count())
    .select_from(User.table.join(Plan.table, Plan.district_id == User.district_id))
    .where(
        Plan.id == bindparam("plan"),
        User.email_folded.like(bindparam("domain")),
        User.status != "archived",
    )
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


_ALIASES = select(DomainAlias.old, DomainAlias.new).where(
    DomainAlias.district_id == bindparam("district")
)
_AHEAD = _ALIASES.where(exists().where(Plan.id == DomainAlias.plan_id, Plan.kind == "domain"))
