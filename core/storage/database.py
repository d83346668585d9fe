"""One door to SQLite and PostgreSQL: connections, transactions, bulk loading, locks, JSON in SQL.

A write transaction on SQLite takes the write lock at its start (``BEGIN IMMEDIATE``), so that two
writers wait for each other instead of failing half way. Everything else that differs between the
dialects is written once, here.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any

from sqlalchemy import Connection as Connection
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from core.errors import Busy, ConfigError
from core.key import installation_key
from core.machine import machine_failure
from core.steps import log_of, step
from core.storage.guard import ask_guard
from core.storage.locks import DistrictLocks
from core.storage.sql_words import SqlWords

log = log_of(__name__)

SCHEMA_REVISION = "0011"
"""The newest migration. A test holds it against ``core/migrations/versions``."""

WAIT_SECONDS = 30
"""How long a writer waits for another one on SQLite; applying a whole plan takes the longest."""

AT_ONCE = 500
"""How many rows SQLite is given at a time: so many fit into the processor's cache."""

MANY_ROWS = 1_000
"""Below this number of new rows, PostgreSQL's statistics need no immediate update."""


# For each None and bytes, SQLite's driver takes half a microsecond to find out that no adapter
# applies: a fifth of the time of a first sync's inserts. These adapters tell it at once.
sqlite3.register_adapter(NoneType, {None: None}.get)
sqlite3.register_adapter(bytes, bytes)


class Database(SqlWords, DistrictLocks):
    """A database of rostersync: ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``.

    Raises ``ConfigError`` for a URL it cannot use.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url: URL = make_url(url)
        except ArgumentError:
            raise ConfigError(
                "The database URL cannot be read.",
                hint="Give sqlite:///FILE or postgresql://USER@HOST/NAME.",
            ) from None
        backend = self.url.get_backend_name()
        if backend == "sqlite":
            if not self.url.database or self.url.database == ":memory:":
                raise ConfigError(
                    "An SQLite database in memory cannot be shared by two runs.",
                    hint="Give a file: sqlite:///rostersync.db.",
                )
            self.url = self.url.set(drivername="sqlite")
        elif backend == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        else:
            raise ConfigError(
                f"rostersync stores its data in SQLite or PostgreSQL, not in {backend}.",
                hint="Give sqlite:///FILE or postgresql://USER@HOST/NAME.",
            )
        self.is_sqlite = backend == "sqlite"

    @cached_property
    def engine(self) -> Engine:
        """The SQLAlchemy engine. Connections are opened when asked for and closed after use."""
        if not self.is_sqlite:
            engine = create_engine(self.url, pool_pre_ping=True)
            event.listen(engine, "connect", _look_up_rather_than_scan)
            event.listen(engine, "begin", ask_guard)
            return engine
        engine = create_engine(self.url, poolclass=NullPool, connect_args={"timeout": WAIT_SECONDS})
        _leave_truths_as_they_are(engine)

        @event.listens_for(engine, "connect")
        def _configure(dbapi: Any, _record: object) -> None:
            dbapi.isolation_level = None  # we begin transactions ourselves, below
            for pragma in (
                "journal_mode=WAL",
                "foreign_keys=ON",
                "synchronous=NORMAL",
                f"busy_timeout={int(WAIT_SECONDS * 1000)}",
                "temp_store=FILE",
                "cache_size=-32000",
            ):
                dbapi.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            ask_guard(connection)
            write = connection.get_execution_options().get("rostersync_write", False)
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
            except OperationalError as error:
                if "locked" not in str(error.orig):
                    raise
                raise Busy(
                    f"Another command has been writing the database for {WAIT_SECONDS} seconds.",
                    hint="A large plan is being applied. Try again when it is done.",
                ) from None

        return engine

    def close(self) -> None:
        """Close every connection that is not in use."""
        self.engine.dispose()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction: committed at the end, rolled back on any exception."""
        with (
            self.engine.connect().execution_options(rostersync_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction on one consistent state; anything written in it is discarded."""
        with self.engine.connect() as connection, connection.begin() as transaction:
            if not self.is_sqlite:
                connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            yield connection
            if transaction.is_active:
                transaction.rollback()

    @cached_property
    def key(self) -> bytes:
        """The installation's key: it keys every fingerprint of personal data.

        From ``ROSTERSYNC_KEY`` (``env:NAME`` or ``file:PATH``, or the key itself in that variable);
        beside a new SQLite database it is created at first use, mode 0600. Raises ``ConfigError``
        for a key that is missing, too short or not that of this database.
        """
        return installation_key(self)

    # -- schema

    def prepare(self) -> None:
        """Make sure that the schema exists and is current.

        A new SQLite file gets its tables at once. Any other schema that is not current raises
        ``ConfigError`` and names the command that upgrades it.
        """
        with step(log, "open database", store=self.url.get_backend_name()):
            revision = self.revision()
        if revision == SCHEMA_REVISION:
            return
        self._refuse_newer(revision)
        if revision is None and self.is_sqlite:
            with step(log, "make tables", store="sqlite"):
                self.upgrade()
            return
        raise ConfigError(
            "The database has no rostersync tables yet."
            if revision is None
            else f"The database is at revision {revision}, this program needs {SCHEMA_REVISION}.",
            hint="Run: rostersync db upgrade",
        )

    def missing_file(self) -> Path | None:
        """Return where the SQLite file would be, if there is none or it is empty; else None."""
        if not self.is_sqlite:
            return None
        path = Path(str(self.url.database)).absolute()
        return None if path.exists() and path.stat().st_size else path

    def revision(self) -> str | None:
        """Return the migration the database is at, or None where there is none."""
        if self.is_sqlite and not Path(str(self.url.database)).exists():
            return None
        try:
            with self.read() as connection:
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        except DBAPIError as error:
            if "alembic_version" in str(error.orig):
                return None
            raise machine_failure(error) or ConfigError(
                "The database cannot be opened.",
                hint="Check the URL, that the server runs and that the user may connect.",
            ) from None
        return str(found) if found else None

    def _refuse_newer(self, revision: str | None) -> None:
        """Refuse a database that a newer program has upgraded. Raises ``ConfigError``."""
        if revision is not None and not (revision.isdecimal() and revision <= SCHEMA_REVISION):
            raise ConfigError(
                f"The database is at revision {revision}, which is newer than this program"
                f" ({SCHEMA_REVISION}).",
                hint="Use the newer rostersync that upgraded it, or a backup from before.",
            )

    def upgrade(self, revision: str = "head") -> None:
        """Bring the schema to ``revision``, from nothing or from any earlier one."""
        from alembic import command  # imported late: it takes a tenth of a second

        self._refuse_newer(self.revision())
        if self.is_sqlite:
            folder = Path(str(self.url.database)).parent
            if not folder.is_dir():
                raise ConfigError(
                    f"The folder of the database does not exist: {folder}",
                    hint="Create it, or give another --database.",
                )
            _make_private(Path(str(self.url.database)))
        config = self.alembic_config()
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)

    def alembic_config(self) -> Any:
        """Return the Alembic configuration of our migrations."""
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
        return config

    # -- bulk

    def insert_into(
        self,
        connection: Connection,
        table: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        types: Sequence[str] = (),
    ) -> None:
        """Load ``rows`` (in stored form: times and JSON as text) into ``table``, streamed.

        ``types`` are PostgreSQL's types of the columns; give them for a table that holds long
        bytes, which are then sent in binary form. Everything else is faster as text.
        """
        with self.loading(connection, table, columns, types) as put:
            for row in rows:
                put(row)

    @contextmanager
    def loading(
        self,
        connection: Connection,
        table: str,
        columns: Sequence[str],
        types: Sequence[str] = (),
    ) -> Iterator[Callable[[Sequence[Any]], None]]:
        """Load rows as ``insert_into`` does, while the block is still making them.

        PostgreSQL stores one row while the next is being made, so the connection cannot be used for
        anything else in the meantime. SQLite gets a few hundred rows at a time.
        """
        names = ", ".join(f'"{name}"' for name in columns)
        raw: Any = connection.connection.driver_connection
        if self.is_sqlite:
            marks = ", ".join("?" * len(columns))
            insert = f'INSERT INTO "{table}" ({names}) VALUES ({marks})'
            rows: list[Sequence[Any]] = []

            def put(row: Sequence[Any]) -> None:
                rows.append(row)
                if len(rows) == AT_ONCE:
                    raw.executemany(insert, rows)
                    rows.clear()

            yield put
            raw.executemany(insert, rows)
            return
        how = " (FORMAT BINARY)" if types else ""
        with (
            raw.cursor() as cursor,
            cursor.copy(f'COPY "{table}" ({names}) FROM STDIN{how}') as copy,
        ):
            if types:
                copy.set_types(types)
            yield copy.write_row

    def analyze(self, connection: Connection, *tables: str) -> None:
        """Update PostgreSQL's statistics of ``tables`` now; its own daemon is slower.

        A table may be followed by some of its columns in brackets, to update only those. SQLite
        needs no statistics for our statements.
        """
        if self.is_sqlite:
            return
        # only sizes matter here, and a tenth of the usual sample is enough for them
        connection.exec_driver_sql("SET LOCAL default_statistics_target = 10")
        for name in tables:
            connection.exec_driver_sql(f"ANALYZE {name}")

    def analyze_after_load(
        self, connection: Connection, rows: int, *tables: str, new: bool = False
    ) -> None:
        """Update PostgreSQL's statistics if ``rows`` new rows are many for this table.

        A query plan made for an empty table is quadratic on a full one. A table that grew by less
        than a tenth keeps its statistics, unless the rows belong to a source or district that is
        ``new`` to it.
        """
        if rows < MANY_ROWS or self.is_sqlite:
            return
        sizes: dict[str, float] = {}
        if not new:
            found = connection.execute(_SIZES, {"tables": list(tables)})
            sizes = {row.relname: row.reltuples for row in found}
        grown = [name for name in tables if rows > sizes.get(name, 0) / 10]
        if grown:
            self.analyze(connection, *grown)


def _leave_truths_as_they_are(engine: Engine) -> None:
    """Have ``WHERE standing`` written for SQLite as it is said, so that it uses a partial index.

    SQLAlchemy would write ``standing = 1``. To SQLite that is another condition than the
    ``standing`` of the index, and it would read all plans.
    """
    from sqlalchemy.dialects.sqlite.base import SQLiteCompiler  # not loaded for PostgreSQL

    class Compiler(SQLiteCompiler):
        def visit_is_true_unary_operator(self, element: Any, operator: Any, **more: Any) -> str:
            return self.process(element.element, **more)

    engine.dialect.statement_compiler = Compiler


def _make_private(path: Path) -> None:
    """Make a new SQLite file that only its owner may read, whatever the umask says.

    SQLite gives the files beside it the same rights.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def _look_up_rather_than_scan(dbapi: Any, _record: object) -> None:
    """Tell PostgreSQL that single rows are cheap to find, on a solid-state disk or in memory.

    With its own default it reads whole tables where a run looks up a few thousand people. A value
    that is set for the server, database, role or URL stays in force.
    """
    with dbapi.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, '1.1', FALSE) FROM pg_settings"
            " WHERE name = 'random_page_cost' AND source = 'default'"
        )
    dbapi.commit()


_SIZES = text(
    "SELECT relname, reltuples FROM pg_class"
    " WHERE oid IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS TEXT[])) AS name)"
)


def open_database(url: str) -> Database:
    """Open a database and make sure its schema is current. Raises ``ConfigError``."""
    database = Database(url)
    try:
        database.prepare()
    except BaseException:
        database.close()
        raise
    return database
