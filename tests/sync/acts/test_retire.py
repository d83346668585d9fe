"""``source retire``: a plan ends a source's holds (P7, F10), through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.command_line import Cli, D, statuses, synced, users
from tests.kit.oneroster_folder import Folder, students, teachers

SECOND = """
[[district.source]]
name = "staffing"
connector = "oneroster_csv"
precedence = 2
[district.source.config]
path = "staffing"
"""


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    """A synced district: two teachers, twelve students, the second teacher protected."""
    folder = Folder(tmp_path)
    folder.write([*teachers(1, 2), *students(*range(12))])
    assert cli("load", str(folder.file)).code == 0
    synced(cli)
    cli("user", "protect", D, "sis:te002")
    return folder


def test_p7_retiring_a_source_plans_and_changes_nobody(cli: Cli, folder: Folder) -> None:
    called = cli("source", "retire", D, "sis", "--json")
    assert statuses(called) == (0, "planned")
    (plan,) = called.document["plans"]
    assert (plan["kind"], plan["counts"]["archive"], plan["counts"]["protected"]) == (
        "retire", 13, 1,
    )  # fmt: skip
    assert plan["schools"]["archive"] == 2
    assert len(users(cli, "--status", "active")) == 14
    assert cli("sources", D, "--json").document[0]["status"] == "configured"


def test_p7_applying_it_archives_whom_nobody_holds_and_limits_do_not_hold_it(
    cli: Cli, folder: Folder
) -> None:
    plan = cli("source", "retire", D, "sis", "--json").document["plans"][0]["id"]
    assert statuses(cli("apply", plan, "--json")) == (0, "applied")
    (stays,) = users(cli, "--status", "active")
    assert stays["family_name"] == "Teacher002"
    assert stays["sources"] == []
    assert len(users(cli, "--status", "archived")) == 13
    assert cli("sources", D, "--json").document[0]["status"] == "retired"
    assert cli("db", "verify", "--json").document["intact"] is True
    assert cli("source", "retire", D, "sis", "--json").document["status"] == "nothing_to_do"


def test_a_retired_source_is_not_read_again_and_shares_nobody(cli: Cli, folder: Folder) -> None:
    plan = cli("source", "retire", D, "sis", "--json").document["plans"][0]["id"]
    cli("apply", plan)
    cli("user", "edit", D, "sis:te002", "--family", "Edited")
    assert cli("sync", D, "--json").code == 0
    (stays,) = users(cli, "--status", "active")
    assert stays["family_name"] == "Edited"


def test_somebody_whom_another_source_holds_stays(cli: Cli, folder: Folder, tmp_path: Path) -> None:
    other = Folder.__new__(Folder)
    other.roster = tmp_path / "staffing"
    other.roster.mkdir()
    other.write(teachers(1, 2))
    folder.file.write_text(folder.file.read_text() + SECOND)
    cli("load", str(folder.file))
    assert cli("sync", D).code == 0
    for conflict in cli("conflicts", D, "--json").document:
        cli("resolve", conflict["id"], "--link", conflict["candidates"][0]["id"])
    synced(cli)
    plan = cli("source", "retire", D, "sis", "--json").document["plans"][0]["id"]
    cli("apply", plan)
    assert sorted(user["family_name"] for user in users(cli, "--status", "active")) == [
        "Teacher001", "Teacher002",
    ]  # fmt: skip
    first = next(u for u in users(cli) if u["family_name"] == "Teacher001")
    assert first["sources"] == ["staffing"]


def test_a_plan_that_no_longer_fits_drifts(cli: Cli, folder: Folder) -> None:
    plan = cli("source", "retire", D, "sis", "--json").document["plans"][0]["id"]
    cli("user", "edit", D, "sis:st0001", "--family", "Meanwhile")
    assert statuses(cli("apply", plan, "--json")) == (11, "drifted")
    assert cli("sources", D, "--json").document[0]["status"] == "configured"
    assert len(users(cli, "--status", "active")) == 14


def test_an_unknown_source_is_named_with_those_there_are(cli: Cli, folder: Folder) -> None:
    called = cli("source", "retire", D, "clever", "--json")
    assert called.code == 2
    assert "sis" in called.document["error"]["hint"]
