"""The printed plan, as a principal reads it, held against a golden file.

After a wanted change of the wording, run `ROSTERSYNC_WRITE_GOLDEN=1 pytest tests/rostersync/cli`
and read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from core.storage.database import Database
from rostersync.cli.printing import printed_plan
from rostersync.cli.printing.printed_plan import held_sentence
from tests.kit import tables as given
from tests.kit.command_line import Cli
from tests.kit.oneroster_folder import Folder, Person

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, printed: str) -> None:
    path = GOLDEN / name
    if os.environ.get("ROSTERSYNC_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(printed, encoding="utf-8")
    assert printed == path.read_text(encoding="utf-8")


def person(plan: int, seq: int, action: str, number: int, **values: Any) -> Any:
    return given.change(plan, seq, action, f"u{number:03}", school_id="s1", **values)


@pytest.fixture
def _plans(database: Database) -> None:
    """A plan of Lincoln and Grant, and beside it a held one."""
    people = [given.user(f"u{n:03}", f"Given{n}", f"Family{n}") for n in range(20)]
    changes = [
        given.change(12, 0, "create", "s9", kind="school", after={"name": "Adams Elementary"}),
        given.change(12, 1, "archive", "s2", kind="school", reason="absent"),
    ]
    for n in range(1, 8):
        changes.append(
            person(
                12, 1 + n, "create", 100 + n, role="student",
                after={
                    "given_name": f"New{n}", "family_name": "Comer", "grade": "09",
                    "email": f"new{n}@springfield.example", "status": "active",
                    "memberships": [["student", "s1", True]],
                },
            )
        )  # fmt: skip
    changes += [
        person(
            12, 9, "update", 1, role="teacher", reason="changed_in_source",
            before={"family_name": "Family1", "email": None},
            after={"family_name": "Family-One", "email": "f.one@springfield.example"},
        ),
        person(
            12, 10, "update", 2, role="student", reason="changed_in_source",
            before={"grade": "08", "memberships": [["student", "s2", True]]},
            after={"grade": "09", "memberships": [["student", "s1", True]]},
        ),
        person(
            12, 11, "suspend", 3, role="staff", reason="disabled_in_source", record_id=3,
            before={"status": "active"}, after={"status": "suspended"},
        ),
        person(
            12, 12, "restore", 4, role="student", reason="returned", record_id=4,
            before={"status": "archived"}, after={"status": "active"},
        ),
        given.change(
            12, 13, "archive", "u005", role="teacher", reason="absent", basis=[[5, 1, 0, 1]],
            before={"status": "active"}, after={"status": "archived"},
        ),
        *(
            person(
                13, seq, "archive", 6 + seq, role="teacher", reason="absent", record_id=6 + seq,
                before={"status": "active"}, after={"status": "archived"},
            )
            for seq in range(3)
        ),
    ]  # fmt: skip
    given.store(
        database,
        [
            given.district(),
            given.source(1, "sis"),
            given.school("s1", "Lincoln High"),
            given.school("s2", "Grant Middle"),
            *people,
            *(given.record(n, f"x-{n}") for n in range(1, 20)),
            given.run(1),
            given.plan(
                12, size=14, expires_at=given.AT,
                counts={
                    "create": 7, "update": 2, "suspend": 1, "restore": 1, "archive": 1,
                    "protected": 1, "locked": 2, "conflict": 1, "skipped": 3,
                },
                schools={"create": 1, "archive": 1},
            ),
            given.plan(
                13, size=3, status="held", standing=True, expires_at=given.AT,
                counts={"archive": 3},
                held=[
                    {
                        "limit": "school_role", "scope": "teacher, Lincoln High", "allowed": 2,
                        "found": 3, "people": 20, "source": "sis", "school": "s1",
                        "role": "teacher",
                    }
                ],
            ),
            *changes,
        ],
    )  # fmt: skip


@pytest.mark.usefixtures("_plans")
def test_a_plan_is_printed_as_the_golden_file_says(cli: Cli) -> None:
    called = cli("show", "P12")
    assert (called.code, called.err) == (0, "")
    golden("plan.txt", called.out)


@pytest.mark.usefixtures("_plans")
def test_a_held_plan_begins_with_what_is_held_and_ends_with_what_to_do(cli: Cli) -> None:
    called = cli("show", "p13")
    golden("held_plan.txt", called.out)
    assert "3 of 20 teachers of Lincoln High leave, allowed 2" in called.out


@pytest.mark.usefixtures("_plans")
def test_change_by_change_a_plan_is_printed_page_by_page(cli: Cli) -> None:
    called = cli("show", "P12", "--offset", "8", "--limit", "3")
    golden("changes.txt", called.out)
    rest = cli("show", "P12", "--offset", "11")
    assert "more: rostersync" not in rest.out


@pytest.mark.usefixtures("_plans")
def test_many_schools_are_cut_off_with_their_number(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printed_plan, "SCHOOLS_SHOWN", 1)
    called = cli("show", "P12")
    assert "Lincoln High" in called.out
    assert "Without a school" not in called.out
    assert "and 1 more school with 1 change: rostersync show P12 --offset 0" in called.out


@pytest.mark.parametrize(
    ("group", "said"),
    [
        (
            {"limit": "school_role", "found": 7, "allowed": 5, "people": 120, "role": "student",
             "school": "Lincoln High", "source": "sis"},
            "7 of 120 students of Lincoln High leave, allowed 5 (sis)",
        ),
        (
            {"limit": "school_role", "found": 4, "allowed": 3, "people": 9, "role": "student"},
            "4 of 9 students without a school leave, allowed 3",
        ),
        (
            {"limit": "district_role", "found": 70, "allowed": 50, "people": 1200,
             "role": "teacher"},
            "70 of 1,200 teachers of the district leave, allowed 50",
        ),
        (
            {"limit": "district", "found": 1, "allowed": 0, "people": 3},
            "1 of 3 people leave, allowed 0",
        ),
        (
            {"limit": "additions", "found": 700, "allowed": 500, "people": 1000},
            "700 people would join the 1,000 there are within a week, allowed 500",
        ),
        (
            {"limit": "additions", "found": 51, "allowed": 50, "people": 0},
            "51 people would join within a week, allowed 50",
        ),
        (
            {"limit": "resembling", "found": 2, "allowed": 0, "people": 0},
            "2 people leave while somebody joins who resembles them: rostersync conflicts a",
        ),
        (
            {"limit": "guard", "found": 1, "allowed": 0, "people": 0},
            "1 person: nothing explains their change in the first run after a pause",
        ),
    ],
)  # fmt: skip
def test_each_limit_is_told_with_its_numbers(group: dict[str, Any], said: str) -> None:
    assert held_sentence(group, "a") == said


def test_a_held_plan_that_was_decided_says_so_and_what_its_numbers_count() -> None:
    counts = {"archive": 60}
    plan = {
        "id": "P7", "district": "springfield", "kind": "sync", "status": "applied", "size": 60,
        "created_at": "2026-09-01T05:00:00Z", "applied_at": "2026-09-01T06:00:00Z",
        "expires_at": None, "counts": counts, "schools": {},
        "held": [{"limit": "district", "found": 61, "allowed": 20, "people": 402}],
    }  # fmt: skip
    told = [line.text for line in printed_plan.plan_lines(plan, None, "America/Chicago")]
    assert told[3:6] == [
        "Was held, because:",
        "  - 61 of 402 people leave, allowed 20",
        "    (the days before are counted, too)",
    ]
    plan["held"][0]["found"] = 60  # type: ignore[index]
    told = [line.text for line in printed_plan.plan_lines(plan, None, "America/Chicago")]
    assert "counted" not in " ".join(told)


def test_the_people_of_a_group_are_printed_by_name(cli: Cli, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write([Person(f"k{n}", family) for n, family in enumerate(("Roe", "adams", "Lee"))])
    cli("load", str(folder.file))
    printed = cli("plan", "springfield").out
    places = [printed.index(f"Sam {family}") for family in ("adams", "Lee", "Roe")]
    assert places == sorted(places)
