"""Try one record: how a source's connector and mapping read it. Nothing is stored.

Used by ``source try``, before a mapping is used for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.contract.connector import Connector, FetchRequest, Page, Part, Record
from core.errors import SkipRecord, UsageError
from core.models import PROFILE_FIELDS, Kind
from core.storage.database import Database
from sync.reading.staged_entry import main_stream, remapped
from sync.run.find import Json, district_row, source_row
from sync.sources.connect import open_connector
from sync.sources.mapping import Rule, read_rules

Rows = list[tuple[str, bytes, Record | Part]]


def try_record(database: Database, slug: str, name: str, key: str) -> Json:
    """Read a source until the user entry ``key`` is found, and show how it is read.

    ``fields`` are the record's own fields by stream, ``record`` what we make of it, ``mapped`` the
    fields that the mapping set, ``skipped`` why it cannot be used, if that is so. Raises
    ``UsageError`` if the source has no such record, and everything that its connector raises.
    """
    with database.read() as connection:
        district = district_row(connection, slug)
        source = source_row(connection, district, name)
    rules = read_rules(source.mapping, name)
    request = FetchRequest(directory=str(district.settings.get("directory", ".")))
    connector = open_connector(source)
    try:
        return {"source": name, "id": key} | _tried(connector, rules, key, request)
    except SkipRecord as error:
        return {
            "source": name, "id": key, "fields": {}, "record": {}, "mapped": [],
            "skipped": {"rule": error.rule, "column": error.column, **error.as_json()},
        }  # fmt: skip
    finally:
        connector.close()


def _tried(connector: Connector, rules: Sequence[Rule], key: str, request: FetchRequest) -> Json:
    found = _rows_of(connector, key, request)
    if not found:
        raise UsageError(
            "The source has no user record with that id.",
            hint="Give the id as the source writes it (sourcedId, SIS id, idnumber …).",
        )
    fields = {stream: dict(connector.fields(stream, raw)) for stream, raw, _ in reversed(found)}
    record = _joined(connector, key, found)
    mapped: Mapping[str, str | None] = {}
    if record is not None and record.user is not None and rules:
        own = fields[main_stream(connector) if connector.capabilities.joined else found[0][0]]
        mapped = {rule.field: rule.value(own) for rule in rules}
        record = remapped(record, mapped)
    user = None if record is None else record.user
    return {
        "fields": fields,
        "record": {} if user is None else user.model_dump(mode="json", exclude_defaults=True),
        "mapped": [name for name in PROFILE_FIELDS if name in mapped],
        "skipped": None,
    }


def _rows_of(connector: Connector, key: str, request: FetchRequest) -> Rows:
    """Return the rows of one entry. If entries have one row, the reading stops after it."""
    pages = connector.pages(request)
    joined = connector.capabilities.joined
    found: Rows = []
    try:
        for page in pages:
            if connector.streams[page.stream] is not Kind.USER and not joined:
                continue
            found += _rows_of_page(connector, page, key)
            if found and not joined:
                break
    finally:
        pages.close()
    return found


def _rows_of_page(connector: Connector, page: Page, key: str) -> Rows:
    found: Rows = []
    for raw in page.split(page.body):
        try:
            if not connector.capabilities.joined and connector.identify(page.stream, raw) != key:
                continue
            parsed = connector.parse(page.stream, raw)
        except SkipRecord as error:
            if error.key == key:
                raise
            continue
        if (parsed.owner if isinstance(parsed, Part) else parsed.key) == key and not (
            isinstance(parsed, Record) and parsed.kind is not Kind.USER
        ):
            found.append((page.stream, raw, parsed))
    return found


def _joined(connector: Connector, key: str, rows: Rows) -> Record | None:
    parts = [(stream, part) for stream, _, part in rows if isinstance(part, Part)]
    if parts:
        return connector.combine(key, parts)
    return next((record for _, _, record in rows if isinstance(record, Record)), None)
