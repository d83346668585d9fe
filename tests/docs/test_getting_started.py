"""The page that a new admin follows, followed."""

from __future__ import annotations

from tests.docs.console import ROOT, Reader


def test_a_new_admin_who_follows_the_page_sees_what_it_shows(reader: Reader) -> None:
    reader.follow(ROOT / "docs" / "getting-started.md")
    assert reader.commands > 25
