"""The page of one person, as ``why`` tells it: where they stand, whose word counts, what happened.

Values in (``sync/why.py`` says which), lines out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rostersync.cli import words
from rostersync.cli.door import Door

_NEXT = {"leaves": "Would leave", "comes_back": "Comes back", "comes_in": "Comes in"}


def say_timeline(door: Door, told: dict[str, Any]) -> None:
    """Print the page of one person."""
    for text, style in _page(told):
        door.say(text, style=style)


def _page(told: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    user = told["user"]
    if user is None:
        record = told["records"][0]
        yield f"{record['source']}:{record['external_id']} (no user yet)", "bold"
    else:
        yield f"{words.person_name(user)} ({user['id']}): {words.state(user)}", "bold"
    for reason in told["reasons"]:
        yield f"  {reason['means']}", None
    for key, sentence in told["next"].items():
        yield f"  {_NEXT.get(key, key)}: {sentence}", None
    for title, lines in (
        ("Waits for approval", _held(told)),
        ("Waits for a decision", _conflicts(told)),
        ("Records", _records(told)),
        ("Fields", _fields(told)),
        ("Locked by hand", _locks(told)),
        ("What happened", _history(told)),
    ):
        found = list(lines)
        if found:
            yield "", None
            yield title, "bold"
            for line in found:
                yield f"  {line}", None


def _held(told: dict[str, Any]) -> Iterator[str]:
    for one in told["held"]:
        verb = words.verb(one["action"], 1)
        yield f"{one['plan_id']}: {verb}. {one['means']}"
        for limit in one["limits"]:
            yield f"  {limit['means']}"


def _conflicts(told: dict[str, Any]) -> Iterator[str]:
    for one in told["conflicts"]:
        said = one.get("means") or words.reason(one["reason"])
        record = f"{one['source']}:{one['external_id']}"
        if one["status"] == "open":
            yield f"{one['id']} {record}: {said}"
        else:
            decision = f", {one['decision']}" if one["decision"] else ""
            yield f"{one['id']} {record}: {one['status']}{decision}"


def _records(told: dict[str, Any]) -> Iterator[str]:
    for one in told["records"]:
        notes = []
        if not one["present"]:
            since = f" since {_day(one['absent_since'])}" if one["absent_since"] else ""
            notes.append(f"not shared{since}")
        elif not one["in_scope"]:
            notes.append("outside what the source is asked for")
        else:
            notes.append("shared")
        if one["held"]:
            notes.append("holds them")
        if one.get("enabled") is False:
            notes.append("may not sign in")
        yield f"{one['source']}:{one['external_id']}  {', '.join(notes)}"


def _fields(told: dict[str, Any]) -> Iterator[str]:
    for name, one in told["fields"].items():
        others = ", ".join(
            f"{source} says {words.value(other)}" for source, other in one["others"].items()
        )
        locked = ", locked" if one["locked"] else ""
        more = f"; {others}" if others else ""
        field = words.FIELD_WORDS.get(name, name)
        yield f"{field}: {words.value(one['value'])}  (from {one['from']}{locked}{more})"


def _locks(told: dict[str, Any]) -> Iterator[str]:
    for one in told["locks"]:
        by = f" by {one['by']}" if one.get("by") else ""
        since = f" since {_day(one['since'])}" if one.get("since") else ""
        field = words.FIELD_WORDS.get(one["field"], one["field"])
        yield f"{field}{since}{by}"


def _history(told: dict[str, Any]) -> Iterator[str]:
    for one in told["changes"]:
        verb = words.verb(one["action"], 1)
        fields = {
            name: pair for name, pair in one["fields"].items() if name not in ("status", "origin")
        }
        what = f"{words.edits(fields)} " if fields and one["action"] != "create" else ""
        record = f" {one['source']}:{one['external_id']}" if one["source"] else ""
        note = f" ({one['note']})" if one.get("note") else ""
        yield (
            f"{_day(one['at'])}  {one['plan_id']}  {one['actor']}  {verb}{record}:"
            f" {what}[{words.reason(one['reason'])}]{note}"
        )


def _day(shown: str | None) -> str:
    return "" if not shown else f"{shown[:10]} {shown[11:16]} UTC"
