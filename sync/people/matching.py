"""Matching: the new records of a run against the directory, read in sets, decided one by one.

Writes ``todo_joins`` (the user of each record) and ``attached`` (the same for people who join in
this run), records conflicts, and removes from ``todo_records`` the records that do not simply join.
``sync/people/identity.py`` decides; its input depends on sets only, never on the order of rows or
pages. ``sync/people/contested_links.py`` looks at the links of one source together.

One file, because its statements pass a record on from table to table, in this order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

from core.models import Kind, without_zeros
from core.storage.database import Database
from core.storage.stored import to_json
from sync.ledger.domain_moves import read_aliases
from sync.people.conflicts import leave_to_a_person
from sync.people.contested_links import ClaimedLinks
from sync.people.identity import NUMBERS, Candidate, Match, Traits, judge
from sync.people.person import RecordView, read_newcomers
from sync.people.traits import OwnNumbers, read_known, traits_of
from sync.run.scratch_tables import Found, NewKeys, PlanTables, SameEntries, SomeRecords

BATCH = 1_000
Transaction = Callable[[], AbstractContextManager[Connection]]


@dataclass(slots=True)
class MatchingContext:
    """What matching needs in addition to the records."""

    district_id: int
    now: Any
    domains: frozenset[str]
    """The district's own email domains; empty: all."""
    rank: Mapping[int, int]
    """Source id → its position in the order of precedence."""
    id_of: Callable[[RecordView], str]
    """Returns the id under which a new record's person would join."""
    silent: frozenset[int] = frozenset()
    """Sources that change nobody in this run (F1)."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Old email domain → the domain that replaced it."""
    own: OwnNumbers = field(default_factory=dict)
    grouped: bool = False
    """Somebody has several new entries in one source (``sync/people/entries.py``)."""


@dataclass(frozen=True, slots=True)
class _Sets:
    """The tables that new people are matched in."""

    database: Database
    plan: PlanTables
    keys: NewKeys
    found: Found
    same: SameEntries | None
    """Who has several new entries in one source, if anybody does."""


def match(
    database: Database,
    transaction: Transaction,
    tables: PlanTables,
    terms: MatchingContext,
    records: int,
) -> None:
    """Match the records 1 to ``records`` of the list of records; see the module.

    ``transaction`` opens one short write transaction after another on the connection with the
    temporary tables, so that acts by hand never wait for all of it.
    """
    with transaction() as connection:
        terms.aliases = read_aliases(connection, terms.district_id)
        same = tables.same_entries if terms.grouped else None
        sets = _Sets(database, tables, NewKeys(connection), Found(connection), same)
        tables.attached.index()
        for first in range(1, records + 1, BATCH):
            newcomers = [
                record
                for record in read_newcomers(
                    tables.records, first, first + BATCH - 1, same=sets.same
                )
                if record.source_id not in terms.silent
            ]
            sets.keys.add(database, [row for record in newcomers for row in _rows(record, terms)])
        sets.keys.index()
        if not database.is_sqlite:
            connection.exec_driver_sql("ANALYZE new_keys")
    with transaction() as connection:
        for find in (*_FIND, *_find_own(terms.own)):
            connection.execute(find, {"district": terms.district_id})
        if connection.execute(_ANY_LOGIN).first():
            connection.execute(_FIND_BY_LOGIN, {"district": terms.district_id})
        sets.found.index("ix_found")
        for find in _FIND_WITHOUT_ZEROS:
            connection.execute(find, {"district": terms.district_id})
        connection.execute(_DECIDED_NEW)
        sets.found.index()
        if not database.is_sqlite:
            connection.exec_driver_sql("ANALYZE found")
        sources = connection.execute(_SOURCES).scalars().all()
    for source_id in sorted(sources, key=lambda source: terms.rank.get(source, 1 << 30)):
        # source by source: a later record may be the person of an earlier one
        last = ""
        claims = ClaimedLinks()
        while True:
            with transaction() as connection:
                about = {"source": source_id, "last": last, "batch": BATCH}
                people = connection.execute(_PEOPLE, about).scalars().all()
                if people:
                    _Batch(sets, terms, claims).decide(people)
            if len(people) < BATCH:
                break
            last = people[-1]
        with transaction():
            _contest(sets, terms, claims, source_id)


def _contest(sets: _Sets, terms: MatchingContext, claims: ClaimedLinks, source_id: int) -> None:
    """Undo links of one source that are doubtful when seen together."""
    connection = sets.keys.connection
    doubtful = claims.swapped()
    crowded = connection.execute(_CROWDED, {"source": source_id}).scalars().all()
    for start in range(0, len(crowded), 500):
        query = _GROUPED_CLAIMANTS if terms.grouped else _CLAIMANTS
        about = {"targets": crowded[start : start + 500], "source": source_id}
        rows = connection.execute(query, about).all()
        doubtful |= claims.crowded(
            (row.target_id, row.record_id, row.reason, person_of(row)) for row in rows
        )
    _Batch(sets, terms, claims).take_back(doubtful)


def _rows(record: RecordView, terms: MatchingContext) -> list[tuple[Any, ...]]:
    person = person_of(record)
    known = traits_of([record.data], terms.aliases)
    rows = [
        (record.id, record.source_id, person, _word(kind), value)
        for kind, values in known.keys.items()
        for value in values
    ]
    rows += [(record.id, record.source_id, person, "email", email) for email in known.emails]
    if known.is_adult:
        rows += [(record.id, record.source_id, person, "login", name) for name in known.usernames]
    rows += [
        (record.id, record.source_id, person, f"bare:{kind}", without_zeros(value))
        for kind, values in known.keys.items()
        if kind.partition(":")[0] in NUMBERS
        for value in values
        if value.isascii() and value.isdecimal()
    ]
    if record.person_key:  # an entry without any key still belongs to its person
        rows.append((record.id, record.source_id, person, "self", person))
    return rows


def _word(kind: str) -> str:
    """Return the word by which a key is looked up: a number counts within its role class."""
    name = kind.partition(":")[0]
    return kind if name.partition("@")[0] in NUMBERS else name


def person_of(record: RecordView | Any) -> str:
    """Return a key that all entries of one person in one source share, and nobody else."""
    key = f"k{record.person_key}" if record.person_key else f"e{record.external_id}"
    return f"{record.source_id}:{key}"


# -- one batch of people


class _Batch:
    """Some new people, with everybody they may be."""

    def __init__(self, sets: _Sets, terms: MatchingContext, claims: ClaimedLinks) -> None:
        self.sets = sets
        self.connection = sets.keys.connection
        self.terms = terms
        self.claims = claims

    def decide(self, people: Sequence[str]) -> None:
        """Judge these people and record what follows."""
        about = {"people": list(people)}
        records = self._records(about)
        found: dict[str, set[str]] = defaultdict(set)
        others: dict[str, set[str]] = defaultdict(set)
        for row in self.connection.execute(_FOUND, about):
            if row.target_id is not None:
                found[row.person].add(row.target_id)
            else:
                others[row.person].add(row.other)
        joining = self._joining({other for some in others.values() for other in some})
        wanted = {user for some in found.values() for user in some}
        wanted |= {one.target for one in joining.values() if one.target is not None}
        users = read_known(self.connection, wanted, self.terms.aliases, self.terms.own)
        rivals = self._rivals(about)
        families: list[tuple[int, str]] = []
        joins: list[tuple[int, str, str]] = []
        attached: list[tuple[int, int, str, str]] = []
        gone: list[int] = []
        for person in people:
            mine = records[person]
            new = self._known_of(mine)
            source_id = mine[0].source_id
            candidates = {
                user: users[user].as_candidate(source_id, rivals[person, user])
                for user in found[person]
                if user in users
            }
            bases: dict[str, _Joining] = {}
            for other in sorted(others[person]):
                one = joining[other]
                if self._later(one.source_id, source_id):
                    continue
                bases.setdefault(one.id, one)
                known = candidates.get(one.id)
                if known is None and one.target in users:
                    known = users[one.target].as_candidate(source_id, rivals[person, other])
                candidates[one.id] = _with(one, known, rivals[person, other])
            verdict = judge(new, list(candidates.values()), self.terms.domains)
            if verdict.what == "new":
                if verdict.shares_address_with:
                    families.append((mine[0].id, to_json(verdict.shares_address_with)))
                continue
            gone += [record.id for record in mine]
            target = verdict.target
            for user, _ in verdict.evidence:
                self.claims.note(person, mine, user, new, candidates[user].known, verdict)
            if target is None:
                self._conflict(mine[0], verdict)
            elif target in users:
                joins += [(record.id, target, verdict.reason) for record in mine]
            elif (base := bases[target].base) is not None:
                attached += [(record.id, base, target, verdict.reason) for record in mine]
            # otherwise a person must first decide who that one is
        self.sets.plan.people.joins.add(self.sets.database, joins)
        self.sets.plan.attached.add(self.sets.database, attached)
        self.sets.plan.family_addresses.add(self.sets.database, families)
        if gone:
            self.connection.execute(_NOT_NEW, [{"id": record} for record in gone])

    def take_back(self, doubtful: Mapping[str, tuple[str, int, tuple[str, ...]]]) -> None:
        """Turn links into conflicts: person → (target, a record, evidence)."""
        for person, (target, record_id, evidence) in sorted(doubtful.items()):
            ids = self.connection.execute(_RECORDS_OF, {"people": [person]}).all()
            for query in _UNLINK:
                self.connection.execute(query, [{"id": row.record_id} for row in ids])
            record = self._read([record_id])[record_id]
            verdict = Match("conflict", None, "keys_contradict", ((target, evidence),))
            self._conflict(record, verdict)

    def _records(self, about: Mapping[str, Any]) -> dict[str, list[RecordView]]:
        ids = self.connection.execute(_RECORDS_OF, about).all()
        views = self._read([row.record_id for row in ids])
        records: dict[str, list[RecordView]] = defaultdict(list)
        for row in ids:
            records[row.person].append(views[row.record_id])
        for mine in records.values():  # the first of them says who joins, as for newcomers
            mine.sort(key=lambda record: record.external_id)
        return records

    def _read(self, ids: Sequence[int]) -> dict[int, RecordView]:
        return read_records(self.connection, ids, same=self.sets.same)

    def _known_of(self, records: Sequence[RecordView]) -> Traits:
        source_id = records[0].source_id
        own = self.terms.own.get(source_id, frozenset())
        return traits_of([record.data for record in records], self.terms.aliases, source_id, own)

    def _conflict(self, record: RecordView, verdict: Match) -> None:
        leave_to_a_person(
            self.connection,
            Kind.USER,
            self.terms.district_id,
            record.id,
            verdict.reason,
            dict(verdict.evidence),
            self.terms.now,
        )

    def _rivals(self, about: Mapping[str, Any]) -> dict[tuple[str, str], tuple[bool, bool]]:
        """Return (person, user) → do others claim the user: by a strong key, by the address."""
        found: dict[tuple[str, str], tuple[bool, bool]] = defaultdict(lambda: (False, False))
        for query in _RIVALS:
            for person, target, strong, email in self.connection.execute(query, about):
                found[person, target] = (bool(strong), bool(email))
        shared = set(self.connection.execute(_SHARED_EMAILS, about).scalars())
        for person, target in self.connection.execute(_EMAIL_PAIRS, about):
            if person in shared:
                found[person, target] = (found[person, target][0], True)
        return found

    def _joining(self, people: set[str]) -> dict[str, _Joining]:
        """Return newcomers from other sources who share a key with somebody in this batch."""
        if not people:
            return {}
        rows = self.connection.execute(_STANDING_OF, {"people": sorted(people)}).all()
        views = self._read([row.record_id for row in rows])
        records: dict[str, list[RecordView]] = defaultdict(list)
        standing: dict[str, Any] = {}
        for row in rows:
            records[row.person].append(views[row.record_id])
            standing[row.person] = row
        for mine in records.values():
            mine.sort(key=lambda record: record.external_id)
        found: dict[str, _Joining] = {}
        for person, mine in records.items():
            row = standing[person]
            known = self._known_of(mine)
            mine_id = self.terms.id_of(mine[0])
            if row.joined is not None:
                one = _Joining(row.joined, mine[0].source_id, known, target=row.joined)
            elif row.base_id is not None:
                one = _Joining(row.attached_to, mine[0].source_id, known, base=row.base_id)
            else:
                base = mine[0].id if row.new is not None else None
                one = _Joining(mine_id, mine[0].source_id, known, base=base)
            found[person] = one
        return found

    def _later(self, other: int, mine: int) -> bool:
        rank = self.terms.rank
        return rank.get(other, 1 << 30) >= rank.get(mine, 1 << 30)


@dataclass(slots=True)
class _Joining:
    """Another person who is new in this run."""

    id: str
    """The user they turned out to be, or the id under which they join."""
    source_id: int
    known: Traits
    target: str | None = None
    """The user they turned out to be."""
    base: int | None = None
    """A record of the joining person. None without ``target``: a person must decide first."""


def _with(one: _Joining, candidate: Candidate | None, rivals: tuple[bool, bool]) -> Candidate:
    """Return a person of this run as a candidate, with what is already known of them."""
    if candidate is None:
        sources = frozenset([one.source_id])
        return Candidate(one.id, one.known, False, False, False, *rivals, sources)
    known, more = candidate.known, one.known
    keys = {
        kind: known.keys.get(kind, frozenset()) | more.keys.get(kind, frozenset())
        for kind in {**known.keys, **more.keys}
    }
    return replace(
        candidate,
        known=Traits(
            keys, known.emails | more.emails, known.given | more.given,
            known.family | more.family, known.roles | more.roles, known.usernames | more.usernames,
        ),
        sources=candidate.sources | {one.source_id},
        strong_rivals=candidate.strong_rivals or rivals[0],
        email_rivals=candidate.email_rivals or rivals[1],
    )  # fmt: skip


def read_records(
    connection: Connection, ids: Sequence[int], *, same: SameEntries | None = None
) -> dict[int, RecordView]:
    """Return these records, by id; ``same``: see ``read_newcomers``."""
    found: dict[int, RecordView] = {}
    if ids:
        some = SomeRecords(connection)
        rows = [{"n": number, "id": record} for number, record in enumerate(sorted(set(ids)), 1)]
        connection.execute(_SOME, rows)
        for record in read_newcomers(some, 1, len(rows), same=same):
            found[record.id] = record
    return found


_CLASSES = ("student", "staff", "contact")
_CROSSED = (  # (the number here, the field there, of whom)
    ("sis_id", "student_number", "student"), ("student_number", "sis_id", "student"),
    ("sis_id", "staff_number", "staff"), ("staff_number", "sis_id", "staff"),
)  # fmt: skip
_EXPANDING: Any = bindparam("people", expanding=True)


# --- Set-wise statements ---
# They look up the keys of all new records together, in scratch tables. ``new_keys`` and ``found``
# are filled, indexed and analysed before they are read; CROSS JOIN keeps SQLite to the order of the
# tables as they are written, and ``+ 0`` keeps it from an index that would lead past everybody.
_DECIDED_NEW = text(  # a person said that this is somebody new; others may still be the same person
    "DELETE FROM found WHERE person IN (SELECT k.person FROM new_keys k JOIN conflicts c"
    " ON c.record_id = k.record_id WHERE c.kind = 'user' AND c.status = 'resolved'"
    " AND c.decision = 'new')"
)
_KNOWN_BY = (  # the order of the tables is the order of reading: each key is looked up once
    "INSERT INTO found SELECT k.person, k.source_id, u.id, CAST(NULL AS TEXT), {found} FROM"
    " new_keys k CROSS JOIN users u WHERE u.district_id = :district AND u.merged_into IS NULL"
    " AND k.word IN ({words}) AND k.value = u.{column}"
)


def _classes(name: str, classes: Iterable[str]) -> str:
    return ", ".join(f"'{name}:{cls}'" for cls in classes)


def _find_own(own: OwnNumbers) -> Iterable[TextClause]:
    """SQL that finds users by numbers that are a source's own, among its own people."""
    for source_id, names in own.items():
        for name in sorted(names):
            words = _classes(f"{name}@{int(source_id)}", _CLASSES)
            yield text(_KNOWN_BY.format(words=words, column=name, found="k.word"))


_FIND = (
    *(
        text(_KNOWN_BY.format(words=_classes(name, _CLASSES), column=name, found="k.word"))
        for name in NUMBERS
    ),
    text(_KNOWN_BY.format(words="'email'", column="email_folded", found="k.word")),
    *(
        text(_KNOWN_BY.format(words=_classes(name, (cls,)), column=column, found="'number'"))
        for name, column, cls in _CROSSED
    ),
    text(
        "INSERT INTO found SELECT k.person, k.source_id, l.target_id, CAST(NULL AS TEXT), k.word"
        " FROM new_keys k CROSS JOIN sources s CROSS JOIN records r CROSS JOIN links l"
        " WHERE k.word IN ('master', 'userid') AND s.district_id = :district"
        " AND r.source_id = s.id AND r.person_key = k.value AND r.person_key IS NOT NULL"
        " AND r.kind = 'user' AND l.record_id = r.id"
    ),
    text(
        "INSERT INTO found SELECT DISTINCT k.person, k.source_id, CAST(NULL AS TEXT), o.person,"
        " k.word FROM new_keys k JOIN new_keys o ON o.word = k.word AND o.value = k.value"
        " AND o.source_id <> k.source_id WHERE k.word NOT IN ('self', 'login')"
        " AND k.word NOT LIKE 'bare:%'"
    ),
    *(
        text(
            "INSERT INTO found SELECT DISTINCT k.person, k.source_id, CAST(NULL AS TEXT), o.person,"
            " 'number' FROM new_keys k JOIN new_keys o ON o.value = k.value"
            f" AND o.source_id <> k.source_id WHERE k.word = '{name}:{cls}'"
            f" AND o.word = '{column}:{cls}'"
        )
        for name, column, cls in _CROSSED
    ),
)
_ANY_LOGIN = text("SELECT 1 FROM new_keys WHERE word = 'login' LIMIT 1")
_FIND_BY_LOGIN = text(  # an adult's other entry of the same source (I10)
    "INSERT INTO found SELECT k.person, k.source_id, u.id, CAST(NULL AS TEXT), k.word"
    " FROM users u JOIN new_keys k ON k.word = 'login' AND k.value = LOWER(u.username)"
    " WHERE u.district_id = :district AND u.username IS NOT NULL AND u.merged_into IS NULL"
    " AND EXISTS (SELECT 1 FROM links l JOIN records r ON r.id = l.record_id"
    "  WHERE l.target_id = u.id AND r.source_id = k.source_id)"
)
_EXACTLY = "f.person = k.person AND f.word = SUBSTR(k.word, 6)"
_PADDED = " UNION ALL ".join(f"SELECT '{'0' * zeros}' AS zeros" for zeros in range(12))
_FIND_WITHOUT_ZEROS = (  # only whom the number as it is written does not find (I11)
    *(
        text(
            "INSERT INTO found SELECT DISTINCT k.person, k.source_id, u.id, CAST(NULL AS TEXT),"
            f" 'zeros' FROM new_keys k CROSS JOIN ({_PADDED}) p CROSS JOIN users u"
            f" WHERE k.word IN ({_classes(f'bare:{name}', _CLASSES)})"
            f" AND u.district_id = :district AND u.merged_into IS NULL"
            f" AND u.{name} = p.zeros || k.value"
            f" AND NOT EXISTS (SELECT 1 FROM found f WHERE {_EXACTLY} AND f.target_id IS NOT NULL)"
        )
        for name in NUMBERS
    ),
    text(
        "INSERT INTO found SELECT DISTINCT k.person, k.source_id, CAST(NULL AS TEXT), o.person,"
        " 'zeros' FROM new_keys k JOIN new_keys o ON o.word = k.word AND o.value = k.value"
        " AND o.source_id <> k.source_id WHERE k.word LIKE 'bare:%'"
        f" AND NOT EXISTS (SELECT 1 FROM found f WHERE {_EXACTLY} AND f.other IS NOT NULL)"
    ),
)
_SOURCES = text("SELECT DISTINCT source_id FROM found")
_PEOPLE = text(
    "SELECT DISTINCT person FROM found WHERE source_id = :source AND person > :last"
    " ORDER BY person LIMIT :batch"
)
_FOUND = text(
    "SELECT DISTINCT person, target_id, other FROM found WHERE person IN :people"
).bindparams(_EXPANDING)
_RECORDS_OF = text(
    "SELECT DISTINCT person, record_id FROM new_keys WHERE person IN :people"
    " ORDER BY person, record_id"
).bindparams(_EXPANDING)
_STANDING_OF = text(
    "SELECT DISTINCT k.person, k.record_id, j.target_id AS joined, a.base_id,"
    " a.target_id AS attached_to, t.record_id AS new FROM new_keys k"
    " LEFT JOIN todo_joins j ON j.record_id = k.record_id"
    " LEFT JOIN attached a ON a.record_id = k.record_id"
    " LEFT JOIN todo_records t ON t.record_id = k.record_id WHERE k.person IN :people"
    " ORDER BY k.person, k.record_id"
).bindparams(_EXPANDING)
_RIVALS = tuple(  # another new person of the same source has the same key of the same somebody
    # (+ 0: the index of the source would lead past everybody of it)
    text(
        "SELECT f.person, COALESCE(f.target_id, f.other),"
        " MAX(CASE WHEN f.word NOT IN ('email', 'login') THEN 1 ELSE 0 END),"
        " MAX(CASE WHEN f.word = 'email' THEN 1 ELSE 0 END) FROM found f JOIN found g"
        f" ON g.{whom} = f.{whom} AND g.word = f.word AND g.source_id + 0 = f.source_id"
        " AND g.person <> f.person WHERE f.person IN :people GROUP BY 1, 2"
    ).bindparams(_EXPANDING)
    for whom in ("target_id", "other")
)
_SHARED_EMAILS = text(  # another entry of the same source has the address, new or not (+ 0: so)
    "SELECT DISTINCT k.person FROM new_keys k JOIN records r ON r.email = k.value"
    " AND r.source_id + 0 = k.source_id AND r.kind = 'user' AND r.present AND r.in_scope"
    " AND NOT EXISTS (SELECT 1 FROM new_keys m WHERE m.person = k.person"
    " AND m.record_id = r.id) WHERE k.word = 'email' AND k.person IN :people"
).bindparams(_EXPANDING)
_EMAIL_PAIRS = text(
    "SELECT DISTINCT person, COALESCE(target_id, other) FROM found WHERE word = 'email'"
    " AND person IN :people"
).bindparams(_EXPANDING)
_NOT_NEW = text("DELETE FROM todo_records WHERE record_id = :id")
_UNLINK = tuple(
    text(f"DELETE FROM {table} WHERE record_id = :id") for table in ("todo_joins", "attached")
)
_LINKS_OF_RUN = (
    "(SELECT record_id, target_id, reason FROM todo_joins"
    " UNION ALL SELECT record_id, target_id, reason FROM attached)"
)
_CROWDED = text(  # several entries of one source for one user: of one person, or of several?
    f"SELECT j.target_id FROM {_LINKS_OF_RUN} AS j JOIN records r ON r.id = j.record_id"
    " WHERE r.source_id = :source GROUP BY j.target_id HAVING COUNT(*) > 1"
)
_CLAIMANTS = text(
    "SELECT j.target_id, j.record_id, j.reason, r.source_id, r.person_key, r.external_id"
    f" FROM {_LINKS_OF_RUN} AS j JOIN records r ON r.id = j.record_id"
    " WHERE r.source_id = :source AND j.target_id IN :targets ORDER BY 1, 2"
).bindparams(bindparam("targets", expanding=True))
_GROUPED_CLAIMANTS = text(
    _CLAIMANTS.text.replace(
        "r.person_key,", "COALESCE(e.person, r.person_key) AS person_key,"
    ).replace(" WHERE ", " LEFT JOIN same_entries e ON e.record_id = r.id WHERE ")
).bindparams(bindparam("targets", expanding=True))
_SOME = text("INSERT INTO some_records VALUES (:n, :id)")
