"""The vocabulary of OneRoster 1.1 and 1.2 in our words, whatever the rows came in (JSON or CSV).

Used by every connector that reads OneRoster. Nothing here reads a file or a network, and nothing
here fails on a word it does not know: 1.2 permits ``ext:`` words, and 1.1 providers use them too.
Docs: https://www.imsglobal.org/activity/onerosterlis
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from core.errors import SkipRecord
from core.models import Membership, Role, ceds_grade

ROLES: dict[str, Role] = {
    "student": Role.STUDENT,
    "teacher": Role.TEACHER,
    "administrator": Role.ADMIN,  # 1.1; the next four are 1.2
    "principal": Role.ADMIN,
    "siteadministrator": Role.ADMIN,
    "districtadministrator": Role.ADMIN,
    "systemadministrator": Role.ADMIN,
    "aide": Role.STAFF,
    "proctor": Role.STAFF,
    "counselor": Role.STAFF,  # 1.2
    "parent": Role.CONTACT,
    "guardian": Role.CONTACT,
    "relative": Role.CONTACT,
}
"""A role word of either version, in small letters, to our role."""

SCHOOL_KIND = "school"
"""The org type that is a school."""

OTHER_KINDS = frozenset({"department", "district", "local", "state", "national"})
"""The org types of the standard that are not."""

GONE = frozenset({"tobedeleted", "inactive"})
"""Status words that say the entry is gone (``inactive`` is from 1.0)."""

_TRUE = frozenset({"true", "1", "y", "yes", "t"})
_FALSE = frozenset({"false", "0", "n", "no", "f"})

STATE_ID_TYPES = frozenset({"stateid", "state"})
"""userIds types, without blanks, ``_`` and ``-``, that carry the state's id of a person."""

_NCES = re.compile(r"\d{12}")
_USER_ID = re.compile(r"\{([^{}]*)\}")
_RANK = {role: rank for rank, role in enumerate(Role)}


IdType = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
PersonIdTypes = Annotated[
    tuple[IdType, ...],
    BeforeValidator(lambda said: (said,) if isinstance(said, str) else said),
    Field(
        description="A type of userIds (such as Fed) that joins several entries of one person, or "
        "a list of types: the first of them that somebody has counts. userMasterIdentifier wins "
        "over them."
    ),
]
"""``person_id_type`` of a config: one type, or a list in the order of precedence (I10)."""


def our_role(word: str) -> Role | None:
    """Return our role for a role word in any case, or None for one that is not known."""
    return ROLES.get(word.strip().lower())


def is_gone(status: str | None) -> bool:
    """Tell whether a status word says that the entry is gone. Blank (a bulk file) is present."""
    return status is not None and status.strip().lower() in GONE


def is_school(org_type: str | None) -> bool:
    """Tell whether an org type is a school."""
    return org_type is not None and org_type.strip().lower() == SCHOOL_KIND


def is_no_school(org_type: str) -> bool:
    """Tell whether an org type is known not to be a school; ``ext:`` words are a vendor's own.

    Of any other word nobody can tell what the org is: it stays as it is (F15).
    """
    word = org_type.strip().lower()
    return word in OTHER_KINDS or word.startswith("ext:")


def no_type(key: str) -> SkipRecord:
    """Return the refusal of an org whose type is none of the standard's."""
    return SkipRecord(
        "type is no word of the standard, so nobody can tell whether this is a school.",
        rule="unknown-type",
        column="type",
        key=key,
        hint="Write school, or district, department, local, state or national.",
    )


def truth(value: object, *, default: bool) -> bool | None:
    """Read a boolean: JSON booleans, the words true/false, TRUE, 1, Y. Blank gives ``default``.

    None: the value is no boolean at all.
    """
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if not word:
        return default
    if word in _TRUE:
        return True
    return False if word in _FALSE else None


def split_user_ids(field: str) -> list[tuple[str, str]]:
    """Read a CSV ``userIds`` field, ``{LDAP:Id},{LTI:Id}``, as (type, identifier) pairs.

    The type ends at the first colon; a value without braces or type has the type ``""``.
    """
    pairs: list[tuple[str, str]] = []
    for item in _USER_ID.findall(field) if "{" in field else field.split(","):
        kind, colon, identifier = item.partition(":")
        if not colon:
            kind, identifier = "", kind
        if identifier.strip():
            pairs.append((kind.strip(), identifier.strip()))
    return pairs


def typed_id(user_ids: Iterable[tuple[str, str]], kind: str) -> str | None:
    """Return the identifier of the userIds type ``kind``, which is compared without case.

    Of several it is the smallest one, so that their order means nothing.
    """
    wanted = kind.strip().lower()
    found = (i.strip() for a_kind, i in user_ids if a_kind.strip().lower() == wanted)
    return min(filter(None, found), default=None)


def state_id(user_ids: Iterable[tuple[str, str]]) -> str | None:
    """Return the state's id of a person out of their userIds, if it is there."""
    for kind, identifier in user_ids:
        if re.sub(r"[\s_-]", "", kind).lower() in STATE_ID_TYPES and identifier.strip():
            return identifier.strip()
    return None


def person_key(
    master: str | None, user_ids: Sequence[tuple[str, str]], types: Sequence[str]
) -> str | None:
    """Return what joins several entries of one person (I5); nothing else joins.

    ``master:ID`` for userMasterIdentifier, else ``userid:TYPE:ID`` for the first of the ``types``
    of userIds that they have, else None.
    """
    if master is not None and (master := master.strip()):
        return f"master:{master}"
    for kind in types:
        if identifier := typed_id(user_ids, kind):
            return f"userid:{kind}:{identifier}"
    return None


def numbers(identifier: str | None, roles: Iterable[Role]) -> tuple[str | None, str | None]:
    """Return ``identifier`` as (student number, staff number).

    It is a student's number for students; for teachers, staff and admins their staff number; for
    guardians neither.
    """
    held = set(roles)
    if Role.STUDENT in held:
        return identifier, None
    if held & {Role.TEACHER, Role.STAFF, Role.ADMIN}:
        return None, identifier
    return None, None


def first_grade(grades: Iterable[str]) -> tuple[str | None, str | None]:
    """Return (the CEDS code of the first known grade, the first word that is not a grade)."""
    found: str | None = None
    strange: str | None = None
    for word in grades:
        if not word.strip():
            continue
        code = ceds_grade(word)
        if code is None:
            strange = strange or word.strip()
        else:
            found = found or code
    return found, strange


def in_order(roles: Iterable[tuple[Role, str | None, bool]]) -> list[tuple[Role, str | None, bool]]:
    """Return roles as (role, org, is it the primary one) in one order whatever theirs was."""
    return sorted(roles, key=lambda one: (not one[2], _RANK[one[0]], one[1] or ""))


def memberships(
    pairs: Iterable[tuple[Role, str | None]], primary: str | None
) -> tuple[Membership, ...]:
    """Return each role at each org once, in one order whatever the order of the rows.

    ``primary`` is the org of the primary membership, if one of them is there.
    """
    return _memberships(tuple(pairs), primary)


@lru_cache(maxsize=4096)
def _memberships(
    pairs: tuple[tuple[Role, str | None], ...], primary: str | None
) -> tuple[Membership, ...]:
    """Share equal memberships: a school has thousands, and making them is a third of a row."""
    distinct = sorted(set(pairs), key=lambda pair: (_RANK[pair[0]], pair[1] or ""))
    first = next((pair for pair in distinct if pair[1] and pair[1] == primary), None)
    return tuple(
        Membership(role=role, school=org, primary=(role, org) == first) for role, org in distinct
    )


def school_numbers(identifier: str | None) -> tuple[str | None, str | None]:
    """Return an org's ``identifier`` as (NCES id, number).

    It is "for example the NCES id" to the standard: twelve digits are one, anything else is not.
    """
    if identifier is not None and _NCES.fullmatch(identifier.strip()):
        return identifier.strip(), None
    return None, identifier
