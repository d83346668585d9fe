"""What must be true, whatever happened: the rules of the design, each told a second time.

``Truths`` is the third part of the state machine. After each step it looks at the plans that were
made and those that were applied since its last look, and judges them by its own records: the
directory as it was, the rosters as vendors served them, the ledger. It never asks the code that it
judges.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from hypothesis.stateful import invariant

from core.storage.watch import count_outside_edits
from sync.ledger import chain
from sync.ledger.directory import people_apart, schools_apart
from tests.kit.world import decoded
from tests.sync.machine import ledger_model
from tests.sync.machine.machine_decisions import Decisions
from tests.sync.machine.machine_rosters import marks

WINDOW = timedelta(days=7)
OVER = ("applied", "rejected", "superseded", "expired", "drifted")
"""Where a plan's story ends."""


@dataclass
class Look:
    """What was there when the machine last looked."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: dict[int, tuple[str, bool]] = field(default_factory=dict)
    plans: dict[int, str] = field(default_factory=dict)
    """Plan → status."""
    run: int = 0
    named: set[str] = field(default_factory=set)
    """Whom open conflicts name."""
    asked: set[str] = field(default_factory=set)
    """Whose ids may be somebody else's now."""
    established: bool = False
    versions: dict[int, int] = field(default_factory=dict)
    """Record → version."""


@dataclass
class Made:
    """What a plan was made of."""

    step: int
    versions: dict[int, int]
    fresh: datetime
    """When a run last found the plan to be right."""


class Truths(Decisions):
    """The rules."""

    verified: ClassVar[bool] = True
    """Whether the ledger is replayed and the chain verified after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.last = Look()
        self.made: dict[int, Made] = {}
        self.touched: dict[str, int] = {}
        """User → the step in which they were last changed."""
        self.history: list[tuple[datetime, Counter[ledger_model.Group]]] = []
        self.refused: set[str] = set()
        """Changes that somebody rejected, to the letter."""
        self.ending = False

    @invariant()
    def the_rules_hold(self) -> None:
        if not self.dirty:
            return
        self.dirty = False
        self.step += 1
        with self.database.read() as connection:
            there = ledger_model.stored(connection)
            counted = ledger_model.census(connection)
            if self.verified:
                told = ledger_model.replay(connection)
                apart = ledger_model.differences(told, there)
                assert not apart, apart
                kept = ledger_model.kept_census(connection)
                assert counted == kept, (counted - kept, kept - counted)
                beside = [
                    one.as_json()
                    for one in (*people_apart(connection, 1), *schools_apart(connection, 1))
                ]
                assert not beside, beside
                assert count_outside_edits(connection, 1) == 0
        if self.verified:
            assert chain.verify(self.database)["intact"], chain.verify(self.database)
        now = self.now_there(there)
        rows = self.world.rows("SELECT * FROM plans WHERE status <> 'draft' ORDER BY id")
        plans = {row.id: row for row in rows}  # what a crash left of a draft gives its id away
        self.plans_are_in_order(plans)
        planned = self.world.value(
            "SELECT COUNT(*) FROM runs WHERE id > :run AND kind IN ('sync', 'plan')"
            " AND status NOT IN ('paused', 'failed')",
            run=self.last.run,
        )
        for plan in plans.values():
            before = self.last.plans.get(plan.id)
            if before is None and plan.run_id > self.last.run and plan.kind == "sync":
                self.a_run_made(plan, now)
            made = self.made.setdefault(plan.id, Made(self.step, now.versions, self.world.now))
            if plan.standing and planned:
                made.fresh = self.world.now
            if plan.status == "applied" and before != "applied":
                self.it_was_applied(plan, before)
            if plan.status == "rejected" and before != "rejected":
                self.refused |= {letter(change) for change in self.changes_of(plan.id)}
        self.together(plans)
        self.ids_are_kept(there)
        assert not self.world.rows(_OPEN_WITHOUT_RECORD)
        applied = []
        for plan in plans.values():
            if plan.status == "applied" and self.last.plans.get(plan.id) != "applied":
                applied.append(datetime.fromisoformat(plan.applied_at))
                for change in self.changes_of(plan.id):
                    self.touched[change.target_id] = self.step
        now.plans = {plan.id: plan.status for plan in plans.values()}
        self.last = now
        if applied:
            self.history.append((max(applied), counted))

    def together(self, plans: dict[int, Any]) -> None:
        """Judge the plans that a run of this step has made, as the parts of one whole."""

    def now_there(self, there: ledger_model.Told) -> Look:
        """Return what there is now, for the next look."""
        versions = dict(self.world.rows("SELECT id, version FROM records WHERE kind = 'user'"))
        return Look(
            there.users,
            there.links,
            run=self.world.value("SELECT COALESCE(MAX(id), 0) FROM runs"),
            named=self.named_in_conflicts(),
            asked=self.asked_about(),
            established=bool(self.world.value("SELECT COUNT(*) FROM sources WHERE established")),
            versions=versions,
        )

    def changes_of(self, plan: int) -> list[Any]:
        """Return the changes of a plan about people, with the source and key of their records."""
        return self.world.rows(
            "SELECT c.*, s.name AS source, r.external_id AS key FROM changes c"
            " LEFT JOIN records r ON r.id = c.record_id LEFT JOIN sources s ON s.id = r.source_id"
            " WHERE c.plan_id = :plan AND c.kind = 'user' ORDER BY c.seq",
            plan=plan,
        )

    def keys_of(self, user: str) -> list[tuple[str, str]]:
        """Return (source, key) of every record that was linked to somebody at the last look."""
        return [about for about, target in self.ids.items() if target == user]

    # -- plans

    def plans_are_in_order(self, plans: dict[int, Any]) -> None:
        assert sum(bool(plan.standing) for plan in plans.values()) <= 1
        for plan in plans.values():
            assert bool(plan.standing) <= (plan.status in ("held", "approved")), tuple(plan)
            assert plan.status != "held" or plan.standing, tuple(plan)
            before = self.last.plans.get(plan.id)
            if before in OVER:
                assert plan.status == before, f"P{plan.id} was {before} and is {plan.status}"

    def ids_are_kept(self, there: ledger_model.Told) -> None:
        rows = self.world.rows(
            "SELECT s.name, r.external_id, l.target_id FROM links l JOIN records r"
            " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id WHERE r.kind = 'user'"
        )
        given = self.given_away()
        for name, key, user in rows:
            was = self.ids.get((name, key), user)
            if user != was:
                assert (name, key) in given, f"{name}:{key} went over, and nobody said so"
                giver, taker = given[name, key]
                assert giver == was, f"{name}:{key} was asked about as the id of {giver}"
                assert user not in self.last.users if taker is None else user == taker, (name, key)
            self.ids[name, key] = user
            assert user in there.users
        assert len(rows) == len({(name, key) for name, key, _ in rows})

    # -- what a run made

    def a_run_made(self, plan: Any, now: Look) -> None:
        """Judge a plan that a run of this step has made, whatever became of it."""
        for change in self.changes_of(plan.id):
            who = f"P{plan.id}: {change.action} of {change.target_id}"
            user = self.last.users.get(change.target_id)
            assert letter(change) not in self.refused, f"{who} was rejected, and comes again"
            asked = change.target_id in self.last.asked & now.asked
            assert not asked, f"{who}, whose id may be somebody else's: nobody has answered"
            if change.action == "archive":
                self.it_was_time_to_leave(who, change.target_id, now)
            if change.action == "restore" and user is not None and user["kept_archived"]:
                until = user["kept_until"]
                today = self.world.now.date().isoformat()
                assert (until or "9999") < today, f"{who}, kept archived by an admin"
            if change.action == "update" and user is not None:
                self.locks_were_kept(who, user, decoded(change.after))
        self.nobody_becomes_somebody_else(plan)
        if plan.status in ("planned", "applied"):
            self.nobody_is_changed_on_half_the_evidence(plan)

    def it_was_time_to_leave(self, who: str, user: str, now: Look) -> None:
        """Rules 3 and 5: archived people were proven to be gone, long enough (S7)."""
        assert not self.last.users[user]["protected"], f"{who}, protected"
        assert not (user in self.last.named and user in now.named), f"{who}, named in a conflict"
        keys = self.keys_of(user)
        assert keys, f"{who}, whom no source ever held"
        given = self.given_away()
        for about in keys:
            if about in given and given[about][0] == user:
                continue  # a person said that it is somebody else's now
            assert self.is_gone(about), f"{who}, but {about} is there yet"
            if self.held_before(*about):
                assert self.is_over(about, self.world.now), f"{who}, in grace"

    def nobody_becomes_somebody_else(self, plan: Any) -> None:
        """I13: whose id speaks of somebody with nothing in common, is changed by a person alone.

        Our own mapping may give both the same user name, so its stories are left out.
        """
        if self.mapped or self.ending:
            return
        speaking = self.world.rows(
            "SELECT l.target_id, s.name, r.external_id FROM links l JOIN records r"
            " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id"
            " WHERE r.kind = 'user' AND l.held AND r.present AND r.in_scope AND NOT s.retired"
        )
        said = self.given_away().keys() | self.said_to_be_the_same()
        foreign = {
            user: (name, key)
            for user, name, key in speaking
            if user in self.last.users and self.ids.get((name, key)) == user
            and (name, key) not in said and not self.is_gone((name, key))
            and (name, key) in self.marks_of
            and not self.marks_of[name, key] & marks(self.last.users[user])
        }  # fmt: skip
        for change in self.changes_of(plan.id):
            about = foreign.get(change.target_id)
            who = f"P{plan.id}: {change.action} of {change.target_id}"
            assert about is None, f"{who}, and {about} speaks of somebody else"

    def locks_were_kept(self, who: str, user: dict[str, Any], after: dict[str, Any]) -> None:
        locked = set(user["locked_fields"])
        assert not locked & after.keys(), f"{who}, locked: {sorted(locked & after.keys())}"
        if "role" in locked and "memberships" in after:
            was = {role for role, _, _ in user["memberships"]}
            assert {role for role, _, _ in after["memberships"]} == was, f"{who}, role is locked"

    def nobody_is_changed_on_half_the_evidence(self, plan: Any) -> None:
        """F1 and F8: who was not read completely takes nothing away; half a file changes nobody."""
        if not self.failed:
            return
        rows = self.world.rows(
            "SELECT l.target_id, s.name FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id WHERE r.kind = 'user' AND r.present"
            " AND r.in_scope"
        )
        speaking: dict[str, set[str]] = defaultdict(set)
        for user, name in rows:
            speaking[user].add(name)
        for change in self.changes_of(plan.id):
            who = f"P{plan.id}: {change.action} of {change.target_id}"
            sources = {name for name, _ in self.keys_of(change.target_id)}
            if "second" in self.failed:
                assert sources != {"second"}, f"{who} by half a file"
                assert change.source != "second" or sources, f"{who} by half a file"
            if change.action == "archive":
                held = {
                    name for name, key in self.keys_of(change.target_id)
                    if self.held_before(name, key) and (name, key) not in self.given_away()
                }  # fmt: skip
                assert not held & self.failed, f"{who}, whose source failed in this run"
            after = decoded(change.after) or {}
            unread = speaking[change.target_id] & self.failed
            if unread and change.action == "update" and "memberships" in after:
                was = places(self.last.users[change.target_id]["memberships"])
                ended = was - places(after["memberships"])
                assert not ended, f"{who} ends {ended} by an incomplete reading"

    def held_before(self, name: str, key: str) -> bool:
        """Say whether a source held somebody at the last look."""
        record = self.world.value(
            "SELECT r.id FROM records r JOIN sources s ON s.id = r.source_id"
            " WHERE s.name = :name AND r.external_id = :key AND r.kind = 'user'",
            name=name,
            key=key,
        )
        return self.last.links.get(record, ("", False))[1]

    # -- what was applied

    def it_was_applied(self, plan: Any, before: str | None) -> None:
        """Judge a plan that was applied in this step."""
        made = self.made[plan.id]
        if plan.kind != "hand":
            late = self.world.now - made.fresh
            assert late < WINDOW + timedelta(minutes=5), f"P{plan.id} is {late} old, and ran"
        if plan.kind != "sync":
            return
        assert not self.paused, f"P{plan.id} ran in a pause"
        for change in self.changes_of(plan.id):
            who = f"P{plan.id}: {change.action} of {change.target_id}"
            self.it_fits_yet(who, change, made)
            if change.reason == "leaves_scope":  # always held, says L8: a person has approved it
                assert plan.approved, f"{who}, and nobody has approved it"
            if not plan.approved and self.undone.get(change.target_id, []):
                same = self.evidence_of(change.target_id) == self.undone[change.target_id]
                assert not same, f"{who}: undone, and done again by itself"
        if before is None and not plan.approved:
            self.a_run_applied(plan)
        if before is None:
            self.undone = {}

    def a_run_applied(self, plan: Any) -> None:
        """Judge a plan that a run has made and applied in this step, by itself."""

    def it_fits_yet(self, who: str, change: Any, made: Made) -> None:
        """P2: between the making of a plan and its run, nothing it rests on has moved."""
        changed = self.touched.get(change.target_id, 0)
        assert changed <= made.step, f"{who}, who was changed since the plan was made"
        records = {record for record, (user, _) in self.last.links.items()
                   if user == change.target_id}  # fmt: skip
        if change.record_id is not None:
            records.add(change.record_id)
        if made.step == self.step:  # made and applied at once
            return
        for record in records & made.versions.keys():
            then, now = made.versions[record], self.last.versions[record]
            assert then == now, f"{who}: what record {record} says has moved"
        if change.action in ("create", "link", "adopt") and change.key is not None:
            about = (change.source, change.key)
            owner = self.ids.get(about, change.target_id)
            given = self.given_away().get(about, ("", None))[0] == owner
            assert owner == change.target_id or given, f"{who}, but the key is linked to {owner}"


_OPEN_WITHOUT_RECORD = (
    "SELECT o.record_id FROM open_records o WHERE NOT EXISTS (SELECT 1 FROM records r"
    " WHERE r.id = o.record_id AND r.source_id = o.source_id AND r.kind = o.kind)"
)


def letter(change: Any) -> str:
    """Return a change to the letter: what it does, to whom, and on what evidence."""
    parts = (
        change.action, change.target_id, change.revision, change.reason, change.record_id,
        change.record_version, decoded(change.before), decoded(change.after),
        decoded(change.basis),
    )  # fmt: skip
    return repr(parts)


def places(memberships: list[Any]) -> set[tuple[str, str]]:
    """Return the (role, school) pairs of memberships."""
    return {(role, school) for role, school, _ in memberships}
