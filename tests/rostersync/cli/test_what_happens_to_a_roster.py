"""The outside contract's table "what happens to a roster", row by row, on both stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.failpoints import at_failpoints
from core.storage.database import Database
from tests.kit.command_line import Cli, D, statuses, synced, users
from tests.kit.oneroster_folder import HEADER, Folder, Person, students, teachers

PEOPLE = [*teachers(*range(10)), *students(*range(110))]
Spoil = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    """A synced district of ten teachers and 110 students."""
    folder = Folder(tmp_path)
    folder.write(PEOPLE)
    assert cli("load", str(folder.file)).code == 0
    synced(cli)
    return folder


def cut(roster: Path) -> None:
    whole = (roster / "users.csv").read_bytes()
    (roster / "users.csv").write_bytes(whole[: len(whole) // 2 - 3])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda roster: (roster / "users.csv").write_text(HEADER + "\n"),
        lambda roster: (roster / "users.csv").write_text(""),
        lambda roster: (roster / "users.csv").unlink(),
        cut,
    ],
    ids=["header only", "empty file", "a file of the set gone", "cut in the middle"],
)
def test_a_spoilt_roster_is_incomplete_and_archives_nobody(
    cli: Cli, folder: Folder, spoil: Spoil
) -> None:
    spoil(folder.roster)
    for command in ("plan", "sync"):
        called = cli(command, D, "--json")
        assert statuses(called) == (12, "incomplete"), called
    assert len(users(cli, "--status", "active")) == 120


@pytest.mark.parametrize("share", [15, 50])
def test_a_shrunk_roster_is_held(cli: Cli, folder: Folder, share: int) -> None:
    folder.write([*PEOPLE[:10], *PEOPLE[10 + 110 * share // 100 :]])
    assert statuses(cli("sync", D, "--json")) == (10, "held")
    assert len(users(cli, "--status", "active")) == 120


def test_addresses_of_a_new_domain_are_applied_where_ids_are_stable(
    cli: Cli, folder: Folder
) -> None:
    file = folder.roster / "users.csv"
    file.write_text(file.read_text().replace("@springfield.example", "@usd.example"))
    assert statuses(cli("sync", D, "--json")) == (0, "applied")
    found = users(cli)
    assert len(found) == 120
    assert all(user["email"].endswith("@usd.example") for user in found)


@pytest.mark.parametrize("grace", ["", "grace = { days = 14, fetches = 3 }"])
def test_a_new_domain_with_new_ids_makes_updates_where_names_agree(
    cli: Cli, folder: Folder, grace: str
) -> None:
    assert cli("load", folder.district(grace)).code == 0
    before = {user["id"] for user in users(cli)}
    file = folder.roster / "users.csv"
    moved = file.read_text().replace("@springfield.example", "@usd.example")
    moved = moved.replace("\nst", "\nxst").replace("\nte", "\nxte")
    file.write_text(moved)
    called = cli("sync", D, "--json")
    assert statuses(called) == (0, "applied"), called
    assert {user["id"] for user in users(cli)} == before


def test_a_new_domain_with_new_ids_and_names_is_held(cli: Cli, folder: Folder) -> None:
    folder.write(
        Person(f"new{n:03}", f"Stranger{n:03}", given="Kim", role=person.role)
        for n, person in enumerate(PEOPLE)
    )
    assert statuses(cli("sync", D, "--json")) == (10, "held")
    assert len(users(cli, "--status", "archived")) == 0


def test_the_same_roster_in_another_order_and_in_capitals_changes_nothing(
    cli: Cli, folder: Folder
) -> None:
    file = folder.roster / "users.csv"
    header, *rows = file.read_text().splitlines()
    rows = [row.replace("@springfield.example", "@SPRINGFIELD.EXAMPLE") for row in rows]
    file.write_text("\n".join([header, *reversed(rows)]) + "\n")
    assert statuses(cli("sync", D, "--json")) == (0, "nothing_to_do")


def test_a_write_that_fails_in_the_middle_changes_nothing(cli: Cli, folder: Folder) -> None:
    folder.write([*PEOPLE[:-1], Person("st9", "Newcomer")])
    before = users(cli)

    def fail(name: str) -> None:
        if name == "apply.status":
            raise OSError("disk full")

    with at_failpoints(fail):
        called = cli("sync", D, "--json")
    assert statuses(called) == (1, "failed")
    assert called.document["error"]["code"] == "machine", "a full disk is no bug of the program"
    assert users(cli) == before
    assert statuses(cli("sync", D, "--json")) == (0, "applied")


def test_a_second_process_is_busy(cli: Cli, folder: Folder, database: Database) -> None:
    with database.run_lock(D, 1):
        assert statuses(cli("sync", D, "--json")) == (13, "busy")
        edited = cli("user", "protect", D, "sis:te001", "--json")
    assert statuses(edited) == (0, "applied")  # a hand act never waits for a run
