"""Servers by another author: Prism serves the descriptions beside this file, and we read them.

Prism (``@stoplight/prism-cli``) refuses a request that does not fit a description, so these tests
show that ours do; asked to be dynamic, it makes up records within what the description allows, in
ways that we would not think of. It is installed from npm for the time of the tests.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import requests
from filelock import FileLock

from core.errors import WrongDistrict
from core.storage.database import Database
from tests.attack.conftest import add_source
from tests.kit.databases import cannot_run
from tests.kit.world import World, new_world

pytestmark = pytest.mark.long
HERE = Path(__file__).parent
PRISM = "@stoplight/prism-cli@5.16.0"
BY_TURNS = 6
"""How often a dynamic server is read: it answers otherwise each time."""

Served = Callable[..., World]


@pytest.fixture(scope="session")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program, installed once for all test processes of a run."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        cannot_run("Prism needs node and npm, which this machine does not have.")
    folder = tmp_path_factory.getbasetemp().parent / "prism"
    program = folder / "node_modules" / ".bin" / "prism"
    with FileLock(folder.with_suffix(".lock")):
        if not program.exists():
            folder.mkdir(exist_ok=True)
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), PRISM]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            if done.returncode:
                cannot_run(f"Prism could not be installed from npm: {done.stderr[-300:]}")
    return program


@contextmanager
def serving(prism: Path, description: str, *options: str) -> Iterator[str]:
    """Serve a description on loopback; yield the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(prism), "mock", "--host", "127.0.0.1", "--port", str(port), "--errors", *options]
    with subprocess.Popen(
        [*command, str(HERE / description)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + 120
            while True:
                assert process.poll() is None, "Prism ended at once"
                with socket.socket() as caller:
                    if caller.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert time.monotonic() < until, "Prism does not answer"
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture
def served(
    prism: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
    """Return a function that serves a description, and makes a district that reads it."""
    with ExitStack() as stack, mock.patch.dict(os.environ):

        def make(connector: str, *options: str) -> World:
            config: dict[str, Any] = {"attempts": 2, "retry_wait": 0}
            if connector == "clever":
                origin = stack.enter_context(serving(prism, "clever30.yaml", *options))
                config |= {"base_url": f"{origin}/v3.0", "token": "t0ken"}
            else:
                origin = stack.enter_context(serving(prism, "oneroster12.yaml", *options))
                config |= {
                    "base_url": f"{origin}/ims/oneroster/rostering/v1p2",
                    "token_url": f"{origin}/token",
                    "client_id": "app",
                    "client_secret": "s3cret",
                }
            world = new_world(database, tmp_path, sources={"town": "board"})
            add_source(world, "sis", connector, config, monkeypatch)
            return world

        yield make


def test_prism_refuses_a_request_that_does_not_fit(prism: Path) -> None:
    """Otherwise the tests below would show nothing."""
    with serving(prism, "oneroster12.yaml") as origin:
        url = f"{origin}/ims/oneroster/rostering/v1p2/users"
        signed = {"Authorization": "Bearer t0ken"}
        assert requests.get(url, headers=signed, timeout=30).status_code == 200
        assert requests.get(url, timeout=30).status_code == 401
        assert requests.get(f"{url}?limit=none", headers=signed, timeout=30).status_code == 422
        assert requests.get(f"{url}?orderBy=up", headers=signed, timeout=30).status_code == 422


def test_the_people_of_a_oneroster_description_are_read(served: Served) -> None:
    world = served("oneroster")
    outcome = world.sync(sources=["sis"], code=0)
    assert world.statuses() == {"u1": "active", "u2": "suspended", "u3": "active"}
    assert {role for role, _, _ in world.user("u3")["memberships"]} == {"teacher", "staff"}
    assert world.user("u1")["memberships"] == [("student", "Lincoln High", True)]
    assert outcome.certificates["sis"]["complete"]
    assert world.sync(sources=["sis"]).status == "nothing_to_do"


def test_the_people_of_a_clever_description_are_read(served: Served) -> None:
    """Prism serves the same page for ever: that ends the reading, and nobody leaves (F18)."""
    world = served("clever")
    outcome = world.sync(sources=["sis"])
    assert outcome.exit_code == 12
    assert "same page" in str(outcome.certificates["sis"]["reason"]), "no request was refused"
    assert world.statuses() == {"u1": "active", "u2": "active", "u3": "active"}
    assert world.user("u2")["grade"] == "KG"
    assert {role for role, _, _ in world.user("u3")["memberships"]} == {"teacher", "staff"}
    assert world.sync(sources=["sis"]).exit_code == 12
    assert world.count("archived") == 0


@pytest.mark.parametrize("connector", ["oneroster", "clever"])
def test_whatever_a_description_allows_is_read_or_is_that_sources_failure(
    served: Served, connector: str
) -> None:
    """Made-up records, whatever they hold, never end in a crash, and the other source goes on."""
    world = served(connector, "--dynamic")
    for turn in range(BY_TURNS):
        world.rosters["town"].teacher(f"town{turn}")
        world.later(days=1)
        outcome = world.sync()
        other = isinstance(outcome.error, WrongDistrict)  # the id of the district is made up, too
        assert outcome.exit_code in (0, 10, 12) or other, (outcome, outcome.error)
        assert world.user(f"town{turn}", "town")["status"] == "active"
        told = str(outcome.certificates["sis"].get("reason"))
        assert "422" not in told, "one of our requests did not fit the description"
        assert "401" not in told
    assert world.intact()
