"""People as JSON: the list of users with its filters, and who is meant by USER on a command line.

Everything long is a generator that reads page by page, in the order of the user ids. Nothing here
writes, and no error names a person but by user id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, exists, func, or_, select
from sqlmodel import col

from core.errors import UsageError
from core.models import Kind, Role, UserStatus, fold_email
from core.tables import Link, Membership, Record, School, Source, User
from sync.views import Json

STALE_DAYS = 180
"""Days untouched by hand after which somebody whom no record holds is stale (I6)."""

_PAGE = 500
_SEARCHED = (
    User.given_name, User.family_name, User.preferred_given_name, User.email, User.username,
    User.sis_id, User.student_number, User.state_id, User.staff_number, User.crd_id,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users to list; None and False leave a condition out. ``school`` is an id or a name."""

    status: UserStatus | None = None
    role: Role | None = None
    school: str | None = None
    origin: str | None = None
    stale: bool = False
    search: str | None = None
    """A part of a name, email address, username or number, in any case."""
    source: str | None = None
    """The name of a source that holds them."""
    now: datetime | None = None
    """The moment *stale* is judged at; None: this one."""


def count_users(connection: Connection, district: Any, wanted: UserFilter | None = None) -> int:
    """Return how many users of a district the filter leaves."""
    conditions = _conditions(connection, district, wanted or UserFilter())
    return connection.execute(
        select(func.count()).select_from(User).where(*conditions)
    ).scalar_one()


def users(
    connection: Connection,
    district: Any,
    wanted: UserFilter | None = None,
    *,
    offset: int = 0,
    limit: int | None = None,
    by_name: bool = False,
) -> Iterator[Json]:
    """Yield the users of a district whom the filter leaves, streamed in the order of their ids.

    ``by_name`` orders by family name instead, for a page that a person reads: give a ``limit``.
    """
    conditions = _conditions(connection, district, wanted or UserFilter())
    query: Any = select(User).where(*conditions)
    if by_name:
        order = (func.lower(col(User.family_name)), func.lower(col(User.given_name)), col(User.id))
        query = query.order_by(*order).offset(offset).limit(limit)
        yield from _page(connection, connection.execute(query).all())
        return
    # sorted once and streamed: page after page by the last id would sort all the rest each time
    query = query.order_by(col(User.id)).offset(offset).limit(limit)
    rows: Any = connection.execute(query, execution_options={"yield_per": _PAGE})
    for page in rows.partitions():
        yield from _page(connection, page)


def user_json(connection: Connection, district: Any, user_id: str) -> Json:
    """Return one user of a district. Raises ``UsageError``."""
    query: Any = select(User).where(col(User.district_id) == district.id, col(User.id) == user_id)
    page: Any = connection.execute(query).all()
    if not page:
        raise _nobody(district)
    return next(_page(connection, page))


def _conditions(connection: Connection, district: Any, wanted: UserFilter) -> list[Any]:
    conditions: list[Any] = [col(User.district_id) == district.id]
    if wanted.status is not None:
        conditions.append(col(User.status) == wanted.status.value)
    if wanted.origin is not None:
        conditions.append(col(User.origin) == wanted.origin)
    member: list[Any] = [col(Membership.user_id) == col(User.id)]
    if wanted.role is not None:
        member.append(col(Membership.role) == wanted.role.value)
    if wanted.school is not None:
        member.append(
            col(Membership.school_id) == resolve_school(connection, district, wanted.school)
        )
    if len(member) > 1:
        conditions.append(exists().where(*member))
    if wanted.search:
        # As given too: SQLite folds no letter beyond ASCII.
        given = f"%{_escape(wanted.search)}%"
        conditions.append(
            or_(
                *(
                    like
                    for column in _SEARCHED
                    for like in (
                        col(column).like(given, escape="\\"),
                        func.lower(col(column)).like(given.casefold(), escape="\\"),
                    )
                )
            )
        )
    if wanted.source is not None:
        conditions.append(_held_by(col(Source.name) == wanted.source))
    if wanted.stale:
        line = (wanted.now or datetime.now(UTC)) - timedelta(days=STALE_DAYS)
        conditions += [
            col(User.status) == "active",
            ~_held_by(col(Record.present)),
            func.coalesce(col(User.hand_at), col(User.created_at)) < line,
        ]
    return conditions


def _held_by(condition: Any) -> Any:
    """Return the condition that a record which meets ``condition`` holds the user."""
    return exists().where(
        col(Link.target_id) == col(User.id),
        col(Link.held),
        col(Record.id) == col(Link.record_id),
        col(Source.id) == col(Record.source_id),
        condition,
    )


def _escape(part: str) -> str:
    return part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _page(connection: Connection, page: Any) -> Iterator[Json]:
    ids = [row.id for row in page]
    members: dict[str, list[Any]] = {}
    query: Any = (
        select(
            col(Membership.user_id),
            col(Membership.role),
            col(Membership.school_id),
            col(Membership.is_primary),
            col(School.name),
        )
        .outerjoin(School, col(School.id) == col(Membership.school_id))
        .where(col(Membership.user_id).in_(ids))
        .order_by(col(Membership.is_primary).desc(), col(School.name), col(Membership.role))
    )
    for row in connection.execute(query):
        members.setdefault(row.user_id, []).append(row)
    held: dict[str, dict[str, None]] = {}
    query = (
        select(col(Link.target_id), col(Source.name))
        .join(Record, col(Record.id) == col(Link.record_id))
        .join(Source, col(Source.id) == col(Record.source_id))
        .where(col(Link.target_id).in_(ids), col(Link.held))
        .order_by(col(Source.precedence), col(Source.name))
    )
    for target, name in connection.execute(query):
        held.setdefault(target, {})[name] = None
    for row in page:
        yield _user(row, members.get(row.id, []), list(held.get(row.id, {})))


def _user(row: Any, members: list[Any], sources: list[str]) -> Json:
    schools: dict[str, Json] = {}
    for member in members:
        if member.school_id:
            school = schools.setdefault(
                member.school_id,
                {"id": member.school_id, "name": member.name, "primary": False, "roles": []},
            )
            school["primary"] = school["primary"] or bool(member.is_primary)
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
        "protected": bool(row.protected),
        "locked_fields": row.locked_fields or [],
        "kept_archived": bool(row.kept_archived),
        "kept_until": row.kept_until,
        "sources": sources,
    }


def resolve_user(connection: Connection, district: Any, word: str) -> str:
    """Return the id of the user that ``word`` means: a user id, an email, SOURCE:external_id.

    Raises ``UsageError``: nobody, or several people with one address, listed by user id only.
    """
    word = word.strip()
    here: Any = select(col(User.id)).where(col(User.district_id) == district.id)
    by_id = connection.execute(here.where(col(User.id) == word)).scalar()
    if by_id is not None:
        return str(by_id)
    source, colon, external_id = word.partition(":")
    if colon and (found := _by_record(connection, district, source, external_id)):
        return found
    by_email = [
        str(number)
        for (number,) in connection.execute(
            here.where(col(User.email_folded) == fold_email(word)).order_by(col(User.id)).limit(10)
        )
    ]
    if len(by_email) > 1:
        raise UsageError(
            f"{len(by_email)} users of {district.slug} have this email address:"
            f" {', '.join(by_email)}.",
            hint="Give the user id of the one you mean.",
        )
    if not by_email:
        raise _nobody(district)
    return by_email[0]


def _by_record(connection: Connection, district: Any, source: str, external_id: str) -> str | None:
    query: Any = (
        select(col(Link.target_id))
        .join(Record, col(Record.id) == col(Link.record_id))
        .join(Source, col(Source.id) == col(Record.source_id))
        .where(
            col(Source.district_id) == district.id,
            col(Source.name) == source,
            col(Record.kind) == Kind.USER.value,
            col(Record.external_id) == external_id,
        )
    )
    found = connection.execute(query).scalar()
    return None if found is None else str(found)


def _nobody(district: Any) -> UsageError:
    return UsageError(
        f"No user of {district.slug} is meant by that.",
        hint="Give a user id, an email address, or SOURCE:external_id;"
        f" rostersync users {district.slug} --search TEXT finds people.",
    )


def resolve_school(connection: Connection, district: Any, word: str) -> str:
    """Return the id of the school that ``word`` means, an id or a name. Raises ``UsageError``."""
    here: Any = select(col(School.id), col(School.name)).where(
        col(School.district_id) == district.id
    )
    by_id = connection.execute(here.where(col(School.id) == word)).scalar()
    if by_id is not None:
        return str(by_id)
    folded = word.strip().casefold()
    named = [str(row.id) for row in connection.execute(here) if row.name.casefold() == folded]
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
