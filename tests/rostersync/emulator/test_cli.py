"""The door: one command, one port, every vendor, and text that can be pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from rostersync.emulator.command import app, ready_texts
from rostersync.emulator.district.days import ordinary_week
from rostersync.emulator.district.generator import District
from rostersync.emulator.emulator import Emulator
from rostersync.emulator.server.faults import FAULTS

from .reading import access_token, bearer

VENDORS = ("clever", "classlink", "gg4l", "oneroster", "oneroster12")


@pytest.fixture
def everything() -> Iterator[Emulator]:
    with Emulator(District(users=120, days=ordinary_week()), "all") as emulator:
        yield emulator


def configs(exports: str, toml: str) -> dict[str, dict[str, Any]]:
    """Read the texts as a person would use them: set the exports, load the TOML."""
    secrets = dict(re.findall(r"^export (\w+)=(\S+)$", exports, re.MULTILINE))
    found = {}
    for district in tomllib.loads(toml)["district"]:
        source = district["source"][0]
        found[source["name"]] = {
            key: secrets[value[4:]] if str(value).startswith("env:") else value
            for key, value in source["config"].items()
        }
    return found


def test_what_is_printed_opens_every_vendor(everything: Emulator, http: requests.Session) -> None:
    printed = configs(*ready_texts(everything))
    assert tuple(printed) == VENDORS
    for vendor, config in printed.items():
        assert config == everything.config(vendor=vendor)
        if vendor == "clever":
            url, token = f"{config['base_url']}/users", config["token"]
        elif vendor == "classlink":
            url = f"{config['base_url']}/applications"
            assert http.get(url, headers=bearer(config["bearer"]), timeout=20).status_code == 401
            continue
        else:
            token = access_token(http, config)
            url = f"{config.get('base_url') or config['api_url']}/users"
        assert http.get(url, headers=bearer(token), timeout=20).status_code == 200


def test_links_stay_below_the_vendors_place(everything: Emulator, http: requests.Session) -> None:
    config = everything.config(vendor="clever")
    answer = http.get(
        f"{config['base_url']}/users?limit=50", headers=bearer(config["token"]), timeout=20
    )
    following = next(link["uri"] for link in answer.json()["links"] if link["rel"] == "next")
    assert following.startswith("/clever/v3.0/users?")
    again = http.get(everything.origin + following, headers=bearer(config["token"]), timeout=20)
    assert len(again.json()["data"]) == 50


def test_the_day_and_the_faults_can_be_changed_from_outside(
    everything: Emulator, http: requests.Session
) -> None:
    door = f"{everything.origin}/_emulator"
    config = everything.config(vendor="clever")

    def users() -> int:
        headers = bearer(config["token"])
        return http.get(f"{config['base_url']}/users", headers=headers, timeout=20).status_code

    assert http.get(f"{door}/status", timeout=20).json()["day"] == 0
    assert http.post(f"{door}/day", json={"day": 8}, timeout=20).json()["users"] < 110
    fault = {"name": "server_error", "stream": "users", "times": 1}
    assert http.post(f"{door}/fault", json=fault, timeout=20).status_code == 200
    assert [users(), users()] == [500, 200]
    http.post(f"{door}/fault", json={"name": "html_503"}, timeout=20)
    assert users() == 503
    http.post(f"{door}/heal", timeout=20)
    assert users() == 200
    http.post(f"{door}/rotate", timeout=20)
    assert users() == 401
    assert http.post(f"{door}/day", json={"day": 99}, timeout=20).status_code == 400
    assert http.post(f"{door}/fault", json={"name": "no"}, timeout=20).status_code == 400
    assert http.get(f"{door}/nothing", timeout=20).status_code == 404
    statuses = [row["status"] for row in http.get(f"{door}/requests", timeout=20).json()]
    assert statuses == [500, 200, 503, 200, 401]


def test_the_help_reads_well() -> None:
    answer = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"})
    assert answer.exit_code == 0
    for word in ("--users", "--seed", "--day", "--fault", "Clever, ClassLink, GG4L and OneRoster"):
        assert word in answer.output


def test_every_fault_is_listed_with_what_it_does() -> None:
    answer = CliRunner().invoke(app, ["--faults"])
    assert [line.split()[0] for line in answer.output.splitlines()] == sorted(FAULTS)


def test_a_day_is_written_as_a_oneroster_zip_for_whoever_has_none(tmp_path: Path) -> None:
    roster = tmp_path / "roster.zip"
    answer = CliRunner().invoke(app, ["--users", "30", "--csv", str(roster)])
    assert answer.exit_code == 0
    assert "30 people" in answer.output
    with zipfile.ZipFile(roster) as archive:
        rows = archive.read("users.csv").decode().splitlines()
    assert len(rows) == 31


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    answer = CliRunner().invoke(app, ["--users", "10", "--csv", str(tmp_path / "taken" / "r.zip")])
    assert answer.exit_code == 2
    assert "cannot be written" in answer.output


def test_a_wrong_fault_is_a_sentence() -> None:
    answer = CliRunner().invoke(app, ["--fault", "bad_luck"])
    assert answer.exit_code == 2
    assert "bad_luck" in answer.output
    assert "Traceback" not in answer.output


def test_a_port_that_is_taken_is_a_sentence(everything: Emulator) -> None:
    port = everything.origin.rpartition(":")[2]
    answer = CliRunner().invoke(app, ["--port", port, "--users", "10"])
    assert answer.exit_code == 2
    assert "another" in answer.output


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["--port", "0", "--write", str(tmp_path / "no" / "x.toml")])
    assert answer.exit_code == 2
    assert "no folder" in answer.output


def test_it_serves_until_interrupted(http: requests.Session, tmp_path: Path) -> None:
    program = (  # what runs in the background ignores interrupts, and so would its children
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from rostersync.emulator.command import app; app()"
    )
    options = ["--users", "50", "--port", "0", "--fault", "html_200:users"]
    options += ["--write", str(tmp_path / "districts.toml")]
    with subprocess.Popen(
        [sys.executable, "-c", program, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        printed = ""
        while "# The districts are in" not in printed:
            line = process.stdout.readline()
            assert line, "it ended early"
            printed += line
        origin = printed.splitlines()[0].rpartition(" at ")[2]
        assert http.get(f"{origin}/_emulator/status", timeout=20).json()["users"] == 50
        process.send_signal(2)
        errors = process.communicate(timeout=20)[1]
    assert "[[district]]" not in printed
    toml = (tmp_path / "districts.toml").read_text(encoding="utf-8")
    assert configs(printed, toml)["clever"]["base_url"] == f"{origin}/clever/v3.0"
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_looking_at_the_help_does_not_load_the_server() -> None:
    program = (
        "import sys; import rostersync.emulator.command;"
        "sys.exit(any('emulator.server' in name or name == 'msgspec' for name in sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=env).returncode == 0


def test_emulator_and_connectors_do_not_know_each_other() -> None:
    program = (
        "import sys; import rostersync.emulator.emulator, rostersync.emulator.vendors.files;"
        "ours = {n for n in sys.modules if n.split('.')[0] in ('connectors', 'sync', 'core')};"
        "sys.exit(bool(ours - {'core', 'core.steps', 'core.log_lines'}))"  # how steps are logged
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], check=False, env=env).returncode == 0
