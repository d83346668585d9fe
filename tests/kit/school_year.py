"""A town with a vendor of its own: a roster in memory, a fake clock, and the real engine between.

The vendor is an ordinary connector. Its roster is a list of people that a test edits, and it can
have bad days: errors, short pages, its own pause.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import text

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Record,
)
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, Role
from core.storage.database import Database
from core.storage.stored import utc_text
from sync.acts.approval import approve_plan, reject_plan
from sync.engine import plan_district, sync_district
from sync.run.outcome import Outcome
from sync.sources.district_load import load_district_file
from tests.kit import plug_in

# -- the vendor


@dataclass(frozen=True)
class Person:
    """One entry of the roster. ``school`` and ``grade`` empty: none."""

    key: str
    role: str = "student"
    school: str = "s1"
    grade: str = ""
    enabled: bool = True


@dataclass
class Vendor:
    """What the vendor would serve now."""

    schools: dict[str, str] = field(default_factory=lambda: {"s1": "Lincoln"})
    people: dict[str, Person] = field(default_factory=dict)
    state: str | None = None
    """The vendor's own word: ``paused`` …"""
    fails: Exception | None = None
    """Raised instead of serving anything."""
    short: bool = False
    """The last page is missing."""
    reads: int = 0
    """How often it was asked."""
    data_time: datetime | None = None
    hook: Callable[[], None] | None = None
    revision: str | None = None
    """The vendor's own mark of its data, if it has one: nothing is served while it stays."""

    def __iter__(self) -> Iterator[Person]:
        return iter(list(self.people.values()))

    def join(self, *people: Person) -> None:
        self.people.update({person.key: person for person in people})

    def leave(self, *keys: str) -> None:
        for key in keys:
            del self.people[key]

    def change(self, key: str, **values: Any) -> None:
        self.people[key] = replace(self.people[key], **values)

    def roll_over(self, *schools: str, top: str = "08") -> list[str]:
        """Everybody one grade up; those in ``top`` are gone. Return the graduates' keys."""
        gone = []
        for person in self:
            if schools and person.school not in schools:
                continue
            if person.grade == top and person.role == "student":
                self.leave(person.key)
                gone.append(person.key)
            elif person.grade:
                now = "01" if person.grade == "KG" else f"{int(person.grade) + 1:02}"
                self.change(person.key, grade=now)
        return gone


VENDORS: dict[str, Vendor] = {}


class TownConfig(ConnectorConfig):
    """Which vendor of the test it is."""

    vendor: str


def _lines(body: bytes) -> Sequence[bytes]:
    return body.split(b"\n") if body else []


class TownRoster(Connector):
    """Serves the vendor's list."""

    name = "town"
    version = "1"
    title = "A town's roster"
    config_model = TownConfig
    capabilities = Capabilities(discovery=True, skips_unchanged=True)
    streams: ClassVar[Mapping[str, Kind]] = {"schools": Kind.SCHOOL, "users": Kind.USER}

    @property
    def vendor(self) -> Vendor:
        assert isinstance(self.config, TownConfig)
        return VENDORS[self.config.vendor]

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        vendor = self.vendor
        vendor.reads += 1
        if vendor.hook is not None:
            vendor.hook()
        if vendor.fails is not None:
            raise vendor.fails
        if vendor.revision is not None and request.revision == vendor.revision:
            return Certificate(complete=True, unchanged=True, revision=vendor.revision)
        schools = [msgspec.json.encode([key, name]) for key, name in vendor.schools.items()]
        people = [
            msgspec.json.encode([p.key, p.role, p.school, p.grade, p.enabled])
            for p in vendor.people.values()
        ]
        served = people[: len(people) // 2] if vendor.short else people
        yield Page("schools", b"\n".join(schools), _lines)
        yield Page("users", b"\n".join(served), _lines)
        return Certificate(
            complete=True,
            pages=2,
            declared={"schools": len(schools), "users": len(people)},
            vendor_state=vendor.state,
            revision=vendor.revision,
            vendor_time=vendor.data_time,
        )

    def identify(self, stream: str, raw: bytes) -> str:
        return str(msgspec.json.decode(raw)[0])

    def parse(self, stream: str, raw: bytes) -> Record:
        values = msgspec.json.decode(raw)
        if stream == "schools":
            key, name = values
            school = NormalizedSchool(external_id=key, name=name, number=key)
            return Record(Kind.SCHOOL, key, school=school)
        key, role, place, grade, enabled = values
        user = NormalizedUser(
            external_id=key,
            given_name="Sam",
            family_name=f"Family {key}",
            email=f"{key}@town.example",
            memberships=(Membership(role=Role(role), school=place or None),),
            grade=grade or None,
            enabled=enabled,
        )
        return Record(Kind.USER, key, user=user)


# -- the town

_numbers = itertools.count(1)
ZONE = "America/Chicago"

_DISTRICT = """\
[[district]]
slug = "{slug}"
name = "Springfield USD"
timezone = "{zone}"
sync_times = [{times}]
{more}
"""
_SOURCE = """
[[district.source]]
name = "{name}"
connector = "town"
precedence = {rank}
[district.source.config]
vendor = "{vendor}"
"""


class Town:
    """One district: its vendor, its clock, its database."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        more: str = "",
        *,
        slug: str = "springfield",
        zone: str = ZONE,
        sources: Sequence[str] = ("sis",),
        times: Sequence[str] = ("05:00", "10:00", "14:00", "19:00"),
    ) -> None:
        plug_in()
        self.database = database
        self.slug = slug
        self.zone = ZoneInfo(zone)
        self.now = datetime(2026, 5, 4, 5, tzinfo=self.zone)
        self.folder = folder
        self.times = ", ".join(f'"{one}"' for one in times)
        self._sources = {name: f"vendor{next(_numbers)}" for name in sources}
        self.vendors = {name: Vendor() for name in sources}
        for name, vendor in self._sources.items():
            VENDORS[vendor] = self.vendors[name]
        self.vendor = self.vendors[sources[0]]
        self.load(more)

    def load(self, more: str = "") -> None:
        """Load the district file, with ``more`` keys of the district."""
        head = _DISTRICT.format(slug=self.slug, zone=self.zone.key, times=self.times, more=more)
        tail = "".join(
            _SOURCE.format(name=name, rank=rank, vendor=vendor)
            for rank, (name, vendor) in enumerate(self._sources.items(), 1)
        )
        file = self.folder / f"{self.slug}.toml"
        file.write_text(head + tail)
        load_district_file(self.database, file, now=self.clock)

    # -- the clock

    def at(self, local: str) -> datetime:
        """Set the clock to a local time, like ``2026-08-11 05:00``."""
        self.now = datetime.fromisoformat(local).replace(tzinfo=self.zone)
        return self.now

    def clock(self) -> datetime:
        return self.now.astimezone(UTC)

    # -- acts

    def sync(self, at: str | None = None, **options: Any) -> Outcome:
        if at is not None:
            self.at(at)
        return sync_district(self.database, self.slug, actor="test", now=self.clock, **options)

    def plan(self, at: str | None = None, **options: Any) -> Outcome:
        if at is not None:
            self.at(at)
        return plan_district(self.database, self.slug, actor="test", now=self.clock, **options)

    def approve(self, plan_id: int | None = None, **options: Any) -> Outcome:
        plan = plan_id if plan_id is not None else self.standing
        assert plan is not None
        return approve_plan(self.database, plan, actor="ada", now=self.clock, **options)

    def reject(self) -> Outcome:
        assert self.standing is not None
        return reject_plan(self.database, self.standing, actor="ada", reason="no", now=self.clock)

    # -- what it came to

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.database.read() as connection:
            about = {"slug": self.slug, **values}
            return list(connection.execute(text(query), about).all())

    @property
    def standing(self) -> int | None:
        rows = self.rows(
            "SELECT p.id FROM plans p JOIN districts d ON d.id = p.district_id"
            " WHERE d.slug = :slug AND p.standing"
        )
        return int(rows[0].id) if rows else None

    def with_status(self, status: Literal["active", "suspended", "archived"]) -> set[str]:
        """Return the keys of the people who are so."""
        rows = self.rows(_KEYS, status=status)
        return {row.external_id for row in rows}

    @property
    def active(self) -> set[str]:
        return self.with_status("active")

    @property
    def archived(self) -> set[str]:
        return self.with_status("archived")

    def held(self, plan_id: int | None = None) -> dict[str, set[str]]:
        """Return action → keys of the standing held plan."""
        plan = plan_id if plan_id is not None else self.standing
        found: dict[str, set[str]] = {}
        for row in self.rows(_CHANGED, plan=plan or 0):
            found.setdefault(row.action, set()).add(row.external_id)
        return found

    def limits(self) -> set[str]:
        """Return the names of the limits that the standing plan was held by."""
        rows = self.rows("SELECT held FROM plans WHERE id = :plan", plan=self.standing or 0)
        stored = rows[0].held if rows else []
        trips = msgspec.json.decode(stored) if isinstance(stored, str) else stored
        return {trip["limit"] for trip in trips}

    @property
    def season_state(self) -> dict[str, Any]:
        stored = self.rows("SELECT season_state FROM districts WHERE slug = :slug")[0].season_state
        state: dict[str, Any] = msgspec.json.decode(stored) if isinstance(stored, str) else stored
        return state

    def runs_after(self, moment: datetime) -> list[Any]:
        return self.rows(
            "SELECT r.* FROM runs r JOIN districts d ON d.id = r.district_id"
            " WHERE d.slug = :slug AND r.started_at >= :moment ORDER BY r.id",
            moment=utc_text(moment),
        )


_KEYS = (
    "SELECT DISTINCT r.external_id FROM users u JOIN districts d ON d.id = u.district_id"
    " JOIN links l ON l.target_id = u.id JOIN records r ON r.id = l.record_id"
    " WHERE d.slug = :slug AND u.status = :status AND r.kind = 'user'"
)
_CHANGED = (
    "SELECT DISTINCT c.action, r.external_id FROM changes c"
    " LEFT JOIN links l ON l.target_id = c.target_id"
    " JOIN records r ON r.id = COALESCE(c.record_id, l.record_id)"
    " WHERE c.plan_id = :plan AND c.kind = 'user'"
)


def classes(school: str, role: str = "student", **grades: int) -> list[Person]:
    """Return people of a school by grade: ``classes("s1", g07=20, g08=5)``."""
    return [
        Person(f"{school}-{name}-{n:04}", role, school, "" if role != "student" else name[1:])
        for name, count in grades.items()
        for n in range(count)
    ]


def staff(school: str, count: int, role: str = "teacher") -> list[Person]:
    """Return people without a grade."""
    return [Person(f"{school}-{role}-{n:03}", role, school) for n in range(count)]


# -- worked example 1: a middle school and its summer

SUMMER = '[[district.pause]]\nstart = "06-15"\nend = "08-10"\n'
JUNE, AUGUST = "2026-06-12 05:00", "2026-08-11 05:00"
TWO_TEACHERS = {"s1-teacher-000", "s1-teacher-001"}
GRADUATES = {f"s1-g08-{n:04}" for n in range(5)}


def filled(town: Town) -> Town:
    """Let a middle school of 3 teachers and 22 students come in, in June."""
    town.vendor.join(*staff("s1", 3), *classes("s1", g06=8, g07=9, g08=5))
    assert town.sync(JUNE).status == "applied"
    assert len(town.active) == 25
    return town
