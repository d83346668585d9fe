"""Repair: a plan that puts the directory back to what the ledger says, if somebody wrote past it.

The plan shows what was found and what it becomes, and its precondition is the revision of the
person or school, as with any plan. Applying it also counts the headcounts anew, which nobody kept
while the tables were written by another door.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import bindparam, select

from core.models import Kind
from core.storage.database import Database
from core.storage.schema import Change, Link, Plan, Record, School, User
from core.storage.watch import forget_outside_edits, outside_edits
from sync.acts.ordered_plan import OrderedPlan, order_plan
from sync.ledger.directory import REPAIR, Apart, people_apart, schools_apart
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
    """Store a ``planned`` plan that puts back whatever differs between ledger and tables.

    Somebody whom no plan has made is removed by it. ``outcome.left`` names who has to be looked at
    by a person: a row of another district, a school that no plan has made, somebody unknown whom
    plans have changed, a link whose record is gone. If nothing differs, the outcome is
    ``nothing_to_do``, and what the database had noted is forgotten.
    """
    with order_plan(database, slug, REPAIR, actor=actor, reason=reason, now=now) as asked:
        connection = asked.connection
        apart = [
            *schools_apart(connection, asked.district_id),
            *people_apart(connection, asked.district_id),
        ]
        noted = set(outside_edits(connection, asked.district_id))
        forget_outside_edits(connection, asked.district_id, noted - {one.target for one in apart})
        owners = {record: one.target for one in apart for record in one.told_links}
        for one in apart:
            steps = _steps(asked, one, owners)
            if steps is None:
                asked.outcome.left.append(one.target)
            elif steps:
                asked.draft.add(steps)
            if asked.draft.full:
                asked.draft.flush(connection)
    return asked.outcome


def _steps(asked: OrderedPlan, one: Apart, owners: Mapping[int, str]) -> list[Step] | None:
    """Return the way back for one person or school; None: a person has to look at them."""
    if one.told is None:
        if one.kind is Kind.SCHOOL or _has_history(asked, one.target):
            return None
        asked.effects["removes"] = True
        return [_removal(one)]
    if one.found is None and _is_elsewhere(asked, one):
        return None
    steps = list(_own(one))
    links = list(_links(asked, one, owners))
    if None in links:
        return None
    return steps + [step for step in links if step is not None]


def _own(one: Apart) -> Iterator[Step]:
    """Put back what the row and the memberships say."""
    told, found = one.told or {}, one.found
    if found is None:
        after = {name: value for name, value in told.items() if name not in _OWN}
        yield Step(one.kind, "create", one.target, None, REASON, None, after)
        if one.kind is Kind.SCHOOL and told["status"] != "active":
            status = {"status": told["status"]}
            yield Step(Kind.SCHOOL, "archive", one.target, None, REASON, None, status)
        return
    names = [name for name in one.fields if name not in {*_OWN, "links"}]
    if one.kind is Kind.USER and {"status", "archived_at"} & set(names):
        names = sorted({*names, "status", "archived_at"})  # applying a status sets since when
    if names or one.fields == ["revision"]:
        before = {name: found[name] for name in names}
        after = {name: told[name] for name in names}
        yield Step(one.kind, "update", one.target, found["revision"], REASON, before, after)


def _links(asked: OrderedPlan, one: Apart, owners: Mapping[int, str]) -> Iterator[Step | None]:
    """Put back which records lead to them; None: of one of these records nothing is left."""
    if not one.relinked:
        return
    told, found = one.told_links, one.found_links
    records = sorted(told.keys() | found.keys())
    there = _there(asked, records)
    revision = None if one.found is None else one.found["revision"]
    for record in records:
        held = told.get(record)
        if record in told and record in found and held in (None, found[record]):
            continue
        version, target = there.get(record, (None, None))
        if version is None:
            yield None
        elif record in told:
            moved = target not in (None, one.target)
            yield Step(
                one.kind, "unlink" if held is False else "link", one.target, revision, REASON,
                record_id=record, record_version=version,
                before={"target": target} if moved else None,
                after={"target": one.target} if moved else None,
                basis=None if held is None else [[record, version, int(held), 0]],
            )  # fmt: skip
        elif record not in owners:  # else they get it back
            yield Step(
                one.kind, "unlink", one.target, revision, REASON,
                record_id=record, record_version=version,
                before={"target": one.target}, after={"target": None},
            )  # fmt: skip


def _there(asked: OrderedPlan, records: Sequence[int]) -> dict[int, tuple[int, str | None]]:
    """Return record → its version, and whom it leads to now."""
    rows = asked.connection.execute(_RECORDS, {"records": list(records)})
    return {row.id: (row.version, row.target_id) for row in rows}


def _removal(one: Apart) -> Step:
    return Step(Kind.USER, "purge", one.target, (one.found or {})["revision"], REASON)


def _has_history(asked: OrderedPlan, user_id: str) -> bool:
    about = {"user": user_id}
    planned = asked.connection.execute(_PLANNED, about).first()
    return bool(planned or asked.connection.execute(_LINKED, about).first())


def _is_elsewhere(asked: OrderedPlan, one: Apart) -> bool:
    query = _ANYWHERE if one.kind is Kind.USER else _SCHOOL_ANYWHERE
    return asked.connection.execute(query, {"target": one.target}).first() is not None


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
_ANYWHERE = select(User.id).where(User.id == bindparam("target"))
_SCHOOL_ANYWHERE = select(School.id).where(School.id == bindparam("target"))
_RECORDS = (
    select(Record.id, Record.version, Link.target_id)
    .join_from(Record.table, Link.table, Link.record_id == Record.id, isouter=True)
    .where(Record.id.in_(bindparam("records", expanding=True)))
)
