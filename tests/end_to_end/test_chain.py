"""Clever → ClassLink → GG4L → CSV → Clever: one district over real HTTP, with hostile people (C23).

Three percent of the people are made hard to tell apart (the script of ``HOSTILE`` days): people of
the same names, families with one address, twins; and at each new vendor some have lost their
numbers and some bear another's. Each switch is a plan, applied, decided where a person must, and
followed by the retirement of the old source; after each leg every user is compared with the
generator's own word: which person they are, and each of their fields.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from connectors.http.http_connector import HttpConnector
from connectors.installed import load
from core.storage.database import Database
from rostersync.emulator import District, Emulator
from rostersync.emulator.district.days import Day, Hostile
from rostersync.emulator.district.truth import Truth
from rostersync.emulator.vendors.files import write_oneroster
from sync.acts.retire import retire_source
from sync.acts.vendor_switch import switch_source
from sync.ledger.chain import verify
from sync.people.conflicts import resolve
from sync.sources.connect import secret_fields
from sync.sources.district_load import load_district_file
from tests.kit import vendor_world
from tests.kit.town import Town
from tests.kit.vendor_world import CONNECTORS, FIELDS, hurried_clock

LEGS = (
    ("clever", "clever"),
    ("classlink", "classlink"),
    ("gg4l", "gg4l"),
    ("files", "oneroster12"),
    ("clever-again", "clever31"),
)
"""The sources in the order of the journey, each with whose ids and fields the truth tells."""

SHARE = 0.004
DAYS = (
    Day(*(Hostile(SHARE, kind=kind) for kind in ("same_names", "shared_email", "twins"))),
    *(Day(*(Hostile(SHARE, kind=kind) for kind in ("missing_ids", "swapped_ids"))) for _ in "1234"),
)
"""1.2 % from the beginning, and 0.8 % more at each of the four new vendors: 4.4 % by the end."""


class Journey(Town):
    """A district that changes its vendor four times; day n of the script is at vendor n."""

    def __init__(self, database: Database, folder: Path, people: int) -> None:
        self.district = District(seed=11, users=people, days=DAYS)
        self.person_of: dict[str, int] = {}
        """User id → the number of the person whom they are: never changed once it is known."""
        self.decided = 0
        super().__init__(database, folder, ())

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Serve every vendor at once, and configure them all."""
        lines = ["[[district]]", f'slug = "{self.slug}"', 'name = "Town"', 'timezone = "UTC"']
        with ExitStack() as stack:
            stack.enter_context(mock.patch.dict(os.environ))
            stack.enter_context(mock.patch.object(HttpConnector, "clock", hurried_clock()))
            for rank, (name, vendor) in enumerate(LEGS, 1):
                if name == "files":
                    write_oneroster(self.district, self.folder / name, day=rank, version="1.2")
                    connector, config = "oneroster_csv", {"path": name}
                else:
                    emulator = stack.enter_context(
                        Emulator(self.district, vendor, day=rank, rate_limit=None, neighbours=0)
                    )
                    connector = CONNECTORS[vendor]
                    config = {"retry_wait": 0, **emulator.config()}
                    for secret in secret_fields(load(connector).config_model) & config.keys():
                        word = f"TEST_{rank}_{secret.upper()}"
                        os.environ[word] = str(config[secret])
                        config[secret] = f"env:{word}"
                lines += [
                    "[[district.source]]", f'name = "{name}"', f'connector = "{connector}"',
                    f"precedence = {rank}", "[district.source.config]",
                    *(f"{key} = {toml(value)}" for key, value in config.items()),
                ]  # fmt: skip
            file = self.folder / "district.toml"
            file.write_text("\n".join(lines))
            load_district_file(self.database, file)
            yield

    def load(self, sources: Any) -> None:
        """Nothing yet: ``connected`` configures."""

    # -- who is who

    def truth(self, leg: int) -> dict[str, Truth]:
        """Return external id → the generator's word on a leg."""
        told = self.district.truth(leg + 1, LEGS[leg][1])
        return {one.external_id: one for one in told}

    def hostile(self, leg: int, *kinds: str) -> set[int]:
        """Return the people whom the script made hostile so far, in one of these ways."""
        found = self.district.view(leg + 1).hostile
        return {person for kind, some in found.items() if kind in kinds for person in some}

    def links(self, leg: int) -> dict[str, str]:
        rows = self.ask(
            "SELECT r.external_id, l.target_id FROM links l JOIN records r ON r.id = l.record_id"
            " JOIN sources s ON s.id = r.source_id WHERE s.district_id = :d AND s.name = :source"
            " AND r.kind = 'user'",
            source=LEGS[leg][0],
        )
        return {row.external_id: row.target_id for row in rows}

    def know(self, leg: int, truth: dict[str, Truth]) -> None:
        """Check that users and people are one to one, as far as this vendor's records tell."""
        for key, user in self.links(leg).items():
            person = truth[key].person
            assert self.person_of.setdefault(user, person) == person, "one user, two people"
        people = list(self.person_of.values())
        assert len(people) == len(set(people)), "one person, two users"

    def directory(self, leg: int) -> dict[str, Truth]:
        """Return external id → what the directory says of everybody whom this vendor holds."""
        source = LEGS[leg][0]
        schools = {
            row.target_id: row.external_id
            for row in self.ask(
                "SELECT l.target_id, r.external_id FROM links l JOIN records r"
                " ON r.id = l.record_id JOIN sources s ON s.id = r.source_id"
                " WHERE s.district_id = :d AND s.name = :source AND r.kind = 'school'",
                source=source,
            )
        }
        members: dict[str, list[tuple[str, str | None, bool]]] = {}
        for user, role, school, primary in self.ask(
            "SELECT m.user_id, m.role, m.school_id, m.is_primary FROM memberships m"
            " JOIN users u ON u.id = m.user_id WHERE u.district_id = :d"
        ):
            place = schools[school] if school else None
            members.setdefault(user, []).append((role, place, bool(primary)))
        rows = {row.id: row for row in self.users()}
        found = {}
        for key, user in self.links(leg).items():
            row = rows[user]
            found[key] = Truth(
                person=self.person_of[user],
                external_id=key,
                memberships=tuple(sorted(members.get(user, ()), key=str)),
                enabled=row.status == "active",
                **{name: getattr(row, name) for name in FIELDS},
            )
        return found


def toml(value: Any) -> str:
    return str(value) if isinstance(value, int) else f'"{value}"'


def comparable(truth: Truth) -> Truth:
    """Return the part of a truth that a directory holds, and who the person is."""
    return replace(vendor_world.comparable(truth), person=truth.person)


def go(town: Journey) -> None:
    """Make the whole journey, and check every leg of it."""
    people = town.district.users
    first = town.truth(0)
    town.sync("clever", expect="applied")
    town.know(0, first)
    assert len(town.person_of) == people
    assert town.conflicts() == []
    assert town.directory(0) == {key: comparable(one) for key, one in first.items()}
    for leg in range(1, len(LEGS)):
        switch(town, leg)
    assert town.decided < 0.05 * people
    assert verify(town.database, town.slug)["intact"]


def switch(town: Journey, leg: int) -> None:
    old, new = LEGS[leg - 1][0], LEGS[leg][0]
    truth = town.truth(leg)
    user_of = {person: user for user, person in town.person_of.items()}
    town.tick()
    planned = switch_source(town.database, town.slug, old, new, actor="x", now=town.clock)
    assert planned.status == "planned", planned.error
    counts = town.counts(planned.plan_ids[0])
    assert not {"create", "archive", "leaves_scope"} & counts.keys(), counts
    report = planned.report or {}
    assert report["people"] == report["matched"] + report["weak"] == town.district.users
    town.apply(planned)
    town.know(leg, truth)
    assert town.person_of.keys() == {user.id for user in town.users("active")}

    # what a person must decide is a conflict: of the people whom the script made hostile, and of
    # admins, of whom Clever tells no number; all whose numbers were swapped are among them
    doubts = town.conflicts()
    doubtful = {truth[row.external_id].person for row in doubts}
    admins = {one.person for one in truth.values() if one.memberships[0][0] == "admin"}
    assert doubtful <= town.hostile(leg, "missing_ids", "swapped_ids") | admins
    fresh = town.hostile(leg, "swapped_ids") - town.hostile(leg - 1, "swapped_ids")
    assert fresh - town.hostile(leg, "missing_ids") - admins <= doubtful
    named: set[str] = set()
    for row in doubts:
        candidates = msgspec.json.decode(row.candidates) if isinstance(row.candidates, str) else (
            row.candidates
        )  # fmt: skip
        assert candidates
        assert all(one["evidence"] for one in candidates)
        named |= {one["id"] for one in candidates}
    assert {user_of[person] for person in doubtful} <= named, "the evidence names the right one"

    # nobody in an open conflict is archived when the old source goes
    town.tick()
    retired = retire_source(town.database, town.slug, old, actor="x", now=town.clock)
    if retired.plan_ids:
        assert "archive" not in town.counts(retired.plan_ids[0])
        town.apply(retired)
    town.sync(new)
    assert len(town.users("active")) == town.district.users

    # a person decides, and the directory is the vendor's again, user by user
    for row in doubts:
        user = user_of[truth[row.external_id].person]
        resolve(town.database, row.id, link=user, new=False, actor="x", now=town.clock)
    town.decided += len(doubts)
    town.sync(new, expect="applied" if doubts else "nothing_to_do")
    assert town.conflicts() == []
    town.know(leg, truth)
    assert {user: person for person, user in user_of.items()} == town.person_of
    assert len(town.users("active")) == len(town.users()) == town.district.users
    directory = town.directory(leg)
    assert directory.keys() == truth.keys()
    for key, said in truth.items():
        assert directory[key] == comparable(said), key
    town.tick()
    retired = retire_source(town.database, town.slug, old, actor="x", now=town.clock)
    assert retired.status == "nothing_to_do"
    assert town.sync(new).status == "nothing_to_do"


def test_c23_from_clever_over_three_vendors_and_back_nobody_is_lost_doubled_or_mistaken(
    database: Database, tmp_path: Path
) -> None:
    town = Journey(database, tmp_path, 2_000 if database.is_sqlite else 300)
    with town.connected():
        go(town)


@pytest.mark.long
def test_c23_the_same_journey_with_ten_thousand_people(database: Database, tmp_path: Path) -> None:
    town = Journey(database, tmp_path, 10_000)
    with town.connected():
        go(town)
