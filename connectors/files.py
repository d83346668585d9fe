"""A set of files: open a folder or a zip, and find its CSV files by name.

Used by every file connector. Nothing is ever unpacked to the disk. What a hostile zip can hold
(bombs, paths that lead out, links, zips in zips) is refused with a sentence.
"""

from __future__ import annotations

import lzma
import re
import stat
import struct
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from connectors.base import (
    Certificate,
    Check,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Received,
    RowsRefused,
    Settlement,
)
from connectors.csv_file import MAX_FILE_BYTES, CsvFile
from connectors.csv_rows import Table
from connectors.csv_write import csv_bytes
from connectors.inbound import LocalInbox
from connectors.pickup import Inbox, PickedUp, Rules, pick_up
from connectors.sftp import SftpConfig, SftpInbox
from connectors.workbook import as_csv, is_workbook
from core.errors import FileRefused, IncompleteFetch, NothingNew, RosterSyncError, SkipRecord

MAX_RATIO = 200
"""Rosters shrink to a twentieth; what shrinks to a two-hundredth was made to fill a disk."""
_RATIO_COUNTS_FROM = 32 << 20
_MAX_DIRECTORY_BYTES = 16 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    OverflowError,
)
_IGNORED = {"thumbs.db", "desktop.ini"}
_NO_KEY = "?"
"""Stands for the key of a row that has none, while its other columns are looked at."""


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
    """The files that loose files in a drop directory need to be one set; empty: any one file."""
    people: ClassVar[frozenset[str]] = frozenset()
    """The streams whose rows are people; empty: all streams that build users."""
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

        Raises ``NothingNew`` when there is none to read, ``FileRefused`` for one that is no such
        set and ``IncompleteFetch`` for one that is not whole.
        """
        place = self._place(request)
        picked = self._picked
        if picked is not None and picked.digest == request.revision:
            return Certificate(  # the same content was read before: a second sending, or a crash
                complete=True,
                unchanged=True,
                revision=picked.digest,
                vendor_time=picked.modified,
                notes=("The set is the same as the last one that was read.",),
            )
        with open_files(place) as files:
            certificate = yield from self.read_set(files)
        if picked is not None:
            certificate = replace(
                certificate,
                revision=picked.digest,
                vendor_time=picked.modified,
                notes=(*picked.notes, *certificate.notes),
            )
        return certificate

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
                final=isinstance(settlement.error, FileRefused),
                report=report_csv(settlement),
            )

    def check(self) -> Iterable[Check]:
        """List the drop directory, if there is one."""
        inbox: Inbox | None = None
        if self.config.sftp is not None:
            inbox = SftpInbox(self.config.sftp)
        if inbox is None:
            return
        try:
            count = len(inbox.listing())
            yield Check("directory", True, f"{inbox.where} can be listed: {count} files.")
        except RosterSyncError as problem:
            yield Check("directory", False, f"{problem.message} {problem.hint}".strip())
        finally:
            inbox.close()

    def close(self) -> None:
        """Throw away the copy of a set, and let go of where it came from."""
        self._let_go()

    def _let_go(self) -> None:
        if self._picked is not None:
            self._picked.close()
        if self._inbox is not None:
            self._inbox.close()
        self._picked = self._inbox = None

    def faults(self, stream: str, raw: bytes) -> list[SkipRecord]:
        """Return everything that is wrong with a row, each column once; nothing: it can be used.

        Of a row that is no row, or whose fields have slipped, only that is told.
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
        """Return the row; the ``SkipRecord`` of one that is no good carries its key."""
        try:
            return self.tables[stream].read(raw)
        except SkipRecord as problem:
            problem.key = key
            raise

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return the columns that are read of a row."""
        return self.tables[stream].gist(raw)

    def fields(self, stream: str, raw: bytes) -> Mapping[str, Any]:
        """Return the row as column → value."""
        return self.tables[stream].mapping(raw, hide=self.hidden)


def report_csv(settlement: Settlement) -> bytes:
    """Return the report that is put beside a set: one line for each row that was left out."""
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


# ----------------------------------------------------------------------------- a set of files


class FileSet:
    """The CSV files in a folder or a zip, found by name. Open with ``open_files``; then close."""

    def __init__(self, label: str, files: list[CsvFile], found: list[str], when: float) -> None:
        self.label = label
        self.found = found
        self.modified = datetime.fromtimestamp(when, UTC)
        """The newest change of the folder's files, or of the zip."""
        self.notes: list[str] = []
        self._files: dict[str, CsvFile] = {}
        for file in files:
            if file.name.casefold() in self._files:
                raise FileRefused(
                    f"{label} holds {file.name} twice.", hint="Leave only one of the two."
                )
            self._files[file.name.casefold()] = file

    def file(self, name: str) -> CsvFile | None:
        """Return the file of this name, in whatever case it is written, or None."""
        file = self._files.get(name.casefold())
        if file is not None and file.name != name:
            note = f"{file.name} is read as {name}."
            if note not in self.notes:
                self.notes.append(note)
        return file

    def files(self) -> list[CsvFile]:
        """Return all CSV files of the set."""
        return list(self._files.values())

    def listing(self) -> str:
        """Say in a few words what was found, for a refusal."""
        shown = sorted(self.found)[:8]
        more = len(self.found) - len(shown)
        return (", ".join(shown) or "nothing") + (f" and {more} more" if more else "")


@contextmanager
def open_files(path: Path) -> Iterator[FileSet]:
    """Open a folder, a zip, or one CSV file. Raises ``FileRefused`` and ``IncompleteFetch``."""
    try:
        if path.is_dir():
            yield _folder(path)
        elif not path.is_file():
            raise FileRefused(
                f"There is no folder or file {path.name}.",
                hint="Check path; a relative path starts at the folder of the district file.",
            )
        elif _is_zip(path):
            with _zip(path) if not is_workbook(path) else _workbook(path) as files:
                yield files
        else:
            file = CsvFile(path.name, partial(_open_file, path))
            yield FileSet(path.name, [file], [path.name], path.stat().st_mtime)
    except OSError as problem:
        raise FileRefused(
            f"{path.name} cannot be read: {problem.strerror or type(problem).__name__}.",
            hint="Check that the file is there and that this user may read it.",
        ) from None


@contextmanager
def _workbook(path: Path) -> Iterator[FileSet]:
    """Open an Excel workbook as one CSV file, after its parts were looked at like any zip's."""
    with _zip(path):
        pass  # raises for whatever is hostile or damaged
    with as_csv(path) as (csv_path, notes):
        file = CsvFile(path.name, partial(_open_file, csv_path))
        opened = FileSet(path.name, [file], [path.name], path.stat().st_mtime)
        opened.notes += notes
        yield opened


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06") or path.suffix.lower() == ".zip"


@contextmanager
def _open_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, and find out at the end whether somebody was still writing it."""
    with path.open("rb") as stream:
        before = path.stat()
        yield stream
        after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise IncompleteFetch(f"{path.name} was still being written while it was read.")


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _IGNORED or name == "__MACOSX"


def _csv_in(folder: Path) -> list[Path]:
    inside = folder.resolve()
    files = []
    for path in sorted(folder.iterdir()):
        if _ignored(path.name) or path.suffix.lower() != ".csv" or not path.is_file():
            continue
        if inside not in path.resolve().parents:
            raise FileRefused(f"{path.name} is a link that leads out of its folder.")
        files.append(path)
    return files


def _folder(folder: Path) -> FileSet:
    paths, note = _csv_in(folder), ""
    entries = [path for path in sorted(folder.iterdir()) if not _ignored(path.name)]
    if not paths:
        inner = [path for path in entries if path.is_dir() and _csv_in(path)]
        if len(inner) == 1:
            paths, note = _csv_in(inner[0]), f"The files lie in the folder {inner[0].name}."
    found = [path.name for path in entries if not path.is_dir()]
    found += [
        f"{path.name}/{inside.name}"
        for path in entries
        if path.is_dir()
        for inside in sorted(path.iterdir())[:20]
        if not _ignored(inside.name)
    ]
    files = [CsvFile(path.name, partial(_open_file, path)) for path in paths]
    times = [path.stat().st_mtime for path in paths or [folder]]
    opened = FileSet(folder.name, files, found, max(times))
    if note:
        opened.notes.append(note)
    return opened


@contextmanager
def _zip(path: Path) -> Iterator[FileSet]:
    _refuse_a_huge_directory(path)
    try:
        archive = zipfile.ZipFile(path)
    except (*_DAMAGED, NotImplementedError):
        with path.open("rb") as stream:
            if stream.read(2) == b"PK" or path.stat().st_size == 0:
                raise IncompleteFetch(
                    f"{path.name} is cut in the middle or damaged: it cannot be unpacked.",
                    hint="Send the zip again.",
                ) from None
        raise FileRefused(f"{path.name} is not a zip.") from None
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            _refuse_a_hostile_member(path.name, member)
        if sum(m.file_size for m in members) > max(
            _RATIO_COUNTS_FROM, MAX_RATIO * path.stat().st_size
        ):  # files that lie over one another look small one by one
            raise FileRefused(f"{path.name} grows more than {MAX_RATIO} times when it is unpacked.")
        members = [
            member
            for member in members
            if not any(_ignored(part) for part in PurePosixPath(member.filename).parts)
        ]
        yield _members(path, archive, members)


def _members(path: Path, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> FileSet:
    tables = [member for member in members if member.filename.lower().endswith(".csv")]
    folders = {str(PurePosixPath(member.filename).parent) for member in tables}
    root = "." if "." in folders or len(folders) != 1 else folders.pop()
    files = [
        CsvFile(PurePosixPath(member.filename).name, partial(_open_member, archive, member))
        for member in tables
        if str(PurePosixPath(member.filename).parent) == root
    ]
    found = [member.filename for member in members]
    opened = FileSet(path.name, files, found, path.stat().st_mtime)
    if root != ".":
        opened.notes.append(f"The files lie in the folder {root} of the zip.")
    return opened


def _refuse_a_huge_directory(path: Path) -> None:
    """Look at the zip's own word on its list of files, before the list is read into memory."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 66_000))
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at >= 0 and int.from_bytes(tail[at + 12 : at + 16], "little") > _MAX_DIRECTORY_BYTES:
        raise FileRefused(f"{path.name} holds too many files.")


def _refuse_a_hostile_member(label: str, member: zipfile.ZipInfo) -> None:
    name = member.filename
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\\" in name:
        raise FileRefused(
            f"{label} holds a file whose path leads out of the zip.",
            hint="Pack the CSV files at the root of the zip.",
        )
    if name.lower().endswith(".zip"):
        raise FileRefused(
            f"{label} holds another zip.", hint="Pack the CSV files themselves into one zip."
        )
    if member.flag_bits & 0x1:
        raise FileRefused(f"{label} is protected by a password.", hint="Pack it without one.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise FileRefused(f"{label} holds a link instead of a file.")
    if member.file_size > MAX_FILE_BYTES:
        raise FileRefused(f"{label} holds a file larger than 4 GiB.")
    if member.file_size > max(_RATIO_COUNTS_FROM, MAX_RATIO * member.compress_size):
        raise FileRefused(
            f"{label} holds a file that grows more than {MAX_RATIO} times when it is unpacked."
        )


@contextmanager
def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    name = PurePosixPath(member.filename).name
    try:
        with archive.open(member) as stream:
            yield stream
    except _DAMAGED:
        raise IncompleteFetch(
            f"{name} is damaged inside the zip.", hint="Send the zip again."
        ) from None
    except NotImplementedError:
        raise FileRefused(
            f"{name} is packed with a method that is not supported.", hint="Pack with Deflate."
        ) from None


# -------------------------------------------------------------- a set that is something else

_MARKS: tuple[tuple[str, frozenset[str], int], ...] = (
    (
        "Microsoft School Data Sync (SDS)",
        frozenset(
            {"student.csv", "school.csv", "teacherroster.csv", "studentenrollment.csv"}
            | {"userflags.csv", "relationships.csv"}
        ),
        1,
    ),
    ("an Excel workbook", frozenset({"workbook.xml"}), 1),
    (
        "a Clever roster (connector clever_csv)",
        frozenset({"schools.csv", "students.csv", "teachers.csv"}),
        2,
    ),
    (
        "OneRoster CSV (connector oneroster_csv)",
        frozenset({"manifest.csv", "users.csv", "orgs.csv", "academicsessions.csv"}),
        2,
    ),
)


def resemblance(files: FileSet) -> str:
    """Name the format whose file names were found, or return nothing."""
    names = {PurePosixPath(name).name.casefold() for name in files.found}
    for format_name, marks, enough in _MARKS:
        if len(marks & names) >= enough:
            return format_name
    return ""


def no_such_set(files: FileSet, wanted: str, expected: str) -> FileRefused:
    """Return the refusal of a folder or zip that holds nothing of ``wanted``."""
    looks = resemblance(files)
    return FileRefused(
        f"{files.label} holds no {wanted} files. Found: {files.listing()}."
        + (f" It looks like {looks}." if looks else ""),
        hint=f"Expected {expected}.",
    )


def not_this_set(
    files: FileSet, problem: FileRefused, connector: str, expected: str
) -> FileRefused:
    """Add to the refusal of a file which other format the whole set looks like."""
    looks = resemblance(files)
    if not looks or connector in looks:
        return problem
    return FileRefused(
        f"{problem.message} The files look like {looks}.", hint=f"Expected {expected}."
    )


def the_one_file(files: FileSet) -> CsvFile:
    """Return the CSV file of a set that must be just one. Raises ``FileRefused``."""
    found = files.files()
    if len(found) == 1:
        return found[0]
    if not found:
        raise no_such_set(files, "CSV", "one CSV file")
    raise FileRefused(
        f"{files.label} holds {len(found)} CSV files: {files.listing()}.",
        hint="Name the file itself.",
    )
