"""The ledger, verified: what ``db verify`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rostersync.cli.door import Door
from rostersync.cli.printing.words import count, things

NOT_INTACT = 1
"""The exit code of a history that does not verify: the program must never leave one behind."""


NAMED = 50
"""How many of those who differ are named; --json names all."""


def verify(
    door: Door, district: str | None, *, directory: bool = False, head: Path | None = None
) -> int:
    """Check the hash chain of one district, or of all."""
    from core.errors import UsageError
    from sync.ledger.chain import verify as check
    from sync.ledger.head import read_heads
    from sync.run import find

    if district is not None:
        with door.reading() as connection:
            find.district_row(connection, district)
    heads = None if head is None else read_heads(door.database, head)
    if heads is not None and district is not None and district not in heads:
        raise UsageError(
            f"The file {head} has no head of {district}.",
            hint=f"Make one with: rostersync db head {district} > FILE",
        )
    report = check(door.database, district, directory=directory, heads=heads)
    if door.as_json:
        door.document(report)
    else:
        for one in report["districts"]:
            erased = f", {count(one['erased'])} of them erased by a purge" if one["erased"] else ""
            history = (
                f"{things(one['plans'], 'applied plan')} with {things(one['changes'], 'change')}"
            )
            whole = "intact" if one["intact"] else "NOT INTACT"
            door.say(f"{one['district']}: {whole}, {history}{erased}")
            for problem in one["problems"]:
                door.say(f"    {problem}", style="red")
            if "people" in one:
                _say_apart(door, one["district"], [*one["people"], *one["schools"]])
        if not report["districts"]:
            door.say("No district yet: nothing to verify.")
    return 0 if report["intact"] else NOT_INTACT


def _say_apart(door: Door, district: str, apart: list[dict[str, Any]]) -> None:
    """Name by their ids the people and schools in which the ledger and the tables differ."""
    if not apart:
        door.say("    Everybody and every school is as the history says.")
        return
    schools = sum("school" in one for one in apart)
    people = len(apart) - schools
    nouns = [
        things(number, *words)
        for number, words in ((people, ("person", "people")), (schools, ("school",)))
        if number
    ]
    differs = "differs" if len(apart) == 1 else "differ"
    door.say(f"    {' and '.join(nouns)} {differs} from what the history says:", style="red")
    for one in apart[:NAMED]:
        what = {
            "changed": ", ".join(one["fields"]),
            "missing": "is missing",
            "unknown": "is in no applied plan",
        }[one["what"]]
        door.say(f"      {one.get('user') or one['school']}: {what}")
    if len(apart) > NAMED:
        door.say(f"      and {len(apart) - NAMED} more: --json names all")
    door.say(f"    Put them back by a plan: rostersync db repair {district}")
