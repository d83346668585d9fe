"""Export: the people of a district, or of one source, as rows of a file that ``upload`` accepts.

Uploaded back into its source, such a file changes nothing: the key of each row is the source's own,
and its fields are what the directory says. Whom the format cannot carry is named by user id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, select
from sqlmodel import col

from core.models import UserStatus
from core.tables import Link, Record, User
from sync import people_views

USER_FILE = ("firstname", "lastname", "email", "role", "gradyear", "status", "idnumber")
FLEX_FILE = ("crd_id", "first_name", "last_name", "email")
ROLES = ("admin", "teacher", "staff", "student")
"""The roles the user file knows; of a person with several, the first of these."""

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Somebody whom the file cannot carry, and why."""

    user_id: str
    reason: str


Exported = tuple[str | int, ...] | LeftOut


def header_of(source: Any | None) -> tuple[str, ...]:
    """Return the header of a source's export; of any but ``finra_flex`` it is a user file."""
    return FLEX_FILE if source is not None and source.connector == "finra_flex" else USER_FILE


def export(connection: Connection, district: Any, source: Any | None) -> Iterator[Exported]:
    """Yield the rows in the order of ``header_of``, and whom they leave out.

    Of a source that reads such a file: the active and suspended people whom it holds. Else: the
    active people of the district, or those whom the source holds.
    """
    if source is not None and source.connector in ("user_csv", "finra_flex"):
        yield from _of_source(connection, source)
        return
    name = None if source is None else source.name
    wanted = people_views.UserFilter(status=UserStatus.ACTIVE, source=name)
    for user in people_views.users(connection, district, wanted):
        role = next((role for role in ROLES if role in user["roles"]), None)
        number = user["student_number"] if role == "student" else user["staff_number"]
        yield _user_row(
            user["id"], user, role, user["email"], number or user["sis_id"], user["graduation_year"]
        )


def _of_source(connection: Connection, source: Any) -> Iterator[Exported]:
    after = 0
    while True:
        query: Any = (
            select(col(Record.id).label("record_id"), col(Record.data), *_WANTED)
            .join(Link, col(Link.record_id) == col(Record.id))
            .join(User, col(User.id) == col(Link.target_id))
            .where(
                col(Record.source_id) == source.id,
                col(Record.kind) == "user",
                col(Link.held),
                col(User.status) != UserStatus.ARCHIVED.value,
                col(Record.id) > after,
            )
            .order_by(col(Record.id))
            .limit(_PAGE)
        )
        page = connection.execute(query).mappings().all()
        if not page:
            return
        after = page[-1]["record_id"]
        for row in page:
            yield _row_of_record(source, row)


_WANTED: tuple[Any, ...] = (
    col(User.id).label("user_id"), col(User.given_name), col(User.family_name), col(User.email),
    col(User.graduation_year),
)  # fmt: skip


def _row_of_record(source: Any, row: Any) -> Exported:
    data: dict[str, Any] = msgspec.json.decode(row["data"])
    if source.connector == "finra_flex":
        if not (row["given_name"] and row["family_name"] and row["email"]):
            return LeftOut(row["user_id"], "a FLEX file needs both names and an email address")
        return (data["external_id"], row["given_name"], row["family_name"], row["email"])
    members = data.get("memberships", [])
    role = next((one for one in ROLES if any(m["role"] == one for m in members)), None)
    number = data.get("student_number") or data.get("staff_number")
    # without an idnumber the address is the key: it must be the one that the source knows
    email = row["email"] if number else data.get("email")
    year = row["graduation_year"] if role == "student" else None
    return _user_row(row["user_id"], row, role, email, number, year)


def _user_row(
    user_id: str, user: Any, role: str | None, email: Any, number: Any, year: Any
) -> Exported:
    if role is None:
        return LeftOut(user_id, f"a user file knows the roles {', '.join(ROLES)} only")
    if not email:
        return LeftOut(user_id, "a user file needs an email address")
    if not (user["given_name"] and user["family_name"]):
        return LeftOut(user_id, "a user file needs both names")
    return (
        user["given_name"], user["family_name"], email, role, year or "", "Active", number or "",
    )  # fmt: skip
