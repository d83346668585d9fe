"""One change in one line."""

from __future__ import annotations

from typing import Any

from rostersync.cli.printing import words
from rostersync.cli.printing.still_open import place_of


def who(change: dict[str, Any]) -> str:
    """Return the name of the person or school of a change, or their id where there is none."""
    return change["name"] or change["user_id"] or change["school_id"] or ""


def skipped_lines(row: dict[str, Any]) -> list[str]:
    """Return where a row is that could not be used, everything wrong with it, and what to do."""
    place = place_of(row)
    if row["left_out"]:
        place = f"{place} (used without the value)"
    told = [_fault(one) for one in row["faults"]]
    if len(told) > 1:
        return [f"{place}:", *(f"    {one}" for one in told)]
    return [f"{place}{', ' if row['column'] else ': '}{told[0]}"]


def _fault(one: dict[str, Any]) -> str:
    column = f"{one['column']}: " if one["column"] else ""
    return f"{column}{one['message']} {one['hint']}".rstrip()


def detail(change: dict[str, Any]) -> str:
    """Return what a change says of its person, for a line under its group."""
    fields = change["fields"]
    if change["action"] == "create":
        seen = [f"grade {fields['grade'][1]}"] if "grade" in fields else []
        seen += [fields[name][1] for name in ("email", "username") if name in fields][:1]
        if fields.get("status", [None, None])[1] == "suspended":
            seen.append("may not sign in")
        if family := change.get("shares_address_with"):
            names = [user["name"] or user["id"] for user in family]
            seen.append(f"shares the address of {' and '.join(names)}")
        return ", ".join([who(change), *seen])
    record = f" ({change['source']}:{change['external_id']})" if change["source"] else ""
    told = {name: pair for name, pair in fields.items() if name not in {"status", "archived_at"}}
    if change["kind"] == "school" and change["reason"] == "absent":
        return f"{who(change)}{record}: no source names it any more"
    if change["action"] == "unlink" and change["reason"] == "absent":
        return f"{who(change)}{record}: this source has that record no more"
    if (
        change["action"] in {"archive", "suspend", "unsuspend", "leaves_scope", "unlink"}
        or not told
    ):
        kept = _kept(told) if change["action"] == "archive" else ""
        return f"{who(change)}{record}: {words.reason(change['reason'])}{kept}"
    return f"{who(change)}: {words.edits(told)}"


def _kept(told: dict[str, Any]) -> str:
    """Return the words of an archive by hand that stays although a source shares its person."""
    if not told.get("kept_archived", (None, None))[1]:
        return ""
    until = told.get("kept_until", (None, None))[1]
    return f", to stay so until {until}" if until else ", to stay so"


def change_line(change: dict[str, Any]) -> str:
    """Return a change that stands alone: whom, where, what."""
    action = change["action"]
    school = change["kind"] == "school"
    what = words.verb(action, 1, school=school)
    if school:
        return f"{words.glyph(action)} {detail(change)}: school {what}"
    role = words.ROLE_NOUNS.get(change["role"] or "", words.ROLE_NOUNS[""])[0]
    where = f"{role} of {change['school']}" if change["school"] else role
    return f"{words.glyph(action)} {where} {what}: {detail(change)}"
