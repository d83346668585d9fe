"""Clever CSV ("Basic Roster")."""

from __future__ import annotations

import itertools
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.clever_csv import CleverCsv, CleverCsvConfig
from connectors.contract.connector import Part
from core.errors import FileRefused, IncompleteFetch
from core.models import Membership, NormalizedSchool, Role
from rostersync.testing import ConnectorSuite, Situation
from tests.kit.csv_reading import (
    FIXTURES,
    Edit,
    EditedFolder,
    Reading,
    copy_of,
    cut,
    header_only,
    more,
    read,
    refusal,
    swap,
)

SMALL = "clever_csv/small"


def clever(path: Path | str) -> CleverCsv:
    return CleverCsv(CleverCsvConfig(path=str(path)))


def read_edited(tmp_path: Path, edits: dict[str, Edit | None]) -> Reading:
    reading = read(clever(copy_of(SMALL, tmp_path, edits)))
    assert reading.error is None
    return reading


def test_schools_students_teachers_and_staff_are_read() -> None:
    reading = read(clever(FIXTURES / SMALL))
    assert reading.schools["102"] == NormalizedSchool(
        external_id="102", name="Maple Elementary", state_id="CA-102", number="102"
    )
    assert sorted(reading.users) == [
        "staff:S-7", "student:90001", "student:90002", "student:90003", "teacher:90001",
    ]  # fmt: skip
    ngozi = reading.users["student:90001"]
    assert (ngozi.grade, ngozi.graduation_year) == ("10", 2028)
    assert (ngozi.sis_id, ngozi.student_number, ngozi.state_id) == ("90001", "90001", "CA-77")
    assert ngozi.memberships == (Membership(role=Role.STUDENT, school="101", primary=True),)
    zoe = reading.users["student:90002"]
    assert (zoe.email, zoe.grade, zoe.middle_name) == (None, "KG", None)
    mila = reading.users["staff:S-7"]
    assert mila.memberships == (Membership(role=Role.STAFF, school="101", primary=True),)
    assert (mila.staff_number, mila.sis_id) == (None, "S-7")
    assert reading.faults == []
    assert reading.certificate is not None
    assert reading.certificate.absent_streams == frozenset()


def test_the_same_id_of_a_student_and_a_teacher_are_two_people() -> None:
    reading = read(clever(FIXTURES / SMALL))
    assert reading.users["student:90001"].given_name == "Ngozi"
    assert reading.users["teacher:90001"].given_name == "Amir"


def test_rows_at_two_schools_are_one_person_with_two_schools_and_no_primary_one() -> None:
    reading = read(clever(FIXTURES / SMALL))
    assert reading.users["teacher:90001"].memberships == (
        Membership(role=Role.TEACHER, school="101"),
        Membership(role=Role.TEACHER, school="102"),
    )
    ren = reading.users["student:90003"]
    assert (ren.middle_name, ren.email) == ("Kai", "ren.sato@springfield.example")


def test_the_order_of_the_rows_of_a_person_does_not_matter() -> None:
    connector = clever(FIXTURES / SMALL)
    rows = read(connector).parts["student:90003"]
    joined = {connector.combine("student:90003", order) for order in itertools.permutations(rows)}
    assert len(joined) == 1


def test_a_person_of_whom_no_row_is_left_is_no_entry() -> None:
    assert clever("x").combine("student:1", []) is None
    gone = Part("student:1", "student:1@101", {}, deleted=True)
    assert clever("x").combine("student:1", [("students", gone)]) is None


def test_headers_are_read_in_any_case_and_order(tmp_path: Path) -> None:
    def turned(text: str) -> str:
        rows = [line.split(",")[::-1] for line in text.splitlines()]
        rows[0] = [name.upper() for name in rows[0]]
        return "".join(",".join(row) + "\r\n" for row in rows)

    edits: dict[str, Edit | None] = {
        f"{name}.csv": turned for name in ("schools", "students", "teachers", "staff")
    }
    reading = read_edited(tmp_path, edits)
    assert reading.users == read(clever(FIXTURES / SMALL)).users


def test_capitals_in_file_names_are_tolerated_and_noted(tmp_path: Path) -> None:
    archive = tmp_path / "roster.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in (FIXTURES / SMALL).iterdir():
            opened.write(path, path.name.capitalize())
    reading = read(clever(archive))
    assert reading.users == read(clever(FIXTURES / SMALL)).users
    assert "Students.csv is read as students.csv." in reading.notes


def test_without_staff_csv_nobody_is_missed_in_it(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, {"staff.csv": None})
    assert "staff:S-7" not in reading.users
    assert reading.certificate is not None
    assert reading.certificate.complete
    assert reading.certificate.absent_streams == {"staff"}


@pytest.mark.parametrize("name", ["schools.csv", "students.csv", "teachers.csv"])
def test_f2_a_file_of_the_set_that_is_gone_makes_it_incomplete(tmp_path: Path, name: str) -> None:
    error = refusal(clever(copy_of(SMALL, tmp_path, {name: None})))
    assert isinstance(error, IncompleteFetch)
    assert f"lacks {name}" in error.message


def test_f2_no_file_of_the_set_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.csv").write_text("hello\n")
    error = refusal(clever(tmp_path))
    assert isinstance(error, FileRefused)
    assert "Found: readme.csv" in error.message
    assert "students.csv" in error.hint


def test_a_oneroster_set_is_refused_with_the_connector_that_reads_it() -> None:
    error = refusal(clever(FIXTURES / "oneroster_csv" / "one_one"))
    assert error.exit_code == 15
    assert "OneRoster CSV (connector oneroster_csv)" in error.message


def test_f2_a_missing_required_column_is_refused_by_name(tmp_path: Path) -> None:
    folder = copy_of(SMALL, tmp_path, {"students.csv": swap("Student_id", "Student")})
    error = refusal(clever(folder))
    assert isinstance(error, FileRefused)
    assert error.message.startswith("students.csv lacks the required column Student_id")


def test_a_header_only_file_serves_no_page(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, {"students.csv": header_only})
    assert "students" not in reading.rows


def test_a_cut_file_is_incomplete(tmp_path: Path) -> None:
    error = refusal(clever(copy_of(SMALL, tmp_path, {"teachers.csv": cut})))
    assert isinstance(error, IncompleteFetch)
    assert "teachers.csv is cut in the middle" in error.message


def test_a_comma_in_a_name_skips_the_row_but_keeps_its_key(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {"students.csv": swap("Okafor,Ada", "Okafor, Jr,Ada")}
    folder = copy_of(SMALL, tmp_path, edits)
    connector = clever(folder)
    reading = read(connector)
    assert reading.faults == [(2, "too-many-fields")]
    assert reading.skipped[0][2].key == "student:90001@101"


def test_a_row_with_too_few_fields_has_no_key(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, {"students.csv": more("101,90009,Lee")})
    assert reading.faults == [(6, "too-few-fields")]
    assert reading.skipped[0][2].key is None


def test_a_blank_id_is_skipped_without_key_and_a_nameless_row_with_one(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, {"teachers.csv": more("101,,,,,A,,B,,", "101,7,,,,,,,,")})
    assert reading.faults == [(4, "missing-value"), (5, "missing-value")]
    assert [problem.key for _, _, problem in reading.skipped] == [None, "teacher:7@101"]
    assert reading.skipped[0][2].column == "Teacher_id"


def test_unknown_grades_and_years_are_counted_and_the_student_is_read(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {"students.csv": swap("10,2028", "99,28")}
    reading = read_edited(tmp_path, edits)
    ngozi = reading.users["student:90001"]
    assert (ngozi.grade, ngozi.graduation_year) == (None, None)
    assert sorted(reading.unknown) == ["grade=99", "graduation_year=28"]


def test_staff_of_the_district_have_no_school(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, {"staff.csv": more(",S-8,,Ada,Ek,,,,,")})
    assert reading.users["staff:S-8"].memberships == (Membership(role=Role.STAFF),)


def test_admins_csv_is_noted_and_not_read(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, {"admins.csv": lambda _: "School_id,Admin_email\n"})
    assert reading.notes == ("admins.csv is not read: Clever replaced it by staff.csv.",)


def test_passwords_and_demographics_are_never_shown(tmp_path: Path) -> None:
    connector = clever(FIXTURES / SMALL)
    read(connector)
    row = b"101,S-7,mila.petrova@springfield.example,Mila,Petrova,Office,Registrar,m,secret,"
    fields = connector.fields("staff", row)
    assert fields["Department"] == "Office"
    assert "secret" not in str(fields)


def test_a_school_without_name_is_skipped(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, {"schools.csv": more("103,,103,,,")})
    assert reading.faults == [(4, "missing-value")]
    assert reading.skipped[0][2].column == "School_name"


@given(
    st.sampled_from(["schools.csv", "students.csv", "teachers.csv", "staff.csv"]),
    st.binary(max_size=80),
    st.integers(0, 2000),
)
def test_any_damage_ends_in_people_or_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, name: str, noise: bytes, at: int
) -> None:
    folder = copy_of(SMALL, tmp_path_factory.mktemp("c"))
    content = (folder / name).read_bytes()
    place = at % (len(content) + 1)
    (folder / name).write_bytes(content[:place] + noise + content[place:])
    reading = read(clever(folder))
    if reading.error is None:
        made = len(reading.schools) + sum(len(parts) for parts in reading.parts.values())
        by_row = [skip for skip in reading.skipped if skip[0]]
        assert made + len(by_row) >= sum(reading.rows.values()) - 1


class TestCleverCsvConforms(ConnectorSuite):
    connector = CleverCsv

    def scenario(self) -> EditedFolder:
        files = ("schools.csv", "students.csv", "teachers.csv", "staff.csv")
        return EditedFolder(
            SMALL,
            {
                Situation.EMPTY: dict.fromkeys(files, header_only),
                Situation.TRUNCATED: {"students.csv": cut},
                Situation.BAD_ROW: {
                    "students.csv": more("101,7," + "9" * 2000 + ",,Canarybird,,Canarybird,,,,")
                },
                Situation.UNKNOWN_WORDS: {"students.csv": swap("Kindergarten", "Nursery")},
                Situation.PRIVATE_DATA: {"staff.csv": swap("not-a-secret", "canarybird")},
            },
            people=5,
            schools=2,
        )
