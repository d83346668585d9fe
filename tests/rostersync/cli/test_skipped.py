"""Rows that could not be used are listed until they are put right, on both stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sync.views import skipped
from tests.kit.command_line import Cli, D

DISTRICT = """\
[[district]]
slug = "springfield"
name = "Springfield USD"
timezone = "America/Chicago"
email_domains = ["springfield.example"]

[[district.source]]
name = "office"
connector = "user_csv"
[district.source.config]
inbound = "drop"
settle_seconds = 0

[[district.source]]
name = "annex"
connector = "user_csv"
precedence = 2
[district.source.config]
path = "annex.csv"
"""
HEADER = "firstname,lastname,email,role,gradyear,status,idnumber\n"
ANA = "Ana,Lima,ana@springfield.example,student,2030,Active,1001\n"
OFFICE = f"""\
{HEADER}{ANA}\
Ben,Okafor,ben@springfield.example,student,30,Active,1002
Cleo,Marsh,cleo@gmail.example,teacher,,Active,2001
Dee,Park,dee@springfield.example,wizard,,Active,1003
"""
ANNEX = f"""\
{HEADER}\
Kim,Vale,kim@springfield.example,student,2031,Active,3001
Lou,Wynn,,student,2031,Active,
"""
GRADYEAR = (
    "    people.csv, line 3, gradyear: gradyear is not a year of four digits."
    " Write 2027, or leave it blank.\n"
)
NAMES = ("Ben", "Okafor", "Cleo", "Marsh", "Dee", "Park", "Lou", "Wynn", "1002", "wizard", "@")


class Place:
    """The folder of a district with two sources, each of them a file of people."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "drop").mkdir()
        self.district = folder / "district.toml"
        self.district.write_text(DISTRICT)
        self.annex(ANNEX)

    def office(self, people: str) -> None:
        """Drop a file for the one source."""
        (self.folder / "drop" / "people.csv").write_text(people)

    def annex(self, people: str) -> None:
        """Write the file of the other."""
        (self.folder / "annex.csv").write_text(people)


@pytest.fixture
def place(tmp_path: Path, cli: Cli) -> Place:
    """A synced district of which four rows could not be used."""
    place = Place(tmp_path)
    place.office(OFFICE)
    assert cli("load", str(place.district)).code == 0
    assert cli("sync", D).code == 0
    return place


def told(cli: Cli, *more: str) -> str:
    called = cli("skipped", D, *more)
    assert (called.code, called.err) == (0, "")
    return called.out


def rows(cli: Cli, source: str = "office") -> list[tuple[str, int, str]]:
    (one,) = cli("skipped", D, "--source", source, "--json").document
    return [(row["file"], row["line"], row["column"]) for row in one["rows"]]


OF_OFFICE = [("people.csv", 3, "gradyear"), ("people.csv", 4, "email"), ("people.csv", 5, "role")]


@pytest.mark.usefixtures("place")
def test_a_skipped_row_is_listed_with_file_line_column_and_what_to_do(cli: Cli) -> None:
    said = told(cli)
    assert "office: 3 rows could not be used (last read " in said
    assert GRADYEAR in said
    assert "    people.csv, line 4, email: The email address is outside the district's" in said
    assert "    people.csv, line 5, role: role is none of admin, teacher, staff, student." in said
    assert "annex: 1 row could not be used (last read " in said
    assert "    annex.csv, line 3, email: email is blank." in said


def test_a_plan_that_counts_skipped_rows_names_the_command_that_lists_them(
    cli: Cli, place: Place
) -> None:
    place.annex(ANNEX.replace("2031", "2032"))
    assert (
        "1 row could not be used; nobody leaves for that: rostersync skipped springfield\n"
        in cli("plan", D).out
    )


@pytest.mark.usefixtures("place")
def test_nothing_of_a_skipped_row_is_printed_but_where_it_stands(cli: Cli) -> None:
    said = told(cli) + cli("skipped", D, "--json").out
    assert not [name for name in NAMES if name in said]


@pytest.mark.usefixtures("place")
def test_json_counts_and_lists_the_skipped_rows_of_each_source(cli: Cli) -> None:
    office, annex = cli("skipped", D, "--json").document
    assert list(office) == [
        "source", "read_at", "complete", "skipped", "left_out", "withheld", "withheld_by", "rows",
    ]  # fmt: skip
    assert (office["source"], office["complete"], office["skipped"]) == ("office", True, 3)
    assert office["read_at"].endswith("Z")
    assert office["rows"][0] == {
        "stream": "users",
        "file": "people.csv",
        "line": 3,
        "external_id": None,
        "left_out": False,
        **(
            fault := {
                "column": "gradyear",
                "rule": "gradyear",
                "message": "gradyear is not a year of four digits.",
                "hint": "Write 2027, or leave it blank.",
            }
        ),
        "faults": [fault],
    }
    assert (annex["source"], annex["skipped"], len(annex["rows"])) == ("annex", 1, 1)


@pytest.mark.usefixtures("place")
def test_the_rows_of_another_source_are_left_out(cli: Cli) -> None:
    said = told(cli, "--source", "annex")
    assert "annex.csv" in said
    assert "office" not in said
    assert "people.csv" not in said
    (one,) = cli("skipped", D, "--source", "annex", "--json").document
    assert one["source"] == "annex"


@pytest.mark.usefixtures("place")
def test_a_limit_says_how_many_more_there_are_and_how_to_see_them(cli: Cli) -> None:
    said = told(cli, "--limit", "1")
    assert GRADYEAR in said
    assert "line 4" not in said
    assert "    and 2 more: rostersync skipped springfield --source office\n" in said
    assert said.count(" more") == 1, "the other source has no more than one"
    office, _ = cli("skipped", D, "--limit", "1", "--json").document
    assert (office["skipped"], len(office["rows"])) == (3, 1)
    assert " more" not in told(cli, "--limit", "3")


@pytest.mark.usefixtures("place")
def test_many_skipped_rows_are_read_a_page_at_a_time(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 2, 3):
        monkeypatch.setattr(skipped, "_PAGE", size)
        assert rows(cli) == OF_OFFICE
    (one,) = cli("skipped", D, "--source", "office", "--limit", "2", "--json").document
    assert [row["line"] for row in one["rows"]] == [3, 4]


def test_a_sync_that_finds_no_new_file_keeps_the_skipped_rows(cli: Cli, place: Place) -> None:
    assert "office: nothing new" in cli("sync", D).out
    assert rows(cli) == OF_OFFICE
    place.office(OFFICE)  # the same content, sent again
    assert "office: nothing new" in cli("sync", D).out
    assert rows(cli) == OF_OFFICE


def test_a_row_that_stays_wrong_is_listed_after_every_reading(cli: Cli, place: Place) -> None:
    assert "annex: read completely" in cli("sync", D).out
    assert rows(cli, "annex") == [("annex.csv", 3, "email")]
    place.office(OFFICE.replace("Okafor,", "Okafor-Bell,") + ANA.replace("1001", "1004"))
    assert cli("sync", D).code == 0
    assert rows(cli) == [*OF_OFFICE, ("people.csv", 6, "email")]


def test_a_file_that_cannot_be_read_keeps_the_rows_of_the_last_that_could(
    cli: Cli, place: Place
) -> None:
    place.annex("First Name,lastname\nLou,Wynn\n")
    assert cli("sync", D).code == 15
    place.office(OFFICE[: OFFICE.index("Ana")])
    assert cli("sync", D).code == 15
    assert rows(cli) == OF_OFFICE
    assert rows(cli, "annex") == [("annex.csv", 3, "email")]


def test_a_file_without_one_usable_row_has_all_its_rows_listed(cli: Cli, place: Place) -> None:
    place.annex(HEADER + "Lou,Wynn,,student,2031,Active,\n")
    assert cli("sync", D).code == 12
    said = told(cli, "--source", "annex")
    assert "annex: 1 row could not be used (last read " in said
    assert "NOT read completely)" in said
    assert "annex.csv, line 2, email: email is blank." in said
    (one,) = cli("skipped", D, "--source", "annex", "--json").document
    assert one["complete"] is False


def test_rows_that_were_put_right_are_listed_no_longer(cli: Cli, place: Place) -> None:
    place.office(HEADER + ANA)
    place.annex(ANNEX.replace(",,student", ",lou@springfield.example,student"))
    assert cli("sync", D).code == 0
    said = told(cli)
    assert "office: every row could be used (last read " in said
    assert "annex: every row could be used (last read " in said
    documents: list[dict[str, Any]] = cli("skipped", D, "--json").document
    assert [(one["skipped"], one["rows"]) for one in documents] == [(0, []), (0, [])]


def test_a_source_that_was_never_read_says_so(cli: Cli, tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert cli("load", str(place.district)).code == 0
    assert told(cli) == "office: no row was read yet\nannex: no row was read yet\n"
    office, _ = cli("skipped", D, "--json").document
    assert office == {
        "source": "office", "read_at": None, "complete": False, "skipped": 0, "left_out": 0,
        "withheld": 0, "withheld_by": [], "rows": [],
    }  # fmt: skip


def test_a_retired_source_is_listed_only_when_it_is_named(cli: Cli, place: Place) -> None:
    retired = cli("source", "retire", D, "annex", "--json").document
    assert cli("apply", retired["plans"][0]["id"]).code == 0
    assert "annex" not in told(cli)
    assert "annex.csv, line 3" in told(cli, "--source", "annex")


@pytest.mark.usefixtures("place")
def test_an_unknown_source_is_wrong_usage(cli: Cli) -> None:
    called = cli("skipped", D, "--source", "offices", "--json")
    assert called.code == 2
    assert called.document["error"]["message"] == "springfield has no source 'offices'."
    assert called.document["error"]["hint"] == "Its sources: office, annex."


def test_a_district_without_a_source_says_where_to_look(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "district.toml"
    file.write_text(DISTRICT.partition("[[district.source]]")[0])
    assert cli("load", str(file)).code == 0
    assert "has no source that is read: rostersync sources springfield" in told(cli)
    assert cli("skipped", D, "--json").document == []
