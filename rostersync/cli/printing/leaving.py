"""Who leaves soon: what ``users --leaving`` shows."""

from __future__ import annotations

from datetime import date
from typing import Any

from rostersync.cli.door import Door
from rostersync.cli.printing.tables import table
from rostersync.cli.printing.words import count, people, person_name

_LOSSES = {
    "archive": "their place: archived",
    "suspend": "the right to sign in",
    "role": "a role",
    "hold": "one of their sources",
}


def show_leaving(door: Door, district: str, within: int | None) -> None:
    """List those in grace with the day on which they leave, the nearest first.

    Then those who wait for the rollover of their school: they have no day.
    """
    from sync.planning.grace import leaving, warnings
    from sync.rules.return_guard import held_from
    from sync.run import find
    from sync.run.calendar import calendar_of
    from sync.run.clock import utc_now
    from sync.views import people as people_views
    from sync.views.waiting import waiting_now

    now = utc_now()
    with door.reading() as connection:
        row = find.district_row(connection, district)
        found = calendar_of(row)
        leavers = sorted(
            leaving(connection, found, now, within),
            key=lambda one: (one.leaves_on or date.max, one.user_id),
        )
        waiting = [] if within is not None else waiting_now(connection, found.district_id)
        held = held_from(found.state)
        if door.as_json:
            door.document(
                [
                    people_views.user_json(connection, row, one["user_id"])
                    | {
                        "absent_since": None,
                        "leaves_on": None,
                        "fetches_left": 0,
                        "waits_for_rollover": True,
                        "held_from": held,
                    }
                    for one in waiting
                ]
                + [
                    people_views.user_json(connection, row, one.user_id)
                    | {
                        "absent_since": one.absent_since,
                        "leaves_on": one.leaves_on,
                        "fetches_left": one.fetches_left,
                        "waits_for_rollover": False,
                        "held_from": None,
                    }
                    for one in leavers
                ]
            )
            return
        shown = [(one, people_views.user_json(connection, row, one.user_id)) for one in leavers]
        if leavers or not waiting:
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
        if waiting:
            verb = "waits" if len(waiting) == 1 else "wait"
            until = "" if held is None else f", until {held} at the latest"
            door.say(
                f"{people(len(waiting))} {verb} until their school shows the new year{until};"
                " those who are still missing then go to the held plan."
            )
            table(
                door,
                ("user", "name", "role", "school", "would lose"),
                (
                    (
                        one["user_id"], one["name"], one["role"], one["school"],
                        _LOSSES.get(one["what"], one["what"]),
                    )
                    for one in waiting
                ),
                empty="",
            )  # fmt: skip
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
