"""Identity: who a new record may be, and the ids under which new people and schools come in.

Email alone is weak evidence (rule 6): a new record with another user's address is a conflict that
a person decides (I5). A create that resembles a leaver of the same run is never applied beside that
leaver's archive (L7).
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

from sqlalchemy import Connection, bindparam, text

from sync.people import UserData

USER_PREFIX = "u"
SCHOOL_PREFIX = "s"


def new_id(key: bytes, prefix: str, *about: object) -> str:
    """Return the id for something new: the same for the same installation and the same words.

    So a plan names whom it creates, two readings of one roster make the same plan, and no id tells
    what it was made from.
    """
    words = "\0".join(str(word) for word in about).encode()
    digest = blake2b(words, digest_size=10, key=key[:32], person=b"rostersync-id").digest()
    return prefix + base64.b32encode(digest).decode().lower()


def role_class(roles: Iterable[str]) -> str:
    """Return within whom a number is unique: students, contacts, or the adults of a school."""
    words = set(roles)
    if "student" in words:
        return "student"
    return "contact" if words == {"contact"} else "staff"


def strong_keys(data: Mapping[str, object], roles: Iterable[str]) -> list[str]:
    """Return the ids that say who somebody is, whatever the source (same id: the same person)."""
    cls = role_class(roles)
    keys = [
        f"{name}:{cls}:{value}"
        for name in ("sis_id", "student_number", "staff_number", "state_id", "crd_id")
        if (value := data.get(name))
    ]
    person = data.get("person_key")
    return (
        [*keys, str(person)] if isinstance(person, str) and person.startswith("master:") else keys
    )


def weak_keys(data: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Return the local part of the address and the names, folded: weak each, strong together."""
    email, given, family = data.get("email"), data.get("given_name"), data.get("family_name")
    local = str(email).casefold().rpartition("@")[0] if email else None
    names = f"{given or ''}|{family}".casefold() if family else None
    return local or None, names


def keys_of(data: UserData) -> tuple[list[str], str | None, str | None]:
    """Return strong keys, local part and names of a record's data."""
    values = {
        "sis_id": data.sis_id,
        "student_number": data.student_number,
        "staff_number": data.staff_number,
        "state_id": data.state_id,
        "crd_id": data.crd_id,
        "person_key": data.person_key,
        "email": data.email,
        "given_name": data.given_name,
        "family_name": data.family_name,
    }
    local, names = weak_keys(values)
    return strong_keys(values, (m.role for m in data.memberships)), local, names


# -- conflicts (I5)


def users_with_emails(
    connection: Connection, district_id: int, emails: Sequence[str]
) -> dict[str, list[str]]:
    """Return folded address → ids of the users who have it, archived ones too."""
    found: dict[str, list[str]] = defaultdict(list)
    if emails:
        rows = connection.execute(_BY_EMAIL, {"district": district_id, "emails": list(emails)})
        for email, user_id in rows:
            found[email].append(user_id)
    return found


def records_with_emails(
    connection: Connection, source_ids: Sequence[int], emails: Sequence[str]
) -> dict[str, list[tuple[int, str, str | None]]]:
    """Return folded address → (source id, external id, user id or None) of present records."""
    found: dict[str, list[tuple[int, str, str | None]]] = defaultdict(list)
    if emails and source_ids:
        about = {"sources": list(source_ids), "emails": list(emails)}
        for email, source_id, external_id, user_id in connection.execute(_RECORDS, about):
            found[email].append((source_id, external_id, user_id))
    return found


_BY_EMAIL = text(
    "SELECT email_folded, id FROM users WHERE district_id = :district AND email_folded IN :emails"
    " ORDER BY id"
).bindparams(bindparam("emails", expanding=True))
_RECORDS = text(
    "SELECT r.email, r.source_id, r.external_id, l.target_id FROM records r"
    " LEFT JOIN links l ON l.record_id = r.id WHERE r.email IN :emails AND r.kind = 'user'"
    " AND r.present AND r.in_scope AND r.source_id IN :sources"
    " ORDER BY r.source_id, r.external_id"
).bindparams(bindparam("emails", expanding=True), bindparam("sources", expanding=True))
