"""What reaches stdout: JSON that is streamed, cells that do nothing, names that cannot act."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given as vary
from hypothesis import settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from connectors.contract.connector import Capabilities
from core.storage.database import Database, open_database
from rostersync.cli import door
from rostersync.cli.app import run
from rostersync.cli.door import harmless, json_pieces
from rostersync.cli.printing import tables as room
from rostersync.cli.printing.words import CAPABILITIES
from tests.kit import tables
from tests.kit.command_line import Cli, D
from tests.kit.oneroster_folder import Folder, Person
from tests.kit.sizes import examples

pytestmark = pytest.mark.any_store


def test_json_of_iterators_is_written_piece_by_piece_and_reads_as_lists() -> None:
    asked: list[int] = []

    def numbers() -> Iterator[dict[str, object]]:
        for number in range(3):
            asked.append(number)
            yield {"n": number, "inner": iter([number, 'ä\n"'])}

    pieces = json_pieces({"a": numbers(), "b": {"c": [1, None]}, "d": iter([])})
    text = ""
    while '"n"' not in text:
        text += next(pieces)
    assert asked == [0]  # nothing is read ahead
    text += "".join(pieces)
    assert json.loads(text) == {
        "a": [{"n": n, "inner": [n, "ä\n\""]} for n in range(3)], "b": {"c": [1, None]}, "d": [],
    }  # fmt: skip


@pytest.fixture
def _hostile(database: Database) -> None:
    """A roster whose names try to act on whatever shows them."""
    tables.store(
        database,
        [
            tables.district(),
            tables.user("u1", "=cmd|' /C calc'!A0", "[red]\x1b]0;owned\x07\u202etxt[/red]"),
            tables.run(1),
            tables.plan(1, size=1, counts={"archive": 1}),
            tables.change(
                1, 0, "archive", "u1", reason="absent",
                before={"status": "active"}, after={"status": "archived"},
            ),
        ],
    )  # fmt: skip


@pytest.mark.usefixtures("_hostile")
def test_a_name_of_a_roster_does_nothing_to_a_terminal_or_a_spreadsheet(cli: Cli) -> None:
    for called in (
        cli("show", "P1"),
        cli("users", tables.district().slug),
        cli("show", "P1", "--offset", "0"),
    ):
        assert called.code == 0
        assert "\x1b" not in called.out
        assert "\x07" not in called.out
        assert "\u202e" not in called.out
        assert "[red]" in called.out
    header, row = csv.reader(io.StringIO(cli("show", "P1", "--format", "csv").out))
    assert row[header.index("name")].startswith("'=cmd")


@pytest.mark.usefixtures("_hostile")
def test_json_keeps_a_name_as_it_is(cli: Cli) -> None:
    (user,) = cli("users", "springfield", "--json").document
    assert user["family_name"] == "[red]\x1b]0;owned\x07\u202etxt[/red]"


EVIL = st.text(
    st.sampled_from("aZ\n\r\x1b\x85\u2028\u2029\u202e\x0b\x0c\x07\x9b\t=+-@\uff1d '\",")
    | st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    min_size=1, max_size=30,
)  # fmt: skip
ACTS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


@settings(max_examples=examples(5, long=300))
@vary(given_name=EVIL, family_name=EVIL, school=EVIL)
def test_no_name_forges_a_line_acts_on_a_terminal_or_is_a_formula(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    given_name: str,
    family_name: str,
    school: str,
) -> None:
    """What is printed has as many lines as for a plain name, whatever the roster says."""
    printed = []
    for names in (("Ada", "Lovelace", "Lincoln"), (given_name, family_name, school)):
        path = tmp_path_factory.mktemp("evil") / "rostersync.db"
        shutil.copyfile(request.getfixturevalue("_migrated_sqlite"), path)
        url = f"sqlite:///{path}"
        database = open_database(url)
        tables.store(
            database,
            [
                tables.district(),
                tables.user("u1", names[0], names[1]),
                tables.school("s1", names[2]),
                tables.run(1),
                tables.plan(1, size=1, counts={"archive": 1}),
                tables.change(
                    1, 0, "archive", "u1", reason="absent", school_id="s1", role="student",
                    before={"status": "active"}, after={"status": "archived"},
                ),
            ],
        )  # fmt: skip
        database.close()
        told = []
        for words in ("show P1", "show P1 --offset 0", "users springfield", "why springfield u1"):
            out = io.StringIO()
            with redirect_stdout(out):
                assert run([*words.split(), "--database", url]) == 0
            assert not ACTS.search(out.getvalue())
            told.append(out.getvalue().count("\n"))
        printed.append(told)
        out = io.StringIO()
        with redirect_stdout(out):
            assert run(["show", "P1", "--format", "csv", "--database", url]) == 0
        assert not ACTS.search(out.getvalue())
        document = io.StringIO()
        with redirect_stdout(document):
            assert run(["users", "springfield", "--json", "--database", url]) == 0
        assert not ACTS.search(document.getvalue())
        (user,) = json.loads(document.getvalue())
        assert [user["given_name"], user["family_name"]] == [*names[:2]]
        rows = list(csv.reader(io.StringIO(out.getvalue())))
        assert len(rows) == 2
        assert not any(re.match(r"\s*[=+\-@\uff0b\uff0d\uff1d\uff20]", cell) for cell in rows[1])
    assert printed[0] == printed[1]


@pytest.mark.parametrize("typed", ["Liam Carter", "liam@x.example", "--liam@x.example", "Liam"])
def test_what_was_typed_wrong_is_not_repeated(cli: Cli, typed: str) -> None:
    calls = (
        ("users", "springfield", "--role", typed), ("users", "springfield", "--limit", typed),
        ("show", "P1", "--format", typed), (typed,), ("users", "springfield", typed),
        ("user", typed), ("users", "springfield", "--status", typed, "--json"),
    )  # fmt: skip
    for call in calls:
        called = cli(*call)
        assert called.code == 2
        assert "liam" not in (called.out + called.err).lower(), call
        assert called.err.strip()


def test_every_ability_of_a_connector_has_words_for_people(cli: Cli) -> None:
    flags = {field.name for field in fields(Capabilities)} - {"origin"}
    assert set(CAPABILITIES) == flags
    assert not any(flag in cli("connectors").out for flag in flags if "_" in flag)


def test_what_is_harmless_stays_as_it_is() -> None:
    assert harmless("Zoë Nguyễn → 李 O'Brien-Lee\n") == "Zoë Nguyễn → 李 O'Brien-Lee\n"


@pytest.mark.parametrize("wide", ["Ana", "安娜", "e\u0301"])
def test_a_long_table_looks_like_a_short_one(
    wide: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    for long_ones_begin_at in (10**6, 3):
        monkeypatch.setattr(room, "LONG_TABLE", long_ones_begin_at)
        rows = [(n, wide * (n % 4), None) for n in range(9)]
        room.table(door.Door(as_json=False, url=None), ("number", "name", "x"), rows, empty="")
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert shown[0].count("\n") == 11


_WORDS = st.text(st.characters(categories=("L", "N"), include_characters="-_.@:"), max_size=30)
_CELLS = st.lists(_WORDS, max_size=4).map(" ".join)


@vary(data=st.data(), columns=st.integers(1, 7), width=st.sampled_from([40, 60, 80, 120]))
@settings(max_examples=examples(12, long=400))
def test_no_table_splits_a_word_however_narrow_the_window(
    data: st.DataObject, columns: int, width: int
) -> None:
    heads = [f"head{number}" for number in range(columns)]
    row = st.lists(_CELLS, min_size=columns, max_size=columns)
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    out = io.StringIO()
    one = door.Door()
    one.__dict__["out"] = Console(file=out, width=width, highlight=False, emoji=False)
    room.table(one, heads, rows, empty="", keep=heads[-1:])
    printed = out.getvalue()
    shown = [head for head in heads if head in printed.split("\n", 1)[0].split()]
    assert shown[0] == heads[0]
    said = printed.split()
    for cells in rows:
        for head, cell in zip(heads, cells, strict=True):
            if head in shown:
                assert set(cell.split()) <= set(said), (head, cell)
    if shown != heads:
        assert "There is no room here for: " in printed
    if len(shown) > 1:
        table_lines = printed.partition("There is no room")[0].splitlines()
        assert max(cell_len(line.rstrip()) for line in table_lines) <= width


def test_a_cell_that_begins_with_a_space_is_not_split() -> None:
    out = io.StringIO()
    one = door.Door()
    one.__dict__["out"] = Console(file=out, width=12, highlight=False, emoji=False)
    room.table(one, ["a", "b"], [("1234567", " 89")], empty="")
    assert not {"8", "9"} & set(out.getvalue().split()), (
        "the column is left out, not its cell split"
    )


@pytest.mark.usefixtures("_hostile")
def test_an_id_is_whole_on_a_terminal_of_eighty_columns(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "80")
    for words in (("users", "springfield"), ("runs", "springfield"), ("plans", "springfield")):
        screen = Terminal()
        monkeypatch.setattr("sys.stdout", screen)
        code = cli(*words).code
        assert code == 0
        said = screen.getvalue().split()
        assert {"u1", "R1", "P1"} & set(said), words


LISTS = (
    ("districts",), ("status",), ("connectors",), ("sources",), ("users", D), ("runs", D),
    ("plans", D), ("files", D), ("skipped", D), ("conflicts", D), ("duplicates", D),
    ("changes", D), ("users", D, "--leaving"), ("show", "P1"),
)  # fmt: skip


def test_no_list_splits_an_id_on_a_terminal_of_eighty_columns(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands between blanks at 80 columns stands so in a window where all has room."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def screen(columns: int, words: tuple[str, ...]) -> set[str]:
        shown = Terminal()
        monkeypatch.setenv("COLUMNS", str(columns))
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", shown)
            assert cli(*words).code == 0, words
        plain = re.sub(r"\x1b\[[\d;]*m", "", shown.getvalue())
        said = plain.partition("There is no room here for")[0]
        return {word for word in said.split() if set(word) != {"─"}}

    folder = Folder(tmp_path)
    key = "f47ac10b-58cc-4372-a567-0e02b2c3d479-of-the-student-information-system-"
    folder.write(
        [Person(f"{key}{n}", f"Quillfeather-Featherstonehaugh-{n}", school="s1") for n in range(9)]
        + [Person("bad", "No Such Role", role="wizard")]
    )
    assert cli("load", str(folder.file)).code == 0
    cli("sync", D)
    folder.write([Person(f"{key}{n}", "Else", school="s1") for n in range(7)])
    cli("sync", D)
    for words in LISTS:
        assert screen(80, words) <= screen(1000, words), words
