"""Resembling pairs: somebody who joins and somebody who leaves, in one run or in grace (L7).

Works in sets on temporary tables, so that a whole district that moves to a new email domain is one
join. The same id, or the same local part and the same names, mean one person whose record moved. If
only one of these agrees, both wait for a person's decision. For people who stay (protected, in
grace, or because the season takes nothing), only the first counts: a person whose record moved
never becomes two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, text

from core.models import fold_email
from core.storage.database import Database
from sync.people.identity import keys_of, strong_keys, weak_keys
from sync.people.person import RecordView, UserView
from sync.people.traits import OwnNumbers
from sync.run.scratch_tables import PlanTables


def add_leavers(
    database: Database,
    tables: PlanTables,
    users: Sequence[UserView],
    own: OwnNumbers,
    *,
    staying: bool = False,
) -> None:
    """Record by what each leaver could be recognised; ``own``: see ``OwnNumbers``."""
    rows: list[_Row] = []
    for user in users:
        roles = [role for role, _, _ in user.memberships]
        profile, strong = user.profile, list[str]()
        for record in user.records if own else ():
            for name in own.get(record.source_id, ()):
                value = getattr(record.data, name)
                strong += strong_keys({name: value}, roles, record.source_id)
                if value and value == profile[name]:
                    profile = {**profile, name: None}
        strong += strong_keys(profile, roles)
        rows += _rows(user.id, strong, *weak_keys(user.profile), user.profile["email"])
    tables.leavers.add(database, rows)
    if staying:
        tables.staying.add(database, [(user.id,) for user in users])


def add_joiners(
    database: Database,
    tables: PlanTables,
    records: Iterable[RecordView],
    own: OwnNumbers,
    *,
    base: int | None = None,
) -> None:
    """Record by what each joiner could be recognised; ``own``: see ``OwnNumbers``.

    ``base``: the record with which all of these join, as entries of one person.
    """
    rows: list[_Row] = []
    for record in records:
        mine = own.get(record.source_id, ())
        joins_as = record.id if base is None else base
        rows += _rows(joins_as, *keys_of(record.data, record.source_id, mine), record.data.email)
    tables.joiners.add(database, rows)


_Row = tuple[object, str, str, str | None]


def _rows(
    person: object, strong: Sequence[str], local: str | None, names: str | None, email: str | None
) -> list[_Row]:
    rows: list[_Row] = [(person, "id", key, key.rpartition(":")[0]) for key in strong]
    if local:
        rows.append((person, "local", local, None))
    if names:
        rows.append((person, "names", names, None))
    if local and names:
        rows.append((person, "both", f"{local}|{names}", None))
    if email:
        rows.append((person, "email", fold_email(email), None))
    return rows


def find(tables: PlanTables) -> int:
    """Compare joiners with leavers; return how many moved. The rest of ``pairs`` resembles.

    A match that could be two people does not count: both sides must be unique, and no id may
    contradict. Nor does one with a joiner of whom a person said that it is somebody new.
    """
    connection = tables.pairs.connection
    for table in (tables.leavers, tables.joiners):
        table.index()
        connection.exec_driver_sql(f"ANALYZE {table.name}")
    connection.execute(_PAIR_LEAVERS_WITH_JOINERS)
    connection.execute(_DROP_SAID_TO_BE_NEW)
    connection.execute(_DROP_LIKENESS_TO_STAYING)
    tables.pairs.index()
    for query in (_UNMOVE_CONTRADICTED, _UNMOVE_NOT_UNIQUE, _DROP_LIKENESS_TO_MOVED):
        connection.execute(query)
    return int(connection.execute(_COUNT_MOVED).scalar_one())


def likenesses(tables: PlanTables, record_ids: Sequence[int]) -> dict[int, dict[str, list[str]]]:
    """Return record id → the leavers that it merely resembles, and in what."""
    found: dict[int, dict[str, list[str]]] = {}
    if record_ids:
        rows = tables.pairs.connection.execute(_LIKENESSES, {"records": list(record_ids)})
        for record_id, target, word in rows:
            slugs = found.setdefault(record_id, {}).setdefault(target, [])
            if word in _SLUGS:
                slugs.append(_SLUGS[word])
    return found


_SLUGS = {
    "email": "same_email", "id": "same_key", "local": "same_local_part", "names": "names_agree",
}  # fmt: skip


# --- Set-wise statements ---
# They pair a whole district in a few joins, on scratch tables that exist only in a run; conflicts
# are found by the index of their records. The word and value of a key are indexed on both sides
# before ``find`` runs the first seven, in this order: each looks at those whom the ones before it
# have left in ``pairs``.
_PAIR_LEAVERS_WITH_JOINERS = text(  # equal names at a new domain are one person who moved
    "INSERT INTO pairs SELECT j.person, l.person, CASE WHEN MAX(CASE l.word WHEN 'id' THEN 1"
    " ELSE 0 END) = 1 OR (MAX(CASE l.word WHEN 'both' THEN 1 ELSE 0 END) = 1"
    # at the same address, they may be two
    " AND MAX(CASE l.word WHEN 'email' THEN 1 ELSE 0 END) = 0) THEN 1 ELSE 0 END FROM leavers l"
    " JOIN joiners j ON j.value = l.value AND j.word = l.word GROUP BY j.person, l.person"
)
_ENTRIES_OF_PAIRS = (
    "SELECT p.record_id FROM pairs p LEFT JOIN same_entries s ON s.base_id = p.record_id JOIN"
)
_DROP_SAID_TO_BE_NEW = text(  # by a person: of a record in question, or of a reused id (I13)
    f"DELETE FROM pairs WHERE record_id IN ({_ENTRIES_OF_PAIRS} conflicts c"
    " ON c.record_id = COALESCE(s.record_id, p.record_id)"
    " WHERE c.kind = 'user' AND c.status = 'resolved' AND c.decision = 'new'"
    f" UNION {_ENTRIES_OF_PAIRS} given_away g"
    " ON g.record_id = COALESCE(s.record_id, p.record_id) WHERE g.to_id IS NULL)"
)
_DROP_LIKENESS_TO_STAYING = text(
    "DELETE FROM pairs WHERE moved = 0 AND target_id IN (SELECT person FROM staying)"
)
_UNMOVE_CONTRADICTED = text(
    "UPDATE pairs SET moved = 0 WHERE moved = 1 AND EXISTS (SELECT 1 FROM leavers l JOIN joiners j"
    " ON j.kind = l.kind AND j.value <> l.value WHERE l.person = pairs.target_id"
    " AND j.person = pairs.record_id AND l.word = 'id' AND j.word = 'id')"
)
_UNMOVE_NOT_UNIQUE = text(
    "UPDATE pairs SET moved = 0 WHERE moved = 1 AND ("
    " record_id IN (SELECT record_id FROM pairs WHERE moved = 1 GROUP BY record_id"
    "  HAVING COUNT(*) > 1)"
    " OR target_id IN (SELECT target_id FROM pairs WHERE moved = 1 GROUP BY target_id"
    "  HAVING COUNT(*) > 1))"
)
_DROP_LIKENESS_TO_MOVED = text(  # people who have moved no longer resemble anybody
    "DELETE FROM pairs WHERE moved = 0 AND (record_id IN (SELECT record_id FROM pairs"
    " WHERE moved = 1) OR target_id IN (SELECT target_id FROM pairs WHERE moved = 1))"
)
_COUNT_MOVED = text("SELECT COUNT(*) FROM pairs WHERE moved = 1")
_LIKENESSES = text(
    "SELECT DISTINCT p.record_id, p.target_id, l.word FROM pairs p"
    " JOIN leavers l ON l.person = p.target_id JOIN joiners j ON j.person = p.record_id"
    " AND j.word = l.word AND j.value = l.value WHERE p.moved = 0 AND p.record_id IN :records"
    " ORDER BY p.record_id, p.target_id, l.word"
).bindparams(bindparam("records", expanding=True))
