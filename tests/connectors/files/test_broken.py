"""Two hundred broken files: each report has the right lines, and is enough to repair the file."""

from __future__ import annotations

import csv
import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from connectors.contract.connector import FetchRequest
from connectors.files.inspection import Found, Inspection, inspect
from connectors.user_csv import UserCsv, UserCsvConfig
from tests.kit.user_files import HEADER, row

DOMAINS = frozenset({"springfield.example"})
COLUMNS = HEADER.split(",")


@dataclass
class Sheet:
    """A file as its lines of cells; ``expected`` are the findings that the defects must give."""

    lines: list[list[str]]
    expected: set[tuple[int, str, str]]
    random: random.Random
    text: Callable[[str], bytes] = str.encode
    taken: set[int] = field(default_factory=set)

    def line(self) -> int:
        """Choose a line that is whole so far, and not the last."""
        chosen = self.random.choice([n for n in range(2, len(self.lines)) if n not in self.taken])
        self.taken.add(chosen)
        return chosen

    def set(self, line: int, column: str, value: str) -> None:
        self.lines[line - 1][COLUMNS.index(column)] = value

    def content(self) -> bytes:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows(self.lines)
        return self.text(stream.getvalue())


def _cell(column: str, rule: str, *values: str) -> Callable[[Sheet], None]:
    def hurt(sheet: Sheet) -> None:
        line = sheet.line()
        sheet.set(line, column, sheet.random.choice(values))
        if column == "gradyear":
            sheet.set(line, "role", "student")
        sheet.expected.add((line, column, rule))

    return hurt


def _repeat(column: str, shown: str, rule: str) -> Callable[[Sheet], None]:
    def hurt(sheet: Sheet) -> None:
        first, second = sorted((sheet.line(), sheet.line()))
        sheet.set(second, column, sheet.lines[first - 1][COLUMNS.index(column)].upper())
        sheet.expected.add((second, shown, rule))

    return hurt


def _extra_field(sheet: Sheet) -> None:
    line = sheet.line()
    sheet.lines[line - 1].insert(2, "Jr")
    sheet.expected.add((line, "", "too-many-fields"))


def _too_few(sheet: Sheet) -> None:
    line = sheet.line()
    sheet.lines[line - 1] = sheet.lines[line - 1][:2]
    sheet.expected.add((line, "email", "too-few-fields"))


def _total(sheet: Sheet) -> None:
    sheet.lines.append(["Total", "", "", "", "", "", str(len(sheet.lines) - 1)])
    sheet.expected.add((len(sheet.lines), "email", "total-line"))


def _several(sheet: Sheet) -> None:
    line = sheet.line()
    for column, value, rule in (
        ("lastname", "", "missing-value"), ("role", "wizard", "unknown-role"),
        ("gradyear", "27", "gradyear"), ("status", "Inactive", "status"),
    ):  # fmt: skip
        sheet.set(line, column, value)
        sheet.expected.add((line, column, rule))
    sheet.set(line, "firstname", "")


def _nameless(sheet: Sheet) -> None:
    line = sheet.line()
    sheet.set(line, "firstname", "")
    sheet.set(line, "lastname", " ")
    sheet.expected.add((line, "lastname", "missing-value"))


ROWS: list[Callable[[Sheet], None]] = [
    _nameless,
    _cell("email", "missing-value", ""),
    _cell("email", "email-format", "nobody", "a b@springfield.example", "“a@springfield.example”"),
    _cell("email", "email-domain", "a@shelbyville.example", "b@gmail.example"),
    _cell("role", "unknown-role", "wizard", "students", "0"),
    _cell("gradyear", "gradyear", "27", "0", "null", "2030-06-01", "12/06/2030"),
    _cell("status", "status", "Inactive", "0", "Archived"),
    _cell("idnumber", "scientific-number", "1.0E+05", "9E+11", "1,2E+07"),
    _cell("firstname", "formula", "=A1", '=HYPERLINK("x")'),
    _cell("idnumber", "formula", "=ROW()"),
    _repeat("idnumber", "", "repeated-id"), _repeat("email", "email", "repeated-email"),
    _extra_field, _too_few, _several,
]  # fmt: skip


def _rename(old: str, new: str) -> Callable[[Sheet], None]:
    def hurt(sheet: Sheet) -> None:
        sheet.lines[0][COLUMNS.index(old)] = new
        sheet.expected = {(1, new, "unknown-column")}

    return hurt


def _another_column(sheet: Sheet) -> None:
    for number, line in enumerate(sheet.lines):
        line.append("Homeroom" if number == 0 else "12b")
    sheet.expected = {(1, "Homeroom", "unknown-column")}


HEADERS: list[Callable[[Sheet], None]] = [
    _rename("firstname", "First Name"), _rename("firstname", "first_name"),
    _rename("lastname", "Surname"), _rename("email", "Email Address"), _rename("email", "e-mail"),
    _rename("gradyear", "Graduation Year"), _rename("idnumber", "Student ID"),
    _rename("role", "User Type"), _another_column,
]  # fmt: skip


def broken(seed: int) -> Sheet:
    chance = random.Random(seed)
    count = chance.randint(12, 40)
    lines = [COLUMNS.copy()] + [
        row(number, chance.choice(["student"] * 3 + ["teacher"])).split(",")
        for number in range(count)
    ]
    sheet = Sheet(lines, set(), chance)
    if seed % 5 == 0:
        chance.choice(HEADERS)(sheet)
    else:
        for hurt in chance.sample(ROWS, chance.randint(1, 6)):
            hurt(sheet)
        if seed % 7 == 0:
            _total(sheet)
    kind = seed % 4
    if kind == 1:
        sheet.text = lambda text: text.encode("utf-8-sig")
    elif kind == 2:
        sheet.text = lambda text: text.replace("\n", "\r\n").encode()
    elif kind == 3:
        sheet.text = lambda text: text.encode("utf-16")
    return sheet


# -- the repair, from the report alone

FRESH = {
    "firstname": "Fixed", "lastname": "Fixed", "role": "student", "gradyear": "2030",
    "status": "Active",
}  # fmt: skip


def repaired(content: bytes, report: list[Found]) -> bytes:
    """Do in each line what the report says; nothing else is known of the file."""
    text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    lines = [next(csv.reader([line])) for line in text.replace("\r\n", "\n").splitlines()]
    gone: set[int] = set()
    for one in report:
        if one.severity == "warning":
            continue
        assert one.line is not None
        cells = lines[one.line - 1]
        assert one.hint, "a finding without advice cannot be followed"
        if one.rule == "unknown-column":
            place = lines[0].index(one.column)
            if said := re.fullmatch(r"Rename it to (\w+)\.", one.hint):
                lines[0][place] = said[1]
            else:
                assert one.hint == "Remove the column."
                for line in lines:
                    del line[place]
        elif one.rule in ("total-line", "repeated-id"):
            gone.add(one.line)
        elif one.rule in ("too-many-fields", "too-few-fields"):
            lines[one.line - 1] = row(5000 + one.line).split(",")
        elif one.column == "email":
            cells[COLUMNS.index("email")] = f"fixed{one.line}@springfield.example"
        elif one.column == "idnumber":
            cells[COLUMNS.index("idnumber")] = f"7{one.line:03}"
        else:
            cells[COLUMNS.index(one.column)] = FRESH[one.column]
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(
        line for number, line in enumerate(lines, start=1) if number not in gone
    )
    return stream.getvalue().encode()


def look(path: Path, content: bytes) -> Inspection:
    path.write_bytes(content)
    connector = UserCsv(UserCsvConfig())
    try:
        return inspect(connector, FetchRequest(file=str(path)), DOMAINS)
    finally:
        connector.close()


@pytest.mark.parametrize("seed", range(200))
def test_a_broken_file_is_put_right_from_its_report_alone(seed: int, tmp_path: Path) -> None:
    sheet = broken(seed)
    content = sheet.content()
    report = look(tmp_path / "people.csv", content)
    errors = [one for one in report.found if one.severity == "error"]
    found = {(one.line, one.column, one.rule) for one in errors}
    assert found == sheet.expected
    assert sheet.expected, "the file is broken"
    again = look(tmp_path / "people.csv", repaired(content, report.found))
    assert again.error is None
    assert [one for one in again.found if one.severity == "error"] == []
    assert again.usable == again.rows > 0


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    text = f"{HEADER}\n\n{row(1, lastname=chr(34) + 'Two' + chr(10) + 'Lines' + chr(34))}\n"
    text += f",,,,,,\n{row(2, gradyear='27')}\n"
    report = look(tmp_path / "people.csv", text.encode())
    assert [(one.line, one.rule) for one in report.found] == [(6, "gradyear")]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (["00123", "00124", "12345", "123"], [5]),
        (["12345", "12346", "12347", "12348", "12349", "12340", "12341", "12342", "123"], []),
        (["0012", "00124", "12345", "123"], []),
        (["1", "22", "333", "4444", "5", "66", "777", "8888"], []),
    ],
)
def test_leading_zeros_are_warned_of_where_others_have_theirs(
    tmp_path: Path, numbers: list[str], expected: list[int]
) -> None:
    rows = [row(index, idnumber=number) for index, number in enumerate(numbers)]
    report = look(tmp_path / "people.csv", "\n".join([HEADER, *rows, ""]).encode())
    assert [one.line for one in report.found if one.rule == "leading-zeros"] == expected
    assert report.usable == len(numbers)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [("idnumber", "2-Mar", "date"), ("idnumber", "1/2/2027", "date"),
     ("lastname", "“Smith”", "smart-quotes"), ("firstname", "+1", "formula-like"),
     ("firstname", "-Dash", "formula-like"), ("firstname", "@home", "formula-like")],
)  # fmt: skip
def test_what_a_spreadsheet_may_have_spoilt_is_warned_of_and_used(
    tmp_path: Path, column: str, value: str, rule: str
) -> None:
    text = f"{HEADER}\n{row(1)}\n{row(2, **{column: value})}\n"
    report = look(tmp_path / "people.csv", text.encode())
    assert [(one.severity, one.line, one.column, one.rule) for one in report.found] == [
        ("warning", 3, column, rule)
    ]
    assert report.usable == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (HEADER.replace(",", ";") + "\nSam;P;a@b.example;student;2030;Active;1\n", "semicolons"),
        (HEADER.replace(",", "\t") + "\n", "tabs"),
        (f"{HEADER}\nZoë,P,z@b.example,student,2030,Active,1\n", "Windows-1252"),
    ],
)
def test_a_file_saved_in_another_way_is_refused_with_what_to_do(
    tmp_path: Path, content: str, said: str
) -> None:
    report = look(tmp_path / "people.csv", content.encode("latin-1"))
    assert report.error is not None
    assert said in f"{report.error.message} {report.error.hint}"
    assert report.error.hint


@pytest.mark.parametrize(
    ("value", "shown"),
    [("27", "27"), ("1.0E+05", "1.0E+05"), ("Canarybird", "C…"), ("", ""), ("900001", "9…"),
     ("canary@gmail.example", "c…@gmail.example"), ("a b@c", "a…@c")],
)  # fmt: skip
def test_a_report_masks_every_value_that_may_be_personal(value: str, shown: str) -> None:
    from connectors.contract.masking import mask

    assert mask(value) == shown
