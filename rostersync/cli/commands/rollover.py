"""``rollover``: what the return from a pause came to, to be confirmed by a person."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import typer

from rostersync.cli.door import DistrictArgument, Door, command, table
from rostersync.cli.printing.words import count, moment


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "rollover")(rollover)


def rollover(
    door: Door,
    district: DistrictArgument,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="D", help="A day; else the return from the last pause."),
    ] = None,
) -> None:
    """Show who is new, left, moved and returned since the pause, by school and role."""
    from sync.run import find
    from sync.run.clock import utc_now
    from sync.views.rollover_report import rollover_report

    with door.reading() as connection:
        report = rollover_report(
            door.database,
            connection,
            district,
            utc_now(),
            None if since is None else _day(since),
        )
        zone = find.district_row(connection, district).settings["timezone"]
    if door.as_json:
        door.document(report)
        return
    show(door, report, zone)


def show(door: Door, report: dict[str, Any], zone: str) -> None:
    """Tell a report to a person, its times on the clock of ``zone``."""
    slug = report["district"]
    door.say(f"{slug}, since {report['since']}")
    for one in report["sources"]:
        dated = moment(one["vendor_time"], zone) or "no date given"
        whole = moment(one["complete_at"], zone) or "never"
        door.say(f"  {one['source']}: the vendor's data are of {dated}, last read whole {whole}")
    door.say()
    kinds = ("new", "returned", "left", "moved", "held")
    rows = [
        (
            group["school"] or "no school",
            group["role"] or "no role",
            *(group[kind] for kind in kinds),
        )
        for group in report["groups"]
    ]
    if rows:
        rows.append(("all", "", *(report["totals"][kind] for kind in kinds)))
    table(door, ("school", "role", *kinds), rows, empty="Nobody came, went or moved.")
    door.say()
    if report["waiting_schools"]:
        door.say(f"{count(report['waiting_schools'])} schools still show the old year.")
    still = report["still_in"]
    door.say(
        f"In no roster and still active: {count(still['manual'])} made by hand,"
        f" {count(still['protected'])} protected, {count(still['stale'])} untouched for 180 days."
    )
    door.say(f"See them: rostersync users {slug} --origin manual --stale")
    door.say("New staff who are in no roster yet: rostersync user add, or a file with upload.")


def _day(word: str) -> date:
    from core.errors import UsageError

    try:
        return date.fromisoformat(word)
    except ValueError:
        raise UsageError("That is not a day.", hint="Give a day like 2026-08-10.") from None
