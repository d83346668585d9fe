"""What a person must decide: ``conflicts`` and ``resolve``."""

from __future__ import annotations

from typing import Annotated

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "conflicts")(conflicts)
    command(app, "resolve")(resolve)


_REASONS = {
    "email_in_use": "a new record has the email address of somebody else",
    "same_email": "a new record has the email address of somebody else",
    "which_school": "only the name of the school is the same",
    "who_is_it": "it may be somebody the district knows",
    "resembles_leaver": "somebody new resembles somebody who leaves",
}


def conflicts(
    door: Door,
    district: DistrictArgument,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are settled.")] = False,
) -> None:
    """List the records of which a person must decide whose they are."""
    from sync import views

    with door.reading() as connection:
        row = views.district_row(connection, district)
        found = views.conflicts(connection, row, status=None if all_ else "open")
        if door.as_json:
            door.document(found)
            return
        one = None
        for one in found:
            noun = "school" if one["kind"] == "school" else "person"
            said = _REASONS.get(one["reason"], one["reason"].replace("_", " "))
            door.say(f"{one['id']}  {one['source']}:{one['external_id']}  {noun}: {said}")
            for candidate in one["candidates"]:
                evidence = ", ".join(candidate.get("evidence", ()))
                door.say(f"    may be {candidate['id']}" + (f" ({evidence})" if evidence else ""))
                if one["status"] == "open":
                    door.say(f"        rostersync resolve {one['id']} --link {candidate['id']}")
            if one["status"] == "open":
                door.say(f"    is somebody new: rostersync resolve {one['id']} --new")
            else:
                door.say(f"    {one['status']}: {one['decision']} by {one['decided_by']}")
        if one is None:
            door.say("No open conflicts." if not all_ else "No conflicts.")


def resolve(
    door: Door,
    conflict: Annotated[str, typer.Argument(metavar="CONFLICT", help="Its id, like C3.")],
    link: Annotated[
        str | None,
        typer.Option("--link", metavar="USER|SCHOOL", help="The record is this one's."),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="The record is somebody new.")] = False,
    actor: ActorOption = None,
) -> int:
    """Decide whose record it is: somebody the district knows, or somebody new."""
    from core.errors import UsageError
    from rostersync.cli.outcome import show_outcome
    from sync.conflicts import resolve as decide
    from sync.views import CONFLICT, parse_id

    if (link is None) == (not new):
        raise UsageError(
            "Say whose record it is.", hint="Give either --link USER (or SCHOOL) or --new."
        )
    number = parse_id(CONFLICT, conflict)
    outcome = decide(door.database, number, link=link, new=new, actor=actor or login_name())
    return show_outcome(door, outcome)
