"""A private folder for data that must not stay readable: a roster while it is read.

On Linux the folder holds only links to files without a name: what is not large lies in memory, the
rest on the disk, and the death of the program ends both. On other systems the files lie in the
folder itself, and a program that is killed cannot tidy up. So each folder holds a lock while its
program lives, and creating one removes those whose programs have ended.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "rostersync-"
_LOCK = ".in-use"
_GIVEN = "given"
"""Where files with names that others chose lie, so that none of them meets our own."""
_OURS = re.compile(rf"{PREFIX}[0-9a-f]{{16}}|\.{PREFIX}\w{{8}}")
"""The names of finished folders, and of those that are being made: nobody else's are touched."""
IN_MEMORY = 64 << 20
"""Bytes of all files of a folder together. What is beyond lies on the disk."""
MOST_OPEN = 200
"""Files of a folder that are open at once; a set of more files is nobody's roster."""
_BEING_MADE_FOR = 3600.0
"""Seconds. A folder that is just being made has its lock, but does not hold it yet."""

_OWN_FILES = Path("/proc/self/fd")
"""Where Linux shows a program the files that it has open."""


class PrivateFolder:
    """A folder that only this user may read; it is gone when it is closed, or swept away later."""

    def __init__(self) -> None:
        sweep()
        # It gets the name by which it may be swept only when it is locked.
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        self._handle = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path = made.rename(made.with_name(f"{PREFIX}{secrets.token_hex(8)}"))
        self._nameless: dict[Path, int] = {}
        self._room = IN_MEMORY

    def place(self, name: str, size: int) -> Path:
        """Return the path of a file that somebody else has named; see ``reserve``."""
        inner = self.path / _GIVEN
        inner.mkdir(exist_ok=True)
        no_name = name in ("", ".", "..") or "/" in name or "\0" in name
        return self.reserve(inner / ("file" if no_name else name), size)

    def reserve(self, path: Path, size: int) -> Path:
        """Return ``path``, a name in this folder, for a file of about so many bytes to be written.

        If the system can (Linux), no file with that name is made, only a link to one without.
        """
        if _OWN_FILES.is_dir() and len(self._nameless) < MOST_OPEN:
            handle = self._nameless[path] = self._open(size)
            _RESERVED.add(path)
            path.symlink_to(_OWN_FILES / str(handle))
        return path

    def _open(self, size: int) -> int:
        """Open a file without a name: in memory while there is room, else on the disk."""
        if size <= self._room and hasattr(os, "memfd_create"):
            self._room -= size
            return os.memfd_create("rostersync", os.MFD_CLOEXEC)
        with suppress(OSError, AttributeError):  # not every file system can
            return os.open(self.path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        beside = self.path / f".{secrets.token_hex(8)}"
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        beside.unlink()
        return handle

    def close(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        while self._nameless:
            path, handle = self._nameless.popitem()
            _RESERVED.discard(path)
            os.close(handle)
        with suppress(OSError):
            os.close(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_RESERVED: set[Path] = set()


def is_reserved(path: Path) -> bool:
    """Say whether a link is one that a private folder of this program has made."""
    return path in _RESERVED


def sweep() -> int:
    """Remove the private folders of programs that have ended; return how many there were."""
    swept = 0
    with suppress(OSError):
        for path in Path(tempfile.gettempdir()).iterdir():
            if _OURS.fullmatch(path.name):
                swept += _sweep(path)
    return swept


def _sweep(path: Path) -> bool:
    """Remove one folder, if it holds our lock and nobody holds that lock."""
    try:
        about = path.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
            return False
        if path.name.startswith(".") and time.time() - about.st_mtime < _BEING_MADE_FOR:
            return False
        handle = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        finally:
            os.close(handle)
    except OSError:  # its program lives, somebody else has swept it, or another program made it
        return False
    return True
