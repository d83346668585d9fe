"""Zips and workbooks that were made to fill memory, or to break who reads them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract.connector import FetchRequest
from connectors.files.inspection import Inspection, inspect
from connectors.user_csv import UserCsv, UserCsvConfig
from core.errors import FileRefused
from core.storage.database import Database
from tests.connectors.files.test_drop_folder import finished, left, put, sync
from tests.kit.user_files import HEADER, active, district, people, row

pytestmark = pytest.mark.any_store

LAUGHS = "".join(
    f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "ha">' for n in range(9)
)
SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    '<row r="1"><c r="A1" t="inlineStr"><is><t>{}</t></is></c></row></sheetData></worksheet>'
)


def look(path: Path) -> Inspection:
    connector = UserCsv(UserCsvConfig())
    try:
        return inspect(connector, FetchRequest(file=str(path)))
    finally:
        connector.close()


def workbook(path: Path, parts: dict[str, bytes]) -> Path:
    """Write a workbook of which some parts are others."""
    plain = io.BytesIO()
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in (HEADER, row(1)):
        sheet.append(line.split(","))
    book.save(plain)
    with zipfile.ZipFile(plain) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in (members | parts).items():
            packed.writestr(name, content)
    return path


# -------------------------------------------------------------------------------- doctypes


@settings(max_examples=25)
@given(
    comment=st.integers(0, 40_000),
    part=st.sampled_from(
        ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml",
         "xl/_rels/workbook.xml.rels", "docProps/core.xml"]
    ),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "ascii"]),
    entities=st.booleans(),
    blanks=st.integers(0, 9_000),
)  # fmt: skip
def test_a_document_type_is_refused_wherever_and_however_it_stands(
    tmp_path_factory: pytest.TempPathFactory,
    comment: int,
    part: str,
    encoding: str,
    entities: bool,
    blanks: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "doctype.xlsx"
    doctype = f"<!DOCTYPE x [{LAUGHS}]>" if entities else '<!DOCTYPE x SYSTEM "file:///etc/passwd">'
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    xml = f"{mark}<!--{'x' * comment}-->{' ' * blanks}{doctype}{SHEET.format('&l8;')}"
    report = look(workbook(path, {part: xml.encode(encoding)}))
    assert isinstance(report.error, FileRefused)
    assert "document type" in report.error.message


def test_a_workbook_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    assert look(workbook(tmp_path / "plain.xlsx", {})).usable == 1


# ------------------------------------------------------------------------- too many entries


def crowded(path: Path, entries: int, change: Callable[[bytearray], None] | None = None) -> Path:
    """Write a zip of so many empty files, and perhaps lie in its last bytes."""
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("people.csv", people(range(3)))
        for number in range(entries):
            packed.writestr(f"f{number}", b"")
    content = bytearray(path.read_bytes())
    if change is not None:
        change(content)
    path.write_bytes(content)
    return path


def _says_it_is_small(content: bytearray) -> None:
    """Lie in the short form; the long form, which counts, says how large the list is."""
    at = content.rfind(b"PK\x05\x06")
    size, offset = struct.unpack_from("<LL", content, at + 12)
    long_form = struct.pack(
        "<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 60_000, 60_000, size, offset
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    struct.pack_into("<HHLL", content, at + 8, 1, 1, 100, offset)
    content[at:at] = long_form + locator


@pytest.mark.parametrize("name", ["crowded.zip", "crowded.xlsx"])
@pytest.mark.parametrize("change", [None, _says_it_is_small])
def test_a_zip_of_too_many_files_is_refused_before_its_list_is_read(
    tmp_path: Path, name: str, change: Callable[[bytearray], None] | None
) -> None:
    path = crowded(tmp_path / name, 60_000, change)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from connectors.files.file_set import open_files\n"
        "from core.errors import FileRefused\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    open_files(Path(sys.argv[1])).__enter__()\n"
        "except FileRefused as error:\n    print(error.message)\n"
        "after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert after - before < 16_000, after - before"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert "too many files" in done.stdout, done.stderr


# ------------------------------------------------------------------------------ no names


@pytest.mark.parametrize("name", ["", "/", "\\", "a\\..\\..\\people.csv", "../people.csv"])
def test_a_member_without_a_name_or_with_one_that_leads_out_is_refused(
    database: Database, tmp_path: Path, name: str
) -> None:
    slug = district(database, tmp_path, 'inbound = "drop"\nsettle_seconds = 0')
    drop = tmp_path / "drop"
    drop.mkdir()
    with zipfile.ZipFile(drop / "people.zip", "w") as packed:
        packed.writestr("people.csv", people(range(3)))
        member = zipfile.ZipInfo("x")
        member.filename = name
        packed.writestr(member, people(range(3)))
    outcome = sync(database, slug)
    assert outcome.exit_code in (0, 15)
    assert left(drop) == [], "it does not stay there for ever"
    assert outcome.exit_code == 0 or "people.zip" in finished(drop, "failed")
    put(drop, "people.csv", people(range(4)))
    assert sync(database, slug).exit_code == 0
    assert active(database) == 4
