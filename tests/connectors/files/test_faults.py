"""The report names everything that is wrong with a row at once, in every file format."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from connectors.clever_csv import CleverCsv, CleverCsvConfig
from connectors.contract.connector import FetchRequest
from connectors.files.file_connector import FileConnector
from connectors.files.inspection import MOST_OF_A_KIND, Found, Inspection, inspect
from connectors.finra_flex import FinraFlex, FinraFlexConfig
from connectors.oneroster_csv import OneRosterCsv, OneRosterCsvConfig
from connectors.user_csv import UserCsv, UserCsvConfig
from core.storage.database import Database
from sync.acts.upload import upload_file
from sync.engine import sync_district
from sync.run.find import district_row
from sync.sources.received_files import uploads
from sync.views.skipped import skipped
from tests.connectors.files.test_drop_folder import finished
from tests.kit.user_files import HEADER, active, district, people, row

pytestmark = pytest.mark.any_store

LONG = "x" * 2000
CLEVER = {
    "schools.csv": f"School_id,School_name,School_number\n1,Lincoln,7\n2,,{LONG}\n",
    "students.csv": "School_id,Student_id,Last_name,First_name,Grade,Student_email\n"
    f"1,s1,Person,Sam,9,s1@b.example\n1,,,,99th,{LONG}\n1,s3,P\n1,s1,Person,Sam,9,\n",
    "teachers.csv": "School_id,Teacher_id,Last_name,First_name,Username\n1,t1,Person,Lee,\n"
    f"1,t2,,,{LONG}\n",
}
ONE_ONE = {
    "manifest.csv": "propertyName,value\noneroster.version,1.1\nfile.orgs,bulk\nfile.users,bulk\n",
    "orgs.csv": f"sourcedId,name,type,identifier\ns1,Lincoln,school,7\ns2,,school,{LONG}\n",
    "users.csv": "sourcedId,enabledUser,orgSourcedIds,role,username,givenName,familyName,grades\n"
    "u1,true,s1,student,sam,Sam,Person,09\n"
    f',true,s1,,{LONG},,,09\nu3,perhaps,s1,"student,ext:dj",kim,Kim,Person,99th\n',
}
ONE_TWO = {
    "manifest.csv": "propertyName,value\noneroster.version,1.2\nfile.orgs,bulk\nfile.users,bulk\n"
    "file.roles,bulk\n",
    "orgs.csv": "sourcedId,name,type\ns1,Lincoln,school\n",
    "users.csv": "sourcedId,enabledUser,username,givenName,familyName\nu1,true,sam,Sam,Person\n"
    f"u2,true,{LONG},,\nu3,true,kim,Kim,Person\n",
    "roles.csv": "sourcedId,userSourcedId,roleType,role,orgSourcedId\nr1,u1,primary,student,s1\n"
    "r2,,primary,student,s1\nr3,u3,primary,ext:dj,s1\n",
}
FLEX = {
    "UploadUsersTemplate.csv": "crd_id,first_name,last_name,email\n1,A,B,a@b.example\n"
    f"x1,,=A1,nobody\n01,{LONG},,A@b.example\n"
}
USERS = {
    "people.csv": f"{HEADER}\n{row(1)}\n"
    + row(
        2,
        firstname="",
        lastname="",
        role="wizard",
        gradyear="27",
        status="Gone",
        email="a@else.example",
    )
    + "\n"
    + row(3, idnumber="9001", lastname=LONG, email="P001@springfield.example")
    + f"\n,=A1,nobody,0,x,no,1.0E+05\n{row(5)}\n"
}
EXPECTED: dict[str, tuple[FileConnector, dict[str, str], list[tuple[str, int, str, str]]]] = {
    "clever_csv": (
        CleverCsv(CleverCsvConfig()),
        CLEVER,
        [
            ("schools.csv", 3, "School_name", "missing-value"),
            ("schools.csv", 3, "School_number", "too-long"),
            ("students.csv", 3, "Last_name", "missing-value"),
            ("students.csv", 3, "Student_email", "too-long"),
            ("students.csv", 3, "Student_id", "missing-value"),
            ("students.csv", 4, "First_name", "too-few-fields"),
            ("teachers.csv", 3, "Last_name", "missing-value"),
            ("teachers.csv", 3, "Username", "too-long"),
        ],
    ),
    "oneroster 1.1": (
        OneRosterCsv(OneRosterCsvConfig()),
        ONE_ONE,
        [
            ("orgs.csv", 3, "identifier", "too-long"),
            ("orgs.csv", 3, "name", "missing-value"),
            ("users.csv", 3, "familyName", "missing-value"),
            ("users.csv", 3, "role", "missing-value"),
            ("users.csv", 3, "sourcedId", "missing-value"),
            ("users.csv", 3, "username", "too-long"),
        ],
    ),
    "oneroster 1.2": (
        OneRosterCsv(OneRosterCsvConfig()),
        ONE_TWO,
        [
            ("roles.csv", 3, "userSourcedId", "missing-value"),
            ("users.csv", 3, "familyName", "missing-value"),
            ("users.csv", 3, "username", "too-long"),
        ],
    ),
    "finra_flex": (
        FinraFlex(FinraFlexConfig()),
        FLEX,
        [
            ("UploadUsersTemplate.csv", 3, "crd_id", "crd-id"),
            ("UploadUsersTemplate.csv", 3, "email", "email-format"),
            ("UploadUsersTemplate.csv", 3, "first_name", "missing-value"),
            ("UploadUsersTemplate.csv", 3, "last_name", "formula"),
            ("UploadUsersTemplate.csv", 4, "crd_id", "repeated-crd-id"),
            ("UploadUsersTemplate.csv", 4, "email", "repeated-email"),
            ("UploadUsersTemplate.csv", 4, "first_name", "too-long"),
            ("UploadUsersTemplate.csv", 4, "last_name", "missing-value"),
        ],
    ),
    "user_csv": (
        UserCsv(UserCsvConfig()),
        USERS,
        [
            ("people.csv", 3, "email", "email-domain"),
            ("people.csv", 3, "gradyear", "gradyear"),
            ("people.csv", 3, "lastname", "missing-value"),
            ("people.csv", 3, "role", "unknown-role"),
            ("people.csv", 3, "status", "status"),
            ("people.csv", 4, "", "repeated-id"),
            ("people.csv", 4, "email", "repeated-email"),
            ("people.csv", 4, "lastname", "too-long"),
            ("people.csv", 5, "email", "email-format"),
            ("people.csv", 5, "gradyear", "gradyear"),
            ("people.csv", 5, "idnumber", "scientific-number"),
            ("people.csv", 5, "lastname", "formula"),
            ("people.csv", 5, "role", "unknown-role"),
            ("people.csv", 5, "status", "status"),
        ],
    ),
}


def packed(folder: Path, files: dict[str, str]) -> Path:
    """Write files as a zip, or one file as itself."""
    if len(files) == 1:
        ((name, content),) = files.items()
        (folder / name).write_text(content)
        return folder / name
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return folder / "set.zip"


def look(connector: FileConnector, path: Path) -> Inspection:
    try:
        return inspect(
            connector, FetchRequest(file=str(path)), frozenset({"springfield.example"})
            if isinstance(connector, UserCsv) else frozenset(),
        )  # fmt: skip
    finally:
        connector.close()


def errors(found: Inspection) -> list[tuple[str | None, int | None, str, str]]:
    return sorted(
        (one.file or "", one.line or 0, one.column, one.rule)
        for one in found.found
        if one.severity == "error"
    )


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_fault_of_a_row_is_told_with_its_column_rule_and_remedy(
    tmp_path: Path, name: str
) -> None:
    connector, files, expected = EXPECTED[name]
    report = look(connector, packed(tmp_path, files))
    assert errors(report) == expected
    told = [one for one in report.found if one.severity == "error"]
    assert all(one.hint and one.message.endswith((".", "used.")) for one in told)
    assert all(len(one.value) < 40 and LONG not in one.message for one in told)


@pytest.mark.parametrize(
    ("connector", "files"), [("clever_csv", CLEVER), ("oneroster_csv", ONE_TWO)]
)
def test_what_is_told_is_just_what_the_run_leaves_out(
    database: Database, tmp_path: Path, connector: str, files: dict[str, str]
) -> None:
    district(database, tmp_path, connector=connector)
    done = upload_file(database, "springfield", packed(tmp_path, files), actor="x")
    lines = {(one.file, one.line) for one in done.found if one.severity == "error"}
    assert None not in {line for _, line in lines}
    with database.read() as connection:
        kept = connection.exec_driver_sql("SELECT file, line FROM findings").all()
    assert {tuple(one) for one in kept} == lines


def test_a_role_that_is_not_known_is_told_in_its_line_though_its_file_is_joined(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path, connector="oneroster_csv")
    done = upload_file(database, "springfield", packed(tmp_path, ONE_TWO), actor="x")
    assert ("roles.csv", 4, "unknown-role") in [(o.file, o.line, o.rule) for o in done.found]
    with database.read() as connection:
        (listed,) = uploads(connection, district_row(connection, "springfield"))
    assert listed["counts"]["errors"] == sum(one.severity == "error" for one in done.found) == 4


def listed(database: Database) -> list[tuple[str, int, str]]:
    """Return file, line and rule of what the command ``skipped`` lists."""
    with database.read() as connection:
        return sorted(
            (row["file"], row["line"], row["rule"]) for row in skipped(connection, 1).rows
        )


def synced(database: Database, folder: Path, files: dict[str, str]) -> tuple[str, int]:
    """Sync a set; return how that ended, and how many rows could not be used."""
    packed(folder, files)
    outcome = sync_district(database, "springfield", actor="nightly")
    return outcome.status, outcome.certificates["people"]["skipped"]


def test_a_role_that_is_not_known_is_counted_and_listed_at_every_sync(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path, 'path = "set.zip"', connector="oneroster_csv")
    role = ("roles.csv", 4, "unknown-role")
    others = [("roles.csv", 3, "missing-value"), ("users.csv", 3, "missing-value")]
    assert synced(database, tmp_path, ONE_TWO) == ("applied", 3)
    assert listed(database) == sorted([*others, role])
    for _ in range(2):
        assert synced(database, tmp_path, ONE_TWO) == ("nothing_to_do", 3)
        assert listed(database) == sorted([*others, role])
    lines = ONE_TWO["roles.csv"].splitlines(keepends=True)
    shorter = ONE_TWO | {"roles.csv": "".join(lines[:2] + lines[3:])}
    assert synced(database, tmp_path, shorter) == ("nothing_to_do", 2)
    assert listed(database) == [("roles.csv", 3, "unknown-role"), others[1]]


def test_a_second_upload_reports_what_the_first_one_did(database: Database, tmp_path: Path) -> None:
    district(database, tmp_path, connector="oneroster_csv")
    reports = []
    for _ in range(2):
        done = upload_file(database, "springfield", packed(tmp_path, ONE_TWO), actor="x")
        reports.append(sorted((one.file, one.line, one.rule) for one in done.found))
    assert reports[0] == reports[1]
    assert ("roles.csv", 4, "unknown-role") in reports[1]


def test_a_role_that_was_corrected_is_no_longer_listed_and_its_person_joins(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path, 'path = "set.zip"', connector="oneroster_csv")
    synced(database, tmp_path, ONE_TWO)
    synced(database, tmp_path, ONE_TWO)
    assert active(database) == 1
    corrected = ONE_TWO | {"roles.csv": ONE_TWO["roles.csv"].replace("ext:dj", "teacher")}
    assert synced(database, tmp_path, corrected) == ("applied", 2)
    assert {rule for _, _, rule in listed(database)} == {"missing-value"}
    assert active(database) == 2
    assert synced(database, tmp_path, corrected) == ("nothing_to_do", 2)


def warned(report: Inspection) -> list[Found]:
    return [one for one in report.found if one.severity == "warning"]


def test_a_word_that_is_not_known_is_warned_of_in_its_line(tmp_path: Path) -> None:
    connector, files, _ = EXPECTED["oneroster 1.1"]
    found = {
        (one.line, one.column, one.rule, one.value)
        for one in warned(look(connector, packed(tmp_path, files)))
    }
    assert (4, "grades", "unknown-word", "9…") in found
    assert (4, "role", "unknown-word", "s…") in found
    assert (4, "enabledUser", "unknown-word", "p…") in found


def test_the_same_warning_a_thousand_times_hides_no_error(tmp_path: Path) -> None:
    rows = "".join(f"1,s{n},Person,Sam,99th,\n" for n in range(1000))
    files = CLEVER | {"students.csv": CLEVER["students.csv"].split("\n")[0] + f"\n{rows}1,,A,B,,\n"}
    report = look(CleverCsv(CleverCsvConfig()), packed(tmp_path, files))
    told = [one for one in warned(report) if one.rule == "unknown-word"]
    assert len(told) == MOST_OF_A_KIND
    assert report.uncounted == 1000 - MOST_OF_A_KIND
    assert report.count("warning") == 1000
    assert ("students.csv", 1002, "Student_id", "missing-value") in errors(report)


# ------------------------------------------------------------------ a file of bad rows only

WRONG = people(range(5)).replace("@springfield.example", "@else.example")


def test_an_upload_of_which_no_row_can_be_used_is_refused_and_its_report_shown(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path)
    path = tmp_path / "people.csv"
    path.write_text(people(range(5)))
    upload_file(database, "springfield", path, actor="x")
    for content in (WRONG, people(range(5)).replace(",student,", ",wizard,")):
        path.write_text(content)
        for dry in (True, False):
            done = upload_file(database, "springfield", path, actor="x", dry=dry)
            assert (done.outcome.status, done.outcome.exit_code) == ("refused", 15)
            assert [one.line for one in done.found] == [2, 3, 4, 5, 6]
            assert done.status == "PROCESSED", "it was received and could be read"
            assert active(database) == 5


@pytest.mark.parametrize("connector", ["clever_csv", "oneroster_csv"])
def test_a_set_of_which_no_person_can_be_used_is_refused_though_its_schools_can(
    database: Database, tmp_path: Path, connector: str
) -> None:
    district(database, tmp_path, connector=connector)
    files = (CLEVER if connector == "clever_csv" else ONE_TWO).copy()
    for name in ("students.csv", "teachers.csv", "users.csv"):
        if name in files:
            header = files[name].split("\n")[0]
            files[name] = header + "\n" + ",," * (header.count(",") // 2) + "x\n"
    path = packed(tmp_path, files)
    done = upload_file(database, "springfield", path, actor="x")
    assert (done.outcome.status, done.outcome.exit_code) == ("refused", 15)
    assert done.found


def test_f2_a_sync_of_such_a_file_is_incomplete_and_nobody_leaves(
    database: Database, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    district(database, tmp_path, 'inbound = "drop"\nsettle_seconds = 0')
    (drop / "people.csv").write_text(people(range(30)))
    assert sync_district(database, "springfield", actor="nightly").status == "applied"
    (drop / "people.csv").write_text(WRONG)
    outcome = sync_district(database, "springfield", actor="nightly")
    assert (outcome.status, outcome.exit_code, active(database)) == ("incomplete", 12, 30)
    assert outcome.error is not None
    assert "Not one of the 5 rows" in outcome.error.message
    assert "email-domain" in finished(drop, "failed")["report.csv"]
    (drop / "people.csv").write_text(people(range(29)))
    assert sync_district(database, "springfield", actor="nightly").status == "applied"
    assert active(database) == 29
