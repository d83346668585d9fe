"""The rollover: whether a school has begun its new year, and which missing people that explains.

Used by the engine in guarded runs, and by the rollover report. Values in, values out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal

from core.models import GRADES
from sync.rules.return_guard import Guard, SeasonState, is_late

LADDER: tuple[str, ...] = GRADES[: GRADES.index("13") + 1]
"""The grades in order, IT to 13. PS, UG and Other have no next grade and are not listed."""

_RANK = {grade: rank for rank, grade in enumerate(LADDER)}

GuardPolicy = Literal["explain", "approve", "off"]
"""A district's ``guard``."""


@dataclass(frozen=True, slots=True)
class Pupil:
    """A student that a source held at a school before the pause: then and now.

    ``grade_now`` is None for somebody who is missing now, and "" for somebody present without a
    grade. A student at two schools counts as two of these.
    """

    user_id: str
    school_id: str
    grade_before: str | None
    grade_now: str | None


@dataclass(frozen=True, slots=True)
class Rollover:
    """What the grades of one school's students show.

    ``lower`` counts students below ``highest`` before the pause, wherever they are now, including
    missing ones; ``moved_up`` counts those of them who are one grade up.
    """

    school_id: str
    highest: str
    """The highest grade of the school before the pause: 08 in a K-8 school."""
    lower: int
    moved_up: int

    @property
    def can_tell(self) -> bool:
        """False for a school with one grade only: like one without grades, it shows nothing."""
        return self.lower > 0

    @property
    def has_rolled_over(self) -> bool:
        """True when at least half of the non-final-grade students are one grade up (S4)."""
        return self.can_tell and 2 * self.moved_up >= self.lower

    @property
    def waits(self) -> bool:
        """True while the school still shows the old year (S6)."""
        return self.can_tell and not self.has_rolled_over

    def explains(self, grade_before: str | None) -> bool:
        """Return whether a missing student of this grade has left by finishing the school."""
        return self.has_rolled_over and grade_before == self.highest


def next_grade(grade: str) -> str | None:
    """Return the grade one up; None for the last, and for PS, UG, Other and unknown ones."""
    rank = _RANK.get(grade)
    return None if rank is None or rank + 1 == len(LADDER) else LADDER[rank + 1]


def is_one_up(before: str, now: str | None) -> bool:
    """Return whether a student went up by one grade.

    Transitional kindergarten exists in few states, so from PK both TK and KG count as one up.
    """
    if now is None or before not in _RANK:
        return False
    return now == next_grade(before) or (before, now) == ("PK", "KG")


def rollovers(pupils: Iterable[Pupil]) -> dict[str, Rollover]:
    """Return what each school with grades shows: school id → rollover. One pass, memory flat.

    Students without one of these grades are ignored. A school without other students is left out:
    nothing is explained there, and nothing is waited for (S4).
    """
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    up: dict[str, Counter[str]] = defaultdict(Counter)
    for pupil in pupils:
        before = pupil.grade_before
        if before is None or before not in _RANK:
            continue
        counted[pupil.school_id][before] += 1
        if is_one_up(before, pupil.grade_now):
            up[pupil.school_id][before] += 1
    found = {}
    for school_id, grades in counted.items():
        highest = max(grades, key=_RANK.__getitem__)
        found[school_id] = Rollover(
            school_id,
            highest,
            lower=grades.total() - grades[highest],
            moved_up=up[school_id].total() - up[school_id][highest],
        )
    return found


def explained(pupils: Iterable[Pupil], schools: Mapping[str, Rollover]) -> Iterator[str]:
    """Yield the user id of each missing student whom a rollover explains, person by person (S4).

    A person who finished two schools at once is yielded twice.
    """
    for pupil in pupils:
        school = schools.get(pupil.school_id)
        if pupil.grade_now is None and school is not None and school.explains(pupil.grade_before):
            yield pupil.user_id


def waiting_schools(
    schools: Mapping[str, Rollover], guard: Guard, state: SeasonState, policy: GuardPolicy
) -> list[str]:
    """Return the schools that wait after this run, for ``guard.wait_for`` (S6)."""
    if policy != "explain":
        return []
    begins = guard is Guard.HOLDS and state.year_turned
    return sorted(
        school_id
        for school_id, school in schools.items()
        if school.waits and (begins or school_id in state.waiting)
    )


class Ruling(StrEnum):
    """The guard's ruling on one taking."""

    EXPLAINED = "explained"
    """Applied, and never counted by a limit."""
    LIMITS = "limits"
    """The guard does not apply: the limits judge."""
    WAITING = "waiting"
    """It stays open: its school has not rolled over yet."""
    HELD = "held"
    """It goes to the held plan, however few they are."""


def judge(
    school_ids: Collection[str],
    finished: str | None,
    *,
    schools: Mapping[str, Rollover],
    guard: Guard,
    state: SeasonState,
    policy: GuardPolicy,
    day: date,
    held_before: bool = False,
    graduated: bool = False,
) -> Ruling:
    """Return the guard's ruling on one taking (S4-S6).

    ``school_ids``: where the person is taken from; none, or "", for district people. ``finished``:
    the grade before the pause of a *missing student*, None for every other taking (a teacher, a
    suspension, a lost role). ``guard`` and ``state`` come from ``guard.advance``; ``held_before``:
    a guarded run held this taking and nobody has decided yet, so it stays held; otherwise the next
    run would let it through. ``graduated``: a missing student whose graduation year is over.
    """
    if policy == "off":
        return Ruling.LIMITS
    guards = {school_id: _guard_at(school_id, guard, state) for school_id in school_ids or ("",)}
    holds = held_before or Guard.HOLDS in guards.values()
    if policy == "approve":
        return Ruling.HELD if holds else Ruling.LIMITS
    guarded = [
        schools[place] for place in guards if guards[place] is not Guard.NONE and place in schools
    ]
    if any(school.explains(finished) for school in guarded):
        return Ruling.EXPLAINED
    if graduated and any(one is not Guard.NONE for one in guards.values()):
        return Ruling.EXPLAINED
    if not holds:
        return Ruling.LIMITS
    if not is_late(state, day) and any(
        school.waits
        and guards[school.school_id] is Guard.HOLDS
        and _is_expected(school.school_id, state)
        for school in guarded
    ):
        return Ruling.WAITING
    return Ruling.HELD


def explains_newcomer(
    school_id: str,
    *,
    schools: Mapping[str, Rollover],
    guard: Guard,
    state: SeasonState,
    policy: GuardPolicy,
) -> bool:
    """Return whether a newcomer at this school is explained, so that L6 does not count them."""
    school = schools.get(school_id)
    return (
        policy == "explain"
        and school is not None
        and school.has_rolled_over
        and _guard_at(school_id, guard, state) is not Guard.NONE
    )


def holds_additions(guard: Guard, policy: GuardPolicy) -> bool:
    """Return whether creates and updates are held too: a guarded run under ``approve`` (S5)."""
    return guard is Guard.HOLDS and policy == "approve"


def _is_expected(school_id: str, state: SeasonState) -> bool:
    """Say whether a school may still roll over: after a pause that spans the turn of the year."""
    return state.year_turned or (school_id in state.waiting and not state.waited_out)


def _guard_at(school_id: str, guard: Guard, state: SeasonState) -> Guard:
    """A waiting school has not had its guarded run yet, until the days of waiting are over."""
    if school_id not in state.waiting or guard is Guard.HOLDS:
        return guard
    return Guard.EXPLAINS if state.waited_out else Guard.HOLDS
