"""A rollover is expected only of a pause that spans the district's turn of the year (S6).

After any other pause the guarded run judges once, and then the limits do: nobody is lost silently.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from core.storage.database import Database
from sync.acts.pause import pause_district, resume_district
from sync.engine import sync_district
from sync.run.outcome import Outcome
from tests.kit.fixtures import NewTown
from tests.kit.school_year import Town, classes, filled, staff
from tests.kit.sizes import examples
from tests.kit.user_files import HEADER, district, row

DAY = timedelta(days=1)
LEAVERS = {f"s1-g06-{n:04}" for n in range(2)}
_numbers = itertools.count(1)


def by_hand(town: Town, start: str, end: str) -> None:
    town.at(start)
    pause_district(town.database, town.slug, actor="ada", now=town.clock)
    town.at(end)
    resume_district(town.database, town.slug, actor="ada", now=town.clock)


def test_after_a_pause_in_november_the_guarded_run_judges_once_and_then_the_limits_do(
    new_town: NewTown,
) -> None:
    town = filled(new_town())
    town.sync("2026-11-02 05:00")
    by_hand(town, "2026-11-02 09:00", "2026-11-04 09:00")
    assert town.sync("2026-11-04 10:00").status == "nothing_to_do"
    town.vendor.leave(*(f"s1-g0{grade}-{n:04}" for grade in (6, 7) for n in range(8)))
    outcome = town.sync("2026-11-05 05:00")
    assert (outcome.status, outcome.exit_code) == ("held", 10)
    assert len(town.held()["archive"]) == 16
    assert "guard" not in town.limits(), "the guard has judged once, by the run before"


def test_after_a_pause_in_november_whoever_is_gone_at_once_is_held_and_does_not_wait(
    new_town: NewTown,
) -> None:
    town = filled(new_town())
    town.sync("2026-11-02 05:00")
    by_hand(town, "2026-11-02 09:00", "2026-11-04 09:00")
    town.vendor.leave(*LEAVERS)
    outcome = town.sync("2026-11-04 10:00")
    assert (outcome.status, outcome.exit_code) == ("held", 10)
    assert town.held() == {"archive": LEAVERS}
    assert town.limits() == {"guard"}


def test_few_who_leave_after_a_judged_pause_simply_leave(new_town: NewTown) -> None:
    town = filled(new_town())
    town.sync("2026-11-02 05:00")
    by_hand(town, "2026-11-02 09:00", "2026-11-04 09:00")
    town.sync("2026-11-04 10:00")
    town.vendor.leave(*LEAVERS)
    assert town.sync("2026-11-05 05:00").status == "applied"
    assert town.archived == LEAVERS


def test_the_vendors_own_pause_in_november_spans_no_turn_of_the_year_either(
    new_town: NewTown,
) -> None:
    town = filled(new_town())
    town.vendor.state = "paused"
    town.sync("2026-11-02 05:00")
    town.sync("2026-11-09 05:00")
    town.vendor.state = None
    town.vendor.leave(*LEAVERS)
    assert town.sync("2026-11-10 05:00").status == "held"
    assert town.held() == {"archive": LEAVERS}


def test_the_vendors_own_pause_in_summer_spans_it(new_town: NewTown) -> None:
    town = filled(new_town())
    for day in ("2026-06-15", "2026-06-29", "2026-07-06", "2026-08-10"):
        town.vendor.state = "paused"
        town.sync(f"{day} 05:00")
    town.vendor.state = None
    town.vendor.leave(*LEAVERS)
    assert town.sync("2026-08-11 05:00").status == "waiting"


def test_a_district_south_of_the_equator_says_when_its_year_ends(new_town: NewTown) -> None:
    town = filled(
        new_town(
            'year_end = "12-11"\n[[district.pause]]\nstart = "12-12"\nend = "01-28"\n'
            '[[district.pause]]\nstart = "06-20"\nend = "07-12"\n'
        )
    )
    town.sync("2026-06-19 05:00")
    town.vendor.leave("s1-g06-0000")
    assert town.sync("2026-07-13 05:00").status == "held", "their winter break"
    town.approve()
    town.sync("2026-12-11 05:00")
    town.vendor.leave("s1-g06-0001")
    assert town.sync("2027-01-29 05:00").status == "waiting", "their summer"


# -- any pause, any turn of the year


@pytest.fixture
def small(_migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    path = tmp_path / "small.db"
    path.write_bytes(_migrated_sqlite.read_bytes())
    return Database(f"sqlite:///{path}")


@settings(max_examples=examples(12, long=300))
@given(
    start=st.dates(date(2026, 7, 1), date(2027, 12, 1)),
    days=st.integers(0, 75),
    turn=st.sampled_from(["06-30", "12-11", "01-01", "02-29"]),
    how=st.sampled_from(["hand", "calendar", "vendor"]),
)
@example(start=date(2027, 7, 1), days=20, turn="06-30", how="calendar")
@example(start=date(2027, 6, 30), days=0, turn="06-30", how="hand")
@example(start=date(2027, 6, 1), days=28, turn="06-30", how="calendar")
@example(start=date(2026, 12, 20), days=30, turn="01-01", how="vendor")
def test_they_wait_just_when_the_pause_covers_the_end_of_the_year_or_the_day_after(
    small: Database, tmp_path: Path, start: date, days: int, turn: str, how: str
) -> None:
    end = start + days * DAY
    pause = f'[[district.pause]]\nstart = "{start}"\nend = "{end}"\n' if how == "calendar" else ""
    town = Town(small, tmp_path, f'year_end = "{turn}"\n{pause}', slug=f"d{next(_numbers)}")
    town.vendor.join(*staff("s1", 3), *classes("s1", g06=8, g07=9, g08=5))
    town.sync(f"{start - DAY} 05:00")
    assert len(town.active) == 25
    if how == "hand":
        town.at(f"{start} 05:00")
        pause_district(town.database, town.slug, until=end, actor="ada", now=town.clock)
    if how == "vendor":
        town.vendor.state = "paused"
        for day in sorted({start, end}):
            town.sync(f"{day} 05:00")
        town.vendor.state = None
    town.vendor.leave(*LEAVERS)
    outcome = town.sync(f"{end + DAY} 05:00")
    covered = {(start + n * DAY) for n in range(-1, days + 1)}
    turns = {one for one in covered if f"{one:%m-%d}" == turn}
    if turn == "02-29":  # the last day of February, in years without that day
        turns |= {one for one in covered if f"{one:%m-%d}" == "02-28" and (one + DAY).month == 3}
    assert outcome.status == ("waiting" if turns else "held")
    assert town.archived == set()
    if not turns:
        assert town.held() == {"archive": LEAVERS}


@settings(max_examples=examples(2, long=60), phases=[Phase.explicit, Phase.generate])
@given(years=st.lists(st.integers(2024, 2030), min_size=14, max_size=24), gone=st.data())
@example(years=[2026] * 20 + [2028] * 20, gone=None)
def test_s8_only_who_has_graduated_leaves_unasked_in_the_first_sync_after_the_summer(
    database: Database, tmp_path: Path, years: list[int], gone: Any
) -> None:
    folder = tmp_path / f"s8-{next(_numbers)}"
    folder.mkdir()
    slug = district(
        database, folder, 'path = "people.csv"', slug=folder.name,
        more='pause = [{ start = "06-15", end = "08-10" }]',
    )  # fmt: skip
    absent = set(  # half of a role may go from a file, and not more (F6)
        range(20) if gone is None
        else gone.draw(st.sets(st.integers(0, len(years) - 1), max_size=len(years) // 2))
    )  # fmt: skip

    def sync(day: str, people: Iterable[int]) -> Outcome:
        lines = [
            row(n, "student", firstname=f"Ana{n}", lastname="Lima", gradyear=str(years[n]))
            for n in people
        ]
        (folder / "people.csv").write_text("\n".join([HEADER, *lines, ""]))
        at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
        return sync_district(database, slug, actor="x", now=lambda: at)

    assert sync("2026-06-12", range(len(years))).status == "applied"
    outcome = sync("2026-08-11", (n for n in range(len(years)) if n not in absent))
    graduates = {n for n in absent if years[n] <= 2026}
    with database.read() as connection:
        query = text(
            "SELECT u.given_name FROM users u JOIN districts d ON d.id = u.district_id"
            " WHERE d.slug = :slug AND u.status = 'archived'"
        )
        archived = set(connection.execute(query, {"slug": slug}).scalars())
    assert archived == {f"Ana{n}" for n in graduates}
    assert outcome.exit_code == (10 if absent - graduates else 0), outcome
