"""A town: a district with OneRoster folders as sources, synced through the engine for a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import text

from core.storage.database import Database
from sync.acts.approval import apply_plan, approve_plan
from sync.engine import plan_district, sync_district
from sync.run.outcome import Outcome
from sync.sources.district_load import load_district_file
from tests.kit.oneroster_folder import ORGS, write_roster

_numbers = itertools.count(1)


class P(NamedTuple):
    """One row of users.csv. ``ident`` becomes what the connector makes of ``identifier``."""

    key: str
    given: str
    family: str
    email: str = ""
    ident: str = ""
    role: str = "student"
    school: str = "s1"
    grade: str = "09"
    enabled: str = "true"
    login: str = ""
    """The username; the key where it is empty."""
    user_ids: str = ""

    def row(self) -> str:
        grade = self.grade if self.role == "student" else ""
        return (
            f"{self.key},,,{self.enabled},{self.school},{self.role},{self.login or self.key},"
            f"{self.user_ids},{self.given},"
            f"{self.family},,{self.ident},{self.email},,,,{grade},"
        )


def child(number: int, domain: str = "a.example", **more: Any) -> P:
    """Return one of a school's many students."""
    values = {
        "key": f"k{number}",
        "given": f"Given{number}",
        "family": f"Family{number}",
        "email": f"g{number}.f{number}@{domain}",
        "ident": f"I{number}",
    } | more
    return P(**values)


class Town:
    """A district of its own in the test's database. Days pass by ``tick``."""

    def __init__(
        self, database: Database, folder: Path, sources: Sequence[str] = ("sis",), more: str = ""
    ) -> None:
        self.database = database
        self.slug = f"town-{next(_numbers)}"
        self.folder = folder / self.slug
        self.folder.mkdir()
        self.now = datetime(2026, 9, 1, 12, tzinfo=UTC)
        self.more = more
        self.load(sources)

    def load(self, sources: Sequence[str]) -> None:
        """Configure these sources, in precedence."""
        lines = [
            "[[district]]", f'slug = "{self.slug}"', 'name = "Town"', 'timezone = "UTC"', self.more
        ]  # fmt: skip
        for rank, name in enumerate(sources, 1):
            (self.folder / name).mkdir(exist_ok=True)
            lines += [
                "[[district.source]]", f'name = "{name}"', 'connector = "oneroster_csv"',
                f"precedence = {rank}", "[district.source.config]", f'path = "{name}"',
            ]  # fmt: skip
        file = self.folder / "district.toml"
        file.write_text("\n".join(lines))
        load_district_file(self.database, file)

    def tick(self, **time: int) -> datetime:
        self.now += timedelta(**time or {"minutes": 1})
        return self.now

    def clock(self) -> datetime:
        return self.now

    def write(self, people: Iterable[P], source: str = "sis", orgs: str = ORGS) -> None:
        """Write a whole roster of a source."""
        write_roster(self.folder / source, (person.row() for person in people), orgs)

    def sync(self, *sources: str, expect: str | None = None) -> Outcome:
        self.tick()
        done = sync_district(
            self.database, self.slug, sources=sources, actor="test", now=self.clock
        )
        assert done.error is None or expect, done.error
        if expect is not None:
            assert done.status == expect, done
        return done

    def plan(self) -> Outcome:
        self.tick()
        return plan_district(self.database, self.slug, actor="test", now=self.clock)

    def apply(self, outcome: Outcome) -> Outcome:
        self.tick()
        done = apply_plan(self.database, outcome.plan_ids[0], actor="test", now=self.clock)
        assert done.status == "applied", done
        return done

    def approve(self) -> Outcome:
        """Approve the standing plan."""
        self.tick()
        (plan,) = self.ask("SELECT id FROM plans WHERE district_id = :d AND standing")
        done = approve_plan(self.database, plan.id, actor="test", now=self.clock)
        assert done.status == "applied", done
        return done

    # -- what there is

    @property
    def id(self) -> int:
        with self.database.read() as connection:
            return int(
                connection.execute(
                    text("SELECT id FROM districts WHERE slug = :s"), {"s": self.slug}
                ).scalar_one()
            )

    def ask(self, query: str, **values: Any) -> list[Any]:
        """Return the rows of a query; ``:d`` is this district."""
        about = values | ({"d": self.id} if ":d" in query else {})
        with self.database.read() as connection:
            return list(connection.execute(text(query), about).all())

    def users(self, status: str | None = None) -> list[Any]:
        rows = self.ask("SELECT * FROM users WHERE district_id = :d ORDER BY id")
        return [row for row in rows if status in (None, row.status)]

    def user(self, key: str, source: str = "sis") -> Any:
        """Return the user to whom a record is linked."""
        rows = self.ask(
            "SELECT u.* FROM users u JOIN links l ON l.target_id = u.id JOIN records r"
            " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id"
            " WHERE s.district_id = :d AND s.name = :source AND r.kind = 'user'"
            " AND r.external_id = :key",
            source=source, key=key,
        )  # fmt: skip
        return rows[0] if rows else None

    def conflicts(self, status: str = "open") -> list[Any]:
        return self.ask(
            "SELECT c.*, r.external_id FROM conflicts c JOIN records r ON r.id = c.record_id"
            " WHERE c.district_id = :d AND c.status = :status ORDER BY c.id",
            status=status,
        )  # fmt: skip

    def counts(self, plan_id: int) -> dict[str, int]:
        """Return what a plan counts, without what it counts zero of."""
        import json

        (row,) = self.ask("SELECT counts FROM plans WHERE id = :plan", plan=plan_id)
        found = json.loads(row.counts) if isinstance(row.counts, str) else row.counts
        return {name: number for name, number in found.items() if number}

    def state(self) -> dict[str, Any]:
        """Return the directory, revisions aside: what an undo must bring back."""
        ids = "(SELECT id FROM users WHERE district_id = :d)"
        users = {
            row.id: {
                name: value
                for name, value in row._asdict().items()
                if name not in ("revision", "hand_at", "created_at")
            }
            for row in self.users()
        }
        members = self.ask(
            f"SELECT user_id, role, school_id, is_primary FROM memberships WHERE user_id IN {ids}"
            " ORDER BY 1, 2, 3"
        )
        links = self.ask(
            "SELECT l.record_id, l.target_id, l.held FROM links l JOIN records r"
            " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id WHERE s.district_id = :d"
            " ORDER BY 1"
        )
        schools = self.ask(
            "SELECT id, status, name, nces_id, state_id, number FROM schools"
            " WHERE district_id = :d ORDER BY id"
        )
        retired = self.ask("SELECT name, retired FROM sources WHERE district_id = :d ORDER BY 1")
        return {
            "users": users,
            "members": [(*tuple(row[:3]), bool(row[3])) for row in members],
            "links": {row.record_id: (row.target_id, bool(row.held)) for row in links},
            "schools": {row.id: tuple(row[1:]) for row in schools},
            "retired": [(row.name, bool(row.retired)) for row in retired],
        }
