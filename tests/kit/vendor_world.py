"""A district at a vendor's emulator, synced over real HTTP, and compared with the generator's word.

with at_vendor(database, District(users=300), "clever") as world:
    world.sync()
    world.assert_equal_to_truth()
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from sqlalchemy.orm import Session

from connectors.contract.pacing import Clock
from connectors.http.http_connector import HttpConnector
from connectors.installed import load
from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.tables import District as DistrictRow
from core.storage.tables import Source
from rostersync.emulator import District, Emulator
from rostersync.emulator.district.truth import Truth
from sync.sources.connect import secret_fields
from tests.kit.world import SLUG, World

CONNECTORS = {
    "clever": "clever",
    "clever31": "clever",
    "classlink": "classlink",
    "gg4l": "gg4l",
    "oneroster": "oneroster",
    "oneroster12": "oneroster",
}
FIELDS = (
    "given_name", "middle_name", "family_name", "preferred_given_name", "email", "username",
    "grade", "graduation_year", "sis_id", "student_number", "staff_number", "state_id",
)  # fmt: skip
"""The fields that the generator's truth speaks of."""

WAYS = (
    ("clever", "token"),
    ("clever31", "lookup"),
    ("classlink", "proxy"),
    ("classlink", "direct"),
    ("classlink", "discovery"),
    ("classlink", "server"),
    ("gg4l", "district"),
    ("gg4l", "discovery"),
    ("oneroster", "oauth2"),
    ("oneroster", "oauth1"),
    ("oneroster12", "oauth2"),
)
"""Every vendor by every way in that differs."""


def hurried_clock(now: Callable[[], float] = time.time) -> Clock:
    """Return a clock on which nobody waits: what would be waited for is added up."""
    waited = [0.0]
    return Clock(
        monotonic=lambda: time.monotonic() + waited[0],
        now=now,
        sleep=lambda seconds: waited.append(waited.pop() + seconds),
    )


@dataclass
class VendorWorld(World):
    """A district whose only source is a vendor's emulator."""

    emulator: Emulator = field(kw_only=True)
    vendor: str = field(kw_only=True)

    def at_noon(self) -> float:
        """Tell the time of the vendor's own day (unix seconds), by which its events are dated."""
        population = self.emulator.district.population
        return population.at(self.emulator.day).timestamp() + 12 * 3600

    def turn_to(self, day: int) -> None:
        """Serve a day, with the vendor's clock at its noon."""
        self.emulator.day = day
        self.emulator.heal()
        self.emulator.fail("clock_skew", amount=self.at_noon() - time.time())

    @property
    def requests(self) -> int:
        """How many requests the vendor has had."""
        return len(self.emulator.requests)

    def day(self, day: int, *, approve: bool = False, **options: Any) -> None:
        """Serve a day, and sync it two calendar days later; ``approve`` what is held."""
        self.later(days=2)
        self.emulator.day = day
        outcome = self.sync(**options)
        if approve and outcome.status == "held":
            approved = self.approve()
            assert approved.status == "applied", (approved, approved.error)
        else:
            assert outcome.exit_code == 0, (outcome, outcome.error)

    def truth(self) -> dict[str, Truth]:
        """Return external id → what the vendor shares now, by the generator's own word."""
        told = self.emulator.district.truth(self.emulator.day, self.vendor)
        return {truth.external_id: truth for truth in told if set(_roles(truth)) - {"contact"}}

    def directory(self) -> dict[str, Truth]:
        """Return external id → what the directory says of everybody who is not archived."""
        schools = {
            row.target_id: row.external_id
            for row in self.rows(
                "SELECT l.target_id, r.external_id FROM links l JOIN records r"
                " ON r.id = l.record_id WHERE r.kind = 'school' AND r.present"
            )
        }
        members: dict[str, list[tuple[str, str | None, bool]]] = {}
        for user, role, school, primary in self.rows(
            "SELECT user_id, role, school_id, is_primary FROM memberships"
        ):
            place = schools[school] if school else None
            members.setdefault(user, []).append((role, place, bool(primary)))
        columns = ", ".join(f"u.{name}" for name in FIELDS)
        found: dict[str, Truth] = {}
        for row in self.rows(
            f"SELECT u.id, u.status, r.external_id, {columns} FROM users u JOIN links l"
            " ON l.target_id = u.id AND l.held JOIN records r ON r.id = l.record_id"
            " WHERE u.status <> 'archived' AND r.kind = 'user' AND r.present"
        ):
            assert row.external_id not in found, "one entry of the vendor, two users"
            found[row.external_id] = Truth(
                person=0,
                external_id=row.external_id,
                memberships=tuple(sorted(members.get(row.id, []), key=str)),
                enabled=row.status == "active",
                **{name: getattr(row, name) for name in FIELDS},
            )
        return found

    def assert_equal_to_truth(self) -> None:
        """Compare the directory with the truth, field by field, and the number of its people."""
        truth, directory = self.truth(), self.directory()
        assert directory.keys() == truth.keys(), (
            f"missing {sorted(truth.keys() - directory.keys())[:5]},"
            f" too many {sorted(directory.keys() - truth.keys())[:5]}"
        )
        for key, said in truth.items():
            assert directory[key] == comparable(said), f"{key}: {_differing(directory[key], said)}"
        assert self.count("active") + self.count("suspended") == len(truth)

    def archived(self) -> int:
        """Count the archived."""
        return self.count("archived")


def _differing(found: Truth, said: Truth) -> dict[str, tuple[Any, Any]]:
    wanted = comparable(said)
    return {
        name: (getattr(found, name), getattr(wanted, name))
        for name in (*FIELDS, "memberships", "enabled")
        if getattr(found, name) != getattr(wanted, name)
    }


def _roles(truth: Truth) -> list[str]:
    return [role for role, _, _ in truth.memberships]


def comparable(truth: Truth) -> Truth:
    """Return the part of a truth that a directory holds: an address without ``@`` is none (F19)."""
    values = {name: getattr(truth, name) for name in FIELDS}
    if "@" not in (values["email"] or ""):
        values["email"] = None
    return Truth(
        person=0,
        external_id=truth.external_id,
        memberships=tuple(sorted(truth.memberships, key=str)),
        enabled=truth.enabled,
        **values,
    )


@contextmanager
def at_vendor(
    database: Database,
    district: District,
    vendor: str,
    mode: str = "",
    *,
    config: Mapping[str, Any] | None = None,
    source: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    own_time: bool = False,
    **options: Any,
) -> Iterator[VendorWorld]:
    """Serve a district by an emulator, and yield a world whose one source reads it.

    ``config`` and ``source`` add to the source's config and row, ``settings`` to the district's;
    ``options`` go to the emulator. ``own_time`` sets everybody's clock to the day that is served
    (use ``turn_to``). Nobody waits for retries.
    """
    with (
        Emulator(district, vendor, **{"rate_limit": None, **options}) as emulator,
        mock.patch.dict(os.environ),
        mock.patch.object(HttpConnector, "clock", hurried_clock()),
    ):
        world = VendorWorld(database, emulator=emulator, vendor=vendor)
        if own_time:
            HttpConnector.clock = hurried_clock(world.at_noon)  # put back by the patch
            world.turn_to(emulator.day)
        wanted = {"slug": SLUG, "name": "Springfield USD", "timezone": "UTC", **(settings or {})}
        with Session(database.engine) as session:
            row = DistrictRow(
                slug=SLUG,
                name="Springfield USD",
                settings=DistrictSettings.model_validate(wanted).stored(),
            )
            session.add(row)
            session.flush()
            session.add(
                Source(
                    district_id=row.id or 0,
                    name="sis",
                    connector=CONNECTORS[vendor],
                    precedence=1,
                    config=source_config(emulator, vendor, mode, config),
                    **(source or {}),
                )
            )
            session.commit()
        yield world


def source_config(
    emulator: Emulator, vendor: str, mode: str = "", config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the emulator's config as a district file has it: secrets stand in the environment."""
    known = load(CONNECTORS[vendor]).config_model
    out = {"retry_wait": 0, "attempts": 3, **emulator.config(mode), **(config or {})}
    for name in secret_fields(known):
        if isinstance(out.get(name), str) and not str(out[name]).startswith("env:"):
            os.environ[f"TEST_{name.upper()}"] = str(out[name])
            out[name] = f"env:TEST_{name.upper()}"
    return out
