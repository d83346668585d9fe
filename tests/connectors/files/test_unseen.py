"""What people's programs do to a file and nobody sees: read as if it had not been done (F16)."""

from __future__ import annotations

import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract.connector import FetchRequest
from connectors.files.inspection import Inspection, inspect
from connectors.files.unseen import Unseen
from connectors.user_csv import UserCsv, UserCsvConfig
from core.models import INVISIBLE
from core.storage.database import Database
from sync.engine import sync_district
from tests.kit.user_files import HEADER, active, district, people, row

ACCENTS = ["Zoë", "Ñandú", "Łukasz", "Åse", "Đặng", "François", "각시"]


def look(path: Path) -> Inspection:
    connector = UserCsv(UserCsvConfig())
    try:
        return inspect(connector, FetchRequest(file=str(path)))
    finally:
        connector.close()


def said(path: Path) -> list[tuple[str, ...]]:
    """Return what the connector reads of a file, row by row."""
    connector = UserCsv(UserCsvConfig())
    read = []
    try:
        for page in connector.pages(FetchRequest(file=str(path))):
            for raw in page.split(page.body):
                record = connector.parse("users", raw)
                assert not isinstance(record, tuple)
                user = record.user  # type: ignore[union-attr]
                assert user is not None
                read.append((record.key, user.given_name, user.family_name, user.email))  # type: ignore[union-attr]
    finally:
        connector.close()
    return read  # type: ignore[return-value]


def roster(count: int = 14) -> list[list[str]]:
    """Return the cells of a user file whose names have accents."""
    rows = [row(n, firstname=ACCENTS[n % len(ACCENTS)]).split(",") for n in range(count)]
    return [HEADER.split(","), *rows]


def text_of(cells: list[list[str]]) -> str:
    return "".join(",".join(line) + "\n" for line in cells)


def test_every_invisible_character_is_found() -> None:
    """The reader looks for the first bytes of such characters before it looks for them."""
    every = [chr(number) for number in range(0xE0100) if INVISIBLE.match(chr(number))]
    assert len(every) > 100
    for character in (*every, "\u00a0", "\u2007", "\u202f"):
        assert Unseen().cleaned(f"Zoë{character}\n", last=True) == "Zoë\n", repr(character)


ZERO_WIDTH = "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\u00ad"
HABITS = ("end mark", "nfd", "zero width", "no-break", "trailing comma", "left out", "nameless",
          "crlf", "cr", "mixed", "bom", "joined", "blank lines", "separator line",
          "blank before quotes", "text formulas", "text marks", "with a point")  # fmt: skip


WRITTEN = {"text formulas": '="{}"', "text marks": "'{}", "with a point": "{}.0"}
"""How programs write a number that is an id."""


def spoilt(draw: st.DataObject, habits: set[str]) -> bytes:
    """Return the roster as programs with these habits write it."""
    cells = roster()
    if "left out" in habits:
        for line in cells[1:]:
            line[4] = line[5] = line[6] = ""
        cells[1:] = [line[: draw.draw(st.sampled_from([3, 4, 7]))] for line in cells[1:]]
    if "zero width" in habits:
        for line in cells[1:]:
            at = draw.draw(st.integers(0, len(line[2])))
            line[2] = line[2][:at] + draw.draw(st.sampled_from(ZERO_WIDTH)) + line[2][at:]
    if "no-break" in habits:
        for line in cells[1:]:
            line[1] = f"\u00a0{line[1]}\u202f"
    for habit, way in WRITTEN.items():
        if habit in habits:
            for line in cells[1:]:
                if len(line) > 6 and line[6].isdigit():
                    line[6] = way.format(line[6])
    if "blank before quotes" in habits:
        for line in cells:
            line[1] = ' "{}"'.format(line[1].replace('"', '""'))
    if "trailing comma" in habits:
        for line in cells[1:]:
            line += [""] * draw.draw(st.integers(0, 2))
    if "nameless" in habits:
        cells[0] += ["", ""]
    lines = [",".join(line) for line in cells]
    if "blank lines" in habits:
        lines = [one for line in lines for one in (line, ",,,")]
    if "joined" in habits:
        lines.insert(len(lines) // 2, "\ufeff" + lines[0])
    if "separator line" in habits:
        lines.insert(0, draw.draw(st.sampled_from(["sep=,", '"sep=,"', "SEP=,", "sep=,,,,"])))
    ends = {"crlf": ["\r\n"], "cr": ["\r"], "mixed": ["\n", "\r\n", "\r"]}
    end = next((ends[name] for name in ends if name in habits), ["\n"])
    text = "".join(line + end[number % len(end)] for number, line in enumerate(lines))
    if "nfd" in habits:
        text = unicodedata.normalize("NFD", text)
    if "bom" in habits:
        text = "\ufeff" + text
    if "end mark" in habits:
        text += "\x1a"
    return text.encode()


@settings(max_examples=120)
@given(data=st.data(), habits=st.sets(st.sampled_from(HABITS), min_size=1))
def test_f16_what_nobody_sees_changes_nobody(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, habits: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("unseen", numbered=True)
    whole, hurt = folder / "whole.csv", folder / "hurt.csv"
    cells = roster()
    if "left out" in habits:
        for line in cells[1:]:
            line[4] = line[5] = line[6] = ""
    whole.write_text(text_of(cells), encoding="utf-8")
    hurt.write_bytes(spoilt(data, habits))
    report = look(hurt)
    assert report.error is None
    assert [one for one in report.found if one.severity == "error"] == []
    assert said(hurt) == said(whole)


def test_f16_a_line_break_in_a_column_name_is_told_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(people(range(2)).replace("firstname", '"first\nname"', 1))
    report = look(path)
    assert report.error is not None
    assert "the column first name is not known. Did you mean firstname?" in report.error.message


def test_every_line_between_quotes_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("".join(f'"{line}"\n' for line in people(range(2)).splitlines()))
    report = look(path)
    assert report.error is not None
    assert "has each line between quotes as a whole" in report.error.message
    assert report.error.exit_code == 15


NOTES = (
    "(12 rows affected)", "Total: 12", "Total Students,12,,,,,", ",,,,,Grand total,12",
    "End of report", "Generated on 2026-10-01, 14:05", "Record Count: 12", "Page 2",
)  # fmt: skip


@pytest.mark.parametrize("note", NOTES)
def test_a_note_below_the_list_is_told_and_keeps_nobody_in(
    database: Database, tmp_path: Path, note: str
) -> None:
    slug = district(database, tmp_path, 'path = "people.csv"')
    path = tmp_path / "people.csv"
    path.write_text(f"{people(range(12))}{note}\n")
    sync_district(database, slug, actor="x")
    path.write_text(f"{people(range(11))}{note}\n")
    outcome = sync_district(database, slug, actor="x")
    assert (outcome.exit_code, active(database)) == (0, 11)
    assert outcome.certificates["people"]["skipped"] == 1
    (one,) = look(path).found
    assert (one.line, one.rule) == (13, "total-line")
    assert one.hint == "Delete this line."


def test_f16_what_was_left_out_is_counted_and_told(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    cells = roster(3)
    cells[1][2] = "\u200b" + cells[1][2]
    cells[2][1] += "\u00a0"
    text = unicodedata.normalize("NFD", text_of(cells)) + "\ufeff" + HEADER + "\n\x1a"
    path.write_bytes(text.encode())
    notes = " ".join(look(path).notes)
    assert "2 invisible characters" in notes
    assert "1 no-break space" in notes
    assert "accents written as two characters" in notes
    assert "0x1A" in notes
    assert "the header stands in the middle once" in notes


def test_f16_marks_at_the_edge_of_a_stretch_belong_to_the_letter_before(tmp_path: Path) -> None:
    from connectors.files import csv_file

    path, plain = tmp_path / "people.csv", tmp_path / "plain.csv"
    text = text_of(roster(9))
    plain.write_text(text, encoding="utf-8")
    path.write_text(unicodedata.normalize("NFD", text), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for size in range(1, 40):
            patch.setattr(csv_file, "PAGE_BYTES", size)
            assert said(path) == said(plain), size


def test_f16_the_same_people_in_two_unicode_forms_are_nobody_changed(
    database: Database, tmp_path: Path
) -> None:
    slug = district(database, tmp_path, 'path = "people.csv"')
    path = tmp_path / "people.csv"
    path.write_text(text_of(roster()), encoding="utf-8")
    sync_district(database, slug, actor="x")
    path.write_text(unicodedata.normalize("NFD", text_of(roster())), encoding="utf-8")
    outcome = sync_district(database, slug, full=True, actor="x")
    assert (outcome.status, active(database)) == ("nothing_to_do", 14)


def test_a_file_joined_of_two_whose_columns_differ_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    other = ",".join(reversed(HEADER.split(",")))
    path.write_text(f"{people(range(3))}{other}\n9001,Active,2030,student,a@b.example,P,S\n")
    report = look(path)
    assert report.error is not None
    assert "line 5 is another header" in report.error.message
    assert report.error.exit_code == 15


def test_a_comma_inside_a_name_is_no_surplus_blank_cell(tmp_path: Path) -> None:
    """The row has a field too many at its end, and it is blank: but the others have slipped."""
    path = tmp_path / "people.csv"
    slipped = "Sam,Lima, Jr,sam@springfield.example,student,2030,Active,\n"
    unspaced = "Sam,Lima,Jr,sam@springfield.example,student,2030,Active,\n"
    path.write_text(people(range(2)) + slipped + unspaced)
    report = look(path)
    assert [(one.line, one.column, one.rule) for one in report.found] == [
        (4, "lastname", "too-many-fields"), (5, "", "too-many-fields"),
    ]  # fmt: skip


@pytest.mark.parametrize("column", ["lastname", "idnumber"])
def test_a_quote_that_swallows_the_next_row_takes_nobody_away(
    database: Database, tmp_path: Path, column: str
) -> None:
    slug = district(database, tmp_path, 'path = "people.csv"')
    path = tmp_path / "people.csv"
    path.write_text(people(range(6)))
    sync_district(database, slug, actor="x")
    lines = people(range(6)).splitlines()
    at = HEADER.split(",").index(column)
    for number, wrong in ((2, '"{}'), (3, '{}"')):
        cells = lines[number].split(",")
        cells[at] = wrong.format(cells[at])
        lines[number] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    outcome = sync_district(database, slug, actor="x")
    assert (outcome.exit_code, active(database)) == (12, 6)


def test_f16_a_zip_with_backslashes_reads_as_with_slashes(tmp_path: Path) -> None:
    path = tmp_path / "people.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", people(range(3)))
    content = path.read_bytes().replace(b"x", b"\\")
    path.write_bytes(content)
    with zipfile.ZipFile(path, "w") as archive:
        member = zipfile.ZipInfo("roster")
        member.filename = "roster\\people.csv"
        archive.writestr(member, people(range(3)))
    report = look(path)
    assert report.error is None
    assert report.usable == 3
