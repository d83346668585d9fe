"""The page that a school secretary follows, followed."""

from __future__ import annotations

from tests.docs.console import ROOT, Reader


def test_a_secretary_who_follows_the_page_sees_what_it_shows(reader: Reader) -> None:
    reader.follow(ROOT / "docs" / "files.md")
    assert reader.commands > 15
