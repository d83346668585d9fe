"""The engine: one run of a district reads its sources, plans once, and applies what is not held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from connectors.base import Connector, FetchRequest
from core.database import Database, failpoint
from core.errors import (
    ConfigError,
    CredentialsRefused,
    CursorLost,
    Disconnected,
    FileRefused,
    NothingNew,
    RosterSyncError,
    UsageError,
    VendorFailure,
    WrongDistrict,
)
from core.models import Kind, Role
from core.settings import DistrictSettings
from core.tables import District, Source, utc_text
from sync import season
from sync.absence import Verdict, find_absent
from sync.apply import Drifted, apply_in
from sync.clock import Clock, utc_now
from sync.connect import open_connector
from sync.evidence import keep
from sync.fetch import Terms, read_source
from sync.guard import (
    PAUSED_WORDS,
    TROUBLED_WORDS,
    Guard,
    SeasonState,
    advance,
    graced_on,
    wait_for,
)
from sync.guarding import Watch, forget_pupils
from sync.health import note, set_aside
from sync.mapping import read_rules
from sync.outcome import Outcome, worst
from sync.plan import PlanRequest, Plans, make_plans
from sync.runs import close_run_in, open_run
from sync.season import Season, SeasonOnDay
from sync.settle import settle
from sync.stage import open_stage
from sync.uploads import only_looked_at

Progress = Callable[[str, int], None]
"""Called with what is being done and how many rows were done since the last call."""

DISCONNECTED = "disconnected"
"""The vendor's state of a district that its discovery no longer lists."""

REPLANS = 3
"""How often a run plans again when somebody was edited by hand while it planned."""


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
    ``Busy``; what befalls a source is in the outcome.
    """
    with _run(database, slug, "upload" if upload else "plan", actor, now) as run:
        run.upload, run.keep = upload, False
        run.during_pause = True  # whoever applies it in a pause has to ask for that (S1)
        _read_sources(run, sources, full=full, progress=progress)
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
    """Read the sources, plan, and apply what is not held.

    ``scheduled``: nobody asked for it, so sources in quarantine are left alone.

    In a pause nothing is read and the status is ``paused`` (S1), unless ``during_pause``.
    ``upload`` is as in ``plan_district``. Raises ``UsageError`` for an unknown district or source
    and ``Busy``.
    """
    with _run(database, slug, "upload" if upload else "sync", actor, now) as run:
        run.upload = upload
        run.during_pause = during_pause
        run.scheduled = scheduled
        if run.season.season is Season.PAUSED and not during_pause:
            _advance(run)
            with suppress(Drifted):  # resumed in this moment: the next run sees to it
                _keep_season(run, Plans(), afresh=_turned(run))
            return _close(run, "paused", Plans())
        _read_sources(run, sources, full=full, progress=progress)
        for _ in range(REPLANS):
            plans = _make_plans(run, progress)
            try:
                applied = _apply(run, plans)
            except Drifted:
                # somebody was edited meanwhile: they stay open and are planned again; or the
                # district was paused or resumed by hand
                if _paused_meanwhile(run):
                    return _close(run, "paused", Plans())
                continue
            break
        else:
            return _close(run, "drifted", plans)
        return _close(run, "applied" if applied else "nothing_to_do", plans)


@contextmanager
def _run(
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


# -- reading


def _read_sources(
    run: DistrictRun, names: Sequence[str], *, full: bool, progress: Progress | None
) -> None:
    unknown = set(names) - {source.name for source in run.sources}
    if unknown:
        raise UsageError(
            f"{run.district.slug} has no source {', '.join(sorted(unknown))}.",
            hint=f"rostersync sources {run.district.slug} lists them.",
        )
    for source in run.sources:
        if not names or source.name in names:
            if progress is not None:
                progress(f"reading {source.name}", 0)
            aside = set_aside(run.database, source, run.now) if run.scheduled else None
            if aside is not None:
                run.results.append(_left_alone(source, aside))
                continue
            result = _read(run, source, full=full)
            run.results.append(result)
            note(run.database, run.now, result)
    failpoint("run.read")


def _left_alone(source: Source, error: RosterSyncError) -> SourceResult:
    """Return the result of a source in quarantine: whom only it holds stays as they are (F8)."""
    document = {
        "complete": False, "reason": error.message, "pages": 0, "records": 0,
        "declared_total": None, "incremental": False,
    }  # fmt: skip
    return SourceResult(source, document, complete=False, usable=False, error=error)


def _read(run: DistrictRun, source: Source, *, full: bool) -> SourceResult:
    """Read one source and keep what it says. Its failure is a result, never an exception."""
    try:
        connector = open_connector(source)
        try:
            if connector.capabilities.upload_only and run.upload is None:
                raise NothingNew("This source is fed by uploads only.")
            try:
                result = _read_with(run, source, connector, full=full)
            except FileRefused as error:
                result = _failed(run, source, error)
            settle(run.database, connector, run.run_id, source.id or 0, result)
            return result
        except NothingNew as nothing:
            return _nothing_new(source, nothing)
        finally:
            connector.close()
    except (ConfigError, CredentialsRefused, FileRefused, VendorFailure) as error:
        return _failed(run, source, error)


def _read_with(
    run: DistrictRun, source: Source, connector: Connector, *, full: bool
) -> SourceResult:
    one_stream_each(connector)
    if source.vendor_district is not None:  # before anybody of another district is read
        _check_bound(source, connector, connector.vendor_district())
    database = run.database
    terms = terms_of(database, run.settings, source, connector)
    same_terms = source.settings_print == terms.print
    shorter = same_terms and not full
    fresh = shorter and _was_read_in_full_today(run, source)
    # a file's revision is our own digest of it, a vendor's is the vendor's word
    shorter = fresh or (shorter and connector.capabilities.origin == "file")
    request = FetchRequest(
        cursor=source.cursor if fresh else None,
        revision=source.revision if shorter else None,
        directory=run.settings.directory,
        file=run.upload,
    )
    if not connector.capabilities.incremental:
        request = replace(request, cursor=None)
    try:
        return _read_as(run, source, connector, terms, request)
    except CursorLost:
        return _read_as(run, source, connector, terms, replace(request, cursor=None))


def _was_read_in_full_today(run: DistrictRun, source: Source) -> bool:
    """Say whether less than everything may be asked for: a full fetch comes first every local day.

    Only a full one proves absence (F4), and a vendor's "nothing new" is believed for a day at most.
    """
    if source.full_at is None:
        return False
    zone = run.settings.zone
    return source.full_at.astimezone(zone).date() == run.now.astimezone(zone).date()


def _read_as(
    run: DistrictRun,
    source: Source,
    connector: Connector,
    terms: Terms,
    request: FetchRequest,
) -> SourceResult:
    database = run.database
    with open_stage(database) as stage:
        reading = read_source(stage, source, connector, terms, request)
        certificate = reading.certificate
        _check_bound(source, connector, certificate.vendor_district)
        if certificate.unchanged:
            verdict = Verdict(complete=True)
        else:
            verdict = find_absent(
                stage,
                source,
                connector,
                terms,
                reading,
                scope_roles=_scope_roles(connector),
                vendor_trusted=certificate.vendor_state not in TROUBLED_WORDS,
            )
        kept = keep(
            stage, source, connector, terms, reading, verdict,
            run_id=run.run_id, now=run.now, paused=run.season.season is not Season.NORMAL,
        )  # fmt: skip
    error = reading.error
    if not kept.complete and error is None:
        error = VendorFailure(
            verdict.reason or "The roster could not be read whole.",
            hint="Nobody left because of it. The next complete reading goes on.",
        )
    return SourceResult(
        source,
        kept.certificate,
        kept.complete,
        kept.complete or connector.capabilities.partial_is_usable,
        error,
        verdict.findings,
        verdict.withheld,
    )


def terms_of(
    database: Database, settings: DistrictSettings, source: Source, connector: Connector
) -> Terms:
    """Return on what terms a source is read: whatever makes the same bytes read otherwise."""
    domains = settings.email_domains if connector.capabilities.binds_email_domains else ()
    config = connector.config.model_dump(mode="json", include=set(connector.reading_fields))
    words = [connector.name, connector.version, config, source.mapping, sorted(domains)]
    printed = blake2b(
        msgspec.json.encode(words, order="deterministic"), digest_size=16, key=database.key
    ).digest()
    return Terms(database.key, printed, read_rules(source.mapping, source.name), frozenset(domains))


def _scope_roles(connector: Connector) -> frozenset[str]:
    roles: Sequence[Role] = getattr(connector.config, "scope_roles", None) or ()
    return frozenset(str(role) for role in roles)


def _check_bound(source: Source, connector: Connector, found: str | None) -> None:
    """Refuse credentials of another district than the one bound (L9)."""
    bound = source.vendor_district
    if bound is not None and found is not None and not connector.same_district(bound, found):
        raise WrongDistrict(
            f"The credentials of the source {source.name} belong to another district"
            f" ({found}) than the one it is bound to ({bound}).",
            hint="Give the credentials of the bound district, or add a new source and switch.",
        )


def _failed(run: DistrictRun, source: Source, error: RosterSyncError) -> SourceResult:
    """Note that a source could not be read at all."""
    document = {
        "complete": False, "reason": error.message, "pages": 0, "records": 0,
        "declared_total": None, "incremental": False,
        "vendor_state": DISCONNECTED if isinstance(error, Disconnected) else source.vendor_state,
    }  # fmt: skip
    with run.database.write() as connection:
        connection.execute(
            _FAILED_FETCH,
            {
                "run": run.run_id,
                "source": source.id,
                "now": utc_text(run.now),
                "certificate": msgspec.json.encode(document).decode(),
            },
        )
        if isinstance(error, Disconnected):  # its data are kept, and so is everybody (S3)
            connection.execute(
                text("UPDATE sources SET vendor_state = :state WHERE id = :id"),
                {"state": DISCONNECTED, "id": source.id},
            )
    return SourceResult(source, document, complete=False, usable=False, error=error)


def _nothing_new(source: Source, nothing: NothingNew) -> SourceResult:
    """Note that there was no new set to read (F7). It is no fetch, and proves nothing anew."""
    before = source.complete_at is not None
    document = {
        "complete": before, "reason": None if before else nothing.message, "pages": 0,
        "records": 0, "declared_total": None, "incremental": False, "unchanged": True,
        "vendor_state": source.vendor_state, "notes": [nothing.message],
    }  # fmt: skip
    return SourceResult(source, document, complete=before, usable=before, nothing_new=True)


_FAILED_FETCH = text(
    "INSERT INTO fetches (run_id, source_id, at, complete, certificate)"
    " VALUES (:run, :source, :now, FALSE, :certificate)"
)


# -- planning and applying


def _advance(run: DistrictRun) -> None:
    """Let the calendar see this run: whether it is guarded, and what is remembered after it."""
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
    )
    run.season_after = state


def _last_change(run: DistrictRun) -> date | None:
    """Return the last local day on which a roster changed somebody."""
    with run.database.read() as connection:
        at = connection.execute(_LAST_CHANGE, {"district": run.district.id}).scalar()
    return None if at is None else datetime.fromisoformat(at).astimezone(run.settings.zone).date()


_LAST_CHANGE = text(
    "SELECT MAX(applied_at) FROM plans WHERE district_id = :district AND status = 'applied'"
    " AND kind IN ('sync', 'upload')"
)


def _turned(run: DistrictRun) -> bool:
    """Say whether a pause has begun or ended since the last run that was kept."""
    return run.state.returned is not None and run.season_after.returned != run.state.returned


def _keep_season(run: DistrictRun, plans: Plans, *, afresh: bool = False) -> None:
    """Remember what the calendar has seen in a run that applies nothing. Raises ``Drifted``."""
    with run.database.write() as connection:
        run.database.apply_lock(connection, run.district.id or 0)
        _check_season(connection, run)
        if afresh:
            forget_pupils(connection, run.district.id or 0)
        _write_season(connection, run, plans)


def _check_season(connection: Connection, run: DistrictRun) -> None:
    """Raise ``Drifted`` if the district was paused or resumed by hand since the run began."""
    if _stored_season(connection, run) != run.state:
        raise Drifted(())


def _write_season(connection: Connection, run: DistrictRun, plans: Plans) -> None:
    """Remember what the calendar has seen, and which schools wait for their rollover.

    It commits with what the run applies: a guard is used up only by a run that came to its end.
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
    about = {"id": run.district.id, "state": state.model_dump_json()}
    connection.execute(_SEASON_STATE, about)
    graced = graced_on(state, run.settings.grace, run.season.day) is not None
    if not state.waiting and state.paused_seen is None and not graced:
        forget_pupils(connection, run.district.id or 0)


def _gives_grace(run: DistrictRun) -> bool:
    return run.settings.grace.days > 0 or run.settings.grace.fetches > 1


def _gone_by(run: DistrictRun) -> datetime | None:
    """Return the end of the day of the guarded run, while grace may keep people from its day."""
    day = graced_on(run.state, run.settings.grace, run.season.day)
    if day is None:
        return None
    return datetime(day.year, day.month, day.day, tzinfo=run.settings.zone) + timedelta(days=1)


def _stored_season(connection: Connection, run: DistrictRun) -> SeasonState:
    stored = connection.execute(_STORED_SEASON, {"id": run.district.id}).scalar_one()
    return SeasonState.model_validate(
        msgspec.json.decode(stored) if isinstance(stored, str) else stored or {}
    )


def _paused_meanwhile(run: DistrictRun) -> bool:
    """Read the season anew, and say whether it keeps this run from going on (rule 7)."""
    with run.database.read() as connection:
        run.state = _stored_season(connection, run)
    run.season = run.state.on(run.season.day, run.settings.pause)
    return run.season.season is Season.PAUSED and not run.during_pause


_STORED_SEASON = text("SELECT season_state FROM districts WHERE id = :id")
_SEASON_STATE = text("UPDATE districts SET season_state = :state WHERE id = :id")


def _make_plans(run: DistrictRun, progress: Progress | None) -> Plans:
    _advance(run)
    failed = {r.source.id or 0 for r in run.results if not r.complete}
    # what was uploaded only to be looked at counts once its own plan is applied
    looked_at = only_looked_at(run.database, run.district.id or 0)
    looked_at -= {r.source.id or 0 for r in run.results if not r.nothing_new}
    request = PlanRequest(
        district=run.district,
        settings=run.settings,
        sources=run.sources,
        origins=origins_of(run.sources),
        run_id=run.run_id,
        kind="upload" if run.upload else "sync",
        now=run.now,
        failed=frozenset(failed | looked_at),
        silent=frozenset({r.source.id or 0 for r in run.results if not r.usable} | looked_at),
        certificates={r.source.name: r.certificate for r in run.results},
        skipped=sum(r.skipped for r in run.results),
        establishes=tuple(
            r.source.id or 0 for r in run.results if r.complete and not r.source.established
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
            afresh=_turned(run),
            graced=_gives_grace(run),
            gone_by=_gone_by(run),
        ),
    )
    step = None if progress is None else lambda people: progress("planning", people)
    return make_plans(run.database, request, step)


def origins_of(sources: Sequence[Source]) -> dict[int, str]:
    """Return source id → the origin of the people it brings in."""
    from connectors.installed import load

    return {source.id or 0: load(source.connector).capabilities.origin for source in sources}


def _apply(run: DistrictRun, plans: Plans) -> bool:
    """Apply the plan of a run; say whether there was one. Raises ``Drifted``."""
    if plans.plan_id is None:
        _keep_season(run, plans)
        return False
    with run.database.write() as connection:
        run.database.apply_lock(connection, run.district.id or 0)
        try:
            _check_season(connection, run)
            apply_in(run.database, connection, plans.plan_id, run_id=run.run_id, now=run.now)
        except Drifted:
            mark_plan(connection, plans.plan_id, "drifted")
            connection.commit()
            raise
        _write_season(connection, run, plans)
        close_run_in(connection, run.run_id, "applied", run.now)
    failpoint("run.applied")
    return True


def mark_plan(connection: Connection, plan_id: int, status: str) -> None:
    """Give a plan that will not run its last status."""
    connection.execute(
        text("UPDATE plans SET status = :status, standing = FALSE WHERE id = :id"),
        {"id": plan_id, "status": status},
    )


def _close(run: DistrictRun, status: str, plans: Plans) -> Outcome:
    """Say what the run came to: the most serious thing that happened gives the status."""
    outcome = Outcome(
        run.district.slug,
        status,
        run.run_id,
        [plan for plan in (plans.plan_id, plans.held_id) if plan is not None],
        {r.source.name: r.certificate for r in run.results},
    )
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
        close_run_in(connection, run.run_id, outcome.status, run.now, outcome.error)
    return outcome


def one_stream_each(connector: Connector) -> None:
    """Refuse a connector with two streams of one kind that does not join them.

    Absence is compared stream by stream; people of two streams could be missed in the other.
    Raises ``ConfigError``.
    """
    kinds = list(connector.streams.values())
    doubled = [kind for kind in Kind if kinds.count(kind) > 1]
    if doubled and not connector.capabilities.joined:
        raise ConfigError(
            f"The connector {connector.name} has two streams of the kind {doubled[0]}"
            " and does not join them.",
            hint="Serve them as one stream, or declare Capabilities.joined.",
        )
