"""What happened: ``runs``, ``changes``, ``why`` and ``skipped``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.door import DistrictArgument, Door, NewestOption, command
from rostersync.cli.printing import words
from rostersync.cli.printing.tables import listing

if TYPE_CHECKING:
    from sync.views.skipped import Skipped


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "runs")(runs)
    command(app, "changes")(changes)
    command(app, "why")(why)
    command(app, "skipped")(skipped)


def runs(
    door: Door,
    district: DistrictArgument,
    limit: NewestOption = 20,
) -> None:
    """List the runs of a district."""
    from sync.run import find
    from sync.views import districts

    with door.reading() as connection:
        row = find.district_row(connection, district)
        zone = row.settings["timezone"]
        listing(
            door,
            districts.runs(connection, row, limit=limit),
            {
                "run": lambda one: one["id"],
                "kind": lambda one: one["kind"],
                "status": lambda one: one["status"].replace("_", " "),
                "started": lambda one: words.moment(one["started_at"], zone),
                "by": lambda one: one["actor"],
                "plans": lambda one: ", ".join(one["plans"]),
                "sources": lambda one: _readings(one["certificates"]),
            },
            empty=f"{district} has had no run yet. Start one: rostersync plan {district}",
        )


def _readings(certificates: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {'complete' if one.get('complete') else 'incomplete'}"
        for name, one in certificates.items()
    )


def changes(
    door: Door,
    district: DistrictArgument,
    since: Annotated[
        str,
        typer.Option(metavar="CURSOR", help="The cursor of the last answer; 0: from the start."),
    ] = "0",
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many.")] = None,
) -> None:
    """Print the applied changes: the feed that an app follows."""
    from rostersync.cli.printing.change_lines import change_line
    from sync.ledger.cursor import cursor_at, serial_of
    from sync.run import find
    from sync.views import plans

    with door.reading() as connection:
        row = find.district_row(connection, district)
        serial = serial_of(connection, row, since)
        end = plans.feed_end(connection, row, serial, limit)
        found = plans.feed(connection, row, serial, end)
        cursor = cursor_at(connection, row, end)
        if door.as_json:
            document = {"district": district, "serial": end, "cursor": cursor, "changes": found}
            door.document(document)
            return
        for one in found:
            at = words.moment(one["at"], row.settings["timezone"])
            door.say(f"{one['serial']}  {at}  {one['actor']}  {change_line(one)}")
        if end == serial:
            door.say(f"Nothing has changed after serial {serial}.")
        door.say(f"To see what comes next: rostersync changes {district} --since {cursor}")


def why(
    door: Door,
    district: DistrictArgument,
    user: Annotated[
        str, typer.Argument(metavar="USER", help="A user id, an email or SOURCE:external_id.")
    ],
) -> None:
    """Explain why somebody is an active user, or is not."""
    from rostersync.cli.printing.timeline import say_timeline
    from sync.run import find
    from sync.views.why import why as reasons

    told = reasons(door.database, district, user)
    if door.as_json:
        door.document(told)
    else:
        with door.reading() as connection:
            zone = find.district_row(connection, district).settings["timezone"]
        say_timeline(door, told, zone)


def skipped(
    door: Door,
    district: DistrictArgument,
    source: Annotated[str | None, typer.Option(metavar="S", help="Only this source.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many rows for each source.")
    ] = None,
) -> None:
    """List the rows of the last reading that could not be used, and what to do."""
    from sync.run import find
    from sync.views.skipped import skipped as skipped_of

    with door.reading() as connection:
        row = find.district_row(connection, district)
        if source is not None:
            wanted = [find.source_row(connection, row, source)]
        else:  # of one that is read no more nothing can be put right
            known = find.source_rows(connection, row.id)
            wanted = [one for one in known if one.configured and not one.retired]
        found = ((one.name, skipped_of(connection, one.id, most=limit)) for one in wanted)
        if door.as_json:
            door.document(
                {
                    "source": name,
                    "read_at": one.read_at,
                    "complete": one.complete,
                    "skipped": one.of,
                    "left_out": one.left_out,
                    "withheld": one.withheld,
                    "withheld_by": one.withheld_by,
                    "rows": one.rows,
                }
                for name, one in found
            )
            return
        for name, one in found:
            _say_skipped(door, row, name, one)
        if not wanted:
            door.say(f"{district} has no source that is read: rostersync sources {district}")


def _say_skipped(door: Door, district: Any, name: str, found: Skipped) -> None:
    from rostersync.cli.printing.change_lines import skipped_lines

    if found.read_at is None:
        door.say(f"{name}: no row was read yet")
        return
    said = "every row could be used"
    if found.of:
        said = f"{words.things(found.of, 'row')} could not be used"
    if found.left_out:
        of_others = f"a value of {words.things(found.left_out, 'row')} was left out"
        said = f"{said}, {of_others}" if found.of else of_others
    at = words.moment(found.read_at, district.settings["timezone"])
    whole = "" if found.complete else ", NOT read completely"
    door.say(f"{name}: {said} (last read {at}{whole})")
    for row in found.rows:
        for line in skipped_lines(row):
            door.say(f"    {line}")
    if found.left:
        rest = words.count(found.left)
        door.say(f"    and {rest} more: rostersync skipped {district.slug} --source {name}")
