"""The main job through the command line, on both stores: load, plan, apply, sync, look."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.storage.database import Database
from tests.kit.command_line import Cli, D, statuses, synced, users
from tests.kit.oneroster_folder import Folder, Person, students, teachers


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    """A loaded district whose roster has two teachers and twelve students."""
    folder = Folder(tmp_path)
    folder.write([*teachers(1, 2), *students(*range(12))])
    assert cli("load", str(folder.file)).code == 0
    return folder


def test_a_plan_changes_nobody_and_names_the_command_that_applies_it(
    cli: Cli, folder: Folder
) -> None:
    planned = cli("plan", D)
    assert planned.code == 0
    assert "+ 14 people join: 12 students, 2 teachers" in planned.out
    assert "rostersync apply P1" in planned.out
    assert users(cli) == []


def test_plan_json_has_plans_changes_and_certificates(cli: Cli, folder: Folder) -> None:
    document = cli("plan", D, "--json").document
    (one,) = document["plans"]
    assert one["plan"]["counts"]["create"] == 14
    assert one["plan"]["schools"]["create"] == 2
    assert len(one["changes"]) == 16
    assert document["certificates"]["sis"]["complete"] is True
    short = cli("plan", D, "--json", "--summary").document
    assert "changes" not in short["plans"][0]
    shown = cli("show", one["plan"]["id"], "--format", "json").document
    assert shown["plans"][0]["changes"] == one["changes"]


def test_sync_applies_and_a_second_sync_has_nothing_to_do(cli: Cli, folder: Folder) -> None:
    first = cli("sync", D, "--json")
    assert statuses(first) == (0, "applied")
    assert len(users(cli)) == 14
    again = cli("sync", D, "--json")
    assert statuses(again) == (0, "nothing_to_do")
    assert again.document["plans"] == []


def test_only_who_reads_a_roster_tells_a_reading(cli: Cli, folder: Folder) -> None:
    assert "sis: read completely" in cli("plan", D).out
    applied = cli("apply", "P1")
    assert applied.code == 0
    assert "read completely" not in applied.out
    assert cli("show", "P1", "--json").document["certificates"]["sis"]["complete"] is True


def test_people_who_leave_are_archived_and_come_back_with_their_id(
    cli: Cli, folder: Folder
) -> None:
    synced(cli)
    before = {user["email"]: user["id"] for user in users(cli)}
    folder.write([*teachers(1, 2), *students(*range(11))])
    synced(cli)
    (gone,) = users(cli, "--status", "archived")
    folder.write([*teachers(1, 2), *students(*range(12))])
    synced(cli)
    assert users(cli, "--status", "archived") == []
    assert {user["email"]: user["id"] for user in users(cli)} == before
    assert gone["id"] in before.values()


def test_too_many_leavers_are_held_told_with_numbers_and_what_is_safe_is_applied(
    cli: Cli, folder: Folder
) -> None:
    synced(cli)
    folder.write([*teachers(1, 2), *students(*range(6), 77)])
    called = cli("sync", D)
    assert called.code == 10
    assert "6 of 12 students of Lincoln High leave, allowed 3" in called.out
    assert "+ 1 person joins" in called.out
    assert "rostersync approve P" in called.out
    assert len(users(cli, "--status", "active")) == 15


def test_a_header_only_file_is_incomplete_and_archives_nobody(cli: Cli, folder: Folder) -> None:
    synced(cli)
    folder.write([])
    called = cli("sync", D, "--json")
    assert statuses(called) == (12, "incomplete")
    assert called.document["error"]["code"]
    assert called.document["certificates"]["sis"]["complete"] is False
    assert len(users(cli, "--status", "active")) == 14


def test_a_folder_that_is_no_roster_is_refused(cli: Cli, folder: Folder) -> None:
    synced(cli)
    for file in folder.roster.iterdir():
        file.unlink()
    (folder.roster / "notes.csv").write_text("a,b\n1,2\n")
    called = cli("sync", D, "--json")
    assert statuses(called) == (15, "refused")


def test_the_feed_gives_every_change_once(cli: Cli, folder: Folder) -> None:
    synced(cli)
    first = cli("changes", D, "--since", "0", "--limit", "10", "--json").document
    rest = cli("changes", D, "--since", str(first["serial"]), "--json").document
    serials = [change["serial"] for change in (*first["changes"], *rest["changes"])]
    assert serials == list(range(1, 17))
    assert rest["serial"] == 16
    assert "Nothing has changed after serial 16" in cli("changes", D, "--since", "16").out


def test_sync_all_goes_through_every_district_and_one_failure_stops_no_other(
    cli: Cli, folder: Folder
) -> None:
    text = folder.file.read_text()
    other = text.replace(D, "another").replace('"roster"', '"nowhere"')
    folder.file.write_text(other + "\n" + text)
    assert cli("load", str(folder.file)).code == 0
    called = cli("sync", "--all", "--json")
    by_district = {one["district"]: one["status"] for one in called.document}
    assert by_district == {"another": "refused", D: "applied"}
    assert called.code == 15


def test_a_source_reads_one_record_on_trial(cli: Cli, folder: Folder) -> None:
    tried = cli("source", "try", D, "sis", "--id", "st0003", "--json").document
    assert tried["record"]["family_name"] == "Student0003"
    assert tried["fields"]["users"]["givenName"] == "Sam"
    assert cli("source", "try", D, "sis", "--id", "nobody").code == 2
    folder.district()
    text = (
        folder.file.read_text() + '[district.source.mapping]\nsis_id = "x-{identifier}{username}"\n'
    )
    folder.file.write_text(text)
    assert cli("load", str(folder.file)).code == 0
    tried = cli("source", "try", D, "sis", "--id", "st0003", "--json").document
    assert (tried["record"]["sis_id"], tried["mapped"]) == ("x-st0003", ["sis_id"])
    assert (
        "sis_id = x-st0003 (by the mapping)" in cli("source", "try", D, "sis", "--id", "st0003").out
    )


def test_users_are_listed_by_name_and_cut_off(cli: Cli, folder: Folder) -> None:
    synced(cli)
    called = cli("users", D, "--limit", "3")
    assert "Student0000" in called.out
    assert "and 11 more: add --offset 3" in called.out
    assert "Nobody." in cli("users", D, "--search", "nobody at all").out
    assert len(users(cli, "--role", "teacher", "--school", "lincoln high")) == 2


def test_an_export_is_a_user_file_of_the_active(cli: Cli, folder: Folder) -> None:
    folder.write(
        [*teachers(1, 2), Person("st1", "Lind", given="Zoë"), Person("x", "Off", enabled="false")]
    )
    synced(cli)
    called = cli("export", D)
    header, *rows = called.out.splitlines()
    assert header == "firstname,lastname,email,role,gradyear,status,idnumber"
    assert "Zoë,Lind,st1@springfield.example,student,,Active," in rows
    assert len(rows) == 3
    assert len(cli("export", D, "--format", "json").document) == 3


def test_runs_and_plans_are_history(cli: Cli, folder: Folder) -> None:
    cli("plan", D)
    synced(cli, "--actor", "nightly")
    newest, first = cli("runs", D, "--json").document
    assert (newest["kind"], newest["status"], newest["actor"]) == ("sync", "applied", "nightly")
    assert first["kind"] == "plan"
    assert [one["status"] for one in cli("plans", D, "--json").document] == ["applied", "planned"]
    assert cli("runs", D).code == cli("plans", D).code == cli("districts").code == 0
    assert "sis" in cli("sources", D).out


def test_two_runs_at_once_the_second_is_busy(cli: Cli, folder: Folder, database: Database) -> None:
    with database.run_lock(D, 1):
        called = cli("sync", D, "--json")
    assert statuses(called) == (13, "busy")
    assert called.document["error"]["code"] == "busy"
