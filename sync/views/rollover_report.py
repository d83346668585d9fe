"""The rollover report: what happened in the first weeks after a pause, for the admin to confirm.

Counts by school and role, the date of the vendors' data, and active people who are in no roster.
Nothing here writes.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, TextClause, bindparam, select, text

from core.storage.database import Database
from core.storage.schema import School
from core.storage.stored import utc_text
from sync.run import find
from sync.run.calendar import calendar_of
from sync.run.display import shown_time
from sync.run.find import Json
from sync.views import people as people_views

KINDS = ("new", "returned", "left", "moved", "held")
_DEFAULT_DAYS = 30


def rollover_report(
    database: Database,
    connection: Connection,
    slug: str,
    now: datetime,
    since: date | None = None,
) -> Json:
    """Return the report since the district came back from its last pause, or since a local day.

    ``groups`` are ``{"school", "role", "new", "returned", "left", "moved", "held"}``, people each;
    ``still_in`` counts active people who are in no roster: ``manual``, ``protected`` and ``stale``
    (I6). Raises ``UsageError`` for an unknown district.
    """
    row = find.district_row(connection, slug)
    found = calendar_of(row)
    today = found.today(now)
    first = since or found.state.returned or today - timedelta(days=_DEFAULT_DAYS)
    start = datetime(first.year, first.month, first.day, tzinfo=found.settings.zone)
    about = {"district": found.district_id, "start": utc_text(start)}
    groups: Counter[tuple[str, str, str]] = Counter()
    moved = database.json_has("c.after", "memberships")
    for query in (_changed(moved), _HELD):
        for school, role, kind, people in connection.execute(query, about):
            groups[school or "", role or "", kind] += int(people)
    names = {row.id: row.name for row in connection.execute(_SCHOOLS, about)}
    shown = [
        {
            "school": names.get(school) if school else None,
            "role": role or None,
            **{kind: groups[school, role, kind] for kind in KINDS},
        }
        for school, role in sorted(
            {key[:2] for key in groups}, key=lambda key: (names.get(key[0], ""), key[1])
        )
    ]
    stale = people_views.UserFilter(stale=True, now=now)
    manual = people_views.UserFilter(stale=True, origin="manual", now=now)
    return {
        "district": slug,
        "since": first,
        "sources": [
            {
                "source": one.name,
                "vendor_time": shown_time(one.vendor_time),
                "complete_at": shown_time(one.complete_at),
                "vendor_state": one.vendor_state,
            }
            for one in find.sources_in_force(connection, found.district_id)
        ],
        "waiting_schools": len(found.state.waiting),
        "totals": {kind: sum(group[kind] for group in shown) for kind in KINDS},
        "groups": shown,
        "still_in": {
            "stale": people_views.count_users(connection, row, stale),
            "manual_stale": people_views.count_users(connection, row, manual),
            "protected": int(connection.execute(_PROTECTED, about).scalar_one()),
            "manual": int(connection.execute(_MANUAL, about).scalar_one()),
        },
    }


_SCHOOLS = select(School.id, School.name).where(School.district_id == bindparam("district"))


# --- Set-wise statements ---
# They count the people of all plans since a day, or of the whole directory. The plans are found by
# the index of their district, changes by their plan, and links by their user.


def _changed(moved: str) -> TextClause:
    """Count who joined, returned, left and moved; *moved* is the condition on a change for that."""
    return text(
        "SELECT c.school_id, c.role, CASE c.action WHEN 'create' THEN 'new'"
        " WHEN 'restore' THEN 'returned' WHEN 'archive' THEN 'left' ELSE 'moved' END AS kind,"
        " COUNT(DISTINCT c.target_id) FROM plans p JOIN changes c ON c.plan_id = p.id"
        " WHERE p.district_id = :district AND p.status = 'applied' AND p.applied_at >= :start"
        " AND p.kind IN ('sync', 'upload') AND c.kind = 'user'"
        f" AND (c.action IN ('create', 'restore', 'archive') OR (c.action = 'update' AND {moved}))"
        " GROUP BY 1, 2, 3"
    )


_HELD = text(
    "SELECT c.school_id, c.role, 'held', COUNT(DISTINCT c.target_id) FROM plans p"
    " JOIN changes c ON c.plan_id = p.id WHERE p.district_id = :district AND p.standing"
    " AND c.kind = 'user' GROUP BY 1, 2"
)


def _unheld(condition: str) -> TextClause:
    """Count the active people whom no source holds and for whom the condition is true."""
    return text(
        "SELECT COUNT(*) FROM users u WHERE u.district_id = :district AND u.status = 'active'"
        f" AND {condition} AND NOT EXISTS (SELECT 1 FROM links l JOIN records r"
        " ON r.id = l.record_id WHERE l.target_id = u.id AND l.held AND r.present)"
    )


_PROTECTED = _unheld("u.protected")
_MANUAL = _unheld("u.origin = 'manual'")
