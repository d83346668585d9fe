"""Matching: the new records of a run against the directory, read in sets, decided one by one.

Writes ``todo_joins`` (the user of each record) and ``attached`` (the same for people who join in
this run), records conflicts, and removes from ``todo_records`` the records that do not simply join.
``sync/people/shared_keys.py`` finds all who share a key with somebody new, and
``sync/people/identity.py`` decides; its input depends on sets only, never on the order of rows or
pages. ``sync/people/contested_links.py`` looks at the links of one source together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, bindparam, text

from core.models import Kind
from core.storage.database import Database
from core.storage.stored import to_json
from sync.ledger.domain_moves import read_aliases
from sync.people import shared_keys
from sync.people.conflicts import leave_to_a_person
from sync.people.contested_links import ClaimedLinks
from sync.people.identity import Candidate, Match, Traits, judge
from sync.people.person import RecordView, read_newcomers, read_records
from sync.people.shared_keys import person_of
from sync.people.traits import OwnNumbers, read_known, traits_of
from sync.run.scratch_tables import Found, NewKeys, PlanTables, SameEntries

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
            shared_keys.note(database, sets.keys, newcomers, terms.aliases)
        shared_keys.ready(database, sets.keys)
    with transaction():
        sources = shared_keys.find(
            database, sets.keys, sets.found, tables.given_away, terms.district_id, terms.own
        )
    for source_id in sorted(sources, key=lambda source: terms.rank.get(source, 1 << 30)):
        # source by source: a later record may be the person of an earlier one
        last = ""
        claims = ClaimedLinks()
        while True:
            with transaction() as connection:
                about = {"source": source_id, "last": last, "batch": BATCH}
                people = connection.execute(_PEOPLE_OF_SOURCE, about).scalars().all()
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
    crowded = connection.execute(_CROWDED_USERS, {"source": source_id}).scalars().all()
    for start in range(0, len(crowded), 500):
        query = _GROUPED_CLAIMANTS if terms.grouped else _CLAIMANTS
        about = {"targets": crowded[start : start + 500], "source": source_id}
        rows = connection.execute(query, about).all()
        doubtful |= claims.crowded(
            (row.target_id, row.record_id, row.reason, person_of(row)) for row in rows
        )
    _Batch(sets, terms, claims).take_back(doubtful)


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
        for row in self.connection.execute(_FOUND_BY_PEOPLE, about):
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
            ids = self.connection.execute(_RECORDS_OF_PEOPLE, {"people": [person]}).all()
            for query in _UNLINK:
                self.connection.execute(query, [{"id": row.record_id} for row in ids])
            record = self._read([record_id])[record_id]
            verdict = Match("conflict", None, "keys_contradict", ((target, evidence),))
            self._conflict(record, verdict)

    def _records(self, about: Mapping[str, Any]) -> dict[str, list[RecordView]]:
        ids = self.connection.execute(_RECORDS_OF_PEOPLE, about).all()
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
        rows = self.connection.execute(_STANDING_OF_PEOPLE, {"people": sorted(people)}).all()
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


_EXPANDING: Any = bindparam("people", expanding=True)


# --- Set-wise statements ---
# They read what the new people of one batch share, or the links of one source together, from
# scratch tables that are indexed by person. ``+ 0`` keeps the planner from the index of the source,
# which would lead past everybody of it.
_PEOPLE_OF_SOURCE = text(
    "SELECT DISTINCT person FROM found WHERE source_id = :source AND person > :last"
    " ORDER BY person LIMIT :batch"
)
_FOUND_BY_PEOPLE = text(
    "SELECT DISTINCT person, target_id, other FROM found WHERE person IN :people"
).bindparams(_EXPANDING)
_RECORDS_OF_PEOPLE = text(
    "SELECT DISTINCT person, record_id FROM new_keys WHERE person IN :people"
    " ORDER BY person, record_id"
).bindparams(_EXPANDING)
_STANDING_OF_PEOPLE = text(
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
_CROWDED_USERS = text(  # several entries of one source for one user: of one person, or of several?
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
