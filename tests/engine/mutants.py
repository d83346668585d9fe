"""One broken engine for each guard: the guard is taken away, and something must notice.

Each mutant patches one named function. ``scenario`` is the test that must fail with it, told in a
world of its own; ``machine`` says that the state machine must find it as well.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import text

from core.database import Database
from sync import absence, apply, approval, decide, fetch, holds, pairs, plan, reading
from sync.absence import Verdict
from sync.stage import State
from tests.engine import (
    test_fetches,
    test_limits,
    test_people,
    test_plans,
    test_situations,
)
from tests.engine.conftest import NewWorld

Patch = Callable[[pytest.MonkeyPatch], None]
Scenario = Callable[[NewWorld], None]


@dataclass(frozen=True)
class Mutant:
    """A guard taken away, and the story that shows what it was good for."""

    patch: Patch
    scenario: Scenario
    machine: bool


MUTANTS: dict[str, Mutant] = {}


def without(guard: str, scenario: Scenario, *, machine: bool = False) -> Callable[[Patch], Patch]:
    """Add the mutant that takes this guard away."""

    def add(patch: Patch) -> Patch:
        assert guard not in MUTANTS
        MUTANTS[guard] = Mutant(patch, scenario, machine)
        return patch

    return add


def held(scenario: Callable[[Any], None]) -> Scenario:
    """Tell a story of ``test_plans`` in its world."""
    return lambda make: scenario(test_plans.held.__wrapped__(make))  # type: ignore[attr-defined]


def thirty(scenario: Callable[[Any], None]) -> Scenario:
    """Tell a story in a world of thirty students."""
    return lambda make: scenario(test_people.thirty.__wrapped__(make))  # type: ignore[attr-defined]


def shared(scenario: Callable[[Any], None]) -> Scenario:
    """Tell a story of somebody whom two sources share."""
    return lambda make: scenario(test_people.shared.__wrapped__(make))  # type: ignore[attr-defined]


def facts(patch: pytest.MonkeyPatch, **forced: Any) -> None:
    """Make every decision blind for some facts."""
    real = decide._facts
    patch.setattr(decide, "_facts", lambda *a: replace(real(*a), **forced))


# -- protection and what a person said


@without(
    "protection",
    thirty(test_people.test_a_protected_user_stays_when_their_source_drops_them),
    machine=True,
)
def _protection(patch: pytest.MonkeyPatch) -> None:
    facts(patch, protected=False)


@without(
    "kept archived",
    thirty(test_people.test_i2_with_keep_they_stay_archived_until_a_person_restores_them),
)
def _kept(patch: pytest.MonkeyPatch) -> None:
    facts(patch, kept_archived=False)


@without("locks", thirty(test_people.test_i3_an_edit_is_overwritten_unless_its_field_is_locked))
def _locks(patch: pytest.MonkeyPatch) -> None:
    real = decide._difference
    patch.setattr(decide, "_difference", lambda user, *a: real(replace(user, locked_fields=[]), *a))


@without("grace", test_people.test_grace_keeps_who_left_for_days_and_complete_fetches)
def _grace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_in_grace", lambda *_: False)


@without(
    "conflicts keep whom they name",
    thirty(test_people.test_i5_a_leaver_named_in_an_open_conflict_is_not_archived),
)
def _in_conflict(patch: pytest.MonkeyPatch) -> None:
    facts(patch, in_conflict=False)
    patch.setattr(plan._Planner, "_protect_conflicts", lambda *_: None)


@without(
    "rejections are remembered",
    held(test_plans.test_p4_a_rejection_is_remembered_until_the_evidence_changes),
)
def _rejections(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan._Planner, "_drop_rejected", lambda *_: None)


# -- proof of absence


@without(
    "incomplete proves nothing",
    thirty(test_fetches.test_f3_short_of_the_declared_total_is_incomplete),
    machine=True,
)
def _completeness(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(absence, "_completeness", lambda *_: Verdict(True))


@without(
    "an empty roster proves nothing", thirty(test_fetches.test_f2_an_empty_roster_is_incomplete)
)
def _empty(patch: pytest.MonkeyPatch) -> None:
    real = absence._completeness

    def careless(*about: Any) -> Verdict:
        verdict = real(*about)
        return verdict if about[3].error is not None else Verdict(True)

    patch.setattr(absence, "_completeness", careless)


@without(
    "some of the missing are asked for",
    test_fetches.test_f3_one_of_the_missing_who_answers_makes_the_fetch_incomplete,
)
def _asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(absence, "_still_there", lambda *_: None)


@without(
    "an unreadable row is not absence",
    thirty(test_fetches.test_f5_an_unreadable_row_is_not_absence_and_its_person_stays),
    machine=True,
)
def _unreadable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        fetch._Stream,
        "_unreadable",
        lambda self, key, known: (self.kind.value, self.name, key, State.DELETED, *(None,) * 7),
    )


@without(
    "nobody leaves while a key cannot be read",
    thirty(test_fetches.test_f5_while_a_key_cannot_be_read_nobody_leaves),
    machine=True,
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
    "a failed source freezes its people", lambda make: story(make, test_situations.source_failed)
)
def _frozen(patch: pytest.MonkeyPatch) -> None:
    facts(patch, frozen=False)


def story(make: NewWorld, tell: Callable[[Any], None]) -> None:
    """Tell a story of the situations table."""
    tell(test_people.thirty.__wrapped__(make))  # type: ignore[attr-defined]


@without(
    "an incomplete reading ends no role",
    test_fetches.test_f1_an_incomplete_fetch_ends_no_role_and_the_next_complete_one_does,
)
def _roles(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_with_all_kept", lambda have, want: (list(want), False))


@without(
    "a file speaks for the roles it has",
    test_fetches.test_f6_a_role_of_which_the_file_has_nobody_is_out_of_scope,
)
def _scope(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(absence, "_keep_scope", lambda *_: None)


@without(
    "absence from one source ends only that hold",
    shared(test_people.test_absence_from_one_source_ends_only_that_hold),
)
def _one_hold(patch: pytest.MonkeyPatch) -> None:
    real = decide._facts

    def careless(user: Any, speaking: Any, *more: Any) -> Any:
        left = any(r.held and not r.present for r in user.records)
        return real(user, [] if left else speaking, *more) if not left else replace(
            real(user, speaking, *more), sources="left"
        )  # fmt: skip

    patch.setattr(decide, "_facts", careless)


# -- limits


@without(
    "limits",
    test_limits.test_l5_all_takings_of_a_group_are_held_and_safe_changes_go_on,
    machine=True,
)
def _limits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "allowed_in", lambda *_: 10**6)


@without(
    "never more than half of a role",
    test_limits.test_l3_both_of_two_teachers_are_never_taken,
    machine=True,
)
def _half(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        holds,
        "allowed_in",
        lambda group, people, rule: max(rule.least, people * rule.percent // 100),
    )


@without(
    "the window counts",
    test_limits.test_l4_the_window_counts_what_was_applied_without_approval,
    machine=True,
)
def _window(patch: pytest.MonkeyPatch) -> None:
    only_now, _, _ = holds._ALL_TAKINGS.partition(" UNION ALL ")
    patch.setattr(holds, "_ALL_TAKINGS", only_now + " AND :start = :start")


@without(
    "n when the window began",
    test_limits.test_l3_n_is_the_number_when_the_window_began_if_that_is_greater,
)
def _began(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "_CENSUS_THEN", holds._CENSUS_NOW)


@without(
    "all takings of a group are held, not only the excess",
    test_limits.test_l5_all_takings_of_a_group_are_held_and_safe_changes_go_on,
)
def _excess(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        holds,
        "_HOLD",
        {scope: text(f"{query.text} ORDER BY 1 LIMIT 1") for scope, query in holds._HOLD.items()},
    )


@without("additions", test_limits.test_l6_additions_past_fifty_are_held)
def _additions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "additions_allowed", lambda _: 10**6)


@without("mass changes of our own", test_limits.test_l8_more_than_ten_changes_of_our_own_are_held)
def _own(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(holds, "own_changes_allowed", lambda _: 10**6)


@without("leaves scope is held", test_limits.test_l8_leaves_scope_is_always_held)
def _leaves_scope(patch: pytest.MonkeyPatch) -> None:
    real = plan._Planner._mark
    patch.setattr(
        plan._Planner,
        "_mark",
        lambda self, target, source, mark: (
            None if mark == "leaves_scope" else real(self, target, source, mark)
        ),
    )


@without(
    "resembling pairs are held",
    test_limits.test_l7_only_the_names_a_pair_is_held_and_approving_makes_two_people,
)
def _pairs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pairs, "likenesses", lambda *_: {})


@without(
    "whoever moved is one person",
    test_limits.test_l7_the_same_local_part_and_names_at_a_new_domain_is_one_update,
)
def _moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pairs, "_PAIR", text(pairs._PAIR.text.replace("THEN 1", "THEN 0")))


@without(
    "a source is bound to its district",
    test_limits.test_l9_credentials_of_another_district_are_refused,
)
def _bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "_check_bound", lambda *_: None)


# -- preconditions


def skipping(patch: pytest.MonkeyPatch, words: str) -> None:
    """Leave out the preconditions whose SQL has these words."""
    real = apply._preconditions

    def fewer(database: Database) -> list[str]:
        kept = [query for query in real(database) if words not in query]
        assert len(kept) < len(real(database)), f"no precondition has {words!r}"
        return kept

    patch.setattr(apply, "_preconditions", fewer)


@without(
    "the user is as they were seen",
    held(test_plans.test_p5_on_drift_a_new_plan_without_the_drifted_is_stored),
)
def _revision(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "t.revision <> c.revision")


@without(
    "the evidence is as it was seen", test_plans.test_p2_evidence_that_moved_is_drift, machine=True
)
def _version(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "c.basis IS NOT NULL")


@without(
    "the evidence of a newcomer is as it was seen",
    test_plans.test_p2_a_newcomers_evidence_that_moved_is_drift,
)
def _newcomer(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "r.version <> c.record_version")


@without("the key is not linked yet", test_plans.test_p2_a_key_that_was_linked_meanwhile_is_drift)
def _linked(patch: pytest.MonkeyPatch) -> None:
    skipping(patch, "c.action IN ('create', 'link', 'adopt') AND l.target_id <> c.target_id")


@without("the seal", test_plans.test_a_plan_whose_changes_were_written_to_is_refused)
def _seal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval, "_check_seal", lambda *_: None)


# -- seasons and locks


@without("two runs never overlap", test_plans.test_two_runs_of_a_district_never_overlap)
def _run_lock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Database, "run_lock", lambda *_: nullcontext())


@without(
    "a pause keeps plans of sources from running",
    held(test_plans.test_s1_in_a_pause_no_plan_of_a_source_runs),
)
def _paused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(approval, "_paused", lambda *_: False)
