"""Repair: a plan that puts people back to what the ledger says, after somebody wrote past it.

The plan shows what was found and what it becomes, and its precondition is the person's revision, as
with any plan. Applying it also counts the headcounts anew, which nobody kept while the tables were
written by another door.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select

from core.models import Kind
from core.storage.database import Database
from core.storage.schema import Change, Link, Plan, User
from core.storage.watch import forget_outside_edits, outside_edits
from sync.acts.ordered_plan import OrderedPlan, order_plan
from sync.ledger.directory import REPAIR, Apart, people_apart
from sync.ledger.draft import Step
from sync.run.clock import Clock
from sync.run.outcome import Outcome

REASON = "put_back"
_OWN = frozenset({"revision"})
"""What no plan says: it counts plans."""


def repair(
    database: Database,
    slug: str,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Store a ``planned`` plan that puts back everybody in whom ledger and tables differ.

    Somebody whom no plan has made is removed by it. ``outcome.left`` names who has to be
    looked at by a person: a row of another district, or somebody unknown whom plans have changed.
    Nobody differs: ``nothing_to_do``, and what the database had noted is forgotten.
    """
    with order_plan(database, slug, REPAIR, actor=actor, reason=reason, now=now) as asked:
        connection = asked.connection
        apart = list(people_apart(connection, asked.district_id))
        noted = set(outside_edits(connection, asked.district_id))
        forget_outside_edits(connection, asked.district_id, noted - {one.user_id for one in apart})
        for one in apart:
            if one.told is None and not _has_history(asked, one.user_id):
                asked.draft.add([_removal(one)])
                asked.effects["removes"] = True
            elif one.told is None or (one.found is None and _is_elsewhere(asked, one.user_id)):
                asked.outcome.left.append(one.user_id)
            else:
                asked.draft.add([_step(one)])
            if asked.draft.full:
                asked.draft.flush(connection)
    return asked.outcome


def _step(one: Apart) -> Step:
    told, found = one.told or {}, one.found
    if found is None:
        after = {name: value for name, value in told.items() if name not in _OWN}
        return Step(Kind.USER, "create", one.user_id, None, REASON, None, after)
    names = [name for name in one.fields if name not in _OWN]
    if {"status", "archived_at"} & set(names):  # applying a status sets since when it holds
        names = sorted({*names, "status", "archived_at"})
    before = {name: found[name] for name in names}
    after = {name: told[name] for name in names}
    return Step(Kind.USER, "update", one.user_id, found["revision"], REASON, before, after)


def _removal(one: Apart) -> Step:
    return Step(Kind.USER, "purge", one.user_id, (one.found or {})["revision"], REASON)


def _has_history(asked: OrderedPlan, user_id: str) -> bool:
    about = {"user": user_id}
    planned = asked.connection.execute(_PLANNED, about).first()
    return bool(planned or asked.connection.execute(_LINKED, about).first())


def _is_elsewhere(asked: OrderedPlan, user_id: str) -> bool:
    return asked.connection.execute(_ANYWHERE, {"user": user_id}).first() is not None


_PLANNED = (  # what a purge has emptied speaks of nobody any more
    select(Change.seq)
    .join_from(Change.table, Plan.table, Plan.id == Change.plan_id)
    .where(
        Change.target_id == bindparam("user"),
        Plan.status == "applied",
        Change.action != "purge",
        Change.salt.is_not(None),
    )
    .limit(1)
)
_LINKED = select(Link.record_id).where(Link.target_id == bindparam("user")).limit(1)
_ANYWHERE = select(User.id).where(User.id == bindparam("user"))
