"""A stranger's connector, as a package of its own beside the wheel of this project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rostersync.testing.scaffold import new_connector
from tests.release.installed import Environment, build_wheel, new_environment


@dataclass(frozen=True)
class Author:
    """The author of a plugin, at work in its folder."""

    environment: Environment
    package: Path
    """The plugin's folder, as `rostersync connector new` wrote it."""

    def rostersync(self, *arguments: str) -> Any:
        return self.environment.rostersync(*arguments, cwd=self.package)

    def ask(self, program: str) -> Any:
        return self.environment.ask(program)


@pytest.fixture(scope="session")
def author(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Author:
    folder = tmp_path_factory.mktemp("plugin")
    package, wheels = folder / "package", folder / "wheels"
    wheels.mkdir()
    new_connector("fruit_sis", package)
    return Author(new_environment(folder / "venv", wheel, build_wheel(package, wheels)), package)


def test_the_plugin_is_listed_beside_our_own_connectors(author: Author) -> None:
    listed = author.ask(
        "import json\n"
        "from rostersync._connectors.installed import installed, problem\n"
        "print(json.dumps([[e.name, e.distribution, e.version, problem(e)] for e in installed()]))"
    )
    assert ["fruit_sis", "rostersync-fruit-sis", "0.1.0", ""] in listed
    assert {name for name, distribution, *_ in listed if distribution == "rostersync"} >= {
        "oneroster_csv", "clever_csv", "user_csv", "finra_flex",
    }  # fmt: skip


def test_the_plugin_passes_the_conformance_suite_at_once(author: Author) -> None:
    report = author.ask(
        "import json\n"
        "from rostersync._connectors.installed import load\n"
        "from rostersync.testing import run_conformance, scenario_of\n"
        "report = run_conformance(load('fruit_sis'), scenario_of('fruit_sis'))\n"
        "print(json.dumps(report.as_json()))"
    )
    failed = [check for check in report["checks"] if check["outcome"] == "failed"]
    assert failed == []
    assert report["counts"]["exempt"] == 0
    assert report["counts"]["passed"] >= 25


def test_our_own_connectors_can_be_tested_from_the_wheel(author: Author) -> None:
    passed = author.ask(
        "import json\n"
        "from rostersync._connectors.installed import load\n"
        "from rostersync.testing import run_conformance, scenario_of\n"
        "names = ['oneroster_csv', 'clever_csv', 'user_csv']\n"
        "reports = [run_conformance(load(name), scenario_of(name)) for name in names]\n"
        "print(json.dumps([report.passed for report in reports]))"
    )
    assert passed == [True, True, True]


def test_the_plugins_own_test_passes_at_once(author: Author) -> None:
    printed = author.environment.call(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=author.package
    )
    assert "failed" not in printed
    assert "passed" in printed


def test_the_plugin_syncs_its_fixture_by_the_command_line(author: Author) -> None:
    author.rostersync("load", "district.toml")
    synced = author.rostersync("sync", "example")
    assert synced["status"] == "applied"
    assert synced["plans"][0]["counts"]["create"] == 5
    users = author.rostersync("users", "example")
    assert {user["given_name"] for user in users} == {"Ada", "Zoë", "Minh", "Rosa", "Henry"}
    assert all(user["sources"] == ["fruit_sis"] for user in users)
    assert author.rostersync("sync", "example")["status"] == "nothing_to_do"


def test_the_plugin_is_shown_with_where_it_comes_from(author: Author) -> None:
    listed = {one["name"]: one for one in author.rostersync("connectors")}
    assert listed["fruit_sis"]["from"] == "rostersync-fruit-sis 0.1.0"
    assert listed["fruit_sis"]["problem"] is None
    assert "path" in [field["name"] for field in listed["fruit_sis"]["config"]]
