"""How ids and times are written for people and programs, and how ids are read back."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from core.errors import UsageError

PLAN, RUN, CONFLICT, UPLOAD = "P", "R", "C", "U"
_NOUNS = {PLAN: "plan", RUN: "run", CONFLICT: "conflict"}


def shown_id(letter: str, number: int) -> str:
    """Return an id as it is printed: ``P12``."""
    return f"{letter}{number}"


def parse_id(letter: str, word: str) -> int:
    """Read an id as printed, in any case, or its number alone. Raises ``UsageError``."""
    found = re.fullmatch(rf"{letter}?0*(\d{{1,18}})", word.strip(), re.IGNORECASE | re.ASCII)
    if not found:
        raise UsageError(
            f"That is not the id of a {_NOUNS[letter]}.",
            hint=f"A {_NOUNS[letter]} has an id like {letter}12.",
        )
    return int(found[1])


def shown_time(value: datetime | None) -> str | None:
    """Return a UTC time as JSON text: ``2026-09-01T05:00:00Z``."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def local_moment(shown: str | None, zone: str | ZoneInfo) -> str:
    """Return a time from JSON on a district's own clock: ``2026-08-11 05:00 CDT``."""
    if shown is None:
        return ""
    at = datetime.fromisoformat(shown).astimezone(
        zone if isinstance(zone, ZoneInfo) else ZoneInfo(zone)
    )
    return f"{at:%Y-%m-%d %H:%M %Z}"
