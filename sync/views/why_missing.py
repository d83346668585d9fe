"""Why somebody is missing: they are expected from a source, and it has no record of them.

Tells what is known: the state of the source, the people it is asked for, and the rows of its last
reading that could not be used. ``sync/views/why.py`` shows it; nothing is decided or written here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, exists, select

from connectors.contract.connector import DEFAULT_ROLES
from core.settings import DistrictSettings
from core.storage.schema import Fetch, Record, Source
from core.storage.stored import from_json
from sync.rules import season
from sync.rules.quarantine import read_health
from sync.rules.reasons import means
from sync.rules.return_guard import SeasonState
from sync.run.display import shown_time
from sync.run.find import Json
from sync.views.skipped import skipped

FINDINGS = 10
"""How many unusable rows are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a source: codes, and what must happen before anybody can come from it."""

    codes: list[str] = field(default_factory=list)
    comes_in: str | None = None


def page(connection: Connection, district: Any, word: str, at: datetime) -> Json | None:
    """Return the page of a ``SOURCE:external_id`` that the source does not have; else None."""
    name, colon, external_id = word.strip().partition(":")
    if not colon or not external_id:
        return None
    about = {"district": district.id, "name": name, "external_id": external_id}
    source = connection.execute(_SOURCE, about).one_or_none()
    if source is None or source.known:
        return None
    standing = standing_of_source(connection, district, name, at)
    last = connection.execute(_LAST, {"source": source.id}).one_or_none()
    found = skipped(connection, source.id, most=FINDINGS)
    findings = [{**row, "of": found.of} for row in found.rows]
    config = source.config
    roles = config.get("roles") or [role.value for role in DEFAULT_ROLES]
    schools = config.get("schools") or []
    codes = list(standing.codes)
    if last is not None and last.complete:
        codes.append("not_seen")
    if findings:
        codes.append("rows_skipped")
    return {
        "district": district.slug,
        "user": None,
        "situation": codes[0],
        "reasons": [{"code": code, "means": means(code)} for code in codes],
        "next": {
            "comes_in": standing.comes_in or "The source shares them, in a row that can be used.",
            "look": f"rostersync source try {district.slug} {name} --id {external_id}"
            " reads that one record now, and says how.",
        },
        "records": [], "matches": [], "fields": {}, "locks": [], "protected": {"on": False},
        "conflicts": [], "held": [], "changes": [],
        "source": {
            "name": name,
            "external_id": external_id,
            "read_at": None if last is None else shown_time(last.at),
            "complete": None if last is None else last.complete,
            "why_incomplete": None if last is None else last.certificate.get("reason"),
            "complete_at": shown_time(source.complete_at),
            "roles": roles,
            "schools": schools,
        },
        "findings": findings,
    }  # fmt: skip


def standing_of_source(connection: Connection, district: Any, name: str, at: datetime) -> Standing:
    """Return what prevents a source from bringing anybody in now, in order."""
    about = {"district": district.id, "name": name, "external_id": ""}
    source = connection.execute(_SOURCE, about).one()
    if source.retired:
        return Standing(
            ["source_retired"], "Another source shares them: this one is retired for good."
        )
    if not source.configured:
        return Standing(
            ["not_configured"], "The source stands in the district file again, and is loaded."
        )
    codes: list[str] = []
    comes_in: str | None = None
    last = connection.execute(_LAST, {"source": source.id}).one_or_none()
    settings = DistrictSettings.model_validate(from_json(district.settings))
    state = SeasonState.model_validate(from_json(district.season_state) or {})
    on = season.at(at, settings.timezone, settings.pause, state.hand, state.resumed)
    if on.season == season.Season.PAUSED:
        codes.append("paused")
        comes_in = "The pause ends, or a person syncs with --during-pause."
    if read_health(source.health).stopped:
        codes.append("quarantined")
        comes_in = comes_in or f"The source is tried again: rostersync source resume {name}."
    if last is None:
        codes.append("never_read")
        comes_in = comes_in or "The next sync reads the source for the first time."
    elif not last.complete:
        codes.append("incomplete")
    return Standing(codes, comes_in)


_KNOWN = exists().where(
    Record.source_id == Source.id,
    Record.kind == "user",
    Record.external_id == bindparam("external_id"),
)
_SOURCE = select(Source.table, _KNOWN.label("known")).where(
    Source.district_id == bindparam("district"), Source.name == bindparam("name")
)
_LAST = (
    select(Fetch.at, Fetch.complete, Fetch.certificate)
    .where(Fetch.source_id == bindparam("source"))
    .order_by(Fetch.id.desc())
    .limit(1)
)
