"""The boundary of the program: help, errors, JSON on stdout, exit codes, start-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rostersync
from core.storage.database import SCHEMA_REVISION, Database
from rostersync.cli.app import run
from sync.run.outcome import worst
from sync.views import districts
from tests.kit.command_line import Cli
from tests.kit.oneroster_folder import Folder, students, teachers

PROGRAM = [sys.executable, "-c", "from rostersync.cli import main; main()"]


def started(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(rostersync.__file__).parent.parent),
            **environment,
        },
        check=False,
        timeout=60,
    )


def test_help_lists_the_commands_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rostersync.cli.app import run\ncode = run(['--help'])\n"
        "heavy = {'sqlalchemy', 'sqlmodel', 'pydantic', 'requests', 'alembic'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(rostersync.__file__).parent.parent,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for command in (
        "load", "districts", "sources", "source", "connectors", "plan", "plans", "show", "apply",
        "approve", "reject", "sync", "runs", "changes", "users", "user", "conflicts", "resolve",
        "why", "export", "db",
    ):  # fmt: skip
        assert f"\n  {command} " in done.stdout
    for later in ("web", "worker"):
        assert f"\n  {later} " not in done.stdout


@pytest.mark.parametrize("group", [(), ("user",), ("source",), ("db",), ("connector",)])
def test_a_list_of_commands_cuts_no_sentence_short(
    group: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*group, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert len(listed) > 1
    assert [line for line in listed if line.endswith("...")] == []


def loaded_by(commands: list[list[str]], database_url: str, heavy: set[str]) -> str:
    """Run commands in one new process; return which one was the first to load one of ``heavy``."""
    code = (
        "import os, sys\nfrom rostersync.cli.app import run\n"
        "sys.stdout = open(os.devnull, 'w')\n"
        f"for command in {commands!r}:\n"
        f"    code = run(['--database', {database_url!r}, *command])\n"
        f"    loaded = {heavy!r} & set(sys.modules)\n"
        "    if code or loaded:\n"
        "        sys.exit(f'{command}: {code} {loaded}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(rostersync.__file__).parent.parent,
        check=False,
        timeout=60,
    )
    return done.stderr


TABLE_CLASSES = {"core.storage.tables", "sqlmodel", "sqlalchemy.orm"}
"""They take longer to load than a thousand districts take to read."""


def test_status_loads_no_table_classes_and_nothing_that_reads_rosters(migrated_url: str) -> None:
    heavy = TABLE_CLASSES | {"requests", "alembic", "apprise"}
    assert loaded_by([["status"]], migrated_url, heavy) == ""


def test_commands_that_only_read_load_no_table_classes(
    cli: Cli, migrated_url: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    folder.write([*students(1, 2), *teachers(1)])
    assert cli("load", str(folder.file)).code == 0
    assert cli("sync", "springfield").code == 0
    words = (
        "status", "districts", "sources", "show P1", "show P1 --format json",
        "show P1 --format csv", "plans springfield", "users springfield",
        "users springfield --search student", "changes springfield", "runs springfield",
        "conflicts springfield", "skipped springfield", "files springfield",
        "duplicates springfield", "schedule springfield", "why springfield sis:st0001",
        "export springfield",
    )  # fmt: skip
    assert loaded_by([one.split() for one in words], migrated_url, TABLE_CLASSES) == ""


def test_an_unknown_option_is_wrong_usage(cli: Cli) -> None:
    called = cli("users", "springfield", "--nope")
    assert (called.code, called.out) == (2, "")
    assert "No such option" in called.err


def test_with_json_an_error_is_one_document_and_its_sentence_is_on_stderr(cli: Cli) -> None:
    called = cli("users", "springfield", "--json")
    assert called.code == 2
    assert called.document == {
        "error": {
            "code": "usage",
            "message": "There is no district 'springfield'.",
            "hint": "Load a district file first: rostersync load FILE.toml.",
        }
    }
    assert called.err.startswith("There is no district 'springfield'.")


def test_wrong_usage_with_json_is_a_document_too_and_repeats_no_address(cli: Cli) -> None:
    called = cli("users", "springfield", "ada@x.example", "--json")
    assert called.code == 2
    assert called.document["error"]["code"] == "usage"
    assert "ada@" not in called.out + called.err


def test_a_bug_is_one_sentence_without_data_or_traceback(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("ada@x.example")

    monkeypatch.setattr(districts, "districts", broken)
    called = cli("districts")
    assert called.code == 1
    assert called.err.startswith("An error of rostersync itself (KeyError): please report it.")
    assert "Traceback" not in called.err
    assert "ada@" not in called.err
    monkeypatch.setenv("ROSTERSYNC_DEBUG", "1")
    assert "Traceback" in cli("districts").err


def test_the_database_comes_from_option_or_environment(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    for where in ("before", "after", "environment"):
        path.unlink(missing_ok=True)
        arguments = {
            "before": ["--database", sqlite_url, "db", "upgrade", "--json"],
            "after": ["db", "upgrade", "--json", "--database", sqlite_url],
            "environment": ["db", "upgrade", "--json"],
        }[where]
        if where == "environment":
            monkeypatch.setenv("ROSTERSYNC_DATABASE_URL", sqlite_url)
        assert run(arguments) == 0
        assert path.exists(), where
    made = {"before": None, "revision": SCHEMA_REVISION}
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [made] * 3


def test_a_database_that_cannot_be_used_is_wrong_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["districts", "--database", "mysql://x", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "config"


def test_of_several_exit_codes_the_most_serious_wins() -> None:
    order = [1, 2, 14, 15, 12, 11, 10, 13, 0]
    for index, code in enumerate(order):
        assert worst(reversed(order[index:])) == code
    assert worst([]) == 0


def test_output_through_a_pipe_has_no_colour_and_no_progress(sqlite_url: str) -> None:
    assert started("db", "upgrade", "--database", sqlite_url).returncode == 0
    done = started("districts", "--database", sqlite_url)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stdout == "No district yet. Load a district file: rostersync load FILE.toml\n"


def test_colour_is_not_used_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    from rostersync.cli.door import Door

    assert isinstance(Door().out, Console)
    assert Door().out.no_color


def test_db_upgrade_makes_the_tables_and_is_then_done(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["db", "upgrade", "--database", database_url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["before"] is None
    assert run(["db", "upgrade", "--database", database_url]) == 0
    assert "already" in capsys.readouterr().out


def test_an_empty_postgresql_names_the_command_that_makes_its_tables(
    postgresql_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["districts", "--database", postgresql_url]) == 2
    assert "rostersync db upgrade" in capsys.readouterr().err


def test_a_stranger_called_core_is_named(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("")
    home = Path(rostersync.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", "import rostersync"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{home}"},
        cwd=tmp_path,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert f"found instead: {tmp_path / 'core'}" in done.stderr


def test_every_public_name_is_there(database: Database) -> None:
    for name in rostersync.__all__:
        assert getattr(rostersync, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        rostersync.nothing_of_ours  # noqa: B018
