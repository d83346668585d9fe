"""Schools that go away under their people, that come back, and that get another id (F13)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from sync.views.plans import plan_by_id
from sync.views.why import why
from tests.kit.command_line import Cli
from tests.kit.fixtures import NewWorld
from tests.kit.sizes import examples
from tests.kit.world import SLUG, World


@pytest.fixture
def two(make_world: NewWorld) -> World:
    """Two schools with thirty students each."""
    world = make_world()
    world.sis.school("lincoln", "Lincoln High", number="1").school("grant", "Grant Middle")
    world.sis.students(30, school="lincoln").students(30, start=30, school="grant")
    world.sync(code=0)
    return world


def status_of(world: World, name: str) -> set[str]:
    rows = world.rows("SELECT status FROM schools WHERE name = :name", name=name)
    return {row.status for row in rows}


def at(world: World, name: str) -> int:
    return sum(
        name in {school for _, school, _ in u["memberships"]} for u in world.users().values()
    )


def missing(outcome: Any) -> list[Any]:
    return list(outcome.certificates["sis"].get("missing_schools", ()))


def test_a_school_that_people_name_stays_and_the_run_says_so_every_time(two: World) -> None:
    del two.sis.schools["grant"]
    for _ in range(3):
        outcome = two.sync(code=0)
        assert outcome.status == "nothing_to_do"
        assert status_of(two, "Grant Middle") == {"active"}
        assert at(two, "Grant Middle") == 30
        assert missing(outcome) == [{"external_id": "grant", "name": "Grant Middle", "people": 30}]
    two.sis.school("grant", "Grant Middle")
    assert missing(two.sync(code=0)) == []


def test_it_goes_once_nobody_names_it_any_more(two: World) -> None:
    del two.sis.schools["grant"]
    two.sync(code=0)
    for number in range(30, 60):
        two.sis.student(f"st{number:04}", school="lincoln")
        if number % 10 == 9:
            two.later(days=8)
            two.sync(code=0)
    assert two.sync(code=0).status == "nothing_to_do"
    assert status_of(two, "Grant Middle") == {"archived"}


def test_somebody_new_at_a_school_that_is_gone_joins_there(two: World) -> None:
    del two.sis.schools["grant"]
    two.sis.student("new", school="grant")
    outcome = two.sync(code=0)
    assert missing(outcome)[0]["people"] == 31
    assert two.user("new")["memberships"] == [("student", "Grant Middle", True)]


def renumbered(world: World, **numbers: str) -> None:
    del world.sis.schools["lincoln"]
    world.sis.school("L2", "Lincoln High", **numbers)
    world.sis.students(30, school="L2")


@pytest.mark.parametrize("number", [None, "2"], ids=["no number", "another number"])
def test_a_school_under_another_id_is_asked_about_and_nobody_is_moved(
    two: World, number: str | None
) -> None:
    renumbered(two, **({"number": number} if number else {}))
    before = two.dump()
    for _ in range(2):
        outcome = two.sync(code=0)
        assert outcome.status == "nothing_to_do"
        assert two.dump() == before
        assert [(key, reason) for _, key, reason, _ in two.conflicts("school")] == [
            ("L2", "same_name")
        ]


def test_the_answer_that_it_is_the_same_school_keeps_it(two: World) -> None:
    renumbered(two)
    two.sync(code=0)
    ((conflict, _, _, candidates),) = two.conflicts("school")
    two.resolve(conflict, link=candidates[0])
    for _ in range(3):
        two.sync(code=0)
        assert status_of(two, "Lincoln High") == {"active"}
    assert two.value("SELECT COUNT(*) FROM schools WHERE name = 'Lincoln High'") == 1
    assert at(two, "Lincoln High") == 30
    assert two.sync(code=0).status == "nothing_to_do"


def test_the_answer_that_it_is_another_school_moves_its_people_by_approval(two: World) -> None:
    renumbered(two)
    two.sync(code=0)
    ((conflict, _, _, _),) = two.conflicts("school")
    two.resolve(conflict, new=True)
    two.sync(code=10)
    assert two.limits() == {"moved"}
    two.approve()
    two.sync()
    assert status_of(two, "Lincoln High") == {"active", "archived"}


def test_the_same_number_under_another_id_is_the_same_school_at_once(two: World) -> None:
    renumbered(two, number="1")
    for _ in range(3):
        two.sync(code=0)
        assert status_of(two, "Lincoln High") == {"active"}
    assert two.conflicts("school") == []
    assert two.value("SELECT COUNT(*) FROM schools WHERE name = 'Lincoln High'") == 1
    assert two.sync(code=0).status == "nothing_to_do"


def test_a_school_that_comes_back_is_counted(two: World) -> None:
    for number in range(30, 60):
        two.sis.person(f"st{number:04}", memberships=[("student", "lincoln"), ("student", "grant")])
    two.sync(code=0)
    for number in range(30, 60):
        two.sis.student(f"st{number:04}", school="lincoln")
    del two.sis.schools["grant"]
    two.sync(code=0)
    two.sync(code=0)
    assert status_of(two, "Grant Middle") == {"archived"}
    two.sis.school("grant", "Grant Middle")
    outcome = two.sync(code=0)
    with two.database.read() as connection:
        (plan,) = (plan_by_id(connection, number) for number in outcome.plan_ids)
    assert plan["schools"]["restore"] == 1


def unseen(outcome: Any) -> list[tuple[str, int]]:
    return [(one["external_id"], one["people"]) for one in missing(outcome) if not one["name"]]


def plain(said: str) -> str:
    return " ".join(said.split())


def codes(world: World, key: str) -> set[str]:
    page = why(world.database, SLUG, str(world.id_of(key)), now=world.clock)
    return {reason["code"] for reason in page["reasons"]}


def test_somebody_new_at_a_school_that_nobody_lists_joins_without_it_and_is_told(
    two: World,
) -> None:
    two.sis.student("new", school="nowhere")
    two.sis.person("both", memberships=[("student", "lincoln"), ("student", "nowhere")])
    two.sis.student("st0001", school="nowhere")
    assert unseen(two.sync(code=0)) == [("nowhere", 3)]
    assert two.user("new")["memberships"] == [("student", "", False)]
    assert two.user("both")["memberships"] == [("student", "Lincoln High", True)]
    assert unseen(two.sync(code=0)) == [], "it is said in the run in which they come"
    assert [key for key in ("new", "both", "st0001", "st0000")
            if "unknown_school" in codes(two, key)] == ["new", "both", "st0001"]  # fmt: skip
    two.sis.school("nowhere", "Nowhere Academy")
    two.sync(code=0)
    assert at(two, "Nowhere Academy") == 3
    assert "unknown_school" not in codes(two, "new")


def test_the_run_and_why_say_it_in_words(two: World, cli: Cli) -> None:
    two.sis.student("new", school="nowhere")
    two.save()
    said = plain(cli("sync", SLUG).out)
    assert "1 person joins or moves to nowhere, which sis does not list as a school" in said
    told = cli("why", SLUG, str(two.id_of("new"))).out
    assert "names a school that it does not list" in plain(told)


def test_a_school_that_is_gone_comes_back_with_the_first_who_names_it(two: World) -> None:
    two.sis.school("nobody", "Nobody's")
    two.sync(code=0)
    del two.sis.schools["nobody"]
    two.sync(code=0)
    assert status_of(two, "Nobody's") == {"archived"}
    two.sis.student("new", school="nobody")
    for _ in range(2):
        told = missing(two.sync(code=0))
        assert told == [{"external_id": "nobody", "name": "Nobody's", "people": 1}]
        assert status_of(two, "Nobody's") == {"active"}
    two.sis.student("new", school="lincoln")
    two.sync(code=0)
    two.sync(code=0)
    assert status_of(two, "Nobody's") == {"archived"}


NAMES = "abcd"
STEPS = st.one_of(
    st.tuples(st.just("drop"), st.sampled_from(NAMES)),
    st.tuples(st.just("list"), st.sampled_from(f"{NAMES}u")),
    st.tuples(st.just("renumber"), st.sampled_from(NAMES)),
    st.tuples(st.just("new"), st.sampled_from(f"{NAMES}uv")),
    st.tuples(st.just("move"), st.sampled_from(f"{NAMES}uv")),
    st.tuples(st.just("read again"), st.just("")),
)


class Life:
    """Schools that come and go, and what must be true of them whatever happens."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = {name: f"{name}0" for name in NAMES} | {"u": "u0", "v": "v0"}
        self.listed: set[str] = set()
        self.seen: set[str] = set()
        """Schools that were listed once: nobody ever lists ``v``."""
        self.people: dict[str, str] = {}
        self.history: list[tuple[str, str]] = []
        self.before: dict[str, str] = {}
        del world.sis.schools["lincoln"]
        for name in NAMES:
            self.list(name)
        for number in range(40):  # school d has nobody
            self.go(f"st{number:04}", NAMES[number % 3])
        self.look()

    def list(self, name: str) -> None:
        self.listed.add(name)
        self.world.sis.school(self.keys[name], f"School {name}", number=f"number {name}")

    def go(self, person: str, name: str) -> None:
        self.people[person] = name
        self.world.sis.student(person, school=self.keys[name])

    def step(self, what: str, name: str) -> None:
        self.history.append((what, name))
        number = len(self.history)
        if what == "drop" and name in self.listed:
            self.listed.discard(name)
            del self.world.sis.schools[self.keys[name]]
        elif what == "list" and name not in self.listed:
            self.list(name)
        elif what == "renumber" and name in self.listed:
            del self.world.sis.schools[self.keys[name]]
            self.keys[name] = f"{name}{number}"
            self.list(name)
            for person in [one for one, where in self.people.items() if where == name]:
                self.go(person, name)
        elif what == "new":
            self.go(f"new{number}", name)
        elif what == "move":
            self.go(f"st{number % 40:04}", name)
        self.look()

    def look(self) -> None:
        world = self.world
        world.later(days=8)  # what moves is never many at once
        outcome = world.sync(code=0)
        told = {one["external_id"]: (one["name"], one["people"]) for one in missing(outcome)}
        with world.database.read() as connection:
            plans = [plan_by_id(connection, number) for number in outcome.plan_ids]
        self.seen |= self.listed
        there: dict[str, int] = {}
        users = world.users()
        linked = world.rows(
            "SELECT r.external_id, l.target_id FROM links l JOIN records r ON r.id = l.record_id"
            " WHERE r.kind = 'user'"
        )
        ids = {row[0]: row[1] for row in linked}
        for person, name in self.people.items():
            user = users[ids[person]]
            assert user["status"] == "active"
            assert [school for _, school, _ in user["memberships"]] == [
                f"School {name}" if name in self.seen else ""
            ], (person, self.history)
            there[name] = there.get(name, 0) + 1
        for name in self.seen:
            used = name in self.listed or name in there
            assert status_of(world, f"School {name}") == {"active" if used else "archived"}, (
                name,
                self.history,
            )
            if name not in self.listed and name in there:
                assert told.pop(self.keys[name]) == (f"School {name}", there[name])
        assert all(name == "" for name, _ in told.values()), told
        schools = {row[0]: row[1] for row in world.rows("SELECT id, status FROM schools")}
        changed = sum(schools[one] != self.before.get(one) for one in schools)
        counted = sum(sum(plan["schools"].values()) for plan in plans)
        assert counted >= changed, self.history
        assert outcome.status == "applied" or not changed
        self.before = schools


def test_whatever_happens_to_schools_their_people_stay_where_they_are_said_to_be(
    make_world: NewWorld,
) -> None:
    life = Life(make_world())

    @settings(max_examples=examples(1, long=60), phases=[Phase.explicit, Phase.generate])
    @given(steps=st.lists(STEPS, min_size=4, max_size=8))
    @example([("drop", "d"), ("new", "d"), ("list", "d"), ("drop", "a"), ("renumber", "b")])
    @example([("new", "u"), ("move", "v"), ("list", "u"), ("drop", "u"), ("new", "u")])
    def prove(steps: list[tuple[str, str]]) -> None:
        for what, name in steps:  # the same life goes on, and on
            life.step(what, name)

    prove()
    assert life.world.intact()
