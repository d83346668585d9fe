"""AC6: a field that was there and is missing now is cleared, unless the source says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigError
from core.storage.database import Database
from sync.sources.district_load import load_district_file
from tests.kit import plug_in
from tests.kit.world import SLUG, Roster, World

FILE = """\
[[district]]
slug = "{slug}"
name = "Springfield USD"
timezone = "UTC"
[[district.source]]
name = "sis"
connector = "board"
{keep}
[district.source.config]
path = "{path}"
"""


@pytest.fixture
def load(store: Database, tmp_path: Path) -> Callable[[str], World]:
    """Load a district whose source has this line; return its world."""
    plug_in()
    roster = Roster("sis", tmp_path / "sis.json").school("lincoln", "Lincoln High")
    world = World(store, {"sis": roster})

    def load(keep: str = "") -> World:
        file = tmp_path / "district.toml"
        file.write_text(FILE.format(slug=SLUG, keep=keep, path=roster.path))
        load_district_file(store, file)
        return world

    return load


def _shared_then_masked(world: World) -> World:
    world.sis.student("s1", email="ada@a.example", username="ada", grade="05")
    world.sync(code=0)
    world.sis.student("s1", email=None, username=None)
    world.sync(code=0)
    return world


def test_ac06_a_field_that_is_missing_now_is_cleared(load: Callable[[str], World]) -> None:
    user = _shared_then_masked(load("")).user("s1")
    assert (user["email"], user["email_folded"], user["username"]) == (None, None, None)


def test_ac06_a_field_that_the_source_keeps_stays_as_it_was(load: Callable[[str], World]) -> None:
    world = _shared_then_masked(load('keep_when_missing = ["email"]'))
    user = world.user("s1")
    assert (user["email"], user["username"]) == ("ada@a.example", None)
    assert world.sync().status == "nothing_to_do"


def test_a_kept_field_still_follows_what_the_source_says_anew(
    load: Callable[[str], World],
) -> None:
    world = _shared_then_masked(load('keep_when_missing = ["email"]'))
    world.sis.student("s1", email="ada@b.example")
    world.sync(code=0)
    assert world.user("s1")["email"] == "ada@b.example"


def test_no_longer_keeping_a_field_clears_it_at_the_next_run(load: Callable[[str], World]) -> None:
    world = _shared_then_masked(load('keep_when_missing = ["email"]'))
    load("")
    world.sync(code=0)
    assert world.user("s1")["email"] is None


def test_only_a_profile_field_can_be_kept(load: Callable[[str], World]) -> None:
    with pytest.raises(ConfigError, match="keep_when_missing"):
        load('keep_when_missing = ["shoe_size"]')
