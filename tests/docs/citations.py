"""Codes of rules in texts: what counts as pointing at a rule of ``docs/design/rules.md``.

A code counts in a comment, a docstring, the name of a test, and the prose of a page. It does not
count in a string of the program, nor in backticks: ``P12`` there is the id of a plan.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "design" / "rules.md"
ROOMS = ("core", "connectors", "sync", "rostersync", "bench", "tests")

_FAMILY = r"(?:AC|[LPFSIC])"
_CODE = re.compile(rf"(?<![\w.-])({_FAMILY})(\d{{1,2}})\b(?:(?:-|–| to )\1(\d{{1,2}})\b)?")
_RULE = re.compile(r"\brules? (\d{1,2})\b(?:(-| to | and )(\d{1,2})\b)?", re.I)
_IN_A_NAME = re.compile(r"(?<=_)(ac|[lpfsic])(\d{1,2})(?=_)")
_TITLE = re.compile(rf"^### (Rule \d+|{_FAMILY}\d+): \S.*$", re.M)


def codes_in(text: str) -> Iterator[str]:
    """Yield the rules that a text points at; of a range such as ``L1-L5`` each one."""
    text = re.sub(r"`+[^`\n]+`+", "", text)
    for family, first, last in _CODE.findall(text):
        yield from (f"{family}{number}" for number in _numbers(first, last))
    for first, joined, last in _RULE.findall(text):
        numbers = [int(first), int(last)] if joined == " and " else _numbers(first, last)
        yield from (f"Rule {number}" for number in numbers)


def _numbers(first: str, last: str) -> range:
    return range(int(first), int(last or first) + 1)


def cited_in_code(source: str) -> set[str]:
    """Return the rules that a Python file points at."""
    tree = ast.parse(source)
    texts = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    texts += [node.value.value for node in ast.walk(tree) if is_docstring(node)]  # type: ignore[attr-defined]
    found = {code for text in texts for code in codes_in(text)}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            for family, number in _IN_A_NAME.findall(node.name + "_"):
                found.add(f"{family.upper()}{int(number)}")
    return found


def is_docstring(node: ast.AST) -> bool:
    """Say whether a node is a string that stands by itself, as docstrings do."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def prose(page: str) -> str:
    """Return a Markdown page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S)


def python_files(*rooms: str) -> list[Path]:
    """Return the Python files of some folders of the repository."""
    return sorted(file for room in rooms for file in (ROOT / room).rglob("*.py"))


def defined(page: str) -> dict[str, str]:
    """Return code → what the page of the rules says of it."""
    found = list(_TITLE.finditer(page))
    ends = [title.start() for title in found[1:]] + [len(page)]
    codes = [title[1] for title in found]
    assert len(set(codes)) == len(codes), "each rule is stated once"
    return {
        code: page[title.end() : end].split("\n## ")[0].strip()
        for code, title, end in zip(codes, found, ends, strict=True)
    }


def citations() -> dict[str, set[str]]:
    """Return code → the files that point at it."""
    found: dict[str, set[str]] = {}
    for file in python_files(*ROOMS):
        for code in cited_in_code(file.read_text(encoding="utf-8")):
            found.setdefault(code, set()).add(str(file.relative_to(ROOT)))
    for file in sorted((ROOT / "docs" / "design").rglob("*.md")):
        if file != RULES:
            for code in codes_in(prose(file.read_text(encoding="utf-8"))):
                found.setdefault(code, set()).add(str(file.relative_to(ROOT)))
    return found
