"""The page of the rules: each rule that is cited stands there, and users never read a code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.citations import (
    ROOT,
    RULES,
    citations,
    cited_in_code,
    codes_in,
    defined,
    is_docstring,
    prose,
    python_files,
)

PAGE = RULES.read_text(encoding="utf-8")
IN_PROGRESS = "*In progress.*"
PRODUCT = ("core", "connectors", "sync", "rostersync")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
GOLDEN = sorted((ROOT / "tests" / "rostersync" / "cli" / "golden").rglob("*.*"))

_IN_BRACKETS = re.compile(
    r"\((?:SEMANTICS )?(?:(?:AC|[LPFSIC])\d{1,2}(?:, |-| to | and )?)+\)|\brules? \d|\bSEMANTICS\b"
)


def test_every_rule_that_is_cited_is_stated() -> None:
    unknown = {code: files for code, files in citations().items() if code not in defined(PAGE)}
    assert not unknown, "state it in docs/design/rules.md, or cite another one"


def test_every_rule_that_is_stated_is_cited() -> None:
    cited = citations()
    nobody = [code for code, text in defined(PAGE).items() if code not in cited]
    assert [code for code in nobody if IN_PROGRESS not in defined(PAGE)[code]] == []


def test_no_rule_that_is_cited_is_in_progress() -> None:
    cited = citations()
    late = [code for code, text in defined(PAGE).items() if IN_PROGRESS in text and code in cited]
    assert late == [], "it is in the code: take the words away in docs/design/rules.md"


def test_every_rule_says_something() -> None:
    assert [code for code, text in defined(PAGE).items() if len(text.split()) < 6] == []


def test_the_page_itself_points_only_at_rules_that_it_states() -> None:
    assert set(codes_in(prose(PAGE))) <= set(defined(PAGE))


def test_nobody_cites_a_document_that_is_not_in_the_repository() -> None:
    """``SEMANTICS P3`` helps nobody who has only this repository; ``P3`` is enough."""
    found = [
        f"{file.relative_to(ROOT)}: {cited}"
        for file in python_files(*PRODUCT, "bench", "tests")
        if file.parent != Path(__file__).parent
        for cited in re.findall(
            r"SEMANTICS|INTERFACE\.md|(?<!docs/)\b(?:vendors|oneroster|flex|peers)\.md",
            file.read_text(encoding="utf-8"),
        )
    ]
    assert found == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_for_admins_carries_no_code(page: Path) -> None:
    assert list(codes_in(prose(page.read_text(encoding="utf-8")))) == []


def test_no_message_and_no_reason_carries_a_code() -> None:
    """Every string of the program that is not a docstring may be shown to somebody."""
    found = []
    for file in python_files(*PRODUCT):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if is_docstring(node)}  # type: ignore[attr-defined]
        found += [
            f"{file.relative_to(ROOT)}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            if id(node) not in docstrings and _IN_BRACKETS.search(node.value)
        ]
    assert found == []


def test_the_help_of_no_command_carries_a_code() -> None:
    """The docstring of a command is what ``--help`` prints."""
    files = python_files("rostersync/cli")
    assert [file.name for file in files if cited_in_code(file.read_text("utf-8"))] == []


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.name)
def test_nothing_that_is_printed_carries_a_code(file: Path) -> None:
    assert len(GOLDEN) >= 3
    assert not _IN_BRACKETS.search(file.read_text(encoding="utf-8"))


def test_a_code_is_found_wherever_it_can_stand() -> None:
    source = '''
"""A module (L7, P1-P3; rule 2)."""
# -- S1 to S3, and rules 4 and 9
def test_p8_and_ac06_hold(): pass
PLAN = "P12 (L1)"
"""Like ``F9``, but not in oneroster.C1 and v1.C2."""
'''
    found = {"L7", "P1", "P2", "P3", "S1", "S2", "S3", "P8", "AC6", "Rule 2", "Rule 4", "Rule 9"}
    assert cited_in_code(source) == found
    assert _IN_BRACKETS.search("held once (P8)")
    assert _IN_BRACKETS.search("two at once (F10, L8).")
    assert not _IN_BRACKETS.search("Plan P12 of springfield (R1 was the run)")
