"""Reused ids: what follows when an id of a source suddenly speaks of somebody else (I13).

A person is asked, and nobody is changed or archived meanwhile. ``resolve --link`` with the user who
has the record is a change of name. ``--new`` gives the record to a new user, and archives the old
one if nothing else holds them. ``--link`` with another user gives it to that one. Two people whose
ids were swapped are one question, and one answer holds for both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, select, text, update

from core.models import Kind, UserStatus
from core.storage.schema import Change, Conflict, Link, Record, User
from core.storage.stored import from_json, utc_text
from sync.ledger.domain_moves import read_aliases
from sync.people import conflicts
from sync.people.conflicts import NEW, REUSED
from sync.people.identity import evidence_of
from sync.people.person import UserView, decode_user
from sync.people.strangers import full_name, strangers_of, vars_of
from sync.people.traits import read_known, traits_of
from sync.planning.decide import Decision, decide_user, step_for
from sync.planning.overrides import named_in_conflicts
from sync.planning.workspace import Workspace
from sync.rules.situations import PersonFacts, situation_of
from sync.run.scratch_tables import GivenAway, PlanTables


class ReusedIds:
    """The reused ids of one plan: what was decided about them, and whom to ask about."""

    def __init__(self, district_id: int, *, taking_nothing: bool) -> None:
        self.district_id = district_id
        self.taking_nothing = taking_nothing
        self.aliases: Mapping[str, str] = {}
        """Old email domain → the one that came after it."""
        self.same_person: set[int] = set()
        """Records of which a person said that they are still the same person's."""
        self.waiting: set[str] = set()
        """Users whose record goes to somebody else later: once the season takes again (S2), or
        once nobody is asked any more whether another record is theirs (rule 6)."""
        self.answered: set[int] = set()
        """Their records: a person has answered, and is not asked again meanwhile."""
        self.given_away: dict[str, dict[int, str | None]] = defaultdict(dict)
        """User → their records that go to others → the user who gets it; None: somebody new."""
        self.comes_from: dict[int, str] = {}
        """Record → the user who has had it."""
        self.taken_from: list[Sequence[str]] = []
        """The users of each answer that takes a record from somebody and gives none back."""
        self.givers: list[tuple[UserView, bool]] = []
        """Users with records that go to others, and whether an open conflict names them."""

    # -- what was decided

    def read_decisions(self, given_away: GivenAway) -> None:
        """Read what people decided about ids that still say what was asked about."""
        connection = given_away.connection
        self.aliases = read_aliases(connection, self.district_id)
        named: set[str] | None = None
        for row in connection.execute(_DECIDED_QUESTIONS, {"district": self.district_id}).all():
            asked = from_json(row.candidates)[0]
            questions = [(row.record_id, asked["id"], asked["names"])]
            if other := asked.get("swapped_with"):
                questions.append((other["record_id"], other["id"], other["names"]))
            if all(self._still_asked(connection, *question) for question in questions):
                if named is None:
                    named = named_in_conflicts(connection, self.district_id)
                self._decided(row.decision, questions, named)
        rows = [
            {"record": record, "from": user, "to": to}
            for user, records in self.given_away.items()
            for record, to in records.items()
        ]
        if rows:
            connection.execute(_GIVE_AWAY, rows)

    def _still_asked(self, connection: Connection, record: int, user: str, names: str) -> bool:
        row = connection.execute(_LINKED, {"record": record}).one_or_none()
        if row is None or row.target_id != user:
            return False
        return full_name(vars_of(decode_user(row.data))) == names

    def _decided(
        self, decision: str, questions: Sequence[tuple[int, str, str]], named: Collection[str]
    ) -> None:
        users = [user for _, user, _ in questions]
        if decision == users[0]:
            self.same_person |= {record for record, _, _ in questions}
            return
        swapped = len(users) == 2 and decision == users[1]
        if self.taking_nothing or (not swapped and any(user in named for user in users)):
            self.waiting |= set(users)
            self.answered |= {record for record, _, _ in questions}
            return
        if not swapped:
            self.taken_from.append(users)
        for number, (record, user, _) in enumerate(questions):
            if number and decision != NEW and not swapped:
                continue  # what was answered is about the first one: of the other it is asked anew
            to = None if decision == NEW else users[1 - number] if swapped else decision
            self.given_away[user][record] = to
            self.comes_from[record] = user

    # -- user by user

    def wait_for(self, named: Collection[str]) -> None:
        """Let answers wait for questions that this run has opened itself: ``named`` in them."""
        for users in self.taken_from:
            if any(user in named for user in users):
                self.waiting |= set(users)

    def look_at(self, work: Workspace, user: UserView, *, in_conflict: bool) -> bool:
        """Say whether nothing else is decided about a user now, because of a reused id."""
        gone = self.given_away.get(user.id, {})
        for record in user.records:
            if record.held is None:
                record.comes_from = self.comes_from.get(record.id)
        theirs = [r for r in user.records if r.id not in gone or r.held is None]
        strangers = [
            record
            for record in strangers_of(replace(user, records=theirs), self.aliases)
            if record.id not in self.same_person and record.id not in self.answered
        ]
        if strangers:
            was = full_name(user.profile)
            rows = [(r.id, r.source_id, user.id, was, full_name(vars_of(r.data)))
                    for r in strangers]  # fmt: skip
            work.tables.strangers.add(work.database, rows)
        if strangers or user.id in self.waiting:
            return True
        if gone:
            self.givers.append((user, in_conflict))
        return bool(gone)

    def give_away(
        self, work: Workspace, connection: Connection, new_ids: Mapping[int, str]
    ) -> None:
        """Write down what becomes of users whose records go to others.

        ``new_ids``: record → the new user who gets it. Whose record finds nobody yet, stays.
        """
        if new_ids:
            rows = [{"record": record, "to": user} for record, user in new_ids.items()]
            connection.execute(_GIVEN_TO, rows)
        for user, in_conflict in self.givers:
            gone = {
                record: to or new_ids.get(record) for record, to in self.given_away[user.id].items()
            }
            if None not in gone.values():
                targets = {record: str(to) for record, to in gone.items()}
                decision = without(user, targets, work, in_conflict=in_conflict)
                work.write(user.id, decision)

    # -- the end

    def ask(self, work: Workspace, connection: Connection, sources: Sequence[int]) -> None:
        """Open a question for each reused id, one for two that were swapped; close what is over."""
        rows = connection.execute(_STRANGERS_WITH_COUNTERPARTS).all()
        about = {"district": self.district_id}
        for source in sources:
            over = {**about, "source": source, "now": utc_text(work.now)}
            connection.execute(_CLOSE_OVER, over)
        asked: set[int] = set()
        leavers = _leavers_by_name(connection, sources) if rows else {}
        for row in rows:
            if row.record_id in asked:
                continue
            asked.add(row.record_id)
            if row.other_record is not None:
                asked.add(row.other_record)
                with_it = {**about, "record": row.other_record, "decided_at": work.now}
                connection.execute(_ASKED_WITH, with_it)
            self._ask(work, connection, row, leavers.get(row.is_now, ()))

    def _ask(
        self, work: Workspace, connection: Connection, row: Any, leavers: Sequence[str]
    ) -> None:
        """Ask whose a record is. Who would leave and has its names may be the person: they stay."""
        users, asked = [row.target_id], {"names": row.is_now}
        if row.other_record is not None:
            users.append(row.other_target)
            asked["swapped_with"] = {
                "record_id": row.other_record, "id": row.other_target, "names": row.was
            }  # fmt: skip
        elif row.namesake is not None:
            users.append(row.namesake)
        users += [user for user in leavers if user not in users]
        work.tables.conflict_people.add(work.database, [(user,) for user in leavers])
        data = connection.execute(_LINKED, {"record": row.record_id}).one().data
        own = work.own.get(row.source_id, frozenset())
        new = traits_of([decode_user(data)], self.aliases, row.source_id, own)
        known = read_known(connection, users, self.aliases, work.own)
        evidence = {
            user: evidence_of(new, known[user].as_candidate(0, (False, False)), frozenset())
            for user in users
        }
        conflicts.leave_to_a_person(
            connection, Kind.USER, self.district_id, row.record_id, REUSED, evidence, work.now,
            asked,
        )  # fmt: skip

    def keep_together(self, work: Workspace, connection: Connection) -> None:
        """Take back one side of a record that goes over, if the other side was taken back."""
        while self.comes_from:
            work.draft.flush(connection)
            halves = (
                connection.execute(_HALVES_OF_GIVEN, {"plan": work.draft.plan_id}).scalars().all()
            )
            if not halves:
                return
            for target in halves:
                about = {"plan": work.draft.plan_id, "target": target}
                actions = connection.execute(_ACTIONS, about).scalars().all()
                work.draft.forget(connection, target, actions)

    def hold_together(self, tables: PlanTables) -> None:
        """Hold both sides of a record that goes over, if one is held."""
        while self.comes_from and tables.holds.connection.execute(_HOLD_BOTH).rowcount:
            pass


def _leavers_by_name(connection: Connection, sources: Sequence[int]) -> dict[str, list[str]]:
    """Return full name → the active users who have it and whose own record is gone."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(_LEAVERS, {"sources": list(sources)}):
        names = {"given_name": row.given_name, "family_name": row.family_name}
        found[full_name(names)].append(row.id)
    return found


def without(
    user: UserView, gone: Mapping[int, str], work: Workspace, *, in_conflict: bool
) -> Decision:
    """Decide about a user some of whose records go to others: ``gone`` says to whom."""
    left = [r for r in user.records if r.id not in gone or r.held is None]
    given = [r for r in user.records if r.id in gone and r.held is not None]
    if left:
        rest = replace(user, records=left)
        decision = decide_user(rest, work.context, in_conflict=in_conflict)
    else:
        status: Any = user.status
        facts = PersonFacts(
            user=status, sources="left", protected=user.protected, in_conflict=in_conflict
        )
        decision = Decision(situation_of(facts))
        if decision.situation.action == "archive":
            decision.steps = [
                step_for(
                    user, "archive", REUSED,
                    before={"status": user.status}, after={"status": UserStatus.ARCHIVED.value},
                )
            ]  # fmt: skip
    decision.steps = decision.steps + [
        step_for(
            user, "unlink", REUSED, record_id=record.id, record_version=record.version,
            before={"target": user.id}, after={"target": gone[record.id]},
        )
        for record in given
    ]  # fmt: skip
    held = [[r.id, r.version, None if r.held else 1, 1] for r in given]
    first = decision.steps[0]
    decision.steps[0] = first._replace(basis=[*(first.basis or ()), *held])
    return decision


_LINKED = (
    select(Link.target_id, Record.data)
    .join_from(Record.table, Link.table, Link.record_id == Record.id)
    .where(Record.id == bindparam("record"), Record.present, Record.in_scope)
)
_ASKED_WITH = (  # two that were swapped are one question
    update(Conflict.table)
    .where(
        Conflict.district_id == bindparam("district"),
        Conflict.kind == "user",
        Conflict.reason == REUSED,
        Conflict.status == "open",
        Conflict.record_id == bindparam("record"),
    )
    .values(status="gone")
)
_LEAVERS = (
    select(User.id, User.given_name, User.family_name)
    .distinct()
    .join_from(Record.table, Link.table, Link.record_id == Record.id)
    .join(User.table, User.id == Link.target_id)
    .where(
        Record.source_id.in_(bindparam("sources", expanding=True)),
        Record.kind == "user",
        ~Record.present,
        Link.held,
        User.status == "active",
    )
    .order_by(User.id)
)
_ACTIONS = (
    select(Change.action)
    .distinct()
    .where(Change.plan_id == bindparam("plan"), Change.target_id == bindparam("target"))
)


# --- Set-wise statements ---
# They go over scratch tables that exist only in this run, or ask whether a later question or an
# open record exists. Reused ids are few: what is looked up for each is found by the index of the
# records of conflicts or by that of the targets of changes.
_DECIDED_QUESTIONS = text(
    "SELECT c.record_id, c.decision, c.candidates FROM conflicts c"
    " WHERE c.district_id = :district AND c.kind = 'user' AND c.reason = 'reused_id'"
    " AND c.status = 'resolved' AND EXISTS (SELECT 1 FROM open_records w"
    "  WHERE w.record_id = c.record_id) AND NOT EXISTS (SELECT 1 FROM conflicts later"
    "  WHERE later.record_id = c.record_id AND later.kind = 'user' AND later.id > c.id)"
    " ORDER BY c.id"
)
_GIVE_AWAY = text("INSERT INTO given_away VALUES (:record, :from, :to)")
_GIVEN_TO = text("UPDATE given_away SET to_id = :to WHERE record_id = :record")
_STRANGERS_WITH_COUNTERPARTS = text(
    "SELECT s.*, (SELECT MIN(o.record_id) FROM strangers o WHERE o.source_id = s.source_id"
    "  AND o.target_id <> s.target_id AND o.was = s.is_now AND o.is_now = s.was) AS other_record,"
    " (SELECT MIN(o.target_id) FROM strangers o WHERE o.source_id = s.source_id"
    "  AND o.target_id <> s.target_id AND o.was = s.is_now AND o.is_now = s.was) AS other_target,"
    " (SELECT MIN(o.target_id) FROM strangers o WHERE o.source_id = s.source_id"
    "  AND o.target_id <> s.target_id AND o.was = s.is_now) AS namesake"
    " FROM strangers s ORDER BY s.record_id"
)
_CLOSE_OVER = text(  # the id says again what it said, or is gone
    "UPDATE conflicts SET status = 'gone', decided_at = :now WHERE district_id = :district"
    " AND kind = 'user' AND reason = 'reused_id' AND status = 'open'"
    " AND record_id IN (SELECT id FROM records WHERE source_id = :source)"
    " AND record_id NOT IN (SELECT record_id FROM strangers)"
)
_HALVES_OF_GIVEN = text(
    "SELECT g.from_id FROM given_away g WHERE g.to_id IS NOT NULL AND"
    " EXISTS (SELECT 1 FROM changes c WHERE c.plan_id = :plan AND c.target_id = g.from_id)"
    " AND NOT EXISTS (SELECT 1 FROM changes c WHERE c.plan_id = :plan AND c.target_id = g.to_id)"
    " UNION SELECT g.to_id FROM given_away g WHERE"
    " EXISTS (SELECT 1 FROM changes c WHERE c.plan_id = :plan AND c.target_id = g.to_id)"
    " AND NOT EXISTS (SELECT 1 FROM changes c WHERE c.plan_id = :plan AND c.target_id = g.from_id)"
)
_HOLD_BOTH = text(
    "INSERT INTO holds SELECT DISTINCT b.other, h.why, h.source_id FROM holds h JOIN"
    " (SELECT from_id AS one, to_id AS other FROM given_away"
    "  UNION SELECT to_id, from_id FROM given_away) AS b ON b.one = h.target_id"
    " WHERE NOT EXISTS (SELECT 1 FROM holds x WHERE x.target_id = b.other)"
)
