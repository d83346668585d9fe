"""Conflicts and the ledger through the command line, on both stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from core.storage.database import Database
from tests.kit.command_line import Cli, D, synced, users
from tests.kit.oneroster_folder import Folder, Person, students, teachers


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    """A synced district in which a manual user has a newcomer's address, and another name."""
    folder = Folder(tmp_path)
    people = [*teachers(1, 2), *students(*range(12))]
    folder.write(people)
    assert cli("load", str(folder.file)).code == 0
    synced(cli)
    cli(
        "user", "add", D, "--given", "Kim", "--family", "Other", "--role", "teacher",
        "--email", "te003@springfield.example",
    )  # fmt: skip
    folder.write([*people, Person("te003", "Stitute", "Sub", role="teacher")])
    return folder


def test_a_conflict_is_counted_listed_and_told_how_to_decide(cli: Cli, folder: Folder) -> None:
    assert cli("sync", D).code == 0
    (one,) = cli("conflicts", D, "--json").document
    (manual,) = users(cli, "--origin", "manual")
    assert (one["source"], one["external_id"]) == ("sis", "te003")
    assert [candidate["id"] for candidate in one["candidates"]] == [manual["id"]]
    told = cli("conflicts", D).out
    assert f"rostersync resolve C1 --link {manual['id']}" in told
    assert "rostersync resolve C1 --new" in told
    assert "the record says: " in told, "both sides are shown"
    assert f"may be {manual['id']}: Kim Other, te003@springfield.example" in told
    assert "agrees: email" in told


def test_a_record_linked_by_a_person_makes_no_second_user(cli: Cli, folder: Folder) -> None:
    synced(cli)
    told = cli("resolve", "c1", "--link", "te003@springfield.example")
    assert told.code == 0
    assert "The next run acts on it" in told.out
    synced(cli)
    (manual,) = users(cli, "--search", "stitute")
    assert (manual["origin"], manual["sources"], manual["protected"]) == ("manual", ["sis"], True)
    assert cli("conflicts", D).out == "No open conflicts.\n"
    assert len(cli("conflicts", D, "--all", "--json").document) == 1


def test_a_record_declared_new_becomes_a_second_user(cli: Cli, folder: Folder) -> None:
    synced(cli)
    assert cli("resolve", "C1", "--new", "--json").document["status"] == "applied"
    synced(cli)
    assert len(users(cli, "--search", "te003@")) == 2


@pytest.mark.parametrize(
    "arguments", [("C1",), ("C1", "--new", "--link", "x"), ("C9", "--new"), ("C1", "--link", "x")]
)
def test_a_decision_that_cannot_be_taken_is_wrong_usage(
    cli: Cli, folder: Folder, arguments: tuple[str, ...]
) -> None:
    synced(cli)
    called = cli("resolve", *arguments, "--json")
    assert called.code == 2
    assert set(called.document) == {"error"}


def test_the_history_verifies_until_somebody_alters_it(
    cli: Cli, folder: Folder, database: Database
) -> None:
    synced(cli)
    report = cli("db", "verify", "--json")
    assert (report.code, report.document["intact"]) == (0, True)
    assert "springfield: intact" in cli("db", "verify", D).out
    with database.write() as connection:
        connection.execute(
            text("UPDATE changes SET reason = 'other' WHERE plan_id = 1 AND seq = 3")
        )
    altered = cli("db", "verify")
    assert altered.code == 1
    assert "NOT INTACT" in altered.out
    assert cli("db", "verify", "nowhere").code == 2


def test_a_retired_source_lets_its_people_go_by_a_plan_that_waits(cli: Cli, folder: Folder) -> None:
    planned = cli("source", "retire", D, "sis", "--json")
    assert (planned.code, planned.document["status"]) == (0, "planned")
    (plan,) = planned.document["plans"]
    assert (plan["kind"], plan["counts"]["archive"]) == ("retire", 14)
    assert len(users(cli, "--status", "active")) == 15
    told = cli("show", plan["id"])
    assert f"rostersync apply {plan['id']}" in told.out
    assert cli("apply", plan["id"]).code == 0
    (manual,) = users(cli, "--status", "active")
    assert manual["origin"] == "manual"
    (source,) = cli("sources", D, "--json").document
    assert source["status"] == "retired"
    assert cli("source", "retire", D, "nothing").code == 2


def test_a_source_is_resumed(cli: Cli, folder: Folder, database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE sources SET health = '{\"failures\": 9}'"))
    assert "polled again at the next run" in cli("source", "resume", D, "sis").out
    assert "nothing to resume" in cli("source", "resume", D, "sis").out
    assert cli("source", "resume", D, "sis", "--json").document["health"] == {}
