"""What a directory must hold when it equals a vendor, field by field, by the generator itself.

Written from the person, never from the bytes served, so that a test compares two readings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rostersync.emulator.district.ids import IDS
from rostersync.emulator.district.people import Person

Membership = tuple[str, str | None, bool]
"""(role, the vendor's id of the school or None, is it the primary one).

None is "at no school": in OneRoster, where everybody needs an org, theirs is the district's.
"""


@dataclass(frozen=True, slots=True)
class Truth:
    """One entry of the roster. A field that this vendor cannot say is None.

    ``identifier`` is OneRoster's own ``identifier`` (a student's number, an adult's staff number)
    and ``user_ids`` its ``userIds`` as (type, identifier). ``person`` is the same for all entries
    of one person, whatever the vendor or day.
    """

    person: int
    external_id: str
    given_name: str | None = None
    middle_name: str | None = None
    family_name: str | None = None
    preferred_given_name: str | None = None
    email: str | None = None
    username: str | None = None
    memberships: tuple[Membership, ...] = ()
    grade: str | None = None
    graduation_year: int | None = None
    sis_id: str | None = None
    student_number: str | None = None
    staff_number: str | None = None
    state_id: str | None = None
    identifier: str | None = None
    user_ids: tuple[tuple[str, str], ...] = ()
    enabled: bool = True


def of(person: Person, vendor: str | None, seed: int) -> Truth:
    """Return what ``vendor`` says of a person; None: everything there is to say.

    Vendors: ``clever``, ``clever31``, ``classlink``, ``gg4l``, ``oneroster`` (1.1, REST and CSV),
    ``oneroster12`` (REST and CSV), ``user_csv``.
    """
    if vendor is None:
        return _everything(person)
    try:
        says = VENDORS[vendor]
    except KeyError:
        raise ValueError(f"No vendor {vendor!r}: {', '.join(VENDORS)}.") from None
    return says(person, seed)


def _everything(person: Person) -> Truth:
    schools = [str(school) for school in person.schools]
    return Truth(
        person=person.index,
        external_id=str(person.index),
        given_name=person.given,
        middle_name=person.middle or None,
        family_name=person.family,
        preferred_given_name=person.preferred or None,
        email=person.email or None,
        username=person.username,
        memberships=_memberships(person, schools),
        grade=person.grade or None,
        graduation_year=person.graduation_year,
        sis_id=person.sis_id or None,
        student_number=person.student_number or None,
        staff_number=person.staff_number or None,
        state_id=person.state_id or None,
        enabled=person.enabled,
    )


def _memberships(person: Person, schools: list[str]) -> tuple[Membership, ...]:
    out: list[Membership] = []
    for place, role in enumerate(person.roles):
        if role in ("admin", "contact") or not schools:
            out.append((role, None, False))
        else:
            out.extend((role, school, not place and not at) for at, school in enumerate(schools))
    return tuple(out)


def _clever(person: Person, seed: int) -> Truth:
    # dev.clever.com/docs/users: staff have `schools` and no primary one; a contact's whole name
    # stands in `name.last`; there is no word for a disabled account.
    schools = [IDS["clever"].school(school, seed) for school in person.schools]
    contact = person.roles == ("contact",)
    staff_only = person.roles[0] == "staff"
    student = "student" in person.roles
    memberships = _memberships(person, schools)
    if staff_only:
        memberships = tuple((role, school, False) for role, school, _ in memberships)
    return Truth(
        person=person.index,
        external_id=IDS["clever"].user(person.slot, seed),
        given_name=None if contact else person.given,
        middle_name=None if contact else person.middle or None,
        family_name=f"{person.given} {person.family}" if contact else person.family,
        email=person.email or None,
        username=None if contact or person.roles == ("admin",) else person.username,
        memberships=memberships,
        grade=person.grade or None,
        graduation_year=person.graduation_year,
        sis_id=(person.sis_id or None) if student or "teacher" in person.roles else None,
        student_number=person.student_number or None,
        staff_number=None if person.roles == ("admin",) else person.staff_number or None,
        state_id=(person.state_id or None) if student or "teacher" in person.roles else None,
    )


def _clever31(person: Person, seed: int) -> Truth:
    plain = _clever(person, seed)
    if "student" not in person.roles:
        return plain
    return _with(plain, preferred_given_name=person.preferred or None)


def _with(truth: Truth, **fields: object) -> Truth:
    from dataclasses import replace

    return replace(truth, **fields)  # type: ignore[arg-type]


def user_ids(person: Person) -> tuple[tuple[str, str], ...]:
    """Return the OneRoster ``userIds`` of a person as (type, identifier)."""
    found = [("Fed", person.username)]
    if person.state_id:
        found.append(("StateID", person.state_id))
    return tuple(found)


def second(person: Person, vendor: str, seed: int) -> Truth:
    """Return the entry of a person's second role, in a vendor of ``ONE_ROLE``."""
    return _oneroster(person, seed, vendor, two=False, entry=1)


def _oneroster(person: Person, seed: int, vendor: str, *, two: bool, entry: int = 0) -> Truth:
    # 1.1 has one role and `orgs[]`; 1.2 has `roles[]` and `primaryOrg`. Neither has a graduation
    # year, and neither has a field for a SIS id but `identifier` and `userIds`.
    ids = IDS[vendor]
    schools = [ids.school(school, seed) for school in person.schools]
    memberships = _memberships(person, schools)
    if not two:
        role = person.roles[entry]
        found = [school for own, school, _ in memberships if own == role]
        memberships = tuple((role, s, s is not None and not at) for at, s in enumerate(found))
    identifier = person.student_number or person.staff_number or None
    student = "student" in person.roles
    return Truth(
        person=person.index,
        external_id=ids.user(person.slot, seed) + ("_R2" if entry else ""),
        given_name=person.given,
        middle_name=person.middle or None,
        family_name=person.family,
        preferred_given_name=(person.preferred or None) if two else None,
        email=person.email or None,
        username=person.username,
        memberships=memberships,
        grade=person.grade or None,
        student_number=identifier if student else None,
        staff_number=None if student else identifier,
        state_id=person.state_id or None,
        identifier=identifier,
        user_ids=user_ids(person),
        enabled=person.enabled,
    )


def in_user_csv(person: Person) -> bool:
    """Return whether a user CSV can carry a person: an own address in the school's domain."""
    return (
        "@" in person.email
        and not person.email.endswith("@family-mail.example")
        and not person.shares_email
        and person.roles != ("contact",)
    )


def _user_csv(person: Person, _seed: int) -> Truth:
    # One role a row, the one with the most rights.
    role = next(r for r in ("admin", "teacher", "staff", "student") if r in person.roles)
    number = person.student_number or person.staff_number
    return Truth(
        person=person.index,
        external_id=number,
        given_name=person.given,
        family_name=person.family,
        email=person.email,
        memberships=((role, None, False),),
        graduation_year=person.graduation_year,
        identifier=number,
    )


ONE_ROLE = ("classlink", "gg4l", "oneroster")
"""Vendors that have one role for each entry (OneRoster 1.1)."""

VENDORS: dict[str, Callable[[Person, int], Truth]] = {
    "clever": _clever,
    "clever31": _clever31,
    "classlink": lambda person, seed: _oneroster(person, seed, "classlink", two=False),
    "gg4l": lambda person, seed: _oneroster(person, seed, "gg4l", two=False),
    "oneroster": lambda person, seed: _oneroster(person, seed, "oneroster", two=False),
    "oneroster12": lambda person, seed: _oneroster(person, seed, "oneroster", two=True),
    "user_csv": _user_csv,
}
