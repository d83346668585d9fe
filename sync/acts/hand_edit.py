"""Acts by hand: what an admin does to one person, each an applied plan of one person (P7).

They work in every season and never wait for a run: they take only the apply lock. An edited person
becomes open, so that the next run looks at them again.

One file, because every act on one person is the same few lines around its own steps.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Text, bindparam, cast, select, text

from core.errors import UsageError
from core.failpoints import failpoint
from core.models import (
    PROFILE_FIELDS,
    Kind,
    NormalizedUser,
    Origin,
    Role,
    UserStatus,
    ceds_grade,
    fold_email,
)
from core.settings import LOCKABLE_FIELDS, DistrictSettings
from core.storage.database import Database
from core.storage.schema import District, User
from sync.ledger.apply import Drifted, apply_in
from sync.ledger.draft import Opening, Step, open_plan
from sync.ledger.seal import seal_whole
from sync.people.identity import USER_PREFIX, new_id
from sync.people.person import UserView, read_user, stored_profile
from sync.planning.decide import step_for
from sync.run.clock import Clock, utc_now
from sync.run.district_run import read_district
from sync.run.open_records import opening
from sync.run.outcome import Outcome
from sync.run.run_rows import close_run_in, open_run

REASON = "by_hand"
CHANGES_TO = "flex@finra.org"
"""Where a firm asks FINRA for changes after its one upload."""


@dataclass(frozen=True, slots=True)
class UserEdit:
    """What to set: field → value; an empty text clears a field. Schools are our own ids."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    role: str | None = None
    school: str | None = None


@dataclass(slots=True)
class _Hand:
    """One act by hand under way, inside its transaction."""

    database: Database
    connection: Connection
    district: District
    settings: DistrictSettings
    now: datetime


_Act = Callable[[_Hand], tuple[str, list[Step]]]


def add_user(
    database: Database,
    slug: str,
    edit: UserEdit,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
    asked: bool = False,
) -> Outcome:
    """Add somebody who is in no source. They are protected (I4); their origin stays manual.

    ``asked``: it was asked of FINRA and confirmed, as a firm must (I8). Raises ``UsageError`` if an
    active person has that address, or a field cannot be used.
    """

    def act(hand: _Hand) -> tuple[str, list[Step]]:
        _refuse_unasked(hand, "add", asked=asked)
        if not edit.role:
            raise UsageError("A new user needs a role.", hint="Give --role student, teacher ….")
        profile = _profile(hand, edit, dict.fromkeys(PROFILE_FIELDS))
        if not (profile["given_name"] or profile["family_name"]):
            raise UsageError("A new user needs a name.", hint="Give --family, --given or both.")
        _refuse_known_email(hand, profile["email"])
        user_id = new_id(database.key, USER_PREFIX, slug, "by hand", secrets.token_hex(8))
        after = {
            "status": UserStatus.ACTIVE.value,
            "origin": Origin.MANUAL.value,
            "protected": True,
            **{n: v for n, v in stored_profile(profile).items() if v is not None},
            "memberships": [[Role(edit.role).value, edit.school or "", bool(edit.school)]],
        }
        step = Step(
            Kind.USER, "create", user_id, None, REASON, after=after,
            role=edit.role, school=edit.school,
        )  # fmt: skip
        return user_id, [step]

    return _act(database, slug, act, "add", actor, reason, now)


_OF_FLEX = frozenset({"given_name", "family_name", "email", "crd_id"})
"""The fields that FINRA keeps of somebody."""


def _refuse_unasked(hand: _Hand, change: str, *, asked: bool) -> None:
    """Refuse a change in a firm that was not asked of FINRA: there it would not have happened."""
    if hand.settings.kind == "firm" and not asked:
        raise UsageError(
            "FINRA keeps the users of a firm: a change is asked of it first, and not made here.",
            hint=f"Changes go to {CHANGES_TO}: rostersync flex request {change} DISTRICT CRD …;"
            " confirm it when FINRA has.",
        )


def _refuse_to_unname(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Refuse an edit that takes somebody's only name away."""
    named, stays = (said["given_name"] or said["family_name"] for said in (before, after))
    if named and not stays:
        raise UsageError("Nobody is left without a name.", hint="Keep --family, --given or both.")


def edit_user(
    database: Database,
    slug: str,
    user_id: str,
    edit: UserEdit,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
    asked: bool = False,
) -> Outcome:
    """Edit somebody. Fields of ``lock_on_edit`` are locked by it; the others follow their source.

    ``asked`` is as in ``add_user``. Raises ``UsageError`` for an unknown user or a field that
    cannot be used.
    """

    def act(hand: _Hand) -> tuple[str, list[Step]]:
        user = _user(hand, user_id)
        profile = _profile(hand, edit, user.profile)
        _refuse_to_unname(user.profile, profile)
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        for name in PROFILE_FIELDS:
            if profile[name] != user.profile[name]:
                before[name], after[name] = user.profile[name], profile[name]
        if not after.keys().isdisjoint(_OF_FLEX):
            _refuse_unasked(hand, "update", asked=asked)
        if "email" in after:
            _refuse_known_email(hand, after["email"])
            before["email_folded"] = stored_profile(before)["email_folded"]
            after["email_folded"] = stored_profile(after)["email_folded"]
        edited = set(after) - {"email_folded"}
        members = _memberships(user, edit)
        if members != user.memberships:
            before["memberships"] = [list(m) for m in user.memberships]
            after["memberships"] = [list(m) for m in members]
            edited.add("role")
        locks = sorted({*user.locked_fields, *(edited & set(hand.settings.lock_on_edit))})
        if locks != sorted(user.locked_fields):
            before["locked_fields"], after["locked_fields"] = user.locked_fields, locks
        return user.id, _update(user, before, after)

    return _act(database, slug, act, "edit", actor, reason, now)


def archive_user(
    database: Database,
    slug: str,
    user_id: str,
    *,
    keep: bool = False,
    until: date | None = None,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
    asked: bool = False,
) -> Outcome:
    """Archive somebody, protected or not. If still shared, they return unless ``keep`` (I2).

    ``asked`` is as in ``add_user``.
    """

    def act(hand: _Hand) -> tuple[str, list[Step]]:
        _refuse_unasked(hand, "remove", asked=asked)
        user = _user(hand, user_id)
        kept = {"kept_archived": user.kept_archived, "kept_until": user.kept_until}
        keeps = {"kept_archived": keep, "kept_until": until.isoformat() if until else None}
        before = {} if kept == keeps else kept
        after = {} if kept == keeps else keeps
        if user.status == UserStatus.ARCHIVED:
            return user.id, _update(user, before, after)
        return user.id, _become(user, "archive", UserStatus.ARCHIVED, before, after)

    return _act(database, slug, act, "archive", actor, reason, now)


def restore_user(
    database: Database,
    slug: str,
    user_id: str,
    *,
    protect: bool = True,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Restore somebody. Without a source they are protected, unless ``protect`` is False (I1)."""

    def act(hand: _Hand) -> tuple[str, list[Step]]:
        user = _user(hand, user_id)
        before: dict[str, Any] = {}
        after: dict[str, Any] = {}
        if user.kept_archived:
            before |= {"kept_archived": True, "kept_until": user.kept_until}
            after |= {"kept_archived": False, "kept_until": None}
        if protect and not user.protected and not any(r.speaks for r in user.records):
            before["protected"], after["protected"] = False, True
        if user.status != UserStatus.ARCHIVED:
            return user.id, _update(user, before, after)
        return user.id, _become(user, "restore", UserStatus.ACTIVE, before, after)

    return _act(database, slug, act, "restore", actor, reason, now)


def protect_user(
    database: Database,
    slug: str,
    user_id: str,
    on: bool,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Protect somebody from being archived by a run, or lift the protection."""

    def act(hand: _Hand) -> tuple[str, list[Step]]:
        user = _user(hand, user_id)
        if user.protected == on:
            return user.id, []
        return user.id, _update(user, {"protected": not on}, {"protected": on})

    return _act(database, slug, act, "protect" if on else "unprotect", actor, reason, now)


def lock_fields(
    database: Database,
    slug: str,
    user_id: str | None,
    fields: Sequence[str],
    locked: bool,
    *,
    actor: str,
    reason: str | None = None,
    now: Clock | None = None,
) -> Outcome:
    """Lock fields of somebody against the sources, or release them.

    Without a user, the fields are unlocked for everybody in the district who has them locked.
    Without fields, all locks of that user are released.
    """
    unknown = sorted(set(fields) - set(LOCKABLE_FIELDS))
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)} cannot be locked.",
            hint=f"Fields that can: {', '.join(LOCKABLE_FIELDS)}.",
        )

    def steps_of(user: UserView) -> list[Step]:
        have = set(user.locked_fields)
        wanted = have | set(fields) if locked else have - set(fields or have)
        if wanted == have:
            return []
        return _update(user, {"locked_fields": sorted(have)}, {"locked_fields": sorted(wanted)})

    def act(hand: _Hand) -> tuple[str, list[Step]]:
        if user_id is not None:
            return user_id, steps_of(_user(hand, user_id))
        if locked:
            raise UsageError(
                "Locking a field of a whole district would cut it off from its sources.",
                hint="Lock it for one user; --all goes with unlock.",
            )
        steps = []
        about = {"district": hand.district.id}
        for (each,) in hand.connection.execute(_WITH_LOCKS, about).all():
            steps += steps_of(_user(hand, each))
        return "", steps

    return _act(database, slug, act, "lock" if locked else "unlock", actor, reason, now)


_WITH_LOCKS = (
    select(User.id)
    .where(User.district_id == bindparam("district"), cast(User.locked_fields, Text) != "[]")
    .order_by(User.id)
)


# -- how each of them runs


def _act(
    database: Database,
    slug: str,
    act: _Act,
    kind: str,
    actor: str,
    reason: str | None,
    now: Clock | None,
) -> Outcome:
    at = (now or utc_now)()
    district, settings, _ = read_district(database, slug)
    with database.write() as connection:
        database.apply_lock(connection, district.id)
        user_id, steps = act(_Hand(database, connection, district, settings, at))
        if not steps:
            return Outcome(slug, "nothing_to_do", user_id=user_id or None)
        run_id = open_run(connection, district.id, kind, actor, at)
        opening = Opening(district.id, run_id, "hand", at, actor=actor, reason=reason)
        plan_id = _seal(database, connection, opening, steps)
        failpoint("hand.sealed")
        try:
            apply_in(database, connection, plan_id, run_id=run_id, now=at)
        except Drifted as drift:  # pragma: no cover - the lock keeps everybody else out
            raise drift.as_error(f"P{plan_id}") from None
        connection.execute(_OPEN_CHANGED_PEOPLE, {"plan": plan_id})
        close_run_in(connection, run_id, "applied", at)
    return Outcome(slug, "applied", run_id, [plan_id], user_id=user_id or None)


def _seal(
    database: Database, connection: Connection, opening: Opening, steps: Sequence[Step]
) -> int:
    draft = open_plan(database, connection, opening)
    by_target: dict[str, list[Step]] = {}
    for step in steps:
        by_target.setdefault(step.target, []).append(step)
    for some in by_target.values():
        draft.add(some)
    seal_whole(connection, draft)
    return draft.plan_id


def _user(hand: _Hand, user_id: str) -> UserView:
    user = read_user(hand.connection, hand.district.id, user_id)
    if user is None:
        raise UsageError(
            f"{hand.district.slug} has no user {user_id}.",
            hint=f"rostersync users {hand.district.slug} lists them.",
        )
    return user


def _update(user: UserView, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Step]:
    if not after:
        return []
    return [step_for(user, "update", REASON, before=dict(before), after=dict(after))]


def _become(
    user: UserView,
    action: str,
    status: UserStatus,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> list[Step]:
    """Give somebody another status, in one step with what else changes of them."""
    was, becomes = {"status": user.status}, {"status": status.value}
    return [step_for(user, action, REASON, before=was | dict(before), after=becomes | dict(after))]


def _memberships(user: UserView, edit: UserEdit) -> list[tuple[str, str, bool]]:
    """Return the memberships after an edit: a role replaces all, a school replaces all."""
    if edit.role is None and edit.school is None:
        return user.memberships
    if edit.role is None:
        roles = sorted({role for role, _, _ in user.memberships}) or [Role.STAFF.value]
        members = [(role, edit.school or "", False) for role in roles]
    elif edit.school is not None or not user.memberships:
        members = [(edit.role, edit.school or "", False)]
    else:
        schools = sorted({school for _, school, _ in user.memberships})
        members = [(edit.role, school, False) for school in schools]
        primary = next((school for _, school, is_primary in user.memberships if is_primary), None)
        return [
            (role, school, school == primary and primary is not None) for role, school, _ in members
        ]
    role, school, _ = members[0]
    members[0] = (role, school, bool(school))
    return members


def _profile(hand: _Hand, edit: UserEdit, current: Mapping[str, Any]) -> dict[str, Any]:
    """Return the profile after an edit, validated like any roster's."""
    values = {**current, **edit.fields}
    grade = values.get("grade")
    if grade and ceds_grade(str(grade)) is None:
        raise UsageError(
            "--grade is not a grade.", hint="Give a CEDS code: IT PR PK TK KG 01 … 13 PS UG Other."
        )
    values["grade"] = ceds_grade(str(grade)) if grade else None
    if values.get("graduation_year") in ("", 0):
        values["graduation_year"] = None
    try:
        user = NormalizedUser.model_validate({**values, "external_id": "by-hand"})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise UsageError(
            f"{'.'.join(str(s) for s in first['loc'])} cannot be used: {first['msg']}.",
            hint="Correct the value.",
        ) from None
    profile = {name: getattr(user, name) for name in PROFILE_FIELDS}
    email = profile["email"]
    if email is not None and email != current.get("email"):
        _check_email(hand, email)
    return profile


def _check_email(hand: _Hand, email: str) -> None:
    local, at, domain = fold_email(email).rpartition("@")
    if not at or not local or "." not in domain or any(c.isspace() for c in email):
        raise UsageError("--email is not an email address.", hint="Give it like name@domain.")
    domains = hand.settings.email_domains
    if domains and domain not in domains:
        raise UsageError(
            "The address is outside the district's email domains.",
            hint="Use an address of the district, or add its domain to email_domains.",
        )


def _refuse_known_email(hand: _Hand, email: str | None) -> None:
    """Refuse an address that somebody has already: adding them again would double them."""
    if email is None:
        return
    about = {"district": hand.district.id, "email": fold_email(email)}
    row = hand.connection.execute(_WITH_EMAIL, about).first()
    if row is not None:
        act = "restore" if row.status == UserStatus.ARCHIVED else "edit"
        raise UsageError(
            f"The user {row.id} ({row.status}) has this address already.",
            hint=f"rostersync user {act} {hand.district.slug} {row.id}",
        )


_WITH_EMAIL = (
    select(User.id, User.status)
    .where(User.district_id == bindparam("district"), User.email_folded == bindparam("email"))
    .order_by(User.status)
    .limit(1)
)


# --- Set-wise statements ---
# It opens the records of everybody in the plan, of whom there may be as many as a district has: the
# locks of all are released by one act.

_OPEN_CHANGED_PEOPLE = text(
    opening(
        "r.id IN (SELECT l.record_id FROM links l"
        " JOIN changes c ON c.target_id = l.target_id WHERE c.plan_id = :plan)"
    )
)
