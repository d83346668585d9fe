"""Times for people are on the clock of their own district; ``--json`` has UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from core.storage.database import Database
from core.storage.tables import FlexDelivery, Upload
from tests.kit import tables as given
from tests.kit.command_line import Cli

pytestmark = pytest.mark.any_store

LATE = datetime(2026, 9, 2, 2, 30, tzinfo=UTC)
"""In Chicago still the evening of the day before."""
LOCAL = "2026-09-01 21:30 CDT"
IN_UTC = "2026-09-02T02:30:00Z"
ELSEWHERE = "2026-09-02 14:30 NZST"

LISTINGS = (
    "show P1",
    "show P2",
    "plans springfield",
    "runs springfield",
    "changes springfield",
    "why springfield u1",
    "files springfield",
    "sources",
    "sources springfield",
    "districts",
    "rollover springfield --since 2026-08-01",
    "skipped springfield",
    "status",
)
"""Whatever tells a time. The rest, below, tells none."""
TIMELESS = (
    "show P1 --offset 0",
    "show P2 --drift",
    "users springfield",
    "users springfield --leaving",
    "conflicts springfield --all",
    "flex status firm",
    "flex request list firm",
)


@pytest.fixture(autouse=True)
def _districts(database: Database) -> None:
    """Springfield, where everything happened late in the evening; two districts elsewhere."""
    firm = given.district("firm", 3, "Pacific/Auckland")
    firm.settings = firm.settings | {"kind": "firm"}
    reading = given.fetch(1, 1, records=1)
    reading.at = LATE
    given.store(
        database,
        [
            given.district(serial=1),
            given.district("dunedin", 2, "Pacific/Auckland"),
            firm,
            given.source(
                1, "sis", complete_at=LATE, full_at=LATE, vendor_time=LATE,
                health={"failures": 3, "code": "vendor_failure", "next_try": IN_UTC},
            ),
            given.source(2, "sms", 2, complete_at=LATE),
            given.user("u1", "Ada", "Byron", created_at=LATE, hand_at=LATE, protected=True),
            given.record(
                1, "x-1", present=False, absent_since=LATE, data='{"external_id": "x-1"}'
            ),
            given.link(1, "u1"),
            given.conflict(1, 1, status="resolved", decision="new", decided_by="maria",
                           decided_at=LATE),
            given.run(1, started_at=LATE, finished_at=LATE),
            given.run(2, started_at=LATE, district_id=2),
            reading,
            given.plan(
                1, created_at=LATE, status="applied", applied_at=LATE, applied_run_id=1,
                first_serial=1, size=1, counts={"create": 1},
            ),
            given.change(1, 0, "create", "u1", record_id=1, after={"status": "active"}),
            given.plan(
                2, created_at=LATE, status="held", standing=True, size=1, counts={"archive": 1},
                expires_at=LATE + timedelta(days=7),
            ),
            given.change(
                2, 0, "archive", "u1", reason="absent",
                before={"status": "active", "archived_at": None},
                after={"status": "archived", "archived_at": IN_UTC},
            ),
            Upload(
                district_id=1, title="staff.csv", actor="maria", created_at=LATE, modified_at=LATE,
                content_hash="0", size=1, status="PROCESSED",
            ),
            FlexDelivery(district_id=3, status="Available", changed_by="maria", changed_at=LATE),
        ],
    )  # fmt: skip


@pytest.mark.parametrize("listing", LISTINGS)
def test_people_read_every_time_on_the_clock_of_their_district(cli: Cli, listing: str) -> None:
    shown = cli(*listing.split())
    assert shown.code == 0, shown.err
    assert LOCAL in shown.out
    for line in shown.out.splitlines():
        assert "2026-09-02" not in line.replace(ELSEWHERE, ""), line
    assert "UTC" not in shown.out


@pytest.mark.parametrize("listing", LISTINGS)
def test_programs_read_every_time_in_utc(cli: Cli, listing: str) -> None:
    shown = cli(*listing.split(), "--json")
    assert shown.document
    assert IN_UTC in shown.out
    assert "CDT" not in shown.out


@pytest.mark.parametrize("listing", TIMELESS)
def test_other_listings_tell_people_no_time_of_another_clock(cli: Cli, listing: str) -> None:
    shown = cli(*listing.split())
    assert shown.out
    assert "2026-09-02" not in shown.out
    assert "UTC" not in shown.out


def test_a_plan_is_made_and_ends_on_the_clock_of_its_district(cli: Cli) -> None:
    assert f"\nmade {LOCAL} by a sync, applied {LOCAL}\n" in cli("show", "P1").out
    held = f"\nmade {LOCAL} by a sync, expires 2026-09-08 21:30 CDT\n"
    assert held in cli("show", "P2").out


def test_a_list_of_several_districts_has_each_row_on_its_own_clock(cli: Cli) -> None:
    for listing in ("sources", "districts"):
        rows = {line.split()[0]: line for line in cli(listing).out.splitlines() if line.strip()}
        assert LOCAL in rows["springfield"]
        assert ELSEWHERE in rows["dunedin"]


def test_a_source_that_was_never_read_whole_has_no_time(cli: Cli, database: Database) -> None:
    given.store(database, [given.source(3, "new", 2)])
    (row,) = (line for line in cli("sources", "dunedin").out.splitlines() if " new " in line)
    assert "20" not in row
