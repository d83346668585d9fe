"""The versions of what we stand on: the lowest that are allowed, and those that are locked."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.check import VERSIONS, interpreter
from release.lowest import lowest
from tests.release.installed import PROJECT

PYPROJECT = PROJECT / "pyproject.toml"
LOCKED = (PROJECT / "release" / "locked.txt").read_text().splitlines()


def _wanted() -> list[Requirement]:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return [one for one in map(Requirement, lines) if one.name != project["name"]]


def test_everything_that_is_wanted_is_locked_in_a_version_that_is_allowed() -> None:
    locked = {
        canonicalize_name(one.name): next(iter(one.specifier)).version
        for one in map(Requirement, LOCKED)
        if one.marker is None or one.marker.evaluate()
    }
    wrong = [
        str(one)
        for one in _wanted()
        if not one.specifier.contains(locked.get(canonicalize_name(one.name), "0"))
    ]
    assert wrong == [], "run `make lock`"


def test_the_lock_names_versions_only_and_nobodys_registry() -> None:
    line = re.compile(r"[a-z0-9-]+==[\w.+!]+( ; [\w .*'<>=!]+)?")
    assert [one for one in LOCKED if not line.fullmatch(one)] == []


def test_the_lowest_versions_are_those_of_the_dependencies() -> None:
    found = list(lowest(PYPROJECT))
    assert "typer==0.26" in found
    assert len(found) == len(tomllib.loads(PYPROJECT.read_text())["project"]["dependencies"])


def test_each_change_is_checked_on_the_locked_and_on_the_lowest_versions() -> None:
    workflow = (PROJECT / ".github" / "workflows" / "tests.yml").read_text()
    runs = re.findall(r"^ +- run: (?:make ([\w-]+)|(\.ci/run))$", workflow, re.MULTILINE)
    assert sorted(runs) == [("", ".ci/run"), ("test-lowest", "")]
    targets = re.findall(r"^([\w-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    assert "test-lowest" in targets
    assert "\nmake test\n" in (PROJECT / ".ci" / "run").read_text()


@pytest.mark.parametrize("line", ["rich", "rich<14", "rich>=13,>=13.2"])
def test_a_dependency_without_one_lowest_version_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\ndependencies = ["{line}"]\n')
    with pytest.raises(ValueError, match="must name one lowest version"):
        list(lowest(tmp_path / "pyproject.toml"))


def test_a_python_is_found_if_it_starts_and_has_the_version() -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert own in VERSIONS
    assert interpreter(own, ["/nowhere/python", "true", sys.executable]) == sys.executable
    assert interpreter("2.6", [sys.executable]) is None


def test_the_hooks_check_what_make_lint_checks() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    hooks = (PROJECT / ".pre-commit-config.yaml").read_text()
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    of_lint = set(re.findall(r"\$\(BIN\)/([\w-]+)", lint))
    of_hooks = set(re.findall(r"entry: \.venv/bin/([\w-]+)", hooks))
    assert of_hooks == of_lint == {"ruff", "mypy", "lint-imports"}
