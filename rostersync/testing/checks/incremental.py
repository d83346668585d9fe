"""Reading only what changed: full and incremental readings come to the same directory."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from connectors.contract.connector import FetchRequest
from core.errors import CursorLost
from rostersync.testing.bench import (
    A_FAILURE_CERTIFIED,
    NOT_AS_EXPECTED,
    Bench,
    CheckFailed,
    Follows,
    check,
    demand,
)
from rostersync.testing.reading import Reading, read
from rostersync.testing.scenario import Situation

People = dict[str, dict[str, Any]]


class Later(NamedTuple):
    """The roster a day later: read from the cursor of the day before, and read in full."""

    cursor: Any
    changes: Reading
    full: Reading
    before: People


def _incremental(bench: Bench) -> str:
    if not bench.connector.capabilities.incremental:
        return "does not claim to read incrementally"
    return "joins its rows" if bench.connector.capabilities.joined else ""


def _later(bench: Bench) -> Later:
    """Read the day after, with the cursor of the normal roster; fail if that cannot be read."""
    before = bench.whole()
    if not bench.flags.incremental:
        raise Follows("does not read incrementally with this config")
    if NOT_AS_EXPECTED in bench.told:
        raise Follows(f"follows from what failed before: {bench.told[NOT_AS_EXPECTED]}")
    cursor = before.certificate.cursor if before.certificate else None
    if cursor is None:
        raise bench.once(CheckFailed("a full fetch returns no cursor"), "no cursor")
    with bench.open(Situation.CHANGED) as (connector, setting):
        asked = FetchRequest(cursor=json.loads(json.dumps(cursor)), directory=setting.directory)
        changes = read(connector, asked)
        full = read(bench.connect(setting), FetchRequest(directory=setting.directory))
    for reading, what in ((changes, "changes since the cursor"), (full, "day after")):
        if not reading.complete or reading.crash is not None:
            why = (reading.crash and type(reading.crash).__name__) or reading.error
            raise bench.once(CheckFailed(f"the {what} cannot be read: {why}"), "no changes")
    changed, everybody = _rows(bench, changes), _rows(bench, full)
    if changed >= everybody:
        raise bench.once(
            CheckFailed(
                f"with a cursor, {changed} rows of people were read, and {everybody} without one:"
                " send the cursor's place to the vendor (since, starting_after, a filter)"
            ),
            "the cursor is not sent",
        )
    return Later(cursor, changes, full, _people(before))


def _people(reading: Reading) -> People:
    return {
        user.external_id: user.model_dump(mode="json", exclude_defaults=True)
        for user in reading.users
    }


@check(_incremental)
def only_changes_are_asked_for(bench: Bench) -> None:
    """``incremental``: with a cursor, only what changed since is read, and not everybody again."""
    _later(bench)


def _rows(bench: Bench, reading: Reading) -> int:
    streams = bench.connector.streams
    return sum(streams[row.stream].value == "user" for row in reading.served)


@check(_incremental)
def changes_come_to_what_a_full_reading_says(bench: Bench) -> None:
    """New and changed people are read incrementally as a full reading reads them."""
    later = _later(bench)
    wanted, found = _people(later.full), later.before | _people(later.changes)
    missing = wanted.keys() - found.keys()
    demand(not missing, f"{len(missing)} new people are missing after an incremental reading")
    fields = sorted(
        {
            field
            for key, said in wanted.items()
            for field in said.keys() | found[key].keys()
            if said.get(field) != found[key].get(field)
        }
    )
    demand(
        not fields,
        f"after an incremental reading, other values than a full one reads: {', '.join(fields)}",
    )


@check(_incremental)
def people_who_are_gone_are_told(bench: Bench) -> None:
    """People whom the vendor calls deleted come as a ``deleted`` Record, or stay for a day."""
    later = _later(bench)
    gone = later.before.keys() - _people(later.full).keys()
    demand(gone, "nobody is gone in the situation 'changed' (the scenario must have somebody)")
    told = {record.key for record in later.changes.records if record.deleted}
    silent = gone - told
    demand(
        not silent,
        f"{len(silent)} of {len(gone)} people who are gone were not told by an incremental reading:"
        " return Record(kind, key, deleted=True) for what the vendor marks as deleted",
    )


@check(_incremental)
def the_cursor_moves_on(bench: Bench) -> None:
    """An incremental reading returns the cursor from which the next one goes on."""
    later = _later(bench)
    certificate = later.changes.certificate
    moved = certificate.cursor if certificate else None
    demand(moved is not None, "an incremental reading returns no cursor")
    demand(
        moved != later.cursor,
        "the cursor is the same after changes were read, so that they are read again for ever:"
        " return where this reading ended",
    )


@check(_incremental)
def a_lost_cursor_is_told(bench: Bench) -> None:
    """A cursor that the vendor no longer knows is ``CursorLost``: everything is then read anew."""
    cursor = _later(bench).cursor
    with bench.open(Situation.CURSOR_LOST) as (connector, setting):
        reading = read(connector, FetchRequest(cursor=cursor, directory=setting.directory))
    if reading.complete:
        raise bench.once(
            CheckFailed("a reading from a cursor that the vendor no longer knows was complete"),
            A_FAILURE_CERTIFIED,
        )
    raised = "nothing" if reading.error is None else type(reading.error).__name__
    demand(
        isinstance(reading.error, CursorLost),
        f"a cursor that the vendor no longer knows raised {raised}: raise CursorLost, and the"
        " engine reads everything instead",
    )
