"""One scheduled sync, in a process of its own: ``python -m rostersync.service.run_one SLUG DUE``.

The service starts it and may kill it; the database URL comes in the environment, so that no list of
processes shows it. The exit code is that of the command line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from core.errors import Busy, RosterSyncError
from core.failpoints import failpoint
from core.log_lines import asked_for, shown
from core.machine import machine_failure
from core.output import said
from core.storage.database import Database, open_database
from rostersync.service.due import handled, is_handled
from rostersync.service.notify import Send, tell
from sync.acts.pause import calendar_of_district
from sync.engine import sync_district
from sync.run.clock import Clock, utc_now
from sync.run.outcome import Outcome

if TYPE_CHECKING:
    from sync.acts.upload import Uploaded

URL_VARIABLE = "ROSTERSYNC_DATABASE_URL"
WATCHED = "ROSTERSYNC_WATCHED"
"""Set for a run that must end with the service that started it."""
ORPHANED = 143
ENDED = 143
ACTOR = "schedule"


def run_due(
    database: Database,
    slug: str,
    due: datetime,
    *,
    now: Clock | None = None,
    send: Send | None = None,
) -> Outcome:
    """Sync a district because it is due, record that, and tell what has changed.

    Uploads that waited for the end of a pause are read first (S1); in a district without sync times
    they are all there is to do. If another service has taken care of it meanwhile, nothing is left
    to do. Raises ``Busy`` if another run is under way: then the due time stays due.
    """
    clock = now or utc_now
    with database.read() as connection:
        found = calendar_of_district(connection, slug)
    district_id = found.district_id
    with database.due_lock(slug, district_id):
        if is_handled(database, district_id, due):  # another service was quicker
            return Outcome(slug, "nothing_to_do")
        outcome = _take_care(database, slug, clock, syncs=bool(found.settings.sync_times))
        failpoint("scheduled.synced")
        handled(database, district_id, due)
    failpoint("scheduled.handled")
    tell(database, slug, clock(), send)
    return outcome


def _take_care(database: Database, slug: str, clock: Clock, *, syncs: bool) -> Outcome:
    outcome = Outcome(slug, "nothing_to_do")
    try:
        for read in _read_waiting(database, slug, clock):
            outcome = read.outcome
        if syncs:
            outcome = sync_district(database, slug, scheduled=True, actor=ACTOR, now=clock)
    except Busy:
        raise
    except RosterSyncError as error:
        outcome = Outcome(slug, error.status, error=error)
    return outcome


def _read_waiting(database: Database, slug: str, clock: Clock) -> list[Uploaded]:
    from sync.acts.upload import read_waiting

    return read_waiting(database, slug, actor=ACTOR, now=clock)


def main(arguments: Sequence[str]) -> int:
    """Run one due sync and return its exit code."""
    try:
        slug, word = arguments
        due = datetime.fromisoformat(word)
    except ValueError:
        return said("Call it as: python -m rostersync.service.run_one DISTRICT TIME", 2)
    if URL_VARIABLE not in os.environ:
        return said(f"{URL_VARIABLE} is not set.", 2)
    signal.signal(signal.SIGTERM, _end_as_interrupted)
    if WATCHED in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with shown(asked_for()):
            return _run(slug, due)
    except RosterSyncError as error:
        return said(error.message, error.exit_code)
    except KeyboardInterrupt:
        return said(f"{slug}: interrupted, and the run closed.", ENDED)


def _end_as_interrupted(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def _end_with_parent() -> None:
    """End as soon as the service is gone: its end of our input is closed then.

    A run that outlives a killed service would hold its locks with nobody to end it. Ending at once
    is safe anywhere: what was not committed never happened.
    """
    sys.stdin.buffer.read()
    os._exit(ORPHANED)


def _run(slug: str, due: datetime) -> int:
    database = open_database(os.environ[URL_VARIABLE])
    try:
        return run_due(database, slug, due).exit_code
    except RosterSyncError as error:
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - a traceback may quote values it met
        known = machine_failure(error)
        sentence = type(error).__name__ if known is None else known.message
        return said(f"{slug}: {sentence}", 1)  # 1: it is still due, and tried once more
    finally:
        database.engine.dispose()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
