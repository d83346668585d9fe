"""Limits with their defaults, from 20 to 200,000 users, and what no order of runs may change."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settings import Limits
from core.storage.database import Database
from sync.rules.limits import DISTRICT, DISTRICT_ROLE, SCHOOL_ROLE, Group, allowed_in
from tests.kit.school_year import Person, Town
from tests.kit.sizes import examples

SIZES = (20, 60, 200, 600, 2_000, 6_000, 20_000, 60_000, 200_000)
LIMITS = Limits()


def schools_of(users: int) -> list[tuple[int, int]]:
    """Return the students and teachers of each school of a district with so many users."""
    schools = max(1, round(users / 550))
    each = users / schools
    return [(round(each * 15 / 16), max(1, round(each / 16)))] * schools


def held(users: int, gone: list[tuple[int, int]]) -> bool:
    """Say whether a district of this size holds, if so many students and teachers are gone."""
    schools = schools_of(users)
    groups = [(Group(1, DISTRICT), LIMITS.district, users, sum(map(sum, gone)))]
    for role in (0, 1):
        name = ("student", "teacher")[role]
        all_of, all_gone = sum(s[role] for s in schools), sum(g[role] for g in gone)
        groups.append((Group(1, DISTRICT_ROLE, "", name), LIMITS.district_role, all_of, all_gone))
        groups += [
            (Group(1, SCHOOL_ROLE, str(number), name), LIMITS.school_role, school[role], lost[role])
            for number, (school, lost) in enumerate(zip(schools, gone, strict=True))
        ]
    return any(found > allowed_in(group, people, rule) for group, rule, people, found in groups)


@pytest.mark.parametrize("users", SIZES)
def test_an_ordinary_week_passes_at_every_size(users: int) -> None:
    """Half of a hundred families move each week; a teacher leaves here and there."""
    schools = schools_of(users)
    gone = [
        (max(1, students // 200), int(teachers > 1 and number % 7 == 0))
        for number, (students, teachers) in enumerate(schools)
    ]
    assert not held(users, gone)


@pytest.mark.parametrize("users", SIZES)
def test_a_lost_school_a_lost_role_and_a_half_roster_are_held_at_every_size(users: int) -> None:
    schools = schools_of(users)
    nobody = [(0, 0)] * len(schools)
    assert held(users, [schools[0], *nobody[1:]])
    assert held(users, [(students // 2, teachers // 2) for students, teachers in schools])
    if schools[0][1] > 1 or len(schools) > 1:
        assert held(users, [(0, teachers) for _, teachers in schools])


@pytest.mark.parametrize("users", SIZES)
def test_a_class_that_is_gone_from_a_school_is_held(users: int) -> None:
    schools = schools_of(users)
    students = schools[0][0]
    gone = [(students // 4, 0), *[(0, 0)] * (len(schools) - 1)]
    assert held(users, gone)


# -- through the engine

_numbers = itertools.count(1)
KEYS = [f"{role[0]}{school}{n}" for role, school, count in (
    ("student", "s1", 14), ("student", "s2", 9), ("teacher", "s1", 4), ("teacher", "s2", 2),
) for n in range(count)]  # fmt: skip


def new_town(database: Database, folder: Path) -> Town:
    town = Town(database, folder, slug=f"d{next(_numbers)}")
    town.vendor.schools = {"s1": "Lincoln", "s2": "Grant"}
    town.vendor.join(
        *(Person(key, {"s": "student", "t": "teacher"}[key[0]], key[1:3]) for key in KEYS)
    )
    town.sync("2026-10-05 05:00")
    return town


@pytest.fixture
def small(_migrated_sqlite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    path = tmp_path / "small.db"
    path.write_bytes(_migrated_sqlite.read_bytes())
    return Database(f"sqlite:///{path}")


MISSING = st.lists(st.sampled_from(KEYS), unique=True, min_size=1, max_size=12)


@settings(max_examples=examples(8, long=200))
@given(missing=MISSING)
def test_one_more_missing_person_never_archives_anybody_else(
    small: Database, tmp_path: Path, missing: list[str]
) -> None:
    *fewer, one_more = missing
    archived = []
    for gone in (fewer, missing):
        town = new_town(small, tmp_path)
        town.vendor.leave(*gone)
        town.sync("2026-10-06 05:00")
        archived.append(town.archived)
        assert town.archived | town.held().get("archive", set()) == set(gone)
    assert archived[1] - archived[0] <= {one_more}


@settings(max_examples=examples(8, long=200))
@given(missing=MISSING, cuts=st.sets(st.integers(0, 11), max_size=3))
def test_cutting_a_day_into_more_runs_takes_no_more_and_ends_the_same(
    small: Database, tmp_path: Path, missing: list[str], cuts: set[int]
) -> None:
    whole, cut = new_town(small, tmp_path), new_town(small, tmp_path)
    whole.vendor.leave(*missing)
    whole.sync("2026-10-06 05:00")
    parts = [missing[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), len(missing)])]
    for hour, part in enumerate(part for part in parts if part):
        cut.vendor.leave(*part)
        cut.sync(f"2026-10-06 {5 + hour:02}:00")
    for prefix, people in (("ss1", 14), ("ss2", 9), ("ts1", 4), ("ts2", 2)):
        taken = sum(key.startswith(prefix) for key in cut.archived)
        assert taken <= allowed_in(Group(1, SCHOOL_ROLE, "x", "x"), people, LIMITS.school_role)
    assert len(cut.archived) <= allowed_in(Group(1, DISTRICT), len(KEYS), LIMITS.district)
    for town in (whole, cut):
        if town.standing is not None:
            town.approve()
    assert whole.archived == cut.archived == set(missing)
