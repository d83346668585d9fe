"""``rostersync run``: what is due starts once, a stuck run blocks nobody, a kill loses nothing.

One file, because every story is told of the same house of fake children and a fake clock.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from core.errors import Busy
from core.failpoints import at_failpoints
from core.log_lines import LogFormat
from core.storage.database import Database
from rostersync.service.due import Due
from rostersync.service.run_one import run_due
from rostersync.service.service import Bounds, Service
from sync.acts.pause import pause_district
from tests.kit.oneroster_folder import Folder, students
from tests.kit.school_year import Person, Town, classes, staff


class Fake:
    """A process that ends when the test says so."""

    def __init__(self, due: Due) -> None:
        self.due = due
        self.code: int | None = None
        self.killed = False

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.killed = True
        self.code = -9

    def wait(self, timeout: float | None = None) -> int:
        if self.code is None:
            raise subprocess.TimeoutExpired("fake", timeout or 0)
        return self.code


class House:
    """A service over several towns, its clock in the test's hand."""

    def __init__(self, database: Database, folder: Path, *slugs: str, **bounds: Any) -> None:
        self.towns = {slug: Town(database, folder, slug=slug) for slug in slugs}
        self.database = database
        self.now = datetime(2026, 9, 1, 9, 0, tzinfo=UTC)  # 04:00 in Chicago
        self.started: list[Fake] = []
        self.service = Service(
            database, launch=self.launch, bounds=Bounds(**bounds), now=lambda: self.now
        )

    def launch(self, due: Due) -> Fake:
        process = Fake(due)
        self.started.append(process)
        return process

    def tick(self, **later: float) -> list[str]:
        """Let time pass, tick, and return who was started."""
        self.now += timedelta(**later)
        before = len(self.started)
        self.service.tick()
        return [one.due.slug for one in self.started[before:]]

    def end(self, slug: str, code: int = 0) -> None:
        """Let the run of a district end, as the real process does."""
        from rostersync.service.due import handled

        for one in self.started:
            if one.due.slug == slug and one.code is None:
                one.code = code
                if code != Busy.exit_code and code in (0, 10, 12, 14):
                    handled(self.database, one.due.district_id, one.due.at)


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Callable[..., House]:
    def make(*slugs: str, **bounds: Any) -> House:
        return House(database, tmp_path, *slugs, **bounds)

    return make


def test_a_district_is_synced_once_at_each_of_its_times(house: Callable[..., House]) -> None:
    home = house("springfield")
    assert home.tick() == []  # watched from now on: nothing was missed
    assert home.tick(minutes=59) == []
    assert home.tick(minutes=6) == ["springfield"]
    assert home.tick(seconds=10) == []  # under way
    home.end("springfield")
    assert home.tick(hours=1) == []
    assert home.tick(hours=4) == ["springfield"]


def test_after_a_long_sleep_there_is_one_catch_up(house: Callable[..., House]) -> None:
    home = house("springfield")
    home.tick()
    assert home.tick(days=5) == ["springfield"]
    home.end("springfield")
    assert home.tick(seconds=10) == []


def test_no_more_than_the_bound_run_at_once_and_all_get_their_turn(
    house: Callable[..., House],
) -> None:
    home = house("a", "b", "c", "d", "e", at_once=2, slow_after=timedelta(minutes=10))
    home.tick()
    first = home.tick(hours=2)
    assert len(first) == 2
    assert home.tick(seconds=10) == []
    home.end(first[0])
    (third,) = home.tick(seconds=10)
    for slug in (first[1], third):
        home.end(slug)
    rest = home.tick(seconds=10)
    assert sorted({*first, third, *rest}) == ["a", "b", "c", "d", "e"]


def test_a_stuck_run_keeps_nobody_waiting_and_is_ended_in_time(house: Callable[..., House]) -> None:
    slow_after = timedelta(minutes=10)
    home = house("a", "b", at_once=1, timeout=timedelta(hours=1), slow_after=slow_after)
    home.tick()
    (stuck,) = home.tick(hours=2)
    assert home.tick(minutes=5) == []
    (other,) = home.tick(minutes=6)  # slow now: it no longer counts
    assert other != stuck
    home.end(other)
    home.tick(minutes=50)
    assert [one.due.slug for one in home.started if one.killed] == [stuck]
    assert home.tick(seconds=10) == []  # the timed-out run was taken care of


def test_a_run_that_breaks_is_tried_once_more_and_no_more(house: Callable[..., House]) -> None:
    home = house("a")
    home.tick()
    assert home.tick(hours=2) == ["a"]
    home.end("a", code=-11)
    assert home.tick(seconds=10) == ["a"]
    home.end("a", code=-11)
    assert home.tick(seconds=10) == []
    assert home.tick(hours=5) == ["a"]


def test_a_busy_district_stays_due(house: Callable[..., House]) -> None:
    home = house("a")
    home.tick()
    assert home.tick(hours=2) == ["a"]
    home.end("a", code=Busy.exit_code)
    assert home.tick(seconds=10) == []
    assert home.tick(seconds=60) == ["a"]


def test_a_busy_district_is_tried_later_each_time_and_lets_the_others_go_first(
    house: Callable[..., House],
) -> None:
    home = house("a", "b", at_once=1)
    home.tick()
    (first,) = home.tick(hours=2)
    home.end(first, code=Busy.exit_code)
    (other,) = home.tick(seconds=10)
    assert other != first
    home.end(other)
    waited = []
    for _ in range(4):
        seconds = 0
        while not home.tick(seconds=10):
            seconds += 10
        waited.append(seconds)
        home.end(first, code=Busy.exit_code)
    assert waited == sorted(waited)
    assert waited[-1] > waited[0]


def test_hung_districts_do_not_keep_the_ready_ones_waiting(house: Callable[..., House]) -> None:
    hung = ["a1", "a2", "a3", "a4"]  # they are due first, and take every place that there is
    ready = [f"b{number:02}" for number in range(30)]
    home = house(*hung, *ready, at_once=4)
    home.tick()
    home.tick(hours=2)
    synced: set[str] = set()
    for _ in range(60):
        home.now += timedelta(seconds=1)
        home.service.refill()
        for one in home.started:
            if one.due.slug in ready and one.code is None:
                home.end(one.due.slug)
                synced.add(one.due.slug)
    for _ in range(6):
        home.tick(seconds=10)
    assert synced == set(ready)


def test_the_place_of_a_run_that_has_ended_is_taken_at_once(house: Callable[..., House]) -> None:
    home = house("a", "b", "c", at_once=1)
    home.tick()
    (first,) = home.tick(hours=2)
    home.end(first)
    home.service.refill()
    assert len(home.started) == 2


def test_of_two_services_that_start_the_same_sync_one_does_it(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path)
    town.vendor.join(*classes("s1", g06=3))
    due = town.at("2026-09-01 05:00").astimezone(UTC)
    first = run_due(database, town.slug, due, now=town.clock)
    runs = len(town.rows("SELECT id FROM runs"))
    second = run_due(database, town.slug, due, now=town.clock)
    assert (first.status, second.status) == ("applied", "nothing_to_do")
    assert len(town.rows("SELECT id FROM runs")) == runs


def test_while_one_service_takes_care_of_a_district_another_is_busy(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path)
    town.vendor.join(*classes("s1", g06=3))
    due = town.at("2026-09-01 05:00").astimezone(UTC)
    (row,) = town.rows("SELECT id FROM districts")
    with database.due_lock(town.slug, row.id), pytest.raises(Busy):
        run_due(database, town.slug, due, now=town.clock)
    assert run_due(database, town.slug, due, now=town.clock).exit_code == 0


def test_in_a_pause_nothing_is_started_and_afterwards_nothing_is_caught_up_from_it(
    house: Callable[..., House],
) -> None:
    home = house("a")
    home.tick()
    pause_district(home.database, "a", actor="ada", now=lambda: home.now)
    assert home.tick(days=3) == []
    from sync.acts.pause import resume_district

    resume_district(home.database, "a", actor="ada", now=lambda: home.now)
    assert home.tick(minutes=1) == []
    assert home.tick(hours=5) == ["a"]


def test_another_service_does_not_repeat_what_one_has_done(house: Callable[..., House]) -> None:
    home = house("a")
    home.tick()
    home.tick(hours=2)
    home.end("a")
    again = Service(home.database, launch=home.launch, now=lambda: home.now)
    before = len(home.started)
    again.tick()
    assert len(home.started) == before


def test_a_service_that_was_killed_starts_what_had_not_ended(house: Callable[..., House]) -> None:
    home = house("a")
    home.tick()
    home.tick(hours=2)
    again = Service(home.database, launch=home.launch, now=lambda: home.now)
    again.tick()
    assert [one.due.slug for one in home.started] == ["a", "a"]


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "place", ["run.read", "plan.sealed", "apply.plan", "run.applied", "scheduled.synced"]
)
def test_a_due_run_killed_anywhere_is_neither_lost_nor_applied_twice(
    database: Database, tmp_path: Path, place: str
) -> None:
    town = Town(database, tmp_path)
    town.vendor.join(*classes("s1", g06=9))
    due = town.at("2026-09-01 05:00").astimezone(UTC)

    def kill(name: str) -> None:
        if name == place:
            raise Killed

    with pytest.raises(Killed), at_failpoints(kill):
        run_due(database, town.slug, due, now=town.clock)
    assert town.rows("SELECT handled_due FROM districts")[0].handled_due is None
    run_due(database, town.slug, due, now=town.clock)
    assert len(town.active) == 9
    applied = town.rows("SELECT id FROM plans WHERE status = 'applied'")
    assert len(applied) == 1
    assert town.rows("SELECT handled_due FROM districts")[0].handled_due is not None


def test_a_scheduled_run_tells_what_it_found(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROSTERSYNC_NOTIFY", "json://nowhere.example")
    town = Town(database, tmp_path)
    town.vendor.join(*classes("s1", g06=40))
    town.sync("2026-08-31 05:00")
    town.vendor.leave(*(f"s1-g06-{n:04}" for n in range(8)))
    due = town.at("2026-09-01 05:00").astimezone(UTC)
    heard: list[str] = []

    def send(_: Any, title: str, body: str, severity: Any) -> bool:
        heard.append(title)
        return True

    outcome = run_due(database, town.slug, due, now=town.clock, send=send)
    assert outcome.exit_code == 10
    assert len(heard) == 1


def test_a_waiting_stop_ends_the_loop_and_what_runs(house: Callable[..., House]) -> None:
    home = house("a", stop_within=timedelta(0))
    home.tick()
    home.now += timedelta(hours=2)
    thread = threading.Thread(target=home.service.serve)
    thread.start()
    for _ in range(500):
        if home.started:
            break
        time.sleep(0.01)
    home.service.stop()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert [one.killed for one in home.started] == [True]


# -- the real program


def test_run_killed_with_kill_9_loses_no_due_run_and_stops_clean_on_sigterm(
    sqlite_url: str, tmp_path: Path
) -> None:
    """The service and its sync are real processes; both are killed while the sync is under way."""
    folder = Folder(tmp_path)
    folder.district('sync_times = ["00:00", "12:00"]')
    folder.write(students(*range(12)))
    env = {**os.environ, "ROSTERSYNC_DATABASE_URL": sqlite_url, "ROSTERSYNC_KEY": "0" * 64}
    program = [sys.executable, "-c", "from rostersync.cli import main; main()"]
    root = Path(__file__).parents[3]

    def cli(*arguments: str) -> str:
        done = subprocess.run(
            [*program, *arguments], env=env, cwd=root, capture_output=True, text=True, check=True
        )
        return done.stdout

    cli("load", str(folder.file))
    database = Database(sqlite_url)
    long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="microseconds")
    with database.write() as connection:
        connection.execute(text("UPDATE districts SET handled_due = :at"), {"at": long_ago})

    def handled() -> str:
        with database.read() as connection:
            return str(connection.execute(text("SELECT handled_due FROM districts")).scalar_one())

    def until(condition: Callable[[], bool]) -> None:
        for _ in range(1200):
            if condition():
                return
            time.sleep(0.1)
        pytest.fail("it did not come to that")

    def users() -> int:
        with database.read() as connection:
            return int(connection.execute(text("SELECT COUNT(*) FROM users")).scalar_one())

    # its child dies in the middle of applying, twice at most, and the service is killed
    dying = subprocess.Popen(
        [*program, "run"], env={**env, "ROSTERSYNC_FAILPOINT": "apply.plan"}, cwd=root,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def began() -> bool:
        with database.read() as connection:
            query = text("SELECT COUNT(*) FROM runs WHERE actor = 'schedule'")
            return bool(connection.execute(query).scalar_one())

    until(began)
    dying.send_signal(signal.SIGKILL)
    dying.wait()
    assert handled() == long_ago
    assert users() == 0
    alive = subprocess.Popen([*program, "run"], env=env, cwd=root, stderr=subprocess.DEVNULL)
    until(lambda: handled() != long_ago)
    alive.send_signal(signal.SIGTERM)
    assert alive.wait(timeout=90) == 0
    assert users() == 12
    with database.read() as connection:
        query = text("SELECT COUNT(*) FROM plans WHERE status = 'applied'")
        assert connection.execute(query).scalar_one() == 1
    database.engine.dispose()


def test_a_sync_ends_with_the_service_that_started_it(sqlite_url: str, tmp_path: Path) -> None:
    """The vendor never answers; the service is killed; nobody keeps the district's locks."""
    env = {
        **os.environ, "ROSTERSYNC_DATABASE_URL": sqlite_url, "ROSTERSYNC_KEY": "0" * 64,
        "TOKEN": "made up",
    }  # fmt: skip
    program = [sys.executable, "-c", "from rostersync.cli import main; main()"]
    root = Path(__file__).parents[3]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        file = tmp_path / "district.toml"
        file.write_text(
            '[[district]]\nslug = "springfield"\nname = "Springfield"\n'
            'timezone = "America/Chicago"\nsync_times = ["00:00"]\n'
            '[[district.source]]\nname = "clever"\nconnector = "clever"\n'
            "[district.source.config]\n"
            f'base_url = "http://127.0.0.1:{silent.getsockname()[1]}"\ntoken = "env:TOKEN"\n'
        )
        subprocess.run([*program, "load", str(file)], env=env, cwd=root, check=True)
        database = Database(sqlite_url)
        long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="microseconds")
        with database.write() as connection:
            connection.execute(text("UPDATE districts SET handled_due = :at"), {"at": long_ago})
        service = subprocess.Popen([*program, "run"], env=env, cwd=root, stderr=subprocess.DEVNULL)
        call, _ = silent.accept()  # the sync is under way, and waits
        with call:
            call.settimeout(60)
            while not call.recv(65_536).endswith(b"\r\n\r\n"):
                pass
            service.send_signal(signal.SIGKILL)
            service.wait()
            assert call.recv(1) == b""  # hung up: the process has ended
        for _ in range(100):  # and nobody holds its locks
            with contextlib.suppress(Busy), database.run_lock("springfield", 1):
                break
            time.sleep(0.1)
        else:
            pytest.fail("the run lock is still held")
        database.engine.dispose()


def test_people_who_came_in_the_meantime_are_in_after_the_catch_up(
    database: Database, tmp_path: Path
) -> None:
    town = Town(database, tmp_path)
    town.vendor.join(*classes("s1", g06=9))
    town.sync("2026-09-01 05:00")
    town.vendor.join(Person("new", grade="06"))
    due = town.at("2026-09-04 05:00").astimezone(UTC)
    run_due(database, town.slug, due, now=town.clock)
    assert "new" in town.active


@pytest.mark.parametrize(("log_format", "told"), [(None, None), (LogFormat.JSON, "json")])
def test_a_sync_that_the_service_starts_says_its_steps_as_the_service_does(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    log_format: LogFormat | None,
    told: str | None,
) -> None:
    started: list[dict[str, str]] = []
    monkeypatch.delenv("ROSTERSYNC_LOG", raising=False)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, env, **__: started.append(env))
    service = Service(database, log_format=log_format)
    service._launch(Due("springfield", 1, datetime(2026, 9, 1, tzinfo=UTC), paused=False))
    assert [env.get("ROSTERSYNC_LOG") for env in started] == [told]


def test_the_outcome_of_each_sync_is_logged_on_the_districts_own_clock(
    house: Callable[..., House], caplog: pytest.LogCaptureFixture
) -> None:
    home = house("springfield")
    home.tick()
    with caplog.at_level("INFO"):
        assert home.tick(hours=1, minutes=6) == ["springfield"]
        town = home.towns["springfield"]
        town.vendor.join(*staff("s1", 3))
        town.sync("2026-09-01 05:06")
        home.end("springfield")
        home.tick(seconds=20)
    said = [record.getMessage() for record in caplog.records if "springfield" in record.message]
    assert any(one.endswith("the sync due at 2026-09-01 05:00 CDT starts") for one in said)
    assert any(
        "the sync due at 2026-09-01 05:00 CDT ended: applied (R1, exit code 0, " in one
        for one in said
    ), said
