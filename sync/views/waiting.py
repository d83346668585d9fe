"""Who waits for a rollover: people whose change stays open until their school shows the new year.

A run writes them down (S6); ``plan``, ``sync``, ``users --leaving``, ``why``, ``status`` and the
notifications read them here. Nothing here writes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, func, select, text

from core.storage.schema import District, User, WaitingPerson

Json = dict[str, Any]


def waiting_of_run(connection: Connection, run_id: int) -> list[Json]:
    """Return who waits after a run, by name; ``what`` says what they would lose.

    ``{"user_id", "name", "role", "school", "what"}``; ``what`` is ``archive``, ``suspend``,
    ``role`` or ``hold``.
    """
    return _shown(connection, _WAITING_OF_RUN, run=run_id)


def waiting_now(connection: Connection, district_id: int) -> list[Json]:
    """Return who waits since the last sync of a district, as ``waiting_of_run`` does."""
    return _shown(connection, _WAITING_NOW, district=district_id)


def _shown(connection: Connection, statement: TextClause, **about: Any) -> list[Json]:
    return [
        {
            "user_id": row.user_id,
            "name": " ".join(name for name in (row.given_name, row.family_name) if name) or None,
            "role": row.role,
            "school": row.school,
            "what": row.what,
        }
        for row in connection.execute(statement, about)
    ]


def is_waiting(connection: Connection, user_id: str) -> bool:
    """Say whether somebody waits since the last sync."""
    return connection.execute(_WAITS, {"user": user_id}).first() is not None


COUNT_WAITING = (
    select(WaitingPerson.district_id, func.count().label("people"))
    .join_from(WaitingPerson.table, User.table, User.id == WaitingPerson.user_id)
    .join(District.table, District.id == WaitingPerson.district_id)
    .where(WaitingPerson.kept, User.status != "archived")
    .group_by(WaitingPerson.district_id)
)
"""How many wait in each district that has somebody who waits."""
_WAITS = (
    select(User.id)
    .join_from(WaitingPerson.table, User.table, User.id == WaitingPerson.user_id)
    .where(
        WaitingPerson.user_id == bindparam("user"), WaitingPerson.kept, User.status != "archived"
    )
)

# --- Set-wise statements ---
# Who waits is joined with the directory as it is now: people who were archived since wait no more,
# and somebody with several roles or schools is one row.


def _waiting(where: str) -> TextClause:
    return text(
        "SELECT w.user_id, w.what, u.given_name, u.family_name, MIN(m.role) AS role,"
        " MIN(s.name) AS school FROM waiting_people w"
        " JOIN users u ON u.id = w.user_id AND u.status <> 'archived'"
        " LEFT JOIN memberships m ON m.user_id = u.id LEFT JOIN schools s ON s.id = m.school_id"
        f" WHERE {where} GROUP BY w.user_id, w.what, u.given_name, u.family_name"
        " ORDER BY u.family_name, u.given_name, w.user_id"
    )


_WAITING_OF_RUN = _waiting("w.run_id = :run")
_WAITING_NOW = _waiting("w.district_id = :district AND w.kept")
