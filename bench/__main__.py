"""``make bench``: every row of the table in docs/performance.md, each beside its floor.

    python -m bench --size 100000 [--store sqlite] [--repeat 3] [--only http] [--json FILE]

Times are wall seconds of whole processes; ``start`` is what a process takes before it has anything
to do, and is taken off before a time is divided by its floor (the floors do not count theirs
either). What is to be reached in seconds is meant of the whole process. Peak memory is that of the
client's process. Ratios within one run are what counts; ``cpu`` is the same in processor seconds of
the client alone, which a busy machine spoils less (on PostgreSQL the server's own work is not in
it).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.measures import commands, from_files, over_http
from bench.rig import stores
from bench.rig.program import Program
from bench.rig.run import Bench
from bench.rig.table import head, save
from core.output import told

MEASUREMENTS = {
    "commands": commands.measure,
    "http": over_http.measure,
    "csv": from_files.measure,
}


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=100_000, help="users of the district")
    parser.add_argument("--store", choices=stores.STORES, action="append", help="default: both")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each repeatable step")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", choices=MEASUREMENTS, help="measure only these rows")
    parser.add_argument(
        "--csv-users", type=int, default=50_000, help="users of the set that peers were given"
    )
    asked = parser.parse_args()
    names = asked.store or list(stores.STORES)
    with (
        tempfile.TemporaryDirectory(prefix="rsbench") as name,
        stores.opened(names, Path(name)) as opened,
    ):
        folder = Path(name)
        bench = Bench(asked.size, asked.repeat, asked.csv_users, folder, opened, Program(folder))
        head()
        try:
            for work, measure in MEASUREMENTS.items():
                if asked.only in (None, work):
                    measure(bench)
        finally:  # what was measured before a sync ended otherwise than expected is worth keeping
            save(asked.json, {**_circumstances(asked), "rows": bench.table.rows})


def _circumstances(asked: argparse.Namespace) -> dict[str, Any]:
    return {
        "size": asked.size,
        "repeat": asked.repeat,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
    }


if __name__ == "__main__":
    sys.exit(told(main))
