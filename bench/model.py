"""``make bench-model``: what a sync costs on each connector, measured, and projected from that.

    python -m bench.model [--size 5000] [--size 100000] [--only gg4l] [--store sqlite] [--json FILE]

Of each connector and size: a first sync, a full sync in which nothing changed, and where the
connector can, one that reads only what changed, on a day with 0.1 % changes. Vendors are the
emulator on loopback, files are written by it. Requests and bytes are counted by the server; seconds
and memory are those of whole processes, the start included. The second table is projected from the
first (``bench.measures.projection``): a round trip of 100 ms for each request, 100 Mbit/s, and the
limit of requests that the vendor documents.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measures.incremental import ask_beforehand
from bench.measures.projection import project
from bench.rig import stores
from bench.rig.process import Ran, run, script
from bench.rig.program import CHANGED, SAME, Program, was_incremental
from bench.rig.stores import Store
from bench.rig.table import save, whole
from bench.rosters.days import CHANGED_LITTLE
from bench.rosters.rosters import Asked, Files, Roster, Vendor
from core.output import told


@dataclass(frozen=True, slots=True)
class Kind:
    """A connector with what it reads: a vendor of the emulator, or a layout of files.

    ``feed`` are the settings with which it reads only what changed, None if it cannot;
    ``per_minute`` is the number of requests that the vendor documents as its limit.
    """

    title: str
    vendor: str = ""
    layout: str = ""
    feed: Mapping[str, Any] | None = None
    per_minute: int | None = None


KINDS = {
    "clever": Kind("Clever", vendor="clever", feed={"events": True}, per_minute=1200),
    "classlink": Kind("ClassLink", vendor="classlink", feed={"delta": True}),
    "gg4l": Kind("GG4L", vendor="gg4l", feed={"events": True}),
    "oneroster-1.1": Kind("OneRoster 1.1", vendor="oneroster", feed={"delta": True}),
    "oneroster-1.2": Kind("OneRoster 1.2", vendor="oneroster12", feed={"delta": True}),
    "oneroster_csv-1.1": Kind("OneRoster CSV 1.1", layout="oneroster-1.1-delta", feed={}),
    "oneroster_csv-1.2": Kind("OneRoster CSV 1.2", layout="oneroster-1.2-delta", feed={}),
    "clever_csv": Kind("Clever CSV", layout="clever"),
    "user_csv": Kind("User CSV", layout="user"),
}
"""Only Clever documents a limit (https://dev.clever.com/docs/paging-and-limits)."""
COLUMNS = f"{'connector':18} {'users':>9}  {'sync':14}"


@dataclass(slots=True)
class Model:
    """The rows so far: what was measured, and in the same order what is projected from it."""

    store: Store
    program: Program
    folder: Path
    repeat: int
    measured: list[dict[str, Any]] = field(default_factory=list)
    projected: list[dict[str, Any]] = field(default_factory=list)

    def measure(self, kind: Kind, users: int) -> None:
        """Measure the syncs of one connector at one size."""
        with self._served(kind, users) as roster:
            url = self.store.new()
            self.program.prepare(url, roster, kind.feed)
            roster.turn_to(0)
            first = self.program.sync(url, CHANGED)
            self._row(kind, roster, users, "first", [first], roster.asked())
            self.store.settle(url)
            same = []
            for _ in range(self.repeat):
                roster.turn_to(0)
                same.append(self.program.sync(url, SAME, "--full"))
            self._row(kind, roster, users, "no change", same, roster.asked())
            if kind.feed is not None:
                ask_beforehand(self.program, self.store, url, roster, 1)
                roster.turn_to(1)
                changes = self.program.sync(url, CHANGED)
                if not was_incremental(changes):
                    raise SystemExit(f"{kind.title} was read in full: {changes.out[:4000]}")
                self._row(kind, roster, users, "0.1 % changed", [changes], roster.asked())
            self.store.drop(url)

    @contextmanager
    def _served(self, kind: Kind, users: int) -> Iterator[Roster]:
        """Serve the roster, what is read of it in full made beforehand."""
        if kind.layout:
            with tempfile.TemporaryDirectory(dir=self.folder) as name:
                yield Files(kind.layout, users, (CHANGED_LITTLE,), Path(name))
            return
        with Vendor(kind.vendor, users, (CHANGED_LITTLE,)) as vendor:
            run(script("measures.floors", "served", vendor.connector, vendor.clear))
            yield vendor

    def _row(
        self, kind: Kind, roster: Roster, users: int, sync: str, runs: list[Ran], asked: Asked
    ) -> None:
        seconds, cpu = whole(runs)
        head = {"connector": kind.title, "users": users, "sync": sync}
        row = {
            **head, "page_size": roster.page_size,
            "requests": asked.requests, "bytes": asked.bytes, "seconds": round(seconds, 3),
            "cpu": round(cpu, 3),
            "peak_mb": round(max(one.peak_mb for one in runs), 1), "runs": len(runs),
        }  # fmt: skip
        self.measured.append(row)
        found = project(asked.requests, asked.bytes, seconds, kind.per_minute)
        shown = {name: round(value, 2) for name, value in found._asdict().items()}
        self.projected.append({**head, "per_minute": kind.per_minute, **shown})
        read_in = f"pages of {roster.page_size:,}" if roster.page_size else "files"
        print(
            f"{_head(row)} {row['requests']:>9,} {asked.bytes / 1e6:>9.2f} MB"
            f" {seconds:>9.2f} s {cpu:>9.2f} s {row['peak_mb']:>7.0f} MB  {read_in}",
            flush=True,
        )


def _head(row: Mapping[str, Any]) -> str:
    return f"{row['connector']:18} {row['users']:>9,}  {row['sync']:14}"


def _print_projected(rows: list[dict[str, Any]]) -> None:
    print("\nProjected, at most: 100 ms a round trip, 100 Mbit/s, nothing overlapping\n")
    print(f"{COLUMNS} {'waiting':>11} {'transfer':>11} {'whole':>11}")
    for row in rows:
        limit = f"  at {row['per_minute']:,} requests a minute" if row["per_minute"] else ""
        print(
            f"{_head(row)} {row['waiting']:>9.1f} s {row['transfer']:>9.1f} s"
            f" {row['seconds']:>9.1f} s{limit}"
        )


def main() -> None:
    """Measure every connector at every size, and print both tables."""
    parser = argparse.ArgumentParser(
        prog="make bench-model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", type=int, action="append", help="users; default: 5000 and 100000")
    parser.add_argument("--only", choices=KINDS, action="append", help="default: every connector")
    parser.add_argument("--store", choices=stores.STORES, default="sqlite")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the sync without changes")
    parser.add_argument("--json", type=Path, default=Path("build/bench-model.json"))
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="rsmodel") as name,
        stores.opened([asked.store], Path(name)) as (store,),
    ):
        model = Model(store, Program(Path(name)), Path(name), asked.repeat)
        print(f"Measured on loopback, {asked.store}; whole processes\n")
        print(
            f"{COLUMNS} {'requests':>9} {'served':>12} {'wall':>11} {'processor':>11}"
            f" {'peak':>10}  read in"
        )
        for users in asked.size or (5_000, 100_000):
            for key in asked.only or KINDS:
                model.measure(KINDS[key], users)
    _print_projected(model.projected)
    document = {"store": asked.store, "measured": model.measured, "projected": model.projected}
    save(asked.json, document)


if __name__ == "__main__":
    sys.exit(told(main))
