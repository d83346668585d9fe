"""One day of the script worked out: the people that each edit picks, and what it does to them.

One file, because it is one class: a method for each kind of edit.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable
from copy import copy
from typing import Protocol

from rostersync.emulator.district import days, people
from rostersync.emulator.district.days import AnyEdit
from rostersync.emulator.district.people import Changes, Forced, Person, School
from rostersync.emulator.district.view import (
    CREATED,
    DELETED,
    GONE,
    HERE,
    LEAVING,
    SCHOOL_UPDATED,
    UPDATED,
    DayView,
    Op,
)


class Growing(Protocol):
    """What the script asks of its district, and adds to it."""

    seed: int
    persons: int
    population: people.Population
    extra_slots: array[int]
    born: dict[int, int]


class Script:
    """Puts the edits of one day on its view, which starts as a copy of the day before."""

    def __init__(self, district: Growing, view: DayView) -> None:
        self.district = district
        self.population = district.population
        self.view = view
        self._used = bytearray(district.persons)

    def run(self, edit: AnyEdit, number: int) -> None:
        """Put one edit on the view; ``number`` is its place in the day."""
        view = self.view
        time = int(self.population.at(view.day).timestamp())
        luck = random.Random(f"{self.district.seed} {view.day} {number}")  # noqa: S311  (no secret)
        match edit:
            case days.Joins():
                count = self._number(view, edit.n)
                roles = people.ROLE_MASKS[edit.role] if edit.role else 0
                grade = edit.grade
                if grade is not None:
                    roles = people.STUDENT
                self._join(view, count, roles, grade, time)
            case days.Rollover():
                self._rollover(view, edit, time)
            case days.DomainChange():
                self._change_domain(view, edit, time, luck)
            case days.RenamesSchools():
                self._rename_schools(view, edit)
            case days.Touches() if not edit.n:
                hit = bytearray(view.here)
                view.touched = hit
                view.ops.append(Op(hit, len(hit), time, _nothing))
            case _:
                self._edit_people(view, edit, time, luck)

    def _number(self, view: DayView, n: float) -> int:
        if n < 0 or (n >= 1 and n != int(n)):
            raise ValueError(f"An edit is for a whole number or a share below 1, not {n}.")
        present = len(view.here) - view.here.count(GONE)
        return round(n * present) if n < 1 else int(n)

    def _pick(
        self, view: DayView, edit: days.Edit, luck: random.Random, pool: Callable[[int], bool]
    ) -> list[int]:
        wanted = self._number(view, edit.n)
        mask = people.ROLE_MASKS[edit.role] if edit.role else 0
        picked: list[int] = []
        size = len(view.here)
        # A fixed shuffle that needs no list: step through 0..size by a step prime to it.
        start, step = luck.randrange(size), luck.randrange(size)
        while math.gcd(step, size) != 1:
            step += 1
        for turn in range(size):
            if len(picked) == wanted:
                break
            index = (start + turn * step) % size
            if self._used[index] or not pool(index):
                continue
            if mask and not view.roles(index) & mask:
                continue
            if edit.school is not None:
                schools = view.person(view.slot_of(index)).schools
                if not schools or schools[0] != edit.school:
                    continue
            self._used[index] = 1
            picked.append(index)
        if len(picked) < wanted and edit.n >= 1:
            raise ValueError(
                f"Day {view.day}: {type(edit).__name__} asks for {wanted} people, "
                f"and only {len(picked)} fit."
            )
        return sorted(picked)

    def _edit_people(self, view: DayView, edit: AnyEdit, time: int, luck: random.Random) -> None:
        if not isinstance(edit, days.Edit):
            raise TypeError(f"No edit: {edit!r}")
        here = view.here

        def is_here(index: int) -> bool:
            return here[index] == HERE

        match edit:
            case days.Leaves():
                for index in self._pick(view, edit, luck, lambda i: here[i] != GONE):
                    here[index] = GONE
                    self._tell(view, DELETED, view.slot_of(index))
            case days.ToBeDeleted():
                picked = self._pick(view, edit, luck, is_here)
                for index in picked:
                    here[index] = LEAVING
                    self._tell(view, DELETED, view.slot_of(index))
                self._op(view, picked, time, _set_leaving)
            case days.Returns():
                picked = self._pick(view, edit, luck, lambda i: self._may_return(view, i))
                for index in picked:
                    here[index] = HERE
                    if edit.new_id:
                        view.moved[index] = self._new_slot(view, index)
                    self._tell(view, CREATED, view.slot_of(index))
                self._op(view, picked, time, _clear_leaving)
            case days.NewIds():
                picked = self._pick(view, edit, luck, is_here)
                for index in picked:
                    self._tell(view, DELETED, view.slot_of(index))
                    view.moved[index] = self._new_slot(view, index)
                    self._tell(view, CREATED, view.slot_of(index))
                self._op(view, picked, time, _nothing)
            case days.Disables() | days.Enables():
                disable = isinstance(edit, days.Disables)
                picked = self._pick(
                    view, edit, luck,
                    lambda i: here[i] == HERE and view.changes(i).enabled == disable,
                )  # fmt: skip
                self._update(view, picked, time, _disable if disable else _enable)
            case days.Touches():
                picked = self._pick(view, edit, luck, is_here)
                view.touched = bytearray(len(here))
                for index in picked:
                    view.touched[index] = 1
                self._op(view, picked, time, _nothing)
            case days.Hostile():
                self._make_hostile(view, self._pick(view, edit, luck, is_here), edit.kind, time)
            case days.Changes():
                unknown = set(edit.fields) - set(days.CHANGE_FIELDS)
                if unknown or not edit.fields:
                    raise ValueError(f"Fields that can change: {', '.join(days.CHANGE_FIELDS)}.")
                self._change_fields(view, self._pick(view, edit, luck, is_here), edit, time)
            case _:
                raise TypeError(f"No edit: {edit!r}")

    def _change_fields(
        self, view: DayView, picked: list[int], edit: days.Changes, time: int
    ) -> None:
        by_field: dict[str, list[int]] = {}
        for turn, index in enumerate(picked):
            field = edit.fields[turn % len(edit.fields)]
            person = view.person(view.slot_of(index))
            if field == "school" and not self._can_move(view, person):
                field = "name"
            if field == "grade" and not (person.grade and person.grade not in ("12", "UG")):
                field = "name"
            if field == "role":
                if "teacher" in person.roles and "admin" not in person.roles:
                    view.role_flips[index] = view.role_flips.get(index, 0) ^ people.STAFF
                else:
                    field = "name"
            by_field.setdefault(field, []).append(index)
        for field, indexes in by_field.items():
            self._op(view, indexes, time, _FIELD_CHANGES[field])
        for index in picked:
            self._tell(view, UPDATED, view.slot_of(index))

    def _make_hostile(self, view: DayView, picked: list[int], kind: str, time: int) -> None:
        if kind not in days.HOSTILE:
            raise ValueError(f"Hostile is one of {', '.join(days.HOSTILE)}, not {kind!r}.")
        if kind == "missing_ids":
            partners = dict.fromkeys(picked, -1)
        else:
            partners = self._pairs(view, picked)
            if kind != "swapped_ids":
                partners = {one: other for one, other in partners.items() if one > other}
        hit = sorted(partners)

        def apply(changes: Changes, index: int) -> None:
            other = partners[index]
            match kind:
                case "same_names":
                    changes.names_of = other
                case "shared_email":
                    changes.address_of = other
                case "twins":
                    changes.twin_of = other
                case "swapped_ids":
                    changes.numbers_of = other
                case _:
                    changes.numberless = True

        self._update(view, hit, time, apply)
        met = view.hostile.setdefault(kind, set())
        met.update(hit, (other for other in partners.values() if other >= 0))

    def _pairs(self, view: DayView, picked: list[int]) -> dict[int, int]:
        """Return each of the picked with a partner of the same roles and grade."""
        alone: dict[tuple[int, str], int] = {}
        partners: dict[int, int] = {}
        for index in picked:
            like = (view.roles(index), view.person(view.slot_of(index)).grade)
            other = alone.pop(like, None)
            if other is None:
                alone[like] = index
            else:
                partners[index], partners[other] = other, index
        return partners

    def _can_move(self, view: DayView, person: Person) -> bool:
        changes = copy(view.changes(person.index))
        changes.school += 1
        moved = self.population.person(person.index, person.slot, changes)
        return person.schools[:1] != moved.schools[:1] and bool(person.schools)

    def _may_return(self, view: DayView, index: int) -> bool:
        if view.here[index] == HERE:
            return False
        grade = self.population.base_grade(index)
        if grade is None or grade == people.UNGRADED:
            return True
        changes = view.changes(index)
        return grade + changes.years + changes.grade <= people.TOP_GRADE

    def _update(
        self, view: DayView, picked: list[int], time: int, apply: Callable[[Changes, int], None]
    ) -> None:
        self._op(view, picked, time, apply)
        for index in picked:
            self._tell(view, UPDATED, view.slot_of(index))

    def _op(
        self, view: DayView, picked: list[int], time: int, apply: Callable[[Changes, int], None]
    ) -> None:
        if not picked:
            return
        hit = bytearray(picked[-1] + 1)
        for index in picked:
            hit[index] = 1
        view.ops.append(Op(hit, len(hit), time, apply))

    def _tell(self, view: DayView, kind: int, slot: int) -> None:
        view.event_kinds.append(kind)
        view.event_slots.append(slot)

    def _new_slot(self, view: DayView, index: int) -> int:
        self.district.extra_slots.append(index)
        view.slot_count += 1
        return view.slot_count - 1

    def _join(self, view: DayView, count: int, roles: int, grade: int | None, time: int) -> None:
        start = self.district.persons
        self.district.persons += count
        if roles:
            self.population.forced.append(Forced(start, self.district.persons, roles, grade))
        view.here.extend(bytes([HERE]) * count)
        self._used.extend(b"\x01" * count)
        joined = list(range(start, self.district.persons))
        for index in joined:
            self.district.born[index] = self._new_slot(view, index)
            self._tell(view, CREATED, self.district.born[index])
        self._op(view, joined, time, _nothing)

    def _rollover(self, view: DayView, edit: days.Rollover, time: int) -> None:
        up = bytearray(len(view.here))
        left = 0
        for index, state in enumerate(view.here):
            if state == GONE:
                continue
            grade = self.population.base_grade(index)
            if grade is None or grade == people.UNGRADED:
                continue
            changes = view.changes(index)
            if grade + changes.years + changes.grade >= people.TOP_GRADE:
                view.here[index] = GONE
                left += 1
                kind = DELETED
            else:
                up[index] = 1
                kind = UPDATED
            if state == HERE:
                self._tell(view, kind, view.slot_of(index))
        # Who is away grows older too, so that a return fits: the hit list is of everybody graded.
        for index, state in enumerate(view.here):
            if state == GONE and not up[index]:
                grade = self.population.base_grade(index)
                up[index] = grade is not None and grade != people.UNGRADED
        view.ops.append(Op(up, len(up), time, _year_on))
        newcomers = left if edit.newcomers is None else edit.newcomers
        self._join(view, newcomers, people.STUDENT, 0, time)

    def _change_domain(
        self, view: DayView, edit: days.DomainChange, time: int, luck: random.Random
    ) -> None:
        def apply(changes: Changes, _index: int) -> None:
            changes.domain = edit.to

        hit = bytearray(len(view.here))
        for index, state in enumerate(view.here):
            if edit.share < 1 and luck.random() >= edit.share:
                continue
            hit[index] = 1
            if state == HERE:
                self._tell(view, UPDATED, view.slot_of(index))
        view.ops.append(Op(hit, len(hit), time, apply))

    def _rename_schools(self, view: DayView, edit: days.RenamesSchools) -> None:
        renamed = list(view.schools)
        for index in range(min(edit.n, len(renamed))):
            old = renamed[index]
            stem = self.population.schools[index].name
            renamed[index] = School(
                index,
                f"New {stem} {old.version + 1}",
                old.level,
                old.low,
                old.high,
                old.version + 1,
            )
            self._tell(view, SCHOOL_UPDATED, index)
        view.schools = tuple(renamed)


def _nothing(_changes: Changes, _index: int) -> None:
    """Change the date alone."""


def _set_leaving(changes: Changes, _index: int) -> None:
    changes.leaving = True


def _clear_leaving(changes: Changes, _index: int) -> None:
    changes.leaving = False


def _disable(changes: Changes, _index: int) -> None:
    changes.enabled = False


def _enable(changes: Changes, _index: int) -> None:
    changes.enabled = True


def _year_on(changes: Changes, _index: int) -> None:
    changes.years += 1


def _new_email(changes: Changes, _index: int) -> None:
    changes.email += 1


def _new_name(changes: Changes, _index: int) -> None:
    changes.name += 1


def _new_username(changes: Changes, _index: int) -> None:
    changes.username += 1


def _new_school(changes: Changes, _index: int) -> None:
    changes.school += 1


def _new_grade(changes: Changes, _index: int) -> None:
    changes.grade += 1


def _new_role(changes: Changes, _index: int) -> None:
    changes.roles ^= people.STAFF


_FIELD_CHANGES: dict[str, Callable[[Changes, int], None]] = {
    "email": _new_email,
    "name": _new_name,
    "username": _new_username,
    "school": _new_school,
    "grade": _new_grade,
    "role": _new_role,
}
