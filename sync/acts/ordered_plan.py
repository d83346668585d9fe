"""Ordered plans: what a person orders beyond one user, stored as a ``planned`` plan (P7).

``order_plan`` opens a draft, its maker adds steps, and it is sealed when they are done. Limits do
not apply to it, preconditions do; ``apply PLAN`` runs it. Nobody is changed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, delete, select, text

from core.failpoints import failpoint
from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.schema import Conflict, District, Plan
from sync.ledger.domain_moves import read_aliases
from sync.ledger.draft import Draft, Opening, open_plan
from sync.ledger.seal import seal_whole
from sync.people.person import UserView, read_users
from sync.people.wish import Sources
from sync.planning.decide import Context
from sync.planning.schools import linked_schools
from sync.run.clock import Clock, utc_now
from sync.run.district_run import origins_of, read_district
from sync.run.outcome import Outcome
from sync.run.run_rows import close_run_in, open_run
from sync.run.scratch_tables import PeopleToRead

BATCH = 1_000
STANDS_DAYS = 7
"""How long an ordered plan may wait before it expires, as a held one (P3)."""


@dataclass(slots=True)
class OrderedPlan:
    """A plan being drafted: where its maker writes, and what the outcome will say."""

    database: Database
    connection: Connection
    district: District
    settings: DistrictSettings
    draft: Draft
    run_id: int
    now: datetime
    effects: dict[str, Any] = field(default_factory=dict)
    """What applying it does in addition to its changes (``sync/ledger/effects.py``)."""
    extra: dict[str, int] = field(default_factory=dict)
    """Counts that are not actions: ``conflict``, ``protected`` …"""
    always: bool = False
    """Keep the plan even without a change: its effects matter."""
    outcome: Outcome = field(default_factory=lambda: Outcome("", "planned"))

    @property
    def district_id(self) -> int:
        """The district's id in the database."""
        return self.district.id


@contextmanager
def order_plan(
    database: Database,
    slug: str,
    kind: str,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Iterator[OrderedPlan]:
    """Open a draft of this kind and seal what was written to it; ``asked.outcome`` says the end.

    Status ``planned``, or ``nothing_to_do`` if nothing was written. Raises ``UsageError`` for an
    unknown district.
    """
    at = (now or utc_now)()
    district, settings, _ = read_district(database, slug)
    with database.write() as connection:
        database.apply_lock(connection, district.id)
        run_id = open_run(connection, district.id, kind, actor, at)
        opening = Opening(district.id, run_id, kind, at, reason=reason)
        draft = open_plan(database, connection, opening)
        asked = OrderedPlan(database, connection, district, settings, draft, run_id, at)
        asked.outcome = outcome = Outcome(slug, "planned", run_id, [draft.plan_id])
        yield asked
        asked.draft.flush(connection)
        if asked.draft.size == 0 and not asked.always:
            connection.execute(_DROP, {"plan": draft.plan_id})
            outcome.status, outcome.plan_ids = "nothing_to_do", []
        else:
            seal_whole(
                connection, asked.draft, expires=at + timedelta(days=STANDS_DAYS),
                effects=asked.effects or None, extra=asked.extra,
            )  # fmt: skip
        failpoint("order.sealed")
        close_run_in(connection, run_id, outcome.status, at)
    failpoint("order.committed")


_DROP = delete(Plan.table).where(Plan.id == bindparam("plan"))


# -- what its makers read


def context_of(asked: OrderedPlan, **more: Any) -> Context:
    """Return the context by which a run would decide now, over all sources in force."""
    _, _, sources = read_district(asked.database, asked.district.slug)
    return Context(
        sources=Sources(
            {source.id: rank for rank, source in enumerate(sources)},
            {source.id: source.name for source in sources},
            linked_schools(asked.connection, asked.district_id),
            {source.id: source.keep_when_missing for source in sources},
        ),
        origins=origins_of(sources),
        grace=asked.settings.grace,
        zone=asked.settings.zone,
        now=asked.now,
        aliases=read_aliases(asked.connection, asked.district_id, ahead=True),
        **more,
    )


def people(asked: OrderedPlan, query: str, about: Mapping[str, Any]) -> Iterator[UserView]:
    """Yield the users whose ids a query selects, with everything a decision needs, in batches."""
    connection = asked.connection
    found = PeopleToRead.none_yet(connection)
    connection.execute(_list_users(query), about)
    found.users.index()
    for first in range(1, found.users.count() + 1, BATCH):
        yield from read_users(found, first, first + BATCH - 1)


def named_in_conflicts(connection: Connection, district_id: int) -> set[str]:
    """Return the users whom an open conflict names: nobody archives them (rule 6)."""
    rows = connection.execute(_NAMED, {"district": district_id})
    return {user["id"] for row in rows for user in row.candidates}


_NAMED = select(Conflict.candidates).where(
    Conflict.district_id == bindparam("district"),
    Conflict.status == "open",
    Conflict.kind == "user",
    Conflict.reason != "resembles_leaver",
)


# --- Set-wise statements ---
# A list of users is filled from the query of an act, and numbered in the order of their ids, to be
# read in batches.


def _list_users(query: str) -> TextClause:
    """Fill the list of users with those whose ids *query* selects as ``target_id``."""
    numbered = "SELECT ROW_NUMBER() OVER (ORDER BY target_id), target_id"
    return text(f"INSERT INTO todo_users {numbered} FROM ({query}) AS p")
