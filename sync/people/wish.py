"""Wishes: what the present records of a person say that they should be. Pure.

For each field the first source with a value wins; roles and schools of all records are united.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from core.models import PROFILE_FIELDS
from sync.people.person import Membership, RecordView, UserData

_profile = attrgetter(*PROFILE_FIELDS)


@dataclass(slots=True)
class Wish:
    """What the present records of a person say they should be."""

    profile: dict[str, Any]
    """The fields about which they say anything."""
    memberships: list[Membership]
    enabled: bool
    unread: frozenset[str] = frozenset()
    """Fields that a source says something of that nobody understands: they stay (F15)."""
    unread_at: frozenset[str] = frozenset()
    """Our ids of the schools (empty: none) at which a role is not understood: roles there stay."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of a district in their order of precedence, and how they name the schools."""

    rank: Mapping[int, int]
    names: Mapping[int, str]
    schools: Mapping[tuple[int, str], str]
    """(source id, the source's id of the school) → our id of the school."""
    keeps: Mapping[int, Collection[str]] = field(default_factory=dict)
    """Source id → the fields that keep their value when it stops sending them."""

    def keeps_field(self, records: Sequence[RecordView], name: str) -> bool:
        """Return whether a field that none of these records mentions keeps its value."""
        return any(name in self.keeps.get(record.source_id, ()) for record in records)


def wish_of(records: Sequence[RecordView], sources: Sources) -> Wish:
    """Return what the records ask for: for each field, the first source with a value wins.

    ``records`` are the present ones, at least one, in the order of ``in_precedence``. Roles and
    schools of all records are united.
    """
    first = records[0]
    profile = _said(first.data)
    for record in records[1:]:
        profile = _said(record.data) | profile
    return Wish(
        profile,
        memberships_of(records, sources),
        may_sign_in(records, otherwise=True),
        _unread(records),
        _unread_at(records, sources),
    )


def _unread(records: Sequence[RecordView]) -> frozenset[str]:
    """Return the fields of which the first source to say anything says what is not understood."""
    if not _any_unread(records):
        return frozenset()
    said: set[str] = set()
    unread: set[str] = set()
    for record in records:
        said |= _said(record.data).keys() - unread
        unread |= set(record.data.unread) - said
    return frozenset(unread)


def _unread_at(records: Sequence[RecordView], sources: Sources) -> frozenset[str]:
    """Return our ids of the schools (empty: none) at which a role is not understood."""
    return frozenset(
        [
            _school_of(record, school, sources) if school else ""
            for record in records
            for school in record.data.unread_at
        ]
    )


def _any_unread(records: Sequence[RecordView]) -> bool:
    """Say whether a record holds a word that is not understood: almost nobody's does."""
    if len(records) == 1:
        return bool(records[0].data.unread)
    return any(record.data.unread for record in records)


def may_sign_in(records: Sequence[RecordView], *, otherwise: bool) -> bool:
    """Say whether the first source lets a person sign in: one of its records does.

    ``otherwise`` is the answer where none says so in a word that is understood.
    """
    if len(records) == 1 and not records[0].data.unread:  # almost everybody
        return records[0].data.enabled
    first = records[0].source_id
    own = [record.data for record in records if record.source_id == first]
    clear = [data.enabled for data in own if "enabled" not in data.unread]
    return any(clear) or (otherwise and len(clear) < len(own))


def _said(data: UserData) -> dict[str, Any]:
    """Return the fields about which a record says anything."""
    said = zip(PROFILE_FIELDS, _profile(data), strict=True)
    return {name: value for name, value in said if value is not None}


def memberships_of(records: Sequence[RecordView], sources: Sources) -> list[Membership]:
    """Return roles and schools of all records, sorted, at most one of them primary.

    A membership at none of our schools (OneRoster puts district people at the district's org) is
    never primary.
    """
    if len(records) == 1 and len(records[0].data.memberships) == 1:  # almost everybody
        (member,) = records[0].data.memberships
        school = "" if member.school is None else _school_of(records[0], member.school, sources)
        return [(member.role, school, member.primary and school != "")]
    found: dict[tuple[str, str], bool] = {}
    for record in records:
        for member in record.data.memberships:
            school = ""
            if member.school is not None:
                school = _school_of(record, member.school, sources)
            key = (member.role, school)
            primary = member.primary and school != "" and not any(found.values())
            found[key] = found.get(key, False) or primary
    placed = {role for role, school in found if school}
    return sorted(
        (role, school, primary)
        for (role, school), primary in found.items()
        if school or role not in placed
    )


def _school_of(record: RecordView, school: str, sources: Sources) -> str:
    """Return our id of a school that a record names; empty if we do not have it."""
    return sources.schools.get((record.source_id, school), "")


def unknown_schools(records: Sequence[RecordView], sources: Sources) -> list[tuple[int, str]]:
    """Return (source id, the source's id) of the schools that records name and we do not have."""
    missing = [
        (record.source_id, member.school)
        for record in records
        for member in record.data.memberships
        if member.school is not None and (record.source_id, member.school) not in sources.schools
    ]
    return sorted(set(missing)) if missing else missing


def in_precedence(records: Sequence[RecordView], sources: Sources) -> list[RecordView]:
    """Sort records by their source's precedence, then by id: the first one wins."""
    if len(records) < 2:
        return list(records)
    return sorted(records, key=lambda r: (sources.rank.get(r.source_id, 1 << 30), r.external_id))
