"""A directory in which others put files: it is listed, copied from and tidied up.

``connectors.files.dropped.drop_folder`` is one of this machine, ``sftp`` one of a server;
``pickup`` and ``tidying`` know neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import ConfigError

MAX_ENTRIES = 10_000
"""A directory with more entries is not a drop folder."""
OURS = frozenset({"processed", "failed"})
"""The folders in it that belong to us."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the directory. ``modified`` is in seconds, on the directory's own clock."""

    name: str
    size: int
    modified: float


class Inbox(Protocol):
    """A directory that is listed, copied from and tidied up, wherever it is.

    Names are relative to it. Every method raises ``VendorFailure`` when the directory cannot be
    reached or changed; ``listing`` raises ``ConfigError`` when there is none, or when ``processed``
    or ``failed`` is a link. Nothing is ever read or written through a link.
    """

    where: str

    def listing(self, folder: str = "") -> list[Entry]:
        """Return the plain files; links, folders and hidden names are left out."""

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in one of our folders; none if it is missing."""

    def copy(self, entry: Entry, to: Path) -> None:
        """Copy at most ``entry.size`` + 1 bytes of a file to ``to``."""

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None if there is none; links are never followed."""

    def write(self, name: str, content: bytes) -> None:
        """Write a small complete file, replacing one of that name."""

    def make(self, folder: str) -> None:
        """Create a folder and its parents if they are missing."""

    def move(self, name: str, to: str) -> None:
        """Move a file; nothing happens if it is gone. A file with the new name is replaced."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if it is gone."""

    def close(self) -> None:
        """Release it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Files that belong together. ``series`` is equal for sets that replace one another."""

    series: str
    entries: tuple[Entry, ...]
    loose: bool

    @property
    def newest(self) -> tuple[float, str]:
        """When its newest file was changed, and that file's name."""
        return max((entry.modified, entry.name) for entry in self.entries)


def plain_name(name: str) -> bool:
    """Say whether a listed name is that of a file to look at: visible, and inside its folder."""
    return not (
        name.startswith(".")
        or name in OURS
        or "/" in name
        or "\\" in name
        or any(ord(character) < 32 for character in name)
    )


def is_a_link(where: str, name: str) -> ConfigError:
    """Return the refusal for one of our folders that is a link or not a folder."""
    return ConfigError(
        f"{where}: {name} there is a link or no folder, so nothing is read or moved there.",
        hint=f"Remove {name}; it is made as a folder at the next run. Find out who put it there.",
    )
