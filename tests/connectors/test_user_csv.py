"""The user file. Numbers in names are the rules of the file format (2.x shape, 3.x upload)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.user_csv import UserCsv, UserCsvConfig
from core.errors import FileRefused, IncompleteFetch, NothingNew
from core.models import Membership, Role
from rostersync.testing import ConnectorSuite, Situation
from tests.kit.csv_reading import (
    FIXTURES,
    EditedFolder,
    Reading,
    cut,
    header_only,
    more,
    read,
    refusal,
)

HEADER = "firstname,lastname,email,role,gradyear,status,idnumber"
ANN = "Ann,Lee,ann.lee@springfield.example,teacher,,Active,T-9"


def file_of(tmp_path: Path, *lines: str) -> UserCsv:
    path = tmp_path / "users.csv"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return UserCsv(UserCsvConfig(path=str(path)))


def read_rows(tmp_path: Path, *rows: str) -> Reading:
    reading = read(file_of(tmp_path, HEADER, *rows))
    assert reading.error is None
    return reading


def test_everybody_of_the_file_is_read() -> None:
    reading = read(UserCsv(UserCsvConfig(path="everybody.csv")), FIXTURES / "user_csv")
    assert list(reading.users) == [
        "id:90001",
        "email:zoe.lind@springfield.example",
        "id:t-1",
        "email:mila.petrova@springfield.example",
        "email:lucia.gomez@springfield.example",
    ]
    ngozi = reading.users["id:90001"]
    assert (ngozi.given_name, ngozi.family_name) == ("Ngozi", "O'Brien-Okafor")
    assert (ngozi.student_number, ngozi.staff_number) == ("90001", None)
    assert ngozi.graduation_year == 2028
    amir = reading.users["id:t-1"]
    assert (amir.student_number, amir.staff_number) == (None, "T-1")
    assert amir.memberships == (Membership(role=Role.TEACHER),)
    assert reading.faults == []
    assert reading.notes == ()


# --------------------------------------------------------------------------- 2: the shape


def test_2_1_and_2_3_columns_may_come_in_any_order(tmp_path: Path) -> None:
    names = HEADER.split(",")
    turned = file_of(tmp_path, ",".join(names[::-1]), ",".join(ANN.split(",")[::-1]))
    assert read(turned).users == read_rows(tmp_path, ANN).users


def test_2_2_letter_case_does_not_matter_anywhere(tmp_path: Path) -> None:
    loud = file_of(
        tmp_path,
        "FirstName,LASTNAME,Email,Role,GradYear,Status,IDNumber",
        "Ann,Lee,Ann.Lee@Springfield.Example,TEACHER,,ACTIVE,t-9",
    )
    (user,) = read(loud).users.values()
    assert user.external_id == "id:t-9"
    assert user.memberships[0].role is Role.TEACHER
    assert user.email == "Ann.Lee@Springfield.Example"


@pytest.mark.parametrize("wrong", ["first_name", "First Name"])
def test_2_2_a_name_that_does_not_match_exactly_refuses_the_file(
    tmp_path: Path, wrong: str
) -> None:
    error = refusal(file_of(tmp_path, HEADER.replace("firstname", wrong), ANN))
    assert isinstance(error, FileRefused)
    assert f"the column {wrong} is not known. Did you mean firstname?" in error.message


def test_2_2_an_additional_column_refuses_the_file(tmp_path: Path) -> None:
    error = refusal(file_of(tmp_path, HEADER + ",homeroom", ANN + ",12"))
    assert "the column homeroom is not known" in error.message
    assert HEADER.replace(",", ", ") in error.hint


@pytest.mark.parametrize("missing", ["firstname", "lastname", "email"])
def test_2_2_a_required_column_that_is_missing_refuses_the_file(
    tmp_path: Path, missing: str
) -> None:
    names = [name for name in HEADER.split(",") if name != missing]
    error = refusal(file_of(tmp_path, ",".join(names), "a,b,c,d,e,f"))
    assert error.exit_code == 15
    assert f"lacks the required column {missing}" in error.message


def test_2_2_a_file_without_header_is_refused_and_its_first_person_not_quoted(
    tmp_path: Path,
) -> None:
    error = refusal(file_of(tmp_path, ANN, ANN))
    assert "has no known column name in its first line" in error.message
    assert "ann" not in str(error.as_json()).lower()


def test_a_file_with_semicolons_is_refused_with_what_to_do(tmp_path: Path) -> None:
    error = refusal(file_of(tmp_path, HEADER.replace(",", ";"), ANN.replace(",", ";")))
    assert "separated by semicolons, not by commas" in error.message


def test_2_4_hyphens_and_apostrophes_are_kept(tmp_path: Path) -> None:
    reading = read_rows(tmp_path, ANN.replace("Lee", "O'Brien-Lee"))
    assert reading.users["id:t-9"].family_name == "O'Brien-Lee"


@pytest.mark.parametrize("blank", ["Ann", "Lee"])
def test_i12_one_of_the_two_names_may_be_blank(tmp_path: Path, blank: str) -> None:
    reading = read_rows(tmp_path, ANN.replace(blank, ""))
    user = reading.users["id:t-9"]
    assert {user.given_name, user.family_name} == {None, *{"Ann", "Lee"} - {blank}}
    assert reading.faults == []


def test_i12_without_any_name_a_row_is_skipped_and_told_once(tmp_path: Path) -> None:
    reading = read_rows(tmp_path, ANN.replace("Ann", "").replace("Lee", " "))
    assert reading.users == {}
    ((_, _, problem),) = reading.skipped
    assert (problem.column, problem.rule, problem.key) == ("lastname", "missing-value", "id:t-9")


def test_2_5_a_row_without_email_is_not_added(tmp_path: Path) -> None:
    reading = read_rows(tmp_path, ANN, "Bo,Ek,,student,,1,", "Cy,Fox,,student,,1,77")
    assert list(reading.users) == ["id:t-9"]
    assert reading.faults == [(3, "missing-value"), (4, "missing-value")]
    assert [problem.key for _, _, problem in reading.skipped] == [None, "id:77"]
    assert {problem.column for _, _, problem in reading.skipped} == {"email"}


@pytest.mark.parametrize("email", ["ann", "ann@", "@springfield.example", "a b@x.example", "a@b@c"])
def test_a_value_that_is_no_address_is_skipped_and_gives_no_key(tmp_path: Path, email: str) -> None:
    reading = read_rows(tmp_path, f"Ann,Lee,{email},teacher,,1,")
    assert reading.faults == [(2, "email-format")]
    assert reading.skipped[0][2].key is None
    assert email not in str(reading.skipped[0][2].as_json())


def test_2_6_the_engine_is_asked_to_bind_the_domains() -> None:
    assert UserCsv.capabilities.binds_email_domains


@pytest.mark.parametrize("role", ["admin", "teacher", "staff", "student"])
def test_2_7_four_roles_are_known(tmp_path: Path, role: str) -> None:
    reading = read_rows(tmp_path, ANN.replace("teacher", role))
    assert reading.users["id:t-9"].memberships == (Membership(role=Role(role)),)


def test_2_7_a_blank_role_is_a_student(tmp_path: Path) -> None:
    reading = read_rows(tmp_path, ANN.replace("teacher", ""))
    assert reading.users["id:t-9"].memberships[0].role is Role.STUDENT


@pytest.mark.parametrize("role", ["contact", "parent", "principal"])
def test_2_7_an_unknown_role_is_skipped_and_reported(tmp_path: Path, role: str) -> None:
    reading = read_rows(tmp_path, ANN.replace("teacher", role))
    assert reading.faults == [(2, "unknown-role")]
    assert (reading.skipped[0][2].column, reading.skipped[0][2].key) == ("role", "id:t-9")


def test_2_7_without_a_role_column_everybody_is_a_student_and_that_is_noted(
    tmp_path: Path,
) -> None:
    reading = read(file_of(tmp_path, "firstname,lastname,email", "A,B,a.b@springfield.example"))
    assert [user.memberships[0].role for user in reading.users.values()] == [Role.STUDENT]
    assert reading.notes == ("users.csv has no role column: everybody is read as a student.",)


@pytest.mark.parametrize(("year", "read_as"), [("2027", 2027), ("", None), (" 2027 ", 2027)])
def test_2_8_gradyear_has_four_digits_or_is_blank(
    tmp_path: Path, year: str, read_as: int | None
) -> None:
    reading = read_rows(tmp_path, f"A,B,a.b@springfield.example,student,{year},1,5")
    assert reading.users["id:5"].graduation_year == read_as


@pytest.mark.parametrize("year", ["27", "0", "null", "nul", "20271", "２０２７"])
def test_2_8_any_other_gradyear_is_skipped(tmp_path: Path, year: str) -> None:
    reading = read_rows(tmp_path, f"A,B,a.b@springfield.example,student,{year},1,5")
    assert reading.faults == [(2, "gradyear")]


def test_2_8_the_gradyear_of_an_adult_is_not_read(tmp_path: Path) -> None:
    reading = read_rows(tmp_path, ANN.replace(",,Active", ",0,Active"))
    assert reading.users["id:t-9"].graduation_year is None


@pytest.mark.parametrize("status", ["Active", "ACTIVE", "1", ""])
def test_2_10_active_and_1_are_active(tmp_path: Path, status: str) -> None:
    assert read_rows(tmp_path, ANN.replace("Active", status)).users["id:t-9"].enabled


@pytest.mark.parametrize("status", ["Inactive", "0", "archived"])
def test_2_10_any_other_status_is_skipped_and_the_person_stays(tmp_path: Path, status: str) -> None:
    reading = read_rows(tmp_path, ANN.replace("Active", status))
    assert reading.faults == [(2, "status")]
    assert reading.skipped[0][2].key == "id:t-9"
    assert "leave the row out" in reading.skipped[0][2].hint


def test_2_11_and_f9_the_idnumber_is_the_key_and_the_address_its_former_one(
    tmp_path: Path,
) -> None:
    reading = read_rows(tmp_path, ANN, "Bo,Ek,Bo.Ek@springfield.example,student,,1,")
    assert [(record.key, record.former_keys) for record in reading.records] == [
        ("id:t-9", ("email:ann.lee@springfield.example",)),
        ("email:bo.ek@springfield.example", ()),
    ]


# -------------------------------------------------------------------- 3: what an upload does


def test_3_2_and_3_3_a_file_speaks_for_its_roles_only() -> None:
    assert UserCsv.capabilities.scoped_by_role
    config = UserCsvConfig(path="x.csv", scope_roles=("student",))
    assert config.scope_roles == (Role.STUDENT,)


def test_3_7_with_idnumber_a_changed_address_keeps_the_key(tmp_path: Path) -> None:
    before = read_rows(tmp_path, ANN)
    after = read_rows(tmp_path, ANN.replace("ann.lee@", "ann.fox@"))
    assert list(before.users) == list(after.users)


def test_3_7_without_idnumber_a_changed_address_is_another_key(tmp_path: Path) -> None:
    row = ANN.replace("T-9", "")
    before = read_rows(tmp_path, row)
    after = read_rows(tmp_path, row.replace("ann.lee@", "ann.fox@"))
    assert list(before.users) != list(after.users)


def test_3_10_the_engine_is_asked_to_keep_addresses_unique() -> None:
    assert UserCsv.capabilities.unique_email


def test_3_11_bad_rows_are_skipped_while_the_others_are_read(tmp_path: Path) -> None:
    good = [f"A,B,p{n}@springfield.example,student,2027,1,{n}" for n in range(8)]
    reading = read_rows(
        tmp_path, *good[:4], "A,B,,student,,1,", *good[4:], ",,x@springfield.example,,,1,"
    )
    assert len(reading.users) == 8
    assert reading.faults == [(6, "missing-value"), (11, "missing-value")]


def test_a_row_of_the_wrong_width_gives_no_key(tmp_path: Path) -> None:
    reading = read_rows(tmp_path, "Lee, Jr,Ann,a@springfield.example,teacher,,1,5", "Ann,Lee", ANN)
    assert reading.faults == [(2, "too-many-fields"), (3, "too-few-fields")]
    assert [problem.key for _, _, problem in reading.skipped] == [None, None]
    assert list(reading.users) == ["id:t-9"]


def test_a_cut_file_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text(f"{HEADER}\n{ANN}\nBo,Ek,bo.ek@spr")
    error = refusal(UserCsv(UserCsvConfig(path=str(path))))
    assert isinstance(error, IncompleteFetch)


def test_a_folder_with_several_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER)
    (tmp_path / "b.csv").write_text(HEADER)
    error = refusal(UserCsv(UserCsvConfig(path=str(tmp_path))))
    assert "holds 2 CSV files: a.csv, b.csv" in error.message


def test_a_config_names_one_place_at_most() -> None:
    with pytest.raises(ValidationError, match="give only one of path and inbound"):
        UserCsvConfig(path="people.csv", inbound="drop")
    with pytest.raises(ValidationError, match="path is empty"):
        UserCsvConfig(path=" ")


def test_a_source_without_a_place_is_fed_by_uploads() -> None:
    reading = read(UserCsv(UserCsvConfig()))
    assert isinstance(reading.error, NothingNew)
    assert "fed by uploads" in reading.error.message


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                ["", "Ann", "student", "a@b.example", "A@b.example", "27", "2027", "1", "x\x00",
                 '"', "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "z" * 2000]
            ),
            min_size=6,
            max_size=8,
        ),
        max_size=8,
    )
)  # fmt: skip
def test_any_rows_end_in_people_or_in_reports(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    lines = [",".join(row) for row in rows]
    reading = read(file_of(tmp_path_factory.mktemp("f"), HEADER, *lines))
    if reading.error is None:
        assert len(reading.records) + len(reading.skipped) == reading.rows.get("users", 0)


class TestUserCsvConforms(ConnectorSuite):
    connector = UserCsv
    exempt = {  # noqa: RUF012
        "a_student_without_email_is_read": "the format requires an address in every row (2.5)",
        "unknown_words_are_tolerated_and_counted": "an unknown word skips its row (2.7, 2.10)",
        "private_data_is_dropped": "a column for it refuses the file (2.2)",
    }

    def scenario(self) -> EditedFolder:
        file = "everybody.csv"
        return EditedFolder(
            "user_csv",
            {
                Situation.EMPTY: {file: header_only},
                Situation.TRUNCATED: {file: cut},
                Situation.BAD_ROW: {file: more("Canarybird,Canarybird,nobody,student,,1,")},
            },
            people=5,
            schools=0,
            file=file,
        )
