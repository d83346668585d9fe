"""Schools that settings name: whether there are such, told before a misspelt one holds anybody.

A source may be restricted to schools, and a limit may be for one. ``load`` compares the names with
what is known already, ``check`` with what the source serves now. Never: people.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from sqlalchemy import Connection, bindparam, select

from connectors.contract.connector import Connector, FetchRequest
from core.errors import SkipRecord
from core.models import Kind, fold_name
from core.settings import DistrictSettings
from core.storage.schema import Record, School
from sync.sources.patience import Patience

Schools = Mapping[str, str]
"""Id of a school → its name."""


def not_there(wanted: Iterable[str], schools: Schools, where: str) -> Iterator[str]:
    """Yield a sentence for each name or id of ``wanted`` that no school has.

    ``where`` says who has no such school: ``The source sis``. The likely one is suggested.
    """
    known = {*schools, *schools.values()}
    folded = {fold_name(word): word for word in sorted(known)}
    for word in wanted:
        if word in known:
            continue
        near = difflib.get_close_matches(fold_name(word), folded, n=1)
        meant = f"Did you mean {folded[near[0]]!r}?" if near else _some_of(schools)
        yield f"{where} has no school {word!r}. {meant}"


_MOST_NAMED = 8


def _some_of(schools: Schools) -> str:
    names = sorted(set(schools.values()))
    rest = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"It has: {', '.join(names[:_MOST_NAMED])}{rest}."


def schools_read(connection: Connection, source_id: int) -> Schools:
    """Return the schools that a source had at its last reading; none before its first."""
    rows = connection.execute(_READ, {"source": source_id})
    return {key: str(msgspec.json.decode(data)["name"]) for key, data in rows}


def schools_of(connection: Connection, district_id: int) -> Schools:
    """Return the schools of a district's directory."""
    return {row.id: row.name for row in connection.execute(_OF_DISTRICT, {"id": district_id})}


def schools_of_limits(settings: DistrictSettings) -> list[str]:
    """Return the schools that the limits of a district name."""
    return [one.school for one in settings.limits.override if one.school is not None]


def can_be_asked(connector: Connector) -> bool:
    """Say whether a source serves its schools without anything of it being taken away.

    What lies in a drop folder is read once, by a sync.
    """
    config = connector.config
    reads = connector.capabilities.origin == "sync" or getattr(config, "path", None) is not None
    return reads and Kind.SCHOOL in connector.streams.values()


def schools_served(connector: Connector, directory: str, patient: Patience) -> Schools:
    """Return the schools that a source serves now; it serves them before anybody (contract).

    ``patient`` waits for the pages. Raises whatever the vendor answers.
    """
    found: dict[str, str] = {}
    pages = connector.pages(FetchRequest(directory=directory))
    try:
        while (page := patient.ask(lambda: next(pages, None))) is not None:
            if connector.streams.get(page.stream) is not Kind.SCHOOL:
                break
            for raw in page.split(page.body):
                try:
                    record = connector.parse(page.stream, raw)
                except SkipRecord:
                    continue
                school = getattr(record, "school", None)
                if school is not None:
                    found[school.external_id] = school.name
    finally:
        patient.let_go(pages.close)
    return found


_READ = select(Record.external_id, Record.data).where(
    Record.source_id == bindparam("source"), Record.kind == Kind.SCHOOL.value, Record.present
)
_OF_DISTRICT = select(School.id, School.name).where(School.district_id == bindparam("id"))
