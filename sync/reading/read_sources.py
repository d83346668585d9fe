"""FetchResult: each source of a run is read once and kept as evidence; its failure is a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b

import msgspec
from sqlalchemy import bindparam, insert, update

from connectors.contract.connector import Connector, FetchRequest
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
from core.failpoints import failpoint
from core.models import Kind, Role
from core.settings import DistrictSettings
from core.steps import log_of, step
from core.storage.database import Database
from core.storage.schema import Fetch, Source
from sync.reading.absence import AbsenceProof, find_absent
from sync.reading.evidence import EndedReading, keep
from sync.reading.fetch import read_source
from sync.reading.order.fingerprints import ReadingTerms
from sync.reading.stage import open_stage
from sync.rules.return_guard import (
    TROUBLED_WORDS,
)
from sync.rules.season import Season
from sync.run.display import RUN, shown_id
from sync.run.district_run import (
    DistrictRun,
    Progress,
    SourceResult,
)
from sync.sources.blame import blaming
from sync.sources.connect import close_connector, open_connector
from sync.sources.health import note, set_aside
from sync.sources.mapping import read_rules
from sync.sources.patience import Patience, patience
from sync.sources.received_files import list_received
from sync.sources.settlement import tell_connector

log = log_of(__name__)

DISCONNECTED = "disconnected"
"""The vendor's state of a district that its discovery no longer lists."""


def read_sources(
    run: DistrictRun, names: Sequence[str], *, full: bool, progress: Progress | None
) -> None:
    """Read the named sources of a run, or all, into ``run.results``. Raises ``UsageError``."""
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
            aside = (
                set_aside(run.database, source, run.now, run.settings.zone)
                if run.scheduled
                else None
            )
            if aside is not None:
                run.results.append(_left_alone(source, aside))
                continue
            with step(
                log, "read source", source=source.name, run=shown_id(RUN, run.run_id)
            ) as done:
                result = _read(run, source, full=full)
                done.tell(
                    outcome="complete" if result.complete else "incomplete",
                    pages=result.certificate.get("pages"),
                    records=result.certificate.get("records"),
                    skipped=result.skipped,
                    problem=None if result.error is None else result.error.code,
                )
            run.results.append(result)
            note(run.database, run.now, result)
    failpoint("run.read")


def _left_alone(source: Source, error: RosterSyncError) -> SourceResult:
    """Return the result of a source in quarantine: people that only it holds stay (F8)."""
    document = {
        "complete": False, "reason": error.message, "pages": 0, "records": 0,
        "declared_total": None, "incremental": False,
    }  # fmt: skip
    return SourceResult(source, document, complete=False, usable=False, error=error)


def _read(run: DistrictRun, source: Source, *, full: bool) -> SourceResult:
    """Read one source and store what it says. Its failure is a result, never an exception."""
    try:
        with blaming(source.connector):
            connector = open_connector(source)
        try:
            if connector.capabilities.upload_only and run.upload is None:
                raise NothingNew("This source is fed by uploads only.")
            try:
                seconds = min(connector.config.reading_timeout, run.deadline.left())
                with patience(seconds, source.name) as patient:
                    result = _read_with(run, source, connector, patient, full=full)
            except FileRefused as error:
                result = _failed(run, source, error)
            with blaming(source.connector):
                _list_what_was_sent(run, source, connector, result)
            tell_connector(run.database, connector, run.run_id, source.id, result)
            return result
        except NothingNew as nothing:
            return _nothing_new(source, nothing)
        finally:
            close_connector(connector)
    except (ConfigError, CredentialsRefused, FileRefused, VendorFailure) as error:
        return _failed(run, source, error)


def _list_what_was_sent(
    run: DistrictRun, source: Source, connector: Connector, result: SourceResult
) -> None:
    received = connector.received()
    if received is not None:
        rows = int(result.certificate["records"])
        counts = {"rows": rows, "usable": rows - result.skipped, "errors": result.skipped}
        list_received(
            run.database, source, received, counts=counts | {"warnings": 0}, error=result.error,
            actor=run.actor, run_id=run.run_id, now=run.now,
        )  # fmt: skip


def _read_with(
    run: DistrictRun, source: Source, connector: Connector, patient: Patience, *, full: bool
) -> SourceResult:
    one_stream_each(connector)
    if source.vendor_district is not None:  # before anybody from another district is read
        with blaming(source.connector):
            found = patient.ask(connector.vendor_district)
            _check_bound(source, connector, found)
    database = run.database
    terms = terms_of(database, run.settings, source, connector)
    same_terms = source.settings_print == terms.print
    shorter = same_terms and not full
    fresh = shorter and _was_read_in_full_today(run, source)
    # a file's revision is our own digest of it, a vendor's is given by the vendor
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
        return _read_as(run, source, connector, terms, request, patient)
    except CursorLost:
        anew = replace(request, cursor=None)
        return _read_as(run, source, connector, terms, anew, patient)


def _was_read_in_full_today(run: DistrictRun, source: Source) -> bool:
    """Return whether less may be asked for: each local day begins with a full fetch.

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
    terms: ReadingTerms,
    request: FetchRequest,
    patient: Patience,
) -> SourceResult:
    lost: tuple[type[Exception], ...] = () if request.cursor is None else (CursorLost,)
    with open_stage(run.database) as stage:
        with blaming(source.connector, also=lost):
            reading = read_source(stage, source, connector, terms, request, patient)
            certificate = reading.certificate
            _check_bound(source, connector, certificate.vendor_district)
            verdict = AbsenceProof(complete=True)
            if not certificate.unchanged:
                with step(log, "prove absence", source=source.name) as done:
                    verdict = find_absent(
                        stage,
                        source,
                        connector,
                        terms,
                        reading,
                        patient,
                        scope_roles=_scope_roles(connector),
                        vendor_trusted=certificate.vendor_state not in TROUBLED_WORDS,
                    )
                    done.tell(proved=verdict.complete)
        with step(log, "keep evidence", source=source.name, parsed=reading.parsed):
            kept = keep(
                stage,
                EndedReading(source, connector, terms, reading, verdict),
                run_id=run.run_id,
                now=run.now,
                paused=run.season.season is not Season.NORMAL,
            )
    error = reading.error
    if not kept.complete and error is None:
        error = VendorFailure(
            verdict.reason or "The roster could not be read completely.",
            hint="Nobody left because of it. The next complete reading goes on.",
        )
    return SourceResult(
        source,
        kept.certificate,
        kept.complete,
        kept.complete or connector.capabilities.partial_is_usable,
        error,
        verdict.unusable,
        verdict.withheld,
    )


def terms_of(
    database: Database, settings: DistrictSettings, source: Source, connector: Connector
) -> ReadingTerms:
    """Return the terms on which a source is read: all settings that change how bytes are read."""
    domains = settings.email_domains if connector.capabilities.binds_email_domains else ()
    config = connector.config.model_dump(mode="json", include=set(connector.reading_fields))
    words = [connector.name, connector.version, config, source.mapping, sorted(domains)]
    printed = blake2b(
        msgspec.json.encode(words, order="deterministic"), digest_size=16, key=database.key
    ).digest()
    return ReadingTerms(
        database.key, printed, read_rules(source.mapping, source.name), frozenset(domains)
    )


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
    """Record that a source could not be read at all."""
    document = {
        "complete": False, "reason": error.message, "pages": 0, "records": 0,
        "declared_total": None, "incremental": False,
        "vendor_state": DISCONNECTED if isinstance(error, Disconnected) else source.vendor_state,
    }  # fmt: skip
    with run.database.write() as connection:
        connection.execute(
            _FAILED_FETCH,
            {
                "run_id": run.run_id,
                "source_id": source.id,
                "at": run.now,
                "complete": False,
                "certificate": document,
            },
        )
        if isinstance(error, Disconnected):  # its data and its people stay (S3)
            disconnected = {"source": source.id, "vendor_state": DISCONNECTED}
            connection.execute(_OF_SOURCE, disconnected)
    return SourceResult(source, document, complete=False, usable=False, error=error)


_FAILED_FETCH = insert(Fetch.table)
_OF_SOURCE = update(Source.table).where(Source.id == bindparam("source"))


def _nothing_new(source: Source, nothing: NothingNew) -> SourceResult:
    """Record that there was no new set to read (F7). That is not a fetch and proves nothing."""
    before = source.complete_at is not None
    document = {
        "complete": before, "reason": None if before else nothing.message, "pages": 0,
        "records": 0, "declared_total": None, "incremental": False, "unchanged": True,
        "vendor_state": source.vendor_state, "notes": [nothing.message],
    }  # fmt: skip
    return SourceResult(source, document, complete=before, usable=before, nothing_new=True)


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
