"""Plans, to read: ``plans`` and ``show``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.door import DistrictArgument, Door, NewestOption, command, harmless_cells
from rostersync.cli.printing.tables import listing, table

if TYPE_CHECKING:
    from core.storage.database import Connection

FLAT_LIMIT = 200
"""How many changes ``show --offset`` prints when no limit is given."""

PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="Its id as printed, like P12.")]


class Format(StrEnum):
    """How ``show`` prints a plan."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "plans")(plans)
    command(app, "show")(show)


def plan_documents(
    connection: Connection,
    numbers: list[int],
    *,
    whole: bool = True,
    offset: int = 0,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield plans as JSON has them, with their changes one by one."""
    from sync.views import plans as plan_views

    for number in numbers:
        document: dict[str, Any] = {"plan": plan_views.plan_by_id(connection, number)}
        if whole:
            document["changes"] = plan_views.iter_changes(connection, number, offset, limit)
        yield document


def plans(
    door: Door,
    district: DistrictArgument,
    limit: NewestOption = 20,
) -> None:
    """List the plans of a district."""
    from rostersync.cli.printing import words
    from sync.run import find
    from sync.views import plans as plan_views

    with door.reading() as connection:
        row = find.district_row(connection, district)
        zone = row.settings["timezone"]
        listing(
            door,
            plan_views.plans(connection, row, limit=limit),
            {
                "plan": lambda one: one["id"],
                "kind": lambda one: one["kind"],
                "status": lambda one: one["status"],
                "made": lambda one: words.moment(one["created_at"], zone),
                "what": lambda one: words.counted(one["counts"]),
            },
            empty=f"{district} has no plan yet. Make one: rostersync plan {district}",
        )


def show(
    door: Door,
    plan: PlanArgument,
    format_: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    offset: Annotated[
        int | None, typer.Option(min=0, help="Print change by change, from this one on.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many changes.")] = None,
    drift: Annotated[
        bool,
        typer.Option(
            "--drift", help="List people whose changes no longer fit, and why; 11 if any."
        ),
    ] = False,
) -> int:
    """Show a plan, by school and role or change by change.

    With ``--drift`` only those whose changes no longer fit: what the plan rests on has moved.
    """
    from sync.views import plans as plan_views

    with door.reading() as connection:
        row = plan_views.plan_row(connection, plan)
        if drift:
            return _show_drift(door, connection, row, as_json=format_ is Format.JSON)
        if door.as_json or format_ is Format.JSON:
            found = plan_documents(connection, [row.id], offset=offset or 0, limit=limit)
            certificates = plan_views.certificates(connection, [row.id])
            door.document({"plans": found, "certificates": certificates})
        elif format_ is Format.CSV:
            _write_csv(plan_views.iter_changes(connection, row.id, offset or 0, limit))
        elif offset is None and limit is None:
            from rostersync.cli.printing.outcomes import say_plan

            say_plan(door, connection, row.id, whole=True)
        else:
            _say_flat(door, connection, row, offset or 0, limit or FLAT_LIMIT)
    return 0


_MOVED = {
    "revision": "changed here since",
    "evidence": "the source says otherwise",
    "link": "the record is another's",
    "school": "the school is not there",
}


def _show_drift(door: Door, connection: Connection, row: Any, *, as_json: bool) -> int:
    """Print whose changes of a plan no longer fit; return the exit code."""
    from core.errors import Drift
    from sync.run.display import PLAN, shown_id
    from sync.views import plans as plan_views
    from sync.views.drift import drift_of

    name = shown_id(PLAN, row.id)
    found = list(drift_of(door.database, connection, row))
    code = Drift.exit_code if found else 0
    if door.as_json or as_json:
        shown = [
            {
                "user_id": one.target if one.kind == "user" else None,
                "school_id": one.target if one.kind == "school" else None,
                "actions": list(one.actions),
                "moved": list(one.moved),
            }
            for one in found
        ]
        door.document({"plans": [{"plan": plan_views.plan_json(connection, row), "drift": shown}]})
        return code
    empty = (
        f"{name} was applied: it fitted."
        if row.status == "applied"
        else f"{name} fits: nothing that it rests on has moved."
    )
    table(
        door,
        ("who", "change", "what moved"),
        (
            (one.target, ", ".join(one.actions), "; ".join(_MOVED[word] for word in one.moved))
            for one in found
        ),
        empty=empty,
    )
    if found:
        from rostersync.cli.printing.words import count

        door.say(f"{count(len(found))} no longer fit, so {name} would apply nothing.")
    return code


def _say_flat(door: Door, connection: Connection, row: Any, offset: int, limit: int) -> None:
    from rostersync.cli.printing import words
    from rostersync.cli.printing.change_lines import change_line
    from sync.run.display import PLAN, shown_id
    from sync.views import plans as plan_views

    last = offset - 1
    for change in plan_views.iter_changes(connection, row.id, offset, limit):
        door.say(f"{change['seq']:>6}  {change_line(change)}")
        last = change["seq"]
    rest = row.size - last - 1
    if rest > 0:
        name = shown_id(PLAN, row.id)
        door.say(f"and {words.count(rest)} more: rostersync show {name} --offset {last + 1}")


_CSV_COLUMNS = (
    "seq", "action", "user_id", "name", "source", "external_id", "role", "school", "reason",
)  # fmt: skip


def _write_csv(changes: Iterator[dict[str, Any]]) -> None:
    from connectors.files.csv_write import write_csv
    from rostersync.cli.printing import words

    rows = (
        [*(change[name] for name in _CSV_COLUMNS), words.edits(change["fields"])]
        for change in changes
    )
    write_csv(sys.stdout, (*_CSV_COLUMNS, "changes"), harmless_cells(rows))
