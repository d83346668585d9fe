"""The words for plans: people by role, actions by verb, reasons in full.

Values in, text out; used by every room that prints changes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

ROLE_NOUNS = {
    "student": ("student", "students"),
    "teacher": ("teacher", "teachers"),
    "staff": ("staff member", "staff members"),
    "admin": ("administrator", "administrators"),
    "contact": ("contact", "contacts"),
    "": ("person", "people"),
}


class Verb(NamedTuple):
    """How an action is printed: its glyph, and the verb for one and for several people."""

    glyph: str
    one: str
    many: str


VERBS = {
    "create": Verb("+", "joins", "join"),
    "restore": Verb("+", "comes back", "come back"),
    "unsuspend": Verb("+", "may sign in again", "may sign in again"),
    "archive": Verb("-", "leaves", "leave"),
    "leaves_scope": Verb(
        "-", "is outside what the source is asked for", "are outside what the source is asked for"
    ),
    "suspend": Verb("-", "may not sign in", "may not sign in"),
    "purge": Verb("-", "is erased", "are erased"),
    "merge": Verb("~", "is merged into another", "are merged into others"),
    "adopt": Verb("~", "is now in a roster too", "are now in a roster too"),
    "update": Verb("~", "changes", "change"),
    "link": Verb("~", "is linked to a record", "are linked to records"),
    "unlink": Verb("~", "is no longer held by a source", "are no longer held by a source"),
}
"""In the order in which they are told."""

SCHOOL_VERBS = VERBS | {
    "create": Verb("+", "is new", "are new"),
    "restore": Verb("+", "is named again", "are named again"),
    "archive": Verb("-", "is archived", "are archived"),
    "unlink": Verb("~", "is no longer named by a source", "are no longer named by a source"),
}

REASONS = {
    "absent": "no source has them any more",
    "by_hand": "by hand",
    "changed_in_source": "changed at the source",
    "disabled_in_source": "the source says they must not sign in",
    "enabled_in_source": "the source says they may sign in again",
    "leaves_scope": "the source was narrowed",
    "new_in_source": "new at the source",
    "protected": "protected: they stay",
    "reused_id": "their id is somebody else's now",
    "returned": "at the source again",
    "returned_disabled": "at the source again, but must not sign in",
    "same_number_without_zeros": "the same number but for leading zeros, and the same names",
    "same_person": "the same person",
    "same_school": "the same school",
    "shares_address": "new at the source, with the address of somebody else",
    "source_retired": "the source was retired",
}

CAPABILITIES = {
    "partial_is_usable": "a reading that broke off may still add and update people",
    "incremental": "can read only what changed since the last reading",
    "skips_unchanged": "skips the reading when the vendor has nothing new",
    "discovery": "lists the districts of a vendor account",
    "reads_by_id": "asks the vendor for single people before they leave",
    "joined": "joins a person from several rows",
    "scoped_by_role": "a file speaks only for the roles it has people of",
    "unique_email": "an email address may stand in one row only",
    "takes_uploads": "reads a file that somebody uploads",
    "upload_only": "fed by upload only, never scheduled",
    "one_upload": "accepts one upload; later changes are asked for one by one",
    "binds_email_domains": "the district's email_domains bind it",
}
"""What a connector can do, by the name of its flag."""

FIELD_WORDS = {
    "given_name": "given name",
    "middle_name": "middle name",
    "family_name": "family name",
    "preferred_given_name": "preferred given name",
    "preferred_middle_name": "preferred middle name",
    "preferred_family_name": "preferred family name",
    "graduation_year": "graduation year",
    "sis_id": "SIS id",
    "student_number": "student number",
    "state_id": "state id",
    "staff_number": "staff number",
    "crd_id": "CRD id",
    "nces_id": "NCES id",
    "locked_fields": "locked fields",
    "primary_school": "primary school",
    "kept_archived": "kept archived",
    "kept_until": "kept until",
}


def count(number: int) -> str:
    """Return a number as people read it: ``9,950``."""
    return f"{number:,}"


def things(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 school``, ``1,200 schools``: ``many`` is ``one`` with an s unless it is given."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def moment(shown: str | None, zone: str) -> str:
    """Return a point in time, given as JSON has it, on a district's own clock.

    ``zone`` is the district's time zone: ``2026-09-01 00:00 CDT``. None is an empty text.
    """
    from sync.run.display import local_moment

    return local_moment(shown, zone)


def people(number: int, role: str | None = None) -> str:
    """Return ``1 student``, ``3 teachers``, ``412 people``."""
    one, many = ROLE_NOUNS.get(role or "", ROLE_NOUNS[""])
    return f"{count(number)} {one if number == 1 else many}"


def noun(role: str | None) -> str:
    """Return ``students``, ``people``."""
    return ROLE_NOUNS.get(role or "", ROLE_NOUNS[""])[1]


def verb(action: str, number: int, *, school: bool = False) -> str:
    """Return the verb after so many people or schools."""
    found = (SCHOOL_VERBS if school else VERBS).get(action)
    if found is None:
        return action.replace("_", " ")
    return found.one if number == 1 else found.many


def glyph(action: str) -> str:
    """Return ``+``, ``~`` or ``-``."""
    return VERBS[action].glyph if action in VERBS else "~"


def reason(slug: str) -> str:
    """Return a reason in words."""
    return REASONS.get(slug, slug.replace("_", " "))


def value(shown: Any) -> str:
    """Return a field's value as people read it."""
    if shown is None or shown == [] or shown == "":
        return "none"
    if isinstance(shown, bool):
        return "yes" if shown else "no"
    if isinstance(shown, list):
        return " and ".join(value(one) for one in shown)
    return str(shown)


def edits(fields: dict[str, list[Any]]) -> str:
    """Return ``grade 08 → 09, email none → ada@x.example``."""
    return ", ".join(
        f"{FIELD_WORDS.get(name, name)} {value(old)} → {value(new)}"
        for name, (old, new) in fields.items()
    )


def counted(counts: dict[str, int]) -> str:
    """Return a plan's counts in a few words: ``412 join, 9 leave``."""
    told = [
        f"{count(counts[action])} {verb(action, counts[action])}"
        for action in VERBS
        if counts.get(action)
    ]
    return ", ".join(told) or "nothing changes"


def person_name(user: dict[str, Any]) -> str:
    """Return how a user is called."""
    given = user["preferred_given_name"] or user["given_name"]
    family = user["preferred_family_name"] or user["family_name"]
    return " ".join(part for part in (given, family) if part)


def state(user: dict[str, Any]) -> str:
    """Return the state of a user: ``active (protected; locked: role)``."""
    notes = ["protected"] if user["protected"] else []
    if user["locked_fields"]:
        notes.append(f"locked: {', '.join(user['locked_fields'])}")
    if user["kept_archived"]:
        until = user["kept_until"]
        notes.append(f"kept so until {until}" if until else "kept so")
    return f"{user['status']} ({'; '.join(notes)})" if notes else str(user["status"])
