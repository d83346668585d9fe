"""Syncs of a Clever district over HTTP, and all that is measured on the databases they leave."""

from __future__ import annotations

from bench.measures import incremental, plans, start, waits
from bench.measures.syncs import Syncs
from bench.rig.process import Ran
from bench.rig.run import Bench
from bench.rig.stores import Store
from bench.rig.table import Cost, Floor, Goal, told
from bench.rosters.days import CHANGED, CHANGED_LITTLE, TOUCHED
from bench.rosters.rosters import Vendor


def measure(bench: Bench) -> None:
    """Measure every row of a vendor's district, on each store."""
    with Vendor("clever", start.USERS, start.DAYS) as small:
        starts = {store.name: start.measure(bench, store, small) for store in bench.stores}
    words = (*(CHANGED for _ in range(bench.repeat)), TOUCHED, CHANGED_LITTLE)
    with Vendor("clever", bench.size, words) as vendor:
        clear = vendor.clear
        for day in range(len(words), -1, -1):  # each page is made once, and never while one waits
            vendor.turn_to(day)
            bench.floor("get", clear)
        parses = [bench.floor("parse", clear) for _ in range(1 if bench.size > 300_000 else 2)]
        for store in bench.stores:
            _on(bench, store, vendor, starts[store.name], told(parses))


def _on(bench: Bench, store: Store, vendor: Vendor, started: start.Start, parse: Cost) -> None:
    clear = vendor.clear
    syncs = Syncs(bench, store, vendor, bench.size, started)
    syncs.first(
        lambda: _first_floor(bench, store, clear),
        "GET + pydantic + insert",
        Goal(ratio=2.5, dream=1.5, mb=300),
    )
    _disk(bench, store, "database after the first sync", store.size(syncs.url), bench.size)
    unchanged = syncs.unchanged(
        lambda: bench.floor("get", clear), "raw GET", Goal(ratio=3.0, dream=2.2, mb=200)
    )
    before = store.used(syncs.url)
    people = syncs.changed(Floor(unchanged, "no change"), Goal(ratio=1.5, dream=1.2, mb=200))
    _disk(bench, store, "database, what a change adds", store.used(syncs.url) - before, people)
    syncs.touched(
        Floor(parse.and_twice(unchanged), "parse + 2 x no change"),
        Goal(ratio=1.0),
        day=bench.repeat + 1,
    )
    incremental.measure(syncs, vendor, unchanged, day=bench.repeat + 2)
    plans.measure(bench, store, vendor, started)
    plans.measure_export(bench, store, syncs.url)
    waits.measure(bench, store, vendor)
    store.drop(syncs.url)


def _first_floor(bench: Bench, store: Store, clear: str) -> Ran:
    scratch = store.new()
    ran = bench.floor("first", clear, scratch)
    store.drop(scratch)
    return ran


def _disk(bench: Bench, store: Store, work: str, size: int, people: int) -> None:
    """Add a row of bytes for each of so many people."""
    bench.table.figure(
        work, store.name, size / max(1, people), "B a person", users=bench.size,
        note=f"{size / 1e6:,.1f} MB for {people:,} people", bytes=size, people=people,
    )  # fmt: skip
