"""Hostile files: refused with a reason, in bounded memory and time, and nothing else comes out."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract.connector import FetchRequest
from connectors.files.inspection import inspect
from connectors.files.recognition import recognise
from connectors.files.templates import write_template
from connectors.finra_flex import FinraFlex, FinraFlexConfig
from connectors.installed import file_formats, template_of
from connectors.oneroster_csv import OneRosterCsv, OneRosterCsvConfig
from connectors.user_csv import UserCsv, UserCsvConfig
from tests.kit.user_files import HEADER, people

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Read every file once, each in a process whose memory and processor time are bounded."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = []
    for name, write in (HOSTILE | ODD_ROWS).items():
        write(folder / name)
        paths.append(str(folder / name))
    done = subprocess.run(
        [sys.executable, "-m", "tests.connectors.files.reader_process", *paths],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
    )  # fmt: skip
    for path in paths:
        Path(path).unlink()
    return {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}


def archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)


# ---------------------------------------------------------------------------------- files


def _bomb(path: Path) -> None:
    archive(path, {"people.csv": HEADER.encode() + b"\n" + b"0" * (200 * MEBIBYTE)})


def _overlapping(path: Path) -> None:
    """Many entries of the directory that are the same bytes: each alone looks harmless."""
    noise = os.urandom(MEBIBYTE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("people.csv", noise)
        first = packed.infolist()[0]
        for number in range(400):
            twin = zipfile.ZipInfo(f"people{number}.csv")
            for name in ("compress_type", "CRC", "compress_size", "file_size", "header_offset"):
                setattr(twin, name, getattr(first, name))
            packed.filelist.append(twin)
            packed.NameToInfo[twin.filename] = twin


def _escaping(path: Path) -> None:
    archive(path, {"../people.csv": people(range(3)).encode()})


def _nested(path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("people.csv", people(range(3)))
    archive(path, {"inner.zip": inner.getvalue()})


def _link(path: Path) -> None:
    member = zipfile.ZipInfo("people.csv")
    member.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(member, "/etc/passwd")


def _endless_line(path: Path) -> None:
    with path.open("wb") as file:
        file.write(f'{HEADER}\nSam,"'.encode())
        for _ in range(160):
            file.write(b"x" * MEBIBYTE)


def _endless_header(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(160):
            file.write(b"x" * MEBIBYTE)


def _million_columns(path: Path) -> None:
    path.write_bytes(b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n")


def _million_fields(path: Path) -> None:
    path.write_bytes(f"{HEADER}\n".encode() + b"x," * 1_000_000 + b"\n")


def _nul(path: Path) -> None:
    path.write_bytes(HEADER.encode() + b"\n" + b"\x00" * (8 * MEBIBYTE))


def _quotes(path: Path) -> None:
    path.write_text(f"{HEADER}\n" + ('"' + '""' * 500_000 + '",a\n') * 4)


def _breaks(path: Path) -> None:
    """Rows of a million lines each."""
    path.write_text(f"{HEADER}\n" + ('"' + "\n" * 900_000 + '",a\n') * 2)


def _commas(path: Path) -> None:
    """Rows of nothing, which are no rows."""
    path.write_text(f"{HEADER}\n" + ("," * 900_000 + "\n") * 4)


def _ten_thousand_names(path: Path) -> None:
    """A header in which every name resembles a column that we read."""
    path.write_text("firstname," + ",".join(f"first name {n}" for n in range(9_990)) + "\n")


def _wide_workbook(path: Path) -> None:
    """A few kilobytes that are more than a million cells."""
    _workbook(path, "<row>" + "<c><v>1</v></c>" * 9_000 + "</row>", 60)


def _full_workbook(path: Path) -> None:
    """More cells than are read, which pack no better than a roster."""
    chance = random.Random(1)
    rows = (
        "<row>" + "".join(f"<c><v>{chance.random()}</v></c>" for _ in range(250)) + "</row>"
        for _ in range(12_100)
    )
    _workbook(path, "".join(rows), 1)


def _workbook(path: Path, row: str, times: int) -> None:
    sheet = io.BytesIO()
    openpyxl.Workbook().save(sheet)
    with zipfile.ZipFile(sheet) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    members["xl/worksheets/sheet1.xml"] = (
        '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        f"{row * times}</sheetData></worksheet>"
    ).encode()
    archive(path, members)


def _utf16_without_mark(path: Path) -> None:
    path.write_bytes(people(range(3)).encode("utf-16-le"))


def _entities(path: Path) -> None:
    """A workbook whose text is made of entities of entities."""
    sheet = io.BytesIO()
    openpyxl.Workbook().save(sheet)
    laughs = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "ha">' for n in range(12)
    )
    xml = (
        f'<?xml version="1.0"?><!DOCTYPE x [{laughs}]><worksheet xmlns="http://schemas.'
        'openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1"'
        ' t="inlineStr"><is><t>&l11;</t></is></c></row></sheetData></worksheet>'
    )
    members = {}
    with zipfile.ZipFile(sheet) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    members["xl/worksheets/sheet1.xml"] = xml.encode()
    archive(path, members)


def _far_cell(path: Path) -> None:
    """A workbook with one cell in its last row and column."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["A1"] = "firstname"
    sheet["XFD1048576"] = "far away"
    book.save(path)


HOSTILE: dict[str, Callable[[Path], None]] = {
    "bomb.zip": _bomb, "overlapping.zip": _overlapping, "escaping.zip": _escaping,
    "nested.zip": _nested, "link.zip": _link, "endless_line.csv": _endless_line,
    "endless_header.csv": _endless_header, "million_columns.csv": _million_columns,
    "utf16.csv": _utf16_without_mark, "entities.xlsx": _entities,
    "names.csv": _ten_thousand_names, "wide.xlsx": _wide_workbook,
}  # fmt: skip


ODD_ROWS: dict[str, Callable[[Path], None]] = {
    "nul.csv": _nul, "fields.csv": _million_fields, "quotes.csv": _quotes, "breaks.csv": _breaks,
    "commas.csv": _commas,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_file_is_refused_with_a_reason_in_bounded_memory_and_time(
    readings: dict[str, dict[str, Any]], name: str
) -> None:
    found = readings[name]
    assert "failed" not in found, found
    assert found["kinds"] in ([], ["user_csv"])
    assert found["error"]
    assert found["usable"] == 0


@pytest.mark.parametrize("name", sorted(ODD_ROWS))
def test_a_hostile_row_is_a_finding_in_its_line_in_bounded_memory_and_time(
    readings: dict[str, dict[str, Any]], name: str
) -> None:
    found = readings[name]
    assert "failed" not in found, found
    assert found["usable"] == 0
    assert found["error"] or found["lines"][:1] == [2] or found["rows"] == 0


def test_the_bounds_bind(tmp_path: Path) -> None:
    """A reading that needs more than it may take is reported, so the tests above can fail."""
    path = tmp_path / "people.csv"
    path.write_text(people(range(100)))
    code = (
        "import tests.connectors.files.reader_process as it\n"
        "it.MEMORY, it.CPU_SECONDS = 1 << 16, 1\n"
        "it._read = {}\n"
        f"it.main([{str(path)!r}])"
    )
    for hog in ("lambda path: bytearray(64 << 20)", "lambda path: [None for _ in iter(int, 1)]"):
        limits = code if "bytearray" in hog else code.replace("1 << 16", "1 << 40")
        done = subprocess.run(
            [sys.executable, "-c", limits.replace("{}", hog)],
            cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["failed"]


@pytest.mark.long
@pytest.mark.parametrize("write", [_far_cell, _full_workbook])
def test_a_workbook_of_many_cells_fills_no_memory_and_is_given_up_in_time(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path / "many.xlsx")
    code = "import tests.connectors.files.reader_process as it\nit.CPU_SECONDS = 180\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}it.main([{str(tmp_path / 'many.xlsx')!r}])"],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert "failed" not in found, found
    assert found["error"]
    assert found["usable"] == 0


def test_a_device_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "people.csv")
    connector = UserCsv(UserCsvConfig())
    try:
        report = inspect(connector, FetchRequest(file=str(tmp_path / "people.csv")))
    finally:
        connector.close()
    assert report.error is not None


# ----------------------------------------------------------------------------------- fuzz


FORMATS = file_formats()


def _any_reader(path: Path) -> None:
    """Read a file as every format; whatever is wrong must be an answer, never an exception."""
    recognise(path, FORMATS)
    for connector in (
        UserCsv(UserCsvConfig()), FinraFlex(FinraFlexConfig()), OneRosterCsv(OneRosterCsvConfig()),
    ):  # fmt: skip
        try:
            report = inspect(connector, FetchRequest(file=str(path)))
        finally:
            connector.close()
        assert report.error is None or report.error.message
        assert all(one.rule and one.message for one in report.found)


BITS = st.one_of(
    st.sampled_from([b",", b'"', b"\n", b"\r", b"\x00", b"=", b"'", b"\xff", b";"]),
    st.binary(max_size=40),
    st.sampled_from([b"\xef\xbb\xbf", HEADER.encode(), b"crd_id,first_name", b"1,S,P,a@b.example"]),
)  # fmt: skip


@settings(max_examples=150)
@given(pieces=st.lists(BITS, max_size=30), headed=st.booleans())
def test_no_bytes_break_a_reader(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes((HEADER.encode() + b"\n" if headed else b"") + b"".join(pieces))
    _any_reader(path)


@settings(max_examples=80)
@given(
    kind=st.sampled_from(["user_csv.xlsx", "user_csv.zip", "oneroster_csv.zip"]),
    damage=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12),
    length=st.none() | st.integers(0, 8000),
)
def test_no_damaged_archive_breaks_a_reader(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    damage: list[tuple[int, int]],
    length: int | None,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    whole = folder / f"whole_{kind}"
    if not whole.exists():
        write_template(template_of(kind.partition(".")[0]), whole)
    content = bytearray(whole.read_bytes()[:length])
    for place, value in damage:
        if content:
            content[place % len(content)] = value
    path = folder / f"damaged.{kind.rpartition('.')[2]}"
    path.write_bytes(content)
    _any_reader(path)
