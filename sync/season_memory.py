"""What a district's calendar remembers: guards still due, schools that wait, days of grace."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import Connection, bindparam, func, select

from core.storage.schema import District, Plan
from sync.ledger.apply import Drifted
from sync.planning.plan import Plans
from sync.planning.return_check import forget_pupils
from sync.rules.return_guard import (
    PAUSED_WORDS,
    Guard,
    SeasonState,
    advance,
    graced_on,
    wait_for,
)
from sync.rules.season import Season
from sync.run.calendar import keep_state
from sync.run.district_run import DistrictRun


def advance_season(run: DistrictRun) -> None:
    """Work out whether this run is guarded, and what the calendar remembers after it."""
    read = {r.source.name: r for r in run.results}
    state, run.guard = advance(
        run.state,
        run.season,
        complete=any(not r.nothing_new for r in run.results)
        and all(
            source.name in read and (read[source.name].complete or read[source.name].nothing_new)
            for source in run.sources
        ),
        during_pause=run.during_pause,
        vendor_paused={
            name: result.certificate.get("vendor_state") in PAUSED_WORDS
            for name, result in read.items()
        },
        unchanged_since=_last_change(run),
        pauses=run.settings.pause,
        year_end=run.settings.year_end,
    )
    run.season_after = state


def _last_change(run: DistrictRun) -> date | None:
    """Return the last local day on which a roster changed somebody."""
    with run.database.read() as connection:
        at = connection.execute(_LAST_CHANGE, {"district": run.district.id}).scalar()
    return None if at is None else at.astimezone(run.settings.zone).date()


_LAST_CHANGE = select(func.max(Plan.applied_at)).where(
    Plan.district_id == bindparam("district"),
    Plan.status == "applied",
    Plan.kind.in_(("sync", "upload")),
)


def has_turned(run: DistrictRun) -> bool:
    """Return whether a pause has begun or ended since the last stored run."""
    return run.state.returned is not None and run.season_after.returned != run.state.returned


def keep_season(run: DistrictRun, plans: Plans, *, afresh: bool = False) -> None:
    """Store what the calendar remembers after a run that applies nothing. Raises ``Drifted``."""
    with run.database.write() as connection:
        run.database.apply_lock(connection, run.district.id)
        check_season(connection, run)
        if afresh:
            forget_pupils(connection, run.district.id)
        write_season(connection, run, plans)


def check_season(connection: Connection, run: DistrictRun) -> None:
    """Raise ``Drifted`` if the district was paused or resumed by hand since the run began."""
    if _stored_season(connection, run) != run.state:
        raise Drifted(())


def write_season(connection: Connection, run: DistrictRun, plans: Plans) -> None:
    """Store what the calendar remembers, and which schools wait for their rollover.

    It commits together with what the run applies: only a finished run uses up a guard.
    """
    after = run.season_after
    complete = after.complete_on == run.season.day
    state = wait_for(
        after,
        plans.watched.waiting_schools,
        complete_on=run.season.day if complete else None,
        guarded=run.guard is Guard.HOLDS and run.season.season is Season.NORMAL,
    )
    if state == run.state:
        return
    keep_state(connection, run.district.id, state)
    graced = graced_on(state, run.settings.grace, run.season.day) is not None
    if not state.waiting and state.paused_seen is None and not graced:
        forget_pupils(connection, run.district.id)


def gives_grace(run: DistrictRun) -> bool:
    """Return whether the district keeps people for a while after they are gone (S7)."""
    return run.settings.grace.days > 0 or run.settings.grace.fetches > 1


def gone_by(run: DistrictRun) -> datetime | None:
    """Return the end of the day of the guarded run, while grace may keep people from its day."""
    day = graced_on(run.state, run.settings.grace, run.season.day)
    if day is None:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=run.settings.zone) + timedelta(days=1)


def _stored_season(connection: Connection, run: DistrictRun) -> SeasonState:
    stored = connection.execute(_STORED_SEASON, {"district": run.district.id}).scalar_one()
    return SeasonState.model_validate(stored or {})


def paused_meanwhile(run: DistrictRun) -> bool:
    """Read the season again, and return whether it stops this run (rule 7)."""
    with run.database.read() as connection:
        run.state = _stored_season(connection, run)
    run.season = run.state.on(run.season.day, run.settings.pause)
    return run.season.season is Season.PAUSED and not run.during_pause


_STORED_SEASON = select(District.season_state).where(District.id == bindparam("district"))
