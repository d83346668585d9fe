"""How the build rewrites sources: every reference to a package that moves, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.steps import log_of
from release.shaded_wheel import Shade
from tests.release.installed import INNER, PROJECT
from tests.release.installed import shade as of_this_project

MODULES = ("core", "core.errors", "core.store", "core.store.tables", "sync", "sync.engine")


@pytest.fixture(scope="module")
def shade(tmp_path_factory: pytest.TempPathFactory) -> Shade:
    root = tmp_path_factory.mktemp("repository")
    for module in MODULES:
        path = Path(*module.split("."))
        package = any(other.startswith(f"{module}.") for other in MODULES)
        target = root / (path / "__init__.py" if package else path.with_suffix(".py"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return Shade(root, ["core", "sync"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from core.errors import Busy", "from rostersync._core.errors import Busy"),
        ("from core import errors", "from rostersync._core import errors"),
        ("from  core.errors import (Busy,)", "from  rostersync._core.errors import (Busy,)"),
        ("import core", "import rostersync._core as core"),
        ("import core.errors as e", "import rostersync._core.errors as e"),
        ("import core.errors", "import rostersync._core.errors, rostersync._core as core"),
        ("import os, sync.engine as e", "import os, rostersync._sync.engine as e"),
        ("x = 'é'; import core", "x = 'é'; import rostersync._core as core"),
        ("run('-m', 'sync.engine')", "run('-m', 'rostersync._sync.engine')"),
        ("x = 'core.errors:Busy'", "x = 'rostersync._core.errors:Busy'"),
        ("patch('core.store.tables.User')", "patch('rostersync._core.store.tables.User')"),
        ("getLogger('core')", "getLogger('rostersync._core')"),
        ("importlib.import_module('sync')", "importlib.import_module('rostersync._sync')"),
        ("c = 'from core import errors'", "c = 'from rostersync._core import errors'"),
    ],
)  # fmt: skip
def test_a_reference_is_rewritten(shade: Shade, before: str, after: str) -> None:
    assert shade.rewrite(before) == after


@pytest.mark.parametrize(
    "source",
    [
        "from . import core",
        "from .core import errors",
        "from rostersync.core import errors",
        "import corelib, synchronous",
        "from core_of_mine import errors",
        "kind = 'sync'",
        "core = {'core': 1}['core']",
        "text = 'core.unheard_of'",
        "text = 'core.errors are listed'",
        "'''The errors; see ``core.errors``, imported from core.'''",
        "text = 'import core, from what we know, is a matter of taste'",
        "url = 'https://core.errors/sync.engine'",
        "x = f'{core}.errors'",
    ],
)
def test_anything_else_stays_as_it_is(shade: Shade, source: str) -> None:
    assert shade.rewrite(source) == source


def test_what_cannot_be_rewritten_stops_the_build_and_names_the_line(shade: Shade) -> None:
    with pytest.raises(ValueError, match=r"core/x\.py, line 2: an f-string"):
        shade.rewrite("part = 'tables'\nname = f'core.store.{part}'\n", "core/x.py")


_WORDS = st.sampled_from(["core", "sync", "errors", "store", "json", "e"])
_NAMES = st.sampled_from([*MODULES, "json", "os.path", "rostersync.api", "cores.x", "syncing"])
_STATEMENTS = st.one_of(
    st.builds("import {}".format, _NAMES),
    st.builds("import {} as {}".format, _NAMES, _WORDS),
    st.builds("import {}, {} as {}".format, _NAMES, _NAMES, _WORDS),
    st.builds("from {} import {}".format, _NAMES, _WORDS),
    st.builds("from {} import (\n    {} as {},\n)".format, _NAMES, _WORDS, _WORDS),
    st.builds("if TYPE_CHECKING:\n    from {} import {}".format, _NAMES, _WORDS),
    st.builds("def f():  # ä\n    'ü'; import {}".format, _NAMES),
    st.builds("load({!r}, {})".format, _NAMES, _WORDS),
    st.builds("if 'ö':\n    call('''{}''')".format, _NAMES),
)


def _imported(source: str) -> list[str]:
    """Return every module that a program imports, in order."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


def _bound(source: str) -> list[str]:
    """Return every name that the imports of a program bind, in order."""
    return [
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]


@given(st.lists(_STATEMENTS, max_size=6).map("\n".join))
def test_no_import_of_a_moved_package_is_left_and_every_name_stays_bound(
    shade: Shade, source: str
) -> None:
    rewritten = shade.rewrite(source)
    assert not {name.partition(".")[0] for name in _imported(rewritten)} & {"core", "sync"}
    assert set(_bound(rewritten)) - {"rostersync"} == set(_bound(source)) - {"rostersync"}
    assert rewritten.count("\n") == source.count("\n")
    assert shade.rewrite(rewritten) == rewritten


def test_a_program_in_a_string_keeps_doing_what_it_did(shade: Shade) -> None:
    source = dedent(
        """
        PROGRAM = (
            "import json\\n"
            "from sync.engine import run\\n"
            "print(json.dumps('core'))"
        )
        """
    )
    names: dict[str, str] = {}
    exec(shade.rewrite(source), names)
    assert names["PROGRAM"] == (
        "import json\nfrom rostersync._sync.engine import run\nprint(json.dumps('core'))"
    )


def test_the_log_names_every_room_alike_in_the_checkout_and_in_the_wheel() -> None:
    shade = of_this_project()
    modules = [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for package in INNER
        for path in (PROJECT / package).rglob("*.py")
    ]
    assert len(modules) > 100
    for module in modules:
        assert shade.name(module) != module
        assert log_of(shade.name(module)).name == log_of(module).name
