"""A row that is refused never archives its person (F12)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.storage.database import Database
from sync.acts.upload import upload_file
from sync.engine import sync_district
from sync.run.outcome import Outcome
from tests.kit.user_files import HEADER, district, row

PEOPLE = 24
COLUMNS = HEADER.split(",")


def line(number: int, role: str = "student", **values: str) -> str:
    """Return the row of a person without an idnumber: the address is the key."""
    about = {"firstname": f"Ana{number}", "lastname": "Lima", "idnumber": ""} | values
    return row(number, role, **about)


def file_of(lines: Iterable[str]) -> str:
    return "".join(f"{one}\n" for one in (HEADER, *lines))


FAULTS: dict[str, Callable[[int], str]] = {
    "wrong domain": lambda n: line(n, email=f"p{n:03}@gmail.example"),
    "mistyped domain": lambda n: line(n, email=f"p{n:03}@springfeld.example"),
    "wrong domain, unknown role": lambda n: line(n, email=f"p{n}@x.example", role="wizard"),
    "another address, unknown role": lambda n: line(n, email=f"x{n}@springfield.example", role="w"),
    "another address, wrong year": lambda n: line(n, email=f"y{n}@springfield.example",
                                                  gradyear="27"),
    "another address, wrong status": lambda n: line(n, email=f"z{n}@springfield.example",
                                                    status="Gone"),
    "a number at last, wrong domain": lambda n: line(n, email=f"p{n}@x.example", idnumber=f"7{n}"),
    "no address": lambda n: line(n, email=""),
    "no address, but a comma": lambda n: line(n, email="").replace(",Lima,", ",Lima, Jr,"),
    "names in capitals, wrong domain": lambda n: line(n, email=f"p{n}@x.example",
                                                      firstname=f"ANA{n}", lastname="LIMA"),
}  # fmt: skip
HARMLESS = {
    "zero-width space": lambda n: line(n, email=f"p{n:03}\u200b@springfield.example"),
    "no-break space": lambda n: line(n, email=f"\u00a0p{n:03}@springfield.example\u00a0"),
    "trailing commas": lambda n: line(n) + ",,",
}


class Year:
    """A district whose file is read again and again, some days apart."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.path = database, folder / "people.csv"
        self.slug = district(database, folder, 'path = "people.csv"', more="")
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def sync(self, lines: Iterable[str]) -> Outcome:
        self.now += timedelta(days=9)
        self.path.write_text(file_of(lines), encoding="utf-8")
        return sync_district(self.database, self.slug, actor="x", now=lambda: self.now)

    def active(self) -> set[str]:
        with self.database.read() as connection:
            query = "SELECT given_name FROM users WHERE status = 'active'"
            return set(connection.exec_driver_sql(query).scalars())


@pytest.fixture
def year(database: Database, tmp_path: Path) -> Year:
    return Year(database, tmp_path)


@settings(max_examples=12)
@given(
    faults=st.dictionaries(st.integers(0, PEOPLE - 1), st.sampled_from(sorted(FAULTS)), max_size=4),
    harmless=st.dictionaries(
        st.integers(0, PEOPLE - 1), st.sampled_from(sorted(HARMLESS)), max_size=3
    ),
    leavers=st.sets(st.integers(0, PEOPLE - 1), max_size=2),
)
def test_f12_whoever_a_refused_row_speaks_of_stays_and_only_leavers_leave(
    year: Year, faults: dict[int, str], harmless: dict[int, str], leavers: set[int]
) -> None:
    everybody = {f"Ana{n}" for n in range(PEOPLE)}
    assert year.sync(line(n) for n in range(PEOPLE)).exit_code == 0
    assert year.active() == everybody
    leavers -= faults.keys() | harmless.keys()
    lines = [
        FAULTS[faults[n]](n) if n in faults else HARMLESS.get(harmless.get(n, ""), line)(n)
        for n in range(PEOPLE)
        if n not in leavers
    ]
    for _ in range(2):  # a second reading of the same file says the same
        outcome = year.sync(lines)
        keyless = any(fault.startswith("no address") for fault in faults.values())
        gone = set() if keyless else {f"Ana{n}" for n in leavers}
        assert year.active() == everybody - gone
        assert outcome.exit_code == (12 if keyless else 0)
    # and once the rows are right, people who are not in them have left
    year.sync(line(n) for n in range(PEOPLE) if n not in leavers)
    assert year.active() == everybody - {f"Ana{n}" for n in leavers}


def test_f12_if_nobody_has_the_names_nobody_of_the_file_leaves(year: Year) -> None:
    year.sync(line(n) for n in range(PEOPLE))
    stranger = line(99, email="p99@gmail.example")
    outcome = year.sync([*(line(n) for n in range(1, PEOPLE)), stranger])
    assert (len(year.active()), outcome.exit_code, outcome.status) == (PEOPLE, 12, "partial")
    outcome = year.sync([*(line(n) for n in range(1, PEOPLE)), stranger])
    assert (len(year.active()), outcome.exit_code) == (PEOPLE, 12)
    outcome = year.sync(line(n) for n in range(1, PEOPLE))
    assert (len(year.active()), outcome.exit_code) == (PEOPLE - 1, 0)


def test_f12_if_two_have_the_names_nobody_of_the_file_leaves(year: Year) -> None:
    twins = [line(90, firstname="Kim"), line(91, firstname="Kim")]
    year.sync([*(line(n) for n in range(PEOPLE)), *twins])
    wrong = line(90, firstname="Kim", email="p090@gmail.example")
    outcome = year.sync([*(line(n) for n in range(1, PEOPLE)), wrong, twins[1]])
    assert (len(year.active()), outcome.exit_code) == (PEOPLE + 1, 12), "24 others and one Kim"
    with year.database.read() as connection:
        query = "SELECT COUNT(*) FROM users WHERE status = 'active' AND given_name = 'Kim'"
        assert connection.exec_driver_sql(query).scalar_one() == 2


def test_f12_a_number_that_is_new_needs_no_names(year: Year) -> None:
    """A row with an idnumber of its own is nobody else's: leavers leave although it is refused."""
    year.sync(line(n) for n in range(PEOPLE))
    stranger = line(99, email="p99@gmail.example", idnumber="12345")
    outcome = year.sync([*(line(n) for n in range(1, PEOPLE)), stranger])
    assert (len(year.active()), outcome.exit_code) == (PEOPLE - 1, 0)


def test_f12_the_upload_says_so_and_its_report_names_the_line(year: Year, tmp_path: Path) -> None:
    year.sync(line(n) for n in range(PEOPLE))
    path = tmp_path / "given.csv"
    lines = [*(line(n) for n in range(1, PEOPLE)), line(0, email="p000@gmail.example")]
    path.write_text(file_of(lines))
    done = upload_file(year.database, year.slug, path, actor="x")
    assert len(year.active()) == PEOPLE
    assert [(one.line, one.rule) for one in done.found] == [(PEOPLE + 1, "email-domain")]


CLEVER = {
    "schools.csv": "School_id,School_name\n1,Lincoln\n2,Douglass\n",
    "teachers.csv": "School_id,Teacher_id,Last_name,First_name\n1,t1,Park,Dee\n",
}
STUDENTS = "School_id,Student_id,Last_name,First_name,Grade,Username\n"


def test_f12_a_student_who_moves_to_another_school_by_a_bad_row_stays(
    database: Database, tmp_path: Path
) -> None:
    slug = district(database, tmp_path, 'path = "set"', connector="clever_csv")
    folder = tmp_path / "set"
    folder.mkdir()
    for name, content in CLEVER.items():
        (folder / name).write_text(content)
    students = [f"1,s{n},Lima,Ana{n},9,a{n}\n" for n in range(12)]
    (folder / "students.csv").write_text(STUDENTS + "".join(students))
    assert sync_district(database, slug, actor="x").exit_code == 0
    students[3] = f"2,s3,Lima,Ana3,9,{'x' * 2000}\n"
    del students[7]
    (folder / "students.csv").write_text(STUDENTS + "".join(students))
    for _ in range(2):
        assert sync_district(database, slug, actor="x").exit_code == 0
        with database.read() as connection:
            query = "SELECT given_name FROM users WHERE status = 'archived'"
            assert list(connection.exec_driver_sql(query).scalars()) == ["Ana7"]
