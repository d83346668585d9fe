"""Export: the people of a district, or of one source, as files that ``upload`` accepts.

Uploaded back into its source, such a file changes nothing: the key of each row is the source's own,
and its fields are what the directory says. Whom the format cannot carry is named by user id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

from core.models import UserStatus
from sync.views import people
from sync.views.export_sets import SETS, set_of
from sync.views.export_sheet import Exported, LeftOut, Sheet, held_by

USER_FILE = ("firstname", "lastname", "email", "role", "gradyear", "status", "idnumber")
FLEX_FILE = ("crd_id", "first_name", "last_name", "email")
ROLES = ("admin", "teacher", "staff", "student")
"""The roles the user file knows; of a person with several, the first of these."""


def sheets(connection: Connection, district: Any, source: Any | None) -> list[Sheet]:
    """Return the files of an export.

    Of a source that reads files: its own format, with the active and suspended people whom it
    holds. Else a user file of the active people of the district, or of those whom the source
    holds. Raises ``UsageError`` where its format cannot give back what it read.
    """
    connector = None if source is None else source.connector
    if connector in SETS:
        return set_of(connection, district, source)
    if connector == "finra_flex":
        return [
            Sheet("UploadUsersTemplate.csv", FLEX_FILE, lambda: _flex(connection, source)),
        ]
    if connector == "user_csv":
        return [Sheet("users.csv", USER_FILE, lambda: _user_file(connection, source))]
    return [Sheet("users.csv", USER_FILE, lambda: _anybody(connection, district, source))]


def _anybody(connection: Connection, district: Any, source: Any | None) -> Iterator[Exported]:
    name = None if source is None else source.name
    wanted = people.UserFilter(status=UserStatus.ACTIVE, source=name)
    for user in people.users(connection, district, wanted):
        role = next((role for role in ROLES if role in user["roles"]), None)
        number = user["student_number"] if role == "student" else user["staff_number"]
        yield _user_row(
            user["id"], user, role, user["email"], number or user["sis_id"], user["graduation_year"]
        )


def _flex(connection: Connection, source: Any) -> Iterator[Exported]:
    for user, said in held_by(connection, source):
        if user["given_name"] and user["family_name"] and user["email"]:
            yield said["external_id"], user["given_name"], user["family_name"], user["email"]
        else:
            yield LeftOut(user["user_id"], "a FLEX file needs both names and an email address")


def _user_file(connection: Connection, source: Any) -> Iterator[Exported]:
    for user, said in held_by(connection, source):
        members = said.get("memberships", [])
        role = next((one for one in ROLES if any(m["role"] == one for m in members)), None)
        number = said.get("student_number") or said.get("staff_number")
        # without an idnumber the address is the key: it must be the one that the source knows
        email = user["email"] if number else said.get("email")
        year = user["graduation_year"] if role == "student" else None
        yield _user_row(user["user_id"], user, role, email, number, year)


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
