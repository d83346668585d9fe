"""Schools: stored once per district, linked to each source, planned like users.

A school is known by its NCES id, its state id or its number; the name alone is confirmed by a
person. Schools are few, so all of them are handled at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, select, text

from core.models import Kind
from core.storage.database import Database
from core.storage.schema import Conflict, Link, Record, School, Source
from core.storage.stored import to_json
from sync.ledger.draft import Draft, Step
from sync.people.conflicts import leave_to_a_person
from sync.people.identity import SCHOOL_PREFIX, new_id
from sync.rules.situations import PersonFacts, school_situation_of
from sync.run import open_records

FIELDS = ("name", "nces_id", "state_id", "number")
_STRONG = ("nces_id", "state_id", "number")


@dataclass(slots=True)
class Schools:
    """The schools as they will be once the plan is applied."""

    ids: dict[tuple[int, str], str] = field(default_factory=dict)
    """(source id, the source's id) → our id."""
    names: dict[str, str] = field(default_factory=dict)
    """Our id → name."""
    missing: list[MissingSchool] = field(default_factory=list)
    """Schools that a source no longer lists, and that people of it are still at (F13)."""


@dataclass(frozen=True, slots=True)
class MissingSchool:
    """A school that people of a source name and that the source does not list.

    ``name``: of a school that it listed once, and that stays; empty: one that nobody has seen.
    """

    source_id: int
    external_id: str
    name: str
    people: int


def linked_schools(connection: Connection, district_id: int) -> dict[tuple[int, str], str]:
    """Return (source id, the source's id of the school) → our id, as the directory has them now."""
    rows = connection.execute(_LINKED, {"district": district_id})
    return {(row.source_id, row.external_id): row.target_id for row in rows}


_LINKED = (
    select(Record.source_id, Record.external_id, Link.target_id)
    .join_from(Record.table, Link.table, Link.record_id == Record.id)
    .join(Source.table, Source.id == Record.source_id)
    .where(Record.kind == "school", Source.district_id == bindparam("district"))
)


@dataclass(slots=True)
class _School:
    id: str
    status: str
    revision: int
    values: dict[str, str | None]


@dataclass(slots=True)
class _Record:
    id: int
    source_id: int
    external_id: str
    version: int
    present: bool
    open: bool
    values: dict[str, str | None]
    target: str | None
    held: bool | None
    kept: bool = False
    """It is not listed any more, and its school stays all the same."""

    @property
    def stands(self) -> bool:
        """Whether its school is still there as far as this source is concerned."""
        return self.present or self.kept


def plan_schools(
    database: Database,
    connection: Connection,
    draft: Draft,
    district_id: int,
    sources: Sequence[Source],
    now: datetime,
) -> Schools:
    """Record the changes of schools; return how the sources' ids lead to them."""
    planner = _SchoolPlanner(database, connection, draft, district_id, sources, now)
    return planner.plan()


class _SchoolPlanner:
    def __init__(
        self,
        database: Database,
        connection: Connection,
        draft: Draft,
        district_id: int,
        sources: Sequence[Source],
        now: datetime,
    ) -> None:
        self.database = database
        self.connection = connection
        self.draft = draft
        self.district_id = district_id
        self.sources = sources
        self.now = now
        self.schools = {
            row.id: _School(
                row.id, row.status, row.revision, {name: getattr(row, name) for name in FIELDS}
            )
            for row in connection.execute(_SCHOOLS, {"district": district_id})
        }
        self.found = Schools(names={s.id: str(s.values["name"]) for s in self.schools.values()})
        self.unlisted: set[tuple[int, str]] = set()
        """(source id, the source's id) of the schools that a source lists no more."""
        self.gone: set[tuple[int, str]] = set()
        """(source id, our id) of those whose end has not been applied yet."""
        self.decisions: dict[int, str | None] = {
            row.record_id: row.decision
            for row in connection.execute(_DECISIONS, {"district": district_id})
        }

    def plan(self) -> Schools:
        rank = {source.id: number for number, source in enumerate(self.sources)}
        about = {"sources": [source.id for source in self.sources]}
        records = [
            _Record(
                row.id, row.source_id, row.external_id, row.version, bool(row.present),
                bool(row.open), _values(row.data), row.target_id,
                None if row.held is None else bool(row.held),
            )
            for row in self.connection.execute(_RECORDS_OF_SCHOOLS, about)
        ]  # fmt: skip
        records.sort(key=lambda r: (rank[r.source_id], r.external_id))
        absent = [r for r in records if r.target is not None and not r.present]
        self.unlisted = {(r.source_id, r.external_id) for r in absent}
        self.gone = {(r.source_id, str(r.target)) for r in absent if r.held}
        known: dict[str, list[_Record]] = {}
        for record in records:
            if record.target is not None:
                known.setdefault(record.target, []).append(record)
                self.found.ids[record.source_id, record.external_id] = record.target
        self._keep_those_in_use(records)
        # one whose row was deleted past the ledger is put back by a repair, and left until then
        for school_id in sorted(known.keys() & self.schools.keys()):
            archived = self.schools[school_id].status == "archived"
            if any(record.open or (archived and record.kept) for record in known[school_id]):
                self._known(self.schools[school_id], known[school_id])
        for record in records:
            if record.target is None and record.present:
                self._new(record)
            elif record.target is None and record.open:
                self._close([record])
        return self.found

    def _keep_those_in_use(self, records: Sequence[_Record]) -> None:
        """Keep schools that present people name, or that may have come back under another id.

        One that has gone comes back, once somebody names it again.
        """
        gone = [
            record for record in records
            if record.target in self.schools and not record.present
            and (record.held or self.schools[record.target].status == "archived")
        ]  # fmt: skip
        if not gone:
            return
        new = [record for record in records if record.target is None and record.present]
        again = {school for one in new for school in self._again(one)}
        for record in gone:
            target = str(record.target)
            needle = f'"school":{to_json(record.external_id)}'
            about = {"school": target, "source": record.source_id, "needle": needle}
            people = int(self.connection.execute(_PEOPLE_WHO_NAME_SCHOOL, about).scalar_one())
            stood = self.schools[target].status == "active"
            record.kept = people > 0 or (stood and target in again)
            if people:
                name = str(self.schools[target].values["name"])
                self.found.missing.append(
                    MissingSchool(record.source_id, record.external_id, name, people)
                )

    def _again(self, record: _Record) -> list[str]:
        """Return the schools that somebody may take a new record for, or has taken it for."""
        decision = self.decisions.get(record.id)
        if decision is not None:
            return [] if decision == "new" else [decision]
        return self._candidates(record)[0]

    def _known(self, school: _School, records: Sequence[_Record]) -> None:
        present = [record for record in records if record.stands]
        facts = PersonFacts(
            user=school.status,  # type: ignore[arg-type]  # the database checks the word
            sources="share" if present else "left",
        )
        situation = school_situation_of(facts)
        steps: list[Step] = []
        about: dict[str, Any] = {"school": school.id}

        def step(action: str, reason: str, **more: Any) -> None:
            steps.append(
                Step(Kind.SCHOOL, action, school.id, school.revision, reason, **about, **more)
            )

        if situation.action in ("archive", "restore"):
            status = {"archive": "archived", "restore": "active"}[situation.action]
            step(
                situation.action, situation.reason,
                before={"status": school.status}, after={"status": status},
            )  # fmt: skip
        if present:
            wanted = _merged(present)
            after = {name: wanted[name] for name in FIELDS if wanted[name] != school.values[name]}
            if after:
                before = {name: school.values[name] for name in after}
                step("update", "changed_in_source", before=before, after=after)
                self.found.names[school.id] = str(wanted["name"])
                school.values = {**school.values, **after}  # another source may know it by that
        moved = [record for record in records if bool(record.held) != record.stands]
        if situation.action != "archive":
            for record in moved:
                action = "link" if record.stands else "unlink"
                if not (action == "link" and situation.action == "restore"):
                    step(action, "returned" if record.stands else "absent")
        if not steps:
            self._close([record for record in records if not record.kept])
            return
        basis = [
            [r.id, r.version, None if r.held is r.stands else int(r.stands), int(not r.kept)]
            for r in records
        ]
        steps[0] = steps[0]._replace(basis=basis)
        self.draft.add(steps)

    def _new(self, record: _Record) -> None:
        candidates, evidence = self._candidates(record)
        decision = self.decisions.get(record.id)
        if decision == "new":
            candidates = []
        elif decision is not None:
            candidates, evidence = [decision], "resolved"
        if len(candidates) == 1 and evidence != "name":
            self._link(record, self.schools[candidates[0]], evidence)
        elif candidates:
            self._conflict(record, candidates, evidence)
            if len(candidates) == 1 and self._is_gone(record.source_id, candidates[0]):
                # until somebody has decided, its people are where they were
                self._lead(record, candidates[0])
        else:
            self._create(record)

    def _candidates(self, record: _Record) -> tuple[list[str], str]:
        """Return the schools that this may be, with the strongest evidence."""
        for name in _STRONG:
            value = record.values[name]
            if value is not None:
                found = [s.id for s in self.schools.values() if s.values[name] == value]
                if found:
                    return found, name
        wanted = str(record.values["name"]).casefold()
        return [
            school.id
            for school in self.schools.values()
            if str(school.values["name"]).casefold() == wanted
            and school.id not in self._listed(record.source_id)  # no source lists a school twice
            and (
                self._is_gone(record.source_id, school.id) or not self._contradicts(record, school)
            )
        ], "name"

    def _listed(self, source_id: int) -> set[str]:
        """Return the schools that a source lists now, under whichever id."""
        return {
            target for (source, key), target in self.found.ids.items()
            if source == source_id and (source, key) not in self.unlisted
        }  # fmt: skip

    def _is_gone(self, source_id: int, school_id: str) -> bool:
        """Say whether this source listed a school until now, and lists it no more."""
        return (source_id, school_id) in self.gone and school_id not in self._listed(source_id)

    def _contradicts(self, record: _Record, school: _School) -> bool:
        return any(
            record.values[name] is not None
            and school.values[name] is not None
            and record.values[name] != school.values[name]
            for name in _STRONG
        )

    def _create(self, record: _Record) -> None:
        source = next(source.name for source in self.sources if source.id == record.source_id)
        school_id, number = "", 0
        while not school_id or school_id in self.schools:
            about = (self.district_id, source, record.external_id, number)
            school_id = new_id(self.database.key, SCHOOL_PREFIX, *about)
            number += 1
        after = {name: value for name, value in record.values.items() if value is not None}
        self.draft.add(
            [
                Step(
                    Kind.SCHOOL, "create", school_id, None, "new_in_source",
                    after={"status": "active", **after},
                    record_id=record.id, record_version=record.version, school=school_id,
                )
            ]
        )  # fmt: skip
        self.schools[school_id] = _School(school_id, "new", 0, record.values)
        self._lead(record, school_id)

    def _link(self, record: _Record, school: _School, evidence: str) -> None:
        revision = None if school.status == "new" else school.revision  # new, created by this plan
        self.draft.add(
            [
                Step(
                    Kind.SCHOOL, "link", school.id, revision, f"same_{evidence}",
                    record_id=record.id, record_version=record.version, school=school.id,
                )
            ]
        )  # fmt: skip
        self._lead(record, school.id)

    def _lead(self, record: _Record, school_id: str) -> None:
        self.found.ids[record.source_id, record.external_id] = school_id
        self.found.names.setdefault(school_id, str(record.values["name"]))

    def _conflict(self, record: _Record, candidates: Sequence[str], evidence: str) -> None:
        likely = {school: [evidence] for school in sorted(candidates)}
        leave_to_a_person(
            self.connection, Kind.SCHOOL, self.district_id, record.id, "same_name", likely, self.now
        )

    def _close(self, records: Sequence[_Record]) -> None:
        open_records.close(self.connection, [record.id for record in records if record.open])


def _values(data: str) -> dict[str, str | None]:
    decoded = msgspec.json.decode(data)
    return {name: decoded.get(name) for name in FIELDS}


def _merged(records: Sequence[_Record]) -> dict[str, str | None]:
    """Return each field's value from the first source that has one."""
    return {
        name: next((r.values[name] for r in records if r.values[name] is not None), None)
        for name in FIELDS
    }


_SCHOOLS = (
    select(School.id, School.status, School.revision, *(School.table.c[name] for name in FIELDS))
    .where(School.district_id == bindparam("district"))
    .order_by(School.id)
)
_DECISIONS = select(Conflict.record_id, Conflict.decision).where(
    Conflict.district_id == bindparam("district"),
    Conflict.kind == "school",
    Conflict.status == "resolved",
)


# --- Set-wise statements ---
# The first reads the few records of schools with what is known of each. The second reads the data
# of those people only who were at a school, by the index of its members, and of those who are open.
_RECORDS_OF_SCHOOLS = text(
    "SELECT r.id, r.source_id, r.external_id, r.version, r.present,"
    f" {open_records.is_open('r.id')} AS open, r.data, l.target_id, l.held"
    " FROM records r LEFT JOIN links l ON l.record_id = r.id"
    " WHERE r.kind = 'school' AND r.source_id IN :sources"
).bindparams(bindparam("sources", expanding=True))
_PEOPLE_WHO_NAME_SCHOOL = text(  # those who were there, and those of whom no plan has decided yet
    "SELECT COUNT(*) FROM records r WHERE r.source_id = :source AND r.kind = 'user' AND r.present"
    " AND r.in_scope AND REPLACE(r.data, :needle, '') <> r.data AND r.id IN ("
    "SELECT l.record_id FROM memberships m JOIN links l ON l.target_id = m.user_id"
    " WHERE m.school_id = :school UNION SELECT w.record_id FROM open_records w"
    " WHERE w.source_id = :source AND w.kind = 'user')"
)
