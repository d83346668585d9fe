"""How many requests a reading takes: the cost model of docs/performance.md rests on these.

About 2 s of processor time for each vendor: 10,000 people are made and served, none is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from connectors.contract.connector import Certificate, FetchRequest
from core.storage.database import open_database
from core.storage.tables import Source
from rostersync.emulator import District
from rostersync.emulator.district.days import Changes, Day
from sync.sources.connect import open_connector
from tests.kit.vendor_world import VendorWorld, at_vendor
from tests.vendors.test_incremental import FEEDS

PEOPLE = 10_000
COSTS = {
    "clever": (6, 3, 2),
    "classlink": (4, 3, 3),
    "gg4l": (25, 4, 4),
    "oneroster12": (6, 4, 4),
}
"""Vendor → requests of a full reading, of one that asks for changes, of one that finds none."""


def reading(world: VendorWorld, cursor: Mapping[str, Any] | None) -> tuple[int, int, Certificate]:
    """Read as a sync does; return the requests, the bytes and the certificate."""
    with Session(world.database.engine) as session:
        source = session.execute(select(Source)).scalar_one()
        session.expunge(source)
    before, size = world.requests, 0
    connector = open_connector(source)
    try:
        connector.vendor_district()  # whose district it is, is asked before anybody is read (L9)
        pages = connector.pages(FetchRequest(cursor=cursor))
        while True:
            try:
                size += len(next(pages).body)
            except StopIteration as end:
                return world.requests - before, size, end.value
    finally:
        connector.close()


@pytest.fixture(scope="module")
def empty(_migrated_sqlite: Path) -> Path:
    return _migrated_sqlite


@pytest.mark.parametrize("vendor", list(COSTS))
def test_a_reading_takes_as_many_requests_as_the_cost_model_says(
    empty: Path, tmp_path: Path, vendor: str
) -> None:
    path = tmp_path / "rostersync.db"
    shutil.copyfile(empty, path)
    district = District(users=PEOPLE, days=(Day(Changes(10)),))
    with at_vendor(
        open_database(f"sqlite:///{path}"), district, vendor, config=FEEDS[vendor], own_time=True
    ) as world:
        full, whole_size, certificate = reading(world, None)
        assert certificate.complete
        world.turn_to(1)
        changes, changed_size, certificate = reading(world, certificate.cursor)
        assert certificate.incremental
        nothing, _, certificate = reading(world, certificate.cursor)
        assert certificate.incremental
    assert (full, changes, nothing) == COSTS[vendor]
    assert changed_size * 100 < whole_size
