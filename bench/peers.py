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
import json
import statistics
import subprocess
import tempfile
import venv
from pathlib import Path

from bench.__main__ import Bench
from bench.process import ROOT, Ran, run, script

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
        self.bench = Bench(users, repeat, folder)
        self.folder = folder
        self.days = [folder / f"day{day}" for day in (0, 1)]
        self.current = folder / "current"
        self.rows: list[dict[str, object]] = []

    def serve(self, day: int) -> None:
        """Put a day's files where both programs read them."""
        self.current.mkdir(exist_ok=True)
        for file in self.days[day].iterdir():
            (self.current / file.name).write_bytes(file.read_bytes())

    def row(self, work: str, program: str, runs: list[Ran]) -> None:
        """Keep and print one row."""
        row = {
            "work": work,
            "program": program,
            "seconds": round(statistics.median(one.seconds for one in runs), 2),
            "cpu": round(statistics.median(one.cpu for one in runs), 2),
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
        for number, path in enumerate(self.days):
            run(script("csv_set", self.bench.size, path, number))
        python = dlt_python()
        url = f"sqlite:///{self.folder / 'peers.db'}"
        self.serve(0)
        self.bench.prepare(url, "oneroster_csv", {"path": str(self.current)})
        dlt = [python, ROOT / "bench" / "dlt_load.py", self.current, self.folder / "dlt.duckdb"]
        for work, day, status in (
            ("first load", 0, "applied"),
            ("no change", 0, "nothing_to_do"),
            ("1 % changed", 1, "applied"),
        ):
            self.serve(day)
            times = self.bench.repeat if work == "no change" else 1
            self.row(work, "rostersync", [self.bench.sync(url, status) for _ in range(times)])
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
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(
        json.dumps({"users": asked.users, "dlt": DLT, "rows": peers.rows}, indent=1) + "\n"
    )
    print(f"\nThe rows as JSON: {asked.json}")


if __name__ == "__main__":
    main()
