"""The door of the emulator: ``rostersync emulate`` serves every vendor on one port."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.log_lines import LogFormat, asked_for, shown
from core.steps import log_of, step

if TYPE_CHECKING:
    from rostersync.emulator.district.generator import District
    from rostersync.emulator.emulator import Emulator

_LOG = log_of(__name__)
app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_EPILOG = (
    "While it runs: curl -X POST localhost:8765/_emulator/day -d '{\"day\": 3}' moves to another"
    ' day; …/fault -d \'{"name": "server_error", "page": 2, "times": 1}\' makes trouble,'
    " …/heal ends it, …/rotate changes the credentials; GET …/status and …/requests show what"
    " happened. None of the people is real."
)
_ENV = {
    "token": "EMULATED_{}_TOKEN",
    "client_secret": "EMULATED_{}_SECRET",
    "bearer": "EMULATED_{}_BEARER",
}
_NAMES = {"oneroster": "OneRoster 1.1", "oneroster12": "OneRoster 1.2"}


def register(program: typer.Typer) -> None:
    """Add the command ``emulate`` to a program."""
    program.command(
        "emulate",
        help="Serve a made-up district as its vendors would, over HTTP.\n\n"
        "Clever, ClassLink, GG4L and OneRoster 1.1 and 1.2, all on one port of this machine.",
        epilog=_EPILOG,
    )(emulate)


def emulate(
    context: typer.Context,
    users: Annotated[int, typer.Option(min=1, help="People in the district.")] = 1_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same people.")] = 1,
    day: Annotated[
        int,
        typer.Option(
            min=0, max=10, help="The scripted day to begin with; 0 is the first, 10 the rollover."
        ),
    ] = 0,
    contacts: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the people who are guardians.")
    ] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="A fault in force from the start, as NAME or NAME:STREAM:PAGE:TIMES"
            " (server_error:users:2:1). May be given several times; see --faults."
        ),
    ] = None,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults, and stop.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free one.")] = 8765,
    host: Annotated[str, typer.Option(help="The address to serve on.")] = "127.0.0.1",
    write: Annotated[
        Path | None,
        typer.Option(help="Write the district file there, and print the export lines alone."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Write the day's roster there as OneRoster CSV (a .zip, or a folder), and stop.",
        ),
    ] = None,
    rate_limit: Annotated[
        int, typer.Option(min=0, help="Clever's requests a minute for each token; 0: no limit.")
    ] = 1200,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say on stderr each request that is answered.")
    ] = False,
    log: Annotated[
        LogFormat | None,
        typer.Option(help="How --verbose says it, which this turns on.", show_default=False),
    ] = None,
) -> None:
    """Serve a synthetic district as every vendor would, until interrupted."""
    before = context.obj  # the options before the command
    log = log or getattr(before, "log", None) or asked_for()
    if log is None and (verbose or getattr(before, "verbose", False)):
        log = LogFormat.TEXT
    with shown(log), step(_LOG, "command", command="emulate"):
        _emulate(users, seed, day, contacts, fault, faults, port, host, write, csv, rate_limit)


def _emulate(
    users: int,
    seed: int,
    day: int,
    contacts: float,
    fault: list[str] | None,
    faults: bool,
    port: int,
    host: str,
    write: Path | None,
    csv: Path | None,
    rate_limit: int,
) -> None:
    from rostersync.emulator.district.days import ordinary_week
    from rostersync.emulator.district.generator import District
    from rostersync.emulator.emulator import Emulator
    from rostersync.emulator.server.faults import FAULTS

    if faults:
        width = max(map(len, FAULTS))
        for name, kind in sorted(FAULTS.items()):
            where = f" ({', '.join(sorted(kind.vendors))})" if kind.vendors else ""
            typer.echo(f"{name:<{width}}  {kind.does}{where}")
        return
    district = District(seed=seed, users=users, days=ordinary_week(), contacts=contacts)
    if csv is not None:
        _write_csv(district, csv, day)
        return
    emulator = Emulator(
        district, "all", day=day, host=host, port=port, rate_limit=rate_limit or None
    )
    for text in fault or []:
        _fail(emulator, text)
    if write is not None and not write.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {write.parent}.", param_hint="--write")
    try:
        emulator.start()
    except OSError as error:
        emulator.stop()
        raise typer.BadParameter(
            f"{host}:{port} cannot be served on ({error.strerror}). Choose another --port.",
            param_hint="--port",
        ) from None
    try:
        exports, toml = ready_texts(emulator)
        told = f"# Keep as emulated.toml, then: rostersync load emulated.toml\n\n{toml}"
        if write is not None:
            write.write_text(toml + "\n", encoding="utf-8")
            told = f"# The districts are in {write}: rostersync load {write}"
        typer.echo(f"{exports}\n{told}")
        sys.stdout.flush()
        threading.Event().wait()
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
    finally:
        emulator.stop()


def _write_csv(district: District, path: Path, day: int) -> None:
    from rostersync.emulator.vendors.files import write_oneroster

    try:
        write_oneroster(district, path, day=day)
    except OSError as error:
        raise typer.BadParameter(
            f"{path} cannot be written ({error.strerror}).", param_hint="--csv"
        ) from None
    people = len(district.view(day).slots())
    typer.echo(f"{path} holds {people} people of {district.name} on day {day}. None is real.")


def _fail(emulator: Emulator, text: str) -> None:
    name, stream, page, times = (text.split(":") + [""] * 3)[:4]
    try:
        emulator.fail(
            name,
            stream=stream or None,
            page=int(page) if page else None,
            times=int(times) if times else None,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from None


def ready_texts(emulator: Emulator) -> tuple[str, str]:
    """Return what makes every vendor's district loadable: the export lines, and the TOML."""
    district = emulator.district
    lines = [
        f"# Serving {len(district.view(emulator.day).slots())} people of {district.name}"
        f" (seed {district.seed}, day {emulator.day} of {district.last_day}) at {emulator.origin}",
        "# Interrupt with Ctrl-C. In the shell in which rostersync runs:",
        "",
    ]
    exports: list[str] = []
    tables: list[str] = []
    for vendor in ("clever", "classlink", "gg4l", "oneroster", "oneroster12"):
        table = [
            "[[district]]",
            f'slug = "emulated-{vendor}"',
            f'name = "{district.name} by {_NAMES.get(vendor, vendor)}"',
            'kind = "school"',
            'timezone = "America/Chicago"',
            "",
            "[[district.source]]",
            f'name = "{vendor}"',
            f'connector = "{vendor.removesuffix("12")}"',
            "precedence = 1",
            "",
            "[district.source.config]",
        ]
        for key, value in emulator.config(vendor=vendor).items():
            if key in _ENV:
                name = _ENV[key].format(vendor.upper())
                exports.append(f"export {name}={value}")
                table.append(f'{key} = "env:{name}"')
            else:
                table.append(f'{key} = "{value}"')
        tables.append("\n".join(table))
    return "\n".join([*lines, *exports, ""]), "\n\n".join(tables)


register(app)
