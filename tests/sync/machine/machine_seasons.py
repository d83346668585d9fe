"""The state machine in its seasons: pauses, windows, returns and rollovers come.

``Seasons`` keeps a calendar, a guard and a grace of its own, by the words of the rules and without
a line of ``sync/``, and holds each run and each act of a person against them (rule 7, S1 to S7).
Where a story leaves open what the rule asks for, the machine is the milder one.

One file, because a state machine of hypothesis is one class, and this one is all of a year.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, ClassVar
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from sqlalchemy.orm import Session

from core.settings import DistrictSettings
from core.storage.tables import District
from sync import engine
from sync.acts import pause
from sync.run.outcome import Outcome
from sync.sources import district_load
from tests.kit.world import SLUG, World, decoded
from tests.sync.machine import machine

DAY = timedelta(days=1)
ADDING = {"create", "restore", "link", "adopt"}
WAITING_DAYS = 14
GRACE_TAKES = 7
"""Days beyond its own that a grace may last and its people still be judged as on the return."""

Places = dict[str, list[tuple[str, str | None]]]
"""Student → (school, grade) of each of their places."""


@dataclass(frozen=True, slots=True)
class Window:
    """Days without, or with fewer, changes; None as an end: until somebody resumes."""

    start: date
    end: date | None
    mode: str

    def covers(self, day: date) -> bool:
        return self.start <= day and (self.end is None or day <= self.end)


@dataclass(slots=True)
class Step:
    """What was so before a run or an act."""

    mode: str
    plans: int
    applied: set[int]
    standing: int | None
    stood: set[str]
    places: Places
    pupils: Places
    days_back: int
    owed: bool
    held: set[tuple[str, str]]


@dataclass
class Overseen(World):
    """A world that lets the machine look at each run and act, before and after it."""

    before: Callable[[], Step] | None = None
    after: Callable[..., None] | None = None
    last: Outcome | None = field(default=None)

    def _watched(self, kind: str, act: Callable[[], Outcome], asked: bool) -> Outcome:
        assert self.before is not None
        assert self.after is not None
        step, self.last = self.before(), None
        try:
            self.last = act()
        finally:
            self.after(kind, step, self.last, asked=asked)
        return self.last

    def sync(self, *, code: int | None = None, **options: Any) -> Outcome:
        def act() -> Outcome:
            return World.sync(self, code=code, **options)

        return self._watched("sync", act, bool(options.get("during_pause")))

    def plan(self, **options: Any) -> Outcome:
        return self._watched("plan", lambda: World.plan(self, **options), True)

    def apply(self, plan: int, **options: Any) -> Outcome:
        asked = bool(options.get("during_pause"))
        return self._watched("apply", lambda: World.apply(self, plan, **options), asked)

    def approve(self, plan: int | None = None, **options: Any) -> Outcome:
        asked = bool(options.get("during_pause"))
        return self._watched("approve", lambda: World.approve(self, plan, **options), asked)


asking = st.booleans()
ends = st.sampled_from([None, 0, 1, 3, 6])
modes = st.sampled_from(["paused", "paused", "additions_only"])
policies = st.sampled_from(["explain", "explain", "approve", "off"])
whose = st.sampled_from(["all", "all", "lincoln", "some"])


class Seasons(machine.Engine):
    """``Engine``, and the year goes round."""

    turn: ClassVar[date] = date(2026, 10, 6)
    """The last day of the school year: the day after the story begins."""
    graduation_years: ClassVar[dict[str, int]] = {}
    grades: ClassVar[dict[str, str]] = {
        "s0": "05", "s1": "05", "s2": "05", "s3": "06", "s4": "06", "s5": "07", "s6": "07",
        "s7": "05", "s8": "06",
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.world = Overseen(
            self.world.database, self.world.rosters, self.world.now,
            before=self.look, after=self.judge,
        )  # fmt: skip
        self.calendar: list[Window] = []
        self.hand: Window | None = None
        self.resumed: date | None = None
        self.seen = self.today
        self.paused_days: set[date] = set()
        self.owed = False
        self.vendor_owed = False
        self.vendor_first: date | None = None
        """The first day on which the vendor was seen in the pause that it is in, or was in last."""
        self.owed_days: set[date] = set()
        """The days of the pauses for which the guard is owed, also of the vendor's."""
        self.calendar_changed = False
        """Since the guard is owed: which days those were is then known to nobody."""
        self.vendor_back: date | None = None
        """The day after the last one on which the vendor was seen in a pause of its own."""
        self.returned: date | None = None
        self.pictures: list[Places] = []
        """Who was where when a pause began, since the guard was last used up."""
        self.late: set[str] = set()
        self.held_by_guard: set[str] = set()
        self.gone_at_return: set[str] = set()
        self.returned_on: date | None = None
        self.absent: dict[tuple[str, str], tuple[date, int]] = {}
        self.policy = "explain"
        self.policy_of: dict[int, str] = {}
        self.grace = (0, 1)
        self.vendor: str | None = None
        self.ways: dict[str, str] = {}
        self.number = 0

    @initialize()
    def a_first_roster(self) -> None:
        for number, key in enumerate(machine.STUDENTS):
            school = "grant" if number >= 7 else "lincoln"
            year = self.graduation_years.get(key)
            self.world.sis.student(key, grade=self.grades[key], school=school, graduation_year=year)
        for key in machine.ADULTS[:3]:
            self.world.sis.teacher(key)
        for key in machine.PAPER[:3]:
            self.world.second.person(key, "staff")
        self.load(year_end=f"{self.turn:%m-%d}")
        self.run("sync", "whole", "whole")
        assert self.world.count() >= len(machine.STUDENTS) + 3

    # -- our own calendar

    @property
    def today(self) -> date:
        """The district's day; its clock shows UTC."""
        return self.world.now.date()

    def mode(self, day: date) -> str:
        found = {"normal"}
        if self.hand is not None and self.hand.covers(day):
            found.add(self.hand.mode)
        for window in self.calendar:
            silent = self.resumed is not None and window.start <= self.resumed <= day
            if window.covers(day) and not silent:
                found.add(window.mode)
        return next(m for m in ("paused", "additions_only", "normal") if m in found)

    def live(self) -> None:
        """Take in the days that have passed, and what today is now."""
        day = self.seen
        while day <= self.today:
            if self.mode(day) != "normal":
                if not self.owed or self.returned is not None:
                    self.pictures.append(self.students())
                self.paused_days.add(day)
                self.owed_days.add(day)
                self.owed, self.returned = True, None
            elif self.owed and self.returned is None:
                self.returned = day
            day += DAY
        self.seen = self.today

    def students(self) -> Places:
        found: Places = {}
        for user, school, grade in self.world.rows(
            "SELECT u.id, m.school_id, u.grade FROM users u JOIN memberships m ON m.user_id = u.id"
            " WHERE m.role = 'student' AND u.status <> 'archived' AND EXISTS"
            " (SELECT 1 FROM links l WHERE l.target_id = u.id AND l.held)"
        ):
            found.setdefault(user, []).append((school, grade))
        return found

    # -- the year goes round

    @rule(days=st.sampled_from([0.1, 1, 3, 8, 14]))
    def time_passes(self, days: float) -> None:
        self.live()
        self.world.later(days=days)
        self.live()

    @rule(days=ends, mode=modes)
    def the_district_is_paused(self, days: int | None, mode: str) -> None:
        self.live()
        until = None if days is None else self.today + days * DAY
        started = self.today
        pause.pause_district(
            self.database, SLUG, until=until, mode=mode, actor="admin", now=self.world.clock,  # type: ignore[arg-type]
        )  # fmt: skip
        if self.mode(started) == "normal":
            self.pictures.append(self.students())
            self.returned = None
        self.hand, self.owed = Window(started, until, mode), True
        self.live()

    @rule()
    def the_district_is_resumed(self) -> None:
        self.live()
        pause.resume_district(self.database, SLUG, actor="admin", now=self.world.clock)
        if self.mode(self.today) != "normal":
            if self.hand is None:
                self.paused_days.discard(self.today)
                self.owed_days.discard(self.today)
            self.hand, self.resumed = None, self.today
            assert self.mode(self.today) == "normal"
        self.live()

    @rule(ahead=st.sampled_from([0, 0, 1]), days=st.sampled_from([0, 2, 5]), mode=modes,
          every_year=st.booleans())  # fmt: skip
    def the_calendar_has_a_pause(self, ahead: int, days: int, mode: str, every_year: bool) -> None:
        self.live()
        start = self.today + ahead * DAY
        end = start + days * DAY
        if every_year and start.year == end.year and self.today < date(2027, 1, 1):
            words = (f"{start:%m-%d}", f"{end:%m-%d}")
        else:
            words = (start.isoformat(), end.isoformat())
        self.load(pause=[{"start": words[0], "end": words[1], "mode": mode}])
        self.calendar_changed = self.calendar_changed or bool(self.owed_days)
        self.calendar = [Window(start, end, mode)]
        self.live()

    @rule()
    def the_calendar_is_emptied(self) -> None:
        self.live()
        self.load(pause=[])
        self.calendar_changed = self.calendar_changed or bool(self.owed_days)
        self.calendar = []
        self.live()

    def load(self, **settings: Any) -> None:
        """Change the district file, and load it."""
        with Session(self.database.engine) as session:
            row = session.query(District).filter_by(slug=SLUG).one()
            wanted = DistrictSettings.model_validate({**row.settings, **settings})
            district_load.take_settings(row, wanted, self.world.clock())
            session.commit()

    @rule(policy=policies)
    def the_guard_is_set(self, policy: str) -> None:
        self.load(guard=policy)
        if policy != self.policy:
            self.late, self.held_by_guard, self.gone_at_return = set(), set(), set()
        self.policy = policy

    @rule(days=st.sampled_from([0, 0, 2]), fetches=st.sampled_from([1, 2]))
    def grace_is_changed(self, days: int, fetches: int) -> None:
        super().grace_is_changed(days, fetches)
        self.grace = (days, fetches)
        self.gone_at_return = set()

    @rule(state=st.sampled_from([None, "paused", "pending"]))
    def the_vendor_says_of_itself(self, state: str | None) -> None:
        self.vendor = state

    @rule(schools=whose, leavers=st.booleans())
    def the_new_year_begins(self, schools: str, leavers: bool) -> None:
        """Let students go one grade up, and the highest grade of each school leave."""
        highest: dict[str, str] = {}
        pupils = {
            key: (row["memberships"][0][1], row["fields"].get("grade", ""))
            for key, row in self.world.sis.people.items()
            if row["memberships"] and row["memberships"][0][0] == "student"
        }
        for school, grade in pupils.values():
            highest[school] = max(grade, highest.get(school, ""))
        for number, (key, (school, grade)) in enumerate(sorted(pupils.items())):
            if not grade or (schools == "lincoln" and school != "lincoln"):
                continue
            if grade == highest[school]:
                if leavers:
                    self.world.sis.without(key)
            elif schools != "some" or number % 3 == 0:
                self.world.sis.people[key]["fields"]["grade"] = f"{int(grade) + 1:02}"

    @rule(keys=st.lists(machine.people, min_size=1, max_size=2, unique=True))
    def a_few_leave(self, keys: list[str]) -> None:
        self.people_are_taken_off(keys)

    # -- what people do in it

    @rule(way=machine.ways, edits=machine.edits)
    def sync_in_a_pause_if_need_be(self, way: str, edits: list[Any]) -> None:
        self.edit(edits)
        self.run("sync", way, "whole", during_pause=True)

    @rule(asked=asking)
    def a_planned_plan_is_applied(self, asked: bool) -> None:
        plans = self.plans("planned", "approved")
        if plans:
            with self.retirements_noted(plans[-1]):
                self.attempt(lambda: self.world.apply(plans[-1], during_pause=asked))

    @rule()
    def the_standing_plan_is_approved_in_a_pause(self) -> None:
        if self.world.standing() is not None:
            self.attempt(lambda: self.world.approve(during_pause=True))

    @rule(edits=machine.edits, mode=modes)
    def the_pause_comes_between_planning_and_applying(self, edits: list[Any], mode: str) -> None:
        self.edit(edits)
        self.sync_with_a_pause_in_it(mode)

    def sync_with_a_pause_in_it(self, mode: str) -> None:
        planned = engine.make_plans

        def then_paused(*about: Any) -> Any:
            plans = planned(*about)
            self.the_district_is_paused(None, mode)
            paused.stop()
            return plans

        paused = mock.patch.object(engine, "make_plans", then_paused)
        paused.start()
        try:
            self.run("sync", "whole", "whole")
        finally:
            with suppress(RuntimeError):
                paused.stop()

    @rule(number=st.integers(0, 40))
    def a_hand_act_works_in_every_season(self, number: int) -> None:
        users = sorted(self.world.users("active"))
        if not users:
            return
        user, self.number = users[number % len(users)], self.number + 1
        self.dirty = True
        outcome = self.world.edit(user, given_name=f"By Hand {self.number}")
        assert outcome.status == "applied"
        assert self.world.users()[user]["given_name"] == f"By Hand {self.number}"

    # -- looking on

    def set_way(self, name: str, way: str) -> None:
        super().set_way(name, way)
        self.ways[name] = way
        if name == "sis" and self.vendor is not None:
            self.world.sis.how["state"] = self.vendor

    def in_trouble(self, name: str) -> bool:
        """Say whether a source's vendor says that it is in trouble."""
        return name == "sis" and self.vendor == "pending"

    def is_no_proof(self, name: str, way: str) -> bool:
        """As in ``Engine``; of whom a vendor in trouble leaves out nobody is asked: all stay."""
        return not (way == "left_out" and self.in_trouble(name)) and super().is_no_proof(name, way)

    def believed(self, name: str, way: str) -> str:
        """Of a vendor in trouble nothing is proven (S3)."""
        if self.in_trouble(name) and way in ("whole", "left_out"):
            return "says_so"
        return way

    def learn(self, name: str, way: str, *, crashed: bool = False) -> None:
        """Count the readings and days of people who are gone, besides what ``Engine`` learns."""
        before, newest = set(self.gone[name]), self.fetched.get(name)
        super().learn(name, way, crashed=crashed)
        for key in list(self.absent):
            if key[0] == name and key[1] not in self.gone[name]:
                del self.absent[key]
        if self.fetched.get(name) == newest:
            return
        for key in self.gone[name]:
            since, fetches = self.absent.get((name, key), (self.today, 0))
            if key not in before:
                since, fetches = self.today, 0
            if fetches == 0 or self.mode(self.today) == "normal":
                self.absent[name, key] = (since, fetches + 1)

    def look(self) -> Step:
        """See what is so before a run or an act."""
        self.live()
        world = self.world
        standing = world.standing()
        places: Places = {}
        for user, school in world.rows("SELECT user_id, school_id FROM memberships"):
            places.setdefault(user, []).append((school, None))
        held = world.rows(
            "SELECT s.name, r.external_id FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id WHERE l.held AND r.kind = 'user'"
        )
        return Step(
            self.mode(self.today),
            int(world.value("SELECT COALESCE(MAX(id), 0) FROM plans")),
            set(self.plans("applied")),
            standing,
            set() if standing is None else {target for _, target, _ in world.changes(standing)},
            places,
            self.students(),
            self.days_back(),
            self.owed or (self.vendor_owed and self.vendor != "paused"),
            {(name, key) for name, key in held},
        )

    def judge(self, kind: str, step: Step, outcome: Outcome | None, *, asked: bool) -> None:
        """Hold a run or an act against the rules of seasons."""
        paused_now = self.mode(self.today) == "paused" and step.mode != "paused"
        for plan in self.plans("applied"):
            if plan not in step.applied and self.of_a_source(plan):
                assert step.mode != "paused" or asked, f"P{plan} ran in a pause, unasked"
                assert not paused_now, f"P{plan} ran though a pause came before it was applied"
                if step.mode == "paused" and kind == "apply":
                    self.takes_only_the_explained(plan, step, None)
        if outcome is None or kind not in ("sync", "plan"):
            if outcome is None and kind == "sync":
                self.forget()  # who knows how far it came
            return
        if kind == "sync" and step.mode == "paused" and not asked:
            assert outcome.status == "paused", outcome
            assert not outcome.plan_ids
            return
        if outcome.status == "paused":
            assert paused_now, f"paused, though this is no day of a pause: {outcome}"
            return
        new = [plan for plan in self.all_plans() if plan > step.plans]
        free = [plan for plan in new if self.status(plan) in ("applied", "planned")]
        self.policy_of |= dict.fromkeys(new, self.policy)
        guarded = (step.mode == "normal" and step.owed) or (step.mode == "paused" and asked)
        if guarded and not self.pictures:
            self.pictures.append(self.students())
        if step.mode == "additions_only":
            for plan in free:
                self.only_adds(plan)
        whom = None if guarded else self.watched_still(step)
        for plan in free:
            self.takes_only_the_explained(plan, step, whom)
        if guarded and self.policy == "approve":
            for plan in free:
                assert not self.world.changes(plan), f"P{plan} went past guard = approve"
        self.those_of_late_schools_wait(new, step, guarded=guarded)
        if guarded and not self.late and self.year_turned(step) is False:
            assert outcome.status != "waiting", "they wait, and no school year has ended"
        self.grace_was_given(new, step)
        if kind == "sync":
            self.remember(step, outcome, new, guarded=guarded)

    # -- the rules, by our own lights

    def of_a_source(self, plan: int) -> bool:
        kind = self.world.value("SELECT kind FROM plans WHERE id = :p", p=plan)
        return kind in ("sync", "upload")

    def status(self, plan: int) -> str:
        return str(self.world.value("SELECT status FROM plans WHERE id = :p", p=plan))

    def all_plans(self) -> list[int]:
        rows = self.world.rows("SELECT id FROM plans WHERE kind = 'sync' ORDER BY id")
        return [row.id for row in rows]

    def taken_by(self, plan: int) -> dict[str, set[str]]:
        """Return user → the actions by which a plan takes something from them (L1)."""
        rows = self.world.rows(
            "SELECT target_id, action, before, after FROM changes WHERE plan_id = :p"
            " AND kind = 'user' ORDER BY seq",
            p=plan,
        )
        back = {row.target_id for row in rows if row.action in ("restore", "create")}
        taken: dict[str, set[str]] = {}
        for row in rows:
            if row.target_id in back:
                continue
            before, after = decoded(row.before) or {}, decoded(row.after) or {}
            roles = [{member[0] for member in at.get("memberships", ())} for at in (before, after)]
            lost = row.action == "update" and roles[0] - roles[1]
            # a hold that moved to another record of the same source was not taken away
            if lost or row.action in ("archive", "suspend", "leaves_scope"):
                taken.setdefault(row.target_id, set()).add(row.action)
        return taken

    def watched_still(self, step: Step) -> set[str]:
        """Return whom the guard still watches, though the return itself is over (S5, S6, S7)."""
        if self.policy != "explain":
            return set() if self.policy == "off" else self.held_by_guard & step.stood
        found = self.held_by_guard & step.stood
        if self.returned_on is not None:
            over = self.returned_on + (self.grace[0] + GRACE_TAKES) * DAY
            if self.today <= over:
                found |= self.gone_at_return
        for user, places in step.places.items():
            if any(school in self.late for school, _ in places):
                found.add(user)
        return found

    def takes_only_the_explained(self, plan: int, step: Step, whom: set[str] | None) -> None:
        if "off" in (self.policy, self.policy_of.get(plan)):
            return
        if self.world.value("SELECT approved FROM plans WHERE id = :p", p=plan):
            return
        for user, actions in self.taken_by(plan).items():
            if whom is None or user in whom:
                explained = actions == {"archive"} and self.is_explained(user)
                assert explained, f"P{plan} took {actions} from {user}, which nothing explains"

    def has_graduated(self, user: str) -> bool:
        """Say whether a student's graduation year is one that has ended (S8)."""
        rows = self.world.rows(
            "SELECT u.graduation_year FROM users u JOIN memberships m ON m.user_id = u.id"
            " WHERE u.id = :user AND m.role = 'student' AND u.graduation_year IS NOT NULL",
            user=user,
        )
        ended = self.turn.replace(year=self.today.year)
        year = self.today.year if ended < self.today else self.today.year - 1
        return any(row.graduation_year <= year for row in rows)

    def is_explained(self, user: str) -> bool:
        if self.has_graduated(user):
            return True
        for picture in self.pictures:
            shown = self.rolled(picture)
            for school, grade in picture.get(user, ()):
                highest, lower, up = shown.get(school, ("", 1, 0))
                if grade == highest and 2 * up >= lower:
                    return True
        return False

    def rolled(self, picture: Places) -> dict[str, tuple[str, int, int]]:
        """Return school → (its highest grade, students below, those of them one grade up)."""
        now = self.grades_now()
        schools: dict[str, list[tuple[str, str]]] = {}
        for user, places in picture.items():
            for school, grade in places:
                if grade:
                    schools.setdefault(school, []).append((user, grade))
        found = {}
        for school, pupils in schools.items():
            highest = max(grade for _, grade in pupils)
            lower = [(user, grade) for user, grade in pupils if grade < highest]
            up = sum(f"{int(grade) + 1:02}" in now.get(user, ()) for user, grade in lower)
            if lower:
                found[school] = (highest, len(lower), up)
        return found

    def grades_now(self) -> dict[str, set[str]]:
        """Return user → the grades that the directory or a roster gives them."""
        found: dict[str, set[str]] = {}
        for user, grade in self.world.rows(
            "SELECT id, grade FROM users WHERE status <> 'archived' AND grade IS NOT NULL"
        ):
            found.setdefault(user, set()).add(grade)
        for key, user in self.world.rows(
            "SELECT r.external_id, l.target_id FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id WHERE s.name = 'sis' AND r.kind = 'user'"
        ):
            row = self.world.sis.people.get(key)
            if row is not None and row["fields"].get("grade"):
                found.setdefault(user, set()).add(row["fields"]["grade"])
        return found

    def late_schools(self, step: Step) -> set[str]:
        """Return the schools that show the old year, whichever way one looks at it.

        A plan that somebody applies in the pause changes grades too, before they were fixed.
        """
        shown = [self.rolled(picture) for picture in (*self.pictures, step.pupils)]
        if not shown:
            return set()
        return {
            school
            for school in set.intersection(*(set(one) for one in shown))
            if all(2 * one[school][2] < one[school][1] for one in shown)
        }

    def days_back(self) -> int:
        """Return which day after the end of the pause this is; 0 in it."""
        return 0 if self.returned is None else (self.today - self.returned).days + 1

    def days_waited(self, step: Step) -> int:
        """Return the same day, counted from the end of the vendor's pause if that ended later."""
        back = self.vendor_back
        if back is None or self.vendor == "paused" or step.mode != "normal":
            return step.days_back
        later = self.returned is None or self.returned <= back
        return max(step.days_back, (self.today - back).days + 1 if later else 0)

    def those_of_late_schools_wait(self, new: Sequence[int], step: Step, *, guarded: bool) -> None:
        """Before the 14th day nobody of a late school is in any plan (S6)."""
        if self.policy != "explain" or self.days_waited(step) >= WAITING_DAYS:
            return
        if guarded and not self.late and not self.year_turned(step):
            return  # no rollover is expected
        late = self.late_schools(step) if guarded else self.late & self.late_schools(step)
        for plan in new:
            for user in self.taken_by(plan):
                places = {school for school, _ in step.places.get(user, ())}
                if user in step.stood or not places or not places <= late:
                    continue
                assert user in self.held_by_guard, (
                    f"P{plan} has {user}, though their school still shows the old year"
                )

    def year_turned(self, step: Step) -> bool | None:
        """Say whether the pause spans the turn of the school year (S6); None: nobody can say."""
        if step.mode != "normal" or self.calendar_changed:
            return None
        days = self.owed_days | {day - DAY for day in self.owed_days}
        return any(f"{day:%m-%d}" == f"{self.turn:%m-%d}" for day in days)

    def only_adds(self, plan: int) -> None:
        assert not self.taken_by(plan), f"P{plan} takes something away in additions only"
        actions: dict[str, set[str]] = {}
        for action, user, _ in self.world.changes(plan):
            actions.setdefault(user, set()).add(action)
        for user, done in actions.items():
            adds = done & ADDING and done <= ADDING | {"update"}
            assert adds, f"P{plan}: {done} of {user}, in additions only"

    def grace_was_given(self, new: Sequence[int], step: Step) -> None:
        """Nobody leaves before their days and fetches, and a pause has neither (S7)."""
        days, fetches = self.grace
        read = {name for name, way in self.ways.items() if way == "whole"}
        keys: dict[str, list[tuple[str, str]]] = {}
        for name, key, user in self.world.rows(
            "SELECT s.name, r.external_id, l.target_id FROM links l JOIN records r"
            " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id WHERE r.kind = 'user'"
        ):
            keys.setdefault(user, []).append((name, key))
        for plan in new:
            for user, actions in self.taken_by(plan).items():
                if "archive" not in actions or user in step.stood:
                    continue
                for about in keys.get(user, ()):
                    if about not in step.held:
                        continue
                    since, read_before = self.absent.get(about, (self.today, 0))
                    stood_still = sum(since < day <= self.today for day in self.paused_days)
                    passed = (self.today - since).days - stood_still
                    assert passed >= days, f"P{plan}: {about} left after {passed} days"
                    this_one = int(about[0] in read)
                    assert read_before + this_one >= fetches, f"P{plan}: {about} left too soon"

    # -- what comes of it

    def remember(self, step: Step, outcome: Outcome, new: Sequence[int], *, guarded: bool) -> None:
        read = outcome.certificates
        complete = set(read) == set(self.sources()) and all(c["complete"] for c in read.values())
        standing = self.world.standing()
        stands = set() if standing is None else {t for _, t, _ in self.world.changes(standing)}
        if "sis" in read and self.vendor == "paused":
            self.vendor_owed, self.vendor_back = True, self.today + DAY
            first = self.vendor_first = self.vendor_first or self.today
            self.owed_days |= {first + n * DAY for n in range((self.today - first).days + 1)}
            self.pictures.append(self.students())
        if outcome.status == "drifted":
            return
        if step.mode == "paused" or not guarded:
            self.held_by_guard &= stands
        if guarded and standing in new:
            self.held_by_guard |= set(self.taken_by(standing or 0)) - step.stood
            self.held_by_guard &= stands
        if step.mode != "normal" or not complete:
            return
        if guarded:
            self.owed = False
            if self.vendor != "paused":
                self.vendor_owed, self.vendor_first = False, None
            turned = self.policy == "explain" and self.year_turned(step)
            self.late = self.late_schools(step) if turned else set()
            self.owed_days, self.calendar_changed = set(), False
            if self.vendor == "paused":
                self.owed_days = {self.today}
            if self.grace != (0, 1):
                self.returned_on = self.today
                self.gone_at_return = self.in_no_roster()
        else:
            self.late &= self.late_schools(step)
        if step.days_back >= WAITING_DAYS + 2:
            assert outcome.status != "waiting", "they still wait after 14 days"
        if self.days_waited(step) >= WAITING_DAYS:
            self.late = set()
        if not self.late and not self.owed and self.vendor != "paused":
            over = self.returned_on is None or self.grace == (0, 1)
            self.pictures = [] if over else self.pictures[-1:]

    def in_no_roster(self) -> set[str]:
        """Return the users of whom no roster has a row, now that all were read completely."""
        gone: dict[str, bool] = {}
        for name, key, user in self.world.rows(
            "SELECT s.name, r.external_id, l.target_id FROM links l JOIN records r"
            " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id WHERE r.kind = 'user'"
        ):
            gone[user] = gone.get(user, True) and key not in self.world.rosters[name].people
        return {user for user, is_gone in gone.items() if is_gone}

    def limits_of(self, plan: int, start: datetime) -> None:
        """Leave out the plans after which somebody was gone twice: the first one counts no more."""
        twice = self.world.value(
            "SELECT t.target_id FROM takings t JOIN plans p ON p.id = t.plan_id"
            " WHERE p.status = 'applied' AND p.id <= :plan AND t.what IN ('archive', 'suspend')"
            " GROUP BY t.target_id HAVING COUNT(DISTINCT t.plan_id) > 1 LIMIT 1",
            plan=plan,
        )
        if twice is None:
            super().limits_of(plan, start)

    def forget(self) -> None:
        """Expect nothing of the guard any more: a run crashed on the way."""
        self.owed = self.vendor_owed = False
        self.owed_days, self.calendar_changed, self.vendor_first = set(), True, None
        self.late, self.held_by_guard, self.gone_at_return = set(), set(), set()

    def sources(self) -> list[str]:
        return [row.name for row in self.world.rows("SELECT name FROM sources WHERE configured")]

    def everything_approved(self) -> None:
        """End every pause, and let the limits alone judge; then as in ``Engine``."""
        self.vendor = None
        self.the_calendar_is_emptied()
        self.the_district_is_resumed()
        self.the_guard_is_set("off")
        self.grace = (0, 1)
        for number, row in enumerate(self.world.second.people.values()):
            row["fields"]["username"] = f"paper{number}"  # the guard may have held them, too
        super().everything_approved()
