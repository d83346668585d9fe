"""`rostersync connector`: a plugin author's two commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.user_csv import UserCsv
from rostersync.cli.app import run


def test_a_new_connector_is_written_into_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["connector", "new", "fruit_sis"]) == 0
    assert (tmp_path / "rostersync-fruit-sis" / "pyproject.toml").is_file()
    assert "pip install -e '.[dev]' && pytest" in capsys.readouterr().out


def test_a_new_connector_is_told_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "here"
    assert run(["connector", "new", "fruit_sis", "--folder", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["folder"]) == ("fruit_sis", str(folder))
    assert str(folder / "README.md") in told["files"]


def test_a_name_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["connector", "new", "Fruit", "--folder", str(tmp_path / "x"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_a_connector_that_keeps_every_rule_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connector", "test", "clever_csv"]) == 0
    assert ", 0 failed, 0 exempt," in capsys.readouterr().out


def test_exemptions_are_shown_with_their_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connector", "test", "user_csv"]) == 0
    printed = capsys.readouterr().out
    assert "exempt: a_student_without_email_is_read" in printed
    assert "the format asks for an email in every row" in printed


def test_the_report_is_told_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connector", "test", "user_csv", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert report["counts"]["exempt"] == 3
    assert {"check", "rule", "outcome", "detail"} <= set(report["checks"][0])


def test_a_connector_that_breaks_a_rule_fails_with_the_rule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(UserCsv, "title", "two\nlines")
    assert run(["connector", "test", "user_csv"]) == 2
    printed = capsys.readouterr().out
    assert "failed: the_connector_introduces_itself" in printed
    assert "the title is not one line of text" in printed


def test_an_unknown_connector_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["connector", "test", "user_cvs", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["hint"] == "Did you mean 'user_csv'?"
