"""Each field of a user can be set by hand and is printed under an English name."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from core.models import PROFILE_FIELDS
from rostersync.cli.app import app
from rostersync.cli.printing.words import FIELD_WORDS

ENGLISH_ALREADY = {"email", "username", "grade"}
"""Fields that are printed by their own name, which is an English word."""
NO_OPTION: frozenset[str] = frozenset()
"""Fields that nobody can set by hand, on purpose."""


@pytest.mark.parametrize("act", ["add", "edit"])
def test_each_field_has_an_option_of_user_add_and_user_edit(act: str) -> None:
    root: Any = typer.main.get_command(app)
    command = root.commands["user"].commands[act]
    missing = set(PROFILE_FIELDS) - {one.name for one in command.params}
    assert missing == NO_OPTION, "give it an option in rostersync/cli/commands/user.py"


def test_each_field_has_an_english_name() -> None:
    missing = set(PROFILE_FIELDS) - FIELD_WORDS.keys()
    assert missing == ENGLISH_ALREADY, "name it in rostersync/cli/printing/words.py"
