"""What a person asks for as a plan, through the command line, on both stores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.command_line import Cli, D, statuses, synced, users
from tests.kit.oneroster_folder import Folder, students, teachers

NEXT = """
[[district.source]]
name = "next"
connector = "oneroster_csv"
precedence = 2
[district.source.config]
path = "next"
"""


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    folder = Folder(tmp_path)
    folder.write([*teachers(1, 2), *students(*range(12))])
    assert cli("load", str(folder.file)).code == 0
    synced(cli)
    return folder


def test_p7_undo_prints_a_plan_and_apply_runs_it(cli: Cli, folder: Folder) -> None:
    folder.write([*teachers(1, 2), *students(*range(11))])
    run = synced(cli)["run_id"]
    planned = cli("undo", run, "--json")
    assert statuses(planned) == (0, "planned")
    assert len(users(cli, "--status", "archived")) == 1
    plan = planned.document["plans"][0]
    assert (plan["kind"], plan["counts"]["restore"]) == ("undo", 1)
    assert statuses(cli("apply", plan["id"], "--json")) == (0, "applied")
    assert users(cli, "--status", "archived") == []
    again = cli("sync", D)
    assert again.code == 10
    assert "undone" in again.out


def test_undo_with_apply_tells_whom_it_leaves(cli: Cli, folder: Folder) -> None:
    folder.write([*teachers(1, 2), *students(*range(11))])
    run = synced(cli)["run_id"]
    cli("user", "restore", D, "sis:st0011")
    called = cli("undo", run, "--apply", "--json")
    (left,) = called.document["left"]
    assert left in {user["id"] for user in users(cli)}
    assert "left as they are" in cli("undo", run).out


def test_undo_of_no_run_is_a_usage_error(cli: Cli, folder: Folder) -> None:
    assert cli("undo", "R999", "--json").code == 2
    assert cli("undo", "nonsense", "--json").code == 2


def test_p7_rename_domain_says_the_move_in_one_line(cli: Cli, folder: Folder) -> None:
    called = cli("rename-domain", D, "--from", "springfield.example", "--to", "b.example")
    assert called.code == 0
    assert "14 people move from springfield.example to b.example" in called.out
    assert users(cli)[0]["email"].endswith("@springfield.example")
    assert cli("rename-domain", D, "--from", "a.example", "--to", "a.example").code == 2


def test_p7_switch_reports_school_by_school_and_apply_moves_everybody(
    cli: Cli, folder: Folder, tmp_path: Path
) -> None:
    other = Folder.__new__(Folder)
    other.roster = tmp_path / "next"
    other.roster.mkdir()
    people = [*teachers(1, 2), *students(*range(12))]
    other.write([person._replace(key=person.key) for person in people[:-1]])
    folder.file.write_text(folder.file.read_text() + NEXT)
    cli("load", str(folder.file))
    called = cli("switch", D, "--from", "sis", "--to", "next")
    assert called.code == 0
    assert "13 of 14 people of sis are in next too (92.9%); 0 are new" in called.out
    assert f"rostersync source retire {D} sis" in called.out
    done = cli("switch", D, "--from", "sis", "--to", "next", "--apply", "--json")
    assert statuses(done) == (0, "applied")
    assert done.document["report"]["lost"] == 1
    assert len(users(cli, "--status", "active")) == 14


def number(folder: Folder, prefix: str) -> None:
    """Give everybody of a roster a number of this scheme."""
    file = folder.roster / "users.csv"
    header, *rows = (line.split(",") for line in file.read_text().splitlines())
    for row in rows:
        row[header.index("identifier")] = prefix + row[0]
    file.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")


def test_p7_switch_notices_numbers_of_another_scheme_and_says_what_to_write(
    cli: Cli, folder: Folder, tmp_path: Path
) -> None:
    number(folder, "A")
    synced(cli)
    other = Folder.__new__(Folder)
    other.roster = tmp_path / "next"
    other.roster.mkdir()
    other.write([*teachers(1, 2), *students(*range(12))])
    number(other, "B")
    folder.file.write_text(folder.file.read_text() + NEXT)
    cli("load", str(folder.file))
    said = cli("switch", D, "--from", "sis", "--to", "next").out
    assert "0 of 14 people of sis are in next too" in said
    assert "student_number differs for 12 people who look the same otherwise" in said
    assert 'own_numbers = ["student_number"]' in said
    text = folder.file.read_text()
    own = 'own_numbers = ["student_number", "staff_number"]'
    folder.file.write_text(text.replace("precedence = 2", f"precedence = 2\n{own}"))
    cli("load", str(folder.file))
    said = cli("switch", D, "--from", "sis", "--to", "next").out
    assert "14 of 14 people of sis are in next too (100.0%)" in said
    assert "student_number is next's own and was not compared." in said


def test_p7_merge_duplicates_and_not_same(cli: Cli, folder: Folder) -> None:
    for domain in ("b.example", "c.example"):
        cli(
            "user", "add", D, "--given", "Sub", "--family", "Stitute", "--role", "teacher",
            "--email", f"sub@{domain}",
        )  # fmt: skip
    (pair,) = cli("duplicates", D, "--json").document
    one, other = (user["id"] for user in pair["users"])
    told = cli("duplicates", D).out
    assert f"rostersync merge {D} {one} {other}" in told
    planned = cli("merge", D, one, other, "--json")
    assert statuses(planned) == (0, "planned")
    assert statuses(cli("not-same", D, one, other, "--json")) == (0, "applied")
    assert cli("duplicates", D, "--json").document == []
    assert statuses(cli("merge", D, one, other, "--apply", "--json")) == (0, "applied")
    assert len(users(cli, "--search", "stitute", "--status", "active")) == 1


def test_a_purge_of_a_district_that_keeps_everybody_is_refused(cli: Cli, folder: Folder) -> None:
    called = cli("purge", D, "--json")
    assert called.code == 2
    assert "retention_days" in called.document["error"]["hint"]
