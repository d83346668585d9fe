"""A private folder for data that must not stay readable: a roster while it is read.

What is not large lies in memory, where the death of the program ends it; the folder then holds only
a link to it. The rest lies on the disk, and a program that is killed cannot tidy up. So each folder
holds a lock while its program lives, and creating one removes those whose programs have ended.
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
_OURS = re.compile(rf"{PREFIX}[0-9a-f]{{16}}|\.{PREFIX}\w{{8}}")
"""The names of finished folders, and of those that are being made: nobody else's are touched."""
IN_MEMORY = 64 << 20
"""Bytes. A larger file lies on the disk."""
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
        self._memory: list[int] = []

    def reserve(self, path: Path, size: int) -> Path:
        """Return ``path``, a name in this folder, for a file of about so many bytes to be written.

        If it is not too large and the system can (Linux), the file lies in memory.
        """
        if size <= IN_MEMORY and hasattr(os, "memfd_create") and _OWN_FILES.is_dir():
            handle = os.memfd_create("rostersync", os.MFD_CLOEXEC)
            self._memory.append(handle)
            path.symlink_to(_OWN_FILES / str(handle))
        return path

    def close(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        while self._memory:
            os.close(self._memory.pop())
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
