"""The page on summer, followed by its reader."""

from __future__ import annotations

from tests.docs.console import ROOT, Reader


def test_the_page_on_summer_shows_what_its_commands_print(reader: Reader) -> None:
    reader.follow(ROOT / "docs" / "summer.md")
    assert reader.commands > 12
