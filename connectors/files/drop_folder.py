"""A drop directory on a local disk, such as the home of a chrooted SFTP server.

Used by ``connectors.files.file_connector`` for ``inbound``.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from connectors.files.pickup import MAX_ENTRIES, Entry, plain_name
from core.errors import ConfigError, VendorFailure

_CHUNK = 1 << 20


class LocalInbox:
    """A folder of this machine as an ``Inbox``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = f"The drop directory {folder.name}"

    def listing(self) -> list[Entry]:
        """Return the plain files. Raises ``ConfigError`` where there is no such folder."""
        if not self.folder.is_dir():
            raise ConfigError(
                f"There is no drop directory {self.folder.name}.",
                hint="Check inbound; a relative path starts at the folder of the district file.",
            )
        entries = []
        with self._telling("listed"):
            for number, path in enumerate(self.folder.iterdir()):
                if number >= MAX_ENTRIES:
                    raise ConfigError(f"{self.where} holds more than {MAX_ENTRIES:,} entries.")
                try:
                    about = path.lstat()
                except FileNotFoundError:
                    continue  # gone between two looks
                if plain_name(path.name) and stat.S_ISREG(about.st_mode):
                    entries.append(Entry(path.name, about.st_size, about.st_mtime))
        return sorted(entries, key=lambda entry: entry.name)

    def copy(self, entry: Entry, to: Path) -> None:
        """Copy a file, and at most one byte more than it should have."""
        with self._telling("read"), (self.folder / entry.name).open("rb") as stream:
            left = entry.size + 1
            with to.open("wb") as copy:
                while left and (chunk := stream.read(min(_CHUNK, left))):
                    copy.write(chunk)
                    left -= len(chunk)

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None."""
        with self._telling("read"):
            path = self.folder / name
            return path.read_bytes()[:_CHUNK] if path.is_file() else None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole."""
        with self._telling("written to"):
            path = self.folder / name
            beside = path.with_name(f".{path.name}.new")
            beside.write_bytes(content)
            beside.replace(path)

    def make(self, folder: str) -> None:
        """Make a folder."""
        with self._telling("written to"):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)

    def move(self, name: str, to: str) -> None:
        """Move a file."""
        with self._telling("written to"):
            if (self.folder / name).exists():
                (self.folder / name).replace(self.folder / to)

    def remove(self, name: str) -> None:
        """Remove a file."""
        with self._telling("written to"):
            (self.folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is held open."""

    @contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise VendorFailure(
                f"{self.where} cannot be {done}: {problem.strerror or type(problem).__name__}.",
                hint="Check that this user may read and write there, and that the disk has room.",
            ) from None
