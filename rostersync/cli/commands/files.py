"""Files by hand: ``upload``, ``files`` and ``template``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.door import (
    ActorOption,
    DistrictArgument,
    Door,
    command,
    harmless_cells,
    login_name,
    say_on,
)
from rostersync.cli.printing.outcomes import outcome_json, say_outcome, tell_news
from rostersync.cli.printing.tables import listing, table
from rostersync.cli.printing.words import count, moment

if TYPE_CHECKING:
    from connectors.files.inspection import Found
    from sync.acts.upload import Uploaded

SHOWN = 50
"""How many findings the table shows."""
COLUMNS = ("severity", "file", "line", "column", "value", "rule", "message", "hint")


class ReportFormat(StrEnum):
    """How ``upload`` writes its findings."""

    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "upload")(upload)
    command(app, "files")(files)
    command(app, "template", json=False)(template)


def upload(
    door: Door,
    district: DistrictArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, xlsx, zip or folder.")],
    source: Annotated[
        str | None,
        typer.Option(metavar="S", help="The source that the file is for, if two would accept it."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would change, and change nobody.")
    ] = False,
    report: Annotated[
        ReportFormat | None, typer.Option(help="Print only the findings, in this format.")
    ] = None,
    during_pause: Annotated[
        bool, typer.Option("--during-pause", help="Do it even though the district is paused.")
    ] = False,
    without_report: Annotated[
        bool,
        typer.Option(
            "--without-report", help="FINRA FLEX: upload although no FinPro report was checked."
        ),
    ] = False,
    actor: ActorOption = None,
) -> int:
    """Upload a file, and see what is wrong in which line."""
    from core.errors import RosterSyncError
    from sync.acts.upload import upload_file

    with door.progress() as progress:
        done = upload_file(
            door.database,
            district,
            file,
            source=source,
            dry=plan,
            during_pause=during_pause,
            without_report=without_report,
            actor=actor or login_name(),
            progress=progress,
        )
    if report is ReportFormat.CSV:
        from connectors.files.csv_write import write_csv

        rows = ([_json(one)[name] for name in COLUMNS] for one in done.found)
        write_csv(sys.stdout, COLUMNS, harmless_cells(rows))
    elif report is ReportFormat.JSON or door.as_json:
        door.document(_document(door, done, whole=door.as_json))
    else:
        _tell(door, done, file.name, whole=plan)
    if not plan:
        tell_news(door, district)
    if report is None and not door.as_json:
        return done.outcome.exit_code
    error: RosterSyncError | None = done.outcome.error
    if error is not None:
        say_on(door.err, error.message, style="red")
        if error.hint:
            say_on(door.err, error.hint)
    return done.outcome.exit_code


def _document(door: Door, done: Uploaded, *, whole: bool) -> dict[str, Any]:
    from sync.sources.received_files import upload_by_id

    with door.reading() as connection:
        about = {
            "upload": upload_by_id(connection, done.upload_id),
            "findings": [_json(one) for one in done.found],
            "more_findings": done.uncounted,
            "notes": list(done.said),
        }
        return about | outcome_json(connection, done.outcome) if whole else about


def _json(found: Found) -> dict[str, Any]:
    return {name: getattr(found, name) for name in COLUMNS}


def _tell(door: Door, done: Uploaded, given: str, *, whole: bool) -> None:
    from sync.sources.received_files import MEANINGS

    counts = done.counts
    if counts.get("rows"):
        bad = counts["rows"] - counts["usable"]
        said = f"{count(counts['rows'])} rows: {count(counts['usable'])} can be used"
        said += f", {count(bad)} cannot" if bad else ""
        warned = counts["warnings"]
        said += f"; {count(warned)} warning{'' if warned == 1 else 's'}" if warned else ""
        door.say(f"{said}.")
    if done.found:
        door.say()
        shown = done.found[:SHOWN]
        several = any(one.file not in (None, given) for one in shown)  # it is a set of files
        table(
            door,
            (*(("file",) if several else ()), "line", "column", "value", "what is wrong",
             "what to do"),
            (
                (*((one.file or "",) if several else ()), one.line or "", one.column, one.value,
                 _said(one), one.hint)
                for one in shown
            ),
            empty="",
            keep=("column", "what is wrong"),
        )  # fmt: skip
        rest = len(done.found) - SHOWN + done.uncounted
        if rest > 0:
            door.say(f"and {count(rest)} more: add --report csv for all of them")
        door.say()
    say_outcome(door, done.outcome, whole=whole)
    noted = {note for one in done.outcome.certificates.values() for note in one.get("notes") or ()}
    for sentence in done.said:
        if sentence not in noted:  # it stands under the reading
            door.say(sentence)
    door.say(f"The file is U{done.upload_id}: {done.status}, {MEANINGS[done.status]}.")


def _said(one: Found) -> str:
    return one.message if one.severity == "error" else f"(warning) {one.message}"


def files(door: Door, district: DistrictArgument) -> None:
    """List the files that were uploaded, and their status."""
    from sync.run import find
    from sync.sources.received_files import uploads

    with door.reading() as connection:
        row = find.district_row(connection, district)
        zone = row.settings["timezone"]
        listing(
            door,
            uploads(connection, row),
            {
                "file": lambda one: one["id"],
                "title": lambda one: one["title"],
                "type": lambda one: one["type"],
                "status": lambda one: one["status"] + (" (plan only)" if one["dry_run"] else ""),
                "rows": lambda one: one["counts"].get("rows"),
                "not usable": lambda one: _unused(one["counts"]),
                "created": lambda one: moment(one["created_at"], zone),
                "by": lambda one: one["actor"],
                "note": lambda one: one["note"],
            },
            empty="No file yet: rostersync upload DISTRICT FILE.",
        )


def _unused(counts: dict[str, int]) -> int | str:
    return counts["rows"] - counts["usable"] if "rows" in counts else ""


def template(
    door: Door,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A file format, like user_csv.")],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write a .csv, an .xlsx or (a set of files) a .zip; else stdout."
        ),
    ] = None,
) -> None:
    """Write a file with the right headers and an example."""
    from connectors.files.templates import template_csv, write_template
    from connectors.installed import template_of

    files = template_of(name)
    if output is None and len(files) == 1:
        sys.stdout.write(template_csv(files).decode())
        return
    output = output or Path(f"{name}.zip")
    write_template(files, output)
    door.say(f"{output} is written. Replace the example row, and upload it.")
