"""FINRA FLEX: ``flex status`` and ``flex request``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing.outcomes import run_act, say_how_to_undo, show_outcome
from rostersync.cli.printing.tables import listing

CrdArgument = Annotated[str, typer.Argument(metavar="CRD", help="The person's CRD number.")]
FirstOption = Annotated[str, typer.Option("--first-name", help="First name.")]
LastOption = Annotated[str, typer.Option("--last-name", help="Last name.")]
EmailOption = Annotated[str, typer.Option("--email", help="Email address.")]


class DeliveryWord(StrEnum):
    """Where a delivery stands."""

    PROVISIONING = "provisioning"
    AVAILABLE = "available"


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    flex = typer.Typer(no_args_is_help=True, help="FINRA FLEX: delivery status and changes.")
    request = typer.Typer(no_args_is_help=True, help="Changes after the one upload.")
    command(flex, "status")(status)
    command(request, "add")(add)
    command(request, "remove")(remove)
    command(request, "update")(update)
    command(request, "list")(list_)
    command(request, "text")(text)
    command(request, "confirm")(confirm)
    flex.add_typer(request, name="request")
    app.add_typer(flex, name="flex")


def status(
    door: Door,
    district: DistrictArgument,
    set_: Annotated[
        DeliveryWord | None, typer.Option("--set", help="Set the status of the delivery.")
    ] = None,
    actor: ActorOption = None,
) -> None:
    """Show or set the status of the delivery to a firm."""
    from sync.acts import flex
    from sync.acts.hand_edit import CHANGES_TO

    if set_ is not None:
        word = flex.AVAILABLE if set_ is DeliveryWord.AVAILABLE else flex.PROVISIONING
        flex.set_delivery(door.database, district, word, actor=actor or login_name())
    with door.reading() as connection:
        told = flex.delivery(connection, district)
    if door.as_json:
        door.document(told)
        return
    door.say(f"{district}: {told['status']}")
    if told["upload_accepted"]:
        door.say(f"The upload was accepted. Changes go to {CHANGES_TO}:")
        door.say("rostersync flex request add|remove|update.")
    elif told["status"] == flex.AVAILABLE:
        door.say(f"One upload can be made: rostersync upload {district} FILE.")
    else:
        door.say(f"Nothing can be uploaded yet; rostersync upload {district} FILE --plan checks.")
    door.say(f"Open change requests: {told['open_requests']}")
    door.say("Courses are assigned in FLEX itself, not here.")


def add(
    door: Door,
    district: DistrictArgument,
    crd: CrdArgument,
    first_name: FirstOption,
    last_name: LastOption,
    email: EmailOption,
    actor: ActorOption = None,
) -> None:
    """Ask for somebody to be added."""
    fields = {"first_name": first_name, "last_name": last_name, "email": email}
    _ask(door, district, "add", crd, fields, actor)


def remove(
    door: Door, district: DistrictArgument, crd: CrdArgument, actor: ActorOption = None
) -> None:
    """Ask for somebody to be removed."""
    _ask(door, district, "remove", crd, {}, actor)


def update(
    door: Door,
    district: DistrictArgument,
    crd: CrdArgument,
    first_name: FirstOption = "",
    last_name: LastOption = "",
    email: EmailOption = "",
    actor: ActorOption = None,
) -> None:
    """Ask for somebody's name or address to be changed."""
    fields = {"first_name": first_name, "last_name": last_name, "email": email}
    _ask(door, district, "update", crd, fields, actor)


def _ask(
    door: Door, district: str, kind: str, crd: str, fields: dict[str, str], actor: str | None
) -> None:
    from sync.acts import flex
    from sync.acts.hand_edit import CHANGES_TO

    number = flex.ask(
        door.database,
        district,
        kind,  # type: ignore[arg-type]
        crd,
        fields,
        actor=actor or login_name(),
    )
    if door.as_json:
        with door.reading() as connection:
            door.document(next(r for r in flex.requests(connection, district) if r["id"] == number))
        return
    door.say(f"{number} is recorded. Nobody has changed yet.")
    door.say(f"Mail to {CHANGES_TO}: rostersync flex request text {district}")


def list_(door: Door, district: DistrictArgument) -> None:
    """List the change requests."""
    from sync.acts import flex

    with door.reading() as connection:
        listing(
            door,
            flex.requests(connection, district),
            {
                "request": lambda one: one["id"],
                "asks to": lambda one: one["kind"],
                "crd": lambda one: one["crd_id"],
                "fields": lambda one: ", ".join(one["fields"]),
                "status": lambda one: one["status"],
                "by": lambda one: one["actor"],
            },
            empty="No change was asked for.",
        )


def text(door: Door, district: DistrictArgument) -> None:
    """Write the mail that asks the help desk for every open change."""
    from sync.acts import flex

    with door.reading() as connection:
        told = flex.mail_text(connection, district)
    if door.as_json:
        door.document({"district": district, "text": told})
    else:
        for line in (told.rstrip() or "No change is open.").split("\n"):
            door.say(line)


def confirm(
    door: Door,
    district: DistrictArgument,
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Its id, like F3.")],
    actor: ActorOption = None,
) -> int:
    """Apply a change that the help desk has confirmed."""
    from sync.acts import flex

    outcome = run_act(
        district,
        lambda: flex.confirm(door.database, district, request, actor=actor or login_name()),
    )
    code = show_outcome(door, outcome)
    if not door.as_json:
        say_how_to_undo(door, outcome)
    return code
