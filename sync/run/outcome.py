"""The result of a run or an act: status, exit code, plans, certificates, error (rule 9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.errors import RosterSyncError, RunEnded

SERIOUS_FIRST = (1, 2, 14, 15, 12, 11, 10, 13, 0)
"""All exit codes, the most serious first; of several, the most serious wins."""

CODES = {
    "applied": 0, "nothing_to_do": 0, "planned": 0, "paused": 0, "waiting": 0, "rejected": 0,
    "held": 10, "drifted": 11, "partial": 12, "incomplete": 12, "busy": 13, "failed": 1,
}  # fmt: skip


def worst(codes: Iterable[int]) -> int:
    """Return the most serious of several exit codes."""
    return min(codes, key=SERIOUS_FIRST.index, default=0)


@dataclass(slots=True)
class Outcome:
    """The result of a sync, a plan, an apply or an act by hand."""

    district: str
    status: str
    run_id: int | None = None
    plan_ids: list[int] = field(default_factory=list)
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: RosterSyncError | None = None
    codes: tuple[int, ...] = ()
    """Exit codes of parts of the act (a held plan, a source), beside the status's own."""
    at: datetime | None = None
    """When the act took place, where that matters: in a pause."""
    user_id: str | None = None
    """The user concerned, for an act by hand."""
    report: dict[str, Any] | None = None
    """For a vendor switch: who moves to the new vendor, for each school."""
    left_open: dict[str, Any] = field(default_factory=dict)
    """What a run leaves for a person to look at, as ``sync/views/left_open.py`` counts it."""
    left: list[str] = field(default_factory=list)
    """For an undo: the ids of users and schools that were changed since and are left alone."""
    outside_edits: int = 0
    """For a sync or plan: how many people and schools somebody has edited past the ledger."""

    @property
    def exit_code(self) -> int:
        """The exit code of the outside contract: the most serious of everything that happened."""
        codes = [*self.codes]
        if self.error is not None:
            codes.append(self.error.exit_code)
        if not isinstance(self.error, RunEnded):  # its code says how it was ended
            codes.append(CODES.get(self.status, 0))
        return worst(codes)
