"""What a person must decide: ``conflicts`` and ``resolve``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name

if TYPE_CHECKING:
    from core.storage.database import Connection


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    command(app, "conflicts")(conflicts)
    command(app, "resolve")(resolve)


_REASONS = {
    "email_of_another": "a new record has the email address of somebody the district knows",
    "which_school": "only the name of the school is the same",
    "who_is_it": "it may be somebody the district knows",
    "resembles_leaver": "somebody new resembles somebody who leaves",
    "same_name": "only the name of the school is the same",
    "reused_id": "the id speaks of somebody else now",
}
_NAMES = ("given_name", "family_name", "name")


def conflicts(
    door: Door,
    district: DistrictArgument,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are settled.")] = False,
) -> None:
    """List the records for which a person must decide who they are, with both sides of each."""
    from rostersync.cli.printing.words import things
    from sync.acts.agreeing_conflicts import agreeing
    from sync.run import find
    from sync.views import conflicts as views

    with door.reading() as connection:
        row = find.district_row(connection, district)
        found = views.conflicts(connection, row, status=None if all_ else "open")
        if door.as_json:
            door.document(found)
            return
        told = 0
        for told, one in enumerate(found, 1):  # noqa: B007 - how many, afterwards
            _say(door, one)
        if not told:
            door.say("No open conflicts." if not all_ else "No conflicts.")
            return
        open_ones = views.conflicts(connection, row)
        alike = len(agreeing(open_ones)) if told > 1 else 0
        if alike > 1:
            door.say()
            door.say(
                f"In {things(alike, 'of these', 'of these')} both names and the address agree."
                f" To link them all: rostersync resolve {district} --all-agreeing"
            )


def _say(door: Door, one: dict[str, Any]) -> None:
    """Tell one conflict: what the source says, who it may be, and what agrees."""
    from rostersync.cli.printing.words import FIELD_WORDS

    noun = "school" if one["kind"] == "school" else "person"
    said = _REASONS.get(one["reason"], one["reason"].replace("_", " "))
    door.say(f"{one['id']}  {one['source']}:{one['external_id']}  {noun}: {said}")
    door.say(f"    the record says: {_side(one['record'])}")
    for candidate in one["candidates"]:
        status = f", {candidate['status']}" if candidate["status"] else ""
        door.say(f"    may be {candidate['id']}: {_side(candidate)}{status}")
        for word, fields in (("agrees", candidate["agree"]), ("differs", candidate["differ"])):
            if fields:
                told = ", ".join(FIELD_WORDS.get(name, name) for name in fields)
                door.say(f"        {word}: {told}")
        if candidate["evidence"]:
            door.say(f"        evidence: {', '.join(candidate['evidence'])}")
        if one["status"] == "open":
            door.say(f"        rostersync resolve {one['id']} --link {candidate['id']}")
    if one["status"] == "open":
        door.say(f"    is somebody new: rostersync resolve {one['id']} --new")
    else:
        door.say(f"    {one['status']}: {one['decision']} by {one['decided_by']}")


def _side(said: dict[str, Any]) -> str:
    """Return one side of a conflict: names, then address, login and numbers with their names."""
    from rostersync.cli.printing.words import FIELD_WORDS

    names = " ".join(said[name] for name in _NAMES if said.get(name)) or "no name"
    rest = [
        said[name] if name == "email" else f"{FIELD_WORDS.get(name, name)} {said[name]}"
        for name in _COMPARED
        if said.get(name)
    ]
    return ", ".join([names, *rest])


_COMPARED = (
    "email", "username", "sis_id", "student_number", "state_id", "staff_number", "crd_id",
    "nces_id", "number",
)  # fmt: skip


def resolve(
    door: Door,
    conflict: Annotated[
        str,
        typer.Argument(
            metavar="CONFLICT|DISTRICT",
            help="The conflict's id, like C3; with --all-agreeing the district.",
        ),
    ],
    link: Annotated[
        str | None,
        typer.Option(
            "--link", metavar="USER|SCHOOL", help="The record belongs to this user or school."
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="The record is somebody new.")] = False,
    all_agreeing: Annotated[
        bool,
        typer.Option(
            "--all-agreeing",
            help="Link the records of all the district's conflicts in which both names and the"
            " address agree with one person.",
        ),
    ] = False,
    actor: ActorOption = None,
) -> int:
    """Decide who a record is: somebody known, or somebody new."""
    from core.errors import UsageError
    from rostersync.cli.printing.outcomes import outcome_json
    from sync.people.conflicts import resolve as decide
    from sync.run import display
    from sync.views import conflicts as views

    if (link is not None) + new + all_agreeing != 1:
        raise UsageError(
            "Say who the record is.",
            hint="Give --link USER (or SCHOOL), --new, or a district with --all-agreeing.",
        )
    who = actor or login_name()
    if all_agreeing:
        return _resolve_agreeing(door, conflict, who)
    with door.reading() as connection:
        row = views.conflict_row(connection, conflict)
        target = None if link is None else _target(connection, row, link)
    outcome = decide(door.database, row.id, link=target, new=new, actor=who)
    if door.as_json:
        with door.reading() as connection:
            door.document(outcome_json(connection, outcome))
    else:
        whose = "somebody new" if target is None else target
        door.say(f"{display.shown_id(display.CONFLICT, row.id)} is decided: {whose}.")
        door.say(f"The next run acts on it: rostersync sync {outcome.district}")
    return int(outcome.exit_code)


def _resolve_agreeing(door: Door, district: str, actor: str) -> int:
    from rostersync.cli.printing.words import things
    from sync.acts.agreeing_conflicts import resolve_agreeing

    decided = resolve_agreeing(door.database, district, actor=actor)
    if door.as_json:
        rows = [{"id": conflict, "user_id": user} for conflict, user in decided.items()]
        door.document({"district": district, "decided": rows})
        return 0
    for conflict, user in decided.items():
        door.say(f"{conflict} is decided: {user}.")
    if decided:
        door.say(f"{things(len(decided), 'conflict')} decided.")
        door.say(f"The next run acts on it: rostersync sync {district}")
    else:
        door.say("In no open conflict do both names and the address agree with one person.")
    return 0


def _target(connection: Connection, row: Any, link: str) -> str:
    """Return the id of the user or school that is meant."""
    from sync.run import find
    from sync.views import people

    if link in {candidate["id"] for candidate in row.candidates}:
        return link
    district = find.district_row(connection, row.slug)
    if row.kind == "school":
        return people.resolve_school(connection, district, link)
    return people.resolve_user(connection, district, link)
