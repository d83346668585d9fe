"""The key is never half there, never a stranger's, and never replaced by accident."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.key import accept_new_key, key_file, make_key_file
from core.storage.database import Database, open_database
from sync.engine import sync_district
from tests.kit.user_files import active, district, people


@pytest.fixture(autouse=True)
def _no_key_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROSTERSYNC_KEY", raising=False)


def test_a_key_is_never_read_while_it_is_being_made(tmp_path: Path) -> None:
    for number in range(60):
        path = tmp_path / f"{number}.key"
        seen: set[str] = set()
        stop = threading.Event()

        def look(path: Path = path, seen: set[str] = seen, stop: threading.Event = stop) -> None:
            while not stop.is_set():
                try:
                    seen.add(path.read_text())
                except FileNotFoundError:
                    continue

        reader = threading.Thread(target=look)
        reader.start()
        makers = [threading.Thread(target=make_key_file, args=(path,)) for _ in range(3)]
        for one in makers:
            one.start()
        for one in makers:
            one.join()
        stop.set()
        reader.join()
        assert seen <= {path.read_text()}
        assert len(path.read_text().strip()) == 64
    assert all(path.suffix == ".key" for path in tmp_path.iterdir()), "nothing is left beside"


def test_a_link_in_place_of_the_key_is_not_written_through(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    (tmp_path / "a.key").symlink_to(treasure)
    make_key_file(tmp_path / "a.key")
    assert not treasure.exists()


@pytest.mark.parametrize("content", ["", "\n", "short", "0" * 15])
def test_an_empty_or_short_key_is_refused(sqlite_url: str, content: str) -> None:
    database = open_database(sqlite_url)
    key_file(database).write_text(content)
    with pytest.raises(ConfigError, match="a key has 16 at least") as refused:
        _ = database.key
    assert content.strip() not in refused.value.message or not content.strip()


def test_a_short_key_is_refused_wherever_it_comes_from(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("short")
    for given in ("short", f"file:{tmp_path / 'key'}"):
        monkeypatch.setenv("ROSTERSYNC_KEY", given)
        with pytest.raises(ConfigError):
            _ = Database(database_url).key


def filled(url: str, folder: Path) -> Database:
    database = open_database(url)
    district(database, folder, 'path = "people.csv"')
    (folder / "people.csv").write_text(people(range(5)))
    assert sync_district(database, "springfield", actor="x").status == "applied"
    database.close()
    return open_database(url)


def test_a_missing_key_beside_a_filled_database_is_never_replaced(
    sqlite_url: str, tmp_path: Path
) -> None:
    database = filled(sqlite_url, tmp_path)
    key_file(database).unlink()
    for again in (open_database(sqlite_url), Database(sqlite_url)):
        with pytest.raises(ConfigError, match="key of this database is missing") as refused:
            sync_district(again, "springfield", actor="x")
        assert "db new-key" in refused.value.hint
    assert not key_file(database).exists()
    assert active(database) == 5, "what reads needs no key"


def test_a_missing_key_is_noticed_also_if_the_database_was_opened_once_only(
    sqlite_url: str, tmp_path: Path
) -> None:
    database = open_database(sqlite_url)
    district(database, tmp_path, 'path = "people.csv"')
    (tmp_path / "people.csv").write_text(people(range(5)))
    sync_district(database, "springfield", actor="x")
    key_file(database).unlink()
    with pytest.raises(ConfigError, match="missing"):
        _ = open_database(sqlite_url).key


def test_a_foreign_key_is_refused_and_taken_by_a_command_only(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSTERSYNC_KEY", "1" * 64)
    database = filled(migrated_url, tmp_path)
    monkeypatch.setenv("ROSTERSYNC_KEY", "2" * 64)
    stranger = open_database(migrated_url)
    with pytest.raises(ConfigError, match="another one than the key") as refused:
        sync_district(stranger, "springfield", actor="x")
    assert "db new-key" in refused.value.hint
    assert accept_new_key(stranger) is False
    again = open_database(migrated_url)
    assert sync_district(again, "springfield", actor="x").status == "nothing_to_do"
    assert active(again) == 5
    monkeypatch.setenv("ROSTERSYNC_KEY", "1" * 64)
    former = open_database(migrated_url)
    with pytest.raises(ConfigError):
        _ = former.key
    for one in (database, stranger, again, former):
        one.close()


def test_a_lost_key_is_made_anew_by_the_command(sqlite_url: str, tmp_path: Path) -> None:
    database = filled(sqlite_url, tmp_path)
    key_file(database).unlink()
    again = open_database(sqlite_url)
    assert accept_new_key(again) is True
    assert key_file(again).stat().st_mode & 0o077 == 0
    assert sync_district(open_database(sqlite_url), "springfield", actor="x").exit_code == 0
