"""The reference says what the program says: generated pages are current, shapes are real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import DistrictSettings
from rostersync.tools import reference
from rostersync.tools.reference_words import (
    DISTRICT_KEYS,
    ENVIRONMENT,
    EXIT_CODES,
    JSON_SHAPES,
    STATUSES,
)
from sync.run.outcome import CODES, SERIOUS_FIRST
from tests.docs.console import ROOT, Reader

DOCS = ROOT / "docs"
HOOKS = {"ROSTERSYNC_FAILPOINT", "ROSTERSYNC_WATCHED"}
"""Read by tests of crashes only, and set by the service for the runs that it starts."""


@pytest.mark.parametrize("name", ["reference.md", "reasons.md", "how-it-decides.md"])
def test_a_generated_page_is_current(name: str) -> None:
    wanted = reference.pages(DOCS)[DOCS / name]
    current = (DOCS / name).read_text(encoding="utf-8")
    assert current == wanted, f"docs/{name} is not current: run make docs and commit it"


def test_a_page_keeps_what_stands_outside_its_marks() -> None:
    page = "before\n<!-- generated: limits -->\nold\n<!-- end -->\nafter\n"
    made = reference.with_tables(page)
    assert made.startswith("before\n")
    assert made.endswith("<!-- end -->\nafter\n")
    assert "old" not in made
    assert "| one role at one school | 10 % | 3 |" in made


def test_every_command_of_the_program_is_in_the_reference(reader: Reader) -> None:
    told = set(re.findall(r"^### `rostersync (.+)`$", reference.reference(), re.M))
    assert told == set(_commands(reader))


def _commands(reader: Reader, under: str = "") -> Iterator[str]:
    """Yield what ``--help`` lists, room by room."""
    page = reader.do(f"rostersync {under}--help")
    for name in re.findall(r"^  ([a-z-]+) ", page.partition("Commands:\n")[2], re.M):
        if "COMMAND [ARGS]" in reader.do(f"rostersync {under}{name} --help"):
            yield from _commands(reader, f"{under}{name} ")
        else:
            yield f"{under}{name}"


def test_every_exit_code_and_status_is_told() -> None:
    assert set(EXIT_CODES) == set(SERIOUS_FIRST)
    assert set(STATUSES) == {*CODES, "refused"}


def test_a_key_of_the_district_file_without_a_sentence_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(DISTRICT_KEYS["[[district]]"]) == set(DistrictSettings.model_fields)
    monkeypatch.delitem(DISTRICT_KEYS["[[district]]"], "guard")
    with pytest.raises(LookupError, match="guard"):
        reference.reference()


def test_every_environment_variable_that_is_read_is_told() -> None:
    read = {
        name
        for package in ("core", "connectors", "sync", "rostersync")
        for file in (ROOT / package).rglob("*.py")
        if file.name != "reference_words.py"
        for name in re.findall(r"\bROSTERSYNC_[A-Z_]+\b", file.read_text(encoding="utf-8"))
    }
    assert read - HOOKS == {name for name in ENVIRONMENT if name.startswith("ROSTERSYNC_")}


@pytest.fixture
def answers(reader: Reader, tmp_path: Path) -> dict[str, Any]:
    """One document of each shape, as the program prints it."""
    (tmp_path / "district.toml").write_text(
        '[[district]]\nslug = "a"\nname = "A"\ntimezone = "America/Chicago"\n'
        '[[district.source]]\nname = "sis"\nconnector = "oneroster_csv"\n'
        '[district.source.config]\npath = "roster.zip"\n'
    )
    reader.do("rostersync emulate --users 20 --csv roster.zip")
    reader.do("rostersync load district.toml")

    def ask(command: str) -> Any:
        return json.loads(reader.do(f"rostersync {command} --json"))

    outcome = ask("plan a")
    ask("apply P1")
    return {
        "outcome": outcome,
        "plan": outcome["plans"][0]["plan"],
        "change": outcome["plans"][0]["changes"][0],
        "certificate": outcome["certificates"]["sis"],
        "user": ask("users a")[0],
        "feed": ask("changes a"),
        "skipped": ask("skipped a")[0],
    }


def test_the_documents_have_just_the_fields_of_the_reference(answers: dict[str, Any]) -> None:
    assert set(answers) == set(JSON_SHAPES)
    for name, document in answers.items():
        assert set(document) == set(JSON_SHAPES[name][1]), name
    extra = set(answers["feed"]["changes"][0]) - set(JSON_SHAPES["change"][1])
    assert extra == {"serial", "cursor", "at", "actor", "run_id", "plan_id"}
