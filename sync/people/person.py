"""People as a run sees them: a user with their records, and records that nobody is linked to.

Reads evidence and directory in batches, decides nothing. ``sync/people/wish.py`` says what the
records of a person ask for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, TextClause, text

from core.models import PROFILE_FIELDS, fold_email
from core.storage.stored import from_json
from sync.run.scratch_tables import PeopleToRead, RecordList, SameEntries, SomeRecords

Membership = tuple[str, str, bool]
"""(role, school id or "", is primary) as the directory stores it."""


class MemberData(msgspec.Struct):
    """A membership inside a record's data."""

    role: str
    school: str | None = None
    primary: bool = False


class UserData(msgspec.Struct):
    """A record's data, as ``NormalizedUser`` wrote it."""

    external_id: str
    given_name: str | None = None
    middle_name: str | None = None
    family_name: str | None = None
    preferred_given_name: str | None = None
    preferred_middle_name: str | None = None
    preferred_family_name: str | None = None
    email: str | None = None
    username: str | None = None
    memberships: tuple[MemberData, ...] = ()
    grade: str | None = None
    graduation_year: int | None = None
    sis_id: str | None = None
    student_number: str | None = None
    state_id: str | None = None
    staff_number: str | None = None
    crd_id: str | None = None
    enabled: bool = True
    person_key: str | None = None
    unread: tuple[str, ...] = ()
    unread_at: tuple[str, ...] = ()


decode_user = msgspec.json.Decoder(UserData).decode


@dataclass(slots=True)
class RecordView:
    """One record of a person. ``held`` is None while no link uses it."""

    id: int
    source_id: int
    external_id: str
    version: int
    present: bool
    in_scope: bool
    data: UserData
    cause: str | None = None
    """Why the record is open: ``settings``, ``shrunk_role``, or ``moved`` for everything else;
    None if it is not open."""
    absent_since: datetime | None = None
    absent_fetches: int = 0
    held: bool | None = None
    person_key: str | None = None
    join_reason: str | None = None
    """Why the record belongs to this person, while no link uses it."""
    comes_from: str | None = None
    """The user to whom the record is linked, from whom a person gave it away (I13)."""

    @property
    def speaks(self) -> bool:
        """Return whether the source shares this entry now."""
        return self.present and self.in_scope


@dataclass(slots=True)
class UserView:
    """One user of the directory, with everything a decision needs."""

    id: str
    status: str
    origin: str
    revision: int
    protected: bool
    kept_archived: bool
    kept_until: str | None
    """The last local day of ``kept_archived``, YYYY-MM-DD; None: without end."""
    locked_fields: list[str]
    profile: dict[str, Any]
    memberships: list[Membership] = field(default_factory=list)
    records: list[RecordView] = field(default_factory=list)

    @property
    def groups(self) -> list[tuple[str, str]]:
        """The (school id, role) pairs in which limits count this person."""
        return [(school, role) for role, school, _ in self.memberships]


def stored_profile(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile as the directory keeps it: with the folded form of the email."""
    email = profile.get("email")
    return {**profile, "email_folded": fold_email(email) if email else None}


# -- reading in batches

_BEFORE_PROFILE = 8
"""How many columns of a user stand before those of the profile."""


def read_users(people: PeopleToRead, first: int, last: int) -> list[UserView]:
    """Return the users ``first`` to ``last`` of the list with their records, linked or joining."""
    connection = people.users.connection
    about = {"first": first, "last": last}
    users = {
        row.id: UserView(
            row.id,
            row.status,
            row.origin,
            row.revision,
            bool(row.protected),
            bool(row.kept_archived),
            row.kept_until,
            from_json(row.locked_fields) or [],
            dict(zip(PROFILE_FIELDS, row[_BEFORE_PROFILE:], strict=True)),
        )
        for row in connection.execute(_LISTED_USERS, about)
    }
    for user_id, role, school, primary in connection.execute(_MEMBERSHIPS_OF_LISTED, about):
        users[user_id].memberships.append((role, school, bool(primary)))
    for target, *row in connection.execute(_RECORDS_OF_LISTED, about):
        users[target].records.append(_record(row))
    return list(users.values())


def read_newcomers(
    records: RecordList | SomeRecords,
    first: int,
    last: int,
    *,
    same: SameEntries | None = None,
) -> Iterator[RecordView]:
    """Yield the records ``first`` to ``last`` of a list.

    With ``same``, entries of one person have its person key in common.
    """
    query = _NEWCOMERS[type(records), same is not None]
    for row in records.connection.execute(query, {"first": first, "last": last}).all():
        yield _record(row)


def read_records(
    connection: Connection, ids: Sequence[int], *, same: SameEntries | None = None
) -> dict[int, RecordView]:
    """Return these records, by id; ``same``: see ``read_newcomers``."""
    found: dict[int, RecordView] = {}
    if ids:
        some = SomeRecords(connection)
        rows = [{"n": number, "id": record} for number, record in enumerate(sorted(set(ids)), 1)]
        connection.execute(_LIST_SOME_RECORDS, rows)
        for record in read_newcomers(some, 1, len(rows), same=same):
            found[record.id] = record
    return found


def _record(row: Sequence[Any]) -> RecordView:
    """Make a record from ``_RECORD_COLUMNS``, held and join reason, by position for speed."""
    (
        record_id, source_id, external_id, version, present, in_scope, data, cause, since, fetches,
        person_key, held, join_reason,
    ) = row  # fmt: skip
    return RecordView(
        record_id,
        source_id,
        external_id,
        version,
        bool(present),
        bool(in_scope),
        decode_user(data),
        cause,
        None if since is None else datetime.fromisoformat(since),
        fetches,
        None if held is None else bool(held),
        person_key,
        join_reason,
    )


def read_user(connection: Connection, district_id: int, user_id: str) -> UserView | None:
    """Return one user of a district with their records, or None."""
    people = PeopleToRead.none_yet(connection)
    connection.execute(_LIST_ONE_USER, {"id": user_id, "district": district_id})
    found = read_users(people, 1, 1)
    return found[0] if found else None


# --- Set-wise statements ---
# They read a batch of people by a range of the numbers that a worklist gives them, so that one
# statement reads a thousand people in the order of the list. The columns stand in the order in
# which ``_record`` and ``read_users`` take them, by position for speed.
_RECORD_COLUMNS = (  # a retired source shares nobody, whatever it said before
    "r.id, r.source_id, r.external_id, r.version, (r.present AND r.source_id NOT IN"
    " (SELECT id FROM sources WHERE retired)) AS present, r.in_scope, r.data,"
    " {cause} AS cause, r.absent_since, r.absent_fetches, r.person_key"
)
_LISTED_USERS = text(
    "SELECT u.id, u.status, u.origin, u.revision, u.protected, u.kept_archived, u.kept_until,"
    " u.locked_fields, "
    + ", ".join(f"u.{name}" for name in PROFILE_FIELDS)  # last, see read_users
    + " FROM todo_users t JOIN users u ON u.id = t.target_id"
    " WHERE t.n BETWEEN :first AND :last ORDER BY t.n"
)
_MEMBERSHIPS_OF_LISTED = text(
    "SELECT m.user_id, m.role, m.school_id, m.is_primary FROM todo_users t"
    " JOIN memberships m ON m.user_id = t.target_id WHERE t.n BETWEEN :first AND :last"
    " ORDER BY m.user_id, m.role, m.school_id"
)
_CAUSE = "(SELECT w.cause FROM open_records w WHERE w.record_id = r.id)"
_COLUMNS_OF_LISTED = _RECORD_COLUMNS.format(
    cause=_CAUSE.replace("w.cause", "COALESCE(w.cause, 'moved')")
)
_RECORDS_OF_LISTED = text(
    f"SELECT t.target_id, {_COLUMNS_OF_LISTED}, l.held, NULL AS join_reason FROM todo_users t"
    " JOIN links l ON l.target_id = t.target_id JOIN records r ON r.id = l.record_id"
    " WHERE t.n BETWEEN :first AND :last"
    f" UNION ALL SELECT t.target_id, {_COLUMNS_OF_LISTED}, NULL, j.reason FROM todo_users t"
    " JOIN todo_joins j ON j.target_id = t.target_id JOIN records r ON r.id = j.record_id"
    " WHERE t.n BETWEEN :first AND :last ORDER BY 1, 2"
)


def _newcomers(table: str, *, grouped: bool) -> TextClause:
    person, more = "r.person_key", ""
    if grouped:
        person = "COALESCE(e.person, r.person_key) AS person_key"
        more = " LEFT JOIN same_entries e ON e.record_id = r.id"
    columns = _RECORD_COLUMNS.replace("r.person_key", person)
    return text(
        f"SELECT {columns.format(cause='t.cause' if table == 'todo_records' else _CAUSE)},"
        f" NULL AS held, NULL AS join_reason FROM {table} t JOIN records r ON r.id = t.record_id"
        f"{more} WHERE t.n BETWEEN :first AND :last ORDER BY t.n"
    )


_NEWCOMERS = {
    (table, grouped): _newcomers(table.name, grouped=grouped)
    for table in (RecordList, SomeRecords)
    for grouped in (False, True)
}
_LIST_SOME_RECORDS = text("INSERT INTO some_records VALUES (:n, :id)")
_LIST_ONE_USER = text(
    "INSERT INTO todo_users SELECT 1, id FROM users WHERE id = :id AND district_id = :district"
)
