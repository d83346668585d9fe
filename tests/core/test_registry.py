"""Which connectors are installed, where they come from, and what happens to broken ones."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest

from connectors.contract.connector import Connector
from connectors.installed import installed, load, problem
from core import registry
from core.errors import ConfigError
from core.registry import Registered, find, registered

GOOD = """
from collections.abc import Generator
from connectors.contract.connector import (
    Capabilities, Certificate, Connector, ConnectorConfig, FetchRequest, Page, Record)
from core.models import Kind, NormalizedUser

class Fruit(Connector):
    name = "fruit"
    version = "1"
    title = "Rosters of the fruit kind"
    config_model = ConnectorConfig
    capabilities = Capabilities()
    streams = {"users": Kind.USER}

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        yield Page("users", b"1", lambda body: [body])
        return Certificate(complete=True)

    def identify(self, stream: str, raw: bytes) -> str:
        return raw.decode()

    def parse(self, stream: str, raw: bytes) -> Record:
        return Record(Kind.USER, raw.decode(), user=NormalizedUser(external_id=raw.decode()))
"""


class Install(Protocol):
    def __call__(
        self, distribution: str, entries: dict[str, str], source: str = "", version: str = "1.0"
    ) -> None: ...


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution for the length of the test, as its own folder on sys.path."""

    def _install(
        distribution: str, entries: dict[str, str], source: str = "", version: str = "1.0"
    ) -> None:
        site = tmp_path / distribution
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        lines = [f"{name} = {target}" for name, target in entries.items()]
        (info / "entry_points.txt").write_text(
            "[rostersync.connectors]\n" + "\n".join(lines) + "\n"
        )
        module = next(iter(entries.values())).partition(":")[0]
        (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    return _install


def _entry(name: str) -> Registered:
    return next(entry for entry in installed() if entry.name == name)


def test_a_plugin_is_listed_with_the_package_it_comes_from(install: Install) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD, version="3.2")
    entry = _entry("fruit")
    assert (entry.distribution, entry.version) == ("rostersync-fruit", "3.2")
    assert (entry.target, entry.clash, problem(entry)) == ("fruit_plugin:Fruit", "", "")


def test_a_plugin_is_loaded_by_its_name(install: Install) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD)
    assert issubclass(load("fruit"), Connector)


def test_listing_connectors_imports_none_of_them(install: Install) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD)
    assert "fruit" in [entry.name for entry in registered()]
    assert "fruit_plugin" not in sys.modules


def test_listing_connectors_pulls_in_no_heavy_library() -> None:
    program = (
        "import sys, core.registry; core.registry.registered();"
        "heavy = {'pydantic', 'sqlalchemy', 'requests', 'connectors.contract.connector'};"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_what_is_installed_or_removed_while_a_program_runs_is_noticed(
    install: Install, tmp_path: Path
) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD)
    assert _entry("fruit").version == "1.0"
    info = tmp_path / "rostersync-fruit" / "rostersync_fruit-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rostersync-fruit\nVersion: 1.1\n")
    info.rename(info.with_name("rostersync_fruit-1.1.dist-info"))  # as pip leaves an upgrade
    assert _entry("fruit").version == "1.1"
    shutil.rmtree(info.with_name("rostersync_fruit-1.1.dist-info"))
    assert "fruit" not in [entry.name for entry in installed()]


def test_looking_twice_reads_no_metadata_again(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD)
    first = registered()
    monkeypatch.setattr(registry, "entry_points", None)
    assert registered() == first


def test_connectors_are_listed_in_order_of_name(install: Install) -> None:
    install("rostersync-pear", {"pear": "pear_plugin:Pear", "apple": "pear_plugin:Apple"})
    names = [entry.name for entry in installed()]
    assert names == sorted(names)
    assert {"apple", "pear"} <= set(names)


def test_a_name_taken_twice_is_an_error_that_names_both_packages(install: Install) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD, version="1.1")
    install("other-fruit", {"fruit": "other_plugin:Fruit"}, GOOD, version="2.0")
    with pytest.raises(ConfigError) as caught:
        load("fruit")
    assert "other-fruit 2.0 and rostersync-fruit 1.1" in caught.value.message
    assert [entry.name for entry in installed()].count("fruit") == 1


def test_a_name_taken_twice_stops_no_other_connector(install: Install) -> None:
    install("one", {"taken": "plugin_one:X"})
    install("two", {"taken": "plugin_two:X"})
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD)
    assert load("fruit").name == "fruit"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("", "has no attribute 'Fruit'"),
        ("raise RuntimeError('token=hush')", "cannot be imported (RuntimeError)"),
        ("raise SystemExit(3)", "cannot be imported (SystemExit)"),
        ("this is no python", "cannot be imported (SyntaxError)"),
        ("class Fruit: pass", "is not a subclass of rostersync.Connector"),
        ("Fruit = 7", "is not a subclass of rostersync.Connector"),
        (GOOD.replace("def parse", "def read"), "does not define parse"),
        (GOOD.replace('version = "1"', ""), "has no class attribute 'version'"),
        (GOOD.replace('title = "Rosters', 'label = "Rosters'), "has no class attribute 'title'"),
        (GOOD.replace('name = "fruit"', 'name = "pear"'), "calls itself 'pear'"),
        (GOOD.replace("config_model = ", "model = "), "has no class attribute 'config_model'"),
        (GOOD.replace("Capabilities()", "None"), "has no class attribute 'capabilities'"),
        (GOOD.replace("{\"users\": Kind.USER}", "{}"), "has no class attribute 'streams'"),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_disabled_with_a_sentence(
    install: Install, source: str, said: str
) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, source)
    with pytest.raises(ConfigError) as caught:
        load("fruit")
    assert said in caught.value.message
    assert "fruit, from rostersync-fruit 1.0, is disabled" in caught.value.message
    assert "hush" not in caught.value.message
    assert problem(_entry("fruit")) == caught.value.message


def test_a_broken_plugin_never_breaks_the_others(install: Install) -> None:
    install("rostersync-broken", {"broken": "broken_plugin:Broken"}, "raise RuntimeError")
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD)
    assert problem(_entry("broken")) != ""
    assert problem(_entry("fruit")) == ""


def test_a_misspelt_name_is_answered_with_the_one_that_was_meant(install: Install) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"}, GOOD)
    with pytest.raises(ConfigError) as caught:
        find("friut")
    assert caught.value.hint == "Did you mean 'fruit'?"
    with pytest.raises(ConfigError) as caught:
        find("zzzz")
    assert "fruit" in caught.value.hint


def test_a_package_without_metadata_stops_nobody_else(install: Install, tmp_path: Path) -> None:
    install("rostersync-fruit", {"fruit": "fruit_plugin:Fruit"})
    install("rostersync-nut", {"fruit": "nut_plugin:Nut"})
    (tmp_path / "rostersync-nut" / "rostersync_nut-1.0.dist-info" / "METADATA").unlink()
    importlib.invalidate_caches()
    assert "an unknown package" in _entry("fruit").clash
