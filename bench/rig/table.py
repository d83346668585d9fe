"""The table of a bench: each row is printed as it comes, and kept for the JSON.

A row stands for whole processes (``processes``) or for one number (``figure``).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench.rig.process import Ran

_LEAST = 0.001
"""Seconds: a cost below the clock's own noise, so that nothing is divided by nothing."""


class Cost(NamedTuple):
    """Wall seconds, and processor seconds of the client alone."""

    wall: float
    cpu: float

    def beyond(self, start: Cost) -> Cost:
        """Return what is left when the start of the program is taken off."""
        return Cost(max(self.wall - start.wall, _LEAST), max(self.cpu - start.cpu, _LEAST))

    def and_twice(self, other: Cost) -> Cost:
        """Return this cost and another one two times."""
        return Cost(self.wall + 2 * other.wall, self.cpu + 2 * other.cpu)


NOTHING = Cost(0.0, 0.0)


def whole(runs: Sequence[Ran]) -> Cost:
    """Return the median of what the processes took as a whole."""
    return Cost(
        statistics.median(one.seconds for one in runs), statistics.median(one.cpu for one in runs)
    )


def told(runs: Sequence[Ran]) -> Cost:
    """Return the median of what the processes say they took, their start apart."""
    return Cost(
        statistics.median(one.document["seconds"] for one in runs),
        statistics.median(one.document["cpu"] for one in runs),
    )


class Floor(NamedTuple):
    """What a row is divided by: a cost of the same run, and what it is the cost of."""

    cost: Cost
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a row is to reach: times its floor, seconds of the whole process, MB at its peak."""

    ratio: float | None = None
    dream: float | None = None
    seconds: float | None = None
    mb: float | None = None

    def __str__(self) -> str:
        told = [
            text
            for text, value in (
                (f"{self.ratio} x", self.ratio),
                (f"dream {self.dream} x", self.dream),
                (f"{self.seconds} s", self.seconds),
                (f"{self.mb} MB", self.mb),
            )
            if value is not None
        ]
        return f"reach {', '.join(told)}" if told else ""


NO_GOAL = Goal()


@dataclass(slots=True)
class Table:
    """The rows so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def processes(
        self,
        work: str,
        store: str,
        runs: Sequence[Ran],
        *,
        users: int = 0,
        start: Cost = NOTHING,
        floor: Floor | None = None,
        also: Floor | None = None,
        goal: Goal = NO_GOAL,
        note: str = "",
        **more: Any,
    ) -> Cost:
        """Keep and print what processes took; return their median beyond ``start``.

        ``also`` is a second cost to compare with. A goal in seconds is one of the whole process,
        whose seconds are then printed.
        """
        total = whole(runs)
        cost = total.beyond(start)
        peak = max(one.peak_mb for one in runs)
        row = {
            "work": work, "store": store, "users": users, "runs": len(runs), **_told("", cost),
            **_told("whole_", total), **_told("start_", start), **_compared("", cost, floor),
            **_compared("also_", cost, also), "reach": goal.ratio, "dream": goal.dream,
            "reach_seconds": goal.seconds, "peak_mb": round(peak, 1), "reach_mb": goal.mb,
            "note": note, **more,
        }  # fmt: skip
        row["missed"] = [
            what
            for what, found, most in (
                ("ratio", "ratio", goal.ratio),
                ("seconds", "whole_seconds", goal.seconds),
                ("memory", "peak_mb", goal.mb),
            )
            if most is not None and row[found] > most
        ]
        self.rows.append(row)
        _print(row, *_cells(row, cost if goal.seconds is None else total, goal))
        return cost

    def figure(
        self,
        work: str,
        store: str,
        value: float,
        unit: str,
        *,
        users: int,
        note: str = "",
        **more: Any,
    ) -> None:
        """Keep and print one number."""
        row = {
            "work": work, "store": store, "users": users, "value": round(value, 4), "unit": unit,
            "note": note, **more,
        }  # fmt: skip
        self.rows.append(row)
        _print(row, f"{value:,.3f} {unit}", "", "", "", note)


def _told(name: str, cost: Cost) -> dict[str, float]:
    return {f"{name}seconds": round(cost.wall, 3), f"{name}cpu": round(cost.cpu, 3)}


def _compared(name: str, cost: Cost, floor: Floor | None) -> dict[str, Any]:
    if floor is None:
        return {}
    return {
        f"{name}floor": round(floor.cost.wall, 3),
        f"{name}floor_cpu": round(floor.cost.cpu, 3),
        f"{name}floor_is": floor.what,
        f"{name}ratio": round(cost.wall / floor.cost.wall, 3),
        f"{name}ratio_cpu": round(cost.cpu / floor.cost.cpu, 3),
    }


def save(file: Path, document: Mapping[str, Any]) -> None:
    """Write what was measured as JSON, and say where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")
    print(f"\nThe rows as JSON: {file}")


def head() -> None:
    """Print what the columns are."""
    names = {"work": "work", "store": "store", "users": "users"}
    _print(names, "took", "times its floor", "the floor", "peak", "what to reach; how it ended")


def _cells(row: dict[str, Any], shown: Cost, goal: Goal) -> Iterator[str]:
    yield f"{shown.wall:.2f} s (cpu {shown.cpu:.2f})"
    if "floor" in row:
        yield f"{row['ratio']:.2f} x (cpu {row['ratio_cpu']:.2f})"
        yield f"of {row['floor']:.3f} s {row['floor_is']}"
    else:
        yield from ("", "")
    yield f"{row['peak_mb']:.0f} MB"
    also = f"{row['also_ratio']:.2f} x {row['also_floor_is']}" if "also_ratio" in row else ""
    missed = f"MISSED: {', '.join(row['missed'])}" if row["missed"] else ""
    yield "; ".join(text for text in (str(goal), row["note"], also, missed) if text)


def _print(row: dict[str, Any], took: str, ratio: str, floor: str, peak: str, end: str) -> None:
    users = f"{row['users']:,}" if isinstance(row["users"], int) else row["users"]
    line = (
        f"{row['work']:42} {row['store']:10} {'' if users == '0' else users:>9} {took:>21}"
        f" {ratio:>20} {floor:36} {peak:>8}  {end}"
    )
    print(line.rstrip(), flush=True)
