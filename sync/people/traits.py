"""What is known about people, as matching compares it: for new records and for users.

Reads users in batches, decides nothing. ``sync/people/matching.py`` and ``sync/acts/duplicates.py``
use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, String, and_, bindparam, select

from core.models import fold_name, kind_of_person_key
from core.storage.schema import Link, Membership, Record, Source, User
from sync.ledger.domain_moves import spellings
from sync.people.identity import NUMBERS, Candidate, Traits, role_class
from sync.people.person import UserData, decode_user

OwnNumbers = Mapping[int, frozenset[str]]
"""Source id → the numbers that are its own, which identify nobody in other sources."""


def own_numbers(sources: Iterable[Source]) -> dict[int, frozenset[str]]:
    """Return the numbers that are these sources' own; sources without any are left out."""
    return {s.id: frozenset(s.own_numbers) for s in sources if s.own_numbers}


def traits_of(
    entries: Sequence[UserData],
    aliases: Mapping[str, str],
    source_id: int = 0,
    own: frozenset[str] = frozenset(),
) -> Traits:
    """Return what the entries of one person say about who they are; ``own``: `OwnNumbers`."""
    keys: dict[str, set[str]] = defaultdict(set)
    emails: set[str] = set()
    usernames: set[str] = set()
    given: set[str] = set()
    family: set[str] = set()
    roles = {member.role for entry in entries for member in entry.memberships}
    cls = role_class(roles)
    for entry in entries:
        for name in NUMBERS:
            if value := getattr(entry, name):
                keys[_kind(name, cls, source_id if name in own else None)].add(value)
        _add_person_key(keys, entry.person_key)
        if entry.email:
            emails |= spellings(entry.email, aliases)
        if entry.username:
            usernames.add(entry.username.casefold())
        given |= _folded(entry.given_name, entry.preferred_given_name)
        family |= _folded(entry.family_name, entry.preferred_family_name)
    return _known(keys, emails, given, family, roles, usernames)


def _kind(name: str, cls: str, source_id: int | None) -> str:
    return f"{name}:{cls}" if source_id is None else f"{name}@{source_id}:{cls}"


def _known(
    keys: Mapping[str, set[str]],
    emails: Iterable[str],
    given: Iterable[str],
    family: Iterable[str],
    roles: Iterable[str],
    usernames: Iterable[str],
) -> Traits:
    return Traits(
        {kind: frozenset(values) for kind, values in keys.items()},
        frozenset(emails), frozenset(given), frozenset(family), frozenset(roles),
        frozenset(usernames),
    )  # fmt: skip


def _add_person_key(keys: dict[str, set[str]], person_key: str | None) -> None:
    """Add a key that joins entries: a master id of the district, or an id of a userIds type."""
    if person_key is not None and person_key.startswith(("master:", "userid:")):
        keys[kind_of_person_key(person_key)].add(person_key)


def _folded(*names: str | None) -> set[str]:
    return {folded for name in names if name and (folded := fold_name(name))}


# -- users


@dataclass(slots=True)
class KnownUser:
    """A user of the directory as matching sees them."""

    id: str
    known: Traits
    archived: bool
    present_in: set[int] = field(default_factory=set)
    absent_in: set[int] = field(default_factory=set)

    def as_candidate(self, source_id: int, rivals: tuple[bool, bool]) -> Candidate:
        """Return them as a candidate for a record of this source."""
        return Candidate(
            self.id,
            self.known,
            self.archived,
            source_id in self.present_in,
            source_id in self.absent_in,
            *rivals,
            frozenset(self.present_in | self.absent_in),
        )


def read_known(
    connection: Connection,
    ids: Iterable[str],
    aliases: Mapping[str, str],
    own: OwnNumbers | None = None,
) -> dict[str, KnownUser]:
    """Return these users as matching sees them, without those merged into others."""
    wanted = sorted(ids)
    roles: dict[str, set[str]] = defaultdict(set)
    keys: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    here: dict[str, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
    users: dict[str, KnownUser] = {}
    for start in range(0, len(wanted), 500):
        about = {"ids": wanted[start : start + 500]}
        for user_id, role in connection.execute(_ROLES, about):
            roles[user_id].add(role)
        for user_id, source_id, shares, person_key in connection.execute(_LINKED, about):
            here[user_id][0 if shares else 1].add(source_id)
            _add_person_key(keys[user_id], person_key)
        not_common = _read_own(connection, about["ids"], own, roles, keys) if own else set()
        for row in connection.execute(_USERS, about):
            mine = keys[row.id]
            cls = role_class(roles[row.id])
            for name in NUMBERS:
                value = getattr(row, name)
                if value and (row.id, name, value) not in not_common:
                    mine[f"{name}:{cls}"].add(value)
            present, absent = here[row.id]
            users[row.id] = KnownUser(
                row.id,
                _known(
                    mine,
                    spellings(row.email, aliases) if row.email else (),
                    _folded(row.given_name, row.preferred_given_name),
                    _folded(row.family_name, row.preferred_family_name),
                    roles[row.id],
                    (row.username.casefold(),) if row.username else (),
                ),
                row.status == "archived",
                present,
                absent - present,
            )
    return users


def _read_own(
    connection: Connection,
    ids: Sequence[str],
    own: OwnNumbers,
    roles: Mapping[str, set[str]],
    keys: Mapping[str, dict[str, set[str]]],
) -> set[tuple[str, str, str]]:
    """Add to ``keys`` the numbers that are a source's own; return (user, name, value) of each."""
    found: set[tuple[str, str, str]] = set()
    about = {"ids": ids, "sources": sorted(own)}
    for user_id, source_id, data in connection.execute(_OWN, about):
        entry = decode_user(data)
        for name in own[source_id]:
            if value := getattr(entry, name):
                kind = _kind(name, role_class(roles[user_id]), source_id)
                keys[user_id][kind].add(value)
                found.add((user_id, name, value))
    return found


_IDS: Any = bindparam("ids", type_=String, expanding=True)
_ROLES = select(Membership.user_id, Membership.role).where(Membership.user_id.in_(_IDS))
_RETIRED = select(Source.id).where(Source.retired)
_LINKED = (
    select(
        Link.target_id,
        Record.source_id,
        and_(Record.present, Record.in_scope, Record.source_id.not_in(_RETIRED)).label("present"),
        Record.person_key,
    )
    .join_from(Link.table, Record.table, Record.id == Link.record_id)
    .where(Link.target_id.in_(_IDS))
)
_OWN = (
    select(Link.target_id, Record.source_id, Record.data)
    .join_from(Link.table, Record.table, Record.id == Link.record_id)
    .where(
        Link.target_id.in_(_IDS),
        Record.source_id.in_(bindparam("sources", expanding=True)),
        Record.kind == "user",
    )
)
_USERS = select(
    User.id,
    User.status,
    User.email,
    User.username,
    User.given_name,
    User.family_name,
    User.preferred_given_name,
    User.preferred_family_name,
    *(User.table.c[name] for name in NUMBERS),
).where(User.id.in_(_IDS), User.merged_into.is_(None))
