"""One district's calendar, as its row stores it, and how what it remembers is stored.

Cheap to import: ``status`` reads a thousand of them, and ``run`` looks at each every few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, update

from core.settings import DistrictSettings
from core.storage.schema import District
from core.storage.stored import from_json
from sync.rules.return_guard import SeasonState
from sync.rules.season import SeasonOnDay, local_day


@dataclass(frozen=True, slots=True)
class Calendar:
    """A district's calendar: its settings and what it remembers of its seasons."""

    district_id: int
    settings: DistrictSettings
    state: SeasonState

    def today(self, now: datetime) -> date:
        """Return the local day."""
        return local_day(now, self.settings.timezone)

    def on(self, now: datetime) -> SeasonOnDay:
        """Return the season of the local day."""
        return self.state.on(self.today(now), self.settings.pause)


def calendar_of(row: Any) -> Calendar:
    """Return the calendar of a row of ``districts``."""
    return Calendar(
        int(row.id),
        DistrictSettings.model_validate(from_json(row.settings)),
        SeasonState.model_validate(from_json(row.season_state) or {}),
    )


def keep_state(connection: Connection, district_id: int, state: SeasonState) -> None:
    """Store what a district remembers of its seasons from now on."""
    values = {"district": district_id, "season_state": state.model_dump(mode="json")}
    connection.execute(_KEEP, values)


_KEEP = update(District.table).where(District.id == bindparam("district"))
