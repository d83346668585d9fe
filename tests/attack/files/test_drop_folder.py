"""Somebody else may write in the drop directory: no link there leads a run anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.files.dropped.drop_folder import LocalInbox
from connectors.files.dropped.inbox import Entry, Inbox
from connectors.files.dropped.sftp import SftpConfig, SftpInbox
from connectors.files.dropped.tidying import AS_IT_WAS, JOURNAL, LOOKED_AT
from core.errors import ConfigError, VendorFailure
from core.storage.database import Database
from tests.connectors.files.sftpd import PASSWORD, Server, in_process
from tests.connectors.files.test_drop_folder import put, sync
from tests.kit.user_files import active, district, people

pytestmark = pytest.mark.any_store

TREASURE = b"the database, which nobody may write over\n"
STAMP = "20260101T000000Z-00000000"


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def treasure(tmp_path: Path) -> Path:
    path = tmp_path / "treasure"
    path.write_bytes(TREASURE)
    return path


@pytest.fixture
def server(drop: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)
    with in_process(drop) as running:
        yield running


@pytest.fixture(params=["folder", "sftp"])
def config(request: pytest.FixtureRequest) -> str:
    if request.param == "folder":
        return 'inbound = "drop"\nsettle_seconds = 0'
    server: Server = request.getfixturevalue("server")
    return server.config()


@pytest.fixture(params=["folder", "sftp"])
def inbox(request: pytest.FixtureRequest, drop: Path) -> Iterator[Inbox]:
    if request.param == "folder":
        yield LocalInbox(drop)
        return
    server: Server = request.getfixturevalue("server")
    opened = SftpInbox(
        SftpConfig(
            host="127.0.0.1", port=server.port, username=server.username, password=PASSWORD,
            host_key=server.host_key, directory=str(server.folder), timeout=10,
        )
    )  # fmt: skip
    yield opened
    opened.close()


OURS = (JOURNAL, f".{JOURNAL}.new", LOOKED_AT, "report.csv", ".report.csv.new")


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_named_like_a_file_of_ours_harms_nothing(
    database: Database,
    tmp_path: Path,
    drop: Path,
    treasure: Path,
    config: str,
    name: str,
    link: Callable[[Path, Path], None],
) -> None:
    slug = district(database, tmp_path, config)
    link(treasure, drop / name)
    put(drop, "people.csv", people(range(5)))
    assert sync(database, slug).exit_code == 0
    assert active(database) == 5
    put(drop, "people.csv", people(range(3)) + "Sam,Cut")
    sync(database, slug)
    assert treasure.read_bytes() == TREASURE


@pytest.mark.parametrize("name", ["processed", "failed"])
@pytest.mark.parametrize("content", [people(range(5)), "nonsense\n1\n"])
def test_a_linked_folder_of_ours_is_refused_and_nothing_goes_through_it(
    database: Database, tmp_path: Path, drop: Path, config: str, name: str, content: str
) -> None:
    slug = district(database, tmp_path, config)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (drop / name).symlink_to(elsewhere)
    put(drop, "people.csv", content)
    outcome = sync(database, slug)
    assert outcome.exit_code == 2
    assert outcome.error is not None
    assert name in outcome.error.message
    assert list(elsewhere.iterdir()) == []
    assert (drop / "people.csv").exists()


def test_a_linked_folder_below_ours_is_refused(inbox: Inbox, drop: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (drop / "processed").mkdir()
    (drop / "processed" / STAMP).symlink_to(elsewhere)
    with pytest.raises((ConfigError, VendorFailure)):
        inbox.make(f"processed/{STAMP}")
    assert list(elsewhere.iterdir()) == []


def test_a_file_that_becomes_a_link_between_two_looks_is_not_read(
    inbox: Inbox, drop: Path, treasure: Path, tmp_path: Path
) -> None:
    put(drop, "people.csv", "x" * len(TREASURE))
    (entry,) = inbox.listing()
    (drop / "people.csv").unlink()
    (drop / "people.csv").symlink_to(treasure)
    with pytest.raises(VendorFailure):
        inbox.copy(entry, tmp_path / "copy")
    assert not (tmp_path / "copy").exists() or (tmp_path / "copy").read_bytes() == b""


def test_a_fifo_and_a_device_are_no_files(inbox: Inbox, drop: Path) -> None:
    os.mkfifo(drop / "people.csv")
    os.mkfifo(drop / JOURNAL)
    assert inbox.listing() == []
    assert inbox.read(JOURNAL) is None


def test_what_we_write_replaces_a_link_and_never_follows_it(
    inbox: Inbox, drop: Path, treasure: Path
) -> None:
    (drop / JOURNAL).symlink_to(treasure)
    inbox.write(JOURNAL, b"{}")
    assert treasure.read_bytes() == TREASURE
    assert not (drop / JOURNAL).is_symlink()
    assert inbox.read(JOURNAL) == b"{}"


@pytest.mark.parametrize(
    "forged",
    ['[["../treasure", 1, 1.0]]', '[["/etc/passwd", 1, 1.0]]', "[" * 50_000, "{}", "[[1]]", "\xff"],
)
def test_a_forged_note_of_a_set_moves_nothing(
    database: Database, tmp_path: Path, drop: Path, treasure: Path, config: str, forged: str
) -> None:
    slug = district(database, tmp_path, config)
    folder = drop / "failed" / STAMP
    folder.mkdir(parents=True)
    for path in (folder / AS_IT_WAS, drop / LOOKED_AT, drop / JOURNAL):
        path.write_text(forged)
    assert sync(database, slug).exit_code == 0
    assert treasure.read_bytes() == TREASURE
    assert Entry("treasure", 1, 1.0) not in LocalInbox(drop).listing()


def test_a_link_in_place_of_a_lock_is_not_written_through(
    store: Database, tmp_path: Path, drop: Path, treasure: Path
) -> None:
    slug = district(store, tmp_path, 'inbound = "drop"\nsettle_seconds = 0')
    for word in ("lock", "due"):
        Path(f"{store.url.database}.{word}-1").symlink_to(treasure)
    put(drop, "people.csv", people(range(3)))
    with pytest.raises(OSError, match="symbolic links"):
        sync(store, slug)
    assert treasure.read_bytes() == TREASURE
