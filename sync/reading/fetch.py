"""One reading of a source, from the first page of its connector to the certificate.

``read_source`` hands the pages to their streams, which leave on the stage what evidence has to
change, and returns a ``Reading``. It writes nothing but the stage.
"""

from __future__ import annotations

from connectors.contract.connector import Certificate, Connector, FetchRequest
from core.errors import IncompleteFetch, RestartFetch, VendorFailure
from core.schema import Source
from core.steps import log_of, note
from sync.reading.fetch_result import FetchResult
from sync.reading.fingerprints import ReadingTerms
from sync.reading.stage import Stage
from sync.reading.stream import UnderWay
from sync.run.gc_pause import seldom

log = log_of(__name__)

RESTARTS = 3
"""How often a reading starts again because the roster changed meanwhile."""


def read_source(
    stage: Stage,
    source: Source,
    connector: Connector,
    terms: ReadingTerms,
    request: FetchRequest,
) -> FetchResult:
    """Read a source onto the stage.

    Never raises for a vendor's or a file's failure: the certificate is then incomplete and
    ``error`` says why. Raises errors that are not failures of the fetch: ``ConfigError``,
    ``CredentialsRefused``, ``FileRefused``, ``WrongDistrict``.
    """
    for _ in range(RESTARTS):
        stage.reset()
        reading = FetchResult(Certificate(complete=False))
        try:
            with seldom():
                _read(UnderWay(stage, source, connector, terms, request, reading))
                return reading
        except RestartFetch as error:
            last = error
    return FetchResult(
        Certificate(complete=False, reason=last.message),
        error=IncompleteFetch(last.message, hint="It is read again at the next run."),
    )


def _read(under_way: UnderWay) -> None:
    reading, stage = under_way.reading, under_way.stage
    pages = under_way.connector.pages(under_way.request)
    count = 0
    try:
        while True:
            try:
                page = next(pages)
            except StopIteration as end:
                reading.certificate = end.value
                break
            count += 1
            with stage.transaction():
                under_way.stream(page.stream).read(page)
    except VendorFailure as error:
        reading.error = error
        reading.certificate = Certificate(complete=False, reason=error.message, pages=count)
    finally:
        pages.close()
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
