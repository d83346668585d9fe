"""The quick tests of the command line, plugins and conformance, run against the installed wheel.

The tests import the packages by the names of the repository. So they are rewritten by what rewrites
the wheel itself, and run in a folder of a user who has a ``core`` and a ``sync`` of their own: all
of them in ``make test-long``, every fifth in ``make test``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kit.sizes import LONG
from tests.release.installed import INNER, PROJECT, Environment, shade

CHECKOUT_ONLY = (
    "test_a_stranger_called_core_is_named",  # what hides the packages of a checkout
    "test_a_vendor_of_ours_imports_only_what_is_public",  # reads the sources of a checkout
)

EVERY_FIFTH = """\
def pytest_collection_modifyitems(items):
    items[:] = items[::5]
"""
"""What the quick suite runs of them: they differ by the wheel alone, and all modules are loaded."""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the rewritten tests, and what they read, into a folder that is not the checkout."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shade().write(PROJECT / "tests", folder / "tests")
    for name in ("fixtures", "docs"):
        shutil.copytree(PROJECT / name, folder / name)
    shutil.copy(PROJECT / "pyproject.toml", folder)
    (folder / "every_fifth.py").write_text(EVERY_FIFTH)
    for package in INNER:
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text('WHOSE = "the user\'s"\n')
    return folder


@pytest.mark.parametrize("room", ["rostersync/cli", "plugins", "connectors/conformance"])
def test_they_pass(alone: Environment, elsewhere: Path, room: str) -> None:
    chosen = " and ".join(f"not {name}" for name in (*CHECKOUT_ONLY, "postgresql"))
    drawn = () if LONG else ("-p", "every_fifth")
    printed = alone.call(
        "-m", "pytest", "-p", "no:cacheprovider", *drawn, "-k", chosen, f"tests/{room}",
        cwd=elsewhere,
    )  # fmt: skip
    assert " passed" in printed


def test_they_are_about_the_wheel(alone: Environment, elsewhere: Path) -> None:
    (elsewhere / "tests" / "test_whose.py").write_text(
        "import core, rostersync\n\n\n"
        "def test_whose():\n"
        '    assert core.WHOSE == "the user\'s"\n'
        f"    assert rostersync.__file__.startswith({str(alone.site)!r})\n"
    )
    printed = alone.call(
        "-m", "pytest", "-p", "no:cacheprovider", "tests/test_whose.py", cwd=elsewhere
    )
    assert "1 passed" in printed
