"""The pages as a whole: links that lead somewhere, and commands that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from rostersync.cli.app import app
from tests.docs.console import ROOT, Block, Reader, blocks, prints, steps

PAGES = [ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_the_readme_shows_what_its_commands_print(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSTERSYNC_KEY", "readme" * 3)  # it decides the ids, and these the order
    picture, *start = [
        block
        for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"))
        if block.kind in {"console", "toml"}
    ]
    reader.do("rostersync emulate --users 300 --csv roster.zip")
    for block in start:
        reader.read(ROOT / "README.md", block)
    reader.do("rostersync emulate --users 300 --day 3 --csv roster.zip")
    reader.read(ROOT / "README.md", picture)


def test_how_it_decides_shows_what_its_commands_print(reader: Reader) -> None:
    for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")):
        if block.file is not None:
            reader.read(ROOT / "README.md", block)
    reader.do("rostersync load district.toml")
    reader.follow(ROOT / "docs" / "how-it-decides.md")
    assert reader.commands == 1


def test_the_two_commands_of_the_readme_are_targets_of_make(reader: Reader) -> None:
    (block,) = [
        block
        for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"))
        if block.kind == "sh"
    ]
    assert "make demo" in block.text
    assert "make test" in block.text
    reader.read(ROOT / "README.md", block)


def test_a_page_that_shows_something_else_than_is_printed_is_found() -> None:
    assert prints(["a", "...", "c… d"], "a\nb\n\nc and d\n")
    assert prints(["made 2026-01-01 05:00 CST"], "made 2027-07-02 06:10 CDT")
    assert not prints(["made 2026-01-01 05:00 UTC"], "made 2027-07-02 06:10 CDT")
    assert not prints(["a"], "a\nb")
    assert not prints(["a", "c"], "a\nb\nc")
    assert not prints(["...", "z"], "a\nb")
    (step,) = steps(Block("console", "$ rostersync plan x\nno\n(exit code 10)\n", None, 1))
    assert (step.command, step.expected, step.code) == ("rostersync plan x", ["no"], 10)


_PATH = re.compile(r"`((?:core|sync|connectors|rostersync|tests|docs|fixtures|bench)/[\w./-]*)`")
FOR_DEVELOPERS = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "design").rglob("*.md"))]


@pytest.mark.parametrize("page", FOR_DEVELOPERS, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = _PATH.findall(page.read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


# ------------------------------------------------- command lines against the real parser

COMMANDS: Any = typer.main.get_command(app)
_PLACEHOLDER = re.compile(r"[\[<]?[A-Z][A-Z_.:|-]*[\]>]?|\.\.\.|…")
_INLINE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)
_END_OF_COMMAND = re.compile(r"\s(?:\||>|>>|&&|;|#|2>)(?:\s|$).*")


class Said(NamedTuple):
    """A command line that a page shows: inline, or to be typed as it stands in a block."""

    text: str
    line: int
    typed: bool


def command_lines(page: str) -> Iterator[Said]:
    """Yield what a page shows as command lines of rostersync, in its blocks and in its text.

    In the text a command may stand without the word ``rostersync``, or an option alone.
    """
    rest = page
    for block in blocks(page):
        for number, line in enumerate(block.text.split("\n"), block.line):
            found = re.match(r"\s*(?:\$ |\d\S* \S+ \S+ \S+ \S+ .*?&& )?(rostersync .*)", line)
            if found:
                yield Said(_END_OF_COMMAND.sub("", found[1]), number, line.startswith("$ "))
        rest = rest.replace(block.text, "\n" * block.text.count("\n"), 1)
    heading = None
    for number, line in enumerate(rest.split("\n"), 1):
        if found := re.match(r"### `rostersync (.+)`$", line):
            heading = found[1]
        for code in _INLINE.finditer(line):
            text = code[2].replace("\\|", "|").strip()
            if heading and line.startswith("| `--") and code.start() == 2:
                text = f"rostersync {heading} {text}"  # the reference's table of options
            elif text.split(" ")[0] in COMMANDS.commands and "--" in text:
                text = f"rostersync {text}"
            if text.startswith(("rostersync ", "--")):
                yield Said(text, number, False)


def parsed(said: Said) -> str | None:
    """Return why the parser of the program does not take a command line; None: it does."""
    if said.text.startswith("--"):
        option = re.split(r"[ =]", said.text)[0]
        return None if option in _every_option(COMMANDS) | OF_OTHERS else "no command has it"
    words = shlex.split(said.text.replace("[", "").replace("]", ""))[1:]
    parser, name = COMMANDS, "rostersync"
    while hasattr(parser, "commands"):
        while words and words[0].startswith("-"):
            flag = words.pop(0)
            found = next((one for one in parser.params if flag in one.opts), None)
            if found is None and flag not in {"--help", "-h"}:
                return f"{name} has no option {flag}"
            if found is not None and not found.is_flag:
                words = words[1:]
        if not words or _PLACEHOLDER.fullmatch(words[0]):
            return None
        name = words.pop(0)
        if name not in parser.commands:
            alternatives = name.split("|")
            if len(alternatives) > 1 and set(alternatives) <= set(parser.commands):
                return None
            return f"there is no command {name}"
        parser = parser.commands[name]
    if said.typed:
        try:
            parser.make_context(name, words)
        except Exception as error:  # noqa: BLE001 - typer has its own click, of which nobody knows
            return str(getattr(error, "message", None) or error) or type(error).__name__
        return None
    return _taken(parser, name, words)


def _taken(parser: Any, name: str, words: list[str]) -> str | None:
    """Return why a mention is not taken. It may leave arguments out and name its values."""
    context = parser.make_context(name, [], resilient_parsing=True)
    context.resilient_parsing = False
    if words and words[-1] in {"...", "…"}:
        words = words[:-1]
    try:
        values, left, _ = parser.make_parser(context).parse_args(args=[*words])
        for one in parser.params:
            given = values.get(one.name)
            if given is not None and not _stands_for_values(given):
                one.handle_parse_result(context, {one.name: given}, [])
    except Exception as error:  # noqa: BLE001 - see above
        said = str(getattr(error, "message", None) or error) or type(error).__name__
        return None if said.endswith("requires an argument.") else said
    return f"more arguments than it takes: {left}" if left else None


def _stands_for_values(given: Any) -> bool:
    every = given if isinstance(given, list | tuple) else [given]
    return any(
        isinstance(one, str) and all(_PLACEHOLDER.fullmatch(part) for part in one.split("="))
        for one in every
    )


def _every_option(parser: Any) -> set[str]:
    found = {flag for one in parser.params for flag in one.opts} | {"--help"}
    for one in getattr(parser, "commands", {}).values():
        found |= _every_option(one)
    return found


OF_OTHERS = {"--record"}
"""Options of pytest and pip that pages name alone."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_parses(page: Path) -> None:
    wrong = [
        f"{page.name}, line {said.line}: {said.text}: {why}"
        for said in command_lines(page.read_text(encoding="utf-8"))
        if (why := parsed(said)) is not None
    ]
    assert not wrong, "\n".join(wrong)


def test_a_command_line_that_does_not_parse_is_found() -> None:
    page = (
        "Say `rostersync sync --al` or `sync --sauce S`, or `rename-domain D --old a --new b`.\n"
        "`--no-such` is none. `rostersync nothing` neither; `rostersync users D extra more`.\n"
        "```console\n$ rostersync undo\n$ rostersync show P1 --format xml\n```\n"
        "### `rostersync source try`\n\n| option | does |\n|---|---|\n| `--key X` | The id. |\n"
    )
    found = [said.text for said in command_lines(page) if parsed(said) is not None]
    assert len(found) == 9, found
    good = (
        "`rostersync sync DISTRICT [--source S]` and `sync --all`, `--json`, `rostersync COMMAND`,"
        " `rostersync source retire|resume`, `rostersync users --status STATUS`.\n"
        "```sh\nrostersync --database sqlite:///x.db status --json | head\n```\n"
    )
    assert [said for said in command_lines(good) if parsed(said) is not None] == []
    assert len(list(command_lines(good))) == 7
