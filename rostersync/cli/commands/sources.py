"""Sources and their vendors: ``check``, ``discover``, ``sources``, ``source retire|resume|try``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing import words
from rostersync.cli.printing.tables import listing

SourceArgument = Annotated[str, typer.Argument(metavar="SOURCE", help="The source's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "check")(check)
    command(app, "discover")(discover)
    command(app, "sources")(sources)
    group = typer.Typer(
        help="One source: retire it, resume it, try its mapping.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    command(group, "retire")(retire)
    command(group, "resume")(resume)
    command(group, "try")(try_one)
    app.add_typer(group, name="source")


def sources(
    door: Door,
    district: Annotated[
        str | None, typer.Argument(metavar="[DISTRICT]", help="One district; default: all.")
    ] = None,
) -> None:
    """List the sources of a district, or of all."""
    from sync.run import find
    from sync.views import districts

    with door.reading() as connection:
        row = None if district is None else find.district_row(connection, district)
        zones = districts.time_zones(connection)
        listing(
            door,
            districts.sources(connection, row),
            {
                "district": lambda one: one["district"],
                "source": lambda one: one["source"],
                "connector": lambda one: one["connector"],
                "order": lambda one: one["precedence"],
                "status": lambda one: one["status"].replace("_", " "),
                "people": lambda one: one["people"],
                "last complete": lambda one: words.moment(
                    one["complete_at"], zones[one["district"]]
                ),
            },
            empty="No source yet. Load a district file: rostersync load FILE.toml",
        )


def retire(
    door: Door, district: DistrictArgument, source: SourceArgument, actor: ActorOption = None
) -> int:
    """Make a plan that ends what a source holds.

    It is printed, and changes nobody until it is applied.
    """
    from rostersync.cli.printing.outcomes import show_outcome
    from sync.acts.retire import retire_source

    outcome = retire_source(door.database, district, source, actor=actor or login_name())
    return show_outcome(door, outcome, whole=True)


def resume(door: Door, district: DistrictArgument, source: SourceArgument) -> None:
    """Read a source again that was stopped after failures."""
    from sync.run import find
    from sync.sources.health import resume_source
    from sync.views import districts

    was_set_aside = resume_source(door.database, district, source)
    with door.reading() as connection:
        row = find.district_row(connection, district)
        shown = next(one for one in districts.sources(connection, row) if one["source"] == source)
    if door.as_json:
        door.document(shown)
    else:
        door.say(
            f"{source} is polled again at the next run."
            if was_set_aside
            else f"{source} was not set aside: there is nothing to resume."
        )


def try_one(
    door: Door,
    district: DistrictArgument,
    source: SourceArgument,
    key: Annotated[str, typer.Option("--id", metavar="X", help="The record's external id.")],
) -> None:
    """Show one record, as the vendor serves it and as we read it."""
    from sync.views.try_record import try_record

    tried = try_record(door.database, district, source, key)
    if door.as_json:
        door.document(tried)
        return
    if tried["skipped"]:
        door.say(f"It cannot be used: {tried['skipped']['message']}")
        door.say(tried["skipped"]["hint"])
        return
    for stream, fields in tried["fields"].items():
        door.say(f"As served ({stream}):")
        for name, value in fields.items():
            door.say(f"    {name} = {value}")
    door.say("As read:")
    for name, value in tried["record"].items():
        mapped = " (by the mapping)" if name in tried["mapped"] else ""
        door.say(f"    {name} = {value}{mapped}")


RUNS_LOOKED_AT = 100
"""The newest runs, in which ``check`` looks for what a source's last reading noted."""


def check(
    door: Door,
    district: DistrictArgument,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Only this source; may be repeated.")
    ] = None,
) -> int:
    """Check each source: connectivity, credentials, permissions, shared roles, vendor pauses.

    What its last reading noted, and the words it did not understand, are printed too.
    """
    from rostersync.cli.printing.outcomes import noted_lines
    from sync.run import find
    from sync.run.outcome import worst
    from sync.sources.check import check_district
    from sync.views import districts

    noted: dict[str, list[str]] = {}
    if not door.as_json:
        with door.reading() as connection:
            row = find.district_row(connection, district)
            noted = noted_lines(districts.runs(connection, row, limit=RUNS_LOOKED_AT))
    found = []
    for one in check_district(door.database, district, source or ()):
        found.append(one)
        if not door.as_json:
            door.say(f"{one.source} ({one.connector})")
            for line in one.lines:
                door.say(f"  {'ok' if line.passed else 'NO':4}{line.name:<13}{line.message}")
            for said in noted.get(one.source, ()):
                door.say(f"      {'noted':<13}{said}")
    if door.as_json:
        door.document({"district": district, "sources": [one.as_json() for one in found]})
    elif not found:
        door.say("No source yet. Load a district file: rostersync load FILE.toml")
    return worst(one.exit_code for one in found)


def discover(
    door: Door,
    connector: Annotated[str, typer.Argument(metavar="CONNECTOR", help="See `connectors`.")],
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE.toml", help="The account's config.")
    ],
) -> None:
    """List the districts that a vendor account may read, and which of them a source reads."""
    from sync.sources.check import discover as shared

    with door.database_or_empty() as database:
        found = shared(database, connector, config)
    listing(
        door,
        found,
        {
            "id": lambda one: one["id"],
            "name": lambda one: one["name"],
            "the vendor says": lambda one: one["state"],
            "read by": lambda one: "" if one["status"] == "available" else one["status"],
        },
        empty="No district shares with this account.",
    )
