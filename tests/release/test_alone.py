"""What the wheel brings: one package, typed, with nothing in it that looks for the others."""

from __future__ import annotations

import ast
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.installed import INNER, PROJECT, Environment

PROGRAM = '''\
"""What an app that embeds rostersync may look like."""

from pathlib import Path

import rostersync
from rostersync import Database, Outcome, UserFilter, open_database


def today(url: str, folder: Path) -> list[str]:
    database: Database = open_database(url)
    rostersync.load_district(database, folder / "district.toml")
    outcome: Outcome = rostersync.sync(database, "example", actor="app")
    reveal_type(outcome.status)
    reveal_type(rostersync.users)
    return [str(user) for user in rostersync.users(database, "example", UserFilter())]
'''


def _sources(wheel: Path) -> Iterator[tuple[str, ast.Module]]:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                yield name, ast.parse(archive.read(name))


def test_the_wheel_takes_one_name_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"rostersync"}


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    wanted = {
        "/".join(("rostersync", f"_{package}", *path.relative_to(PROJECT / package).parts))
        for package in INNER
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        assert wanted <= set(archive.namelist())


def test_no_import_in_the_wheel_looks_for_a_package_of_the_checkout(wheel: Path) -> None:
    looked_for = [
        (name, module)
        for name, tree in _sources(wheel)
        for node in ast.walk(tree)
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if module.partition(".")[0] in INNER
    ]
    assert looked_for == []


def test_no_string_in_the_wheel_names_a_module_of_the_checkout(wheel: Path) -> None:
    named = re.compile(rf"(?:{'|'.join(INNER)})(?:\.\w+)+(?::\w+)?")
    left = [
        (name, node.value)
        for name, tree in _sources(wheel)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and named.fullmatch(node.value)
        and (PROJECT / Path(*node.value.split(".")[:2])).with_suffix(".py").exists()
    ]
    assert left == []


def test_every_module_of_the_wheel_can_be_imported(alone: Environment) -> None:
    problems = alone.ask(
        "import importlib, json, pkgutil, rostersync\n"
        "problems = []\n"
        "for module in pkgutil.walk_packages(rostersync.__path__, 'rostersync.'):\n"
        "    if module.name.endswith('__main__') or '.migrations.' in module.name:\n"
        "        continue\n"
        "    try:\n"
        "        importlib.import_module(module.name)\n"
        "    except Exception as error:\n"
        "        problems.append([module.name, repr(error)])\n"
        "print(json.dumps(problems))"
    )
    assert problems == []


def test_the_names_of_the_checkout_are_free_where_the_wheel_is_installed(
    alone: Environment,
) -> None:
    found = alone.ask(
        "import importlib.util, json, rostersync\n"
        "for name in rostersync.__all__:\n"
        "    getattr(rostersync, name)\n"
        f"print(json.dumps([importlib.util.find_spec(name) for name in {list(INNER)!r}]))"
    )
    assert found == [None] * len(INNER)


def test_our_own_connectors_are_found_by_their_entry_points(
    alone: Environment, tmp_path: Path
) -> None:
    listed = alone.rostersync("connectors", cwd=tmp_path)
    assert {one["name"] for one in listed} >= {"clever", "classlink", "gg4l", "oneroster_csv"}
    assert [one["problem"] for one in listed] == [None] * len(listed)


def test_an_app_sees_the_types_of_the_public_interface(alone: Environment, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "app.py").write_text(PROGRAM)
    printed = alone.call(
        "-m", "mypy", "--strict", "--python-executable", alone.python, "--config-file=",
        f"--python-version={sys.version_info.major}.{sys.version_info.minor}", "app.py",
        cwd=tmp_path,
    )  # fmt: skip
    assert "Success" in printed
    revealed = re.findall(r'Revealed type is "(.*)"', printed)
    assert len(revealed) == 2
    assert not any(one == "Any" or one.startswith("def (*") for one in revealed), revealed
