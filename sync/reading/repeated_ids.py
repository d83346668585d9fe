"""Repeated ids: what several rows of one reading with one id say together (F14).

Memberships and roles are united, whatever the order of the rows; what one row leaves out another
fills in. Rows that contradict each other in a name, a number or an address leave their person as
they are, and are listed. Works on the stage only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, null, select, text

from connectors.contract.connector import Connector, Record
from core.models import (
    Kind,
    Membership,
    NormalizedSchool,
    NormalizedUser,
    fold_email,
    fold_name,
    kind_of_person_key,
    without_zeros,
)
from core.storage import schema
from core.storage.schema import Part, SnapshotChunk, Source
from sync.reading.fetch_result import FetchResult
from sync.reading.order.fingerprints import ReadingTerms
from sync.reading.stage import Stage, State
from sync.reading.staged_entry import entry_facts
from sync.reading.stored_prints import StoredPrints
from sync.sources.soundness import storable

NAMES = ("given_name", "family_name")
NUMBERS = (
    "sis_id", "student_number", "state_id", "staff_number", "crd_id", "identifier", "person_key",
)  # fmt: skip
CONTRADICTING = "contradicting-rows"
"""The rule that rows of one id break which contradict each other."""
IDENTITY = (*NAMES, *NUMBERS, "email")
"""The fields in which rows of one id may not contradict each other."""
_CANDIDATES = 50_000
_BATCH = 500

canonical = msgspec.json.Encoder(order="deterministic").encode


def contradiction(rows: Sequence[Mapping[str, Any]], also: str | None = None) -> str | None:
    """Return the first field of ``IDENTITY`` in which rows contradict each other, or None.

    ``also`` is one more field: the name of a school.
    """
    for name in (*IDENTITY, also) if also is not None else IDENTITY:
        said = {_comparable(name, row[name]) for row in rows if row.get(name)}
        # somebody may have one key of each kind
        most = len(set(map(kind_of_person_key, said))) if name == "person_key" else 1
        if len(said) > most:
            return name
    return None


def _comparable(name: str, value: str) -> str:
    if name in (*NAMES, "name"):
        return fold_name(value)
    return fold_email(value) if name == "email" else without_zeros(value)


def united(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what rows of one id say together, the same for every order of them."""
    ordered = sorted(rows, key=canonical)
    found: dict[str, Any] = {}
    for row in ordered:
        for name, value in row.items():
            if value is not None:
                found.setdefault(name, value)
    if any("memberships" in row for row in ordered):
        found["memberships"] = _memberships(ordered)
    if any(row.get("enabled", True) for row in ordered):
        found.pop("enabled", None)
    return found


def _memberships(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the roles and schools of all rows; of several primary schools only the first is."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        for member in row.get("memberships", ()):
            place = member["role"], member.get("school") or ""
            if place not in found or member.get("primary"):
                found[place] = dict(member)
    several = False
    for place in sorted(found):
        found[place]["primary"] = bool(found[place].get("primary")) and not several
        several = several or found[place]["primary"]
    return [found[place] for place in sorted(found)]


# -- on the stage


@dataclass(frozen=True, slots=True)
class _Row:
    """One staged row of an id that stands in several."""

    seq: int
    place: int
    stream: str
    key: str
    state: int
    data: str | None
    file: str | None
    line: int | None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What evidence says under an id: so says each of its rows that was not parsed."""

    data: str
    norm_print: bytes | None
    owner: str | None


_Id = tuple[str, str]
"""Kind and key of an entry, or stream and key of a part."""


@dataclass(frozen=True, slots=True)
class RepeatedIds:
    """Puts together the rows of ids that stand several times in one reading."""

    stage: Stage
    source: Source
    connector: Connector
    terms: ReadingTerms
    schools: frozenset[str] | None

    def unite(self, reading: FetchResult, *, parts: bool) -> None:
        """Leave one row of each id on the stage: what all of its rows say together.

        They are all read again next time, or one that goes would not be missed.
        """
        table, group = ("stage_parts", "stream") if parts else ("stage_entries", "kind")
        with self.stage.transaction() as connection:
            ids = self._repeated(connection, table, group, reading)
        ordered = sorted(ids)
        for start in range(0, len(ordered), _BATCH):
            some = {one: ids[one] for one in ordered[start : start + _BATCH]}
            with self.stage.transaction() as connection:
                self._unite(connection, table, group, some, reading)

    def _repeated(
        self, connection: Connection, table: str, group: str, reading: FetchResult
    ) -> dict[_Id, bool]:
        """Return the ids of several rows, and whether the snapshot has met one of these rows."""
        several = connection.execute(_SEVERAL[table])
        found: dict[_Id, bool] = {(row[0], row[1]): False for row in several}
        for stream in sorted(reading.ordered):
            about = stream if group == "stream" else self.connector.streams[stream].value
            met = _met_in_order(connection, self.source, table, stream)
            found |= {(about, key): True for key in met}
        return found

    def _unite(
        self,
        connection: Connection,
        table: str,
        group: str,
        ids: Mapping[_Id, bool],
        reading: FetchResult,
    ) -> None:
        parts = group == "stream"
        rows: dict[_Id, list[_Row]] = defaultdict(list)
        keys = sorted({key for _, key in ids})
        for about, *columns in connection.execute(_ROWS[table], {"keys": keys}):
            one = _Row(*columns)
            rows[about, one.key].append(one)
        asked = {"source": self.source.id, "groups": sorted({of for of, _ in ids}), "keys": keys}
        stored = {
            (row[0], row[1]): _Stored(*row[2:])
            for row in connection.execute(_PARTS if parts else _RECORDS, asked)
        }
        done = [(about, found) for about, found in sorted(rows.items()) if about in ids]
        drop = [{"seq": row.seq} for _, found in done for row in found]
        connection.execute(_DROP_ROW[table], drop)
        for about, found in done:
            together = self._parts_together if parts else self._entries_together
            facts = together(about, found, ids[about], stored.get(about))
            first = min(found, key=lambda row: row.seq)
            whole = (first.seq, first.place, *facts, first.file, first.line)
            staged = self.stage.parts if parts else self.stage.entries
            staged.add(self.stage.database, [whole])
            self.stage.united.add(self.stage.database, [(first.stream, first.key)])
            surplus = len(found) - (0 if ids[about] else 1)
            reading.repeated[first.stream] = reading.repeated.get(first.stream, 0) + surplus

    def _entries_together(
        self, about: _Id, rows: Sequence[_Row], met: bool, stored: _Stored | None
    ) -> tuple[Any, ...]:
        """Return what the stage keeps of the rows of one entry, after seq and place."""
        kind, key = about
        stream = rows[0].stream
        said = [one for one, _ in _said(rows, met, stored)]
        bare = (kind, stream, key, max(row.state for row in rows), *(None,) * 8)
        if not said:
            return bare
        unreadable = (kind, stream, key, State.UNREADABLE, *(None,) * 8)
        if any(row.state == State.UNREADABLE for row in rows):
            self._speak(rows[0], said)
            return unreadable
        wrong = contradiction(said, "name" if kind == Kind.SCHOOL else None)
        if wrong is not None:
            self._list(rows, wrong, met=met)
            self._speak(rows[0], said)
            return unreadable
        whole = united(said)
        if kind == Kind.SCHOOL:
            record = Record(Kind.SCHOOL, key, school=NormalizedSchool.model_validate(whole))
        else:
            members = tuple(Membership(**member) for member in whole.pop("memberships", ()))
            user = NormalizedUser.model_validate({**whole, "memberships": members})
            record = Record(Kind.USER, key, user=user)
        known = None if stored is None else StoredPrints(None, None, stored.norm_print)
        return entry_facts(
            self.terms, self.connector, stream, record, None, None, known, self.schools
        )

    def _parts_together(
        self, about: _Id, rows: Sequence[_Row], met: bool, stored: _Stored | None
    ) -> tuple[Any, ...]:
        """Return what the stage keeps of the rows of one part, after seq and place."""
        said = _said(rows, met, stored)
        states = {row.state for row in rows}
        if not said or State.UNREADABLE in states:
            return (*about, None, max(states), None, None, None)
        owner: str | None = min(one for _, one in said if one is not None)
        if "external_id" in said[0][0]:
            wrong = contradiction([one for one, _ in said])
            if wrong is not None:
                self._list(rows, wrong, met=met)
                self._speak(rows[0], [one for one, _ in said])
                return (*about, None, State.UNREADABLE, None, None, None)
            whole = united([one for one, _ in said])
        else:  # a row of roles: which of them it is must not depend on their order
            whole, owner = min(said, key=lambda one: (canonical(one[0]), one[1] or ""))
            other = [row for row in rows if _data(row, stored) not in (None, whole)]
            kept = met and stored is not None and msgspec.json.decode(stored.data) != whole
            self._find(
                other, "repeated-id", "",
                "The row's id stands in another row, which says something else and is used.",
                "Give each row an id of its own, or remove the repeated row.",
                about if kept else None,
            )  # fmt: skip
        return (*about, owner, State.DATA, None, None, msgspec.json.encode(whole).decode())

    def _speak(self, row: _Row, said: Sequence[Mapping[str, Any]]) -> None:
        """Note whose names rows have that are not used: one may have the id of another (F12)."""
        if self.connector.streams[row.stream] is not Kind.USER:
            return
        names = {
            (storable(one.get("given_name") or ""), storable(one.get("family_name") or ""))
            for one in said
        }
        facts = [(row.stream, None, *one, False, row.file, row.line) for one in sorted(names)]
        self.stage.refused.add(self.stage.database, facts)

    def _list(self, rows: Sequence[_Row], wrong: str, *, met: bool) -> None:
        self._find(
            rows, CONTRADICTING, wrong,
            f"Several rows have this id and contradict each other in {wrong}:"
            " their person stays as they are.",
            "Give each person an id of their own, or correct the rows.",
            (rows[0].stream, rows[0].key) if met else None,
        )  # fmt: skip

    def _find(
        self,
        rows: Sequence[_Row],
        rule: str,
        column: str,
        message: str,
        hint: str,
        unchanged: tuple[str, str] | None,
    ) -> None:
        """List the rows, and ``unchanged``: stream and key of one that was met in the snapshot.

        Where that one stands is known from the next reading on, which looks at all of them.
        """
        said = (column, rule, message, hint, False, False)
        findings = [(r.stream, r.file, r.line, r.key, *said) for r in rows]
        if unchanged is not None:
            stream, key = unchanged
            findings.append((stream, None, None, key, *said))
        self.stage.findings.add(self.stage.database, findings)


def _data(row: _Row, stored: _Stored | None) -> Any:
    """Return what one row of a part says; one that was not parsed says what evidence has."""
    if row.data is not None:
        return msgspec.json.decode(row.data)
    if stored is None or row.state != State.SEEN:
        return None
    return msgspec.json.decode(stored.data)


def _said(
    rows: Sequence[_Row], met: bool, stored: _Stored | None
) -> list[tuple[dict[str, Any], str | None]]:
    """Return what each row says, and of whom; a row that is there outweighs one that is deleted."""
    said = [(msgspec.json.decode(row.data), row.owner) for row in rows if row.data is not None]
    if stored is not None and (met or any(row.state == State.SEEN for row in rows)):
        said.append((msgspec.json.decode(stored.data), stored.owner))
    return [one for one in said if not one[0].get("deleted")] or said


def _met_in_order(connection: Connection, source: Source, table: str, stream: str) -> set[str]:
    """Return the keys of staged rows that the snapshot has met unchanged in another row.

    Every key of the stored order was either met or passed over.
    """
    met: set[str] = set()
    last, rows = 0, _CANDIDATES
    while rows == _CANDIDATES:
        about: dict[str, Any] = {"stream": stream, "last": last, "n": _CANDIDATES}
        new: set[str] = set()
        rows = 0
        for seq, key in connection.execute(_NOT_PASSED[table], about):
            new.add(key)
            last, rows = seq, rows + 1
        about = {"stream": stream, "source": source.id}
        for keys in connection.execute(_STORED_KEYS, about).scalars() if new else ():
            met |= new & set(keys.decode().split("\0"))
    return met


_KEYS: Any = bindparam("keys", expanding=True)
_GROUPS: Any = bindparam("groups", expanding=True)
_RECORDS = select(
    schema.Record.kind,
    schema.Record.external_id,
    schema.Record.data,
    schema.Record.norm_print,
    null(),
).where(
    schema.Record.source_id == bindparam("source"),
    schema.Record.kind.in_(_GROUPS),  # so that the keys are looked up, and not all records read
    schema.Record.external_id.in_(_KEYS),
    schema.Record.present,
    schema.Record.in_scope,
    ~schema.Record.suspect,
)
_PARTS = select(Part.stream, Part.key, Part.data, null(), Part.owner).where(
    Part.source_id == bindparam("source"), Part.stream.in_(_GROUPS), Part.key.in_(_KEYS)
)
_STORED_KEYS = select(SnapshotChunk.keys).where(
    SnapshotChunk.source_id == bindparam("source"), SnapshotChunk.stream == bindparam("stream")
)


# --- Set-wise statements ---
# They are about the stage, once for entries and once for rows of entries: an id is a kind and a key
# of the former, a stream and a key of the latter.

_ID = {"stage_entries": "kind", "stage_parts": "stream"}
_SEVERAL = {
    table: text(
        f"SELECT {group}, key FROM {table} WHERE place IS NOT NULL"
        f" GROUP BY {group}, key HAVING COUNT(*) > 1"
    )
    for table, group in _ID.items()
}
_ROWS = {
    table: text(
        f"SELECT s.{group}, s.seq, s.place, s.stream, s.key, s.state, s.data, s.file, s.line,"
        f" {owner} AS owner FROM {table} s WHERE s.place IS NOT NULL AND s.key IN :keys"
        " ORDER BY s.seq"
    ).bindparams(_KEYS)
    for table, group, owner in (
        ("stage_entries", "kind", "NULL"),
        ("stage_parts", "stream", "s.owner"),
    )
}
_DROP_ROW = {table: text(f"DELETE FROM {table} WHERE seq = :seq") for table in _ID}
_NOT_PASSED = {
    table: text(
        f"SELECT s.seq, s.key FROM {table} s"
        " WHERE s.stream = :stream AND s.place IS NOT NULL AND s.seq > :last"
        " AND NOT EXISTS (SELECT 1 FROM stage_passed p WHERE p.stream = s.stream AND p.key = s.key)"
        " ORDER BY s.seq LIMIT :n"
    )
    for table in _ID
}
