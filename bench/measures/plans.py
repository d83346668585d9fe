"""A plan that creates everybody: made, shown and printed whole; and everybody exported."""

from __future__ import annotations

from bench.measures.start import Start
from bench.rig.run import Bench
from bench.rig.stores import Store
from bench.rig.table import Goal, whole
from bench.rosters.rosters import Roster


def measure(bench: Bench, store: Store, roster: Roster, start: Start) -> None:
    """Measure how a plan of creates is made and read."""
    url, table = store.new(), bench.table
    roster.turn_to(0)
    bench.program.prepare(url, roster)
    began = whole([start.run()])
    ran = bench.program.run(url, "plan", "bench", "--summary", "--json", codes=(0, 10))
    plan = ran.document["plans"][0]["plan"]["id"]
    table.processes(
        "plan of creates, made", store.name, [ran], users=bench.size, start=began,
        note=ran.document["status"],
    )  # fmt: skip
    store.settle(url)
    for work, arguments in (
        ("show, summary of that plan", ()),
        ("show, first page of that plan", ("--offset", "0", "--limit", "50")),
    ):
        shown = [bench.program.run(url, "show", plan, *arguments) for _ in range(bench.often)]
        table.processes(work, store.name, shown, users=bench.size, goal=Goal(seconds=1.0))
    ran = bench.program.run(url, "show", plan, "--format", "json", discard=True)
    table.processes("show --format json, the whole plan", store.name, [ran], users=bench.size)
    store.drop(url)


def measure_export(bench: Bench, store: Store, url: str) -> None:
    """Measure how everybody in a database is exported."""
    for kind in ("csv", "json"):
        ran = bench.program.run(url, "export", "bench", "--format", kind, discard=True)
        bench.table.processes(f"export --format {kind}", store.name, [ran], users=bench.size)
