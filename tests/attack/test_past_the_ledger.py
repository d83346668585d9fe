"""Who writes to the database past the program: it is noticed, named, and put back by a plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.errors import UsageError
from core.storage.database import Database
from sync.acts.purge import purge
from sync.acts.repair import repair
from sync.ledger import chain
from sync.ledger.apply import chain_of
from sync.ledger.head import heads_of, read_heads
from sync.views.overview import overview
from tests.kit.world import World, new_world


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    """A district of twelve people at two schools, one of them archived."""
    world = new_world(database, tmp_path)
    world.sis.school("grant", "Grant Middle").students(9).teachers(3)
    world.sync(code=0)
    world.sis.without("st0008")
    world.later(days=1)
    world.sync(code=0)
    return world


def write(world: World, *statements: str, **about: Any) -> None:
    """Write to the database as another program does."""
    with world.database.write() as connection:
        for statement in statements:
            connection.execute(text(statement), about)


def named(world: World) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what ``db verify --directory`` says: user or school → what, fields."""
    report = chain.verify(world.database, directory=True)
    (one,) = report["districts"]
    apart = [*one["people"], *one["schools"]]
    assert report["intact"] == (not apart and not one["problems"])
    return {one.get("user") or one["school"]: (one["what"], tuple(one["fields"])) for one in apart}


def noticed(world: World) -> int:
    """Return how many edited people a sync tells, which ``status`` tells as well."""
    outcome = world.sync()
    with world.database.read() as connection:
        (one,) = overview(connection, world.now)
    assert one["outside_edits"] == outcome.outside_edits
    assert ("edited" in one["needs"]) == bool(outcome.outside_edits)
    return outcome.outside_edits


def put_back(world: World) -> None:
    """Repair by a plan, and see that everything is as the history says."""
    outcome = repair(world.database, "springfield", actor="x", now=world.clock)
    assert outcome.status == "planned"
    assert world.apply(outcome.plan_ids[0]).status == "applied"
    assert outcome.left == []
    assert named(world) == {}
    assert noticed(world) == 0


EDITS: dict[str, tuple[str, tuple[str, tuple[str, ...]]]] = {
    "a grade": ("UPDATE users SET grade = '12' WHERE id = :id", ("changed", ("grade",))),
    "a status": (
        "UPDATE users SET status = 'archived', archived_at = created_at WHERE id = :id",
        ("changed", ("status", "archived_at")),
    ),
    "a flag": ("UPDATE users SET protected = TRUE WHERE id = :id", ("changed", ("protected",))),
    "a time": (
        "UPDATE users SET created_at = '2020-01-01T00:00:00.000000+00:00' WHERE id = :id",
        ("changed", ("created_at",)),
    ),
    "a role": (
        "UPDATE memberships SET role = 'admin' WHERE user_id = :id", ("changed", ("memberships",))
    ),
    "no role": ("DELETE FROM memberships WHERE user_id = :id", ("changed", ("memberships",))),
    "one more role": (
        "INSERT INTO memberships VALUES (:id, 'admin', '', FALSE)", ("changed", ("memberships",))
    ),
    "nobody": ("DELETE FROM users WHERE id = :id", ("missing", ())),
    "everybody": ("DELETE FROM users WHERE id <> ''", ("missing", ())),
    "no link": ("DELETE FROM links WHERE target_id = :id", ("changed", ("links",))),
    "somebody else's link": (
        "UPDATE links SET target_id = :id WHERE target_id = :other", ("changed", ("links",))
    ),
    "a link given away": (
        "UPDATE links SET target_id = :other WHERE target_id = :id", ("changed", ("links",))
    ),
    "a link to a school": (
        "UPDATE links SET target_id = :school WHERE target_id = :id", ("changed", ("links",))
    ),
    "a hold": (
        "UPDATE links SET held = FALSE WHERE target_id = :id", ("changed", ("links",))
    ),
}  # fmt: skip
EDITS_OF_SCHOOLS: dict[str, tuple[str, tuple[str, tuple[str, ...]]]] = {
    "a name": ("UPDATE schools SET name = 'x' WHERE id = :id", ("changed", ("name",))),
    "a number": ("UPDATE schools SET nces_id = '9' WHERE id = :id", ("changed", ("nces_id",))),
    "a status": (
        "UPDATE schools SET status = 'archived' WHERE id = :id", ("changed", ("status",))
    ),
    "a revision": (
        "UPDATE schools SET revision = 77 WHERE id = :id", ("changed", ("revision",))
    ),
    "no school": ("DELETE FROM schools WHERE id = :id", ("missing", ())),
    "no link": ("DELETE FROM links WHERE target_id = :id", ("changed", ("links",))),
    "a hold": ("UPDATE links SET held = FALSE WHERE target_id = :id", ("changed", ("links",))),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_past_the_ledger_is_noticed_named_and_put_back(world: World, what: str) -> None:
    is_edited_noticed_and_put_back(world, world.id_of("st0001") or "", *EDITS[what])


@pytest.mark.parametrize("what", EDITS_OF_SCHOOLS)
def test_an_edit_of_a_school_is_noticed_named_and_put_back(world: World, what: str) -> None:
    school = world.value("SELECT id FROM schools WHERE name = 'Grant Middle'")
    is_edited_noticed_and_put_back(world, school, *EDITS_OF_SCHOOLS[what])


def test_a_school_that_no_plan_has_made_is_named_and_left_to_a_person(world: World) -> None:
    write(
        world,
        "INSERT INTO schools (id, district_id, status, revision, name)"
        " SELECT 'sforged', id, 'active', 1, 'x' FROM districts",
    )
    assert named(world) == {"sforged": ("unknown", ())}
    assert noticed(world) == 1
    outcome = repair(world.database, "springfield", actor="x", now=world.clock)
    assert (outcome.status, outcome.left) == ("nothing_to_do", ["sforged"])
    assert noticed(world) == 1


def is_edited_noticed_and_put_back(
    world: World, target: str, statement: str, expected: tuple[str, tuple[str, ...]]
) -> None:
    """Edit a person or a school, and see that it is found and undone."""
    before = world.dump()
    assert (named(world), noticed(world)) == ({}, 0)
    others = {
        "id": target, "other": world.id_of("st0002"),
        "school": world.value("SELECT id FROM schools WHERE name = 'Lincoln High'"),
    }  # fmt: skip
    write(
        world, statement, **{name: one for name, one in others.items() if f":{name}" in statement}
    )
    assert named(world)[target] == expected
    assert noticed(world) == len(named(world)) > 0
    put_back(world)
    after = world.dump()
    assert len(after["users"]) == len(before["users"])
    for table in ("memberships", "links"):
        assert after[table] == before[table]
    assert without_revision(after["schools"]) == without_revision(before["schools"])


def without_revision(schools: list[Any]) -> list[Any]:
    """Return schools without the count of plans that changed them."""
    return [(*row[:3], *row[4:]) for row in schools]


def test_somebody_whom_no_plan_has_made_is_removed_by_a_plan(world: World) -> None:
    columns = "district_id, status, origin, revision, protected, kept_archived, locked_fields"
    write(
        world,
        f"INSERT INTO users (id, {columns}, created_at) SELECT 'uforged', {columns}, created_at"
        " FROM users WHERE id = :id",
        "INSERT INTO memberships VALUES ('uforged', 'admin', '', TRUE)",
        id=world.id_of("st0001"),
    )
    assert named(world) == {"uforged": ("unknown", ())}
    assert noticed(world) == 1
    put_back(world)


def test_an_archived_person_is_put_back_with_the_day_they_were_archived(world: World) -> None:
    person = world.id_of("st0008")
    before = world.rows("SELECT * FROM users WHERE id = :id", id=person)[0]
    write(world, "UPDATE users SET archived_at = created_at WHERE id = :id", id=person)
    assert named(world) == {person: ("changed", ("archived_at",))}
    put_back(world)
    after = world.rows("SELECT * FROM users WHERE id = :id", id=person)[0]
    assert after.archived_at == before.archived_at


def test_what_was_set_back_by_hand_needs_no_plan(world: World) -> None:
    person = world.id_of("st0001")
    write(world, "UPDATE users SET username = 'x' WHERE id = :id", id=person)
    write(world, "UPDATE users SET username = NULL WHERE id = :id", id=person)
    assert noticed(world) == 1
    outcome = repair(world.database, "springfield", actor="x", now=world.clock)
    assert (outcome.status, outcome.plan_ids) == ("nothing_to_do", [])
    assert noticed(world) == 0


# -- history


def applied(world: World) -> list[Any]:
    return world.rows("SELECT * FROM plans WHERE status = 'applied' ORDER BY first_serial")


def test_an_altered_change_without_its_salt_is_no_erased_one(world: World) -> None:
    plan = applied(world)[-1].id
    assert chain.verify(world.database)["intact"]
    write(world, "UPDATE changes SET salt = NULL WHERE plan_id = :plan", plan=plan)
    assert not chain.verify(world.database)["intact"]
    write(
        world,
        "UPDATE changes SET before = NULL, after = NULL, basis = NULL, content_print = NULL,"
        " action = 'suspend' WHERE plan_id = :plan",
        plan=plan,
    )
    assert not chain.verify(world.database)["intact"]  # empty, but nobody was purged


@pytest.mark.parametrize("column", ["action", "target_id", "reason", "role", "revision"])
def test_what_is_left_of_an_erased_change_cannot_be_altered(
    database: Database, tmp_path: Path, column: str
) -> None:
    world = new_world(database, tmp_path, retention_days=30)
    world.sis.students(12)
    world.sync(code=0)
    world.sis.without("st0001", "st0002")
    world.later(days=1)
    world.sync(code=0)
    world.later(days=40)
    outcome = purge(world.database, "springfield", actor="x", now=world.clock)
    world.apply(outcome.plan_ids[0])
    report = chain.verify(world.database)
    assert report["intact"], report
    assert report["districts"][0]["erased"] >= 4
    erased = world.rows("SELECT plan_id, seq, target_id FROM changes WHERE salt IS NULL")
    other = next(row.target_id for row in erased if row.target_id != erased[0].target_id)
    value = {"target_id": other, "revision": 77}.get(column, "other")
    write(
        world,
        f"UPDATE changes SET {column} = :value WHERE plan_id = :plan AND seq = :seq",
        value=value, plan=erased[0].plan_id, seq=erased[0].seq,
    )  # fmt: skip
    assert not chain.verify(world.database)["intact"]


WHO_AND_WHEN = {
    "who applied it": "UPDATE runs SET actor = 'mallory' WHERE id = :run",
    "no run": "DELETE FROM runs WHERE id = :run",
    "another run": "UPDATE plans SET applied_run_id = 1 WHERE id = :plan",
    "when": "UPDATE plans SET applied_at = '2020-01-01T00:00:00.000000+00:00' WHERE id = :plan",
    "who approved it": "UPDATE plans SET decided_by = 'mallory' WHERE id = :plan",
    "when it was approved": "UPDATE plans SET decided_at = NULL WHERE id = :plan",
    "that it was approved": "UPDATE plans SET approved = FALSE WHERE id = :plan",
    "what kind it is": "UPDATE plans SET kind = 'hand' WHERE id = :plan",
    "what it did besides": "UPDATE plans SET effects = '{\"retire\": [1]}' WHERE id = :plan",
    "that it was applied": "UPDATE plans SET status = 'rejected' WHERE id = :plan",
    "its place": "UPDATE plans SET first_serial = first_serial + 1 WHERE id = :plan",
    "the order of its changes": "UPDATE changes SET seq = 900 - seq WHERE plan_id = :plan",
    "a change less": "DELETE FROM changes WHERE plan_id = :plan AND seq = 0",
    "the salt of another": (
        "UPDATE changes SET salt = (SELECT o.salt FROM changes o WHERE o.plan_id = :plan"
        " AND o.seq = 1 - changes.seq) WHERE plan_id = :plan AND seq < 2"
    ),
    "a change in another plan": "UPDATE changes SET plan_id = 900 WHERE plan_id = :plan",
}


@pytest.mark.parametrize("what", WHO_AND_WHEN)
def test_who_applied_and_approved_a_plan_and_when_is_part_of_the_chain(
    world: World, what: str
) -> None:
    world.sis.without("st0001", "st0002", "st0003", "st0004", "st0005")
    world.later(days=1)
    world.sync(code=10)
    outcome = world.approve()
    assert chain.verify(world.database)["intact"]
    about = {"plan": outcome.plan_ids[0], "run": outcome.run_id}
    statement = WHO_AND_WHEN[what]
    write(world, statement, **{key: one for key, one in about.items() if f":{key}" in statement})
    assert not chain.verify(world.database)["intact"]


def test_a_plan_of_an_earlier_version_is_chained_without_who_and_when(world: World) -> None:
    before = b""
    for plan in applied(world):
        before = chain_of(before, plan.id, bytes(plan.digest))
        write(world, "UPDATE plans SET chain = :chain WHERE id = :id", chain=before, id=plan.id)
    write(world, "UPDATE districts SET chain = :chain", chain=before)
    assert chain.verify(world.database)["intact"]
    world.sis.student("st0100")
    world.later(days=1)
    world.sync(code=0)
    assert chain.verify(world.database)["intact"]


# -- the end of the chain


def cut(world: World) -> None:
    """Cut off the last plan, and set the district back as if it had never been."""
    before, last = applied(world)[-2:]
    write(world, "DELETE FROM changes WHERE plan_id = :plan", plan=last.id)
    write(world, "DELETE FROM plans WHERE id = :plan", plan=last.id)
    write(
        world,
        "UPDATE districts SET serial = :serial, chain = :chain",
        serial=before.first_serial + before.size - 1, chain=before.chain,
    )  # fmt: skip


@pytest.fixture
def printed(world: World, tmp_path: Path) -> Path:
    """The head of the chain, as ``db head`` has printed it."""
    import msgspec

    path = tmp_path / "head.json"
    path.write_bytes(msgspec.json.encode(heads_of(world.database)))
    return path


def verified(world: World, printed: Path) -> bool:
    heads = read_heads(world.database, printed)
    return bool(chain.verify(world.database, heads=heads)["intact"])


def test_a_chain_that_was_cut_is_noticed_by_its_printed_head(world: World, printed: Path) -> None:
    assert verified(world, printed)
    world.sis.student("st0100")
    world.later(days=1)
    world.sync(code=0)
    assert verified(world, printed)  # it went on from there
    cut(world)
    assert verified(world, printed)  # what the head knows of is there
    cut(world)
    assert chain.verify(world.database)["intact"]
    assert not verified(world, printed)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda text: text.replace('"serial":', '"serial":1'), "not signed"),
        (lambda text: text.replace("springfield", "shelbyville"), "not signed"),
        (lambda text: text.replace('"serial"', '"cereal"'), "not what rostersync db head prints"),
        (lambda text: text[:-9], "not what rostersync db head prints"),
    ],
)
def test_a_head_that_was_altered_is_refused(
    world: World, printed: Path, spoil: Callable[[str], str], says: str
) -> None:
    printed.write_text(spoil(printed.read_text()))
    with pytest.raises(UsageError, match=says):
        read_heads(world.database, printed)


def test_a_district_that_is_gone_is_missed_by_its_head(world: World, printed: Path) -> None:
    write(world, "UPDATE districts SET slug = 'shelbyville'")
    assert not verified(world, printed)
