"""What every command uses: the database, the two consoles, JSON, the actor.

``command`` gives a function ``f(door, ...)`` the options that all commands share. A result goes to
stdout, everything else to stderr; with ``--json`` stdout holds exactly one JSON document.
"""

from __future__ import annotations

import getpass
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn, get_type_hints

import typer

from core.errors import ConfigError, RunEnded, UsageError
from core.log_lines import LogFormat, asked_for, shown
from core.steps import log_of, step
from rostersync.cli.output import console_of, one_line
from rostersync.cli.output import harmless as harmless
from rostersync.cli.output import harmless_cells as harmless_cells
from rostersync.cli.output import json_pieces as json_pieces
from rostersync.cli.output import say_on as say_on

if TYPE_CHECKING:
    from rich.console import Console

    from core.storage.database import Connection, Database

_LOG = log_of(__name__)
URL_VARIABLE = "ROSTERSYNC_DATABASE_URL"
DEFAULT_URL = "sqlite:///rostersync.db"

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help=f"Where the data lives; else {URL_VARIABLE}, else {DEFAULT_URL}.",
        show_default=False,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        help="Say each step on stderr: what, counts, ids, milliseconds; never a name.",
        show_default=False,
    ),
]
LogOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log",
        help="How --verbose says it, which this turns on; else JSON lines with --json, else text.",
        show_default=False,
    ),
]
ActorOption = Annotated[
    str | None,
    typer.Option("--actor", help="Who does this, for the history; default: the login name."),
]
NewestOption = Annotated[int, typer.Option(min=1, help="How many to list, the newest first.")]
DistrictArgument = Annotated[str, typer.Argument(metavar="DISTRICT", help="The district's slug.")]


_half_written: list[bool] = []
"""Something while a JSON document has begun and has no end: no second one may follow it."""


class Before(NamedTuple):
    """The options that stood before the command."""

    database: str | None = None
    verbose: bool = False
    log: LogFormat | None = None


class Door:
    """One call of a command."""

    def __init__(
        self, *, as_json: bool = False, url: str | None = None, log: LogFormat | None = None
    ) -> None:
        self.as_json = as_json
        self.log = log
        self._url = url

    @cached_property
    def url(self) -> str:
        """The database URL that was asked for."""
        return self._url or os.environ.get(URL_VARIABLE) or DEFAULT_URL

    @cached_property
    def database(self) -> Database:
        """The database that there is, with its schema current; none is ever made by reading.

        Raises ``ConfigError``.
        """
        from core.storage.database import Database

        database = Database(self.url)
        place = database.missing_file()
        if place is not None:
            raise ConfigError(
                f"There is no database at {place}.",
                hint="Go to the folder that has it, or name it with --database or"
                f" {URL_VARIABLE}. rostersync load FILE.toml makes a new one.",
            )
        return _prepared(database)

    def made_database(self) -> Database:
        """Return the database, and make it where there is none; that is told. For ``load``."""
        from core.storage.database import Database

        database = Database(self.url)
        place = database.missing_file()
        if place is None:
            return self.database
        made = _prepared(database)
        say_on(self.err, f"A new database was made: {place}")
        return made

    @contextmanager
    def database_or_empty(self) -> Iterator[Database]:
        """Open the database, or an empty one that is thrown away if there is none yet."""
        from core.storage.database import Database

        if Database(self.url).missing_file() is None:
            yield self.database
            return
        with TemporaryDirectory(prefix="rostersync-") as folder:
            database = _prepared(Database(f"sqlite:///{folder}/empty.db"))
            try:
                yield database
            finally:
                database.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction: everything a command prints is one consistent state."""
        with self.database.read() as connection:
            yield connection

    @cached_property
    def out(self) -> Console:
        """Where results are printed for people."""
        return console_of(stderr=False)

    @cached_property
    def err(self) -> Console:
        """Where everything goes that is not a result."""
        return console_of(stderr=True)

    def say(self, line: str = "", *, style: str | None = None) -> None:
        """Print a line of a result for people: without markup, unbroken, and always one line."""
        say_on(self.out, one_line(line), style=style)

    def document(self, value: Any) -> None:
        """Print the one JSON document of this call; iterators inside become lists, streamed."""
        _half_written.append(True)
        for piece in json_pieces(value):
            sys.stdout.write(piece)
        sys.stdout.write("\n")
        _half_written.clear()

    @contextmanager
    def progress(self) -> Iterator[Callable[[str, int], None] | None]:
        """Show the progress of a long run, only on a terminal and never among the results."""
        if self.as_json or not self.err.is_terminal:
            yield None
            return
        done: dict[str, int] = {}
        with self.err.status("starting ...") as status:

            def tell(what: str, rows: int) -> None:
                done[what] = done.get(what, 0) + rows
                status.update(f"{what}, {done[what]:,}" if done[what] else what)

            yield tell

    def close(self) -> None:
        """Close the database."""
        if "database" in self.__dict__:
            self.database.engine.dispose()


def _prepared(database: Database) -> Database:
    try:
        database.prepare()
    except BaseException:
        database.engine.dispose()
        raise
    return database


def login_name() -> str:
    """Return the name of the person who runs this, for the history."""
    try:
        return getpass.getuser().encode("utf-8", "replace").decode()[:255]
    except (OSError, KeyError):  # the user in a container may have no name
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def report_error(error: dict[str, str], exit_code: int, *, as_json: bool) -> int:
    """Print an error on stderr, with ``--json`` also as the document; return its exit code."""
    if as_json and not _half_written:
        with suppress(OSError):  # the sentence on stderr follows all the same
            sys.stdout.write("".join(json_pieces({"error": error})) + "\n")
    _half_written.clear()
    with suppress(OSError):  # there is nowhere left to say it
        console = console_of(stderr=True)
        say_on(console, error["message"], style="red")
        if error["hint"]:
            say_on(console, error["hint"])
    return exit_code


def command(
    app: typer.Typer,
    name: str,
    *,
    json: bool = True,
    more: Sequence[inspect.Parameter] = (),
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Register ``f(door, ...)`` as a command, with the options that all of them have.

    They are ``--database``, ``--verbose``, ``--log`` and, if it prints a document, ``--json``.

    ``more`` are further options, for a function that takes them as ``**values``.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        hints = get_type_hints(function, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(function).parameters.values())[1:]
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        own += more
        shared: list[tuple[str, Any, Any]] = [
            ("context_", typer.Context, inspect.Parameter.empty),
            ("database_", DatabaseOption, None),
            ("verbose_", VerboseOption, False),
            ("log_", LogOption, None),
        ]
        if json:
            shared.append(("json_", JsonOption, False))
        own += [
            inspect.Parameter(
                word, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
            for word, annotation, default in shared
        ]

        def call(**values: Any) -> int | None:
            _check_values(values)
            context = values.pop("context_")
            before = context.obj or Before()
            as_json = values.pop("json_", False)
            verbose = values.pop("verbose_") or before.verbose
            log = values.pop("log_") or before.log or asked_for()
            if log is None and verbose:
                log = LogFormat.JSON if as_json else LogFormat.TEXT
            door = Door(
                as_json=as_json, url=values.pop("database_", None) or before.database, log=log
            )
            typed = context.command_path.partition(" ")[2].replace(" ", "/")
            with shown(log), step(_LOG, "command", command=typed) as done:
                try:
                    code = function(door, **values)
                    done.tell(exit_code=code or 0)
                    return code
                except KeyboardInterrupt as stop:  # typer would end with 130 and say nothing
                    raise _ended(stop) from None
                finally:
                    door.close()

        call.__doc__ = function.__doc__
        call.__name__ = function.__name__
        call.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
        app.command(name)(call)
        return function

    return register


class Terminated(KeyboardInterrupt):
    """Somebody asked this process to end: it ends as after Ctrl-C, with the code of its signal."""


def end_as_interrupted(number: int, _frame: object) -> NoReturn:
    """End what is under way, so that its run is closed: a handler for SIGTERM and SIGHUP."""
    raise Terminated(number)


def _ended(stop: KeyboardInterrupt) -> RunEnded:
    ended = RunEnded("Interrupted: nothing was half applied, and the next run goes on from there.")
    if isinstance(stop, Terminated):
        ended.exit_code = 128 + int(stop.args[0])  # type: ignore[misc]
    return ended


LARGEST = 10**15
"""The largest number that a command takes: both databases can still count on from it."""


def _check_values(values: dict[str, Any]) -> None:
    """Refuse what no database can keep, before anything is done. Raises ``UsageError``."""
    for name, value in values.items():
        if isinstance(value, int) and abs(value) > LARGEST:
            raise UsageError(
                f"The number for {name.replace('_', ' ')} is too large.",
                hint=f"Give at most {LARGEST}.",
            )
    actor = values.get("actor")
    if isinstance(actor, str):
        from core.models import checked_actor

        checked_actor(actor)
