"""Uploads: the list of files that people gave or sent, and where each stands (file-rules.md 4).

``sync/acts/upload.py`` takes them in and reads them, the engine asks which were given for a plan
only, and the command line lists them. The original is kept encrypted, and only while it waits and
for ``KEPT_DAYS`` afterwards (rule 10).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import (
    Connection,
    String,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from connectors.contract.connector import Received
from core.errors import Busy, ConfigError, RosterSyncError
from core.models import checked_actor
from core.storage.database import Database
from core.storage.schema import Source, Upload
from sync.run.display import PLAN, RUN, UPLOAD, shown_id, shown_time
from sync.sources.soundness import storable

KEPT_DAYS = 7
MOST_KEPT = 64 << 20
"""A larger original is not kept, and so cannot wait."""

PENDING, QUEUED, PROCESSING, PROCESSED, FAILED = (
    "PENDING", "QUEUED", "PROCESSING", "PROCESSED", "FAILED",
)  # fmt: skip
MEANINGS = {
    PENDING: "waiting: the district is paused",
    QUEUED: "in line: another run of the district is under way",
    PROCESSING: "being read now",
    PROCESSED: "received and readable; the counts say what became of its rows",
    FAILED: "could not be read: nothing was changed",
}


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What is known of a file when it arrives. ``modified_at`` is the file's own time, aware."""

    title: str
    actor: str
    modified_at: datetime
    content_hash: str
    size: int
    dry: bool
    source_id: int | None = None
    type: str | None = None


def open_upload(
    database: Database, district_id: int, new: NewUpload, original: bytes | None, now: datetime
) -> int:
    """Record a new file as QUEUED, and return its id. Old originals are erased."""
    with database.write() as connection:
        connection.execute(_ERASE, {"now": now})
        values = {
            "district_id": district_id, "source_id": new.source_id, "type": new.type,
            "title": storable(new.title, 255), "actor": checked_actor(new.actor),
            "created_at": now,
            "modified_at": new.modified_at, "content_hash": new.content_hash, "size": new.size,
            "dry": new.dry, "status": QUEUED,
            "original": None if original is None else lock(database, original),
            "kept_until": None if original is None else now + timedelta(days=KEPT_DAYS),
        }  # fmt: skip
        return connection.execute(_OPEN, values).scalar_one()


_OPEN = insert(Upload.table).returning(Upload.id)
_ERASE = (
    update(Upload.table)
    .where(Upload.kept_until < bindparam("now"), Upload.status.in_((PROCESSED, FAILED)))
    .values(original=None, kept_until=None)
)


def list_received(
    database: Database,
    source: Source,
    received: Received,
    *,
    counts: Mapping[str, int],
    error: RosterSyncError | None,
    actor: str,
    run_id: int,
    now: datetime,
) -> None:
    """List the files that were sent to a drop folder or server, beside the uploads (4.9).

    A file that is still there, or was sent again unchanged, is on the list already.
    """
    read = error is None or 0 < counts["rows"] <= counts["errors"]  # 4.4: every row is bad
    values = {
        "district_id": source.district_id, "source_id": source.id, "type": source.connector,
        "title": storable(received.title, 255), "actor": actor, "created_at": now,
        "modified_at": received.modified, "content_hash": received.digest, "size": received.size,
        "status": PROCESSED if read else FAILED, "counts": dict(counts), "run_id": run_id,
        "note": "" if error is None else error.message,
    }  # fmt: skip
    with database.write() as connection:
        last = connection.execute(_LAST, {"source": source.id}).one_or_none()
        if last is None or tuple(last) != (values["content_hash"], values["status"]):
            connection.execute(_RECEIVED, values)


_LAST = (
    select(Upload.content_hash, Upload.status)
    .where(Upload.source_id == bindparam("source"))
    .order_by(Upload.id.desc())
    .limit(1)
)
_RECEIVED = insert(Upload.table)


CUT_SHORT = "It was cut short, and is read again."


def recover(database: Database, slug: str, district_id: int) -> None:
    """Have the uploads read again that were being read when the program ended.

    One of which the original was not kept can only be given again.
    """
    with suppress(Busy), database.run_lock(slug, district_id), database.write() as connection:
        connection.execute(_READ_AGAIN, {"district": district_id})
        connection.execute(_LOST, {"district": district_id})


_UNDER_WAY = update(Upload.table).where(
    Upload.district_id == bindparam("district"), Upload.status == PROCESSING
)
_READ_AGAIN = _UNDER_WAY.where(Upload.original.is_not(None)).values(status=QUEUED, note=CUT_SHORT)
_LOST = _UNDER_WAY.where(Upload.original.is_(None)).values(
    status=FAILED, note="It was cut short: upload the file again."
)


def overtaken_by(database: Database, row: Upload) -> int | None:
    """Return the newest later upload that speaks for the same people, if there is one.

    It waits, too, or was read. One that was only to be looked at overtakes nothing but its like; of
    one that was cut short before its people were known any later one of its source counts.
    """
    about = {
        "id": row.id, "source": row.source_id, "scope": row.scope, "dry": row.dry,
    }  # fmt: skip
    with database.read() as connection:
        return connection.execute(_OVERTAKEN_BY, about).scalar()


def give_way(database: Database, row: Upload, later: int) -> None:
    """Note that an upload is not read because of a later one."""
    number = shown_id(UPLOAD, later)
    if row.note == CUT_SHORT:
        note = f"It was cut short, and {number} came later and speaks for the same people."
        mark(database, row.id, status=FAILED, note=note)
    else:
        note = f"Not read: {number} came later and speaks for the same people."
        mark(database, row.id, status=PROCESSED, note=note)


def overtake(database: Database, upload_id: int) -> None:
    """Let the uploads that wait give way to one that was read, if it speaks for their people."""
    with database.read() as connection:
        district = connection.execute(_DISTRICT_OF, {"id": upload_id}).scalar_one()
        rows = [row for row in waiting(connection, district) if row.id < upload_id]
    for row in rows:
        if overtaken_by(database, row) == upload_id:
            give_way(database, row, upload_id)


_DISTRICT_OF = select(Upload.district_id).where(Upload.id == bindparam("id"))
_SCOPE = bindparam("scope", type_=String)
_OVERTAKEN_BY = select(func.max(Upload.id)).where(
    Upload.id > bindparam("id"),
    Upload.source_id == bindparam("source"),
    Upload.dry == bindparam("dry"),
    or_(Upload.scope == _SCOPE, _SCOPE == ""),
    or_(
        and_(Upload.status.in_((PENDING, QUEUED)), Upload.original.is_not(None)),
        and_(Upload.status == PROCESSED, Upload.run_id.is_not(None)),
    ),
)


def mark(database: Database, upload_id: int, **values: Any) -> None:
    """Set columns of an upload."""
    with database.write() as connection:
        connection.execute(_MARK, {"upload": upload_id, **values})


_MARK = update(Upload.table).where(Upload.id == bindparam("upload"))


def only_looked_at(database: Database, district_id: int) -> set[int]:
    """Return the sources whose latest data come from a file that was uploaded for a plan only.

    It changes nobody until its plan is applied or the source says something else.
    """
    with database.read() as connection:
        return set(connection.execute(_READ_FOR_A_PLAN_ONLY, {"district": district_id}).scalars())


def waiting(connection: Connection, district_id: int) -> list[Upload]:
    """Return the uploads that are still to be read, the oldest first."""
    return Upload.all_of(connection.execute(_WAITING, {"district": district_id}))


_WAITING = (
    select(Upload.table)
    .where(
        Upload.district_id == bindparam("district"),
        Upload.status.in_((PENDING, QUEUED)),
        Upload.original.is_not(None),
    )
    .order_by(Upload.id)
)


def uploads(connection: Connection, district: Any) -> Iterator[dict[str, Any]]:
    """Yield the uploads of a district, the newest first, as ``files --json`` shows them."""
    about = {"district": district.id}
    names = {row.id: row.name for row in connection.execute(_SOURCES, about)}
    for row in Upload.all_of(connection.execute(_UPLOADS, about)):
        yield upload_json(row, names)


_SOURCES = select(Source.id, Source.name).where(Source.district_id == bindparam("district"))
_UPLOADS = (
    select(Upload.table)
    .where(Upload.district_id == bindparam("district"))
    .order_by(Upload.id.desc())
)


def upload_by_id(connection: Connection, upload_id: int) -> dict[str, Any]:
    """Return one upload as JSON."""
    (row,) = Upload.all_of(connection.execute(_UPLOAD, {"upload": upload_id}))
    if row.source_id is None:
        return upload_json(row, {})
    name = connection.execute(_NAME, {"source": row.source_id}).scalar_one()
    return upload_json(row, {row.source_id: name})


_UPLOAD = select(Upload.table).where(Upload.id == bindparam("upload"))
_NAME = select(Source.name).where(Source.id == bindparam("source"))


def upload_json(row: Upload, sources: dict[int, str]) -> dict[str, Any]:
    """Return one upload as JSON."""
    return {
        "id": shown_id(UPLOAD, row.id),
        "title": row.title,
        "type": row.type,
        "source": sources.get(row.source_id or 0),
        "status": row.status,
        "created_at": shown_time(row.created_at),
        "modified_at": shown_time(row.modified_at),
        "actor": row.actor,
        "content_hash": row.content_hash,
        "size": row.size,
        "dry_run": row.dry,
        "counts": row.counts,
        "note": row.note,
        "run_id": None if row.run_id is None else shown_id(RUN, row.run_id),
        "plan_id": None if row.plan_id is None else shown_id(PLAN, row.plan_id),
        "original_kept": row.original is not None,
    }


# -- the originals


def lock(database: Database, content: bytes) -> bytes:
    """Encrypt an original with the installation's key (Fernet: AES-128-CBC and HMAC-SHA256)."""
    return _fernet(database).encrypt(content)  # type: ignore[no-any-return, unused-ignore]


def unlock(database: Database, token: bytes) -> bytes:
    """Decrypt an original. Raises ``ConfigError`` if the key is another one now."""
    from cryptography.fernet import InvalidToken

    try:
        return _fernet(database).decrypt(bytes(token))  # type: ignore[no-any-return, unused-ignore]
    except (InvalidToken, TypeError):  # SQLite keeps a text in a column of bytes, too
        raise ConfigError(
            "A waiting upload cannot be decrypted: the key of the installation has changed.",
            hint="Set ROSTERSYNC_KEY to the former key, or upload the file again.",
        ) from None


def _fernet(database: Database) -> Any:
    from cryptography.fernet import Fernet

    key = blake2b(b"rostersync uploads", key=database.key, digest_size=32).digest()
    return Fernet(base64.urlsafe_b64encode(key))


# --- Set-wise statements ---
# Whether a file was only looked at follows from four tables: its latest complete reading, and the
# plans of that run. They are few rows of one source each, found by their indexes.

_READ_FOR_A_PLAN_ONLY = text(
    "SELECT u.source_id FROM uploads u JOIN fetches f ON f.run_id = u.run_id"
    " AND f.source_id = u.source_id WHERE u.district_id = :district AND u.dry AND f.complete"
    " AND NOT EXISTS (SELECT 1 FROM fetches n WHERE n.source_id = f.source_id AND n.id > f.id"
    "  AND n.complete)"
    " AND EXISTS (SELECT 1 FROM plans p WHERE p.run_id = u.run_id)"
    " AND NOT EXISTS (SELECT 1 FROM plans p WHERE p.run_id = u.run_id AND p.status = 'applied')"
)
