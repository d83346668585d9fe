"""Loading a district file: districts and sources are created or updated, nothing is removed.

A source that is no longer in the file keeps everything it said and held (F10); a changed config
keeps the source's evidence. Paths in a config are kept as given; a relative one starts at the
district's ``directory``, which is the district file's folder and becomes absolute here, so that a
run reads the same files from whatever folder it is started.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import Connection
from sqlalchemy.orm import Session
from sqlmodel import col, select

from connectors.contract.connector import Connector
from connectors.installed import load as load_connector
from core.database import Database
from core.district_file import DistrictDocument, Problem, read_district_file
from core.errors import ConfigError, UsageError
from core.settings import DistrictSettings, SourceSettings
from core.tables import District, Record, Source
from core.toml_lines import Path
from sync.rules.return_guard import with_other_calendar
from sync.run.calendar import calendar_of
from sync.run.clock import Clock, utc_now
from sync.run.open_records import open_people_of, open_source
from sync.sources.connect import check_config
from sync.sources.mapping import read_rules

Differences = dict[str, list[Any]]
"""A dotted key and its value before and after; None where it was not or is no longer there."""

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


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What loading a file did, or with ``dry_run`` would do."""

    dry_run: bool
    districts: tuple[Loaded, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, different afterwards."""
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
                    "sources": [
                        {"source": one.name, "action": one.action, "changes": one.changes}
                        for one in top.sources
                    ],
                }
                for top in self.districts
            ],
        }


def load_district_file(
    database: Database, path: FilePath, dry_run: bool = False, now: Clock | None = None
) -> LoadResult:
    """Create or update the districts and sources of a district file; the same file again: nothing.

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
    """Let each source's connector judge its config, and refuse the file with all that is wrong."""
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
    # A dry run is the same path; its session is left without ever having written.
    with Session(connection, autoflush=False) as session:
        loaded = tuple(
            _load_district(session, settings, dry_run, now) for settings in document.file.district
        )
        if not dry_run:
            session.flush()
    return loaded


def _load_district(
    session: Session, settings: DistrictSettings, dry_run: bool, now: datetime
) -> Loaded:
    stored = settings.stored()
    row = session.execute(
        select(District).where(col(District.slug) == settings.slug)
    ).scalar_one_or_none()
    if row is None:
        row = District(slug=settings.slug, name=settings.name, settings=stored)
        if not dry_run:
            session.add(row)
            session.flush()
        action, changes = "created", dict[str, list[Any]]()
    else:
        changes = dict(_differences(row.settings, stored))
        action = "updated" if changes else "unchanged"
        if changes and not dry_run:
            take_settings(row, settings, now)
    return Loaded(settings.slug, action, changes, tuple(_load_sources(session, row, settings)))


def take_settings(row: District, settings: DistrictSettings, now: datetime) -> None:
    """Give a district the settings of its file; what its old calendar still owes is kept."""
    old = calendar_of(row)
    row.name, row.settings = settings.name, settings.stored()
    new = calendar_of(row)
    state = with_other_calendar(old.state, old.on(now), new.on(now))
    if state != old.state:
        row.season_state = state.model_dump(mode="json")


def _load_sources(session: Session, row: District, settings: DistrictSettings) -> Iterator[Loaded]:
    query = select(Source).where(col(Source.district_id) == row.id).order_by(col(Source.precedence))
    known = {source.name: source for source in session.execute(query).scalars()}
    for wanted in settings.source:
        yield _load_source(session, row, known.pop(wanted.name, None), wanted)
    for gone in known.values():
        if gone.configured:
            gone.configured = False
            yield Loaded(gone.name, "not_in_file", {"configured": [True, False]})


def _load_source(
    session: Session, district: District, row: Source | None, wanted: SourceSettings
) -> Loaded:
    values: dict[str, Any] = to_jsonable_python(wanted.model_dump(include=set(_SOURCE_KEYS)))
    if row is None:
        if district.id is not None:  # it is None in the dry run of a new district only
            session.add(Source(district_id=district.id, name=wanted.name, **values))
        return Loaded(wanted.name, "created")
    before = {key: getattr(row, key) for key in _SOURCE_KEYS}
    changes = dict(_differences(before, values))
    if "connector" in changes:
        _refuse_other_connector(session, row, wanted)
    for key, value in values.items():
        if before[key] != value:
            setattr(row, key, value)
    if not row.configured:
        row.configured = True
        changes["configured"] = [False, True]
    if row.id is not None and ("precedence" in changes or "configured" in changes):
        open_people_of(session.connection(), row.id)
    if row.id is not None and "keep_when_missing" in changes:
        open_source(session.connection(), row.id)
    return Loaded(wanted.name, "updated" if changes else "unchanged", changes)


def _refuse_other_connector(session: Session, row: Source, wanted: SourceSettings) -> None:
    """Another vendor's ids are other ids: under the old name everybody would leave and join."""
    if session.execute(select(Record.id).where(col(Record.source_id) == row.id).limit(1)).first():
        raise UsageError(
            f"The source {row.name} has been read with the connector {row.connector};"
            f" it cannot become a {wanted.connector} source.",
            hint="Give the new vendor a source of its own name, and retire the old one afterwards"
            " (rostersync source retire).",
        )


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
