"""The engine as a state machine: whatever happens to a district, the ten rules hold.

Vendors edit rosters, readings end early, admins add and lock, plans are approved late, runs crash
between any two statements, days pass. After each step the directory must be what the ledger says,
and whoever was archived must have been proven to be gone.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import event

from core.database import Database, open_database
from core.errors import UsageError
from core.models import PROFILE_FIELDS
from core.tables import utc_text
from sync import ledger
from tests.engine import ledger_model
from tests.engine.kit import World, decoded, new_world

STUDENTS = [f"s{number}" for number in range(9)]
ADULTS = [f"t{number}" for number in range(4)]
PAPER = [f"x{number}" for number in range(5)]

ways = st.sampled_from(
    ["whole"] * 8 + ["cut", "at_end", "says_so", "refused", "empty", "short", "header"]
)
people = st.sampled_from(STUDENTS + ADULTS)
papers = st.sampled_from(PAPER)
emails = st.sampled_from([None, None, "ana@a.example", "ana@b.example", "bo@a.example"])
families = st.sampled_from(["Own", "Own", "Lopez", "Smith"])
grades = st.sampled_from(["05", "06", "07"])
roles = st.sampled_from(["student", "student", "teacher", "staff"])
persons = st.sampled_from([None, None, None, "master:1", "master:2"])


schools = st.sampled_from(["lincoln", "grant", None])
written = st.tuples(
    st.just("a_row_is_written"), people, roles, schools, families, emails, grades,
    st.booleans(), persons,
)  # fmt: skip
edits = st.lists(
    st.one_of(
        written,
        written,
        st.tuples(
            st.just("people_are_taken_off"), st.lists(people, min_size=1, max_size=4, unique=True)
        ),
        st.tuples(st.just("a_row_of_the_file_is_written"), papers, emails, families),
        st.tuples(st.just("somebody_is_taken_off_the_file"), papers),
        st.tuples(
            st.just("a_row_is_torn_or_mended"),
            people,
            st.sampled_from(["broken", "broken", "keyless", "deleted"]),
            st.booleans(),
        ),
        st.tuples(st.just("a_school_changes"), st.sampled_from(["rename", "close", "open"])),
        st.tuples(st.just("the_order_changes")),
        st.tuples(st.just("the_torn_are_mended")),
    ),
    max_size=5,
)
"""What vendors do between two runs: the name of a method of ``Engine`` and its arguments."""


class Crash(Exception):
    """The program ends here, as far as the database can tell."""


@contextmanager
def crash_after(database: Database, statements: int) -> Iterator[list[int]]:
    """Raise ``Crash`` before the n-th statement that this block sends to the database."""
    left = [statements]

    def count(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Crash

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        yield left
    except Crash:
        pass
    finally:
        event.remove(database.engine, "before_cursor_execute", count)


class Engine(RuleBasedStateMachine):
    """A district, what happens to it, and what must be true whatever happens."""

    template: ClassVar[Path]
    """A migrated, empty SQLite database, to be copied."""
    open_new: ClassVar[Callable[[Path], Database]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="engine"))
        self.database = type(self).open_new(self.folder)
        self.world = new_world(
            self.database, self.folder, sources={"sis": "board", "second": "board_file"}
        )
        self.world.second.school("lincoln", "Lincoln High", nces_id="1")
        self.world.sis.school("lincoln", "Lincoln High", nces_id="1")
        self.world.sis.school("grant", "Grant Middle")
        self.gone: dict[str, set[str]] = {"sis": set(), "second": set()}
        """Source → keys that its last complete reading has proven to be gone."""
        self.ids: dict[tuple[str, str], str] = {}
        self.fetched: dict[str, int] = {}
        self.seen_plan = 0
        self.until = ""
        self.history: list[tuple[datetime, Counter[ledger_model.Group]]] = []
        self.dirty = True

    def teardown(self) -> None:
        try:
            if self.ids:
                self.everything_approved()
        finally:
            self.database.engine.dispose()
            shutil.rmtree(self.folder, ignore_errors=True)

    @initialize()
    def a_first_roster(self) -> None:
        for number, key in enumerate(STUDENTS):
            school = "grant" if number >= 7 else "lincoln"
            self.world.sis.student(key, grade="05", school=school)
        for key in ADULTS[:3]:
            self.world.sis.teacher(key)
        for key in PAPER[:3]:
            self.world.second.person(key, "staff")
        self.run("sync", "whole", "whole")
        assert self.world.count() == len(STUDENTS) + 6

    # -- what vendors do

    def edit(self, edits: list[tuple[Any, ...]]) -> None:
        """Let vendors edit their rosters."""
        for name, *about in edits:
            getattr(self, name)(*about)

    def a_row_is_written(
        self, key: str, role: str, school: str | None, family: str, email: str | None,
        grade: str, enabled: bool, person: str | None,
    ) -> None:  # fmt: skip
        name = f"Of {key}" if family == "Own" else family
        self.world.sis.person(
            key, role, school=school, family_name=name, email=email, grade=grade,
            enabled=enabled or key < "s6", person_key=person,
        )  # fmt: skip

    def a_row_of_the_file_is_written(self, key: str, email: str | None, family: str) -> None:
        name = f"Of {key}" if family == "Own" else family
        self.world.second.person(key, "staff", email=email, family_name=name)

    def people_are_taken_off(self, keys: list[str]) -> None:
        self.world.sis.without(*(key for key in keys if key in self.world.sis.people))

    def somebody_is_taken_off_the_file(self, key: str) -> None:
        if key in self.world.second.people:
            self.world.second.without(key)

    def a_row_is_torn_or_mended(self, key: str, fact: str, on: bool) -> None:
        if key in self.world.sis.people:
            self.world.sis.row(key, **{fact: on})

    def a_school_changes(self, act: str) -> None:
        schools = self.world.sis.schools
        if act == "close":
            schools.pop("grant", None)
        else:
            self.world.sis.school("grant", "Grant Middle" if act == "open" else "Grant School")

    @rule(roles=st.sampled_from([["student"], ["student", "teacher", "staff", "admin"]]))
    def the_source_is_narrowed_or_widened(self, roles: list[str]) -> None:
        self.world.reconfigure(roles=roles)

    @rule(days=st.sampled_from([0, 0, 2]), fetches=st.sampled_from([1, 2]))
    def grace_is_changed(self, days: int, fetches: int) -> None:
        self.world.settle(grace={"days": days, "fetches": fetches})

    def the_order_changes(self) -> None:
        self.world.sis.reorder()

    def the_torn_are_mended(self) -> None:
        for row in self.world.sis.people.values():
            for fact in ("broken", "keyless", "deleted"):
                row.pop(fact, None)

    # -- what the engine does

    @rule(way=ways, second=st.sampled_from(["whole", "whole", "whole", "says_so", "refused"]),
          full=st.booleans(), edits=edits)  # fmt: skip
    def sync(self, way: str, second: str, full: bool, edits: list[Any]) -> None:
        self.edit(edits)
        self.run("sync", way, second, full=full)

    @rule(edits=edits)
    def sync_whole(self, edits: list[Any]) -> None:
        self.edit(edits)
        self.run("sync", "whole", "whole")

    @rule(way=ways, edits=edits)
    def sync_one_source(self, way: str, edits: list[Any]) -> None:
        self.edit(edits)
        self.run("sync", way, None, sources=["sis"])

    @rule(way=ways, full=st.booleans(), edits=edits)
    def a_dry_run(self, way: str, full: bool, edits: list[Any]) -> None:
        self.edit(edits)
        before = self.world.dump()
        self.run("plan", way, "whole", full=full)
        assert self.world.dump() == before, "a dry run changed the directory"

    @rule(way=ways, statements=st.integers(1, 260), edits=edits)
    def sync_crashes(self, way: str, statements: int, edits: list[Any]) -> None:
        self.edit(edits)
        self.set_way("sis", way)
        self.set_way("second", "whole")
        with crash_after(self.database, statements):
            self.world.sync()
        self.learn("sis", way)
        self.learn("second", "whole")
        self.dirty = True

    @rule(days=st.sampled_from([0.1, 1, 3, 8]))
    def time_passes(self, days: float) -> None:
        self.world.later(days=days)

    # -- what people decide

    @rule(back=st.integers(0, 3))
    def a_plan_is_approved(self, back: int) -> None:
        plans = self.plans("held", "superseded", "drifted", "expired", "planned", "applied")
        if plans:
            self.attempt(lambda: self.world.approve(plans[-1 - min(back, len(plans) - 1)]))

    @precondition(lambda self: self.world.standing() is not None)
    @rule(statements=st.integers(0, 60))
    def the_standing_plan_is_approved(self, statements: int) -> None:
        with crash_after(self.database, statements if statements > 30 else 0):
            self.attempt(self.world.approve)

    @rule(back=st.integers(0, 3))
    def a_plan_is_applied(self, back: int) -> None:
        plans = self.plans("planned", "held", "approved", "superseded")
        if plans:
            self.attempt(lambda: self.world.apply(plans[-1 - min(back, len(plans) - 1)]))

    @precondition(lambda self: self.world.standing() is not None)
    @rule()
    def the_standing_plan_is_rejected(self) -> None:
        self.attempt(lambda: self.world.reject(self.world.standing() or 0))

    @precondition(lambda self: self.world.standing() is not None)
    @rule()
    def the_standing_plan_is_released_for_later(self) -> None:
        self.attempt(lambda: self.world.approve(apply=False))

    @rule(number=st.integers(0, 3), link=st.booleans())
    def a_conflict_is_decided(self, number: int, link: bool) -> None:
        found = self.world.conflicts()
        if found:
            conflict, _, _, candidates = found[number % len(found)]
            target = candidates[0] if link else None
            self.attempt(lambda: self.world.resolve(conflict, link=target, new=not link))

    @rule(role=st.sampled_from(["staff", "teacher"]), email=emails)
    def somebody_is_added_by_hand(self, role: str, email: str | None) -> None:
        self.attempt(lambda: self.world.add(role, **({"email": email} if email else {})))

    @rule(
        number=st.integers(0, 40),
        act=st.sampled_from(
            ["edit", "role", "archive", "keep", "restore", "restore!", "protect", "unprotect",
             "lock", "unlock"]
        ),
    )  # fmt: skip
    def somebody_is_edited_by_hand(self, number: int, act: str) -> None:
        users = sorted(self.world.users())
        user, world = users[number % len(users)], self.world
        acts: dict[str, Callable[[], object]] = {
            "edit": lambda: world.edit(user, given_name="Kim"),
            "role": lambda: world.edit(user, role="staff"),
            "archive": lambda: world.archive(user),
            "keep": lambda: world.archive(user, keep=True),
            "restore": lambda: world.restore(user),
            "restore!": lambda: world.restore(user, protect=False),
            "protect": lambda: world.protect(user),
            "unprotect": lambda: world.protect(user, False),
            "lock": lambda: world.lock(user, "grade"),
            "unlock": lambda: world.lock(user, "grade", "role", locked=False),
        }
        self.attempt(acts[act])

    # -- how

    def run(self, kind: str, way: str, second: str | None, **options: Any) -> None:
        """Run a sync or a dry run over rosters that are read this way."""
        self.set_way("sis", way)
        if second is not None:
            self.set_way("second", second)
        outcome = getattr(self.world, kind)(**options)
        read = {"sis": way, "second": second}
        for name, certificate in outcome.certificates.items():
            if read[name] != "whole":
                assert not certificate["complete"], (name, read[name], certificate)
        self.learn("sis", way)
        if second is not None:
            self.learn("second", second)
        self.dirty = True

    def set_way(self, name: str, way: str) -> None:
        roster = self.world.rosters[name]
        count = len(roster.people)
        hows: dict[str, dict[str, Any]] = {
            "whole": {},
            "cut": {"ends_after": count // 2},
            "at_end": {"fails": "at_end"},
            "says_so": {"complete": False},
            "refused": {"fails": "refused"},
            "short": {"declared": {"people": count + 1}},
            "empty": {"people": []},
            "header": {"people": [], "schools": []},
        }
        roster.reads(**hows[way])

    def learn(self, name: str, way: str) -> None:
        """Note what a reading has proven, by our own lights."""
        rows = list(self.world.rosters[name].people.items())
        newest = self.world.rows(
            "SELECT f.id, f.complete FROM fetches f JOIN sources s ON s.id = f.source_id"
            " WHERE s.name = :name ORDER BY f.id DESC LIMIT 1",
            name=name,
        )
        if not newest or newest[0].id <= self.fetched.get(name, 0):
            return  # it crashed before it was kept
        self.fetched[name] = newest[0].id
        if way == "cut":
            rows = rows[: len(rows) // 2]
        elif way in ("refused", "empty", "header") or (name == "second" and way != "whole"):
            return
        met = {
            key for key, row in rows
            if not (row.get("deleted") or row.get("broken") or row.get("keyless"))
        }  # fmt: skip
        self.gone[name] -= met
        if way != "whole" or not newest[0].complete:
            return
        deleted = {
            key for key, row in rows
            if row.get("deleted") and not row.get("broken") and not row.get("keyless")
        }  # fmt: skip
        self.gone[name] |= deleted
        if not any(row.get("keyless") for _, row in rows):
            self.gone[name] |= self.known(name) - {key for key, _ in rows}

    def known(self, name: str) -> set[str]:
        rows = self.world.rows(
            "SELECT r.external_id FROM records r JOIN sources s ON s.id = r.source_id"
            " WHERE s.name = :name AND r.kind = 'user'",
            name=name,
        )
        return {row[0] for row in rows}

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something that may be refused with a sentence, but never fails otherwise."""
        self.dirty = True
        with suppress(UsageError):
            act()

    def plans(self, *statuses: str) -> list[int]:
        return [
            row.id
            for row in self.world.rows("SELECT id, status FROM plans ORDER BY id")
            if row.status in statuses
        ]

    # -- what must be true

    @invariant()
    def the_rules_hold(self) -> None:
        if not self.dirty:
            return
        self.dirty = False
        with self.database.read() as connection:
            told, there = ledger_model.replay(connection), ledger_model.stored(connection)
            assert not ledger_model.differences(told, there), ledger_model.differences(told, there)
            counted = ledger_model.census(connection)
            kept = ledger_model.kept_census(connection)
            assert counted == kept, (counted - kept, kept - counted)
        assert ledger.verify(self.database)["intact"], ledger.verify(self.database)
        self.plans_are_in_order()
        self.ids_are_kept(there)
        self.nobody_left_without_proof(there)
        self.limits_were_kept(counted)
        self.history.append((self.world.now, counted))

    def plans_are_in_order(self) -> None:
        rows = self.world.rows("SELECT id, status, standing FROM plans")
        standing = [row.id for row in rows if row.standing]
        assert len(standing) <= 1
        for row in rows:
            assert bool(row.standing) <= (row.status in ("held", "approved")), tuple(row)
            assert row.status != "held" or row.standing, tuple(row)

    def ids_are_kept(self, there: ledger_model.Told) -> None:
        rows = self.world.rows(
            "SELECT s.name, r.external_id, l.target_id FROM links l JOIN records r"
            " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id WHERE r.kind = 'user'"
        )
        for name, key, user in rows:
            assert self.ids.setdefault((name, key), user) == user, (name, key)
            assert user in there.users
        assert len(rows) == len({(name, key) for name, key, _ in rows})

    def nobody_left_without_proof(self, there: ledger_model.Told) -> None:
        """Look at whom plans of sources have archived since the last look (rules 3 and 5)."""
        rows = self.world.rows(
            "SELECT c.target_id, c.plan_id, c.action, p.approved FROM changes c"
            " JOIN plans p ON p.id = c.plan_id"
            " WHERE p.status = 'applied' AND p.kind = 'sync' AND c.kind = 'user'"
            " AND c.action IN ('archive', 'leaves_scope') AND p.applied_at > :since",
            since=self.checked_until(),
        )
        for user, plan, action, approved in rows:
            assert not there.users[user]["protected"], f"P{plan} archived the protected {user}"
            if action == "leaves_scope":  # always held, says L8: a person has approved it
                assert approved, f"P{plan} let {user} leave the scope by itself"
                continue
            keys = [about for about, target in self.ids.items() if target == user]
            assert keys, f"P{plan} archived {user}, whom no source ever held"
            for name, key in keys:
                assert key in self.gone[name], f"P{plan} archived {user}; {name} has {key} yet"

    def checked_until(self) -> str:
        before, self.until = self.until, utc_text(self.world.now)
        return before

    def limits_were_kept(self, counted: Counter[ledger_model.Group]) -> None:
        """Count anew what each newly applied, unapproved plan of sources took (L1 to L4)."""
        rows = self.world.rows(
            "SELECT id, applied_at FROM plans WHERE status = 'applied' AND kind = 'sync'"
            " AND NOT approved AND id > :seen ORDER BY id",
            seen=self.seen_plan,
        )
        for plan, applied_at in rows:
            self.every_taking_is_written_down(plan)
            start = datetime.fromisoformat(applied_at) - timedelta(days=7)
            self.limits_of(plan, start)
        self.seen_plan = max([self.seen_plan, *(plan for plan, _ in rows)])

    def every_taking_is_written_down(self, plan: int) -> None:
        taken = {
            (row.target_id, row.what)
            for row in self.world.rows("SELECT * FROM takings WHERE plan_id = :plan", plan=plan)
        }
        for action, target, _ in self.world.changes(plan):
            if action in ("archive", "suspend"):
                assert (target, action) in taken, f"P{plan}: {action} of {target} is not counted"

    def limits_of(self, plan: int, start: datetime) -> None:
        groups: dict[ledger_model.Group, set[str]] = {}
        now = {
            row.target_id
            for row in self.world.rows(
                "SELECT target_id FROM takings WHERE plan_id = :plan", plan=plan
            )
        }
        rows = self.world.rows(
            "SELECT t.*, u.status AS now_status, p.id AS pid FROM takings t JOIN plans p"
            " ON p.id = t.plan_id JOIN users u ON u.id = t.target_id WHERE p.status = 'applied'"
            " AND NOT p.approved AND NOT t.explained AND p.id <= :plan AND p.applied_at > :start"
            " AND t.what IN ('archive', 'suspend')",
            plan=plan,
            start=start.isoformat(timespec="microseconds"),
        )
        for row in rows:
            back = row.now_status != {"archive": "archived", "suspend": "suspended"}[row.what]
            if back:
                continue
            for group in (
                (row.source_id, "school_role", row.school_id, row.role),
                (row.source_id, "district_role", "", row.role),
                (row.source_id, "district", "", ""),
            ):
                groups.setdefault(group, set()).add(row.target_id)
        before = self.history[-1][1] if self.history else Counter()
        then = next((c for at, c in reversed(self.history) if at <= start), Counter())
        for group, found in groups.items():
            if not found & now:
                continue
            n = max(before[group], then[group])
            if group[1] == "district":
                allowed = max(10, n * 5 // 100)
            else:
                allowed = max(3, n * 10 // 100)
                allowed = min(allowed, n // 2) if n >= 2 else allowed
            assert len(found) <= allowed, f"P{plan} took {len(found)} of {n} in {group}"

    # -- the end of the story

    def everything_approved(self) -> None:
        """A complete full sync with everything approved makes the directory equal the roster."""
        world = self.world
        self.the_torn_are_mended()
        world.reconfigure(roles=["student", "teacher", "staff", "admin"])
        world.settle(grace={"days": 0, "fetches": 1})
        world.sis.school("grant", "Grant Middle").student("s0", email=None).person("x9", "staff")
        world.second.person("x0", "staff")
        for number, key in enumerate((*world.sis.people, "x0")):
            roster = world.sis if key in world.sis.people else world.second
            row = roster.people[key]
            row["fields"]["username"] = f"end{number}"  # news of everybody: no rejection holds
        for user in world.users():
            world.lock(user, "middle_name")
        for _ in range(12):
            self.run("sync", "whole", "whole", full=True)
            moved = False
            for conflict, _, _, _ in world.conflicts():
                world.resolve(conflict, new=True)
                moved = True
            if world.standing() is not None:
                outcome = world.approve()
                assert outcome.status in ("applied", "drifted"), outcome
                moved = True
            self.the_rules_hold()
            if not moved and not self.waiting():
                break
        assert self.world.sync(full=True).status == "nothing_to_do"
        self.directory_equals_rosters()

    def of_first(self, user: str) -> list[dict[str, Any]]:
        """Return a user's rows in the first source that shares them: it decides."""
        for name, roster in self.world.rosters.items():
            mine = [row for key, row in roster.people.items() if self.ids[name, key] == user]
            if mine:
                return mine
        return []

    def waiting(self) -> bool:
        return bool(self.world.value("SELECT COUNT(*) FROM records WHERE open"))

    def directory_equals_rosters(self) -> None:
        users = self.world.users()
        wanted: dict[str, list[dict[str, Any]]] = {}
        for name, roster in self.world.rosters.items():
            for key, row in sorted(roster.people.items()):
                assert (name, key) in self.ids, f"{name}:{key} is nobody"
                wanted.setdefault(self.ids[name, key], []).append(row)
        held = set(self.ids.values())
        for user_id, user in users.items():
            rows = wanted.get(user_id)
            if rows is None:
                expected = {"archived"}
                if user["protected"] or user_id not in held:
                    expected = {"active", "suspended", "archived"}
                assert user["status"] in expected, (user_id, user["status"])
                continue
            if user["kept_archived"]:
                assert user["status"] == "archived"
                continue
            enabled = any(row["fields"].get("enabled", True) for row in self.of_first(user_id))
            assert user["status"] == ("active" if enabled else "suspended"), user_id
            for name in PROFILE_FIELDS:
                said = next((r["fields"][name] for r in rows if name in r["fields"]), None)
                if name not in user["locked_fields"]:
                    assert user[name] == said, (user_id, name, user[name], said)
            if "role" not in user["locked_fields"]:
                said_roles = {role for r in rows for role, _ in r["memberships"]}
                assert {role for role, _, _ in user["memberships"]} == said_roles, user_id


def same_plan_without_shortcuts(world: World, folder: Path) -> tuple[list[Any], list[Any]]:
    """Return the changes of a dry run as things are, and of one that parses everything anew."""
    found = []
    for shortcuts in (True, False):
        copy = folder / f"copy-{shortcuts}.db"
        with world.database.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.execute(f"VACUUM INTO '{copy}'")
        other = World(open_database(f"sqlite:///{copy}"), world.rosters, world.now)
        if not shortcuts:
            other.forget_snapshot()
        outcome = other.plan()
        found.append(
            sorted(
                (
                    row.action, row.target_id, row.reason, row.kind, str(decoded(row.before)),
                    str(decoded(row.after)), row.status,
                )
                for plan in outcome.plan_ids
                for row in other.rows(
                    "SELECT c.*, p.status FROM changes c JOIN plans p ON p.id = c.plan_id"
                    " WHERE p.id = :plan",
                    plan=plan,
                )
            )
        )  # fmt: skip
        other.database.engine.dispose()
        for leftover in folder.glob(f"copy-{shortcuts}.db*"):
            leftover.unlink()
    return found[0], found[1]
