"""The engine as a state machine: whatever happens to a district, the ten rules hold.

Vendors edit rosters, readings end early, admins add and lock, plans are approved late, runs crash
between any two statements, days pass. After each step the directory must be what the ledger says,
and people who were archived must have been proven to be gone.

What vendors do is in ``machine_rosters``, what people decide in ``machine_decisions``, what must be
true in ``machine_truths`` and ``machine_limits``. Here it is one, and has an end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.models import PROFILE_FIELDS
from core.storage.database import open_database
from tests.kit.world import World, decoded
from tests.sync.machine.machine_limits import Limited
from tests.sync.machine.machine_rosters import (
    ADULTS,
    PAPER,
    PAPER_ROLES,
    STUDENTS,
    Crash,
    crash_after,
    edits,
    people,
    ways,
)

__all__ = [
    "ADULTS", "PAPER", "STUDENTS", "Crash", "Engine", "crash_after", "edits", "people",
    "same_plan_without_shortcuts", "ways",
]  # fmt: skip


class Engine(Limited):
    """A district, what happens to it, and what must be true whatever happens."""

    # -- the end of the story

    def everything_approved(self) -> None:
        """A complete full sync with everything approved makes the directory equal the roster."""
        world = self.world
        if self.paused:
            self.the_district_is_resumed()
        self.ending = True
        self.the_torn_are_mended()
        world.reconfigure(roles=["student", "teacher", "staff", "admin"], mapping={})
        world.settle(grace={"days": 0, "fetches": 1}, guard="off")
        world.sis.school("grant", "Grant Middle").student("s0", email=None).person("x9", "staff")
        if "second" in self.rostered:
            for key in ("x0", "x2"):
                world.second.person(key, PAPER_ROLES[key])
        for number, row in enumerate(self.rows_of_all()):
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
        outcome = self.world.sync(full=True)
        assert outcome.status == "nothing_to_do", outcome
        self.directory_equals_rosters()

    def rows_of_all(self) -> Iterator[dict[str, Any]]:
        for name in self.rostered:
            yield from self.world.rosters[name].people.values()

    def of_first(self, user: str) -> list[dict[str, Any]]:
        """Return a user's rows in the first source that shares them: it decides."""
        for name, roster in self.read_rosters():
            mine = [row for key, row in roster.people.items() if self.ids[name, key] == user]
            if mine:
                return mine
        return []

    def read_rosters(self) -> list[tuple[str, Any]]:
        return [(n, r) for n, r in self.world.rosters.items() if n not in self.retired]

    def waiting(self) -> bool:
        return bool(
            self.world.value(
                "SELECT COUNT(*) FROM open_records WHERE source_id NOT IN"
                " (SELECT id FROM sources WHERE retired)"
            )
        )

    def directory_equals_rosters(self) -> None:
        users = self.world.users()
        wanted: dict[str, list[dict[str, Any]]] = {}
        for name, roster in self.read_rosters():
            for key, row in sorted(roster.people.items()):
                assert (name, key) in self.ids, f"{name}:{key} is nobody"
                wanted.setdefault(self.ids[name, key], []).append(row)
        held = {user for (name, _), user in self.ids.items() if name not in self.retired}
        for user_id, user in users.items():
            rows = wanted.get(user_id)
            if rows is None:
                expected = {"archived"}
                if user["protected"] or user_id not in held:
                    expected = {"active", "suspended", "archived"}
                assert user["status"] in expected, (user_id, user["status"])
                continue
            until = user["kept_until"]
            if user["kept_archived"] and (
                until is None or until >= self.world.now.date().isoformat()
            ):
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
