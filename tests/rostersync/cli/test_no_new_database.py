"""A wrong folder makes no database, and an output that ends early is no fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rostersync.cli.app import run

PROGRAM = [sys.executable, "-c", "from rostersync.cli import main; main()"]
READING = [
    "status", "districts", "sources", "schedule", "users springfield", "plans springfield",
    "runs springfield", "conflicts springfield", "why springfield U1", "files springfield",
    "changes springfield --since 0", "sync --all", "sync springfield", "plan springfield",
    "check springfield", "export springfield", "skipped springfield", "duplicates springfield",
    "db verify", "db head", "db repair springfield", "pause springfield", "purge springfield",
    "show P1", "apply P1", "undo R1",
]  # fmt: skip
DISTRICT = (
    '[[district]]\nslug = "springfield"\nname = "Springfield"\ntimezone = "America/Chicago"\n'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("ROSTERSYNC_DATABASE_URL", "ROSTERSYNC_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("command", READING)
def test_a_command_in_a_wrong_folder_makes_no_database_and_says_where_it_looked(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    as_json = "--format=json" if command.startswith("export") else "--json"
    assert run([*command.split(), as_json]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert str(folder / "rostersync.db") in error["message"]
    assert "rostersync load" in error["hint"]
    assert list(folder.iterdir()) == []


def test_a_new_database_is_told_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "district.toml").write_text(DISTRICT)
    assert run(["load", "district.toml"]) == 0
    said = capsys.readouterr()
    assert f"A new database was made: {folder / 'rostersync.db'}" in said.err.replace("\n", "")
    assert run(["load", "district.toml"]) == 0
    assert "new database" not in capsys.readouterr().err
    assert run(["districts"]) == 0


def test_a_dry_run_of_load_makes_none_either(folder: Path) -> None:
    (folder / "district.toml").write_text(DISTRICT)
    assert run(["load", "district.toml", "--dry-run"]) == 0
    assert [path.name for path in folder.iterdir()] == ["district.toml"]


def test_an_empty_file_of_that_name_is_no_database(folder: Path) -> None:
    (folder / "rostersync.db").touch()
    assert run(["status"]) == 2
    assert (folder / "rostersync.db").stat().st_size == 0


@pytest.mark.parametrize("arguments", [["--help"], ["connectors"], ["connectors", "--json"]])
def test_a_reader_that_goes_away_early_is_no_error(arguments: list[str]) -> None:
    """As ``| head -1`` does: the reader goes away while there is more to say."""
    with subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        said = program.stderr.read()
        assert program.wait(timeout=60) == 0
    assert said == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_the_output_is_a_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PROGRAM, "connectors", "--json"], stdout=full, stderr=subprocess.PIPE,
            check=False, env={**os.environ, "NO_COLOR": "1"}, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert "could not be written" in done.stderr
    assert "bug" not in done.stderr
