"""Writing the user file: one row for each person, as ``user_csv`` reads it.

Used by ``user_csv`` for its exports, and by the engine for the people of a whole district, who may
come from sources of any format.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from connectors.contract.file_exchange import ExportedRow, LeftOut

NAME = "users.csv"
HEADER = ("firstname", "lastname", "email", "role", "gradyear", "status", "idnumber")
_ROLES = ("admin", "teacher", "staff", "student")


def role_of(roles: Collection[str]) -> str | None:
    """Return the role that a user file gives a person with several; None if it knows none."""
    return next((role for role in _ROLES if role in roles), None)


def user_row(
    user_id: str,
    profile: Mapping[str, Any],
    role: str | None,
    *,
    email: str | None,
    number: str | None,
) -> ExportedRow:
    """Return a person's row, or why a user file cannot carry them."""
    if role is None:
        return LeftOut(user_id, f"a user file knows the roles {', '.join(_ROLES)} only")
    if not email:
        return LeftOut(user_id, "a user file needs an email address")
    if not (profile["given_name"] or profile["family_name"]):
        return LeftOut(user_id, "a user file needs a name")
    year = profile["graduation_year"] if role == "student" else None
    return (
        profile["given_name"] or "", profile["family_name"] or "", email, role, year or "",
        "Active", number or "",
    )  # fmt: skip
