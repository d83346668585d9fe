"""Conflicts in which names and address agree, decided all at once: ``resolve --all-agreeing``.

After a vendor has given everybody new ids there may be as many as there are people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from core.storage.database import Database
from sync.people.conflicts import REUSED, resolve
from sync.run import find
from sync.run.clock import Clock
from sync.run.display import CONFLICT, parse_id
from sync.run.find import Json
from sync.views import conflicts

_DOUBTS = frozenset({"other_role_class", "gains_admin"})


def agreeing(found: Iterable[Json]) -> dict[str, str]:
    """Return conflict → the one candidate who has the record's names and its address.

    Some are left to a person: a user that two records would join, a user who would become an admin,
    a student here who is an adult there, and an id that now means somebody else.
    """
    decided: dict[str, str] = {}
    for one in found:
        if one["kind"] != "user" or one["reason"] == REUSED:
            continue
        alike = [c for c in one["candidates"] if _agree(one["record"], c)]
        if len(alike) == 1 and not _DOUBTS & set(alike[0]["evidence"]):
            decided[one["id"]] = alike[0]["id"]
    wanted = Counter(decided.values())
    return {conflict: user for conflict, user in decided.items() if wanted[user] == 1}


def _agree(record: Json, candidate: Json) -> bool:
    """Say whether the address and both names agree; a name that both sides lack agrees (I12)."""
    agree = set(candidate["agree"])
    names = [name for name in conflicts.NAMES if record.get(name) or candidate.get(name)]
    return bool(names) and agree.issuperset((*names, "email"))


def resolve_agreeing(
    database: Database, slug: str, *, actor: str, now: Clock | None = None
) -> dict[str, str]:
    """Link the records of all open conflicts whose names and address agree; return who is who.

    The next run acts on it; until then each decision may be changed. Raises ``UsageError`` for an
    unknown district.
    """
    with database.read() as connection:
        district: Any = find.district_row(connection, slug)
        decided = agreeing(conflicts.conflicts(connection, district))
    for conflict, user in decided.items():
        number = parse_id(CONFLICT, conflict)
        resolve(database, number, link=user, new=False, actor=actor, now=now)
    return decided
