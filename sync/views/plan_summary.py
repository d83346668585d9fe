"""A plan in groups, as people read it: who joins, changes and leaves, by school and role.

Used by the command line. A large plan has a stored outline of its groups; for other plans the
database counts the changes. So a plan of a million changes opens as fast as one of ten.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
)

from core.storage.schema import Change
from sync.ledger.outline import FIRST, GroupKey, Outline, stored_outline
from sync.run.find import Json
from sync.views.plans import changes_at, school_names


@dataclass(frozen=True, slots=True)
class Group:
    """The changes of one action in one school and role."""

    kind: str
    action: str
    school_id: str
    role: str
    count: int
    samples: tuple[Json, ...] = ()
    """The first changes of the group, sorted by name."""
    next_seq: int | None = None
    """The seq of the first change that ``samples`` leaves out."""


@dataclass(frozen=True, slots=True)
class Summary:
    """All groups of a plan; samples only of the schools that are shown."""

    groups: tuple[Group, ...]
    shown: tuple[str, ...]
    """The ids of the schools to show ("" is no school), those that lose most people first."""
    schools: dict[str, str]
    """School id → name."""


TAKING = frozenset({"archive", "suspend", "leaves_scope", "purge", "merge"})


def summarize(connection: Connection, plan_id: int, *, schools: int, each: int) -> Summary:
    """Return a plan's groups, with ``each`` samples of every group of the first ``schools``."""
    outline = stored_outline(connection, plan_id)
    groups = _groups(connection, plan_id) if outline is None else outline.counts
    names = school_names(connection, plan_id)
    shown = _by_loss(groups, names)[:schools]
    wanted = [school for school in shown if school]
    if outline is None or each >= FIRST:
        first = _first(connection, plan_id, wanted, each)
    else:
        first = _first_of(outline, wanted, each)
    samples = _samples(connection, plan_id, first, names)
    return Summary(
        tuple(
            Group(*key, count, *samples.get(key, ((), None)))
            for key, count in sorted(groups.items())
        ),
        tuple(shown),
        names,
    )


def _groups(connection: Connection, plan_id: int) -> dict[GroupKey, int]:
    rows = connection.execute(_GROUPS, {"plan": plan_id})
    return {GroupKey(*row[:4]): row[4] for row in rows}


_NONE: ColumnElement[str] = literal_column("''")
_GROUP = (
    Change.kind,
    Change.action,
    case((Change.kind == "school", _NONE), else_=func.coalesce(Change.school_id, _NONE)),
    func.coalesce(Change.role, _NONE),
)
_GROUPS = select(*_GROUP, func.count()).where(Change.plan_id == bindparam("plan")).group_by(*_GROUP)


def _by_loss(groups: dict[GroupKey, int], names: dict[str, str]) -> list[str]:
    """Return the schools of a plan's people: most leaving first, then most changing, by name."""
    lost: dict[str, int] = {}
    total: dict[str, int] = {}
    for (kind, action, school, _), count in groups.items():
        if kind != "school":
            total[school] = total.get(school, 0) + count
            lost[school] = lost.get(school, 0) + (count if action in TAKING else 0)
    return sorted(total, key=lambda one: (-lost[one], -total[one], names.get(one, ""), one))


First = dict[GroupKey, tuple[list[int], int | None]]
"""Group → the seqs of its first changes, and that of the next one, if there is one."""


def _first_of(outline: Outline, schools: Collection[str], each: int) -> First:
    """Return the first changes of each group of some schools, and of those of none."""
    return {
        key: (seqs[:each], seqs[each] if len(seqs) > each else None)
        for key, seqs in outline.first.items()
        if key.school in schools or not key.school
    }


def _first(connection: Connection, plan_id: int, schools: Collection[str], each: int) -> First:
    """Return the same for a plan without an outline."""
    found: First = {}
    about = {"plan": plan_id, "schools": schools, "places": each + 1}
    for row in connection.execute(_FIRST, about):
        key = GroupKey(*row[:4])
        seqs, _ = found.setdefault(key, ([], None))
        if row.place > each:
            found[key] = (seqs, row.seq)
        else:
            seqs.append(row.seq)
    return found


def _samples(
    connection: Connection, plan_id: int, found: First, names: dict[str, str]
) -> dict[GroupKey, tuple[tuple[Json, ...], int | None]]:
    wanted_seqs = [seq for seqs, _ in found.values() for seq in seqs]
    changes = changes_at(connection, plan_id, wanted_seqs, names)
    return {
        key: (tuple(sorted((changes[seq] for seq in seqs), key=_by_name)), following)
        for key, (seqs, following) in found.items()
    }


def _by_name(change: Json) -> tuple[str, int]:
    """Sort people by name for reading; the plan itself keeps its own order."""
    return (change["name"] or "").casefold(), change["seq"]


# --- Set-wise statements ---
# A window numbers the changes of each group, so that one reading of a plan finds the first few of
# every group.

_KEY = (
    "kind, action, CASE WHEN kind = 'school' THEN '' ELSE COALESCE(school_id, '') END,"
    " COALESCE(role, '')"
)
_FIRST = text(
    f"SELECT * FROM (SELECT {_KEY}, seq, ROW_NUMBER() OVER (PARTITION BY {_KEY} ORDER BY seq)"
    " AS place FROM changes WHERE plan_id = :plan AND (kind = 'school' OR school_id IN :schools"
    " OR school_id IS NULL OR school_id = '')) numbered WHERE place <= :places ORDER BY seq"
).bindparams(bindparam("schools", type_=String, expanding=True))
