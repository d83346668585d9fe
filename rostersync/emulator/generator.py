"""One seeded synthetic district, streamed: the same seed gives the same people, at any size.

Nobody is stored. A person is worked out from (seed, index) when asked for; a day of the script
costs a byte or two for each person. ``District.truth(day)`` says what a directory must hold.
"""

from __future__ import annotations

import math
import random
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import date, datetime

from rostersync.emulator import days, people, truth
from rostersync.emulator.days import AnyEdit, Day
from rostersync.emulator.people import Changes, Forced, Person, Population, School

CREATED, UPDATED, DELETED, SCHOOL_UPDATED = range(4)
_GONE, _HERE, _LEAVING = range(3)


class _Op:
    """One edit, worked out: whom it hits, and what it does to them."""

    __slots__ = ("apply", "hit", "size", "time")

    def __init__(
        self, hit: bytearray | None, size: int, time: int, apply: Callable[[Changes, int], None]
    ) -> None:
        self.hit = hit
        self.size = size
        self.time = time
        self.apply = apply


@dataclass(frozen=True, slots=True)
class RosterEvent:
    """One thing that happened to an entry on one day; ``slot`` is a school index for schools."""

    day: int
    seq: int
    kind: int
    slot: int


class DayView:
    """The district on one day. People come in slot order, which is the order of their ids."""

    def __init__(self, district: District, day: int) -> None:
        self.district = district
        self.day = day
        self.population = district.population
        self.schools: tuple[School, ...] = district.population.schools
        self._here = bytearray()
        self._moved: dict[int, int] = {}
        self._roles: dict[int, int] = {}
        self._ops: list[_Op] = []
        self._slot_count = 0
        self._event_kinds = bytearray()
        self._event_slots = array("I")
        self._touched: bytearray | None = None
        self._index: dict[tuple[str | None, bool], array[int]] = {}

    @property
    def time(self) -> datetime:
        """When the vendor finished working on this day's data (UTC)."""
        at = self.population.at(self.day)
        return at.replace(hour=6)

    def changes(self, index: int) -> Changes:
        """Return how a person differs from how they began."""
        changes: Changes | None = None
        for op in self._ops:
            if index < op.size and (op.hit is None or op.hit[index]):
                if changes is None:
                    changes = Changes()
                op.apply(changes, index)
                changes.modified = op.time + (index * 13) % 3_000
        return changes or people.UNCHANGED

    def slot_of(self, index: int) -> int:
        """Return the slot that a person has on this day."""
        moved = self._moved.get(index)
        return moved if moved is not None else self.district.first_slot(index)

    def has(self, slot: int, *, leaving: bool = False) -> bool:
        """Return whether an entry is served on this day (``leaving``: or is tobedeleted)."""
        if not 0 <= slot < self._slot_count:
            return False
        index = self.district.person_of(slot)
        state = self._here[index]
        return (state == _HERE or (leaving and state == _LEAVING)) and self.slot_of(index) == slot

    def person(self, slot: int) -> Person:
        """Return the person of a slot as of this day, whether served or not (last known)."""
        index = self.district.person_of(slot)
        return self.population.person(index, slot, self.changes(index))

    def roles(self, index: int) -> int:
        """Return a person's roles on this day, as a mask."""
        return self.district.base_roles[index] ^ self._roles.get(index, 0)

    def slots(self, role: str | None = None, *, leaving: bool = False) -> array[int]:
        """Return the slots served on this day in order, of everybody or of one role. Cached."""
        key = (role, leaving)
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = self._list_slots(role, leaving=leaving)
        return found

    def _list_slots(self, role: str | None, *, leaving: bool) -> array[int]:
        mask = people.ROLE_MASKS[role] if role is not None else 0
        here, moved, person_of = self._here, self._moved, self.district.person_of
        out = array("I")
        for slot in range(self._slot_count):
            index = person_of(slot)
            state = here[index]
            if state == _GONE or (state == _LEAVING and not leaving):
                continue
            if (moved or slot >= self.district.users) and self.slot_of(index) != slot:
                continue
            if mask and not self.roles(index) & mask:
                continue
            out.append(slot)
        return out

    def people(self, role: str | None = None, *, leaving: bool = False) -> Iterator[Person]:
        """Yield the people served on this day in order."""
        for slot in self.slots(role, leaving=leaving):
            yield self.person(slot)

    def touched_since(self, moment: float) -> array[int] | None:
        """Return the slots that may have changed after a unix time; None: any may have."""
        first = next(
            (
                d
                for d in range(1, self.day + 1)
                if self.population.at(d).timestamp() + 3_600 > moment
            ),
            self.day + 1,
        )
        if self.population.epoch > moment:
            return None
        hit: set[int] = set()
        for day in range(first, self.day + 1):
            view = self.district.view(day)
            hit.update(
                slot
                for kind, slot in zip(view._event_kinds, view._event_slots, strict=True)
                if kind in (CREATED, UPDATED, DELETED)
            )
            if view._touched is not None:
                hit.update(map(self.slot_of, (i for i, t in enumerate(view._touched) if t)))
        return array("I", sorted(hit))

    def events(self) -> Sequence[RosterEvent]:
        """Return what happened on this day, in order."""
        return [
            RosterEvent(self.day, seq, kind, slot)
            for seq, (kind, slot) in enumerate(
                zip(self._event_kinds, self._event_slots, strict=True)
            )
        ]

    def event_count(self) -> int:
        """Return how many events the day has."""
        return len(self._event_kinds)

    def event(self, seq: int) -> RosterEvent:
        """Return one event of the day by its number."""
        return RosterEvent(self.day, seq, self._event_kinds[seq], self._event_slots[seq])


class District:
    """A synthetic district with a script of days. Day 0 is the base, day n after n edits.

    ``users`` is the number of people on day 0; ``schools`` None chooses about one for 550;
    ``contacts`` is the share of people who are guardians (0: none). Every email address of the
    district is in ``domain``. Raises ``ValueError`` for a script that asks for more people than
    there are, when that day is first looked at.
    """

    def __init__(
        self,
        seed: int = 1,
        users: int = 10_000,
        *,
        days: Sequence[Day] = (),
        schools: int | None = None,
        domain: str = "a.example",
        name: str = "Springfield USD",
        contacts: float = 0.0,
        first_day: date = date(2026, 9, 1),
    ) -> None:
        if users < 1:
            raise ValueError("A district has at least one user.")
        self.seed = seed
        self.users = users
        self.name = name
        self.days = tuple(days)
        self.population = Population(
            seed=seed,
            users=users,
            schools=schools if schools is not None else max(4, users // 550),
            domain=domain,
            contacts=contacts,
            first_day=first_day,
        )
        self._base_roles = bytearray()
        self._extra_slots = array("I")
        self._born: dict[int, int] = {}
        self._persons = users
        self._views: list[DayView] = []
        self._lock = threading.RLock()  # several connections may ask at once

    @property
    def last_day(self) -> int:
        """The number of the last scripted day."""
        return len(self.days)

    @property
    def base_roles(self) -> bytearray:
        """The roles everybody began with, one mask for each person."""
        if len(self._base_roles) < self._persons:
            with self._lock:
                while len(self._base_roles) < self._persons:
                    self._base_roles.append(self.population.base_roles(len(self._base_roles)))
        return self._base_roles

    def person_of(self, slot: int) -> int:
        """Return the person whose entry a slot is."""
        return slot if slot < self.users else self._extra_slots[slot - self.users]

    def first_slot(self, index: int) -> int:
        """Return the slot that a person had first."""
        return index if index < self.users else self._born[index]

    def view(self, day: int = 0) -> DayView:
        """Return the district on one day. Days past the script's end raise ``ValueError``."""
        if not 0 <= day <= self.last_day:
            raise ValueError(f"The script has days 0 to {self.last_day}, not {day}.")
        if len(self._views) <= day:
            with self._lock:
                while len(self._views) <= day:
                    self._views.append(self._next_view())
        return self._views[day]

    def truth(self, day: int = 0, vendor: str | None = None) -> Iterator[truth.Truth]:
        """Yield what a directory must hold on a day, entry by entry, in the vendor's order.

        ``vendor`` names whose ids and fields are meant (see ``truth.VENDORS``); None gives every
        field, with the person's number as id.
        """
        view = self.view(day)
        for person in view.people():
            yield truth.of(person, vendor, self.seed)

    # What follows works out the script, one day on top of the last.

    def _next_view(self) -> DayView:
        day = len(self._views)
        view = DayView(self, day)
        if day == 0:
            view._here = bytearray([_HERE]) * self.users
            view._slot_count = self.users
            return view
        before = self._views[day - 1]
        view.schools = before.schools
        view._here = bytearray(before._here)
        view._moved = dict(before._moved)
        view._roles = dict(before._roles)
        view._ops = list(before._ops)
        view._slot_count = before._slot_count
        self._used = bytearray(self._persons)
        for number, edit in enumerate(self.days[day - 1]):
            self._edit(view, edit, number)
        return view

    def _edit(self, view: DayView, edit: AnyEdit, number: int) -> None:
        time = int(self.population.at(view.day).timestamp())
        luck = random.Random(f"{self.seed} {view.day} {number}")  # noqa: S311  (no secret)
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
                hit = bytearray(view._here)
                view._touched = hit
                view._ops.append(_Op(hit, len(hit), time, _nothing))
            case _:
                self._edit_people(view, edit, time, luck)

    def _number(self, view: DayView, n: float) -> int:
        if n < 0 or (n >= 1 and n != int(n)):
            raise ValueError(f"An edit is for a whole number or a share below 1, not {n}.")
        present = len(view._here) - view._here.count(_GONE)
        return round(n * present) if n < 1 else int(n)

    def _pick(
        self, view: DayView, edit: days.Edit, luck: random.Random, pool: Callable[[int], bool]
    ) -> list[int]:
        wanted = self._number(view, edit.n)
        mask = people.ROLE_MASKS[edit.role] if edit.role else 0
        picked: list[int] = []
        size = len(view._here)
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
        if len(picked) < wanted:
            raise ValueError(
                f"Day {view.day}: {type(edit).__name__} asks for {wanted} people, "
                f"and only {len(picked)} fit."
            )
        return sorted(picked)

    def _edit_people(self, view: DayView, edit: AnyEdit, time: int, luck: random.Random) -> None:
        if not isinstance(edit, days.Edit):
            raise TypeError(f"No edit: {edit!r}")
        here = view._here

        def is_here(index: int) -> bool:
            return here[index] == _HERE

        match edit:
            case days.Leaves():
                for index in self._pick(view, edit, luck, lambda i: here[i] != _GONE):
                    here[index] = _GONE
                    self._tell(view, DELETED, view.slot_of(index))
            case days.ToBeDeleted():
                picked = self._pick(view, edit, luck, is_here)
                for index in picked:
                    here[index] = _LEAVING
                    self._tell(view, DELETED, view.slot_of(index))
                self._op(view, picked, time, _set_leaving)
            case days.Returns():
                picked = self._pick(view, edit, luck, lambda i: self._may_return(view, i))
                for index in picked:
                    here[index] = _HERE
                    if edit.new_id:
                        view._moved[index] = self._new_slot(view, index)
                    self._tell(view, CREATED, view.slot_of(index))
                self._op(view, picked, time, _clear_leaving)
            case days.NewIds():
                picked = self._pick(view, edit, luck, is_here)
                for index in picked:
                    self._tell(view, DELETED, view.slot_of(index))
                    view._moved[index] = self._new_slot(view, index)
                    self._tell(view, CREATED, view.slot_of(index))
                self._op(view, picked, time, _nothing)
            case days.Disables() | days.Enables():
                disable = isinstance(edit, days.Disables)
                picked = self._pick(
                    view, edit, luck,
                    lambda i: here[i] == _HERE and view.changes(i).enabled == disable,
                )  # fmt: skip
                self._update(view, picked, time, _disable if disable else _enable)
            case days.Touches():
                picked = self._pick(view, edit, luck, is_here)
                view._touched = bytearray(len(here))
                for index in picked:
                    view._touched[index] = 1
                self._op(view, picked, time, _nothing)
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
                    view._roles[index] = view._roles.get(index, 0) ^ people.STAFF
                else:
                    field = "name"
            by_field.setdefault(field, []).append(index)
        for field, indexes in by_field.items():
            self._op(view, indexes, time, _FIELD_CHANGES[field])
        for index in picked:
            self._tell(view, UPDATED, view.slot_of(index))

    def _can_move(self, view: DayView, person: Person) -> bool:
        changes = copy(view.changes(person.index))
        changes.school += 1
        moved = self.population.person(person.index, person.slot, changes)
        return person.schools[:1] != moved.schools[:1] and bool(person.schools)

    def _may_return(self, view: DayView, index: int) -> bool:
        if view._here[index] == _HERE:
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
        view._ops.append(_Op(hit, len(hit), time, apply))

    def _tell(self, view: DayView, kind: int, slot: int) -> None:
        view._event_kinds.append(kind)
        view._event_slots.append(slot)

    def _new_slot(self, view: DayView, index: int) -> int:
        self._extra_slots.append(index)
        view._slot_count += 1
        return view._slot_count - 1

    def _join(self, view: DayView, count: int, roles: int, grade: int | None, time: int) -> None:
        start = self._persons
        self._persons += count
        if roles:
            self.population.forced.append(Forced(start, self._persons, roles, grade))
        view._here.extend(bytes([_HERE]) * count)
        self._used.extend(b"\x01" * count)
        joined = list(range(start, self._persons))
        for index in joined:
            self._born[index] = self._new_slot(view, index)
            self._tell(view, CREATED, self._born[index])
        self._op(view, joined, time, _nothing)

    def _rollover(self, view: DayView, edit: days.Rollover, time: int) -> None:
        up = bytearray(len(view._here))
        left = 0
        for index, state in enumerate(view._here):
            if state == _GONE:
                continue
            grade = self.population.base_grade(index)
            if grade is None or grade == people.UNGRADED:
                continue
            changes = view.changes(index)
            if grade + changes.years + changes.grade >= people.TOP_GRADE:
                view._here[index] = _GONE
                left += 1
                kind = DELETED
            else:
                up[index] = 1
                kind = UPDATED
            if state == _HERE:
                self._tell(view, kind, view.slot_of(index))
        # Who is away grows older too, so that a return fits: the hit list is of everybody graded.
        for index, state in enumerate(view._here):
            if state == _GONE and not up[index]:
                grade = self.population.base_grade(index)
                up[index] = grade is not None and grade != people.UNGRADED
        view._ops.append(_Op(up, len(up), time, _year_on))
        newcomers = left if edit.newcomers is None else edit.newcomers
        self._join(view, newcomers, people.STUDENT, 0, time)

    def _change_domain(
        self, view: DayView, edit: days.DomainChange, time: int, luck: random.Random
    ) -> None:
        def apply(changes: Changes, _index: int) -> None:
            changes.domain = edit.to

        hit = bytearray(len(view._here))
        for index, state in enumerate(view._here):
            if edit.share < 1 and luck.random() >= edit.share:
                continue
            hit[index] = 1
            if state == _HERE:
                self._tell(view, UPDATED, view.slot_of(index))
        view._ops.append(_Op(hit, len(hit), time, apply))

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


def position(slots: array[int], slot: int) -> int:
    """Return how many of the sorted slots come before ``slot``."""
    return bisect_left(slots, slot)
