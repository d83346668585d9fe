"""Export: the people of a district, or of one source, as files that ``upload`` accepts.

Uploaded back into its source, such a file changes nothing: the key of each row is the source's own,
and its fields are what the directory says. The connector knows its format; this module says what
the source holds. People that a format cannot carry are named by user id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from connectors.contract.file_exchange import ExportedRow, ExportFile, ExportRequest, HeldPerson
from connectors.files import user_file
from connectors.installed import load
from core.errors import UsageError
from core.models import PROFILE_FIELDS, UserStatus
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


_JOINED = text("SELECT 1 FROM parts WHERE source_id = :source LIMIT 1")


def _schools(connection: Connection, source: Any) -> Iterator[Mapping[str, Any]]:
    for (data,) in connection.execute(_SCHOOLS, {"source": source.id}):
        yield msgspec.json.decode(data)


_SCHOOLS = text(
    "SELECT data FROM records WHERE source_id = :source AND kind = 'school' AND present"
    " ORDER BY external_id"
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


_HELD = text(
    "SELECT r.id AS record_id, r.data, u.id AS user_id, u.status,"
    f" {', '.join(f'u.{name}' for name in PROFILE_FIELDS)} FROM records r"
    " JOIN links l ON l.record_id = r.id JOIN users u ON u.id = l.target_id"
    " WHERE r.source_id = :source AND r.kind = 'user' AND l.held AND u.status <> 'archived'"
    " AND r.id > :after ORDER BY r.id LIMIT :size"
)


def _anybody_has(connection: Connection, source: Any, name: str) -> bool:
    if name == "person_key":
        query = "SELECT 1 FROM records WHERE source_id = :source AND person_key IS NOT NULL"
    elif name in PROFILE_FIELDS:
        query = (
            "SELECT 1 FROM users u JOIN links l ON l.target_id = u.id JOIN records r"
            f" ON r.id = l.record_id WHERE r.source_id = :source AND u.{name} IS NOT NULL"
        )
    else:
        raise ValueError(f"{name} is no field of a person")
    return connection.execute(text(f"{query} LIMIT 1"), {"source": source.id}).first() is not None
