"""Several faults of one line: each is told once, everywhere, and the count is of rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.kit.command_line import Cli, D

DISTRICT = """\
[[district]]
slug = "springfield"
name = "Springfield USD"
timezone = "America/Chicago"

[[district.source]]
name = "sis"
connector = "{connector}"
[district.source.config]
inbound = "drop"
settle_seconds = 0
"""
USERS = """\
firstname,lastname,email,role,gradyear,status,idnumber
Ana,Lima,ana@springfield.example,student,2030,Active,1001
Ben,Okafor,nobody,wizard,30,Gone,1002
Cleo,Marsh,cleo@springfield.example,chef,,Left,1003
"""
OF_USERS = [(3, "email"), (3, "role"), (3, "gradyear"), (3, "status"), (4, "role"), (4, "status")]
LONG = "x" * 2000
CLEVER = {
    "schools.csv": "School_id,School_name\n1,Lincoln\n",
    "teachers.csv": "School_id,Teacher_id,Last_name,First_name\n1,t1,Okafor,Ben\n",
    "students.csv": "School_id,Student_id,Last_name,First_name,Username\n"
    f"1,s1,Lima,Ana,ana\n1,s2,,,{LONG}\n",
}
OF_CLEVER = [(3, "Last_name"), (3, "Username")]


@pytest.fixture(params=["user_csv", "clever_csv"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, cli: Cli
) -> tuple[Path, list[tuple[int, str]], int]:
    """Drop a faulty set into the folder of a district; return what must be told of how many."""
    drop = tmp_path / "drop"
    drop.mkdir()
    (tmp_path / "district.toml").write_text(DISTRICT.format(connector=request.param))
    assert cli("load", str(tmp_path / "district.toml")).code == 0
    if request.param == "user_csv":
        (drop / "people.csv").write_text(USERS)
        return drop, OF_USERS, 2
    for name, text in CLEVER.items():
        (drop / name).write_text(text)
    return drop, OF_CLEVER, 1


def test_each_fault_is_told_once_by_sync_and_in_the_drop_folder(
    place: tuple[Path, list[tuple[int, str]], int], cli: Cli
) -> None:
    drop, wanted, rows = place
    synced = cli("sync", D, "--json").document
    assert synced["certificates"]["sis"]["skipped"] == rows
    assert synced["left_open"]["unusable_rows"] == {"sis": rows}
    (one,) = cli("skipped", D, "--json").document
    assert one["skipped"] == rows
    assert len(one["rows"]) == rows, "a row is listed once"
    told = [(row["line"], fault["column"]) for row in one["rows"] for fault in row["faults"]]
    assert sorted(told) == sorted(wanted)
    words = "1 row" if rows == 1 else f"{rows} rows"
    shown = cli("skipped", D).out
    assert f"sis: {words} could not be used" in shown
    assert all(column in shown for _, column in wanted)
    (report,) = drop.rglob("report.csv")
    told = [
        (int(row["line"]), row["column"])
        for row in csv.DictReader(io.StringIO(report.read_text()))
        if row["severity"] == "error"
    ]
    assert sorted(told) == sorted(wanted)


def test_each_fault_is_told_once_by_an_upload(
    place: tuple[Path, list[tuple[int, str]], int], cli: Cli
) -> None:
    drop, wanted, rows = place
    files = sorted(drop.iterdir())
    given = files[0] if len(files) == 1 else drop
    report = cli("upload", D, str(given), "--plan", "--report", "csv").out
    told = [
        (int(row["line"]), row["column"])
        for row in csv.DictReader(io.StringIO(report[report.index("severity,file") :]))
        if row["severity"] == "error"
    ]
    assert sorted(told) == sorted(wanted)
    said = cli("upload", D, str(given), "--plan", "--report", "json").document
    counts = said["upload"]["counts"]
    assert counts["rows"] - counts["usable"] == rows
