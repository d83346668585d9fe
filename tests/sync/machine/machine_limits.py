"""What a source may take or add by itself, counted a second time (L1 to L10).

``Limited`` is the fourth part of the state machine. It counts from the ledger and from its own
census, and never asks ``sync/rules/limits.py`` or ``sync/planning/approval_needed.py``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from core.storage.stored import utc_text
from tests.kit.world import decoded
from tests.sync.machine import ledger_model
from tests.sync.machine.machine_truths import WINDOW, Truths


class Limited(Truths):
    """The limits."""

    def __init__(self) -> None:
        super().__init__()
        self.odd: dict[int, set[tuple[str, str, str]]] = {}
        """Plan → (source, what is odd, whom) of its updates of people whom the source held."""

    def it_was_applied(self, plan: Any, before: str | None) -> None:
        if plan.kind == "sync" and not plan.approved:
            self.odd[plan.id] = set(self.odd_changes_of(plan.id))
        super().it_was_applied(plan, before)

    def a_run_applied(self, plan: Any) -> None:
        super().a_run_applied(plan)
        self.limits_were_kept(plan)
        self.additions_were_few(plan)
        self.our_own_changes_were_few(plan)
        self.odd_changes_were_few(plan)

    def together(self, plans: dict[int, Any]) -> None:
        super().together(plans)
        self.held_and_safe(plans)
        self.those_who_resemble_wait_and_those_who_moved_do_not(plans)

    def limits_were_kept(self, plan: Any) -> None:
        """Count anew what an unapproved plan took, with what the window took (L1 to L4)."""
        self.every_taking_is_written_down(plan.id)
        start = datetime.fromisoformat(plan.applied_at) - WINDOW
        found, now = self.taken(plan, start)
        for group, people in found.items():
            if people & now[group]:
                n, allowed = self.allowed_in(group, start)
                assert len(people) <= allowed, f"P{plan.id} took {len(people)} of {n} in {group}"

    def allowed_in(self, group: ledger_model.Group, start: datetime) -> tuple[int, int]:
        """Return n of L3, and how many of them may be taken."""
        before = self.history[-1][1] if self.history else Counter()
        then = next((c for at, c in reversed(self.history) if at <= start), Counter())
        n = max(before[group], then[group])
        if group[1] == "district":
            return n, max(10, n * 5 // 100)
        allowed = max(3, n * 10 // 100)
        return n, min(allowed, n // 2) if n >= 2 else allowed

    def every_taking_is_written_down(self, plan: int) -> None:
        """L1: whatever a plan takes away is counted, in each group where the person is (L2).

        A person who was restored by hand, or lost protection, is held by no source any longer: what
        their sources took was counted when their holds ended, and a group is of held people (L3).
        """
        counted: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
        for row in self.world.rows("SELECT * FROM takings WHERE plan_id = :plan", plan=plan):
            counted[row.target_id, row.what].add((row.school_id, row.role))
        people = {target for target, _ in counted}
        given = {user for user, _ in self.given_away().values()}
        for change in self.changes_of(plan):
            user = self.last.users.get(change.target_id)
            if user is None or user["status"] == "archived":
                continue
            who = f"P{plan}: {change.action} of {change.target_id}"
            if change.reason == "reused_id":  # a person said so, and a person's acts do not count
                assert change.target_id in given, f"{who}, and nobody said so"
            elif change.action in ("archive", "suspend"):
                groups = {(school, role) for role, school, _ in user["memberships"]} or {("", "")}
                if not any(self.held_before(*about) for about in self.keys_of(change.target_id)):
                    groups = set()
                assert counted[change.target_id, change.action] == groups, f"{who} is not counted"
            if change.action == "update" and "memberships" in (decoded(change.after) or {}):
                still = {role for role, _, _ in decoded(change.after)["memberships"]}
                lost = {role for role, _, _ in user["memberships"]} - still
                assert not lost or change.target_id in people, f"{who}: {lost} is not counted"

    def taken(
        self, plan: Any, start: datetime
    ) -> tuple[dict[ledger_model.Group, set[str]], dict[ledger_model.Group, set[str]]]:
        """Return whom sources took in the window and now, and whom just now, by group."""
        found: dict[ledger_model.Group, set[str]] = defaultdict(set)
        now: dict[ledger_model.Group, set[str]] = defaultdict(set)
        rows = self.world.rows(
            "SELECT t.*, u.status FROM takings t JOIN plans p ON p.id = t.plan_id"
            " JOIN users u ON u.id = t.target_id WHERE (p.id = :plan OR p.status = 'applied'"
            " AND NOT p.approved AND p.kind = 'sync' AND p.applied_at > :start AND p.id < :plan)"
            " AND NOT t.explained AND t.what IN ('archive', 'suspend')",
            plan=plan.id,
            start=utc_text(start),
        )
        for row in rows:
            mine = row.plan_id == plan.id
            if not mine and row.status != row.what + {"archive": "d", "suspend": "ed"}[row.what]:
                continue  # back again (L4)
            for group in (
                (row.source_id, "school_role", row.school_id, row.role),
                (row.source_id, "district_role", "", row.role),
                (row.source_id, "district", "", ""),
            ):
                found[group].add(row.target_id)
                if mine:
                    now[group].add(row.target_id)
        return found, now

    def held_and_safe(self, plans: dict[int, Any]) -> None:
        """L5: all takings of a group that has tripped are held, and of no other."""
        new = [p for p in plans.values() if p.id not in self.last.plans and p.kind == "sync"]
        held = next((p for p in new if decoded(p.held)), None)
        if held is None or held.run_id <= self.last.run:
            return
        names = dict(self.world.rows("SELECT name, id FROM sources"))
        start = datetime.fromisoformat(held.created_at) - WINDOW
        safe = {
            (row.source_id, row.school_id, row.role)
            for plan in new if plan.status == "applied" and not plan.approved
            for row in self.world.rows(
                "SELECT * FROM takings WHERE plan_id = :plan AND NOT explained", plan=plan.id
            )
        }  # fmt: skip
        for trip in decoded(held.held):
            if trip["limit"] not in ("school_role", "district_role", "district"):
                continue
            source, school, role = names[trip["source"]], trip["school"], trip["role"]
            group = (source, trip["limit"], school or "", role or "")
            n, allowed = self.allowed_in(group, start)
            assert (trip["people"], trip["allowed"]) == (n, allowed), (trip, n, allowed)
            assert trip["found"] > allowed, f"P{held.id} is held for {trip}"
            for other, place, part in safe:
                same = other == source and school in (None, place) and role in (None, part)
                assert not same, f"{trip} tripped, and somebody of it was taken all the same"

    def additions_were_few(self, plan: Any) -> None:
        """L6: what a source adds in a window by itself."""
        if not self.last.established:
            return
        start = utc_text(datetime.fromisoformat(plan.applied_at) - WINDOW)
        rows = self.world.rows(
            "SELECT s.name, COUNT(DISTINCT c.target_id) AS n, SUM(CASE WHEN p.id = :plan THEN 1"
            " ELSE 0 END) AS now FROM changes c JOIN plans p ON p.id = c.plan_id"
            " JOIN records r ON r.id = c.record_id JOIN sources s ON s.id = r.source_id"
            " WHERE c.action = 'create' AND c.kind = 'user' AND p.status = 'applied'"
            " AND p.kind = 'sync' AND NOT p.approved AND p.applied_at > :start"
            " AND CAST(p.establishes AS TEXT) = '[]' GROUP BY s.name",
            plan=plan.id,
            start=start,
        )
        active = sum(user["status"] == "active" for user in self.last.users.values())
        for name, n, now in rows:
            assert not now or n <= max(50, active // 2), f"P{plan.id}: {name} has added {n}"

    def our_own_changes_were_few(self, plan: Any) -> None:
        """L8: only the mapping gives anybody a username."""
        if self.ending:
            return
        of: dict[str, set[str]] = defaultdict(set)
        for change in self.changes_of(plan.id):
            keys = self.keys_of(change.target_id)
            if keys and change.action == "update" and "username" in decoded(change.after):
                of[keys[0][0]].add(change.target_id)
        for name, users in of.items():
            held = {user for about, user in self.ids.items() if about[0] == name}
            most = max(10, len(held) * 5 // 100)
            assert len(users) <= most, f"P{plan.id}: our mapping changed {len(users)} of {name}"

    def odd_changes_were_few(self, plan: Any) -> None:
        """L10: what a vendor does to many of its people in a window waits for a person."""
        if self.ending:
            return
        start = datetime.fromisoformat(plan.applied_at) - WINDOW
        plans = self.world.rows(
            "SELECT id FROM plans WHERE status = 'applied' AND kind = 'sync' AND NOT approved"
            " AND applied_at > :start AND id <= :plan",
            start=utc_text(start),
            plan=plan.id,
        )
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for (number,) in plans:
            for name, kind, user in self.odd[number]:
                found[name, kind].add(user)
        ids = dict(self.world.rows("SELECT name, id FROM sources"))
        for name, kind in {(name, kind) for name, kind, _ in self.odd[plan.id]}:
            people = found[name, kind]
            n, allowed = self.allowed_in((ids[name], "district", "", ""), start)
            assert len(people) <= allowed, f"P{plan.id}: {kind} of {len(people)} of {n}"

    def odd_changes_of(self, plan: int) -> Iterator[tuple[str, str, str]]:
        """Yield the source, what is odd, and whom, of the updates of a plan (L10).

        People of several sources are left out, who may owe a change to either, and so are user
        names, which our own mapping gives and takes. Who comes back to a source says what they say
        as if for the first time: only people whom it held at the last look count.
        """
        for change in self.changes_of(plan):
            keys = self.keys_of(change.target_id)
            sources = {source for source, _ in keys}
            if change.action != "update" or len(sources) != 1:
                continue
            if any(self.held_before(*about) for about in keys):
                for kind in odd(decoded(change.before), decoded(change.after), self.domains()):
                    yield (*sources, kind, change.target_id)

    def domains(self) -> set[str]:
        """Return the email domains that the district lists."""
        settings = decoded(self.world.value("SELECT settings FROM districts"))
        return set(settings.get("email_domains") or ())

    def those_who_resemble_wait_and_those_who_moved_do_not(self, plans: dict[int, Any]) -> None:
        """L7: a joiner who is like a leaver is not applied by itself; one who moved is updated.

        A run that plans anew, because somebody was edited or a pause came, is judged by its
        last plan.
        """
        new = [p for p in plans.values() if p.id not in self.last.plans and p.kind == "sync"]
        new = [plan for plan in new if plan.run_id > self.last.run]
        new = [plan for plan in new if plan.status not in ("superseded", "drifted")]
        decided = {
            row.record_id
            for row in self.world.rows("SELECT record_id FROM conflicts WHERE decision = 'new'")
        }
        left: set[str] = set()
        came: dict[str, tuple[bool, dict[str, Any]]] = {}
        for plan in [*new, *(p for p in plans.values() if p.standing and p not in new)]:
            for change in self.changes_of(plan.id):
                if change.action == "archive":
                    left.add(change.target_id)
                if change.action == "create" and plan in new and change.record_id not in decided:
                    alone = plan.status == "applied" and not plan.approved
                    came[change.target_id] = (alone, decoded(change.after))
        pairs = [
            (user, other, alone, alike(self.last.users[user], after))
            for user in left for other, (alone, after) in came.items()
        ]  # fmt: skip
        for user, other, alone, like in pairs:
            assert not (like and alone), f"{user} leaves, and {other} joins by itself: {like}"
        moved = [(user, other) for user, other, _, like in pairs if like == "both"]
        for user, other in moved:
            only = sum(user == one or other == two for one, two in moved) == 1
            assert not only or self.named_in_conflicts(), f"{user} and {other} are one, who moved"


def alike(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Say by what two people resemble one another: their names, or the name in their address."""

    def names(user: dict[str, Any]) -> tuple[str, str]:
        return tuple(str(user.get(n) or "").casefold() for n in ("given_name", "family_name"))

    def address(user: dict[str, Any]) -> tuple[str, str]:
        local, _, domain = str(user.get("email") or "").casefold().partition("@")
        return local, domain

    named = names(one)[1] and names(one) == names(other)
    called = address(one)[0] and address(one)[0] == address(other)[0]
    if named and called and address(one) != address(other):
        return "both"
    return "the same names" if named else "the same local part" if called else ""


def odd(before: dict[str, Any], after: dict[str, Any], domains: set[str]) -> set[str]:
    """Say what is odd about an update, once it happens to many (L10)."""
    found = set()
    gone = {name for name, value in after.items() if value is None}
    if gone - {"username", "email_folded", "memberships"}:
        found.add("blanked")
    reached = str(after.get("email") or "").rpartition("@")[2]
    left = str(before.get("email") or "").rpartition("@")[2]
    if reached and left and domains and reached not in {left, *domains}:
        found.add("outside_domains")
    names = [
        {str(said[name]).casefold() for name in ("given_name", "family_name") if said.get(name)}
        for said in (before, after)
    ]
    if len(names[0]) == len(names[1]) == 2 and not names[0] & names[1]:
        found.add("renamed")
    if "memberships" in after:
        old, new = ({s for _, s, _ in at["memberships"] if s} for at in (before, after))
        if old and not old & new:
            found.add("moved")
    return found
