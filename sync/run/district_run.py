"""One run of a district under way: what it works on, and its row in the table ``runs``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from core.errors import ConfigError, LockLost, RosterSyncError, RunEnded, UsageError
from core.machine import machine_failure
from core.models import Origin
from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.guard import guarded
from core.storage.schema import District, Source
from sync.rules import season
from sync.rules.return_guard import (
    Guard,
    SeasonState,
)
from sync.rules.season import SeasonOnDay
from sync.run.clock import Clock, utc_now
from sync.run.deadline import Deadline
from sync.run.find import find_district, sources_in_force
from sync.run.run_rows import close_killed, close_run_in, close_running_in, open_run

Progress = Callable[[str, int], None]
"""Called with what is being done and how many rows were done since the last call."""


@dataclass(slots=True)
class SourceResult:
    """The result of reading one source in a run."""

    source: Source
    certificate: dict[str, Any]
    complete: bool
    usable: bool
    error: RosterSyncError | None = None
    skipped: int = 0
    withheld: int = 0
    nothing_new: bool = False
    """There was nothing to read (F7): what the source said before is still valid."""


@dataclass(slots=True)
class DistrictRun:
    """A run under way: the district as it was when the run began, and the run's own row."""

    database: Database
    district: District
    settings: DistrictSettings
    sources: list[Source]
    run_id: int
    actor: str
    now: datetime
    season: SeasonOnDay
    state: SeasonState
    deadline: Deadline
    applied: bool = False
    """Its plan is applied: what is left is to say so, however late it is."""
    during_pause: bool = False
    keep: bool = True
    """False for a dry plan: what the calendar remembers is not changed."""
    guard: Guard = Guard.NONE
    season_after: SeasonState = field(default_factory=SeasonState)
    upload: str | None = None
    scheduled: bool = False
    """Started by the schedule, not by a person: sources in quarantine are not read."""
    results: list[SourceResult] = field(default_factory=list)


@contextmanager
def open_district_run(
    database: Database, slug: str, kind: str, actor: str, now: Clock | None
) -> Iterator[DistrictRun]:
    """Hold the district's run lock, and record in ``runs`` how the run ended."""
    started = (now or utc_now)()
    district, settings, sources = read_district(database, slug)
    with database.run_lock(slug, district.id) as lock:
        district, settings, sources = read_district(database, slug)
        deadline = Deadline(settings.run_minutes, slug)
        with database.write() as connection:
            close_killed(connection, district.id, started)
            run_id = open_run(connection, district.id, kind, actor, started)
        state = SeasonState.model_validate(district.season_state or {})
        on = season.at(started, settings.timezone, settings.pause, state.hand, state.resumed)
        run = DistrictRun(
            database, district, settings, sources, run_id, actor, started, on, state, deadline,
            keep=kind != "plan",
        )  # fmt: skip

        def guard(connection: Connection) -> None:
            if not run.applied:
                deadline.left()
            lock.check(connection)

        try:
            with guarded(guard):
                yield run
        except BaseException as error:
            known = error if isinstance(error, RosterSyncError) else cause_of(error)
            status = known.status if known is not None else "failed"
            at = (now or utc_now)()
            with suppress(DBAPIError, OSError), database.write() as connection:
                # if the database is gone, the next run closes this one
                if isinstance(error, LockLost):  # the next run may have closed it
                    close_running_in(connection, run_id, status, at, error)
                else:
                    close_run_in(connection, run_id, status, at, known)
            raise


def cause_of(error: BaseException) -> RosterSyncError | None:
    """Return what ended a run if it was not an error of rostersync: a person, or the machine."""
    if isinstance(error, KeyboardInterrupt):
        return RunEnded(
            "The run was interrupted.",
            hint="Nothing was half applied. The next run goes on from there.",
        )
    return machine_failure(error)


def read_district(database: Database, slug: str) -> tuple[District, DistrictSettings, list[Source]]:
    """Return a district, its settings and its sources in precedence. Raises ``UsageError``."""
    with database.read() as connection:
        district = find_district(connection, slug)
        if district is None:
            raise UsageError(
                f"There is no district {slug}.",
                hint="rostersync districts lists them; rostersync load FILE.toml adds one.",
            )
        sources = sources_in_force(connection, district.id)
    return district, DistrictSettings.model_validate(district.settings), sources


def origins_of(sources: Sequence[Source]) -> dict[int, str]:
    """Return source id → the origin of the people it brings in.

    A source whose connector cannot be loaded brings nobody in, so that any origin will do: its
    failure was told when it was to be read, and the other sources go on (F8).
    """
    return {source.id: _origin_of(source) for source in sources}


def _origin_of(source: Source) -> str:
    from connectors.installed import load

    try:
        return load(source.connector).capabilities.origin
    except ConfigError:
        return Origin.SYNC.value
