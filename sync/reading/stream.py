"""One stream of a reading: its pages are compared with the stored order, and news are staged.

``sync/reading/fetch.py`` hands over the pages as they come. Raw rows are fingerprinted, and only
those that neither the snapshot nor the evidence knows are parsed. Writes nothing but the stage.

One file, because it is one class: a stream from its first page to its last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, literal_column, select, text

from connectors.contract.connector import Connector, FetchRequest, Page, Part, Trace
from core.errors import DoubtfulKey, RosterSyncError, SkipRecord
from core.models import LONGEST_KEY, Kind
from core.storage.schema import SnapshotChunk, Source, Touched
from sync.reading.fetch_result import FetchResult
from sync.reading.order.fingerprints import Prints, ReadingTerms
from sync.reading.order.page_order import NO_KEY, VOID, Chunk, PageMatch, PageOrder, join_keys
from sync.reading.order.page_rows import PageRows
from sync.reading.stage import (
    Stage,
    State,
)
from sync.reading.staged_entry import (
    NOTHING,
    STATE,
    entry_facts,
    main_stream,
    mapped_fields,
    remapped,
    skip_if_refused,
)
from sync.reading.stored_prints import Records, StoredPrints
from sync.sources.headway import Headway
from sync.sources.soundness import sound_parsed, storable, told_of

_PLACE_BITS = 24
MOST_AT_THE_END = 5_000
"""So many keys from the end of the stored order are remembered, should just they be missing."""
_MANY_EARLY = 50_000
"""Beyond this many rows out of order, the order is not worth its memory."""


@dataclass(slots=True)
class UnderWay:
    """A reading under way: what its streams have in common."""

    stage: Stage
    source: Source
    connector: Connector
    terms: ReadingTerms
    request: FetchRequest
    reading: FetchResult
    streams: dict[str, Stream] = field(default_factory=dict)
    seq: int = 0
    """How many rows were examined one by one."""

    def stream(self, name: str) -> Stream:
        """Return a stream, opened at its first page."""
        if name not in self.streams:
            self.streams[name] = Stream(self, name)
        return self.streams[name]

    def open_order(self, stream: str) -> PageOrder | None:
        """Return the stored order of a stream, if it may be trusted."""
        source = self.source
        if self.request.cursor is not None or source.snapshot_serial != source.evidence_serial:
            return None
        about = {"source": source.id, "stream": stream}
        connection = self.stage.connection

        def load(position: int) -> Chunk | None:
            row = connection.execute(_NEXT_CHUNK, about | {"first": position}).one_or_none()
            return None if row is None else Chunk(row[0], row[1], row[2], row[3], row[4], row[5])

        if load(0) is None:
            return None
        touched = frozenset(connection.execute(_TOUCHED, about).scalars())
        if touched:
            self.stage_passed(stream, touched)
        return PageOrder(load, touched)

    def stage_passed(self, stream: str, keys: Sequence[str] | frozenset[str]) -> None:
        """Record keys that were expected and have not been found so far."""
        self.stage.passed.add(self.stage.database, [(stream, key) for key in keys])


_OF_STREAM = (
    SnapshotChunk.source_id == bindparam("source"),
    SnapshotChunk.stream == bindparam("stream"),
)
_NEXT_CHUNK = (
    select(
        SnapshotChunk.position,
        SnapshotChunk.digest,
        SnapshotChunk.count,
        SnapshotChunk.prints,
        SnapshotChunk.keys,
        SnapshotChunk.spans,
    )
    .where(*_OF_STREAM, SnapshotChunk.position >= bindparam("first"))
    .order_by(SnapshotChunk.position)
    .limit(literal_column("1"))  # not a parameter: PostgreSQL plans for just one
)
_TOUCHED = select(Touched.key).where(
    Touched.source_id == bindparam("source"), Touched.stream == bindparam("stream")
)


def allowed_schools(
    connection: Connection, source: Source, connector: Connector
) -> frozenset[str] | None:
    """Return the ids of the schools this source is restricted to; None: all."""
    wanted = frozenset(connector.config.schools)
    if not wanted:
        return None
    schools = connection.execute(_SCHOOL_DATA, {"source": source.id})
    return wanted | {key for key, data in schools if msgspec.json.decode(data)["name"] in wanted}


class Stream:
    """One stream: its pages come in order, its rows are matched, missed, staged."""

    def __init__(self, under_way: UnderWay, name: str) -> None:
        self.under_way = under_way
        self.stage = under_way.stage
        self.connector = under_way.connector
        self.terms = under_way.terms
        self.name = name
        self.kind: Kind = self.connector.streams[name]
        self.joined = self.connector.capabilities.joined and self.kind is Kind.USER
        order = under_way.open_order(name)
        self.compared = order is not None
        self.order = order or PageOrder(None)
        self.left = self.order
        """The order whose rest is passed over at the end."""
        self.early: set[str] = set()
        """Keys of missed rows that the order has not come to: met there, they stand twice."""
        self.gists: list[tuple[Any, ...]] = []
        """The gists of rows that were parsed and are unchanged."""
        self.position = 0
        self.count = 0
        self.prints = Prints(self.terms, name)
        self.schools: frozenset[str] | None = None
        if self.kind is Kind.USER:
            self.schools = allowed_schools(self.stage.connection, under_way.source, self.connector)
        self.scope = b"" if self.schools is None else "\0".join(sorted(self.schools)).encode()
        self.known = Records(self.stage, under_way.source, name, self.kind, self.joined)
        self.headway = Headway(under_way.source.name, name)
        self.is_file = self.connector.capabilities.origin == "file"
        """A file ends by itself, and what it repeats is listed line by line."""
        self.sure = 0
        """Rows of the last page that repeat nobody: the order has each once, or they have no id."""

    # -- pages

    def note(self, page: Page) -> None:
        """Note a page that comes. Raises ``IncompleteFetch`` when pages come again and again."""
        if not self.is_file:
            self.headway.served(page.body)

    def look_for_somebody_new(self) -> None:
        """Look at the page that was just read. Raises ``IncompleteFetch`` if it brings nobody new.

        Rows that the order knew are new to this reading; of rows without an id nobody can tell.
        """
        if not self.is_file and not self.sure:
            self.headway.look(self.position, self._has_new_ids)

    def _has_new_ids(self) -> bool:
        """Say whether the last page has an id that no earlier page of this reading had."""
        table = "stage_parts" if self.joined else "stage_entries"
        about = {"stream": self.name, "first": (self.position - 1) << _PLACE_BITS}
        ids = self.stage.connection.execute(_IDS_OF_PAGE[table], about).scalar_one()
        came_before = self.stage.connection.execute(_IDS_MET_BEFORE[table], about).scalar_one()
        return bool(ids > came_before)

    def read(self, page: Page) -> None:
        """Compare one page with the order, and stage what is new."""
        position, self.position = self.position, self.position + 1
        self.sure = 0
        self.prints.turn(page.context + self.scope)
        if self.order.has_digest() and self._is_known_whole(page, position):
            return
        rows = self._left_by_a_cut(page)
        if rows is None:
            rows = PageRows.all_of(page, self.prints)
            chunk = self.order.same_rows(b"".join(rows.prints))
        else:
            chunk = rows.known_chunk()
        if chunk is not None and self.early.isdisjoint(self._keys(chunk)):
            self._take(chunk)
            if rows.cut is None or chunk.position != position:  # the page differs, its rows do not
                keys = chunk.key_list()
                self._stage_chunk(position, rows if rows.cut is None else chunk, keys)
            return
        match = self.order.match(rows.prints, rows.cut)
        if rows.cut is not None and self._stands_twice(rows, match):
            rows = PageRows.all_of(page, self.prints)
            match = self.order.match(rows.prints)
        self.order.accept(match)
        self.count += rows.count
        self._compared(position, rows, match.keys, match.passed)

    def finish(self) -> None:
        """Record the rows of the stored order that were never reached."""
        tail = self.under_way.reading.tail
        while self.compared and (keys := self.left.rest()) is not None:
            self.under_way.stage_passed(self.name, keys)
            if len(tail) < MOST_AT_THE_END:
                tail.update(keys)

    def _is_known_whole(self, page: Page, position: int) -> bool:
        """Take a page whose fingerprint is stored as it was."""
        chunk = self.order.whole_page(self.prints.of(page.body))
        if chunk is None or not self.early.isdisjoint(self._keys(chunk)):
            return False
        self._take(chunk)
        if chunk.position != position:
            self._stage_chunk(position, chunk, chunk.key_list())
        return True

    def _take(self, chunk: Chunk) -> None:
        """Count the rows of a stored chunk, which the page is."""
        self.order.drop(chunk)
        self.count += chunk.count
        self.sure += chunk.count

    def _left_by_a_cut(self, page: Page) -> PageRows | None:
        """Cut out of a page what stands there as it stood, and return the other rows."""
        cut = self.order.cut(page.body, self.prints.of, self.early)
        if cut is None:
            return None
        try:
            return PageRows.left_by(cut, page, self.prints)
        except RosterSyncError:  # what is left is no page; whether the whole is one will be seen
            return None

    def _stands_twice(self, rows: PageRows, match: PageMatch) -> bool:
        """Say whether a missed row has the id of one that was cut out: look at both then."""
        missed: set[str] = set()
        for row, key in enumerate(match.keys):
            if key is None:
                try:
                    missed.add(self._identify(rows.raw[row]))
                except SkipRecord:
                    continue
        return rows.may_have_cut(missed)

    def _keys(self, chunk: Chunk) -> Sequence[str]:
        """Return the keys of a chunk, if there is anything to look for in them."""
        return chunk.key_list() if self.early else ()

    def _compared(
        self, position: int, rows: PageRows, keys: list[str | None], passed: list[str]
    ) -> None:
        """Stage what comparing the rows of a page has found."""
        for row, key in enumerate(keys if self.early else ()):
            if key in self.early:  # an earlier row has this id: look at both
                keys[row] = None
                passed.append(key)
        misses = [row for row, key in enumerate(keys) if key is None]
        self.sure += rows.count - len(misses)
        if misses:
            named = self._named(rows, misses)
            early = self.early
            if self.compared:
                named = self._with_met(named, keys, passed)
            self._misses(position, rows, keys, named, passed, early)
        self.under_way.stage_passed(self.name, passed)
        self._stage_chunk(position, rows, [key or NO_KEY for key in keys])

    def _stage_chunk(self, position: int, page: PageRows | Chunk, keys: Sequence[str]) -> None:
        """Stage what the snapshot keeps of a page. ``keys`` are of the rows looked at."""
        if self.under_way.request.cursor is not None:
            return
        row: tuple[Any, ...]
        if isinstance(page, Chunk):
            row = (page.digest, page.count, page.prints, page.keys, page.spans)
        else:
            prints, all_keys, spans = page.stored(keys, self.prints)
            digest = None
            if not spans and VOID not in page.prints:
                digest = self.prints.of(page.page.body)
            row = (digest, page.count, prints, join_keys(all_keys), spans or None)
        self.stage.add_chunk((self.name, position, *row))

    # -- rows that the order does not know

    def _named(self, rows: PageRows, misses: Sequence[int]) -> list[tuple[int, str]]:
        """Return the missed rows by number and key, without those whose key cannot be read."""
        named: list[tuple[int, str]] = []
        for row in misses:
            try:
                named.append((row, self._identify(rows.raw[row])))
            except SkipRecord as error:
                self.under_way.reading.withhold(self.name, rows.page.file, rows.line(row))
                self.sure += 1
                self._unusable(rows, row, None, error)
                rows.prints[row] = VOID
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
        met = [(row, key) for row, key in enumerate(keys) if key in new]
        passed.extend(key for _, key in met if key)
        self.early = self.early | new
        if len(self.early) > _MANY_EARLY:  # nothing is where it was: go on in sets
            self.order = PageOrder(None)
        return sorted([*named, *((row, key) for row, key in met if key)])

    def _misses(
        self,
        position: int,
        rows: PageRows,
        keys: list[str | None],
        named: Sequence[tuple[int, str]],
        passed: list[str],
        early: set[str],
    ) -> None:
        """Stage the rows that are new to us.

        A row whose bytes changed but whose content did not, in its expected place, counts as found
        and is not staged. If only timestamps changed, no row is staged.
        """
        known = self.known.look_up([key for _, key in named])
        expected: set[str] = set()
        if self.compared and not self.joined:
            once = Counter(key for _, key in named)
            expected = {key for key in passed if once[key] == 1} - early - self.left.touched
        met: set[str] = set()
        unusable: list[tuple[int, str, SkipRecord]] = []
        refused: list[tuple[int, bool]] = []
        doubted: list[tuple[int, str, SkipRecord]] = []
        table = self.stage.parts if self.joined else self.stage.entries
        with table.adding(self.stage.database) as put:
            for row, key in named:
                keys[row] = key
                try:
                    facts, doubts = self._facts(
                        key, rows.raw[row], rows.prints[row], known.get(key)
                    )
                    if doubts:  # looked at again next time, and listed until it is put right
                        rows.prints[row] = VOID
                        doubted += [(row, key, doubt) for doubt in doubts]
                except SkipRecord as error:
                    unusable.append((row, key, error))
                    rows.prints[row] = VOID
                    if not self.known.empty:
                        doubtful = key not in known and isinstance(error, DoubtfulKey)
                        refused.append((row, doubtful))
                    facts = self._bare(key, State.UNREADABLE)
                self.under_way.seq += 1
                if key in expected and facts[STATE] is State.SEEN:
                    met.add(key)
                    continue
                place = (position << _PLACE_BITS) + rows.number(row)
                put((self.under_way.seq, place, *facts, rows.page.file, rows.line(row)))
        for row, key, why in unusable:
            self._unusable(rows, row, key, why)
        for row, key, why in doubted:
            self.under_way.reading.left_out += 1
            self._findings(rows, row, key, [why], used=True)
        self._refused(rows, refused)
        self.sure += len(met)
        if met:
            passed[:] = [key for key in passed if key not in met]
        self.stage.gists.add(self.stage.database, self.gists)
        self.gists = []

    def _identify(self, raw: bytes) -> str:
        key = self.connector.identify(self.name, raw)
        if not key or storable(key, LONGEST_KEY) != key:
            raise SkipRecord(
                "The row's id is missing, too long or not text.",
                rule="key",
                hint=f"Give each row an id of 1 to {LONGEST_KEY} characters.",
            )
        return key

    def _facts(
        self, key: str, raw: bytes, print_: bytes, known: StoredPrints | None
    ) -> tuple[tuple[Any, ...], Sequence[SkipRecord]]:
        """Return what the stage keeps of one missed row, after seq and place; and its doubts."""
        if known is not None and known.raw == print_:
            return self._bare(key, State.SEEN), ()
        gist = self._gist(raw)
        if known is not None and gist is not None and known.gist == gist:
            return self._bare(key, State.SEEN), ()
        reading = self.under_way.reading
        reading.parsed += 1
        parsed = sound_parsed(skip_if_refused(lambda: self.connector.parse(self.name, raw)))
        reading.meet(parsed.unknown, parsed.extra)
        kept: bytes | None = print_
        if parsed.doubts:
            kept = gist = None
        if isinstance(parsed, Part):
            return self._part(parsed, raw, kept, gist), parsed.doubts
        if parsed.key != key:
            raise SkipRecord("The row's id is read in two ways.", rule="key", key=key)
        if parsed.user is not None and not parsed.deleted and self.terms.rules:
            fields = self.connector.fields(self.name, raw)
            parsed = remapped(parsed, mapped_fields(self.terms.rules, fields))
        facts = entry_facts(
            self.terms, self.connector, self.name, parsed, kept, gist, known, self.schools
        )
        if known is not None and gist is not None and facts[STATE] is State.SEEN:
            self.gists.append((facts[0], key, gist, known.norm))
        return facts, parsed.doubts

    def _gist(self, raw: bytes) -> bytes | None:
        """Return the fingerprint of what is read of a row; mapping rules may read all of it."""
        if self.terms.rules:
            return None
        gist = self.connector.gist(self.name, raw)
        return None if gist is None else self.prints.of(gist)

    def _part(
        self, part: Part, raw: bytes, print_: bytes | None, gist: bytes | None
    ) -> tuple[Any, ...]:
        data = dict(part.data)
        if self.terms.rules:
            fields = self.connector.fields(self.name, raw)
            data["mapped"] = mapped_fields(self.terms.rules, fields)
        state = State.DATA
        if part.deleted:  # a deleted first row deletes its entry, any other row only itself
            if self.name == main_stream(self.connector):
                data["deleted"] = True
            else:
                state = State.DELETED
        encoded = msgspec.json.encode(data).decode()
        return (self.name, part.key, part.owner, state, print_, gist, encoded)

    def _bare(self, key: str, state: State) -> tuple[Any, ...]:
        """Return the staged values of a row of which nothing new is stored."""
        if self.joined:
            return (self.name, key, None, state, None, None, None)
        return (self.kind.value, self.name, key, state, *NOTHING)

    def _refused(self, rows: PageRows, refused: Sequence[tuple[int, bool]]) -> None:
        """Stage what rows that were refused still say of their person (F12).

        Their key is new, or they may have the key of somebody else.
        """
        if self.kind is not Kind.USER:
            return
        facts: list[tuple[Any, ...]] = []
        for row, doubtful in refused:
            trace = self.connector.trace(self.name, rows.raw[row])
            if trace is not None or doubtful:
                said = trace or Trace()
                place = (rows.page.file, rows.line(row))
                words = (said.owner, said.given_name, said.family_name)
                told = (None if one is None else storable(one) for one in words)
                facts.append((self.name, *told, doubtful, *place))
        self.stage.refused.add(self.stage.database, facts)

    def _unusable(self, rows: PageRows, row: int, key: str | None, error: SkipRecord) -> None:
        """List everything that is wrong with a row, and count the row."""
        unusable = self.under_way.reading.unusable
        unusable[self.name] = unusable.get(self.name, 0) + 1
        faults = list(self.connector.faults(self.name, rows.raw[row]))
        if not any(one.rule == error.rule for one in faults):
            faults = [error, *faults]
        self._findings(rows, row, key, faults)

    def _findings(
        self,
        rows: PageRows,
        row: int,
        key: str | None,
        faults: Sequence[SkipRecord],
        *,
        used: bool = False,
    ) -> None:
        place = (self.name, rows.page.file, rows.line(row), key)
        said = dict.fromkeys(map(told_of, faults))
        found = [(*place, *one, used, False) for one in said]
        self.stage.findings.add(self.stage.database, found)


# --- Set-wise statements ---
# They ask the stage, whose tables are temporary. The ids of a page are looked for only when a
# server has long served nobody new, so they need no index.

_SCHOOL_DATA = text(
    "SELECT external_id, data FROM records WHERE source_id = :source AND kind = 'school'"
    " UNION ALL SELECT key, data FROM stage_entries WHERE kind = 'school' AND data IS NOT NULL"
)
_OF_PAGE = "SELECT key FROM {table} WHERE stream = :stream AND place >= :first"
_IDS_OF_PAGE = {
    table: text(
        "SELECT COUNT(*) FROM (SELECT DISTINCT key FROM"
        f" ({_OF_PAGE.format(table=table)}) AS p) AS d"
    )
    for table in ("stage_entries", "stage_parts")
}
_IDS_MET_BEFORE = {
    table: text(
        f"SELECT COUNT(DISTINCT key) FROM {table} WHERE stream = :stream"
        f" AND place < :first AND key IN ({_OF_PAGE.format(table=table)})"
    )
    for table in ("stage_entries", "stage_parts")
}
