"""The installation's key: made once, never half there, and checked against the database.

Used by ``core/storage/database.py``. Beside an SQLite database the key is a file; it appears whole
or not at all. The database keeps a check of its key, so that another one, or a new one in place of
one that was lost, is never taken by accident.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import AbstractContextManager, closing, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from core.errors import ConfigError
from core.secrets import read_secret, read_small_file


class Database(Protocol):
    """What is asked of a database here: ``core.storage.database.Database`` has it."""

    url: URL
    is_sqlite: bool

    def read(self) -> AbstractContextManager[Connection]:
        """Open a read transaction."""

    def write(self) -> AbstractContextManager[Connection]:
        """Open a write transaction."""


VARIABLE = "ROSTERSYNC_KEY"
SHORTEST = 16
"""Characters. openssl rand -hex 32 gives 64."""
_MAKE_ONE = f"Create a key once (openssl rand -hex 32), keep it safe, and set {VARIABLE}=file:PATH."


def installation_key(database: Database) -> bytes:
    """Return the key of this database, or make it beside a new SQLite database.

    Raises ``ConfigError`` for a key that is missing, empty, too short or that of another database.
    """
    key = given_key(database) or _key_beside(database)
    check = _kept_check(database)
    if check is None:
        _note(database, key)
    elif check != _check_of(key):
        raise ConfigError(
            "The key is another one than the key that this database was filled with.",
            hint=f"Set {VARIABLE} to the right key, or put its file back. To go on with this key"
            " all the same: rostersync db new-key.",
        )
    return key


def given_key(database: Database) -> bytes | None:
    """Return the key that there is; None: a file beside an SQLite database that is missing."""
    given = os.environ.get(VARIABLE)
    if given is not None and not given.strip() and not database.is_sqlite:
        given = None
    if given:
        value = read_secret(given) if given.startswith(("env:", "file:")) else given
        return _key_of(value, VARIABLE)
    if not database.is_sqlite:
        raise ConfigError(
            f"{VARIABLE} is not set: it keys the fingerprints of personal data.", hint=_MAKE_ONE
        )
    path = key_file(database)
    try:
        return _key_of(read_small_file(path).decode(), f"The key file {path.name}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise ConfigError(
            f"The key file {path.name} cannot be read.",
            hint="Check that it is a file of text and that this user may read it.",
        ) from None


def key_file(database: Database) -> Path:
    """Return where the key of an SQLite database lies."""
    return Path(f"{database.url.database}.key")


def _key_of(value: str, where: str) -> bytes:
    value = value.strip()
    if len(value) < SHORTEST:
        what = "is empty" if not value else f"has only {len(value)} characters"
        raise ConfigError(
            f"{where} {what}: a key has {SHORTEST} at least.",
            hint="Put the right key back from where you keep its copy.",
        )
    return blake2b(value.encode(), digest_size=32).digest()


def _key_beside(database: Database) -> bytes:
    """Make the key of a new SQLite database. One that was filled had a key, which is missing."""
    path = key_file(database)
    if is_filled(database):
        raise ConfigError(
            f"The key of this database is missing: {path.name}.",
            hint=f"Put the file back, or set {VARIABLE}. If it is lost: rostersync db new-key makes"
            " another, with which every roster is read whole again.",
        )
    make_key_file(path)
    return given_key(database) or b""


def make_key_file(path: Path) -> None:
    """Make a key file, whole or not at all; nothing happens if somebody else has made it."""
    beside = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink()


# -- the check that the database keeps


def _check_of(key: bytes) -> bytes:
    return blake2b(b"rostersync key check", key=key, digest_size=16).digest()


def _kept_check(database: Database) -> bytes | None:
    check: Any = _asked(database, _CHECK)
    return None if check is None else bytes(check)


def is_filled(database: Database) -> bool:
    """Say whether a database holds anything that was made with its key."""
    return any(_asked(database, query) is not None for query in (_CHECK, _RECORD, _UPLOAD))


def _asked(database: Database, query: str) -> object:
    """Return one value; None also where there is no such table yet."""
    if database.is_sqlite and not Path(str(database.url.database)).exists():
        return None
    try:
        with database.read() as connection:
            found: object = connection.execute(text(query)).scalar()
            return found
    except DBAPIError:
        return None


_KEEP = "INSERT INTO installation (id, key_check) VALUES"
_CHECK = "SELECT key_check FROM installation"
_RECORD = "SELECT 1 FROM records LIMIT 1"
_UPLOAD = "SELECT 1 FROM uploads WHERE original IS NOT NULL LIMIT 1"


def _note(database: Database, key: bytes) -> None:
    """Keep the check of a key that is used for the first time; who may not write notes nothing.

    The key may be asked for while somebody writes, perhaps we ourselves: SQLite is not waited for,
    and the check is then kept the next time.
    """
    if not database.is_sqlite:
        with suppress(DBAPIError):
            _keep(database, key)
        return
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(str(database.url.database), timeout=0)) as connection,
        connection,
    ):
        connection.execute(f"{_KEEP} (1, ?)", [_check_of(key)])


def _keep(database: Database, key: bytes) -> None:
    with database.write() as connection:
        connection.execute(text("DELETE FROM installation"))
        connection.execute(text(f"{_KEEP} (1, :check)"), {"check": _check_of(key)})


def accept_new_key(database: Database) -> bool:
    """Go on with the key that there is, or with a new one; say whether it was made.

    Nothing else is changed: what another key has printed differs, so every source is read whole
    at its next sync, and what another key has locked can no longer be read.
    """
    key, new = given_key(database), False
    if key is None:
        make_key_file(key_file(database))
        key, new = given_key(database) or b"", True
    _keep(database, key)
    return new
