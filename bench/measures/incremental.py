"""An incremental fetch: the events of a day on which 0.1 % changed, beside that day in full."""

from __future__ import annotations

from bench.measures.syncs import Syncs
from bench.rig.process import Ran
from bench.rig.program import CHANGED, SAME, Program, was_incremental
from bench.rig.stores import Store
from bench.rig.table import Cost, Floor, Goal
from bench.rosters.rosters import Roster, Vendor

FEED = {"events": True}


def measure(syncs: Syncs, vendor: Vendor, unchanged: Cost, *, day: int) -> None:
    """Measure both, each on copies of the same database, and compare time and requests.

    ``day`` is the one with the changes; the database holds the one before it.
    """
    vendor.turn_to(day - 1)
    program = syncs.bench.program
    program.load(syncs.url, vendor, FEED)
    program.sync(syncs.url, SAME, "--full")  # says at which event the next one goes on
    full, many = _measured(syncs, vendor, day, "--full")
    cost = syncs.row(
        "0.1 % changed, read in full", full, Floor(unchanged, "no change"),
        note=f", {many} requests", requests=many,
    )  # fmt: skip
    ask_beforehand(program, syncs.store, syncs.url, vendor, day)
    events, few = _measured(syncs, vendor, day)
    syncs.row(
        "0.1 % changed, read by events", events, Floor(cost, "the same day in full"),
        Goal(ratio=0.05, dream=0.01), also=Floor(unchanged, "no change"),
        note=f", {few} of {many} requests ({few / many:.3f} x)",
        requests=few, requests_in_full=many, ratio_requests=round(few / many, 4),
    )  # fmt: skip


def ask_beforehand(program: Program, store: Store, url: str, roster: Roster, day: int) -> None:
    """Read a day's changes once from a copy of a database, so that the vendor has them made.

    What is asked depends on where the last reading ended, so only a sync can ask it.
    """
    copy = store.copy(url)
    roster.turn_to(day)
    program.sync(copy, CHANGED)
    store.drop(copy)


def _measured(syncs: Syncs, vendor: Vendor, day: int, *options: str) -> tuple[list[Ran], int]:
    """Sync copies of the database; return the runs, and the requests that one took."""
    runs, requests = [], 0
    for _ in range(syncs.bench.repeat):
        copy = syncs.store.copy(syncs.url)
        vendor.turn_to(day)
        ran = syncs.sync(CHANGED, *options, url=copy)
        requests = vendor.asked().requests
        if was_incremental(ran) == bool(options):
            raise SystemExit(f"This was not read as it was to be: {ran.out[:4000]}")
        runs.append(ran)
        syncs.store.drop(copy)
    return runs, requests
