"""Reading one CSV file: encodings, rows and their lines, files that are cut off, bounds."""

from __future__ import annotations

import contextlib
import csv
import io
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.files.csv_file import PAGE_BYTES, CsvFile
from connectors.files.csv_rows import MAX_COLUMNS, fields_of, row_lines, split_rows
from connectors.files.file_set import open_files
from core.errors import FileRefused, IncompleteFetch, RosterSyncError, SkipRecord


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


# ------------------------------------------------------------------- encodings and line ends


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16"], ids=["UTF-8", "UTF-8 with BOM", "UTF-16"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_the_same_rows_come_out_of_every_encoding_and_line_end(encoding: str, end: str) -> None:
    text = f"id,name{end}1,Zoë{end}2,Žofie{end}"
    assert serve(text.encode(encoding)) == [(2, "1,Zoë".encode()), (3, "2,Žofie".encode())]
    assert names(text.encode(encoding)) == ("id", "name")


def test_utf16_big_endian_is_read() -> None:
    assert serve(b"\xfe\xff" + "id\n1\n".encode("utf-16-be")) == [(2, b"1")]


def test_another_encoding_is_refused_with_its_line() -> None:
    with pytest.raises(FileRefused, match="line 3 holds a byte that UTF-8 does not have"):
        serve("id,name\n1,Ann\n2,Zoë\n".encode("latin-1"))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_byte_order_mark_is_refused(encoding: str) -> None:
    with pytest.raises(FileRefused, match="UTF-16 without a byte order mark"):
        serve("id,name\n1,Ann\n".encode(encoding))


def test_utf32_and_workbooks_are_refused() -> None:
    with pytest.raises(FileRefused, match="UTF-32"):
        serve("id\n1\n".encode("utf-32"))
    with pytest.raises(FileRefused, match="workbook"):
        serve(b"\xd0\xcf\x11\xe0" + b"\x00" * 100)


def test_a_character_across_two_stretches_is_one_character() -> None:
    row = "é" * 500 + "\n"
    text = "id\n" + "x" + row * (PAGE_BYTES // 1000)
    rows = serve(text.encode())
    assert rows[0][1] == ("x" + row[:-1]).encode()
    assert {raw for _, raw in rows[1:]} == {row[:-1].encode()}


def test_a_line_end_across_two_stretches_is_one_line_end() -> None:
    filler = b"id\r\n" + b"x" * (PAGE_BYTES // 2 - 4) + b"\r\n"
    content = filler + b"y" * (PAGE_BYTES - len(filler) - 1) + b"\r\n" + b"z\r\n"
    assert content[PAGE_BYTES - 1 : PAGE_BYTES + 1] == b"\r\n"
    assert [line for line, _ in serve(content)] == [2, 3, 4]


# ----------------------------------------------------------------------- rows and their lines


def test_lines_are_the_lines_of_the_file_even_after_fields_with_line_breaks() -> None:
    content = b'id,note\n1,"two\nlines"\n2,plain\n\n3,"a ""quoted""\r\nword"\n4,x\n'
    assert [(line, fields_of(raw)[0]) for line, raw in serve(content)] == [
        (2, "1"), (4, "2"), (6, "3"), (8, "4"),
    ]  # fmt: skip


def test_lines_are_right_on_every_page() -> None:
    row = b'%d,"first\nsecond","' + b"x" * 1000 + b'"\n'
    content = b"id,note,more\n" + b"".join(row % n for n in range(5000))
    assert len(content) > 2 * PAGE_BYTES
    rows = serve(content)
    assert [(line, int(raw.split(b",")[0])) for line, raw in rows] == [
        (2 + 2 * n, n) for n in range(5000)
    ]


def test_blank_lines_and_rows_of_bare_commas_are_no_rows() -> None:
    assert serve(b'\n,,\nid,name\n\n1,Ann\n,,,\n"",""\n   \n2,Bo\n\n') == [
        (5, b"1,Ann"), (9, b"2,Bo"),
    ]  # fmt: skip


def test_a_quote_inside_an_unquoted_field_is_a_letter() -> None:
    content = b'id,name\n1,5" disk\n2,Bob "B" Lee\n3,plain\n'
    assert [fields_of(raw) for _, raw in serve(content)] == [
        ["1", '5" disk'], ["2", 'Bob "B" Lee'], ["3", "plain"],
    ]  # fmt: skip


def test_headers_are_read_through_quotes_blanks_and_byte_order_marks() -> None:
    assert names(b'\xef\xbb\xbf" sourcedId" , "na""me",,\n1,2,,\n') == (
        "sourcedId", 'na"me', "", "",
    )  # fmt: skip
    assert names(b'"\xef\xbb\xbfid","name"\n') == ("id", "name")


def test_a_column_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(FileRefused, match="column 3 has the name of an earlier column"):
        names(b"id,email,EMAIL\n")


def test_a_row_with_a_nul_character_is_skipped() -> None:
    with pytest.raises(SkipRecord) as caught:
        fields_of(b"1,A\x00nn")
    assert caught.value.rule == "nul"


# --------------------------------------------------------------------- files that are cut off


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\n", b" \r\n,,\r\n"])
def test_an_empty_file_is_incomplete(content: bytes) -> None:
    with pytest.raises(IncompleteFetch, match="is empty"):
        serve(content)


def test_a_header_only_file_serves_no_page() -> None:
    assert serve(b"id,name\r\n") == []
    assert serve(b"id,name") == []


def test_a_last_row_cut_in_the_middle_is_incomplete() -> None:
    with pytest.raises(IncompleteFetch, match="last line, 3, ends too early"):
        serve(b"id,name,email\n1,Ann,ann@springfield.example\n2,Bo")


def test_a_quote_that_never_closes_is_incomplete() -> None:
    with pytest.raises(IncompleteFetch, match="a quote that opens on line 3 never closes"):
        serve(b'id,name\n1,Ann\n2,"Bo\n3,Cy\n')


def test_a_file_that_ends_inside_a_character_is_incomplete() -> None:
    with pytest.raises(IncompleteFetch, match="inside a character"):
        serve("id,name\n1,Zoë".encode()[:-1])


def test_a_whole_last_row_needs_no_line_end() -> None:
    assert serve(b"id,name\n1,Ann") == [(2, b"1,Ann")]


@given(st.integers(min_value=1))
def test_a_cut_file_never_yields_a_row_that_the_whole_file_does_not_have(cut: int) -> None:
    whole = 'id,name,email\r\n1,"Ann\r\nLee",a\r\n2,Zoë,b\r\n3,"x ""y""",c\r\n'.encode()
    content = whole[: cut % len(whole)]
    file = CsvFile("people.csv", lambda: io.BytesIO(content))
    seen = []
    try:
        for page in file.pages("users", file.header(), b""):
            seen += page.split(page.body)
    except (IncompleteFetch, FileRefused):
        pass
    first = [fields_of(raw)[:2] for _, raw in serve(whole)]
    assert [fields_of(raw)[:2] for raw in seen] == first[: len(seen)]


# --------------------------------------------------------------------------------- the bounds


def test_a_row_longer_than_a_mebibyte_is_refused() -> None:
    with pytest.raises(FileRefused, match=r"row on line 2 is longer than 1 MiB"):
        serve(b"id,name\n" + b"x" * (4 << 20) + b"\n")
    with pytest.raises(FileRefused, match="first line is longer than 1 MiB"):
        serve(b"x" * (4 << 20))


def test_a_quote_left_open_in_a_long_file_is_refused_with_its_line() -> None:
    with pytest.raises(FileRefused, match="row on line 3") as caught:
        serve(b'id,name\n1,Ann\n2,"Bo\n' + b"3,Cy\n" * 1_000_000)
    assert "quote that is never closed" in caught.value.hint


def test_too_many_columns_are_refused() -> None:
    with pytest.raises(FileRefused, match="more than 10,000 columns"):
        names(b",".join(b"c%d" % n for n in range(MAX_COLUMNS + 1)) + b"\n")


@pytest.mark.parametrize("line", [b"\n", b'"\n', b'"",\n', b'""\n"\n'])
def test_a_hostile_file_is_read_in_linear_time(line: bytes) -> None:
    # Quadratic work on four megabytes of these would take hours, not seconds.
    content = b'"a\n' + line * ((4 << 20) // len(line))
    with pytest.raises((FileRefused, IncompleteFetch)):
        serve(content)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    row = b"1234567890,given,family,someone@springfield.example,student,,\n"

    def peak(rows: int) -> int:
        path.write_bytes(b"id,g,f,email,role,a,b\n" + row * rows)
        tracemalloc.start()
        with open_files(path) as files:
            file = files.files()[0]
            served = sum(
                len(page.split(page.body)) for page in file.pages("users", file.header(), b"")
            )
        assert served == rows
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak(400_000) < 1.5 * peak(100_000)


# ---------------------------------------------------------------------------------------- fuzz

_PIECES = st.sampled_from(
    [b"a", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b" ", b"\x00", b"\xc3\xa9", b"\xe9", b"id,n\n"]
)


@given(st.lists(_PIECES, max_size=60).map(b"".join) | st.binary(max_size=200))
def test_any_bytes_end_in_rows_or_in_an_error_of_ours(content: bytes) -> None:
    try:
        rows = serve(content)
    except RosterSyncError:
        return
    for line, raw in rows:
        assert line >= 2
        with contextlib.suppress(SkipRecord):
            assert fields_of(raw)


@given(st.lists(_PIECES, max_size=60).map(b"".join))
def test_splitting_loses_no_byte_and_agrees_with_the_lines(content: bytes) -> None:
    body = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    rows = split_rows(body)
    lines = row_lines(body, 1)
    assert len(rows) == len(lines)
    physical = body.split(b"\n")
    for line, row in zip(lines, rows, strict=True):
        assert b"\n".join(physical[line - 1 : line + row.count(b"\n")]) == row
    assert sorted(lines) == lines
    left = [line for line in body.split(b"\n") if line.strip(b', \t"')]
    kept = {text for row in rows for text in row.split(b"\n")}
    assert all(text in kept for text in left)


@given(
    st.lists(
        st.lists(st.text(alphabet='ab,"\n ', max_size=5).map(str.strip), min_size=3, max_size=3),
        max_size=20,
    )
)
def test_what_a_csv_writer_writes_is_read_back(table: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows([["id", "b", "c"], *table])
    read = [fields_of(raw) for _, raw in serve(out.getvalue().encode())]
    assert read == [row for row in table if "".join(row).strip(', \t"\n')]


@settings(max_examples=50)
@given(st.binary(max_size=400), st.integers(0, 10_000))
def test_any_damage_to_a_zip_ends_in_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int
) -> None:
    path = zipped(
        tmp_path_factory.mktemp("z") / "set.zip", {"users.csv": b"id,n\n" + b"1,a\n" * 50}
    )
    content = bytearray(path.read_bytes())
    start = at % len(content)
    content[start : start + len(noise) % 20] = noise[:20]
    path.write_bytes(content)
    with contextlib.suppress(RosterSyncError), open_files(path) as files:
        for file in files.files():
            for _, raw in file.rows():
                assert raw
