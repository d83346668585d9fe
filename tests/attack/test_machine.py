"""What a machine or a file can cause is a sentence that says what to do, never a bug.

One file, because each of its tests is one more thing that a machine or a file can do.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg.errors
import pytest
from sqlalchemy import Engine, event, text

import sync.engine
from core.machine import NO_ROOM, machine_failure
from core.storage.database import Database
from rostersync.cli.app import run
from tests.kit.user_files import HEADER, active, district, people, row
from tests.kit.world import SLUG, World

Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that calls a command which must fail, and returns its sentences."""

    def call(*arguments: str, code: int = 2) -> str:
        capsys.readouterr()
        returned = run(arguments)
        err = "".join(capsys.readouterr())
        assert returned == code, (returned, err)
        assert "of rostersync itself" not in err
        assert "Traceback" not in err
        assert len(err.splitlines()) > 1, "a sentence and what to do"
        return err

    return call


# ------------------------------------------------------------------------------- the database


def garbled(path: Path) -> None:
    path.write_bytes(b"This is no database at all. " * 400)


def torn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4_096:] = os.urandom(len(content) - 4_096)
    path.write_bytes(content)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").touch()


@pytest.mark.parametrize("spoil", [garbled, torn, halved, a_folder])
def test_a_damaged_database_is_called_damaged(
    store: Database, tmp_path: Path, said: Said, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(str(store.url.database), path)
    spoil(path)
    for command in (["districts"], ["status"], ["sync", SLUG], ["db", "verify"], ["db", "upgrade"]):
        err = said(*command, "--database", f"sqlite:///{path}")
        assert "damaged" in err or "cannot be opened" in err, command
        assert "URL" not in err


@pytest.mark.parametrize("revision", ["0999", "abc123"])
def test_an_old_program_on_a_newer_database_says_so(
    database: Database, said: Said, revision: str
) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :n"), {"n": revision})
    url = database.url.render_as_string(hide_password=False)
    for command in (["districts"], ["db", "upgrade"]):
        err = said(*command, "--database", url)
        assert "newer" in err
        assert "db upgrade" not in err
    with database.write() as connection:  # so that the database may be lent again
        from core.storage.database import SCHEMA_REVISION

        connection.execute(
            text("UPDATE alembic_version SET version_num = :n"), {"n": SCHEMA_REVISION}
        )


@pytest.fixture
def full() -> Iterator[Callable[[], None]]:
    """Return a function after which every SQLite database is full."""
    pages = [0]

    def limit(dbapi: sqlite3.Connection, _record: object) -> None:
        if pages[0] and isinstance(dbapi, sqlite3.Connection):
            dbapi.execute(f"PRAGMA max_page_count={pages[0]}")

    event.listen(Engine, "connect", limit)
    yield lambda: pages.__setitem__(0, 1)
    event.remove(Engine, "connect", limit)


def test_a_full_disk_is_a_sentence_and_afterwards_all_goes_on(
    store: Database, full: Callable[[], None], tmp_path: Path, said: Said
) -> None:
    from tests.kit.world import new_world

    world = new_world(store, tmp_path)
    world.sis.students(2)
    world.sync(code=0)
    world.sis.students(3_000)
    world.save()
    full()
    err = said("sync", SLUG, "--database", str(store.url), code=1)
    assert "no room" in err


def test_a_connection_that_is_lost_is_a_sentence_and_the_next_run_goes_on(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    from core.storage.database import open_database
    from tests.kit.world import new_world

    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    database = Database(postgresql_url)
    database.upgrade()
    world = new_world(database, tmp_path)
    world.sis.students(2)
    world.save()
    plain = postgresql_url.replace("+psycopg", "", 1)
    read = sync.engine.read_sources

    def cut(run: object, *more: object, **options: object) -> None:
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        read(run, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(sync.engine, "read_sources", cut)
    err = said("sync", SLUG, "--database", postgresql_url, code=13)
    assert "held the lock" in err, "that connection is among them, and its loss is found first"
    monkeypatch.setattr(sync.engine, "read_sources", read)
    world = World(open_database(postgresql_url), world.rosters)
    assert world.sync().exit_code == 0
    assert world.count("active") == 2
    world.database.close()
    database.close()


POSTGRESQL = (
    "DiskFull", "OutOfMemory", "TooManyConnections", "AdminShutdown", "CrashShutdown",
    "CannotConnectNow", "ConnectionFailure", "IoError", "DataCorrupted", "IndexCorrupted",
    "InsufficientPrivilege", "ReadOnlySqlTransaction", "QueryCanceled", "InvalidPassword",
    "InvalidCatalogName", "SerializationFailure", "DeadlockDetected", "LockNotAvailable",
)  # fmt: skip


@pytest.mark.parametrize("name", POSTGRESQL)
def test_what_a_server_refuses_is_a_sentence(name: str) -> None:
    told = machine_failure(getattr(psycopg.errors, name)("Liam Carter"))
    assert told is not None
    assert told.hint
    assert "Liam" not in told.message


@pytest.mark.parametrize("name", ["UndefinedColumn", "StringDataRightTruncation", "SyntaxError"])
def test_a_fault_of_ours_stays_one(name: str) -> None:
    assert machine_failure(getattr(psycopg.errors, name)("x")) is None
    assert machine_failure(ValueError("x")) is None


@pytest.mark.parametrize("number", sorted(NO_ROOM))
def test_no_room_is_told_as_no_room(number: int) -> None:
    told = machine_failure(OSError(number, "Liam"))
    assert told is not None
    assert "room" in told.message


def test_a_new_database_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        url = f"sqlite:///{tmp_path / 'new.db'}"
        assert run(["db", "upgrade", "--database", url]) == 0
        slug = tmp_path / "district.toml"
        slug.write_text('[[district]]\nslug = "d"\nname = "D"\ntimezone = "UTC"\n')
        assert run(["load", str(slug), "--database", f"sqlite:///{tmp_path / 'other.db'}"]) == 0
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        if path.name.startswith(("new.db", "other.db")) and "lock" not in path.name:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


# ------------------------------------------------------------------------- the key and secrets

ODD = ("fifo", "zero", "folder", "bytes", "missing", "empty")


def odd_file(folder: Path, kind: str) -> Path:
    """Make a file that nobody can read as text."""
    path = folder / f"odd-{kind}"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "zero":
        return Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\xff\xfe\x00" if kind == "bytes" else b"")
    return path


@pytest.mark.parametrize("kind", ODD)
def test_a_secret_that_is_no_text_file_is_a_sentence_at_once(
    store: Database, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path = odd_file(tmp_path, kind)
    file = tmp_path / "district.toml"
    file.write_text(
        '[[district]]\nslug = "d"\nname = "D"\ntimezone = "UTC"\n[[district.source]]\n'
        'name = "sis"\nconnector = "oneroster"\n[district.source.config]\n'
        f'base_url = "http://127.0.0.1:1"\nauth = "bearer"\nbearer = "file:{path}"\n'
    )
    url = str(store.url)
    assert run(["load", str(file), "--database", url]) == 0
    began = time.monotonic()
    assert "secret file" in said("sync", "d", "--database", url)
    monkeypatch.setenv("ROSTERSYNC_KEY", f"file:{path}")
    said("sync", "d", "--database", url)
    said("load", str(path), "--database", url)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("kind", [kind for kind in ODD if kind not in ("missing", "zero")])
def test_a_key_beside_the_database_that_is_no_text_file_is_a_sentence(
    store: Database, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from tests.kit.world import new_world

    new_world(store, tmp_path)
    monkeypatch.delenv("ROSTERSYNC_KEY")
    odd_file(tmp_path, kind).rename(f"{store.url.database}.key")
    assert "key" in said("sync", SLUG, "--database", str(store.url))


@pytest.mark.parametrize(
    "secret", ["one\ntwo", "one\r\nX-Evil: 1", "one\x00two", "t\u00f6ken", "\u2028", "a\x1bb"]
)
def test_a_secret_that_no_header_can_carry_is_a_sentence_and_is_never_printed(
    store: Database,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
) -> None:
    file = tmp_path / "district.toml"
    (tmp_path / "secret").write_text(f"begin{secret}end")
    file.write_text(
        '[[district]]\nslug = "d"\nname = "D"\ntimezone = "UTC"\n[[district.source]]\n'
        'name = "sis"\nconnector = "oneroster"\n[district.source.config]\n'
        'base_url = "http://127.0.0.1:1"\nauth = "bearer"\n'
        f'bearer = "file:{tmp_path}/secret"\n'
    )
    monkeypatch.setenv("ROSTERSYNC_DEBUG", "1")
    url = str(store.url)
    assert run(["load", str(file), "--database", url]) == 0
    for command in ("sync", "check"):
        capsys.readouterr()
        assert run([command, "d", "--database", url]) in (2, 12, 14)
        printed = "".join(capsys.readouterr())
        assert "of rostersync itself" not in printed
        assert "begin" not in printed
        assert "end\n" not in printed


# -------------------------------------------------------------------------------- district files

DEEP = {
    "lists": "x = " + "[" * 50_000,
    "closed_lists": "x = " + "[" * 5_000 + "]" * 5_000,
    "tables": "x = " + "{a=" * 5_000 + "1" + "}" * 5_000,
    "keys": ".".join("a" * 2_000) + " = 1",
    "dotted_keys": ".".join("a" * 400_000) + " = 1",
    "spaced_keys": " . ".join("a" * 200_000) + " = 1",
    "quoted_keys": ".".join(['"a"'] * 200_000) + " = 1",
    "dotted_header": "[" + ".".join("a" * 400_000) + "]",
    "many_dotted_headers": "".join(f"[{'.'.join('a' * 400)}.k{n}]\n" for n in range(1_000)),
    "dotted_inline": "x = {" + ".".join("a" * 400_000) + " = 1}",
    "many_in_the_deepest": "x = " + "[" * 200 + "1," * 40_000 + "]" * 200,
    "many_keys": "".join(f"k{number} = 1\n" for number in range(3_000)),
    "many_districts": "".join(f"[[district]]\nk{number} = 1\n" for number in range(2_000)),
    "number": "x = " + "9" * 5_000,
    "hexadecimal": "x = 0x" + "f" * 5_000,
    "far_date": "x = 9999-99-99",
    "large": "#" * 2_000_000,
}
NUMBERS = (
    "freshness_hours = {}", "retention_days = {}", "[district.grace]\ndays = {}",
    "[district.grace]\nfetches = {}", "[district.limits]\nwindow_days = {}",
    "[district.limits.additions]\npercent = 50\nleast = {}",
    '[[district.source]]\nname = "s"\nconnector = "user_csv"\nprecedence = {}',
    '[[district.source]]\nname = "s"\nconnector = "oneroster"\n[district.source.config]\n'
    'base_url = "https://x.example"\nrequest_timeout = {}',
)  # fmt: skip
DAYS = (
    '[[district.pause]]\nstart = "{0}"\nend = "{0}"', 'year_end = "{0}"',
    '[[district.pause]]\nstart = {0}\nend = {0}',
    '[[district.limits.override]]\npercent = 1\nleast = 1\nfrom = "{0}"\nto = "{0}"',
)  # fmt: skip
HEAD = '[[district]]\nslug = "d"\nname = "D"\ntimezone = "UTC"\n'


@pytest.mark.parametrize("kind", DEEP)
def test_a_district_file_that_no_parser_likes_is_a_sentence(
    store: Database, tmp_path: Path, said: Said, kind: str
) -> None:
    file = tmp_path / "deep.toml"
    for before in ("", HEAD):
        file.write_text(before + DEEP[kind])
        assert "deep.toml" in said("load", str(file), "--database", str(store.url))
    file.write_text(DEEP[kind])
    said("discover", "clever", "--config", str(file), "--database", str(store.url))


@pytest.mark.parametrize("number", ["9" * 20, str(2**63), str(2**31 * 9), "1e400", "nan", "-1"])
def test_a_number_in_a_district_file_that_nothing_can_count_is_a_sentence(
    store: Database, tmp_path: Path, said: Said, number: str
) -> None:
    file = tmp_path / "numbers.toml"
    for place in NUMBERS:
        file.write_text(HEAD + place.format(number))
        assert "line" in said("load", str(file), "--database", str(store.url)), place


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "12-32", "2026-02-30"])
def test_a_day_in_a_district_file_that_no_calendar_has_is_a_sentence(
    store: Database, tmp_path: Path, said: Said, day: str
) -> None:
    file = tmp_path / "days.toml"
    for place in DAYS:
        file.write_text(HEAD + place.format(day))
        assert "line" in said("load", str(file), "--database", str(store.url)), place


# -------------------------------------------------------------------------------- files


@pytest.mark.parametrize("seconds", [-(2**40), 0, 2**33, 2**40, 2**55])
def test_a_file_from_a_far_year_is_read(store: Database, tmp_path: Path, seconds: int) -> None:
    slug = district(store, tmp_path, 'inbound = "drop"\nsettle_seconds = 0')
    (tmp_path / "drop").mkdir()
    for folder in (tmp_path, tmp_path / "drop"):
        path = folder / "people.csv"
        path.write_text(people(range(3)))
        try:
            os.utime(path, (seconds, seconds))
        except OverflowError:
            pytest.skip("this disk keeps no such time")
    url = str(store.url)
    assert run(["upload", slug, str(tmp_path / "people.csv"), "--database", url]) == 0
    assert run(["sync", slug, "--database", url]) in (0, 12)
    assert active(store) == 3


def test_names_of_files_that_are_no_text_keep_nobody_else_from_being_read(
    store: Database, tmp_path: Path, said: Said
) -> None:
    slug = district(store, tmp_path, 'inbound = "drop"\nsettle_seconds = 0')
    drop = tmp_path / "drop"
    drop.mkdir()
    odd = os.fsencode(drop) + b"/caf\xe9.csv"
    Path(os.fsdecode(odd)).write_text(people(range(3)))
    url = str(store.url)
    code = run(["sync", slug, "--database", url])
    assert code in (0, 12, 15)
    (drop / "people.csv").write_text(people(range(4)))
    for _ in range(3):
        code = run(["sync", slug, "--database", url])
    assert active(store) >= 3
    folder = tmp_path / "set"
    folder.mkdir()
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.csv")).write_text(people(range(3)))
    assert "UTF-8" in said("upload", slug, str(folder), "--database", url)
    packed = tmp_path / "odd.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("people.csv", people(range(5)))
        archive.writestr("x" * 600 + ".csv", people(range(5)))
    assert run(["upload", slug, str(packed), "--database", url]) in (0, 15)


def test_an_upload_under_a_name_that_is_too_long_is_a_sentence(
    store: Database, tmp_path: Path, said: Said
) -> None:
    slug = district(store, tmp_path)
    said("upload", slug, "x" * 5_000, "--database", str(store.url))
    assert row(1).count(",") == HEADER.count(",")
