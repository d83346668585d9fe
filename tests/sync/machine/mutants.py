"""One broken engine for each guard: the guard is taken away, and the state machine must notice.

Each mutant patches one named function. ``focus`` is the machine, with few of its rules, that must
fail with it; ``scenario``, where there is one, is a test told in words that must fail with it too.

One file, because it is one list: a mutant for each guard. It patches private functions, since what
is taken away is the guard itself and no public name can do that.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, text

from core.storage.database import Database
from core.storage.locks import HeldLock
from sync import engine
from sync.acts import approval, retire, undo
from sync.ledger import apply, chain, headcount
from sync.ledger.draft import Draft
from sync.people import moved_people
from sync.planning import approval_needed, decide, overrides, plan, reused_ids
from sync.planning.reused_ids import ReusedIds
from sync.reading import absence, stream
from sync.reading import read_sources as reading
from sync.reading.absence import AbsenceProof
from sync.reading.stage import State
from sync.rules import suspicions
from tests.kit.fixtures import NewWorld
from tests.sync.machine import machine_focus
from tests.sync.machine.machine_focus import Focus
from tests.sync.people import test_moved_people, test_people
from tests.sync.planning import test_limits, test_mass_changes, test_plans, test_situations
from tests.sync.reading import test_changes_of_ours, test_fetches

Patch = Callable[[pytest.MonkeyPatch], None]
Scenario = Callable[[NewWorld], None]


@dataclass(frozen=True)
class Mutant:
    """A guard taken away, and the story that shows what it was good for."""

    patch: Patch
    focus: type[Focus]
    scenario: Scenario | None


MUTANTS: dict[str, Mutant] = {}


def without(
    guard: str, focus: type[Focus], scenario: Scenario | None = None
) -> Callable[[Patch], Patch]:
    """Add the mutant that takes this guard away."""

    def add(patch: Patch) -> Patch:
        assert guard not in MUTANTS
        MUTANTS[guard] = Mutant(patch, focus, scenario)
        return patch

    return add


def held(scenario: Callable[[Any], None]) -> Scenario:
    """Tell a story of ``test_plans`` in its world."""
    return lambda make: scenario(test_plans.held.__wrapped__(make))  # type: ignore[attr-defined]


def thirty(scenario: Callable[[Any], None]) -> Scenario:
    """Tell a story in a world of thirty students."""
    return lambda make: scenario(test_people.thirty.__wrapped__(make))  # type: ignore[attr-defined]


def spoiling(kind: str) -> Scenario:
    """Tell of a vendor that does the same to eleven of thirty students."""

    def story(make: NewWorld) -> None:
        world = test_mass_changes.many.__wrapped__(make)  # type: ignore[attr-defined]
        test_mass_changes.spoil(world, kind, range(11))
        world.sync(code=10)

    return story


def renamed_anew(make: NewWorld) -> None:
    """Tell of a vendor that names everybody anew: all are asked about, and nobody is changed."""
    world = make()
    world.sis.school("lincoln", "Lincoln High").students(3)
    world.sync()
    before = world.users()
    for number, key in enumerate(world.sis.people):
        world.sis.student(key, given_name="X", family_name=f"Wrong{number}")
    world.sync()
    assert world.users() == before
    assert [reason for _, _, reason, _ in world.conflicts()] == ["reused_id"] * 3


def shared(scenario: Callable[[Any], None]) -> Scenario:
    """Tell a story of somebody whom two sources share."""
    return lambda make: scenario(test_people.shared.__wrapped__(make))  # type: ignore[attr-defined]


def facts(patch: pytest.MonkeyPatch, **forced: Any) -> None:
    """Make every decision blind for some facts."""
    real = decide._facts
    patch.setattr(decide, "_facts", lambda *a: real(*a)._replace(**forced))


# -- protection and what a person said


@without(
    "protection",
    machine_focus.Protected,
    thirty(test_people.test_a_protected_user_stays_when_their_source_drops_them),
)
def _protection(patch: pytest.MonkeyPatch) -> None:
    facts(patch, protected=False)


@without(
    "kept archived",
    machine_focus.Kept,
    thirty(test_people.test_i2_with_keep_they_stay_archived_until_a_person_restores_them),
)
def _kept(patch: pytest.MonkeyPatch) -> None:
    facts(patch, kept_archived=False)


@without(
    "locks",
    machine_focus.Locked,
    thirty(test_people.test_i3_an_edit_is_overwritten_unless_its_field_is_locked),
)
def _locks(patch: pytest.MonkeyPatch) -> None:
    real = decide._difference
    patch.setattr(decide, "_difference", lambda user, *a: real(replace(user, locked_fields=[]), *a))


@without(
    "grace",
    machine_focus.Grace,
    test_people.test_grace_keeps_who_left_for_days_and_complete_fetches,
)
def _grace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_in_grace", lambda *_: False)


@without(
    "conflicts keep whom they name",
    machine_focus.Conflict,
    thirty(test_people.test_i5_a_leaver_named_in_an_open_conflict_is_not_archived),
)
def _in_conflict(patch: pytest.MonkeyPatch) -> None:
    facts(patch, in_conflict=False)
    patch.setattr(overrides, "keep_named_in_conflicts", lambda *_: 0)


@without(
    "rejections are remembered",
    machine_focus.Rejected,
    held(test_plans.test_p4_a_rejection_is_remembered_until_the_evidence_changes),
)
def _rejections(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(overrides, "drop_rejected", lambda *_: None)


# -- proof of absence


@without(
    "incomplete proves nothing",
    machine_focus.Readings,
    thirty(test_fetches.test_f3_short_of_the_declared_total_is_incomplete),
)
def _completeness(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(absence, "_completeness", lambda *_: AbsenceProof(True))


@without(
    "an empty roster proves nothing",
    machine_focus.Readings,
    thirty(test_fetches.test_f2_an_empty_roster_is_incomplete),
)
def _empty(patch: pytest.MonkeyPatch) -> None:
    real = absence._completeness

    def careless(*about: Any) -> AbsenceProof:
        verdict = real(*about)
        return verdict if about[3].error is not None else AbsenceProof(True)

    patch.setattr(absence, "_completeness", careless)


@without(
    "some of the missing are asked for",
    machine_focus.Readings,
    test_fetches.test_f3_one_of_the_missing_who_answers_makes_the_fetch_incomplete,
)
def _asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(absence, "_still_there", lambda *_: None)


@without(
    "an unreadable row is not absence",
    machine_focus.Torn,
    thirty(test_fetches.test_f5_an_unreadable_row_is_not_absence_and_its_person_stays),
)
def _unreadable(patch: pytest.MonkeyPatch) -> None:
    real = stream.Stream._bare

    def gone(self: stream.Stream, key: str, state: State) -> tuple[Any, ...]:
        return real(self, key, State.DELETED if state is State.UNREADABLE else state)

    patch.setattr(stream.Stream, "_bare", gone)


@without(
    "nobody leaves while a key cannot be read",
    machine_focus.Torn,
    thirty(test_fetches.test_f5_while_a_key_cannot_be_read_nobody_leaves),
)
def _keyless(patch: pytest.MonkeyPatch) -> None:
    real = reading.find_absent

    def careless(
        stage: Any, source: Any, connector: Any, terms: Any, reading: Any, **more: Any
    ) -> Any:
        reading.keyless.clear()
        return real(stage, source, connector, terms, reading, **more)

    patch.setattr(reading, "find_absent", careless)


@without(
    "a failed source freezes its people",
    machine_focus.Unread,
    lambda make: story(make, test_situations.source_failed),
)
def _frozen(patch: pytest.MonkeyPatch) -> None:
    facts(patch, frozen=False)


def story(make: NewWorld, tell: Callable[[Any], None]) -> None:
    """Tell a story of the situations table."""
    tell(test_people.thirty.__wrapped__(make))  # type: ignore[attr-defined]


@without(
    "an incomplete reading ends no role",
    machine_focus.Unread,
    test_fetches.test_f1_an_incomplete_fetch_ends_no_role_and_the_next_complete_one_does,
)
def _roles(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_with_all_kept", lambda have, want: (list(want), False))


@without(
    "a file speaks for the roles it has",
    machine_focus.HalfAFile,
    test_fetches.test_f6_a_role_of_which_the_file_has_nobody_is_out_of_scope,
)
def _scope(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(absence, "_keep_scope", lambda *_: None)


@without(
    "absence from one source ends only that hold",
    machine_focus.OnePerson,
    shared(test_people.test_absence_from_one_source_ends_only_that_hold),
)
def _one_hold(patch: pytest.MonkeyPatch) -> None:
    real = decide._facts

    def careless(user: Any, speaking: Any, *more: Any) -> Any:
        left = any(r.held and not r.present for r in user.records)
        found = real(user, speaking, *more)
        return found._replace(sources="left") if left else found

    patch.setattr(decide, "_facts", careless)


# -- limits


@without(
    "limits",
    machine_focus.Many,
    test_limits.test_l5_all_takings_of_a_group_are_held_and_safe_changes_go_on,
)
def _limits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval_needed, "allowed_in", lambda *_: 10**6)


@without(
    "never more than half of a role",
    machine_focus.Many,
    test_limits.test_l3_both_of_two_teachers_are_never_taken,
)
def _half(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        approval_needed,
        "allowed_in",
        lambda group, people, rule: max(rule.least, people * rule.percent // 100),
    )


@without(
    "the window counts",
    machine_focus.AFew,
    test_limits.test_l4_the_window_counts_what_was_applied_without_approval,
)
def _window(patch: pytest.MonkeyPatch) -> None:
    only_now, _, _ = approval_needed._ALL_TAKINGS.partition(" UNION ALL ")
    now = approval_needed._in_groups(only_now + " AND :start = :start")
    patch.setattr(approval_needed, "_TAKEN_IN_GROUPS", now)


@without(
    "n when the window began",
    machine_focus.Teachers,
    test_limits.test_l3_n_is_the_number_when_the_window_began_if_that_is_greater,
)
def _began(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(headcount, "_NOW_AND_THEN", (headcount._NOW, headcount._NOW))


@without(
    "all takings of a group are held, not only the excess",
    machine_focus.Many,
    test_limits.test_l5_all_takings_of_a_group_are_held_and_safe_changes_go_on,
)
def _excess(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        approval_needed,
        "_HOLD_TAKEN",
        {
            scope: text(f"{query.text} ORDER BY 1 LIMIT 1")
            for scope, query in approval_needed._HOLD_TAKEN.items()
        },
    )


@without("additions", machine_focus.Crowd, test_limits.test_l6_additions_past_fifty_are_held)
def _additions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval_needed, "share_allowed", lambda *_: 10**6)


@without(
    "mass changes of our own",
    machine_focus.Ours,
    test_changes_of_ours.test_l8_more_than_ten_changes_of_our_own_are_held,
)
def _own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval_needed, "own_changes_allowed", lambda _: 10**6)


@without("emptied fields", machine_focus.Emptied, spoiling("grade is emptied"))
def _blanked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(suspicions, "_is_blanked", lambda *_: False)


@without("other domains", machine_focus.Elsewhere, spoiling("a vendor's domain"))
def _outside(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(suspicions, "_outside_domain", lambda *_: None)


@without("other names", machine_focus.Renamed, spoiling("everybody has one name"))
def _renamed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(suspicions, "_is_renamed", lambda *_: False)


@without("other schools", machine_focus.AtOtherSchools, spoiling("another school"))
def _other_schools(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(suspicions, "_moves", lambda *_: [])


@without("odd changes of the days before count", machine_focus.Emptied)
def _odd_window(patch: pytest.MonkeyPatch) -> None:
    alone = approval_needed._SUSPECTED_IN_WINDOW.text.replace(
        "p.applied_at > :start", ":start = ''"
    )
    patch.setattr(approval_needed, "_SUSPECTED_IN_WINDOW", text(alone))


@without("somebody else's id is no change of name", machine_focus.Reused, renamed_anew)
def _reused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reused_ids, "strangers_of", lambda *_: [])


@without("nobody in question is decided about", machine_focus.Reused, renamed_anew)
def _in_question(patch: pytest.MonkeyPatch) -> None:
    real = ReusedIds.look_at

    def look_at(self: ReusedIds, work: Any, user: Any, **how: Any) -> bool:
        return real(self, work, user, **how) and user.id in self.given_away

    patch.setattr(ReusedIds, "look_at", look_at)


@without("an answer is about what was asked", machine_focus.Answered)
def _another_question(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ReusedIds, "_still_asked", lambda *_: True)


@without("all odd changes of a kind are held", machine_focus.Spoilt)
def _one_odd(patch: pytest.MonkeyPatch) -> None:
    one = f"{approval_needed._HOLD_SUSPECTED.text} ORDER BY 1 LIMIT 1"
    patch.setattr(approval_needed, "_HOLD_SUSPECTED", text(one))


@without(
    "leaves scope is held",
    machine_focus.Narrowed,
    test_changes_of_ours.test_l8_leaves_scope_is_always_held,
)
def _leaves_scope(patch: pytest.MonkeyPatch) -> None:
    real = Draft.mark
    patch.setattr(
        Draft,
        "mark",
        lambda self, target, source, mark: (
            None if mark == "leaves_scope" else real(self, target, source, mark)
        ),
    )


@without(
    "resembling pairs are held",
    machine_focus.Replaced,
    test_moved_people.test_l7_only_the_names_a_pair_is_held_and_approving_makes_two_people,
)
def _pairs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(moved_people, "likenesses", lambda *_: {})


@without(
    "somebody who moved is one person",
    machine_focus.Replaced,
    test_moved_people.test_l7_the_same_local_part_and_names_at_a_new_domain_is_one_update,
)
def _moved(patch: pytest.MonkeyPatch) -> None:
    never = moved_people._PAIR_LEAVERS_WITH_JOINERS.text.replace("THEN 1", "THEN 0")
    patch.setattr(moved_people, "_PAIR_LEAVERS_WITH_JOINERS", text(never))


@without(
    "a source is bound to its district",
    machine_focus.Readings,
    test_limits.test_l9_credentials_of_another_district_are_refused,
)
def _bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "_check_bound", lambda *_: None)


# -- preconditions


_ALL_THERE_IS = apply.Shape(
    frozenset({"create", "link", "unlink"}), frozenset({"create"}), True, True, True, frozenset()
)


def skipping(patch: pytest.MonkeyPatch, words: str) -> None:
    """Leave out the preconditions whose SQL has these words."""
    real = apply.preconditions

    def fewer(database: Database, shape: apply.Shape, places: str) -> list[apply.Named]:
        everything = real(database, _ALL_THERE_IS, places)
        assert any(words in query.text for _, query in everything), f"no precondition has {words!r}"
        found = real(database, shape, places)
        return [(moved, query) for moved, query in found if words not in query.text]

    patch.setattr(apply, "preconditions", fewer)


@without(
    "the user is as they were seen",
    machine_focus.Edited,
    held(test_plans.test_p5_on_drift_a_new_plan_without_the_drifted_is_stored),
)
def _revision(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "t.revision <> c.revision")


@without(
    "the evidence is as it was seen",
    machine_focus.Back,
    test_plans.test_p2_evidence_that_moved_is_drift,
)
def _version(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "c.basis IS NOT NULL")


@without(
    "the evidence of a newcomer is as it was seen",
    machine_focus.Newcomer,
    test_plans.test_p2_a_newcomers_evidence_that_moved_is_drift,
)
def _newcomer(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "r.version <> c.record_version")


@without(
    "the key is not linked yet",
    machine_focus.Linked,
    test_plans.test_p2_a_key_that_was_linked_meanwhile_is_drift,
)
def _linked(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "c.action IN ('create', 'link', 'adopt') AND l.target_id <> c.target_id")


@without(
    "the seal",
    machine_focus.Sealed,
    test_plans.test_a_plan_whose_changes_were_written_to_is_refused,
)
def _seal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval, "_check_seal", lambda *_: None)


# -- seasons and locks


@without(
    "two runs never overlap",
    machine_focus.TwoRuns,
    test_plans.test_two_runs_of_a_district_never_overlap,
)
def _run_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Database, "run_lock", lambda *_: nullcontext(HeldLock("nobody's lock")))


@without(
    "a pause keeps plans of sources from running",
    machine_focus.Paused,
    held(test_plans.test_s1_in_a_pause_no_plan_of_a_source_runs),
)
def _paused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval, "_paused", lambda *_: False)


# -- guards that have no story of their own


@without("archived until a day", machine_focus.Kept)
def _kept_until(patch: pytest.MonkeyPatch) -> None:
    real = decide._facts
    patch.setattr(
        decide,
        "_facts",
        lambda user, *a: real(
            replace(user, kept_archived=user.kept_archived and user.kept_until is None), *a
        ),
    )


def in_grace_by(patch: pytest.MonkeyPatch, **given: int) -> None:
    """Count grace with one of its two measures only."""
    real = decide._in_grace
    patch.setattr(
        decide,
        "_in_grace",
        lambda held, context: real(
            held, replace(context, grace=context.grace.model_copy(update=given))
        ),
    )


@without("grace has days", machine_focus.Grace)
def _grace_days(patch: pytest.MonkeyPatch) -> None:
    in_grace_by(patch, days=0)


@without("grace has readings", machine_focus.Grace)
def _grace_readings(patch: pytest.MonkeyPatch) -> None:
    in_grace_by(patch, fetches=0)


@without("while a vendor reports an error nobody leaves", machine_focus.Readings)
def _troubled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "TROUBLED_WORDS", frozenset())


@without("half a file changes nobody", machine_focus.HalfAFile)
def _half_a_file(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        plan._PlanMaker,
        "_open_ones",
        lambda self: {
            "sources": self.source_ids, "all": self.source_ids,
            "district": self.request.district.id,
        },
    )  # fmt: skip


@without("a held plan expires", machine_focus.Late)
def _expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "HELD_DAYS", 10_000)


@without("an overtaken plan never runs", machine_focus.Overtaken)
def _overtaken(patch: pytest.MonkeyPatch) -> None:
    real = approval._plan

    def careless(connection: Any, plan_id: int) -> Any:
        row = dict(real(connection, plan_id)._mapping)
        if row["status"] == "superseded":
            row["status"] = "held"
        return SimpleNamespace(**row)

    patch.setattr(approval, "_plan", careless)


@without("a held plan needs a person's approval", machine_focus.Sealed)
def _unapproved(patch: pytest.MonkeyPatch) -> None:
    real = approval._carry_out
    patch.setattr(
        approval, "_carry_out", lambda base, order: real(base, replace(order, act="approve"))
    )  # fmt: skip


@without("undo leaves people who were changed since", machine_focus.UndoneLater)
def _undo_all(patch: pytest.MonkeyPatch) -> None:
    real = undo._turn

    def careless(asked: Any, kind: Any, target: str, rows: Any, *more: Any) -> None:
        expected = 1 if rows[0].revision is None else rows[0].revision + 1
        seen = [SimpleNamespace(**{**row._mapping, "now_revision": expected}) for row in rows]
        real(asked, kind, target, seen, *more)

    patch.setattr(undo, "_turn", careless)


@without("what was undone is not redone by itself", machine_focus.Undone)
def _redone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(overrides, "mark_undone", lambda *_: None)


@without("a retired source leaves whom a conflict names", machine_focus.Retired)
def _retired(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(retire, "named_in_conflicts", lambda *_: set())


@without("a plan runs whole or not at all", machine_focus.Crashes)
def _whole(patch: pytest.MonkeyPatch) -> None:
    real = apply.apply_in

    def careless(database: Database, connection: Any, *a: Any, **more: Any) -> int:
        raw = connection.connection.driver_connection
        event.listen(connection, "after_cursor_execute", lambda *_: raw.commit())
        return real(database, connection, *a, **more)

    patch.setattr(engine, "apply_in", careless)
    patch.setattr(approval, "apply_in", careless)


@without("what was applied can be told from what is written", machine_focus.Rewritten)
def _rewritten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chain, "_digest", lambda row: bytes(row.digest))


@without("the changes are those that were sealed", machine_focus.Rewritten)
def _unchained(patch: pytest.MonkeyPatch) -> None:
    def blind(connection: Any, plan_id: int) -> tuple[bytes, int, int, int]:
        query = text("SELECT digest, size FROM plans WHERE id = :plan")
        row = connection.execute(query, {"plan": plan_id}).one()
        return bytes(row.digest), row.size, 0, 0

    patch.setattr(chain, "fold", blind)
