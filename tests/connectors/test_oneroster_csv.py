"""OneRoster CSV 1.1 and 1.2, with what real files do differently from the standard.

One file, because a format is one file, and both versions are read by the same tests.
"""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.contract.connector import FetchRequest, Part
from connectors.oneroster_csv import OneRosterCsv, OneRosterCsvConfig
from connectors.oneroster_standard.vocabulary import person_key
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

ONE = "oneroster_csv/one_one"
TWO = "oneroster_csv/one_two"
DELTA = "oneroster_csv/one_one_delta"


def oneroster(path: Path | str, **config: str) -> OneRosterCsv:
    return OneRosterCsv(OneRosterCsvConfig(path=str(path), **config))


def read_edited(tmp_path: Path, fixture: str, edits: dict[str, Edit | None]) -> Reading:
    reading = read(oneroster(copy_of(fixture, tmp_path, edits)))
    assert reading.error is None
    return reading


def in_columns(edit: dict[str, str]) -> Edit:
    """Rename columns of the header."""

    def renamed(text: str) -> str:
        header, rest = text.split("\n", 1)
        names = header.split(",")
        assert set(edit) <= set(names)
        return ",".join(edit.get(name, name) for name in names) + "\n" + rest

    return renamed


# ---------------------------------------------------------------------------- 1.1


def test_a_user_of_1_1_stands_in_one_row() -> None:
    connector = oneroster(FIXTURES / ONE)
    reading = read(connector)
    assert not connector.capabilities.joined
    assert reading.parts == {}
    ngozi = reading.users["u1"]
    assert (ngozi.given_name, ngozi.middle_name, ngozi.family_name) == ("Ngozi", "Ada", "Okafor")
    assert (ngozi.student_number, ngozi.staff_number) == ("90001", None)
    assert (ngozi.state_id, ngozi.grade, ngozi.username) == ("CA-77", "10", "okaforn")
    assert ngozi.memberships == (Membership(role=Role.STUDENT, school="s1", primary=True),)
    assert reading.users["u2"].email is None
    assert reading.faults == []
    assert reading.notes == ()


def test_the_first_org_of_1_1_is_the_primary_school() -> None:
    amir = read(oneroster(FIXTURES / ONE)).users["u3"]
    assert amir.memberships == (
        Membership(role=Role.TEACHER, school="s1", primary=True),
        Membership(role=Role.TEACHER, school="s2"),
    )
    assert (amir.student_number, amir.staff_number) == (None, "5001")


def test_a_disabled_user_is_read_as_not_enabled() -> None:
    reading = read(oneroster(FIXTURES / ONE))
    assert not reading.users["u4"].enabled
    assert reading.users["u1"].enabled


def test_membership_at_the_district_is_membership_at_no_school() -> None:
    reading = read(oneroster(FIXTURES / ONE))
    assert reading.users["u5"].memberships == (Membership(role=Role.ADMIN),)


def test_only_orgs_of_type_school_are_schools() -> None:
    reading = read(oneroster(FIXTURES / ONE))
    assert reading.schools == {
        "s1": NormalizedSchool(external_id="s1", name="Lincoln High", number="101"),
        "s2": NormalizedSchool(external_id="s2", name="Maple Elementary", nces_id="061234500002"),
    }
    assert reading.deleted == ["d1"]


@pytest.mark.parametrize(
    ("token", "role"),
    [
        ("student", Role.STUDENT),
        ("teacher", Role.TEACHER),
        ("administrator", Role.ADMIN),
        ("principal", Role.ADMIN),
        ("siteAdministrator", Role.ADMIN),
        ("districtAdministrator", Role.ADMIN),
        ("systemAdministrator", Role.ADMIN),
        ("aide", Role.STAFF),
        ("proctor", Role.STAFF),
        ("counselor", Role.STAFF),
        ("parent", Role.CONTACT),
        ("guardian", Role.CONTACT),
        ("relative", Role.CONTACT),
        ("Teacher", Role.TEACHER),
    ],
)
@pytest.mark.parametrize("fixture", [ONE, TWO])
def test_each_role_of_the_standard_is_one_of_ours(
    tmp_path: Path, fixture: str, token: str, role: Role
) -> None:
    edits: dict[str, Edit | None] = (
        {"users.csv": swap(",s2,student,", f",s2,{token},")}
        if fixture == ONE
        else {"roles.csv": swap("u2,primary,student", f"u2,primary,{token}")}
    )
    reading = read_edited(tmp_path, fixture, edits)
    assert reading.users["u2"].memberships == (Membership(role=role, school="s2", primary=True),)


@pytest.mark.parametrize("fixture", [ONE, TWO])
def test_a_person_with_unknown_roles_only_is_skipped(tmp_path: Path, fixture: str) -> None:
    edits: dict[str, Edit | None] = (
        {"users.csv": swap(",s2,student,", ",s2,ext:janitor,")}
        if fixture == ONE
        else {"roles.csv": swap("u2,primary,student", "u2,primary,ext:janitor")}
    )
    reading = read_edited(tmp_path, fixture, edits)
    assert "u2" not in reading.users
    (skipped,) = [problem for _, _, problem in reading.skipped]
    assert (skipped.rule, skipped.key, skipped.column) == ("unknown-role", "u2", "role")


def test_an_unknown_role_beside_a_known_one_is_counted(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": swap(",teacher,", ',"teacher,ext:dj",')})
    assert {member.role for member in reading.users["u3"].memberships} == {Role.TEACHER}
    assert reading.unknown == ["role=ext:dj"]


def test_what_might_be_a_name_is_never_told_as_unknown_vocabulary(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": swap(",teacher,", ',"teacher,Okafor",')})
    assert reading.unknown == ["role=?"]


# ---------------------------------------------------------------------------- 1.2


def test_a_user_of_1_2_is_joined_with_its_roles() -> None:
    connector = oneroster(FIXTURES / TWO)
    reading = read(connector)
    assert connector.capabilities.joined
    ngozi = reading.users["u1"]
    assert (ngozi.preferred_given_name, ngozi.person_key) == ("Zoe", "master:m-1")
    assert (ngozi.student_number, ngozi.staff_number, ngozi.grade) == ("90001", None, "10")
    assert ngozi.memberships == (Membership(role=Role.STUDENT, school="s1", primary=True),)
    mila = reading.users["u4"]
    assert (mila.enabled, mila.staff_number) == (False, "5002")
    assert mila.memberships == (Membership(role=Role.STAFF, school="s1", primary=True),)
    assert reading.notes == ()


def test_the_primary_org_of_the_user_wins_over_the_primary_role() -> None:
    amir = read(oneroster(FIXTURES / TWO)).users["u3"]
    assert amir.memberships == (
        Membership(role=Role.TEACHER, school="s1"),
        Membership(role=Role.TEACHER, school="s2", primary=True),
        Membership(role=Role.ADMIN, school="s2"),
    )


def test_without_a_primary_org_the_primary_role_tells_the_school(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, TWO, {"users.csv": swap(",,,,s2,", ",,,,,")})
    primary = [member for member in reading.users["u3"].memberships if member.primary]
    assert primary == [Membership(role=Role.TEACHER, school="s1", primary=True)]


def test_the_order_of_the_rows_of_roles_does_not_matter(tmp_path: Path) -> None:
    def turned(text: str) -> str:
        header, *rows = text.splitlines(keepends=True)
        return "".join([header, *rows[::-1]])

    edits: dict[str, Edit | None] = {"roles.csv": turned}
    assert read_edited(tmp_path, TWO, edits).users == read(oneroster(FIXTURES / TWO)).users


def test_a_user_without_roles_is_a_user_without_membership(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, TWO, {"roles.csv": swap("r2,,,u2,primary,student,,,s2,\n", "")})
    assert reading.users["u2"].memberships == ()


def test_a_role_of_nobody_makes_no_entry(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, TWO, {"roles.csv": more("r9,,,u9,primary,student,,,s1,")})
    assert "u9" not in reading.users
    assert reading.faults == []


def test_a_deleted_role_is_no_membership(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {"roles.csv": swap("r4,,", "r4,tobedeleted,")}
    roles = {
        (member.role, member.school)
        for member in read_edited(tmp_path, TWO, edits).users["u3"].memberships
    }
    assert roles == {(Role.TEACHER, "s1"), (Role.ADMIN, "s2")}


def test_a_part_can_be_stored_as_json_and_joined_by_another_instance() -> None:
    reading = read(oneroster(FIXTURES / TWO))
    for owner, parts in reading.parts.items():
        stored = [
            (stream, Part(part.owner, part.key, json.loads(json.dumps(part.data))))
            for stream, part in parts
        ]
        record = oneroster("elsewhere").combine(owner, stored)
        assert record is not None
        assert record.user == reading.users[owner]


# -------------------------------------------------------------------- who is one person


def test_a_configured_user_id_type_joins_people_and_the_master_id_wins() -> None:
    one = read(oneroster(FIXTURES / ONE, person_id_type="fed")).users
    assert (one["u1"].person_key, one["u2"].person_key) == ("userid:fed:f-1", "userid:fed:f-2")
    two = read(oneroster(FIXTURES / TWO, person_id_type="Fed")).users
    assert (two["u1"].person_key, two["u2"].person_key) == ("master:m-1", "userid:Fed:f-2")
    assert read(oneroster(FIXTURES / ONE)).users["u1"].person_key is None


def test_another_person_id_type_makes_every_row_new() -> None:
    def contexts(connector: OneRosterCsv) -> set[bytes]:
        return {page.context for page in connector.pages(FetchRequest())}

    with_type = contexts(oneroster(FIXTURES / ONE, person_id_type="Fed"))
    assert with_type.isdisjoint(contexts(oneroster(FIXTURES / ONE)))
    several = contexts(oneroster(FIXTURES / ONE, person_id_type=["Fed", "LDAP"]))
    assert several.isdisjoint(with_type)
    assert several.isdisjoint(contexts(oneroster(FIXTURES / ONE, person_id_type=["LDAP", "Fed"])))


@pytest.mark.parametrize("wrong", [7, "", " ", ["Fed", ""], [["Fed"]], {"a": "b"}])
def test_a_person_id_type_is_a_text_or_a_list_of_texts(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="person_id_type"):
        oneroster(FIXTURES / ONE, person_id_type=wrong)


@given(
    ids=st.lists(st.tuples(st.sampled_from("AaBC"), st.sampled_from("12")), max_size=5),
    types=st.lists(st.sampled_from(["A", "b", "C"]), unique=True, max_size=3),
    chance=st.randoms(),
)  # fmt: skip
def test_the_first_type_that_somebody_has_joins_whatever_the_order_of_their_ids(
    ids: list[tuple[str, str]], types: list[str], chance: random.Random
) -> None:
    key = person_key(None, ids, types)
    there = [t for t in types if t.lower() in {kind.lower() for kind, _ in ids}]
    assert (key is None) == (not there)
    if key is not None:
        assert key.startswith(f"userid:{there[0]}:")
    chance.shuffle(ids)
    assert person_key(None, ids, types) == key
    assert person_key("m", ids, types) == "master:m"


@pytest.mark.parametrize(
    ("value", "state_id"),
    [
        ("{StateID:7}", "7"),
        ('"{LDAP:x},{state_id:7}"', "7"),
        ('"{LDAP:x}, {State : a:7}"', "a:7"),
        ("7", None),
        ("{7}", None),
        ("{StateID:}", None),
    ],
)
def test_user_ids_are_split_at_the_first_colon(
    tmp_path: Path, value: str, state_id: str | None
) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": swap("{Fed:f-2}", value)})
    assert reading.users["u2"].state_id == state_id


# --------------------------------------------------------------------- bulk and delta


def test_a_delta_set_is_incremental_and_misses_nobody() -> None:
    reading = read(oneroster(FIXTURES / DELTA))
    assert list(reading.users) == ["u1"]
    assert reading.deleted == ["u4"]
    certificate = reading.certificate
    assert certificate is not None
    assert certificate.complete
    assert certificate.incremental
    assert certificate.absent_streams == {"schools", "users", "roles"}


def test_a_delta_file_needs_the_status_column(tmp_path: Path) -> None:
    folder = copy_of(DELTA, tmp_path, {"users.csv": in_columns({"status": "metadata.status"})})
    assert "users.csv lacks the column status" in refusal(oneroster(folder)).message


def test_bulk_rows_with_status_active_are_read(tmp_path: Path) -> None:
    def dated(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(line.replace(",,,", ",active,2026-01-15,", 1) for line in lines)

    reading = read_edited(tmp_path, ONE, {"users.csv": dated})
    assert reading.users == read(oneroster(FIXTURES / ONE)).users
    assert reading.certificate is not None
    assert not reading.certificate.incremental


@pytest.mark.parametrize("status", ["tobedeleted", "ToBeDeleted", "inactive"])
def test_f4_tobedeleted_in_a_bulk_file_is_the_vendors_word(tmp_path: Path, status: str) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": swap("u2,,", f"u2,{status},")})
    assert "u2" in reading.deleted
    assert "u2" not in reading.users


def test_a_manifest_alone_says_that_nothing_changed(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {
        "orgs.csv": None,
        "users.csv": None,
        "manifest.csv": lambda text: text.replace("bulk", "absent"),
    }
    reading = read_edited(tmp_path, ONE, edits)
    assert reading.pages == 0
    assert reading.certificate is not None
    assert reading.certificate.incremental
    assert reading.certificate.absent_streams == {"schools", "users", "roles"}


# ----------------------------------------------------------------- what is and is not there


@pytest.mark.parametrize(
    ("fixture", "name"),
    [(ONE, "orgs.csv"), (ONE, "users.csv"), (TWO, "orgs.csv"), (TWO, "users.csv"),
     (TWO, "roles.csv")],
)  # fmt: skip
def test_f2_a_file_that_users_are_built_from_is_gone(
    tmp_path: Path, fixture: str, name: str
) -> None:
    error = refusal(oneroster(copy_of(fixture, tmp_path, {name: None})))
    assert isinstance(error, IncompleteFetch)
    assert f"lacks {name}" in error.message


def test_f1_a_file_that_users_are_not_built_from_does_not_matter(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {
        "manifest.csv": swap("file.enrollments,absent", "file.enrollments,bulk"),
        "demographics.csv": lambda _: "",
    }
    reading = read_edited(tmp_path, ONE, edits)
    assert reading.certificate is not None
    assert reading.certificate.complete


@pytest.mark.parametrize(
    ("fixture", "name", "column"),
    [
        (ONE, "users.csv", "role"),
        (ONE, "users.csv", "sourcedId"),
        (ONE, "users.csv", "familyName"),
        (ONE, "orgs.csv", "type"),
        (TWO, "roles.csv", "userSourcedId"),
        (TWO, "users.csv", "enabledUser"),
    ],
)
def test_f2_a_missing_required_column_is_refused_by_file_and_name(
    tmp_path: Path, fixture: str, name: str, column: str
) -> None:
    folder = copy_of(fixture, tmp_path, {name: in_columns({column: f"metadata.{column}"})})
    error = refusal(oneroster(folder))
    assert isinstance(error, FileRefused)
    assert f"{name} lacks the required column {column}" in error.message


def test_a_misspelt_required_column_gets_a_suggestion(tmp_path: Path) -> None:
    folder = copy_of(ONE, tmp_path, {"users.csv": in_columns({"familyName": "familiName"})})
    assert "familyName: Did you mean familiName?" in refusal(oneroster(folder)).hint


def test_f2_a_folder_with_nothing_of_the_set_is_refused_and_says_what_it_holds(
    tmp_path: Path,
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    error = refusal(oneroster(tmp_path))
    assert error.exit_code == 15
    assert "Found: notes.txt" in error.message
    assert "users.csv" in error.hint


def test_microsoft_sds_files_are_refused_by_name(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    for name in ("School", "Student", "Teacher", "StudentEnrollment"):
        (old / f"{name}.csv").write_text("SIS ID,School SIS ID,Username\n")
    for name in ("orgs", "roles", "relationships", "userFlags"):
        (new / f"{name}.csv").write_text("sourcedId,name,type\n")
    (new / "users.csv").write_text("sourcedId,username,givenName,familyName,password\n1,a,b,c,d\n")
    for folder in (old, new, tmp_path):
        error = refusal(oneroster(folder))
        assert error.exit_code == 15
        assert "Microsoft School Data Sync (SDS)" in error.message
        assert "users.csv" in error.hint


def test_a_user_file_without_its_end_is_incomplete(tmp_path: Path) -> None:
    error = refusal(oneroster(copy_of(ONE, tmp_path, {"users.csv": cut})))
    assert isinstance(error, IncompleteFetch)
    assert "users.csv is cut in the middle" in error.message


def test_a_file_cut_in_its_header_is_incomplete_and_not_refused(tmp_path: Path) -> None:
    folder = copy_of(ONE, tmp_path, {"users.csv": lambda text: text[:60]})
    error = refusal(oneroster(folder))
    assert isinstance(error, IncompleteFetch)
    assert "cut in the middle of its first line" in error.message


def test_an_empty_file_is_incomplete(tmp_path: Path) -> None:
    error = refusal(oneroster(copy_of(ONE, tmp_path, {"users.csv": lambda _: ""})))
    assert isinstance(error, IncompleteFetch)
    assert "users.csv is empty" in error.message


def test_a_header_only_file_serves_no_page_and_leaves_the_verdict_to_the_engine(
    tmp_path: Path,
) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": header_only, "orgs.csv": header_only})
    assert reading.pages == 0
    assert reading.certificate is not None
    assert reading.certificate.absent_streams == {"roles"}


# ------------------------------------------------------------ oddities of real files (8.x)


def test_8_1_a_missing_manifest_is_noted(tmp_path: Path) -> None:
    for fixture in (ONE, TWO):
        connector = oneroster(copy_of(fixture, tmp_path / fixture, {"manifest.csv": None}))
        reading = read(connector)
        assert reading.notes == ("manifest.csv is missing: every file is read as bulk.",)
        assert reading.users == read(oneroster(FIXTURES / fixture)).users
        assert connector.capabilities.joined == (fixture == TWO)


def test_8_1_manifest_rows_come_in_any_order_quoted_and_without_source(tmp_path: Path) -> None:
    def turned(text: str) -> str:
        header, *rows = text.splitlines()
        kept = [row for row in rows[::-1] if not row.startswith("source.")]
        return "".join(
            ",".join(f'"{value}"' for value in row.split(",")) + "\r\n" for row in [header, *kept]
        )

    reading = read_edited(tmp_path, TWO, {"manifest.csv": turned})
    assert reading.notes == ()
    assert reading.users == read(oneroster(FIXTURES / TWO)).users


@pytest.mark.parametrize(
    ("mode", "said"), [("", "not listed"), ("absent", "absent"), ("full", "full")]
)
def test_8_1_an_odd_mode_is_noted_and_the_file_read_as_bulk(
    tmp_path: Path, mode: str, said: str
) -> None:
    edits: dict[str, Edit | None] = {"manifest.csv": swap("file.users,bulk", f"file.users,{mode}")}
    reading = read_edited(tmp_path, ONE, edits)
    assert reading.notes == (f"users.csv is {said} in manifest.csv; it is read as bulk.",)
    assert reading.users
    assert reading.certificate is not None
    assert not reading.certificate.incremental


def test_8_1_the_files_win_over_the_version_of_the_manifest(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {
        "manifest.csv": swap("oneroster.version,1.2", "oneroster.version,1.1")
    }
    reading = read_edited(tmp_path, TWO, edits)
    assert "manifest.csv says OneRoster 1.1; the files are read as 1.2." in reading.notes
    assert reading.users == read(oneroster(FIXTURES / TWO)).users


def test_8_1_version_1_2_1_is_read_as_1_2(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {
        "manifest.csv": swap("oneroster.version,1.2", "oneroster.version,1.2.1")
    }
    assert read_edited(tmp_path, TWO, edits).users == read(oneroster(FIXTURES / TWO)).users


def test_8_1_a_zip_with_a_folder_and_what_a_mac_leaves_behind_is_read(tmp_path: Path) -> None:
    archive = tmp_path / "roster.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for path in (FIXTURES / ONE).iterdir():
            opened.write(path, f"export/{path.name.upper()}")
            opened.writestr(f"__MACOSX/export/._{path.name}", b"\x00\x05")
    reading = read(oneroster(archive))
    assert reading.users == read(oneroster(FIXTURES / ONE)).users
    assert "The files lie in the folder export of the zip." in reading.notes
    assert "USERS.CSV is read as users.csv." in reading.notes


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("quoted", [False, True])
def test_8_2_byte_order_mark_line_ends_and_quoted_headers(
    tmp_path: Path, bom: bytes, end: bytes, quoted: bool
) -> None:
    folder = copy_of(ONE, tmp_path)
    for path in folder.iterdir():
        header, rest = path.read_bytes().split(b"\n", 1)
        if quoted:
            header = b",".join(b'"%s"' % name for name in header.split(b","))
        path.write_bytes(bom + (header + b"\n" + rest).replace(b"\n", end))
    reading = read(oneroster(folder))
    assert reading.users == read(oneroster(FIXTURES / ONE)).users
    assert reading.notes == ()


def test_8_2_extension_columns_are_tolerated(tmp_path: Path) -> None:
    def extended(text: str) -> str:
        header, *rows = text.splitlines()
        return "\n".join([f"{header},metadata.kana", *(f"{row},x" for row in rows)]) + "\n"

    reading = read_edited(tmp_path, ONE, {"users.csv": extended, "orgs.csv": extended})
    assert reading.users == read(oneroster(FIXTURES / ONE)).users
    assert reading.notes == ()


@pytest.mark.parametrize(
    ("token", "enabled"),
    [("TRUE", True), ("1", True), ("Y", True), ("", True), ("FALSE", False), ("0", False),
     ("N", False)],
)  # fmt: skip
def test_8_2_booleans_in_other_words(tmp_path: Path, token: str, enabled: bool) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": swap("u2,,,true", f"u2,,,{token}")})
    assert reading.users["u2"].enabled is enabled
    assert reading.unknown == []


def test_8_2_blanks_after_the_commas_of_a_list_are_trimmed(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": swap(",KG,", ',"xx, KG, 01",')})
    assert reading.users["u2"].grade == "KG"
    assert reading.unknown == ["grade=xx"]


def test_8_4_columns_in_another_order_are_read_by_name_and_noted(tmp_path: Path) -> None:
    def turned(text: str) -> str:
        out = io.StringIO(newline="")
        rows = [row[::-1] for row in csv.reader(io.StringIO(text))]
        csv.writer(out, lineterminator="\n").writerows(rows)
        return out.getvalue()

    reading = read_edited(tmp_path, ONE, {"users.csv": turned})
    assert reading.users == read(oneroster(FIXTURES / ONE)).users
    assert reading.notes == ("users.csv: the columns are not in the order of the standard.",)


@pytest.mark.parametrize(
    ("fixture", "name", "column", "written"),
    [
        (ONE, "users.csv", "sourcedId", "sourceID"),
        (ONE, "users.csv", "userIds", "userId"),
        (ONE, "users.csv", "grades", "grade"),
        (ONE, "users.csv", "orgSourcedIds", "orgSourcedId"),
        (ONE, "users.csv", "dateLastModified", "dataLastModified"),
        (ONE, "orgs.csv", "sourcedId", "sourceID"),
        (TWO, "users.csv", "preferredGivenName", "prefferedGivenName"),
        (TWO, "users.csv", "preferredGivenName", "preferredFirstName"),
        (TWO, "users.csv", "preferredFamilyName", "preferredLastName"),
        (TWO, "roles.csv", "sourcedId", "sourceID"),
    ],
)
def test_8_4_misspelt_columns_are_read(
    tmp_path: Path, fixture: str, name: str, column: str, written: str
) -> None:
    reading = read_edited(tmp_path, fixture, {name: in_columns({column: written})})
    right = read(oneroster(FIXTURES / fixture))
    assert reading.users == right.users
    assert reading.schools == right.schools
    assert f"{name}: {written} is read as {column}." in reading.notes


def test_8_4_missing_optional_columns_are_noted(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {
        "users.csv": in_columns({"middleName": "nickname", "agentSourcedIds": "agents"})
    }
    reading = read_edited(tmp_path, ONE, edits)
    assert reading.users["u1"].middle_name is None
    assert reading.notes == (
        "users.csv has no column middleName, agentSourcedIds.",
        "users.csv: not read, because not in the standard: nickname, agents.",
    )


def test_other_org_types_are_no_schools_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    annexes = more("x1,,,Annex,department,,d1", "x2,,,East,ext:region,,d1", "x3,,,Col,college,,d1")
    reading = read_edited(tmp_path, ONE, {"orgs.csv": annexes})
    assert sorted(reading.schools) == ["s1", "s2"]
    assert [rule for _, rule in reading.faults] == ["unknown-type"]


def test_a_parent_that_is_not_there_is_tolerated(tmp_path: Path) -> None:
    edits: dict[str, Edit | None] = {
        "orgs.csv": swap(",101,d1", ",101,d404"),
        "users.csv": swap(",s2,student", ",s404,student"),
    }
    reading = read_edited(tmp_path, ONE, edits)
    assert reading.users["u2"].memberships[0].school == "s404"
    assert reading.faults == []


# ------------------------------------------------------------------------------- bad rows


@pytest.mark.parametrize(
    ("row", "rule", "key"),
    [
        (",,,true,s1,student,x,,A,B,,,,,,,,", "missing-value", None),
        ("u9,,,true,s1,student,x,,,,,,,,,,,", "missing-value", "u9"),
        ("u9,,,true,s1,,x,,A,B,,,,,,,,", "missing-value", "u9"),
        ("u9,,,true,s1,student,x,,A,B, Jr,,,,,,,,", "too-many-fields", "u9"),
        ("u9,,,true,s1,student,x,,A", "too-few-fields", None),
        ("u9,,,true,s1,student,x,,A,B\x00,,,,,,,,", "nul", None),
        ("u9,,,true,s1,student," + "x" * 2000 + ",,A,B,,,,,,,,", "too-long", "u9"),
    ],
)
def test_f5_a_bad_row_is_skipped_with_its_line_and_its_key_if_that_is_sure(
    tmp_path: Path, row: str, rule: str, key: str | None
) -> None:
    reading = read_edited(tmp_path, ONE, {"users.csv": more(row)})
    assert reading.faults == [(8, rule)]
    problem = reading.skipped[0][2]
    assert problem.key == key
    assert problem.message
    assert len(reading.users) == 6


def test_a_role_without_user_is_skipped(tmp_path: Path) -> None:
    reading = read_edited(tmp_path, TWO, {"roles.csv": more("r9,,,,primary,student,,,s1,")})
    assert reading.faults == [(8, "missing-value")]
    assert reading.skipped[0][2].column == "userSourcedId"


def test_the_password_is_never_shown() -> None:
    connector = oneroster(FIXTURES / ONE)
    read(connector)
    row = b"u9,,,true,s1,student,x,,A,B,,,,,,,05,hunter2"
    assert "hunter2" not in str(connector.fields("users", row))
    assert connector.fields("users", row)["grades"] == "05"
    assert "hunter2" not in str(connector.parse("users", row))


@given(
    st.sampled_from([ONE, TWO]),
    st.sampled_from(["manifest.csv", "orgs.csv", "users.csv"]),
    st.binary(max_size=60) | st.sampled_from([b'"', b"\n", b",", b"\r\n\r\n", b'""', b"\xff\xfe"]),
    st.integers(0, 5000),
)
def test_any_damage_ends_in_people_or_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, fixture: str, name: str, noise: bytes, at: int
) -> None:
    folder = copy_of(fixture, tmp_path_factory.mktemp("o"))
    content = (folder / name).read_bytes()
    place = at % (len(content) + 1)
    (folder / name).write_bytes(content[:place] + noise + content[place:])
    reading = read(oneroster(folder))
    assert (reading.error is None) == (reading.certificate is not None)


SITUATIONS: dict[Situation, dict[str, Edit | None]] = {
    Situation.TRUNCATED: {"users.csv": cut},
    Situation.UNKNOWN_WORDS: {"users.csv": swap(",KG,", ",Nursery,")},
}


class TestOneRoster11Conforms(ConnectorSuite):
    connector = OneRosterCsv

    def scenario(self) -> EditedFolder:
        row = "u9,,,true,s1,student," + "x" * 2000 + ",,Canarybird,Canarybird,,,,,,,,"
        return EditedFolder(
            ONE,
            {
                **SITUATIONS,
                Situation.EMPTY: {"users.csv": header_only, "orgs.csv": header_only},
                Situation.BAD_ROW: {"users.csv": more(row)},
                Situation.PRIVATE_DATA: {"users.csv": swap(",KG,", ",KG,canarybird")},
            },
            people=6,
            schools=2,
        )


class TestOneRoster12Conforms(ConnectorSuite):
    connector = OneRosterCsv

    def scenario(self) -> EditedFolder:
        row = "u9,,,true," + "x" * 2000 + ",,Canarybird,Canarybird,,,,,,,,,,,,,,,"
        files = ("users.csv", "orgs.csv", "roles.csv")
        return EditedFolder(
            TWO,
            {
                **SITUATIONS,
                Situation.EMPTY: dict.fromkeys(files, header_only),
                Situation.BAD_ROW: {"users.csv": more(row)},
                Situation.PRIVATE_DATA: {"users.csv": swap(",KG,", ",KG,canarybird")},
            },
            people=4,
            schools=2,
        )
