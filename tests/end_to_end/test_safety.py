"""Twelve ways to lose people that were measured on other programs, through our command line.

The list is known from sync tools that lost, doubled or re-created people in half of these cases and
mostly ended with exit code 0. Here none of them harms anybody, and each that an operator must hear
of has its own status and exit code. One file of users, with and without stable ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine, event

from core.storage.database import Database
from tests.kit.command_line import Called, Cli

D = "springfield"
HEADER = "firstname,lastname,email,role,gradyear,status,idnumber"
DISTRICT = """\
[[district]]
slug = "springfield"
name = "Springfield USD"
timezone = "America/Chicago"
email_domains = ["springfield.example", "schools.example"]
[[district.source]]
name = "sis"
connector = "user_csv"
precedence = 1
[district.source.config]
path = "users.csv"
"""


class Row(NamedTuple):
    """One row of the user file."""

    number: int
    domain: str = "springfield.example"
    idnumber: str = ""
    upper: bool = False
    role: str = "student"

    def text(self) -> str:
        mail = f"p{self.number:04}@{self.domain}"
        mail = mail.upper() if self.upper else mail
        return f"Sam,Person{self.number:04},{mail},{self.role},2030,,{self.idnumber}"


class Town:
    """A district whose user file a test writes, called by the command line."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli = cli
        self.folder = folder
        self.file = folder / "users.csv"
        (folder / "district.toml").write_text(DISTRICT)

    def load(self) -> None:
        called = self.cli("load", str(self.folder / "district.toml"))
        assert called.code == 0, called

    def write(self, rows: Iterable[Row]) -> None:
        lines = "".join(f"{row.text()}\n" for row in rows)
        self.file.write_text(f"{HEADER}\n{lines}")

    def sync(self) -> tuple[int, str]:
        called = self.cli("sync", D, "--json")
        return called.code, called.document["status"]

    def users(self, status: str = "active") -> list[dict[str, Any]]:
        return list(self.cli("users", D, "--status", status, "--json").document)

    def plan(self) -> dict[str, Any]:
        """Return the counts of what a dry run would do."""
        counts: dict[str, int] = {}
        for one in self.cli("plan", D, "--json", "--summary").document["plans"]:
            for name, count in one["plan"]["counts"].items():
                counts[name] = counts.get(name, 0) + count
        return counts


Loaded = Callable[[list[Row]], Town]


@pytest.fixture
def town(cli: Cli, tmp_path: Path) -> Loaded:
    """Return a function that makes a district whose people are read and applied."""

    def make(rows: list[Row]) -> Town:
        town = Town(cli, tmp_path)
        town.load()
        town.write(rows)
        assert town.sync() == (0, "applied")
        assert len(town.users()) == len(rows)
        return town

    return make


def without_ids(count: int, **more: Any) -> list[Row]:
    return [Row(number, **more) for number in range(count)]


def with_ids(count: int, **more: Any) -> list[Row]:
    return [Row(number, idnumber=f"i{number}", **more) for number in range(count)]


@pytest.mark.parametrize("share", [50, 15])
def test_a_file_that_misses_a_share_of_all_is_held_and_nobody_is_removed(
    town: Loaded, share: int
) -> None:
    there = town(without_ids(400))
    there.write(without_ids(400)[400 * share // 100 :])
    assert there.sync() == (10, "held")
    assert len(there.users()) == 400


@pytest.mark.parametrize("count", [400, 150])
def test_a_header_only_file_is_incomplete_and_nobody_is_removed(town: Loaded, count: int) -> None:
    there = town(without_ids(count))
    there.write([])
    assert there.sync() == (12, "incomplete")
    assert len(there.users()) == count
    assert there.cli("plans", D, "--json").document[0]["status"] == "applied", "nothing to approve"


@pytest.mark.parametrize("people", [with_ids, without_ids])
@pytest.mark.parametrize("count", [400, 150])
def test_all_addresses_move_to_a_new_domain_and_nobody_is_doubled(
    town: Loaded, people: Callable[..., list[Row]], count: int
) -> None:
    there = town(people(count))
    before = {user["family_name"]: user["id"] for user in there.users()}
    there.write(people(count, domain="schools.example"))
    counts = there.plan()
    assert (counts["create"], counts["archive"]) == (0, 0)
    assert there.sync() == (0, "applied")
    users = there.users()
    assert {user["family_name"]: user["id"] for user in users} == before
    assert {user["email"].partition("@")[2] for user in users} == {"schools.example"}
    assert there.users("archived") == []


def test_a_domain_that_is_not_the_districts_changes_nobody(town: Loaded) -> None:
    there = town(without_ids(150))
    there.write(without_ids(150, domain="elsewhere.example"))
    called = there.cli("sync", D, "--json")
    assert called.document["certificates"]["sis"]["skipped"] == 150, "each row is reported"
    assert len(there.users()) == 150
    assert there.users("archived") == []


def test_the_same_addresses_in_capitals_are_the_same_people(town: Loaded) -> None:
    there = town(without_ids(150))
    there.write(without_ids(150, upper=True))
    assert there.sync() == (0, "nothing_to_do")


def test_a_limit_of_ten_percent_stops_fifteen(town: Loaded) -> None:
    there = town(without_ids(400))
    file = there.folder / "district.toml"
    limits = "[district.limits]\ndistrict = { percent = 10, least = 10 }\n[[district.source]]"
    file.write_text(file.read_text().replace("[[district.source]]", limits))
    there.load()
    there.write(without_ids(400)[60:])
    assert there.sync() == (10, "held")
    assert len(there.users()) == 400


def test_a_second_process_is_told_busy(town: Loaded, database: Database) -> None:
    there = town(without_ids(10))
    with database.run_lock(D, 1):
        called = there.cli("sync", D, "--json")
    assert (called.code, called.document["status"]) == (13, "busy")


def test_a_file_that_was_cut_while_it_was_sent_is_incomplete(town: Loaded) -> None:
    there = town(without_ids(150))
    whole = there.file.read_bytes()
    there.file.write_bytes(whole[: len(whole) // 2 - 5])
    code, status = there.sync()
    assert (code, status) in {(12, "incomplete"), (10, "held")}
    assert len(there.users()) == 150


def test_a_first_part_of_the_file_creates_nobody_again(town: Loaded) -> None:
    """Elsewhere a paging that ends early made 600 of 1,000 people anew."""
    there = town(with_ids(400))
    there.write(with_ids(400)[:160])
    there.sync()
    there.write(with_ids(400))
    assert there.sync() == (0, "nothing_to_do")
    assert len(there.users()) == 400


def test_a_write_that_fails_in_the_middle_leaves_nothing_half_done_and_says_so(
    town: Loaded, database: Database
) -> None:
    there = town(without_ids(100))
    before = there.users()
    there.write(without_ids(140))
    called = failing(there, "INSERT INTO memberships")
    assert called.code == 1
    assert called.document["status"] == "failed"
    assert there.users() == before
    assert there.cli("db", "verify").code == 0
    assert there.sync() == (0, "applied")
    assert len(there.users()) == 140


def failing(there: Town, words: str) -> Called:
    """Sync while the database refuses the statements that have these words."""

    def refuse(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        if words in statement:
            raise RuntimeError("the disk is full")

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        return there.cli("sync", D, "--json")
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)
