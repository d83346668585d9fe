"""The worklists of a plan: the people it decides about, numbered in temporary tables.

``todo_users`` has people whom the directory knows, ``todo_joins`` records that join them, and
``todo_records`` the records of people whom it does not know. ``sync/planning/plan.py`` takes them
batch by batch. Settles and opens records by their state and by the calendar; changes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select, text

from core.storage.database import Database
from core.storage.schema import OpenRecord
from sync.run.open_records import opening
from sync.run.scratch_tables import PeopleToRead, PlanTables

Open = Mapping[str, Any]
"""Whose open records count: ``sources`` that speak, ``all`` whose newcomers may be asked for again,
``district``."""


def close_strangers(connection: Connection, sources: Sequence[int]) -> None:
    """Close the records of people who never joined and are not shared."""
    connection.execute(_SETTLE_STRANGERS, {"sources": sources})


def open_kept_no_longer(connection: Connection, district_id: int, today: str) -> None:
    """Open the records of people who were to stay archived until yesterday (I2)."""
    connection.execute(_OPEN_KEPT_NO_LONGER, {"district": district_id, "today": today})


def list_records(database: Database, tables: PlanTables, open_ones: Open, *, anybody: bool) -> int:
    """Number the open records that nobody is linked to; return how many.

    If the directory does not have ``anybody`` yet, there is nobody to join.
    """
    connection = tables.records.connection
    about = {"sources": open_ones["sources"]}
    many = connection.execute(_COUNT_OPEN, about).scalar_one()
    database.analyze_after_load(connection, many, "open_records", new=True)  # from none to many
    if anybody:
        connection.execute(_LIST_JOINS, open_ones)
    tables.people.joins.index()
    connection.execute(_LIST_RECORDS, open_ones)
    tables.records.index()
    database.analyze(connection, "todo_records", "todo_joins")
    return tables.records.count()


def list_users(database: Database, people: PeopleToRead, open_ones: Open) -> int:
    """Number the users to look at; return how many."""
    connection = people.users.connection
    connection.execute(_LIST_USERS, open_ones)
    people.users.index()
    database.analyze(connection, "todo_users", "todo_joins")
    return people.users.count()


def list_lost(tables: PlanTables, old_id: int, district_id: int) -> int:
    """Number the people that a switch away from source ``old_id`` would lose; return how many."""
    users = tables.people.users
    users.clear()
    users.connection.execute(_LIST_LOST, {"old": old_id, "district": district_id})
    return users.count()


def list_moved(tables: PlanTables) -> None:
    """Number the people whose record moved, and give them their new record (``pairs``)."""
    tables.people.users.clear()
    for query in (_LIST_MOVED_USERS, _LIST_MOVED_JOINS, _LIST_MOVED_ATTACHED, _DROP_MOVED_RECORDS):
        tables.pairs.connection.execute(query)


_SOURCES: BindParameter[Any] = bindparam("sources", expanding=True)
_COUNT_OPEN = (
    select(func.count())
    .select_from(OpenRecord.table)
    .where(OpenRecord.source_id.in_(_SOURCES), OpenRecord.kind == "user")
)


# --- Set-wise statements ---
# They number everybody whom a plan decides about, in the order in which they are decided. The lists
# of every run begin with the open records, by their index of source and kind; the standing plan is
# read once, by itself, and no OR keeps an index from being used.
_SETTLE_STRANGERS = text(
    "DELETE FROM open_records WHERE source_id IN :sources AND kind = 'user'"
    " AND EXISTS (SELECT 1 FROM records r WHERE r.id = open_records.record_id"
    "  AND NOT (r.present AND r.in_scope))"
    " AND NOT EXISTS (SELECT 1 FROM links l WHERE l.record_id = open_records.record_id)"
).bindparams(_SOURCES)
_OPEN_KEPT_NO_LONGER = text(  # time makes them due: they were to stay archived until yesterday (I2)
    opening(
        "r.present AND r.id IN (SELECT l.record_id FROM users u JOIN links l"
        " ON l.target_id = u.id WHERE u.district_id = :district AND u.status = 'archived'"
        " AND u.kept_archived AND u.kept_until < :today)"
    )
)
_LIST_JOINS = text(
    "INSERT INTO todo_joins SELECT record_id, MIN(target_id), MIN(reason) FROM ("
    # another entry of a person we know, by the source's own key of the person
    "SELECT r.id AS record_id, l.target_id, 'same_person' AS reason FROM open_records w"
    " JOIN records r ON r.id = w.record_id"
    " JOIN records o ON o.source_id = r.source_id AND o.person_key = r.person_key"
    " AND o.kind = r.kind JOIN links l ON l.record_id = o.id"
    " WHERE w.source_id IN :sources AND w.kind = 'user' AND r.present AND r.in_scope"
    " AND r.person_key IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM links x WHERE x.record_id = r.id)"
    # a person decided who the record is
    " UNION SELECT r.id, c.decision, 'resolved' FROM open_records w"
    " JOIN records r ON r.id = w.record_id"
    " JOIN conflicts c ON c.record_id = r.id JOIN users u ON u.id = c.decision"
    " WHERE w.source_id IN :sources AND w.kind = 'user'"
    " AND r.present AND r.in_scope AND c.kind = 'user' AND c.status = 'resolved'"
    " AND NOT EXISTS (SELECT 1 FROM links x WHERE x.record_id = r.id)"
    # or to whom a record goes that was somebody else's (I13)
    " UNION SELECT g.record_id, g.to_id, 'resolved' FROM given_away g WHERE g.to_id IS NOT NULL"
    ") AS joins"
    " GROUP BY record_id"
).bindparams(_SOURCES)
_STANDING = (  # by itself: PostgreSQL would go through all changes once for each open record
    "WITH standing AS MATERIALIZED (SELECT c.action, c.target_id, c.record_id FROM plans p"
    " JOIN changes c ON c.plan_id = p.id WHERE p.district_id = :district AND p.standing"
    " AND c.kind = 'user')"
)
_LIST_USERS = text(
    f"INSERT INTO todo_users {_STANDING} SELECT ROW_NUMBER() OVER (ORDER BY target_id), target_id"
    " FROM (SELECT l.target_id FROM open_records w JOIN links l ON l.record_id = w.record_id"
    " WHERE w.source_id IN :sources AND w.kind = 'user'"
    " UNION SELECT target_id FROM todo_joins"
    # people in the held plan are decided again, whatever happened to their source (P3)
    " UNION SELECT l.target_id FROM standing c JOIN links l ON l.target_id = c.target_id"
    " JOIN open_records w ON w.record_id = l.record_id) AS people"
).bindparams(_SOURCES)
_LIST_RECORDS = text(
    f"INSERT INTO todo_records (record_id, cause) {_STANDING} SELECT r.id, asked.cause FROM ("
    # no OR, so that each half uses its index and nothing reads all records
    "SELECT record_id AS id, cause FROM open_records WHERE source_id IN :sources AND kind = 'user'"
    " UNION ALL SELECT w.record_id, w.cause FROM standing c JOIN open_records w"
    " ON w.record_id = c.record_id WHERE c.action = 'create' AND w.source_id NOT IN :sources)"
    " AS asked"
    " CROSS JOIN records r JOIN sources s ON s.id = r.source_id WHERE r.id = asked.id"
    " AND r.kind = 'user' AND r.source_id IN :all AND r.present AND r.in_scope"
    " AND (NOT EXISTS (SELECT 1 FROM links l WHERE l.record_id = r.id)"
    "  OR r.id IN (SELECT g.record_id FROM given_away g WHERE g.to_id IS NULL))"
    " AND NOT EXISTS (SELECT 1 FROM todo_joins j WHERE j.record_id = r.id)"
    " ORDER BY s.precedence, s.id, COALESCE(r.person_key, r.external_id), r.external_id"
).bindparams(_SOURCES, bindparam("all", expanding=True))
_LIST_LOST = text(  # held by the old source alone, and neither matched nor named in a conflict
    "INSERT INTO todo_users SELECT ROW_NUMBER() OVER (ORDER BY target_id), target_id FROM ("
    "SELECT DISTINCT l.target_id FROM links l JOIN records r ON r.id = l.record_id"
    " JOIN users u ON u.id = l.target_id WHERE r.source_id = :old AND r.kind = 'user' AND l.held"
    " AND u.status <> 'archived' AND u.district_id = :district"
    " AND NOT EXISTS (SELECT 1 FROM todo_joins j WHERE j.target_id = u.id)"
    " AND NOT EXISTS (SELECT 1 FROM conflict_people c WHERE c.target_id = u.id)"
    " AND NOT EXISTS (SELECT 1 FROM links o JOIN records x ON x.id = o.record_id"
    " JOIN sources s ON s.id = x.source_id WHERE o.target_id = u.id AND o.held"
    " AND x.source_id <> :old AND x.present AND x.in_scope AND NOT s.retired)) AS lost"
)
_LIST_MOVED_USERS = text(
    "INSERT INTO todo_users SELECT ROW_NUMBER() OVER (ORDER BY target_id), target_id FROM pairs"
    " WHERE moved = 1"
)
_LIST_MOVED_JOINS = text(
    "INSERT INTO todo_joins SELECT record_id, target_id, 'moved' FROM pairs WHERE moved = 1"
)
_LIST_MOVED_ATTACHED = text(
    "INSERT INTO todo_joins SELECT a.record_id, p.target_id, a.reason FROM attached a"
    " JOIN pairs p ON p.record_id = a.base_id WHERE p.moved = 1"
)
_DROP_MOVED_RECORDS = text(
    "DELETE FROM todo_records WHERE record_id IN (SELECT record_id FROM pairs WHERE moved = 1)"
)
