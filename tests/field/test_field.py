"""Every situation of ``situations/``: rosters by day, and the right plan of each day.

``README.md`` beside this file says how the next one is added.
"""

from __future__ import annotations

import os
import re
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy.orm import Session

from connectors.http.http_connector import HttpConnector
from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.tables import District, Source
from rostersync.cli.app import run as run_command_line
from rostersync.cli.printing.outcomes import met_sentence
from sync.acts import flex
from sync.acts.upload import Uploaded, upload_file
from sync.run.outcome import Outcome
from tests.attack.hostile import CONNECTORS
from tests.field.served import Served
from tests.field.situation import Day, Situation, addresses, names, read_situation
from tests.kit.vendor_world import hurried_clock
from tests.kit.world import SLUG, World, decoded

SECRETS = ("token", "bearer", "client_secret", "api_key")
STORES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)]


class Field:
    """A district that lives through the days of a situation."""

    def __init__(
        self, situation: Situation, database: Database, folder: Path, open_servers: ExitStack
    ) -> None:
        self.situation = situation
        self.world = World(database)
        self.folder = folder
        self.servers = {
            one.name: open_servers.enter_context(Served(one.connector))
            for one in situation.sources
            if one.connector in CONNECTORS
        }
        wanted = {"slug": SLUG, "name": "Springfield USD", "timezone": "UTC", **situation.district}
        settings = DistrictSettings.model_validate(wanted)
        with Session(database.engine) as session:
            row = District(slug=SLUG, name="Springfield USD", settings=settings.stored())
            session.add(row)
            session.flush()
            for rank, one in enumerate(situation.sources, 1):
                session.add(
                    Source(
                        district_id=row.id,
                        name=one.name,
                        connector=CONNECTORS.get(one.connector, one.connector),
                        precedence=rank,
                        config=self._config(one.name, one.config),
                        **one.more,
                    )
                )
            session.commit()
        if settings.kind == "firm":
            flex.set_delivery(database, SLUG, flex.AVAILABLE, actor="test")

    def _config(self, source: str, config: Mapping[str, Any]) -> dict[str, Any]:
        if source not in self.servers:
            (self.folder / source).mkdir()
            paths = {
                name: str(self.folder / source / str(config[name])) if config[name] else ""
                for name in ("path", "finpro_report")
                if name in config
            }
            stored = {"path": str(self.folder / source), **config, **paths}
            return {name: value for name, value in stored.items() if value != ""}
        stored = self.servers[source].config(**config)
        for secret in SECRETS:
            if secret in stored:
                os.environ[f"FIELD_{secret.upper()}"] = stored[secret]
                stored[secret] = f"env:FIELD_{secret.upper()}"
        return stored

    # -- a day

    def live(self, day: Day) -> dict[str, Any]:
        """Live through a day; return everything that may be expected of it."""
        self.world.now = day.at
        for source, files in day.files.items():
            if source in self.servers:
                self.servers[source].serve(files, day.server)
            else:
                self._write(self.folder / source, files, day.pack)
        self.upload: Uploaded | None = None
        outcome = self._act(day)
        found = self._found(outcome)
        if day.then == "approve":
            approved = self.world.approve()
            assert approved.status == "applied", (approved, approved.error)
            found["users"] = self._users()
        return found

    def _write(self, folder: Path, files: Mapping[str, bytes], pack: str) -> None:
        for old in folder.iterdir():
            old.unlink()
        if not pack:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            return
        start = "roster\\" if pack == "zip with backslashes" else ""
        with zipfile.ZipFile(folder / "roster.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(start + name, content)

    def _act(self, day: Day) -> Outcome:
        match day.act.split():
            case ["sync", *options]:
                return self.world.sync(**dict.fromkeys(options, True))
            case ["plan"]:
                return self.world.plan()
            case ["upload", *options]:
                (source,) = day.files
                self.upload = upload_file(
                    self.world.database,
                    SLUG,
                    self.folder / source / day.file,
                    actor="test",
                    now=self.world.clock,
                    **dict.fromkeys(options, True),  # type: ignore[arg-type]
                )
                return self.upload.outcome
        raise AssertionError(f"no such act: {day.act}")

    # -- what came of it

    def _found(self, outcome: Outcome) -> dict[str, Any]:
        plans = {plan: self.world.plan_row(plan) for plan in outcome.plan_ids}
        held = self.world.standing()
        free = [number for number, row in plans.items() if row["status"] in ("applied", "planned")]
        plan: dict[str, int] = {}
        for number in free:
            plan |= self.world.actions(number)
        return {
            "status": outcome.status,
            "exit": outcome.exit_code,
            "upload": self.upload.status if self.upload else "",
            "plan": plan,
            "held": self.world.actions(held),
            "limits": sorted(self.world.limits(held)),
            "users": self._users(),
            "told": self._told(outcome),
            "words": {
                word: number
                for certificate in outcome.certificates.values()
                for word, number in (certificate.get("unknown") or {}).items()
            },
            "conflicts": sorted(reason for _, _, reason, _ in self.world.conflicts()),
            "schools": sorted(reason for _, _, reason, _ in self.world.conflicts("school")),
            "says": self._says(outcome),
        }

    def _users(self) -> dict[str, int]:
        return dict(
            sorted(
                map(tuple, self.world.rows("SELECT status, COUNT(*) FROM users GROUP BY status"))
            )
        )

    def _told(self, outcome: Outcome) -> list[str]:
        if self.upload is not None:
            return [
                _place(one.file, one.line, one.column, one.rule)
                for one in self.upload.found
                if one.severity == "error"
            ]
        rows = self.world.rows(
            'SELECT f.stream, f.file, f.line, f."column" AS name, f.rule FROM findings f'
            " JOIN fetches t ON t.id = f.fetch_id WHERE t.run_id = :run ORDER BY f.fetch_id, f.seq",
            run=outcome.run_id,
        )
        return [_place(row.file or row.stream, row.line, row.name, row.rule) for row in rows]

    def _says(self, outcome: Outcome) -> str:
        said = []
        if outcome.error is not None:
            said += [outcome.error.message, outcome.error.hint or ""]
        for certificate in outcome.certificates.values():
            said += [certificate.get("reason") or "", *(certificate.get("notes") or ())]
            said.append(met_sentence(certificate))
        if self.upload is not None:
            said += [*self.upload.said, *(f"{one.message} {one.hint}" for one in self.upload.found)]
        return "\n".join(line for line in said if line)

    def person(self, key: str) -> dict[str, Any]:
        """Return what the directory says of the person of a record (``key`` or ``source/key``)."""
        source, slash, rest = key.partition("/")
        first = self.situation.sources[0].name
        user = self.world.user(rest, source) if slash else self.world.user(key, first)
        places = user["memberships"]
        user["locked_fields"] = decoded(user["locked_fields"])
        return {
            **user,
            "roles": sorted({role for role, _, _ in places}),
            "schools": sorted({school for _, school, _ in places if school}),
        }


def _place(file: str | None, line: int | None, column: str, rule: str) -> str:
    named = (file or "").rpartition("/")[2]
    return " ".join(str(one) for one in (named, line, column, rule) if one not in (None, ""))


# -- comparing

USUAL: Mapping[str, Any] = {
    "exit": 0, "upload": "", "plan": {}, "held": {}, "users": {}, "told": [], "words": {},
    "conflicts": [], "schools": [],
}  # fmt: skip
"""What is expected of a day that does not say so: nothing else happened."""


def differences(field: Field, day: Day, found: Mapping[str, Any]) -> list[str]:
    """Return, a line each, what came otherwise than the day expects."""
    wanted = {**USUAL, **day.expect}
    wrong = [
        f"{name} = {_toml(found[name])}    # expected {_toml(wanted[name])}"
        for name in ("status", *USUAL)
        if found[name] != wanted[name]
    ]
    if "limits" in wanted and found["limits"] != wanted["limits"]:
        wrong.append(f"limits = {_toml(found['limits'])}    # expected {_toml(wanted['limits'])}")
    wrong += [
        f"says {found['says']!r}, and not {text!r}"
        for text in wanted.get("says", ())
        if text not in found["says"]
    ]
    for key, values in wanted.get("people", {}).items():
        person = field.person(key)
        wrong += [
            f"{key}: {name} = {person.get(name)!r}    # expected {value!r}"
            for name, value in values.items()
            if (person.get(name) or type(value)()) != value
        ]
    for together, pairs in ((True, wanted.get("same", ())), (False, wanted.get("apart", ()))):
        wrong += [
            f"{first} and {second} are {'two users' if together else 'one user'}"
            for first, second in pairs
            if (field.person(first)["id"] == field.person(second)["id"]) is not together
        ]
    return wrong


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(name)} = {_toml(one)}" for name, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else f'"{name}"'


# -- the tests

FOUND = names()


def _marked(name: str) -> Any:
    fails = read_situation(name).fails
    marks = [pytest.mark.xfail(strict=True, reason=fails)] if fails else []
    return pytest.param(name, marks=marks, id=name)


@pytest.fixture
def open_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """Yield where servers are opened; nobody waits for retries, and the environment is put back."""
    monkeypatch.setattr(HttpConnector, "clock", hurried_clock())
    with mock.patch.dict(os.environ), ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("migrated_url", STORES, indirect=True)
@pytest.mark.parametrize("name", [_marked(name) for name in FOUND])
def test_the_plan_is_right(
    name: str,
    database: Database,
    tmp_path: Path,
    open_servers: ExitStack,
    capsys: pytest.CaptureFixture[str],
) -> None:
    situation = read_situation(name)
    field = Field(situation, database, tmp_path, open_servers)
    url = database.url.render_as_string(hide_password=False)
    for day in situation.days:
        wrong = differences(field, day, field.live(day))
        assert not wrong, "\n".join([f"{name}, day {day.number}:", *wrong])
        for ask in day.asks:
            capsys.readouterr()
            code = run_command_line([*shlex.split(ask["run"]), "--database", url])
            out, err = capsys.readouterr()
            said = " ".join(f"{out} {err}".split())
            assert code == ask.get("exit", 0), said
            for text in ask.get("says", ()):
                assert text in said, f"{ask['run']}: {said}"
            for text in ask.get("hides", ()):
                assert text not in said, f"{ask['run']}: {said}"
    assert field.world.intact()


@pytest.mark.parametrize("name", FOUND)
def test_a_situation_names_its_public_source(name: str) -> None:
    assert addresses(name), f"{name}: the comment at the top must hold the address of the report"


def test_there_are_enough_of_them() -> None:
    assert len(FOUND) >= 60
    assert len({address for name in FOUND for address in addresses(name)}) >= 30
