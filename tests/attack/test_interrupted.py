"""Ctrl-C, SIGTERM, a closed or a full output: one sentence, whole JSON, and the run is closed."""

from __future__ import annotations

import configparser
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.storage.database import Database
from rostersync.service.service import Bounds
from tests.attack.conftest import add_source
from tests.attack.hostile import CONNECTORS, Hostile, people
from tests.kit.sizes import LONG
from tests.kit.world import SLUG, new_world

HOME = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-c", "from rostersync.cli import main; main()"]
RUN_ONE = [sys.executable, "-m", "rostersync.service.run_one"]
FULL = Path("/dev/full")


def environment(database: Database, **more: str) -> dict[str, str]:
    url = database.url.render_as_string(hide_password=False)
    ours = {"ROSTERSYNC_DATABASE_URL": url, "PYTHONPATH": str(HOME), "NO_COLOR": "1", **more}
    # argparse says nothing if its help cannot be written, which happens at once without a buffer
    return {**os.environ, **ours, "PYTHONUNBUFFERED": ""}


@pytest.fixture
def slow(store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    """A district whose one vendor answers so slowly that its sync can be met half way."""
    with Hostile("oneroster") as vendor:
        vendor.people = people(20)
        world = new_world(store, tmp_path)
        world.sis.students(3)
        world.save()
        add_source(world, "slow", CONNECTORS["oneroster"], vendor.config(), monkeypatch)
        vendor.spoil = lambda asked, answer: time.sleep(3) or answer  # type: ignore[func-returns-value]
        yield vendor


def under_way(store: Database, vendor: Hostile) -> None:
    """Wait until the run waits for its vendor."""
    until = time.monotonic() + 60
    while not vendor.asked:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_sync_that_is_interrupted_says_so_once_and_closes_its_run(
    store: Database, slow: Hostile, number: int, code: int
) -> None:
    with subprocess.Popen(
        [*PROGRAM, "sync", SLUG, "--json"], env=environment(store), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # tests may run under nohup
    ) as program:  # fmt: skip
        under_way(store, slow)
        program.send_signal(number)
        out, err = program.communicate(timeout=60)
    assert program.returncode == code
    assert json.loads(out)["error"]["code"] == "interrupted"
    assert [line for line in err.splitlines() if line.strip()] == [
        "Interrupted: nothing was half applied, and the next run goes on from there."
    ]
    with store.read() as connection:
        (run,) = connection.exec_driver_sql("SELECT status, error FROM runs").all()
    assert run.status == "failed"
    assert "interrupted" in run.error


def test_a_run_of_the_service_that_is_ended_closes_its_run(store: Database, slow: Hostile) -> None:
    with subprocess.Popen(
        [*RUN_ONE, SLUG, "2026-10-05T05:00:00+00:00"], env=environment(store), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as program:  # fmt: skip
        with store.write() as connection:  # a district without sync times reads uploads only
            settings = connection.exec_driver_sql("SELECT settings FROM districts").scalar_one()
            changed = {**json.loads(settings), "sync_times": ["05:00"]}
            connection.exec_driver_sql("UPDATE districts SET settings = ?", (json.dumps(changed),))
        under_way(store, slow)
        program.send_signal(signal.SIGTERM)
        _, err = program.communicate(timeout=60)
    assert program.returncode == 143
    assert err.count("\n") == 1
    assert "interrupted" in err
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT status FROM runs").scalars().all() == ["failed"]


def test_the_unit_lets_the_runs_under_way_end() -> None:
    page = (HOME / "docs" / "operations.md").read_text()
    found = re.search(r"```ini\n(.*?)```", page, re.DOTALL)
    assert found is not None
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(found[1])
    assert unit["Service"]["KillMode"] == "mixed", "else systemd ends the runs at once"
    assert int(unit["Service"]["TimeoutStopSec"]) > Bounds().stop_within.total_seconds()


WRONG = {
    "no_arguments": ([], {}),
    "no_database": ([SLUG, "2026-10-05T05:00:00+00:00"], {"ROSTERSYNC_DATABASE_URL": "mysql://x"}),
    "wrong_log": ([SLUG, "2026-10-05T05:00:00+00:00"], {"ROSTERSYNC_LOG": "loud"}),
    "no_district": (["nowhere", "2026-10-05T05:00:00+00:00"], {}),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_inner_door_of_the_service_says_what_is_wrong(store: Database, wrong: str) -> None:
    arguments, more = WRONG[wrong]
    done = subprocess.run(
        [*RUN_ONE, *arguments], env=environment(store, **more), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (0 if wrong == "no_district" else 1), done.stderr


DOORS = {
    "the program": [*PROGRAM, "connectors"],
    "an error": [*PROGRAM, "users", "nowhere", "--json"],
    "reasons": [sys.executable, "-m", "sync.rules.reasons"],
    "run_one": RUN_ONE,
    "bench": [sys.executable, "-m", "bench", "--help"],
    "bench.model": [sys.executable, "-m", "bench.model", "--help"],
    "bench.peers": [sys.executable, "-m", "bench.peers", "--help"],
    "demo": [sys.executable, "-m", "rostersync.tools.demo"],
}


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("door", DOORS)
def test_every_door_says_that_its_output_is_full(store: Database, door: str) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            DOORS[door], env=environment(store), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert 0 < done.stderr.count("\n") < 5


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("closed", ["both", "full"])
@pytest.mark.parametrize("door", ["the program", "an error", "run_one"] if LONG else ["run_one"])
def test_every_door_keeps_its_exit_code_where_nobody_listens(
    store: Database, door: str, closed: str
) -> None:
    wanted = 0 if door == "the program" else 2
    shell = {"both": ">&- 2>&-", "full": "2>/dev/full"}[closed]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", *DOORS[door]], env=environment(store),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == wanted, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
