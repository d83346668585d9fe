"""A seeded synthetic district, streamed: the same seed gives the same people, at any size.

Nobody is stored. A person is computed from (seed, index) on demand; a day of the script costs a
byte or two for each person. ``District.truth(day)`` says what a directory must hold.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator, Sequence
from datetime import date

from rostersync.emulator.district import truth
from rostersync.emulator.district.days import Day
from rostersync.emulator.district.people import Population
from rostersync.emulator.district.script import Script
from rostersync.emulator.district.view import HERE, DayView


class District:
    """A synthetic district with a script of days. Day 0 is the base, day n after n edits.

    ``users`` is the number of people on day 0; ``schools`` None chooses about one for 550;
    ``contacts`` is the share of people who are guardians (0: none). Every email address of the
    district is in ``domain``. Raises ``ValueError`` for a script that asks for more people than
    there are, when that day is first looked at.

    OneRoster 1.1 has one role for each user. Somebody with two is served with the main one only,
    or with ``split_roles`` as two users with different ids, as some student systems do it: the
    second id ends in ``_R2``, and what joins them are their equal ``userIds`` of type ``Fed``.
    Events (GG4L) and lists below a school tell of main entries only.
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
        split_roles: bool = False,
    ) -> None:
        if users < 1:
            raise ValueError("A district has at least one user.")
        self.seed = seed
        self.users = users
        self.name = name
        self.split_roles = split_roles
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
        self.extra_slots = array("I")
        self.born: dict[int, int] = {}
        self.persons = users
        self._views: list[DayView] = []
        self._lock = threading.RLock()  # several connections may ask at once

    @property
    def last_day(self) -> int:
        """The number of the last scripted day."""
        return len(self.days)

    @property
    def base_roles(self) -> bytearray:
        """The roles everybody began with, one mask for each person."""
        if len(self._base_roles) < self.persons:
            with self._lock:
                while len(self._base_roles) < self.persons:
                    self._base_roles.append(self.population.base_roles(len(self._base_roles)))
        return self._base_roles

    def person_of(self, slot: int) -> int:
        """Return the person whose entry a slot is."""
        return slot if slot < self.users else self.extra_slots[slot - self.users]

    def first_slot(self, index: int) -> int:
        """Return the slot that a person had first."""
        return index if index < self.users else self.born[index]

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
        split = self.split_roles and vendor in truth.ONE_ROLE
        for person in self.view(day).people():
            yield truth.of(person, vendor, self.seed)
            if split and len(person.roles) > 1:
                yield truth.second(person, str(vendor), self.seed)

    def _next_view(self) -> DayView:
        day = len(self._views)
        view = DayView(self, day)
        if day == 0:
            view.here = bytearray([HERE]) * self.users
            view.slot_count = self.users
            return view
        before = self._views[day - 1]
        view.schools = before.schools
        view.here = bytearray(before.here)
        view.moved = dict(before.moved)
        view.role_flips = dict(before.role_flips)
        view.ops = list(before.ops)
        view.slot_count = before.slot_count
        view.hostile = {kind: set(some) for kind, some in before.hostile.items()}
        script = Script(self, view)
        for number, edit in enumerate(self.days[day - 1]):
            script.run(edit, number)
        return view
