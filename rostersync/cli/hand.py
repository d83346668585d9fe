"""People, by hand: the acts of ``user``, each an applied plan of one person."""

from __future__ import annotations

from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rostersync.cli.door import ActorOption, DistrictArgument, Door, command, login_name
from rostersync.cli.people import RoleWord
from rostersync.cli.words import person_name, state

if TYPE_CHECKING:
    from sync.hand import UserEdit
    from sync.outcome import Outcome

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
        help="One person by hand: add, edit, archive, restore, protect, lock.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    command(group, "add", more=_field_options(("given_name", "family_name", "role")))(add)
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
    """Add somebody whom no roster has. They are protected: no sync archives them."""
    from sync import hand

    outcome = hand.add_user(
        door.database, district, _edit(fields), actor=actor or login_name(), reason=reason
    )
    return _show(door, outcome, None)


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
    from sync import hand

    wanted = _edit(fields)
    user_id = _resolve(door, district, user)
    outcome = hand.edit_user(
        door.database, district, user_id, wanted, actor=actor or login_name(), reason=reason
    )
    return _show(door, outcome, user_id)


def archive(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep them archived although a roster has them.")
    ] = False,
    until: Annotated[
        str | None, typer.Option("--until", metavar="D", help="The last day of --keep, YYYY-MM-DD.")
    ] = None,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Archive somebody. Still in a roster, they return at the next sync unless kept archived."""
    from core.errors import UsageError
    from sync import hand

    if until is not None and not keep:
        raise UsageError("--until goes with --keep.", hint="Add --keep, or leave out --until.")
    user_id = _resolve(door, district, user)
    outcome = hand.archive_user(
        door.database,
        district,
        user_id,
        keep=keep,
        until=_day(until),
        actor=actor or login_name(),
        reason=reason,
    )
    return _show(door, outcome, user_id)


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
    """Bring somebody back. In no roster, they are protected so that no sync archives them again."""
    from sync import hand

    user_id = _resolve(door, district, user)
    outcome = hand.restore_user(
        door.database,
        district,
        user_id,
        protect=not no_protect,
        actor=actor or login_name(),
        reason=reason,
    )
    return _show(door, outcome, user_id)


def protect(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Protect somebody: no sync archives them."""
    return _protect(door, district, user, True, actor, reason)


def unprotect(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Lift the protection: in no roster any more, they leave at the next sync."""
    return _protect(door, district, user, False, actor, reason)


def _protect(
    door: Door, district: str, user: str, on: bool, actor: str | None, reason: str | None
) -> int:
    from sync import hand

    user_id = _resolve(door, district, user)
    outcome = hand.protect_user(
        door.database, district, user_id, on=on, actor=actor or login_name(), reason=reason
    )
    return _show(door, outcome, user_id)


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
    """Lock fields of somebody: rosters leave them alone."""
    return _lock(door, district, user, field, all_, True, actor, reason)


def unlock(
    door: Door,
    district: DistrictArgument,
    user: UserArgument,
    field: FieldOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every field.")] = False,
    actor: ActorOption = None,
    reason: ReasonOption = None,
) -> int:
    """Unlock fields of somebody: rosters fill them again."""
    return _lock(door, district, user, field, all_, False, actor, reason)


def _lock(
    door: Door,
    district: str,
    user: str,
    field: list[str] | None,
    all_: bool,
    locked: bool,
    actor: str | None,
    reason: str | None,
) -> int:
    from core.errors import UsageError
    from core.settings import LOCKABLE_FIELDS
    from sync import hand

    names = list(LOCKABLE_FIELDS) if all_ else list(field or ())
    if not names or (all_ and field):
        raise UsageError("Say which fields.", hint="Give --field F (repeat it), or --all.")
    unknown = [name for name in names if name not in LOCKABLE_FIELDS]
    if unknown:
        raise UsageError(
            f"There is no field {unknown[0]!r}.", hint=f"Fields: {', '.join(LOCKABLE_FIELDS)}."
        )
    user_id = _resolve(door, district, user)
    outcome = hand.lock_fields(
        door.database,
        district,
        user_id,
        names,
        locked,
        actor=actor or login_name(),
        reason=reason,
    )
    return _show(door, outcome, user_id)


def _edit(values: dict[str, Any]) -> UserEdit:
    """Return what was given as an edit. Raises ``UsageError`` naming the field, not its value."""
    from pydantic import ValidationError

    from core.errors import UsageError
    from sync.hand import UserEdit

    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        raise UsageError("Nothing was given to change.", hint="rostersync user edit --help")
    try:
        return UserEdit.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "The edit"
        raise UsageError(
            f"{name} cannot be used: {first['msg']}.", hint="Correct it and try again."
        ) from None


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


def _resolve(door: Door, district: str, word: str) -> str:
    from sync import people_views, views

    with door.reading() as connection:
        row = views.district_row(connection, district)
        return people_views.resolve_user(connection, row, word)


def _show(door: Door, outcome: Outcome, user_id: str | None) -> int:
    """Print what one act by hand came to, with the user as they are now."""
    from rostersync.cli.outcome import outcome_json, say_outcome
    from sync import people_views, plan_views, views

    with door.reading() as connection:
        row = views.district_row(connection, outcome.district)
        if user_id is None and outcome.plan_ids:
            created = next(iter(plan_views.iter_changes(connection, outcome.plan_ids[0])), None)
            user_id = None if created is None else created["user_id"]
        user = None
        if user_id is not None and outcome.error is None:
            user = people_views.user_json(connection, row, user_id)
        if door.as_json:
            door.document({**outcome_json(connection, outcome), "user": user})
            return int(outcome.exit_code)
    if user is None:
        say_outcome(door, outcome)
    else:
        word = "already so" if outcome.status == "nothing_to_do" else "done"
        door.say(f"{user['id']} {person_name(user)}: {state(user)}, {word}.")
    return int(outcome.exit_code)
