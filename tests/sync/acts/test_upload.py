"""Uploads: one call from a file to a plan, with a report of every line that is wrong."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from core.errors import FileRefused, UsageError
from core.storage.database import Database
from rostersync.service.due import Due
from rostersync.service.run_one import run_due
from rostersync.service.service import Service
from sync.acts.approval import apply_plan
from sync.acts.upload import Uploaded, read_waiting, upload_file
from sync.engine import sync_district
from sync.rules.return_guard import SeasonState, paused_by_hand
from sync.run.find import district_row
from sync.sources.received_files import uploads
from tests.kit.user_files import HEADER, active, district, people, row

PAUSE = '[[district.pause]]\nstart = "2026-06-15"\nend = "2026-08-10"\n'


def summer() -> datetime:
    return datetime(2026, 7, 1, 12, tzinfo=UTC)


def autumn() -> datetime:
    return datetime(2026, 9, 1, 12, tzinfo=UTC)


@pytest.fixture
def slug(database: Database, tmp_path: Path) -> str:
    return district(database, tmp_path)


def give(
    database: Database, folder: Path, content: str | bytes, name: str = "people.csv", **how: Any
) -> Uploaded:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return upload_file(database, "springfield", path, actor="secretary", **how)


def listed(database: Database) -> list[dict[str, Any]]:
    with database.read() as connection:
        return list(uploads(connection, district_row(connection, "springfield")))


def faults(done: Uploaded) -> list[tuple[int | None, str, str]]:
    return [(one.line, one.column, one.rule) for one in done.found]


# ----------------------------------------------------------------------------- the main job


@pytest.mark.usefixtures("slug")
def test_flex_4_3_an_upload_is_applied_and_listed_as_processed(
    database: Database, tmp_path: Path
) -> None:
    done = give(database, tmp_path, people(range(5)))
    assert (done.status, done.outcome.status, done.outcome.exit_code) == ("PROCESSED", "applied", 0)
    assert active(database) == 5
    (one,) = listed(database)
    assert one["title"] == "people.csv"
    assert one["type"] == "user_csv"
    assert one["actor"] == "secretary"
    assert one["counts"] == {"rows": 5, "usable": 5, "errors": 0, "warnings": 0}
    assert len(one["content_hash"]) == 64
    with database.read() as connection:
        kinds = connection.exec_driver_sql("SELECT kind FROM plans").scalars().all()
    assert kinds == ["upload"]


@pytest.mark.usefixtures("slug")
def test_flex_3_11_ten_rows_two_bad_is_processed_with_eight_applied(
    database: Database, tmp_path: Path
) -> None:
    bad = row(20, gradyear="27") + "\n" + row(21, email="") + "\n"
    done = give(database, tmp_path, people(range(8)) + bad)
    assert (done.status, active(database)) == ("PROCESSED", 8)
    assert faults(done) == [(10, "gradyear", "gradyear"), (11, "email", "missing-value")]
    assert all(one.hint for one in done.found)


@pytest.mark.usefixtures("slug")
def test_flex_4_4_a_file_of_wrong_domains_ends_processed_and_changes_nobody(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, people(range(5)))
    wrong = people(range(5)).replace("springfield.example", "shelbyville.example")
    done = give(database, tmp_path, wrong)
    assert (done.status, active(database)) == ("PROCESSED", 5)
    assert done.outcome.exit_code == 15, "the uploader is told, although it was processed"
    assert {one.rule for one in done.found} == {"email-domain"}
    assert [one.line for one in done.found] == [2, 3, 4, 5, 6]
    assert done.found[0].value == "p…@shelbyville.example"


@pytest.mark.usefixtures("slug")
@pytest.mark.parametrize(
    ("content", "code"),
    [("first_name,lastname,email\nA,B,a@springfield.example\n", 15), ("", 15), (HEADER + "\n", 15),
     (people(range(3)) + "Sam,Cut", 15), ("nothing known\n1\n", 15)],
)  # fmt: skip
def test_f9_a_file_that_cannot_be_read_ends_failed_with_15_and_changes_nobody(
    database: Database, tmp_path: Path, content: str, code: int
) -> None:
    give(database, tmp_path, people(range(5)))
    done = give(database, tmp_path, content)
    assert (done.status, done.outcome.exit_code, active(database)) == ("FAILED", code, 5)
    assert listed(database)[0]["note"]


@pytest.mark.usefixtures("slug")
def test_f5_a_row_without_a_key_is_processed_and_nobody_leaves(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, people(range(5)))
    nameless = row(9, email="", idnumber="") + "\n"
    done = give(database, tmp_path, people(range(4)) + nameless)
    assert (done.status, done.outcome.exit_code, active(database)) == ("PROCESSED", 0, 5)
    assert faults(done) == [(6, "email", "missing-value")]


@pytest.mark.usefixtures("slug")
def test_f6_a_file_that_shrinks_past_the_limits_is_held(database: Database, tmp_path: Path) -> None:
    give(database, tmp_path, people(range(40)))
    done = give(database, tmp_path, people(range(25)))
    assert (done.status, done.outcome.exit_code, active(database)) == ("PROCESSED", 10, 40)


@pytest.mark.usefixtures("slug")
def test_f6_flex_3_3_the_student_file_archives_no_adult(database: Database, tmp_path: Path) -> None:
    give(database, tmp_path, people(range(20)), "students.csv")
    give(database, tmp_path, people(range(50, 60), "teacher"), "adults.csv")
    assert active(database) == 30
    give(database, tmp_path, people(range(19)), "students.csv")
    assert active(database) == 29


def test_a_source_may_take_whole_files_only(database: Database, tmp_path: Path) -> None:
    district(database, tmp_path, 'bad_rows = "refuse"')
    done = give(database, tmp_path, people(range(5)) + row(9, role="wizard") + "\n")
    assert (done.status, done.outcome.exit_code, active(database)) == ("FAILED", 15, 0)
    assert faults(done) == [(7, "role", "unknown-role")]


# ------------------------------------------------------------------------------- a dry run


@pytest.mark.usefixtures("slug")
def test_an_upload_may_be_looked_at_first(database: Database, tmp_path: Path) -> None:
    done = give(database, tmp_path, people(range(5)), dry=True)
    assert (done.status, done.outcome.status, active(database)) == ("PROCESSED", "planned", 0)
    sync_district(database, "springfield", actor="nightly")
    assert active(database) == 0, "a file that was only looked at is not applied by the next sync"
    assert apply_plan(database, done.outcome.plan_ids[0], actor="x").status == "applied"
    assert active(database) == 5


@pytest.mark.usefixtures("slug")
def test_a_file_that_was_looked_at_and_left_takes_nobody_away(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, people(range(20)))
    give(database, tmp_path, people(range(18)), dry=True)
    sync_district(database, "springfield", actor="nightly")
    assert active(database) == 20
    give(database, tmp_path, people(range(19)))
    assert active(database) == 19


# ---------------------------------------------------------------------------------- pauses


def test_s1_flex_4_3_in_a_pause_uploads_wait_and_the_newest_is_read_at_its_end(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path, more=PAUSE)
    for count in (3, 4, 5):
        done = give(database, tmp_path, people(range(count)), now=summer)
        assert (done.status, done.outcome.status, done.outcome.exit_code) == (
            "PENDING",
            "paused",
            0,
        )
    give(database, tmp_path, people(range(50, 52), "teacher"), "adults.csv", now=summer)
    assert read_waiting(database, "springfield", now=summer)[0].status == "PENDING"
    assert active(database) == 0
    done_later = read_waiting(database, "springfield", now=autumn)
    assert [one.status for one in done_later] == ["PROCESSED", "PROCESSED"]
    assert active(database) == 7
    assert [one["status"] for one in listed(database)] == ["PROCESSED"] * 4
    notes = [one["note"] for one in listed(database) if one["note"]]
    assert len(notes) == 2
    assert all("came later" in note for note in notes)
    assert read_waiting(database, "springfield", now=autumn) == []


class Done:
    """A process that has ended well."""

    def poll(self) -> int:
        return 0

    def kill(self) -> None: ...

    def wait(self, timeout: float | None = None) -> int:
        return 0


@pytest.mark.parametrize("times", ["", 'sync_times = ["05:00", "14:00"]\n'])
def test_s1_an_upload_that_waits_through_a_pause_is_read_by_the_service_at_its_end(
    database: Database, tmp_path: Path, times: str
) -> None:
    district(database, tmp_path, more=times + PAUSE)
    give(database, tmp_path, people(range(3)), now=summer)
    now = [summer()]

    def launch(due: Due) -> Done:
        run_due(database, due.slug, due.at, now=lambda: now[0], send=lambda *_: True)
        return Done()

    service = Service(database, launch=launch, now=lambda: now[0])
    for day, there in (("2026-07-01", 0), ("2026-08-10", 0), ("2026-08-11", 3), ("2026-08-12", 3)):
        now[0] = datetime.fromisoformat(f"{day}T22:00:00+00:00")
        service.tick()
        assert active(database) == there, day
    (one,) = listed(database)
    assert one["status"] == "PROCESSED"


def test_an_upload_may_be_asked_for_during_a_pause(database: Database, tmp_path: Path) -> None:
    district(database, tmp_path, more=PAUSE)
    done = give(database, tmp_path, people(range(3)), now=summer, during_pause=True)
    assert (done.status, active(database)) == ("PROCESSED", 3)


# -------------------------------------------------------------------------- what is kept


@pytest.mark.usefixtures("slug")
def test_the_original_is_kept_encrypted_and_only_for_a_week(
    database: Database, tmp_path: Path
) -> None:
    give(database, tmp_path, people(range(3)))
    with database.read() as connection:
        kept = connection.exec_driver_sql("SELECT original FROM uploads").scalar_one()
    assert b"springfield" not in bytes(kept)
    later = lambda: datetime(2099, 1, 1, tzinfo=UTC)  # noqa: E731
    give(database, tmp_path, people(range(3)), now=later)
    assert [one["original_kept"] for one in listed(database)] == [True, False]


@pytest.mark.usefixtures("slug")
def test_findings_and_notes_hold_no_name_and_no_address(database: Database, tmp_path: Path) -> None:
    done = give(
        database, tmp_path,
        people(range(3)) + row(4, lastname="Canarybird", email="canarybird", gradyear="x") + "\n",
    )  # fmt: skip
    assert "anarybird" not in repr(done)
    assert "anarybird" not in repr(listed(database))


# ------------------------------------------------------------------------------ which type


@pytest.mark.usefixtures("slug")
def test_flex_4_2_the_type_is_found_from_the_headers(database: Database, tmp_path: Path) -> None:
    done = give(database, tmp_path, people(range(3)), "anything at all.csv")
    assert done.source == "people"
    flex = "crd_id,first_name,last_name,email\n1,A,B,a@springfield.example\n"
    with pytest.raises(UsageError, match="is a finra_flex file, and springfield has no source"):
        give(database, tmp_path, flex, "people.csv")


def test_of_two_sources_that_fit_one_must_be_named(database: Database, tmp_path: Path) -> None:
    second = (
        '[[district.source]]\nname = "adults"\nconnector = "user_csv"\nprecedence = 2\n'
        "[district.source.config]\n"
    )
    district(database, tmp_path, second)
    with pytest.raises(UsageError, match="Several sources take such a file"):
        give(database, tmp_path, people(range(3)))
    assert give(database, tmp_path, people(range(3)), source="adults").source == "adults"


@pytest.mark.usefixtures("slug")
def test_a_workbook_is_read_like_a_csv_with_its_own_row_numbers(
    database: Database, tmp_path: Path
) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(HEADER.split(","))
    sheet.append(["Sam", "Person", "p1@springfield.example", "student", 2030, "Active", 9001])
    sheet.append([])
    sheet.append(["Kim\nAnn", "Person", "p2@springfield.example", "student", 2030.0, 1, "0012"])
    sheet.append(["Lee", "Person", "p3@springfield.example", "student", "=D1", "Active", "9003"])
    sheet.append(["Joe", "Person", "p4@springfield.example", "student", date(2030, 6, 1), 1, 4])
    book.save(tmp_path / "people.xlsx")
    done = upload_file(database, "springfield", tmp_path / "people.xlsx", actor="x")
    assert (done.status, active(database)) == ("PROCESSED", 2)
    assert [(line, rule) for line, _, rule in faults(done) if rule != "leading-zeros"] == [
        (5, "formula"), (6, "gradyear"),
    ]  # fmt: skip
    with database.read() as connection:
        numbers = connection.exec_driver_sql("SELECT student_number FROM users").scalars().all()
    assert sorted(numbers) == ["0012", "9001"]


@pytest.mark.usefixtures("slug")
@pytest.mark.parametrize("damage", ["cut", "nonsense", "bomb"])
def test_a_damaged_or_hostile_workbook_is_refused(
    database: Database, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "people.xlsx"
    openpyxl.Workbook().save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "nonsense":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("xl/workbook.xml", "<not><closed>")
    else:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/sharedStrings.xml", b"\0" * (80 << 20))
    done = upload_file(database, "springfield", path, actor="x")
    assert (done.status, done.outcome.exit_code) == ("FAILED", 15)


@pytest.mark.usefixtures("slug")
def test_a_folder_may_be_given(database: Database, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "people.csv").write_text(people(range(3)))
    assert upload_file(database, "springfield", tmp_path / "set", actor="x").status == "PROCESSED"


def test_what_is_wrong_only_when_rows_are_joined_is_in_the_report_too(
    database: Database, tmp_path: Path
) -> None:
    district(database, tmp_path, connector="clever_csv")
    files = {
        "schools.csv": "School_id,School_name\n1,Lincoln High\n",
        "students.csv": "School_id,Student_id,Last_name,First_name\n1,s1,Person,Sam\n9,s2,P,Kim\n",
        "teachers.csv": "School_id,Teacher_id,Last_name,First_name\n1,t1,Person,Lee\n",
    }
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    done = upload_file(database, "springfield", tmp_path / "set.zip", actor="x")
    with database.read() as connection:
        kept = connection.exec_driver_sql("SELECT COUNT(*) FROM findings").scalar_one()
    assert done.status == "PROCESSED"
    assert len([one for one in done.found if one.severity == "error"]) == kept


@pytest.mark.usefixtures("slug")
def test_a_file_that_is_not_there_is_wrong_usage(database: Database, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file"):
        upload_file(database, "springfield", tmp_path / "nowhere.csv", actor="x")


def test_a_paused_season_state_is_a_pause(database: Database, tmp_path: Path) -> None:
    slug = district(database, tmp_path)
    today = datetime.now(UTC).astimezone(ZoneInfo("America/Chicago")).date()
    state = paused_by_hand(SeasonState(), today)
    with database.write() as connection:
        from sqlalchemy import text

        connection.execute(
            text("UPDATE districts SET season_state = :s WHERE slug = :d"),
            {"s": state.model_dump_json(), "d": slug},
        )
    done = give(database, tmp_path, people(range(3)))
    assert done.status == "PENDING"
    assert not isinstance(done.outcome.error, FileRefused)
