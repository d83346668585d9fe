"""A situation: rosters by day, and what must come of each (``README.md`` says how one is written).

Used by ``test_field.py`` only. Every key that a situation may have is read here; an unknown one is
an error, so that a misspelt expectation cannot pass unseen.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SITUATIONS = HERE / "situations"
BASE = HERE / "base"
MONDAY = date(2026, 10, 5)
FILE = "situation.toml"

ABOUT = {"title", "source", "fails", "connector", "config", "district", "day"}
DAY = {
    "at", "act", "file", "leave_out", "drop", "add", "replace", "pack", "server", "then", "expect",
    "asks",
}  # fmt: skip
EXPECT = {
    "status", "exit", "plan", "held", "users", "told", "words", "conflicts", "schools", "people",
    "same", "apart", "says", "upload", "limits",
}  # fmt: skip
ASK = {"run", "exit", "says", "hides"}


@dataclass(frozen=True)
class RosterSource:
    """One source of the district: its name, its connector (or dialect), and its config."""

    name: str
    connector: str
    config: Mapping[str, Any]
    more: Mapping[str, Any]


@dataclass(frozen=True)
class Day:
    """One day: what each source serves, what is done, and what must come of it."""

    number: int
    at: datetime
    act: str
    files: Mapping[str, Mapping[str, bytes]]
    """Source → name of a file → what stands in it."""
    server: Mapping[str, Any]
    pack: str
    file: str
    then: str
    expect: Mapping[str, Any]
    asks: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Situation:
    """A whole situation."""

    name: str
    title: str
    fails: str
    sources: tuple[RosterSource, ...]
    district: Mapping[str, Any]
    days: tuple[Day, ...] = field(repr=False)


def names() -> list[str]:
    """Return the names of all situations: their folders, in order."""
    return sorted(path.parent.name for path in SITUATIONS.glob(f"*/{FILE}"))


def addresses(name: str) -> list[str]:
    """Return the public addresses in the comment at the top of a situation."""
    text = (SITUATIONS / name / FILE).read_text("utf-8")
    comment = re.match(r"(#.*\n)*", text)
    assert comment is not None
    return re.findall(r"https?://\S+", comment.group())


def read_situation(name: str) -> Situation:
    """Read the folder of a situation."""
    folder = SITUATIONS / name
    said = tomllib.loads((folder / FILE).read_text("utf-8"))
    _only(said, ABOUT, name)
    sources = _sources(said)
    days: list[Day] = []
    files: dict[str, dict[str, bytes]] = {one.name: _base(one.connector) for one in sources}
    at = MONDAY
    for number, told in enumerate(said["day"], 1):
        where = f"{name}, day {number}"
        _only(told, DAY, where)
        _only(told["expect"], EXPECT, f"{where}, expect")
        for ask in told.get("asks", ()):
            _only(ask, ASK, f"{where}, asks")
        at = told.get("at", at)
        for one in sources:
            own = folder / str(number) / (one.name if len(sources) > 1 else "")
            there = own.iterdir() if own.is_dir() else ()
            files[one.name] = files[one.name] | {
                path.name: path.read_bytes() for path in there if path.is_file()
            }
        _edit(files, told, where)
        days.append(
            Day(
                number,
                datetime.combine(at, time(12), UTC),
                told.get("act", "sync"),
                {source: dict(those) for source, those in files.items()},
                told.get("server", {}),
                told.get("pack", ""),
                told.get("file", ""),
                told.get("then", ""),
                told["expect"],
                tuple(told.get("asks", ())),
            )
        )
        at += timedelta(days=1)
    return Situation(
        name, said["title"], said.get("fails", ""), sources, said.get("district", {}), tuple(days)
    )


def _sources(said: Mapping[str, Any]) -> tuple[RosterSource, ...]:
    if "connector" in said:
        return (RosterSource("sis", said["connector"], said.get("config", {}), {}),)
    return tuple(
        RosterSource(
            one["name"],
            one["connector"],
            one.get("config", {}),
            {key: one[key] for key in one.keys() - {"name", "connector", "config"}},
        )
        for one in said["source"]
    )


def _base(connector: str) -> dict[str, bytes]:
    folder = BASE / connector
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def _edit(files: dict[str, dict[str, bytes]], told: Mapping[str, Any], where: str) -> None:
    """Edit the files of the day before, as the day says."""
    for name in told.get("leave_out", ()):
        owner, name = _owner(files, name)
        assert name in files[owner], f"{where}: there is no {name} to leave out"
        del files[owner][name]
    for name, *keys in told.get("drop", ()):
        owner, name = _owner(files, name)
        for key in keys:
            files[owner][name] = _without(files[owner][name], name, key, where)
    for name, *rows in told.get("add", ()):
        owner, name = _owner(files, name)
        files[owner][name] = _with(files[owner][name], name, rows)
    for name, pattern, new in told.get("replace", ()):
        owner, name = _owner(files, name)
        old = files[owner][name].decode("latin-1")
        changed, count = re.subn(
            pattern.encode().decode("latin-1"), new.encode().decode("latin-1"), old, flags=re.M
        )
        assert count, f"{where}: {pattern!r} stands nowhere in {name}"
        files[owner][name] = changed.encode("latin-1")


def _without(content: bytes, name: str, key: str, where: str) -> bytes:
    """Drop the rows of a person: those whose first value is the key."""
    if name.endswith(".json"):
        records = json.loads(content)
        left = [one for one in records if next(iter(one.values()), None) != key]
        assert len(left) < len(records), f"{where}: {name} has no {key}"
        return json.dumps(left).encode()
    lines = content.splitlines(keepends=True)
    left = [line for line in lines if not line.startswith(f"{key},".encode())]
    assert len(left) < len(lines), f"{where}: {name} has no {key}"
    return b"".join(left)


def _with(content: bytes, name: str, rows: list[str]) -> bytes:
    """Add rows at the end; a row of a JSON file is a record."""
    if name.endswith(".json"):
        return json.dumps([*json.loads(content), *map(json.loads, rows)]).encode()
    return content + "".join(f"{row}\n" for row in rows).encode()


def _owner(files: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Split ``source/file``; where there is one source, its name need not be said."""
    source, slash, file = name.partition("/")
    return (source, file) if slash else (next(iter(files)), name)


def _only(told: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = told.keys() - known
    assert not unknown, f"{where}: no such key: {', '.join(sorted(unknown))}"
