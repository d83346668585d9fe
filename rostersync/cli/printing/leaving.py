"""Who leaves soon: what ``users --leaving`` shows."""

from __future__ import annotations

from datetime import date
from typing import Any

from rostersync.cli.door import Door, table
from rostersync.cli.printing.words import count, people, person_name


def show_leaving(door: Door, district: str, within: int | None) -> None:
    """List those in grace with the day on which they leave, the nearest first."""
    from sync.planning.grace import leaving, warnings
    from sync.run import find
    from sync.run.calendar import calendar_of
    from sync.run.clock import utc_now
    from sync.views import people as people_views

    now = utc_now()
    with door.reading() as connection:
        row = find.district_row(connection, district)
        found = calendar_of(row)
        leavers = sorted(
            leaving(connection, found, now, within),
            key=lambda one: (one.leaves_on or date.max, one.user_id),
        )
        if door.as_json:
            door.document(
                [
                    people_views.user_json(connection, row, one.user_id)
                    | {
                        "absent_since": one.absent_since,
                        "leaves_on": one.leaves_on,
                        "fetches_left": one.fetches_left,
                    }
                    for one in leavers
                ]
            )
            return
        shown = [(one, people_views.user_json(connection, row, one.user_id)) for one in leavers]
        table(
            door,
            ("user", "name", "roles", "gone since", "leaves on", "was in"),
            (
                (
                    one.user_id,
                    person_name(user),
                    ", ".join(user["roles"]),
                    one.absent_since,
                    one.leaves_on or "after the pause",
                    ", ".join(one.sources),
                )
                for one, user in shown
            ),
            empty="Nobody is about to leave.",
        )
        for warned in warnings(connection, found, now):
            door.say(warning_sentence(warned))


def warning_sentence(warned: dict[str, Any]) -> str:
    """Tell one limit that will be passed when grace ends."""
    who = people(warned["found"], warned["role"])
    where = f" of {warned['school']}" if warned["school"] else ""
    return (
        f"{who}{where} are gone from {warned['source']}, more than the limit of"
        f" {count(warned['allowed'])}: they will be held when their grace ends."
    )
