"""Absence: entries that a reading did not find, and whether that is proof (rule 3; F1-F6).

Works on the stage only. ``find_absent`` leaves proven absences in ``stage_gone`` and returns an
``AbsenceProof``; nothing here writes evidence.

One file, because everything that may speak against an absence is weighed together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, bindparam, select, text

from connectors.contract.connector import Connector
from core.errors import ConnectorFailed, VendorFailure
from core.models import Kind
from core.storage.schema import Part, Record, Source
from sync.reading.fetch_result import FetchResult
from sync.reading.join import join_entries
from sync.reading.order.fingerprints import ReadingTerms
from sync.reading.order.page_order import VOID, WIDTH, Chunk
from sync.reading.refused import Names, keep_the_refused, keep_the_unjoined
from sync.reading.repeated_ids import RepeatedIds
from sync.reading.stage import Stage, State
from sync.reading.stream import MOST_AT_THE_END, allowed_schools
from sync.sources.patience import Patience

ASKED_BY_ID = 200
"""How many missing people are asked for by id if no total was declared (F3)."""

AT_THE_END = 3
"""If just so many rows or more are missing at the end of a file, it is told."""

SHRUNK_ROLE = "shrunk_role"
"""The cause of an absence that is held because the role has shrunk by more than half (F6)."""

_PLACE_MASK = (1 << 24) - 1


@dataclass(slots=True)
class AbsenceProof:
    """Whether a reading proves absence, or why not; and what was left out on purpose.

    ``withheld`` counts leavers who stay because a row's key could not be read (F5).
    """

    complete: bool
    reason: str | None = None
    withheld: int = 0
    absent: int = 0
    unusable: int = 0
    """Rows that could not be used."""
    deleted: int = 0
    """People who were there, and whom the source itself calls deleted."""
    untrusted: set[str] = field(default_factory=set)
    """Kinds about whose absence this reading says nothing, although it was read to its end."""
    troubled: bool = False
    """The vendor is in trouble: nobody leaves, not even if it says so itself (S3)."""


def find_absent(
    stage: Stage,
    source: Source,
    connector: Connector,
    terms: ReadingTerms,
    reading: FetchResult,
    patient: Patience,
    *,
    scope_roles: frozenset[str],
    vendor_trusted: bool,
) -> AbsenceProof:
    """Clean up the stage and find the entries that are gone.

    ``patient`` asks the connector for the missing. ``scope_roles`` are the roles that a file speaks
    for, empty if it does not say (F6); ``vendor_trusted`` is False while the vendor itself reports
    an error (S3).
    """
    stage.ready()
    joined = connector.capabilities.joined
    with stage.transaction() as connection:
        schools = allowed_schools(connection, source, connector)
    repeated = RepeatedIds(stage, source, connector, terms, schools)
    repeated.unite(reading, parts=False)
    if joined:
        repeated.unite(reading, parts=True)
    verdict = _completeness(stage, source, connector, reading)
    verdict.troubled = not vendor_trusted
    proven = verdict.complete and not reading.certificate.incremental
    with stage.transaction() as connection:
        if joined and proven:
            _gone_parts(connection, source, connector, reading)
            keep_the_refused(stage, source, connector, reading)
    unjoined = _join(stage, source, connector, terms) if joined else set()
    with stage.transaction() as connection:
        if proven and unjoined:
            keep_the_unjoined(stage, source, reading, unjoined)
        if connector.capabilities.unique_email:
            _drop_shared_emails(connection, source, compared=bool(reading.ordered))
        if proven:
            _gone(connection, source, connector, reading)
            if not joined:
                keep_the_refused(stage, source, connector, reading)
            keyless = {connector.streams[name].value for name in reading.keyless}
            if keyless:
                if Kind.USER.value in keyless:
                    verdict.withheld = int(connection.execute(_PEOPLE_GONE).scalar_one())
                verdict.untrusted |= keyless
            if not vendor_trusted or connector.capabilities.upload_only:
                verdict.untrusted |= {kind.value for kind in Kind}
            for kind in sorted(verdict.untrusted):
                connection.execute(_KEEP_KIND, {"kind": kind})
            if connector.capabilities.scoped_by_role:
                _keep_scope(connection, source, scope_roles)
    if proven and (reason := _still_there(stage, source, connector, reading, patient)):
        verdict.complete, verdict.reason = False, reason
        if joined:
            _join_again(stage, source, connector, terms)
    with stage.transaction() as connection:
        if not verdict.complete:
            stage.gone.clear()
        verdict.absent = stage.gone.count()
        if verdict.absent and connector.capabilities.origin == "file":
            _tell_of_the_end(connection, joined, reading)
        verdict.unusable = stage.count_unusable()
        verdict.deleted = int(connection.execute(_DELETED, {"source": source.id}).scalar_one())
    return verdict


def _join(stage: Stage, source: Source, connector: Connector, terms: ReadingTerms) -> set[Names]:
    with stage.transaction() as connection:
        schools = allowed_schools(connection, source, connector)
    unjoined = join_entries(stage, source, connector, terms, schools)
    stage.ready()
    return unjoined


def _join_again(stage: Stage, source: Source, connector: Connector, terms: ReadingTerms) -> None:
    """Join again with rows that were taken for gone: pages were left out, so they may exist."""
    with stage.transaction() as connection:
        stage.gone_parts.clear()
        connection.execute(_DROP_JOINED)
        connection.execute(_DROP_FINDINGS_OF_JOINED)
    _join(stage, source, connector, terms)


def _tell_of_the_end(connection: Connection, joined: bool, reading: FetchResult) -> None:
    """Say it where just the last rows of a file are missing: it may have been cut at a line's end.

    Nothing in such a file shows it. The limits hold many leavers; of few a person can only be told.
    """
    query = _SOME_GONE_PARTS if joined else _SOME_GONE
    gone = set(connection.execute(query, {"n": MOST_AT_THE_END + 1}).scalars())
    if len(gone) >= AT_THE_END and gone == reading.tail:
        note = (
            f"Just the last {len(gone):,} rows of the last file are missing: if the file was cut"
            " at the end of a line, send it again before anybody leaves for it."
        )
        certificate = reading.certificate
        reading.certificate = replace(certificate, notes=(*certificate.notes, note))


# -- is it complete


def _completeness(
    stage: Stage, source: Source, connector: Connector, reading: FetchResult
) -> AbsenceProof:
    certificate = reading.certificate
    if not certificate.complete:
        return AbsenceProof(False, certificate.reason or "The reading ended early.")
    for stream, declared in certificate.declared.items():
        counted = reading.counted.get(stream, 0)
        if declared not in (counted, counted - reading.repeated.get(stream, 0)):
            return AbsenceProof(
                False, f"{stream}: {declared} rows were declared, {counted} were served."
            )
    if certificate.incremental:
        if connector.capabilities.origin == "sync" and (short := short_of(reading)):
            return AbsenceProof(False, _short_sentence(short, reading))
        with stage.transaction() as connection:
            if not _serves_people(reading, connector) and not _served_people(connection, source):
                return AbsenceProof(False, "This source has never served a person yet.")
        return AbsenceProof(True)
    with stage.transaction() as connection:
        people = usable = 0
        for stream, kind in connector.streams.items():
            counted = reading.counted.get(stream, 0)
            if kind is Kind.USER:
                people += counted
                usable += counted - reading.unusable.get(stream, 0)
            silent = stream in certificate.absent_streams
            if counted == 0 and not silent and _had_rows(connection, source, connector, stream):
                return AbsenceProof(
                    False,
                    f"{stream}: no row was served, although this source had some before."
                    " An empty roster is never taken as proof that everybody left.",
                )
            unusable = reading.unusable.get(stream, 0)
            each_a_person = stream in connector.people if connector.people else kind is Kind.USER
            if 0 < counted == unusable and not each_a_person:
                return AbsenceProof(
                    False,
                    f"Not one of the {counted} rows of {stream} could be used, so what people are"
                    " and where is not known.",
                )
        if people == 0:
            return AbsenceProof(False, "No person was served.")
        if usable == 0:  # the same applies if not a single row can be used
            return AbsenceProof(False, f"Not one of the {people} rows about people could be used.")
    return AbsenceProof(True)


def _had_rows(connection: Connection, source: Source, connector: Connector, stream: str) -> bool:
    """Return whether evidence has anything from this stream."""
    kind = connector.streams[stream]
    about = {"source": source.id, "stream": stream, "kind": kind.value}
    parts = connector.capabilities.joined and kind is Kind.USER
    return connection.execute(_ANY_PART if parts else _ANY_RECORD, about).first() is not None


_ANY_PART = (
    select(Part.key)
    .where(Part.source_id == bindparam("source"), Part.stream == bindparam("stream"))
    .limit(1)
)
_ANYBODY = (
    select(Record.id)
    .where(Record.source_id == bindparam("source"), Record.kind == Kind.USER.value)
    .limit(1)
)
_ANY_RECORD = (
    select(Record.id)
    .where(
        Record.source_id == bindparam("source"),
        Record.kind == bindparam("kind"),
        Record.present,
    )
    .limit(1)
)


def _serves_people(reading: FetchResult, connector: Connector) -> bool:
    """Say whether this reading brought a usable row about people, changed or not (F19)."""
    return any(
        reading.counted.get(stream, 0) > reading.unusable.get(stream, 0)
        for stream, kind in connector.streams.items()
        if kind is Kind.USER
    )


def _served_people(connection: Connection, source: Source) -> bool:
    """Say whether a reading before this one brought anybody (F19)."""
    return connection.execute(_ANYBODY, {"source": source.id}).first() is not None


def short_of(reading: FetchResult) -> dict[str, int]:
    """Return stream → how many entries a reading of a server may lack, because ids came twice.

    A repeated row stands in the place of another one, unless the declared total says that there
    are no more than were served (F11).
    """
    short: dict[str, int] = {}
    for stream, repeated in reading.repeated.items():
        distinct = reading.counted.get(stream, 0) - repeated
        lacks = reading.certificate.declared.get(stream, distinct + repeated) - distinct
        if repeated and lacks > 0:
            short[stream] = lacks
    return short


def _short_sentence(short: Mapping[str, int], reading: FetchResult) -> str:
    stream, lacks = min(short.items())
    return (
        f"{stream}: {reading.counted[stream]} rows were served, and {reading.repeated[stream]} of"
        f" them have the id of an earlier row: {lacks} may be missing."
    )


def _still_there(
    stage: Stage, source: Source, connector: Connector, reading: FetchResult, patient: Patience
) -> str | None:
    """Ask for the missing by id (F3, F11); return why the reading is not complete after all.

    Where ids came twice everybody who is missing is asked for, and somebody who is there along with
    them: a server that does not know even them says nothing by not knowing the others.
    """
    short = short_of(reading) if connector.capabilities.origin == "sync" else {}
    if short and not _can_be_asked_for(short, connector):
        return _short_sentence(short, reading)
    if not connector.capabilities.reads_by_id:
        return None
    user_streams = [name for name, kind in connector.streams.items() if kind is Kind.USER]
    if not short and all(name in reading.certificate.declared for name in user_streams):
        return None
    with stage.transaction() as connection:
        keys = list(connection.execute(_SOME_PEOPLE_GONE, {"n": ASKED_BY_ID + 1}).scalars())
        there = connection.execute(_SOMEBODY_THERE, {"source": source.id}).scalar()
    if short and (there is None or not 0 < len(keys) <= ASKED_BY_ID):
        return _short_sentence(short, reading)
    keys = keys[:ASKED_BY_ID]
    if not keys:
        return None
    asked = [*keys, str(there)] if short else keys
    try:
        answers = dict(patient.ask(lambda: connector.exists(asked)))
    except ConnectorFailed:
        raise
    except VendorFailure as error:
        return f"The missing people could not be asked for by id. {error.message}"
    if short and not answers.get(str(there), False):
        return _short_sentence(short, reading)
    found = sum(bool(answers.get(key, True)) for key in keys)
    if not found:
        return None
    return (
        f"{found} of {len(keys)} people who were missing answered when asked for by id:"
        " pages must have been left out."
    )


def _can_be_asked_for(short: Mapping[str, int], connector: Connector) -> bool:
    """Say whether all that may be missing can be asked for by id: people can, schools cannot."""
    return connector.capabilities.reads_by_id and all(
        connector.streams[stream] is Kind.USER for stream in short
    )


# -- rows whose address stands twice


def _void(connection: Connection, places: list[tuple[str, int]]) -> None:
    """Make the page order forget some rows, so that they are looked at again next time."""
    by_chunk: dict[tuple[str, int], list[int]] = defaultdict(list)
    for stream, place in places:
        by_chunk[stream, place >> 24].append(place & _PLACE_MASK)
    for (stream, position), numbers in by_chunk.items():
        about = {"stream": stream, "position": position}
        row = connection.execute(_STAGED_CHUNK, about).one_or_none()
        if row is None:
            continue
        chunk = Chunk(position, None, row[0], row[1], row[2])
        prints = chunk.print_list()
        for number in numbers:
            prints[number] = VOID
        connection.execute(_VOID_ROWS, about | {"prints": b"".join(prints)})


assert len(VOID) == WIDTH  # noqa: S101


def _drop_shared_emails(connection: Connection, source: Source, *, compared: bool) -> None:
    """Keep the first row of each address of a file, and list the others (file-rules.md 3.10)."""
    connection.execute(_INDEX_EMAILS)
    shared = connection.execute(
        _SHARED_EMAILS, {"source": source.id, "compared": int(compared)}
    ).all()
    if shared:
        connection.execute(_INDEX_SEQS)
        connection.execute(_MAKE_UNUSABLE, [{"seq": row.seq} for row in shared])
    for _, _, stream, key, file, line in shared:
        connection.execute(
            _LIST_FINDING,
            {
                "stream": stream,
                "file": file,
                "line": line,
                "key": key,
                "col": "email",
                "rule": "repeated-email",
                "message": "The email address stands in another row already;"
                " the first row is used.",
                "hint": "Give each person an address of their own.",
            },
        )
    _void(connection, [(row[2], row[1]) for row in shared if row[1] is not None])


# -- who is gone


def _gone_parts(
    connection: Connection, source: Source, connector: Connector, reading: FetchResult
) -> None:
    for stream, kind in connector.streams.items():
        silent = stream in reading.certificate.absent_streams or stream in reading.keyless
        if kind is not Kind.USER or silent:
            continue
        compared = reading.compared.get(stream, False)
        about = {"source": source.id, "stream": stream}
        connection.execute(_PARTS_GONE_PASSED if compared else _PARTS_GONE_SET, about)


def _gone(
    connection: Connection, source: Source, connector: Connector, reading: FetchResult
) -> None:
    for stream, kind in connector.streams.items():
        if stream in reading.certificate.absent_streams:
            continue
        if connector.capabilities.joined and kind is Kind.USER:
            continue  # joining has found them
        about = {"source": source.id, "stream": stream, "kind": kind.value}
        compared = reading.compared.get(stream, False)
        connection.execute(_GONE_PASSED if compared else _GONE_SET, about)
    connection.execute(_KEEP_THE_ABSENT, {"source": source.id})


def _keep_scope(connection: Connection, source: Source, scope_roles: frozenset[str]) -> None:
    """Count only people of the file's roles as missing; mark roles that shrank (F6)."""
    held: dict[str, int] = defaultdict(int)
    there: dict[str, int] = defaultdict(int)
    for roles, count, missing in connection.execute(_HELD_BY_ROLE, {"source": source.id}):
        for role in roles.strip(",").split(","):
            held[role] += count
            there[role] += count - missing
    for roles, count in connection.execute(_SAID_ANEW, {"source": source.id}):
        for role in roles.strip(",").split(","):
            there[role] += count
    for role in held:
        about = {"role": f"%,{role},%", "source": source.id, "cause": SHRUNK_ROLE}
        spoken_for = role in scope_roles if scope_roles else there[role] > 0
        if not spoken_for:
            continue
        shrunk = not scope_roles and there[role] * 2 < held[role]
        connection.execute(_HOLD_SHRUNK_ROLE if shrunk else _SPEAK_FOR_ROLE, about)
    connection.execute(_KEEP_UNSPOKEN)
    connection.execute(_FORGET_SPOKEN)


# --- Set-wise statements ---
# They compare the stage, whose tables are temporary, with evidence: what was served is looked up on
# the stage by the indexes that ``Stage.ready`` makes, an entry of evidence by ``uq_records_key``.

_KEEP_KIND = text("DELETE FROM stage_gone WHERE kind = :kind")
_DROP_JOINED = text("DELETE FROM stage_entries WHERE place IS NULL")
_DROP_FINDINGS_OF_JOINED = text("DELETE FROM stage_findings WHERE joined")
_SOME_GONE = text("SELECT key FROM stage_gone LIMIT :n")
_SOME_GONE_PARTS = text("SELECT key FROM stage_gone_parts LIMIT :n")
_PEOPLE_GONE = text("SELECT COUNT(*) FROM stage_gone WHERE kind = 'user'")
_DELETED = text(  # the few that were called deleted lead, not the many that are there
    "SELECT COUNT(*) FROM stage_entries s CROSS JOIN records r WHERE s.kind = 'user'"
    f" AND s.state = {State.DELETED:d} AND r.source_id = :source AND r.kind = s.kind"
    " AND r.external_id = s.key AND r.present"
)
_SOMEBODY_THERE = text(
    "SELECT r.external_id FROM records r WHERE r.source_id = :source AND r.kind = 'user'"
    " AND r.present AND NOT EXISTS (SELECT 1 FROM stage_gone g WHERE g.kind = r.kind"
    " AND g.key = r.external_id) LIMIT 1"
)
_SOME_PEOPLE_GONE = text("SELECT key FROM stage_gone WHERE kind = 'user' ORDER BY key LIMIT :n")
_STAGED_CHUNK = text(
    "SELECT count, prints, keys FROM stage_chunks WHERE stream = :stream AND position = :position"
)
_VOID_ROWS = text(
    "UPDATE stage_chunks SET digest = NULL, prints = :prints"
    " WHERE stream = :stream AND position = :position"
)
_INDEX_EMAILS = text("CREATE INDEX IF NOT EXISTS ix_stage_email ON stage_entries (email)")
_INDEX_SEQS = text("CREATE INDEX IF NOT EXISTS ix_stage_seq ON stage_entries (seq)")
_SHARED_EMAILS = text(
    "SELECT s.seq, s.place, s.stream, s.key, s.file, s.line FROM stage_entries s"
    f" WHERE s.state = {State.DATA:d} AND s.email IS NOT NULL AND ("
    # an earlier row of this reading
    "  EXISTS (SELECT 1 FROM stage_entries o WHERE o.email = s.email AND o.seq < s.seq"
    "   AND o.key <> s.key)"
    # a row that says what it said before (+ 0 avoids an index that would read everybody)
    "  OR EXISTS (SELECT 1 FROM records r WHERE r.source_id + 0 = :source AND r.kind = 'user'"
    "   AND r.email = s.email AND r.present AND r.external_id <> s.key"
    "   AND r.external_id <> COALESCE(s.former, '')"
    "   AND (EXISTS (SELECT 1 FROM stage_entries e WHERE e.kind = 'user'"
    f"    AND e.key = r.external_id AND e.state = {State.SEEN:d})"
    "    OR (:compared = 1"
    "     AND NOT EXISTS (SELECT 1 FROM stage_passed p WHERE p.key = r.external_id)"
    "     AND NOT EXISTS (SELECT 1 FROM stage_entries e WHERE e.kind = 'user'"
    "      AND e.key = r.external_id)))))"
    " ORDER BY s.seq"
)
_MAKE_UNUSABLE = text(
    f"UPDATE stage_entries SET state = {State.UNREADABLE:d}, data = NULL, email = NULL"
    " WHERE seq = :seq"
)
_LIST_FINDING = text(
    "INSERT INTO stage_findings (stream, file, line, key, col, rule, message, hint)"
    " VALUES (:stream, :file, :line, :key, :col, :rule, :message, :hint)"
)
_PART_NOT_SERVED = (
    " AND NOT EXISTS (SELECT 1 FROM stage_parts s WHERE s.stream = g.stream AND s.key = g.key)"
)
_PARTS_GONE_PASSED = text(
    "INSERT INTO stage_gone_parts SELECT DISTINCT g.stream, g.key FROM stage_passed g"
    f" WHERE g.stream = :stream{_PART_NOT_SERVED}"
)
_PARTS_GONE_SET = text(
    "INSERT INTO stage_gone_parts SELECT g.stream, g.key FROM parts g"
    f" WHERE g.source_id = :source AND g.stream = :stream{_PART_NOT_SERVED}"
)
_NOT_SERVED = (
    " AND NOT EXISTS (SELECT 1 FROM stage_entries s WHERE s.kind = r.kind"
    "  AND s.key = r.external_id)"
    " AND NOT EXISTS (SELECT 1 FROM stage_entries s WHERE s.kind = r.kind"
    "  AND s.former = r.external_id)"
)
_GONE_PASSED = text(  # CROSS JOIN makes SQLite begin with the few that were skipped
    "INSERT INTO stage_gone SELECT DISTINCT r.kind, r.external_id, CAST(NULL AS TEXT)"
    " FROM stage_passed p CROSS JOIN records r WHERE p.stream = :stream"
    " AND r.source_id = :source AND r.kind = :kind AND r.external_id = p.key"
    f" AND r.present{_NOT_SERVED}"
)
_GONE_SET = text(
    "INSERT INTO stage_gone SELECT r.kind, r.external_id, CAST(NULL AS TEXT) FROM records r"
    f" WHERE r.source_id = :source AND r.kind = :kind AND r.present{_NOT_SERVED}"
)
_KEEP_THE_ABSENT = text(  # who was not there before cannot go
    "DELETE FROM stage_gone WHERE NOT EXISTS (SELECT 1 FROM records r"
    " WHERE r.source_id = :source AND r.kind = stage_gone.kind"
    " AND r.external_id = stage_gone.key AND r.present)"
)
_HELD_BY_ROLE = text(
    "SELECT r.roles, COUNT(*), COUNT(g.key) FROM records r LEFT JOIN stage_gone g"
    " ON g.kind = r.kind AND g.key = r.external_id"
    " WHERE r.source_id = :source AND r.kind = 'user' AND r.present GROUP BY r.roles"
)
_SAID_ANEW = text(  # new and changed people are present in their current roles
    f"SELECT roles, COUNT(*) FROM stage_entries WHERE kind = 'user' AND state = {State.DATA:d}"
    " GROUP BY roles UNION ALL SELECT roles, -COUNT(*) FROM ("
    + " UNION ".join(
        "SELECT r.id, r.roles FROM stage_entries s CROSS JOIN records r"
        f" WHERE s.kind = 'user' AND s.state = {State.DATA:d} AND r.source_id = :source"
        f" AND r.kind = s.kind AND r.external_id = s.{key} AND r.present"
        for key in ("key", "former")
    )
    + ") AS said_before GROUP BY roles"
)
_OF_ROLE = (
    " AND EXISTS (SELECT 1 FROM records r WHERE r.source_id = :source AND r.kind = 'user'"
    " AND r.external_id = stage_gone.key AND r.roles LIKE :role)"
)
_SPEAK_FOR_ROLE = text(
    f"UPDATE stage_gone SET cause = 'spoken' WHERE kind = 'user' AND cause IS NULL{_OF_ROLE}"
)
_HOLD_SHRUNK_ROLE = text(f"UPDATE stage_gone SET cause = :cause WHERE kind = 'user'{_OF_ROLE}")
_KEEP_UNSPOKEN = text("DELETE FROM stage_gone WHERE kind = 'user' AND cause IS NULL")
_FORGET_SPOKEN = text("UPDATE stage_gone SET cause = NULL WHERE cause = 'spoken'")
