"""An SFTP server that lies: listings without an end, names that lead out, sizes, links, stalls.

Whatever it does costs its source one reading. Nothing is written outside of its folder, here or
there, and nobody leaves.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paramiko
import pytest

from core.storage.database import Database
from sync.engine import sync_district
from tests.connectors.files.sftpd import PASSWORD, Files, Handle, in_process
from tests.kit.sizes import LONG
from tests.kit.user_files import active, district, people

Spoil = Callable[[str, Any, Callable[[], Any]], Any]


class Endless(list[Any]):
    """A listing that goes on for ever: each batch of it is full."""

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, slice):
            return self if which.start else list(self)[:16] * 16
        return super().__getitem__(which)


def named(name: str, *, mode: int = stat.S_IFREG | 0o644) -> Any:
    """Return an entry of a listing."""
    about = paramiko.SFTPAttributes()
    about.filename = name
    about.st_size, about.st_mode, about.st_mtime, about.st_atime = 9, mode, 1, 1
    return about


def listing(*entries: Any) -> Spoil:
    """Add entries to each listing of the folder itself."""
    return lambda step, path, do: [*do(), *entries] if step == "list" else do()


def about_each(change: Callable[[Any], Any]) -> Spoil:
    """Say something else of each file, wherever it is asked about."""

    def spoil(step: str, path: str, do: Callable[[], Any]) -> Any:
        found = do()
        if step == "list" and isinstance(found, list):
            return [change(one) for one in found]
        return change(found) if isinstance(found, paramiko.SFTPAttributes) else found

    return spoil


def refusing(*steps: str) -> Spoil:
    return lambda step, path, do: paramiko.SFTP_FAILURE if step in steps else do()


def late(*steps: str, seconds: float = 1.6) -> Spoil:
    def spoil(step: str, path: str, do: Callable[[], Any]) -> Any:
        if step in steps:
            time.sleep(seconds)
        return do()

    return spoil


def with_(**fields: Any) -> Callable[[Any], Any]:
    def change(about: Any) -> Any:
        if not stat.S_ISDIR(about.st_mode or 0):
            for name, value in fields.items():
                setattr(about, name, value() if callable(value) else value)
        return about

    return change


_ever = iter(range(10**9))
MODES: dict[str, Spoil] = {
    "names_that_lead_out": listing(*(
        named(name) for name in ("../evil.csv", "../../etc/passwd", "/etc/passwd", "a/b.csv", "..",
                                 ".", "", "a\\..\\b.csv", "processed/../../x.csv")
    )),
    "a_name_that_is_huge": listing(named("x" * 20_000 + ".csv")),
    "a_name_that_acts": listing(*map(named, ("\x1b]0;owned\x07.csv", "a\nb.csv", "a\x00.csv"))),
    "a_name_twice": listing(named("people.csv"), named("people.csv"), named("PEOPLE.CSV")),
    "a_listing_of_nothing": lambda step, path, do: [] if step == "list" else do(),
    "a_listing_without_an_end": lambda step, path, do: (
        Endless(named(f"f{n}.csv") for n in range(16)) if step == "list" else do()
    ),
    "a_listing_of_dots_without_an_end": lambda step, path, do: (
        Endless([named(".")] * 16) if step == "list" else do()
    ),
    "everything_is_a_link": about_each(with_(st_mode=stat.S_IFLNK | 0o777)),
    "everything_is_a_device": about_each(with_(st_mode=stat.S_IFCHR | 0o666)),
    "our_folders_are_files": listing(named("processed"), named("failed")),
    "our_folders_are_links": listing(named("processed", mode=stat.S_IFLNK | 0o777)),
    "sizes_beyond_all": about_each(with_(st_size=2**62)),
    "sizes_of_nothing": about_each(with_(st_size=0)),
    "sizes_too_small": about_each(with_(st_size=3)),
    "sizes_too_large": about_each(with_(st_size=100_000)),
    "sizes_that_change": about_each(with_(st_size=lambda: 50 + next(_ever) % 7)),
    "no_sizes": about_each(with_(st_size=None)),
    "times_from_far": about_each(with_(st_mtime=2**32 - 1, st_atime=2**32 - 1)),
    "times_that_change": about_each(with_(st_mtime=lambda: next(_ever))),
    "nothing_can_be_opened": refusing("open"),
    "nothing_can_be_read": refusing("read"),
    "nothing_can_be_moved": refusing("move", "mkdir"),
    "nothing_can_be_looked_at": refusing("lstat"),
    "no_listing": refusing("list"),
    "a_file_without_an_end": lambda step, path, do: b"x" * 30_000 if step == "read" else do(),
    "other_bytes_each_time": lambda step, path, do: os.urandom(20) if step == "read" else do(),
    "listings_stall": late("list"),
    "files_stall": late("read"),
    "moves_stall": late("move"),
}  # fmt: skip


@contextmanager
def hostile(folder: Path) -> Iterator[tuple[Any, dict[str, Spoil]]]:
    """Serve a folder, spoilt by what stands in the dictionary under ``now``."""
    way: dict[str, Spoil] = {}

    def spoilt(step: str, path: str, do: Callable[[], Any]) -> Any:
        return way["now"](step, path, do) if "now" in way else do()

    class Spoilt(Handle):
        def read(self, offset: int, length: int) -> Any:
            return spoilt("read", "", lambda: super(Spoilt, self).read(offset, length))

    class Liar(Files):
        handle = Spoilt

        def list_folder(self, path: str) -> Any:
            def really() -> Any:
                return super(Liar, self).list_folder(path)

            return spoilt("list", path, really) if path == str(folder) else really()

        def lstat(self, path: str) -> Any:
            return spoilt("lstat", path, lambda: super(Liar, self).lstat(path))

        def open(self, path: str, flags: int, attr: Any) -> Any:
            return spoilt("open", path, lambda: super(Liar, self).open(path, flags, attr))

        def mkdir(self, path: str, attr: Any) -> Any:
            return spoilt("mkdir", path, lambda: super(Liar, self).mkdir(path, attr))

        def rename(self, oldpath: str, newpath: str) -> Any:
            return spoilt("move", oldpath, lambda: super(Liar, self).rename(oldpath, newpath))

        posix_rename = rename

    with in_process(folder, Liar) as server:
        yield server, way


def test_whatever_a_server_says_costs_its_source_one_reading(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFTP_PASSWORD", PASSWORD)
    drop = tmp_path / "server" / "drop"
    drop.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.chdir(outside)
    with hostile(drop) as (server, way):
        slug = district(store, tmp_path, f"reading_timeout = 5\n{server.config(timeout=1)}")
        (drop / "people.csv").write_text(people(range(5)))
        assert sync_district(store, slug, actor="test").exit_code == 0
        count = 5
        modes = list(MODES.items())
        for number, (name, spoil) in enumerate(modes):
            if not LONG and number % 3 and "end" not in name and "out" not in name:
                continue
            count += 1
            (drop / "people.csv").write_text(people(range(count)))
            way["now"] = spoil
            began = time.monotonic()
            outcome = sync_district(store, slug, actor="test")
            assert outcome.exit_code in (0, 2, 12, 15), (name, outcome, outcome.error)
            assert time.monotonic() - began < 60, name
            said = repr(outcome) + repr(outcome.error)
            assert "\x1b" not in said, name
            assert "failed by itself" not in said, (name, said)
            assert active(store) >= 5, name
            assert sorted(path.name for path in (tmp_path / "server").iterdir()) == ["drop"], name
            assert list(outside.iterdir()) == [], name
            way.clear()
            for old in drop.iterdir():
                if old.is_file():
                    old.unlink()
            (drop / "people.csv").write_text(people(range(count)))
            assert sync_district(store, slug, actor="test").exit_code == 0, name
            assert active(store) == count, name
