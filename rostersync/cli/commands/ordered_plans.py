"""Plans that a person orders: ``undo``, ``rename-domain``, ``switch``, ``purge``.

Nothing is changed until the plan is applied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing.tables import table
from rostersync.cli.printing.words import count

if TYPE_CHECKING:
    from sync.run.outcome import Outcome

ApplyOption = Annotated[bool, typer.Option("--apply", help="Apply the plan at once.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why, for the history.")]

NAMED = 20
"""How many people a list names before it only counts them."""


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "undo")(undo)
    command(app, "rename-domain")(rename_domain)
    command(app, "switch")(switch)
    command(app, "purge")(purge)


def undo(
    door: Door,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, like R12.")],
    reason: ReasonOption = None,
    apply_: ApplyOption = False,
    actor: ActorOption = None,
) -> int:
    """Make a plan that undoes a run."""
    from sync.acts.undo import undo_run
    from sync.run.display import RUN, parse_id

    who = actor or login_name()
    outcome = undo_run(door.database, parse_id(RUN, run), actor=who, reason=reason)
    say_left(door, outcome, "Changed since, and left as they are")
    return finish(door, outcome, apply=apply_, actor=who)


def rename_domain(
    door: Door,
    district: DistrictArgument,
    old: Annotated[str, typer.Option("--from", metavar="DOMAIN", help="The present domain.")],
    new: Annotated[str, typer.Option("--to", metavar="DOMAIN", help="The new domain.")],
    reason: ReasonOption = None,
    apply_: ApplyOption = False,
    actor: ActorOption = None,
) -> int:
    """Make a plan that moves everybody to another email domain."""
    from sync.acts.rename_domain import rename_domain as rename

    who = actor or login_name()
    outcome = rename(door.database, district, old, new, actor=who, reason=reason)
    say_left(door, outcome, "Left out, because somebody has the new address")
    return finish(door, outcome, apply=apply_, actor=who)


def switch(
    door: Door,
    district: DistrictArgument,
    old: Annotated[str, typer.Option("--from", metavar="SOURCE", help="The present source.")],
    new: Annotated[str, typer.Option("--to", metavar="SOURCE", help="The new source.")],
    apply_: ApplyOption = False,
    actor: ActorOption = None,
) -> int:
    """Make a plan that moves everybody from one source to another."""
    from sync.acts.vendor_switch import switch_source

    who = actor or login_name()
    with door.progress() as progress:
        outcome = switch_source(door.database, district, old, new, actor=who, progress=progress)
    if outcome.report is not None and not door.as_json:
        _say_report(door, outcome.report)
        door.say()
        if outcome.report["lost"]:
            door.say(f"Once it is applied: rostersync source retire {district} {old}")
    return finish(door, outcome, apply=apply_, actor=who)


def _say_report(door: Door, report: dict[str, Any]) -> None:
    """Tell who goes over from one source to the other, school by school."""
    people, matched = report["people"], report["matched"]
    rate = f" ({matched / people:.1%})" if people else ""
    door.say(
        f"{count(matched)} of {count(people)} people of {report['from']} are in"
        f" {report['to']} too{rate}; {count(report['new'])} are new"
    )
    table(
        door,
        ("school", "people", "matched", "weak", "lost"),
        (
            (one["name"] or "no school", one["people"], one["matched"], one["weak"], one["lost"])
            for one in report["schools"]
        ),
        empty="The old source holds nobody.",
    )
    for name in report["own_numbers"]:
        door.say(f"{name} is {report['to']}'s own and was not compared.")
    for one in report["numbers"]:
        door.say(
            f"{one['number']} differs for {count(one['differ'])} people who look the same"
            f" otherwise, and is the same for {count(one['agree'])}: it seems to be"
            f" {report['to']}'s own number."
        )
    if report["numbers"]:
        own = ", ".join(
            f'"{name}"'
            for name in sorted(
                {*report["own_numbers"], *(one["number"] for one in report["numbers"])}
            )
        )
        door.say(
            f"If so, write  own_numbers = [{own}]  under the source {report['to']} in the"
            " district file, load it and switch again: it is then not compared."
        )


def purge(
    door: Door,
    district: DistrictArgument,
    reason: ReasonOption = None,
    apply_: ApplyOption = False,
    actor: ActorOption = None,
) -> int:
    """Make a plan that erases people who were archived too long ago."""
    from sync.acts.purge import purge as plan_purge

    who = actor or login_name()
    outcome = plan_purge(door.database, district, actor=who, reason=reason)
    return finish(door, outcome, apply=apply_, actor=who)


def say_left(door: Door, outcome: Outcome, said: str) -> None:
    """Name the people whom an ordered plan leaves as they are."""
    if outcome.left and not door.as_json:
        more = f" and {len(outcome.left) - NAMED} more" if len(outcome.left) > NAMED else ""
        door.say(f"{said}: {', '.join(outcome.left[:NAMED])}{more}")
        door.say()


def finish(door: Door, outcome: Outcome, *, apply: bool, actor: str) -> int:
    """Print an asked-for plan; with ``apply`` run it first."""
    from rostersync.cli.printing.outcomes import show_outcome
    from sync.acts.approval import apply_plan

    if apply and outcome.plan_ids:
        left, report = outcome.left, outcome.report
        outcome = apply_plan(door.database, outcome.plan_ids[0], actor=actor)
        outcome.left, outcome.report = left, report
    return show_outcome(door, outcome, whole=True)
