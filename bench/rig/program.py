"""The program under measure: rostersync, run as whole processes on one district of a bench."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.rig.process import PROGRAM, Ran, run
from bench.rosters.rosters import Roster

CHANGED = frozenset({"applied", "held"})
"""How the sync of a day with changes may end: of a large district a school's limits hold a part."""
SAME = frozenset({"nothing_to_do"})
"""How a sync ends on a day without changes."""
_HELD = 10
_DISTRICT = """
[[district]]
slug = "bench"
name = "Bench USD"
timezone = "America/Chicago"
[[district.source]]
name = "roster"
connector = "{connector}"
precedence = 1
[district.source.config]
{config}
"""


class Program:
    """rostersync and what it needs: a folder for its files, and the secrets of its sources."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {"ROSTERSYNC_KEY": "b" * 64}

    def run(
        self,
        url: str,
        *arguments: str | Path,
        codes: Sequence[int] = (0,),
        discard: bool = False,
    ) -> Ran:
        """Run one command on a database."""
        environment = {**self._environment, "ROSTERSYNC_DATABASE_URL": url}
        return run([PROGRAM, *arguments], environment, codes=codes, discard=discard)

    def run_python(
        self, url: str, code: str, *arguments: str | Path, codes: Sequence[int] = (0,)
    ) -> Ran:
        """Run a line of Python in the environment that a command has."""
        environment = {**self._environment, "ROSTERSYNC_DATABASE_URL": url}
        return run([sys.executable, "-c", code, *arguments], environment, codes=codes)

    def prepare(self, url: str, roster: Roster, settings: Mapping[str, Any] | None = None) -> None:
        """Make the tables, and load the district whose one source reads a roster."""
        self.run(url, "db", "upgrade")
        self.load(url, roster, settings)

    def load(self, url: str, roster: Roster, settings: Mapping[str, Any] | None = None) -> None:
        """Load the district; ``settings`` are added to the config of its source."""
        self._environment.update(roster.secrets)
        config = {**roster.config, **(settings or {})}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in config.items())
        file = self._folder / "district.toml"
        file.write_text(_DISTRICT.format(connector=roster.connector, config=lines))
        self.run(url, "load", file)

    def sync(self, url: str, expected: frozenset[str], *options: str) -> Ran:
        """Sync. ``SystemExit`` with what it printed if it comes to anything that is not measured.

        What was held is approved afterwards, so that it is not planned again on the day after.
        """
        ran = self.run(url, "sync", "bench", "--json", *options, codes=(0, _HELD))
        if ran.document["status"] not in expected:
            wanted = " or ".join(sorted(expected))
            raise SystemExit(f"The sync ended {status_of(ran)}, not {wanted}: {ran.out[:4000]}")
        for plan in ran.document["plans"]:
            if plan["status"] == "held":
                self.run(url, "approve", plan["id"], "--reason", "bench")
        return ran


def status_of(ran: Ran) -> str:
    """Return how a sync ended."""
    return str(ran.document["status"])


def statuses_of(runs: Sequence[Ran]) -> str:
    """Return how some syncs ended, each way once."""
    return ", ".join(sorted({status_of(ran) for ran in runs}))


def people_changed(runs: Sequence[Ran]) -> int:
    """Return how many people the plans of some syncs change, those that were held included."""
    kinds = ("create", "update", "archive", "restore", "suspend", "unsuspend", "merge")
    return sum(plan["counts"][kind] for ran in runs for plan in ran.document["plans"]
               for kind in kinds)  # fmt: skip


def was_incremental(ran: Ran) -> bool:
    """Return whether the sync read only what changed."""
    return all(one["incremental"] for one in ran.document["certificates"].values())
