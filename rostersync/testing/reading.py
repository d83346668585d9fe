"""One reading of a roster, done as the engine does it and kept for the checks to look at."""

from __future__ import annotations

import io
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field

from connectors.contract.connector import Certificate, Connector, FetchRequest, Page, Part, Record
from core.errors import RestartFetch, RosterSyncError, SkipRecord
from core.models import Kind, NormalizedSchool, NormalizedUser

RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Served:
    """One raw record, where it was served, and what the connector made of it."""

    stream: str
    raw: bytes
    key: str | SkipRecord
    said: Record | Part | SkipRecord


@dataclass(slots=True)
class Reading:
    """What one call of ``pages()`` gave, up to its certificate or its error."""

    connector: Connector
    pages: list[Page] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    combined: list[Record | None] = field(default_factory=list)
    skips: list[SkipRecord] = field(default_factory=list)
    certificate: Certificate | None = None
    error: RosterSyncError | None = None
    crash: Exception | None = None
    """An exception other than RosterSyncError: the connector's fault, whatever the vendor did."""
    log: str = ""
    """Everything logged meanwhile by any library, at every level."""
    printed: str = ""
    """Everything written to standard output and standard error meanwhile."""

    @property
    def records(self) -> list[Record]:
        """Every record that stands alone or was combined, in the order in which it was made."""
        alone = [served.said for served in self.served if isinstance(served.said, Record)]
        return alone + [record for record in self.combined if record is not None]

    @property
    def users(self) -> list[NormalizedUser]:
        """Every user that is there (not one that the vendor calls deleted)."""
        return [
            record.user for record in self.records if record.user is not None and not record.deleted
        ]

    @property
    def schools(self) -> list[NormalizedSchool]:
        """Every school that is there."""
        return [
            record.school
            for record in self.records
            if record.school is not None and not record.deleted
        ]

    @property
    def complete(self) -> bool:
        """True if nothing failed and the certificate says that the reading is whole."""
        return self.certificate is not None and self.certificate.complete


def read(connector: Connector, request: FetchRequest) -> Reading:
    """Read a roster from the first page to the certificate, and close the connector.

    Exceptions that the contract allows are kept in ``error``, all others in ``crash``; nothing is
    raised here. A reading that asks for a restart is restarted a few times.
    """
    for _ in range(RESTARTS):
        reading = Reading(connector)
        with listening() as log, overheard() as printed:
            try:
                _read(reading, request)
            except RosterSyncError as error:
                reading.error = error
            except Exception as error:  # noqa: BLE001 - the check reports it, whatever it is
                reading.crash = error
        reading.log = log.text()
        reading.printed = printed.getvalue()
        if not isinstance(reading.error, RestartFetch):
            break
    try:
        connector.close()
    except Exception as error:  # noqa: BLE001 - as above
        reading.crash = reading.crash or error
    return reading


def _read(reading: Reading, request: FetchRequest) -> None:
    pages = reading.connector.pages(request)
    parts: dict[str, list[tuple[str, Part]]] = defaultdict(list)
    while True:
        try:
            page = next(pages)
        except StopIteration as end:
            reading.certificate = end.value
            break
        reading.pages.append(page)
        for raw in page.split(page.body):
            served = _said(reading.connector, page.stream, raw)
            reading.served.append(served)
            if isinstance(served.said, SkipRecord):
                reading.skips.append(served.said)
            elif isinstance(served.said, Part):
                parts[served.said.owner].append((page.stream, served.said))
    for owner, rows in parts.items():
        try:
            reading.combined.append(reading.connector.combine(owner, rows))
        except SkipRecord as skip:
            reading.skips.append(skip)


def _said(connector: Connector, stream: str, raw: bytes) -> Served:
    key: str | SkipRecord
    said: Record | Part | SkipRecord
    try:
        key = connector.identify(stream, raw)
    except SkipRecord as skip:
        key = skip
    try:
        said = connector.parse(stream, raw)
    except SkipRecord as skip:
        said = skip
    return Served(stream, raw, key, said)


class Log(logging.Handler):
    """Keeps what is logged, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._formatter = logging.Formatter("%(name)s %(message)s")
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line and, if an error was logged, its traceback."""
        self._lines.append(self._formatter.format(record))

    def text(self) -> str:
        """Return all that was logged."""
        return "\n".join(self._lines)


@contextmanager
def listening() -> Iterator[Log]:
    """Keep everything that any logger is told, at every level, while the context lasts."""
    root = logging.getLogger()
    log = Log()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        root.setLevel(level)
        root.removeHandler(log)


@contextmanager
def overheard() -> Iterator[io.StringIO]:
    """Keep what is written to standard output and standard error while the context lasts."""
    text = io.StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        yield text


def kind_of(served: Served) -> Kind | None:
    """Return the kind that a served record says it is, or None for parts and skips."""
    return served.said.kind if isinstance(served.said, Record) else None
