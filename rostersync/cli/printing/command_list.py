"""The list of commands in ``rostersync --help``: each with its first sentence, whole."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_WHOLE = 1_000


class Listing(TyperGroup):
    """A group whose list of commands wraps what does not fit, instead of cutting it short."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list."""
        rows = [
            (name, command.get_short_help_str(_WHOLE))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
