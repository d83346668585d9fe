"""The district on one day: who is served, in which order, and what happened.

The script (``script.py``) fills a view in; everybody else reads it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rostersync.emulator.district import people
from rostersync.emulator.district.people import Changes, Person, School

CREATED, UPDATED, DELETED, SCHOOL_UPDATED = range(4)
GONE, HERE, LEAVING = range(3)
SECOND = 1 << 31
"""Marks the entry of a person's second role."""


class Op:
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


class Register(Protocol):
    """What a view asks of its district."""

    seed: int
    name: str
    users: int
    split_roles: bool
    population: people.Population

    @property
    def base_roles(self) -> bytearray:
        """The roles everybody began with, one mask for each person."""
        ...

    def person_of(self, slot: int) -> int:
        """Return the person whose entry a slot is."""
        ...

    def first_slot(self, index: int) -> int:
        """Return the slot that a person had first."""
        ...

    def view(self, day: int = 0) -> DayView:
        """Return the district on one day."""
        ...


class DayView:
    """The district on one day. People come in slot order, which is the order of their ids."""

    def __init__(self, district: Register, day: int) -> None:
        self.district = district
        self.day = day
        self.population = district.population
        self.schools: tuple[School, ...] = district.population.schools
        self.here = bytearray()
        self.moved: dict[int, int] = {}
        self.role_flips: dict[int, int] = {}
        self.ops: list[Op] = []
        self.slot_count = 0
        self.event_kinds = bytearray()
        self.event_slots = array("I")
        self.touched: bytearray | None = None
        self.hostile: dict[str, set[int]] = {}
        """Kind of ``days.Hostile`` → the people whom it hit, up to this day."""
        self._index: dict[tuple[str | None, bool], array[int]] = {}

    @property
    def time(self) -> datetime:
        """When the vendor finished working on this day's data (UTC)."""
        at = self.population.at(self.day)
        return at.replace(hour=6)

    def changes(self, index: int) -> Changes:
        """Return how a person differs from how they began."""
        changes: Changes | None = None
        for op in self.ops:
            if index < op.size and (op.hit is None or op.hit[index]):
                if changes is None:
                    changes = Changes()
                op.apply(changes, index)
                changes.modified = op.time + (index * 13) % 3_000
        return changes or people.UNCHANGED

    def slot_of(self, index: int) -> int:
        """Return the slot that a person has on this day."""
        moved = self.moved.get(index)
        return moved if moved is not None else self.district.first_slot(index)

    def has(self, slot: int, *, leaving: bool = False) -> bool:
        """Return whether an entry is served on this day (``leaving``: or is tobedeleted)."""
        if not 0 <= slot < self.slot_count:
            return False
        index = self.district.person_of(slot)
        state = self.here[index]
        return (state == HERE or (leaving and state == LEAVING)) and self.slot_of(index) == slot

    def person(self, slot: int) -> Person:
        """Return the person of a slot as of this day, whether served or not (last known)."""
        index = self.district.person_of(slot)
        return self.population.person(index, slot, self.changes(index))

    def roles(self, index: int) -> int:
        """Return a person's roles on this day, as a mask."""
        return self.district.base_roles[index] ^ self.role_flips.get(index, 0)

    def slots(self, role: str | None = None, *, leaving: bool = False) -> array[int]:
        """Return the slots served on this day in order, of everybody or of one role. Cached."""
        key = (role, leaving)
        found = self._index.get(key)
        if found is None:
            found = self._index[key] = self._list_slots(role, leaving=leaving)
        return found

    def entries(self, role: str | None = None, *, leaving: bool = False) -> array[int]:
        """Return the slots, and ``slot | SECOND`` for the entry of a person's second role. Cached.

        ``role`` is the entry's own one. For OneRoster 1.1 in a district with ``split_roles``.
        """
        key = (f"entries {role}", leaving)
        found = self._index.get(key)
        if found is None:
            person_of = self.district.person_of
            found = array("I")
            for slot in self.slots(leaving=leaving):
                roles = people.role_tuple(self.roles(person_of(slot)))
                for place, own in enumerate(roles[:2]):
                    if role in (None, own):
                        found.append(slot | SECOND if place else slot)
            self._index[key] = found
        return found

    def _list_slots(self, role: str | None, *, leaving: bool) -> array[int]:
        mask = people.ROLE_MASKS[role] if role is not None else 0
        here, moved, person_of = self.here, self.moved, self.district.person_of
        out = array("I")
        for slot in range(self.slot_count):
            index = person_of(slot)
            state = here[index]
            if state == GONE or (state == LEAVING and not leaving):
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
                for kind, slot in zip(view.event_kinds, view.event_slots, strict=True)
                if kind in (CREATED, UPDATED, DELETED)
            )
            if view.touched is not None:
                hit.update(map(self.slot_of, (i for i, t in enumerate(view.touched) if t)))
        return array("I", sorted(hit))

    def events(self) -> Sequence[RosterEvent]:
        """Return what happened on this day, in order."""
        return [
            RosterEvent(self.day, seq, kind, slot)
            for seq, (kind, slot) in enumerate(zip(self.event_kinds, self.event_slots, strict=True))
        ]

    def event_count(self) -> int:
        """Return how many events the day has."""
        return len(self.event_kinds)

    def event(self, seq: int) -> RosterEvent:
        """Return one event of the day by its number."""
        return RosterEvent(self.day, seq, self.event_kinds[seq], self.event_slots[seq])


def position(slots: array[int], slot: int) -> int:
    """Return how many of the sorted slots come before ``slot``."""
    return bisect_left(slots, slot)
