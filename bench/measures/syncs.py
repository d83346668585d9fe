"""The syncs of one roster into one database, day after day: a row for each kind of day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.measures.start import Start
from bench.rig.process import Ran
from bench.rig.program import CHANGED, SAME, people_changed, statuses_of
from bench.rig.run import Bench
from bench.rig.stores import Store
from bench.rig.table import NO_GOAL, Cost, Floor, Goal, told, whole
from bench.rosters.rosters import Roster


@dataclass(slots=True)
class Syncs:
    """What every day has in common. ``name`` comes before the name of each row's work."""

    bench: Bench
    store: Store
    roster: Roster
    users: int
    start: Start
    name: str = ""
    url: str = field(init=False)
    _starts: list[Ran] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.url = self.store.new()
        self.bench.program.prepare(self.url, self.roster)

    def first(self, floor: Callable[[], Ran], floor_is: str, goal: Goal = NO_GOAL) -> None:
        """Measure first syncs, each between two floors; then let the store of the last one rest."""
        self.roster.turn_to(0)
        runs, floors = [], [floor()]
        for _ in range(self.bench.repeat):
            if runs:
                self.store.drop(self.url)
                self._begin()
            runs.append(self.sync(CHANGED))
            floors.append(floor())
        self.row("first sync", runs, Floor(told(floors), floor_is), goal)
        self.store.settle(self.url)

    def unchanged(self, floor: Callable[[], Ran], floor_is: str, goal: Goal) -> Cost:
        """Measure syncs in which nothing changed, each beside its floor; return their cost."""
        runs, floors = [], []
        for _ in range(self.bench.often):
            floors.append(floor())
            runs.append(self.sync(SAME))
        size = floors[0].document["bytes"]
        return self.row("no change", runs, Floor(told(floors), floor_is), goal, bytes=size)

    def changed(self, floor: Floor, goal: Goal = NO_GOAL) -> int:
        """Measure a sync on each of the next days with 1 % changes; return how many changed."""
        runs = []
        for day in range(1, self.bench.repeat + 1):
            self.roster.turn_to(day)
            runs.append(self.sync(CHANGED))
        people = people_changed(runs)
        self.row("1 % changed", runs, floor, goal, people=people)
        return people

    def touched(self, floor: Floor, goal: Goal, *, day: int) -> None:
        """Measure a sync in which every record was touched and nothing changed."""
        self.roster.turn_to(day)
        self.row("all touched, nothing changed", [self.sync(SAME)], floor, goal)

    def sync(self, expected: frozenset[str], *options: str, url: str = "") -> Ran:
        """Sync this database (or a copy of it), beside a process that only starts."""
        self._starts.append(self.start.run())
        return self.bench.program.sync(url or self.url, expected, *options)

    def row(
        self,
        work: str,
        runs: list[Ran],
        floor: Floor,
        goal: Goal = NO_GOAL,
        *,
        also: Floor | None = None,
        note: str = "",
        **more: Any,
    ) -> Cost:
        """Add a row of the syncs since the last one."""
        starts, self._starts = self._starts, []
        ended = statuses_of(runs)
        return self.bench.table.processes(
            f"{self.name}{work}", self.store.name, runs, users=self.users, start=whole(starts),
            floor=floor, also=also, goal=goal, note=f"{ended}{note}", status=ended, **more,
        )  # fmt: skip
