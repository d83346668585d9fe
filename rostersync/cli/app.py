"""The program ``rostersync``: its rooms, and the boundary where every error becomes a sentence."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import typer
import typer.main

from core.errors import UsageError
from rostersync.cli.commands import (
    conflicts,
    duplicates,
    files,
    flex,
    history,
    ordered_plans,
    people,
    plans,
    plugin,
    seasons,
    setup,
    sources,
    status,
    sync,
    user,
)
from rostersync.cli.door import (
    Before,
    DatabaseOption,
    LogOption,
    VerboseOption,
    report_error,
)
from rostersync.cli.printing.command_list import Listing
from rostersync.cli.printing.outcomes import as_error
from rostersync.emulator import command as emulator

app = typer.Typer(
    name="rostersync",
    cls=Listing,
    help="Keep a school app's users equal to the rosters of its districts, by plans that a person"
    " can review.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (
    setup,
    status,
    sources,
    seasons,
    sync,
    plans,
    ordered_plans,
    history,
    people,
    user,
    conflicts,
    duplicates,
    files,
    flex,
    plugin,
    emulator,
):
    room.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rostersync {version('rostersync')}")
        raise typer.Exit


@app.callback()
def _program(
    context: typer.Context,
    database: DatabaseOption = None,
    verbose: VerboseOption = False,
    log: LogOption = None,
    version: bool = typer.Option(
        False, "--version", help="Print the version.", callback=_version, is_eager=True
    ),
) -> None:
    context.obj = Before(database, verbose, log)


@lru_cache(maxsize=1)
def _command() -> Callable[..., object]:
    """Return the command with all its options; a program that calls it often makes it once."""
    return typer.main.get_command(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. No exception escapes."""
    as_json = "--json" in arguments or _asks_json_format(arguments)
    try:
        _check_text(arguments)
        returned = _command()(args=list(arguments), prog_name="rostersync", standalone_mode=False)
    except KeyboardInterrupt:  # while the command was still being read
        return report_error(_document("interrupted", "Interrupted."), 130, as_json=as_json)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        return _silenced(0)
    except SystemExit as end:  # click's answer to the same, which would end the program with 1
        if isinstance(end.__context__, BrokenPipeError):
            return _silenced(0)
        raise
    except OSError as error:
        if error.errno in _UNWRITABLE:
            return _no_room(error, as_json=False)
        return _report(error, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is becomes a sentence
        return _report(error, as_json=as_json)
    return returned if isinstance(returned, int) else 0


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse bytes that are no text. Raises ``UsageError``; they are not repeated."""
    for number, argument in enumerate(arguments, 1):
        if not argument.isascii() and argument.encode("utf-8", "replace").decode() != argument:
            raise UsageError(
                f"Word {number} after rostersync is not text in UTF-8.",
                hint="Type it again. If it is the name of a file, rename the file.",
            )


_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def flushed(code: int) -> int:
    """Write out what is left of the output, and return the exit code of the program."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _silenced(code)
    except OSError as error:
        code = _no_room(error, as_json=False)
    try:
        sys.stderr.flush()
    except OSError:  # there is nowhere left to say it
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it
    return code


def _silenced(code: int) -> int:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it
    return code


def _no_room(error: OSError, *, as_json: bool) -> int:
    """Say that output or a file could not be written: nothing in rostersync is broken."""
    _silenced(0)
    hint = "Make room and call it again. rostersync runs DISTRICT shows what has been done."
    message = f"The output could not be written: {os.strerror(error.errno or errno.EIO)}."
    return report_error(_document("no_room", message, hint), 2, as_json=as_json)


def _asks_json_format(arguments: Sequence[str]) -> bool:
    return "--format=json" in arguments or any(
        pair == ("--format", "json") for pair in pairwise(arguments)
    )


def _document(code: str, message: str, hint: str = "") -> dict[str, str]:
    return {"code": code, "message": message, "hint": hint}


_TYPED = (
    (re.compile(r"(.*extra argument).*", re.DOTALL), r"\1."),
    (re.compile(r"(Invalid value for '[^']*': ).* is not (.*)", re.DOTALL), r"\1it is not \2"),
    (re.compile(r"(Invalid value for '[^']*'): (?!it is not ).*", re.DOTALL), r"\1."),
    (re.compile(r"(No such command).*?\.( Did you mean .*)?", re.DOTALL), r"\1.\2"),
    (re.compile(r"(No such option)(?!: --?[a-z][a-z-]*(?: |\.|$)).*", re.DOTALL), r"\1."),
)
"""Sentences of typer's that repeat what was typed, and what is left of them."""


def _untyped(message: str) -> str:
    """Return a sentence about a wrong call; a name or address that was typed is not repeated."""
    for said, left in _TYPED:
        if said.fullmatch(message):
            message = said.sub(left, message).strip()
    return message


def _report(error: Exception, *, as_json: bool) -> int:
    if isinstance(error, typer.Abort):
        return report_error(_document("interrupted", "Interrupted."), 130, as_json=as_json)
    if hasattr(error, "format_message"):  # typer's own: a wrong option, a missing argument
        message = _untyped(str(error.format_message()))
        hint = "rostersync --help lists the commands; COMMAND --help shows how to call one."
        return report_error(_document("usage", message, hint), 2, as_json=as_json)
    shown = as_error(error)
    return report_error(shown.as_json(), shown.exit_code, as_json=as_json)
