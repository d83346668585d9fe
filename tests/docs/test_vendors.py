"""The page on vendors, done as it says at the emulator of each: its config, its two commands."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from connectors.installed import load
from rostersync.emulator import District, Emulator
from tests.docs.console import ROOT, Reader, blocks

PAGE = ROOT / "docs" / "vendors.md"
WAYS = {
    "Clever": ("clever", "clever", "lookup", "district_id"),
    "ClassLink": ("classlink", "classlink", "discovery", "tenant_id"),
    "GG4L": ("gg4l", "gg4l", "discovery", "district_guid"),
    "OneRoster 1.1 and 1.2": ("oneroster", "oneroster12", "oauth2", ""),
}
"""Heading → connector, the emulator's name of the vendor, its way in, what discovery tells."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(District(users=60), "all") as running:
        yield running


def the_config(heading: str) -> dict[str, Any]:
    """Return the config that the page shows under a heading."""
    section = PAGE.read_text(encoding="utf-8").partition(f"### {heading}\n")[2]
    shown = next(block for block in blocks(section) if block.kind == "toml")
    config: dict[str, Any] = tomllib.loads(shown.text)["district"]["source"]["config"]
    return config


def the_commands() -> list[str]:
    """Return the two commands that change nothing, without what is said of them."""
    shown = next(blocks(PAGE.read_text(encoding="utf-8")))
    return [line.partition("#")[0].strip() for line in shown.text.splitlines()]


def as_toml(config: dict[str, Any]) -> str:
    return "".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"
        for name, value in config.items()
    )


@pytest.mark.parametrize("heading", sorted(WAYS))
def test_whoever_follows_the_page_reads_the_vendor(
    reader: Reader, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, heading: str
) -> None:
    connector, vendor, way, found = WAYS[heading]
    shown, theirs = the_config(heading), emulator.config(way, vendor=vendor)
    for name, value in shown.items():  # the secrets, where the page says that they are
        if str(value).startswith("env:"):
            monkeypatch.setenv(value.removeprefix("env:"), theirs.pop(name))
    config = shown | theirs
    (reader.folder / "account.toml").write_text(
        as_toml({name: value for name, value in config.items() if name != found})
    )
    discover, check = the_commands()
    if found:
        listed = reader.do(discover.replace("clever", connector, 1))
        assert str(theirs[found]) in listed, "the page says that discover tells it"
    (reader.folder / "district.toml").write_text(
        '[[district]]\nslug = "springfield"\nname = "Springfield"\ntimezone = "America/Chicago"\n'
        f'[[district.source]]\nname = "{connector}"\nconnector = "{connector}"\n'
        f"[district.source.config]\n{as_toml(config)}"
    )
    reader.do("rostersync load district.toml")
    told = reader.do(check)
    assert f"{connector} ({connector})" in told
    refused = [line for line in told.splitlines() if line.strip().startswith("NO")]
    assert [line for line in refused if "nobody is shared" not in line] == []
    assert "people join" in reader.do("rostersync sync springfield")


def test_the_page_names_commands_and_fields_that_there_are() -> None:
    assert [shlex.split(command)[:2] for command in the_commands()] == [
        ["rostersync", "discover"], ["rostersync", "check"],
    ]  # fmt: skip
    for heading, (connector, *_) in WAYS.items():
        section = PAGE.read_text(encoding="utf-8").partition(f"### {heading}\n")[2]
        prose = re.sub(r"```.*?```", "", section.partition("\n##")[0], flags=re.S)
        fields = set(load(connector).config_model.model_fields)
        for word in re.findall(r"`(\w+?)(?: = [^`]*)?`", prose):
            assert word in fields | {"check", "discover", "expiryDate"}, f"{heading}: {word}"
