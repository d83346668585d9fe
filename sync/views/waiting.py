"""Who waits for a rollover: people whose change stays open until their school shows the new year.

A run writes them down (S6); ``plan``, ``sync``, ``users --leaving``, ``why``, ``status`` and the
notifications read them here. Nothing here writes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

Json = dict[str, Any]


def waiting_of_run(connection: Connection, run_id: int) -> list[Json]:
    """Return who waits after a run, by name; ``what`` says what they would lose.

    ``{"user_id", "name", "role", "school", "what"}``; ``what`` is ``archive``, ``suspend``,
    ``role`` or ``hold``.
    """
    return _shown(connection, "w.run_id = :run", run=run_id)


def waiting_now(connection: Connection, district_id: int) -> list[Json]:
    """Return who waits since the last sync of a district, as ``waiting_of_run`` does."""
    return _shown(connection, "w.district_id = :district AND w.kept", district=district_id)


def _shown(connection: Connection, where: str, **about: Any) -> list[Json]:
    return [
        {
            "user_id": row.user_id,
            "name": " ".join(name for name in (row.given_name, row.family_name) if name) or None,
            "role": row.role,
            "school": row.school,
            "what": row.what,
        }
        for row in connection.execute(text(_WAITING.format(where=where)), about)
    ]


def is_waiting(connection: Connection, user_id: str) -> bool:
    """Say whether somebody waits since the last sync."""
    return connection.execute(_ONE, {"user": user_id}).first() is not None


_STILL_HERE = "JOIN users u ON u.id = w.user_id AND u.status <> 'archived'"
COUNT_WAITING = (
    "SELECT w.district_id, COUNT(*) FROM waiting_people w"
    f" {_STILL_HERE} JOIN districts d ON d.id = w.district_id AND w.kept"
)
"""SQL, up to a condition on ``d``: how many wait in each district."""
_WAITING = (
    "SELECT w.user_id, w.what, u.given_name, u.family_name, MIN(m.role) AS role,"
    f" MIN(s.name) AS school FROM waiting_people w {_STILL_HERE}"
    " LEFT JOIN memberships m ON m.user_id = u.id LEFT JOIN schools s ON s.id = m.school_id"
    " WHERE {where} GROUP BY w.user_id, w.what, u.given_name, u.family_name"
    " ORDER BY u.family_name, u.given_name, w.user_id"
)
_ONE = text(f"SELECT 1 FROM waiting_people w {_STILL_HERE} WHERE w.user_id = :user AND w.kept")
