"""``make bench``: every row of the table in docs/performance.md, each beside its floor.

    python -m bench --size 100000 [--store sqlite] [--repeat 3] [--json FILE]

Times are wall seconds of whole processes; ``start`` is what a process takes before it has anything
to do, and is taken off before a time is divided by its floor (the floors do not count theirs
either). Peak memory is that of the client's process. Ratios within one run are what counts; ``cpu``
is the same ratio in processor seconds of the client alone, which a busy machine spoils less (on
PostgreSQL the server's own work is not in it).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.process import PROGRAM, Companion, Ran, run, script

STORES = ("sqlite", "postgresql")
CSV_USERS = 50_000
DISTRICT = """
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


class Cost(NamedTuple):
    """Wall and processor seconds."""

    wall: float
    cpu: float


class Bench:
    """One run of the benchmark: its rows, and the means to measure them."""

    def __init__(self, size: int, repeat: int, folder: Path) -> None:
        self.size = size
        self.repeat = repeat
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.start = Cost(0.0, 0.0)

    def row(
        self,
        work: str,
        store: str,
        ran: list[Ran],
        *,
        floor: Cost | None = None,
        floor_is: str = "",
        reach: float | None = None,
        dream: float | None = None,
        reach_mb: float | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Keep and print one row."""
        total = statistics.median(one.seconds for one in ran)
        seconds = max(total - self.start.wall, 0.001)
        cpu = max(statistics.median(one.cpu for one in ran) - self.start.cpu, 0.001)
        row = {
            "work": work, "store": store, "users": more.pop("users", self.size),
            "seconds": round(seconds, 3), "whole_process": round(total, 3),
            "cpu": round(cpu, 3),
            "floor": None if floor is None else round(floor.wall, 3), "floor_is": floor_is,
            "floor_cpu": None if floor is None else round(floor.cpu, 3),
            "ratio": None if floor is None else round(seconds / floor.wall, 2),
            "ratio_cpu": None if floor is None else round(cpu / floor.cpu, 2),
            "reach": reach, "dream": dream,
            "peak_mb": round(max(one.peak_mb for one in ran), 1), "reach_mb": reach_mb,
            "runs": len(ran), **more,
        }  # fmt: skip
        self.rows.append(row)
        ratio = "" if floor is None else f"{row['ratio']:6.2f} x (cpu {row['ratio_cpu']:.2f})"
        goal = "" if reach is None else f"(reach {reach:g}, dream {dream or 0:g})"
        print(
            f"{work:34} {store:11} {row['users']:>9,} {seconds:8.2f} s {ratio:>20}"
            f" {'' if floor is None else f'of {floor.wall:6.2f} s {floor_is}':34}"
            f" {row['peak_mb']:7.0f} MB  {goal}",
            flush=True,
        )
        return row

    def program(self, url: str, *arguments: str, codes: tuple[int, ...] = (0,)) -> Ran:
        """Run one command of rostersync."""
        environment = {
            "ROSTERSYNC_DATABASE_URL": url,
            "ROSTERSYNC_KEY": "b" * 64,
            "BENCH_TOKEN": os.environ.get("BENCH_TOKEN", ""),
        }
        return run([PROGRAM, *arguments], environment, codes=codes)

    def sync(self, url: str, status: str, *options: str) -> Ran:
        """Sync, and make sure that it came to what is measured."""
        ran = self.program(url, "sync", "bench", "--json", *options)
        found = ran.document["status"]
        if found != status:
            raise SystemExit(f"The sync ended {found}, not {status}: {ran.out[:2000]}")
        return ran

    def prepare(self, url: str, connector: str, config: dict[str, Any]) -> None:
        """Make the tables and load the district."""
        self.program(url, "db", "upgrade")
        self.load(url, connector, config)

    def load(self, url: str, connector: str, config: dict[str, Any]) -> None:
        """Load the district as it is configured now."""
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in config.items())
        file = self.folder / "district.toml"
        file.write_text(DISTRICT.format(connector=connector, config=lines))
        self.program(url, "load", str(file))

    def floor(self, what: str, *arguments: str) -> Ran:
        """Measure a floor."""
        return run(script("floors", what, *arguments))


def median(runs: list[Ran]) -> Cost:
    """Return the median of what the processes say they took."""
    return Cost(
        statistics.median(one.document["seconds"] for one in runs),
        statistics.median(one.document["cpu"] for one in runs),
    )


def start_up(bench: Bench) -> None:
    """Measure what every process takes before it does anything."""
    words = "import rostersync.cli.app, sync.engine, connectors.clever, sqlalchemy.dialects.sqlite"
    runs = [run([sys.executable, "-c", words]) for _ in range(5)]
    bench.row("start: program and engine loaded", "-", runs)
    bench.start = Cost(
        statistics.median(one.seconds for one in runs), statistics.median(one.cpu for one in runs)
    )
    help_runs = [run([PROGRAM, "--help"]) for _ in range(5)]
    total = statistics.median(one.seconds for one in help_runs)
    row = bench.row("rostersync --help", "-", help_runs)
    row["seconds"], row["reach_seconds"] = round(total, 3), 0.3
    print(f"{'':34} --help as a whole: {total:.2f} s (reach 0.3 s)")


def over_http(bench: Bench, stores: list[str], database: Callable[[str], str]) -> None:
    """Measure syncs of a Clever district."""
    changing = bench.repeat
    with Companion(*script("vendor", bench.size, changing)) as vendor:
        config = vendor.ready["config"]
        as_json = json.dumps(config)
        os.environ["BENCH_TOKEN"] = config["token"]
        given = {**config, "token": "env:BENCH_TOKEN"}
        for day in range(vendor.ready["touched_day"], -1, -1):  # the vendor makes its pages once
            vendor.ask(f"day {day}")
            bench.floor("get", as_json)
        gets = [bench.floor("get", as_json) for _ in range(max(3, bench.repeat))]
        parses = [bench.floor("parse", as_json) for _ in range(1 if bench.size > 300_000 else 2)]
        parse = median(parses)
        for store in stores:
            url = database(store)
            vendor.ask("day 0")
            first = bench.floor("first", as_json, database(store))
            bench.prepare(url, "clever", given)
            bench.row(
                "first sync", store, [bench.sync(url, "applied")], floor=median([first]),
                floor_is="GET+pydantic+insert", reach=2.5, dream=1.5, reach_mb=300,
            )  # fmt: skip
            same = []
            for _ in range(max(3, bench.repeat)):
                gets.append(bench.floor("get", as_json))
                same.append(bench.sync(url, "nothing_to_do"))
            get = median(gets)
            row = bench.row(
                "no change", store, same, floor=get, floor_is="raw GET", reach=3.0, dream=2.2,
                reach_mb=200, bytes=gets[0].document["bytes"],
            )  # fmt: skip
            unchanged = Cost(row["seconds"], row["cpu"])
            changed = []
            for day in range(1, changing + 1):
                vendor.ask(f"day {day}")
                changed.append(bench.sync(url, "applied"))
            bench.row(
                "1 % changed", store, changed, floor=unchanged, floor_is="no change",
                reach=1.5, dream=1.2, reach_mb=200,
            )  # fmt: skip
            vendor.ask(f"day {vendor.ready['touched_day']}")
            floor = Cost(parse.wall + 2 * unchanged.wall, parse.cpu + 2 * unchanged.cpu)
            bench.row(
                "all touched, nothing changed", store, [bench.sync(url, "nothing_to_do")],
                floor=floor, floor_is="parse + 2 x no change", reach=1.0,
            )  # fmt: skip
            incremental(bench, store, vendor, given, url, unchanged)
            planned(bench, store, vendor, given, database(store))


def incremental(
    bench: Bench, store: str, vendor: Companion, given: Any, url: str, unchanged: Cost
) -> None:
    """Measure a sync that reads only the events of a day on which 0.1 % changed."""
    bench.load(url, "clever", {**given, "events": True})
    vendor.ask(f"day {vendor.ready['touched_day']}")
    bench.sync(url, "nothing_to_do", "--full")
    asked_in_full = vendor.ask("requests")["requests"]
    vendor.ask(f"day {vendor.ready['quiet_day']}")
    ran = bench.sync(url, "applied")
    (certificate,) = ran.document["certificates"].values()
    if not certificate["incremental"]:
        raise SystemExit("What was to be read by its events was read in full.")
    asked = vendor.ask("requests")["requests"]
    row = bench.row(
        "0.1 % changed, read by events", store, [ran], floor=unchanged, floor_is="no change, full",
        requests=asked, requests_in_full=asked_in_full,
    )  # fmt: skip
    row["reach"] = "5 % of a full sync's requests and time"
    print(f"{'':34} {asked} requests, in full {asked_in_full}", flush=True)


def planned(bench: Bench, store: str, vendor: Companion, given: Any, url: str) -> None:
    """Measure how a plan of creates is made and read."""
    vendor.ask("day 0")
    bench.prepare(url, "clever", given)
    ran = bench.program(url, "plan", "bench", "--summary", "--json", codes=(0, 10))
    plan = ran.document["plans"][0]["plan"]["id"]
    bench.row("plan of creates, made", store, [ran])
    for work, arguments in (
        ("show, summary of that plan", ()),
        ("show, first page of that plan", ("--offset", "0", "--limit", "50")),
    ):
        shown = [bench.program(url, "show", plan, *arguments) for _ in range(3)]
        row = bench.row(work, store, shown)
        row["reach_seconds"] = 1.0


def from_csv(bench: Bench, stores: list[str], database: Callable[[str], str]) -> None:
    """Measure a OneRoster CSV set in which nothing changed."""
    folder = bench.folder / "oneroster"
    run(script("csv_set", CSV_USERS, folder))
    for store in stores:
        url = database(store)
        bench.prepare(url, "oneroster_csv", {"path": str(folder)})
        bench.row(
            "OneRoster CSV, first", store, [bench.sync(url, "applied")], users=CSV_USERS
        )  # fmt: skip
        same = [bench.sync(url, "nothing_to_do") for _ in range(3)]
        bench.row("OneRoster CSV, no change", store, same, users=CSV_USERS)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--size", type=int, default=100_000, help="users of the Clever district")
    parser.add_argument("--store", choices=STORES, action="append", help="default: both")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each repeatable step")
    parser.add_argument("--json", type=Path, default=Path("build/bench.json"))
    parser.add_argument("--only", choices=("http", "csv"), help="measure only these rows")
    asked = parser.parse_args()
    stores = asked.store or list(STORES)
    with tempfile.TemporaryDirectory(prefix="rsbench") as name:
        folder = Path(name)
        numbers = iter(range(1, 1000))
        postgres = Companion(*script("postgres")) if "postgresql" in stores else None

        def database(store: str) -> str:
            number = next(numbers)
            if store == "sqlite" or postgres is None:
                return f"sqlite:///{folder / f'bench{number}.db'}"
            return str(postgres.ask(f"create bench{number}")["url"])

        bench = Bench(asked.size, asked.repeat, folder)
        try:
            start_up(bench)
            if asked.only != "csv":
                over_http(bench, stores, database)
            if asked.only != "http":
                from_csv(bench, stores, database)
        finally:
            if postgres is not None:
                postgres.__exit__(None, None, None)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps({"size": asked.size, "rows": bench.rows}, indent=1) + "\n")
    print(f"\nThe rows as JSON: {asked.json}")


if __name__ == "__main__":
    main()
