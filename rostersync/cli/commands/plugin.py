"""The room of plugin authors: write a connector's package, and hold one to every rule."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rostersync.cli.door import Door, command, say_on

NOT_CONFORMING = 2
"""The exit code of a connector that breaks a rule: it cannot be used as it is."""


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    group = typer.Typer(
        help="Write a connector of your own, and test it.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    command(group, "new")(new)
    command(group, "test")(conform)
    app.add_typer(group, name="connector")


def new(
    door: Door,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The connector's name: my_sis.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="FOLDER",
            help="Where to write it; else rostersync-NAME in the working directory.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write the package of a new connector.

    It installs and passes every check at once.
    """
    from rostersync.testing.scaffold import new_connector

    target = folder or Path(f"rostersync-{name.replace('_', '-')}")
    files = new_connector(name, target)
    if door.as_json:
        door.document({"name": name, "folder": str(target), "files": [str(f) for f in files]})
        return
    door.say(f"The connector {name} is in {target} ({len(files)} files).")
    door.say("Go on with:")
    door.say(f"  cd {target} && pip install -e '.[dev]' && pytest")
    door.say("Its README.md says what to change then.")


def conform(
    door: Door,
    name: Annotated[str, typer.Argument(metavar="NAME", help="An installed connector.")],
    every: Annotated[bool, typer.Option("--all", help="Show the checks that passed, too.")] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Write what the normal roster means, to be read through."),
    ] = False,
) -> int:
    """Run every conformance check on an installed connector.

    It uses the scenario that the connector brings along.
    """
    from connectors.installed import load
    from rostersync.testing import Outcome, record_expected, run_conformance, scenario_of

    connector, scenario = load(name), scenario_of(name)
    if record:
        written = record_expected(connector, scenario)
        say_on(door.err, f"{written} is written: read it through.")
    report = run_conformance(connector, scenario)
    if door.as_json:
        door.document(report.as_json())
    else:
        shown = set(Outcome) if every else {Outcome.FAILED, Outcome.EXEMPT}
        for result in report.results:
            if result.outcome in shown:
                _say(door, result)
        counts = [f"{len(report.of(outcome))} {_WORDS[outcome]}" for outcome in Outcome]
        door.say(f"{name} {report.version}: {', '.join(counts)}.")
    return 0 if report.passed else NOT_CONFORMING


_WORDS = {
    "passed": "passed",
    "failed": "failed",
    "exempt": "exempt",
    "not_applicable": "not applicable",
}


def _say(door: Door, result: Any) -> None:
    style = "red" if result.outcome == "failed" else None
    door.say(f"{_WORDS[result.outcome]}: {result.check}", style=style)
    door.say(f"    {result.rule}")
    if result.detail:
        door.say(f"    {result.detail}")
