"""A fresh virtual environment in which this project is installed from its wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from release.shaded_wheel import Shade

PROJECT = Path(__file__).parents[2]
HOOK = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["hooks"]["custom"]
INNER: Sequence[str] = HOOK["packages"]
"""The packages that lie beside ``rostersync`` in the repository, and inside it in the wheel."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment that has this project, and perhaps others, from wheels only."""

    python: Path

    @property
    def site(self) -> Path:
        """Where packages are installed."""
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.python.parents[1])}))

    def call(
        self,
        *arguments: str | Path,
        program: str = "python",
        cwd: Path,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """Run one of the environment's programs in the folder ``cwd``; return what it prints."""
        # Nothing of the checkout may leak in.
        inherited = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(self.python.with_name(program)), *map(str, arguments)],
            cwd=cwd,
            env={**inherited, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rostersync(self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> Any:
        """Run the command line, whose database is in the folder ``cwd``; return its JSON."""
        printed = self.call(*arguments, "--json", program="rostersync", cwd=cwd, env=env)
        return json.loads(printed)

    def ask(self, program: str, cwd: Path | None = None) -> Any:
        """Run a program that prints JSON; in isolation, so only what is installed is found."""
        return json.loads(self.call("-I", "-c", program, cwd=cwd or self.site))


def pip(*arguments: str | Path) -> None:
    """Run pip with the interpreter of the tests."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def build_wheel(source: Path, wheels: Path) -> Path:
    """Build the wheel of a project into the folder ``wheels``; it installs no build tools."""
    before = set(wheels.glob("*.whl"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source)
    (built,) = set(wheels.glob("*.whl")) - before
    return built


def new_environment(folder: Path, *wheels: Path) -> Environment:
    """Make a virtual environment in ``folder`` and install the wheels into it, and nothing else."""
    venv.create(folder, symlinks=True)
    environment = Environment(folder / "bin" / "python")
    pip("--python", environment.python, "install", "--no-deps", "--no-index", *wheels)
    # What they depend on is taken from where the tests run, which saves downloading it again.
    # A path added like this comes last and its own .pth files, such as that of an editable
    # installation of this project, are not read.
    (environment.site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def shade() -> Shade:
    """Return what the build uses to rewrite the packages of this repository."""
    return Shade(PROJECT, INNER)
