"""Reading from a drop directory on this machine.

One file, because growing files and crashes are met on the way of the main job.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import col, select

from connectors.files.dropped import tidying
from connectors.files.dropped.drop_folder import LocalInbox
from connectors.files.dropped.inbox import Entry
from connectors.files.dropped.pickup import Rules, pick_up
from connectors.files.dropped.tidying import JOURNAL, LOOKED_AT
from core.errors import ConfigError, IncompleteFetch, NothingNew
from core.failpoints import at_failpoints
from core.storage.database import Database
from core.storage.tables import Fetch
from sync.engine import plan_district, sync_district
from sync.run.outcome import Outcome
from tests.kit.user_files import HEADER, active, district, people, row

pytestmark = pytest.mark.any_store


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def slug(database: Database, tmp_path: Path, drop: Path) -> str:
    return district(database, tmp_path, 'inbound = "drop"\nsettle_seconds = 0')


def put(drop: Path, name: str, content: str, age: float = 0) -> Path:
    path = drop / name
    path.write_text(content)
    when = 1_700_000_000 - age
    os.utime(path, (when, when))
    return path


def left(drop: Path) -> list[str]:
    """Return what still waits in the directory."""
    return sorted(path.name for path in drop.iterdir() if path.is_file())


def finished(drop: Path, where: str) -> dict[str, str]:
    """Return the files under processed/ or failed/, by name, with their content."""
    return {
        path.name: path.read_text(errors="replace")
        for path in sorted((drop / where).glob("*/*"))
        if path.is_file()
    }


def sync(database: Database, slug: str) -> Outcome:
    return sync_district(database, slug, actor="nightly")


# ------------------------------------------------------------------------------- the main job


def test_a_dropped_file_is_read_and_moved_away_with_its_report(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "people.csv", people(range(5)) + row(7, gradyear="soon") + "\n")
    outcome = sync(database, slug)
    assert (outcome.status, active(database)) == ("applied", 5)
    assert left(drop) == []
    moved = finished(drop, "processed")
    assert sorted(moved) == ["people.csv", "report.csv"]
    assert "people.csv,7,gradyear,gradyear,error," in moved["report.csv"]
    assert "springfield.example" not in moved["report.csv"], "a report holds no personal data"


def test_f7_a_directory_without_a_new_set_is_nothing_to_do(
    database: Database, slug: str, drop: Path
) -> None:
    for _ in range(2):
        outcome = sync(database, slug)
        assert (outcome.status, outcome.exit_code) == ("nothing_to_do", 0)
    put(drop, "people.csv", people(range(5)))
    assert sync(database, slug).status == "applied"
    assert sync(database, slug).status == "nothing_to_do"
    assert active(database) == 5


def test_a_directory_without_a_new_set_does_not_count_as_fresh(
    database: Database, slug: str, drop: Path
) -> None:
    def times() -> tuple[object, ...]:
        with database.read() as connection:
            query = "SELECT complete_at, full_at, evidence_serial FROM sources"
            return tuple(connection.exec_driver_sql(query).one())

    put(drop, "people.csv", people(range(5)))
    sync(database, slug)
    before = times()
    sync(database, slug)
    assert times() == before


def test_a_missing_directory_is_a_mistake_in_the_configuration(
    database: Database, tmp_path: Path
) -> None:
    slug = district(database, tmp_path, 'inbound = "nowhere"')
    outcome = sync(database, slug)
    assert outcome.exit_code == 2
    assert isinstance(outcome.error, ConfigError)


def test_a_refused_file_goes_to_failed_and_the_report_says_why(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "people.csv", "First Name,lastname,email\nSam,Person,s@springfield.example\n")
    outcome = sync(database, slug)
    assert outcome.exit_code == 15
    assert left(drop) == []
    report = finished(drop, "failed")["report.csv"]
    assert "First Name is not known" in report
    assert "Did you mean firstname" in report


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by which a set has its looks, to be set forward."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(tidying.time, "time", lambda: now[0])
    return now


@pytest.mark.parametrize("content", [HEADER + "\n", people(range(3)) + "Sam,Cut", ""])
def test_f17_a_cut_or_empty_file_changes_nobody_and_is_set_aside_after_looks(
    database: Database, slug: str, drop: Path, clock: list[float], content: str
) -> None:
    put(drop, "people.csv", people(range(5)))
    sync(database, slug)
    put(drop, "people.csv", content)
    for wait in (0, 300, 299, 0):
        clock[0] += wait
        outcome = sync(database, slug)
        assert (outcome.exit_code, active(database)) == (12, 5)
        assert left(drop) == [LOOKED_AT, "people.csv"]
    clock[0] += 1
    assert sync(database, slug).exit_code == 12
    assert (left(drop), active(database)) == ([], 5)
    assert "people.csv" in finished(drop, "failed")


def test_f17_a_file_that_grows_has_its_looks_anew(
    database: Database, slug: str, drop: Path, clock: list[float]
) -> None:
    for size in range(6, 1, -1):
        put(drop, "people.csv", people(range(5))[: -size * 5])
        clock[0] += 700
        assert sync(database, slug).exit_code == 12
        assert "people.csv" in left(drop)
    put(drop, "people.csv", people(range(5)))
    assert sync(database, slug).status == "applied"
    assert (left(drop), active(database)) == ([], 5)


def test_f17_a_zip_that_is_written_on_after_it_was_set_aside_comes_back(
    database: Database, slug: str, drop: Path, clock: list[float]
) -> None:
    with zipfile.ZipFile(drop / "whole.zip", "w") as archive:
        archive.writestr("people.csv", people(range(5)))
    whole = (drop / "whole.zip").read_bytes()
    (drop / "whole.zip").unlink()
    with (drop / "people.zip").open("wb", buffering=0) as slow:
        slow.write(whole[:100])
        for _ in range(3):
            assert sync(database, slug).exit_code == 12
            clock[0] += 301
        assert "people.zip" not in left(drop), "it stalled for too long"
        assert sync(database, slug).exit_code == 0
        slow.write(whole[100:])
    assert sync(database, slug).status == "applied"
    assert (left(drop), active(database)) == ([], 5)
    assert "people.zip" in finished(drop, "processed")


def test_a_plan_takes_the_file_and_the_next_sync_applies_what_it_said(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "people.csv", people(range(5)))
    assert plan_district(database, slug, actor="x").status == "planned"
    assert (left(drop), active(database)) == ([], 0)
    assert sync(database, slug).status == "applied"
    assert active(database) == 5


# --------------------------------------------------------------------- which set, and when


def test_the_newest_of_several_files_of_one_series_is_read(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "people_2026-11-01.csv", people(range(3)), age=200)
    put(drop, "people_2026-11-02.csv", people(range(6)), age=100)
    sync(database, slug)
    assert (active(database), left(drop)) == (6, [])
    assert {"people_2026-11-01.csv", "people_2026-11-02.csv"} <= finished(drop, "processed").keys()
    assert sync(database, slug).status == "nothing_to_do"
    assert active(database) == 6


def test_f6_a_student_file_and_an_adult_file_are_read_one_after_the_other(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "students.csv", people(range(5)), age=10)
    put(drop, "adults.csv", people(range(20, 24), "teacher"))
    sync(database, slug)
    assert active(database) == 5
    sync(database, slug)
    assert (active(database), left(drop)) == (9, [])


def test_a_damaged_newest_zip_gives_way_to_a_whole_older_one(
    database: Database, slug: str, drop: Path
) -> None:
    for name, count in (("people1.zip", 4), ("people2.zip", 6)):
        with zipfile.ZipFile(drop / name, "w") as archive:
            archive.writestr("people.csv", people(range(count)))
    os.utime(drop / "people1.zip", (1_700_000_000, 1_700_000_000))
    whole = (drop / "people2.zip").read_bytes()
    (drop / "people2.zip").write_bytes(whole[: len(whole) // 2])
    outcome = sync(database, slug)
    assert (outcome.status, active(database)) == ("applied", 4)
    assert left(drop) == [LOOKED_AT, "people2.zip"], "it may still be on its way"
    assert "people1.zip" in finished(drop, "processed")
    (drop / "people2.zip").write_bytes(whole)
    sync(database, slug)
    assert (active(database), left(drop)) == (6, [])


@pytest.mark.parametrize("name", ["people.csv.part", "people.csv.filepart", ".people.csv", "a.txt"])
def test_what_is_still_being_uploaded_or_is_no_roster_is_left_alone(
    database: Database, slug: str, drop: Path, name: str
) -> None:
    put(drop, name, people(range(5)))
    assert sync(database, slug).status == "nothing_to_do"
    assert left(drop) == [name]


def test_with_a_marker_nothing_is_read_before_it_is_there(
    database: Database, tmp_path: Path, drop: Path
) -> None:
    slug = district(database, tmp_path, 'inbound = "drop"\nready_marker = "READY"')
    put(drop, "people.csv", people(range(5)))
    assert sync(database, slug).status == "nothing_to_do"
    put(drop, "READY", "")
    assert sync(database, slug).status == "applied"
    assert left(drop) == [], "the marker vouches for one set only"


def test_loose_files_of_a_set_wait_for_the_missing_ones(
    database: Database, tmp_path: Path, drop: Path
) -> None:
    slug = district(
        database, tmp_path, 'inbound = "drop"\nsettle_seconds = 0', connector="clever_csv"
    )
    put(drop, "schools.csv", "School_id,School_name\n1,Lincoln High\n")
    put(drop, "students.csv", "School_id,Student_id,Last_name,First_name\n1,s1,Person,Sam\n")
    outcome = sync(database, slug)
    assert (outcome.exit_code, left(drop)) == (12, ["schools.csv", "students.csv"])
    put(drop, "teachers.csv", "School_id,Teacher_id,Last_name,First_name\n1,t1,Person,Kim\n")
    assert sync(database, slug).status == "applied"
    assert left(drop) == []


def test_a_link_in_the_directory_is_not_followed(
    database: Database, slug: str, drop: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "elsewhere.csv"
    secret.write_text(people(range(5)))
    (drop / "people.csv").symlink_to(secret)
    assert sync(database, slug).status == "nothing_to_do"
    assert secret.exists()


# ------------------------------------------------------------------- growing, twice, skewed


class Growing(LocalInbox):
    """A directory in which a file grows between two looks, or while it is copied."""

    def __init__(self, folder: Path, *, while_copying: bool = False) -> None:
        super().__init__(folder)
        self.while_copying = while_copying

    def grow(self, _seconds: float = 0) -> None:
        with (self.folder / "people.csv").open("a") as file:
            file.write(row(99) + "\n")

    def copy(self, entry: Entry, to: Path) -> None:
        if self.while_copying:
            self.grow()
        super().copy(entry, to)


def test_a_file_that_still_grows_is_not_picked_up(drop: Path) -> None:
    put(drop, "people.csv", people(range(5)))
    inbox = Growing(drop)
    with pytest.raises(NothingNew):
        pick_up(inbox, Rules(), sleep=inbox.grow)


def test_a_file_that_grows_while_it_is_copied_is_not_read(drop: Path) -> None:
    put(drop, "people.csv", people(range(5)))
    with pytest.raises(IncompleteFetch, match="still being written"):
        pick_up(Growing(drop, while_copying=True), Rules(settle_seconds=0))


@pytest.mark.parametrize("skew", [-10 * 365 * 86400, 10 * 365 * 86400])
def test_a_clock_that_is_years_off_does_not_matter(
    database: Database, slug: str, drop: Path, skew: float
) -> None:
    put(drop, "people.csv", people(range(5)), age=skew)
    assert sync(database, slug).status == "applied"
    assert left(drop) == []


def test_the_same_file_sent_again_is_known_by_its_content(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "people.csv", people(range(5)))
    sync(database, slug)
    put(drop, "people_again.csv", people(range(5)))
    outcome = sync(database, slug)
    assert (outcome.status, left(drop)) == ("nothing_to_do", [])
    assert outcome.certificates["people"]["unchanged"] is True


def test_a_file_replaced_while_it_was_read_is_not_moved_away_unread(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "people.csv", people(range(5)))

    def replace_it(name: str) -> None:
        if name == "settle.kept":
            put(drop, "people.csv", people(range(8)), age=-50)

    with at_failpoints(replace_it):
        sync(database, slug)
    assert (active(database), left(drop)) == (5, ["people.csv"])
    sync(database, slug)
    assert (active(database), left(drop)) == (8, [])


# -------------------------------------------------------------------------------- crashes


class Crash(BaseException):
    """The program ends here."""


POINTS = ("evidence.committed", "settle.kept", "pickup.report", "pickup.journal", "pickup.moved")


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_picks_nothing_up_twice(
    database: Database, tmp_path: Path, drop: Path, point: str
) -> None:
    slug = district(
        database, tmp_path, 'inbound = "drop"\nsettle_seconds = 0', connector="clever_csv"
    )
    put(drop, "schools.csv", "School_id,School_name\n1,Lincoln High\n")
    put(drop, "students.csv", "School_id,Student_id,Last_name,First_name\n1,s1,Person,Sam\n")
    put(drop, "teachers.csv", "School_id,Teacher_id,Last_name,First_name\n1,t1,Person,Kim\n")

    def crash(name: str) -> None:
        if name == point:
            raise Crash

    with at_failpoints(crash), pytest.raises(Crash):
        sync(database, slug)
    for _ in range(2):
        assert sync(database, slug).exit_code == 0
    assert active(database) == 2
    assert left(drop) == [], "the move that was begun is ended"
    assert not (drop / JOURNAL).exists()
    moved = finished(drop, "processed")
    assert {"schools.csv", "students.csv", "teachers.csv", "report.csv"} <= moved.keys()
    with database.read() as connection:
        fetches = connection.execute(select(col(Fetch.certificate))).scalars().all()
    assert [one["unchanged"] for one in fetches].count(False) == 1, "it was read once"


def test_after_a_crash_the_report_still_names_the_lines(
    database: Database, slug: str, drop: Path
) -> None:
    put(drop, "people.csv", people(range(5)) + row(7, gradyear="soon") + "\n")

    def crash(name: str) -> None:
        if name == "settle.kept":
            raise Crash

    with at_failpoints(crash), pytest.raises(Crash):
        sync(database, slug)
    sync(database, slug)
    assert "people.csv,7,gradyear" in finished(drop, "processed")["report.csv"]


def test_a_forged_journal_moves_nothing_out_of_the_directory(drop: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim.csv"
    victim.write_text("x")
    put(drop, JOURNAL, '{"folder": "../..", "files": [["../victim.csv", 1, 1.0]]}')
    with pytest.raises(NothingNew):
        pick_up(LocalInbox(drop), Rules(settle_seconds=0))
    assert victim.exists()


@pytest.fixture(autouse=True)
def _no_copy_is_left_behind(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert list(folder.glob("rostersync-*")) == [], "no copy of a roster stays on the disk"
