"""The engine: one run of a district reads its sources, plans once, and applies what is not held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, bindparam, update

from core.failpoints import failpoint
from core.storage.database import Database
from core.storage.schema import Plan
from core.storage.watch import count_outside_edits
from sync.ledger.apply import Drifted, apply_in
from sync.people.look_alikes import count_look_alikes
from sync.planning.plan import PlanRequest, Plans, make_plans
from sync.planning.return_check import Watch
from sync.reading.read_sources import read_sources
from sync.rules.season import Season
from sync.run.clock import Clock
from sync.run.district_run import (
    DistrictRun,
    Progress,
    open_district_run,
    origins_of,
)
from sync.run.outcome import Outcome, worst
from sync.run.run_rows import close_run_in
from sync.season_memory import (
    advance_season,
    check_season,
    gives_grace,
    gone_by,
    has_turned,
    keep_season,
    paused_meanwhile,
    write_season,
)
from sync.sources.health import note_left_open
from sync.sources.received_files import only_looked_at
from sync.views.left_open import left_open

REPLANS = 3
"""How often a run plans again because somebody was edited by hand while it was planning."""


# -- the two runs that read


def plan_district(
    database: Database,
    slug: str,
    *,
    sources: Sequence[str] = (),
    full: bool = False,
    actor: str,
    upload: str | None = None,
    now: Clock | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Read the sources, store what would change as plans, and change nobody.

    ``upload`` is the path of a file to be read instead of the place of the one source named; its
    plan is of the kind ``upload``. Raises ``UsageError`` for an unknown district or source and
    ``Busy``; a failing source is reported in the outcome.
    """
    with open_district_run(database, slug, "upload" if upload else "plan", actor, now) as run:
        run.upload, run.keep = upload, False
        run.during_pause = True  # applying it in a pause has to be asked for (S1)
        read_sources(run, sources, full=full, progress=progress)
        plans = _make_plans(run, progress)
        status = "planned" if plans.plan_id is not None else "nothing_to_do"
        return _close(run, status, plans)


def sync_district(
    database: Database,
    slug: str,
    *,
    sources: Sequence[str] = (),
    full: bool = False,
    during_pause: bool = False,
    scheduled: bool = False,
    actor: str,
    upload: str | None = None,
    now: Clock | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Read the sources, plan, and apply what is not held: the ten steps of a sync.

    1. The run is opened under the district's run lock, so that two never overlap (``sync/run``).
    2. The season of the day is looked up. In a pause nothing is read and the status is ``paused``,
       unless ``during_pause`` (``sync/rules/season.py``).
    3. Each source is connected, and its pages are compared with what it said last time; only rows
       that differ are parsed (``sync/reading/stream.py``).
    4. Absence is judged: who is missing, and whether the reading proves it
       (``sync/reading/absence.py``).
    5. The reading becomes evidence in one transaction; whatever moved is open
       (``sync/reading/evidence.py``).
    6. New records are matched: who is who, and what only a person can decide (``sync/people``).
    7. Everybody who is open is decided once, by the table of situations
       (``sync/planning/decide.py``, ``sync/rules/situations.py``).
    8. The return from a pause and the limits say what must wait
       (``sync/planning/return_check.py``, ``sync/planning/approval_needed.py``).
    9. The draft is sealed: one plan to apply, and at most one held plan (``sync/ledger/seal.py``).
    10. The plan is applied whole in one transaction and joins the ledger, or nothing is changed
        (``sync/ledger/apply.py``). Somebody who was edited meanwhile is planned again.

    ``scheduled``: the schedule started it, so sources in quarantine are not read.
    ``upload`` is as in ``plan_district``. Raises ``UsageError`` for an unknown district or source
    and ``Busy``.
    """
    with open_district_run(database, slug, "upload" if upload else "sync", actor, now) as run:
        run.upload = upload
        run.during_pause = during_pause
        run.scheduled = scheduled
        if run.season.season is Season.PAUSED and not during_pause:
            advance_season(run)
            with suppress(Drifted):  # resumed at this very moment: the next run handles it
                keep_season(run, Plans(), afresh=has_turned(run))
            return _close(run, "paused", Plans())
        read_sources(run, sources, full=full, progress=progress)
        for _ in range(REPLANS):
            plans = _make_plans(run, progress)
            try:
                applied = _apply(run, plans)
            except Drifted:
                # somebody was edited meanwhile: they stay open and are planned again; or the
                # district was paused or resumed by hand
                if paused_meanwhile(run):
                    return _close(run, "paused", Plans())
                continue
            break
        else:
            return _close(run, "drifted", plans)
        return _close(run, "applied" if applied else "nothing_to_do", plans)


# -- planning and applying


def _make_plans(run: DistrictRun, progress: Progress | None) -> Plans:
    advance_season(run)
    failed = {r.source.id for r in run.results if not r.complete}
    # a file that was uploaded only for a plan counts once that plan is applied
    looked_at = only_looked_at(run.database, run.district.id)
    looked_at -= {r.source.id for r in run.results if not r.nothing_new}
    request = PlanRequest(
        district=run.district,
        settings=run.settings,
        sources=run.sources,
        origins=origins_of(run.sources),
        run_id=run.run_id,
        kind="upload" if run.upload else "sync",
        now=run.now,
        failed=frozenset(failed | looked_at),
        silent=frozenset({r.source.id for r in run.results if not r.usable} | looked_at),
        certificates={r.source.name: r.certificate for r in run.results},
        skipped=sum(r.skipped for r in run.results),
        establishes=tuple(
            r.source.id for r in run.results if r.complete and not r.source.established
        ),
        season=run.season.season.value,
        season_state=run.state,
        taking_nothing=run.season.season is Season.ADDITIONS_ONLY,
        watch=Watch(
            run.guard,
            run.season_after,
            run.settings.guard,
            run.season.day,
            keep=run.keep,
            year_end=run.settings.year_end,
            failed=frozenset(failed | looked_at),
            afresh=has_turned(run),
            graced=gives_grace(run),
            gone_by=gone_by(run),
        ),
    )
    step = None if progress is None else lambda people: progress("planning", people)
    return make_plans(run.database, request, step)


def _apply(run: DistrictRun, plans: Plans) -> bool:
    """Apply the plan of a run; say whether there was one. Raises ``Drifted``."""
    if plans.plan_id is None:
        keep_season(run, plans)
        return False
    with run.database.write() as connection:
        run.database.apply_lock(connection, run.district.id)
        try:
            check_season(connection, run)
            apply_in(run.database, connection, plans.plan_id, run_id=run.run_id, now=run.now)
        except Drifted:
            mark_plan(connection, plans.plan_id, "drifted")
            connection.commit()
            raise
        write_season(connection, run, plans)
        close_run_in(connection, run.run_id, "applied", run.now)
    run.applied = True
    failpoint("run.applied")
    return True


def mark_plan(connection: Connection, plan_id: int, status: str) -> None:
    """Give a plan that will not run its final status."""
    connection.execute(_END, {"plan": plan_id, "status": status, "standing": False})


_END = update(Plan.table).where(Plan.id == bindparam("plan"))


def _close(run: DistrictRun, status: str, plans: Plans) -> Outcome:
    """Close the run and return its outcome; the most serious event decides the status."""
    missing = defaultdict(list)
    for one in plans.missing_schools:
        about = {"external_id": one.external_id, "name": one.name, "people": one.people}
        missing[one.source_id].append(about)
    outcome = Outcome(
        run.district.slug,
        status,
        run.run_id,
        [plan for plan in (plans.plan_id, plans.held_id) if plan is not None],
        {
            r.source.name: r.certificate
            | ({"missing_schools": missing[r.source.id]} if r.source.id in missing else {})
            for r in run.results
        },
    )
    outcome.at = run.now
    if plans.watched.waiting_people and outcome.status in ("applied", "nothing_to_do", "planned"):
        outcome.status = "waiting"
    codes: list[int] = []
    if plans.held_id is not None:
        codes.append(10)
        outcome.status = "held"
    withheld = any(r.withheld for r in run.results)
    failures = [r.error for r in run.results if r.error is not None]
    if withheld and not failures:
        codes.append(12)
        outcome.status = "partial"
    if failures and status != "drifted":
        codes += [error.exit_code for error in failures]
        outcome.error = next(
            e for e in failures if e.exit_code == worst(x.exit_code for x in failures)
        )
        if len(failures) < len(run.results):
            codes.append(12)
            outcome.status = "partial"
        else:
            outcome.status = outcome.error.status
    outcome.codes = tuple(codes)
    with run.database.write() as connection:
        outcome.outside_edits = count_outside_edits(connection, run.district.id)
        close_run_in(connection, run.run_id, outcome.status, run.now, outcome.error)
        count_look_alikes(connection, run.district.id, run.now)
        outcome.left_open = left_open(connection, run.district.slug, run.now)
        _note_left_open(connection, run, outcome.left_open)
    return outcome


def _note_left_open(connection: Connection, run: DistrictRun, found: dict[str, Any]) -> None:
    """Keep with each source that was read what its rows leave open."""
    for result in run.results:
        name = result.source.name
        note_left_open(
            connection,
            result.source,
            unusable=found.get("unusable_rows", {}).get(name, 0),
            withheld=found.get("withheld", {}).get(name, {}).get("people", 0),
        )
