"""One person, read with everything a decision needs: for hand acts and for "why?"."""

from __future__ import annotations

from sqlalchemy import Connection, text

from sync.people.person import UserView, read_users


def read_user(connection: Connection, district_id: int, user_id: str) -> UserView | None:
    """Return one user of a district with their records, or None."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS todo_users")
    connection.exec_driver_sql("DROP TABLE IF EXISTS todo_joins")
    connection.exec_driver_sql("CREATE TEMPORARY TABLE todo_users (n INTEGER, target_id TEXT)")
    connection.exec_driver_sql(
        "CREATE TEMPORARY TABLE todo_joins (record_id BIGINT, target_id TEXT, reason TEXT)"
    )
    connection.execute(_ONE, {"id": user_id, "district": district_id})
    found = read_users(connection, 1, 1)
    return found[0] if found else None


_ONE = text(
    "INSERT INTO todo_users SELECT 1, id FROM users WHERE id = :id AND district_id = :district"
)
