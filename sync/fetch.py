"""One reading of a source: raw records are fingerprinted, compared, and only the new ones parsed.

``read_source`` drives a connector and leaves on the stage what evidence has to change; it returns
a ``Reading`` with the certificate. It writes nothing but the stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from pydantic import ValidationError
from sqlalchemy import Connection, text

from connectors.base import Certificate, Connector, FetchRequest, Page, Part, Record
from core.errors import IncompleteFetch, RestartFetch, RosterSyncError, SkipRecord, VendorFailure
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, fold_email
from core.tables import Source
from sync.collector import seldom
from sync.mapping import Rule
from sync.snapshot import NO_KEY, VOID, WIDTH, Chunk, Order, join_keys
from sync.stage import CHUNK_COLUMNS, ENTRY_COLUMNS, FINDING_COLUMNS, PART_COLUMNS, Stage, State

T = TypeVar("T")

RESTARTS = 3
"""How often a reading starts again when the roster changes under it."""

_ROWS_PER_LOOKUP = 5_000
_PLACE_BITS = 24
_MAX_KEY = 512
_MANY_EARLY = 50_000
"""Past so many rows out of their order the order is not worth its memory."""


@dataclass(slots=True)
class Reading:
    """What a reading came to. ``counted`` rows by stream; ``parsed`` how many were not known."""

    certificate: Certificate
    counted: dict[str, int] = field(default_factory=dict)
    pages: dict[str, int] = field(default_factory=dict)
    parsed: int = 0
    compared: dict[str, bool] = field(default_factory=dict)
    """Streams whose absent may be read off a snapshot; the others are compared in sets."""
    ordered: set[str] = field(default_factory=set)
    """Streams of which a snapshot may have met rows unchanged, which are then not on the stage."""
    keyless: set[str] = field(default_factory=set)
    """Streams with a row whose key could not be read (F5)."""
    unusable: dict[str, int] = field(default_factory=dict)
    """Rows that could not be used, by stream."""
    unknown: dict[str, int] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    """Field → parsed rows that have it and of whom nothing of ours reads it."""
    error: RosterSyncError | None = None
    """What ended the reading early, if something did."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a source is asked for, beside what its connector does: policy that shapes evidence."""

    key: bytes
    """The installation's key."""
    print: bytes
    """Fingerprint of connector version, mapping, filters: with it every raw fingerprint changes."""
    rules: tuple[Rule, ...] = ()
    email_domains: frozenset[str] = frozenset()
    """Folded; empty binds nothing."""


def read_source(
    stage: Stage,
    source: Source,
    connector: Connector,
    terms: Terms,
    request: FetchRequest,
) -> Reading:
    """Read a source onto the stage.

    Never raises for a vendor's or a file's failure: the certificate is then incomplete and
    ``error`` says why. Raises what is not a failure of the fetch: ``ConfigError``,
    ``CredentialsRefused``, ``FileRefused``, ``WrongDistrict``.
    """
    for _ in range(RESTARTS):
        stage.reset()
        reader = _Reader(stage, source, connector, terms, request)
        try:
            with seldom():
                return reader.read()
        except RestartFetch as error:
            last = error
    return Reading(
        Certificate(complete=False, reason=last.message),
        error=IncompleteFetch(last.message, hint="It is read again at the next run."),
    )


class _Reader:
    def __init__(
        self,
        stage: Stage,
        source: Source,
        connector: Connector,
        terms: Terms,
        request: FetchRequest,
    ) -> None:
        self.stage = stage
        self.source = source
        self.connector = connector
        self.terms = terms
        self.request = request
        self.reading = Reading(Certificate(complete=False))
        self.seq = 0
        self.streams: dict[str, _Stream] = {}

    def read(self) -> Reading:
        reading = self.reading
        pages = self.connector.pages(self.request)
        count = 0
        try:
            while True:
                try:
                    page = next(pages)
                except StopIteration as end:
                    reading.certificate = end.value
                    break
                count += 1
                with self.stage.transaction():
                    stream = self.streams.get(page.stream)
                    if stream is None:
                        stream = self.streams[page.stream] = _Stream(self, page.stream)
                    stream.read(page)
        except VendorFailure as error:
            reading.error = error
            reading.certificate = Certificate(complete=False, reason=error.message, pages=count)
        finally:
            pages.close()
        incremental = reading.certificate.incremental
        for name, stream in self.streams.items():
            reading.counted[name] = stream.count
            reading.pages[name] = stream.position
            reading.compared[name] = stream.compared and not incremental
            if stream.compared:
                reading.ordered.add(name)
            with self.stage.transaction():
                stream.finish()
        return reading

    def open_order(self, stream: str) -> Order | None:
        """Return the stored order of a stream, if it may be trusted."""
        source = self.source
        if self.request.cursor is not None or source.snapshot_serial != source.evidence_serial:
            return None
        about = {"source": source.id, "stream": stream}
        connection = self.stage.connection

        def load(position: int) -> Chunk | None:
            row = connection.execute(_NEXT_CHUNK, about | {"position": position}).one_or_none()
            return None if row is None else Chunk(row[0], row[1], row[2], row[3], row[4])

        if load(0) is None:
            return None
        touched = frozenset(connection.execute(_TOUCHED, about).scalars())
        if touched:
            self.stage_passed(stream, touched)
        return Order(load, touched)

    def stage_passed(self, stream: str, keys: Sequence[str] | frozenset[str]) -> None:
        """Note keys that were expected and have not been met so far."""
        self.stage.add("stage_passed", ("stream", "key"), [(stream, key) for key in keys])


def allowed_schools(
    connection: Connection, source: Source, connector: Connector
) -> frozenset[str] | None:
    """Return the ids of the schools this source is restricted to; None: all."""
    wanted = frozenset(connector.config.schools)
    if not wanted:
        return None
    schools = connection.execute(_SCHOOL_DATA, {"source": source.id})
    return wanted | {key for key, data in schools if msgspec.json.decode(data)["name"] in wanted}


class _Stream:
    """One stream of a reading: its pages come in order, its rows are matched, missed, staged."""

    def __init__(self, reader: _Reader, name: str) -> None:
        self.reader = reader
        self.name = name
        self.kind: Kind = reader.connector.streams[name]
        self.joined = reader.connector.capabilities.joined and self.kind is Kind.USER
        order = reader.open_order(name)
        self.compared = order is not None
        self.order = order or Order(None)
        self.left = self.order
        """The order whose rest is passed over at the end."""
        self.early: set[str] = set()
        """Keys of missed rows that the order has not come to: met there, they stand twice."""
        self.position = 0
        self.count = 0
        self.prints = _Prints(reader.terms, name)
        self.schools: frozenset[str] | None = None
        if self.kind is Kind.USER:
            self.schools = allowed_schools(reader.stage.connection, reader.source, reader.connector)
        self.scope = b"" if self.schools is None else "\0".join(sorted(self.schools)).encode()
        self.known = _Known(reader.stage, reader.source, name, self.kind, self.joined)

    def read(self, page: Page) -> None:
        position, self.position = self.position, self.position + 1
        self.prints.turn(page.context + self.scope)
        digest = self.prints.of(page.body)
        chunk = self.order.whole_page(digest)
        if chunk is not None and self.early.isdisjoint(self._keys(chunk)):
            self.count += chunk.count
            if chunk.position != position:
                self._stage_chunk(position, digest, chunk.count, chunk.prints, chunk.keys)
            return
        rows = page.split(page.body)
        self.count += len(rows)
        prints = self.prints.of_all(rows)
        if chunk is None:
            joined = b"".join(prints)
            chunk = self.order.same_rows(joined)
            if chunk is not None and self.early.isdisjoint(self._keys(chunk)):
                self._stage_chunk(position, digest, chunk.count, joined, chunk.keys)
                return
        if chunk is not None:
            keys: list[str | None] = list(chunk.key_list())
            passed: list[str] = []
        else:
            match = self.order.match(prints)
            keys, passed = match.keys, match.passed
        for number, key in enumerate(keys if self.early else ()):
            if key in self.early:  # an earlier row has this id: look at both
                keys[number] = None
                passed.append(key)
        trusted = True
        misses = [number for number, key in enumerate(keys) if key is None]
        if misses:
            named = self._named(page, rows, prints, misses)
            keyless = len(named) < len(misses)
            early = self.early
            if self.compared:
                named = self._with_met(named, keys, passed)
            trusted = self._misses(page, position, rows, prints, keys, named, passed, early)
            trusted = trusted and not keyless
        self.reader.stage_passed(self.name, passed)
        self._stage_chunk(
            position,
            digest if trusted else None,
            len(rows),
            b"".join(prints),
            join_keys([key or NO_KEY for key in keys]),
        )

    def finish(self) -> None:
        """Note whoever of the stored order was never reached."""
        while self.compared and (keys := self.left.rest()) is not None:
            self.reader.stage_passed(self.name, keys)

    def _keys(self, chunk: Chunk) -> Sequence[str]:
        """Return the keys of a chunk, if there is anything to look for in them."""
        return chunk.key_list() if self.early else ()

    def _named(
        self, page: Page, rows: Sequence[bytes], prints: list[bytes], misses: Sequence[int]
    ) -> list[tuple[int, str]]:
        """Return the missed rows by number and key, without those whose key cannot be read."""
        named: list[tuple[int, str]] = []
        for number in misses:
            try:
                named.append((number, self._identify(rows[number])))
            except SkipRecord as error:
                self.reader.reading.keyless.add(self.name)
                self._finding(page, rows, number, error)
                prints[number] = VOID
        return named

    def _with_met(
        self, named: list[tuple[int, str]], keys: Sequence[str | None], passed: list[str]
    ) -> list[tuple[int, str]]:
        """Add the rows of this page that were met in order under the key of a missed one.

        The ids stand twice, and only both together show which row comes first.
        """
        new = {key for _, key in named}.difference(passed)
        if not new:
            return named
        met = [(number, key) for number, key in enumerate(keys) if key in new]
        passed.extend(key for _, key in met if key)
        self.early = self.early | new
        if len(self.early) > _MANY_EARLY:  # nothing is where it was: go on in sets
            self.order = Order(None)
        return sorted([*named, *((number, key) for number, key in met if key)])

    def _misses(
        self,
        page: Page,
        position: int,
        rows: Sequence[bytes],
        prints: list[bytes],
        keys: list[str | None],
        named: Sequence[tuple[int, str]],
        passed: list[str],
        early: set[str],
    ) -> bool:
        """Stage the rows that are new to us; say whether each could be read.

        A row of other bytes that says what it said, where the order expects it, counts as met:
        neither it nor its having been passed is staged. A day that touches all stages nobody.
        """
        trusted = True
        known = self.known.look_up([key for _, key in named])
        staged: list[tuple[Any, ...]] = []
        expected: set[str] = set()
        if self.compared and not self.joined:
            once = Counter(key for _, key in named)
            expected = {key for key in passed if once[key] == 1} - early - self.left.touched
        met: set[str] = set()
        columns = PART_COLUMNS if self.joined else ENTRY_COLUMNS
        for number, key in named:
            keys[number] = key
            try:
                facts = self._facts(key, rows[number], prints[number], known.get(key))
            except SkipRecord as error:
                self._finding(page, rows, number, error)
                prints[number], trusted = VOID, False
                facts = self._unreadable(key, known.get(key))
            self.reader.seq += 1
            if key in expected and facts[_STATE] is State.SEEN:
                met.add(key)
                continue
            place = (position << _PLACE_BITS) + number
            staged.append((self.reader.seq, place, *facts, page.file, None))
        if page.lines is not None and staged:
            lines = page.lines(rows)
            staged = [(*row[:-1], lines[row[1] & ((1 << _PLACE_BITS) - 1)]) for row in staged]
        if met:
            passed[:] = [key for key in passed if key not in met]
        self.reader.stage.add("stage_parts" if self.joined else "stage_entries", columns, staged)
        return trusted

    def _identify(self, raw: bytes) -> str:
        key = self.reader.connector.identify(self.name, raw)
        if not key or len(key) > _MAX_KEY or "\0" in key:
            raise SkipRecord(
                "The row's id is missing, too long or not text.",
                rule="key",
                hint=f"Give each row an id of 1 to {_MAX_KEY} characters.",
            )
        return key

    def _facts(
        self, key: str, raw: bytes, print_: bytes, known: tuple[bytes | None, ...] | None
    ) -> tuple[Any, ...]:
        """Return what the stage keeps of one missed row, after seq and place."""
        if known is not None and known[0] == print_:
            return self._seen(key)
        reader = self.reader
        reader.reading.parsed += 1
        parsed = _guard(lambda: reader.connector.parse(self.name, raw))
        for token in parsed.unknown:
            reader.reading.unknown[token] = reader.reading.unknown.get(token, 0) + 1
        for name in parsed.extra:
            reader.reading.extra[name] = reader.reading.extra.get(name, 0) + 1
        if isinstance(parsed, Part):
            return self._part(parsed, raw, print_)
        if parsed.key != key:
            raise SkipRecord("The row's id is read in two ways.", rule="key", key=key)
        if parsed.user is not None and not parsed.deleted and reader.terms.rules:
            mapped = _mapped(reader.terms.rules, reader.connector.fields(self.name, raw))
            parsed = remapped(parsed, mapped)
        return entry_facts(
            reader.terms, reader.connector, self.name, parsed, print_, known, self.schools
        )

    def _part(self, part: Part, raw: bytes, print_: bytes) -> tuple[Any, ...]:
        data = dict(part.data)
        if self.reader.terms.rules:
            data["mapped"] = _mapped(
                self.reader.terms.rules, self.reader.connector.fields(self.name, raw)
            )
        state = State.DATA
        if part.deleted:  # a deleted first row deletes its entry, any other only itself
            if self.name == main_stream(self.reader.connector):
                data["deleted"] = True
            else:
                state = State.DELETED
        encoded = msgspec.json.encode(data).decode()
        return (self.name, part.key, part.owner, state, print_, encoded)

    def _seen(self, key: str) -> tuple[Any, ...]:
        if self.joined:
            return (self.name, key, None, State.SEEN, None, None)
        return (self.kind.value, self.name, key, State.SEEN, *_NOTHING)

    def _unreadable(self, key: str, known: tuple[bytes | None, ...] | None) -> tuple[Any, ...]:
        if self.joined:
            return (self.name, key, None, State.UNREADABLE, None, None)
        return (self.kind.value, self.name, key, State.UNREADABLE, *_NOTHING)

    def _finding(self, page: Page, rows: Sequence[bytes], number: int, error: SkipRecord) -> None:
        line = page.lines(rows)[number] if page.lines is not None else None
        unusable = self.reader.reading.unusable
        unusable[self.name] = unusable.get(self.name, 0) + 1
        self.reader.stage.add(
            "stage_findings",
            FINDING_COLUMNS,
            [(self.name, page.file, line, error.column, error.rule, error.message, error.hint)],
        )

    def _stage_chunk(
        self, position: int, digest: bytes | None, count: int, prints: bytes, keys: bytes
    ) -> None:
        if self.reader.request.cursor is None:
            row = (self.name, position, digest, count, prints, keys)
            self.reader.stage.add("stage_chunks", CHUNK_COLUMNS, [row])


_STATE = 3
"""Where an entry's facts hold its state."""
_NOTHING = (None,) * 7
"""raw print, norm print, data, email, person key, roles, former: all missing."""

_NEXT_CHUNK = text(
    "SELECT position, digest, count, prints, keys FROM snapshot_chunks"
    " WHERE source_id = :source AND stream = :stream AND position >= :position"
    " ORDER BY position LIMIT 1"
)
_TOUCHED = text("SELECT key FROM touched WHERE source_id = :source AND stream = :stream")
_SCHOOL_DATA = text(
    "SELECT external_id, data FROM records WHERE source_id = :source AND kind = 'school'"
    " UNION ALL SELECT key, data FROM stage_entries WHERE kind = 'school' AND data IS NOT NULL"
)


class _Prints:
    """Keyed fingerprints of raw bytes: 16 bytes, different for each source's terms and stream."""

    def __init__(self, terms: Terms, stream: str) -> None:
        self._terms = terms
        self._stream = stream
        self._context: bytes | None = None
        self._base = blake2b(digest_size=WIDTH)

    def turn(self, context: bytes) -> None:
        """Take up the context of a page; the same bytes in another context print otherwise."""
        if context == self._context:
            return
        self._context = context
        about = blake2b(self._terms.print, digest_size=32, key=self._terms.key)
        about.update(self._stream.encode() + b"\0" + context)
        self._base = blake2b(digest_size=WIDTH, key=about.digest())

    def of(self, raw: bytes) -> bytes:
        """Return the fingerprint of some bytes."""
        base = self._base.copy()
        base.update(raw)
        return base.digest()

    def of_all(self, rows: Sequence[bytes]) -> list[bytes]:
        """Return the fingerprint of each row."""
        copy = self._base.copy
        prints = []
        for raw in rows:
            base = copy()
            base.update(raw)
            prints.append(base.digest())
        return prints


class _Known:
    """What evidence knows of some keys: the raw and normalised fingerprints, if still in force."""

    def __init__(self, stage: Stage, source: Source, stream: str, kind: Kind, joined: bool) -> None:
        connection = stage.connection
        self._connection = connection
        self._database = stage.database
        if joined:
            table, key, norm, about = "parts", "key", "NULL", {"about": stream}
            where = "stream = :about"
        else:
            table, key, norm, about = "records", "external_id", "norm_print", {"about": kind.value}
            where = "kind = :about AND in_scope AND present AND NOT suspect"
        self._about: dict[str, Any] = about | {"source": source.id}
        self._query = text(
            f"SELECT {key}, raw_print, {norm} FROM {table}"
            f" WHERE source_id = :source AND {where} AND {self._database.among(key, 'keys')}"
        )
        self._empty = not connection.execute(
            text(f"SELECT 1 FROM {table} WHERE source_id = :source LIMIT 1"),
            {"source": source.id},
        ).first()

    def look_up(self, keys: Sequence[str]) -> dict[str, tuple[bytes | None, ...]]:
        """Return key → (raw print, norm print) for those of ``keys`` that are known."""
        if self._empty:
            return {}
        known: dict[str, tuple[bytes | None, ...]] = {}
        for start in range(0, len(keys), _ROWS_PER_LOOKUP):
            some = self._database.bound_list(keys[start : start + _ROWS_PER_LOOKUP])
            for row in self._connection.execute(self._query, self._about | {"keys": some}):
                known[row[0]] = (row[1], row[2])
        return known


def main_stream(connector: Connector) -> str:
    """Return the stream whose rows carry the users themselves."""
    return next(name for name, kind in connector.streams.items() if kind is Kind.USER)


def entry_facts(
    terms: Terms,
    connector: Connector,
    stream: str,
    record: Record,
    raw_print: bytes | None,
    known: tuple[bytes | None, ...] | None,
    schools: frozenset[str] | None,
) -> tuple[Any, ...]:
    """Return what the stage keeps of one parsed entry, after seq and place.

    Raises ``SkipRecord`` for an address outside the district's domains, where they bind.
    """
    kind = _KINDS[record.kind]
    former = record.former_keys[0] if record.former_keys else None
    if record.deleted:
        return (kind, stream, record.key, State.DELETED, *_NOTHING)
    if record.school is not None:
        data, email, person = _school_json(record.school), None, None
        memberships: Sequence[Membership] = ()
    else:
        if record.user is None:
            raise SkipRecord("The row says nothing.", rule="empty", key=record.key)
        user = _in_scope(record.user, connector, schools)
        if user is None:
            return (kind, stream, record.key, State.EXCLUDED, *_NOTHING)
        email = fold_email(user.email) if user.email else None
        domains = terms.email_domains
        if domains and email and email.rpartition("@")[2] not in domains:
            raise SkipRecord(
                "The email address is outside the district's domains.",
                rule="email-domain",
                column="email",
                key=record.key,
                hint="Correct the address, or add its domain to email_domains of the district.",
            )
        data, person, memberships = _user_json(user), user.person_key, user.memberships
    norm_print = blake2b(data.encode(), digest_size=WIDTH, key=terms.key).digest()
    if known is not None and known[1] == norm_print and former is None:
        return (kind, stream, record.key, State.SEEN, *_NOTHING)
    roles = "," + ",".join(sorted({m.role for m in memberships})) + "," if memberships else ""
    return (
        kind, stream, record.key, State.DATA, raw_print, norm_print, data, email, person, roles,
        former,
    )  # fmt: skip


_KINDS = {kind: kind.value for kind in Kind}


def _in_scope(
    user: NormalizedUser, connector: Connector, schools: frozenset[str] | None
) -> NormalizedUser | None:
    """Keep only the memberships that the source is asked for; None where none is left."""
    wanted = connector.config.roles
    if len(user.memberships) == 1 and schools is None:  # almost everybody
        return user if user.memberships[0].role in wanted else None
    kept = [
        member
        for member in user.memberships
        if member.role in wanted and (schools is None or member.school in schools)
    ]
    if not kept and (user.memberships or schools is not None):
        return None
    if len(kept) == len(user.memberships) < 2:
        return user
    unique = {(m.role.value, m.school or "", not m.primary): m for m in kept}
    return user.model_copy(update={"memberships": tuple(unique[key] for key in sorted(unique))})


def _user_json(user: NormalizedUser) -> str:
    return user.model_dump_json(exclude_defaults=True)


def _school_json(school: NormalizedSchool) -> str:
    return school.model_dump_json(exclude_defaults=True)


def _mapped(rules: Sequence[Rule], fields: Mapping[str, Any]) -> dict[str, str | None]:
    return {rule.field: rule.value(fields) for rule in rules}


def remapped(record: Record, mapped: Mapping[str, str | None]) -> Record:
    """Return the record with the fields that mapping rules set, validated anew."""
    assert record.user is not None  # noqa: S101 - the caller looked
    values = record.user.model_dump(exclude_defaults=True) | dict(mapped)
    user = _guard(lambda: NormalizedUser.model_validate(values))
    return Record(record.kind, record.key, user=user, former_keys=record.former_keys)


def _guard(read: Callable[[], T]) -> T:
    """Turn a model's refusal of one row into a SkipRecord that names the field, not the value."""
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        column = ".".join(str(step) for step in first["loc"])
        raise SkipRecord(
            f"The field {column} cannot be used: {first['msg']}.",
            rule="field",
            column=column,
            hint="Correct the value at its source.",
        ) from None
