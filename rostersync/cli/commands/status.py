"""The service: ``run`` keeps every district in sync, ``status`` shows where each stands."""

from __future__ import annotations

import logging
import signal
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from rostersync.cli.door import Door, command
from rostersync.cli.printing import words
from rostersync.cli.printing.tables import table
from rostersync.cli.printing.words import count, things


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "run", json=False)(run)
    command(app, "status")(status)


def status(door: Door) -> None:
    """Show the state of every district; what needs a person comes first."""
    from sync.run.clock import utc_now
    from sync.views.overview import overview

    now = utc_now()
    with door.reading() as connection:
        found = overview(connection, now)
    if door.as_json:
        door.document(found)
        return
    table(
        door,
        ("district", "season", "next sync", "good data", "to do"),
        (
            (
                one["district"],
                _season(one),
                words.moment(one["next_run"], one["timezone"]),
                _ago(one["good_at"], now),
                "; ".join(todo(one)) or "nothing",
            )
            for one in found
        ),
        empty="No district yet. Load a district file: rostersync load FILE.toml",
        keep=("to do",),
    )
    waiting = sum(bool(one["needs"]) for one in found)
    if found:
        door.say()
        what = "1 district" if len(found) == 1 else f"{count(len(found))} districts"
        door.say(f"{what}, {count(waiting)} in need of a person.")
        door.say(
            "What the last readings noted, and words not understood: rostersync check DISTRICT"
        )


def _season(one: dict[str, Any]) -> str:
    word = str(one["season"]).replace("_", " ")
    return f"{word} to {one['until']}" if one["until"] else word


def _ago(shown: str | None, now: datetime) -> str:
    if shown is None:
        return "never"
    hours = int((now - datetime.fromisoformat(shown).astimezone(UTC)).total_seconds() // 3600)
    if hours < 1:
        return "this hour"
    return f"{hours} h ago" if hours < 48 else f"{hours // 24} days ago"


def todo(one: dict[str, Any]) -> list[str]:
    """Say what a person should do about a district, or know of it; each with its command."""
    slug, said = one["district"], []
    for source in one["sources"]:
        name = source["source"]
        if source["state"] == "stopped":
            said.append(f"{name} stopped ({source['code']}): source resume {slug} {name}")
        elif source["state"] == "slowed":
            again = words.moment(source["next_try"], one["timezone"])
            said.append(f"{name} fails, next try {again}")
        elif source["state"] == "failing":
            times = "once" if source["failures"] == 1 else f"{source['failures']} times"
            said.append(f"{name} failed {times} ({source['code']}): check {slug}")
        if source["stale"]:
            said.append(f"{name} gives no new data")
        if source["vendor_state"]:
            said.append(f"the vendor of {name} says {source['vendor_state']}")
    held = one["held_plan"]
    if "held" in one["needs"]:
        changes = things(sum(held["counts"].values()), "change")
        said.insert(0, f"{held['id']} holds {changes}: show {held['id']}")
    if "failed" in one["needs"]:
        said.insert(0, f"the last run failed: runs {slug}")
    if one["failed_uploads"]:
        said.insert(
            0, f"{things(len(one['failed_uploads']), 'file')} could not be read: files {slug}"
        )
    if one["outside_edits"]:
        edited = things(one["outside_edits"], "person or school was", "people or schools were")
        said.insert(0, f"{edited} edited past the history: db verify {slug} --directory")
    if "drifted" in one["needs"]:
        said.append(f"the last run drifted: sync {slug}")
    if one["conflicts"]:
        said.append(f"{things(one['conflicts'], 'conflict')}: conflicts {slug}")
    withheld = sum(source["withheld_people"] for source in one["sources"])
    if withheld:
        stay = "person who is missing stays" if withheld == 1 else "people who are missing stay"
        said.append(f"{count(withheld)} {stay} because of a row: skipped {slug}")
    rows = sum(source["unusable_rows"] for source in one["sources"])
    if rows:
        said.append(f"{things(rows, 'row')} could not be used: skipped {slug}")
    if one["waiting_schools"] or one["waiting_people"]:
        said.append(_waiting(one))
    if pairs := one["look_alikes"]:
        verb = "looks" if pairs == 1 else "look"
        said.append(f"{things(pairs, 'pair')} {verb} like one person: duplicates {slug}")
    return said


def _waiting(one: dict[str, Any]) -> str:
    """Say how many schools wait for their rollover, and how many people with them."""
    schools, people = one["waiting_schools"], one["waiting_people"]
    said = things(schools, "school waits", "schools wait")
    said += f" for {'its' if schools == 1 else 'their'} rollover"
    if not people:
        return said
    return f"{said} with {things(people, 'person', 'people')}: users {one['district']} --leaving"


def run(
    door: Door,
    at_once: Annotated[
        int, typer.Option(min=1, max=64, help="How many districts are synced at once.")
    ] = 4,
    timeout: Annotated[
        int, typer.Option(min=1, metavar="MINUTES", help="A sync that takes longer is ended.")
    ] = 120,
) -> None:
    """Stay up and sync every district at its times. Ends on SIGTERM or Ctrl-C."""
    from rostersync.service.service import Bounds, Service
    from sync.run.gc_pause import look_as_usual

    look_as_usual()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    bounds = Bounds(
        at_once=at_once, at_most=max(64, at_once * 4), timeout=timedelta(minutes=timeout)
    )
    service = Service(door.database, bounds=bounds, log_format=door.log)

    def stop(*_: Any) -> None:
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    door.err.print("Watching. Ctrl-C or SIGTERM ends it.", markup=False)
    service.serve()
    door.err.print("Ended.", markup=False)
