"""Whatever stands on the command line: a sentence and an exit code of the contract, never a bug.

Every command with every option and argument, each given what nobody would give. Both databases must
answer alike: what fits into one fits into the other.
"""

from __future__ import annotations

import inspect
import os
import random
import shutil
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import typer

from core.storage.database import Database
from rostersync.cli.app import app, run
from tests.kit.sizes import LONG
from tests.kit.world import SLUG, new_world

CODES = {0, 1, 2, 10, 11, 12, 13, 14, 15}
NOT_HERE = {"run", "emulate", "connector new", "connector bench", "connector test"}
"""They do not end, or they write folders or measure."""

NUMBERS = ("9" * 20, "9" * 400, str(2**31), str(2**63 - 1), str(2**63), "-1", "0", "x", "")
WORDS = (
    "a" * 255, "a" * 256, "a" * 1_025, "\U0001f600" * 600, "\u0390" * 900, "caf\udce9", "\ud800",
    "9" * 20, "P" + "9" * 20, "9999-12-31", "0001-01-01", "2026-02-30", "", " ", "a\nb", "a\x1b[2J",
    "%", "_", "'", "..", "/dev/null", "sis:" + "9" * 600,
)  # fmt: skip


USUAL = {
    "DISTRICT": SLUG, "[DISTRICT]": SLUG, "PLAN": "P1", "RUN": "R1", "USER": "sis:st0000",
    "SOURCE": "sis", "CONNECTOR": "user_csv", "CONFLICT": "C1",
}  # fmt: skip


class Parameter(NamedTuple):
    """One parameter of a command: its option, or None for an argument; what it takes."""

    option: str | None
    kind: Any
    required: bool
    usual: str


def commands(group: typer.Typer = app, before: str = "") -> Iterator[tuple[str, list[Parameter]]]:
    """Yield every command by its words, and its parameters."""
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        name = inner.name or inner.typer_instance.info.name
        yield from commands(inner.typer_instance, f"{before} {name}".strip())
    for command in group.registered_commands:
        words = f"{before} {command.name}".strip()
        if words not in NOT_HERE and command.callback is not None:
            signature = inspect.signature(command.callback, eval_str=True)
            yield words, [*filter(None, map(parameter, signature.parameters.values()))]


def parameter(one: inspect.Parameter) -> Parameter | None:
    """Return what the command line has of a parameter; None for a flag and what all have."""
    if one.name == "database_" or len(get_args(one.annotation)) < 2:
        return None
    kind, info = get_args(one.annotation)[:2]
    if kind is bool:
        return None
    is_argument = isinstance(info, typer.models.ArgumentInfo)
    default = info.default if one.default is inspect.Parameter.empty else one.default
    option = None
    if not is_argument:
        option = max(info.param_decls or [f"--{one.name.rstrip('_').replace('_', '-')}"], key=len)
    usual = USUAL.get((info.metavar or one.name).upper(), "sis")
    if "int" in str(kind):
        usual = "1"
    elif "Literal" in str(kind):
        usual = str(get_args(kind)[0])
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        usual = str(next(iter(kind)))
    return Parameter(option, kind, default in (inspect.Parameter.empty, ...), usual)


def calls() -> list[list[str]]:
    """Return every command with each of its parameters spoilt in each way, the others as usual."""
    made = []
    for words, parameters in sorted(commands()):
        for spoilt in parameters:
            for value in NUMBERS if "int" in str(spoilt.kind) else WORDS:
                call = words.split()
                for one in parameters:
                    if one.required or one is spoilt:
                        said = value if one is spoilt else one.usual
                        call += [said] if one.option is None else [one.option, said]
                made.append(call)
    return made


def test_every_parameter_is_met(tmp_path: Path) -> None:
    assert len([*commands()]) > 40
    assert len(calls()) > 2_000


@pytest.fixture
def answer(
    both: tuple[Database, Database],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[list[str]], list[tuple[int, str]]]:
    """Return a function that calls a command on both databases."""
    for database in both:
        world = new_world(database, tmp_path)
        world.sis.students(3).teachers(1)
        assert world.sync().exit_code == 0

    def call(arguments: list[str]) -> list[tuple[int, str]]:
        found = []
        for number, database in enumerate(both):
            here = tmp_path / f"here{number}"  # a file that one call writes is not in another's way
            shutil.rmtree(here, ignore_errors=True)
            here.mkdir()
            monkeypatch.chdir(here)
            url = database.url.render_as_string(hide_password=False)
            monkeypatch.setenv("ROSTERSYNC_DATABASE_URL", url)
            capsys.readouterr()
            code = run(arguments)
            found.append((code, capsys.readouterr().err))
        return found

    return call


def test_no_argument_is_a_bug_and_both_databases_answer_alike(
    answer: Callable[[list[str]], list[tuple[int, str]]],
) -> None:
    every = calls()
    some = every if LONG else random.Random(os.environ.get("SEED", "17")).sample(every, 60)
    wrong = []
    for call in some:
        (code, err), (other_code, other_err) = answer(call)
        if (
            "of rostersync itself" in err + other_err
            or "Traceback" in err + other_err
            or code not in CODES
            or (code, err) != (other_code, other_err)
        ):
            wrong.append((call, code, err, other_code, other_err))
    assert not wrong
