"""The start: what a process of a sync takes before it has anything to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.rig.process import Ran
from bench.rig.program import CHANGED, Program, status_of
from bench.rig.run import Bench
from bench.rig.stores import Store
from bench.rosters.rosters import Roster

USERS = 600
DAYS = ("0.05",)
"""The days of the small district whose changing sync is looked at."""
_RECORD = "from bench.rig.imports import record; record()"
_LOAD = "from bench.rig.imports import load; load()"


@dataclass(frozen=True, slots=True)
class Start:
    """A process that imports what a changing sync imports, and does nothing.

    It is run beside every sync that is measured, so that both meet the same machine.
    """

    program: Program
    modules: Path

    def run(self) -> Ran:
        """Run it once."""
        return self.program.run_python("", _LOAD, self.modules)


def measure(bench: Bench, store: Store, roster: Roster) -> Start:
    """Find out what a changing sync of ``roster`` imports, and measure a process that does that.

    A sync of a small district on its second day shows it: one that plans, applies and, at a vendor,
    asks for leavers by their ids. A list kept by hand would be too short, and so would the first
    imports; then late imports would count as work. What a sync does once and is not an import (it
    opens its database, configures its mappers and reads its district) stays in its row.
    """
    url = store.new()
    bench.program.prepare(url, roster)
    roster.turn_to(0)
    bench.program.sync(url, CHANGED)
    roster.turn_to(1)
    start = Start(bench.program, bench.folder / f"{store.name}-{roster.connector}.modules")
    found = bench.program.run_python(
        url, _RECORD, start.modules, "sync", "bench", "--json", codes=(0, 10)
    )
    if status_of(found) not in CHANGED:
        raise SystemExit(f"The sync whose imports were to be found changed nobody: {found.out}")
    store.drop(url)
    bench.table.processes(
        f"start: what a sync of {roster.connector} loads",
        store.name,
        [start.run() for _ in range(bench.often)],
        modules=len(start.modules.read_text().split()),
    )
    return start
