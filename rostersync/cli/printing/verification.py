"""The ledger, verified: what ``db verify`` prints."""

from __future__ import annotations

from rostersync.cli.door import Door
from rostersync.cli.printing.words import count, things

NOT_INTACT = 1
"""The exit code of a history that does not verify: the program must never leave one behind."""


def verify(door: Door, district: str | None) -> int:
    """Check the hash chain of one district, or of all."""
    from sync.ledger.chain import verify as check
    from sync.run import find

    if district is not None:
        with door.reading() as connection:
            find.district_row(connection, district)
    report = check(door.database, district)
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
        if not report["districts"]:
            door.say("No district yet: nothing to verify.")
    return 0 if report["intact"] else NOT_INTACT
