"""Decisions: one person and their records in, the steps of a plan out. Pure.

Collects the facts, asks the table in ``sync/rules/situations.py`` what follows, and returns it as
steps with their preconditions, and as takings where something is taken away (L1).

One file, because a decision is read from the facts to its steps in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.models import PROFILE_FIELDS, Kind, Origin, UserStatus, fold_email
from core.settings import Grace
from sync.ledger.domain_moves import at_newest
from sync.ledger.draft import Step
from sync.people.person import Membership, RecordView, UserView, stored_profile
from sync.people.wish import Sources, in_precedence, may_sign_in, unknown_schools, wish_of
from sync.rules.situations import PersonFacts, Situation, situation_of
from sync.rules.suspicions import Suspicion, suspicions_of


@dataclass(frozen=True, slots=True)
class Context:
    """What all decisions of a run have in common."""

    sources: Sources
    origins: Mapping[int, str]
    """Source id → the origin of users that it brings in."""
    grace: Grace
    zone: ZoneInfo
    now: datetime
    failed: frozenset[int] = frozenset()
    """Sources whose reading failed in this run (F8)."""
    paused_days: Callable[[date, date], int] = lambda first, last: 0
    """Counts the days of a pause after one day, up to another: grace stood still on them."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Old email domain → the one that replaced it: a source with the old one says nothing new."""
    taking_nothing: bool = False
    """Additions only (S2): everything that is not an addition stays open."""
    domains: frozenset[str] = frozenset()
    """The email domains that the district lists; empty: any."""


@dataclass(slots=True)
class Taken:
    """What one source takes from a person: ``archive``, ``suspend``, ``role`` or ``hold``.

    ``groups`` are the (school id, role) pairs in which it counts.
    """

    source_id: int
    what: str
    groups: list[tuple[str, str]]


@dataclass(slots=True)
class Decision:
    """What a run does about one person."""

    situation: Situation
    steps: list[Step] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    settles: list[int] = field(default_factory=list)
    """Records that are closed at once, because nothing needs to be done about them."""
    kept_by_lock: bool = False
    protected: bool = False
    added_by: int | None = None
    """The source whose addition this is (L6)."""
    caused_by_us: bool = False
    """A new connector version, mapping or filter causes it (L8)."""
    narrowed: bool = False
    """Something ends because the source was narrowed (F10): always held (L8)."""
    shrunk: bool = False
    """Missing from a role that shrank by more than half (F6)."""
    suspected: list[tuple[int, Suspicion]] = field(default_factory=list)
    """What the update does that is odd once it happens to many, each with the source (L10)."""
    unknown_schools: list[tuple[int, str]] = field(default_factory=list)
    """Schools that they name now and that nobody lists, by source: they are without them (F13)."""


_ACTIVE, _SUSPENDED = UserStatus.ACTIVE.value, UserStatus.SUSPENDED.value
ADDITIONS = frozenset({"create", "restore", "link", "adopt"})
_LEAVING = ("archive", "leaves_scope")
_USER = Kind.USER
_SHARED, _NEVER = PersonFacts(sources="share"), PersonFacts(sources="never")


def decide_newcomer(
    records: Sequence[RecordView],
    user_id: str,
    context: Context,
    shares_address_with: Sequence[str] | None = None,
) -> Decision:
    """Decide about the records of one person who is not in the directory.

    ``shares_address_with``: whose address theirs is, too (I9); the plan says so.
    """
    speaking = in_precedence([r for r in records if r.speaks], context.sources)
    situation = situation_of(_SHARED if speaking else _NEVER)
    if situation.action != "create":
        return Decision(situation, settles=[r.id for r in records])
    wish = wish_of(speaking, context.sources)
    first = speaking[0]
    role, school = _about(wish.memberships)
    after: dict[str, Any] = {
        "status": _ACTIVE if wish.enabled else _SUSPENDED,
        "origin": context.origins[first.source_id],
        "memberships": wish.memberships,
        **wish.profile,
    }
    if "email" in after:
        after["email_folded"] = fold_email(after["email"])
    steps = [
        Step(
            _USER, "create", user_id, None,
            "shares_address" if shares_address_with else situation.reason,
            _known_before(first, shares_address_with), after, None,
            first.id, first.version, role, school,
        )
    ]  # fmt: skip
    steps += () if len(records) == 1 else [
        Step(
            _USER, "link", user_id, None, other.join_reason or "same_person",
            *_moved(other, user_id), None, other.id, other.version, role, school,
        )
        for other in records
        if other is not first
    ]  # fmt: skip
    return Decision(
        situation,
        steps,
        added_by=first.source_id,
        caused_by_us="settings" in [r.cause for r in records],
        unknown_schools=unknown_schools(speaking, context.sources),
    )


def decide_user(
    user: UserView,
    context: Context,
    *,
    in_conflict: bool = False,
    link_reason: str = "same_person",
) -> Decision:
    """Decide about a user of the directory, from all of their records.

    Records with ``held`` None are not linked yet; they are linked by this decision. A person added
    by hand that a source shares for the first time is adopted.
    """
    speaking = in_precedence([r for r in user.records if r.speaks], context.sources)
    facts = _facts(user, speaking, context, in_conflict)
    situation = situation_of(facts)
    decision = Decision(
        situation, caused_by_us=any(r.cause == "settings" and r.speaks for r in user.records)
    )
    if situation.action == "wait":
        return decision
    if situation.action == "nothing":  # an entry that is not linked yet waits until they return
        decision.settles = [r.id for r in user.records if r.held is not None]
        return decision
    ended = [r for r in user.records if r.held and not r.speaks]
    decision.protected = situation.name == "left_protected" and bool(ended)
    steps = [*_links(user, link_reason), *_status_change(user, situation, facts)]
    unproven = False
    if speaking:
        before, after, decision.kept_by_lock, unproven = _difference(user, speaking, context)
        if after:
            steps.append(step_for(user, "update", "changed_in_source", before=before, after=after))
            if "memberships" in after:
                decision.unknown_schools = unknown_schools(speaking, context.sources)
            if not decision.caused_by_us:  # those have a limit of their own (L8)
                decision.suspected = _suspected(user, before, after, context)
    waiting: list[RecordView] = []
    if context.taking_nothing:  # new entries are linked at once; what a person loses waits (S2)
        waiting, ended = ended, waiting
    if situation.action not in _LEAVING:
        steps += _unlinks(user, ended)
    returning = [r for r in speaking if r.held is False]
    if context.taking_nothing and not _only_adds(steps):
        return Decision(situation)
    if waiting and not steps and not returning:
        return Decision(situation)
    if not steps and not returning:
        if not unproven:
            decision.settles = [r.id for r in user.records]
        return decision
    if not steps:
        steps.append(step_for(user, "link", "returned"))
    basis = _basis(user, waiting, settles=not unproven)
    decision.steps = [steps[0]._replace(basis=basis), *steps[1:]]
    decision.taken = _takings(user, situation, speaking, ended, steps)
    decision.shrunk = any(r.cause == "shrunk_role" for r in ended)
    decision.narrowed = any(s.reason == "leaves_scope" for s in steps)
    if situation.action == "restore":
        decision.added_by = speaking[0].source_id
    return decision


def step_for(user: UserView, action: str, reason: str, **more: Any) -> Step:
    """Return one step of somebody, from the revision they have, under their role and school."""
    role, school = _about(user.memberships)
    return Step(_USER, action, user.id, user.revision, reason, role=role, school=school, **more)


def _links(user: UserView, link_reason: str) -> Iterator[Step]:
    """Yield a step for each record that is not linked yet; it adopts a person added by hand."""
    by_hand = user.origin == Origin.MANUAL and all(r.held is None for r in user.records)
    for record in user.records:
        if record.held is None:
            before, after = _moved(record, user.id)
            yield step_for(
                user, "adopt" if by_hand and before is None else "link",
                record.join_reason or link_reason, before=before, after=after,
                record_id=record.id, record_version=record.version,
            )  # fmt: skip


def _status_change(user: UserView, situation: Situation, facts: PersonFacts) -> Iterator[Step]:
    """Yield the step that the situation asks for, if it changes the status."""
    if situation.action in _LEAVING:
        status = UserStatus.ARCHIVED.value
    elif situation.action in ("restore", "suspend", "unsuspend"):
        status = _ACTIVE if facts.enabled else _SUSPENDED
    else:
        return
    yield step_for(
        user, situation.action, situation.reason,
        before={"status": user.status}, after={"status": status},
    )  # fmt: skip


def _unlinks(user: UserView, ended: Sequence[RecordView]) -> Iterator[Step]:
    """Yield a step for each hold that has ended."""
    for record in ended:
        reason = "absent" if not record.present else "leaves_scope"
        yield step_for(user, "unlink", reason, record_id=record.id, record_version=record.version)


def _basis(
    user: UserView, waiting: Sequence[RecordView], *, settles: bool
) -> list[list[int | None]]:
    """Return the basis of the decision: each record, its version, its hold, whether it settles."""
    return [
        [r.id, r.version, None, 0] if r in waiting else [r.id, r.version, _hold(r), int(settles)]
        for r in user.records
    ]


def _known_before(
    record: RecordView, shares_address_with: Sequence[str] | None
) -> dict[str, Any] | None:
    """Return what was before somebody new: who had their record, and their address."""
    known: dict[str, Any] = {}
    if record.comes_from is not None:
        known["target"] = record.comes_from
    if shares_address_with:
        known["shares_address_with"] = list(shares_address_with)
    return known or None


def _moved(record: RecordView, target: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return from whom to whom a link goes that rests on a record given away (I13)."""
    if record.comes_from is None:
        return None, None
    return {"target": record.comes_from}, {"target": target}


def _suspected(
    user: UserView, before: Mapping[str, Any], after: Mapping[str, Any], context: Context
) -> list[tuple[int, Suspicion]]:
    """Return what is suspicious about an update, for each source that may have caused it (L10).

    These are the sources of open records that held the person already: a source that only joins
    somebody says what it says for the first time.
    """
    held_by = {record.source_id for record in user.records if record.held}
    causes = {record.source_id for record in user.records if record.cause is not None} & held_by
    if not causes:
        return []
    found = suspicions_of(before, after, user.profile, context.domains)
    return [(source_id, suspicion) for source_id in sorted(causes) for suspicion in found]


def _hold(record: RecordView) -> int | None:
    """Return what the record's hold becomes; None if unchanged, which undo relies on."""
    return None if record.held is record.speaks else int(record.speaks)


def _only_adds(steps: Sequence[Step]) -> bool:
    """Return whether steps are an addition (S2); fields may follow the source along with it."""
    actions = {step.action for step in steps}
    return not actions or (bool(actions & ADDITIONS) and actions <= ADDITIONS | {"update"})


def _facts(
    user: UserView, speaking: Sequence[RecordView], context: Context, in_conflict: bool
) -> PersonFacts:
    held = [r for r in user.records if r.held]
    if speaking:
        sources = "share"
    elif any(r.present for r in held):
        sources = "out_of_scope"
    elif user.records:
        sources = "left"
    else:
        sources = "never"
    return PersonFacts(
        user=user.status,  # type: ignore[arg-type]  # the database checks the word
        sources=sources,  # type: ignore[arg-type]
        enabled=not speaking
        or may_sign_in(speaking, otherwise=user.status != UserStatus.SUSPENDED),
        protected=user.protected,
        kept_archived=user.kept_archived
        and (user.kept_until is None or _local(context.now, context.zone) <= _day(user.kept_until)),
        in_conflict=in_conflict,
        in_grace=sources == "left" and _in_grace(held, context),
        frozen=bool(held) and any(r.source_id in context.failed for r in held),
    )


def _in_grace(held: Sequence[RecordView], context: Context) -> bool:
    """Return whether the last hold to end is still within its days or fetches (S7)."""
    today = _local(context.now, context.zone)
    for record in held:
        if record.absent_since is None:
            continue
        since = _local(record.absent_since, context.zone)
        days = (today - since).days - context.paused_days(since, today)
        if days < context.grace.days or record.absent_fetches < context.grace.fetches:
            return True
    return False


def _day(word: str) -> date:
    return date.fromisoformat(word)


def _local(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()


def _difference(
    user: UserView, speaking: Sequence[RecordView], context: Context
) -> tuple[dict[str, Any], dict[str, Any], bool, bool]:
    """Return what changes, before and after, and what prevented changes.

    The first flag: a lock did. The second: a source was not read completely, so that the loss of a
    role or school is not proven yet (F1).
    """
    wish = wish_of(speaking, context.sources)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    kept = False
    for name in PROFILE_FIELDS:
        old, new = user.profile[name], wish.profile.get(name)
        if old == new or (name == "email" and _says_nothing_new(old, new, context)):
            continue
        if new is None and context.sources.keeps_field(speaking, name):
            continue  # missing is not the same as empty, where a source says so (AC6)
        if name in wish.unread and old is not None:
            continue  # something is said, and nobody understands it (F15)
        if name in user.locked_fields:
            kept = True
            continue
        before[name], after[name] = old, new
    if "email" in after:
        before["email_folded"] = stored_profile(before)["email_folded"]
        after["email_folded"] = stored_profile(after)["email_folded"]
    wanted = wish.memberships
    if wish.unread_at:  # a role that is not understood may be the one they have there (F15)
        there = [member for member in user.memberships if member[1] in wish.unread_at]
        wanted, _ = _with_all_kept(there, wanted)
    if "role" in user.locked_fields:
        wanted, differs = _with_locked_roles(user.memberships, wanted)
        kept = kept or differs
    unproven = False
    if any(record.source_id in context.failed for record in speaking):
        wanted, unproven = _with_all_kept(user.memberships, wanted)
    if wanted != user.memberships:
        before["memberships"] = [list(member) for member in user.memberships]
        after["memberships"] = [list(member) for member in wanted]
    return before, after, kept, unproven


def _with_all_kept(
    have: Sequence[Membership], want: Sequence[Membership]
) -> tuple[list[Membership], bool]:
    """Add roles and schools without ending any; return whether one would have ended."""
    places = {(role, school) for role, school, _ in want}
    ending = [member for member in have if member[:2] not in places]
    moved = any(primary for _, _, primary in want)
    kept = [(role, school, primary and not moved) for role, school, primary in ending]
    return sorted([*want, *kept]), bool(ending)


def _says_nothing_new(old: str | None, new: str | None, context: Context) -> bool:
    """Return whether an address equals ours, ignoring case and a domain renamed ahead."""
    if not (old and new):
        return False
    if fold_email(old) == fold_email(new):
        return True
    return bool(context.aliases) and fold_email(old) == at_newest(new, context.aliases)


def _with_locked_roles(
    have: Sequence[Membership], want: Sequence[Membership]
) -> tuple[list[Membership], bool]:
    """Keep the roles as they are and let the schools follow the source."""
    roles = sorted({role for role, _, _ in have})
    if roles == sorted({role for role, _, _ in want}):
        return list(want), False
    schools: dict[str, bool] = {}
    for _, school, primary in want:
        schools[school] = schools.get(school, False) or primary
    if not schools or not roles:
        return list(have), True
    kept = [(role, school, schools[school]) for role in roles for school in schools]
    if len(roles) > 1:  # at most one membership is primary
        first = True
        for index, (role, school, primary) in enumerate(kept):
            kept[index] = (role, school, primary and first)
            first = first and not primary
    return sorted(kept), True


def _about(memberships: Sequence[Membership]) -> tuple[str | None, str | None]:
    """Return the role and school under which a change is shown: the primary ones, else the first.

    The role is missing only for people without a membership; ``sync/ledger/headcount.py`` relies on
    it.
    """
    best = next((m for m in memberships if m[2]), memberships[0] if memberships else None)
    return (None, None) if best is None else (best[0], best[1] or None)


def _takings(
    user: UserView,
    situation: Situation,
    speaking: Sequence[RecordView],
    ended: Sequence[RecordView],
    steps: Sequence[Step],
) -> list[Taken]:
    if user.status == UserStatus.ARCHIVED:
        return []
    taken = [
        Taken(
            record.source_id,
            "archive" if situation.action in ("archive", "leaves_scope") else "hold",
            user.groups,
        )
        for record in ended
        if not any(r.source_id == record.source_id for r in speaking)  # their record moved
    ]
    if situation.action == "suspend":
        taken.append(Taken(speaking[0].source_id, "suspend", user.groups))
    update = next((s for s in steps if s.action == "update" and s.after), None)
    if update is not None and update.after is not None and "memberships" in update.after:
        still = {member[0] for member in update.after["memberships"]}
        lost = [(school, role) for role, school, _ in user.memberships if role not in still]
        if lost and not taken:  # a role that went with its source is counted as the hold
            taken.append(Taken(speaking[0].source_id, "role", lost))
    return taken
