"""Advisories: each is one line; a service that cannot be reached is a sentence and no failure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from release import advisories

REPORT = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "odd", "version": "2", "skip_reason": "not on the index"},
        {
            "name": "bad",
            "version": "3.1",
            "vulns": [
                {"id": "PYSEC-1", "fix_versions": ["3.2", "4.0"], "aliases": [], "description": ""},
                {"id": "PYSEC-2", "fix_versions": [], "aliases": [], "description": ""},
            ],
        },
    ],
    "fixes": [],
}


def answering(monkeypatch: pytest.MonkeyPatch, said: str, code: int) -> None:
    done = subprocess.CompletedProcess([], code, stdout=said, stderr="")
    monkeypatch.setattr(advisories, "asked", lambda *about: done)


def test_each_advisory_is_a_line_and_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answering(monkeypatch, json.dumps(REPORT), 1)
    assert advisories.main("python", Path("locked.txt")) == 1
    assert capsys.readouterr().out.splitlines() == [
        "bad 3.1: PYSEC-1, mended in 3.2, 4.0",
        "bad 3.1: PYSEC-2, mended in no version yet",
        "advisories: 2 against 3 libraries",
    ]


def test_none_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, json.dumps({"dependencies": REPORT["dependencies"][:2]}), 0)
    assert advisories.main("python", Path("locked.txt")) == 0


@pytest.mark.parametrize("said", ["", "Traceback", "{}", "[]", "null", '{"dependencies": 5}'])
def test_what_cannot_be_reached_is_a_sentence_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    answering(monkeypatch, said, 1)
    assert advisories.main("python", Path("locked.txt")) == 0
    assert "cannot be reached" in capsys.readouterr().out


def test_without_the_tool_it_is_a_sentence(tmp_path: Path) -> None:
    missing = str(tmp_path / "python")
    assert advisories.main(missing, tmp_path / "locked.txt") == 0
    assert advisories.main(sys.executable, tmp_path / "locked.txt") == 0
