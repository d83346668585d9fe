"""The service behind ``rostersync run``: it stays up and starts what is due, district by district.

Each sync is a process of its own, so that a stuck one is killed and never blocks the others; what
is due, and what was taken care of, stands in the database, so that ``kill -9`` loses nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import schedule
from sqlalchemy import bindparam, select, update

from core.errors import Busy
from core.log_lines import VARIABLE, LogFormat
from core.steps import log_of
from core.storage.database import Database
from core.storage.schema import District, Run
from rostersync.service.due import Calendars, Due, due_now, handled
from rostersync.service.notify import tell
from rostersync.service.run_one import ACTOR, URL_VARIABLE, WATCHED
from sync.run.clock import Clock, utc_now
from sync.run.display import RUN, shown_id

log = log_of(__name__)

TICK = 10
"""Seconds between two checks of what is due."""

WATCH = 0.1
"""Seconds between two looks at whether a run has ended, so that its place is free."""

BUSY_WAITS = (60, 120, 300, 600)
"""Seconds until a busy district is tried again: after the first time, the second …"""

LOOK_ROUND = 900
"""Seconds between two rounds that tell what time alone changes: freshness, seasons."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much runs at once, and for how long."""

    at_once: int = 4
    slow_after: timedelta = timedelta(seconds=20)
    """A run older than this no longer keeps another one from starting …"""
    at_most: int = 64
    """… up to so many in all."""
    timeout: timedelta = timedelta(hours=2)
    """A run older than this is killed."""
    stop_within: timedelta = timedelta(seconds=60)
    """How long a stop waits for the runs under way before it ends them."""


class Process(Protocol):
    """A run under way, as ``subprocess.Popen`` is one."""

    def poll(self) -> int | None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102
    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102


Launch = Callable[[Due], Process]


@dataclass(slots=True)
class _Running:
    due: Due
    process: Process
    since: datetime


class Service:
    """Starts what is due. One thread calls it; ``stop`` may come from a signal handler.

    ``log_format``: the runs it starts say their steps, too.
    """

    def __init__(
        self,
        database: Database,
        *,
        launch: Launch | None = None,
        bounds: Bounds | None = None,
        now: Clock | None = None,
        log_format: LogFormat | None = None,
    ) -> None:
        self.database = database
        self.log_format = log_format
        self.bounds = bounds or Bounds()
        self.now = now or utc_now
        self.running: dict[str, _Running] = {}
        self._launch = launch or self._start_process
        self._calendars = Calendars()
        self._broken: dict[str, datetime] = {}
        self._busy: dict[str, tuple[int, datetime]] = {}
        """Slug → how often it was busy in a row, and when it is tried again."""
        self._queue: deque[Due] = deque()
        """What was due at the last look and has had no room yet."""
        self._telling: threading.Thread | None = None
        self._stopping = threading.Event()

    def serve(self) -> None:
        """Run until ``stop`` is called, then let the runs under way end."""
        jobs = schedule.Scheduler()
        jobs.every(TICK).seconds.do(self._guarded, self.tick)
        jobs.every(LOOK_ROUND).seconds.do(self._tell_beside)
        self._guarded(self.tick)
        self._tell_beside()
        while not self._stopping.is_set():
            idle = max(jobs.idle_seconds or 0, 0)
            self._stopping.wait(min(idle, WATCH if self.running else TICK))
            jobs.run_pending()
            if self.running:
                self._guarded(self.refill)
        self._finish()

    def _tell_beside(self) -> None:
        """Tell in a thread of its own: thousands of districts take longer than a tick may."""
        if self._telling is None or not self._telling.is_alive():
            self._telling = threading.Thread(
                target=self._guarded, args=(self.look_round,), daemon=True
            )
            self._telling.start()

    def stop(self) -> None:
        """Ask ``serve`` to end. Safe in a signal handler."""
        self._stopping.set()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do one round; a database that is briefly unavailable must not end the service."""
        try:
            act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next round tries again
            log.error("A round failed: %s", type(error).__name__)

    # -- one round

    def tick(self) -> None:
        """Take in what has ended, kill what is stuck, and start what is due."""
        now = self.now()
        self._reap(now)
        if self._stopping.is_set():
            return
        self._queue.clear()
        for due in due_now(self.database, self._calendars, now):
            if due.paused and due.slug not in self.running:
                handled(self.database, due.district_id, due.at)
            elif not self._waits(due, now):
                self._queue.append(due)
        self._start_waiting(now)

    def refill(self) -> None:
        """Give each place that has become free to the next one, without asking what is due."""
        now = self.now()
        self._reap(now)
        if not self._stopping.is_set():
            self._start_waiting(now)

    def _waits(self, due: Due, now: datetime) -> bool:
        """Say whether a district must not start yet: it runs, or it was busy a moment ago."""
        _, again = self._busy.get(due.slug, (0, now))
        return due.slug in self.running or now < again

    def _start_waiting(self, now: datetime) -> None:
        while self._queue and self._has_room(now):
            due = self._queue.popleft()
            if not self._waits(due, now):
                self.running[due.slug] = _Running(due, self._launch(due), now)
                log.info("%s: the sync due at %s starts", due.slug, due.told)

    def look_round(self) -> None:
        """Tell, for every district, what time alone has changed."""
        with self.database.read() as connection:
            slugs = list(connection.execute(select(District.slug)).scalars())
        for slug in slugs:
            if self._stopping.is_set():
                return
            if slug not in self.running:
                tell(self.database, slug, self.now())

    def _has_room(self, now: datetime) -> bool:
        quick = sum(now - one.since < self.bounds.slow_after for one in self.running.values())
        return quick < self.bounds.at_once and len(self.running) < self.bounds.at_most

    def _reap(self, now: datetime) -> None:
        """Take in the runs that have ended, and end what is stuck."""
        for slug, one in list(self.running.items()):
            code = one.process.poll()
            if code is None and now - one.since >= self.bounds.timeout:
                one.process.kill()
                one.process.wait()
                self._gave_up(one, now, "timeout")
                code = -9
                log.warning("%s: stuck for too long, ended", slug)
            elif code is None:
                continue
            elif code not in _CONTRACT:
                self._broke(one, now, code)
            if code == Busy.exit_code:
                self._back_off(slug, now)
            else:
                self._busy.pop(slug, None)
                self._say_how_it_ended(one, now, code)
            del self.running[slug]

    def _say_how_it_ended(self, one: _Running, now: datetime, code: int) -> None:
        """Log the outcome of a sync: its status, its run, and what a person should look at."""
        about = {"district": one.due.district_id, "since": one.since}
        with self.database.read() as connection:
            run = connection.execute(_ITS_RUN, about).first()
        said = "nothing was run" if run is None else run.status.replace("_", " ")
        name = "" if run is None else f" {shown_id(RUN, run.id)},"
        look = "" if code == 0 or run is None else f"; see rostersync runs {one.due.slug}"
        log.log(
            logging.INFO if code in (0, 10) else logging.WARNING,
            "%s: the sync due at %s ended: %s (%s exit code %d, %d s)%s",
            one.due.slug, one.due.told, said, name.strip(), code,
            (now - one.since).total_seconds(), look,
        )  # fmt: skip

    def _back_off(self, slug: str, now: datetime) -> None:
        """Let others go first: a busy district is tried again later, and later each time."""
        times, _ = self._busy.get(slug, (0, now))
        wait = BUSY_WAITS[min(times, len(BUSY_WAITS) - 1)]
        self._busy[slug] = (times + 1, now + timedelta(seconds=wait))
        log.info("%s: busy, tried again in %d seconds", slug, wait)

    def _broke(self, one: _Running, now: datetime, code: int) -> None:
        """Leave a run that broke or was killed from outside to the next round, but only once."""
        if self._broken.get(one.due.slug) == one.due.at:
            self._gave_up(one, now, f"ended with {code}")
        self._broken[one.due.slug] = one.due.at

    def _gave_up(self, one: _Running, now: datetime, why: str) -> None:
        error = {"code": "stuck", "message": f"The run was ended: {why}.", "hint": ""}
        about = {"district": one.due.district_id, "since": one.since}
        with self.database.write() as connection:
            connection.execute(
                _END, about | {"status": "failed", "finished_at": now, "error": error}
            )
        handled(self.database, one.due.district_id, one.due.at)

    def _finish(self) -> None:
        """Wait for the runs under way, and end them after the time allowed. Nothing is lost."""
        until = time.monotonic() + self.bounds.stop_within.total_seconds()
        for one in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.process.wait(max(0.0, until - time.monotonic()))
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()
        self.running.clear()

    def _start_process(self, due: Due) -> Process:
        url = self.database.url.render_as_string(hide_password=False)
        said = {} if self.log_format is None else {VARIABLE: self.log_format.value}
        return subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-m", "rostersync.service.run_one", due.slug, due.at.isoformat()],
            env={**os.environ, **said, URL_VARIABLE: url, WATCHED: "1"},
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            start_new_session=True,
        )


_ITS_RUN = (
    select(Run.id, Run.status)
    .where(Run.district_id == bindparam("district"), Run.started_at >= bindparam("since"))
    .order_by(Run.id.desc())
    .limit(1)
)
_CONTRACT = frozenset({0, 2, 10, 11, 12, 13, 14, 15})
_END = update(Run.table).where(
    Run.district_id == bindparam("district"),
    Run.status == "running",
    Run.actor == ACTOR,
    Run.started_at >= bindparam("since"),
)
