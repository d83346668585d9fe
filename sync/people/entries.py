"""Entries: which new records of one source are several entries of one person (I10).

A server may give one row for each person and school, a set of files one for each role. Records of
one source that agree in both names and in a strong number are one person; so are adults who agree
in both names and in address or username. Fills the table ``same_entries`` and changes nobody.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import groupby, islice
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select, text

from core.models import fold_name, kind_of_person_key, without_zeros
from core.storage.database import Database
from core.storage.schema import Record
from sync.people.identity import NUMBERS
from sync.people.person import RecordView, decode_user, read_records
from sync.run.scratch_tables import EntryGroups, EntryKeys, PlanTables, RecordList, SameEntries

BATCH = 2_000
MANY = 100_000
"""After so many values that stand in several records, every record is compared."""

Transaction = Callable[[], AbstractContextManager[Connection]]


def unite(database: Database, transaction: Transaction, tables: PlanTables, records: int) -> bool:
    """Fill ``same_entries`` from records 1 to ``records`` of ``todo_records``.

    Says whether anybody has several entries. ``base_id`` is the first entry of each person in the
    order of ``todo_records``, so that what follows does not depend on the order of rows or pages.
    """
    alike = _alike(transaction, tables.records, records)
    if not any(alike):
        return False
    with transaction() as connection:
        keys, groups = EntryKeys(connection), EntryGroups(connection)
    for first in range(1, records + 1, BATCH):
        if not any(alike[first : first + BATCH]):
            continue
        with transaction():
            read = _read(tables.records, first)
            keys.add(
                database, [(row[0], word) for row in read if alike[row[0]] for word in _words(row)]
            )
    with transaction() as connection:
        keys.index()
        database.analyze(connection, "entry_keys")
        connection.execute(_LABEL_SHARED_WORDS)
        while connection.execute(_SPREAD_LABELS).rowcount:
            pass
        _leave_contradictions_out(groups)
        connection.execute(_KEEP_GROUPS)
        return tables.same_entries.count() > 0


def attach(tables: PlanTables) -> None:
    """Let each person's other entries join with their first one, as far as they are still new."""
    for query in (_ATTACH_OTHERS, _BASE_OF_OTHERS, _NOT_BY_THEMSELVES):
        tables.same_entries.connection.execute(query)


def others(same: SameEntries) -> Iterator[tuple[int, list[RecordView]]]:
    """Yield each first entry with the other entries of its person."""
    connection = same.connection
    rows = connection.execute(_OTHER_ENTRIES).all()
    for start in range(0, len(rows), BATCH):
        some = rows[start : start + BATCH]
        views = read_records(connection, [row.record_id for row in some])
        for base, mine in groupby(some, key=lambda row: row.base_id):
            yield base, [views[row.record_id] for row in mine]


_ENTRY = select(
    Record.id, Record.source_id, Record.person_key, Record.roles, Record.email, Record.data
).where(Record.id == bindparam("record"))


def waits_with(connection: Connection, record_id: int) -> set[str]:
    """Return the ids, at its source, of entries in an open conflict that this one waits with.

    An entry without a user joins with the first entry of its person, so a question about that one
    keeps all of them waiting.
    """
    about = {"record": record_id}
    mine = _words(connection.execute(_ENTRY, about).one())
    asked = connection.execute(_ENTRIES_IN_CONFLICT, about) if mine else ()
    return {row.external_id for row in asked if not mine.isdisjoint(_words(row[:-1]))}


_ENTRY = select(
    Record.id, Record.source_id, Record.person_key, Record.roles, Record.email, Record.data
).where(Record.id == bindparam("record"))


# -- what is compared


class _Numbers(msgspec.Struct):
    """What of a record's data is looked at first: half of it need not be read for that."""

    sis_id: str | None = None
    student_number: str | None = None
    state_id: str | None = None
    staff_number: str | None = None
    crd_id: str | None = None
    username: str | None = None


_numbers = msgspec.json.Decoder(_Numbers).decode
_Row = tuple[int, int, str | None, str, str | None, str]
"""n, source, key of the person, roles, folded address, data."""


def _read(listed: RecordList, first: int) -> Sequence[Any]:
    """Return the batch of ``_Row`` that begins with record ``first``."""
    about = {"first": first, "last": first + BATCH - 1}
    return listed.connection.execute(_LISTED_RECORDS, about).all()


def _values(row: Any) -> set[str]:
    """Return what two entries of one person share at least; names are compared afterwards."""
    _, source_id, person_key, roles, email, data = row
    said = _numbers(data)
    found = {
        said.sis_id, said.student_number, said.state_id, said.staff_number, said.crd_id, person_key
    }  # fmt: skip
    if "student" not in roles:
        found.add(email)
        if said.username:
            found.add(said.username.casefold())
    return {f"{source_id}:{without_zeros(value)}" for value in found if value}


def _words(row: Any) -> set[str]:
    """Return the words of which two entries of one person share one: a key with both names."""
    _, source_id, person_key, roles, email, stored = row
    data = decode_user(stored)
    cls = "student" if "student" in roles else "adult"
    keys = [f"{name}:{without_zeros(value)}" for name in NUMBERS if (value := getattr(data, name))]
    if cls == "adult":
        keys += [f"email:{email}"] if email else []
        keys += [f"username:{data.username.casefold()}"] if data.username else []
    given = {fold_name(name or "") for name in (data.given_name, data.preferred_given_name)}
    family = {fold_name(name or "") for name in (data.family_name, data.preferred_family_name)}
    for names in (given, family):  # a preferred name that is missing is none
        if len(names) > 1:
            names.discard("")
    found = {
        f"{source_id}:{cls}:{key}|{one}|{other}"
        for key in keys
        for one in given
        for other in family
        if one or other
    }
    return found | ({f"{source_id}:key:{person_key}"} if person_key is not None else set())


def _alike(transaction: Transaction, listed: RecordList, records: int) -> bytearray:
    """Return, by the number of each record, 1 if it shares a value with another, else 0.

    A few others are marked too, whose values are only hashed alike: two bits of a field tell
    whether a hash was met before. Only the hashes are kept beside it, about forty bytes a record.
    """
    mask = (1 << max(16, (records * 64).bit_length())) - 1
    field = bytearray((mask >> 3) + 1)
    hashes, counts = array("q"), bytearray(records + 1)
    repeated: set[int] = set()
    for first in range(1, records + 1, BATCH):
        with transaction():
            rows = _read(listed, first)
        for row in rows:
            values = _values(row)
            counts[row[0]] = len(values)
            for number in map(hash, values):
                hashes.append(number)
                one, other = number & mask, number >> 31 & mask
                at, bit = one >> 3, 1 << (one & 7)
                there, its = other >> 3, 1 << (other & 7)
                if field[at] & bit and field[there] & its:
                    repeated.add(number)
                field[at] |= bit
                field[there] |= its
    if len(repeated) > MANY:
        return bytearray([0]) + bytearray([1]) * records
    alike = bytearray(records + 1)
    mine = iter(hashes)
    for n, count in enumerate(counts):
        for number in islice(mine, count):
            if number in repeated:
                alike[n] = 1
    return alike


# -- what contradicts itself


def _leave_contradictions_out(groups: EntryGroups) -> None:
    """Take groups apart in which one number, or the key of a person, has several values."""
    connection = groups.connection
    wrong: list[dict[str, int]] = []
    last: dict[str, int] = {"label": 0, "n": 0}
    kept: list[Any] = []
    while True:
        rows = kept + list(connection.execute(_MEMBERS_OF_GROUPS, last | {"size": BATCH}).all())
        if len(rows) == len(kept):
            break
        last = {"label": rows[-1].label, "n": rows[-1].n}
        kept = [row for row in rows if row.label == last["label"]]
        for label, members in groupby(rows[: len(rows) - len(kept)], key=lambda row: row.label):
            wrong += [{"label": label}] if _contradicts(list(members)) else []
    if kept and _contradicts(kept):
        wrong.append({"label": kept[0].label})
    if wrong:
        connection.execute(_TAKE_GROUP_APART, wrong)


def _contradicts(members: Sequence[Any]) -> bool:
    said: dict[str, set[str]] = defaultdict(set)
    for row in members:
        data = decode_user(row.data)
        for name in NUMBERS:
            if value := getattr(data, name):
                said[name].add(without_zeros(value))
        if row.person_key is not None:
            said[kind_of_person_key(row.person_key)].add(row.person_key)
    return any(len(values) > 1 for values in said.values())


# --- Set-wise statements ---
# They group a whole list of records in a few passes over scratch tables, whatever number of entries
# a person has. Words and numbers of ``entry_keys`` are indexed in both orders, so each pass of
# ``_SPREAD_LABELS`` looks up what it joins.
_LISTED_RECORDS = text(
    "SELECT t.n, r.source_id, r.person_key, r.roles, r.email, r.data FROM todo_records t"
    " JOIN records r ON r.id = t.record_id WHERE t.n BETWEEN :first AND :last ORDER BY t.n"
)
_ENTRIES_IN_CONFLICT = text(
    "SELECT r.id, r.source_id, r.person_key, r.roles, r.email, r.data,"
    " r.external_id FROM conflicts c"
    " JOIN records r ON r.id = c.record_id JOIN records me ON me.source_id = r.source_id"
    " WHERE me.id = :record AND c.status = 'open' AND r.kind = 'user' AND r.id <> me.id"
)
_LABEL_SHARED_WORDS = text(
    "INSERT INTO entry_groups SELECT DISTINCT k.n, k.n FROM entry_keys k JOIN (SELECT word"
    " FROM entry_keys GROUP BY word HAVING MIN(n) <> MAX(n)) AS shared ON shared.word = k.word"
)
_SPREAD_LABELS = text(  # each takes the lowest label of all with whom it shares a word
    "UPDATE entry_groups SET label = lowest.label FROM (SELECT k.n, MIN(shared.label) AS label"
    " FROM entry_keys k JOIN (SELECT e.word, MIN(g.label) AS label FROM entry_keys e"
    " JOIN entry_groups g ON g.n = e.n GROUP BY e.word) AS shared ON shared.word = k.word"
    " GROUP BY k.n) AS lowest WHERE lowest.n = entry_groups.n AND lowest.label < entry_groups.label"
)
_MEMBERS_OF_GROUPS = text(
    "SELECT g.label, g.n, r.data, r.person_key FROM entry_groups g"
    " JOIN todo_records t ON t.n = g.n JOIN records r ON r.id = t.record_id"
    " WHERE g.label > :label OR (g.label = :label AND g.n > :n) ORDER BY g.label, g.n LIMIT :size"
)
_TAKE_GROUP_APART = text("DELETE FROM entry_groups WHERE label = :label")
_KEEP_GROUPS = text(
    "INSERT INTO same_entries SELECT t.record_id, b.record_id, 'entries:' || r.external_id"
    " FROM entry_groups g JOIN todo_records t ON t.n = g.n JOIN todo_records b ON b.n = g.label"
    " JOIN records r ON r.id = b.record_id"
)
_OTHER_ENTRIES = text(
    "SELECT base_id, record_id FROM same_entries WHERE record_id <> base_id ORDER BY 1, 2"
)
_ATTACH_OTHERS = text(
    "INSERT INTO attached SELECT s.record_id, s.base_id, NULL, 'same_person' FROM same_entries s"
    " WHERE s.record_id <> s.base_id"
    " AND EXISTS (SELECT 1 FROM todo_records t WHERE t.record_id = s.record_id)"
)
_BASE_OF_OTHERS = text(  # people who join another of their entries join the first one
    "UPDATE attached SET base_id = s.base_id FROM same_entries s"
    " WHERE s.record_id = attached.base_id AND s.base_id <> s.record_id"
)
_NOT_BY_THEMSELVES = text(
    "DELETE FROM todo_records WHERE record_id IN"
    " (SELECT record_id FROM same_entries WHERE record_id <> base_id)"
)
