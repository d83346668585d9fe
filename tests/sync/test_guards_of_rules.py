"""One broken engine for each rule of who is who and of what a reading proves.

The guard of the rule is taken away, and the test that tells of the rule must fail. Guards of
limits, seasons, plans and reused ids are taken away in ``tests/sync/machine``, where a state
machine must notice; what these rules are about (families, several entries, rows that are refused or
repeated, schools) depends on rosters of a shape that a machine seldom draws.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.storage.database import Database, open_database
from sync.people import entries, identity, wish
from sync.planning import newcomers
from sync.planning.schools import _SchoolPlanner
from sync.reading import absence, repeated_ids
from tests.attack import test_distinct_ids, test_one_standard
from tests.attack.conftest import Attacked, attack_on
from tests.attack.forms import new_form
from tests.attack.hostile import people
from tests.connectors.files import test_refused
from tests.kit.town import Town
from tests.kit.world import World, new_world
from tests.sync.people import test_entries, test_family_addresses, test_leading_zeros
from tests.sync.planning import test_schools
from tests.sync.reading import test_repeated_ids

__all__ = ["attack_on"]


@dataclass(frozen=True)
class Stage:
    """What a story may need: an empty database, a folder, and a server to be read."""

    database: Database
    folder: Path
    patch: pytest.MonkeyPatch
    attack_on: Callable[..., Attacked]

    def town(self) -> Town:
        return Town(self.database, self.folder)

    def world(self) -> World:
        """Return a school with five students, as ``test_entries`` begins."""
        return test_entries.world.__wrapped__(self.make_world)  # type: ignore[attr-defined,no-any-return]

    def two(self) -> World:
        """Return two schools, as ``test_schools`` begins."""
        return test_schools.two.__wrapped__(self.make_world)  # type: ignore[attr-defined,no-any-return]

    def make_world(self, **how: Any) -> World:
        return new_world(self.database, self.folder, **how)

    def form(self, form: str, count: int) -> Any:
        """Return a district whose roster comes as files."""
        world = self.make_world(sources={"town": "board"})
        return new_form(form, people(count), None, world, self.folder, self.patch)  # type: ignore[arg-type]

    def year(self) -> test_refused.Year:
        return test_refused.Year(self.database, self.folder)


contradicting = (
    test_repeated_ids.test_rows_that_contradict_each_other_leave_their_person_and_are_listed
)
unknown_school = (
    test_schools.test_somebody_new_at_a_school_that_nobody_lists_joins_without_it_and_is_told
)
sibling = (
    test_family_addresses.test_a_sibling_joins_on_a_later_day_and_the_plan_says_whose_address_it_is
)
Story = Callable[[Stage], None]
GUARDS: dict[str, tuple[Any, str, Any, Story]] = {
    "F11, a repeated record hides a missing one": (
        absence, "short_of", lambda *_: {},
        lambda s: test_distinct_ids.test_the_same_on_every_store(s.database, s.attack_on),
    ),
    "F12, a refused row is about somebody": (
        absence, "keep_the_refused", lambda *_: None,
        lambda s: test_refused.test_f12_if_nobody_has_the_names_nobody_of_the_file_leaves(s.year()),
    ),
    "F13, a school that people name stays": (
        _SchoolPlanner, "_keep_those_in_use", lambda *_: None,
        lambda s: test_schools.test_a_school_that_people_name_stays_and_the_run_says_so_every_time(
            s.two()
        ),
    ),
    "F13, a school is not left out in silence": (
        newcomers, "decide_newcomer",
        lambda *a, real=newcomers.decide_newcomer: _without_unknown_schools(real(*a)),
        lambda s: unknown_school(s.two()),
    ),
    "F14, rows of one id may contradict each other": (
        repeated_ids, "contradiction", lambda *_: None,
        lambda s: contradicting(s.town(), {"family": "Else"}, "family_name"),
    ),
    "F15, a word that is not understood clears nothing": (
        wish, "_unread", lambda *_: frozenset(),
        lambda s: test_one_standard.test_a_grade_that_is_not_understood_clears_none(
            s.form, "clever_csv"
        ),
    ),
    "I9, a family's address is no evidence": (
        identity, "_family", lambda *_: False,
        lambda s: sibling(s.town(), 2),
    ),
    "I10, entries of one number and both names are one person": (
        entries, "unite", lambda *_: False,
        lambda s: test_entries.test_two_entries_with_one_number_are_one_user_on_the_first_day(
            s.world()
        ),
    ),
    "I10, entries of an adult with one address are one person": (
        identity, "_same_adult", lambda *_: False,
        lambda s: test_entries.test_adults_with_one_address_or_login_and_both_names_are_one_user(
            s.world(), "email", later=True
        ),
    ),
    "I11, a spreadsheet eats leading zeros": (
        identity, "_without_zeros", lambda *_: [],
        lambda s: test_leading_zeros.test_a_number_without_its_zeros_links_where_the_names_agree(
            test_leading_zeros.town.__wrapped__(s.database, s.folder)  # type: ignore[attr-defined]
        ),
    ),
}  # fmt: skip
"""Rule → where its guard stands, the guard, what stands in its place, and the story of the rule."""


def _without_unknown_schools(decision: Any) -> Any:
    decision.unknown_schools = []
    return decision


@pytest.fixture
def stage(
    _migrated_sqlite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    attack_on: Callable[..., Attacked],
) -> Iterator[Stage]:
    monkeypatch.setenv("ROSTERSYNC_KEY", "0" * 64)
    shutil.copyfile(_migrated_sqlite, tmp_path / "rostersync.db")
    database = open_database(f"sqlite:///{tmp_path / 'rostersync.db'}")
    yield Stage(database, tmp_path, monkeypatch, attack_on)
    database.engine.dispose()


@pytest.mark.parametrize("rule", GUARDS)
def test_with_its_guard_the_story_of_a_rule_ends_well(rule: str, stage: Stage) -> None:
    _, _, _, story = GUARDS[rule]
    story(stage)


@pytest.mark.parametrize("rule", GUARDS)
def test_without_its_guard_the_story_of_a_rule_ends_badly(
    rule: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, guard, instead, story = GUARDS[rule]
    monkeypatch.setattr(room, guard, instead)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        story(stage)
