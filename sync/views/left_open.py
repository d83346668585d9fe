"""What is left open after a run: rows, conflicts and people that somebody should look at.

A run that changes nobody may still leave much to do. The engine puts this into its outcome, so the
command line, JSON and Python tell the same. Counts only, no people. Nothing here writes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, func, select

from core.storage.schema import Conflict
from sync.planning.grace import leaving
from sync.run.calendar import calendar_of
from sync.run.find import Json, district_row, sources_in_force
from sync.views.skipped import Skipped, skipped
from sync.views.waiting import waiting_now


def left_open(connection: Connection, slug: str, now: datetime) -> Json:
    """Return what is open in a district, with a key only for what there is.

    ``unusable_rows`` and ``left_out_values``: source → rows. ``withheld``: source → ``{"people",
    "rows"}``, people who are missing and stay because these rows may be about any of them (F5).
    ``conflicts``: how many are open. ``waiting_people``: who waits for a rollover (S6).
    ``leaving_people``: who is in grace (S7). ``look_alikes``: pairs of users who look like one
    person, as the run counted them (I10).
    """
    district = district_row(connection, slug)
    calendar = calendar_of(district)
    found = {
        source.name: skipped(connection, source.id)
        for source in sources_in_force(connection, district.id)
    }
    # also without a grace of days: who is deleted in a file of changes waits for a whole one
    in_grace = sum(1 for _ in leaving(connection, calendar, now))
    told: Json = {
        "unusable_rows": {name: one.of for name, one in found.items() if one.of},
        "left_out_values": {name: one.left_out for name, one in found.items() if one.left_out},
        "withheld": {name: _withheld(one) for name, one in found.items() if one.withheld},
        "conflicts": int(connection.execute(_CONFLICTS, {"district": district.id}).scalar_one()),
        "waiting_people": len(waiting_now(connection, district.id)),
        "leaving_people": in_grace,
        "look_alikes": district.look_alikes or 0,
    }
    return {name: value for name, value in told.items() if value}


def _withheld(found: Skipped) -> Json:
    return {"people": found.withheld, "rows": list(found.withheld_by)}


_CONFLICTS = (
    select(func.count())
    .select_from(Conflict.table)
    .where(Conflict.district_id == bindparam("district"), Conflict.status == "open")
)
