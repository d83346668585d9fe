"""The people of a synthetic district: a person or school from (seed, index), nothing stored.

The days script (``days.py``) says how a person differs from how they began; the vendor files say
how a person looks on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from struct import Struct as Packed

import msgspec

from rostersync.emulator.district import names

STUDENT, TEACHER, STAFF, ADMIN, CONTACT = 1, 2, 4, 8, 16
ROLE_MASKS = {
    "student": STUDENT,
    "teacher": TEACHER,
    "staff": STAFF,
    "admin": ADMIN,
    "contact": CONTACT,
}
ROLE_NAMES = {mask: name for name, mask in ROLE_MASKS.items()}
MAIN_FIRST = (STUDENT, TEACHER, STAFF, ADMIN, CONTACT)

UNGRADED = 99
TOP_GRADE = 12

_EIGHT = Packed("<8I")
_FAMILY_MAIL = "family-mail.example"


def ceds(grade: int | None) -> str:
    """Return the CEDS code of a grade number (-1 is PK, 0 is KG), ``""`` for none."""
    if grade is None:
        return ""
    if grade == UNGRADED:
        return "UG"
    return ("PK", "KG")[grade + 1] if grade < 1 else f"{grade:02d}"


class School(msgspec.Struct, frozen=True):
    """One school. ``low`` and ``high`` are grade numbers, ``version`` counts its new names."""

    index: int
    name: str
    level: str
    low: int
    high: int
    version: int = 0

    @property
    def number(self) -> str:
        """The school's number in the district's own books."""
        return str(1000 + self.index * 7)

    @property
    def state_id(self) -> str:
        """The school's number in the state's books."""
        return f"ST{self.index:05d}"

    @property
    def nces_id(self) -> str:
        """The twelve digits of the national school list."""
        return f"0699{self.index:08d}"


class Person(msgspec.Struct, gc=False):
    """One person on one day, told apart from any vendor's way of telling it.

    ``slot`` numbers the person's entry at the vendor (a new vendor id is a new slot); ``roles``
    has the main role first; ``schools`` are school indexes, the primary one first; ``modified``
    and ``created`` are unix seconds; ``leaving`` is OneRoster's ``tobedeleted``. Absent is ``""``.
    """

    index: int
    slot: int
    given: str
    middle: str
    family: str
    preferred: str
    email: str
    username: str
    roles: tuple[str, ...]
    schools: tuple[int, ...]
    grade: str
    graduation_year: int | None
    sis_id: str
    student_number: str
    staff_number: str
    state_id: str
    title: str
    enabled: bool
    leaving: bool
    created: int
    modified: int
    child: int
    dice: int
    shares_email: bool


class Changes(msgspec.Struct):
    """How a person differs from how they began, as the days script left them."""

    years: int = 0
    grade: int = 0
    school: int = 0
    name: int = 0
    email: int = 0
    username: int = 0
    roles: int = 0
    domain: str = ""
    enabled: bool = True
    leaving: bool = False
    modified: int = 0
    names_of: int = -1
    """The person whose names this one has; -1: their own. The next fields work alike."""
    address_of: int = -1
    twin_of: int = -1
    numbers_of: int = -1
    numberless: bool = False


UNCHANGED = Changes()


class Forced(msgspec.Struct, frozen=True):
    """Newcomers of one edit: people ``start`` to ``stop`` have this role and grade, if given."""

    start: int
    stop: int
    roles: int
    grade: int | None


class Population:
    """Everybody who is or will be in the district. ``person`` is pure: the same each time."""

    def __init__(
        self, *, seed: int, users: int, schools: int, domain: str, contacts: float, first_day: date
    ) -> None:
        self.seed = seed
        self.users = users
        self.domain = domain
        self.first_day = first_day
        self.epoch = int(datetime.combine(first_day, datetime.min.time(), UTC).timestamp())
        self.year_end = first_day.year + (first_day.month >= 7)
        self.forced: list[Forced] = []
        self._contacts = round(contacts * 10_000)
        self._key = blake2b(b"rostersync emulator %d" % seed, digest_size=32).digest()
        self.schools = _schools(schools)
        self._lower = [s.index for s in self.schools if s.low <= 0] or [0]
        self._middle = [s.index for s in self.schools if 0 < s.low <= 6 <= s.high] or self._lower
        self._high = [s.index for s in self.schools if s.high == TOP_GRADE] or self._lower

    def dice(self, index: int) -> tuple[int, ...]:
        """Return the eight 32-bit numbers that decide everything about a person."""
        raw = blake2b(index.to_bytes(8, "little"), key=self._key, digest_size=32).digest()
        return _EIGHT.unpack(raw)

    def _forced_for(self, index: int) -> Forced | None:
        if index < self.users:
            return None
        return next((f for f in self.forced if f.start <= index < f.stop), None)

    def base_roles(self, index: int) -> int:
        """Return the roles that a person began with, as a mask."""
        forced = self._forced_for(index)
        if forced is not None and forced.roles:
            return forced.roles
        return self._roles(self.dice(index)[0])

    def _roles(self, roll: int) -> int:
        if self._contacts and (roll >> 12) % 10_000 < self._contacts:
            return CONTACT
        roll %= 1000
        if roll < 885 or roll >= 998:
            return STUDENT
        if roll < 955:
            return TEACHER
        if roll < 985:
            return STAFF
        if roll < 990:
            return ADMIN
        if roll < 994:
            return TEACHER | STAFF
        return STAFF | ADMIN if roll < 996 else TEACHER | ADMIN

    def base_grade(self, index: int) -> int | None:
        """Return the grade number a student began in (None for everybody else)."""
        forced = self._forced_for(index)
        if forced is not None and forced.grade is not None:
            return forced.grade
        if not self.base_roles(index) & STUDENT:
            return None
        dice = self.dice(index)
        twin = self._twin_of(index, dice)
        return _grade((twin or dice)[3])

    def _twin_of(self, index: int, dice: tuple[int, ...]) -> tuple[int, ...] | None:
        # The person just before is the elder twin, unless that one is a twin's younger half.
        if dice[5] % 89 or not 0 < index < self.users or self._roles(dice[0]) != STUDENT:
            return None
        elder = self.dice(index - 1)
        if elder[5] % 89 == 0 or self._roles(elder[0]) != STUDENT:
            return None
        return elder

    def person(self, index: int, slot: int, changes: Changes = UNCHANGED) -> Person:
        """Return one person as the given changes left them."""
        dice = self.dice(index)
        elder = self.dice(changes.twin_of) if changes.twin_of >= 0 else self._twin_of(index, dice)
        role_roll, given_roll, family_roll, grade_roll, track, flags, extra, when = dice
        if elder is not None:
            family_roll, grade_roll, track = elder[2], elder[3], elder[4]
        if changes.names_of >= 0:
            namesake = self.dice(changes.names_of)
            given_roll, family_roll = namesake[1], namesake[2]
        forced = self._forced_for(index)
        roles = (forced.roles if forced is not None else 0) or self._roles(role_roll)
        roles ^= changes.roles

        given_at = given_roll % len(names.GIVEN)
        family_at = (family_roll + changes.name * 37) % len(names.FAMILY)
        student = roles & STUDENT
        grade: int | None = None
        if student:
            grade = forced.grade if forced is not None and forced.grade is not None else None
            if grade is None:
                grade = _grade(grade_roll)
        graduation_year = None
        if grade is not None and grade != UNGRADED:
            if (extra >> 7) % 10 < 7:
                graduation_year = self.year_end + TOP_GRADE - grade - changes.grade
            grade += changes.years + changes.grade

        user_word = (
            names.GIVEN_ASCII[given_at][:1] + names.FAMILY_ASCII[family_roll % len(names.FAMILY)]
        )
        email = self._email(index, given_at, family_roll, flags, grade, elder, changes)
        if changes.address_of >= 0 and not changes.email:
            email = self.person(changes.address_of, changes.address_of).email or email
        bearer = changes.numbers_of if changes.numbers_of >= 0 else index
        numbered = not changes.numberless
        return Person(
            index=index,
            slot=slot,
            given=names.GIVEN[given_at],
            middle=names.MIDDLE[extra % len(names.MIDDLE)],
            family=names.FAMILY[family_at],
            preferred=names.PREFERRED[extra % len(names.PREFERRED)] if flags % 23 == 5 else "",
            email=email,
            username=f"{user_word}{index}" + (f"x{changes.username}" if changes.username else ""),
            roles=role_tuple(roles),
            schools=self._schools_of(roles, grade, track, extra, changes.school),
            grade=ceds(grade),
            graduation_year=graduation_year,
            sis_id=f"{100_000 + bearer}" if numbered and roles & (ADMIN | CONTACT) != roles else "",
            student_number=f"{700_000 + bearer}" if numbered and student else "",
            staff_number=f"E{40_000 + bearer}"
            if numbered and roles & (TEACHER | STAFF | ADMIN)
            else "",
            state_id=self._state_id(bearer) if numbered and not roles & CONTACT else "",
            title=(names.STAFF_TITLES if roles & STAFF else names.TITLES)[extra % 6],
            enabled=changes.enabled,
            leaving=changes.leaving,
            created=self.epoch - 40 * 86_400 - when % (300 * 86_400),
            modified=changes.modified or self.epoch - 3_600 - when % (30 * 86_400),
            child=max(0, index - 1 - extra % 5),
            dice=extra,
            shares_email=not changes.email
            and (changes.address_of >= 0 or (elder is not None and bool(flags & 0x80))),
        )

    def _state_id(self, index: int) -> str:
        return f"{9_000_000_000 + index * 17}" if self.dice(index)[6] % 5 else ""

    def _email(
        self,
        index: int,
        given_at: int,
        family_roll: int,
        flags: int,
        grade: int | None,
        elder: tuple[int, ...] | None,
        changes: Changes,
    ) -> str:
        number = index
        word = names.FAMILY_ASCII[family_roll % len(names.FAMILY)]
        if not changes.email:
            roll = (flags >> 8) % 1000
            if elder is not None and flags & 0x80:
                # Twins whose parents gave one address for both (AC2).
                number -= 1
                given_at = elder[1] % len(names.GIVEN)
                flags = elder[5]
                roll = (flags >> 8) % 1000
            if roll < 30 or (grade is not None and grade < 3 and roll < 130):
                return ""
            if roll == 999:
                return f"{word}{number}"
            if roll > 989:
                return f"{word}{number}@{_FAMILY_MAIL}"
        local = f"{names.GIVEN_ASCII[given_at]}.{word}{number}"
        if changes.email:
            local += f"-{changes.email}"
        return f"{local}@{changes.domain or self.domain}"

    def _schools_of(
        self, roles: int, grade: int | None, track: int, extra: int, shift: int
    ) -> tuple[int, ...]:
        if not roles & (STUDENT | TEACHER | STAFF):
            return ()
        everywhere = len(self.schools)
        if grade is not None:
            first = self._student_school(grade, track, shift)
            more = 1 if (extra >> 11) % 50 == 0 else 0
        else:
            if roles & STAFF and not roles & TEACHER and (extra >> 11) % 12 == 0 and not shift:
                return ()
            first = (track + shift) % everywhere
            more = {0: 2, 1: 1, 2: 1, 3: 1}.get((extra >> 11) % 40, 0)
        if not more or everywhere == 1:
            return (first,)
        steps = ((track >> 5) % (everywhere - 1), (track >> 9) % (everywhere - 1))
        others = ((first + 1 + step) % everywhere for step in steps[:more])
        return tuple(dict.fromkeys((first, *others)))

    def _student_school(self, grade: int, track: int, shift: int) -> int:
        lower = self._lower[(track + shift) % len(self._lower)]
        if grade == UNGRADED or grade <= 5 or self.schools[lower].high >= min(grade, TOP_GRADE):
            return lower
        level = self._middle if grade <= 8 else self._high
        return level[((track >> 8) + shift) % len(level)]

    def at(self, days: int) -> datetime:
        """Return five o'clock (UTC) of the given day, when that day's edits begin."""
        return datetime.fromtimestamp(self.epoch, UTC) + timedelta(days=days, hours=5)


def role_tuple(mask: int) -> tuple[str, ...]:
    """Return the names of the roles in a mask, the main one first."""
    return _ROLE_TUPLES[mask]


_ROLE_TUPLES = [tuple(ROLE_NAMES[r] for r in MAIN_FIRST if mask & r) for mask in range(32)]


def _grade(roll: int) -> int:
    if roll % 211 == 0:
        return UNGRADED
    return -1 if roll % 97 == 1 else (roll >> 9) % 13


_LEVELS: Sequence[tuple[str, int, int]] = (
    ("Elementary School", -1, 5),
    ("Middle School", 6, 8),
    ("High School", 9, 12),
    ("K-8 School", -1, 8),
    ("Elementary", -1, 5),
    ("Elementary School", -1, 5),
    ("Middle School", 6, 8),
    ("Elementary School", -1, 5),
)


def _schools(count: int) -> tuple[School, ...]:
    levels = _LEVELS
    if count == 1:
        levels = (("Community School", -1, 12),)
    elif count == 2:
        levels = (("K-8 School", -1, 8), ("High School", 9, 12))
    out = []
    for index in range(count):
        words, low, high = levels[index % len(levels)]
        stem = names.SCHOOLS[(index * 7) % len(names.SCHOOLS)]
        turn = index // len(names.SCHOOLS)
        out.append(
            School(index, f"{stem} {words}{f' {turn + 1}' if turn else ''}", words, low, high)
        )
    return tuple(out)
