"""Loading a district file: districts and sources are created or updated, nothing is removed.

A source that is no longer in the file keeps its evidence and its holds (F10); a changed config
keeps the source's evidence. Paths in a config are kept as given; a relative one starts at the
district's ``directory``, which is the district file's folder and becomes absolute here, so that a
run reads the same files, whatever folder it is started from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import Connection, bindparam, insert, select, update

from connectors.contract.connector import Connector
from connectors.installed import load as load_connector
from core.district_file import DistrictDocument, Problem, read_district_file
from core.errors import ConfigError, UsageError
from core.settings import DistrictSettings, SourceSettings
from core.storage.database import Database
from core.storage.schema import District, Record, Source
from core.toml_lines import Path
from sync.rules.return_guard import with_other_calendar
from sync.run.calendar import calendar_of
from sync.run.clock import Clock, utc_now
from sync.run.find import find_district
from sync.run.open_records import open_people_of, open_source
from sync.sources.connect import check_config
from sync.sources.mapping import read_rules
from sync.sources.named_schools import not_there, schools_of, schools_of_limits, schools_read

Differences = dict[str, list[Any]]
"""A dotted key and its value before and after; None where it does not exist."""

_SOURCE_KEYS = (
    "connector", "precedence", "config", "mapping", "keep_when_missing", "own_numbers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading does to one district or source.

    ``action`` is ``created``, ``updated``, ``unchanged`` or, for a source, ``not_in_file``.
    """

    name: str
    action: str
    changes: Differences = field(default_factory=dict)
    sources: tuple[Loaded, ...] = ()
    warnings: tuple[str, ...] = ()
    """What is loaded all the same, but is probably a mistake: a school that is not there."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What loading a file has done, or would do with ``dry_run``."""

    dry_run: bool
    districts: tuple[Loaded, ...]

    @property
    def changed(self) -> bool:
        """Whether anything has changed, or would change."""
        return any(
            one.action != "unchanged" for top in self.districts for one in (top, *top.sources)
        )

    def as_json(self) -> dict[str, Any]:
        """Return the document that ``load --json`` prints."""
        return {
            "dry_run": self.dry_run,
            "changed": self.changed,
            "districts": [
                {
                    "district": top.name,
                    "action": top.action,
                    "changes": top.changes,
                    "warnings": list(top.warnings),
                    "sources": [
                        {
                            "source": one.name,
                            "action": one.action,
                            "changes": one.changes,
                            "warnings": list(one.warnings),
                        }
                        for one in top.sources
                    ],
                }
                for top in self.districts
            ],
        }


def load_district_file(
    database: Database, path: FilePath, dry_run: bool = False, now: Clock | None = None
) -> LoadResult:
    """Create or update the districts and sources of a district file. Idempotent.

    All or nothing. Raises ``ConfigError`` naming key and line, ``UsageError`` for a change that
    needs another command.
    """
    document = _at_home(read_district_file(FilePath(path)), FilePath(path).resolve().parent)
    _check_sources(document)
    at = (now or utc_now)()
    if dry_run:
        with database.read() as connection:
            return LoadResult(True, _load_all(connection, document, dry_run, at))
    with database.write() as connection:
        return LoadResult(False, _load_all(connection, document, dry_run, at))


def _at_home(document: DistrictDocument, folder: FilePath) -> DistrictDocument:
    districts = tuple(
        one.model_copy(update={"directory": str((folder / one.directory).resolve())})
        for one in document.file.district
    )
    return replace(document, file=document.file.model_copy(update={"district": districts}))


def _check_sources(document: DistrictDocument) -> None:
    """Let each source's connector check its config; refuse the file with all faults together."""
    problems: list[Problem] = []
    for number, district in enumerate(document.file.district):
        for index, source in enumerate(district.source):
            at = ("district", number, "source", index)
            try:
                kind: type[Connector] = load_connector(source.connector)
            except ConfigError as error:
                said = f"cannot be used. {error.message} {error.hint}".strip()
                problems.append(Problem((*at, "connector"), said))
                continue
            problems += check_config(kind, source.config, (*at, "config"))
            problems += _check_mapping(source, (*at, "mapping"))
    if problems:
        raise document.refuse(problems)


def _check_mapping(source: SourceSettings, under: Path) -> Iterator[Problem]:
    for field_name, rule in source.mapping.items():
        try:
            read_rules({field_name: rule}, source.name)
        except ConfigError as error:
            said = error.message.partition(": ")[2] or error.message
            yield Problem((*under, field_name), f"cannot be used: {said} {error.hint}".strip())


def _load_all(
    connection: Connection, document: DistrictDocument, dry_run: bool, now: datetime
) -> tuple[Loaded, ...]:
    return tuple(
        _load_district(connection, settings, dry_run, now) for settings in document.file.district
    )


def _load_district(
    connection: Connection, settings: DistrictSettings, dry_run: bool, now: datetime
) -> Loaded:
    stored = settings.stored()
    row = find_district(connection, settings.slug)
    if row is None:
        action, changes = "created", dict[str, list[Any]]()
        district_id = None  # as it stays in a dry run
        if not dry_run:
            about = {"slug": settings.slug, "name": settings.name, "settings": stored}
            district_id = connection.execute(_NEW_DISTRICT, about).scalar_one()
    else:
        district_id = row.id
        changes = dict(_differences(row.settings, stored))
        action = "updated" if changes else "unchanged"
        if changes and not dry_run:
            take_settings(row, settings, now)
            _write(connection, row, "name", "settings", "season_state")
    sources = tuple(_load_sources(connection, district_id, settings, dry_run))
    warned = tuple(_of_limits(connection, district_id, settings))
    return Loaded(settings.slug, action, changes, sources, warned)


def _of_limits(
    connection: Connection, district_id: int | None, settings: DistrictSettings
) -> Iterator[str]:
    """Warn of limits for schools that the district does not have, once it has any."""
    schools = {} if district_id is None else schools_of(connection, district_id)
    if schools:
        for one in not_there(schools_of_limits(settings), schools, "The district"):
            yield f"limits.override: {one}"


def _of_filter(connection: Connection, row: Source) -> Iterator[str]:
    """Warn of schools to which a source is restricted and which it does not have."""
    wanted = row.config.get("schools") or ()
    if isinstance(wanted, str):
        wanted = (wanted,)
    schools = schools_read(connection, row.id) if wanted else {}
    if schools:
        for one in not_there(wanted, schools, f"The source {row.name}"):
            yield f"config.schools: {one}"


def take_settings(row: District, settings: DistrictSettings, now: datetime) -> None:
    """Give a district the settings of its file, and keep what its old calendar still requires."""
    old = calendar_of(row)
    row.name, row.settings = settings.name, settings.stored()
    new = calendar_of(row)
    state = with_other_calendar(old.state, old.on(now), new.on(now))
    if state != old.state:
        row.season_state = state.model_dump(mode="json")


def _load_sources(
    connection: Connection, district_id: int | None, settings: DistrictSettings, dry_run: bool
) -> Iterator[Loaded]:
    rows = Source.all_of(connection.execute(_SOURCES, {"district": district_id}))
    known = {source.name: source for source in rows}
    for wanted in settings.source:
        row = known.pop(wanted.name, None)
        if row is None:
            values = _wanted_values(wanted)
            if district_id is not None and not dry_run:
                about = {"district_id": district_id, "name": wanted.name, **values}
                connection.execute(_NEW_SOURCE, about)
            yield Loaded(wanted.name, "created", warnings=_not_known_yet(wanted, settings.slug))
        else:
            yield _load_source(connection, row, wanted, dry_run)
    for gone in known.values():
        if gone.configured:
            gone.configured = False
            if not dry_run:
                _write(connection, gone, "configured")
            yield Loaded(gone.name, "not_in_file", {"configured": [True, False]})


def _not_known_yet(wanted: SourceSettings, slug: str) -> tuple[str, ...]:
    """Say how to find out whether the schools are there that a new source is restricted to."""
    if not wanted.config.get("schools"):
        return ()
    return (
        "config.schools: which schools the source has is not known yet;"
        f" rostersync check {slug} --source {wanted.name} looks.",
    )


def _wanted_values(wanted: SourceSettings) -> dict[str, Any]:
    values: dict[str, Any] = to_jsonable_python(wanted.model_dump(include=set(_SOURCE_KEYS)))
    return values


def _load_source(
    connection: Connection, row: Source, wanted: SourceSettings, dry_run: bool
) -> Loaded:
    values = _wanted_values(wanted)
    before = {key: getattr(row, key) for key in _SOURCE_KEYS}
    changes = dict(_differences(before, values))
    if "connector" in changes:
        _refuse_other_connector(connection, row, wanted)
    for key, value in values.items():
        setattr(row, key, value)
    if not row.configured:
        row.configured = True
        changes["configured"] = [False, True]
    if changes and not dry_run:
        _write(connection, row, *_SOURCE_KEYS, "configured")
        if "precedence" in changes or "configured" in changes:
            open_people_of(connection, row.id)
        if "keep_when_missing" in changes:
            open_source(connection, row.id)
    warned = tuple(_of_filter(connection, row))
    return Loaded(wanted.name, "updated" if changes else "unchanged", changes, warnings=warned)


def _write(connection: Connection, row: District | Source, *names: str) -> None:
    """Write some columns of a row as they now are."""
    values = {name: getattr(row, name) for name in names}
    connection.execute(update(row.table).where(row.table.c.id == row.id).values(values))


def _refuse_other_connector(connection: Connection, row: Source, wanted: SourceSettings) -> None:
    """Refuse another connector: with other ids, everybody would leave and join."""
    if connection.execute(_ANY_RECORD, {"source": row.id}).first():
        raise UsageError(
            f"The source {row.name} has been read with the connector {row.connector};"
            f" it cannot become a {wanted.connector} source.",
            hint="Give the new vendor a source of its own name, and retire the old one afterwards"
            " (rostersync source retire).",
        )


_NEW_DISTRICT = insert(District.table).returning(District.id)
_NEW_SOURCE = insert(Source.table)
_SOURCES = (
    select(Source.table)
    .where(Source.district_id == bindparam("district"))
    .order_by(Source.precedence)
)
_ANY_RECORD = select(Record.id).where(Record.source_id == bindparam("source")).limit(1)


def _differences(
    before: Mapping[str, Any], after: Mapping[str, Any], under: str = ""
) -> Iterator[tuple[str, list[Any]]]:
    """Yield the keys that differ, dotted, each with its old and its new value."""
    for key in (*before, *(key for key in after if key not in before)):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new, f"{under}{key}.")
        elif old != new:
            yield f"{under}{key}", [old, new]
