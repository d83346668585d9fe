"""The timeline of one person, as ``why`` tells it."""

from __future__ import annotations

from typing import Any

from rostersync.cli.door import Door


def say_timeline(door: Door, told: dict[str, Any]) -> None:
    """Print the reasons for a person's state, and what happened to them."""
    door.document(told)
