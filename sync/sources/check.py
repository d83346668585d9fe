"""Checks of a district's sources that change nothing: ``check`` and ``discover``.

Every finding is a ``Line`` in words for an admin. A vendor's refusal or failure is a line too, with
the exit code that a run would have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, select

from connectors.contract.connector import Connector
from core.district_file import toml_of
from core.errors import ConfigError, Disconnected, RosterSyncError, UsageError, WrongDistrict
from core.models import Kind, Role
from core.secrets import read_small_file
from core.settings import DistrictSettings
from core.steps import log_of, step
from core.storage.database import Database
from core.storage.schema import District, Source
from sync.rules.return_guard import PAUSED_WORDS, TROUBLED_WORDS
from sync.run.district_run import read_district
from sync.run.outcome import worst
from sync.sources.blame import blaming
from sync.sources.connect import close_connector, open_connector
from sync.sources.named_schools import (
    can_be_asked,
    not_there,
    schools_of,
    schools_of_limits,
    schools_read,
    schools_served,
)
from sync.sources.patience import Patience, patience

log = log_of(__name__)

DISTRICT_KEYS = ("district_id", "tenant_id", "district_guid")
"""The config fields in which a source names its district at the vendor."""

_CODES = {
    "config": 2,
    "district": 2,
    "credentials": 14,
    "connection": 12,
    "sharing": 12,
    "files": 15,
    "filter": 2,
    "limits": 2,
}
"""The exit code of a failed line with that name; any other failed line gives 12."""
_ROLES = frozenset(role.value for role in Role) | {"students", "teachers"}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was tried: whether it works, and a sentence."""

    name: str
    passed: bool
    message: str


@dataclass(slots=True)
class SourceCheck:
    """The result of checking one source."""

    source: str
    connector: str
    lines: list[Line] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The most serious finding. A role that nobody is shared with is not a failure."""
        return worst(
            _CODES.get(line.name, 12)
            for line in self.lines
            if not line.passed and line.name not in _ROLES
        )

    def as_json(self) -> dict[str, Any]:
        """Return the source's part of the document of ``check``."""
        return {
            "source": self.source,
            "connector": self.connector,
            "passed": self.exit_code == 0,
            "checks": [asdict(line) for line in self.lines],
        }


def check_district(
    database: Database, slug: str, sources: Sequence[str] = ()
) -> Iterator[SourceCheck]:
    """Try each source: connectivity, credentials, district, shared roles, vendor pause status.

    Raises ``UsageError`` for an unknown district or source; a failing source is a result.
    """
    _ = database.key  # a missing or foreign key is a mistake of the whole installation
    district, settings, found = read_district(database, slug)
    unknown = set(sources) - {source.name for source in found}
    if unknown:
        raise UsageError(
            f"{slug} has no source {', '.join(sorted(unknown))}.",
            hint=f"rostersync sources {slug} lists them.",
        )
    for source in found:
        if not sources or source.name in sources:
            checked = SourceCheck(source.name, source.connector)
            with step(log, "check source", source=source.name) as done:
                lines = [*_lines(database, source, settings)]
                if source is found[0]:
                    lines += _limits(database, district.id, settings)
                checked.lines = list(dict.fromkeys(lines))
                done.tell(failed=sum(not line.passed for line in checked.lines))
            yield checked


def _lines(database: Database, source: Source, settings: DistrictSettings) -> Iterator[Line]:
    try:
        with blaming(source.connector):
            connector = open_connector(source)
            connector.directory = settings.directory
    except RosterSyncError as error:
        yield line_of(error)
        return
    try:
        try:
            with (
                blaming(source.connector),
                patience(connector.config.reading_timeout, source.name) as patient,
            ):
                found = patient.ask(connector.vendor_district)
                own = patient.ask(lambda: _own_checks(connector))
                named = list[Line]()
                if all(line.passed for line in own if line.name not in _ROLES):
                    named = list(_named_schools(database, source, connector, patient))
        except RosterSyncError as error:
            yield line_of(error)
            return
        names = {line.name for line in own}
        if connector.capabilities.origin == "sync":
            if "connection" not in names:
                yield Line("connection", True, "The vendor can be reached.")
            if "credentials" not in names and "connection" not in names:
                yield Line("credentials", True, "The vendor takes the credentials.")
            yield from _district(source, connector, found)
        elif not own:
            yield Line("files", True, "A file source: its files are looked at when they are read.")
        yield from own
        yield from named
        if connector.capabilities.origin == "sync":
            yield from _last_seen(source, settings.zone, told="vendor" in names)
            yield from _others(database, source, connector)
    finally:
        close_connector(connector)


def _own_checks(connector: Connector) -> list[Line]:
    return [Line(one.name, bool(one.passed), str(one.message)) for one in connector.check()]


def _named_schools(
    database: Database, source: Source, connector: Connector, patient: Patience
) -> Iterator[Line]:
    """Say whether the schools are there to which the source is restricted."""
    wanted = connector.config.schools
    if not wanted or Kind.SCHOOL not in connector.streams.values():
        return
    if can_be_asked(connector):
        try:
            schools = schools_served(connector, connector.directory, patient)
        except RosterSyncError as error:
            yield line_of(error)
            return
    else:
        with database.read() as connection:
            schools = schools_read(connection, source.id)
    if not schools:
        yield Line("filter", True, "Which schools the source has is not known before it is read.")
        return
    faults = list(not_there(wanted, schools, f"The source {source.name}"))
    for one in faults:
        yield Line("filter", False, f"{one} Nobody is read of a school that is not there.")
    if not faults:
        said = "school it is restricted to is" if len(wanted) == 1 else "schools it names are"
        yield Line("filter", True, f"The {said} there.")


def _limits(database: Database, district_id: int, settings: DistrictSettings) -> Iterator[Line]:
    """Say which limits are for a school that the district does not have."""
    with database.read() as connection:
        schools = schools_of(connection, district_id)
    if schools:
        for one in not_there(schools_of_limits(settings), schools, "The district"):
            yield Line("limits", False, f"{one} The limit for it applies to nobody.")


def line_of(error: RosterSyncError) -> Line:
    """Return an error as a line of the report."""
    name = {14: "credentials", 2: "config"}.get(error.exit_code, "connection")
    if isinstance(error, Disconnected):
        name = "sharing"
    elif isinstance(error, WrongDistrict):
        name = "district"
    return Line(name, False, f"{error.message} {error.hint}".strip())


def _district(source: Source, connector: Connector, found: str | None) -> Iterator[Line]:
    bound = source.vendor_district
    if found is None:
        if bound is not None:
            yield Line("district", True, f"The vendor does not say whose it is; bound to {bound}.")
    elif bound is None:
        yield Line("district", True, f"It is {found}; the first sync binds the source to it.")
    elif connector.same_district(bound, found):
        yield Line("district", True, f"It is the district that the source is bound to ({bound}).")
    else:
        yield Line(
            "district",
            False,
            f"The credentials belong to another district ({found}) than the one the source is"
            f" bound to ({bound}). Give the credentials of the bound district.",
        )


def _last_seen(source: Source, zone: ZoneInfo, *, told: bool) -> Iterator[Line]:
    """Yield the date of the vendor's data and the vendor's state, as of the last reading."""
    state = source.vendor_state
    if not told:
        at = source.vendor_time
        day = None if at is None else at.astimezone(zone).date().isoformat()
        if source.complete_at is None:
            said = "It was not read yet."
        elif day is None:
            said = "The vendor does not say of when its data is."
        else:
            said = f"At the last reading the vendor's data was of {day}."
        yield Line("vendor", True, said)
    if state in PAUSED_WORDS:
        yield Line(
            "season",
            True,
            f"The vendor's own season: {state}. Nobody is archived because its data is old; the"
            " first complete reading after it is guarded.",
        )
    elif state in TROUBLED_WORDS:
        yield Line("season", True, f"The vendor calls the district {state}: nobody leaves.")
    else:
        yield Line("season", True, "The vendor is in no pause that it tells of.")


def _others(database: Database, source: Source, connector: Connector) -> Iterator[Line]:
    """Yield a line about further districts that share with the same account."""
    named = any(getattr(connector.config, key, None) for key in DISTRICT_KEYS)
    if not connector.capabilities.discovery or not named:
        return
    try:
        listed = listed_districts(database, type(connector), connector.config)
    except RosterSyncError:
        return  # earlier lines say what is wrong
    free = [one["id"] for one in listed if one["status"] == "available"]
    if free:
        yield Line(
            "available",
            True,
            f"{len(free)} more districts share with this account and are read by no source:"
            f" `rostersync discover {source.connector}` lists them.",
        )


# -- discovery


def discover(database: Database, name: str, path: Path) -> list[dict[str, Any]]:
    """List the districts that a vendor account may read: ``id, name, state, status``.

    ``path`` is a TOML file with the connector's config (secrets by reference); status is
    ``available``, or the ``DISTRICT/SOURCE`` that reads it. Raises ``ConfigError`` and whatever
    the vendor answers.
    """
    connector = open_connector(_Config(path.stem, name, _read_config(path)))
    try:
        return listed_districts(database, type(connector), connector.config)
    finally:
        close_connector(connector)


def listed_districts(
    database: Database, kind: type[Connector], config: Any
) -> list[dict[str, Any]]:
    """List the districts of an account, and which of our sources reads each."""
    readers = _readers(database, kind.name)
    with blaming(kind.name):
        listed = list(kind.districts(config))
    return [
        {
            "id": one.id,
            "name": one.name,
            "state": one.state,
            "status": readers.get(one.id, "available"),
        }
        for one in listed
    ]


def _readers(database: Database, connector: str) -> dict[str, str]:
    """Return the vendor's id of a district → our source that reads it."""
    found: dict[str, str] = {}
    with database.read() as connection:
        for row in connection.execute(_READERS, {"connector": connector}):
            bound = (row.vendor_district or "").partition(";")[0]
            for key in (bound, *(str(row.config.get(k) or "") for k in DISTRICT_KEYS)):
                found[key] = f"{row.slug}/{row.name}"
    found.pop("", None)
    return found


_READERS = (
    select(District.slug, Source.name, Source.vendor_district, Source.config)
    .join_from(Source.table, District.table, District.id == Source.district_id)
    .where(Source.connector == bindparam("connector"), Source.configured, ~Source.retired)
)


@dataclass(frozen=True, slots=True)
class _Config:
    """A config in a file of its own, in the form that ``open_connector`` takes."""

    name: str
    connector: str
    config: dict[str, Any]


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return toml_of(read_small_file(path).decode("utf-8-sig"), path.name)
    except OSError as error:
        raise ConfigError(
            f"The file {path} cannot be read: {error.strerror}.",
            hint="Give the path of a TOML file with the connector's config.",
        ) from None
    except ValueError:
        raise ConfigError(
            f"{path.name} is not TOML in UTF-8.",
            hint='Write one key a line, such as client_id = "…" or client_secret = "env:NAME".',
        ) from None
