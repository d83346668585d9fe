"""What people decide: plans are approved late or twice, conflicts decided, users edited by hand.

``Decisions`` is the second part of the state machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import text

from core.errors import RosterSyncError, UsageError
from sync.acts.pause import pause_district, resume_district
from sync.acts.retire import retire_source
from sync.acts.undo import undo_run
from sync.ledger import chain
from tests.kit.world import SLUG, decoded
from tests.sync.machine import ledger_model
from tests.sync.machine.machine_rosters import Rosters, crash_after, emails, of_machine

ACTS = [
    "edit", "role", "archive", "keep", "keep until", "restore", "restore!", "protect", "unprotect",
    "lock", "unlock",
]  # fmt: skip


class Decisions(Rosters):
    """What admins do, and what must follow at once."""

    acts: Any = st.sampled_from(ACTS)
    whom: Any = st.integers(0, 40)
    """Which user, in the order in which they came."""

    # -- plans

    @rule(back=st.integers(0, 3))
    def a_plan_is_approved(self, back: int) -> None:
        plans = self.plans("held", "superseded", "drifted", "expired", "planned", "applied")
        if plans:
            plan = plans[-1 - min(back, len(plans) - 1)]
            with self.retirements_noted(plan):
                self.attempt(lambda: self.world.approve(plan))

    @contextmanager
    def retirements_noted(self, plan: int) -> Iterator[None]:
        """Note it if this plan is one that retires a source, and what is done here applies it."""
        before = self.world.plan_row(plan)["status"]
        yield
        after = self.world.plan_row(plan)
        if after["kind"] == "retire" and before != "applied" == after["status"]:
            self.retired["second"] = after["applied_run_id"]
            self.dirty = True

    @precondition(lambda self: self.world.standing() is not None)
    @rule(statements=st.integers(0, 60))
    def the_standing_plan_is_approved(self, statements: int) -> None:
        with crash_after(self.database, statements if statements > 30 else 0):
            self.attempt(self.world.approve)

    @precondition(lambda self: self.plans("planned", "held", "approved", "superseded"))
    @rule(back=st.integers(0, 3))
    def a_plan_is_applied(self, back: int) -> None:
        plans = self.plans("planned", "held", "approved", "superseded")
        plan = plans[-1 - min(back, len(plans) - 1)]
        before = self.world.plan_row(plan)["status"]
        with self.retirements_noted(plan):
            self.attempt(lambda: self.world.apply(plan))
        if before == "held":
            after = self.world.plan_row(plan)["status"]
            assert after != "applied", f"P{plan} was held, and nobody has approved it"

    @precondition(lambda self: self.world.standing() is not None)
    @rule()
    def the_standing_plan_is_rejected(self) -> None:
        self.attempt(lambda: self.world.reject(self.world.standing() or 0))

    @precondition(lambda self: self.world.standing() is not None)
    @rule()
    def the_standing_plan_is_released_for_later(self) -> None:
        self.attempt(lambda: self.world.approve(apply=False))

    @precondition(lambda self: self.plans("planned", "held"))
    @rule()
    def a_plan_is_tampered_with(self) -> None:
        """Somebody writes to a sealed plan by another door: it must not run (rule 2)."""
        plan = self.plans("planned", "held")[-1]
        change = self.world.rows(
            "SELECT seq, reason FROM changes WHERE plan_id = :plan ORDER BY seq", plan=plan
        )
        if not change:
            return
        self.write_to_change(plan, change[0].seq, "reason", "of another door")
        before = self.world.dump()
        with suppress(RosterSyncError):
            self.world.approve(plan)
        assert self.world.dump() == before, f"P{plan} ran, but is not what was sealed"
        self.write_to_change(plan, change[0].seq, "reason", change[0].reason)
        self.dirty = True

    @precondition(lambda self: self.plans("applied"))
    @rule(back=st.integers(0, 3), what=st.sampled_from(["content", "digest", "plan"]))
    def the_ledger_is_written_to(self, back: int, what: str) -> None:
        """Somebody rewrites history: ``db verify`` must say so."""
        plans = self.plans("applied")
        plan = plans[-1 - min(back, len(plans) - 1)]
        rows = self.world.rows(
            "SELECT seq, reason, digest FROM changes WHERE plan_id = :plan ORDER BY seq", plan=plan
        )
        if not rows:
            return
        (seq, reason, digest), other = rows[0], b"\0" * 32
        row = self.world.plan_row(plan)
        match what:
            case "content":
                self.write_to_change(plan, seq, "reason", "of another door")
            case "digest":
                self.write_to_change(plan, seq, "digest", other)
            case _:
                self.write_to_plan(plan, "digest", other)
        assert not chain.verify(self.database)["intact"], f"{what} of P{plan} was rewritten"
        self.write_to_change(plan, seq, "reason", reason)
        self.write_to_change(plan, seq, "digest", digest)
        self.write_to_plan(plan, "digest", row["digest"])

    def write_to_change(self, plan: int, seq: int, column: str, value: Any) -> None:
        query = text(f"UPDATE changes SET {column} = :v WHERE plan_id = :p AND seq = :s")
        with self.database.write() as connection:
            connection.execute(query, {"v": value, "p": plan, "s": seq})

    def write_to_plan(self, plan: int, column: str, value: Any) -> None:
        query = text(f"UPDATE plans SET {column} = :v WHERE id = :p")
        with self.database.write() as connection:
            connection.execute(query, {"v": value, "p": plan})

    # -- plans that people ask for

    @precondition(lambda self: self.plans("applied"))
    @rule(back=st.sampled_from([0, 0, 0, 1, 2]))
    def a_run_is_undone(self, back: int) -> None:
        plans = self.applied()
        self.undo(plans[-1 - min(back, len(plans) - 1)])

    def applied(self) -> list[Any]:
        """Return the plans that were applied, and by which run, the oldest first."""
        return self.world.rows(
            "SELECT id, applied_run_id AS run, first_serial AS serial, kind, effects"
            " FROM plans WHERE status = 'applied' ORDER BY first_serial, id"
        )

    def undo(self, chosen: Any) -> None:
        """Undo puts people back; people changed since are left alone (P8)."""
        outcome: Any = None
        with suppress(UsageError):
            outcome = undo_run(self.database, chosen.run, actor="principal", now=self.world.clock)
        if outcome is None or not outcome.plan_ids:
            return
        (plan,) = outcome.plan_ids
        with self.database.read() as connection:
            was = ledger_model.replay(connection, before=chosen.serial)
            since = ledger_model.touched_after(connection, chosen.serial)
        turned = {target for _, target, _ in self.world.changes(plan)}
        assert not turned & since, "somebody is undone who was changed since"
        of_run = {target for _, target, _ in self.world.changes(chosen.id)}
        assert since & of_run <= set(outcome.left), "somebody is left, and not named"
        if self.world.apply(plan).status != "applied":
            return
        self.dirty = True
        with self.database.read() as connection:
            now = ledger_model.stored(connection)
        for user in turned:
            if user in was.users:
                moved = ledger_model.fields_apart(now.users[user], was.users[user])
                assert not moved, f"{moved} of {user} are not as before the run"
            else:
                assert now.users[user]["status"] == "archived", f"{user} was created by the run"
        linked = self.linked()
        for about in self.ids.keys() & linked.keys():
            record, user = linked[about]
            back = was.links.get(record, ("", False))[0] == user
            assert user == self.ids[about] or back, f"{about} is neither as before nor as after"
        self.ids = {about: linked[about][1] for about in self.ids if about in linked}
        effects = decoded(chosen.effects) or {}
        for name, run in list(self.retired.items()):
            if run == chosen.run and effects.get("retire"):
                del self.retired[name]
        if effects.get("unretire"):  # the undoing of a retirement is undone: it is retired again
            self.retired["second"] = self.world.plan_row(plan)["applied_run_id"]
        if chosen.kind == "sync" or effects.get("redone"):
            self.undone = {user: self.evidence_of(user) for user in turned}
        elif effects.get("undone"):  # that undoing was undone: it is as if it had never been
            self.undone = {}

    def linked(self) -> dict[tuple[str, str], tuple[int, str]]:
        """Return (source, key) → the record, and whose it is."""
        rows = self.world.rows(
            "SELECT s.name, r.external_id, r.id, l.target_id FROM links l"
            " JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id WHERE r.kind = 'user'"
        )
        return {(name, key): (record, user) for name, key, record, user in rows}

    @precondition(lambda self: "second" in self.rostered and "second" not in self.retired)
    @rule(apply=st.booleans())
    def the_second_source_is_retired(self, apply: bool) -> None:
        """A source's holds end by a plan; whom it alone held is archived when that runs (P7)."""
        before = self.world.dump()
        outcome = retire_source(
            self.database, SLUG, "second", actor="principal", now=self.world.clock
        )
        assert self.world.dump() == before, "asking for a plan changed the directory"
        (plan,) = outcome.plan_ids
        users, named = self.world.users(), self.named_in_conflicts()
        for action, user, _ in self.world.changes(plan):
            if action == "archive":
                assert not users[user]["protected"], f"{user} is protected, and retired"
                assert user not in named, f"{user} is named in a conflict, and retired"
                others = [about for about, one in self.ids.items() if one == user]
                shared = [a for a in others if a[0] != "second" and not self.is_gone(a)]
                assert not shared, f"{user} is retired, and {shared} has them yet"
        if apply:
            with self.retirements_noted(plan):
                self.world.apply(plan)

    # -- seasons and settings

    @precondition(lambda self: not self.paused)
    @rule()
    def the_district_is_paused(self) -> None:
        self.pause()

    def pause(self) -> None:
        """Pause the district, until somebody resumes it."""
        pause_district(self.database, SLUG, actor="principal", now=self.world.clock)
        self.paused = True

    @precondition(lambda self: self.paused)
    @rule()
    def the_district_is_resumed(self) -> None:
        resume_district(self.database, SLUG, actor="principal", now=self.world.clock)
        self.paused = False

    @rule(days=st.sampled_from([0, 0, 2]), fetches=st.sampled_from([1, 2]))
    def grace_is_changed(self, days: int, fetches: int) -> None:
        self.world.settle(grace={"days": days, "fetches": fetches})

    # -- people

    @precondition(lambda self: self.undecided())
    @rule(number=st.integers(0, 3), link=st.booleans(), other=st.booleans())
    def a_conflict_is_decided(self, number: int, link: bool, other: bool) -> None:
        """Decide who it is, or decide otherwise as long as no run has acted on it."""
        found = self.undecided()
        conflict, candidates = found[number % len(found)]
        target = candidates[-1 if other else 0] if link else None
        self.attempt(lambda: self.world.resolve(conflict, link=target, new=not link))

    def undecided(self) -> list[tuple[int, list[str]]]:
        rows = self.world.rows(
            "SELECT c.id, c.candidates FROM conflicts c WHERE c.kind = 'user'"
            " AND c.status IN ('open', 'resolved')"
            " AND (c.reason = 'reused_id' OR NOT EXISTS (SELECT 1 FROM links l"
            "  WHERE l.record_id = c.record_id)) ORDER BY c.id"
        )
        return [(r.id, self.in_order(one["id"] for one in decoded(r.candidates))) for r in rows]

    def given_away(self) -> dict[tuple[str, str], tuple[str, str | None]]:
        """Return the ids that people said are somebody else's now, as long as they say so (I13).

        (source, key) → whose it was, and who gets it; None: somebody new.
        """
        rows = self.world.rows(
            "SELECT s.name, r.external_id, c.decision, c.candidates FROM conflicts c"
            " JOIN records r ON r.id = c.record_id JOIN sources s ON s.id = r.source_id"
            " WHERE c.kind = 'user' AND c.reason = 'reused_id' AND c.status = 'resolved'"
            " ORDER BY c.id"
        )
        given: dict[tuple[str, str], tuple[str, str | None]] = {}
        for name, key, decision, candidates in rows:
            given.pop((name, key), None)  # the last answer counts
            asked = decoded(candidates)[0]
            if decision != asked["id"] and asked["names"] == self.names_of.get((name, key)):
                given[name, key] = (asked["id"], None if decision == "new" else decision)
        return given

    def said_to_be_the_same(self) -> set[tuple[str, str]]:
        """Return the ids of which a person has once said that they are the same person's (I13)."""
        rows = self.world.rows(
            "SELECT s.name, r.external_id, c.decision, c.candidates FROM conflicts c"
            " JOIN records r ON r.id = c.record_id JOIN sources s ON s.id = r.source_id"
            " WHERE c.kind = 'user' AND c.reason = 'reused_id' AND c.status = 'resolved'"
        )
        return {(row[0], row[1]) for row in rows if decoded(row[3])[0]["id"] == row[2]}

    def asked_about(self) -> set[str]:
        """Return whose ids may be somebody else's now: nobody has answered yet (I13)."""
        rows = self.world.rows(
            "SELECT candidates FROM conflicts WHERE status = 'open' AND reason = 'reused_id'"
        )
        return {decoded(candidates)[0]["id"] for (candidates,) in rows}

    def in_order(self, users: Iterable[str]) -> list[str]:
        """Sort users as they came: ids of those added by hand are random, and walks are not."""
        came = self.world.rows("SELECT id FROM users ORDER BY created_at, id")
        place = {user: at for at, (user,) in enumerate(came)}
        return sorted(users, key=lambda user: (place.get(user, len(place)), user))

    @rule(role=st.sampled_from(["staff", "teacher"]), email=emails)
    def somebody_is_added_by_hand(self, role: str, email: str | None) -> None:
        self.attempt(lambda: self.world.add(role, **({"email": email} if email else {})))

    @rule(number=of_machine("whom"), act=of_machine("acts"))
    def somebody_is_edited_by_hand(self, number: int, act: str) -> None:
        users = self.in_order(self.world.users())
        self.attempt(lambda: self.somebody_is(users[number % len(users)], act))

    def somebody_is(self, user: str, act: str) -> None:
        """Do one of the acts of an admin to somebody."""
        world = self.world
        acts: dict[str, Callable[[], object]] = {
            "edit": lambda: world.edit(user, given_name="Kim"),
            "grade": lambda: world.edit(user, grade="09"),
            "role": lambda: world.edit(user, role="staff"),
            "archive": lambda: world.archive(user),
            "keep": lambda: world.archive(user, keep=True),
            "keep until": lambda: world.archive(
                user, keep=True, until=world.now.date() + timedelta(days=2)
            ),
            "restore": lambda: world.restore(user),
            "restore!": lambda: world.restore(user, protect=False),
            "protect": lambda: world.protect(user),
            "unprotect": lambda: world.protect(user, False),
            "lock": lambda: world.lock(user, "grade"),
            "unlock": lambda: world.lock(user, "grade", "role", locked=False),
        }
        acts[act]()

    # -- how

    def attempt(self, act: Callable[[], object]) -> None:
        """Do something that may be refused with a sentence, but never fails otherwise."""
        self.dirty = True
        with suppress(UsageError):
            act()

    def plans(self, *statuses: str) -> list[int]:
        """Return the plans of these statuses, the oldest first."""
        return [
            row.id
            for row in self.world.rows("SELECT id, status FROM plans ORDER BY id")
            if row.status in statuses
        ]

    def named_in_conflicts(self) -> set[str]:
        """Return whom open conflicts name as the person of somebody else's record."""
        rows = self.world.rows(
            "SELECT candidates FROM conflicts WHERE status = 'open' AND kind = 'user'"
            " AND reason <> 'resembles_leaver'"
        )
        return {one["id"] for (candidates,) in rows for one in decoded(candidates)}

    def evidence_of(self, user: str) -> list[tuple[int, int]]:
        """Return (record, version) of whatever sources say of somebody."""
        rows = self.world.rows(
            "SELECT r.id, r.version FROM links l JOIN records r ON r.id = l.record_id"
            " WHERE l.target_id = :user ORDER BY r.id",
            user=user,
        )
        return [(record, version) for record, version in rows]
