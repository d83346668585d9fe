"""Statements in plain SQL stand in one block of their module, and only where the set matters.

What reads or writes one table is an expression of SQLAlchemy Core on ``core/storage/schema.py``, so
that a renamed column is an error for mypy. What works on whole sets and is tuned to a planner stays
text, together and described.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import BindParameter, TextClause
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import TextualSelect

from core.storage import schema
from core.storage.columns import Row
from sync.run import scratch_tables
from sync.run.scratch import Scratch

ROOT = Path(__file__).parents[2]
HEADING = "# --- Set-wise statements ---"
MOST_COMMENT_LINES = 6
MODULES = sorted(
    str(path.relative_to(ROOT))
    for room in ("sync", "rostersync/service")
    for path in (ROOT / room).rglob("*.py")
)
MADE_BY = {"sqlalchemy": ("text",), "core.storage.columns": ("typed",)}
"""Module → the functions that make a statement of plain SQL."""

PERMANENT = frozenset(
    one.table_name
    for one in vars(schema).values()
    if isinstance(one, type) and issubclass(one, Row) and one is not Row
)
SCRATCH = frozenset(
    one.name
    for one in vars(scratch_tables).values()
    if isinstance(one, type) and issubclass(one, Scratch) and one is not Scratch
)
NAMED = re.compile(
    r"\b(?:(?<!DISTINCT )FROM|JOIN|INTO|UPDATE)\s+(\w+)"
    r"|,\s*(\w+)\s+(?:AS\s+)?(?!FROM\b|WHERE\b|ORDER\b|GROUP\b|LIMIT\b)[A-Za-z_]",
    re.IGNORECASE,
)
SET_WISE = re.compile(r"\bWITH\b|\bOVER\s*\(|\bON CONFLICT\b", re.IGNORECASE)


def faults_of(source: str, names: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the statements of a module; *names* are those it has."""
    tree = ast.parse(source)
    lines = source.splitlines()
    headings = [at for at, line in enumerate(lines, 1) if line.strip() == HEADING]
    calls = list(statements_in(tree))
    if len(headings) > 1:
        return [f"line {headings[1]}: a second block of set-wise statements"]
    if not calls:
        return [f"line {at}: a block without a statement in text" for at in headings]
    if not headings:
        return [f"line {call.lineno}: text outside of a block" for call in calls]
    start = headings[0]
    block = [node for node in tree.body if node.lineno > start]
    return [
        *(
            f"line {call.lineno}: text outside of the block"
            for call in calls
            if call.lineno < start
        ),
        *faulty_comment(lines, start),
        *(fault for node in block for fault in faulty_node(node, names)),
        *faulty_statements(block, names),
    ]


def statements_in(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield every call that makes a statement of text, under whichever name it was imported."""
    made_by = {"sqlalchemy.text"} | {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in MADE_BY.get(node.module or "", ())
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in made_by:
            yield node


def faulty_comment(lines: list[str], start: int) -> list[str]:
    """Return a fault if no short comment in whole sentences follows the heading."""
    comment: list[str] = []
    for line in lines[start:]:
        if not line.startswith("# "):
            break
        comment.append(line)
    if not comment or len(comment) > MOST_COMMENT_LINES or not comment[-1].endswith("."):
        return [f"line {start}: say in one to four sentences why these statements are text"]
    return []


def faulty_node(node: ast.stmt, names: Mapping[str, Any]) -> list[str]:
    """Return a fault if something stands in the block that is no statement, nor a part of one."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return []
    if isinstance(node, ast.FunctionDef):
        ran = [one for one in ast.walk(node) if isinstance(one, ast.Attribute)]
        if any(one.attr == "execute" for one in ran):
            return [f"line {node.lineno}: {node.name} runs statements; here they are only built"]
        return []
    values = [part for name in bound_by(node) for part in parts_of(names[name])]
    if not any(isinstance(one, (str, TextClause, TextualSelect, BindParameter)) for one in values):
        return [f"line {node.lineno}: no statement in text, so it stands elsewhere"]
    if any(is_core(one) for one in values):
        return [f"line {node.lineno}: an expression of Core, which stands beside its use"]
    return []


def bound_by(node: ast.stmt) -> list[str]:
    """Return the names to which an assignment gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    return [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]


def parts_of(value: Any) -> Iterator[Any]:
    """Yield everything that a constant holds."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from parts_of(one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from parts_of(one)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from parts_of(getattr(value, field.name))
    else:
        yield value


def is_core(value: Any) -> bool:
    text = (TextClause, TextualSelect, BindParameter)
    return isinstance(value, ClauseElement) and not isinstance(value, text)


def faulty_statements(block: list[ast.stmt], names: Mapping[str, Any]) -> Iterator[str]:
    """Yield the statements that are about one permanent table.

    The constants are looked at as they are. Of a function, which is not called here, those
    statements are looked at that depend on nothing but constants.
    """
    for node in block:
        if isinstance(node, ast.FunctionDef):
            found = list(fixed_in(node, names))
        else:
            values = [part for name in bound_by(node) for part in parts_of(names.get(name))]
            found = [sql for value in values if (sql := sql_of(value)) is not None]
        for sql in found:
            if is_plain(sql):
                yield f"line {node.lineno}: one table, so an expression of Core: {sql}"


def fixed_in(function: ast.FunctionDef, names: Mapping[str, Any]) -> Iterator[str]:
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("text", "typed") and call.args:
            try:
                yield eval(compile(ast.Expression(call.args[0]), "", "eval"), dict(names))
            except NameError:
                continue


def sql_of(value: Any) -> str | None:
    if isinstance(value, TextualSelect):
        value = value.element
    return value.text if isinstance(value, TextClause) else None


def is_plain(sql: str) -> bool:
    """Say whether a statement is a plain read or write of one permanent table."""
    bare = re.sub(r"'[^']*'", "''", sql)
    named = [first or second for first, second in NAMED.findall(bare)]
    if SET_WISE.search(bare) or any(name in SCRATCH for name in named):
        return False
    return sum(name in PERMANENT for name in named) == 1


@pytest.mark.parametrize("module", MODULES)
def test_statements_in_text_are_set_wise_and_stand_in_one_described_block(module: str) -> None:
    names = vars(importlib.import_module(module.removesuffix(".py").replace("/", ".")))
    assert faults_of((ROOT / module).read_text("utf-8"), names) == []


GOOD = f"""
from sqlalchemy import text

def people(connection):
    return connection.execute(_PEOPLE)

{HEADING}
# They join two tables, and rely on the index of the links.

_PEOPLE = text("SELECT u.id FROM users u JOIN links l ON l.target_id = u.id")
'''Everybody whom a source holds.'''
_NUMBERED = {{
    name: text(f"SELECT ROW_NUMBER() OVER (ORDER BY {{name}}) FROM users") for name in ("id",)
}}

def _of(table):
    return text(f"SELECT 1 FROM {{table}}")
"""
WRONG = [
    ("text outside of the block", GOOD.replace("(_PEOPLE)", "(text('SELECT 1 FROM users'))")),
    ("text outside of the block", f"from sqlalchemy import text as sql\n_A = sql('')\n{GOOD}"),
    ("text outside of a block", GOOD.replace(HEADING, "")),
    ("a second block", f"{GOOD}\n{HEADING}\n"),
    ("a block without a statement", f"{HEADING}\n# Nothing is here.\n"),
    ("say in one to four sentences", GOOD.replace("# They", "# They\n\n# They")),
    ("say in one to four sentences", GOOD.replace("# They", "# They do.\n" * 9 + "# They")),
    ("runs statements", f"{GOOD}\ndef _run(connection):\n    connection.execute(_PEOPLE)\n"),
    ("no statement in text", f"{GOOD}\n_SIZE = 500\n"),
    ("no statement in text", f"{GOOD}\n_SIZE: int = 500\n"),
    ("of Core, which stands", f"from sqlalchemy import null\n{GOOD}\n_A = ('', null())\n"),
    ("one table", f"{GOOD}\n_NAMES = text('SELECT family_name FROM users')\n"),
    ("one table", f"{GOOD}\n_DROP = {{1: text('DELETE FROM users')}}\n"),
    ("one table", f"{GOOD}\ndef _all():\n    return text('SELECT 1 FROM users')\n"),
    (
        "one table",
        f"from core.storage.columns import typed\n{GOOD}\n_A = typed('SELECT 1 FROM users')\n",
    ),
]  # fmt: skip


def test_the_good_example_has_no_fault() -> None:
    assert faults_of(GOOD, run(GOOD)) == []


@pytest.mark.parametrize(("fault", "source"), WRONG)
def test_every_kind_of_fault_is_found(fault: str, source: str) -> None:
    found = faults_of(source, run(source))
    assert any(fault in one for one in found), found


def run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(source, names)
    return names


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        ("SELECT 1 FROM users WHERE id = :id", True),
        ("INSERT INTO users (id) VALUES (:id)", True),
        ("UPDATE users SET email = NULL", True),
        ("DELETE FROM users WHERE id IN :ids", True),
        ("SELECT COUNT(*) FROM (SELECT DISTINCT email FROM users) AS d", True),
        ("SELECT id FROM users WHERE email IS DISTINCT FROM links", True),
        ("SELECT schools, changes FROM plans", True),
        ("SELECT ' FROM links ' FROM users", True),
        ("SELECT 1 FROM users u, links l", False),
        ("SELECT 1 FROM users u JOIN links l ON l.target_id = u.id", False),
        ("INSERT INTO links SELECT 1 FROM users", False),
        ("SELECT u.id FROM users u WHERE EXISTS (SELECT 1 FROM users o WHERE o.id = u.id)", False),
        ("WITH s AS (SELECT 1) SELECT * FROM users", False),
        ("INSERT INTO undone VALUES (1) ON CONFLICT DO NOTHING", False),
        ("DELETE FROM todo_users", False),
    ],
)
def test_a_statement_about_one_permanent_table_is_plain(sql: str, plain: bool) -> None:
    assert is_plain(sql) is plain
