"""The page that a new admin follows, followed."""

from __future__ import annotations

import pytest

from tests.docs.console import ROOT, Block, Reader, prints, steps


def test_a_new_admin_who_follows_the_page_sees_what_it_shows(reader: Reader) -> None:
    reader.follow(ROOT / "docs" / "getting-started.md")
    assert reader.commands > 25
