"""The links as the ledger tells them: which records each person or school has, beside the table.

A link is made by a change of its person or school. It ends, or goes to somebody else, by a change
whose ``after`` has a ``target``; only people order that, so all of these moves fit into memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, select, text

from core.models import Kind
from core.storage.schema import Link
from core.storage.stored import from_json

Links = dict[int, bool | None]
"""Record → whether it still holds; None: the ledger does not tell."""
_Order = tuple[int, int, int]
_MAKES = frozenset({"create", "link", "adopt"})


@dataclass(slots=True)
class Moves:
    """What ended links or gave them to somebody else."""

    of_record: dict[int, list[tuple[_Order, str | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    into: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


def read_moves(connection: Connection, district_id: int, kind: Kind) -> Moves:
    """Read every move of a link of a district's people, or of its schools."""
    moves = Moves()
    for row in connection.execute(_MOVES, {"district": district_id, "kind": kind.value}):
        after = from_json(row.after) or {}
        if "target" in after:
            moves.of_record[row.record_id].append(((row.first_serial, 0, row.seq), after["target"]))
            if after["target"] is not None:
                moves.into[after["target"]].add(row.record_id)
    return moves


def told_links(target: str, changes: Iterable[Any], moves: Moves) -> Links:
    """Return what applied changes of one person or school, and the moves, made of their links."""
    events: list[tuple[_Order, int | None, Any]] = []
    records = set(moves.into.get(target, ()))
    for change in changes:
        at = (change.first_serial, 0, change.seq)
        if change.action == "purge":
            events.append((at, None, "purge"))
        if change.record_id is not None:
            records.add(change.record_id)
            if change.action in _MAKES:  # if it is a move as well, that comes after it below
                events.append((at, change.record_id, "made"))
        for record, _, held, _ in from_json(change.basis) or ():
            if held is not None:
                events.append(((change.first_serial, 1, change.seq), record, bool(held)))
    for record in records:
        events += [(at, record, (to,)) for at, to in moves.of_record.get(record, ())]
    links: Links = {}
    for _, record, what in sorted(events, key=lambda event: event[0]):
        if record is None:
            links.clear()
        elif what == "made":
            links.setdefault(record, True)
        elif isinstance(what, tuple):
            links.pop(record, None)
            if what[0] == target:
                links[record] = None
        elif record in links:
            links[record] = what
    return links


def found_links(connection: Connection, ids: Sequence[str]) -> dict[str, Links]:
    """Return the links of these people or schools as the table holds them."""
    found: dict[str, Links] = defaultdict(dict)
    for row in connection.execute(_FOUND, {"ids": list(ids)}):
        found[row.target_id][row.record_id] = bool(row.held)
    return found


def links_apart(
    connection: Connection, told: Mapping[str, Links], found: Mapping[str, Links]
) -> Iterator[str]:
    """Yield the people or schools whose links are not as the ledger tells.

    A record that a purged person had says nothing: what the ledger knew of it is erased.
    """
    doubtful = {
        target: [
            record
            for record in told.get(target, {}).keys() | found.get(target, {}).keys()
            if not _alike(told.get(target, {}), found.get(target, {}), record)
        ]
        for target in told.keys() | found.keys()
    }
    records = sorted({record for some in doubtful.values() for record in some})
    erased: set[int] = set()
    for first in range(0, len(records), _AT_ONCE):
        some = {"records": records[first : first + _AT_ONCE]}
        erased.update(connection.execute(_ERASED, some).scalars())
    for target, some_records in doubtful.items():
        if not erased.issuperset(some_records):
            yield target


def _alike(told: Links, found: Links, record: int) -> bool:
    if (record in told) != (record in found):
        return False
    return told[record] is None or told[record] == found[record]


_AT_ONCE = 500
_FOUND = select(Link.record_id, Link.target_id, Link.held).where(
    Link.target_id.in_(bindparam("ids", expanding=True))
)


# --- Set-wise statements ---
# They join the changes of applied plans. Moves are found by their action, because few changes end
# a link; what a purge has emptied is found by its missing salt, its record is still named.

_MOVES = text(
    "SELECT c.record_id, c.seq, c.after, p.first_serial FROM changes c"
    " JOIN plans p ON p.id = c.plan_id WHERE p.district_id = :district AND p.status = 'applied'"
    " AND c.kind = :kind AND c.action IN ('link', 'unlink') AND c.after IS NOT NULL"
    " AND c.record_id IS NOT NULL ORDER BY p.first_serial, c.seq"
)
_ERASED = text(
    "SELECT c.record_id FROM changes c JOIN plans p ON p.id = c.plan_id"
    " WHERE p.status = 'applied' AND c.salt IS NULL AND c.record_id IN :records"
).bindparams(bindparam("records", expanding=True))
