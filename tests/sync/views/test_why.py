"""Why: one page for each person, through the command line, on both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sync.rules.reasons import as_markdown, means
from sync.rules.situations import SCHOOL_TABLE, TABLE
from tests.kit.command_line import Cli, D, synced
from tests.kit.oneroster_folder import Folder, Person, students, teachers

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, cli: Cli) -> Folder:
    folder = Folder(tmp_path)
    folder.write([*teachers(1, 2), *students(*range(12))])
    assert cli("load", str(folder.file)).code == 0
    synced(cli)
    return folder


def test_c30_why_tells_each_change_of_a_person_with_run_record_and_values(
    cli: Cli,
    folder: Folder,
) -> None:
    folder.write([*teachers(1, 2), Person("st0000", "Newname"), *students(*range(1, 12))])
    run = synced(cli)
    cli("user", "archive", D, "sis:st0000", "--actor", "principal", "--reason", "moved away")
    page = cli("why", D, "sis:st0000", "--json").document
    assert [change["action"] for change in page["changes"]] == ["create", "update", "archive"]
    update, archive = page["changes"][1:]
    assert update["fields"]["family_name"] == ["Student0000", "Newname"]
    assert (update["run_id"], update["source"], update["external_id"]) == (
        run["run_id"], "sis", "st0000",
    )  # fmt: skip
    assert (archive["actor"], archive["note"]) == ("principal", "moved away")
    assert page["situation"] == "returned"  # archived by hand, still shared
    assert "next run" in page["next"]["comes_back"]


def test_why_names_records_winners_locks_and_protection(cli: Cli, folder: Folder) -> None:
    cli("user", "edit", D, "sis:te001", "--role", "admin", "--actor", "principal")
    cli("user", "protect", D, "sis:te001", "--actor", "principal")
    page = cli("why", D, "te001@springfield.example", "--json").document
    (record,) = page["records"]
    assert (record["source"], record["present"], record["held"]) == ("sis", True, True)
    assert record["since"]
    assert page["fields"]["family_name"]["from"] == "sis"
    roles = page["fields"]["roles"]
    assert roles == {
        "value": ["admin"], "from": "hand", "locked": True, "others": {"sis": ["teacher"]},
    }  # fmt: skip
    (lock,) = page["locks"]
    assert (lock["field"], lock["by"]) == ("role", "principal")
    assert (page["protected"]["on"], page["protected"]["by"]) == (True, "principal")
    assert page["matches"][0]["reason"] == "new_in_source"


def test_why_says_who_is_held_and_by_which_limit(cli: Cli, folder: Folder) -> None:
    folder.write([*teachers(1, 2), *students(*range(6))])
    assert cli("sync", D).code == 10
    page = cli("why", D, "sis:st0011", "--json").document
    assert "held" in [reason["code"] for reason in page["reasons"]]
    (held,) = page["held"]
    assert held["action"] == "archive"
    assert {one["limit"] for one in held["limits"]} >= {"school_role"}
    said = cli("why", D, "sis:st0011").out
    assert "waits for approval" in said
    assert "school" in said


def test_why_not_created_tells_what_a_record_without_a_user_waits_for(
    cli: Cli,
    folder: Folder,
) -> None:
    newcomer = Person("zz1", "Other")
    folder.write([*teachers(1, 2), *students(*range(12)), newcomer])
    assert cli("plan", D).code == 0
    page = cli("why", D, "sis:zz1", "--json").document
    assert page["user"] is None
    assert page["situation"] == "newcomer"
    assert page["next"] == {"comes_in": "The next run."}


def codes(page: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in page["reasons"]]


def test_why_not_created_tells_what_is_known_of_the_source_of_somebody_expected(
    cli: Cli,
    folder: Folder,
) -> None:
    page = cli("why", D, "sis:zz1", "--json").document
    assert (page["user"], codes(page)) == (None, ["not_seen"])
    assert page["source"]["complete"] is True
    assert page["source"]["roles"] == ["student", "teacher", "staff", "admin"]
    assert "source try" in page["next"]["look"]
    said = cli("why", D, "sis:zz1").out
    assert "There is no record sis:zz1." in said
    assert "asked for the roles student, teacher, staff, admin; schools: all" in said


def test_why_not_created_names_the_rows_that_could_not_be_used(cli: Cli, folder: Folder) -> None:
    folder.write([*teachers(1, 2), *students(*range(12)), Person("", "Nokey")])
    cli("sync", D)
    page = cli("why", D, "sis:zz1", "--json").document
    assert "rows_skipped" in codes(page)
    (row,) = page["findings"]
    assert (row["file"], row["line"]) == ("users.csv", 16)
    assert "users.csv, line 16" in cli("why", D, "sis:zz1").out
    assert "Nokey" not in cli("why", D, "sis:zz1").out


def test_why_not_created_says_so_of_a_reading_that_was_not_whole(cli: Cli, folder: Folder) -> None:
    folder.write([])
    assert cli("sync", D).code == 12
    page = cli("why", D, "sis:zz1", "--json").document
    assert codes(page) == ["incomplete"]
    assert page["source"]["why_incomplete"]
    assert page["source"]["complete_at"]


def test_why_not_created_says_that_the_district_is_paused_or_the_source_retired(
    cli: Cli, folder: Folder
) -> None:
    folder.write([*teachers(1, 2), *students(*range(12)), Person("zz1", "Other")])
    cli("plan", D)
    cli("pause", D)
    for word in ("sis:zz1", "sis:zz2", "zz1@springfield.example"):
        page = cli("why", D, word, "--json").document
        assert "paused" in codes(page)
        assert "pause ends" in page["next"]["comes_in"]
    cli("resume", D)
    retired = cli("source", "retire", D, "sis", "--json").document
    cli("apply", retired["plans"][0]["id"])
    page = cli("why", D, "sis:zz2", "--json").document
    assert codes(page)[0] == "source_retired"


def test_why_says_that_a_person_by_hand_stays(cli: Cli, folder: Folder) -> None:
    cli(
        "user", "add", D, "--given", "Sub", "--family", "Stitute", "--role", "teacher",
        "--email", "sub@springfield.example",
    )  # fmt: skip
    page = cli("why", D, "sub@springfield.example", "--json").document
    assert page["situation"] == "by_hand"
    assert page["records"] == []
    assert page["fields"]["family_name"]["from"] == page["fields"]["roles"]["from"] == "hand"
    assert page["reasons"][0]["means"] == "No source ever held them: no run archives them."
    assert "protected" in page["next"]["leaves"]
    assert "given name: Sub (by hand)" in cli("why", D, "sub@springfield.example").out


def test_why_of_nobody_is_a_usage_error_without_the_word(cli: Cli, folder: Folder) -> None:
    called = cli("why", D, "nobody@springfield.example", "--json")
    assert called.code == 2
    assert "nobody" not in called.err.lower().replace("no user", "")


def test_the_page_of_reason_codes_is_current() -> None:
    page = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    assert page == as_markdown(), "run: python -m sync.rules.reasons > docs/reasons.md"


@pytest.mark.parametrize("row", [*TABLE, *SCHOOL_TABLE], ids=lambda row: row.name)
def test_every_situation_has_words(row: object) -> None:
    name = row.name  # type: ignore[attr-defined]
    assert means(name) != name.replace("_", " ")
