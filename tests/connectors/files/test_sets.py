"""Sets of files as people make them: what a file of the set says, or does not, is never guessed."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from connectors.clever_csv import CleverCsv
from connectors.contract.connector import FetchRequest
from connectors.files.file_connector import FileConnector
from connectors.files.inspection import Inspection, inspect
from connectors.files.recognition import recognise
from connectors.finra_flex import FinraFlex
from connectors.oneroster_csv import OneRosterCsv
from connectors.user_csv import UserCsv, UserCsvConfig
from core.errors import FileRefused
from core.storage.database import Database
from sync.acts.upload import upload_file
from sync.engine import sync_district
from sync.sources.check import check_district
from tests.kit.user_files import HEADER, active, district, people, row

pytestmark = pytest.mark.any_store

MANIFEST = "propertyName,value\noneroster.version,1.2\nfile.orgs,bulk\nfile.users,bulk\n"
ONE_TWO = {
    "manifest.csv": MANIFEST + "file.roles,bulk\n",
    "orgs.csv": "sourcedId,name,type\ns1,Lincoln,school\n",
    "users.csv": "sourcedId,enabledUser,username,givenName,familyName\n"
    + "".join(f"u{n},true,u{n},Ana{n},Lima\n" for n in range(8)),
    "roles.csv": "sourcedId,userSourcedId,roleType,role,orgSourcedId\n"
    + "".join(f"r{n},u{n},primary,student,s1\n" for n in range(8)),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def look(path: Path) -> Inspection:
    connector = UserCsv(UserCsvConfig())
    try:
        return inspect(connector, FetchRequest(file=str(path)))
    finally:
        connector.close()


# -------------------------------------------------- a file of which no row can be used


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("orgs.csv", "sourcedId,name,type\n,Lincoln,school\n,Douglass,school\n"),
        ("roles.csv", ONE_TWO["roles.csv"].partition("\n")[0] + "\nr1,,primary,student,s1\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [True, False])
def test_a_file_of_the_set_of_which_no_row_can_be_used_is_incomplete_also_at_first(
    database: Database, tmp_path: Path, name: str, content: str, first: bool
) -> None:
    slug = district(database, tmp_path, 'path = "set"', connector="oneroster_csv")
    write(tmp_path / "set", ONE_TWO)
    if not first:
        sync_district(database, slug, actor="x")
    write(tmp_path / "set", ONE_TWO | {name: content})
    outcome = sync_district(database, slug, actor="x")
    assert (outcome.exit_code, active(database)) == (12, 0 if first else 8)
    assert outcome.error is not None
    assert "Not one of the" in outcome.error.message


def test_nameless_columns_at_the_end_of_a_header_harm_nobody(
    database: Database, tmp_path: Path
) -> None:
    slug = district(database, tmp_path, 'path = "set"', connector="oneroster_csv")
    files = {name: text.replace("\n", ",,\n", 1) for name, text in ONE_TWO.items()}
    write(tmp_path / "set", files)
    outcome = sync_district(database, slug, actor="x")
    assert (outcome.exit_code, active(database)) == (0, 8)
    with database.read() as connection:
        query = "SELECT COUNT(*) FROM memberships WHERE school_id IS NOT NULL"
        assert connection.exec_driver_sql(query).scalar_one() == 8


# ---------------------------------------------------------------- cut at the end of a line


def test_f12_where_just_the_last_rows_are_missing_it_is_said(
    database: Database, tmp_path: Path
) -> None:
    slug = district(database, tmp_path, 'path = "people.csv"')
    path = tmp_path / "people.csv"
    path.write_text(people(range(40)))
    sync_district(database, slug, actor="x")
    for missing, told in ((set(range(37, 40)), True), ({3, 4, 39}, False)):
        path.write_text(people(n for n in range(40) if n not in missing))
        outcome = sync_district(database, slug, actor="x")
        notes = outcome.certificates["people"]["notes"]
        assert any("Just the last 3 rows" in note for note in notes) is told
        path.write_text(people(range(40)))
        sync_district(database, slug, actor="x")


# ---------------------------------------------------------------- formats of somebody else's

OTHERS = {
    "Canvas": {
        "users.csv": "user_id,integration_id,login_id,first_name,last_name,email,status\n"
        "1,,ana,Ana,Lima,ana@b.example,active\n",
        "courses.csv": "course_id,short_name,long_name,account_id,term_id,status\n",
        "enrollments.csv": "course_id,user_id,role,section_id,status\n",
    },
    "(SDS) V2": {
        "orgs.csv": "sourcedId,name,type,parentSourcedId\ns1,Lincoln,school,\n",
        "users.csv": "sourcedId,username,givenName,familyName,password,activeDirectoryMatchId,"
        "email,phone,sms\nu1,ana,Ana,Lima,,,,,\n",
        "roles.csv": "userSourcedId,orgSourcedId,role,sessionSourcedId,grade,isPrimary,"
        "roleStartDate,roleEndDate\nu1,s1,student,,,,,\n",
    },
    "(SDS) V1": {
        "School.csv": "SIS ID,Name\n1,Lincoln\n",
        "Student.csv": "SIS ID,School SIS ID,Username\n1,1,ana\n",
        "Teacher.csv": "SIS ID,School SIS ID,Username\n2,1,kim\n",
    },
    "Google Workspace": {
        "users.csv": "First Name [Required],Last Name [Required],Email Address [Required],"
        "Password [Required]\nAna,Lima,ana@b.example,****\n",
    },
    "PowerSchool": {"students.csv": "Student_Number,Last_Name,First_Name,Grade_Level,SchoolID\n"},
    "Infinite Campus": {"export.csv": "student.studentNumber,student.lastName,student.grade\n"},
    "Aeries": {"STU.csv": "STU.ID,STU.LN,STU.FN,STU.GR\n"},
    "Synergy": {"export.csv": "SIS Number,Last Name,First Name,Grade\n"},
    "Skyward": {"export.csv": "Other ID,Student Last Name,Student First Name\n"},
    "Schoology": {"users.csv": "Uniq User Id,First Name,Last Name,Email,Role\n"},
    "Active Directory": {"export.csv": "SamAccountName,GivenName,Surname,Mail\n"},
    "Google or Outlook": {"contacts.csv": "Given Name,Family Name,E-mail 1 - Value\n"},
    "Moodle": {"users.csv": "username,firstname,lastname,email,cohort1\n"},
    "Apple School Manager": {
        "students.csv": "person_id,person_number,first_name,middle_name,last_name,grade_level\n",
    },
}  # fmt: skip


@pytest.mark.parametrize("connector", [OneRosterCsv, CleverCsv, UserCsv, FinraFlex])
@pytest.mark.parametrize("name", sorted(OTHERS))
def test_a_format_of_somebody_elses_is_named_and_refused(
    tmp_path: Path, connector: type[FileConnector], name: str
) -> None:
    folder = write(tmp_path / "set", OTHERS[name])
    assert recognise(folder, {"it": connector}) == []
    opened = connector(connector.config_model())
    report = inspect(opened, FetchRequest(file=str(folder)))
    assert isinstance(report.error, FileRefused)
    assert name in report.error.message


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("sourcedId,status,enabledUser,orgSourcedIds,role,username,givenName", "oneroster_csv"),
        ("sourcedId,username,givenName,familyName,email", "Microsoft SDS"),
        ("School_id,Student_id,Last_name,First_name,Grade", "clever_csv"),
        ("School_id,Teacher_id,Last_name,First_name", "clever_csv"),
        ("crd_id,first_name,last_name,email", "finra_flex"),
    ],
)
def test_one_file_of_another_connector_is_named(tmp_path: Path, header: str, named: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{header}\n1,2,3,4,5\n")
    opened = UserCsv(UserCsv.config_model())
    report = inspect(opened, FetchRequest(file=str(path)))
    assert isinstance(report.error, FileRefused)
    assert named in report.error.message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"%PDF-1.7\n", "a PDF"),
        (b'{"users": []}', "JSON"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>", "a web page"),
        (b'<?xml version="1.0"?><Workbook>', "XML"),
        (b"{\\rtf1", "a text document"),
    ],
)
def test_what_is_no_table_at_all_is_named(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    opened = UserCsv(UserCsv.config_model())
    report = inspect(opened, FetchRequest(file=str(path)))
    assert isinstance(report.error, FileRefused)
    assert f"is not CSV but {named}." in report.error.message


def test_an_upload_of_a_format_of_somebody_elses_names_it(
    database: Database, tmp_path: Path
) -> None:
    slug = district(database, tmp_path, more=TWO_SOURCES)
    folder = write(tmp_path / "set", OTHERS["Canvas"])
    done = upload_file(database, slug, folder, actor="x")
    assert (done.status, done.outcome.exit_code) == ("FAILED", 15)
    assert done.outcome.error is not None
    assert "Canvas" in done.outcome.error.message


TWO_SOURCES = '[[district.source]]\nname = "other"\nconnector = "oneroster_csv"\nprecedence = 2\n'


# ------------------------------------------------------------------------------ workbooks


def workbook(path: Path, sheets: dict[str, list[list[object]]], **formats: str) -> Path:
    """Write a workbook; ``formats`` are the number formats of columns, by letter."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for cells in rows:
            sheet.append(cells)
        for letter, number_format in formats.items():
            for cell in sheet[letter]:
                cell.number_format = number_format
    book.save(path)
    return path


def table(numbers: list[int]) -> list[list[object]]:
    rows: list[list[object]] = [list(HEADER.split(","))]
    for number in numbers:
        cells: list[object] = list(row(number).split(","))
        cells[-1] = number
        rows.append(cells)
    return rows


def test_a_workbook_whose_first_sheet_is_notes_is_read_where_its_people_are(
    tmp_path: Path,
) -> None:
    notes: list[list[object]] = [["Please read"], ["Do not sort this list", "by name"]]
    path = workbook(tmp_path / "people.xlsx", {"Notes": notes, "Students": table([1, 2, 3])})
    report = look(path)
    assert (report.error, report.usable) == (None, 3)
    assert any("number 2 is read" in note for note in report.notes)


def test_numbers_keep_the_zeros_that_their_cells_show(tmp_path: Path) -> None:
    path = workbook(tmp_path / "people.xlsx", {"A": table([7, 42, 12345])}, G="00000")
    connector = UserCsv(UserCsvConfig())
    keys = [
        connector.identify("users", raw)
        for page in connector.pages(FetchRequest(file=str(path)))
        for raw in page.split(page.body)
    ]
    assert keys == ["id:00007", "id:00042", "id:12345"]
    assert any("leading zeros" in note for note in look(path).notes)


# ------------------------------------------------------------------------ headers in words


@pytest.mark.parametrize(
    "header",
    ["Vorname,Nachname,E-Mail,Rolle", "Prénom,Nom,Adresse e-mail,Rôle", "Nombre,Apellidos,Correo",
     "Voornaam,Achternaam,E-mailadres", "Nome,Cognome,Email", "Fornavn,Etternavn,E-post"],
)  # fmt: skip
def test_the_header_words_of_other_languages_are_told_apart_and_named(
    tmp_path: Path, header: str
) -> None:
    path = tmp_path / "people.csv"
    path.write_text(f"{header}\nAna,Lima,ana@b.example\n", encoding="utf-8")
    report = look(path)
    assert report.error is not None
    assert report.error.exit_code == 15
    hints = {one.hint for one in report.found}
    assert {"Rename it to firstname.", "Rename it to lastname."} <= hints
    assert not any("Ana" in one.message for one in report.found)


def test_no_column_is_suggested_that_is_there(database: Database, tmp_path: Path) -> None:
    slug = district(database, tmp_path, 'path = "set"', connector="oneroster_csv")
    roles = "sourcedId,roleType,role,orgSourcedId\nr1,primary,student,s1\n"
    write(tmp_path / "set", ONE_TWO | {"roles.csv": roles})
    outcome = sync_district(database, slug, actor="x")
    assert outcome.exit_code == 15
    assert outcome.error is not None
    assert "userSourcedId" in outcome.error.message
    assert "Did you mean" not in outcome.error.hint


# ------------------------------------------------------------------- are the files there?


@pytest.mark.parametrize(
    ("config", "files", "code", "said"),
    [
        ('path = "set"', ONE_TWO, 0, "is there: manifest.csv, orgs.csv"),
        ('path = "set"', {"orgs.csv": ONE_TWO["orgs.csv"]}, 15, "lacks users.csv"),
        ('path = "set"', {}, 15, "lacks orgs.csv, users.csv"),
        ('path = "nowhere"', {}, 15, "There is no folder or file nowhere"),
        ('inbound = "set"', ONE_TWO, 0, "can be listed: 4 files"),
        ('inbound = "nowhere"', {}, 2, "There is no drop directory nowhere"),
        ("", {}, 0, "fed by uploads"),
    ],
)
def test_check_says_whether_the_files_are_there(
    database: Database, tmp_path: Path, config: str, files: dict[str, str], code: int, said: str
) -> None:
    slug = district(database, tmp_path, config, connector="oneroster_csv")
    write(tmp_path / "set", files)
    (checked,) = check_district(database, slug)
    assert checked.exit_code == code
    assert any(said in line.message for line in checked.lines)


# ------------------------------------------------------------------------- leading zeros


def test_zeros_that_a_spreadsheet_has_eaten_are_told_where_the_source_had_them(
    database: Database, tmp_path: Path
) -> None:
    slug = district(database, tmp_path, connector="clever_csv")
    numbers = [f"{n:05}" for n in range(95, 110)]
    for written, told in ((numbers, 0), ([number.lstrip("0") for number in numbers], 15)):
        students = "".join(f"1,s{n},{n},Lima,Ana{n}\n" for n in written)
        files = {
            "schools.csv": "School_id,School_name\n1,Lincoln\n",
            "students.csv": "School_id,Student_id,Student_number,Last_name,First_name\n" + students,
            "teachers.csv": "School_id,Teacher_id,Last_name,First_name\n1,t1,Park,Dee\n",
        }
        done = upload_file(database, slug, write(tmp_path / "set", files), actor="x", dry=told > 0)
        eaten = [one for one in done.found if one.rule == "leading-zeros"]
        assert [one.column for one in eaten] == ["Student_number"] * told
