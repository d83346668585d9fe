"""People, by hand: the acts of ``user``, each an applied plan of one person."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from rostersync.cli.commands.people import RoleWord
from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.printing.words import person_name, state

if TYPE_CHECKING:
    from core.storage.database import Database
    from sync.acts.hand_edit import UserEdit
    from sync.run.outcome import Outcome

How = ParamSpec("How")
"""What an act by hand takes beside the user: fields, options, who does it and why."""

UserArgument = Annotated[
    str, typer.Argument(metavar="USER", help="A user id, an email or SOURCE:external_id.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why, for the history.")]

_FIELDS = {
    "given_name": ("--given", str, "Given name."),
    "family_name": ("--family", str, "Family name."),
    "role": ("--role", RoleWord, "What they are."),
    "school": ("--school", str, "School, by name or id."),
    "email": ("--email", str, "Email address."),
    "username": ("--username", str, "Username."),
    "middle_name": ("--middle", str, "Middle name."),
    "preferred_given_name": ("--preferred-given", str, "Preferred given name."),
    "preferred_middle_name": ("--preferred-middle", str, "Preferred middle name."),
    "preferred_family_name": ("--preferred-family", str, "Preferred family name."),
    "grade": ("--grade", str, "Grade, a CEDS code like KG or 09."),
    "graduation_year": ("--graduation-year", int, "Four digits."),
    "sis_id": ("--sis-id", str, "Id in the student information system."),
    "student_number": ("--student-number", str, "Student number."),
    "state_id": ("--state-id", str, "State id."),
    "staff_number": ("--staff-number", str, "Staff number."),
    "crd_id": ("--crd-id", str, "FINRA CRD id."),
}
"""Field of a user → its option, its type, its help."""


def _field_options(required: tuple[str, ...] = ()) -> list[Parameter]:
    return [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if name in required else None,
            annotation=Annotated[
                kind if name in required else kind | None,
                typer.Option(option, help=help_, show_default=False),
            ],
        )
        for name, (option, kind, help_) in _FIELDS.items()
    ]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    group = typer.Typer(
        help="People by hand: add, edit, archive, restore, protect, lock.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    command(group, "add", more=_field_options(("role",)))(add)
    command(group, "edit", more=_field_options())(edit)
    for name, act in (
        ("archive", archive),
        ("restore", restore),
        ("protect", protect),
        ("unprotect", unprotect),
        ("lock", lock),
        ("unlock", unlock),
    ):
        command(group, name)(act)
    app.add_typer(group, name="user")


def add(
    door: Door,
    district: DistrictArgument,
    actor: ActorOption = None,
    reason: ReasonOption = None,
    **fields: Any,
) -> int:
    """Add somebody who is in no roster. They are protected: no sync archives them.

    One of the two names is enough.
    """
    from sync.acts import hand_edit

    edit = _edit(door, district, fields)
    outcome = hand_edit.add_user(
        door.database, district, edit, actor=actor or login_name(), reason=reason
    )
    return _show(door, outcome)


def edit(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    actor: ActorOption = None,
    reason: ReasonOption = None,
    **fields: Any,
) -> int:
    """Edit somebody; an empty text clears a field.

    A field that a roster fills is set by it again at the next sync, unless it is locked.
    """
    from sync.acts import hand_edit

    wanted = _edit(door, district, fields)
    who = actor or login_name()
    return _act(door, hand_edit.edit_user, district, user, wanted, actor=who, reason=reason)


def archive(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep them archived even though they are in a roster.")
    ] = False,
    until: Annotated[
        str | None, typer.Option("--until", metavar="D", help="The last day of --keep, YYYY-MM-DD.")
    ] = None,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Archive somebody. If still in a roster, they return at the next sync unless kept archived."""
    from core.errors import UsageError
    from sync.acts import hand_edit

    if until is not None and not keep:
        raise UsageError("--until goes with --keep.", hint="Add --keep, or leave out --until.")
    who, last = actor or login_name(), _day(until)
    return _act(
        door, hand_edit.archive_user, district, user,
        keep=keep, until=last, actor=who, reason=reason,
    )  # fmt: skip


def restore(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    no_protect: Annotated[
        bool, typer.Option("--no-protect", help="Do not protect them from the next sync.")
    ] = False,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Restore somebody. If they are in no roster, they are protected from the next sync."""
    from sync.acts import hand_edit

    who, protect = actor or login_name(), not no_protect
    return _act(
        door, hand_edit.restore_user, district, user, protect=protect, actor=who, reason=reason
    )


def protect(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Protect somebody: no sync archives them."""
    from sync.acts import hand_edit

    who = actor or login_name()
    return _act(door, hand_edit.protect_user, district, user, on=True, actor=who, reason=reason)


def unprotect(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Remove somebody's protection.

    If they are in no roster, they leave at the next sync.
    """
    from sync.acts import hand_edit

    who = actor or login_name()
    return _act(door, hand_edit.protect_user, district, user, on=False, actor=who, reason=reason)


FieldOption = Annotated[
    list[str] | None, typer.Option("--field", metavar="F", help="A field; may be repeated.")
]


def lock(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    field: FieldOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every field.")] = False,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Lock fields of somebody, so that rosters leave them alone."""
    from core.errors import UsageError
    from core.settings import LOCKABLE_FIELDS
    from sync.acts import hand_edit

    if bool(field) == all_:
        raise UsageError("Say which fields.", hint="Give --field F (repeat it), or --all.")
    fields, who = field or LOCKABLE_FIELDS, actor or login_name()
    return _act(
        door, hand_edit.lock_fields, district, user, fields, locked=True, actor=who, reason=reason
    )


def unlock(
    door: Door,
    district: DistrictArgument,
    user: Annotated[
        str | None,
        typer.Argument(
            metavar="[USER]", help="A user id, an email or SOURCE:external_id; none with --all."
        ),
    ] = None,
    field: FieldOption = None,
    all_: Annotated[
        bool, typer.Option("--all", help="For everybody of the district who has such a lock.")
    ] = False,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Unlock fields, so that rosters fill them again. Without --field, all locks are released."""
    from core.errors import UsageError
    from sync.acts import hand_edit

    if (user is None) != all_:
        raise UsageError("Say whose fields.", hint="Give USER, or --all for everybody.")
    fields, who = field or (), actor or login_name()
    if user is not None:
        return _act(
            door, hand_edit.lock_fields, district, user, fields,
            locked=False, actor=who, reason=reason,
        )  # fmt: skip
    outcome = hand_edit.lock_fields(
        door.database, district, None, fields, locked=False, actor=who, reason=reason
    )
    return _show(door, outcome)


def _edit(door: Door, district: str, values: dict[str, Any]) -> UserEdit:
    """Return what was given as an edit. Raises ``UsageError``."""
    from core.errors import UsageError
    from sync.acts.hand_edit import UserEdit
    from sync.run import find
    from sync.views import people

    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise UsageError("Nothing was given to change.", hint="rostersync user edit --help")
    role = given.pop("role", None)
    school = given.pop("school", None)
    if school is not None:
        with door.reading() as connection:
            row = find.district_row(connection, district)
            school = people.resolve_school(connection, row, school)
    return UserEdit(fields=given, role=None if role is None else role.value, school=school)


def _day(word: str | None) -> Any:
    from datetime import date

    from core.errors import UsageError

    if word is None:
        return None
    try:
        return date.fromisoformat(word)
    except ValueError:
        raise UsageError(
            "--until is not a day.", hint="Give it as YYYY-MM-DD, like 2026-08-31."
        ) from None


def _act(
    door: Door,
    act: Callable[Concatenate[Database, str, str, How], Outcome],
    district: str,
    user: str,
    *fields: How.args,
    **how: How.kwargs,
) -> int:
    """Do something by hand to the user that a word names, and print how it ended."""
    user_id = _resolve(door, district, user)
    return _show(door, act(door.database, district, user_id, *fields, **how))


def _resolve(door: Door, district: str, word: str) -> str:
    from sync.run import find
    from sync.views import people

    with door.reading() as connection:
        row = find.district_row(connection, district)
        return people.resolve_user(connection, row, word)


def _show(door: Door, outcome: Outcome) -> int:
    """Print the result of one act by hand, with the user as they are now."""
    from rostersync.cli.printing.outcomes import outcome_json, say_how_to_undo, say_outcome
    from sync.acts.hand_edit import CHANGES_TO
    from sync.run import find
    from sync.views import people

    user = None
    with door.reading() as connection:
        row = find.district_row(connection, outcome.district)
        if outcome.user_id is not None:
            user = people.user_json(connection, row, outcome.user_id)
        if door.as_json:
            door.document({**outcome_json(connection, outcome), "user": user})
            return int(outcome.exit_code)
    if user is None:
        say_outcome(door, outcome)
    else:
        word = "it was so already" if outcome.status == "nothing_to_do" else "done"
        door.say(f"{user['id']} {person_name(user)}: {state(user)}. {word.capitalize()}.")
        say_how_to_undo(door, outcome)
        if outcome.status == "applied" and row.settings.get("kind") == "firm":
            door.say(
                f"FINRA does not hear of it from here. Changes go to {CHANGES_TO}: record them with"
                " rostersync flex request."
            )
    return int(outcome.exit_code)
