"""The scratch tables are where they are declared, and the named modules fill and read them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import sync
from core.storage.database import Database
from sync.run import scratch_tables
from sync.run.scratch import Scratch
from sync.run.scratch_tables import PeopleToRead, RecordList, StagedChunks, UserList

SYNC = Path(sync.__file__).parent
PROGRAM = [
    path
    for room in ("core", "connectors", "sync", "rostersync")
    for path in sorted((SYNC.parent / room).rglob("*.py"))
]
TABLES = Scratch.__subclasses__()
FILLS = r"\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+{name}\b"
READS = r"(?<!DELETE )\b(?:FROM|JOIN)\s+{name}\b"
GROUPS = ("PeopleToRead", "PlanTables", "Workspace", "Stage")
"""Objects that have several tables."""


def texts_of(path: Path) -> Iterator[str]:
    """Yield the strings of a module but its docstrings, with ``{}`` for what is put into them."""
    tree = ast.parse(path.read_text())
    ignored = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            ignored |= {id(part) for part in node.values}
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
        elif isinstance(node, ast.Constant) and id(node) not in ignored:
            yield str(node.value)


@cache
def text_of(module: str) -> str:
    return "\n".join(texts_of(SYNC / module))


@cache
def names_in(module: str) -> frozenset[str]:
    """Return every name and attribute that a module mentions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((SYNC / module).read_text())):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
    return frozenset(found)


@cache
def held_as(table: type[Scratch]) -> frozenset[str]:
    """Return the attributes by which objects have a table: ``stage.entries``."""
    found: set[str] = set()
    for path in SYNC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if ast.unparse(node.annotation) == table.__name__:
                    found.add(node.target.id)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                target = node.targets[0]
                if ast.unparse(node.value.func) == table.__name__ and isinstance(
                    target, ast.Attribute
                ):
                    found.add(target.attr)
    return frozenset(found)


def in_sql(pattern: str, table: type[Scratch]) -> set[str]:
    """Return the modules of sync whose SQL does this to a table."""
    wanted = re.compile(pattern.format(name=table.name))
    return {
        str(path.relative_to(SYNC))
        for path in SYNC.rglob("*.py")
        if wanted.search(text_of(str(path.relative_to(SYNC))))
    }


def test_no_temporary_table_is_made_anywhere_else() -> None:
    made = [
        str(path)
        for path in PROGRAM
        if any(re.search(r"CREATE\s+TEMP", each) for each in texts_of(path))
    ]
    assert made == [str(SYNC / "run" / "scratch.py")]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_is_filled_and_read_just_where_it_says(table: type[Scratch]) -> None:
    assert table.filled_by
    assert table.read_by
    assert in_sql(FILLS, table) <= set(table.filled_by)
    assert in_sql(READS, table) <= set(table.read_by)
    for module in (*table.filled_by, *table.read_by):
        by_name = re.search(rf"\b{table.name}\b", text_of(module)) is not None
        assert by_name or names_in(module) & {table.__name__, *held_as(table)}, module


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_whoever_names_a_table_in_sql_is_given_it(table: type[Scratch]) -> None:
    named = in_sql(FILLS, table) | in_sql(READS, table)
    assert [one for one in sorted(named) if not names_in(one) & {table.__name__, *GROUPS}] == []


def test_every_table_stands_in_the_one_list() -> None:
    assert {table.__module__ for table in TABLES} == {scratch_tables.__name__}
    assert len({table.name for table in TABLES}) == len(TABLES)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_has_the_columns_it_says_and_takes_rows(
    table: type[Scratch], database: Database
) -> None:
    with database.write() as connection:
        made = table(connection)
        found = connection.exec_driver_sql(f"SELECT * FROM {table.name}")
        assert list(found.keys()) == list(table.columns)
        made.index()
        made.index()  # again changes nothing
        values = {"TEXT": "x", "BYTES": b"x", "BOOLEAN": True}
        kinds = {name: kind.split()[0] for name, kind in table.columns.items()}
        given = {name: values.get(kind, 1) for name, kind in kinds.items() if kind != "NUMBERED"}
        made.add(database, [tuple(given.values())], tuple(given))
        assert made.count() == 1
        made.clear()
        assert made.count() == 0


def test_rows_of_a_list_are_numbered_from_1(database: Database) -> None:
    with database.write() as connection:
        made = RecordList(connection)
        made.add(database, [(7,), (9,), (8,)], ["record_id"])
        numbered = connection.exec_driver_sql("SELECT n, record_id FROM todo_records ORDER BY n")
        assert numbered.all() == [(1, 7), (2, 9), (3, 8)]


def test_rows_can_be_put_while_they_are_made(database: Database) -> None:
    with database.write() as connection:
        made = UserList(connection)
        with made.adding(database) as put:
            for number in range(3):
                put((number, f"u{number}"))
        assert made.count() == 3


def test_a_table_that_was_made_anew_is_not_read_by_who_had_the_old_one(database: Database) -> None:
    with database.write() as connection:
        first = PeopleToRead.none_yet(connection)
        assert first.users.connection is connection
        PeopleToRead.none_yet(connection)
        with pytest.raises(RuntimeError, match="todo_users was made anew"):
            _ = first.users.connection


def test_bytes_come_back_as_they_were(database: Database) -> None:
    with database.write() as connection:
        made = StagedChunks(connection)
        columns = list(made.columns)
        types = ("text", "int4", "bytea", "int4", "bytea", "bytea", "bytea")
        row = ("users", 1, b"\0d", 2, b"p\xff", b"k", None)
        database.insert_into(connection, made.name, columns, [row], types=types)
        found = connection.exec_driver_sql("SELECT digest, prints FROM stage_chunks").one()
        assert [bytes(value) for value in found] == [b"\0d", b"p\xff"]
