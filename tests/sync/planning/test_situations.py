"""The situations table: each of its rows is brought about, and what it says is what happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sync.rules.situations import SCHOOL_TABLE, TABLE, PersonFacts, situation_of
from tests.kit.fixtures import NewWorld
from tests.kit.world import World

Story = Callable[[World], None]
STORIES: dict[str, Story] = {}
"""Row → how it comes about, in a world of thirty students; what the directory says is asserted."""


def story(tell: Story) -> Story:
    """Add a story for the row of its name."""
    STORIES[tell.__name__] = tell
    return tell


@story
def newcomer(world: World) -> None:
    world.sis.student("new")
    world.sync(code=0)
    assert world.user("new")["status"] == "active"


@story
def conflict(world: World) -> None:
    world.add("staff", email="pat@springfield.example")
    world.sis.student("new", email="pat@springfield.example")
    world.sync(code=0)
    assert (world.id_of("new"), len(world.conflicts())) == (None, 1)


@story
def never_came(world: World) -> None:
    world.sis.student("new")
    world.plan()
    world.sis.without("new")
    world.sync(code=0)
    assert world.count() == 30


@story
def kept_archived(world: World) -> None:
    world.archive(world.id_of("st0000") or "", keep=True)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "archived"


@story
def returned(world: World) -> None:
    world.archive(world.id_of("st0000") or "")
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"


@story
def returned_disabled(world: World) -> None:
    world.archive(world.id_of("st0000") or "")
    world.sis.student("st0000", enabled=False)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "suspended"


@story
def disabled(world: World) -> None:
    world.sis.student("st0000", enabled=False)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "suspended"


@story
def enabled_again(world: World) -> None:
    world.sis.student("st0000", enabled=False)
    world.sync(code=0)
    world.sis.student("st0000", enabled=True)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"


@story
def shared(world: World) -> None:
    world.sis.student("st0000", grade="05")
    world.sync(code=0)
    assert world.user("st0000")["grade"] == "05"


@story
def narrowed(world: World) -> None:
    world.sis.teacher("te000")
    world.sync(code=0)
    world.archive(world.id_of("te000") or "", keep=True)
    world.reconfigure(roles=["student"])
    world.sync(code=0)
    assert world.user("te000")["status"] == "archived"


@story
def narrowed_protected(world: World) -> None:
    world.sis.teacher("te000")
    world.sync(code=0)
    world.protect(world.id_of("te000") or "")
    world.reconfigure(roles=["student"])
    world.sync()
    if world.standing() is not None:
        world.approve()
    assert world.user("te000")["status"] == "active"


@story
def leaves_scope(world: World) -> None:
    world.sis.teacher("te000")
    world.sync(code=0)
    world.reconfigure(roles=["student"])
    world.sync(code=10)
    assert world.user("te000")["status"] == "active"
    world.approve()
    assert world.user("te000")["status"] == "archived"


@story
def gone_already(world: World) -> None:
    world.archive(world.id_of("st0000") or "")
    world.sis.without("st0000")
    outcome = world.sync(code=0)
    assert world.actions(outcome.plan_ids[0]) == {"unlink": 1}
    assert world.user("st0000")["status"] == "archived"


@story
def source_failed(world: World) -> None:
    world.sis.without("st0000")
    world.plan()  # they are gone, says a complete reading, but nothing was applied
    world.sis.reads(complete=False)
    world.sync(code=12)
    assert world.user("st0000")["status"] == "active"
    world.sis.reads()
    world.sync(code=0)
    assert world.user("st0000")["status"] == "archived"


@story
def left_in_conflict(world: World) -> None:
    world.sis.student("st0000", email="ana@springfield.example")
    world.sync(code=0)
    world.sis.student("new", email="ana@springfield.example", family_name="Else")
    world.sync(code=0)
    world.sis.without("st0000")
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"


@story
def left_in_grace(world: World) -> None:
    world.settle(grace={"days": 2, "fetches": 1})
    world.sis.without("st0000")
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"
    world.later(days=2)
    world.sync(code=0)
    assert world.user("st0000")["status"] == "archived"


@story
def left_protected(world: World) -> None:
    world.protect(world.id_of("st0000") or "")
    world.sis.without("st0000")
    world.sync(code=0)
    assert world.user("st0000")["status"] == "active"


@story
def left(world: World) -> None:
    world.sis.without("st0000")
    world.sync(code=0)
    assert world.user("st0000")["status"] == "archived"


@story
def by_hand(world: World) -> None:
    user = world.add("staff")
    world.protect(user, False)
    world.sync(code=0)
    assert world.users()[user]["status"] == "active"


# -- schools


@story
def new_school(world: World) -> None:
    world.sis.school("grant", "Grant Middle")
    world.sync(code=0)
    assert schools(world) == {"Lincoln High": "active", "Grant Middle": "active"}


@story
def known_school(world: World) -> None:
    world.sis.school("lincoln", "Lincoln High", nces_id="1")
    world.second.school("lincoln", "Lincoln", nces_id="1").student("x")
    world.sync(code=0)
    assert world.value("SELECT COUNT(*) FROM schools") == 1
    assert world.user("x", "second")["memberships"][0][1] == "Lincoln High"


@story
def school_conflict(world: World) -> None:
    world.second.student("x")
    world.sync(code=0)
    assert world.value("SELECT COUNT(*) FROM schools") == 1
    assert len(world.conflicts("school")) == 1


@story
def never_named(world: World) -> None:
    world.sis.school("grant", "Grant Middle")
    world.plan()
    del world.sis.schools["grant"]
    world.sync(code=0)
    assert schools(world) == {"Lincoln High": "active"}


@story
def school_back(world: World) -> None:
    school_gone(world)
    world.sis.school("grant", "Grant Middle")
    world.sync(code=0)
    assert schools(world)["Grant Middle"] == "active"


@story
def school_named(world: World) -> None:
    world.sis.school("lincoln", "Lincoln Senior High", number="101")
    world.sync(code=0)
    assert schools(world) == {"Lincoln Senior High": "active"}


@story
def school_gone(world: World) -> None:
    world.sis.school("grant", "Grant Middle")
    world.sync(code=0)
    del world.sis.schools["grant"]
    world.sync(code=0)
    assert schools(world)["Grant Middle"] == "archived"


def schools(world: World) -> dict[str, str]:
    return dict(world.rows("SELECT name, status FROM schools"))


UNREACHED = {
    "adoptable": "matching is the identity issue's; until then a person resolves the conflict",
    "school_gone_already": "only an undo or a merge archives a school that is still named",
    "school_else": "the rest of the table leaves nothing for it",
}
"""Rows that no roster brings about yet, and why."""

IN_SETS = {
    "conflict", "never_came", "by_hand", "new_school", "known_school", "school_conflict",
    "never_named",
}  # fmt: skip
"""Rows that decide about so many, or so simply, that the engine finds them without asking."""


@pytest.mark.parametrize("row", [row.name for row in (*TABLE, *SCHOOL_TABLE)])
def test_each_row_of_the_situations_table(
    row: str, make_world: NewWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    if row in UNREACHED:
        assert row not in STORIES
        return
    assert row in STORIES, f"the row {row} has no test: tell its story"
    met: set[str] = set()
    watch(met, monkeypatch)
    world = make_world(sources={"sis": "board", "second": "board"})
    world.sis.students(30)
    world.second.reads(fails="refused")
    world.sync()
    if row in ("known_school", "school_conflict"):
        world.second.reads()
    else:
        from sqlalchemy import text

        with world.database.write() as connection:
            connection.execute(text("DELETE FROM sources WHERE name = 'second'"))
    met.clear()
    STORIES[row](world)
    assert row in met or row in IN_SETS, met
    assert world.intact()


def watch(met: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Note which rows decided."""
    from sync.planning import decide, schools

    def noting(real: Callable[[PersonFacts], object]) -> Callable[[PersonFacts], object]:
        def situation(facts: PersonFacts) -> object:
            found = real(facts)
            met.add(found.name)  # type: ignore[attr-defined]
            return found

        return situation

    monkeypatch.setattr(decide, "situation_of", noting(decide.situation_of))
    monkeypatch.setattr(schools, "school_situation_of", noting(schools.school_situation_of))


def test_no_story_is_about_a_row_that_is_not_there() -> None:
    assert set(STORIES) | set(UNREACHED) <= {row.name for row in (*TABLE, *SCHOOL_TABLE)}


def test_the_table_has_an_answer_for_everything() -> None:
    from itertools import product

    words = product(
        ("none", "active", "suspended", "archived"),
        ("share", "left", "out_of_scope", "never"),
        ("", "one", "conflict"),
        *([(False, True)] * 6),
    )
    for user, sources, match, *flags in words:
        assert situation_of(PersonFacts(user, sources, match, *flags))  # type: ignore[arg-type]
