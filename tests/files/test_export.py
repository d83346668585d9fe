"""Templates and exports: what we write is what we read, and no spreadsheet computes it."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.csv_write import csv_bytes, guarded, unguarded
from connectors.recognition import recognise
from connectors.templates import TEMPLATES, write_template
from core.database import Database
from core.errors import UsageError
from rostersync.cli.app import run
from sync.hand import UserEdit, add_user, edit_user
from sync.upload import Uploaded, upload_file

from .kit import HEADER, district, people, row
from .test_inbound import active


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


def test_an_export_uploaded_back_changes_nothing(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    district(database, tmp_path)
    odd = [
        row(21, firstname="=1+1"[1:], lastname="-Dash"), row(22, firstname="@home", idnumber=""),
        row(23, firstname='"O\'Brien, Jr"', lastname="Žofie"), row(24, "admin", idnumber=""),
        row(25, "teacher", idnumber="0012"), row(26, lastname="'=quoted"),
    ]  # fmt: skip
    give(database, tmp_path, people(range(10)) + "\n".join(odd) + "\n")
    assert active(database) == 16
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
    assert (done.counts["rows"], done.counts["errors"]) == (16, 0)
    assert (changes(database), active(database)) == (before, 16)


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


# -------------------------------------------------------------------------------- templates


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_is_recognised_as_its_own_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / "template.zip"
    write_template(name, path)
    assert recognise(path) == [name]
    if len(TEMPLATES[name]) == 1:
        for kind in ("csv", "xlsx"):
            write_template(name, tmp_path / f"t.{kind}")
            assert recognise(tmp_path / f"t.{kind}") == [name]


@pytest.mark.parametrize("name", ["user_csv", "clever_csv", "oneroster_csv"])
def test_a_template_is_read_without_a_finding(
    database: Database, tmp_path: Path, name: str
) -> None:
    (tmp_path / "district.toml").unlink(missing_ok=True)
    district(database, tmp_path, connector=name)
    write_template(name, tmp_path / "template.zip")
    done = upload_file(database, "springfield", tmp_path / "template.zip", actor="x")
    rules = {one.rule for one in done.found}
    assert rules <= {"email-domain"}, "only the example's address is not the district's"
    assert done.status == "PROCESSED"


def test_flex_11_2_the_flex_template_has_its_four_columns(tmp_path: Path) -> None:
    write_template("finra_flex", tmp_path / "UploadUsersTemplate.zip")
    with zipfile.ZipFile(tmp_path / "UploadUsersTemplate.zip") as archive:
        content = archive.read("UploadUsersTemplate.csv").decode()
    assert content.splitlines()[0] == "crd_id,first_name,last_name,email"


def test_a_template_that_does_not_exist_or_would_overwrite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no template nonsense"):
        write_template("nonsense", tmp_path / "x.csv")
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        write_template("user_csv", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "mine"
