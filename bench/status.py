"""``python -m bench.status``: what ``status`` costs with many districts, as a whole process.

The best of a few runs counts, in processor seconds: whatever else a machine does, it only adds.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.process import PROGRAM, Ran, run

ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Phoenix",
         "America/Los_Angeles")  # fmt: skip
CALENDARS = ("", '[[district.pause]]\nstart = "06-15"\nend = "08-10"\n')


def fill(url: str, folder: Path, districts: int) -> None:
    """Write a database of so many districts, two sources each, all of them read this morning."""
    from sqlalchemy import text

    from core.database import open_database
    from sync.load import load_district_file

    file = folder / "districts.toml"
    file.write_text("\n".join(_district(number) for number in range(districts)))
    run([PROGRAM, "--database", url, "db", "upgrade"])
    database = open_database(url)
    load_district_file(database, file)
    good = (datetime.now(UTC) - timedelta(hours=3)).isoformat(timespec="microseconds")
    with database.write() as connection:
        connection.execute(text("UPDATE sources SET complete_at = :at"), {"at": good})
    database.engine.dispose()


def _district(number: int) -> str:
    sources = "".join(
        f'[[district.source]]\nname = "{name}"\nconnector = "user_csv"\nprecedence = {rank}\n'
        f'[district.source.config]\npath = "{name}-{number}.csv"\n'
        for rank, name in enumerate(("students", "staff"), 1)
    )
    return (
        f'[[district]]\nslug = "district-{number:04}"\nname = "District {number}"\n'
        f'timezone = "{ZONES[number % len(ZONES)]}"\nsync_times = ["05:00", "10:00", "14:00"]\n'
        f"{CALENDARS[number % 2]}{sources}"
    )


def best(command: Sequence[str | Path], times: int) -> Ran:
    """Return the cheapest of some runs of a command."""
    return min((run(command) for _ in range(times)), key=lambda ran: ran.cpu)


def main() -> None:
    """Measure and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--districts", type=int, default=1_000)
    parser.add_argument("--repeat", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/status.db"
        fill(url, Path(folder), wanted.districts)
        rows = {
            "--help": [PROGRAM, "--help"],
            "status of an empty database": [PROGRAM, "--database", f"{url}.empty", "status"],
            f"status of {wanted.districts:,} districts": [PROGRAM, "--database", url, "status"],
        }
        run([PROGRAM, "--database", f"{url}.empty", "db", "upgrade"])
        for name, command in rows.items():
            ran = best(command, wanted.repeat)
            took = f"{ran.cpu:.2f} s of processor, {ran.seconds:.2f} s, {ran.peak_mb:.0f} MB"
            print(f"{name}: {took}")


if __name__ == "__main__":
    main()
