"""Setting up: ``load``, ``districts``, ``connectors`` and ``db``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.commands.ordered_plans import ApplyOption, ReasonOption, finish, say_left
from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing import words
from rostersync.cli.printing.tables import listing

if TYPE_CHECKING:
    from sync.sources.district_load import Loaded

_GLYPHS = {"created": "+", "updated": "~", "not_in_file": "-", "unchanged": " "}
_SAID = {
    "created": "is new",
    "updated": "changes",
    "unchanged": "stays as it is",
    "not_in_file": "is no longer in the file: it is kept, changes nobody, and ends with"
    " rostersync source retire",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "load")(load)
    command(app, "districts")(districts)
    command(app, "connectors")(connectors)
    database = typer.Typer(
        help="The database: bring its tables up to date, verify and repair, change its key.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    command(database, "upgrade")(upgrade)
    command(database, "verify")(verify)
    command(database, "head")(head_of)
    command(database, "repair")(repair)
    command(database, "new-key")(new_key)
    app.add_typer(database, name="db")


def load(
    door: Door,
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="The district file.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; change nothing.")
    ] = False,
) -> None:
    """Create or update districts and sources from a file. It removes nothing."""
    from sync.sources.district_load import load_district_file

    if dry_run:
        with door.database_or_empty() as database:
            result = load_district_file(database, file, dry_run=True)
    else:
        result = load_district_file(door.made_database(), file)
    if door.as_json:
        door.document(result.as_json())
        return
    for district in result.districts:
        _say_loaded(door, f"district {district.name}", district)
        for source in district.sources:
            _say_loaded(door, f"  source {source.name}", source)
    if not result.changed:
        door.say("Nothing to change.")
    elif dry_run:
        door.say("A dry run: nothing was changed.")


def _say_loaded(door: Door, what: str, loaded: Loaded) -> None:
    indent = " " * (len(what) - len(what.lstrip()))
    door.say(f"{indent}{_GLYPHS[loaded.action]} {what.lstrip()} {_SAID[loaded.action]}")
    for key, (old, new) in loaded.changes.items():
        door.say(f"{indent}    {key}: {_value(old)} → {_value(new)}")
    for sentence in loaded.warnings:
        door.say(f"{indent}    {sentence}", style="yellow")


def _value(value: Any) -> str:
    import json

    return "none" if value is None else json.dumps(value, ensure_ascii=False)


def districts(door: Door) -> None:
    """List the districts."""
    from sync.views import districts as views

    with door.reading() as connection:
        listing(
            door,
            views.districts(connection),
            {
                "district": lambda one: one["district"],
                "name": lambda one: one["name"],
                "active": lambda one: one["users"]["active"],
                "archived": lambda one: one["users"]["archived"],
                "sources": lambda one: ", ".join(one["sources"]),
                "waits": lambda one: one["held_plan"],
                "last run": lambda one: _last_run(one["last_run"], one["timezone"]),
            },
            empty="No district yet. Load a district file: rostersync load FILE.toml",
        )


def _last_run(run: dict[str, Any] | None, zone: str) -> str:
    if run is None:
        return ""
    return f"{run['status'].replace('_', ' ')} {words.moment(run['started_at'], zone)}"


def connectors(door: Door) -> None:
    """List the connectors: what each can do, and its config fields."""
    found = list(_connectors())
    if door.as_json:
        door.document(found)
        return
    for one in found:
        door.say(
            f"{one['name']} {one['version'] or ''}  {one['title'] or ''}  (from {one['from']})"
        )
        if one["problem"]:
            door.say(f"    {one['problem']}")
            continue
        for flag in one["capabilities"]:
            door.say(f"    · {words.CAPABILITIES.get(flag, flag)}")
        for field in one["config"]:
            notes = [
                word
                for word, holds in (("required", field["required"]), ("secret", field["secret"]))
                if holds
            ]
            note = f" ({', '.join(notes)})" if notes else ""
            door.say(f"    {field['name']}{note}: {field['description']}")
        if one["docs"]:
            door.say(f"    {one['docs']}")
    if not found:
        door.say("No connector is installed.")


def _connectors() -> Any:
    from dataclasses import asdict

    from connectors.installed import accept, installed
    from core.errors import ConfigError
    from sync.sources.connect import secret_fields

    for entry in installed():
        row: dict[str, Any] = {
            "name": entry.name,
            "version": None,
            "title": None,
            "from": f"{entry.distribution} {entry.version}".strip(),
            "docs": None,
            "capabilities": [],
            "config": [],
            "problem": None,
        }
        try:
            kind = entry.load(accept)
        except ConfigError as error:
            yield row | {"problem": error.message}
            continue
        flags = asdict(kind.capabilities)
        secrets = {name.partition(".")[0] for name in secret_fields(kind.config_model)}
        yield row | {
            "version": kind.version,
            "title": kind.title,
            "docs": kind.docs or None,
            "origin": flags.pop("origin"),
            "capabilities": [name for name, has in flags.items() if has],
            "config": [
                {
                    "name": field.alias or name,
                    "required": field.is_required(),
                    "secret": name in secrets,
                    "description": field.description or "",
                }
                for name, field in kind.config_model.model_fields.items()
            ],
        }


def upgrade(door: Door) -> None:
    """Bring the tables of the database up to date."""
    from core.storage.database import SCHEMA_REVISION, Database

    database = Database(door.url)
    try:
        before = database.revision()
        database.upgrade()
    finally:
        database.engine.dispose()
    if door.as_json:
        door.document({"before": before, "revision": SCHEMA_REVISION})
    elif before == SCHEMA_REVISION:
        door.say(f"The database is at revision {SCHEMA_REVISION} already.")
    else:
        door.say(f"The database is now at revision {SCHEMA_REVISION}.")


def verify(
    door: Door,
    district: Annotated[
        str | None, typer.Argument(metavar="[DISTRICT]", help="One district; default: all.")
    ] = None,
    directory: Annotated[
        bool,
        typer.Option(
            "--directory", help="Name the people and schools that are not as the history says."
        ),
    ] = False,
    head: Annotated[
        Path | None,
        typer.Option("--head", metavar="FILE", help="What db head printed: it must be held yet."),
    ] = None,
) -> int:
    """Check with the hash chain that the history was not altered."""
    from rostersync.cli.printing.verification import verify as check

    return check(door, district, directory=directory, head=head)


def head_of(
    door: Door,
    district: Annotated[
        str | None, typer.Argument(metavar="[DISTRICT]", help="One district; default: all.")
    ] = None,
) -> None:
    """Print a signed head of the history, to keep in another place.

    The document is JSON. db verify --head FILE shows later that the history still holds all of it.
    """
    from sync.ledger.head import heads_of
    from sync.run import find

    if district is not None:
        with door.reading() as connection:
            find.district_row(connection, district)
    door.document(heads_of(door.database, district))


def repair(
    door: Door,
    district: DistrictArgument,
    reason: ReasonOption = None,
    apply_: ApplyOption = False,
    actor: ActorOption = None,
) -> int:
    """Make a plan that puts everything back to what the history says."""
    from sync.acts.repair import repair as plan_repair

    who = actor or login_name()
    outcome = plan_repair(door.database, district, actor=who, reason=reason)
    say_left(door, outcome, "Not put back, because a person has to look at them")
    return finish(door, outcome, apply=apply_, actor=who)


def new_key(door: Door) -> None:
    """Accept another key on purpose.

    It is the one that is set; beside an SQLite database that has lost its key, a new one is made.
    """
    from core.key import accept_new_key

    made = accept_new_key(door.database)
    if door.as_json:
        door.document({"made": made})
        return
    what = "A new key is made beside the database" if made else "The key that is there is accepted"
    door.say(f"{what}. Keep a copy of it apart from the backups.")
    door.say("Every source is read whole at its next sync; uploads that wait must be given again.")
