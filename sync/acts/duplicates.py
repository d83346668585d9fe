"""Duplicates: users who look like one person, with the reasons, and who was told apart.

``merge`` joins two users, ``not_same`` remembers that they are two
people; nothing here joins anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from core.errors import UsageError
from core.storage.database import Database
from core.storage.schema import District, NotSame
from sync.people.look_alikes import look_alikes
from sync.run import find
from sync.run.clock import Clock, utc_now
from sync.run.find import Json
from sync.run.outcome import Outcome
from sync.run.run_rows import close_run_in, open_run
from sync.views import people


def duplicates(connection: Connection, district: Any) -> Iterator[Json]:
    """Yield pairs of users who look like one person: ``{"users": [two], "reasons": [slugs]}``."""
    for one, other, reasons in look_alikes(connection, district.id):
        users = [people.user_json(connection, district, user) for user in (one, other)]
        yield {"users": users, "reasons": reasons}


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
            connection.execute(_COUNT_ANEW, {"district": district.id})
        close_run_in(connection, run_id, "applied", at)
    return Outcome(slug, "applied", run_id)


_COUNT_ANEW = (
    update(District.table).where(District.id == bindparam("district")).values(look_alikes=None)
)
_KNOWN = select(NotSame.one).where(
    NotSame.one == bindparam("one"), NotSame.other == bindparam("other")
)
