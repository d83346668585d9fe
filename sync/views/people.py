"""People as JSON: the list of users with its filters, and the user that a word refers to.

Everything long is a generator that reads page by page, in the order of the user ids. Nothing here
writes, and errors name people only by user id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
)

from core.errors import UsageError
from core.models import Role, UserStatus, fold_email
from core.storage.schema import Link, Membership, Record, School, Source, User
from sync.run.find import Json
from sync.views.districts import BEYOND

Condition = ColumnElement[bool]

STALE_DAYS = 180
"""Days without an act by hand after which a person without a present record is stale (I6)."""

_PAGE = 500
_SEARCHED = (
    "given_name", "family_name", "preferred_given_name", "email", "username",
    "sis_id", "student_number", "state_id", "staff_number", "crd_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users to list; None and False mean no condition. ``school`` is an id or a name."""

    status: UserStatus | None = None
    role: Role | None = None
    school: str | None = None
    origin: str | None = None
    stale: bool = False
    search: str | None = None
    """A part of a name, email address, username or number, in any case."""
    source: str | None = None
    """Only users that the source of this name holds."""
    now: datetime | None = None
    """The time at which *stale* is judged; None means now."""


def count_users(connection: Connection, district: Any, wanted: UserFilter | None = None) -> int:
    """Return how many users of a district match the filter."""
    conditions = _conditions(connection, district, wanted or UserFilter())
    query = select(func.count()).select_from(User.table).where(*conditions)
    return int(connection.execute(query).scalar_one())


def users(
    connection: Connection,
    district: Any,
    wanted: UserFilter | None = None,
    *,
    offset: int = 0,
    limit: int | None = None,
    by_name: bool = False,
) -> Iterator[Json]:
    """Yield the users of a district that match the filter, streamed in the order of their ids.

    ``by_name`` orders by family name instead, for a page that a person reads: give a ``limit``.
    """
    conditions = _conditions(connection, district, wanted or UserFilter())
    query = select(User.table).where(*conditions)
    if by_name:
        query = query.order_by(func.lower(User.family_name), func.lower(User.given_name))
    query = query.order_by(User.id)
    if limit is not None or offset:
        query = query.limit(BEYOND if limit is None else limit).offset(offset)
    if by_name:
        yield from _page(connection, connection.execute(query).all())
        return
    # sorted once and streamed: reading page by page would sort all the rest each time
    rows = connection.execute(query, execution_options={"yield_per": _PAGE})
    for page in rows.partitions():
        yield from _page(connection, page)


def user_json(connection: Connection, district: Any, user_id: str) -> Json:
    """Return one user of a district. Raises ``UsageError``."""
    page = connection.execute(_USER, {"district": district.id, "user": user_id}).all()
    if not page:
        raise _nobody(district)
    return next(_page(connection, page))


_USER = select(User.table).where(
    User.district_id == bindparam("district"), User.id == bindparam("user")
)


def _conditions(connection: Connection, district: Any, wanted: UserFilter) -> list[Condition]:
    """Return the conditions that the wanted users meet."""
    conditions: list[Condition] = [User.district_id == district.id]
    if wanted.status is not None:
        conditions.append(User.status == wanted.status.value)
    if wanted.origin is not None:
        conditions.append(User.origin == wanted.origin)
    member: list[Condition] = []
    if wanted.role is not None:
        member.append(Membership.role == wanted.role.value)
    if wanted.school is not None:
        school = resolve_school(connection, district, wanted.school)
        member.append(Membership.school_id == school)
    if member:
        conditions.append(exists().where(Membership.user_id == User.id, *member))
    if wanted.search:
        conditions.append(_found_by(f"%{_escape(wanted.search)}%"))
    if wanted.source is not None:
        conditions.append(_held_by(Source.name == wanted.source))
    if wanted.stale:
        line = (wanted.now or datetime.now(UTC)) - timedelta(days=STALE_DAYS)
        conditions += [
            User.status == UserStatus.ACTIVE.value,
            ~_held_by(Record.present),
            func.coalesce(User.hand_at, User.created_at) < line,
        ]
    return conditions


def _found_by(pattern: str) -> Condition:
    """Also unfolded, because SQLite folds only ASCII letters."""
    columns = [User.table.c[name] for name in _SEARCHED]
    folded = pattern.casefold()
    return or_(
        *(column.like(pattern, escape="\\") for column in columns),
        *(func.lower(column).like(folded, escape="\\") for column in columns),
    )


def _held_by(condition: Condition) -> Condition:
    """Return whether a record and its source for which the condition is true hold the user."""
    return exists().where(
        Link.target_id == User.id,
        Link.held,
        Record.id == Link.record_id,
        Source.id == Record.source_id,
        condition,
    )


def _escape(part: str) -> str:
    return part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _page(connection: Connection, page: Any) -> Iterator[Json]:
    ids = [row.id for row in page]
    members: dict[str, list[Any]] = {}
    for row in connection.execute(_MEMBERS, {"users": ids}):
        members.setdefault(row.user_id, []).append(row)
    held: dict[str, list[Json]] = {}
    for target, name, external_id in connection.execute(_HOLDERS, {"users": ids}):
        held.setdefault(target, []).append({"source": name, "external_id": external_id})
    for row in page:
        yield _user(row, members.get(row.id, []), held.get(row.id, []))


_MEMBERS = (
    select(
        Membership.user_id,
        Membership.role,
        Membership.school_id,
        Membership.is_primary,
        School.name,
    )
    .join_from(Membership.table, School.table, School.id == Membership.school_id, isouter=True)
    .where(Membership.user_id.in_(bindparam("users", expanding=True)))
    .order_by(Membership.is_primary.desc(), School.name, Membership.role)
)


def _user(row: Any, members: list[Any], records: list[Json]) -> Json:
    schools: dict[str, Json] = {}
    for member in members:
        if member.school_id:
            school = schools.setdefault(
                member.school_id,
                {"id": member.school_id, "name": member.name, "primary": False, "roles": []},
            )
            school["primary"] = school["primary"] or member.is_primary
            school["roles"].append(member.role)
    return {
        "id": row.id,
        "status": row.status,
        "origin": row.origin,
        "given_name": row.given_name,
        "middle_name": row.middle_name,
        "family_name": row.family_name,
        "preferred_given_name": row.preferred_given_name,
        "preferred_middle_name": row.preferred_middle_name,
        "preferred_family_name": row.preferred_family_name,
        "email": row.email,
        "username": row.username,
        "roles": sorted({member.role for member in members}),
        "grade": row.grade,
        "graduation_year": row.graduation_year,
        "sis_id": row.sis_id,
        "student_number": row.student_number,
        "state_id": row.state_id,
        "staff_number": row.staff_number,
        "crd_id": row.crd_id,
        "schools": list(schools.values()),
        "protected": row.protected,
        "locked_fields": row.locked_fields or [],
        "kept_archived": row.kept_archived,
        "kept_until": row.kept_until,
        "sources": list(dict.fromkeys(one["source"] for one in records)),
        "external_ids": records,
    }


def resolve_user(connection: Connection, district: Any, word: str) -> str:
    """Return the id of the user that ``word`` names: a user id, an email, SOURCE:external_id.

    Raises ``UsageError`` for nobody and for several people with one address (by user id only).
    """
    word = word.strip()
    by_id = connection.execute(_USER, {"district": district.id, "user": word}).one_or_none()
    if by_id is not None:
        return str(by_id.id)
    source, colon, external_id = word.partition(":")
    if colon and (found := _by_record(connection, district, source, external_id)):
        return found
    address = {"district": district.id, "email": fold_email(word)}
    by_email = list(connection.execute(_BY_EMAIL, address).scalars())
    if len(by_email) > 1:
        raise UsageError(
            f"{len(by_email)} users of {district.slug} have this email address:"
            f" {', '.join(by_email)}.",
            hint="Give the user id of the one you mean.",
        )
    if not by_email:
        raise _nobody(district)
    return str(by_email[0])


_BY_EMAIL = (
    select(User.id)
    .where(User.district_id == bindparam("district"), User.email_folded == bindparam("email"))
    .order_by(User.id)
    .limit(10)
)


def _by_record(connection: Connection, district: Any, source: str, external_id: str) -> str | None:
    about = {"district": district.id, "source": source, "external_id": external_id}
    found = connection.execute(_BY_RECORD, about).scalar()
    return None if found is None else str(found)


def _nobody(district: Any) -> UsageError:
    return UsageError(
        f"No user of {district.slug} is meant by that.",
        hint="Give a user id, an email address, or SOURCE:external_id;"
        f" rostersync users {district.slug} --search TEXT finds people.",
    )


def resolve_school(connection: Connection, district: Any, word: str) -> str:
    """Return the id of the school that ``word`` names, an id or a name. Raises ``UsageError``."""
    rows = connection.execute(_SCHOOLS, {"district": district.id})
    names = {str(row.id): str(row.name) for row in rows}
    if word in names:
        return word
    folded = word.strip().casefold()
    named = [number for number, name in names.items() if name.casefold() == folded]
    if len(named) > 1:
        raise UsageError(
            f"{len(named)} schools of {district.slug} are called {word!r}: {', '.join(named)}.",
            hint="Give the id of the one you mean.",
        )
    if not named:
        raise UsageError(
            f"{district.slug} has no school {word!r}.", hint="Give a school's name or its id."
        )
    return named[0]


_SCHOOLS = select(School.id, School.name).where(School.district_id == bindparam("district"))


# --- Set-wise statements ---
# Both join three tables for few people, who are found by their ids or by the key of one record.

_HOLDERS = text(
    "SELECT l.target_id, s.name, r.external_id FROM links l JOIN records r ON r.id = l.record_id"
    " JOIN sources s ON s.id = r.source_id WHERE l.target_id IN :users AND l.held"
    " ORDER BY s.precedence, s.name, r.external_id"
).bindparams(bindparam("users", type_=String, expanding=True))
_BY_RECORD = text(
    "SELECT l.target_id FROM links l JOIN records r ON r.id = l.record_id"
    " JOIN sources s ON s.id = r.source_id WHERE s.district_id = :district AND s.name = :source"
    " AND r.kind = 'user' AND r.external_id = :external_id"
)
