"""The page of the rules of the file upload, compared with the tests that hold them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.console import ROOT

PAGE = ROOT / "docs" / "design" / "file-rules.md"
RULES = {2: 13, 3: 11, 4: 10, 5: 14, 6: 5, 9: 10, 11: 13}
"""Section → how many rules it has, numbered from 1."""
WHERE = [
    ROOT / "tests" / room
    for room in ("connectors/files", "connectors/test_user_csv.py", "sync/acts", "sync/views")
]
NUMBERS = [f"{section}.{rule}" for section, last in RULES.items() for rule in range(1, last + 1)]

_ROW = re.compile(r"^\| (\d+\.\d+) \| (.+?) \| (.+) \|$", re.M)
_NUMBER = re.compile(r"(?<![a-z0-9])(\d+)_(\d+)(?=_)")


def page() -> dict[str, str]:
    """Return number → what is made of the rule."""
    found = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len({number for number, _, _ in found}) == len(found), "each rule stands there once"
    return {number: here for number, _, here in found}


def of_files() -> set[str]:
    """Return the names of the tests of files."""
    files: list[Path] = []
    for place in WHERE:
        files += [place] if place.is_file() else place.glob("test_*.py")
    return {
        name
        for file in files
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.M)
    }


def numbers_in(name: str) -> set[str]:
    """Return the rules that a test names in its own name."""
    return {f"{section}.{rule}" for section, rule in _NUMBER.findall(name)}


def test_every_rule_stands_on_the_page_and_no_other() -> None:
    assert list(page()) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_rule_has_a_test_with_its_number_or_a_reason(number: str) -> None:
    here = page()[number]
    if here.startswith("not kept: "):
        assert len(here.split()) > 6, "the reason is a sentence"
        return
    named = re.findall(r"`(test_\w+)`", here)
    assert named, "a kept rule names its tests"
    assert set(named) <= of_files()
    of_the_number = [name for name in named if number in numbers_in(name)]
    assert of_the_number, f"none of its tests carries {number}"


def test_a_test_that_carries_a_number_stands_on_the_page() -> None:
    told = set(re.findall(r"test_\w+", PAGE.read_text(encoding="utf-8")))
    carrying = {name for name in of_files() if numbers_in(name) & set(NUMBERS)}
    assert carrying <= told


def test_the_counts_of_the_page_are_right() -> None:
    rules = page().values()
    left_out = sum(here.startswith("not kept: ") for here in rules)
    said = f"{len(rules) - left_out} are kept, {left_out} are not."
    assert said in PAGE.read_text(encoding="utf-8")
