"""`rostersync connector new NAME`: what it writes, and when it refuses to write."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from core.errors import UsageError
from core.settings import DistrictFile
from rostersync.testing.scaffold import new_connector


@pytest.mark.parametrize(
    "name", ["", "Fruit", "7up", "my-sis", "my sis", "_x", "x_", "a__b", "../up", "é"]
)
def test_a_name_that_no_connector_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        new_connector(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_name_of_an_installed_connector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="installed already"):
        new_connector("oneroster_csv", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        new_connector("fruit_sis", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_every_file_that_is_named_is_written(tmp_path: Path) -> None:
    written = new_connector("fruit_sis", tmp_path / "new")
    assert sorted(written) == sorted(p for p in (tmp_path / "new").rglob("*") if p.is_file())
    assert all("$" not in path.read_text() for path in written)


def test_the_example_district_file_is_taken(tmp_path: Path) -> None:
    new_connector("fruit_sis", tmp_path)
    text = (tmp_path / "district.toml").read_text()
    source = DistrictFile.model_validate(tomllib.loads(text)).district[0].source[0]
    assert source.connector == "fruit_sis"
    assert (tmp_path / source.config["path"]).is_file()


def test_what_is_written_is_clean_by_the_linter(tmp_path: Path) -> None:
    new_connector("fruit_sis", tmp_path)
    for tool in (
        ["ruff", "check", "--isolated", "--line-length=100", "--select=E,F,W,I,UP,B,S,BLE,RET,PT"],
        ["ruff", "format", "--isolated", "--line-length=100", "--check"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *tool, "."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout
