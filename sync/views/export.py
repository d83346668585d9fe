"""Export: the people of a district, or of one source, as files that ``upload`` accepts.

Uploaded back into its source, such a file changes nothing: the key of each row is the source's own,
and its fields are what the directory says. The connector knows its format; this module says what
the source holds. People that a format cannot carry are named by user id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select

from connectors.contract.file_exchange import ExportedRow, ExportFile, ExportRequest, HeldPerson
from connectors.files import user_file
from connectors.installed import load
from core.errors import UsageError
from core.models import PROFILE_FIELDS, UserStatus
from core.storage.schema import Link, Part, Record, User
from sync.sources.mapping import places_of, read_rules
from sync.views import people as people_views

_PAGE = 1_000


def export_files(connection: Connection, district: Any, source: Any | None) -> list[ExportFile]:
    """Return the files of an export.

    If the source's connector can write its format, the export has that format, with the active and
    suspended people that the source holds. Otherwise it is a user file with the active people of
    the district, or with those that the source holds. Raises ``UsageError`` if the format cannot
    carry what was read.
    """
    if source is not None:
        request = _request(connection, district, source)
        if files := load(source.connector).export_rows(request):
            _refuse_a_mapping_of_more(source, files)
            return list(files)
    return [
        ExportFile(
            user_file.NAME, user_file.HEADER, lambda: _user_file(connection, district, source)
        )
    ]


def _user_file(connection: Connection, district: Any, source: Any | None) -> Iterator[ExportedRow]:
    name = None if source is None else source.name
    wanted = people_views.UserFilter(status=UserStatus.ACTIVE, source=name)
    for user in people_views.users(connection, district, wanted):
        role = user_file.role_of(user["roles"])
        number = user["student_number"] if role == "student" else user["staff_number"]
        yield user_file.user_row(
            user["id"], user, role, email=user["email"], number=number or user["sis_id"]
        )


def _refuse_a_mapping_of_more(source: Any, files: Iterable[ExportFile]) -> None:
    """Refuse an export that lacks a column of a mapping rule: it would be read differently."""
    held = {name for file in files for name in file.header}
    for rule in read_rules(source.mapping, source.name):
        for place in places_of(rule):
            if place not in held:
                raise UsageError(
                    f"The mapping of {source.name} reads {place}, which an export does not hold:"
                    " uploaded back, it would change people.",
                    hint="--format json has everybody; so has an export without --source.",
                )


# -- what a source holds


def _request(connection: Connection, district: Any, source: Any) -> ExportRequest:
    about = {"source": source.id}
    return ExportRequest(
        district=district.slug,
        district_name=district.name,
        source=source.name,
        joined=connection.execute(_JOINED, about).first() is not None,
        schools=lambda: _schools(connection, source),
        people=lambda: _held_by(connection, source),
        anybody_has=lambda name: _anybody_has(connection, source, name),
    )


_JOINED = select(Part.source_id).where(Part.source_id == bindparam("source")).limit(1)


def _schools(connection: Connection, source: Any) -> Iterator[Mapping[str, Any]]:
    for (data,) in connection.execute(_SCHOOLS, {"source": source.id}):
        yield msgspec.json.decode(data)


_SCHOOLS = (
    select(Record.data)
    .where(Record.source_id == bindparam("source"), Record.kind == "school", Record.present)
    .order_by(Record.external_id)
)


def _held_by(connection: Connection, source: Any) -> Iterator[HeldPerson]:
    """Yield every active or suspended person that a source holds."""
    about = {"source": source.id, "after": 0, "size": _PAGE}
    while page := connection.execute(_HELD, about).mappings().all():
        about["after"] = page[-1]["record_id"]
        for row in page:
            suspended = row["status"] == UserStatus.SUSPENDED.value
            said = msgspec.json.decode(row["data"])
            yield HeldPerson(row["user_id"], suspended, dict(row), said)


_PROFILE = tuple(User.table.c[name] for name in PROFILE_FIELDS)
_HELD = (
    select(
        Record.id.label("record_id"), Record.data, User.id.label("user_id"), User.status, *_PROFILE
    )
    .join_from(Record.table, Link.table, Link.record_id == Record.id)
    .join(User.table, User.id == Link.target_id)
    .where(
        Record.source_id == bindparam("source"),
        Record.kind == "user",
        Link.held,
        User.status != "archived",
        Record.id > bindparam("after"),
    )
    .order_by(Record.id)
    .limit(bindparam("size"))
)


def _anybody_has(connection: Connection, source: Any, name: str) -> bool:
    if name == "person_key":
        query = select(Record.id).where(Record.person_key.is_not(None))
    elif name in PROFILE_FIELDS:
        query = (
            select(Record.id)
            .join_from(User.table, Link.table, Link.target_id == User.id)
            .join(Record.table, Record.id == Link.record_id)
            .where(User.table.c[name].is_not(None))
        )
    else:
        raise ValueError(f"{name} is no field of a person")
    query = query.where(Record.source_id == source.id).limit(1)
    return connection.execute(query).first() is not None
