"""A private folder for data that must not stay readable: a roster while it is read.

A program that is killed cannot tidy up. So each folder holds a lock while its program lives, and
creating one removes those whose programs have ended.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "rostersync-"
_LOCK = ".in-use"
_UNLOCKED_FOR = 3600.0
"""Seconds. A folder without a lock may be one that is just being made."""


class PrivateFolder:
    """A folder that only this user may read; it is gone when it is closed, or swept away later."""

    def __init__(self) -> None:
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._handle = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
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
        for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            swept += _sweep(path)
    return swept


def _sweep(path: Path) -> bool:
    try:
        about = path.lstat()
        if not path.is_dir() or path.is_symlink() or about.st_uid != os.getuid():
            return False
        try:
            handle = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            if time.time() - about.st_mtime < _UNLOCKED_FOR:
                return False
            shutil.rmtree(path)
            return True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path)
        finally:
            os.close(handle)
    except OSError:  # its program lives, or somebody else has swept it
        return False
    return True
