"""A district that a test edits in Python: rosters, a clock, runs, and what the directory then says.

world = new_world(database)
world.sis.student("s1", grade="05")
world.sync()
world.sis.without("s1")
assert world.sync().status == "applied"
assert world.user("s1")["status"] == "archived"

One file, because everything that a test does to its world, or asks of it, is a method of ``World``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.tables import District, Source
from sync.acts import approval, hand_edit
from sync.acts.hand_edit import UserEdit
from sync.engine import plan_district, sync_district
from sync.ledger import chain
from sync.people import conflicts
from sync.run.outcome import Outcome
from tests.kit import plug_in

SLUG = "springfield"
MONDAY = datetime(2026, 10, 5, 12, 0, tzinfo=UTC)
"""A Monday in October: no season, nothing special."""

DIRECTORY_TABLES = ("users", "memberships", "schools", "links")


class Roster:
    """One source's roster. The next run of its world reads what it says by then."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.schools: dict[str, dict[str, Any]] = {}
        self.people: dict[str, dict[str, Any]] = {}
        self.how: dict[str, Any] = {}
        self.school("lincoln", "Lincoln High")

    # -- who is on it

    def school(self, key: str, name: str, **more: Any) -> Roster:
        """Put a school on the roster."""
        self.schools[key] = {"key": key, "name": name, **more}
        return self

    def person(
        self,
        key: str,
        role: str = "student",
        *,
        school: str | None = "lincoln",
        memberships: list[tuple[str, str | None]] | None = None,
        **fields: Any,
    ) -> Roster:
        """Put a person on the roster, or say something else about them; None clears a field."""
        known = self.people.get(key, {}).get("fields", {})
        defaults = {"given_name": "Sam", "family_name": f"Of {key}"}
        wanted = {**defaults, **known, **fields}
        self.people[key] = {
            "key": key,
            "memberships": [(role, school)] if memberships is None else memberships,
            "fields": {name: value for name, value in wanted.items() if value is not None},
        }
        return self

    def student(self, key: str, **fields: Any) -> Roster:
        """Put a student on the roster."""
        return self.person(key, "student", **fields)

    def teacher(self, key: str, **fields: Any) -> Roster:
        """Put a teacher on the roster."""
        return self.person(key, "teacher", **fields)

    def students(self, count: int, *, start: int = 0, **fields: Any) -> Roster:
        """Put students ``st000`` … on the roster."""
        for number in range(start, start + count):
            self.person(f"st{number:04}", **fields)
        return self

    def teachers(self, count: int, *, start: int = 0, **fields: Any) -> Roster:
        """Put teachers ``te000`` … on the roster."""
        for number in range(start, start + count):
            self.person(f"te{number:03}", "teacher", **fields)
        return self

    def without(self, *keys: str) -> Roster:
        """Take people off the roster."""
        for key in keys:
            del self.people[key]
        return self

    def row(self, key: str, **facts: Any) -> Roster:
        """Say something of one row itself: ``broken``, ``keyless``, ``deleted``, ``former``."""
        self.people[key].update(facts)
        return self

    def reorder(self) -> Roster:
        """Serve everybody in another order."""
        self.people = dict(reversed(self.people.items()))
        return self

    # -- how it is read

    def reads(self, **how: Any) -> Roster:
        """Say how the next readings go; see ``board.Board.pages``. Without: whole."""
        self.how = how
        return self

    def cut(self, after: int) -> Roster:
        """End the readings after so many people."""
        return self.reads(ends_after=after)

    def save(self) -> Roster:
        """Write the roster down; every run of a ``World`` does it first."""
        document = {
            "schools": list(self.schools.values()),
            "people": list(self.people.values()),
            **self.how,
        }
        self.path.write_text(json.dumps(document))
        return self


@dataclass
class World:
    """A district with its sources, at a time that the test decides."""

    database: Database
    rosters: dict[str, Roster] = field(default_factory=dict)
    now: datetime = MONDAY

    @property
    def sis(self) -> Roster:
        """The first source's roster."""
        return self.rosters["sis"]

    @property
    def second(self) -> Roster:
        """The second source's roster."""
        return self.rosters["second"]

    def clock(self) -> datetime:
        """Tell the time; it never stands still."""
        self.now += timedelta(seconds=1)
        return self.now

    def later(self, **how_long: float) -> World:
        """Let time pass."""
        self.now += timedelta(**how_long)
        return self

    def save(self) -> None:
        """Write the rosters down."""
        for roster in self.rosters.values():
            roster.save()

    # -- runs and acts

    def sync(self, *, code: int | None = None, **options: Any) -> Outcome:
        """Run a sync; ``code`` is the exit code it must end with."""
        self.save()
        outcome = sync_district(self.database, SLUG, actor="test", now=self.clock, **options)
        assert code is None or outcome.exit_code == code, (outcome, outcome.error)
        return outcome

    def plan(self, **options: Any) -> Outcome:
        """Run a dry run."""
        self.save()
        return plan_district(self.database, SLUG, actor="test", now=self.clock, **options)

    def apply(self, plan: int, **options: Any) -> Outcome:
        """Apply a plan."""
        return approval.apply_plan(self.database, plan, actor="test", now=self.clock, **options)

    def approve(self, plan: int | None = None, **options: Any) -> Outcome:
        """Approve a plan: the standing one unless told otherwise."""
        if plan is None:
            plan = self.standing()
            assert plan is not None, "no plan stands"
        return approval.approve_plan(
            self.database, plan, actor="principal", now=self.clock, **options
        )

    def reject(self, plan: int, reason: str = "no") -> Outcome:
        """Reject a plan."""
        return approval.reject_plan(
            self.database, plan, actor="principal", reason=reason, now=self.clock
        )

    def resolve(self, conflict: int, *, link: str | None = None, new: bool = False) -> Outcome:
        """Decide a conflict."""
        return conflicts.resolve(
            self.database, conflict, link=link, new=new, actor="principal", now=self.clock
        )

    def add(self, role: str = "staff", *, school: str | None = None, **fields: Any) -> str:
        """Add somebody by hand; return their id."""
        fields.setdefault("family_name", "By Hand")
        outcome = hand_edit.add_user(
            self.database, SLUG, UserEdit(fields, role, school), actor="admin", now=self.clock
        )
        assert outcome.user_id is not None
        return outcome.user_id

    def edit(
        self, user: str, *, role: str | None = None, school: str | None = None, **fields: Any
    ) -> Outcome:
        """Edit somebody by hand."""
        edit = UserEdit(fields, role, school)
        return hand_edit.edit_user(self.database, SLUG, user, edit, actor="admin", now=self.clock)

    def archive(self, user: str, **options: Any) -> Outcome:
        """Archive somebody by hand."""
        return hand_edit.archive_user(
            self.database, SLUG, user, actor="admin", now=self.clock, **options
        )

    def restore(self, user: str, **options: Any) -> Outcome:
        """Bring somebody back by hand."""
        return hand_edit.restore_user(
            self.database, SLUG, user, actor="admin", now=self.clock, **options
        )

    def protect(self, user: str, on: bool = True) -> Outcome:
        """Protect somebody, or lift it."""
        return hand_edit.protect_user(self.database, SLUG, user, on, actor="admin", now=self.clock)

    def lock(self, user: str, *fields: str, locked: bool = True) -> Outcome:
        """Lock fields of somebody, or release them."""
        return hand_edit.lock_fields(
            self.database, SLUG, user, fields, locked, actor="admin", now=self.clock
        )

    # -- settings

    def settle(self, **settings: Any) -> World:
        """Change the district's settings, as loading another district file does."""
        with Session(self.database.engine) as session:
            row = session.query(District).filter_by(slug=SLUG).one()
            row.settings = DistrictSettings.model_validate({**row.settings, **settings}).stored()
            session.commit()
        return self

    def reconfigure(self, source: str = "sis", *, mapping: Any = None, **config: Any) -> World:
        """Change a source's config or mapping, as loading another district file does."""
        with Session(self.database.engine) as session:
            row = session.query(Source).filter_by(name=source).one()
            row.config = {**row.config, **config}
            if mapping is not None:
                row.mapping = mapping
            session.commit()
        return self

    # -- what there is

    def rows(self, query: str, **about: Any) -> list[Any]:
        """Return the rows of a query."""
        with self.database.read() as connection:
            return list(connection.execute(text(query), about).all())

    def value(self, query: str, **about: Any) -> Any:
        """Return the one value of a query, or None."""
        rows = self.rows(query, **about)
        return rows[0][0] if rows else None

    def id_of(self, key: str, source: str = "sis") -> str | None:
        """Return the id of the user to whom a record is linked."""
        found = self.value(
            "SELECT l.target_id FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id WHERE r.external_id = :key AND s.name = :source"
            " AND r.kind = 'user'",
            key=key,
            source=source,
        )
        return None if found is None else str(found)

    def user(self, key: str, source: str = "sis") -> dict[str, Any]:
        """Return the user of a record."""
        user_id = self.id_of(key, source)
        assert user_id is not None, f"{key} is nobody's record"
        return self.users()[user_id]

    def users(self, status: str | None = None) -> dict[str, dict[str, Any]]:
        """Return id → user, with ``memberships`` as (role, name of the school, primary)."""
        with self.database.read() as connection:
            found = directory(connection)
        return {k: u for k, u in found.items() if status in (None, u["status"])}

    def statuses(self, source: str = "sis") -> dict[str, str]:
        """Return key → status of everybody whom a record of a source is linked to."""
        rows = self.rows(
            "SELECT r.external_id, u.status FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id JOIN users u ON u.id = l.target_id"
            " WHERE s.name = :source",
            source=source,
        )
        return dict(rows)

    def count(self, status: str = "active") -> int:
        """Count the users of a status."""
        return int(self.value("SELECT COUNT(*) FROM users WHERE status = :s", s=status))

    def standing(self) -> int | None:
        """Return the id of the standing held plan, or None."""
        return self.value("SELECT id FROM plans WHERE standing")  # type: ignore[no-any-return]

    def plan_row(self, plan: int) -> Any:
        """Return a plan's row, its JSON decoded."""
        row = dict(self.rows("SELECT * FROM plans WHERE id = :id", id=plan)[0]._mapping)
        for name in ("counts", "schools", "held", "establishes", "additions", "certificates"):
            row[name] = decoded(row[name])
        return row

    def held(self, plan: int | None = None) -> list[dict[str, Any]]:
        """Return the limits for which a plan (else the standing one) is held."""
        plan = plan or self.standing()
        return [] if plan is None else list(self.plan_row(plan)["held"])

    def limits(self, plan: int | None = None) -> set[str]:
        """Return the names of the limits for which a plan is held."""
        return {trip["limit"] for trip in self.held(plan)}

    def changes(self, plan: int) -> list[tuple[str, str, str]]:
        """Return (action, target, reason) of each change of a plan about a person."""
        rows = self.rows(
            "SELECT action, target_id, reason FROM changes WHERE plan_id = :plan"
            " AND kind = 'user' ORDER BY seq",
            plan=plan,
        )
        return [tuple(row) for row in rows]

    def actions(self, plan: int | None) -> dict[str, int]:
        """Return action → people of a plan."""
        if plan is None:
            return {}
        rows = self.rows(
            "SELECT action, COUNT(DISTINCT target_id) FROM changes WHERE plan_id = :plan"
            " AND kind = 'user' GROUP BY action",
            plan=plan,
        )
        return dict(rows)

    def reason_of(self, plan: int, key: str) -> str:
        """Return the reason that a plan gives for one person's first change."""
        return str(
            self.value(
                "SELECT c.reason FROM changes c JOIN links l ON l.target_id = c.target_id"
                " JOIN records r ON r.id = l.record_id WHERE c.plan_id = :plan"
                " AND r.external_id = :key ORDER BY c.seq LIMIT 1",
                plan=plan,
                key=key,
            )
        )

    def conflicts(self, kind: str = "user") -> list[Any]:
        """Return the open conflicts of people: id, record's key, reason, candidates."""
        rows = self.rows(
            "SELECT c.id, r.external_id AS key, c.reason, c.candidates FROM conflicts c"
            " JOIN records r ON r.id = c.record_id WHERE c.status = 'open' AND c.kind = :kind"
            " ORDER BY c.id",
            kind=kind,
        )
        return [(r.id, r.key, r.reason, [c["id"] for c in decoded(r.candidates)]) for r in rows]

    def findings(self) -> list[tuple[int | None, str, str]]:
        """Return (line, column, rule) of the rows that the last fetch could not use."""
        rows = self.rows(
            'SELECT line, "column", rule FROM findings WHERE fetch_id ='
            " (SELECT MAX(id) FROM fetches) ORDER BY seq"
        )
        return [tuple(row) for row in rows]

    def parsed(self) -> int:
        """Return how many rows the last fetch had to parse."""
        certificate = decoded(
            self.value("SELECT certificate FROM fetches ORDER BY id DESC LIMIT 1")
        )
        return int(certificate["parsed"])

    def intact(self) -> bool:
        """Say whether the chain verifies."""
        return bool(chain.verify(self.database)["intact"])

    def dump(self) -> dict[str, list[Any]]:
        """Return everything in the user tables, to compare before and after."""
        with self.database.read() as connection:
            return dump(connection)

    def forget_snapshot(self) -> None:
        """Throw away every shortcut: the next reading parses everything anew."""
        with self.database.write() as connection:
            for query in (
                "DELETE FROM snapshot_chunks",
                "DELETE FROM touched",
                "UPDATE records SET raw_print = NULL",
                "UPDATE parts SET raw_print = NULL",
            ):
                connection.execute(text(query))


def decoded(value: Any) -> Any:
    """Return a JSON column's value, whichever database it came from."""
    return json.loads(value) if isinstance(value, str) else value


def dump(connection: Connection) -> dict[str, list[Any]]:
    """Return every row of the tables of the directory, in order."""
    return {
        table: sorted(
            tuple(map(str, row)) for row in connection.execute(text(f"SELECT * FROM {table}"))
        )
        for table in DIRECTORY_TABLES
    }


def directory(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return id → user with memberships and locked fields."""
    names = dict(connection.execute(text("SELECT id, name FROM schools")).all())
    users: dict[str, dict[str, Any]] = {}
    for row in connection.execute(text("SELECT * FROM users")):
        user = dict(row._mapping)
        user["locked_fields"] = decoded(user["locked_fields"])
        for name in ("protected", "kept_archived"):
            user[name] = bool(user[name])
        user["memberships"] = []
        users[user["id"]] = user
    for row in connection.execute(
        text("SELECT user_id, role, school_id, is_primary FROM memberships ORDER BY 1, 2, 3")
    ):
        name = names.get(row.school_id, row.school_id)
        users[row.user_id]["memberships"].append((row.role, name, bool(row.is_primary)))
    return users


def new_world(
    database: Database,
    folder: Path,
    *,
    sources: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    **settings: Any,
) -> World:
    """Return a world whose district has these sources (name → connector), in precedence."""
    plug_in()
    world = World(database)
    wanted = {"name": "Springfield USD", "slug": SLUG, "timezone": "UTC", **settings}
    with Session(database.engine) as session:
        district = District(
            slug=SLUG,
            name=str(wanted["name"]),
            settings=DistrictSettings.model_validate(wanted).stored(),
        )
        session.add(district)
        session.flush()
        for rank, (name, connector) in enumerate((sources or {"sis": "board"}).items(), 1):
            path = folder / f"{name}.json"
            world.rosters[name] = Roster(name, path)
            session.add(
                Source(
                    district_id=district.id or 0,
                    name=name,
                    connector=connector,
                    precedence=rank,
                    config={"path": str(path), **(config or {})},
                )
            )
        session.commit()
    return world


def every(world: World, status: str) -> Iterator[str]:
    """Yield the keys of everybody of a status."""
    for key, found in sorted(world.statuses().items()):
        if found == status:
            yield key
