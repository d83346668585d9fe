"""The workspace: what the modules of planning share, and how a decision gets into the draft.

``sync/planning/plan.py`` makes it; it, ``sync/planning/newcomers.py`` and
``sync/planning/overrides.py`` work on it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from core.storage.database import Database
from sync.ledger.draft import Draft
from sync.people.traits import OwnNumbers
from sync.planning.decide import Context, Decision
from sync.run.scratch_tables import PlanTables


@contextmanager
def writing(connection: Connection) -> Iterator[Connection]:
    """Open a short write transaction."""
    connection.execution_options(rostersync_write=True)
    with connection.begin():
        yield connection


@dataclass(slots=True)
class Workspace:
    """A plan that is being made."""

    database: Database
    connection: Connection
    district_id: int
    slug: str
    source_ids: Sequence[int]
    """The sources that are planned for, in precedence."""
    own: OwnNumbers
    now: datetime
    draft: Draft
    tables: PlanTables
    context: Context
    switching: bool
    """A vendor switch: nobody leaves, and nothing is counted as taken (P7)."""
    established: bool = False
    """A complete fetch of one of the sources has been applied before (L6)."""
    empty: bool = False
    """The directory of the district is still empty."""
    leavers: int = 0
    """How many may be the same people as somebody new (L7)."""
    counts: Counter[str] = field(default_factory=Counter)
    """How many people had something kept unchanged: ``locked``, ``protected``."""
    unknown_schools: dict[tuple[int, str], set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )
    """(source id, the source's id of a school that we do not have) → people who are without it."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a short write transaction."""
        return writing(self.connection)

    def write(self, target: str, decision: Decision) -> None:
        """Record what is done about one person, and everything that a limit may count."""
        self.draft.add(decision.steps)
        for school in decision.unknown_schools:
            self.unknown_schools[school].add(target)
        for taken in () if self.switching else decision.taken:
            self.draft.take(target, taken.source_id, taken.groups, taken.what)
        for suspect, suspicion in decision.suspected:
            self.draft.suspect(target, suspect, *suspicion)
        source_id = decision.added_by
        if source_id is not None:
            self.draft.additions[source_id] += 1
            if self.established:
                self.draft.mark(target, source_id, "added")
        if source_id is None:
            source_id = decision.taken[0].source_id if decision.taken else self.source_ids[0]
        if decision.caused_by_us:
            self.draft.mark(target, source_id, "settings")
        if decision.narrowed:
            self.draft.mark(target, source_id, "leaves_scope")
        if decision.shrunk:
            self.draft.mark(target, source_id, "shrunk_role")
