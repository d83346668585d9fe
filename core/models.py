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


def _clean_text(value: object) -> object:
    """Clean a value, and take out of it what nobody sees: accents are one character each (F16)."""
    if not isinstance(value, str):
        return value
    if not value.isascii():
        return _clean(INVISIBLE.sub("", unicodedata.normalize("NFC", value)))
    value = value.strip()  # nearly every value ends here: what follows is _clean, without a call
    if "\x00" in value:
        raise ValueError("holds a NUL character")
    return value or None


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
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("holds half of a surrogate pair") from None
    return value


def _clean_key(value: object) -> object:
    return "" if (value := _clean(value)) is None else value


Text = Annotated[
    Annotated[str, StringConstraints(max_length=1024)] | None,
    BeforeValidator(_clean_text),
]
Key = Annotated[str, StringConstraints(min_length=1, max_length=512), BeforeValidator(_clean_key)]


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
    email: Text = None
    username: Text = None
    memberships: tuple[Membership, ...] = ()
    grade: str | None = None
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
    unread_at: tuple[Annotated[str, StringConstraints(max_length=512)], ...] | None = None
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
