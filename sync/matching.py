"""Matching: the new records of a run against the directory, read in sets, decided one by one.

Writes ``todo_joins`` (whose record it is), takes conflicts down, and removes from ``todo_records``
whoever does not simply join. ``sync/identity.py`` decides; what it decides by depends on sets only,
never on the order of rows or pages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, text

from core.database import Database
from core.tables import utc_text
from sync.domain_moves import read_aliases, spellings
from sync.identity import (
    NUMBERS,
    Candidate,
    Known,
    Verdict,
    fold_name,
    judge,
    role_class,
)
from sync.people import RecordView, UserData, read_newcomers

BATCH = 1_000
Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(slots=True)
class Terms:
    """What matching goes by beside the records."""

    district_id: int
    now: Any
    domains: frozenset[str]
    """The district's own email domains; empty: all."""
    rank: Mapping[int, int]
    """Source id → its place in the order of precedence."""
    id_of: Callable[[RecordView], str]
    """The id under which a new record's person would join."""
    silent: frozenset[int] = frozenset()
    """Sources that change nobody in this run (F1)."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Old email domain → the one that came after it."""


@dataclass(slots=True)
class Matched:
    """What matching came to, in people."""

    linked: int = 0
    conflicts: int = 0
    waiting: int = 0


def match(database: Database, transaction: Transaction, terms: Terms, records: int) -> Matched:
    """Match the records 1 to ``records`` of ``todo_records``; see the module.

    ``transaction`` opens one write transaction after the other on the connection that has the
    temporary tables: hand acts never wait for the whole.
    """
    with transaction() as connection:
        terms.aliases = read_aliases(connection, terms.district_id)
        _make_tables(connection)
        for first in range(1, records + 1, BATCH):
            newcomers = [
                record
                for record in read_newcomers(connection, first, first + BATCH - 1)
                if record.source_id not in terms.silent
            ]
            rows = [row for record in newcomers for row in _rows(record, terms)]
            database.insert_into(connection, "new_keys", _COLUMNS, rows)
        for query in _INDEXES:
            connection.exec_driver_sql(query)
        connection.execute(_DECIDED_NEW)
        if not database.is_sqlite:
            connection.exec_driver_sql("ANALYZE new_keys")
    with transaction() as connection:
        for find in _FIND:
            connection.execute(find, {"district": terms.district_id})
        connection.exec_driver_sql("CREATE INDEX ix_found ON found (person)")
        connection.exec_driver_sql("CREATE INDEX ix_found_source ON found (source_id, person)")
        connection.exec_driver_sql("CREATE INDEX ix_found_target ON found (target_id)")
        if not database.is_sqlite:
            connection.exec_driver_sql("ANALYZE found")
        sources = connection.execute(_SOURCES).scalars().all()
    matched = Matched()
    for source_id in sorted(sources, key=lambda source: terms.rank.get(source, 1 << 30)):
        # source by source: who comes later may be the person of somebody who came first
        last = ""
        while True:
            with transaction() as connection:
                about = {"source": source_id, "last": last, "batch": BATCH}
                people = connection.execute(_PEOPLE, about).scalars().all()
                if people:
                    _Batch(database, connection, terms, matched).decide(people)
            if len(people) < BATCH:
                break
            last = people[-1]
    return matched


def _make_tables(connection: Connection) -> None:
    for name, columns in (
        ("new_keys", "record_id BIGINT, source_id BIGINT, person TEXT, word TEXT, value TEXT"),
        ("found", "person TEXT, source_id BIGINT, target_id TEXT, record_id BIGINT, word TEXT"),
    ):
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({columns})")


def _rows(record: RecordView, terms: Terms) -> list[tuple[Any, ...]]:
    person = person_of(record)
    known = known_of([record.data], terms.aliases)
    rows = [
        (record.id, record.source_id, person, kind.partition(":")[0], value)
        for kind, values in known.keys.items()
        for value in values
    ]
    rows += [(record.id, record.source_id, person, "email", email) for email in known.emails]
    if record.person_key:  # an entry without any key belongs to its person all the same
        rows.append((record.id, record.source_id, person, "self", person))
    return rows


def person_of(record: RecordView) -> str:
    """Return what is the same for all entries of one person in one source, and for nobody else."""
    key = f"k{record.person_key}" if record.person_key else f"e{record.external_id}"
    return f"{record.source_id}:{key}"


# -- what is known of somebody


def known_of(entries: Sequence[UserData], aliases: Mapping[str, str]) -> Known:
    """Return what the entries of one person tell about who they are."""
    keys: dict[str, set[str]] = defaultdict(set)
    emails: set[str] = set()
    given: set[str] = set()
    family: set[str] = set()
    roles = {member.role for entry in entries for member in entry.memberships}
    cls = role_class(roles)
    for entry in entries:
        for name in NUMBERS:
            if value := getattr(entry, name):
                keys[f"{name}:{cls}"].add(value)
        _add_person_key(keys, entry.person_key)
        if entry.email:
            emails |= spellings(entry.email, aliases)
        given |= _folded(entry.given_name, entry.preferred_given_name)
        family |= _folded(entry.family_name, entry.preferred_family_name)
    return _known(keys, emails, given, family, roles)


def _known(
    keys: Mapping[str, set[str]],
    emails: Iterable[str],
    given: Iterable[str],
    family: Iterable[str],
    roles: Iterable[str],
) -> Known:
    return Known(
        {kind: frozenset(values) for kind, values in keys.items()},
        frozenset(emails), frozenset(given), frozenset(family), frozenset(roles),
    )  # fmt: skip


def _add_person_key(keys: dict[str, set[str]], person_key: str | None) -> None:
    """Add a key that joins entries: a master id of the district, or a userIds type's id."""
    if person_key is None:
        return
    kind, _, value = person_key.partition(":")
    if kind == "master":
        keys["master"].add(person_key)
    elif kind == "userid":
        keys[f"userid:{value.partition(':')[0].casefold()}"].add(person_key)


def _folded(*names: str | None) -> set[str]:
    return {folded for name in names if name and (folded := fold_name(name))}


# -- one batch of people


class _Batch:
    """Some new people with everybody they may be."""

    def __init__(
        self, database: Database, connection: Connection, terms: Terms, matched: Matched
    ) -> None:
        self.database = database
        self.connection = connection
        self.terms = terms
        self.matched = matched

    def decide(self, people: Sequence[str]) -> None:
        """Judge these people and write down what follows."""
        about = {"people": list(people)}
        records: dict[str, list[RecordView]] = defaultdict(list)
        ids = self.connection.execute(_RECORDS_OF, about).all()
        views = read_records(self.connection, [row.record_id for row in ids])
        for row in ids:
            records[row.person].append(views[row.record_id])
        found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        others: dict[str, set[str]] = defaultdict(set)
        for row in self.connection.execute(_FOUND, about):
            if row.target_id is not None:
                found[row.person][row.target_id].add(row.word)
            else:
                others[row.person].add(row.other)
        users = read_known(
            self.connection, {user for one in found.values() for user in one}, self.terms.aliases
        )
        rivals = self._rivals(about)
        joining = self._joining({other for some in others.values() for other in some})
        joins: list[tuple[int, str, str]] = []
        gone: list[int] = []
        for person in people:
            mine = records[person]
            new = known_of([record.data for record in mine], self.terms.aliases)
            source_id = mine[0].source_id
            candidates = [
                users[user].as_candidate(source_id, rivals[person, user])
                for user in sorted(found[person])
                if user in users
            ]
            unsettled = False
            for other in sorted(others[person]):
                one = joining[other]
                if self._later(one.source_id, source_id):
                    continue
                unsettled = True
                if one.target is None or all(c.id != one.target for c in candidates):
                    candidates.append(Candidate(one.target or one.id, one.known))
            verdict = judge(new, candidates, self.terms.domains)
            if verdict.what == "new":
                continue
            gone += [record.id for record in mine]
            self._write(verdict, mine, users, joins, unsettled=unsettled)
        self.database.insert_into(
            self.connection, "todo_joins", ("record_id", "target_id", "reason"), joins
        )
        if gone:
            self.connection.execute(_NOT_NEW, [{"id": record} for record in gone])

    def _write(
        self,
        verdict: Verdict,
        mine: Sequence[RecordView],
        users: Mapping[str, KnownUser],
        joins: list[tuple[int, str, str]],
        *,
        unsettled: bool,
    ) -> None:
        if verdict.what == "link" and verdict.target in users:
            joins += [(record.id, str(verdict.target), verdict.reason) for record in mine]
            self.matched.linked += 1
        elif verdict.what == "link" and unsettled:
            self.matched.waiting += 1  # the person joins in this very run: linked by the next one
        else:
            self._conflict(mine[0], verdict)
            self.matched.conflicts += 1

    def _conflict(self, record: RecordView, verdict: Verdict) -> None:
        candidates = [{"id": user, "evidence": list(slugs)} for user, slugs in verdict.evidence]
        about = {
            "district": self.terms.district_id,
            "record": record.id,
            "reason": verdict.reason,
            "candidates": msgspec.json.encode(candidates).decode(),
            "now": utc_text(self.terms.now),
        }
        if not self.connection.execute(_CONFLICT_AGAIN, about).rowcount:
            self.connection.execute(_CONFLICT, about)

    def _rivals(self, about: Mapping[str, Any]) -> dict[tuple[str, str], tuple[bool, bool]]:
        """Return (person, user) → who else lays claim: by a strong key, by the address."""
        found: dict[tuple[str, str], tuple[bool, bool]] = defaultdict(lambda: (False, False))
        for person, target, strong, email in self.connection.execute(_RIVALS, about):
            found[person, target] = (bool(strong), bool(email))
        shared = set(self.connection.execute(_SHARED_EMAILS, about).scalars())
        for person, target in self.connection.execute(_EMAIL_PAIRS, about):
            if person in shared:
                found[person, target] = (found[person, target][0], True)
        return found

    def _joining(self, people: set[str]) -> dict[str, _Joining]:
        """Return newcomers of other sources who share a key with somebody of this batch."""
        if not people:
            return {}
        rows = self.connection.execute(_RECORDS_OF, {"people": sorted(people)}).all()
        views = read_records(self.connection, [row.record_id for row in rows])
        records: dict[str, list[RecordView]] = defaultdict(list)
        targets: dict[str, str] = {}
        for row in rows:
            records[row.person].append(views[row.record_id])
            if row.joined is not None:
                targets[row.person] = row.joined
        return {
            person: _Joining(
                self.terms.id_of(mine[0]),
                mine[0].source_id,
                known_of([r.data for r in mine], self.terms.aliases),
                targets.get(person),
            )
            for person, mine in records.items()
        }

    def _later(self, other: int, mine: int) -> bool:
        rank = self.terms.rank
        return rank.get(other, 1 << 30) >= rank.get(mine, 1 << 30)


@dataclass(slots=True)
class _Joining:
    """Somebody else who is new in this run; ``target`` if they turned out to be a user."""

    id: str
    source_id: int
    known: Known
    target: str | None


@dataclass(slots=True)
class KnownUser:
    """A user of the directory as matching sees them."""

    id: str
    known: Known
    archived: bool
    present_in: set[int] = field(default_factory=set)
    absent_in: set[int] = field(default_factory=set)

    def as_candidate(self, source_id: int, rivals: tuple[bool, bool]) -> Candidate:
        """Return them as a candidate for a record of this source."""
        return Candidate(
            self.id,
            self.known,
            self.archived,
            source_id in self.present_in,
            source_id in self.absent_in,
            *rivals,
        )


def read_known(
    connection: Connection, ids: Iterable[str], aliases: Mapping[str, str]
) -> dict[str, KnownUser]:
    """Return these users as matching sees them; whoever was merged into another is nobody's."""
    wanted = sorted(ids)
    roles: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    here: dict[str, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    users: dict[str, KnownUser] = {}
    for start in range(0, len(wanted), 500):
        about = {"ids": wanted[start : start + 500]}
        for user_id, role in connection.execute(_ROLES, about):
            roles[user_id].add(role)
        for user_id, source_id, present, person_key in connection.execute(_LINKED, about):
            here[user_id][0 if present else 1].add(source_id)
            _add_person_key(keys[user_id], person_key)
        for row in connection.execute(_USERS, about):
            mine = keys[row.id]
            cls = role_class(roles[row.id])
            for name in NUMBERS:
                if value := getattr(row, name):
                    mine[f"{name}:{cls}"].add(value)
            present, absent = here[row.id]
            users[row.id] = KnownUser(
                row.id,
                _known(
                    mine,
                    spellings(row.email, aliases) if row.email else (),
                    _folded(row.given_name, row.preferred_given_name),
                    _folded(row.family_name, row.preferred_family_name),
                    roles[row.id],
                ),
                row.status == "archived",
                present,
                absent - present,
            )
    return users


def read_records(connection: Connection, ids: Sequence[int]) -> dict[int, RecordView]:
    """Return these records, by id."""
    found: dict[int, RecordView] = {}
    connection.exec_driver_sql("DROP TABLE IF EXISTS some_records")
    connection.exec_driver_sql("CREATE TEMPORARY TABLE some_records (n INTEGER, record_id BIGINT)")
    if ids:
        rows = [{"n": number, "id": record} for number, record in enumerate(sorted(set(ids)), 1)]
        connection.execute(_SOME, rows)
        for record in read_newcomers(connection, 1, len(rows), table="some_records"):
            found[record.id] = record
    return found


# -- the sets


_COLUMNS = ("record_id", "source_id", "person", "word", "value")
_INDEXES = (
    "CREATE INDEX ix_new_keys ON new_keys (word, value)",
    "CREATE INDEX ix_new_keys_person ON new_keys (person)",
)
_DECIDED_NEW = text(  # somebody said: nobody we know
    "DELETE FROM new_keys WHERE person IN (SELECT k.person FROM new_keys k JOIN conflicts c"
    " ON c.record_id = k.record_id WHERE c.kind = 'user' AND c.status = 'resolved'"
    " AND c.decision = 'new')"
)
_KNOWN_BY = (  # the order of the tables is the order of reading: each key is looked up once
    "INSERT INTO found SELECT k.person, k.source_id, u.id, CAST(NULL AS BIGINT), k.word FROM"
    " new_keys k CROSS JOIN users u WHERE u.district_id = :district AND u.merged_into IS NULL"
    " AND k.word = '{word}' AND k.value = u.{column}"
)
_FIND = (
    *(
        text(_KNOWN_BY.format(word=word, column=column))
        for word, column in (*((name, name) for name in NUMBERS), ("email", "email_folded"))
    ),
    text(
        "INSERT INTO found SELECT k.person, k.source_id, l.target_id, CAST(NULL AS BIGINT), k.word"
        " FROM new_keys k JOIN sources s ON s.district_id = :district"
        " JOIN records r ON r.source_id = s.id AND r.person_key = k.value AND r.kind = 'user'"
        " JOIN links l ON l.record_id = r.id WHERE k.word IN ('master', 'userid')"
    ),
    text(
        "INSERT INTO found SELECT k.person, k.source_id, CAST(NULL AS TEXT), MIN(o.record_id),"
        " k.word FROM new_keys k JOIN new_keys o ON o.word = k.word AND o.value = k.value"
        " AND o.source_id <> k.source_id WHERE k.word <> 'self'"
        " GROUP BY k.person, k.source_id, o.person, k.word"
    ),
)
_SOURCES = text("SELECT DISTINCT source_id FROM found")
_PEOPLE = text(
    "SELECT DISTINCT person FROM found WHERE source_id = :source AND person > :last"
    " ORDER BY person LIMIT :batch"
)
_EXPANDING: Any = bindparam("people", expanding=True)
_FOUND = text(
    "SELECT f.person, f.target_id, f.word, o.person AS other FROM found f"
    " LEFT JOIN new_keys o ON o.record_id = f.record_id AND o.word = f.word"
    " WHERE f.person IN :people"
).bindparams(_EXPANDING)
_RECORDS_OF = text(
    "SELECT DISTINCT k.person, k.record_id, j.target_id AS joined FROM new_keys k"
    " LEFT JOIN todo_joins j ON j.record_id = k.record_id WHERE k.person IN :people"
    " ORDER BY k.person, k.record_id"
).bindparams(_EXPANDING)
_RIVALS = text(  # another new person of the same source has the same key of the same user
    "SELECT f.person, f.target_id, MAX(CASE WHEN f.word <> 'email' THEN 1 ELSE 0 END),"
    " MAX(CASE WHEN f.word = 'email' THEN 1 ELSE 0 END) FROM found f JOIN found g"
    " ON g.target_id = f.target_id AND g.word = f.word AND g.source_id = f.source_id"
    " AND g.person <> f.person WHERE f.person IN :people GROUP BY f.person, f.target_id"
).bindparams(_EXPANDING)
_SHARED_EMAILS = text(  # another entry of the same source has the address, new or not
    "SELECT DISTINCT k.person FROM new_keys k JOIN records r ON r.email = k.value"
    " AND r.source_id = k.source_id AND r.kind = 'user' AND r.present AND r.in_scope"
    " AND NOT EXISTS (SELECT 1 FROM new_keys m WHERE m.person = k.person"
    " AND m.record_id = r.id) WHERE k.word = 'email' AND k.person IN :people"
).bindparams(_EXPANDING)
_EMAIL_PAIRS = text(
    "SELECT DISTINCT person, target_id FROM found WHERE word = 'email'"
    " AND target_id IS NOT NULL AND person IN :people"
).bindparams(_EXPANDING)
_NOT_NEW = text("DELETE FROM todo_records WHERE record_id = :id")
_SOME = text("INSERT INTO some_records VALUES (:n, :id)")
_IDS: Any = bindparam("ids", expanding=True)
_ROLES = text("SELECT user_id, role FROM memberships WHERE user_id IN :ids").bindparams(_IDS)
_LINKED = text(
    "SELECT l.target_id, r.source_id, (r.present AND r.in_scope AND r.source_id NOT IN"
    " (SELECT id FROM sources WHERE retired)) AS present, r.person_key FROM links l"
    " JOIN records r ON r.id = l.record_id WHERE l.target_id IN :ids"
).bindparams(_IDS)
_USERS = text(
    "SELECT id, status, email, given_name, family_name, preferred_given_name,"
    f" preferred_family_name, {', '.join(NUMBERS)} FROM users"
    " WHERE id IN :ids AND merged_into IS NULL"
).bindparams(_IDS)
_CONFLICT_AGAIN = text(
    "UPDATE conflicts SET candidates = :candidates, reason = :reason WHERE record_id = :record"
    " AND status = 'open' AND district_id = :district"
)
_CONFLICT = text(
    "INSERT INTO conflicts (district_id, kind, record_id, candidates, reason, status, created_at)"
    " VALUES (:district, 'user', :record, :candidates, :reason, 'open', :now)"
)
