"""Syncs of a OneRoster 1.1 CSV set in a local folder."""

from __future__ import annotations

from functools import partial

from bench.measures import start
from bench.measures.syncs import Syncs
from bench.rig.run import Bench
from bench.rig.table import NO_GOAL, Floor, Goal, told
from bench.rosters.days import CHANGED
from bench.rosters.rosters import Files

LAYOUT = "oneroster-1.1"
_FLOOR = "read the same bytes"
_LIKE_A_PEER = Goal(seconds=1.1, mb=135)
"""A third of the time and half of the memory of Adobe User Sync, which was measured once for 50,000
users outside of this bench: 3.37 s and 271 MB, its start included."""


def measure(bench: Bench) -> None:
    """Measure a set of the size that a peer was measured with, and one of the bench's own size."""
    small = Files(LAYOUT, start.USERS, start.DAYS, bench.folder / "csv-start")
    starts = {store.name: start.measure(bench, store, small) for store in bench.stores}
    _of(bench, bench.csv_users, starts, _LIKE_A_PEER)
    if bench.size > bench.csv_users:
        _of(bench, bench.size, starts, NO_GOAL)


def _of(bench: Bench, users: int, starts: dict[str, start.Start], goal: Goal) -> None:
    words = [CHANGED] * bench.repeat
    files = Files(LAYOUT, users, words, bench.folder / f"csv-{users}")
    read = partial(bench.floor, "read", files.place)
    for store in bench.stores:
        syncs = Syncs(bench, store, files, users, starts[store.name], "OneRoster CSV, ")
        syncs.first(read, _FLOOR)
        syncs.unchanged(read, _FLOOR, goal)
        syncs.changed(Floor(told([read()]), _FLOOR))
        store.drop(syncs.url)
