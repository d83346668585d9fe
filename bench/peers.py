"""``make bench-peers``: the same files, read by rostersync and by dlt, side by side.

    python -m bench.peers [--users 50000] [--json FILE]

dlt (with duckdb, keeping history: merge, scd2) is installed once into ``.bench-peers``, an
environment of its own, in the version named below; that needs the network or an index of packages.
Whole processes are measured, their start included. The files are a OneRoster CSV set and the same
a day later, 1 % changed. dlt keeps rows; rostersync also validates, matches, plans, limits and
applies them, and keeps the ledger.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from bench.rig.process import ROOT, Ran, run
from bench.rig.program import CHANGED as CHANGES
from bench.rig.program import SAME, Program
from bench.rig.table import save, whole
from bench.rosters.days import CHANGED
from bench.rosters.rosters import Files
from core.output import told

HOME = ROOT / ".bench-peers"
DLT = "dlt[duckdb]==1.31.0"


def dlt_python() -> Path:
    """Return the interpreter of dlt's environment, which is made at the first call."""
    python = HOME / "bin" / "python"
    stamp = HOME / DLT.replace("[", "-").replace("]", "")
    if not stamp.exists():
        print(f"Installing {DLT} into {HOME.name} ...", flush=True)
        venv.create(HOME, clear=True, with_pip=True)
        command = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", DLT]
        subprocess.run(command, check=True)
        stamp.touch()
    return python


class Peers:
    """One comparison: the same steps by each program."""

    def __init__(self, users: int, repeat: int, folder: Path) -> None:
        self.repeat = repeat
        self.folder = folder
        self.program = Program(folder)
        self.files = Files("oneroster-1.1", users, (CHANGED,), folder / "files")
        self.rows: list[dict[str, object]] = []

    def row(self, work: str, program: str, runs: list[Ran]) -> None:
        """Keep and print one row."""
        cost = whole(runs)
        row = {
            "work": work,
            "program": program,
            "seconds": round(cost.wall, 2),
            "cpu": round(cost.cpu, 2),
            "peak_mb": round(max(one.peak_mb for one in runs)),
            "runs": len(runs),
        }
        self.rows.append(row)
        print(
            f"{work:12} {program:12} {row['seconds']:8} s {row['cpu']:8} s processor"
            f" {row['peak_mb']:6} MB",
            flush=True,
        )

    def measure(self) -> None:
        """Run first load, no change and 1 % changed, by each program."""
        python = dlt_python()
        url = f"sqlite:///{self.folder / 'peers.db'}"
        self.program.prepare(url, self.files)
        # -P: the folder of the script is not one to import from
        load = [ROOT / "bench" / "dlt_load.py", self.files.place, self.folder / "dlt.duckdb"]
        dlt = [str(word) for word in (python, "-P", *load)]
        for work, day, expected in (
            ("first load", 0, CHANGES),
            ("no change", 0, SAME),
            ("1 % changed", 1, CHANGES),
        ):
            self.files.turn_to(day)
            times = self.repeat if expected is SAME else 1
            ours = [self.program.sync(url, expected) for _ in range(times)]
            self.row(work, "rostersync", ours)
            self.row(work, "dlt", [run(dlt) for _ in range(times)])


def main() -> None:
    """Compare, and print the rows."""
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of the unchanged day")
    parser.add_argument("--json", type=Path, default=Path("build/bench-peers.json"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rspeers") as name:
        peers = Peers(asked.users, asked.repeat, Path(name))
        peers.measure()
    save(asked.json, {"users": asked.users, "dlt": DLT, "rows": peers.rows})


if __name__ == "__main__":
    sys.exit(told(main))
