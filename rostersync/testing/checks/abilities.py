"""Flags are honest: what a capability promises works, and what works is promised."""

from __future__ import annotations

import json
from collections.abc import Callable

from connectors.contract.connector import Connector, FetchRequest, Part
from core.errors import RosterSyncError
from rostersync.testing.bench import Bench, check, demand
from rostersync.testing.reading import read

_NO_SUCH_ID = "no-such-id-00000000"


def _flag(name: str, words: str) -> Callable[[Bench], str]:
    def unless(bench: Bench) -> str:
        return "" if getattr(bench.connector.capabilities, name) else f"does not claim to {words}"

    return unless


@check()
def what_works_is_promised(bench: Bench) -> None:
    """A defined method has its flag, and a flag has its method: the engine reads the flags."""
    connector, flags = bench.connector, bench.connector.capabilities
    for flag, method in (("reads_by_id", "exists"), ("joined", "combine")):
        defined = getattr(connector, method) is not getattr(Connector, method)
        demand(getattr(flags, flag) == defined, f"{flag} and {method}() do not agree")
    lists = connector.districts.__func__ is not Connector.districts.__func__  # type: ignore[attr-defined]
    demand(flags.discovery == lists, "discovery and districts() do not agree")


@check(_flag("reads_by_id", "read single ids"))
def single_ids_can_be_asked_for(bench: Bench) -> None:
    """``reads_by_id``: the vendor can be asked whether single people are still there (F3)."""
    known = [user.external_id for user in bench.roster().users[:5]]
    with bench.open() as (connector, _):
        answers = connector.exists([*known, _NO_SUCH_ID])
    demand(all(answers.get(key) is True for key in known), "exists() misses somebody who is there")
    demand(answers.get(_NO_SUCH_ID) is False, "exists() finds somebody who is not there")


@check(_flag("discovery", "list districts"))
def districts_can_be_listed(bench: Bench) -> None:
    """``discovery``: ``districts()`` lists the districts that the account may read."""
    with bench.open() as (connector, _):
        districts = bench.connector.districts(connector.config)
    demand(districts, "districts() lists none")
    demand(all(district.id and district.name for district in districts), "a district has no name")


@check()
def joined_rows_make_people(bench: Bench) -> None:
    """``joined``: user rows are Parts that ``combine`` joins; without it, no Part is served."""
    reading = bench.roster()
    parts = [row for row in reading.served if isinstance(row.said, Part)]
    joined = bench.flags.joined
    demand(bool(parts) == joined, "joined says otherwise than the records that parse() gives")
    for row in parts:
        assert isinstance(row.said, Part)  # noqa: S101 - narrows the type for what follows
        try:
            json.dumps(row.said.data)
        except (TypeError, ValueError):
            demand(False, f"the data of a part of {row.stream!r} cannot be written as JSON")


@check()
def cursors_come_with_incremental_fetches(bench: Bench) -> None:
    """``incremental``: a full fetch returns a cursor to store, which the next one accepts."""
    _, certificate = bench.certified()
    if not bench.flags.incremental:
        demand(certificate.cursor is None, "a cursor is handed out without the flag incremental")
        demand(not certificate.incremental, "a full fetch calls itself incremental")
        return
    with bench.open() as (connector, setting):
        full = read(connector, FetchRequest(directory=setting.directory))
        cursor = full.certificate.cursor if full.certificate else None
        demand(cursor is not None, "a full fetch hands out no cursor")
        stored = json.loads(json.dumps(cursor))
        demand(stored == cursor, "the cursor changes when it is stored as JSON")
        later = read(
            bench.connect(setting), FetchRequest(cursor=stored, directory=setting.directory)
        )
    demand(later.error is None and later.crash is None, "an incremental fetch failed")
    demand(
        later.certificate is not None and later.certificate.incremental,
        "an incremental fetch does not say that it is one",
    )


@check(_flag("skips_unchanged", "skip an unchanged roster"))
def an_unchanged_roster_is_skipped(bench: Bench) -> None:
    """``skips_unchanged``: asked with the last revision, the vendor says that nothing is new."""
    with bench.open() as (connector, setting):
        full = read(connector, FetchRequest(directory=setting.directory))
        revision = full.certificate.revision if full.certificate else None
        demand(revision, "a complete fetch tells no revision")
        again = read(
            bench.connect(setting),
            FetchRequest(revision=revision, directory=setting.directory),
        )
    demand(
        again.certificate is not None and again.certificate.unchanged,
        "a roster with the same revision is not called unchanged",
    )
    demand(not again.served, "an unchanged roster was read all the same")


@check()
def check_changes_nothing(bench: Bench) -> None:
    """``check()`` passes on a healthy vendor, each line with a sentence, and may be repeated."""
    with bench.open() as (connector, _):
        try:
            lines = [*connector.check(), *connector.check()]
        except RosterSyncError as error:
            lines = []
            demand(False, f"check() raised {type(error).__name__} on a vendor in order")
    failed = [line.name for line in lines if not line.passed]
    demand(not failed, f"check() fails on a vendor in order: {failed}")
    demand(all(line.name and line.message.strip() for line in lines), "a line has no sentence")
