"""Apply: nothing else changes a user, a school, a membership or a link (rule 1).

A sealed plan runs as a whole, in one transaction and in sets, or not at all (rule 8). Every
precondition of every change is checked first; if one does not hold, ``Drift`` names the people
concerned, and nothing has happened.

One file, because each precondition is read beside the statement that it guards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, text

from core.errors import Drift
from core.failpoints import failpoint
from core.models import PROFILE_FIELDS
from core.steps import log_of, step
from core.storage.database import Database
from core.storage.stored import from_json, utc_text
from sync.ledger import headcount
from sync.ledger.effects import SOURCE_KINDS, take_effect
from sync.ledger.new_memberships import keep_places
from sync.run.display import PLAN, RUN, shown_id
from sync.run.open_records import opening
from sync.run.scratch_tables import PlanPlaces

log = log_of(__name__)

NAMED_AT_MOST = 20
"""How many drifted people an error names."""

_FIELDS = (*PROFILE_FIELDS, "email_folded")
_SCHOOL_FIELDS = ("name", "nces_id", "state_id", "number")


class Drifted(Exception):
    """The ids of users or schools whose preconditions do not hold."""

    def __init__(self, targets: Sequence[str]) -> None:
        super().__init__(f"{len(targets)} targets drifted")
        self.targets = tuple(targets)

    def as_error(self, plan: str) -> Drift:
        """Return the error for people."""
        named = ", ".join(self.targets[:NAMED_AT_MOST])
        rest = len(self.targets) - NAMED_AT_MOST
        more = f" and {rest} more" if rest > 0 else ""
        return Drift(
            f"The plan {plan} no longer fits: {named}{more} changed after it was made."
            " Nothing was changed.",
            hint="Run rostersync plan again and review the new plan.",
        )


def apply_in(
    database: Database,
    connection: Connection,
    plan_id: int,
    *,
    run_id: int,
    now: datetime,
    approved: bool = False,
) -> int:
    """Apply a sealed plan inside the caller's write transaction; return its first serial.

    The caller holds the apply lock and has checked the plan's status. Raises ``Drifted`` before
    anything is written.
    """
    about: dict[str, Any] = {"plan": plan_id, "now": utc_text(now), "run": run_id}
    names = {"plan": shown_id(PLAN, plan_id), "run": shown_id(RUN, run_id)}
    with step(log, "apply plan", **names, approved=approved) as done:
        serial = _apply_in(database, connection, plan_id, about, approved=approved)
        done.tell(first_serial=serial)
    return serial


def _apply_in(
    database: Database,
    connection: Connection,
    plan_id: int,
    about: dict[str, Any],
    *,
    approved: bool,
) -> int:
    plan = connection.execute(_PLAN, about).one()
    about["district"] = plan.district_id
    shape = shape_of(database, connection, plan_id, plan.kind)
    places = keep_places(database, connection, about)
    _check_preconditions(database, places, about, shape)
    failpoint("apply.checked")
    held = headcount.held_where(database)
    before = {} if shape.only_creates else headcount.count(connection, plan_id, held)
    failpoint("apply.counted")
    words = _Words(database, places)
    for name, query in words.statements(shape):
        connection.execute(text(query), about)
        failpoint(f"apply.{name}")
    database.analyze_after_load(
        connection, plan.size, "users", "links", "memberships", new=shape.only_creates
    )
    if plan.kind == "hand":
        connection.execute(_TOUCHED_BY_HAND, about)
        failpoint("apply.hand")
    take_effect(database, connection, plan.kind, from_json(plan.effects) or {}, about)
    failpoint("apply.effects")
    after = headcount.count(
        connection, plan_id, headcount.brought(database, places) if shape.only_creates else held
    )
    headcount.write(database, connection, plan_id, about["now"], before, after)
    failpoint("apply.census")
    for source_id in from_json(plan.establishes):
        connection.execute(_ESTABLISHED, {"id": source_id})
    district = connection.execute(_DISTRICT, about).one()
    chain = chain_of(bytes(district.chain), plan_id, bytes(plan.digest))
    connection.execute(
        _APPLIED,
        about
        | {"serial": district.serial + 1, "chain": chain, "approved": approved or plan.approved},
    )
    failpoint("apply.plan")
    connection.execute(_ADVANCED, {"district": plan.district_id, "size": plan.size, "chain": chain})
    failpoint("apply.district")
    return int(district.serial) + 1


def chain_of(previous: bytes, plan_id: int, digest: bytes) -> bytes:
    """Return the hash that chains a plan to the one applied before it."""
    return blake2b(previous + plan_id.to_bytes(8, "big") + digest, digest_size=32).digest()


_PLAN = text(
    "SELECT district_id, kind, digest, size, establishes, effects, approved FROM plans"
    " WHERE id = :plan"
)
_DISTRICT = text("SELECT serial, chain FROM districts WHERE id = :district")
_ESTABLISHED = text("UPDATE sources SET established = TRUE WHERE id = :id")
_APPLIED = text(
    "UPDATE plans SET status = 'applied', standing = FALSE, applied_at = :now,"
    " applied_run_id = :run, first_serial = :serial, chain = :chain, approved = :approved"
    " WHERE id = :plan"
)
_ADVANCED = text(
    "UPDATE districts SET serial = serial + :size, chain = :chain WHERE id = :district"
)
_TOUCHED_BY_HAND = text(
    "UPDATE users SET hand_at = :now WHERE id IN"
    " (SELECT target_id FROM changes WHERE plan_id = :plan AND kind = 'user')"
)


# -- the shape of a plan

UPDATES = frozenset({"update", "adopt", "merge"})
"""Actions that set fields of an existing person."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The kinds of changes that a plan has, so that no statement runs without need."""

    actions: frozenset[str]
    school_actions: frozenset[str]
    moves_links: bool
    """Links may end or move to another person: a person orders that, or has decided it."""
    by_a_person: bool
    """A change may say what no source says: keep archived, protect, lock."""
    rests: bool
    """A change is based on records of the person: their holds and open records may change."""
    fields: frozenset[str]
    """The fields that an update of a user sets. Only these are set, because SQLite rewrites an
    index whenever one of its columns is set, even to the same value."""

    @property
    def only_creates(self) -> bool:
        """Return whether the plan only creates people."""
        return self.actions <= {"create"}


def shape_of(database: Database, connection: Connection, plan_id: int, kind: str) -> Shape:
    """Return the shape of a plan of this kind."""
    rows = connection.execute(
        text("SELECT DISTINCT kind, action, basis IS NOT NULL FROM changes WHERE plan_id = :plan"),
        {"plan": plan_id},
    ).all()
    moves_links = kind not in (*SOURCE_KINDS, "hand")
    if not moves_links and any(action == "unlink" for _, action, _ in rows):
        moves_links = connection.execute(_GIVEN_AWAY, {"plan": plan_id}).first() is not None
    actions = frozenset(action for noun, action, _ in rows if noun == "user")
    fields = frozenset[str]()
    if actions & UPDATES:
        query = text(_UPDATED_FIELDS.format(keys=database.json_keys("c.after", "k")))
        fields = frozenset(connection.execute(query, {"plan": plan_id}).scalars())
    return Shape(
        actions,
        frozenset(action for noun, action, _ in rows if noun == "school"),
        moves_links,
        kind not in SOURCE_KINDS,
        any(rests for _, _, rests in rows),
        fields,
    )


_GIVEN_AWAY = text(
    "SELECT 1 FROM changes WHERE plan_id = :plan AND action = 'unlink' AND after IS NOT NULL"
    " LIMIT 1"
)
_UPDATES = f"{{of}}action IN {tuple(sorted(UPDATES))} AND {{of}}after IS NOT NULL"
_UPDATED_FIELDS = (
    "SELECT DISTINCT k.key FROM changes c, {keys} WHERE c.plan_id = :plan AND c.kind = 'user'"
    f" AND {_UPDATES.format(of='c.')}"
)


# -- preconditions


def _check_preconditions(
    database: Database, places: PlanPlaces, about: dict[str, Any], shape: Shape
) -> None:
    drifted: set[str] = set()
    for _, query in preconditions(database, shape, places.name):
        drifted.update(places.connection.execute(text(query), about).scalars())
    if drifted:
        raise Drifted(sorted(drifted))


def preconditions(database: Database, shape: Shape, places: str) -> Iterator[tuple[str, str]]:
    """Yield each precondition of a plan: what has changed if it fails, and its SQL.

    The SQL binds ``plan`` and ``district`` and returns the targets for which it fails. ``places``
    is the table of ``sync/ledger/new_memberships.py``, or the query for it.
    """
    record, version = database.json_item("b", 0), database.json_item("b", 1)
    each = database.json_each("c.basis", "", "b")
    actions = shape.actions | shape.school_actions
    # the target is unchanged; what is created does not exist yet
    for kind, table, done in (
        ("user", "users", shape.actions),
        ("school", "schools", shape.school_actions),
    ):
        if done:
            yield (
                "revision",
                f"SELECT c.target_id FROM changes c LEFT JOIN {table} t ON t.id = c.target_id"
                f" AND t.district_id = :district WHERE c.plan_id = :plan AND c.kind = '{kind}'"
                " AND (CASE WHEN c.revision IS NULL THEN t.id IS NOT NULL"
                " ELSE t.id IS NULL OR t.revision <> c.revision END)",
            )
    # the evidence is unchanged
    yield (
        "evidence",
        "SELECT c.target_id FROM changes c LEFT JOIN records r ON r.id = c.record_id"
        " WHERE c.plan_id = :plan AND c.record_id IS NOT NULL"
        " AND (r.id IS NULL OR r.version <> c.record_version)",
    )
    if shape.rests:
        yield (
            "evidence",
            # one by one, because a list of unknown length would be joined with all records
            f"SELECT c.target_id FROM changes c, {each} WHERE c.plan_id = :plan"
            " AND c.basis IS NOT NULL AND COALESCE((SELECT CASE WHEN"
            f" {version} IS NULL OR r.version = {database.to_int(version)} THEN 1 END"
            f" FROM records r WHERE r.id = {database.to_int(record)}), 0) = 0",
        )
    if actions & {"create", "link", "adopt"}:
        # this key is not linked yet
        yield (
            "link",
            "SELECT c.target_id FROM changes c JOIN links l ON l.record_id = c.record_id"
            " WHERE c.plan_id = :plan AND c.action IN ('create', 'link', 'adopt')"
            " AND l.target_id <> c.target_id"
            f" AND (c.before IS NULL OR NOT {database.json_has('c.before', 'target')})",
        )
    if actions & {"link", "unlink"}:
        # a link that ends or moves is unchanged
        yield (
            "link",
            "SELECT c.target_id FROM changes c LEFT JOIN links l ON l.record_id = c.record_id"
            " WHERE c.plan_id = :plan AND c.action IN ('link', 'unlink') AND c.before IS NOT NULL"
            f" AND {database.json_has('c.before', 'target')} AND (l.target_id IS NULL"
            f" OR l.target_id <> {database.json_text('c.before', 'target')})",
        )
    if shape.actions:
        # the schools of its memberships exist, or the plan creates them
        yield (
            "school",
            f"SELECT p.target_id FROM {places} p WHERE p.school_id <> '' AND p.school_id NOT IN"
            " (SELECT s.id FROM schools s WHERE s.district_id = :district"
            " UNION SELECT n.target_id FROM changes n WHERE n.plan_id = :plan"
            " AND n.kind = 'school' AND n.action = 'create')",
        )


# -- what is written


_SAY_MORE = UPDATES | {"archive", "restore"}


class _Words:
    """The statements that apply a plan, in the dialect of the database."""

    def __init__(self, database: Database, places: PlanPlaces) -> None:
        self.database = database
        self.places = places

    def statements(self, shape: Shape) -> Sequence[tuple[str, str]]:
        """Return (name, SQL) in the order in which they run."""
        done: list[tuple[str, str]] = []
        if "create" in shape.school_actions:
            done.append(("schools_created", self._create_schools()))
        if shape.school_actions - {"create", "link", "unlink"}:
            done.append(("schools_updated", self._update("schools", "school", _SCHOOL_FIELDS)))
            done.append(("schools_status", self._status("schools", "school")))
        if shape.school_actions - {"create"}:
            done.append(("schools_revised", _REVISE.format(table="schools", kind="school")))
        if "create" in shape.actions:
            done.append(("created", self._create_users()))
        if shape.actions & UPDATES:
            fields = [name for name in _FIELDS if name in shape.fields]
            done.append(("updated", self._update("users", "user", fields)))
            done.append(("memberships_ended", self._end_memberships()))
        if shape.by_a_person and shape.actions & _SAY_MORE:
            done.append(("attributes", self._attributes()))
        if shape.actions & {"create", *UPDATES}:
            done.append(("memberships", _MEMBERSHIPS.format(places=self.places.name)))
        if not shape.only_creates:
            done.append(("status", self._status("users", "user")))
            done.append(("revised", _REVISE.format(table="users", kind="user")))
        if shape.moves_links:
            done.append(("links_ended", self._end_links()))
            done.append(("links_moved", self._move_links()))
        done.append(("linked", _LINK))
        done.append(("settled", self._settle()))
        if shape.rests:
            done.append(("holds", self._hold()))
            settled, still_open = self._settle_basis()
            done += [("settled_basis", settled), ("kept_open", still_open)]
        return done

    def _create_schools(self) -> str:
        text_of = self.database.json_text
        columns = ", ".join(_SCHOOL_FIELDS)
        values = ", ".join(text_of("c.after", name) for name in _SCHOOL_FIELDS)
        return (
            f"INSERT INTO schools (id, district_id, status, revision, {columns})"
            f" SELECT c.target_id, CAST(:district AS BIGINT), 'active', 1, {values} FROM changes c"
            " WHERE c.plan_id = :plan AND c.kind = 'school' AND c.action = 'create' ORDER BY c.seq"
        )

    def _create_users(self) -> str:
        database = self.database
        columns = ", ".join(_FIELDS)
        values = ", ".join(self._value("c.after", name) for name in _FIELDS)
        protected = (
            f"CASE WHEN {database.json_has('c.after', 'protected')}"
            f" THEN {database.json_true('c.after', 'protected')} ELSE FALSE END"
        )
        empty = "'[]'" if database.is_sqlite else "'[]'::jsonb"
        text_of = database.json_text
        locked = f"COALESCE({database.json_member('c.after', 'locked_fields')}, {empty})"
        return (
            "INSERT INTO users (id, district_id, status, origin, revision, protected,"
            f" kept_archived, locked_fields, created_at, {columns})"
            f" SELECT c.target_id, CAST(:district AS BIGINT), {text_of('c.after', 'status')},"
            f" {text_of('c.after', 'origin')},"
            f" 1, {protected}, FALSE, {locked}, :now, {values} FROM changes c"
            " WHERE c.plan_id = :plan AND c.kind = 'user' AND c.action = 'create' ORDER BY c.seq"
        )

    def _value(self, column: str, name: str) -> str:
        value = self.database.json_text(column, name)
        return self.database.to_int(value) if name == "graduation_year" else value

    def _update(self, table: str, kind: str, fields: Sequence[str]) -> str:
        sets = "".join(
            f", {name} = CASE WHEN {self.database.json_has('c.after', name)}"
            f" THEN {self._value('c.after', name)} ELSE {table}.{name} END"
            for name in fields
        )
        return (
            f"UPDATE {table} SET revision = {table}.revision + 1{sets} FROM changes c"
            f" WHERE c.plan_id = :plan AND c.kind = '{kind}' AND c.target_id = {table}.id"
            f" AND {_UPDATES.format(of='c.')}"
        )

    def _attributes(self) -> str:
        database = self.database
        flags = [
            f"{name} = CASE WHEN {database.json_has('c.after', name)}"
            f" THEN {read('c.after', name)} ELSE users.{name} END"
            for name, read in (
                ("protected", database.json_true),
                ("kept_archived", database.json_true),
                ("kept_until", database.json_text),
                ("locked_fields", database.json_member),
                ("merged_into", database.json_text),
            )
        ]
        return (
            f"UPDATE users SET {', '.join(flags)} FROM changes c WHERE c.plan_id = :plan"
            " AND c.kind = 'user' AND c.target_id = users.id"
            " AND c.after IS NOT NULL AND (c.action IN ('update', 'adopt', 'merge')"
            # an archive that is kept, or a protected restore, has no separate update
            " OR (c.action IN ('archive', 'restore')"
            f" AND ({database.json_has('c.after', 'kept_archived')}"
            f" OR {database.json_has('c.after', 'protected')})))"
        )

    def _end_memberships(self) -> str:
        return (
            "DELETE FROM memberships WHERE user_id IN (SELECT c.target_id FROM changes c"
            " WHERE c.plan_id = :plan AND c.kind = 'user' AND c.action <> 'create'"
            f" AND c.after IS NOT NULL AND {self.database.json_has('c.after', 'memberships')})"
        )

    def _status(self, table: str, kind: str) -> str:
        status = self.database.json_text("c.after", "status")
        archived_at = (
            f", archived_at = CASE WHEN {status} = 'archived' THEN"
            f" COALESCE({self.database.json_text('c.after', 'archived_at')}, :now) ELSE NULL END"
            if table == "users"
            else ""
        )
        return (
            f"UPDATE {table} SET status = {status}{archived_at} FROM changes c"
            f" WHERE c.plan_id = :plan AND c.kind = '{kind}' AND c.target_id = {table}.id"
            " AND c.action <> 'create' AND c.after IS NOT NULL"
            f" AND {self.database.json_has('c.after', 'status')}"
        )

    def _end_links(self) -> str:
        return (
            "DELETE FROM links WHERE record_id IN (SELECT c.record_id FROM changes c"
            " WHERE c.plan_id = :plan AND c.action = 'unlink' AND c.after IS NOT NULL"
            f" AND {self.database.json_has('c.after', 'target')}"
            f" AND {self.database.json_text('c.after', 'target')} IS NULL)"
        )

    def _move_links(self) -> str:
        return (
            f"UPDATE links SET target_id = {self.database.json_text('c.after', 'target')}"
            " FROM changes c WHERE c.plan_id = :plan AND c.action IN ('link', 'unlink')"
            " AND c.after IS NOT NULL AND c.record_id = links.record_id"
            f" AND {self.database.json_text('c.after', 'target')} IS NOT NULL"
        )

    def _hold(self) -> str:
        database = self.database
        record, held = database.json_item("b", 0), database.json_item("b", 2)
        value = database.to_int(held)
        return (
            f"UPDATE links SET held = (h.held = 1) FROM (SELECT {database.to_int(record)} AS id,"
            f" {value} AS held FROM changes c, {database.json_each('c.basis', '', 'b')}"
            f" WHERE c.plan_id = :plan AND c.basis IS NOT NULL AND {held} IS NOT NULL) AS h"
            " WHERE links.record_id = h.id"
        )

    def _settle(self) -> str:
        records = "SELECT record_id FROM changes WHERE plan_id = :plan AND record_id IS NOT NULL"
        return f"DELETE FROM open_records WHERE {self.database.one_of('record_id', records)}"

    def _settle_basis(self) -> tuple[str, str]:
        database = self.database
        record, settles = database.json_item("b", 0), database.json_item("b", 3)
        basis = (
            f"SELECT {database.to_int(record)} FROM changes c,"
            f" {database.json_each('c.basis', '', 'b')} WHERE c.plan_id = :plan"
            f" AND c.basis IS NOT NULL AND {database.to_int(settles)} {{how}}"
        )
        settled = database.one_of("record_id", basis.format(how="<> 0"))
        still_open = database.one_of("r.id", basis.format(how="= 0"))
        return f"DELETE FROM open_records WHERE {settled}", opening(still_open)


_REVISE = (  # updated people have a new revision already, so no row is written twice
    "UPDATE {table} SET revision = revision + 1 WHERE id IN (SELECT target_id FROM changes"
    " WHERE plan_id = :plan AND kind = '{kind}' AND revision IS NOT NULL"
    f" GROUP BY target_id HAVING COUNT(CASE WHEN {_UPDATES.format(of='')} THEN 1 END) = 0)"
)
_MEMBERSHIPS = (  # in the order of their key
    "INSERT INTO memberships (user_id, role, school_id, is_primary)"
    " SELECT target_id, role, school_id, is_primary FROM {places} ORDER BY target_id"
)
_LINK = (
    "INSERT INTO links (record_id, target_id, held) SELECT c.record_id, c.target_id, TRUE"
    " FROM changes c WHERE c.plan_id = :plan AND c.record_id IS NOT NULL"
    " AND c.action IN ('create', 'link', 'adopt') ON CONFLICT (record_id) DO NOTHING"
)
