"""Reading folders and zips of CSV files."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest

from connectors.files.csv_file import CsvFile
from connectors.files.file_set import open_files
from core.errors import FileRefused, IncompleteFetch


def serve(content: bytes) -> list[tuple[int, bytes]]:
    """Read bytes as a CSV file; return (line, row) of every row."""
    file = CsvFile("people.csv", lambda: io.BytesIO(content))
    return list(file.rows())


def names(content: bytes) -> tuple[str, ...]:
    return CsvFile("people.csv", lambda: io.BytesIO(content)).header().names


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_and_a_folder_serve_the_same_rows(tmp_path: Path) -> None:
    content = b"id,name\n1,Ann\n2,Bo\n"
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "users.csv").write_bytes(content)
    archive = zipped(tmp_path / "set.zip", {"users.csv": content})
    found = []
    for path in (folder, archive):
        with open_files(path) as files:
            file = files.file("users.csv")
            assert file is not None
            found.append(list(file.rows()))
            assert files.notes == []
    assert found[0] == found[1] == [(2, b"1,Ann"), (3, b"2,Bo")]


def test_a_folder_inside_the_zip_is_entered_and_noted(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path / "set.zip",
        {"export/users.csv": b"id\n1\n", "__MACOSX/export/._users.csv": b"x", ".DS_Store": b"x"},
    )
    with open_files(archive) as files:
        assert files.file("users.csv") is not None
        assert files.notes == ["The files lie in the folder export of the zip."]
        assert files.found == ["export/users.csv"]


def test_a_folder_inside_the_folder_is_entered_and_noted(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "users.csv").write_bytes(b"id\n1\n")
    with open_files(tmp_path) as files:
        assert files.file("users.csv") is not None
        assert files.notes == ["The files lie in the folder export."]


def test_the_case_of_a_file_name_is_tolerated_and_noted(tmp_path: Path) -> None:
    (tmp_path / "Users.CSV").write_bytes(b"id\n1\n")
    with open_files(tmp_path) as files:
        assert files.file("users.csv") is not None
        assert files.notes == ["Users.CSV is read as users.csv."]


def test_two_files_whose_names_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", {"users.csv": b"id\n", "Users.csv": b"id\n"})
    with pytest.raises(FileRefused, match="twice"), open_files(archive):
        pass


@pytest.mark.parametrize("name", ["../users.csv", "/etc/users.csv", "a/../../users.csv", "C:/x"])
def test_a_path_that_leads_out_of_the_zip_is_refused(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "set.zip", {name: b"id\n1\n"})
    with pytest.raises(FileRefused, match="leads out of the zip"), open_files(archive):
        pass


def test_a_zip_in_the_zip_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", {"inner.zip": b"PK", "users.csv": b"id\n"})
    with pytest.raises(FileRefused, match="another zip"), open_files(archive):
        pass


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", {"users.csv": b"0" * (64 << 20)})
    with pytest.raises(FileRefused, match="grows more than 200 times"), open_files(archive):
        pass


def test_a_link_in_the_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("users.csv")
    link.external_attr = 0o120777 << 16
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(FileRefused, match="a link"), open_files(archive):
        pass


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_bytes(b"id\n1\n")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "users.csv").symlink_to(outside)
    with pytest.raises(FileRefused, match="leads out of its folder"), open_files(folder):
        pass


def test_a_zip_with_a_huge_directory_is_refused_unread(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", {"users.csv": b"id\n"})
    content = bytearray(archive.read_bytes())
    at = content.rfind(b"PK\x05\x06")
    content[at + 12 : at + 16] = (1 << 30).to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(FileRefused, match="too many files"), open_files(archive):
        pass


def test_a_cut_zip_is_incomplete(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", {"users.csv": b"id\n" + os.urandom(5000)})
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(IncompleteFetch, match="cut in the middle"), open_files(archive):
        pass


def test_a_damaged_file_in_the_zip_is_incomplete(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path / "set.zip", {"users.csv": b"id\n" + b"1\n" * 5000}, zipfile.ZIP_STORED
    )
    content = bytearray(archive.read_bytes())
    content[200:202] = b"7\n"
    archive.write_bytes(content)
    with open_files(archive) as files:
        (file,) = files.files()
        with pytest.raises(IncompleteFetch, match="damaged"):
            list(file.rows())


def test_what_is_no_zip_or_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_text("hello, hello, hello")
    with pytest.raises(FileRefused, match="is not a zip"), open_files(tmp_path / "set.zip"):
        pass
    with pytest.raises(FileRefused, match="no folder or file"), open_files(tmp_path / "gone"):
        pass


def test_a_file_that_is_still_being_written_is_incomplete(tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_bytes(b"id\n" + b"1234567\n" * 600_000)
    with open_files(tmp_path) as files:
        file = files.file("users.csv")
        assert file is not None
        pages = file.pages("users", file.header(), b"")
        next(pages)
        with path.open("ab") as writer:
            writer.write(b"1234567\n")
        with pytest.raises(IncompleteFetch, match="still being written"):
            list(pages)
