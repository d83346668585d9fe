"""People who are not in the directory: who joins, and who may be somebody we know.

Used by ``sync/planning/plan.py`` with what is left of ``todo_records`` after matching (I5). Writes
the draft and the conflicts, changes nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, select, text

from core.models import Kind
from core.storage.schema import Conflict, User
from core.storage.stored import from_json
from sync.people import conflicts, moved_people
from sync.people.identity import USER_PREFIX, new_id
from sync.people.person import RecordView, read_newcomers, read_records
from sync.planning.decide import decide_newcomer
from sync.planning.workspace import Workspace

BATCH = 4_000
"""Records per transaction. Their rows are spread all over an index, so fewer, larger transactions
write each of its pages less often."""

Person = tuple[int, str]
"""A source, and what distinguishes its people."""

People = dict[Person, list[RecordView]]

Doubt = tuple[str, dict[str, list[str]]]
"""Why a newcomer may be somebody we know, and the candidates with their evidence."""


def new_user_id(work: Workspace, record: RecordView, number: int = 0) -> str:
    """Return the id of the user that a record brings in; ``number`` if the first is taken."""
    name = work.context.sources.names[record.source_id]
    about = (work.slug, name, record.external_id, number)
    return new_id(work.database.key, USER_PREFIX, *about)


class Newcomers:
    """Decides about the newcomers of a plan. ``silent`` sources only repeat what is held."""

    def __init__(
        self, work: Workspace, silent: frozenset[int], comes_from: Mapping[int, str]
    ) -> None:
        self.work = work
        self.silent = silent
        self.resembling = conflicts.LOST if work.switching else "resembles_leaver"
        with work.transaction() as connection:  # most runs have none, and then no query is needed
            about = {"district": work.district_id, "reason": conflicts.LOST}
            self.some_attached = connection.execute(_ANY_ATTACHED).first() is not None
            self.some_lost = connection.execute(_ANY_LOST, about).first() is not None
            self.some_families = connection.execute(_ANY_FAMILY).first() is not None
        self.comes_from = comes_from
        self.given_to: dict[int, str] = {}
        """Record that was somebody's → the new user who gets it (I13)."""

    def look_at(self, records: int, progress: Callable[[int], None] | None) -> None:
        """Look at all records of ``todo_records``, person by person."""
        waiting: list[RecordView] = []
        for first in range(1, records + 1, BATCH):
            with self.work.transaction() as connection:
                read = read_newcomers(self.work.tables.records, first, first + BATCH - 1)
                batch = waiting + list(read)
                waiting = []
                if first + BATCH <= records and batch:  # a person may go on in the next batch
                    last = _person(batch[-1])
                    while batch and _person(batch[-1]) == last:
                        waiting.insert(0, batch.pop())
                self._look_at_batch(connection, batch)
                self.work.draft.flush(connection)
            if progress is not None:
                progress(BATCH)
        if waiting:
            with self.work.transaction() as connection:
                self._look_at_batch(connection, waiting)
                self.work.draft.flush(connection)

    def _look_at_batch(self, connection: Connection, batch: Sequence[RecordView]) -> None:
        if not batch:
            return
        work = self.work
        people: People = {}
        for record in batch:
            people.setdefault(_person(record), []).append(record)
        self._attach(connection, people)
        for record in (record for records in people.values() for record in records):
            record.comes_from = self.comes_from.get(record.id)
        families = self._families(connection, batch)
        ids = self._new_ids(connection, people)
        doubts = self._doubts(connection, batch)
        if doubts:
            self._leave_out_doubtful(connection, people, ids, doubts)
        with work.draft.streaming(connection):
            for about, records in people.items():
                user_id = ids[about]
                family = families.get(records[0].id)
                decision = decide_newcomer(records, user_id, work.context, family)
                if records[0].source_id in self.silent and decision.steps:
                    work.draft.mark(user_id, records[0].source_id, "standing")
                if decision.steps:
                    work.write(user_id, decision)
                    self.given_to |= {r.id: user_id for r in records if r.comes_from is not None}

    def _families(
        self, connection: Connection, batch: Sequence[RecordView]
    ) -> dict[int, list[str]]:
        """Return whose address each newcomer's is, too (I9), by record id."""
        if not self.some_families:
            return {}
        about = {"records": [record.id for record in batch]}
        return {
            row[0]: from_json(row[1]) for row in connection.execute(_FAMILIES_OF_RECORDS, about)
        }

    def _new_ids(self, connection: Connection, people: People) -> dict[Person, str]:
        """Return the id of the user that each person will be; it is not in use yet."""
        ids = {about: new_user_id(self.work, records[0]) for about, records in people.items()}
        taken = self._taken_ids(connection, list(ids.values()))
        for about, user_id in ids.items() if taken else ():
            number = 0
            while user_id in taken:
                number += 1
                user_id = new_user_id(self.work, people[about][0], number)
                taken |= self._taken_ids(connection, [user_id])
            ids[about] = user_id
        return ids

    def _leave_out_doubtful(
        self,
        connection: Connection,
        people: People,
        ids: Mapping[Person, str],
        doubts: Mapping[int, Doubt],
    ) -> None:
        """Leave newcomers who may be somebody we know to a person; a pair is held together (L7)."""
        for about, records in list(people.items()):
            doubt = next((doubts[r.id] for r in records if r.id in doubts), None)
            if doubt is None:
                continue
            self._conflict(connection, records[0], *doubt)
            if doubt[0] == "resembles_leaver":
                for target in (*doubt[1], ids[about]):
                    self.work.draft.mark(target, records[0].source_id, "resembling")
            else:
                del people[about]

    def _attach(self, connection: Connection, people: People) -> None:
        """Give newcomers their records from other sources: they join as one person."""
        if not self.some_attached:
            return
        whose = {record.id: records for records in people.values() for record in records}
        rows = connection.execute(_ATTACHED_TO_RECORDS, {"records": list(whose)}).all()
        views = read_records(connection, [row.record_id for row in rows]) if rows else {}
        for row in rows:
            record = views[row.record_id]
            record.join_reason = row.reason
            whose[row.base_id].append(record)

    def _taken_ids(self, connection: Connection, ids: list[str]) -> set[str]:
        if self.work.empty:
            return set()
        return set(connection.execute(_EXISTING, {"ids": ids}).scalars())

    def _doubts(self, connection: Connection, batch: Sequence[RecordView]) -> dict[int, Doubt]:
        """Return the newcomers who may not be new, by record id."""
        doubts: dict[int, Doubt] = {}
        numbers = [record.id for record in batch]
        if self.some_lost:
            doubts = conflicts.still_resembling_lost(connection, numbers)
        if self.work.leavers:
            for record_id, targets in moved_people.likenesses(self.work.tables, numbers).items():
                doubts[record_id] = (self.resembling, targets)
        if doubts:
            about = {"records": list(doubts)}
            for record_id in connection.execute(_DECIDED_NEW, about).scalars():
                doubts.pop(record_id)
        return doubts

    def _conflict(
        self,
        connection: Connection,
        record: RecordView,
        reason: str,
        candidates: Mapping[str, Sequence[str]],
    ) -> None:
        work = self.work
        conflicts.leave_to_a_person(
            connection, Kind.USER, work.district_id, record.id, reason, candidates, work.now
        )
        if reason != "resembles_leaver":  # a pair is held together; approving it decides (L7)
            rows = [(user,) for user in candidates]
            work.tables.conflict_people.add(work.database, rows)


def _person(record: RecordView) -> Person:
    return record.source_id, record.person_key or f"\0{record.external_id}"


_EXISTING = select(User.id).where(User.id.in_(bindparam("ids", expanding=True)))
_DECIDED_NEW = (
    select(Conflict.record_id)
    .distinct()
    .where(
        Conflict.record_id.in_(bindparam("records", expanding=True)),
        Conflict.kind == "user",
        Conflict.status == "resolved",
        Conflict.decision == "new",
    )
)
_ANY_LOST = (
    select(Conflict.id)
    .where(
        Conflict.district_id == bindparam("district"),
        Conflict.kind == "user",
        Conflict.status == "open",
        Conflict.reason == bindparam("reason"),
    )
    .limit(1)
)


# --- Set-wise statements ---
# They read scratch tables, which matching has filled and which exist only in this run.
_ANY_FAMILY = text("SELECT 1 FROM family_addresses LIMIT 1")
_FAMILIES_OF_RECORDS = text(
    "SELECT record_id, users FROM family_addresses WHERE record_id IN :records"
).bindparams(bindparam("records", expanding=True))
_ANY_ATTACHED = text("SELECT 1 FROM attached LIMIT 1")
_ATTACHED_TO_RECORDS = text(
    "SELECT record_id, base_id, reason FROM attached WHERE base_id IN :records ORDER BY record_id"
).bindparams(bindparam("records", expanding=True))
