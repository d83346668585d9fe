"""Looking at vendors: ``check DISTRICT`` and ``discover CONNECTOR``. Nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rostersync.cli.door import DistrictArgument, Door, command, table


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "check")(check)
    command(app, "discover")(discover)


def check(
    door: Door,
    district: DistrictArgument,
    source: Annotated[
        list[str] | None, typer.Option("--source", help="Only this source; may be repeated.")
    ] = None,
) -> int:
    """Try each source: reach, credentials, permissions, roles shared, the vendor's season."""
    from sync.run.outcome import worst
    from sync.sources.check import check_district

    found = []
    for one in check_district(door.database, district, source or ()):
        found.append(one)
        if not door.as_json:
            door.say(f"{one.source} ({one.connector})")
            for line in one.lines:
                door.say(f"  {'ok' if line.passed else 'NO':4}{line.name:<13}{line.message}")
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
    from sync.sources.check import discover as listed

    found = listed(door.database, connector, config)
    if door.as_json:
        door.document(found)
        return
    table(
        door,
        ("id", "name", "the vendor says", "read by"),
        (
            (
                one["id"],
                one["name"],
                one["state"],
                "" if one["status"] == "available" else one["status"],
            )
            for one in found
        ),
        empty="No district shares with this account.",
    )
