"""People who look alike: ``duplicates``, ``merge`` and ``not-same``."""

from __future__ import annotations

from typing import Annotated

import typer

from rostersync.cli.commands.ordered_plans import ApplyOption, ReasonOption, finish
from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing.words import person_name, state

OneArgument = Annotated[
    str, typer.Argument(metavar="USER", help="A user id, an email or SOURCE:external_id.")
]
OtherArgument = Annotated[str, typer.Argument(metavar="USER", help="The other one.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "duplicates")(duplicates)
    command(app, "merge")(merge)
    command(app, "not-same")(not_same)


def duplicates(door: Door, district: DistrictArgument) -> None:
    """List users who look like one person, with the reasons."""
    from sync.acts.duplicates import duplicates as resembling
    from sync.run import find

    with door.reading() as connection:
        found = resembling(connection, find.district_row(connection, district))
        if door.as_json:
            door.document(found)
            return
        pair = None
        for pair in found:
            one, other = pair["users"]
            reasons = ", ".join(reason.replace("_", " ") for reason in pair["reasons"])
            door.say(f"{person_name(one)} ({one['id']}, {state(one)})")
            door.say(f"{person_name(other)} ({other['id']}, {state(other)})")
            door.say(f"    {reasons}")
            door.say(f"    one person:  rostersync merge {district} {one['id']} {other['id']}")
            door.say(f"    two people:  rostersync not-same {district} {one['id']} {other['id']}")
        if pair is None:
            door.say("Nobody looks like somebody else.")


def merge(
    door: Door,
    district: DistrictArgument,
    stays: OneArgument,
    goes: OtherArgument,
    reason: ReasonOption = None,
    apply_: ApplyOption = False,
    actor: ActorOption = None,
) -> int:
    """Make a plan that merges two users into one; the first stays."""
    from sync.acts.merge import merge_users

    who = actor or login_name()
    one, other = (_resolve(door, district, word) for word in (stays, goes))
    outcome = merge_users(door.database, district, one, other, actor=who, reason=reason)
    return finish(door, outcome, apply=apply_, actor=who)


def not_same(
    door: Door,
    district: DistrictArgument,
    one: OneArgument,
    other: OtherArgument,
    actor: ActorOption = None,
) -> int:
    """Remember that two users are two people."""
    from rostersync.cli.printing.outcomes import show_outcome
    from sync.acts.duplicates import not_same as remember

    two = [_resolve(door, district, word) for word in (one, other)]
    outcome = remember(door.database, district, *two, actor=actor or login_name())
    if door.as_json:
        return show_outcome(door, outcome)
    door.say(f"{two[0]} and {two[1]} are two people: duplicates leaves them out from now on.")
    return 0


def _resolve(door: Door, district: str, word: str) -> str:
    from sync.run import find
    from sync.views import people

    with door.reading() as connection:
        return people.resolve_user(connection, find.district_row(connection, district), word)
