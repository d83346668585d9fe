"""The door to SQLite and PostgreSQL: migrations, transactions, locks, keys."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import core.storage.schema
from core.errors import Busy, ConfigError
from core.storage.columns import every_table
from core.storage.database import SCHEMA_REVISION, Database, open_database
from core.storage.stored import utc_text

Opener = Callable[[str], Database]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Open databases that are closed again after the test."""
    with ExitStack() as stack:

        def open_(url: str) -> Database:
            database = Database(url)
            stack.callback(database.close)
            return database

        yield open_


def _revisions() -> list[str]:
    """All of our migrations, oldest first."""
    scripts = ScriptDirectory(str(Path(core.storage.schema.__file__).parents[1] / "migrations"))
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def _differences(database: Database) -> list[object]:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, every_table()))


# -- migrations


def test_the_program_asks_for_the_newest_migration() -> None:
    assert _revisions()[-1] == SCHEMA_REVISION


def test_migrations_from_empty_give_just_the_tables_of_the_program(
    opened: Opener, database_url: str
) -> None:
    database = opened(database_url)
    database.upgrade()
    assert database.revision() == SCHEMA_REVISION
    assert _differences(database) == []


@pytest.mark.parametrize("earlier", [None, *_revisions()[:-1]])
def test_migrations_from_each_earlier_revision_give_the_same(
    opened: Opener, database_url: str, earlier: str | None
) -> None:
    database = opened(database_url)
    if earlier is not None:
        database.upgrade(earlier)
        assert database.revision() == earlier
    database.upgrade()
    assert _differences(database) == []


def test_records_stay_open_when_being_open_moves_to_a_table_of_its_own(
    opened: Opener, database_url: str
) -> None:
    database = opened(database_url)
    database.upgrade("0004")
    with database.write() as connection:
        for number, is_open, cause in ((1, True, "settings"), (2, False, None), (3, True, None)):
            connection.execute(
                text(
                    "INSERT INTO records (id, source_id, kind, external_id, norm_print, data,"
                    " version, present, in_scope, open, suspect, absent_fetches, cause, roles)"
                    " VALUES (:id, 7, 'user', :key, :print, '{}', 1, TRUE, TRUE, :open, FALSE, 0,"
                    " :cause, '')"
                ),
                {"id": number, "key": f"x{number}", "print": b"0", "open": is_open, "cause": cause},
            )
    database.upgrade()
    with database.write() as connection:
        moved = connection.execute(
            text("SELECT record_id, source_id, kind, cause FROM open_records ORDER BY record_id")
        ).all()
        assert moved == [(1, 7, "user", "settings"), (3, 7, "user", None)]
        config = database.alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        back = connection.execute(text("SELECT id, open, cause FROM records ORDER BY id")).all()
    assert back == [(1, True, "settings"), (2, False, None), (3, True, None)]


def test_a_new_sqlite_file_gets_its_tables_at_once(sqlite_url: str) -> None:
    assert open_database(sqlite_url).revision() == SCHEMA_REVISION


def test_an_empty_postgresql_database_says_which_command_makes_the_tables(
    postgresql_url: str,
) -> None:
    with pytest.raises(ConfigError) as refused:
        open_database(postgresql_url)
    assert "rostersync db upgrade" in refused.value.hint


def test_a_database_of_another_revision_is_refused_with_both_revisions(
    opened: Opener, migrated_url: str
) -> None:
    database = opened(migrated_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(ConfigError, match="0000") as refused:
        open_database(migrated_url)
    assert SCHEMA_REVISION in refused.value.message


@pytest.mark.parametrize(
    "url", ["mysql://host/name", "nonsense", "sqlite://", "sqlite:///:memory:"]
)
def test_a_url_that_cannot_be_used_is_refused_with_what_to_give(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Database(url)
    assert "sqlite:///" in refused.value.hint


def test_a_database_in_a_folder_that_is_not_there_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        open_database(f"sqlite:///{tmp_path}/nowhere/rostersync.db")


# -- transactions


def test_a_write_is_all_or_nothing(database: Database) -> None:
    def fail_half_way() -> None:
        with database.write() as connection:
            connection.execute(text("INSERT INTO touched VALUES (1, 'users', 'a')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.read() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM touched")).scalar_one() == 0


def test_what_a_read_writes_is_thrown_away(database: Database) -> None:
    with database.read() as connection:
        connection.execute(text("INSERT INTO touched VALUES (1, 'users', 'a')"))
    with database.read() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM touched")).scalar_one() == 0


def test_a_read_sees_one_state_while_others_write(database: Database) -> None:
    with database.read() as reader:
        first = reader.execute(text("SELECT COUNT(*) FROM touched")).scalar_one()
        with database.write() as writer:
            writer.execute(text("INSERT INTO touched VALUES (1, 'users', 'a')"))
        assert reader.execute(text("SELECT COUNT(*) FROM touched")).scalar_one() == first


def test_rows_are_loaded_while_they_are_made_and_none_if_making_fails(database: Database) -> None:
    columns = ("source_id", "stream", "key")

    def made(keys: str) -> None:
        with (
            database.write() as connection,
            database.loading(connection, "touched", columns) as put,
        ):
            for key in keys:
                if key == "!":
                    raise LookupError
                put((1, "users", key))

    made("ab")
    made("")
    with pytest.raises(LookupError):
        made("cd!")
    with database.read() as connection:
        assert connection.execute(text("SELECT key FROM touched ORDER BY key")).all() == [
            ("a",),
            ("b",),
        ]


def test_two_writers_wait_for_each_other(database: Database) -> None:
    def add(number: int) -> None:
        with database.write() as connection:
            count = connection.execute(text("SELECT COUNT(*) FROM touched")).scalar_one()
            database.insert_into(
                connection,
                "touched",
                ("source_id", "stream", "key"),
                [(number, "users", str(count))],
            )

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM touched")).scalar_one() == 8


# -- times


def test_times_are_stored_in_utc_and_sort_as_text() -> None:
    paris = datetime(2026, 8, 3, 9, 0, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(paris) == "2026-08-03T07:00:00.000000+00:00"
    assert utc_text(datetime(2026, 8, 3, tzinfo=UTC)) < utc_text(paris)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        utc_text(datetime(2026, 8, 3))  # noqa: DTZ001 - just what is refused


# -- the key


def test_the_key_is_made_once_beside_an_sqlite_database_for_its_owner_only(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROSTERSYNC_KEY", raising=False)
    key = open_database(sqlite_url).key
    (file,) = tmp_path.glob("*.key")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Database(sqlite_url).key == key


def test_a_key_may_be_given_by_reference(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("a key of our own\n")
    monkeypatch.setenv("ROSTERSYNC_KEY", f"file:{tmp_path / 'key'}")
    by_file = Database(sqlite_url).key
    monkeypatch.setenv("ROSTERSYNC_KEY", "a key of our own")
    assert Database(sqlite_url).key == by_file


def test_postgresql_without_a_key_says_how_to_make_one(
    opened: Opener, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROSTERSYNC_KEY", raising=False)
    with pytest.raises(ConfigError, match="ROSTERSYNC_KEY"):
        _ = opened(postgresql_url).key


# -- the run lock


def test_two_runs_of_a_district_never_overlap(opened: Opener, database: Database) -> None:
    other = opened(database.url.render_as_string(hide_password=False))
    with database.run_lock("springfield", 1):
        with pytest.raises(Busy, match="springfield"), other.run_lock("springfield", 1):
            pass
        with other.run_lock("shelbyville", 2):
            pass
    with other.run_lock("springfield", 1):
        pass


def test_a_dead_holder_does_not_block_for_ever(database: Database) -> None:
    url = database.url.render_as_string(hide_password=False)
    program = (
        "import os, sys\n"
        "from core.storage.database import Database\n"
        f"with Database({url!r}).run_lock('springfield', 1):\n"
        "    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    with database.run_lock("springfield", 1):
        pass


def test_a_writer_that_waits_in_vain_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.storage.database.WAIT_SECONDS", 0.1)
    first, second = (open_database(f"sqlite:///{tmp_path / 'busy.db'}") for _ in range(2))
    with first.write(), pytest.raises(Busy, match="writing the database"), second.write():
        pass
    with second.write() as connection:
        connection.execute(text("SELECT 1"))
