"""Hostile files: refused with a reason, in bounded memory, and nothing else ever comes out."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import FetchRequest
from connectors.finra_flex import FinraFlex, FinraFlexConfig
from connectors.inspection import Inspection, inspect
from connectors.oneroster_csv import OneRosterCsv, OneRosterCsvConfig
from connectors.recognition import recognise
from connectors.templates import write_template
from connectors.user_csv import UserCsv, UserCsvConfig

from .kit import HEADER, people

MEBIBYTE = 1 << 20
PEAK = 96 * MEBIBYTE
"""What reading any file may take at most, whatever its size."""


@contextmanager
def bounded() -> Iterator[None]:
    """Fail if what is inside takes more memory than ``PEAK``."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < PEAK, f"{peak // MEBIBYTE} MiB were taken"


def look(path: Path) -> Inspection:
    connector = UserCsv(UserCsvConfig())
    try:
        return inspect(connector, FetchRequest(file=str(path)))
    finally:
        connector.close()


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
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_file_is_refused_with_a_reason_in_bounded_memory(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    HOSTILE[name](path)
    with bounded():
        assert recognise(path) in ([], ["user_csv"])
        report = look(path)
    assert report.error is not None
    assert report.error.message
    assert report.usable == 0


@pytest.mark.parametrize(("name", "write"), [("nul.csv", _nul), ("fields.csv", _million_fields)])
def test_a_hostile_row_is_a_finding_in_its_line(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    write(path)
    with bounded():
        report = look(path)
    assert report.usable == 0
    assert report.error is not None or [one.line for one in report.found] == [2]


@pytest.mark.long
def test_a_cell_far_away_is_no_reason_to_fill_the_memory(tmp_path: Path) -> None:
    _far_cell(tmp_path / "far.xlsx")
    with bounded():
        report = look(tmp_path / "far.xlsx")
    assert report.usable == 0


def test_a_device_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "people.csv")
    report = look(tmp_path / "people.csv")
    assert report.error is not None


# ----------------------------------------------------------------------------------- fuzz


def _any_reader(path: Path) -> None:
    """Read a file as every format; whatever is wrong must be an answer, never an exception."""
    recognise(path)
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
        write_template(kind.partition(".")[0], whole)
    content = bytearray(whole.read_bytes()[:length])
    for place, value in damage:
        if content:
            content[place % len(content)] = value
    path = folder / f"damaged.{kind.rpartition('.')[2]}"
    path.write_bytes(content)
    _any_reader(path)
