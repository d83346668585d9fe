"""A drop directory on a local disk, such as the home of a chrooted SFTP server.

Used by ``connectors.files.file_connector`` for ``inbound``. Others write here, so no name is
trusted: every file is opened by a descriptor of its folder and never through a link, and what we
write gets a random name first, which nobody can have put a link at.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from connectors.files.dropped.inbox import MAX_ENTRIES, OURS, Entry, is_a_link, plain_name
from core.errors import ConfigError, VendorFailure

_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalInbox:
    """A folder of this machine as an ``Inbox``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = f"The drop directory {folder.name}"

    def listing(self, folder: str = "") -> list[Entry]:
        """Return the plain files. Raises ``ConfigError`` where there is no such folder."""
        if not self.folder.is_dir():
            raise ConfigError(
                f"There is no drop directory {self.folder.name}.",
                hint="Check inbound; a relative path starts at the folder of the district file.",
            )
        entries = []
        with self._telling("listed"), self._opened(folder) as handle:
            for name, about in self._looked_at(handle):
                if not folder and name in OURS and not stat.S_ISDIR(about.st_mode):
                    raise is_a_link(self.where, name)
                if plain_name(name) and stat.S_ISREG(about.st_mode):
                    entries.append(Entry(name, about.st_size, about.st_mtime))
        return sorted(entries, key=lambda entry: entry.name)

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in one of our folders; none if it is missing."""
        with self._telling("listed"):
            try:
                with self._opened(folder) as handle:
                    found = self._looked_at(handle)
                    return sorted(name for name, about in found if stat.S_ISDIR(about.st_mode))
            except FileNotFoundError:
                return []

    def _looked_at(self, handle: int) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(handle) as found:
            names = [entry.name for number, entry in enumerate(found) if number <= MAX_ENTRIES]
        if len(names) > MAX_ENTRIES:
            raise ConfigError(f"{self.where} holds more than {MAX_ENTRIES:,} entries.")
        for name in names:
            with suppress(FileNotFoundError):  # gone between two looks
                yield name, os.stat(name, dir_fd=handle, follow_symlinks=False)

    def copy(self, entry: Entry, to: Path) -> None:
        """Copy a file, and at most one byte more than it should have."""
        with self._telling("read"), self._opened("") as handle:
            source = os.open(entry.name, _READ, dir_fd=handle)
            with os.fdopen(source, "rb") as stream, to.open("wb") as copy:
                left = entry.size + 1 if stat.S_ISREG(os.fstat(source).st_mode) else 0
                while left and (chunk := stream.read(min(_CHUNK, left))):
                    copy.write(chunk)
                    left -= len(chunk)

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None; links are never followed."""
        folder, _, last = name.rpartition("/")
        with self._telling("read"):
            try:
                with self._opened(folder) as handle:
                    source = os.open(last, _READ, dir_fd=handle)
            except OSError as problem:
                if problem.errno in (errno.ENOENT, errno.ELOOP, errno.EMLINK):
                    return None
                raise
            with os.fdopen(source, "rb") as stream:
                plain = stat.S_ISREG(os.fstat(source).st_mode)
                return stream.read(_CHUNK) if plain else None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole."""
        folder, _, last = name.rpartition("/")
        with self._telling("written to"), self._opened(folder) as handle:
            beside = f".rostersync-{secrets.token_hex(8)}.tmp"
            with os.fdopen(os.open(beside, _NEW, 0o666, dir_fd=handle), "wb") as stream:
                stream.write(content)
            try:
                os.rename(beside, last, src_dir_fd=handle, dst_dir_fd=handle)
            except OSError:
                os.unlink(beside, dir_fd=handle)
                raise

    def make(self, folder: str) -> None:
        """Make a folder."""
        with self._telling("written to"):
            steps = folder.split("/")
            for number, step in enumerate(steps):
                with self._opened("/".join(steps[:number])) as handle, suppress(FileExistsError):
                    os.mkdir(step, dir_fd=handle)
            with self._opened(folder):
                pass  # a link with that name is not our folder

    def move(self, name: str, to: str) -> None:
        """Move a file."""
        folder, _, last = name.rpartition("/")
        to_folder, _, to_last = to.rpartition("/")
        with (
            self._telling("written to"),
            self._opened(folder) as source,
            self._opened(to_folder) as target,
            suppress(FileNotFoundError),
        ):
            if stat.S_ISREG(os.stat(last, dir_fd=source, follow_symlinks=False).st_mode):
                os.rename(last, to_last, src_dir_fd=source, dst_dir_fd=target)

    def remove(self, name: str) -> None:
        """Remove a file."""
        folder, _, last = name.rpartition("/")
        with (
            self._telling("written to"),
            self._opened(folder) as handle,
            suppress(FileNotFoundError),
        ):
            os.unlink(last, dir_fd=handle)

    def close(self) -> None:
        """Nothing is held open."""

    @contextmanager
    def _opened(self, folder: str) -> Iterator[int]:
        """Open a folder below ours, step by step and never through a link."""
        handle = os.open(self.folder, _FOLDER)
        try:
            for step in filter(None, folder.split("/")):
                try:
                    inner = os.open(step, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)
                except OSError as problem:
                    if problem.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
                        raise is_a_link(self.where, step) from None
                    raise
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise VendorFailure(
                f"{self.where} cannot be {done}: {problem.strerror or type(problem).__name__}.",
                hint="Check that this user may read and write there, and that the disk has room.",
            ) from None
