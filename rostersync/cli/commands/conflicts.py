"""What a person must decide: ``conflicts`` and ``resolve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name

if TYPE_CHECKING:
    from core.database import Connection


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "conflicts")(conflicts)
    command(app, "resolve")(resolve)


_REASONS = {
    "email_of_another": "a new record has the email address of somebody the district knows",
    "which_school": "only the name of the school is the same",
    "who_is_it": "it may be somebody the district knows",
    "resembles_leaver": "somebody new resembles somebody who leaves",
    "same_name": "only the name of the school is the same",
}


def conflicts(
    door: Door,
    district: DistrictArgument,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are settled.")] = False,
) -> None:
    """List the records for which a person must decide who they are."""
    from sync.run import find
    from sync.views import districts

    with door.reading() as connection:
        row = find.district_row(connection, district)
        found = districts.conflicts(connection, row, status=None if all_ else "open")
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
        typer.Option(
            "--link", metavar="USER|SCHOOL", help="The record belongs to this user or school."
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="The record is somebody new.")] = False,
    actor: ActorOption = None,
) -> int:
    """Decide who a record is: somebody known, or somebody new."""
    from core.errors import UsageError
    from rostersync.cli.printing.outcomes import outcome_json
    from sync.people.conflicts import resolve as decide
    from sync.run import display
    from sync.views import districts

    if (link is None) == (not new):
        raise UsageError(
            "Say who the record is.", hint="Give either --link USER (or SCHOOL) or --new."
        )
    with door.reading() as connection:
        row = districts.conflict_row(connection, conflict)
        target = None if link is None else _target(connection, row, link)
    outcome = decide(door.database, row.id, link=target, new=new, actor=actor or login_name())
    if door.as_json:
        with door.reading() as connection:
            door.document(outcome_json(connection, outcome))
    else:
        whose = "somebody new" if target is None else target
        door.say(f"{display.shown_id(display.CONFLICT, row.id)} is decided: {whose}.")
        door.say(f"The next run acts on it: rostersync sync {outcome.district}")
    return int(outcome.exit_code)


def _target(connection: Connection, row: Any, link: str) -> str:
    """Return the id of the user or school that is meant."""
    from sync.run import find
    from sync.views import people

    if link in {candidate["id"] for candidate in row.candidates}:
        return link
    district = find.district_row(connection, row.slug)
    if row.kind == "school":
        return people.resolve_school(connection, district, link)
    return people.resolve_user(connection, district, link)
