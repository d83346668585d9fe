"""The page "Add a connector", done as it says: its commands, and its changes of the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.console import ROOT

PAGE = ROOT / "docs" / "add-a-connector.md"
_BLOCK = re.compile(
    r"(?:^<!-- (?P<what>old|new|file): (?P<file>\S+) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.M | re.S,
)


class Beginner:
    """Somebody who follows the page: a folder, and a place where packages are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.site = folder / "site"
        self.folder.mkdir()
        self.printed: list[str] = []

    def do(self, command: str) -> None:
        """Run one line of an ``sh`` block."""
        words = shlex.split(command)
        if words[0] == "cd":
            self.folder /= words[1]
            return
        if words[:2] == ["pip", "install"]:
            # What it depends on is there already; nothing is downloaded, nothing else touched.
            python, site = shlex.quote(sys.executable), shlex.quote(str(self.site))
            command = (
                f"{python} -m pip install -qq --disable-pip-version-check --no-deps"
                f" --no-build-isolation --upgrade --target {site} ."
            )
        programs = Path(sys.executable).parent
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": str(self.site),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        self.printed.append(done.stdout)


def test_whoever_follows_the_page_ends_with_a_connector_that_keeps_every_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ROSTERSYNC_DATABASE_URL", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    reader = Beginner(tmp_path)
    old: str | None = None
    for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["kind"] == "sh":
            for line in block["text"].splitlines():
                reader.do(line)
        elif block["what"] == "file" or block["kind"] == "console":
            continue  # the section on HTTP stands by itself: see below
        elif block["what"] == "old":
            old = block["text"].rstrip("\n")
        else:
            assert old is not None
            file = reader.folder / block["file"]
            before = file.read_text(encoding="utf-8")
            assert before.count(old) == 1, f"{block['file']} has no such line: {old}"
            file.write_text(before.replace(old, block["text"].rstrip("\n")), encoding="utf-8")
    told = "\n".join(reader.printed)
    assert "orchard_sis" in told
    assert "applied" in told
    assert "Okonkwo" in told
    assert "nothing to do" in reader.printed[-1], "the new words read as the same people"


def test_the_connector_over_http_that_the_page_shows_keeps_every_rule(tmp_path: Path) -> None:
    page = PAGE.read_text(encoding="utf-8")
    files = [block for block in _BLOCK.finditer(page) if block["what"] == "file"]
    for block in files:
        (tmp_path / block["file"]).write_text(block["text"], encoding="utf-8")
    assert "$ pytest -q test_meadow.py" in page
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_meadow.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
        | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "failed" not in done.stdout
