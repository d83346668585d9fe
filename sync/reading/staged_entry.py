"""Staged entries: what the stage keeps of one parsed entry, or why it cannot be used.

Used by ``sync/reading/stream.py`` for entries of one row and by ``sync/reading/join.py`` for joined
ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, TypeVar

from pydantic import ValidationError

from connectors.contract.connector import Connector, Record
from core.errors import DoubtfulKey, SkipRecord
from core.models import (
    Kind,
    Membership,
    NormalizedSchool,
    NormalizedUser,
    ceds_grade,
    fold_email,
)
from sync.reading.order.fingerprints import ReadingTerms
from sync.reading.order.page_order import WIDTH
from sync.reading.stage import State
from sync.reading.stored_prints import StoredPrints
from sync.sources.mapping import Rule

T = TypeVar("T")

STATE = 3
"""The position of the state in a staged entry."""
NOTHING = (None,) * 8
"""raw print, gist print, norm print, data, email, person key, roles, former: all missing."""


def main_stream(connector: Connector) -> str:
    """Return the stream whose rows carry the users themselves."""
    return next(name for name, kind in connector.streams.items() if kind is Kind.USER)


def entry_facts(
    terms: ReadingTerms,
    connector: Connector,
    stream: str,
    record: Record,
    raw_print: bytes | None,
    gist_print: bytes | None,
    known: StoredPrints | None,
    schools: frozenset[str] | None,
) -> tuple[Any, ...]:
    """Return what the stage keeps of one parsed entry, after seq and place.

    Raises ``SkipRecord`` for an address outside the district's domains, if they bind the source.
    """
    kind = _KINDS[record.kind]
    former = record.former_keys[0] if record.former_keys else None
    if record.deleted:
        return (kind, stream, record.key, State.DELETED, *NOTHING)
    if record.school is not None:
        data, email, person = _school_json(record.school), None, None
        memberships: Sequence[Membership] = ()
    else:
        if record.user is None:
            raise SkipRecord("The row says nothing.", rule="empty", key=record.key)
        user = _in_scope(record.user, connector, schools)
        if user is None:
            return (kind, stream, record.key, State.EXCLUDED, *NOTHING)
        email = fold_email(user.email) if user.email else None
        domains = terms.email_domains
        if domains and email and email.rpartition("@")[2] not in domains:
            refusal = DoubtfulKey if record.by_address else SkipRecord
            raise refusal(
                "The email address is outside the district's domains.",
                rule="email-domain",
                column="email",
                key=record.key,
                hint="Correct the address, or add its domain to email_domains of the district.",
            )
        data, person, memberships = _user_json(user), user.person_key, user.memberships
    if "\\u0000" in data:  # PostgreSQL stores none, and would say so only while planning
        raise SkipRecord(
            "The row holds a NUL character.",
            rule="nul",
            key=record.key,
            hint="Correct the value at its source.",
        )
    norm_print = blake2b(data.encode(), digest_size=WIDTH, key=terms.key).digest()
    if known is not None and known.norm == norm_print and former is None:
        return (kind, stream, record.key, State.SEEN, *NOTHING)
    if len(memberships) == 1:  # almost everybody
        roles = f",{memberships[0].role},"
    else:
        roles = f",{','.join(sorted({m.role for m in memberships}))}," if memberships else ""
    return (
        kind, stream, record.key, State.DATA, raw_print, gist_print, norm_print, data, email,
        person, roles, former,
    )  # fmt: skip


_KINDS = {kind: kind.value for kind in Kind}


def _in_scope(
    user: NormalizedUser, connector: Connector, schools: frozenset[str] | None
) -> NormalizedUser | None:
    """Keep only the memberships that the source is asked for; None if none is left."""
    wanted = connector.config.roles
    if len(user.memberships) == 1 and schools is None:  # almost everybody
        return user if user.memberships[0].role in wanted else None
    kept = [
        member
        for member in user.memberships
        if member.role in wanted and (schools is None or member.school in schools)
    ]
    if not kept and (user.memberships or schools is not None):
        return None
    if len(kept) == len(user.memberships) < 2:
        return user
    unique = {(m.role.value, m.school or "", not m.primary): m for m in kept}
    return user.model_copy(update={"memberships": tuple(unique[key] for key in sorted(unique))})


def _user_json(user: NormalizedUser) -> str:
    """Return what ``model_dump_json`` returns, but faster, because every record passes here."""
    return user.__pydantic_serializer__.to_json(user, exclude_defaults=True).decode()


def _school_json(school: NormalizedSchool) -> str:
    return school.model_dump_json(exclude_defaults=True)


def mapped_fields(rules: Sequence[Rule], fields: Mapping[str, Any]) -> dict[str, str | None]:
    """Return what mapping rules make of the fields of a raw record."""
    return {rule.field: rule.value(fields) for rule in rules}


def remapped(record: Record, mapped: Mapping[str, str | None]) -> Record:
    """Return the record with the fields that mapping rules set, validated anew."""
    assert record.user is not None  # noqa: S101 - the caller looked
    values = record.user.model_dump(exclude_defaults=True) | dict(mapped)
    if grade := mapped.get("grade"):
        values["grade"] = ceds_grade(grade)
        if values["grade"] is None:  # as for the connector's own: what we have of it stays (F15)
            values["unread"] = (*(record.user.unread or ()), "grade")
    user = skip_if_refused(lambda: NormalizedUser.model_validate(values))
    return replace(record, user=user)


def skip_if_refused(read: Callable[[], T]) -> T:
    """Turn a model's refusal of one row into a SkipRecord that names the field, not the value."""
    try:
        return read()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        column = ".".join(str(step) for step in first["loc"])
        raise SkipRecord(
            f"The field {column} cannot be used: {first['msg']}.",
            rule="field",
            column=column,
            hint="Correct the value at its source.",
        ) from None
