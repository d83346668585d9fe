"""The stored page order of a full reading, and the keys for which it is out of date.

Used by ``sync/reading/evidence.py`` inside its transaction, after records and parts are merged.
Writes ``snapshot_chunks`` and ``touched``; ``sync/reading/order/page_order.py`` compares with them
in the next reading.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select, text

from connectors.contract.connector import Connector
from core.models import Kind
from core.storage.schema import SnapshotChunk, Touched
from sync.reading.absence import AbsenceProof
from sync.reading.fetch_result import FetchResult
from sync.reading.stage import UNSETTLED, Stage, State, of_unsettled

MANY_TOUCHED = 50_000
"""If more keys than this are out of date, the page order is dropped instead."""


def keep_snapshot(
    stage: Stage,
    about: dict[str, Any],
    connector: Connector,
    reading: FetchResult,
    verdict: AbsenceProof,
    *,
    full: bool,
) -> None:
    """Keep the order of a full reading; note of whom the order that is kept says too much.

    It is part of ``stage.merge``. ``about`` binds ``source`` and ``unsettled`` (see ``UNSETTLED``).
    """
    connection = stage.connection
    if full:
        _replace_snapshot(connection, about, connector, reading, verdict)
    else:
        # the snapshot stays, but must not vouch for what this reading has moved
        for table in (stage.entries, stage.parts):
            connection.execute(_TOUCH_STAGED[table.name], about)
    if connector.capabilities.joined:
        connection.execute(_TOUCH_UNSETTLED, about)
    touched = connection.execute(_COUNT_TOUCHED, about).scalar_one()
    if touched > MANY_TOUCHED:
        connection.execute(_DROP_SNAPSHOT, about)
        connection.execute(_CLEAR_TOUCHED, about)


_COUNT_TOUCHED = (
    select(func.count()).select_from(Touched.table).where(Touched.source_id == bindparam("source"))
)
_CLEAR_TOUCHED = delete(Touched.table).where(Touched.source_id == bindparam("source"))
_DROP_SNAPSHOT = delete(SnapshotChunk.table).where(SnapshotChunk.source_id == bindparam("source"))


def _replace_snapshot(
    connection: Connection,
    about: dict[str, Any],
    connector: Connector,
    reading: FetchResult,
    verdict: AbsenceProof,
) -> None:
    # of a stream that was silent the snapshot stays, and with it what it must not vouch for
    silent = list(reading.certificate.absent_streams)
    connection.execute(_CLEAR_SERVED, about | {"silent": silent})
    for stream in (*reading.counted, *_unread(connection, about, reading)):
        wanted = about | {"stream": stream}
        connection.execute(_DROP_REPLACED, wanted | {"pages": reading.pages.get(stream, 0)})
        connection.execute(_KEEP_CHUNKS, wanted)
    # all rows of one id are read again next time, so that one that goes is missed
    connection.execute(_TOUCH_UNITED, about)
    # rows that were not found, but are not believed to be gone, are expected again next time
    connection.execute(_TOUCH_UNSEEN, about)
    if State.DELETED in about["unsettled"]:
        connection.execute(_TOUCH_DOUBTED, about)
    kept = verdict.untrusted or reading.keyless or reading.kept
    if not (kept or connector.capabilities.scoped_by_role):
        return
    for stream, kind in connector.streams.items():
        if not reading.compared.get(stream, False):
            parts = connector.capabilities.joined and kind is Kind.USER
            wanted = about | {"stream": stream, "kind": kind.value}
            connection.execute(_TOUCH_PARTS if parts else _TOUCH_RECORDS, wanted)


def _unread(connection: Connection, about: dict[str, Any], reading: FetchResult) -> list[str]:
    """Return the streams that the snapshot has and this reading was silent about or found empty."""
    stored = connection.execute(_STORED_STREAMS, about).scalars()
    silent = reading.certificate.absent_streams
    return [name for name in stored if name not in reading.counted and name not in silent]


_STORED_STREAMS = (
    select(SnapshotChunk.stream).where(SnapshotChunk.source_id == bindparam("source")).distinct()
)
_CLEAR_SERVED = _CLEAR_TOUCHED.where(Touched.stream.not_in(bindparam("silent", expanding=True)))


# --- Set-wise statements ---
# They compare the stage with evidence and with the stored order in sets, within the transaction of
# ``evidence``: what the stage says is looked up by the indexes that ``Stage.ready`` makes, and the
# rows of evidence by ``uq_records_key`` and the primary key of ``parts``.

_ONCE = " ON CONFLICT DO NOTHING"
"""SQL: a key may be touched already, by another statement or in an earlier reading."""
_TOUCH_OF_STAGE = (
    "INSERT INTO touched (source_id, stream, key)"
    " SELECT DISTINCT CAST(:source AS BIGINT), s.stream, s.key FROM {table} s"
    f" WHERE s.state <> {State.SEEN:d} AND s.place IS NOT NULL"
)
_TOUCH_STAGED = {
    table: text(_TOUCH_OF_STAGE.format(table=table) + _ONCE)
    for table in ("stage_entries", "stage_parts")
}
_TOUCH_DOUBTED = text(  # their deletion was not believed: the same row may be believed next time
    _TOUCH_OF_STAGE.format(table="stage_entries") + f" AND s.state = {State.DELETED:d}{_ONCE}"
)
_TOUCH_UNITED = text(
    "INSERT INTO touched (source_id, stream, key)"
    " SELECT DISTINCT CAST(:source AS BIGINT), u.stream, u.key FROM stage_united u"
    f" WHERE TRUE{_ONCE}"
)
_TOUCH_UNSETTLED = of_unsettled(
    "INSERT INTO touched (source_id, stream, key)"
    " SELECT p.source_id, p.stream, p.key FROM parts p"
    f" WHERE p.source_id = :source AND p.owner IN {UNSETTLED}{_ONCE}"
)
_DROP_REPLACED = text(
    "DELETE FROM snapshot_chunks WHERE source_id = :source AND stream = :stream"
    " AND (position >= :pages OR position IN"
    " (SELECT position FROM stage_chunks WHERE stream = :stream))"
)
_KEEP_CHUNKS = text(
    "INSERT INTO snapshot_chunks (source_id, stream, position, digest, count, prints, keys, spans)"
    " SELECT CAST(:source AS BIGINT), stream, position, digest, count, prints, keys, spans"
    " FROM stage_chunks WHERE stream = :stream"
)
_TOUCH_UNSEEN = text(
    # first the rows that were not met; they are few, and only they are looked up in evidence
    "WITH p AS MATERIALIZED (SELECT DISTINCT p.stream, p.key FROM stage_passed p"
    # an entry without a place was joined: it does not say that this row was served
    " WHERE NOT EXISTS (SELECT 1 FROM stage_entries s WHERE s.kind IN ('user', 'school')"
    "  AND s.key = p.key AND s.stream = p.stream AND s.place IS NOT NULL)"
    " AND NOT EXISTS (SELECT 1 FROM stage_parts s WHERE s.stream = p.stream AND s.key = p.key))"
    " INSERT INTO touched (source_id, stream, key)"
    " SELECT CAST(:source AS BIGINT), p.stream, p.key FROM p"
    " WHERE EXISTS (SELECT 1 FROM records r WHERE r.source_id = :source"
    "  AND r.kind IN ('user', 'school') AND r.external_id = p.key AND r.present)"
    " OR EXISTS (SELECT 1 FROM parts r WHERE r.source_id = :source"
    f"  AND r.stream = p.stream AND r.key = p.key){_ONCE}"
)
_TOUCH_RECORDS = text(
    "INSERT INTO touched (source_id, stream, key)"
    " SELECT r.source_id, CAST(:stream AS TEXT), r.external_id FROM records r"
    " WHERE r.source_id = :source AND r.kind = :kind AND r.present"
    " AND NOT EXISTS (SELECT 1 FROM stage_entries s WHERE s.kind = r.kind"
    f"  AND s.key = r.external_id){_ONCE}"
)
_TOUCH_PARTS = text(
    "INSERT INTO touched (source_id, stream, key)"
    " SELECT p.source_id, p.stream, p.key FROM parts p"
    " WHERE p.source_id = :source AND p.stream = :stream"
    " AND NOT EXISTS (SELECT 1 FROM stage_parts s WHERE s.stream = p.stream"
    f"  AND s.key = p.key){_ONCE}"
)
