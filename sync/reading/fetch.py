"""One reading of a source, from the first page of its connector to the certificate.

``read_source`` hands the pages to their streams, which leave on the stage what evidence has to
change, and returns a ``Reading``. It writes nothing but the stage.
"""

from __future__ import annotations

from collections.abc import Generator

from connectors.contract.connector import Certificate, Connector, FetchRequest, Page
from core.errors import ConnectorFailed, IncompleteFetch, RestartFetch, VendorFailure
from core.steps import log_of, note
from core.storage.schema import Source
from sync.reading.fetch_result import FetchResult
from sync.reading.order.fingerprints import ReadingTerms
from sync.reading.stage import Stage
from sync.reading.stream import UnderWay
from sync.run.gc_pause import seldom
from sync.sources.patience import Patience
from sync.sources.soundness import sound_certificate, sound_page

log = log_of(__name__)

RESTARTS = 3
"""How often a reading starts again because the roster changed meanwhile."""


def read_source(
    stage: Stage,
    source: Source,
    connector: Connector,
    terms: ReadingTerms,
    request: FetchRequest,
    patient: Patience,
) -> FetchResult:
    """Read a source onto the stage, for as long as ``patient`` says.

    Never raises for a vendor's or a file's failure: the certificate is then incomplete and
    ``error`` says why. Raises errors that are not failures of the fetch: ``ConfigError``,
    ``CredentialsRefused``, ``FileRefused``, ``WrongDistrict``, and whatever shows that the
    connector itself is at fault, for then nothing that it said is to be trusted.
    """
    for _ in range(RESTARTS):
        stage.reset()
        reading = FetchResult(Certificate(complete=False))
        try:
            with seldom():
                _read(UnderWay(stage, source, connector, terms, request, reading), patient)
                return reading
        except RestartFetch as error:
            last = error
    return FetchResult(
        Certificate(complete=False, reason=last.message),
        error=IncompleteFetch(last.message, hint="It is read again at the next run."),
    )


def _read(under_way: UnderWay, patient: Patience) -> None:
    reading, stage, connector = under_way.reading, under_way.stage, under_way.connector
    pages = connector.pages(under_way.request)
    count = 0
    try:
        while True:
            served = patient.ask(lambda: _next(pages))
            if isinstance(served, _End):
                reading.certificate = sound_certificate(served.certificate)
                break
            count += 1
            page = sound_page(served, connector)
            with stage.transaction():
                stream = under_way.stream(page.stream)
                stream.note(page)
                stream.read(page)
            with stage.transaction():
                stream.look_for_somebody_new()
            patient.check()
    except ConnectorFailed:
        raise
    except VendorFailure as error:
        reading.error = error
        reading.certificate = Certificate(complete=False, reason=error.message, pages=count)
    finally:
        patient.let_go(pages.close)
    incremental = reading.certificate.incremental
    for name, stream in under_way.streams.items():
        reading.counted[name] = stream.count
        reading.pages[name] = stream.position
        reading.compared[name] = stream.compared and not incremental
        if stream.compared:
            reading.ordered.add(name)
        with stage.transaction():
            stream.finish()
        note(
            log, "read stream", source=under_way.source.name, stream=name, pages=stream.position,
            records=stream.count, unusable=reading.unusable.get(name, 0),
        )  # fmt: skip


class _End:
    """The end of the pages, with what the connector said of them."""

    def __init__(self, certificate: object) -> None:
        self.certificate = certificate


def _next(pages: Generator[Page, None, Certificate]) -> Page | _End:
    """Return the next page, or the end: a ``StopIteration`` does not get from thread to thread."""
    try:
        return next(pages)
    except StopIteration as end:
        return _End(end.value)
