"""A set of files: a folder, a zip or one CSV file, opened, and its CSV files found by name.

Used by every file connector. Nothing is ever unpacked to the disk. Hostile contents of a zip
(bombs, paths that lead outside, links, zips in zips) are refused with a sentence.
"""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from connectors.files.csv_file import MAX_FILE_BYTES, CsvFile
from connectors.files.workbook import as_csv, is_workbook
from core.errors import FileRefused, IncompleteFetch
from core.private_folder import is_reserved

MAX_RATIO = 200
"""Rosters compress to a twentieth; something that compresses further than this was made to fill a
disk."""
_RATIO_COUNTS_FROM = 32 << 20
_MAX_DIRECTORY_BYTES = 2 << 20
"""Of a zip's list of files: enough for twenty thousand, and a roster has two dozen."""
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


def file_time(seconds: float) -> datetime:
    """Return the time of a file; one that no calendar has is as if nobody knew it: 1970."""
    try:
        found = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
    return found if 1970 <= found.year < 9999 else datetime.fromtimestamp(0, UTC)


class FileSet:
    """The CSV files in a folder or a zip, found by name. Open with ``open_files``; then close."""

    def __init__(self, label: str, files: list[CsvFile], found: list[str], when: float) -> None:
        self.label = label
        self.found = found
        self.modified = file_time(when)
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
        """Return the file with this name, in any case, or None."""
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
            _refuse_a_huge_directory(path)
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
        pass  # raises for anything hostile or damaged
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
    """Open a file, and check at the end whether somebody was still writing it."""
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
        if inside not in path.resolve().parents and not is_reserved(path):
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
        if any(not member.filename for member in archive.infolist()):
            raise FileRefused(
                f"{path.name} holds a file without a name.", hint="Pack the CSV files again."
            )
        members = [member for member in archive.infolist() if not _inside(member).endswith("/")]
        for member in members:
            _refuse_a_hostile_member(path.name, member)
        if sum(m.file_size for m in members) > max(
            _RATIO_COUNTS_FROM, MAX_RATIO * path.stat().st_size
        ):  # overlapping files look small one by one
            raise FileRefused(f"{path.name} grows more than {MAX_RATIO} times when it is unpacked.")
        members = [
            member
            for member in members
            if not any(_ignored(part) for part in PurePosixPath(_inside(member)).parts)
        ]
        yield _members(path, archive, members)


def _inside(member: zipfile.ZipInfo) -> str:
    """Return where a file lies in its zip; some programs of Windows write backslashes (F16)."""
    return member.filename.replace("\\", "/")


def _members(path: Path, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> FileSet:
    tables = [(PurePosixPath(_inside(m)), m) for m in members]
    tables = [(place, m) for place, m in tables if place.suffix.lower() == ".csv"]
    folders = {str(place.parent) for place, _ in tables}
    root = "." if "." in folders or len(folders) != 1 else folders.pop()
    files = [
        CsvFile(place.name, partial(_open_member, archive, member))
        for place, member in tables
        if str(place.parent) == root
    ]
    found = [_inside(member) for member in members]
    opened = FileSet(path.name, files, found, path.stat().st_mtime)
    if root != ".":
        opened.notes.append(f"The files lie in the folder {root} of the zip.")
    return opened


def _refuse_a_huge_directory(path: Path) -> None:
    """Check what a zip says about its list of files, before the list is read into memory.

    Whatever may be taken for that word counts: the short form (the last one in the file, or the one
    at its very end) and the long form of large zips before it.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 66_000))
        tail = stream.read()
    for at in {tail.rfind(b"PK\x05\x06"), len(tail) - 22}:
        if at < 0 or tail[at : at + 4] != b"PK\x05\x06":
            continue
        said = [int.from_bytes(tail[at + 12 : at + 16], "little")]
        long_form = tail.rfind(b"PK\x06\x06", 0, at)
        if long_form >= 0:
            said.append(int.from_bytes(tail[long_form + 40 : long_form + 48], "little"))
            if said[0] == 0xFFFFFFFF:
                del said[0]
        if max(said) > _MAX_DIRECTORY_BYTES:
            raise FileRefused(
                f"{path.name} holds too many files.", hint="Pack only the CSV files of the roster."
            )


def _refuse_a_hostile_member(label: str, member: zipfile.ZipInfo) -> None:
    name = _inside(member)
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or ":" in parts[0]:
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
    name = PurePosixPath(_inside(member)).name
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
    """Add to the refusal of a file the format that the whole set looks like."""
    looks = resemblance(files)
    if not looks or connector in looks:
        return problem
    return FileRefused(
        f"{problem.message} The files look like {looks}.", hint=f"Expected {expected}."
    )


def the_one_file(files: FileSet) -> CsvFile:
    """Return the CSV file of a set that must have exactly one. Raises ``FileRefused``."""
    found = files.files()
    if len(found) == 1:
        return found[0]
    if not found:
        raise no_such_set(files, "CSV", "one CSV file")
    raise FileRefused(
        f"{files.label} holds {len(found)} CSV files: {files.listing()}.",
        hint="Name the file itself.",
    )
