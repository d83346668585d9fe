"""The pages as a whole: links that lead somewhere, and the README's own commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
