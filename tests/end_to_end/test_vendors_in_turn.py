"""A district changes its vendor four times: no user id is lost, doubled or given to another (C23).

The synthetic district has people without address, families with one address, twins and equal
names; each vendor has its own ids and knows other numbers. Two percent of the new vendor's
numbers are swapped between two people.
"""

from __future__ import annotations

import csv
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from core.storage.database import Database
from rostersync.emulator.district.generator import District
from rostersync.emulator.vendors.files import write_clever, write_oneroster, write_user_csv
from sync.acts.retire import retire_source
from sync.acts.vendor_switch import switch_source
from sync.ledger.chain import verify
from sync.people.conflicts import resolve
from sync.people.identity import NUMBERS
from sync.sources.district_load import load_district_file
from tests.kit.town import Town

ROUTE = (
    ("oneroster", "oneroster_csv", "oneroster12"),
    ("clever", "clever_csv", "clever31"),
    ("files", "user_csv", "user_csv"),
    ("oneroster-again", "oneroster_csv", "oneroster12"),
)


class Traveller(Town):
    """A town whose sources are of different kinds, and which knows who everybody really is."""

    def __init__(self, database: Database, folder: Path, people: int) -> None:
        super().__init__(database, folder)
        self.district = District(seed=7, users=people)
        self.people: dict[str, int] = {}
        """User id → the number of the person whom they are."""
        self.numbers: dict[str, int] = {}
        self.unknowable: set[str] = set()
        """Users of people of whom two vendors say nothing in common."""

    def configure(self) -> None:
        lines = ["[[district]]", f'slug = "{self.slug}"', 'name = "Town"', 'timezone = "UTC"']
        for rank, (name, connector, _) in enumerate(ROUTE, 1):
            (self.folder / name).mkdir(exist_ok=True)
            path = f"{name}/users.csv" if connector == "user_csv" else name
            lines += [
                "[[district.source]]", f'name = "{name}"', f'connector = "{connector}"',
                f"precedence = {rank}", "[district.source.config]", f'path = "{path}"',
            ]  # fmt: skip
        file = self.folder / "district.toml"
        file.write_text("\n".join(lines))
        load_district_file(self.database, file)

    def serve(self, name: str, connector: str, *, again: bool = False) -> None:
        folder = self.folder / name
        if connector == "clever_csv":
            write_clever(self.district, folder)
            swap(folder / "students.csv", "Student_number", every=50)
        elif connector == "oneroster_csv":
            write_oneroster(self.district, folder, version="1.2")
            if again:
                swap(folder / "users.csv", "identifier", every=50)
        else:
            write_user_csv(self.district, folder / "users.csv")

    def person(self, vendor: str, key: str) -> int:
        """Return the number of the person whose entry this is at a vendor."""
        if vendor == "oneroster12":
            if not self.numbers:
                self.numbers = {
                    str(entry.external_id): entry.person for entry in self.district.truth(0, vendor)
                }
            return self.numbers[key]
        return int(re.sub(r"[^0-9]", "", key)) % 10_000  # their number in the district's books

    def know(self, name: str, vendor: str) -> None:
        """Check that each record of a source is linked to its person, and they to one user."""
        for key, user in self.links(name).items():
            person = self.person(vendor, key)
            assert self.people.setdefault(user, person) == person, "a record went to another"
        by_person: dict[int, list[str]] = {}
        for user, person in self.people.items():
            by_person.setdefault(person, []).append(user)
        fields = ("email_folded", *NUMBERS)
        rows = {user.id: user for user in self.users()}
        for one, *others in by_person.values():
            for other in others:  # nobody can know: not one number or address in common
                pair = rows[one], rows[other]
                shared = {n for n in fields if getattr(pair[0], n) == getattr(pair[1], n) != None}  # noqa: E711
                assert not shared, "somebody was doubled"
                self.unknowable.add(one)
                self.unknowable.add(other)
        assert len(self.unknowable) < 0.02 * self.district.users

    def links(self, source: str) -> dict[str, str]:
        rows = self.ask(
            "SELECT r.external_id, l.target_id FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id WHERE s.district_id = :d AND s.name = :source"
            " AND r.kind = 'user'",
            source=source,
        )
        return {row.external_id: row.target_id for row in rows}


def swap(file: Path, column: str, *, every: int) -> None:
    """Swap a number between two neighbours, every so many rows."""
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        rows: list[dict[str, Any]] = list(reader)
        columns = list(reader.fieldnames or ())
    column = next(name for name in columns if name.lower() == column.lower())
    for at in range(0, len(rows) - 1, every):
        rows[at][column], rows[at + 1][column] = rows[at + 1][column], rows[at][column]
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)


def travel(town: Traveller) -> None:
    town.configure()
    name, connector, vendor = ROUTE[0]
    town.serve(name, connector)
    town.sync(name, expect="applied")
    town.know(name, vendor)
    assert len(town.people) > 0.95 * town.district.users
    for (old, _, _), (name, connector, vendor) in pairwise(ROUTE):
        known = dict(town.people)
        of_person = {person: user for user, person in known.items()}
        town.serve(name, connector, again=name == "oneroster-again")
        town.tick()
        planned = switch_source(town.database, town.slug, old, name, actor="x", now=town.clock)
        counts = town.counts(planned.plan_ids[0])
        assert not {"archive", "leaves_scope"} & counts.keys(), counts
        town.apply(planned)
        town.know(name, vendor)
        doubts = town.conflicts()
        assert 0 < len(doubts) < 0.2 * town.district.users
        for conflict in doubts:
            user = of_person.get(town.person(vendor, conflict.external_id))
            resolve(
                town.database, conflict.id, link=user, new=user is None, actor="x", now=town.clock
            )
        town.sync(name)
        assert town.conflicts() == []
        town.know(name, vendor)
        retired = retire_source(town.database, town.slug, old, actor="x", now=town.clock)
        if retired.plan_ids:
            town.apply(retired)
        assert {user.id for user in town.users("active")} == set(town.links(name).values())
        assert known.items() <= town.people.items()
        assert {user.id for user in town.users()} == town.people.keys(), "nobody is lost"
    assert verify(town.database, town.slug)["intact"]


def test_c23_four_vendors_in_turn_nobody_is_lost_doubled_or_mistaken(
    database: Database, tmp_path: Path
) -> None:
    travel(Traveller(database, tmp_path, 1_000 if database.is_sqlite else 300))


@pytest.mark.long
def test_c23_four_vendors_in_turn_with_ten_thousand_people(
    database: Database, tmp_path: Path
) -> None:
    travel(Traveller(database, tmp_path, 10_000))
