"""The outcome of an act, for people and as JSON: the shared end of commands that change data.

An act that fails after its district or plan was found still prints its own shape, with the error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from rostersync.cli.door import Door, say_on
from rostersync.cli.printing.still_open import still_open

if TYPE_CHECKING:
    from datetime import date

    from core.errors import RosterSyncError
    from core.storage.database import Connection
    from sync.run.outcome import Outcome

DEBUG_VARIABLE = "ROSTERSYNC_DEBUG"

_SAID = {
    "applied": "Done.",
    "nothing_to_do": "Nothing has changed.",
    "planned": "Nobody was changed yet.",
    "rejected": "The plan is refused; it is remembered until the roster changes.",
    "held": "What was safe is done; the rest waits for a person's approval.",
    "partial": "A source could not be read; nobody left because of it. The others are up to date.",
    "withheld": "Nobody leaves because of what could not be read; everything else is up to date.",
    "waiting": "Everything else is done; these people wait for their schools to roll over.",
    "incomplete": "The roster could not be read completely: nobody left because of it.",
    "refused": "Nothing was changed.",
    "drifted": "The plan no longer fits: nothing was changed.",
    "busy": "Another run of this district is under way.",
    "failed": "It failed: nothing was changed.",
}


def as_error(error: Exception) -> RosterSyncError:
    """Return any exception as an error that may be shown, without foreign messages or data."""
    from core.errors import RosterSyncError
    from core.machine import machine_failure

    if isinstance(error, RosterSyncError):
        return error
    if os.environ.get(DEBUG_VARIABLE) == "1":
        import traceback

        traceback.print_exception(error)
    known = machine_failure(error)
    if known is not None:
        return known
    return RosterSyncError(
        f"An error of rostersync itself ({type(error).__name__}): please report it.",
        hint=f"Run it again with {DEBUG_VARIABLE}=1 to see where; look the output over before you"
        " send it, it may hold personal data.",
    )


def run_act(slug: str, act: Callable[[], Outcome]) -> Outcome:
    """Do it; an exception becomes an outcome with that error."""
    from sync.run.outcome import Outcome

    try:
        return act()
    except Exception as raised:  # noqa: BLE001 - the act has its own shape for failures
        error = as_error(raised)
        return Outcome(slug, error.status, error=error)


def outcome_json(connection: Connection, outcome: Outcome) -> dict[str, Any]:
    """Return the document of ``sync``, ``apply``, ``approve`` and ``undo``.

    ``left`` is there when an undo leaves people as they are: their ids. ``waiting`` names the
    people who wait for a rollover, if the run has found any. ``outside_edits`` counts the people
    and schools that somebody has edited past the ledger, if there are any.
    """
    from sync.run.display import RUN, shown_id
    from sync.views import plans

    run = outcome.run_id
    waiting = _waiting(connection, outcome)
    return {
        "district": outcome.district,
        "status": outcome.status,
        "run_id": None if run is None else shown_id(RUN, run),
        "plans": [plans.plan_by_id(connection, number) for number in outcome.plan_ids],
        "certificates": outcome.certificates,
        "error": None if outcome.error is None else outcome.error.as_json(),
        "left_open": outcome.left_open,
        **(
            {"paused_until": _paused_until(connection, outcome)}
            if outcome.status == "paused"
            else {}
        ),
        **({"left": outcome.left} if outcome.left else {}),
        **({"report": outcome.report} if outcome.report else {}),
        **({"waiting": waiting} if waiting else {}),
        **({"outside_edits": outcome.outside_edits} if outcome.outside_edits else {}),
    }


def _paused_until(connection: Connection, outcome: Outcome) -> date | None:
    """Return the last day of a district's pause, None if it ends by hand only."""
    from sync.run import find
    from sync.run.calendar import calendar_of
    from sync.run.clock import utc_now

    found = calendar_of(find.district_row(connection, outcome.district))
    return found.on(outcome.at or utc_now()).until


def paused_sentence(district: str, until: date | None) -> str:
    """Tell until when a district is paused, and what follows."""
    if until is None:
        return (
            f"The district is paused until somebody resumes it (rostersync resume {district}):"
            " nobody was changed."
        )
    return (
        f"The district is paused until {until}, this day included: nobody was changed."
        f" rostersync schedule {district} shows what runs when."
    )


def _waiting(connection: Connection, outcome: Outcome) -> list[dict[str, Any]]:
    from sync.views.waiting import waiting_of_run

    return [] if outcome.run_id is None else waiting_of_run(connection, outcome.run_id)


def show_outcome(door: Door, outcome: Outcome, *, whole: bool = False) -> int:
    """Print an outcome and return its exit code; ``whole``: with the changes of its plans."""
    if door.as_json:
        with door.reading() as connection:
            door.document(outcome_json(connection, outcome))
    else:
        say_outcome(door, outcome, whole=whole)
    return int(outcome.exit_code)


def say_how_to_undo(door: Door, outcome: Outcome) -> None:
    """Print how an act that was applied is taken back, with the id of its run."""
    from sync.run.display import RUN, shown_id

    if outcome.status == "applied" and outcome.run_id is not None:
        door.say(f"To take it back: rostersync undo {shown_id(RUN, outcome.run_id)}")


def say_outcome(door: Door, outcome: Outcome, *, whole: bool = False) -> None:
    """Print an outcome for a person: its readings, its plans, the sentence of its status."""
    for name, certificate in outcome.certificates.items():
        door.say(reading_sentence(name, certificate))
        for note in certificate.get("notes") or ():
            door.say(f"  {note}")
        if suspected := certificate.get("suspected"):
            door.say(f"  {suspected_sentence(suspected)}")
        met = met_sentence(certificate)
        if met:
            door.say(f"  {met}")
        schools = certificate.get("missing_schools") or ()
        for school in schools[:SCHOOLS_NAMED]:
            door.say(f"  {missing_school_sentence(school, name)}")
        if len(schools) > SCHOOLS_NAMED:
            more = len(schools) - SCHOOLS_NAMED
            door.say(f"  {more} more such schools of {name} are listed by --json.")
    told: set[str] = set()
    with door.reading() as connection:
        for number in _held_first(connection, outcome.plan_ids):
            if outcome.certificates:
                door.say()
            told.update(say_plan(door, connection, number, whole=whole))
        _say_waiting(door, outcome, _waiting(connection, outcome))
    _say_outside_edits(door, outcome)
    if outcome.error is not None:
        reasons = {one.get("reason") for one in outcome.certificates.values()}
        if outcome.error.message not in reasons:  # otherwise it has just been said
            say_on(door.err, outcome.error.message, style="red")
        if outcome.error.hint:
            say_on(door.err, outcome.error.hint)
        if outcome.error.__cause__ is not None and os.environ.get(DEBUG_VARIABLE) == "1":
            import traceback

            traceback.print_exception(outcome.error.__cause__)
    withheld = outcome.status == "partial" and outcome.error is None
    said = _SAID.get("withheld" if withheld else outcome.status, outcome.status)
    if outcome.status == "paused":
        with door.reading() as connection:
            said = paused_sentence(outcome.district, _paused_until(connection, outcome))
    if not (outcome.error is not None and outcome.status in {"refused", "busy"}):
        door.say()
        door.say(f"{outcome.district}: {outcome.status.replace('_', ' ')}. {said}")
    for sentence in still_open(outcome.left_open, outcome.district):
        if sentence not in told:
            door.say(f"  Still open: {sentence}")


def _say_outside_edits(door: Door, outcome: Outcome) -> None:
    """Say that somebody has edited the directory past the ledger, and what to do."""
    from rostersync.cli.printing.words import things

    number, slug = outcome.outside_edits, outcome.district
    if number:
        edited = things(number, "person or school was", "people or schools were")
        door.say()
        door.say(f"{edited} edited in the database past the history.", style="red")
        door.say(
            f"rostersync db verify {slug} --directory names them, and rostersync db repair {slug}"
            " makes a plan that puts them back."
        )


WAITING_NAMED = 20
"""How many of those who wait for a rollover are named; ``users --leaving`` names all."""


def _say_waiting(door: Door, outcome: Outcome, waiting: list[dict[str, Any]]) -> None:
    """Name the people who wait until their school has rolled over."""
    from rostersync.cli.printing.words import people

    if not waiting:
        return
    verb = "waits" if len(waiting) == 1 else "wait"
    door.say()
    door.say(f"{people(len(waiting))} {verb} until their school shows the new year:", style="bold")
    for one in waiting[:WAITING_NAMED]:
        where = f" of {one['school']}" if one["school"] else ""
        door.say(f"  {one['name'] or one['user_id']}, {one['role'] or 'no role'}{where}")
    rest = len(waiting) - WAITING_NAMED
    if rest > 0:
        door.say(f"  and {rest} more: rostersync users {outcome.district} --leaving, or --json")


def _held_first(connection: Connection, numbers: list[int]) -> list[int]:
    from sync.views import plans

    held = {number: plans.plan_by_id(connection, number)["status"] == "held" for number in numbers}
    return sorted(numbers, key=lambda number: not held[number])


def reading_sentence(name: str, certificate: dict[str, Any]) -> str:
    """Tell one reading of a source: ``sis: read completely, 837 records``."""
    from rostersync.cli.printing.words import count

    records = certificate.get("records")
    read = f", {count(records)} records" if isinstance(records, int) else ""
    if certificate.get("unchanged"):
        return f"{name}: nothing new at the vendor"
    if certificate.get("complete"):
        part = "read the latest changes" if certificate.get("incremental") else "read completely"
        return f"{name}: {part}{read}"
    read = read if records else ""
    return f"{name}: NOT read completely{read}. {certificate.get('reason') or ''}".rstrip()


def suspected_sentence(number: int) -> str:
    """Tell of people whom the vendor calls deleted before a full reading proves it."""
    from rostersync.cli.printing.words import people

    was = "1 person was" if number == 1 else f"{people(number)} were"
    stay = "stays" if number == 1 else "stay"
    return (
        f"{was} called deleted by the vendor, and {stay} until a full reading no longer has them:"
        " --full reads everything now."
    )


def missing_school_sentence(school: dict[str, Any], source: str) -> str:
    """Tell of a school that people name and that their source does not list."""
    from rostersync.cli.printing.words import people

    number = school["people"]
    if not school["name"]:
        return (
            f"{people(number)} {'joins or moves' if number == 1 else 'join or move'} to"
            f" {school['external_id']}, which {source} does not list as a school: until it does,"
            " they are without it. If it is the district itself, nothing is wrong."
        )
    return (
        f"{people(number)} {'names' if number == 1 else 'name'} the school {school['name']}"
        f" ({school['external_id']}), which {source} does not list any more: it stays."
    )


def noted_lines(runs: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Return source → what its last reading noted, and the words it last met and did not know.

    ``runs`` come with the newest first. A reading that found its files unchanged noted nothing of
    its own, so the one before it speaks.
    """
    notes: dict[str, list[str]] = {}
    met: dict[str, str] = {}
    for run in runs:
        for source, certificate in run["certificates"].items():
            if not certificate.get("unchanged"):
                notes.setdefault(source, list(certificate.get("notes") or ()))
            said = met_sentence(certificate)
            if said:
                met.setdefault(source, f"{said} That was in {run['id']}.")
    return {
        source: [*notes.get(source, ()), *([met[source]] if source in met else [])]
        for source in notes.keys() | met.keys()
    }


SCHOOLS_NAMED = 10
"""How many schools get a line each."""
FIELDS_NAMED = 5
"""How many fields a sentence names."""


def met_sentence(certificate: dict[str, Any]) -> str:
    """Tell what a reading met and did not understand: words and fields, and in how many rows.

    A word that may be somebody's name is told by its field only. Only rows that are new or changed
    are parsed, so only they are counted.
    """
    unknown: dict[str, int] = {}
    for token, rows in (certificate.get("unknown") or {}).items():
        field, _, word = token.partition("=")
        told = field if word in ("", "?") else f"{field}: {word}"
        unknown[told] = unknown.get(told, 0) + rows
    left_out = certificate.get("left_out") or 0
    said = [
        f"{word}: {_named(fields)}"
        for word, fields in (
            ("words not understood", unknown),
            ("fields not read", certificate.get("extra") or {}),
        )
        if fields
    ]
    if left_out:
        said.append(f"values left out: {left_out}, which rostersync skipped lists")
    return f"In new or changed rows: {'; '.join(said)}." if said else ""


def _named(fields: dict[str, int]) -> str:
    from rostersync.cli.printing.words import count

    most = sorted(fields, key=lambda name: (-fields[name], name))
    shown = [f"{name} ({count(fields[name])})" for name in most[:FIELDS_NAMED]]
    rest = len(most) - FIELDS_NAMED
    return ", ".join([*shown, f"{rest} more"] if rest > 0 else shown)


def say_plan(door: Door, connection: Connection, number: int, *, whole: bool) -> set[str]:
    """Print one plan, and return its lines; ``whole``: with its changes by school and role."""
    from rostersync.cli.printing.printed_plan import SAMPLES_SHOWN, SCHOOLS_SHOWN, plan_lines
    from sync.run import find
    from sync.views import plan_summary, plans

    plan = plans.plan_by_id(connection, number)
    zone = find.district_row(connection, plan["district"]).settings["timezone"]
    summary = None
    if whole:
        summary = plan_summary.summarize(
            connection, number, schools=SCHOOLS_SHOWN, each=SAMPLES_SHOWN
        )
    lines = list(plan_lines(plan, summary, zone))
    for line in lines:
        door.say(line.text, style=line.style)
    return {line.text.strip() for line in lines}


def tell_news(door: Door, slug: str) -> None:
    """Send the notifications of a run by hand now: the service may not be running.

    Whatever becomes of it, the run is what it was.
    """
    from rostersync.service.notify import tell_if_possible
    from sync.run.clock import utc_now

    tell_if_possible(door.database, slug, utc_now())
