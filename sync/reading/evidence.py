"""Evidence: the stage becomes what a source last said, in one transaction.

``keep`` is the only writer of records, parts and fetches, and with
``sync/reading/page_order_store.py`` of snapshots. A record's ``version`` moves with its presence or
its normalised fingerprint, never with the raw one (P2); everything that changes is open until an
applied plan settles it.

One file, because its statements run in one transaction and are read in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    String,
    TextClause,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)

from connectors.contract.connector import Connector
from core.failpoints import failpoint
from core.models import Kind
from core.storage.database import Database
from core.storage.schema import Fetch, OpenRecord, Record, Source
from core.storage.stored import utc_text
from sync.reading.absence import AbsenceProof
from sync.reading.fetch_result import FetchResult
from sync.reading.order.fingerprints import ReadingTerms
from sync.reading.page_order_store import keep_snapshot
from sync.reading.stage import UNSETTLED, Stage, State, of_unsettled
from sync.reading.staged_entry import main_stream
from sync.run.open_records import is_open, opening, opening_moved
from sync.run.scratch_tables import MovedSchools

SETTINGS = "settings"
"""The cause of evidence that changed because we read it differently (L8)."""

NO_PRINT = b""
"""The normalised fingerprint of records not read since the terms of reading changed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The result of storing a reading."""

    fetch_id: int
    complete: bool
    certificate: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EndedReading:
    """A reading that has ended: whose, on which terms, what was read, and what that proves."""

    source: Source
    connector: Connector
    terms: ReadingTerms
    result: FetchResult
    proof: AbsenceProof

    @property
    def usable(self) -> bool:
        """What was read may change records: all of it was, or the connector says so (F1)."""
        return self.proof.complete or self.connector.capabilities.partial_is_usable

    @property
    def full(self) -> bool:
        """Everybody was read, so that an absence is proven."""
        return self.proof.complete and not self.result.certificate.incremental

    @property
    def believed(self) -> bool:
        """The source's own word that somebody is gone holds: a file's in a delta, too (F4)."""
        by_file = self.proof.complete and self.connector.capabilities.origin == "file"
        return (self.full or by_file) and not self.proof.troubled

    @property
    def reread(self) -> bool:
        """It was read on other terms than before: what moves is a change of our own (L8)."""
        before = self.source.settings_print
        return before is not None and before != self.terms.print


def keep(
    stage: Stage, ended: EndedReading, *, run_id: int, now: datetime, paused: bool = False
) -> Kept:
    """Merge the stage into the evidence and record the fetch.

    An incomplete reading changes records only if the connector says that complete records are
    usable (F1), and then it ends nothing. In a pause absences do not age (S7).
    """
    source = ended.source
    with stage.merge() as connection:
        stage.database.apply_lock(connection, source.district_id)
        serial = source.evidence_serial
        if ended.usable and not ended.result.certificate.unchanged:
            serial += 1
            _merge(stage, ended, now, paused=paused)
        failpoint("evidence.snapshot")
        document = _document(ended)
        fetch_id = _insert_fetch(connection, source, run_id, now, ended.proof, document)
        connection.execute(_OF_SOURCE, _source_after(ended, serial, now))
        failpoint("evidence.source")
    failpoint("evidence.committed")
    return Kept(fetch_id, ended.proof.complete, document)


def _merge(stage: Stage, ended: EndedReading, now: datetime, *, paused: bool) -> None:
    """Merge records, parts and the page order; open whatever moved."""
    database, connection = stage.database, stage.connection
    source, connector, result = ended.source, ended.connector, ended.result
    about = {
        "source": source.id,
        "now": utc_text(now),
        "cause": SETTINGS if ended.reread else None,
        "no_print": NO_PRINT,
        "unsettled": [State.UNREADABLE] if ended.believed else [State.UNREADABLE, State.DELETED],
    }
    first = _merge_records(connection, about, result, believed=ended.believed)
    connection.execute(_KEEP_GISTS, about)
    failpoint("evidence.records")
    if connector.capabilities.joined:
        _merge_parts(connection, about)
    database.analyze_after_load(
        connection, result.parsed, "records", "parts", new=source.complete_at is None
    )
    if not first:
        _open_members(database, connection, about)
        if ended.full:
            connection.execute(_AGE_FIRST if paused else _AGE, {"source": source.id})
        if ended.full and ended.reread:
            _note_unread(connection, about, connector, result)
    keep_snapshot(stage, about, connector, result, ended.proof, full=ended.full)


def _source_after(ended: EndedReading, serial: int, now: datetime) -> dict[str, Any]:
    """Return what the source's row says after the reading.

    A time in a connector's cursor is kept as text, and comes back to it as text.
    """
    source, certificate, complete = ended.source, ended.result.certificate, ended.proof.complete
    moved_on = complete and not certificate.unchanged
    cursor = certificate.cursor if moved_on else source.cursor
    return {
        "source": source.id,
        "evidence_serial": serial,
        "settings_print": ended.terms.print if ended.full else source.settings_print,
        "complete_at": now if complete else source.complete_at,
        "full_at": now if ended.full and moved_on else source.full_at,
        "vendor_district": source.vendor_district or certificate.vendor_district,
        "vendor_state": certificate.vendor_state,
        "vendor_time": certificate.vendor_time or source.vendor_time,
        "revision": certificate.revision if complete else source.revision,
        "cursor": None if cursor is None else msgspec.to_builtins(dict(cursor), str_keys=True),
        "snapshot_serial": _snapshot_serial(source, serial, ended.full),
    }


def _snapshot_serial(source: Source, serial: int, full: bool) -> int | None:
    if full or source.snapshot_serial == source.evidence_serial:
        return serial
    return source.snapshot_serial


def _document(ended: EndedReading) -> dict[str, Any]:
    """Return the certificate as it is stored and shown."""
    reading, verdict = ended.result, ended.proof
    certificate = reading.certificate
    vendor_time = certificate.vendor_time
    return {
        "complete": verdict.complete,
        "reason": verdict.reason,
        "pages": certificate.pages,
        "records": sum(reading.counted.values()),
        "declared_total": sum(certificate.declared.values()) if certificate.declared else None,
        "incremental": certificate.incremental,
        "unchanged": certificate.unchanged,
        "rows": dict(reading.counted),
        "parsed": reading.parsed,
        "absent": verdict.absent,
        "suspected": 0 if ended.believed else verdict.deleted,
        "withheld": verdict.withheld,
        "withheld_by": reading.keyless_rows if verdict.withheld else [],
        "skipped": verdict.unusable,
        "left_out": reading.left_out,
        "unknown": dict(sorted(reading.unknown.items())),
        "extra": dict(sorted(reading.extra.items())),
        "vendor_state": certificate.vendor_state,
        "vendor_time": None if vendor_time is None else utc_text(vendor_time),
        "notes": list(certificate.notes),
    }


# -- records


def _merge_records(
    connection: Connection, about: dict[str, Any], reading: FetchResult, *, believed: bool
) -> bool:
    """Merge the stage into the records; say whether they are the first of the source: all are open.

    Only by statements that have something to do.
    """
    staged = {state: (rows, rekeyed) for state, rows, rekeyed in connection.execute(_STAGED_STATES)}
    rows, rekeyed = staged.get(State.DATA, (0, 0))
    about = {**about, "last": connection.execute(_LAST_RECORD).scalar() or 0}
    if rows and not connection.execute(_ANY_RECORD, about).first():
        _insert(connection, _INSERT_FIRST, about)
        return True
    if rekeyed:
        _move(connection, _GIVE_NEW_KEYS, {**about, "ordered": sorted(reading.ordered)})
    if rows:
        new = _insert(connection, _INSERT_NEW, about)
        connection.execute(_UPDATE_KNOWN_BY, about)
        if new + _move(connection, _UPDATE_CHANGED, about) < rows:
            connection.execute(_UPDATE_PRINTS, about)
    if State.EXCLUDED in staged:
        _move(connection, _EXCLUDE_STAGED, about)
    if State.DELETED in staged:
        if believed:
            _move(connection, _END_DELETED, about)
        else:
            connection.execute(_SUSPECT_DELETED, about)
    _move(connection, _END_GONE, about)
    return False


def _insert(connection: Connection, query: TextClause, about: dict[str, Any]) -> int:
    """Insert records and open them; return how many."""
    connection.execute(query, about)
    failpoint("evidence.inserted")
    return connection.execute(_OPEN_INSERTED, about).rowcount


@dataclass(frozen=True, slots=True)
class _Moving:
    """How records change: they are opened while still unchanged, and then updated."""

    opens: TextClause
    moves: TextClause


def _move(connection: Connection, moving: _Moving, about: dict[str, Any]) -> int:
    """Open records and update them; return how many."""
    opened = connection.execute(moving.opens, about).rowcount
    if opened:
        connection.execute(moving.moves, about)
    return opened


_ANY_RECORD = select(Record.id).where(Record.source_id == bindparam("source")).limit(1)
_LAST_RECORD = select(func.max(Record.id))
_AGE = (
    update(Record.table)
    .where(
        ~Record.present,
        Record.id.in_(
            select(OpenRecord.record_id).where(OpenRecord.source_id == bindparam("source"))
        ),
    )
    .values(absent_fetches=Record.absent_fetches + 1)
)
_AGE_FIRST = _AGE.where(Record.absent_fetches == 0)
"""In a pause, only the reading that found somebody absent counts, not later ones (S7)."""


def _note_unread(
    connection: Connection, about: dict[str, Any], connector: Connector, reading: FetchResult
) -> None:
    """Forget the fingerprints of present records that were not read on the new terms.

    Torn rows, rows without a key, and people of roles that the file does not speak for: if they are
    different when they are finally read, we caused that change too (L8).
    """
    stream = main_stream(connector)
    compared = reading.compared.get(stream, False) and not connector.capabilities.joined
    unread = {"stream": stream, "compared": int(compared)}
    connection.execute(_FORGET_PRINTS_OF_UNREAD, {**about, **unread})


def _merge_parts(connection: Connection, about: dict[str, Any]) -> None:
    for query in (
        _DELETE_PARTS_GONE,
        _UPDATE_OWNERS_OF_PARTS,
        _UPDATE_PARTS,
        _INSERT_PARTS,
        _FORGET_PRINTS_OF_UNSETTLED,
    ):
        connection.execute(query, about)


def _open_members(database: Database, connection: Connection, about: dict[str, Any]) -> None:
    """Open everybody who names a school that appeared, disappeared or is not a school after all."""
    moved = MovedSchools(connection)
    connection.execute(_FIND_MOVED_SCHOOLS, about)
    if moved.count():
        connection.execute(_opening_members(database), about)


# -- fetch, source


def _insert_fetch(
    connection: Connection,
    source: Source,
    run_id: int,
    now: datetime,
    verdict: AbsenceProof,
    document: dict[str, Any],
) -> int:
    fetch = {
        "run_id": run_id,
        "source_id": source.id,
        "at": now,
        "complete": verdict.complete,
        "certificate": document,
    }
    fetch_id = connection.execute(_NEW_FETCH, fetch).scalar_one()
    connection.execute(_KEEP_FINDINGS, {"fetch": fetch_id})
    return fetch_id


_NEW_FETCH = insert(Fetch.table).returning(Fetch.id)
_OF_SOURCE = update(Source.table).where(Source.id == bindparam("source"))


# --- Set-wise statements ---
# They run in one transaction, in the order of the functions above, and are driven from the stage,
# which is small where little changed, not from the records: a CROSS JOIN keeps SQLite to that order
# (and leaves PostgreSQL free), MATERIALIZED and IN keep it from going through all records to find
# the few. Records are found by ``uq_records_key``.


def _of_state(state: State) -> str:
    """SQL: the records ``r`` of this source that the stage has in one state, as ``e``."""
    return (
        " FROM stage_entries e CROSS JOIN records r WHERE r.source_id = :source"
        f" AND r.kind = e.kind AND r.external_id = e.key AND e.state = {state:d}"
    )


def _moving(
    found: str,
    sets: str,
    *,
    values: str = "",
    cause: str = "CAST(:cause AS TEXT)",
    again: str = "excluded.cause",
    lists: Sequence[str] = (),
) -> _Moving:
    """Return how the records ``r`` move that the FROM and WHERE ``found`` have.

    ``sets`` sets columns from rows ``s``, which have what ``values`` selects. For ``cause`` and
    ``again`` see ``opening_moved``; ``lists`` names the parameters that are lists.
    """
    bound = [bindparam(name, type_=String, expanding=True) for name in lists]
    moves = (
        f"WITH s AS MATERIALIZED (SELECT r.id{values}{found}) UPDATE records"
        f" SET version = records.version + 1, {sets} FROM s"
        " WHERE records.id = s.id AND records.id IN (SELECT id FROM s)"
    )
    opens = opening_moved(found, cause, again)
    return _Moving(text(opens).bindparams(*bound), text(moves).bindparams(*bound))


_STAGED_STATES = text("SELECT state, COUNT(*), COUNT(former) FROM stage_entries GROUP BY state")
_GIVE_NEW_KEYS = _moving(
    " FROM stage_entries e CROSS JOIN records r"
    " WHERE r.source_id = :source AND r.kind = e.kind AND r.external_id = e.former"
    f" AND e.state = {State.DATA:d} AND e.former <> e.key"
    # a record still present under the former key keeps it; unchanged rows are not staged
    " AND NOT EXISTS (SELECT 1 FROM stage_entries o WHERE o.kind = e.kind AND o.key = e.former)"
    " AND (e.stream NOT IN :ordered OR EXISTS (SELECT 1 FROM stage_passed p"
    "  WHERE p.stream = e.stream AND p.key = e.former))"
    " AND NOT EXISTS (SELECT 1 FROM records n WHERE n.source_id = :source AND n.kind = e.kind"
    "  AND n.external_id = e.key) GROUP BY r.id",
    "external_id = s.key",
    values=", MIN(e.key) AS key",  # if two rows name one former key, only one had it
    cause="NULL",
    again="open_records.cause",
    lists=["ordered"],
)
_INSERT_STAGED = (
    "INSERT INTO records (source_id, kind, external_id, raw_print, gist_print, norm_print, data,"
    " version, present, in_scope, suspect, absent_fetches, email, person_key, roles)"
    " SELECT CAST(:source AS BIGINT), s.kind, s.key, s.raw_print, s.gist_print, s.norm_print,"
    " s.data, 1, TRUE, TRUE, FALSE, 0, s.email, s.person_key, s.roles"
    f" FROM stage_entries s WHERE s.state = {State.DATA:d}"
)
_INSERT_FIRST = text(f"{_INSERT_STAGED} ORDER BY s.seq")
_INSERT_NEW = text(
    f"{_INSERT_STAGED} AND NOT EXISTS (SELECT 1 FROM records r"
    " WHERE r.source_id = :source AND r.kind = s.kind AND r.external_id = s.key)"
    " ORDER BY s.seq"
)
_OPEN_INSERTED = text(  # + 0: those after the last one, by their ids, not among all of a source
    opening("r.id > :last AND r.source_id + 0 = :source", "CAST(:cause AS TEXT)")
)
# by itself, where it is new: SQLite writes an index of which a column is set
_UPDATE_KNOWN_BY = text(
    f"WITH s AS MATERIALIZED (SELECT r.id, e.email, e.person_key{_of_state(State.DATA)}"
    " AND (COALESCE(r.email, '') <> COALESCE(e.email, '')"
    " OR COALESCE(r.person_key, '') <> COALESCE(e.person_key, '')))"
    " UPDATE records SET email = s.email, person_key = s.person_key FROM s"
    " WHERE records.id = s.id AND records.id IN (SELECT id FROM s)"
)
_UPDATE_CHANGED = _moving(
    f"{_of_state(State.DATA)}"
    " AND (r.data <> e.data OR NOT r.present OR NOT r.in_scope OR r.suspect)",
    "raw_print = s.raw_print, gist_print = s.gist_print, norm_print = s.norm_print, data = s.data,"
    " present = TRUE, in_scope = TRUE, suspect = FALSE, absent_since = NULL, absent_fetches = 0,"
    " roles = s.roles",
    values=", e.raw_print, e.gist_print, e.norm_print, e.data, e.roles",
    cause=f"CASE WHEN r.norm_print = :no_print THEN '{SETTINGS}' ELSE CAST(:cause AS TEXT) END",
    again=f"CASE WHEN open_records.cause = '{SETTINGS}' THEN open_records.cause"
    " ELSE excluded.cause END",
)
_UPDATE_PRINTS = text(  # read on the new terms now, with unchanged content
    "WITH s AS MATERIALIZED (SELECT r.id, e.raw_print, e.gist_print, e.norm_print"
    f"{_of_state(State.DATA)} AND r.norm_print <> e.norm_print)"
    " UPDATE records SET raw_print = s.raw_print, gist_print = s.gist_print,"
    " norm_print = s.norm_print FROM s"
    " WHERE records.id = s.id AND records.id IN (SELECT id FROM s)"
)
_KEEP_GISTS = text(  # parsed without any change: next time the gist is enough
    "WITH s AS MATERIALIZED (SELECT r.id, g.gist_print FROM stage_gists g CROSS JOIN records r"
    "  WHERE r.source_id = :source AND r.kind = g.kind AND r.external_id = g.key"
    "  AND r.norm_print = g.norm_print)"
    " UPDATE records SET gist_print = s.gist_print FROM s"
    " WHERE records.id = s.id AND records.id IN (SELECT id FROM s)"
)
_EXCLUDE_STAGED = _moving(
    f"{_of_state(State.EXCLUDED)} AND (r.in_scope OR NOT r.present)",
    "in_scope = FALSE, present = TRUE, absent_since = NULL, absent_fetches = 0",
)
_ENDS = "present = FALSE, suspect = FALSE, absent_since = :now, absent_fetches = 0"
_END_DELETED = _moving(f"{_of_state(State.DELETED)} AND r.present", _ENDS, cause="NULL")
_SUSPECT_DELETED = text(
    "UPDATE records SET suspect = TRUE WHERE id IN"
    f" (SELECT r.id{_of_state(State.DELETED)} AND r.present)"
)
_END_GONE = _moving(
    " FROM stage_gone g CROSS JOIN records r"
    " WHERE r.source_id = :source AND r.kind = g.kind AND r.external_id = g.key AND r.present",
    _ENDS,
    cause="g.cause",
)
_FORGET_PRINTS_OF_UNREAD = text(
    "UPDATE records SET raw_print = NULL, gist_print = NULL, norm_print = :no_print"
    " WHERE source_id = :source AND kind = 'user' AND present"
    " AND NOT EXISTS (SELECT 1 FROM stage_entries e WHERE e.kind = 'user'"
    f"  AND e.key = records.external_id AND e.state <> {State.UNREADABLE:d})"
    # unchanged rows in their expected place are not on the stage
    " AND (:compared = 0 OR EXISTS (SELECT 1 FROM stage_passed p WHERE p.stream = :stream"
    "  AND p.key = records.external_id) OR EXISTS (SELECT 1 FROM stage_entries e"
    f"  WHERE e.kind = 'user' AND e.key = records.external_id AND e.state = {State.UNREADABLE:d}))"
)
_SAME_PART = (
    "parts.source_id = :source AND parts.stream = s.stream AND parts.key = s.key"
    f" AND s.state = {State.DATA:d}"
)
_DELETE_PARTS_GONE = text(
    "DELETE FROM parts WHERE source_id = :source AND ("
    " EXISTS (SELECT 1 FROM stage_gone_parts g WHERE g.stream = parts.stream AND g.key = parts.key)"
    " OR EXISTS (SELECT 1 FROM stage_parts s WHERE s.stream = parts.stream AND s.key = parts.key"
    f" AND s.state = {State.DELETED:d}))"
)
_UPDATE_PARTS = text(
    "UPDATE parts SET raw_print = s.raw_print, gist_print = s.gist_print, data = s.data"
    f" FROM stage_parts s WHERE {_SAME_PART}"
)
_UPDATE_OWNERS_OF_PARTS = text(  # by itself, as ``_UPDATE_KNOWN_BY``
    f"UPDATE parts SET owner = s.owner FROM stage_parts s WHERE {_SAME_PART}"
    " AND parts.owner <> s.owner"
)
_INSERT_PARTS = text(
    "INSERT INTO parts (source_id, stream, key, owner, raw_print, gist_print, data)"
    " SELECT CAST(:source AS BIGINT), s.stream, s.key, s.owner, s.raw_print, s.gist_print, s.data"
    f" FROM stage_parts s WHERE s.state = {State.DATA:d} AND NOT EXISTS (SELECT 1 FROM parts p"
    " WHERE p.source_id = :source AND p.stream = s.stream AND p.key = s.key)"
)
_FORGET_PRINTS_OF_UNSETTLED = of_unsettled(
    "UPDATE parts SET raw_print = NULL, gist_print = NULL"
    f" WHERE source_id = :source AND owner IN {UNSETTLED}"
)
_FIND_MOVED_SCHOOLS = text(
    "INSERT INTO moved_schools SELECT s.key FROM stage_entries s CROSS JOIN records r"
    f" WHERE s.kind = '{Kind.SCHOOL}' AND s.state <> {State.SEEN:d} AND r.source_id = :source"
    f" AND r.kind = s.kind AND r.external_id = s.key AND {is_open('r.id')}"
    f" UNION SELECT key FROM stage_gone WHERE kind = '{Kind.SCHOOL}'"
)


def _opening_members(database: Database) -> TextClause:
    data = "r.data" if database.is_sqlite else "CAST(r.data AS jsonb)"
    members = database.json_each(data, "memberships", "m")
    school = database.json_text("m.value", "school")
    return text(
        opening(
            "r.source_id = :source AND r.kind = 'user' AND r.present AND EXISTS"
            f" (SELECT 1 FROM {members} JOIN moved_schools s ON s.key = {school})"
        )
    )


_KEEP_FINDINGS = text(
    "INSERT INTO findings (fetch_id, seq, stream, file, line, external_id, left_out,"
    ' "column", rule, message, hint)'
    " SELECT CAST(:fetch AS BIGINT),"
    " ROW_NUMBER() OVER (ORDER BY stream, file, line, key, col, rule), stream, file, line,"
    " CASE WHEN line IS NULL THEN key END, used, COALESCE(col, ''), rule, message,"
    " COALESCE(hint, '') FROM stage_findings"
)
