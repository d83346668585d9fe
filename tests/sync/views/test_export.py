"""Templates and exports: what we write is what we read, and no spreadsheet computes it."""

from __future__ import annotations

import csv
import io
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files.csv_write import csv_bytes, guarded, unguarded
from connectors.files.recognition import recognise
from connectors.files.templates import write_template
from connectors.installed import file_formats, template_of
from core.errors import UsageError
from core.storage.database import Database
from rostersync.cli.app import run
from sync.acts.hand_edit import UserEdit, add_user, edit_user
from sync.acts.upload import Uploaded, upload_file
from sync.sources.district_load import load_district_file
from tests.kit.csv_reading import FIXTURES
from tests.kit.firm import available, make_firm, staff
from tests.kit.user_files import HEADER, active, district, people, row

FORMATS = file_formats()
TEMPLATES = {name: one.template() for name, one in FORMATS.items()}


def formats_of(path: Path) -> list[str]:
    return recognise(path, FORMATS)


def exported(
    database: Database, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[str, str]:
    capsys.readouterr()
    url = database.url.render_as_string(hide_password=False)
    assert run(["export", "springfield", *options, "--database", url]) == 0
    return capsys.readouterr()


def give(database: Database, folder: Path, content: str) -> Uploaded:
    path = folder / "people.csv"
    path.write_text(content)
    return upload_file(database, "springfield", path, actor="secretary")


def changes(database: Database) -> int:
    with database.read() as connection:
        return int(connection.exec_driver_sql("SELECT serial FROM districts").scalar_one())


def test_flex_2_13_an_export_uploaded_back_changes_nothing(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    district(database, tmp_path)
    odd = [
        row(21, firstname="=1+1"[1:], lastname="-Dash"), row(22, firstname="@home", idnumber=""),
        row(23, firstname='"O\'Brien, Jr"', lastname="Žofie"), row(24, "admin", idnumber=""),
        row(25, "teacher", idnumber="0012"), row(26, lastname="'=quoted"),
        row(27, firstname=""), row(28, lastname="", idnumber=""),
    ]  # fmt: skip
    give(database, tmp_path, people(range(10)) + "\n".join(odd) + "\n")
    assert active(database) == 18
    with database.read() as connection:
        user = connection.exec_driver_sql(
            "SELECT id FROM users WHERE student_number = '9003'"
        ).scalar_one()
    edit_user(
        database, "springfield", str(user), UserEdit({"given_name": "By Hand"}), actor="admin"
    )
    before = changes(database)
    text, _ = exported(database, capsys, "--source", "people")
    done = give(database, tmp_path, text)
    assert done.status == "PROCESSED"
    assert (done.counts["rows"], done.counts["errors"]) == (18, 0)
    assert (changes(database), active(database)) == (before, 18)


def test_suspended_nobody_and_archived_people_are_told_apart_in_an_export(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    district(database, tmp_path)
    give(database, tmp_path, people(range(20)))
    give(database, tmp_path, people(range(18)))
    text, _ = exported(database, capsys, "--source", "people")
    assert len(text.splitlines()) == 1 + 18


def test_people_whom_a_user_file_cannot_carry_are_counted_and_listed(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    district(database, tmp_path)
    edit = UserEdit({"given_name": "Pat", "family_name": "Postless"}, role="student")
    added = add_user(database, "springfield", edit, actor="admin")
    text, said = exported(database, capsys)
    assert text == HEADER + "\n"
    assert "1 left out" in said
    assert f"{added.user_id}: a user file needs an email address" in said
    assert "Postless" not in said


def test_an_export_holds_no_formula(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    district(database, tmp_path)
    names = ["+1+1", "-1", "@SUM(A1)", "'=1"]
    rows = [row(number, firstname=name) for number, name in enumerate(names)]
    give(database, tmp_path, HEADER + "\n" + "\n".join(rows) + "\n")
    text, _ = exported(database, capsys, "--source", "people")
    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@")]
    assert {"'+1+1", "'-1", "'@SUM(A1)", "'=1"} <= set(cells)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n"), max_size=12))
def test_whatever_is_written_comes_back_and_is_no_formula(value: str) -> None:
    cell = guarded(value)
    assert unguarded(cell) == value
    assert cell.lstrip()[:1] not in set("=+-@")
    assert next(csv.reader(io.StringIO(csv_bytes(("a",), [(value, "x")]).decode().split("\n")[1])))


def test_a_number_is_written_as_it_is() -> None:
    assert csv_bytes(("n",), [(-5,), (2030,)]) == b"n\n-5\n2030\n"


# ----------------------------------------------------------------- sources of several files

SETS = {
    "clever_csv": "clever_csv/small",
    "oneroster_csv 1.1": "oneroster_csv/one_one",
    "oneroster_csv 1.2": "oneroster_csv/one_two",
}


def a_set(database: Database, folder: Path, name: str, config: str = "", more: str = "") -> None:
    """Upload one of our small sets, with a name that a spreadsheet would compute."""
    district(database, folder, config, connector=name.split(" ")[0])
    with (folder / "district.toml").open("a") as file:
        file.write(more)
    load_district_file(database, folder / "district.toml")
    copy = folder / "set"
    shutil.copytree(FIXTURES / SETS[name], copy)
    for path in copy.iterdir():
        path.write_text(path.read_text().replace("Rahman", "-Rahman").replace("Kai", '"+1, K"'))
    done = upload_file(database, "springfield", copy, actor="x")
    assert done.status == "PROCESSED"


def everything(database: Database) -> list[tuple[object, ...]]:
    """Return what the directory says of everybody, and what the source said."""
    queries = (
        "SELECT id, status, given_name, middle_name, family_name, preferred_given_name, email,"
        " username, grade, graduation_year, sis_id, student_number, state_id, staff_number,"
        " revision FROM users ORDER BY id",
        "SELECT user_id, role, school_id, is_primary FROM memberships ORDER BY 1, 2, 3",
        "SELECT id, name, nces_id, number, state_id FROM schools ORDER BY id",
        "SELECT external_id, data FROM records WHERE present ORDER BY kind, external_id",
    )
    with database.read() as connection:
        return [tuple(row) for query in queries for row in connection.exec_driver_sql(query)]


def write_set(
    database: Database, capsys: pytest.CaptureFixture[str], path: Path
) -> tuple[int, str]:
    url = database.url.render_as_string(hide_password=False)
    capsys.readouterr()
    options = ["--source", "people", "--output", str(path)]
    code = run(["export", "springfield", *options, "--database", url])
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize("name", sorted(SETS))
@pytest.mark.parametrize("config", ["", 'roles = ["student", "teacher", "staff", "contact"]'])
def test_an_export_of_a_set_comes_in_its_own_format_and_uploaded_back_changes_nothing(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, config: str
) -> None:
    a_set(database, tmp_path, name, config)
    before = everything(database)
    path = tmp_path / "out.zip"
    assert write_set(database, capsys, path) == (0, f"{path} is written.\n")
    assert formats_of(path) == [name.split(" ")[0]]
    with zipfile.ZipFile(path) as archive:
        cells = [
            cell
            for member in archive.namelist()
            for row in csv.reader(io.StringIO(archive.read(member).decode()))
            for cell in row
        ]
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@")]
    done = upload_file(database, "springfield", path, actor="x")
    assert (done.outcome.status, done.outcome.exit_code) == ("nothing_to_do", 0)
    assert [one for one in done.found if one.severity == "error"] == []
    assert everything(database) == before


@pytest.mark.parametrize("name", sorted(SETS))
def test_what_was_edited_by_hand_is_in_the_export_of_a_set_and_stays(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    a_set(database, tmp_path, name)
    with database.read() as connection:
        query = "SELECT id FROM users WHERE family_name = 'Lind'"
        user = str(connection.exec_driver_sql(query).scalar_one())
    edit = UserEdit({"given_name": "By Hand", "email": "hand@springfield.example", "grade": "01"})
    edit_user(database, "springfield", user, edit, actor="admin")
    before = changes(database)
    assert write_set(database, capsys, tmp_path / "out.zip")[0] == 0
    done = upload_file(database, "springfield", tmp_path / "out.zip", actor="x")
    assert (done.outcome.status, changes(database)) == ("nothing_to_do", before)
    with database.read() as connection:
        query = f"SELECT given_name, grade FROM users WHERE id = '{user}'"
        assert tuple(connection.exec_driver_sql(query).one()) == ("By Hand", "01")


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_mapping_that_reads_what_a_set_does_not_hold_refuses_its_export(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    held = "{Student_number|lower}" if name == "clever_csv" else "{identifier}"
    for column, code in ((held, 0), ("{Homeroom}", 2)):
        mapping = f'[district.source.mapping]\nsis_id = "{column}"\n'
        folder = tmp_path / str(code)
        folder.mkdir()
        a_set(database, folder, name, more=mapping)
        before = everything(database)
        found, told = write_set(database, capsys, folder / "out.zip")
        assert found == code
        if code:
            assert "reads Homeroom, which an export does not hold" in told
            assert not (folder / "out.zip").exists()
        else:
            done = upload_file(database, "springfield", folder / "out.zip", actor="x")
            assert done.outcome.status == "nothing_to_do", done.outcome.error
            assert everything(database) == before


def test_whom_a_set_cannot_carry_is_counted_and_listed(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_set(database, tmp_path, "clever_csv")
    with database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE users SET given_name = NULL, family_name = NULL WHERE family_name = 'Lind'"
        )
    _, told = write_set(database, capsys, tmp_path / "out.zip")
    assert "1 left out; --format json has everybody:" in told
    assert "a Clever file needs a name" in told
    code, told = write_set(database, capsys, tmp_path / "out.zip")
    assert code == 2
    assert "is there already" in told


def test_without_output_a_set_is_named_after_its_district_and_source(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_set(database, tmp_path, "clever_csv")
    monkeypatch.chdir(tmp_path)
    url = database.url.render_as_string(hide_password=False)
    assert run(["export", "springfield", "--source", "people", "--database", url]) == 0
    assert formats_of(tmp_path / "springfield-people.zip") == ["clever_csv"]


def test_an_export_of_a_firm_is_a_template_that_says_the_same(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_firm(database, tmp_path)
    available(database)
    (tmp_path / "t.csv").write_text(staff(1, 2, 30).replace("Sam,Person2", "'-Sam,O'Brien"))
    upload_file(database, "springfield", tmp_path / "t.csv", actor="ce admin", without_report=True)
    assert write_set(database, capsys, tmp_path / "out.csv")[0] == 0
    text = (tmp_path / "out.csv").read_text()
    assert text == (tmp_path / "t.csv").read_text()


# -------------------------------------------------------------------------------- templates


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_flex_2_12_a_template_is_recognised_as_its_own_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / "template.zip"
    write_template(TEMPLATES[name], path)
    assert formats_of(path) == [name]
    if len(TEMPLATES[name]) == 1:
        for kind in ("csv", "xlsx"):
            write_template(TEMPLATES[name], tmp_path / f"t.{kind}")
            assert formats_of(tmp_path / f"t.{kind}") == [name]


@pytest.mark.parametrize("name", ["user_csv", "clever_csv", "oneroster_csv"])
def test_a_template_is_read_without_a_finding(
    database: Database, tmp_path: Path, name: str
) -> None:
    (tmp_path / "district.toml").unlink(missing_ok=True)
    district(database, tmp_path, connector=name)
    write_template(TEMPLATES[name], tmp_path / "template.zip")
    done = upload_file(database, "springfield", tmp_path / "template.zip", actor="x")
    rules = {one.rule for one in done.found}
    assert rules <= {"email-domain"}, "only the example's address is not the district's"
    assert done.status == "PROCESSED"


def test_flex_11_2_the_flex_template_has_its_four_columns(tmp_path: Path) -> None:
    write_template(TEMPLATES["finra_flex"], tmp_path / "UploadUsersTemplate.zip")
    with zipfile.ZipFile(tmp_path / "UploadUsersTemplate.zip") as archive:
        content = archive.read("UploadUsersTemplate.csv").decode()
    assert content.splitlines()[0] == "crd_id,first_name,last_name,email"


def test_a_template_that_does_not_exist_or_would_overwrite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no template nonsense"):
        template_of("nonsense")
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_template(TEMPLATES["user_csv"], tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "mine"
