"""The check of a return from a pause: what a rollover explains, what waits, what is held (S4-S6).

Works on the draft of a guarded run: it reads grades before and now in one pass, asks
``sync/rules/rollover.py``, and marks the draft. ``sync/planning/approval_needed.py`` then counts
what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, TextClause, bindparam, delete, select, text

from core.storage import schema
from core.storage.database import Database
from core.storage.stored import utc_text
from sync.ledger.draft import Draft
from sync.rules.return_guard import Guard, SeasonState
from sync.rules.rollover import (
    GuardPolicy,
    Pupil,
    Rollover,
    Ruling,
    explains_newcomer,
    holds_additions,
    judge,
    rollovers,
    waiting_schools,
)
from sync.rules.season import newest_year_end
from sync.run.scratch_tables import Marks, PupilsNow, ReturnVerdicts, Suspected

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Watch:
    """How this run is guarded; ``keep`` says that its result is stored (a sync, not a dry plan)."""

    guard: Guard
    state: SeasonState
    policy: GuardPolicy
    day: date
    keep: bool
    year_end: str = "06-30"
    """The last day of the district's school year, MM-DD."""
    failed: frozenset[int] = frozenset()
    """Sources that were not read completely: who waits there is known from the run before."""
    afresh: bool = False
    """A pause has begun or ended since the last run: who was where before it is recorded again."""

    graced: bool = False
    """The district has grace: who was where is still needed when it ends."""
    gone_by: datetime | None = None
    """People who were gone by this time are judged as in the guarded run, in which grace kept them
    (S7)."""

    @property
    def watches(self) -> bool:
        """Return whether the guard has anything to do in this run."""
        return self.policy != "off" and (
            self.guard is not Guard.NONE or bool(self.state.waiting) or self.gone_by is not None
        )


@dataclass(slots=True)
class Watched:
    """The result of the guard."""

    waiting_schools: list[str] = field(default_factory=list)
    waiting_people: int = 0
    explained: int = 0
    held: int = 0


def watch_over(
    database: Database,
    marks: Marks,
    suspected: Suspected,
    draft: Draft,
    district_id: int,
    watch: Watch,
) -> Watched:
    """Judge the takings and additions of the draft. The limits judge everything it leaves alone."""
    connection = marks.connection
    draft.flush(connection)
    watched = Watched()
    about = {"plan": draft.plan_id, "district": district_id, "keep": watch.keep}
    failed = list(watch.failed) if watch.keep else []
    connection.execute(_FORGET_WHO_WAITED, {**about, "failed": failed})
    if watch.afresh and watch.keep:
        forget_pupils(connection, district_id)
    if watch.policy == "approve":
        connection.execute(_MARK_HELD_BEFORE, about)
    if not watch.watches:
        if watch.policy != "off":
            _judge_takings(database, connection, draft, watch, {}, watched, about)
        return watched
    pupils_now: PupilsNow | None = None
    if watch.afresh or connection.execute(_ANY_PUPIL, {"district": district_id}).first() is None:
        pupils_now = PupilsNow(connection)  # the directory is unchanged since the pause
        connection.execute(_NOTE_PUPILS_NOW, about)
    schools = rollovers(_pupils(database, connection, about, pupils_now))
    if holds_additions(watch.guard, watch.policy):
        connection.execute(_MARK_ALL, about)
    _judge_takings(database, connection, draft, watch, schools, watched, about, pupils_now)
    _explain_newcomers(connection, draft, watch, schools, about)
    _explain_moves(suspected, watch, schools)
    watched.waiting_schools = waiting_schools(schools, watch.guard, watch.state, watch.policy)
    may_be_needed = watched.waiting_schools or watch.state.paused_seen or watch.graced
    if (
        watch.keep
        and pupils_now is not None
        and may_be_needed
        and watch.guard is not Guard.EXPLAINS
    ):
        connection.execute(_KEEP_PUPILS, about)
    return watched


def forget_pupils(connection: Connection, district_id: int) -> None:
    """Forget who was where before the pause: every school has returned."""
    connection.execute(_FORGET_PUPILS, {"district": district_id})


_ANY_PUPIL = (
    select(schema.Pupil.user_id).where(schema.Pupil.district_id == bindparam("district")).limit(1)
)
_FORGET_PUPILS = delete(schema.Pupil.table).where(schema.Pupil.district_id == bindparam("district"))


def _pupils(
    database: Database,
    connection: Connection,
    about: Mapping[str, object],
    pupils_now: PupilsNow | None,
) -> Iterator[Pupil]:
    """Yield every student from before the pause, with their grade after this plan."""
    query = _grades_before_and_now(database, pupils_now)
    rows = connection.execution_options(yield_per=5_000).execute(query, dict(about))
    for user_id, school_id, before, now in rows:
        yield Pupil(user_id, school_id, before, now)
    connection.execution_options(yield_per=None)


def _judge_takings(
    database: Database,
    connection: Connection,
    draft: Draft,
    watch: Watch,
    schools: Mapping[str, Rollover],
    watched: Watched,
    about: Mapping[str, object],
    pupils_now: PupilsNow | None = None,
) -> None:
    verdicts = ReturnVerdicts(connection)
    rows = []
    gone_by = "" if watch.gone_by is None else utc_text(watch.gone_by)
    ended = newest_year_end(watch.day - _DAY, watch.year_end).year
    for one in _taken(connection, about, pupils_now):
        verdict = judge(
            one.places, one.finished, schools=schools,
            guard=Guard.HOLDS if one.gone and one.gone < gone_by else watch.guard,
            state=watch.state, policy=watch.policy, day=watch.day, held_before=one.held_before,
            graduated=one.graduation_year is not None and one.graduation_year <= ended,
        )  # fmt: skip
        if verdict is not Ruling.LIMITS:
            rows.append((one.target, verdict.value))
    if not rows:
        return
    verdicts.add(database, rows)
    verdicts.index()
    counted = dict.fromkeys(Ruling, 0)
    for _, word in rows:
        counted[Ruling(word)] += 1
    watched.explained = counted[Ruling.EXPLAINED]
    watched.held = counted[Ruling.HELD]
    watched.waiting_people = counted[Ruling.WAITING]
    for query in (_EXPLAIN_TAKINGS, _GUARD_TAKINGS, _MARK_GUARDED):
        connection.execute(query, dict(about))
    if watched.waiting_people:
        for action, people in connection.execute(_COUNT_WAITING, dict(about)).all():
            draft.counts[action] -= people
        queries = (
            _NOTE_WHO_WAITS,
            _DROP_WAITING_CHANGES,
            _DROP_WAITING_TAKINGS,
            _DROP_WAITING_MARKS,
            _DROP_WAITING_SUSPECTED,
        )
        for query in queries:
            connection.execute(query, dict(about))
        draft.in_order = False


@dataclass(slots=True)
class _Taken:
    """Somebody from whom this plan takes something. Only a missing student can have finished."""

    target: str
    held_before: bool
    """A guarded run has held them, and nobody has decided yet."""
    places: set[str] = field(default_factory=set)
    finished: str | None = None
    """The grade before the pause of a missing student."""
    graduation_year: int | None = None
    """The graduation year of a missing student (S8)."""
    gone: str | None = None
    """When a missing person was found to be gone, UTC text."""


def _taken(
    connection: Connection, about: Mapping[str, object], pupils_now: PupilsNow | None
) -> Iterator[_Taken]:
    """Yield each person from whom the plan takes something."""
    rows = connection.execute(_takings_with_grades(pupils_now), dict(about))
    one: _Taken | None = None
    for target, school, role, what, grade, year, held_before, absent_since in rows:
        if one is None or target != one.target:
            if one is not None:
                yield one
            one = _Taken(target, bool(held_before))
        one.places.add(school)
        if what == "archive":
            one.gone = absent_since
            if role == "student":
                one.finished = grade if grade is not None else one.finished
                one.graduation_year = year
    if one is not None:
        yield one


def _explain_newcomers(
    connection: Connection,
    draft: Draft,
    watch: Watch,
    schools: Mapping[str, Rollover],
    about: Mapping[str, object],
) -> None:
    places = _explained_places(watch, schools)
    if not places:
        return
    wanted = {**about, "schools": places}
    for source_id, people in connection.execute(_COUNT_EXPLAINED_NEWCOMERS, wanted).all():
        draft.additions[source_id] -= people
    connection.execute(_UNMARK_NEWCOMERS, wanted)


def _explain_moves(suspected: Suspected, watch: Watch, schools: Mapping[str, Rollover]) -> None:
    """Suspect nobody who leaves or joins a school that has rolled over (L10)."""
    places = _explained_places(watch, schools)
    if places:
        suspected.connection.execute(_UNSUSPECT_EXPLAINED_MOVES, {"schools": places})


def _explained_places(watch: Watch, schools: Mapping[str, Rollover]) -> list[str]:
    """Return the schools at which the new year explains newcomers."""
    return [
        school_id
        for school_id in schools
        if explains_newcomer(
            school_id, schools=schools, guard=watch.guard, state=watch.state, policy=watch.policy
        )
    ]


# --- Set-wise statements ---
# They judge a whole draft at once: its changes and takings are found by the primary keys that begin
# with the plan, the people on the other side by the indexes of links and targets. Verdicts, marks
# and the pupils of this run are in scratch tables.


def _grades_before_and_now(database: Database, pupils_now: PupilsNow | None) -> TextClause:
    table, where = "pupils", "p.district_id = :district"
    if pupils_now is not None:
        table, where = pupils_now.name, "TRUE"
    new_grade = database.json_text("c.after", "grade")
    return text(
        "SELECT p.user_id, p.school_id, p.grade, CASE"
        " WHEN u.id IS NULL OR u.status = 'archived' AND b.target_id IS NULL THEN NULL"
        " WHEN g.target_id IS NOT NULL THEN NULL"
        f" WHEN c.target_id IS NOT NULL THEN COALESCE({new_grade}, '')"
        " ELSE COALESCE(u.grade, '') END"
        f" FROM {table} p LEFT JOIN users u ON u.id = p.user_id"
        " LEFT JOIN changes c ON c.plan_id = :plan AND c.target_id = p.user_id"
        f" AND c.action = 'update' AND {database.json_has('c.after', 'grade')}"
        " LEFT JOIN changes g ON g.plan_id = :plan AND g.target_id = p.user_id"
        " AND g.action IN ('archive', 'leaves_scope')"
        " LEFT JOIN changes b ON b.plan_id = :plan AND b.target_id = p.user_id"
        f" AND b.action = 'restore' WHERE {where}"
    )


def _takings_with_grades(pupils_now: PupilsNow | None) -> TextClause:
    source = "pupils p ON p.district_id = :district AND"
    if pupils_now is not None:
        source = f"{pupils_now.name} p ON"
    return text(
        "SELECT t.target_id, t.school_id, t.role, t.what, p.grade, u.graduation_year,"
        " EXISTS (SELECT 1 FROM takings s JOIN plans q ON q.id = s.plan_id"
        " WHERE q.district_id = :district"
        " AND q.standing AND s.target_id = t.target_id AND s.guarded) AS held_before,"
        " (SELECT MAX(r.absent_since) FROM links l JOIN records r ON r.id = l.record_id"
        " WHERE l.target_id = t.target_id AND l.held AND NOT r.present) AS gone"
        f" FROM takings t JOIN users u ON u.id = t.target_id LEFT JOIN {source}"
        " p.user_id = t.target_id AND p.school_id = t.school_id WHERE t.plan_id = :plan"
        " ORDER BY t.target_id"
    )


_NOTE_PUPILS_NOW = text(
    "INSERT INTO pupils_now SELECT DISTINCT u.id, m.school_id, u.grade FROM users u"
    " JOIN memberships m"
    " ON m.user_id = u.id AND m.role = 'student' JOIN links l ON l.target_id = u.id AND l.held"
    " WHERE u.district_id = :district AND u.status <> 'archived'"
)
_KEEP_PUPILS = text(
    "INSERT INTO pupils (district_id, user_id, school_id, grade)"
    " SELECT CAST(:district AS BIGINT), user_id, school_id, grade FROM pupils_now"
)
_MARK_ALL = text(
    "INSERT INTO marks SELECT DISTINCT c.target_id, COALESCE(r.source_id, 0), 'guard'"
    " FROM changes c LEFT JOIN records r ON r.id = c.record_id WHERE c.plan_id = :plan"
    " AND c.kind = 'user'"
)
_MARK_HELD_BEFORE = text(  # no later run lets through what a guarded run held for approval (S5)
    "INSERT INTO marks SELECT DISTINCT c.target_id, COALESCE(r.source_id, 0), 'guard'"
    " FROM changes c LEFT JOIN records r ON r.id = c.record_id WHERE c.plan_id = :plan"
    " AND c.kind = 'user' AND c.target_id IN (SELECT s.target_id FROM plans p"
    " JOIN changes s ON s.plan_id = p.id WHERE p.district_id = :district AND p.standing"
    " AND p.guarded)"
)
_EXPLAIN_TAKINGS = text(
    "UPDATE takings SET explained = TRUE WHERE plan_id = :plan AND target_id IN"
    " (SELECT target_id FROM verdicts WHERE verdict = 'explained')"
)
_GUARD_TAKINGS = text(
    "UPDATE takings SET guarded = TRUE WHERE plan_id = :plan AND target_id IN"
    " (SELECT target_id FROM verdicts WHERE verdict = 'held')"
)
_MARK_GUARDED = text(
    "INSERT INTO marks SELECT t.target_id, MIN(t.source_id), 'guard' FROM takings t"
    " WHERE t.plan_id = :plan AND t.guarded GROUP BY t.target_id"
)
_WAITING = "(SELECT target_id FROM verdicts WHERE verdict = 'waiting')"
_COUNT_WAITING = text(
    "SELECT action, COUNT(DISTINCT target_id) FROM changes WHERE plan_id = :plan"
    f" AND target_id IN {_WAITING} GROUP BY action"
)
_DROP_WAITING_CHANGES = text(
    f"DELETE FROM changes WHERE plan_id = :plan AND target_id IN {_WAITING}"
)
_DROP_WAITING_TAKINGS = text(
    f"DELETE FROM takings WHERE plan_id = :plan AND target_id IN {_WAITING}"
)
_DROP_WAITING_MARKS = text(f"DELETE FROM marks WHERE target_id IN {_WAITING}")
_DROP_WAITING_SUSPECTED = text(f"DELETE FROM suspected WHERE target_id IN {_WAITING}")
_NOTE_WHO_WAITS = text(
    "INSERT INTO waiting_people (district_id, user_id, kept, run_id, what)"
    " SELECT p.district_id, t.target_id, CAST(:keep AS BOOLEAN), p.run_id, MIN(t.what)"
    " FROM takings t JOIN plans p ON p.id = t.plan_id WHERE t.plan_id = :plan"
    f" AND t.target_id IN {_WAITING} GROUP BY p.district_id, t.target_id, p.run_id"
    " ON CONFLICT (district_id, user_id, kept) DO NOTHING"
)
_FORGET_WHO_WAITED = text(
    "DELETE FROM waiting_people WHERE district_id = :district AND kept = :keep"
    " AND NOT EXISTS (SELECT 1 FROM links l JOIN records r ON r.id = l.record_id"
    " WHERE l.target_id = waiting_people.user_id AND l.held AND r.source_id IN :failed)"
).bindparams(bindparam("failed", expanding=True))
_UNSUSPECT_EXPLAINED_MOVES = text(
    "DELETE FROM suspected WHERE kind = 'moved' AND target_id IN (SELECT target_id FROM suspected"
    " WHERE kind = 'moved' AND about IN :schools)"
).bindparams(bindparam("schools", expanding=True))
_OF_NEWCOMERS = (
    "m.mark = 'added' AND m.target_id IN (SELECT c.target_id FROM changes c"
    " WHERE c.plan_id = :plan AND c.role = 'student' AND c.school_id IN :schools)"
)
_COUNT_EXPLAINED_NEWCOMERS = text(
    "SELECT m.source_id, COUNT(DISTINCT m.target_id) FROM marks m"
    f" WHERE {_OF_NEWCOMERS} GROUP BY m.source_id"
).bindparams(bindparam("schools", expanding=True))
_UNMARK_NEWCOMERS = text(
    f"DELETE FROM marks WHERE mark = 'added' AND target_id IN (SELECT m.target_id FROM marks m"
    f" WHERE {_OF_NEWCOMERS})"
).bindparams(bindparam("schools", expanding=True))
