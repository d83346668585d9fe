"""Seasons: ``pause``, ``resume``, ``schedule``, and ``rollover`` after a pause."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing import words
from rostersync.cli.printing.tables import table
from rostersync.cli.printing.words import count, moment

DAYS_SHOWN = 7

_SEASON_WORDS = {"normal": "normal", "additions_only": "additions only", "paused": "paused"}


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "rollover")(rollover)
    command(app, "pause")(pause)
    command(app, "resume")(resume)
    command(app, "schedule")(schedule)


def pause(
    door: Door,
    district: DistrictArgument,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="D", help="The last day, like 2026-08-10; default: until resume."
        ),
    ] = None,
    additions_only: Annotated[
        bool, typer.Option("--additions-only", help="People may join; nobody changes or leaves.")
    ] = False,
    actor: ActorOption = None,
) -> None:
    """From now on no source changes anybody. The first run afterwards is guarded."""
    from sync.acts.pause import pause_district

    shown = pause_district(
        door.database,
        district,
        until=None if until is None else _day(until),
        mode="additions_only" if additions_only else "paused",
        actor=actor or login_name(),
    )
    _show(door, shown)


def resume(door: Door, district: DistrictArgument, actor: ActorOption = None) -> None:
    """End today's pause, set by hand or in the district file. The next run is guarded."""
    from sync.acts.pause import resume_district

    shown = resume_district(door.database, district, actor=actor or login_name())
    if not shown["changed"] and not door.as_json:
        door.say(f"{district} is not paused: there is nothing to resume.")
        return
    _show(door, shown)


def _show(door: Door, shown: dict[str, Any]) -> None:
    if door.as_json:
        door.document(shown)
        return
    for line in season_lines(shown):
        door.say(line)


def season_lines(shown: dict[str, Any]) -> list[str]:
    """Tell a season to a person."""
    word = _SEASON_WORDS[shown["season"]]
    end = f" until {shown['until']}" if shown["season"] != "normal" and shown["until"] else ""
    lines = [f"{shown['district']}: {word}{end} ({shown['why']})."]
    if shown["season"] == "paused":
        lines.append("No source changes anybody. Acts by hand work.")
    elif shown["season"] == "additions_only":
        lines.append("People may join; nobody changes or leaves.")
    elif shown["guard_owed"]:
        lines.append(
            "The next complete run is guarded: what a rollover does not explain waits for you."
        )
    lines += [
        f"The vendor of {source} says: {state}." for source, state in shown["vendors"].items()
    ]
    if shown["next_run"]:
        at = words.moment(shown["next_run"], shown["timezone"])
        lines.append(f"The next sync is at {at}.")
    elif shown["season"] == "paused" and shown["until"] is None:
        lines.append(f"It lasts until: rostersync resume {shown['district']}")
    return lines


def _day(word: str) -> date:
    from core.errors import UsageError

    try:
        return date.fromisoformat(word)
    except ValueError:
        raise UsageError("That is not a day.", hint="Give a day like 2026-08-10.") from None


# -- schedule


def schedule(
    door: Door,
    district: Annotated[
        str | None, typer.Argument(metavar="[DISTRICT]", help="One district; default: all.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=1000, help="How many days.")] = DAYS_SHOWN,
    start: Annotated[str | None, typer.Option("--from", metavar="D", help="First day.")] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="D", help="Last day.")] = None,
) -> None:
    """Show which syncs are due, and which a pause skips."""
    from core.errors import UsageError
    from sync.acts.pause import calendars

    first = None if start is None else _day(start)
    last = None if end is None else _day(end)
    if first is not None and last is not None and last < first:
        raise UsageError("The last day is before the first.", hint="Give --from before --to.")
    if first is None and last is not None:
        days = 1000
    with door.reading() as connection:
        found = list(calendars(connection, district, first=first, last=last, days=days))
    if door.as_json:
        door.document(found)
        return
    if not found:
        door.say("No district yet. Load a district file: rostersync load FILE.toml")
    for number, one in enumerate(found):
        if number:
            door.say()
        for line in calendar_lines(one):
            door.say(line)


def calendar_lines(one: dict[str, Any]) -> list[str]:
    """Draw one district's calendar: a line a day, and one line for a stretch of skipped days."""
    lines = [f"{one['district']} ({one['timezone']})"]
    if not one["days"]:
        return [*lines, "  no sync_times: it is synced by hand only"]
    stretch: list[dict[str, Any]] = []

    def close() -> None:
        if stretch:
            first, last = stretch[0], stretch[-1]
            span = _day_name(first["day"])
            if last is not first:
                span += f" to {_day_name(last['day'])}"
            skipped = sum(len(day["runs"]) for day in stretch)
            runs = "1 sync" if skipped == 1 else f"{skipped} syncs"
            lines.append(f"  {span}: {runs} skipped, {first['why']}")
            stretch.clear()

    for day in one["days"]:
        if day["season"] == "paused":
            if stretch and stretch[-1]["why"] != day["why"]:
                close()
            stretch.append(day)
            continue
        close()
        times = "  ".join(run["at"] for run in day["runs"])
        notes = [day["why"]] if day["why"] else []
        notes += [run["note"] for run in day["runs"] if run["note"]]
        if day["guarded"]:
            notes.append("the first run is guarded")
        said = f"  ({'; '.join(notes)})" if notes else ""
        lines.append(f"  {_day_name(day['day'])}  {times}{said}")
    close()
    return lines


def _day_name(day: date) -> str:
    return f"{day:%a} {day.isoformat()}"


# -- rollover


def rollover(
    door: Door,
    district: DistrictArgument,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="D", help="Since this day; default: since the last pause ended."
        ),
    ] = None,
) -> None:
    """Show who is new, left, moved and returned since the pause, by school and role."""
    from sync.run import find
    from sync.run.clock import utc_now
    from sync.views.rollover_report import rollover_report

    with door.reading() as connection:
        report = rollover_report(
            door.database,
            connection,
            district,
            utc_now(),
            None if since is None else _day(since),
        )
        zone = find.district_row(connection, district).settings["timezone"]
    if door.as_json:
        door.document(report)
        return
    _show_report(door, report, zone)


def _show_report(door: Door, report: dict[str, Any], zone: str) -> None:
    """Tell a report to a person, its times on the clock of ``zone``."""
    slug = report["district"]
    door.say(f"{slug}, since {report['since']}")
    for one in report["sources"]:
        dated = moment(one["vendor_time"], zone) or "no date given"
        whole = moment(one["complete_at"], zone) or "never"
        door.say(
            f"  {one['source']}: the vendor's data are of {dated}, last read completely {whole}"
        )
    door.say()
    kinds = ("new", "returned", "left", "moved", "held")
    rows = [
        (
            group["school"] or "no school",
            group["role"] or "no role",
            *(group[kind] for kind in kinds),
        )
        for group in report["groups"]
    ]
    if rows:
        rows.append(("all", "", *(report["totals"][kind] for kind in kinds)))
    table(door, ("school", "role", *kinds), rows, empty="Nobody came, went or moved.")
    door.say()
    if report["waiting_schools"]:
        door.say(f"{count(report['waiting_schools'])} schools still show the old year.")
    still = report["still_in"]
    door.say(
        f"In no roster and still active: {count(still['manual'])} made by hand,"
        f" {count(still['protected'])} protected, {count(still['stale'])} untouched for 180 days."
    )
    door.say(f"See them: rostersync users {slug} --origin manual --stale")
    door.say("New staff who are in no roster yet: rostersync user add, or a file with upload.")
