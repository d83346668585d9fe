"""How long others are kept waiting by a sync: a reader, and somebody who edits by hand."""

from __future__ import annotations

from bench.rig.process import Companion, script
from bench.rig.program import CHANGED, status_of
from bench.rig.run import Bench
from bench.rig.stores import Store
from bench.rosters.rosters import Roster


def measure(bench: Bench, store: Store, roster: Roster) -> None:
    """Measure the longest waits during a first sync and during one of a day with 1 % changes.

    These syncs are runs of their own: who stands by takes a share of the processor.
    """
    url = store.new()
    bench.program.prepare(url, roster)
    for day, work in enumerate(("first sync", "1 % changed")):
        roster.turn_to(day)
        with Companion(*script("rig.bystander", url)) as bystander:
            ran = bench.program.sync(url, CHANGED)
            waited = bystander.ask("stop")
        for who in ("reader", "hand edit"):
            tries = waited[who]["tries"]
            bench.table.figure(
                f"longest wait of a {who}, {work}", store.name, waited[who]["longest"], "s",
                users=bench.size,
                note=f"of {tries:,} tries during {ran.seconds:.2f} s, {status_of(ran)}",
                tries=tries, sync_seconds=round(ran.seconds, 3), status=status_of(ran),
            )  # fmt: skip
        store.settle(url)
    store.drop(url)
