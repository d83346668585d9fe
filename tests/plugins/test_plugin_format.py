"""A stranger's file format is treated as ours are: uploaded, recognised, exported, templated."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
HEADER = "singer,first,last,voice,mail"
SINGERS = [
    "c1,Ada,Okonkwo,treble,ada@choir.example",
    "c2,Zoë,Müller,treble,",
    "c3,Rosa,Castellanos,conductor,rosa@choir.example",
]
DISTRICT = """\
[[district]]
slug = "choir"
name = "The Choir School"
timezone = "America/Chicago"

[[district.source]]
name = "sheet"
connector = "choir_sheet"
precedence = 1

[[district.source]]
name = "people"
connector = "user_csv"
precedence = 2
"""


@dataclass(frozen=True, slots=True)
class Done:
    """What one call of the program came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Installation:
    """The product with the plugin installed beside it, and a folder to work in."""

    site: Path
    folder: Path

    def __call__(self, *arguments: str) -> Done:
        code = "import sys; from rostersync.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": f"{self.site}{os.pathsep}{PROJECT}"},
            capture_output=True,
            text=True,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def rostersync(tmp_path: Path) -> Installation:
    site, folder = tmp_path / "site", tmp_path / "work"
    folder.mkdir()
    shutil.copytree(Path(__file__).parent / "choir", site / "rostersync_choir")
    about = site / "rostersync_choir-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rostersync-choir\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[rostersync.connectors]\nchoir_sheet = rostersync_choir.connector:ChoirSheet\n"
        "[rostersync.scenarios]\nchoir_sheet = rostersync_choir.scenario:scenario\n"
    )
    (folder / "district.toml").write_text(DISTRICT)
    program = Installation(site, folder)
    assert program("load", "district.toml").code == 0
    return program


def sheet(rostersync: Installation, *rows: str, name: str = "sheet.csv") -> str:
    (rostersync.folder / name).write_text("\n".join([HEADER, *rows]) + "\n")
    return name


def test_a_plugin_format_is_recognised_uploaded_and_exported(rostersync: Installation) -> None:
    given = rostersync("upload", "choir", sheet(rostersync, *SINGERS), "--json")
    assert given.code == 0, given
    assert given.document["upload"]["type"] == "choir_sheet"
    assert given.document["plans"][0]["counts"]["create"] == 3
    written = rostersync("export", "choir", "--source", "sheet", "--output", "out.csv")
    assert written.code == 0, written
    assert (rostersync.folder / "out.csv").read_text().splitlines() == [HEADER, *SINGERS]
    again = rostersync("upload", "choir", "out.csv", "--json")
    assert again.document["status"] == "nothing_to_do", again


def test_the_report_of_an_upload_shows_what_the_plugin_finds(rostersync: Installation) -> None:
    given = rostersync(
        "upload", "choir", sheet(rostersync, SINGERS[0], "c9,Minh,,treble,"), "--report", "json"
    )
    assert given.code == 0, given
    (found,) = given.document["findings"]
    assert (found["line"], found["column"], found["rule"]) == (3, "last", "missing-value")


def test_the_template_of_a_plugin_is_written_and_can_be_uploaded(rostersync: Installation) -> None:
    printed = rostersync("template", "choir_sheet")
    assert printed.out.splitlines()[0] == HEADER
    assert rostersync("template", "choir_sheet", "--output", "t.xlsx").code == 0
    given = rostersync("upload", "choir", "t.xlsx", "--json")
    assert (given.code, given.document["upload"]["type"]) == (0, "choir_sheet"), given
    unknown = rostersync("template", "nonsense")
    assert unknown.code == 2
    assert "choir_sheet" in unknown.err


def test_people_whom_a_plugin_format_cannot_carry_are_listed(rostersync: Installation) -> None:
    given = rostersync("upload", "choir", sheet(rostersync, *SINGERS), "--json")
    assert given.code == 0
    user = rostersync("users", "choir", "--search", "Okonkwo", "--json").document[0]["id"]
    assert rostersync("user", "edit", "choir", user, "--role", "admin").code == 0
    written = rostersync("export", "choir", "--source", "sheet")
    assert len(written.out.splitlines()) == 1 + 3, "the role is the source's own in its export"
    assert rostersync("export", "choir").out.splitlines()[0].startswith("firstname,")


def test_the_plugin_keeps_every_rule_for_files(rostersync: Installation) -> None:
    report = rostersync("connector", "test", "choir_sheet", "--json").document
    outcomes = {one["check"]: (one["outcome"], one["detail"]) for one in report["checks"]}
    failed = {check: why for check, (outcome, why) in outcomes.items() if outcome == "failed"}
    assert failed == {}
    for check in (
        "methods_for_files_come_with_the_flag", "an_uploaded_roster_is_read",
        "its_own_files_are_recognised", "a_template_is_recognised_and_read",
        "an_export_read_back_says_the_same",
    ):  # fmt: skip
        assert outcomes[check][0] == "passed"
