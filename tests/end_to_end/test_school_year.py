"""A school year of a district of 2,000 people, as its admin lives it: June to the next September.

The calendar, the schedule, the engine, the guard, the notifications and the vendor's data are real;
only the clock is ours. Two syncs a day, the clock changes twice, the vendor is late in August and
has two bad days. The story is told as the admin hears it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import VendorFailure
from core.storage.database import Database, open_database
from rostersync.service.run_one import run_due
from sync.acts.pause import calendar_of_district
from sync.rules.sync_times import calendar
from tests.kit.school_year import Person, Town, staff

DISTRICT = """\
grace = { days = 1, fetches = 2 }
[[district.pause]]
start = "06-15"
end = "08-10"
"""
SCHOOLS = {"s1": "Adams Elementary", "s2": "Grant Middle", "s3": "Lincoln High"}
GRADES = {
    "s1": ("KG", "01", "02", "03", "04", "05"),
    "s2": ("06", "07", "08"),
    "s3": ("09", "10", "11", "12"),
}
NEXT_SCHOOL = {"05": "s2", "08": "s3"}


class Year:
    """The town, day after day. ``gone`` are the people who have really left: the truth."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.gone: set[str] = set()
        self.story: list[str] = []
        self.days: dict[date, list[Callable[[], None]]] = {}
        self.runs = 0
        self.data = 0

    def on(self, day: str, act: Callable[[], None]) -> None:
        """Let something happen in the night before a day."""
        self.days.setdefault(date.fromisoformat(day), []).append(act)

    def leave(self, *keys: str) -> None:
        """Let people leave: they are gone for good."""
        self.town.vendor.leave(*keys)
        self.gone |= set(keys)

    def live(self, first: str, last: str) -> None:
        """Live through the days, sync when it is due, and check after each that nobody is lost."""
        town = self.town
        day, end = date.fromisoformat(first), date.fromisoformat(last)
        while day <= end:
            for act in self.days.get(day, []):
                act()
                self.data += 1
            town.vendor.revision = f"r{self.data}"
            with town.database.read() as connection:
                found = calendar_of_district(connection, town.slug)
            for row in calendar(found.settings, found.state, day, day):
                town.now = row.starts
                if row.runs:
                    self.sync(row.due.astimezone(UTC))
            day += timedelta(days=1)

    def sync(self, due: datetime) -> None:
        self.runs += 1
        run_due(self.town.database, self.town.slug, due, now=self.town.clock, send=self.hear)
        wrong = self.town.archived - self.gone
        assert not wrong, f"{self.town.now}: archived wrongly: {sorted(wrong)[:3]}"

    def hear(self, _: Any, title: str, body: str, _severity: object) -> bool:
        words = title.partition(": ")[2]
        if words.startswith("P"):
            words = f"a plan {words.partition(' ')[2]} ({body.splitlines()[0]})"
        self.story.append(f"{self.town.now.astimezone(self.town.zone):%m-%d %H} {words}")
        return True

    def roll_over(self, *schools: str) -> None:
        """Let schools begin the new year: one grade up, the fifth and eighth go on, the last go."""
        vendor = self.town.vendor
        for person in vendor:
            if person.role != "student" or person.school not in schools:
                continue
            if person.grade == "12":
                self.leave(person.key)
                continue
            vendor.change(
                person.key,
                grade="01" if person.grade == "KG" else f"{int(person.grade) + 1:02}",
                school=NEXT_SCHOOL.get(person.grade, person.school),
            )

    def enroll(self, year: int, count: int) -> None:
        """Let a new kindergarten come."""
        self.town.vendor.join(
            *(Person(f"kg{year}-{n:03}", school="s1", grade="KG") for n in range(count))
        )


@pytest.fixture
def year(_migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Year]:
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    monkeypatch.setenv("ROSTERSYNC_NOTIFY", "json://nowhere.example")
    path = tmp_path / "year.db"
    path.write_bytes(_migrated_sqlite.read_bytes())
    database: Database = open_database(f"sqlite:///{path}")
    town = Town(database, tmp_path, DISTRICT, times=("05:00", "14:00"))
    town.vendor.schools = dict(SCHOOLS)
    town.vendor.join(
        *(
            Person(f"{school}-g{grade}-{n:03}", school=school, grade=grade)
            for school, grades in GRADES.items()
            for grade in grades
            for n in range(140)
        ),
        *staff("s1", 60), *staff("s2", 50), *staff("s3", 60), *staff("s3", 10, "admin"),
    )  # fmt: skip
    with database.engine.connect():  # so that no other one is the last, which tidies up the file
        yield Year(town)
    database.engine.dispose()


QUIET = (("2026-08-26", "2026-10-04"), ("2026-11-14", "2027-01-11"), ("2027-02-07", "2027-03-11"),
         ("2027-03-19", "2027-04-18"), ("2027-04-24", "2027-06-11"))  # fmt: skip
"""Weeks in which nothing happens. The short telling leaves them out, as if the machine slept."""


@pytest.mark.parametrize("asleep", [QUIET, pytest.param((), marks=pytest.mark.long)])
def test_a_year_of_2000_people_without_one_wrong_archive(
    year: Year, asleep: tuple[tuple[str, str], ...]
) -> None:
    town, vendor = year.town, year.town.vendor
    # June. A few families move away; then it is summer.
    year.on("2026-05-20", lambda: year.leave("s1-g02-001", "s1-g04-001", "s2-g07-001"))
    # July. The high school's office cleans up while everything is paused.
    year.on("2026-07-20", lambda: year.leave("s3-teacher-000", "s3-teacher-001"))
    # August. The vendor rolls Adams and Grant over in time, Lincoln a week late.
    year.on("2026-08-08", lambda: (year.roll_over("s2"), year.roll_over("s1"))[0])
    year.on("2026-08-08", lambda: year.enroll(2026, 140))
    year.on("2026-08-17", lambda: year.roll_over("s3"))
    # Autumn. Two bad days: a roster without its second half, and a vendor that is down.
    year.on("2026-10-06", lambda: setattr(vendor, "short", True))
    year.on("2026-10-07", lambda: setattr(vendor, "short", False))
    half: dict[str, Person] = {}

    def lose_half() -> None:
        half.update(vendor.people)
        vendor.people = {key: one for key, one in half.items() if one.school != "s2"}

    year.on("2026-11-10", lose_half)
    year.on("2026-11-11", lambda: vendor.people.update(half))
    year.on("2027-02-02", lambda: setattr(vendor, "fails", VendorFailure("Down.")))
    year.on("2027-02-04", lambda: setattr(vendor, "fails", None))
    # Spring. People come and go, a few each week.
    for week, day in enumerate(("2027-01-12", "2027-01-26", "2027-03-16", "2027-04-20")):
        year.on(day, lambda week=week: year.leave(f"s1-g01-{week:03}", f"s2-g06-{week:03}"))  # type: ignore[misc]

    year.live("2026-05-11", "2026-08-20")
    assert len(town.active) == 2000 + 140 - 140 - 3  # the two teachers wait for the admin
    held = town.held()
    assert held == {"archive": {"s3-teacher-000", "s3-teacher-001"}}
    town.approve()
    day = "2026-08-21"
    for first, last in asleep:
        year.live(day, first)
        day = last
    year.live(day, "2027-06-20")

    assert town.archived == year.gone
    assert town.active == set(vendor.people)
    assert year.story == STORY


STORY = [
    "06-14 05 tomorrow: paused",
    # the graduates of Adams and Grant are updates; Lincoln still shows the old year
    "08-11 05 1 school still shows the old year",
    # the days of grace of the two teachers are over, and Lincoln has not rolled over
    "08-12 05 2 people wait for a rollover",
    "08-17 05 a plan waits for your approval (Held: 2 archive. Whatever was safe was applied.)",
    "08-17 05 back from the pause",
    # the roster without its second half: nobody leaves
    "10-06 05 sis could not be read completely",
    "10-07 05 sis is read again",
    # a whole school is missing from a complete roster: a warning, and the next day it is back
    "11-10 05 many people are about to leave",
    "02-02 05 sis could not be read completely",
    "02-03 05 sis fails again and again",
    "02-03 05 sis gives no new data",
    "02-04 05 sis is read again",
    "02-04 05 sis gives data again",
    "06-14 05 tomorrow: paused",
]
"""What the admin heard in thirteen months."""
