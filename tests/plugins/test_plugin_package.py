"""A stranger's connector, as a package of its own beside the wheel of this project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rostersync.tools.scaffold import new_connector

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment that has this project and the plugin from their wheels only."""

    python: Path
    package: Path
    """The plugin's folder, as `rostersync connector new` wrote it."""

    def call(self, *arguments: str, program: str = "python") -> str:
        """Run one of the environment's programs in the plugin's folder; return what it prints."""
        done = subprocess.run(
            [str(self.python.with_name(program)), *arguments],
            cwd=self.package,
            # Nothing of the checkout may leak in.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rostersync(self, *arguments: str) -> Any:
        """Run the command line, whose database is in the plugin's folder."""
        return json.loads(self.call(*arguments, "--json", program="rostersync"))

    def ask(self, program: str) -> Any:
        """Run a program that prints JSON."""
        return json.loads(self.call("-I", "-c", program))


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("plugin")
    package, wheels, fresh = folder / "package", folder / "wheels", folder / "venv"
    new_connector("fruit_sis", package)
    for source in (PROJECT, package):
        _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, source)
    venv.create(fresh, symlinks=True)
    python = fresh / "bin" / "python"
    _pip("--python", python, "install", "--no-deps", "--no-index", *wheels.glob("*.whl"))
    # What both depend on is taken from where the tests run, which saves downloading it again.
    # A path added like this comes last and its own .pth files, such as that of an editable
    # installation of this project, are not read.
    site = Path(sysconfig.get_path("purelib", vars={"base": str(fresh)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Environment(python, package)


def test_the_project_comes_from_its_wheel(environment: Environment) -> None:
    places = environment.ask(
        "import json, rostersync, connectors, core, sync\n"
        "print(json.dumps([p.__file__ for p in (rostersync, connectors, core, sync)]))"
    )
    assert all(Path(place).is_relative_to(environment.python.parents[1]) for place in places)


def test_the_plugin_is_listed_beside_our_own_connectors(environment: Environment) -> None:
    listed = environment.ask(
        "import json\n"
        "from connectors.installed import installed, problem\n"
        "print(json.dumps([[e.name, e.distribution, e.version, problem(e)] for e in installed()]))"
    )
    assert ["fruit_sis", "rostersync-fruit-sis", "0.1.0", ""] in listed
    assert {name for name, distribution, *_ in listed if distribution == "rostersync"} >= {
        "oneroster_csv", "clever_csv", "user_csv", "finra_flex",
    }  # fmt: skip


def test_the_plugin_passes_the_conformance_suite_at_once(environment: Environment) -> None:
    report = environment.ask(
        "import json\n"
        "from connectors.installed import load\n"
        "from rostersync.testing import run_conformance, scenario_of\n"
        "report = run_conformance(load('fruit_sis'), scenario_of('fruit_sis'))\n"
        "print(json.dumps(report.as_json()))"
    )
    failed = [check for check in report["checks"] if check["outcome"] == "failed"]
    assert failed == []
    assert report["counts"]["exempt"] == 0
    assert report["counts"]["passed"] >= 25


def test_our_own_connectors_can_be_tested_from_the_wheel(environment: Environment) -> None:
    passed = environment.ask(
        "import json\n"
        "from connectors.installed import load\n"
        "from rostersync.testing import run_conformance, scenario_of\n"
        "names = ['oneroster_csv', 'clever_csv', 'user_csv']\n"
        "reports = [run_conformance(load(name), scenario_of(name)) for name in names]\n"
        "print(json.dumps([report.passed for report in reports]))"
    )
    assert passed == [True, True, True]


def test_the_plugins_own_test_passes_at_once(environment: Environment) -> None:
    printed = environment.call("-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "failed" not in printed
    assert "passed" in printed


def test_the_plugin_syncs_its_fixture_by_the_command_line(environment: Environment) -> None:
    environment.rostersync("load", "district.toml")
    synced = environment.rostersync("sync", "example")
    assert synced["status"] == "applied"
    assert synced["plans"][0]["counts"]["create"] == 5
    users = environment.rostersync("users", "example")
    assert {user["given_name"] for user in users} == {"Ada", "Zoë", "Minh", "Rosa", "Henry"}
    assert all(user["sources"] == ["fruit_sis"] for user in users)
    assert environment.rostersync("sync", "example")["status"] == "nothing_to_do"


def test_the_plugin_is_shown_with_where_it_comes_from(environment: Environment) -> None:
    listed = {one["name"]: one for one in environment.rostersync("connectors")}
    assert listed["fruit_sis"]["from"] == "rostersync-fruit-sis 0.1.0"
    assert listed["fruit_sis"]["problem"] is None
    assert "path" in [field["name"] for field in listed["fruit_sis"]["config"]]
