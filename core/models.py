"""The one user model that every roster is normalised into, and its parts.

A connector makes these, the engine compares them, nothing else reaches a table. There is no field
here for demographics or passwords: data without a field are dropped while reading.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from core.errors import UsageError


class Role(StrEnum):
    """What a person is at a school. A person may hold several."""

    STUDENT = "student"
    TEACHER = "teacher"
    STAFF = "staff"
    ADMIN = "admin"
    CONTACT = "contact"


class UserStatus(StrEnum):
    """The status of a user of the directory. Nobody is ever deleted, except by a purge."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"


class Origin(StrEnum):
    """How a user first came in. It is set once and never changes."""

    SYNC = "sync"
    FILE = "file"
    MANUAL = "manual"


class Kind(StrEnum):
    """What an entry of a roster is about."""

    USER = "user"
    SCHOOL = "school"


GRADES: tuple[str, ...] = (
    "IT", "PR", "PK", "TK", "KG", "01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11",
    "12", "13", "PS", "UG", "Other",
)  # fmt: skip
"""CEDS entry grade levels, lowest first (https://ceds.ed.gov/element/000100)."""

_KNOWN_GRADES = frozenset(GRADES)
_GRADE_WORDS = {
    "infanttoddler": "IT",
    "infant": "IT",
    "preschool": "PR",
    "prekindergarten": "PK",
    "transitionalkindergarten": "TK",
    "kindergarten": "KG",
    "k": "KG",
    "postgraduate": "PS",
    "postsecondary": "PS",
    "ungraded": "UG",
    "other": "Other",
    **{grade.lower(): grade for grade in GRADES},
}


@lru_cache(maxsize=1024)
def ceds_grade(token: str) -> str | None:
    """Return the CEDS code for a vendor's grade token, or None where there is none.

    Takes CEDS codes in any case, Clever's words (``Kindergarten``, ``5``) and plain numbers.
    """
    word = re.sub(r"[\s_-]", "", token).lower()
    if word.isdecimal() and len(word) < 9 and 1 <= int(word) <= 13:
        return f"{int(word):02d}"
    return _GRADE_WORDS.get(word)


def fold_email(email: str) -> str:
    """Return the form of an address that matching compares; the address is stored as given."""
    return email.strip().casefold()


def fold_name(name: str) -> str:
    """Return a name as matching compares it: no accents, no case, letters and digits only."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(sign for sign in plain if sign.isalnum())


def without_zeros(number: str) -> str:
    """Return a whole number without leading zeros, which a spreadsheet eats; others as they are."""
    if number[:1] == "0" and number.isascii() and number.isdecimal():
        return number.lstrip("0") or "0"
    return number


def kind_of_person_key(key: str) -> str:
    """Return what kind of key it is: ``master``, or ``userid:`` with the type of the userIds.

    Only keys of one kind can contradict each other.
    """
    kind, _, value = key.partition(":")
    return f"{kind}:{value.partition(':')[0].casefold()}" if kind == "userid" else kind


INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e007f]"
)
"""Zero-width characters, direction marks, byte order marks, variation selectors, soft hyphens."""


LONGEST = 1024
"""Characters of a value."""
LONGEST_KEY = 512
"""Characters of an id."""
LONGEST_ACTOR = 255
"""Characters of the name under which somebody acts."""
MOST_BYTES = 2 * LONGEST
"""Bytes of a value in UTF-8: PostgreSQL's indexes hold little more. An id is never longer."""


def _too_long() -> PydanticCustomError:
    return PydanticCustomError(
        "bytes_too_long",
        "should have at most {max_bytes} bytes in UTF-8, also in small letters",
        {"max_bytes": MOST_BYTES},
    )


_BREAKS = re.compile("[\x01-\x1f\x7f-\x9f\u2028\u2029]+")
"""Line breaks, tabs and every other control character. NUL is refused instead, by ``_clean``."""


def _clean_text(value: object) -> object:
    """Clean a value, and take out of it what nobody sees: accents are one character each (F16).

    A line break, a tab or another control character inside it becomes a space.
    """
    if not isinstance(value, str):
        return value
    if not value.isascii():
        value = INVISIBLE.sub("", unicodedata.normalize("NFC", value))
        return _clean(value if value.isprintable() else _unbroken(value))
    value = value.strip()  # nearly every value ends here: what follows is _clean, without a call
    if not value.isprintable():
        value = _unbroken(value)
        if "\x00" in value:
            raise ValueError("holds a NUL character")
    return value or None


def _unbroken(value: str) -> str:
    return " ".join(part for some in _BREAKS.split(value) if (part := some.strip()))


def _clean(value: object) -> object:
    """Treat absent, null, empty and blank alike (AC6); refuse what no database can store."""
    if isinstance(value, str):
        value = value.strip()
        if not value:
            return None
        if "\x00" in value:
            raise ValueError("holds a NUL character")
        if not value.isascii():
            try:
                size = len(value.encode())
            except UnicodeEncodeError:
                raise ValueError("holds half of a surrogate pair") from None
            if size > MOST_BYTES:
                raise _too_long()
    return value


def _clean_email(value: object) -> object:
    """Clean an address; the form that matching compares may be longer, and has to fit as well."""
    value = _clean_text(value)
    if isinstance(value, str) and len(value) <= LONGEST and not fits_as_email(value):
        raise _too_long()
    return value


def fits_as_email(email: str) -> bool:
    """Say whether an address fits, also in the form that matching compares, which may be longer."""
    if email.isascii():
        return len(email) <= LONGEST
    folded = fold_email(email)
    longest = max(len(email.encode()), len(folded.encode()))
    return max(len(email), len(folded)) <= LONGEST and longest <= MOST_BYTES


def _clean_grade(value: object) -> object:
    value = _clean(value)
    if isinstance(value, str) and value not in _KNOWN_GRADES:
        raise ValueError("is not a CEDS grade")
    return value


def _clean_key(value: object) -> object:
    return "" if (value := _clean(value)) is None else value


Text = Annotated[
    Annotated[str, StringConstraints(max_length=LONGEST)] | None,
    BeforeValidator(_clean_text),
]
Email = Annotated[
    Annotated[str, StringConstraints(max_length=LONGEST)] | None,
    BeforeValidator(_clean_email),
]
Grade = Annotated[str | None, BeforeValidator(_clean_grade)]
Key = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_KEY), BeforeValidator(_clean_key)
]


def checked_actor(actor: str) -> str:
    """Return the name under which somebody acts. Raises ``UsageError`` if it cannot be kept."""
    if len(actor) > LONGEST_ACTOR:
        raise UsageError(
            f"The actor's name is too long: {len(actor)} characters.",
            hint=f"Give --actor at most {LONGEST_ACTOR} characters.",
        )
    _check_storable(actor, "The actor's name")
    return actor


def checked_reason(reason: str | None) -> str | None:
    """Return the reason that somebody gave. Raises ``UsageError`` if it cannot be kept."""
    if reason is not None:
        _check_storable(reason, "The reason")
    return reason


def _check_storable(words: str, what: str) -> None:
    if "\x00" in words or words.encode("utf-8", "replace").decode() != words:
        raise UsageError(
            f"{what} holds a NUL character or half of a surrogate pair.", hint="Type it again."
        )


class Membership(BaseModel):
    """A role of a person at one school, or at none (``school`` None) for district people.

    ``school`` is the source's own id of the school. At most one membership of a person is primary.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    school: Key | None = None
    primary: bool = False


class NormalizedUser(BaseModel):
    """One user entry of a roster in our words. Email is optional: some people have none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    external_id: Key
    given_name: Text = None
    middle_name: Text = None
    family_name: Text = None
    preferred_given_name: Text = None
    preferred_middle_name: Text = None
    preferred_family_name: Text = None
    email: Email = None
    username: Text = None
    memberships: tuple[Membership, ...] = ()
    grade: Grade = None
    """A CEDS code, see ``GRADES``."""
    graduation_year: Annotated[int, Field(ge=1900, le=2200)] | None = None
    sis_id: Text = None
    student_number: Text = None
    state_id: Text = None
    staff_number: Text = None
    crd_id: Text = None
    enabled: bool = True
    """False: present, but must not sign in (OneRoster ``enabledUser``): the user is suspended."""
    person_key: Text = None
    """What joins several entries of one person in one source (I5): ``master:ID`` for OneRoster's
    userMasterIdentifier, ``userid:TYPE:ID`` for a configured userIds type. Nothing else joins."""
    unread: tuple[str, ...] | None = None
    """Fields (of ``PROFILE_FIELDS``, or ``enabled``) whose value was there and was not understood:
    what we have of them stays as it is (F15)."""
    unread_at: tuple[Annotated[str, StringConstraints(max_length=LONGEST_KEY)], ...] | None = None
    """The source's ids of the schools at which a role was not understood (``""``: at none): the
    roles that we have there stay."""


PROFILE_FIELDS: tuple[str, ...] = (
    "given_name", "middle_name", "family_name",
    "preferred_given_name", "preferred_middle_name", "preferred_family_name",
    "email", "username", "grade", "graduation_year",
    "sis_id", "student_number", "state_id", "staff_number", "crd_id",
)  # fmt: skip
"""The fields of a user that a source may set, in the order in which they are shown."""


class NormalizedSchool(BaseModel):
    """One school of a roster in our words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    external_id: Key
    name: Key
    nces_id: Text = None
    state_id: Text = None
    number: Text = None
