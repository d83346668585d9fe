"""The engine asks a connector's flags and methods: it knows none of them by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.installed import installed

SYNC = Path(__file__).parents[2] / "sync"
NAMES = {entry.name for entry in installed() if entry.distribution == "rostersync"}
MODULES = {entry.target.partition(":")[0] for entry in installed()}


def documentation(tree: ast.AST) -> set[ast.AST]:
    """Return the docstrings, which may say where a fact comes from."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def names_in(source: str) -> Iterator[str]:
    """Yield the names of connectors that some code speaks of."""
    tree = ast.parse(source)
    said = documentation(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said:
            yield from NAMES & set(node.value.replace("'", " ").replace('"', " ").split())
        elif isinstance(node, ast.ImportFrom):
            modules = {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
            yield from (
                one for one in MODULES if any(f"{m}.".startswith(f"{one}.") for m in modules)
            )
        elif isinstance(node, ast.Import):
            yield from MODULES & {alias.name for alias in node.names}


def test_no_code_of_the_engine_names_a_connector() -> None:
    assert len(NAMES) >= 8
    found = {
        str(path.relative_to(SYNC)): named
        for path in sorted(SYNC.rglob("*.py"))
        if (named := list(names_in(path.read_text())))
    }
    assert found == {}


@pytest.mark.parametrize(
    "code",
    [
        'if source.connector == "finra_flex": pass',
        "QUERY = \"SELECT 1 FROM uploads WHERE type = 'finra_flex'\"",
        "from connectors.user_csv import UserCsv",
        "from connectors import clever_csv",
        "import connectors.oneroster_csv",
        "from connectors.clever.connector import Clever",
    ],
)
def test_a_name_is_found_wherever_it_stands(code: str) -> None:
    assert list(names_in(code)) != []
