"""What the machine can cause, as a sentence: a full disk, a lost connection, a damaged database.

Used by the doors, by a run that ends early, and where a connector is blamed: none of it is a fault
of rostersync, and none of it is one of a connector. No message of a library is passed on.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from typing import Any

from core.errors import Busy, ConfigError, RosterSyncError

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class MachineFailure(ConfigError):
    """The disk, the memory, the network or the database refused; rostersync is not broken."""

    code = "machine"
    status = "failed"


def machine_failure(error: BaseException) -> RosterSyncError | None:
    """Return the error of the machine that an exception stands for, or None."""
    if isinstance(error, OSError):
        return _of_the_system(error)
    if isinstance(error, MemoryError):
        return MachineFailure(
            "The machine has no memory left.", hint="Free some, or run it on a larger machine."
        )
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return MachineFailure(
            "A name that the machine gave, perhaps of a file, is not text in UTF-8.",
            hint="Rename the file, or correct the variable of the environment.",
        )
    return _of_the_database(getattr(error, "orig", None) or error)


def _of_the_system(error: OSError) -> MachineFailure:
    if error.errno in NO_ROOM:
        return _no_room()
    said = os.strerror(error.errno) if error.errno else type(error).__name__
    return MachineFailure(
        f"The machine refused: {said}.",
        hint="Check that the disks have room, and that this user may read and write the files.",
    )


def _no_room() -> MachineFailure:
    return MachineFailure(
        "There is no room left on the disk.",
        hint="Make room and call it again. Nothing was half applied.",
    )


def _of_the_database(error: BaseException) -> RosterSyncError | None:
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    psycopg: Any = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(error, psycopg.Error):
        return _of_postgresql(error, connection_lost=isinstance(error, psycopg.OperationalError))
    return None


_BACKUP = "Stop everything that uses it, and put a backup back with its key."
_SQLITE: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_CORRUPT: ("The database file is damaged.", _BACKUP),
    sqlite3.SQLITE_NOTADB: ("The file is no database, or it is damaged.", _BACKUP),
    sqlite3.SQLITE_IOERR: (
        "The disk of the database cannot be read or written.",
        "Check the disk. Nothing was half applied.",
    ),
    sqlite3.SQLITE_READONLY: (
        "The database may only be read.",
        "Let this user write the file and its folder.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "The database file cannot be opened.",
        "Check that its folder is there and that this user may write there.",
    ),
    sqlite3.SQLITE_PERM: (
        "The database may not be opened by this user.",
        "Let this user read and write the file.",
    ),
    sqlite3.SQLITE_NOMEM: ("The machine has no memory left.", "Free some, and call it again."),
}


def _of_sqlite(error: sqlite3.Error) -> RosterSyncError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return _no_room()
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy("Another command is writing the database.", hint="Try again when it is done.")
    if code in _SQLITE:
        message, hint = _SQLITE[code]
        return MachineFailure(message, hint=hint)
    return None


_POSTGRESQL: dict[str, tuple[str, str]] = {
    "08": (
        "The connection to the database was lost.",
        "Check that the server runs, and call it again. Nothing was half applied.",
    ),
    "57P": (
        "The database server is being stopped or started.",
        "Call it again when it runs. Nothing was half applied.",
    ),
    "53": (
        "The database server has no room, no memory or no connection left.",
        "Give it more, and call it again. Nothing was half applied.",
    ),
    "58": (
        "The database server cannot read or write its disk.",
        "Check its disk and its log.",
    ),
    "XX": ("The database is damaged.", "Look into the log of the server; restore a backup."),
    "28": ("The database server refused this user.", "Check the user and the password."),
    "3D": ("There is no such database on the server.", "Check the name in the URL."),
    "42501": (
        "The database user may not do this.",
        "docs/security.md lists what has to be granted.",
    ),
    "25006": ("The database may only be read.", "Connect to the server that can be written."),
    "57014": ("The database server ended the statement.", "Raise its statement_timeout."),
}


def _of_postgresql(error: Any, *, connection_lost: bool) -> RosterSyncError | None:
    state = error.sqlstate or ("08" if connection_lost else "")
    if state in ("40001", "40P01", "55P03"):
        return Busy("Another command is writing the database.", hint="Try again when it is done.")
    for begins in (state, state[:3], state[:2]):
        if begins in _POSTGRESQL:
            message, hint = _POSTGRESQL[begins]
            return MachineFailure(message, hint=hint)
    return None
