"""What a run leaves open, in sentences: each with its count and the command that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rostersync.cli.printing import words

ROWS_NAMED = 3
"""How many rows a sentence names."""


def still_open(left: Mapping[str, Any], district: str) -> Iterator[str]:
    """Yield a sentence for each thing that ``sync/views/left_open.py`` has found."""
    for source, one in left.get("withheld", {}).items():
        yield withheld_sentence(one["people"], one["rows"], source, district)
    if number := left.get("conflicts"):
        yield conflicts_sentence(number, district)
    if rows := sum(left.get("unusable_rows", {}).values()):
        yield rows_sentence(rows, district)
    if values := sum(left.get("left_out_values", {}).values()):
        verb = "is used without a value" if values == 1 else "are used without a value"
        yield f"{words.things(values, 'row')} {verb}: rostersync skipped {district}"
    if number := left.get("waiting_people"):
        verb = "waits for the rollover" if number == 1 else "wait for the rollover"
        yield f"{words.people(number)} {verb} of a school: rostersync users {district} --leaving"
    if number := left.get("leaving_people"):
        verb = "leaves when the" if number == 1 else "leave when their"
        yield f"{words.people(number)} {verb} grace ends: rostersync users {district} --leaving"
    if number := left.get("look_alikes"):
        verb = "looks" if number == 1 else "look"
        yield (
            f"{words.things(number, 'pair')} of people {verb} like one person:"
            f" rostersync duplicates {district}"
        )


def conflicts_sentence(number: int, district: str) -> str:
    """Tell how many conflicts are open."""
    waits = "conflict waits" if number == 1 else "conflicts wait"
    return f"{words.count(number)} {waits} for a decision: rostersync conflicts {district}"


def rows_sentence(number: int, district: str) -> str:
    """Tell how many rows could not be used."""
    return (
        f"{words.things(number, 'row')} could not be used; nobody leaves for that:"
        f" rostersync skipped {district}"
    )


def withheld_sentence(
    number: int, rows: Sequence[Mapping[str, Any]], source: str, district: str
) -> str:
    """Tell who stays although they are missing, and which rows keep them."""
    who = "1 person who is missing stays"
    if number != 1:
        who = f"{words.people(number)} who are missing stay"
    named = [place_of(row) for row in rows[:ROWS_NAMED]]
    more = " and others" if len(rows) > ROWS_NAMED else ""
    because = f"{'; '.join(named)}{more}" if named else f"of {source}"
    return (
        f"{who}, because a row that could not be read may be theirs: {because}."
        f" To see why: rostersync skipped {district}"
    )


def place_of(row: Mapping[str, Any]) -> str:
    """Return where a row stands: its file and line, or the id of a server's record."""
    if row["line"] is not None:
        return f"{row['file']}, line {row['line']}"
    if row.get("external_id"):
        return f"the record {row['external_id']} of {row['stream']}"
    return str(row["file"] or f"a record of {row['stream']}")
