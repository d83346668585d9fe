"""Duplicates: users who look like one person, with the reasons, and who was told apart.

Read from the directory in sets. ``merge`` joins two users, ``not_same`` remembers that they are two
people; nothing here joins anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, text

from core.errors import UsageError
from core.storage.database import Database
from core.storage.schema import NotSame
from sync.ledger.domain_moves import read_aliases
from sync.people.identity import NUMBERS, Traits, evidence_of
from sync.people.traits import read_known
from sync.run import find
from sync.run.clock import Clock, utc_now
from sync.run.find import Json
from sync.run.outcome import Outcome
from sync.run.run_rows import close_run_in, open_run
from sync.views import people

_PAGE = 500


def duplicates(connection: Connection, district: Any) -> Iterator[Json]:
    """Yield pairs of users who look like one person: ``{"users": [two], "reasons": [slugs]}``.

    They share a strong key of one role class, or an address, or its local part, and names that
    agree. Pairs that a person told apart are left out, and so are merged users.
    """
    aliases = read_aliases(connection, district.id)
    about = {"district": district.id}
    pairs: set[tuple[str, str]] = set()
    for query in _PAIRS:
        pairs.update((row[0], row[1]) for row in connection.execute(query, about))
    for one, other in connection.execute(_TOLD_APART, about):
        pairs.discard((one, other))
    ordered = sorted(pairs)
    for start in range(0, len(ordered), _PAGE):
        some = ordered[start : start + _PAGE]
        known = read_known(connection, {user for pair in some for user in pair}, aliases)
        for one, other in some:
            reasons = evidence_of(
                known[one].known, known[other].as_candidate(0, (False, False)), frozenset()
            )
            if _alike(reasons, known[one].known, known[other].known):
                yield {
                    "users": [
                        people.user_json(connection, district, user) for user in (one, other)
                    ],
                    "reasons": list(reasons),
                }


def _alike(reasons: Sequence[str], one: Traits, other: Traits) -> bool:
    if any(f"same_{name}" in reasons for name in NUMBERS):
        return True
    locals_ = [{email.rpartition("@")[0] for email in known.emails} for known in (one, other)]
    contradicted = any(f"other_{name}" in reasons for name in NUMBERS)
    return "names_agree" in reasons and bool(locals_[0] & locals_[1]) and not contradicted


def not_same(
    database: Database, slug: str, one: str, other: str, *, actor: str, now: Clock | None = None
) -> Outcome:
    """Remember that two users are two people. Raises ``UsageError`` if they are one user."""
    at = (now or utc_now)()
    with database.write() as connection:
        district = find.district_row(connection, slug)
        two = sorted({one, other})
        for user in two:
            people.user_json(connection, district, user)
        if len(two) < 2:
            raise UsageError("That is one user twice.", hint="Give two users.")
        run_id = open_run(connection, district.id, "not-same", actor, at)
        pair = {"one": two[0], "other": two[1]}
        if not connection.execute(_KNOWN, pair).first():
            decided = {"district_id": district.id, "decided_by": actor, "decided_at": at}
            connection.execute(insert(NotSame.table), pair | decided)
        close_run_in(connection, run_id, "applied", at)
    return Outcome(slug, "applied", run_id)


_TOLD_APART = select(NotSame.one, NotSame.other).where(NotSame.district_id == bindparam("district"))
_KNOWN = select(NotSame.one).where(
    NotSame.one == bindparam("one"), NotSame.other == bindparam("other")
)


# --- Set-wise statements ---
# They join the directory with itself, by one index for each key, so that a million users are
# compared in one reading for each.

_BOTH = "a.district_id = :district AND a.merged_into IS NULL AND b.merged_into IS NULL"
_PAIRS = (
    *(
        text(
            "SELECT a.id, b.id FROM users a JOIN users b ON b.district_id = a.district_id"
            f" AND b.{name} = a.{name} AND a.id < b.id WHERE {_BOTH}"
        )
        for name in (*NUMBERS, "email_folded")
    ),
    text(
        "SELECT a.id, b.id FROM users a JOIN users b ON b.district_id = a.district_id"
        " AND LOWER(b.family_name) = LOWER(a.family_name)"
        " AND LOWER(b.given_name) = LOWER(a.given_name) AND a.id < b.id"
        f" WHERE {_BOTH} AND a.email_folded IS NOT NULL AND b.email_folded IS NOT NULL"
    ),
)
"""The last one finds equal names, which count only together with an equal local part."""
