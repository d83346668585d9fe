"""Conflicts as people decide them: who the record speaks of, who it may be, and what agrees.

Read page by page. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from core.errors import UsageError
from core.models import fold_email, fold_name, without_zeros
from core.storage.schema import Conflict, District, Record, School, Source, User
from core.storage.stored import from_json
from sync.run.display import CONFLICT, parse_id, shown_id, shown_time
from sync.run.find import Json

_PAGE = 500
NAMES = ("given_name", "family_name")
COMPARED = (
    *NAMES, "email", "username", "sis_id", "student_number", "state_id", "staff_number", "crd_id",
)  # fmt: skip
"""The fields of a person that both sides of a conflict show."""
COMPARED_OF_SCHOOLS = ("name", "nces_id", "state_id", "number")


def conflicts(
    connection: Connection, district: Any, *, status: str | None = "open"
) -> Iterator[Json]:
    """Yield the conflicts of a district, the oldest first; ``status`` None: also the settled.

    ``record`` says what the source says, each candidate what the directory has, and which fields
    of the two agree and differ.
    """
    about = {"district": district.id, "after": 0, "size": _PAGE}
    query = _CONFLICTS
    if status is not None:
        query = _CONFLICTS_OF_STATUS
        about["status"] = status
    while page := connection.execute(query, about).all():
        about["after"] = page[-1].id
        known = _known(connection, page)
        for row in page:
            yield _conflict_json(row, district.slug, known)


def conflict_row(connection: Connection, word: str) -> Any:
    """Return a conflict by its id as printed, with the ``slug`` of its district.

    Raises ``UsageError``.
    """
    number = parse_id(CONFLICT, word)
    row = connection.execute(_CONFLICT, {"conflict": number}).one_or_none()
    if row is None:
        raise UsageError(
            f"There is no conflict {shown_id(CONFLICT, number)}.",
            hint="rostersync conflicts DISTRICT lists them.",
        )
    return row


def compared(kind: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    """Return which fields of two sides agree and which differ; a field that one lacks is in none.

    Names are compared without accents, case and signs, numbers without leading zeros.
    """
    agree, differ = list[str](), list[str]()
    for name in COMPARED_OF_SCHOOLS if kind == "school" else COMPARED:
        if one.get(name) and other.get(name):
            same = _comparable(name, one[name]) == _comparable(name, other[name])
            (agree if same else differ).append(name)
    return {"agree": agree, "differ": differ}


def _comparable(name: str, value: str) -> str:
    if name in (*NAMES, "name"):
        return fold_name(value)
    return fold_email(value) if name in ("email", "username") else without_zeros(value)


def _conflict_json(row: Any, slug: str, known: Mapping[str, Json]) -> Json:
    fields = COMPARED_OF_SCHOOLS if row.kind == "school" else COMPARED
    said = from_json(row.data) if row.data else {}
    record = {name: said.get(name) for name in fields}
    return {
        "id": shown_id(CONFLICT, row.id),
        "district": slug,
        "kind": row.kind,
        "source": row.source,
        "external_id": row.external_id,
        "reason": row.reason,
        "record": record,
        "candidates": [_candidate_json(row.kind, record, one, known) for one in row.candidates],
        "status": row.status,
        "decision": row.decision,
        "decided_by": row.decided_by,
        "decided_at": shown_time(row.decided_at),
        "created_at": shown_time(row.created_at),
    }


def _candidate_json(
    kind: str, record: Mapping[str, Any], one: Mapping[str, Any], known: Mapping[str, Json]
) -> Json:
    theirs = known.get(one["id"], {})
    shown = {"id": one["id"], "status": None} | theirs
    return shown | compared(kind, record, theirs) | {"evidence": list(one.get("evidence", ()))}


def _known(connection: Connection, page: Sequence[Any]) -> dict[str, Json]:
    """Return the candidates of some conflicts, by id; who joins in this very run is not there."""
    found: dict[str, Json] = {}
    for kind, query, fields in (
        ("user", _USERS, COMPARED), ("school", _SCHOOLS, COMPARED_OF_SCHOOLS)
    ):  # fmt: skip
        wanted = {one["id"] for row in page if row.kind == kind for one in row.candidates}
        for row in connection.execute(query, {"ids": sorted(wanted)}) if wanted else ():
            found[row.id] = {"status": row.status} | {name: getattr(row, name) for name in fields}
    return found


_CONFLICTS = (
    select(Conflict.table, Record.external_id, Record.data, Source.name.label("source"))
    .join_from(Conflict.table, Record.table, Record.id == Conflict.record_id, isouter=True)
    .join(Source.table, Source.id == Record.source_id, isouter=True)
    .where(Conflict.district_id == bindparam("district"), Conflict.id > bindparam("after"))
    .order_by(Conflict.id)
    .limit(bindparam("size"))
)
_CONFLICTS_OF_STATUS = _CONFLICTS.where(Conflict.status == bindparam("status"))
_CONFLICT = (
    select(Conflict.table, District.slug)
    .join_from(Conflict.table, District.table, District.id == Conflict.district_id)
    .where(Conflict.id == bindparam("conflict"))
)
_IDS: Any = bindparam("ids", expanding=True)
_USERS = select(User.id, User.status, *(User.table.c[name] for name in COMPARED)).where(
    User.id.in_(_IDS)
)
_SCHOOLS = select(
    School.id, School.status, *(School.table.c[name] for name in COMPARED_OF_SCHOOLS)
).where(School.id.in_(_IDS))
