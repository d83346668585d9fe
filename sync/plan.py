"""The plan: everybody who is open is looked at once, and what follows is written down and sealed.

``make_plans`` makes one plan of what may be applied and at most one held plan (P1). It reads
evidence and directory and writes plans only; ``sync/apply.py`` alone changes people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, text

from core.database import Database, failpoint
from core.rows import District, Source
from core.settings import DistrictSettings
from core.stored import from_json, to_json, utc_text
from sync import conflicts, holds, matching, pairs
from sync.collector import seldom
from sync.decide import Context, Decision, decide_newcomer, decide_user
from sync.domain_moves import read_aliases
from sync.draft import Draft
from sync.grace import paused_days
from sync.guard import Guard, SeasonState
from sync.guarding import Watch, Watched, watch_over
from sync.identity import USER_PREFIX, new_id
from sync.known import own_numbers
from sync.limits import Trip
from sync.people import RecordView, Sources, UserView, read_newcomers, read_users
from sync.schools import plan_schools
from sync.seal import discard_drafts, seal, supersede_standing

BATCH = 1_000
HELD_DAYS = 7
"""How long a held plan stands before it expires (P3)."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a run asks of planning."""

    district: District
    settings: DistrictSettings
    sources: Sequence[Source]
    """All sources of the district that are configured and not retired, in precedence."""
    origins: dict[int, str]
    """Source id → the origin of people it brings in."""
    run_id: int
    kind: str
    now: datetime
    failed: frozenset[int] = frozenset()
    """Sources that were not read whole in this run: they take nothing away (F8)."""
    silent: frozenset[int] = frozenset()
    """Of these, the ones that must not change anybody at all (F1: an incomplete file set)."""
    certificates: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    establishes: tuple[int, ...] = ()
    season: str = "normal"
    season_state: SeasonState = field(default_factory=SeasonState)
    taking_nothing: bool = False
    switch: Switch | None = None
    """A vendor switch: everybody of one source goes over to another, and nobody leaves (P7)."""
    watch: Watch | None = None
    """How the guard of a first run after a pause judges (S3); None: it has nothing to say."""


@dataclass(frozen=True, slots=True)
class Switch:
    """From which source to which; see ``sync/switch.py``, which seals the plan."""

    old_id: int
    new_id: int
    seal: Callable[[Connection, Draft], int | None]
    """Seals the draft whole, limits apart; returns the plan's id."""


@dataclass(slots=True)
class Plans:
    """What planning came to: the plan to apply, if there is anything to do, and the held one."""

    plan_id: int | None = None
    held_id: int | None = None
    waiting: int = 0
    """People whose changes wait by themselves: grace, a failed source, a season."""
    conflicts: int = 0
    watched: Watched = field(default_factory=Watched)
    trips: list[Trip] = field(default_factory=list)


def make_plans(
    database: Database, request: PlanRequest, progress: Callable[[int], None] | None = None
) -> Plans:
    """Look at everybody who is open and store what follows as sealed plans."""
    with database.engine.connect() as connection, seldom():
        return _Planner(database, connection, request, progress).make()


class _Planner:
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
        self.counts: dict[str, int] = {"protected": 0, "locked": 0, "conflict": 0}
        self.leavers = 0
        self.standing: set[str] = set()
        self.own = own_numbers(request.sources)
        self.some_attached = self.some_lost = False

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self.connection.execution_options(rostersync_write=True)
        with self.connection.begin():
            yield self.connection

    def make(self) -> Plans:
        request = self.request
        with self.transaction() as connection:
            discard_drafts(connection, request.district.id)
            self.draft = Draft(self.database, self._open_plan(connection))
            self._make_tables(connection)
            schools = plan_schools(
                self.database, connection, self.draft, request.district.id, request.sources,
                request.now,
            )  # fmt: skip
            self.draft.flush(connection)
            connection.execute(_SETTLE_STRANGERS, {"sources": self.source_ids})
            today = request.now.astimezone(request.settings.zone).date().isoformat()
            connection.execute(_KEPT_NO_LONGER, {"district": request.district.id, "today": today})
            records = self._list_new(connection)
            aliases = read_aliases(connection, request.district.id, ahead=True)
        self.school_names = schools.names
        self.context = Context(
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
        )
        if records and not (self.empty and len(self.source_ids) == 1):
            self._match(records)
        with self.transaction() as connection:
            users = self._list_users(connection)
        for first in range(1, users + 1, BATCH):
            with self.transaction() as connection:
                self._look_at_users(connection, first)
        if self.request.switch is not None and records:
            with self.transaction() as connection:
                self._list_lost(connection, self.request.switch.old_id)
        if self.leavers and records:
            self._find_pairs(records)
        self._look_at_newcomers(records)
        with self.transaction() as connection:
            self._protect_conflicts(connection)
            self._drop_rejected(connection)
            return self._finish(connection)

    # -- what is open

    def _open_plan(self, connection: Connection) -> int:
        request = self.request
        return int(
            connection.execute(
                _NEW_PLAN,
                {
                    "district": request.district.id,
                    "run": request.run_id,
                    "kind": request.kind,
                    "now": utc_text(request.now),
                    "season": request.season,
                    "guarded": request.watch is not None and request.watch.guard is Guard.HOLDS,
                    "certificates": to_json(request.certificates),
                    "establishes": to_json(list(request.establishes)),
                },
            ).scalar_one()
        )

    def _make_tables(self, connection: Connection) -> None:
        for name, columns in (
            ("todo_users", "n INTEGER, target_id TEXT"),
            ("todo_joins", "record_id BIGINT, target_id TEXT, reason TEXT"),
            ("todo_records", "n INTEGER, record_id BIGINT"),
            ("marks", "target_id TEXT, source_id BIGINT, mark TEXT"),
            ("conflict_people", "target_id TEXT"),
            ("attached", "record_id BIGINT, base_id BIGINT, target_id TEXT, reason TEXT"),
        ):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
            connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {name} ({columns})")
        connection.exec_driver_sql("CREATE INDEX ix_conflict_people ON conflict_people (target_id)")
        holds.create_table(connection)
        pairs.create_tables(connection)

    def _open_ones(self) -> dict[str, Any]:
        spoken = [source for source in self.source_ids if source not in self.request.silent]
        known = spoken if self.request.switch else self.source_ids
        return {"sources": spoken, "all": known, "district": self.request.district.id}

    def _list_new(self, connection: Connection) -> int:
        """Number the open records that nobody is linked to; return how many."""
        about = self._open_ones()
        for query in (_JOINS, _RECORDS):
            connection.execute(query, about)
        connection.exec_driver_sql("CREATE INDEX ix_todo_records ON todo_records (n)")
        connection.exec_driver_sql("CREATE INDEX ix_todo_record ON todo_records (record_id)")
        connection.exec_driver_sql("CREATE INDEX ix_todo_joins ON todo_joins (target_id)")
        connection.exec_driver_sql("CREATE INDEX ix_todo_join ON todo_joins (record_id)")
        self.database.analyze(connection, "todo_records", "todo_joins")
        self.empty = not connection.execute(
            text("SELECT 1 FROM users WHERE district_id = :district LIMIT 1"), about
        ).first()
        return int(connection.execute(text("SELECT COUNT(*) FROM todo_records")).scalar_one())

    def _match(self, records: int) -> None:
        """Find out who of the new records is somebody we know (I5)."""
        terms = matching.Terms(
            district_id=self.request.district.id,
            now=self.request.now,
            domains=frozenset(self.request.settings.email_domains),
            rank=self.context.sources.rank,
            id_of=lambda record: self._new_id(record, 0),
            silent=self.request.silent,
            own=self.own,
        )
        matched = matching.match(self.database, self.transaction, terms, records)
        self.plans.waiting += matched.waiting

    def _list_users(self, connection: Connection) -> int:
        """Number the users to look at; return how many."""
        about = self._open_ones()
        connection.execute(_USERS, about)
        connection.exec_driver_sql("CREATE INDEX ix_todo_users ON todo_users (n)")
        self.database.analyze(connection, "todo_users", "todo_joins")
        self.standing = set(connection.execute(_STANDING_TARGETS, about).scalars())
        named = connection.execute(_NAMED_IN_CONFLICTS, about).scalars()
        self.in_conflict = {user["id"] for candidates in named for user in from_json(candidates)}
        rows = [(user,) for user in sorted(self.in_conflict)]
        self.database.insert_into(connection, "conflict_people", ("target_id",), rows)
        self.established = any(source.established for source in self.request.sources)
        return int(connection.execute(text("SELECT COUNT(*) FROM todo_users")).scalar_one())

    # -- the people whom the directory knows

    def _look_at_users(self, connection: Connection, first: int) -> None:
        leavers: list[UserView] = []
        settled: list[int] = []
        for user in read_users(connection, first, first + BATCH - 1):
            decision = self._decided(user)
            if decision.situation.action == "wait":
                self.plans.waiting += 1
            self.counts["locked"] += decision.kept_by_lock
            self.counts["protected"] += decision.protected
            settled += decision.settles
            if decision.steps:
                self._write(connection, user.id, decision)
                if decision.situation.action == "archive":
                    leavers.append(user)
        self.leavers += len(leavers)
        pairs.add_leavers(self.database, connection, leavers, self.own)
        self._close(connection, settled)
        self.draft.flush(connection)
        if self.progress is not None:
            self.progress(BATCH)

    def _decided(self, user: UserView, *, moved: bool = False) -> Decision:
        context = self.context
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
            # it was held on good evidence before its source failed: it stays held (P3)
            context = replace(context, failed=frozenset())
            decision = decide_user(user, context, in_conflict=user.id in self.in_conflict)
            if decision.steps:
                self._mark(user.id, failed, "standing")
            return decision
        return decide_user(user, context, in_conflict=user.id in self.in_conflict)

    def _write(self, connection: Connection, target: str, decision: Decision) -> None:
        self.draft.add(decision.steps)
        for taken in decision.taken if self.request.switch is None else ():
            self.draft.take(target, taken.source_id, taken.groups, taken.what)
        source_id = decision.added_by
        if source_id is not None:
            self.draft.additions[source_id] += 1
            if self.established:
                self._mark(target, source_id, "added")
        if source_id is None:
            source_id = decision.taken[0].source_id if decision.taken else self.source_ids[0]
        if decision.caused_by_us:
            self._mark(target, source_id, "settings")
        if decision.narrowed:
            self._mark(target, source_id, "leaves_scope")
        if decision.shrunk:
            self._mark(target, source_id, "shrunk_role")

    def _mark(self, target: str, source_id: int, mark: str) -> None:
        self.draft.mark(target, source_id, mark)

    def _close(self, connection: Connection, records: Sequence[int]) -> None:
        if records:
            connection.execute(_CLOSE, [{"id": record} for record in records])

    # -- the people whom it does not know

    def _list_lost(self, connection: Connection, old_id: int) -> None:
        """Note whom a switch would lose: somebody new may be they, by name or local part (L7)."""
        connection.exec_driver_sql("DELETE FROM todo_users")
        connection.execute(_LOST, {"old": old_id, "district": self.request.district.id})
        lost = int(connection.execute(text("SELECT COUNT(*) FROM todo_users")).scalar_one())
        for first in range(1, lost + 1, BATCH):
            users = read_users(connection, first, first + BATCH - 1)
            pairs.add_leavers(self.database, connection, users, self.own)
        self.leavers = lost

    def _find_pairs(self, records: int) -> None:
        with self.transaction() as connection:
            for first in range(1, records + 1, BATCH):
                newcomers = read_newcomers(connection, first, first + BATCH - 1)
                pairs.add_joiners(self.database, connection, newcomers, self.own)
            moved = pairs.find(connection)
            if not moved:
                return
            # they have not left: their record moved. Look at them again, with the new record
            for query in (_FORGET_MOVED_CHANGES, _FORGET_MOVED_TAKINGS):
                connection.execute(query, {"plan": self.draft.plan_id})
            connection.execute(_FORGET_MOVED_MARKS)
            if self.request.switch is None:
                self.draft.counts["archive"] -= moved
                self.draft.in_order = False
            connection.exec_driver_sql("DELETE FROM todo_users")
            for query in (_MOVED_USERS, _MOVED_JOINS, _MOVED_ATTACHED, _MOVED_RECORDS):
                connection.execute(query)
        for first in range(1, moved + 1, BATCH):
            with self.transaction() as connection:
                for user in read_users(connection, first, first + BATCH - 1):
                    decision = self._decided(user, moved=True)
                    self.counts["locked"] += decision.kept_by_lock
                    # the hold did not end, it moved: nothing is taken away
                    decision.taken = [t for t in decision.taken if t.what != "hold"]
                    if decision.steps:
                        self._write(connection, user.id, decision)
                self.draft.flush(connection)

    def _look_at_newcomers(self, records: int) -> None:
        if not records:
            return
        with self.transaction() as connection:  # most runs have none: nobody is asked for in vain
            about = {"district": self.request.district.id, "reason": conflicts.LOST}
            self.some_attached = connection.execute(_ANY_ATTACHED).first() is not None
            self.some_lost = connection.execute(_ANY_LOST, about).first() is not None
        waiting: list[RecordView] = []
        for first in range(1, records + 1, BATCH):
            with self.transaction() as connection:
                batch = waiting + list(read_newcomers(connection, first, first + BATCH - 1))
                waiting = []
                if first + BATCH <= records and batch:  # a person may go on in the next batch
                    last = _person(batch[-1])
                    while batch and _person(batch[-1]) == last:
                        waiting.insert(0, batch.pop())
                self._look_at_batch(connection, batch)
                self.draft.flush(connection)
            if self.progress is not None:
                self.progress(BATCH)
        if waiting:
            with self.transaction() as connection:
                self._look_at_batch(connection, waiting)
                self.draft.flush(connection)

    def _look_at_batch(self, connection: Connection, batch: Sequence[RecordView]) -> None:
        if not batch:
            return
        people: dict[tuple[int, str], list[RecordView]] = {}
        for record in batch:
            people.setdefault(_person(record), []).append(record)
        self._attach(connection, people)
        ids = {about: self._new_id(records[0], 0) for about, records in people.items()}
        taken = self._taken_ids(connection, list(ids.values()))
        doubts = self._doubts(connection, batch)
        for about, records in people.items():
            user_id, number = ids[about], 0
            while user_id in taken:
                number += 1
                user_id = self._new_id(records[0], number)
                taken |= self._taken_ids(connection, [user_id])
            doubt = next((doubts[r.id] for r in records if r.id in doubts), None)
            if doubt is not None:
                held = doubt[0] == "resembles_leaver"
                self._conflict(connection, records[0], *doubt)
                if not held:
                    continue
                for target in doubt[1]:
                    self._mark(target, records[0].source_id, "resembling")
                self._mark(user_id, records[0].source_id, "resembling")
            decision = decide_newcomer(records, user_id, self.context)
            if records[0].source_id in self.request.silent and decision.steps:
                self._mark(user_id, records[0].source_id, "standing")
            if decision.steps:
                self._write(connection, user_id, decision)

    def _attach(
        self, connection: Connection, people: dict[tuple[int, str], list[RecordView]]
    ) -> None:
        """Give newcomers the records of other sources that are theirs: they join as one."""
        if not self.some_attached:
            return
        whose = {record.id: records for records in people.values() for record in records}
        rows = connection.execute(_ATTACHED, {"records": list(whose)}).all()
        views = matching.read_records(connection, [row.record_id for row in rows]) if rows else {}
        for row in rows:
            record = views[row.record_id]
            record.join_reason = row.reason
            whose[row.base_id].append(record)

    def _new_id(self, record: RecordView, number: int) -> str:
        name = self.context.sources.names[record.source_id]
        about = (self.request.district.slug, name, record.external_id, number)
        return new_id(self.database.key, USER_PREFIX, *about)

    def _taken_ids(self, connection: Connection, ids: list[str]) -> set[str]:
        if self.empty:
            return set()
        return set(connection.execute(_EXISTING, {"ids": ids}).scalars())

    def _doubts(
        self, connection: Connection, batch: Sequence[RecordView]
    ) -> dict[int, tuple[str, dict[str, list[str]]]]:
        """Return record id → (reason, candidates with evidence) for who may be somebody we know."""
        doubts: dict[int, tuple[str, dict[str, list[str]]]] = {}
        if self.some_lost:
            doubts = conflicts.still_resembling_lost(connection, [r.id for r in batch])
        if self.leavers:
            reason = "resembles_leaver" if self.request.switch is None else conflicts.LOST
            for record_id, targets in pairs.likenesses(connection, [r.id for r in batch]).items():
                doubts[record_id] = (reason, targets)
        if doubts:
            about = {"records": list(doubts)}
            for record_id in connection.execute(_DECIDED_NEW, about).scalars():
                doubts.pop(record_id)
        return doubts

    # -- conflicts and rejections

    def _conflict(
        self,
        connection: Connection,
        record: RecordView,
        reason: str,
        candidates: Mapping[str, Sequence[str]],
    ) -> None:
        about = {
            "district": self.request.district.id,
            "record": record.id,
            "reason": reason,
            "candidates": to_json(
                [{"id": user, "evidence": list(said)} for user, said in candidates.items()]
            ),
            "now": utc_text(self.request.now),
        }
        if not connection.execute(_CONFLICT_AGAIN, about).rowcount:
            connection.execute(_CONFLICT, about)
        self.counts["conflict"] += 1
        if reason != "resembles_leaver":  # a pair is held together; approving it decides (L7)
            rows = [(user,) for user in candidates]
            self.database.insert_into(connection, "conflict_people", ("target_id",), rows)

    def _protect_conflicts(self, connection: Connection) -> None:
        """Take back the archive of whoever is named in an open conflict (rule 6)."""
        connection.execute(
            _CONFLICTS_GONE,
            {"district": self.request.district.id, "now": utc_text(self.request.now)},
        )
        for target in (
            connection.execute(_ARCHIVES_IN_CONFLICT, {"plan": self.draft.plan_id}).scalars().all()
        ):
            self.draft.forget(connection, target, ["archive"])
            self.plans.waiting += 1
        self.plans.conflicts = int(
            connection.execute(
                _COUNT_CONFLICTS, {"district": self.request.district.id}
            ).scalar_one()
        )

    def _drop_rejected(self, connection: Connection) -> None:
        """Leave out whoever's changes were rejected, as long as their evidence is the same (P4)."""
        about = {"plan": self.draft.plan_id, "district": self.request.district.id}
        rejected = sorted(connection.execute(_REJECTED, about).scalars())
        actions: dict[str, list[str]] = {}
        for first in range(0, len(rejected), BATCH):
            targets = rejected[first : first + BATCH]
            for target, action in connection.execute(_ACTIONS, {**about, "targets": targets}):
                actions.setdefault(target, []).append(action)
        for target, done in actions.items():
            self.draft.forget(connection, target, sorted(set(done)))
            self.plans.waiting += 1

    # -- the end

    def _mark_undone(self, connection: Connection) -> None:
        """Mark whoever would be changed again on the evidence whose effect was undone (P8)."""
        about = {"plan": self.draft.plan_id, "district": self.request.district.id}
        if connection.execute(_ANY_UNDONE, about).first():
            self.draft.flush(connection)
            connection.execute(_MARK_UNDONE, about)

    def _finish(self, connection: Connection) -> Plans:
        request, plans, draft = self.request, self.plans, self.draft
        failpoint("plan.drafted")
        if request.switch is not None:
            plans.plan_id = request.switch.seal(connection, draft)
            return plans
        counting = holds.Counting(
            district_id=request.district.id,
            settings=request.settings,
            source_ids=self.source_ids,
            now=request.now,
            today=request.now.astimezone(request.settings.zone).date(),
            school_names=self.school_names,
            established=self.established,
        )
        if request.watch is not None:
            plans.watched = watch_over(
                self.database, connection, draft, request.district.id, request.watch
            )
        self._mark_undone(connection)
        plans.trips = holds.judge(connection, draft, counting)
        self.counts["skipped"] = request.skipped
        self.counts["conflict"] = plans.conflicts
        sealed = seal(
            self.database,
            connection,
            draft,
            request.district.id,
            plans.trips,
            self.counts,
            self.school_names,
            {source.id: source.name for source in request.sources},
            now=request.now,
            expires=request.now + timedelta(days=HELD_DAYS),
        )
        plans.plan_id, plans.held_id = sealed
        plans.held_id = supersede_standing(
            self.database, connection, request.district.id, plans.held_id, request.now,
            request.now + timedelta(days=HELD_DAYS),
        )  # fmt: skip
        failpoint("plan.sealed")
        return plans


def _person(record: RecordView) -> tuple[int, str]:
    return record.source_id, record.person_key or f"\0{record.external_id}"


_SOURCES: BindParameter[Any] = bindparam("sources", expanding=True)
_NEW_PLAN = text(
    "INSERT INTO plans (district_id, run_id, kind, status, standing, digest, created_at,"
    " base_serial, season, guarded, counts, schools, held, certificates, establishes, additions,"
    " approved, size) SELECT id, :run, :kind, 'draft', FALSE, :run_digest, :now, serial, :season,"
    " :guarded, '{}', '{}', '[]', :certificates, :establishes, '{}', FALSE, 0 FROM districts"
    " WHERE id = :district RETURNING id"
).bindparams(bindparam("run_digest", value=b""))
_SETTLE_STRANGERS = text(
    "UPDATE records SET open = FALSE WHERE source_id IN :sources AND kind = 'user' AND open"
    " AND NOT (present AND in_scope)"
    " AND NOT EXISTS (SELECT 1 FROM links l WHERE l.record_id = records.id)"
).bindparams(_SOURCES)
_KEPT_NO_LONGER = text(  # time makes them due: they were to stay archived until yesterday (I2)
    "UPDATE records SET open = TRUE WHERE present AND NOT open AND id IN (SELECT l.record_id"
    " FROM users u JOIN links l ON l.target_id = u.id WHERE u.district_id = :district"
    " AND u.status = 'archived' AND u.kept_archived AND u.kept_until < :today)"
)
_JOINS = text(
    "INSERT INTO todo_joins SELECT record_id, MIN(target_id), MIN(reason) FROM ("
    # another entry of a person we know, by the source's own key of the person
    "SELECT r.id AS record_id, l.target_id, 'same_person' AS reason FROM records r"
    " JOIN records o ON o.source_id = r.source_id AND o.person_key = r.person_key"
    " AND o.kind = r.kind JOIN links l ON l.record_id = o.id"
    " WHERE r.source_id IN :sources AND r.kind = 'user' AND r.open AND r.present AND r.in_scope"
    " AND r.person_key IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM links x WHERE x.record_id = r.id)"
    # somebody decided whose record it is
    " UNION SELECT r.id, c.decision, 'resolved' FROM records r"
    " JOIN conflicts c ON c.record_id = r.id JOIN users u ON u.id = c.decision"
    " WHERE r.source_id IN :sources AND r.kind = 'user'"
    " AND r.open AND r.present AND r.in_scope AND c.kind = 'user' AND c.status = 'resolved'"
    " AND NOT EXISTS (SELECT 1 FROM links x WHERE x.record_id = r.id)) AS joins"
    " GROUP BY record_id"
).bindparams(_SOURCES)
_USERS = text(
    "INSERT INTO todo_users SELECT ROW_NUMBER() OVER (ORDER BY target_id), target_id FROM ("
    "SELECT l.target_id FROM records r JOIN links l ON l.record_id = r.id"
    " WHERE r.source_id IN :sources AND r.kind = 'user' AND r.open"
    " UNION SELECT target_id FROM todo_joins"
    # whoever stands in the held plan is looked at again, whatever became of their source (P3)
    " UNION SELECT l.target_id FROM plans p JOIN changes c ON c.plan_id = p.id"
    " JOIN links l ON l.target_id = c.target_id JOIN records r ON r.id = l.record_id"
    " WHERE p.district_id = :district AND p.standing AND c.kind = 'user' AND r.open) AS people"
).bindparams(_SOURCES)
_RECORDS = text(
    "INSERT INTO todo_records SELECT ROW_NUMBER() OVER (ORDER BY s.precedence, s.id,"
    " COALESCE(r.person_key, r.external_id), r.external_id), r.id FROM ("
    # a union, not an OR: each half has its index, and nobody goes through all records
    "SELECT id FROM records WHERE source_id IN :sources AND kind = 'user' AND open"
    " UNION SELECT c.record_id FROM plans p JOIN changes c ON c.plan_id = p.id"
    " WHERE p.district_id = :district AND p.standing AND c.action = 'create') AS asked"
    " CROSS JOIN records r JOIN sources s ON s.id = r.source_id WHERE r.id = asked.id"
    " AND r.kind = 'user' AND r.source_id IN :all AND r.open AND r.present AND r.in_scope"
    " AND NOT EXISTS (SELECT 1 FROM links l WHERE l.record_id = r.id)"
    " AND NOT EXISTS (SELECT 1 FROM todo_joins j WHERE j.record_id = r.id)"
).bindparams(_SOURCES, bindparam("all", expanding=True))
_NAMED_IN_CONFLICTS = text(
    "SELECT candidates FROM conflicts WHERE district_id = :district AND status = 'open'"
    " AND kind = 'user' AND reason <> 'resembles_leaver'"
)
_STANDING_TARGETS = text(
    "SELECT DISTINCT c.target_id FROM plans p JOIN changes c ON c.plan_id = p.id"
    " WHERE p.district_id = :district AND p.standing"
)
_ANY_UNDONE = text("SELECT 1 FROM undone WHERE district_id = :district LIMIT 1")
_MARK_UNDONE = text(
    "INSERT INTO marks SELECT c.target_id, r.source_id, 'undone' FROM undone u"
    " JOIN records r ON r.id = u.record_id AND r.version = u.version"
    " JOIN links l ON l.record_id = r.id JOIN changes c ON c.target_id = l.target_id"
    " WHERE u.district_id = :district AND c.plan_id = :plan AND c.kind = 'user'"
    " UNION SELECT c.target_id, r.source_id, 'undone' FROM changes c"
    " JOIN undone u ON u.record_id = c.record_id"
    " JOIN records r ON r.id = u.record_id AND r.version = u.version"
    " WHERE u.district_id = :district AND c.plan_id = :plan AND c.kind = 'user'"
)
_CLOSE = text("UPDATE records SET open = FALSE, cause = NULL WHERE id = :id")
_EXISTING = text("SELECT id FROM users WHERE id IN :ids").bindparams(
    bindparam("ids", expanding=True)
)
_DECIDED_NEW = text(
    "SELECT DISTINCT record_id FROM conflicts WHERE record_id IN :records AND kind = 'user'"
    " AND status = 'resolved' AND decision = 'new'"
).bindparams(bindparam("records", expanding=True))
_CONFLICT_AGAIN = text(
    "UPDATE conflicts SET candidates = :candidates, reason = :reason WHERE record_id = :record"
    " AND status = 'open' AND district_id = :district"
)
_CONFLICT = text(
    "INSERT INTO conflicts (district_id, kind, record_id, candidates, reason, status, created_at)"
    " VALUES (:district, 'user', :record, :candidates, :reason, 'open', :now)"
)
_CONFLICTS_GONE = text(  # linked meanwhile, or no longer shared
    "UPDATE conflicts SET status = 'gone', decided_at = :now WHERE district_id = :district"
    " AND status = 'open' AND (EXISTS (SELECT 1 FROM links l WHERE l.record_id ="
    " conflicts.record_id) OR NOT EXISTS (SELECT 1 FROM records r WHERE r.id = conflicts.record_id"
    " AND r.present AND r.in_scope))"
)
_COUNT_CONFLICTS = text(
    "SELECT COUNT(*) FROM conflicts WHERE district_id = :district AND status = 'open'"
)
_ARCHIVES_IN_CONFLICT = text(
    "SELECT DISTINCT target_id FROM changes WHERE plan_id = :plan AND action = 'archive'"
    " AND target_id IN (SELECT target_id FROM conflict_people)"
)
_REJECTED = text(  # the changes once: PostgreSQL would join a large plan with itself row by row
    "SELECT DISTINCT c.target_id FROM changes c JOIN rejections r ON r.district_id = :district"
    " AND r.content_print = c.content_print WHERE c.plan_id = :plan"
)
_ACTIONS = text(
    "SELECT target_id, action FROM changes WHERE plan_id = :plan AND target_id IN :targets"
).bindparams(bindparam("targets", expanding=True))
_OF_MOVED = "(SELECT target_id FROM pairs WHERE moved = 1)"
_FORGET_MOVED_CHANGES = text(
    f"DELETE FROM changes WHERE plan_id = :plan AND target_id IN {_OF_MOVED}"
)
_FORGET_MOVED_TAKINGS = text(
    f"DELETE FROM takings WHERE plan_id = :plan AND target_id IN {_OF_MOVED}"
)
_FORGET_MOVED_MARKS = text(f"DELETE FROM marks WHERE target_id IN {_OF_MOVED}")
_MOVED_USERS = text(
    "INSERT INTO todo_users SELECT ROW_NUMBER() OVER (ORDER BY target_id), target_id FROM pairs"
    " WHERE moved = 1"
)
_MOVED_JOINS = text(
    "INSERT INTO todo_joins SELECT record_id, target_id, 'moved' FROM pairs WHERE moved = 1"
)
_MOVED_ATTACHED = text(
    "INSERT INTO todo_joins SELECT a.record_id, p.target_id, a.reason FROM attached a"
    " JOIN pairs p ON p.record_id = a.base_id WHERE p.moved = 1"
)
_ANY_ATTACHED = text("SELECT 1 FROM attached LIMIT 1")
_ANY_LOST = text(
    "SELECT 1 FROM conflicts WHERE district_id = :district AND kind = 'user' AND status = 'open'"
    " AND reason = :reason LIMIT 1"
)
_ATTACHED = text(
    "SELECT record_id, base_id, reason FROM attached WHERE base_id IN :records ORDER BY record_id"
).bindparams(bindparam("records", expanding=True))
_LOST = text(  # held by the old source alone, and neither matched nor named in a conflict
    "INSERT INTO todo_users SELECT ROW_NUMBER() OVER (ORDER BY target_id), target_id FROM ("
    "SELECT DISTINCT l.target_id FROM links l JOIN records r ON r.id = l.record_id"
    " JOIN users u ON u.id = l.target_id WHERE r.source_id = :old AND r.kind = 'user' AND l.held"
    " AND u.status <> 'archived' AND u.district_id = :district"
    " AND NOT EXISTS (SELECT 1 FROM todo_joins j WHERE j.target_id = u.id)"
    " AND NOT EXISTS (SELECT 1 FROM conflict_people c WHERE c.target_id = u.id)"
    " AND NOT EXISTS (SELECT 1 FROM links o JOIN records x ON x.id = o.record_id"
    " JOIN sources s ON s.id = x.source_id WHERE o.target_id = u.id AND o.held"
    " AND x.source_id <> :old AND x.present AND x.in_scope AND NOT s.retired)) AS lost"
)
_MOVED_RECORDS = text(
    "DELETE FROM todo_records WHERE record_id IN (SELECT record_id FROM pairs WHERE moved = 1)"
)
