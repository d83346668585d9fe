"""What an operator waits for: ``rostersync --help``, and ``status`` with a thousand districts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from bench.rig.run import Bench
from bench.rig.stores import Store
from bench.rig.table import Goal

DISTRICTS = 1_000
_ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Phoenix",
          "America/Los_Angeles")  # fmt: skip
_CALENDARS = ("", '[[district.pause]]\nstart = "06-15"\nend = "08-10"\n')


def measure(bench: Bench) -> None:
    """Measure each as a whole process."""
    runs = [bench.program.run("", "--help") for _ in range(bench.often)]
    bench.table.processes("rostersync --help", "-", runs, goal=Goal(seconds=0.3))
    for store in bench.stores:
        url = store.new()
        _fill(bench, store, url)
        runs = [bench.program.run(url, "status") for _ in range(bench.often)]
        bench.table.processes(
            f"rostersync status, {DISTRICTS:,} districts",
            store.name,
            runs,
            goal=Goal(seconds=1.0),
        )
        store.drop(url)


def _fill(bench: Bench, store: Store, url: str) -> None:
    """Write a database of districts with two sources each, all of them read this morning."""
    file = bench.folder / "districts.toml"
    file.write_text("\n".join(_district(number) for number in range(DISTRICTS)))
    bench.program.run(url, "db", "upgrade")
    bench.program.run(url, "load", file)
    good = (datetime.now(UTC) - timedelta(hours=3)).isoformat(timespec="microseconds")
    store.execute(url, f"UPDATE sources SET complete_at = '{good}'")


def _district(number: int) -> str:
    sources = "".join(
        f'[[district.source]]\nname = "{name}"\nconnector = "user_csv"\nprecedence = {rank}\n'
        f'[district.source.config]\npath = "{name}-{number}.csv"\n'
        for rank, name in enumerate(("students", "staff"), 1)
    )
    return (
        f'[[district]]\nslug = "district-{number:04}"\nname = "District {number}"\n'
        f'timezone = "{_ZONES[number % len(_ZONES)]}"\nsync_times = ["05:00", "10:00", "14:00"]\n'
        f"{_CALENDARS[number % 2]}{sources}"
    )
