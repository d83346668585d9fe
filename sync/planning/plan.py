"""The plan: everybody who is open is decided once, and the resulting changes are sealed.

``make_plans`` makes one plan of what may be applied and at most one held plan (P1). It reads
evidence and directory and writes plans only; ``sync/ledger/apply.py`` alone changes people.

One file, because the making of a plan is one sequence of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select

from core.failpoints import failpoint
from core.settings import DistrictSettings
from core.steps import log_of, step
from core.storage.database import Database
from core.storage.schema import Change, District, Plan, Source, User
from sync.ledger.domain_moves import read_aliases
from sync.ledger.draft import Draft, Opening, open_plan
from sync.ledger.seal import Judged, Names, discard_drafts, seal
from sync.ledger.standing import supersede_standing
from sync.people import entries, matching, moved_people
from sync.people.person import UserView, read_newcomers, read_users
from sync.people.traits import own_numbers
from sync.people.wish import Sources
from sync.planning import approval_needed, overrides, worklists
from sync.planning.decide import Context, Decision, decide_user
from sync.planning.grace import paused_days
from sync.planning.newcomers import Newcomers, new_user_id
from sync.planning.return_check import Watch, Watched, watch_over
from sync.planning.reused_ids import ReusedIds
from sync.planning.schools import MissingSchool, Schools, plan_schools
from sync.planning.workspace import Workspace, writing
from sync.rules.limits import Trip
from sync.rules.return_guard import Guard, SeasonState
from sync.rules.situations import LEFT
from sync.run import open_records
from sync.run.display import RUN, shown_id
from sync.run.gc_pause import seldom
from sync.run.scratch_tables import PlanTables

log = log_of(__name__)

BATCH = 1_000
HELD_DAYS = 7
"""How many days a held plan stands before it expires (P3)."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a run asks planning to do."""

    district: District
    settings: DistrictSettings
    sources: Sequence[Source]
    """All sources of the district that are configured and not retired, in order of precedence."""
    origins: dict[int, str]
    """Source id → the origin of people it brings in."""
    run_id: int
    kind: str
    now: datetime
    failed: frozenset[int] = frozenset()
    """Sources that were not read completely in this run: they take nothing away (F8)."""
    silent: frozenset[int] = frozenset()
    """Of these, the ones that must not change anybody at all (F1: an incomplete file set)."""
    certificates: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    establishes: tuple[int, ...] = ()
    season: str = "normal"
    season_state: SeasonState = field(default_factory=SeasonState)
    taking_nothing: bool = False
    switch: Switch | None = None
    """A vendor switch: everybody of one source moves to another, and nobody leaves (P7)."""
    watch: Watch | None = None
    """How the guard of a first run after a pause judges (S3); None if it does not apply."""


@dataclass(frozen=True, slots=True)
class Switch:
    """From which source to which; see ``sync/acts/vendor_switch.py``, which seals the plan."""

    old_id: int
    new_id: int
    seal: Callable[[PlanTables, Draft], int | None]
    """Seals the whole draft without limits; returns the plan's id."""


@dataclass(slots=True)
class Plans:
    """The result of planning: the plan to apply, if there is anything to do, and the held one."""

    plan_id: int | None = None
    held_id: int | None = None
    conflicts: int = 0
    watched: Watched = field(default_factory=Watched)
    missing_schools: list[MissingSchool] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)


def make_plans(
    database: Database, request: PlanRequest, progress: Callable[[int], None] | None = None
) -> Plans:
    """Decide about everybody who is open, and store the result as sealed plans."""
    with (
        step(log, "make plans", run=shown_id(RUN, request.run_id)) as done,
        database.engine.connect() as connection,
        seldom(),
    ):
        plans = _PlanMaker(database, connection, request, progress).make()
        done.tell(conflicts=plans.conflicts, limits_tripped=len(plans.trips))
        return plans


class _PlanMaker:
    def __init__(
        self,
        database: Database,
        connection: Connection,
        request: PlanRequest,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.database = database
        self.connection = connection
        self.request = request
        self.progress = progress
        self.plans = Plans()
        self.source_ids = [source.id for source in request.sources]
        self.reused = ReusedIds(request.district.id, taking_nothing=request.taking_nothing)
        self.standing: set[str] = set()
        self.in_conflict: set[str] = set()

    def make(self) -> Plans:
        request = self.request
        work, school_names, records = self._begin()
        if records:
            grouped = entries.unite(self.database, work.transaction, work.tables, records)
            if not (work.empty and len(self.source_ids) == 1):
                self._match(work, records, grouped=grouped)
            if grouped:
                with work.transaction():
                    entries.attach(work.tables)
        with work.transaction() as connection:
            users = self._list_users(work, connection)
        for first in range(1, users + 1, BATCH):
            with work.transaction() as connection:
                self._look_at_users(work, connection, first, pairing=records > 0)
        if request.switch is not None and records:
            with work.transaction() as connection:
                self._list_lost(work, connection, request.switch.old_id)
        if work.leavers:
            self._find_pairs(work, records)
        if records:
            newcomers = Newcomers(work, request.silent, self.reused.comes_from)
            newcomers.look_at(records, self.progress)
            with work.transaction() as connection:
                self.reused.give_away(work, connection, newcomers.given_to)
        elif self.reused.givers:
            with work.transaction() as connection:
                self.reused.give_away(work, connection, {})
        with work.transaction() as connection:
            self.reused.ask(work, connection, self._open_ones()["sources"])
            self.plans.conflicts = overrides.keep_named_in_conflicts(work, connection)
            overrides.drop_rejected(work, connection)
            self.reused.keep_together(work, connection)
            return self._finish(work, connection, school_names)

    # -- the beginning

    def _begin(self) -> tuple[Workspace, Mapping[str, str], int]:
        """Open the draft and plan the schools; return also their names and how many are new."""
        request, district_id = self.request, self.request.district.id
        with writing(self.connection) as connection:
            discard_drafts(connection, district_id)
            tables = PlanTables.none_yet(connection)
            draft = open_plan(
                self.database, connection, self._opening(), tables.marks, tables.suspected
            )
            schools = plan_schools(
                self.database, connection, draft, district_id, request.sources, request.now
            )
            self.plans.missing_schools = schools.missing
            draft.flush(connection)
            worklists.close_strangers(connection, self.source_ids)
            today = request.now.astimezone(request.settings.zone).date().isoformat()
            worklists.open_kept_no_longer(connection, district_id, today)
            empty = connection.execute(_ANYBODY, {"district": district_id}).first() is None
            if not empty:
                self.reused.read_decisions(tables.given_away)
            records = worklists.list_records(
                self.database, tables, self._open_ones(), anybody=not empty
            )
            aliases = read_aliases(connection, district_id, ahead=True)
        work = Workspace(
            database=self.database,
            connection=self.connection,
            district_id=district_id,
            slug=request.district.slug,
            source_ids=self.source_ids,
            own=own_numbers(request.sources),
            now=request.now,
            draft=draft,
            tables=tables,
            context=self._context(schools, aliases),
            switching=request.switch is not None,
            established=any(source.established for source in request.sources),
            empty=empty,
        )
        return work, schools.names, records

    def _context(self, schools: Schools, aliases: Mapping[str, str]) -> Context:
        request = self.request
        return Context(
            sources=Sources(
                {source.id: rank for rank, source in enumerate(request.sources)},
                {source.id: source.name for source in request.sources},
                schools.ids,
                {source.id: source.keep_when_missing for source in request.sources},
            ),
            origins=request.origins,
            grace=request.settings.grace,
            zone=request.settings.zone,
            now=request.now,
            failed=request.failed,
            paused_days=paused_days(request.season_state, request.settings.pause),
            aliases=aliases,
            taking_nothing=request.taking_nothing,
            domains=frozenset(request.settings.email_domains),
        )

    def _opening(self) -> Opening:
        request = self.request
        return Opening(
            district_id=request.district.id,
            run_id=request.run_id,
            kind=request.kind,
            now=request.now,
            season=request.season,
            guarded=request.watch is not None and request.watch.guard is Guard.HOLDS,
            certificates=request.certificates,
            establishes=request.establishes,
        )

    def _open_ones(self) -> worklists.Open:
        spoken = [source for source in self.source_ids if source not in self.request.silent]
        known = spoken if self.request.switch else self.source_ids
        return {"sources": spoken, "all": known, "district": self.request.district.id}

    def _match(self, work: Workspace, records: int, *, grouped: bool) -> None:
        """Find out which new records belong to somebody we know (I5)."""
        terms = matching.MatchingContext(
            district_id=work.district_id,
            now=work.now,
            domains=frozenset(self.request.settings.email_domains),
            rank=work.context.sources.rank,
            id_of=lambda record: new_user_id(work, record),
            silent=self.request.silent,
            own=work.own,
            grouped=grouped,
        )
        matching.match(self.database, work.transaction, work.tables, terms, records)

    def _list_users(self, work: Workspace, connection: Connection) -> int:
        """Number the users to look at; return how many."""
        users = worklists.list_users(self.database, work.tables.people, self._open_ones())
        about = {"district": work.district_id}
        self.standing = set(connection.execute(_STANDING_TARGETS, about).scalars())
        self.in_conflict = overrides.list_named_in_conflicts(work, connection)
        self.reused.wait_for(self.in_conflict)
        return users

    # -- the people in the directory

    def _look_at_users(
        self, work: Workspace, connection: Connection, first: int, *, pairing: bool
    ) -> None:
        """Decide about a batch; ``pairing`` records how newcomers may be one of them (L7)."""
        leavers: list[UserView] = []
        staying: list[UserView] = []
        settled: list[int] = []
        for user in read_users(work.tables.people, first, first + BATCH - 1):
            in_conflict = user.id in self.in_conflict
            if self.reused.look_at(work, user, in_conflict=in_conflict):
                continue
            decision = self._decided(work, user)
            work.counts["locked"] += decision.kept_by_lock
            work.counts["protected"] += decision.protected
            settled += decision.settles
            if decision.steps:
                work.write(user.id, decision)
            if decision.steps and decision.situation.action == "archive":
                leavers.append(user)
            elif decision.situation.name in LEFT and not work.switching:
                staying.append(user)  # but their record may have moved
        if pairing:
            work.leavers += len(leavers) + len(staying)
            moved_people.add_leavers(self.database, work.tables, leavers, work.own)
            moved_people.add_leavers(self.database, work.tables, staying, work.own, staying=True)
        open_records.close(connection, settled)
        work.draft.flush(connection)
        if self.progress is not None:
            self.progress(BATCH)

    def _decided(self, work: Workspace, user: UserView, *, moved: bool = False) -> Decision:
        context = work.context
        if self.request.switch is not None:
            for record in user.records:
                if record.source_id == self.request.switch.old_id:
                    record.present = False
            decision = decide_user(user, context)
            leaves = decision.situation.action in ("archive", "leaves_scope")
            return Decision(decision.situation) if leaves else decision
        if moved:
            return decide_user(user, context)
        failed = next((r.source_id for r in user.records if r.source_id in context.failed), None)
        if failed is not None and user.id in self.standing:
            # it was held on good evidence before its source failed, so it stays held (P3)
            context = replace(context, failed=frozenset())
            decision = decide_user(user, context, in_conflict=user.id in self.in_conflict)
            if decision.steps:
                work.draft.mark(user.id, failed, "standing")
            return decision
        return decide_user(user, context, in_conflict=user.id in self.in_conflict)

    def _list_lost(self, work: Workspace, connection: Connection, old_id: int) -> None:
        """List people that a switch would lose: a newcomer may be one of them (L7)."""
        work.leavers = worklists.list_lost(work.tables, old_id, work.district_id)
        for first in range(1, work.leavers + 1, BATCH):
            users = read_users(work.tables.people, first, first + BATCH - 1)
            moved_people.add_leavers(self.database, work.tables, users, work.own)

    def _find_pairs(self, work: Workspace, records: int) -> None:
        """Decide again about people who have not left: their record moved to somebody new (L7)."""
        with work.transaction() as connection:
            for first in range(1, records + 1, BATCH):
                joiners = read_newcomers(work.tables.records, first, first + BATCH - 1)
                moved_people.add_joiners(self.database, work.tables, joiners, work.own)
            for base, others in entries.others(work.tables.same_entries):
                moved_people.add_joiners(self.database, work.tables, others, work.own, base=base)
            moved = moved_people.find(work.tables)
            if not moved:
                return
            overrides.forget_moved(work, connection)
            worklists.list_moved(work.tables)
        for first in range(1, moved + 1, BATCH):
            with work.transaction() as connection:
                for user in read_users(work.tables.people, first, first + BATCH - 1):
                    decision = self._decided(work, user, moved=True)
                    work.counts["locked"] += decision.kept_by_lock
                    # the hold did not end, it moved: nothing is taken away
                    decision.taken = [t for t in decision.taken if t.what != "hold"]
                    if decision.steps:
                        work.write(user.id, decision)
                work.draft.flush(connection)

    # -- the end

    def _finish(
        self, work: Workspace, connection: Connection, school_names: Mapping[str, str]
    ) -> Plans:
        request, plans, draft = self.request, self.plans, work.draft
        plans.missing_schools += [
            MissingSchool(source_id, school, "", len(people))
            for (source_id, school), people in sorted(work.unknown_schools.items())
        ]
        failpoint("plan.drafted")
        if request.switch is not None:
            plans.plan_id = request.switch.seal(work.tables, draft)
            return plans
        counting = approval_needed.Counting(
            district_id=work.district_id,
            settings=request.settings,
            source_ids=self.source_ids,
            now=request.now,
            today=request.now.astimezone(request.settings.zone).date(),
            school_names=school_names,
            established=work.established,
        )
        if request.watch is not None:
            plans.watched = watch_over(
                self.database,
                work.tables.marks,
                work.tables.suspected,
                draft,
                work.district_id,
                request.watch,
            )
        overrides.mark_undone(work, connection)
        plans.trips = approval_needed.judge(work.tables, draft, counting)
        self.reused.hold_together(work.tables)
        extra = {word: work.counts[word] for word in ("protected", "locked")}
        extra |= {"skipped": request.skipped, "conflict": plans.conflicts}
        expires = request.now + timedelta(days=HELD_DAYS)
        names = Names(school_names, {source.id: source.name for source in request.sources})
        tables = work.tables
        judged = Judged(work.district_id, tables.holds, tables.marks, plans.trips, extra, names)
        plans.plan_id, plans.held_id = seal(connection, draft, judged, expires)
        plans.held_id = supersede_standing(
            self.database, connection, work.district_id, plans.held_id, request.now, expires
        )
        failpoint("plan.sealed")
        return plans


_ANYBODY = select(User.id).where(User.district_id == bindparam("district")).limit(1)
_STANDING_TARGETS = (
    select(Change.target_id)
    .distinct()
    .join_from(Plan.table, Change.table, Change.plan_id == Plan.id)
    .where(Plan.district_id == bindparam("district"), Plan.standing)
)
