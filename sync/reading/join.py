"""Joining: an entry of several rows is joined again when one of its rows changes.

Works on the stage and the stored parts, in sets and in batches. Changed entries end up on the stage
like those of a source with one row per entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select, text

from connectors.contract.connector import Connector, Part, Record
from core.errors import SkipRecord
from core.models import Kind
from core.storage import schema
from core.storage.schema import Source
from sync.reading.order.fingerprints import ReadingTerms
from sync.reading.refused import Names, folded_names
from sync.reading.repeated_ids import CONTRADICTING, contradiction
from sync.reading.stage import Stage, State
from sync.reading.staged_entry import entry_facts, main_stream, remapped
from sync.reading.stored_prints import StoredPrints
from sync.run.scratch_tables import TouchedOwners
from sync.sources.soundness import told_of

_BATCH = 500


def join_entries(
    stage: Stage,
    source: Source,
    connector: Connector,
    terms: ReadingTerms,
    schools: frozenset[str] | None,
) -> set[Names]:
    """Stage the entry of every owner with a new, changed or missing row.

    Return the names that entries have which could not be joined: they may be somebody's who is
    missing under another id (F12).
    """
    refused: set[Names] = set()
    about = {"source": source.id}
    main = main_stream(connector)
    with stage.transaction() as connection:
        touched = TouchedOwners(connection)
        connection.execute(_OWNERS, about)
        seq = int(connection.execute(_LAST_SEQ).scalar_one())
    for owners in _owners(stage, touched):
        with stage.transaction() as connection:
            rows: list[tuple[Any, ...]] = []
            gone: list[tuple[str, str, None]] = []
            known = _known(connection, source, owners)
            unreadable, parts = _parts(connection, connector, about, owners)
            for owner in owners:
                seq += 1
                facts: tuple[Any, ...] | None
                if owner in unreadable:
                    facts = _bare(main, owner, State.UNREADABLE)
                else:
                    try:
                        record = _combined(connector, owner, parts.get(owner, []))
                        facts = None
                        if record is not None:
                            facts = entry_facts(
                                terms, connector, main, record, None, None, known.get(owner),
                                schools,
                            )  # fmt: skip
                    except SkipRecord as error:
                        wanted = about | {"owner": owner}
                        place = connection.execute(_PLACE, wanted).one_or_none()
                        finding = told_of(error)
                        row = (main, *(place or (None, None)), owner, *finding, False, True)
                        stage.findings.add(stage.database, [row])
                        refused |= _names(parts.get(owner, []))
                        facts = _bare(main, owner, State.UNREADABLE)
                if facts is None:
                    gone.append((Kind.USER.value, owner, None))
                else:
                    rows.append((seq, None, *facts, None, None))
            stage.entries.add(stage.database, rows)
            stage.gone.add(stage.database, gone)
    return refused


def _names(parts: Sequence[tuple[str, Part]]) -> set[Names]:
    said = [part.data for _, part in parts if "external_id" in part.data]
    return {folded_names(one.get("given_name"), one.get("family_name")) for one in said}


def _combined(connector: Connector, owner: str, parts: Sequence[tuple[str, Part]]) -> Record | None:
    if not parts:
        return None
    mapped = next((part.data["mapped"] for _, part in parts if "mapped" in part.data), None)
    if mapped is not None:  # connectors need not know mapping rules
        parts = [(stream, replace(part, data=_own(part.data))) for stream, part in parts]
    rows = [part.data for _, part in parts if "external_id" in part.data and not part.deleted]
    if (wrong := contradiction(rows)) is not None:
        raise SkipRecord(
            f"The rows of this person contradict each other in {wrong}: they stay as they are.",
            rule=CONTRADICTING,
            column=wrong,
            key=owner,
            hint="Give each person an id of their own, or correct the rows.",
        )
    record = connector.combine(owner, parts)
    if record is None or record.user is None or record.deleted or mapped is None:
        return record
    return remapped(record, mapped)


def _own(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "mapped"}


def _bare(stream: str, owner: str, state: State) -> tuple[Any, ...]:
    return (Kind.USER.value, stream, owner, state, *(None,) * 8)


def _owners(stage: Stage, touched: TouchedOwners) -> Iterator[list[str]]:
    last = ""
    while True:
        about = {"last": last, "n": _BATCH}
        with stage.transaction():
            owners = list(touched.connection.execute(_NEXT_OWNERS, about).scalars())
        if not owners:
            return
        yield owners
        last = owners[-1]


def _known(
    connection: Connection, source: Source, owners: Sequence[str]
) -> dict[str, StoredPrints]:
    rows = connection.execute(_KNOWN, {"source": source.id, "owners": owners})
    return {row[0]: StoredPrints(None, None, row[1]) for row in rows}


def _parts(
    connection: Connection, connector: Connector, about: dict[str, Any], owners: Sequence[str]
) -> tuple[set[str], dict[str, list[tuple[str, Part]]]]:
    """Return the owners with an unreadable row, and the current rows of each owner."""
    wanted = about | {"owners": owners}
    unreadable = set(connection.execute(_UNREADABLE, wanted).scalars())
    parts: dict[str, list[tuple[str, Part]]] = {}
    for stream, key, owner, data in connection.execute(_STANDING, wanted):
        decoded = msgspec.json.decode(data)
        part = Part(owner, key, decoded, deleted=bool(decoded.pop("deleted", False)))
        parts.setdefault(owner, []).append((stream, part))
    order = list(connector.streams)
    for rows in parts.values():
        rows.sort(key=lambda row: (order.index(row[0]), row[1].key))
    return unreadable, parts


_KNOWN = select(schema.Record.external_id, schema.Record.norm_print).where(
    schema.Record.source_id == bindparam("source"),
    schema.Record.kind == "user",
    schema.Record.in_scope,
    schema.Record.present,
    ~schema.Record.suspect,
    schema.Record.external_id.in_(bindparam("owners", expanding=True)),
)


# --- Set-wise statements ---
# What a person's rows say now is what is on the stage and, of what is not replaced there, what is
# stored. Both are looked up by owner (``ix_stage_owners``, ``ix_parts_owner``), then by key.

_LAST_SEQ = text("SELECT COALESCE(MAX(seq), 0) FROM stage_parts")
_PLACE = text(
    "SELECT s.file, s.line FROM stage_parts s WHERE s.owner = :owner AND s.line IS NOT NULL"
    f" AND (s.state = {State.DATA:d} OR EXISTS (SELECT 1 FROM parts p"
    "  WHERE p.source_id = :source AND p.stream = s.stream AND p.key = s.key))"
    " ORDER BY s.state, s.seq DESC LIMIT 1"
)
"""The place of an entry's last row: faults of an entry are faults of its roles.

If no other row was read, a row that has just been deleted is used; one that was deleted earlier
says nothing, and may be known already.
"""

_NOT_REPLACED = (
    " NOT EXISTS (SELECT 1 FROM stage_parts s WHERE s.stream = p.stream AND s.key = p.key"
    f" AND s.state IN ({State.DATA:d}, {State.DELETED:d}))"
    " AND NOT EXISTS (SELECT 1 FROM stage_gone_parts g WHERE g.stream = p.stream AND g.key = p.key)"
)

_OWNERS = text(
    "INSERT INTO stage_owners SELECT DISTINCT owner FROM ("
    f"SELECT owner FROM stage_parts WHERE state = {State.DATA:d}"
    " UNION SELECT p.owner FROM parts p JOIN stage_parts s ON s.stream = p.stream"
    f" AND s.key = p.key AND s.state <> {State.SEEN:d} WHERE p.source_id = :source"
    " UNION SELECT p.owner FROM parts p JOIN stage_gone_parts g ON g.stream = p.stream"
    " AND g.key = p.key WHERE p.source_id = :source) AS touched_owners"
)
_NEXT_OWNERS = text("SELECT owner FROM stage_owners WHERE owner > :last ORDER BY owner LIMIT :n")
_UNREADABLE = text(
    "SELECT p.owner FROM parts p JOIN stage_parts s ON s.stream = p.stream AND s.key = p.key"
    f" AND s.state = {State.UNREADABLE:d} WHERE p.source_id = :source AND p.owner IN :owners"
).bindparams(bindparam("owners", expanding=True))
_STANDING = text(
    "SELECT p.stream, p.key, p.owner, p.data FROM parts p"
    f" WHERE p.source_id = :source AND p.owner IN :owners AND {_NOT_REPLACED}"
    " UNION ALL SELECT stream, key, owner, data FROM stage_parts"
    f" WHERE owner IN :owners AND state = {State.DATA:d}"
).bindparams(bindparam("owners", expanding=True))
