"""Health: failures of a source and what follows from them, kept in ``sources.health``.

The engine calls ``set_aside`` before it reads a source in a scheduled run and ``note`` after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, bindparam, update

from connectors.installed import load
from core.errors import RosterSyncError, VendorFailure
from core.storage.database import Database
from core.storage.schema import Source
from sync.rules.quarantine import (
    Health,
    after_failure,
    after_success,
    discovery_is_due,
    is_due,
    read_health,
    without_failures,
)
from sync.run.display import local_moment, shown_time
from sync.run.find import district_row, source_row
from sync.sources.blame import blaming
from sync.sources.connect import close_connector, open_connector


def set_aside(
    database: Database, source: Source, now: datetime, zone: ZoneInfo
) -> RosterSyncError | None:
    """Return why a scheduled run leaves a source alone, or None if it is read.

    Times in the returned sentence are in ``zone``, the time zone of the district. A stopped source
    whose vendor can list districts is asked for them once a day; once that works, it is read again.
    """
    health = read_health(source.health)
    if is_due(health, now):
        return None
    if discovery_is_due(health, now):
        works = _discovers(source)
        health = without_failures(health) if works else health.model_copy(update={"discovery": now})
        keep(database, source, health)
        if works:
            return None
    if health.stopped:
        return VendorFailure(
            f"The source {source.name} was stopped after {health.failures} failures in a row"
            f" ({health.code}).",
            hint="Find out why with rostersync check, then: rostersync source resume DISTRICT"
            f" {source.name}",
        )
    return VendorFailure(
        f"The source {source.name} failed {health.failures} times in a row ({health.code}) and is"
        f" tried again at {local_moment(shown_time(health.next_try), zone)}.",
        hint="rostersync sync tries at once.",
    )


def _discovers(source: Source) -> bool:
    """Ask the vendor for its districts; say whether it answers."""
    try:
        kind = load(source.connector)
        if not kind.capabilities.discovery:
            return False
        with blaming(source.connector):
            connector = open_connector(source)
            try:
                kind.districts(connector.config)
            finally:
                close_connector(connector)
    except RosterSyncError:
        return False
    return True


class ReadingOutcome(Protocol):
    """The result of a reading, as far as the health of its source is concerned."""

    @property
    def source(self) -> Source: ...  # noqa: D102
    @property
    def certificate(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def complete(self) -> bool: ...  # noqa: D102
    @property
    def nothing_new(self) -> bool: ...  # noqa: D102
    @property
    def error(self) -> RosterSyncError | None: ...  # noqa: D102


def note(database: Database, now: datetime, reading: ReadingOutcome) -> None:
    """Record what a reading says about its source.

    "Nothing new" from a vendor is a good reading, because the vendor has looked. From a folder it
    only means that nobody has put a file there (F7), so the freshness alarm continues.
    """
    source = reading.source
    before = read_health(source.health)
    if reading.complete or reading.nothing_new:
        same = reading.nothing_new or bool(reading.certificate.get("unchanged"))
        good = not (same and load(source.connector).capabilities.origin == "file")
        after = after_success(before, now, good=good)
    else:
        error = reading.error
        code = "incomplete" if error is None else error.code
        said = reading.certificate.get("reason") if error is None else error.message
        after = after_failure(before, code, now, said)
    keep(database, source, after)


def keep(database: Database, source: Source, health: Health) -> None:
    """Write a source's health."""
    source.health = health.stored()
    with database.write() as connection:
        _write(connection, source.id, health)


def _write(connection: Connection, source_id: int, health: Health) -> None:
    connection.execute(_KEEP, {"source": source_id, "health": health.stored()})


def note_left_open(connection: Connection, source: Source, *, unusable: int, withheld: int) -> None:
    """Record what a source's rows leave open, so that ``status`` has it for all districts."""
    before = read_health(source.health)
    health = before.model_copy(update={"unusable": unusable, "withheld": withheld})
    if health != before:
        source.health = health.stored()
        _write(connection, source.id, health)


_KEEP = update(Source.table).where(Source.id == bindparam("source"))


def resume_source(database: Database, slug: str, name: str) -> bool:
    """Forget the failures of a quarantined source, so that the next run reads it.

    Return whether there were any. Raises ``UsageError``.
    """
    with database.write() as connection:
        row: Any = source_row(connection, district_row(connection, slug), name)
        health = read_health(row.health)
        _write(connection, row.id, without_failures(health))
    return health.state != "ok"
