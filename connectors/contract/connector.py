"""The contract between a connector and the engine: Connector, Capabilities, Page, Record.

A connector reads one vendor or file format, in two steps, so that unchanged records are never
parsed: ``pages()`` serves raw records as bytes and ends with a certificate; ``identify()`` and
``parse()`` are pure, and the engine calls them only for raw records whose bytes it has not seen
before. The engine reads a connector's flags, never its class. A connector knows nothing about
storage, policy or other vendors.

One file, because an author reads the contract as one page.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from connectors.contract.file_exchange import ExampleFile, ExportFile, ExportRequest, GivenFiles
from core.errors import ConfigError, FileRefused, RosterSyncError, SkipRecord
from core.models import Kind, NormalizedSchool, NormalizedUser, Role

DEFAULT_ROLES: tuple[Role, ...] = (Role.STUDENT, Role.TEACHER, Role.STAFF, Role.ADMIN)
"""Guardians become users only where a district asks for them."""


class ConnectorConfig(BaseModel):
    """The config fields that every connector has. A connector subclasses this with its own.

    Secrets are ``SecretStr``; each field carries a ``description``, from which the documentation
    and the command line are made. Unknown keys are refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    roles: tuple[Role, ...] = Field(
        default=DEFAULT_ROLES, description="Roles to read; all but contact by default."
    )
    schools: tuple[str, ...] = Field(
        default=(), description="Restrict the source to these school ids or names; empty: all."
    )
    reading_timeout: float = Field(
        default=14400,
        gt=0,
        le=86400,
        description="Seconds that one reading of this source may take in all.",
    )


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connector can do. The engine reads these flags, never the connector's name."""

    origin: Literal["sync", "file"] = "sync"
    """The origin of users whom this connector brings in first."""
    partial_is_usable: bool = True
    """True: an incomplete fetch may still create and update from complete records (F1)."""
    incremental: bool = False
    """``pages()`` accepts a cursor and then serves only what changed since."""
    skips_unchanged: bool = False
    """``pages()`` may answer "nothing new at the vendor" (certificate ``unchanged``)."""
    discovery: bool = False
    """``districts()`` lists the districts a vendor account may read."""
    reads_by_id: bool = False
    """``exists()`` answers for single external ids (F3)."""
    joined: bool = False
    """Users are joined from several rows: ``parse`` gives Parts and ``combine`` joins them."""
    scoped_by_role: bool = False
    """A fetch speaks only for the roles it has people of (F6)."""
    unique_email: bool = False
    """An address may stand in one row only; the first row is kept (file-rules.md 3.10)."""
    takes_uploads: bool = False
    """``pages()`` reads a file that somebody gave (``FetchRequest.file``)."""
    upload_only: bool = False
    """Reads uploads only: it is never scheduled, and absence never archives."""
    one_upload: bool = False
    """One upload is accepted, once the delivery is available; later changes are asked for."""
    binds_email_domains: bool = False
    """Addresses of this source must be at one of the district's ``email_domains`` (F9)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One raw record as it was served: its bytes and, in a file, its line (1 is the first line)."""

    raw: bytes
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One stretch of raw records in the order in which the vendor served them.

    ``stream`` names the kind of rows (``users``, ``schools``, ``roles`` …); it is one of the
    connector's ``streams``. ``body`` is what was served: equal bodies hold equal records, so the
    engine splits a page only when its body is new. ``split(body)`` gives the raw records, each on
    its own; a body from which whole rows were cut is split into the remaining ones. ``context`` is
    everything else that decides how a raw record is read (a CSV header): a new context makes every
    record of the stream new. ``file`` says of which file the page is; ``lines(rows)`` is asked for
    line numbers only when one is needed.
    """

    stream: str
    body: bytes
    split: Callable[[bytes], Sequence[bytes]]
    context: bytes = b""
    file: str | None = None
    lines: Callable[[Sequence[bytes]], Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What one raw record (or the joined rows of one entry) says: a user or a school.

    Exactly one of ``user`` and ``school`` is set, unless ``deleted`` is true (the vendor says that
    the entry is gone, ``tobedeleted``); then both may be None. ``former_keys`` are ids under which
    the same source may have known the entry before (F9). ``unknown`` lists words that were not
    understood, as ``field=token``; it never holds personal data. ``extra`` names the fields of the
    record that we do not read, without their values. ``doubts`` are values that were left out
    because they cannot be right (an address without a domain): they are listed, and the rest of
    the record is used.
    """

    kind: Kind
    key: str
    user: NormalizedUser | None = None
    school: NormalizedSchool | None = None
    deleted: bool = False
    former_keys: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    by_address: bool = False
    """The key is the email address: a row that is refused for its address may be anybody's."""
    doubts: tuple[SkipRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """What a row that cannot be used still says of its person (F12).

    ``owner`` is the external id of the entry, where the row's own id is another one; the names are
    as they stand there.
    """

    owner: str | None = None
    given_name: str = ""
    family_name: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One row of an entry that is joined from several rows (``Capabilities.joined``).

    ``owner`` is the external id of the entry, ``key`` the row's own id in its stream, ``data`` a
    JSON-able mapping which ``combine`` understands. A part with ``deleted`` is gone.
    """

    owner: str
    key: str
    data: Mapping[str, Any]
    deleted: bool = False
    unknown: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    doubts: tuple[SkipRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What the engine asks of ``pages()``.

    ``cursor`` is None for a full fetch; otherwise the ``cursor`` of the last certificate, for an
    incremental one. ``revision`` is the ``revision`` of the last complete fetch when the engine
    may skip an unchanged roster, else None. ``directory`` is the working folder for relative paths.
    """

    cursor: Mapping[str, Any] | None = None
    revision: str | None = None
    directory: str = "."
    file: str | None = None
    """An uploaded file, to be read instead of the configured place."""


@dataclass(frozen=True, slots=True)
class RowFinding:
    """One row of a file that could not be used, as reports show it; ``value`` is masked."""

    file: str | None
    line: int | None
    column: str
    rule: str
    message: str
    hint: str = ""
    value: str = ""


class RowsRefused(FileRefused):
    """A file is refused because of some of its columns or rows, and ``findings`` lists them all."""

    def __init__(
        self, message: str, *, hint: str = "", findings: Sequence[RowFinding] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a reading ended, passed to the connector once it is kept (``Connector.settled``).

    ``complete``: everything was read. ``error`` is what ended it early, if anything did.
    ``findings`` are the rows that could not be used.
    """

    complete: bool
    error: RosterSyncError | None = None
    findings: Sequence[RowFinding] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """The files that somebody sent and that a reading used, for the list of files.

    ``digest`` identifies their content, whatever they are called, ``size`` is in bytes,
    ``modified`` the newest file's own time (aware, UTC).
    """

    title: str
    digest: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a fetch proves. Only a complete one can show that somebody left (rule 3).

    ``reason`` says in a sentence why it is incomplete. ``declared`` maps a stream to the total that
    the vendor declared for it; the engine counts for itself and compares. ``by_stream`` is not
    needed: the engine counts. ``absent_streams`` are streams about which this fetch says nothing
    (delta files): nobody counts as missing in them. ``unchanged``: the vendor says that nothing is
    new, and nothing was read. ``revision`` is the vendor's own mark of its data, ``cursor`` where
    an incremental fetch continues, ``vendor_time`` (aware, UTC) the date of the vendor's data,
    ``vendor_state`` the vendor's own word for its state (``paused``, ``pending``, ``error`` …).
    """

    complete: bool
    reason: str | None = None
    pages: int = 0
    declared: Mapping[str, int] = field(default_factory=dict)
    incremental: bool = False
    unchanged: bool = False
    absent_streams: frozenset[str] = frozenset()
    vendor_district: str | None = None
    vendor_time: datetime | None = None
    vendor_state: str | None = None
    revision: str | None = None
    cursor: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    """Sentences for the admin that name no person (a column out of order, an empty mode …)."""


@dataclass(frozen=True, slots=True)
class VendorDistrict:
    """One district that a vendor account may read; ``state`` is the vendor's word, if any."""

    id: str
    name: str
    state: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``rostersync check``: what was tried, whether it works, and a sentence."""

    name: str
    passed: bool
    message: str


class Connector(ABC):
    """Reads one vendor or file format.

    Construct it with its validated config. It holds no state that outlives a fetch. Rosters are
    read through ``pages``; everything the engine keeps comes out of ``parse`` (and ``combine``).
    Errors raised: ``ConfigError``, ``CredentialsRefused``, ``WrongDistrict``, ``FileRefused``,
    ``VendorFailure``, ``IncompleteFetch``, ``Disconnected``, ``RestartFetch``, ``NothingNew`` (a
    drop folder without a new set: nothing is read, nobody counts as missing); ``SkipRecord`` from
    ``identify``, ``parse`` and ``combine`` only. None of their messages holds personal data. Any
    other error is reported as a failure of the connector, with its place and without its message.
    In a run ``pages``, ``exists`` and ``vendor_district`` are asked in one thread of their own, and
    for no longer than ``reading_timeout``.
    """

    name: ClassVar[str]
    """The name used in the district file, and the entry point's name."""
    version: ClassVar[str]
    """Raised whenever ``parse`` would read the same bytes differently: it forces a full re-read."""
    title: ClassVar[str]
    """One line for ``rostersync connectors``."""
    docs: ClassVar[str] = ""
    """The vendor's documentation."""
    config_model: ClassVar[type[ConnectorConfig]]
    capabilities: Capabilities
    """Set on the class. If they depend on the format (OneRoster 1.1 or 1.2), a connector may narrow
    them on the instance before its first page; the engine reads them there."""
    streams: ClassVar[Mapping[str, Kind]]
    """The streams that pages may carry, and the kind of entry that their rows build. Streams are
    served one after the other, each whole, schools first."""

    people: ClassVar[frozenset[str]] = frozenset()
    """The streams whose rows are people, each on its own; empty: all that build users. Of another
    stream (schools, roles) some row must be usable, or the reading is incomplete."""

    reading_fields: ClassVar[frozenset[str]] = frozenset({"roles", "schools"})
    """The config fields that decide how a record is read (not where it is read from). When one of
    them changes, the engine reads everything again and labels the changes that follow (L8)."""

    directory: str = "."
    """Where relative paths in the config start; the caller of ``check`` sets it first."""

    def __init__(self, config: ConnectorConfig) -> None:
        self.config = config

    @abstractmethod
    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve the roster page by page, and return its certificate.

        Raise ``IncompleteFetch`` (or return a certificate that is not complete) when the reading
        ends early: pages already served count as read.
        """

    def vendor_district(self) -> str | None:
        """Ask for the vendor's own id of the district (L9), before any person is read.

        The certificate holds it as ``vendor_district``. It is asked for once in a reading. None:
        this vendor, or these credentials, do not tell it; then nothing is bound or refused.
        """
        return None

    def same_district(self, bound: str, found: str) -> bool:
        """Say whether ``found`` may be the district that the source was bound to as ``bound`` (L9).

        Both were answers of ``vendor_district``. False refuses the credentials.
        """
        return bound == found

    @abstractmethod
    def identify(self, stream: str, raw: bytes) -> str:
        """Return the external id of one raw record (for joined streams: the row's own id)."""

    @abstractmethod
    def parse(self, stream: str, raw: bytes) -> Record | Part:
        """Return what one raw record says. Pure: the same bytes give the same answer."""

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return what ``parse`` reads of one raw record, as bytes, or None if that is unknown.

        Records with equal gists parse to the same result (except for ``extra``), so a vendor that
        touches the date of every record costs no parsing. Pure, much cheaper than ``parse``, and
        raises nothing: a record that it cannot read has no gist. By default no record has one.
        """
        return None

    def trace(self, stream: str, raw: bytes) -> Trace | None:
        """Return what a row that cannot be used says of its person, or None. Raises nothing.

        Their key may be new, or another person's: then their person has no row under the former
        key, and must not leave because of that.
        """
        return None

    def combine(self, owner: str, parts: Sequence[tuple[str, Part]]) -> Record | None:
        """Join the rows of one entry, given as (stream, part). None: they do not form an entry."""
        raise NotImplementedError(f"{self.name} does not join rows")

    def fields(self, stream: str, raw: bytes) -> Mapping[str, Any]:
        """Return the raw record as a mapping, for mapping rules and ``source try``."""
        decoded = msgspec.json.decode(raw)
        return decoded if isinstance(decoded, dict) else {"value": decoded}

    def faults(self, stream: str, raw: bytes) -> Sequence[SkipRecord]:
        """Return everything that is wrong with a row that ``identify`` or ``parse`` refused.

        The report of an upload shows all of it, each column once. Empty: nothing more is known
        than what they raised.
        """
        return ()

    def exists(self, keys: Iterable[str]) -> Mapping[str, bool]:
        """Ask the vendor for single external ids (F3): id → whether it still exists."""
        raise NotImplementedError(f"{self.name} cannot be asked for single ids")

    def received(self) -> Received | None:
        """Return the sent files being read, once ``pages()`` has begun; None if nobody sent any."""
        return None

    def settled(self, settlement: Settlement) -> None:
        """Tidy up at the source after the reading is kept and committed. Does nothing by default.

        Called at most once after each ``pages()`` that did not itself fail. It may be called again
        for the same roster after a crash, so it must finish what was begun. A ``VendorFailure``
        raised here is reported and otherwise ignored: the next run finishes the work.
        """

    def check(self) -> Iterable[Check]:
        """Try connectivity, credentials and permissions without changing anything."""
        return ()

    @classmethod
    def recognises(cls, files: GivenFiles) -> bool:
        """Say whether the files that somebody gave are of this format (``takes_uploads``).

        Names and headers decide. Say yes only where no other format is likely to look like it:
        somebody who uploads a file should not have to say whose it is.
        """
        return False

    @classmethod
    def template(cls) -> Mapping[str, ExampleFile]:
        """Return the files that somebody may fill in and upload: name → header and example rows.

        The format must recognise them. Empty: there is no template.
        """
        return {}

    @classmethod
    def export_rows(cls, request: ExportRequest) -> Sequence[ExportFile]:
        """Return what a source holds as files of its own format; empty: it cannot be written.

        Uploaded back, they change nobody: each key is the source's own, each field is what the
        directory says. Somebody whom the format cannot carry is a ``LeftOut`` among the rows.
        Several files are packed as one zip.
        """
        return ()

    @classmethod
    def districts(cls, config: ConnectorConfig) -> Sequence[VendorDistrict]:
        """List the districts that the account in ``config`` may read."""
        raise ConfigError(
            f"The connector {cls.name} cannot list districts.",
            hint="Only vendors with a discovery service can; configure the source directly.",
        )

    def close(self) -> None:
        """Close connections and files. Called once, after the last page."""
