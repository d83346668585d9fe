"""Uploads that wait: a killed program or another key leaves none of them for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.failpoints import at_failpoints
from core.private_folder import PrivateFolder, sweep
from core.storage.database import Database
from rostersync.service.run_one import run_due
from sync.acts.upload import Uploaded, read_waiting, upload_file
from sync.engine import sync_district
from sync.run.find import district_row
from sync.sources import received_files
from sync.sources.received_files import uploads
from sync.views.overview import overview
from tests.kit.user_files import active, district, people

S = "springfield"
PAUSE = '[[district.pause]]\nstart = "2026-06-15"\nend = "2026-08-10"\n'


def summer() -> datetime:
    return datetime(2026, 7, 1, 12, tzinfo=UTC)


def autumn() -> datetime:
    return datetime(2026, 9, 1, 12, tzinfo=UTC)


def give(database: Database, folder: Path, content: str, **how: Any) -> Uploaded:
    path = folder / "people.csv"
    path.write_text(content)
    return upload_file(database, S, path, actor="secretary", **how)


def listed(database: Database) -> dict[str, dict[str, Any]]:
    with database.read() as connection:
        return {one["id"]: one for one in uploads(connection, district_row(connection, S))}


class Killed(BaseException):
    """The program is gone: nothing that would have tidied up after it is done."""


POINTS = (
    "run.read", "evidence.records", "evidence.committed", "run.applied", "settle.kept",
)  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_an_upload_whose_reading_was_killed_is_read_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    district(database, tmp_path)
    dead = False
    mark = received_files.mark

    def kill(name: str) -> None:
        nonlocal dead
        if name == point:
            dead = True
            raise Killed

    def mark_while_alive(*args: Any, **values: Any) -> None:
        if not dead:
            mark(*args, **values)

    monkeypatch.setattr(received_files, "mark", mark_while_alive)
    with at_failpoints(kill), pytest.raises(Killed):
        give(database, tmp_path, people(range(5)))
    dead = False
    assert listed(database)["U1"]["status"] == "PROCESSING"
    assert [one.status for one in read_waiting(database, S)] == ["PROCESSED"]
    assert listed(database)["U1"]["status"] == "PROCESSED"
    assert active(database) == 5
    assert read_waiting(database, S) == []


def test_with_another_key_a_waiting_upload_fails_and_is_told_and_the_rest_goes_on(
    database: Database, tmp_path: Path
) -> None:
    more = f'sync_times = ["05:00"]\n{PAUSE}'
    district(database, tmp_path, more=more)
    assert give(database, tmp_path, people(range(5)), now=summer).status == "PENDING"
    with database.write() as connection:  # as another key locks it
        connection.execute(text("UPDATE uploads SET original = :locked"), {"locked": b"gAAAAA"})
    run_due(database, S, autumn(), now=autumn)
    assert listed(database)["U1"]["status"] == "FAILED"
    assert "key" in listed(database)["U1"]["note"]
    with database.read() as connection:
        (one,) = overview(connection, autumn(), S)
    assert one["failed_uploads"] == ["U1"]
    assert "upload" in one["needs"]
    assert run_due(database, S, autumn(), now=autumn).exit_code == 0, "not for ever"
    give(database, tmp_path, people(range(5)), now=autumn)
    with database.read() as connection:
        (one,) = overview(connection, autumn(), S)
    assert (one["failed_uploads"], active(database)) == ([], 5)


def test_an_upload_cut_short_is_not_read_over_a_later_one(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path)
    give(database, tmp_path, people(range(5)))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE uploads SET status = 'PROCESSING'")
    give(database, tmp_path, people(range(4)))
    assert listed(database)["U1"]["status"] == "FAILED"
    assert "U2 came later" in listed(database)["U1"]["note"]
    assert read_waiting(database, S) == []
    assert active(database) == 4


def test_a_file_only_to_be_looked_at_takes_no_real_one_away(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path, more=PAUSE)
    give(database, tmp_path, people(range(5)), now=summer)
    give(database, tmp_path, people(range(3)), now=summer, dry=True)
    read_waiting(database, S, now=autumn)
    assert active(database) == 5


# ------------------------------------------------------------------------- nothing in clear


def test_what_a_killed_program_left_in_clear_is_swept_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    code = (
        "import os; from core.private_folder import PrivateFolder\n"
        "folder = PrivateFolder(); (folder.path / 'people.csv').write_text('Ana,Lima')\n"
        "print(folder.path, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    left = Path(done.stdout.strip())
    assert left.parent == tmp_path
    assert (left / "people.csv").exists(), "it was killed"
    with PrivateFolder() as alive:
        assert not left.exists()
        assert alive.path.stat().st_mode & 0o077 == 0
        assert sweep() == 0, "a living program keeps its folder"
        assert alive.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_only_called_like_a_private_folder_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / ".in-use").write_text("x")
    (tmp_path / f"rostersync-{'0' * 16}").symlink_to(treasure)
    for name in ("rostersync-main", "rostersync-demo-abc", f"rostersync-{'1' * 16}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
        os.utime(tmp_path / name, (1, 1))
    assert sweep() == 0
    assert (treasure / ".in-use").exists()
    assert len(list(tmp_path.glob("*/file"))) == 3


def test_programs_that_start_at_once_sweep_nothing_of_one_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    code = (
        "from core.private_folder import PrivateFolder\n"
        "for _ in range(300):\n"
        "    with PrivateFolder() as folder:\n"
        "        (folder.path / 'people.csv').write_text('x')\n"
        "        assert (folder.path / 'people.csv').read_text() == 'x'\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
        for _ in range(4)
    ]
    assert [one.wait(60) for one in running] == [0, 0, 0, 0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spoilt",
    [
        "title = '..'", "title = ''", "title = '/'", "title = 'a/../../b.csv'", "title = '.in-use'",
        "original = 'x'", "scope = 'x'", "source_id = 99", "source_id = NULL", "type = 'nope'",
        "size = -1", "status = 'PROCESSING'",
    ],
)  # fmt: skip
def test_no_row_of_the_list_of_files_stops_the_scheduled_sync(
    store: Database, tmp_path: Path, spoilt: str
) -> None:
    district(store, tmp_path, more=PAUSE)
    give(store, tmp_path, people(range(4)), now=summer)
    with store.write() as connection:
        connection.execute(text(f"UPDATE uploads SET {spoilt}"))
    read_waiting(store, S, now=autumn)
    (one,) = listed(store).values()
    assert one["status"] in (received_files.PROCESSED, received_files.FAILED)


@pytest.mark.parametrize("name", [".in-use", "given", "b\u202e.csv", "a\nb.csv", "\u00fc" * 120])
def test_no_name_of_an_upload_meets_a_file_of_ours(
    store: Database, tmp_path: Path, name: str
) -> None:
    district(store, tmp_path)
    path = tmp_path / name
    path.write_text(people(range(4)))
    assert upload_file(store, S, path, actor="secretary").status == received_files.PROCESSED


# -- copies in clear


def written_in_clear(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Return a list that fills with the files which private folders hold on the disk."""
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    found: list[str] = []
    real = PrivateFolder.close

    def close(self: PrivateFolder) -> None:
        found.extend(
            path.name for path in self.path.rglob("*")
            if path.is_file() and not path.is_symlink() and path.stat().st_size
        )  # fmt: skip
        real(self)

    monkeypatch.setattr(PrivateFolder, "close", close)
    return found


def as_workbook(content: str, path: Path) -> Path:
    from openpyxl import Workbook

    book = Workbook()
    for line in content.splitlines():
        book.active.append(line.split(","))
    book.save(path)
    return path


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux keeps files in memory")
@pytest.mark.parametrize("kind", ["csv", "xlsx", "zip", "folder"])
def test_an_upload_is_never_written_in_clear(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    district(store, tmp_path, more=PAUSE)
    found = written_in_clear(monkeypatch, tmp_path / "temporary")
    content, path = people(range(4)), tmp_path / f"people.{kind}"
    if kind == "xlsx":
        as_workbook(content, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("people.csv", content)
    elif kind == "folder":
        path.mkdir()
        (path / "people.csv").write_text(content)
    else:
        path.write_text(content)
    given = upload_file(store, S, path, actor="secretary", now=summer)
    assert given.status == received_files.PENDING, given
    (read,) = read_waiting(store, S, now=autumn)
    assert (read.status, active(store)) == (received_files.PROCESSED, 4)
    assert found == []


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux keeps files in memory")
@pytest.mark.parametrize("in_memory", [64 << 20, 10])
def test_the_loose_files_of_a_set_are_never_written_in_clear(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    config = 'inbound = "drop"\nsettle_seconds = 0'
    shutil.copytree("fixtures/oneroster_csv/one_one", tmp_path / "drop")
    district(store, tmp_path, config, connector="oneroster_csv")
    monkeypatch.setattr("core.private_folder.IN_MEMORY", in_memory)
    found = written_in_clear(monkeypatch, tmp_path / "temporary")
    outcome = sync_district(store, S, actor="nightly")
    assert outcome.status == "applied", outcome.error
    assert active(store) > 0
    assert found == []
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux keeps files in memory")
def test_a_set_of_very_many_files_takes_no_more_open_files_than_it_may(
    store: Database, tmp_path: Path
) -> None:
    config = 'inbound = "drop"\nsettle_seconds = 0'
    shutil.copytree("fixtures/oneroster_csv/one_one", tmp_path / "drop")
    for number in range(1_500):
        (tmp_path / "drop" / f"a{number}.csv").write_text("a\n")
    district(store, tmp_path, config, connector="oneroster_csv")
    outcome = sync_district(store, S, actor="nightly")
    assert (outcome.status, active(store) > 0) == ("applied", True), outcome.error


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without a name")
@pytest.mark.parametrize("can", [True, False])
def test_what_is_too_large_for_memory_has_no_name_on_the_disk(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    district(store, tmp_path)
    monkeypatch.setattr("core.private_folder.IN_MEMORY", 10)
    if not can:  # as on a file system that has no such files
        real = os.open

        def refuse(path: Any, flags: int, *mode: Any, **more: Any) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(95, "not supported")
            return real(path, flags, *mode, **more)

        monkeypatch.setattr(os, "open", refuse)
    found = written_in_clear(monkeypatch, tmp_path / "temporary")
    assert give(store, tmp_path, people(range(4))).status == received_files.PROCESSED
    assert found == []
    assert not list((tmp_path / "temporary").iterdir())


def test_where_every_file_has_a_name_it_lies_in_the_folder_that_is_swept(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    district(store, tmp_path)
    monkeypatch.setattr("core.private_folder._OWN_FILES", tmp_path / "not Linux")
    found = written_in_clear(monkeypatch, tmp_path / "temporary")
    assert give(store, tmp_path, people(range(4))).status == received_files.PROCESSED
    assert found == ["people.csv"]
    assert not list((tmp_path / "temporary").iterdir())
