"""Rosters that a bench reads: a vendor's server, or files in a folder, turned from day to day."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bench.rig.process import Companion, run, script


class Asked(NamedTuple):
    """What reading a roster took: requests, and bytes as they were served."""

    requests: int
    bytes: int


class Roster(Protocol):
    """What the source of a bench's district reads."""

    connector: str
    config: Mapping[str, Any]
    """As a district file has it."""
    secrets: Mapping[str, str]
    """What its ``env:`` values name."""
    page_size: int | None
    """How many records are asked for at once, as many as the vendor allows; None: files."""

    def turn_to(self, day: int) -> None:
        """Serve another day."""
        ...

    def asked(self) -> Asked:
        """Return what was asked for since the day was turned to."""
        ...


class Vendor(Companion):
    """A vendor's server in a process of its own. ``words`` name its days after the first one."""

    def __init__(self, name: str, users: int, words: Sequence[str]) -> None:
        super().__init__(*script("rosters.vendor", name, users, *words))
        self.connector: str = self.ready["connector"]
        self.config: Mapping[str, Any] = self.ready["config"]
        self.secrets: Mapping[str, str] = self.ready["secrets"]
        self.clear: str = json.dumps(self.ready["clear"])
        """The config with its secrets as JSON, for the floors."""
        self.page_size: int | None = self.ready["page_size"]

    def turn_to(self, day: int) -> None:
        """Serve another day, and count anew."""
        self.ask(f"day {day}")

    def asked(self) -> Asked:
        """Return the requests since, and the bytes of their answers' bodies."""
        return Asked(**self.ask("asked"))


class Files:
    """Files in one folder. Those of each day are written at first, and copied there in turn.

    ``layout`` and ``words``, which name the days after the first one, are those of
    ``bench.rosters.roster_files``.
    """

    def __init__(self, layout: str, users: int, words: Sequence[str], folder: Path) -> None:
        self._folder = folder
        self.place = folder / "current"
        """The folder that is read."""
        self.connector = f"{layout.partition('-')[0]}_csv"
        self.config: Mapping[str, Any] = {"path": str(self.place)}
        self.secrets: Mapping[str, str] = {}
        self.page_size: int | None = None
        run(script("rosters.roster_files", layout, users, folder, *words))

    def turn_to(self, day: int) -> None:
        """Put the files of another day in the place that is read."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._folder / f"day{day}", self.place, copy_function=shutil.copyfile)

    def asked(self) -> Asked:
        """Return the bytes of the files; there are no requests."""
        return Asked(0, sum(file.stat().st_size for file in self.place.iterdir()))
