"""One run of a bench: what is to be measured, and what every measurement needs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.rig.process import Ran, run, script
from bench.rig.program import Program
from bench.rig.stores import Store
from bench.rig.table import Table


@dataclass(frozen=True, slots=True)
class Bench:
    """A run: the users of its district, how often a step is repeated, its stores and its table."""

    size: int
    repeat: int
    csv_users: int
    folder: Path
    stores: Sequence[Store]
    program: Program
    table: Table = field(default_factory=Table)

    @property
    def often(self) -> int:
        """How often a short step is repeated."""
        return max(3, self.repeat)

    def floor(self, what: str, *arguments: str | Path) -> Ran:
        """Measure a floor (``bench.measures.floors``)."""
        return run(script("measures.floors", what, *arguments))
