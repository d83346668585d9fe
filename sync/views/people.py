"""People as JSON: the list of users with its filters, and the user that a word refers to.

Everything long is a generator that reads page by page, in the order of the user ids. Nothing here
writes, and errors name people only by user id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, String, bindparam, text

from core.columns import typed
from core.errors import UsageError
from core.models import Role, UserStatus, fold_email
from core.schema import Membership, User
from core.stored import utc_text
from sync.run.find import Json
from sync.views.districts import BEYOND

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
    where, about = _conditions(connection, district, wanted or UserFilter())
    query = text(f"SELECT COUNT(*) FROM users u WHERE {where}")
    return int(connection.execute(query, about).scalar_one())


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
    where, about = _conditions(connection, district, wanted or UserFilter())
    order = "LOWER(u.family_name), LOWER(u.given_name), u.id" if by_name else "u.id"
    cut = "" if limit is None and not offset else " LIMIT :limit OFFSET :offset"
    about |= {"limit": BEYOND if limit is None else limit, "offset": offset}
    query = typed(f"SELECT u.* FROM users u WHERE {where} ORDER BY {order}{cut}", User)
    if by_name:
        yield from _page(connection, connection.execute(query, about).all())
        return
    # sorted once and streamed: reading page by page would sort all the rest each time
    rows = connection.execute(query, about, execution_options={"yield_per": _PAGE})
    for page in rows.partitions():
        yield from _page(connection, page)


def user_json(connection: Connection, district: Any, user_id: str) -> Json:
    """Return one user of a district. Raises ``UsageError``."""
    page = connection.execute(_USER, {"district": district.id, "user": user_id}).all()
    if not page:
        raise _nobody(district)
    return next(_page(connection, page))


_USER = typed("SELECT * FROM users WHERE district_id = :district AND id = :user", User)


def _conditions(connection: Connection, district: Any, wanted: UserFilter) -> tuple[str, Json]:
    """Return the condition in SQL that the users ``u`` meet, and the values bound in it."""
    about: Json = {"district": district.id}
    conditions = ["u.district_id = :district"]
    if wanted.status is not None:
        conditions.append("u.status = :status")
        about["status"] = wanted.status.value
    if wanted.origin is not None:
        conditions.append("u.origin = :origin")
        about["origin"] = wanted.origin
    member = ""
    if wanted.role is not None:
        member += " AND m.role = :role"
        about["role"] = wanted.role.value
    if wanted.school is not None:
        member += " AND m.school_id = :school"
        about["school"] = resolve_school(connection, district, wanted.school)
    if member:
        conditions.append(f"EXISTS (SELECT 1 FROM memberships m WHERE m.user_id = u.id{member})")
    if wanted.search:
        conditions.append(_SEARCH)
        given = f"%{_escape(wanted.search)}%"
        about |= {"given": given, "folded": given.casefold()}
    if wanted.source is not None:
        conditions.append(_HELD_BY.format("s.name = :source"))
        about["source"] = wanted.source
    if wanted.stale:
        conditions += [
            "u.status = 'active'",
            f"NOT {_HELD_BY.format('r.present')}",
            "COALESCE(u.hand_at, u.created_at) < :line",
        ]
        line = (wanted.now or datetime.now(UTC)) - timedelta(days=STALE_DAYS)
        about["line"] = utc_text(line)
    return " AND ".join(conditions), about


# Also unfolded, because SQLite folds only ASCII letters.
_SEARCH = "({})".format(
    " OR ".join(
        f"u.{name} LIKE :given ESCAPE '\\' OR LOWER(u.{name}) LIKE :folded ESCAPE '\\'"
        for name in _SEARCHED
    )
)
_HELD_BY = (
    "EXISTS (SELECT 1 FROM links l, records r, sources s WHERE l.target_id = u.id AND l.held"
    " AND r.id = l.record_id AND s.id = r.source_id AND {})"
)


def _escape(part: str) -> str:
    return part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _page(connection: Connection, page: Any) -> Iterator[Json]:
    ids = [row.id for row in page]
    members: dict[str, list[Any]] = {}
    for row in connection.execute(_MEMBERS, {"users": ids}):
        members.setdefault(row.user_id, []).append(row)
    held: dict[str, dict[str, None]] = {}
    for target, name in connection.execute(_HOLDERS, {"users": ids}):
        held.setdefault(target, {})[name] = None
    for row in page:
        yield _user(row, members.get(row.id, []), list(held.get(row.id, {})))


_IDS: Any = bindparam("users", type_=String, expanding=True)
_MEMBERS = typed(
    "SELECT m.user_id, m.role, m.school_id, m.is_primary, s.name FROM memberships m"
    " LEFT JOIN schools s ON s.id = m.school_id WHERE m.user_id IN :users"
    " ORDER BY m.is_primary DESC, s.name, m.role",
    Membership,
).bindparams(_IDS)
_HOLDERS = text(
    "SELECT l.target_id, s.name FROM links l JOIN records r ON r.id = l.record_id"
    " JOIN sources s ON s.id = r.source_id WHERE l.target_id IN :users AND l.held"
    " ORDER BY s.precedence, s.name"
).bindparams(_IDS)


def _user(row: Any, members: list[Any], sources: list[str]) -> Json:
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
        "sources": sources,
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


_BY_EMAIL = text(
    "SELECT id FROM users WHERE district_id = :district AND email_folded = :email"
    " ORDER BY id LIMIT 10"
)


def _by_record(connection: Connection, district: Any, source: str, external_id: str) -> str | None:
    about = {"district": district.id, "source": source, "external_id": external_id}
    found = connection.execute(_BY_RECORD, about).scalar()
    return None if found is None else str(found)


_BY_RECORD = text(
    "SELECT l.target_id FROM links l JOIN records r ON r.id = l.record_id"
    " JOIN sources s ON s.id = r.source_id WHERE s.district_id = :district AND s.name = :source"
    " AND r.kind = 'user' AND r.external_id = :external_id"
)


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


_SCHOOLS = text("SELECT id, name FROM schools WHERE district_id = :district")
