"""``--verbose``: every command says its steps on stderr, and no step names anybody.

The roster is of made-up people whose names and addresses can be told from any other word; the
tests look for them, and for the secrets of a source, in everything that is logged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from rostersync.cli.app import app, run
from rostersync.emulator import District, Emulator
from tests.kit.command_line import Called, Cli
from tests.kit.oneroster_folder import Folder, Person

pytestmark = pytest.mark.any_store

D, FIRM, CLOUD = "springfield", "hillvalley", "summerton"
GIVEN = ("Philippa", "Bartholomew", "Žofie", "Oluwaseun")
FAMILIES = [f"Quillfeather{letter}" for letter in "abcdefghijklmnop"]
PEOPLE = [
    Person(f"quill{n:03}", family, GIVEN[n % 4], role="teacher" if n < 3 else "student")
    for n, family in enumerate(FAMILIES)
]
TYPED = ("Wilhelmina", "Featherstonehaugh", "willa@springfield.example", "wfeather")
NAMES = (
    *GIVEN, *FAMILIES, *TYPED, *(person.key for person in PEOPLE), "@springfield.example",
    "@usd.example", "@firm.example",
)  # fmt: skip

SETTINGS = """
email_domains = ["springfield.example", "usd.example"]
retention_days = 400
"""
SECOND_SOURCE = """
[[district.source]]
name = "people"
connector = "user_csv"
precedence = 2
"""

_TEXT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z_.]+: ")


def commands() -> Iterator[str]:
    """Yield every command of the program, as it is typed."""

    def under(found: Any, words: tuple[str, ...]) -> Iterator[str]:
        if hasattr(found, "commands"):
            for name, one in found.commands.items():
                yield from under(one, (*words, name))
        else:
            yield " ".join(words)

    yield from under(typer.main.get_command(app), ())


def lines(called: Called) -> list[str]:
    """Return what was logged: the lines of stderr that begin with a time, or are JSON."""
    return [
        line for line in called.err.splitlines() if _TEXT.match(line) or line.startswith('{"at"')
    ]


class Story:
    """Calls command after command with its steps shown, and keeps what was logged."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli
        self.logged: dict[str, list[str]] = {}

    def __call__(self, command: str, *arguments: str, code: int | None = 0) -> Called:
        """Call one command, every second time with its log as JSON lines."""
        how = ("--verbose",) if len(self.logged) % 2 else ("--log", "json")
        called = self._cli(*command.split(), *arguments, *how)
        assert code is None or called.code == code, (command, called)
        self.logged.setdefault(command, []).extend(lines(called))
        return called


def users(cli: Cli) -> dict[str, str]:
    """Return the user ids of the district by family name."""
    return {user["family_name"]: user["id"] for user in cli("users", D, "--json").document}


def tell(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Call every command over the roster at least once, most of them with something to do."""
    say, folder = Story(cli), Folder(tmp_path)
    file = folder.district(SETTINGS)
    with Path(file).open("a") as more:
        more.write(SECOND_SOURCE)
    folder.write(PEOPLE[:14])
    say("load", file)
    say("districts")
    say("sources", D)
    say("connectors")
    say("check", D)
    say("plan", D)
    say("plans", D)
    say("show", "P1", "--drift")
    say("apply", "P1")
    folder.write(PEOPLE)
    say("sync", D)
    say("status")
    say("runs", D)
    say("changes", D)
    say("users", D, "--search", TYPED[0])
    people = users(cli)
    first, second = people[FAMILIES[3]], people[FAMILIES[4]]
    say("why", D, first)
    say("why", D, f"sis:{PEOPLE[5].key}")
    say("skipped", D)
    say("rollover", D)
    say("schedule", D)
    say("export", D, "--source", "sis", "--output", str(tmp_path / "out.zip"))
    say("source try", D, "sis", "--id", PEOPLE[6].key)
    say("source resume", D, "sis", code=None)
    hand(say, first)
    uploads(say, tmp_path)
    folder.write(PEOPLE[:7])
    held = say("sync", D, code=10)
    plan = re.search(r"\bP\d+", held.out)
    assert plan
    say("approve", plan[0], "--no-apply")
    say("reject", plan[0], "--reason", TYPED[1])
    folder.write(PEOPLE)
    say("sync", D)
    say("pause", D, "--until", "2099-01-01")
    say("resume", D)
    say("duplicates", D)
    say("merge", D, first, second)
    say("not-same", D, first, second, code=None)
    say("conflicts", D)
    say("resolve", "C1", "--new", code=2)
    say("rename-domain", D, "--from", "springfield.example", "--to", "usd.example", "--apply")
    say("undo", "R2", code=None)
    say("purge", D)
    say("switch", D, "--from", "sis", "--to", "people", code=None)
    say("source retire", D, "people")
    firm(say, tmp_path)
    cloud(say, tmp_path, monkeypatch)
    say("db upgrade")
    say("db verify", D)
    say("db head", D)
    say("db repair", D)
    say("db new-key", code=None)
    say("connector new", "quill_sis", "--folder", str(tmp_path / "new"))
    say("connector test", "user_csv")
    monkeypatch.setattr("rostersync.service.service.Service.serve", lambda self: self.tick())
    say("run")
    return say


def hand(say: Story, user: str) -> None:
    """Edit somebody by hand in every way."""
    given, family, email, username = TYPED
    say(
        "user add", D, "--given", given, "--family", family, "--role", "teacher", "--email", email,
        "--username", username, "--reason", f"instead of {FAMILIES[0]}",
    )  # fmt: skip
    say("user edit", D, user, "--given", given, "--reason", family)
    say("user lock", D, user, "--field", "given_name")
    say("user unlock", D, user, "--field", "given_name")
    say("user protect", D, user)
    say("user unprotect", D, user)
    say("user archive", D, user)
    say("user restore", D, user)


def uploads(say: Story, folder: Path) -> None:
    """Upload a file with a row that cannot be used, and write a template."""
    path = folder / f"{TYPED[1]}.csv"
    path.write_text(
        "firstname,lastname,email,role,gradyear,status,idnumber\n"
        f"{TYPED[0]},{TYPED[1]},{TYPED[2]},teacher,,Active,77\n"
        f"{GIVEN[0]},{FAMILIES[0]},no address,student,,Active,78\n"
    )
    say("upload", D, str(path), "--source", "people")
    say("files", D)
    say("template", "user_csv")


def firm(say: Story, folder: Path) -> None:
    """Do what a firm can do: FINRA FLEX."""
    file = folder / "firm.toml"
    file.write_text(
        f'[[district]]\nslug = "{FIRM}"\nname = "Hill Valley"\nkind = "firm"\n'
        'timezone = "America/Chicago"\n[[district.source]]\nname = "people"\n'
        'connector = "finra_flex"\n'
    )
    say("load", str(file))
    say("flex status", FIRM, "--set", "available")
    path = folder / "UploadUsersTemplate.csv"
    path.write_text(
        f"crd_id,first_name,last_name,email\n1234567,{GIVEN[0]},{FAMILIES[0]},pq@firm.example\n"
    )
    say("upload", FIRM, str(path), "--without-report")
    named = ("--first-name", TYPED[0], "--last-name", TYPED[1], "--email", "wf@firm.example")
    say("flex request add", FIRM, "7654321", *named)
    say("flex request update", FIRM, "1234567", *named)
    say("flex request remove", FIRM, "1234567")
    say("flex request list", FIRM)
    say("flex request text", FIRM)
    say("flex request confirm", FIRM, "F1")


def cloud(say: Story, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a vendor over HTTP, whose credentials are secrets and whose people are known."""
    with Emulator(District(seed=4, users=30, schools=2), vendor="classlink") as emulator:
        config = emulator.config("discovery")
        secret = str(config["api_key"])
        monkeypatch.setenv("OF_A_TEST", secret)
        config["api_key"] = "env:OF_A_TEST"
        about = "".join(f"{name} = {json.dumps(value)}\n" for name, value in config.items())
        file = folder / "cloud.toml"
        file.write_text(
            f'[[district]]\nslug = "{CLOUD}"\nname = "Summerton"\ntimezone = "America/Chicago"\n'
            f'[[district.source]]\nname = "vendor"\nconnector = "classlink"\n'
            f"[district.source.config]\n{about}"
        )
        say("load", str(file))
        say("sync", CLOUD)
        say("check", CLOUD)
        config_file = folder / "discover.toml"
        config_file.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in config.items()))
        say("discover", "classlink", "--config", str(config_file), code=None)
    logged = "\n".join(say.logged["sync"])
    assert "source=vendor" in logged or '"source":"vendor"' in logged
    assert secret not in "\n".join(line for found in say.logged.values() for line in found)


@pytest.fixture
def story(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Story:
    monkeypatch.chdir(tmp_path)
    story = tell(cli, tmp_path, monkeypatch)
    assert run(["emulate", "--faults", "--verbose"]) == 0  # it has no database
    story.logged["emulate"] = lines(Called(0, *capsys.readouterr()))
    return story


def test_every_command_logs_its_steps_and_names_nobody(story: Story) -> None:
    assert set(commands()) == set(story.logged)
    silent = [command for command, logged in story.logged.items() if not logged]
    assert silent == []
    for command, logged in story.logged.items():
        for line in logged:
            named = [name for name in NAMES if name.casefold() in line.casefold()]
            assert not named, (command, line)


@pytest.fixture
def folder(cli: Cli, tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write(PEOPLE)
    assert cli("load", str(folder.file)).code == 0
    return folder


@pytest.mark.usefixtures("folder")
def test_a_sync_tells_what_it_read_and_planned_and_applied(cli: Cli) -> None:
    called = cli("sync", D, "--json", "--verbose")
    assert called.document["status"] == "applied"
    steps = {found["step"]: found for found in map(json.loads, lines(called))}
    read = steps["read source"]
    assert read["source"] == "sis"
    # In parts: the whole would be the name of a module, which the wheel's tests have rewritten.
    assert read["room"].split(".") == ["sync", "reading"]
    assert read["ms"] > 0
    assert steps["read stream"]["records"] == len(PEOPLE)
    assert steps["seal plan"]["changes"] == len(PEOPLE) + 2
    assert steps["apply plan"]["plan"] == steps["seal plan"]["plan"]
    assert steps["command"] == steps["command"] | {"command": "sync", "exit_code": 0}
    assert all(found["at"].endswith("Z") for found in steps.values())


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "arguments",
    [("--verbose", "sync", D), ("sync", D, "--verbose"), ("--log", "text", "sync", D)],
)
def test_verbose_stands_before_or_after_the_command(cli: Cli, arguments: tuple[str, ...]) -> None:
    called = cli(*arguments)
    assert "sync.reading: read source source=sis" in "\n".join(lines(called))
    assert "people join" in called.out


@pytest.mark.usefixtures("folder")
def test_without_verbose_no_step_is_shown(cli: Cli) -> None:
    cli("plan", D, "--verbose")
    called = cli("plan", D)
    assert lines(called) == []


def test_a_command_that_fails_says_so_in_its_last_step(cli: Cli) -> None:
    called = cli("users", "nowhere", "--log", "json")
    assert called.code == 2
    last = json.loads(lines(called)[-1])
    assert (last["command"], last["error"]) == ("users", "UsageError")


def test_the_program_lists_its_options_for_the_log() -> None:
    root = typer.main.get_command(app)
    assert {"--verbose", "--log"} <= {name for one in root.params for name in one.opts}
