"""One run of a district under way: what it works on, and the row that says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session
from sqlmodel import col, select

from core.database import Database
from core.errors import (
    RosterSyncError,
    UsageError,
)
from core.settings import DistrictSettings
from core.tables import District, Source
from sync import season
from sync.clock import Clock, utc_now
from sync.guard import (
    Guard,
    SeasonState,
)
from sync.runs import close_run_in, open_run
from sync.season import SeasonOnDay

Progress = Callable[[str, int], None]
"""Called with what is being done and how many rows were done since the last call."""


@dataclass(slots=True)
class SourceResult:
    """What one source gave in a run."""

    source: Source
    certificate: dict[str, Any]
    complete: bool
    usable: bool
    error: RosterSyncError | None = None
    skipped: int = 0
    withheld: int = 0
    nothing_new: bool = False
    """There was nothing to read (F7): what the source said before still stands."""


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
    during_pause: bool = False
    keep: bool = True
    """False for a dry plan: what the calendar remembers stays as it was."""
    guard: Guard = Guard.NONE
    season_after: SeasonState = field(default_factory=SeasonState)
    upload: str | None = None
    scheduled: bool = False
    """Nobody asked for it: sources in quarantine are left alone."""
    results: list[SourceResult] = field(default_factory=list)


@contextmanager
def open_district_run(
    database: Database, slug: str, kind: str, actor: str, now: Clock | None
) -> Iterator[DistrictRun]:
    """Hold the district's run lock, and leave a row that says how the run ended."""
    started = (now or utc_now)()
    district, settings, sources = read_district(database, slug)
    assert district.id is not None  # noqa: S101 - it came from the database
    with database.run_lock(slug, district.id):
        district, settings, sources = read_district(database, slug)
        with database.write() as connection:
            run_id = open_run(connection, district.id or 0, kind, actor, started)
        state = SeasonState.model_validate(district.season_state or {})
        on = season.at(started, settings.timezone, settings.pause, state.hand, state.resumed)
        run = DistrictRun(
            database, district, settings, sources, run_id, actor, started, on, state,
            keep=kind != "plan",
        )  # fmt: skip
        try:
            yield run
        except BaseException as error:
            known = error if isinstance(error, RosterSyncError) else None
            status = known.status if known is not None else "failed"
            with database.write() as connection:
                close_run_in(connection, run_id, status, (now or utc_now)(), known)
            raise


def read_district(database: Database, slug: str) -> tuple[District, DistrictSettings, list[Source]]:
    """Return a district, its settings and its sources in precedence. Raises ``UsageError``."""
    with Session(database.engine, expire_on_commit=False) as session:
        district = session.scalars(select(District).where(col(District.slug) == slug)).first()
        if district is None:
            raise UsageError(
                f"There is no district {slug}.",
                hint="rostersync districts lists them; rostersync load FILE.toml adds one.",
            )
        sources = session.scalars(
            select(Source)
            .where(col(Source.district_id) == district.id)
            .where(col(Source.configured).is_(True), col(Source.retired).is_(False))
            .order_by(col(Source.precedence), col(Source.id))
        ).all()
        session.expunge_all()
    return district, DistrictSettings.model_validate(district.settings), list(sources)


def origins_of(sources: Sequence[Source]) -> dict[int, str]:
    """Return source id → the origin of the people it brings in."""
    from connectors.installed import load

    return {source.id or 0: load(source.connector).capabilities.origin for source in sources}
