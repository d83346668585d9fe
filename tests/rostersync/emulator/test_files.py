"""The districts as files: what the rows say is what the servers and the truth say."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from rostersync.emulator.district.generator import District
from rostersync.emulator.vendors import files

from .reading import read_back


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def as_record(row: dict[str, str], roles: list[dict[str, str]] | None) -> dict[str, Any]:
    """Turn CSV rows into the JSON of the same person."""
    record: dict[str, Any] = dict(row)
    record["userIds"] = []
    for entry in row["userIds"].split(","):
        kind, _, identifier = entry.strip("{}").partition(":")
        record["userIds"].append({"type": kind, "identifier": identifier})
    record["grades"] = [row["grades"]] if row["grades"] else []
    if roles is None:
        record["orgs"] = [{"sourcedId": org} for org in row["orgSourcedIds"].split(",")]
    else:
        record["roles"] = [{**role, "org": {"sourcedId": role["orgSourcedId"]}} for role in roles]
        record["primaryOrg"] = {"sourcedId": row["primaryOrgSourcedId"]}
        record["preferredFirstName"] = row["preferredGivenName"]
    return record


@pytest.mark.parametrize("day", [0, 2, 3])
@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_a_oneroster_set_says_the_truth(
    district: District, tmp_path: Path, version: Any, day: int
) -> None:
    files.write_oneroster(district, tmp_path, day=day, version=version)
    schools = {r["sourcedId"] for r in rows(tmp_path / "orgs.csv") if r["type"] == "school"}
    roles: dict[str, list[dict[str, str]]] | None = None
    if version == "1.2":
        roles = defaultdict(list)
        for row in rows(tmp_path / "roles.csv"):
            roles[row["userSourcedId"]].append(row)

    def roles_of(user: str) -> list[dict[str, str]] | None:
        return None if roles is None else roles[user]

    users = rows(tmp_path / "users.csv")
    truth = list(district.truth(day, "oneroster" if version == "1.1" else "oneroster12"))
    found = [
        read_back(as_record(r, roles_of(r["sourcedId"])), t.person, schools)
        for r, t in zip(users, truth, strict=True)
    ]
    assert found == truth
    assert all(r["status"] == r["dateLastModified"] == "" for r in users)


@pytest.mark.parametrize(("version", "names"), [("1.1", 13), ("1.2", 21)])
def test_the_manifest_names_every_file_and_those_alone_are_there(
    district: District, tmp_path: Path, version: Any, names: int
) -> None:
    files.write_oneroster(district, tmp_path, version=version)
    manifest = {r["propertyName"]: r["value"] for r in rows(tmp_path / "manifest.csv")}
    modes = {key[5:]: mode for key, mode in manifest.items() if key.startswith("file.")}
    assert len(modes) == names
    present = {path.stem for path in tmp_path.iterdir()} - {"manifest"}
    assert {name for name, mode in modes.items() if mode == "bulk"} == present
    assert manifest["oneroster.version"] == version


def test_a_zip_holds_the_same_files_and_is_the_same_each_time(
    district: District, tmp_path: Path
) -> None:
    files.write_oneroster(district, tmp_path / "folder", day=1)
    for name in ("one.zip", "two.zip"):
        files.write_oneroster(district, tmp_path / name, day=1)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        for path in (tmp_path / "folder").iterdir():
            assert archive.read(path.name) == path.read_bytes()


@pytest.mark.parametrize("day", [1, 2, 3])
def test_a_delta_set_turns_one_day_into_the_next(
    district: District, tmp_path: Path, day: int
) -> None:
    files.write_oneroster(district, tmp_path / "before", day=day - 1)
    files.write_oneroster(district, tmp_path / "delta", day=day, mode="delta")
    files.write_oneroster(district, tmp_path / "after", day=day)
    state = {row["sourcedId"]: row for row in rows(tmp_path / "before" / "users.csv")}
    for row in rows(tmp_path / "delta" / "users.csv"):
        assert row["dateLastModified"].endswith("Z")
        if row["status"] == "tobedeleted":
            del state[row["sourcedId"]]
        else:
            state[row["sourcedId"]] = {**row, "status": "", "dateLastModified": ""}
    assert state == {row["sourcedId"]: row for row in rows(tmp_path / "after" / "users.csv")}
    schools = rows(tmp_path / "delta" / "orgs.csv")
    assert len(schools) == (1 if day == 2 else 0)


def test_a_basic_roster_says_the_truth(district: District, tmp_path: Path) -> None:
    files.write_clever(district, tmp_path, day=1)
    keys = {"students": "Student_id", "teachers": "Teacher_id", "staff": "Staff_id"}
    found: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for name, key in keys.items():
        for row in rows(tmp_path / f"{name}.csv"):
            found[f"{name}.csv", row[key]].append(row)
    truth = {
        (name, entry.external_id): entry for name, entry in files.clever_truth(district, day=1)
    }
    assert found.keys() == truth.keys()
    for place, entry in truth.items():
        row = found[place][0]
        assert (row["First_name"], row["Last_name"]) == (entry.given_name, entry.family_name)
        email = next(value for key, value in row.items() if key.endswith("_email"))
        assert email == (entry.email or "")
        schools = [row["School_id"] or None for row in found[place]]
        assert schools == [school for _, school, _ in entry.memberships]


def test_a_user_csv_says_the_truth_and_counts_whom_it_cannot_carry(
    district: District, tmp_path: Path
) -> None:
    path = tmp_path / "users.csv"
    left_out = files.write_user_csv(district, path, day=1)
    found, truth = rows(path), list(files.user_csv_truth(district, day=1))
    assert left_out > 0
    assert len(found) + left_out == len(list(district.truth(1)))
    assert [row["idnumber"] for row in found] == [entry.external_id for entry in truth]
    assert [row["role"] for row in found] == [entry.memberships[0][0] for entry in truth]
    emails = [row["email"] for row in found]
    assert len(set(emails)) == len(emails)
    assert {email.rpartition("@")[2] for email in emails} == {"a.example"}
    header = path.read_text(encoding="utf-8").splitlines()[0]
    assert header == "firstname,lastname,email,role,gradyear,status,idnumber"


def test_a_comma_in_a_list_is_quoted(district: District, tmp_path: Path) -> None:
    files.write_oneroster(district, tmp_path)
    text = (tmp_path / "users.csv").read_text(encoding="utf-8")
    plain = list(csv.reader(io.StringIO(text)))
    assert {len(row) for row in plain} == {18}
    assert any("," in row[4] for row in plain)
