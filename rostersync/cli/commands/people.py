"""People, to read: ``users`` and ``export``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any
from zipfile import ZIP_DEFLATED, ZipFile

import typer

from connectors.files.csv_write import new_file, write_csv
from rostersync.cli.door import DistrictArgument, Door, command, harmless_cells, say_on
from rostersync.cli.printing.tables import table
from rostersync.cli.printing.words import person_name, state

if TYPE_CHECKING:
    from connectors.contract.file_exchange import ExportFile

SHOWN = 50
"""How many users the table shows when no limit is given."""


class RoleWord(StrEnum):
    """Our names of the roles."""

    STUDENT = "student"
    TEACHER = "teacher"
    STAFF = "staff"
    ADMIN = "admin"
    CONTACT = "contact"


class StatusWord(StrEnum):
    """Where a user stands."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"


class OriginWord(StrEnum):
    """How a user first came in."""

    SYNC = "sync"
    FILE = "file"
    MANUAL = "manual"


class ExportFormat(StrEnum):
    """How ``export`` writes."""

    CSV = "csv"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "users")(users)
    command(app, "export", json=False)(export)


def users(
    door: Door,
    district: DistrictArgument,
    status: Annotated[StatusWord | None, typer.Option(help="Only these.")] = None,
    role: Annotated[RoleWord | None, typer.Option(help="Only people with this role.")] = None,
    school: Annotated[
        str | None, typer.Option(help="Only people at this school, by name or id.")
    ] = None,
    origin: Annotated[OriginWord | None, typer.Option(help="How they first came in.")] = None,
    stale: Annotated[
        bool,
        typer.Option("--stale", help="Active, in no roster, and untouched by hand for 180 days."),
    ] = False,
    search: Annotated[
        str | None, typer.Option(metavar="T", help="A part of a name, address or number.")
    ] = None,
    leaving: Annotated[
        bool,
        typer.Option(
            "--leaving", help="Only people in no roster any more, with the day on which they leave."
        ),
    ] = False,
    within: Annotated[
        int | None,
        typer.Option(min=0, metavar="DAYS", help="With --leaving: only within this many days."),
    ] = None,
    offset: Annotated[int, typer.Option(min=0, help="Skip this many.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many.")] = None,
) -> None:
    """List the users of a district."""
    if leaving:
        from rostersync.cli.printing.leaving import show_leaving

        show_leaving(door, district, within)
        return
    from core.models import Role, UserStatus
    from rostersync.cli.printing.words import count
    from sync.run import find
    from sync.views import people

    wanted = people.UserFilter(
        status=None if status is None else UserStatus(status.value),
        role=None if role is None else Role(role.value),
        school=school,
        origin=None if origin is None else origin.value,
        stale=stale,
        search=search,
    )
    with door.reading() as connection:
        row = find.district_row(connection, district)
        if door.as_json:
            door.document(people.users(connection, row, wanted, offset=offset, limit=limit))
            return
        total = people.count_users(connection, row, wanted)
        shown = list(
            people.users(connection, row, wanted, offset=offset, limit=limit or SHOWN, by_name=True)
        )
        table(
            door,
            ("user", "name", "roles", "school", "grade", "email", "status", "from"),
            (
                (
                    one["id"],
                    person_name(one),
                    ", ".join(one["roles"]),
                    _first_school(one),
                    one["grade"],
                    one["email"],
                    state(one),
                    ", ".join(one["sources"]) or one["origin"],
                )
                for one in shown
            ),
            empty="Nobody.",
        )
        rest = total - offset - len(shown)
        if rest > 0:
            door.say(f"and {count(rest)} more: add --offset {offset + len(shown)}, or --search")


def _first_school(user: dict[str, Any]) -> str:
    names = [school["name"] for school in user["schools"]]
    return f"{names[0]} (+{len(names) - 1})" if len(names) > 1 else "".join(names[:1])


# -- export


def export(
    door: Door,
    district: DistrictArgument,
    source: Annotated[
        str | None, typer.Option(metavar="S", help="Only people that this source holds.")
    ] = None,
    format_: Annotated[
        ExportFormat, typer.Option("--format", help="csv is a file that upload accepts.")
    ] = ExportFormat.CSV,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it there; a set of files is a .zip. Else stdout."),
    ] = None,
) -> None:
    """Write the active users, as a file that ``upload`` accepts or as JSON.

    With the ``--source`` of a file source: everybody that it holds, in its own format (a set of
    files as a zip); uploading it changes nobody. Otherwise a user file. JSON has everything that is
    known.
    """
    from core.models import UserStatus
    from sync.run import find
    from sync.views import people
    from sync.views.export import export_files

    left_out: dict[str, str] = {}
    with door.reading() as connection:
        row = find.district_row(connection, district)
        held_by = None if source is None else find.source_row(connection, row, source)
        if format_ is ExportFormat.JSON:
            wanted = people.UserFilter(status=UserStatus.ACTIVE, source=source)
            door.document(people.users(connection, row, wanted))
            return
        found = export_files(connection, row, held_by)
        if len(found) > 1:
            output = output or Path(f"{district}-{source}.zip")
            _write_zip(output, found, left_out)
        elif output is not None:
            with new_file(output) as stream, TextIOWrapper(stream, "utf-8", newline="") as lines:
                _write(lines, found[0], left_out)
        else:
            _write(sys.stdout, found[0], left_out)
    if output is not None:
        door.say(f"{output} is written.")
    if left_out:
        say_on(door.err, f"{len(left_out)} left out; --format json has everybody:")
        for user_id, reason in left_out.items():
            say_on(door.err, f"  {user_id}: {reason}")


def _write_zip(path: Path, found: Sequence[ExportFile], left_out: dict[str, str]) -> None:
    with new_file(path) as packed, ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for file in found:
            member = archive.open(file.name, "w", force_zip64=True)
            with TextIOWrapper(member, "utf-8", newline="") as lines:
                _write(lines, file, left_out)


def _write(lines: IO[str], file: ExportFile, left_out: dict[str, str]) -> None:
    """Write one file, and note whom it cannot carry: user id → reason."""
    from connectors.contract.file_exchange import LeftOut

    def carried() -> Iterator[tuple[str | int, ...]]:
        for one in file.rows():
            if isinstance(one, LeftOut):
                left_out[one.user_id] = one.reason
            else:
                yield one

    rows = carried()
    write_csv(lines, file.header, harmless_cells(rows) if lines.isatty() else rows)
