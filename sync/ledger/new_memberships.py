"""New memberships: the roles and schools that a plan's changes give, in a temporary table.

``sync/ledger/apply.py`` makes it; everything that checks, writes and counts memberships reads it,
so that the JSON of a large plan is read only once. ``sync/views/drift.py``, which writes nothing,
uses the same query instead of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, TextClause, text

from core.storage.database import Database
from sync.run.scratch_tables import PlanPlaces


def keep_places(database: Database, connection: Connection, about: Mapping[str, Any]) -> PlanPlaces:
    """Put the places of a plan into a table, which ends with the connection."""
    kept = PlanPlaces(connection)
    connection.execute(_keeping_places(database), about)
    return kept


# --- Set-wise statements ---
# The memberships of a plan are JSON in its changes, each a list of an unknown length: the database
# takes the lists apart, and SQLite and PostgreSQL have different words for that.


def places(database: Database) -> str:
    """SQL: the memberships of the plan that is bound as ``plan``.

    ``alone``: the only membership that the change gives. ``active``: the change says that the
    person is active; null if it does not say.
    """
    item = database.json_item
    primary = f"({item('m', 2)} = 1)" if database.is_sqlite else f"({item('m', 2)})::boolean"
    return (
        f"SELECT c.target_id, c.record_id, {item('m', 0)} AS role, {item('m', 1)} AS school_id,"
        f" {primary} AS is_primary,"
        f" {database.json_length('c.after', 'memberships')} = 1 AS alone,"
        f" {database.json_text('c.after', 'status')} = 'active' AS active"
        f" FROM changes c, {database.json_each('c.after', 'memberships', 'm')}"
        " WHERE c.plan_id = :plan AND c.kind = 'user' AND c.after IS NOT NULL"
    )


def _keeping_places(database: Database) -> TextClause:
    return text(f"INSERT INTO plan_places {places(database)}")
