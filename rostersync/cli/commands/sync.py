"""Syncs and their plans, carried out: ``plan``, ``sync``, ``apply``, ``approve``, ``reject``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.commands.plans import PlanArgument, plan_documents
from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing.outcomes import (
    outcome_json,
    run_act,
    say_outcome,
    show_outcome,
    tell_news,
)

if TYPE_CHECKING:
    from sync.run.outcome import Outcome

SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="S", help="Read only this source; may be repeated."),
]
FullOption = Annotated[
    bool, typer.Option("--full", help="Read everything again, even what seems unchanged.")
]
PauseOption = Annotated[
    bool, typer.Option("--during-pause", help="Do it even though the district is paused.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "plan")(plan)
    command(app, "sync")(sync)
    command(app, "apply")(apply)
    command(app, "approve")(approve)
    command(app, "reject")(reject)


def plan(
    door: Door,
    district: DistrictArgument,
    source: SourceOption = None,
    full: FullOption = False,
    summary: Annotated[
        bool, typer.Option("--summary", help="Only the totals, without the changes.")
    ] = False,
    actor: ActorOption = None,
) -> int:
    """Show what a sync would change; change nobody.

    The rosters are read, and what would change is stored as a plan that ``apply`` takes.
    Ends with exit code 10 if something would be held.
    """
    from sync.engine import plan_district

    with door.progress() as progress:
        outcome = plan_district(
            door.database,
            district,
            sources=source or (),
            full=full,
            actor=actor or login_name(),
            progress=progress,
        )
    if door.as_json:
        with door.reading() as connection:
            head = outcome_json(connection, outcome)
            found = plan_documents(connection, outcome.plan_ids, whole=not summary)
            door.document({**head, "plans": found})
    else:
        say_outcome(door, outcome, whole=not summary)
    return int(outcome.exit_code)


def apply(
    door: Door, plan: PlanArgument, during_pause: PauseOption = False, actor: ActorOption = None
) -> int:
    """Apply a plan: exactly what it shows, or nothing."""
    from sync.acts.approval import apply_plan

    number, slug = _plan(door, plan)
    outcome = run_act(
        slug,
        lambda: apply_plan(
            door.database, number, actor=actor or login_name(), during_pause=during_pause
        ),
    )
    return _show_decision(door, outcome)


def approve(
    door: Door,
    plan: PlanArgument,
    reason: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    no_apply: Annotated[
        bool, typer.Option("--no-apply", help="Release it only; apply it later.")
    ] = False,
    during_pause: PauseOption = False,
    actor: ActorOption = None,
) -> int:
    """Release a held plan and apply it."""
    from sync.acts.approval import approve_plan

    number, slug = _plan(door, plan)
    outcome = run_act(
        slug,
        lambda: approve_plan(
            door.database,
            number,
            actor=actor or login_name(),
            reason=reason,
            apply=not no_apply,
            during_pause=during_pause,
        ),
    )
    return _show_decision(door, outcome)


def reject(
    door: Door,
    plan: PlanArgument,
    reason: Annotated[str, typer.Option(help="Why, for the history.")],
    actor: ActorOption = None,
) -> int:
    """Reject a plan. This is remembered until the roster says something new."""
    from sync.acts.approval import reject_plan

    number, slug = _plan(door, plan)
    outcome = run_act(
        slug,
        lambda: reject_plan(door.database, number, actor=actor or login_name(), reason=reason),
    )
    return _show_decision(door, outcome)


def _show_decision(door: Door, outcome: Outcome) -> int:
    """Print what a decision on a plan came to: nothing was read, so no reading is told."""
    if not door.as_json:
        outcome = replace(outcome, certificates={})
    return show_outcome(door, outcome)


def _plan(door: Door, word: str) -> tuple[int, str]:
    """Return a plan's number and the slug of its district. Raises ``UsageError``."""
    from sync.views import plans as plan_views

    with door.reading() as connection:
        row = plan_views.plan_row(connection, word)
        return row.id, str(plan_views.plan_json(connection, row)["district"])


def sync(
    door: Door,
    district: Annotated[
        str | None, typer.Argument(metavar="DISTRICT", help="The district's slug.")
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Every district, one after the other.")
    ] = False,
    source: SourceOption = None,
    full: FullOption = False,
    during_pause: PauseOption = False,
    actor: ActorOption = None,
) -> int:
    """Read the rosters and apply what is safe; the rest is held.

    What is held waits for a person's approval, and the exit code is 10.
    """
    from core.errors import UsageError
    from sync.engine import sync_district
    from sync.run import find
    from sync.run.outcome import worst
    from sync.views import districts

    if (district is None) == (not all_):
        raise UsageError("Say which district to sync.", hint="Give DISTRICT, or --all.")
    if all_ and source:
        raise UsageError(
            "--source goes with one district.", hint="Give DISTRICT, or leave out --source."
        )
    with door.reading() as connection:
        slugs = (
            [one["district"] for one in districts.districts(connection)]
            if district is None
            else [find.district_row(connection, district).slug]
        )

    def one(slug: str) -> Any:
        with door.progress() as progress:
            return run_act(
                slug,
                lambda: sync_district(
                    door.database,
                    slug,
                    sources=source or (),
                    full=full,
                    during_pause=during_pause,
                    actor=actor or login_name(),
                    progress=progress,
                ),
            )

    if not all_:
        code = show_outcome(door, one(slugs[0]))
        tell_news(door, slugs[0])
        return code
    outcomes = []
    documents = []
    for slug in slugs:
        outcome = one(slug)
        outcomes.append(outcome)
        tell_news(door, slug)
        if door.as_json:
            with door.reading() as connection:
                documents.append(outcome_json(connection, outcome))
        else:
            say_outcome(door, outcome)
            door.say()
    if door.as_json:
        door.document(documents)
    elif not slugs:
        door.say("No district yet. Load a district file: rostersync load FILE.toml")
    return worst(outcome.exit_code for outcome in outcomes)
