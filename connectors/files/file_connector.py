"""The base of file formats: where a set comes from, what happens to it, how its rows are read.

``connectors/files/file_set.py`` opens the sets.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from connectors.contract.connector import (
    Certificate,
    Check,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Received,
    RowsRefused,
    Settlement,
    Trace,
)
from connectors.files.csv_table import Table
from connectors.files.csv_write import csv_bytes
from connectors.files.dropped.drop_folder import LocalInbox
from connectors.files.dropped.inbox import Inbox
from connectors.files.dropped.pickup import Rules, pick_up
from connectors.files.dropped.sftp import SftpConfig, SftpInbox
from connectors.files.dropped.tidying import PickedUp
from connectors.files.file_set import FileSet, open_files
from core.errors import (
    ConfigError,
    FileRefused,
    IncompleteFetch,
    NothingNew,
    RosterSyncError,
    SkipRecord,
)

_NO_KEY = "?"
"""Replaces the key of a row that has none, while its other columns are checked."""


class FileConfig(ConnectorConfig):
    """The config of a connector that reads files: from one place, or from uploads only."""

    path: str | None = Field(
        default=None,
        description="The folder or zip to read; a relative path starts at the district file.",
    )
    inbound: str | None = Field(
        default=None,
        description="A drop directory on this machine: the newest set there is read, then moved.",
    )
    sftp: SftpConfig | None = Field(
        default=None, description="A directory on an SFTP server, read like a drop directory."
    )
    ready_marker: str | None = Field(
        default=None,
        description="With inbound: a file whose presence says that the set is all there.",
    )
    settle_seconds: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="With inbound and no marker: how long nothing may change before pickup.",
    )

    bad_rows: Literal["skip", "refuse"] = Field(
        default="skip",
        description="Of an upload with unusable rows: use the others, or refuse the file.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        for name in ("path", "inbound"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise ValueError(f"{name} is empty: name the folder, or leave {name} out")
        places = [name for name in ("path", "inbound", "sftp") if getattr(self, name) is not None]
        if len(places) > 1:
            raise ValueError(f"give only one of {' and '.join(places)}")
        if self.ready_marker is not None and self.inbound is None:
            raise ValueError("ready_marker goes with inbound (the sftp table has its own)")
        return self


class FileConnector(Connector):
    """A connector that reads a set of files, wherever it comes from.

    A subclass reads the set in ``read_set``. Rows are read by the header of their file, known once
    pages() began.
    """

    hidden: ClassVar[tuple[str, ...]] = ()
    """Columns that ``fields`` never shows."""
    set_files: ClassVar[tuple[str, ...]] = ()
    """The files that loose files in a drop folder need to be a set; empty: any single file."""
    config: FileConfig

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        self.tables: dict[str, Table[Any]] = {}
        self._picked: PickedUp | None = None
        self._inbox: Inbox | None = None

    @abstractmethod
    def read_set(self, files: FileSet) -> Generator[Page, None, Certificate]:
        """Serve the set page by page, and return its certificate, as ``pages`` does."""

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Find the set and serve it.

        Raises ``NothingNew`` if there is none to read, ``FileRefused`` for one of another kind and
        ``IncompleteFetch`` for one that is not complete.
        """
        place = self._place(request)
        picked = self._picked
        if picked is not None and picked.digest == request.revision:
            return Certificate(  # the same content again: sent twice, or after a crash
                complete=True,
                unchanged=True,
                revision=picked.digest,
                vendor_time=picked.modified,
                notes=("The set is the same as the last one that was read.",),
            )
        try:
            certificate, seen = yield from self._served(place)
        except IncompleteFetch as problem:
            if picked is not None and not problem.hint:
                problem.hint = (
                    "It stays where it is for three looks and ten minutes, because it may still be"
                    " on its way; then it goes to failed/."
                )
            raise
        if seen:
            certificate = replace(certificate, notes=(*certificate.notes, *seen))
        if picked is not None:
            certificate = replace(
                certificate,
                revision=picked.digest,
                vendor_time=picked.modified,
                notes=(*picked.notes, *certificate.notes),
            )
        return certificate

    def _served(self, place: Path) -> Generator[Page, None, tuple[Certificate, list[str]]]:
        """Serve a set; return its certificate, and what had to be put right in its files."""
        with open_files(place) as files:
            certificate = yield from self.read_set(files)
            return certificate, [note for file in files.files() for note in file.notes]

    def _place(self, request: FetchRequest) -> Path:
        """Return what to read: the upload, the path, or the copy of a set that was dropped."""
        self._let_go()
        config = self.config
        if request.file is not None:
            return Path(request.file)
        if config.path is not None:
            return Path(request.directory, Path(config.path).expanduser())
        if config.sftp is not None:
            self._inbox = SftpInbox(config.sftp, request.directory)
            marker, settle = config.sftp.ready_marker, config.sftp.settle_seconds
        elif config.inbound is not None:
            self._inbox = LocalInbox(Path(request.directory, Path(config.inbound).expanduser()))
            marker, settle = config.ready_marker, config.settle_seconds
        else:
            raise NothingNew("No place to read is configured: this source is fed by uploads.")
        rules = Rules(frozenset(name.casefold() for name in self.set_files), marker, settle)
        self._picked = pick_up(self._inbox, rules)
        return self._picked.place

    def received(self) -> Received | None:
        """Return the set that was picked up from a drop directory or a server."""
        return None if self._picked is None else self._picked.received

    def settled(self, settlement: Settlement) -> None:
        """Move a set that was picked up to ``processed/`` or ``failed/``, its report beside it."""
        if self._picked is not None:
            self._picked.settle(
                accepted=settlement.complete,
                final=_is_final(settlement),
                report=report_csv(settlement),
            )

    def check(self) -> Iterable[Check]:
        """Say whether the files are there, wherever they come from."""
        config = self.config
        if config.path is not None:
            yield self._check_files(Path(self.directory, Path(config.path).expanduser()))
        elif config.sftp is not None:
            yield _check_inbox(SftpInbox(config.sftp, self.directory))
        elif config.inbound is not None:
            yield _check_inbox(LocalInbox(Path(self.directory, Path(config.inbound).expanduser())))
        else:
            yield Check("files", True, "It is fed by uploads: no place to read is configured.")

    def _check_files(self, path: Path) -> Check:
        try:
            with open_files(path) as files:
                missing = [name for name in self.set_files if files.file(name) is None]
                if not files.files() or missing:
                    lacks = ", ".join(missing) or "a CSV file"
                    said = f"{files.label} lacks {lacks}. Found: {files.listing()}."
                    return Check("files", False, said)
                there = "" if [files.label] == files.found else f": {files.listing()}"
                return Check("files", True, f"{files.label} is there{there}.")
        except RosterSyncError as problem:
            return Check("files", False, f"{problem.message} {problem.hint}".strip())

    def close(self) -> None:
        """Remove the copy of a set, and release the place that it came from."""
        self._let_go()

    def _let_go(self) -> None:
        if self._picked is not None:
            self._picked.close()
        if self._inbox is not None:
            self._inbox.close()
        self._picked = self._inbox = None

    def faults(self, stream: str, raw: bytes) -> list[SkipRecord]:
        """Return everything that is wrong with a row, each column once; empty if it can be used.

        For a malformed row, or one whose fields have moved, only that is reported.
        """
        found: list[SkipRecord] = []
        key = ""
        try:
            key = self.identify(stream, raw)
        except SkipRecord as problem:
            found.append(problem)
        try:
            row = self.tables[stream].read(raw)
        except SkipRecord as problem:
            return found or [problem]
        told = {problem.column for problem in found}
        return found + [
            problem
            for problem in self.row_faults(stream, key or _NO_KEY, row)
            if problem.column not in told
        ]

    @abstractmethod
    def row_faults(self, stream: str, key: str, row: Any) -> list[SkipRecord]:
        """Return what is wrong with the values of a row, the first of which ``parse`` raises."""

    def _row(self, stream: str, raw: bytes, key: str) -> Any:
        """Return the row, or raise a ``SkipRecord`` that carries its key."""
        try:
            return self.tables[stream].read(raw)
        except SkipRecord as problem:
            problem.key = key
            raise

    def trace(self, stream: str, raw: bytes) -> Trace | None:
        """Return the names of a row that cannot be used, and whose it is."""
        try:
            return self.traced(stream, self.tables[stream].ids(raw))
        except SkipRecord:
            return None

    def traced(self, stream: str, row: Any) -> Trace | None:
        """Return what a row says of its person; of one that has slipped only its ids are there."""
        return None

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return the columns that are read of a row."""
        return self.tables[stream].gist(raw)

    def fields(self, stream: str, raw: bytes) -> Mapping[str, Any]:
        """Return the row as column → value."""
        return self.tables[stream].mapping(raw, hide=self.hidden)


def _check_inbox(inbox: Inbox) -> Check:
    try:
        count = len(inbox.listing())
        return Check("directory", True, f"{inbox.where} can be listed: {count} files.")
    except ConfigError as problem:
        return Check("config", False, f"{problem.message} {problem.hint}".strip())
    except RosterSyncError as problem:
        return Check("directory", False, f"{problem.message} {problem.hint}".strip())
    finally:
        inbox.close()


def _is_final(settlement: Settlement) -> bool:
    """Say whether a set that was not accepted is all there: refused, or read to its end."""
    error = settlement.error
    if isinstance(error, FileRefused):
        return True
    return bool(settlement.findings) and not isinstance(error, IncompleteFetch)


def report_csv(settlement: Settlement) -> bytes:
    """Return the report that is put beside a set, with one line for each skipped row."""
    rows: list[tuple[object, ...]] = []
    found = tuple(settlement.findings)
    if settlement.error is not None:
        error = settlement.error
        rows.append(("", "", "", error.code, "error", error.message, error.hint))
        if isinstance(error, RowsRefused):
            found = (*found, *error.findings)
    elif settlement.complete:
        rows.append(("", "", "", "read", "note", "The set was read whole.", ""))
    rows += [
        (one.file or "", one.line or "", one.column, one.rule, "error", one.message, one.hint)
        for one in found
    ]  # fmt: skip
    return csv_bytes(("file", "line", "column", "rule", "severity", "message", "hint"), rows)
