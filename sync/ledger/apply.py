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

from sqlalchemy import Connection, String, TextClause, bindparam, select, text, type_coerce, update

from core.errors import Drift
from core.failpoints import failpoint
from core.models import PROFILE_FIELDS
from core.steps import log_of, step
from core.storage.database import Database
from core.storage.schema import Change, District, Plan, Run, Source, User
from core.storage.stored import utc_text
from core.storage.watch import applying
from sync.ledger import headcount
from sync.ledger.directory import REPAIR, UNPLANNED
from sync.ledger.draft import canonical
from sync.ledger.effects import SOURCE_KINDS, settle_outside_edits, take_effect
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
    names = {"plan": shown_id(PLAN, plan_id), "run": shown_id(RUN, run_id)}
    with step(log, "apply plan", **names, approved=approved) as done:
        serial = _apply_in(database, connection, plan_id, run_id, now, approved=approved)
        done.tell(first_serial=serial)
    return serial


def _apply_in(
    database: Database,
    connection: Connection,
    plan_id: int,
    run_id: int,
    now: datetime,
    *,
    approved: bool,
) -> int:
    plan = connection.execute(_PLAN, {"plan": plan_id}).one()
    about = {"plan": plan_id, "district": plan.district_id, "now": utc_text(now)}
    shape = shape_of(database, connection, plan_id, plan.kind)
    places = keep_places(database, connection, about)
    _check_preconditions(database, places, about, shape)
    failpoint("apply.checked")
    held = headcount.EVERYBODY if shape.repairs else headcount.held_where(database)
    if shape.repairs:  # what the tables say just now, nobody has counted
        before = headcount.kept(connection, plan_id)
    else:
        before = {} if shape.only_creates else headcount.count(connection, plan_id, held)
    failpoint("apply.counted")
    with applying(database, connection, plan_id, size=plan.size):
        for name, query in _writing(database, shape, places.name):
            connection.execute(query, about)
            failpoint(f"apply.{name}")
        database.analyze_after_load(
            connection, plan.size, "users", "links", "memberships", new=shape.only_creates
        )
        if plan.kind == "hand":
            connection.execute(_TOUCHED_BY_HAND, {"plan": plan_id, "hand_at": now})
            failpoint("apply.hand")
        take_effect(database, connection, plan.kind, plan.effects or {}, about, now)
        failpoint("apply.effects")
    after = headcount.count(
        connection, plan_id, headcount.brought(database, places) if shape.only_creates else held
    )
    headcount.write(database, connection, plan_id, about["now"], before, after)
    failpoint("apply.census")
    for source_id in plan.establishes:
        connection.execute(_ESTABLISHED, {"source": source_id})
    district = connection.execute(_DISTRICT, {"district": plan.district_id}).one()
    approved = bool(approved or plan.approved)
    actor = connection.execute(_ACTOR, {"run": run_id}).scalar()
    told = circumstances(plan.kind, about["now"], actor, plan.decided_by, plan.decided, approved)
    chain = chain_of(district.chain, plan_id, plan.digest, told)
    connection.execute(
        _APPLIED,
        {
            "plan": plan_id,
            "applied_at": now,
            "applied_run_id": run_id,
            "first_serial": district.serial + 1,
            "chain": chain,
            "approved": approved,
        },
    )
    failpoint("apply.plan")
    if shape.repairs:  # the plan is among those applied by now
        settle_outside_edits(connection, plan.district_id)
    connection.execute(_ADVANCED, {"district": plan.district_id, "size": plan.size, "chain": chain})
    failpoint("apply.district")
    return int(district.serial) + 1


def circumstances(
    kind: str,
    applied_at: str,
    actor: str | None,
    decided_by: str | None,
    decided_at: str | None,
    approved: bool,
) -> bytes:
    """Return who applied and approved a plan and when, as the chain holds it; times as stored."""
    return canonical([kind, applied_at, actor, decided_by, decided_at, approved])


def chain_of(previous: bytes, plan_id: int, digest: bytes, told: bytes = b"") -> bytes:
    """Return the hash that chains a plan to the one applied before it.

    ``told``: its circumstances; a plan that an earlier version has applied is chained without them.
    """
    return blake2b(previous + plan_id.to_bytes(8, "big") + digest + told, digest_size=32).digest()


_PLAN = select(
    Plan.district_id,
    Plan.kind,
    Plan.digest,
    Plan.size,
    Plan.establishes,
    Plan.effects,
    Plan.approved,
    Plan.decided_by,
    type_coerce(Plan.decided_at, String).label("decided"),
).where(Plan.id == bindparam("plan"))
_ACTOR = select(Run.actor).where(Run.id == bindparam("run"))
_DISTRICT = select(District.serial, District.chain).where(District.id == bindparam("district"))
_ESTABLISHED = update(Source.table).where(Source.id == bindparam("source")).values(established=True)
_APPLIED = (
    update(Plan.table).where(Plan.id == bindparam("plan")).values(status="applied", standing=False)
)
_ADVANCED = (
    update(District.table)
    .where(District.id == bindparam("district"))
    .values(serial=District.serial + bindparam("size"))
)
_TOUCHED_BY_HAND = update(User.table).where(
    User.id.in_(
        select(Change.target_id).where(Change.plan_id == bindparam("plan"), Change.kind == "user")
    )
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
    repairs: bool = False
    """People are put back to what the ledger says of them (``sync/ledger/directory.py``)."""

    @property
    def only_creates(self) -> bool:
        """Return whether the plan only creates people."""
        return self.actions <= {"create"} and not self.repairs


def shape_of(database: Database, connection: Connection, plan_id: int, kind: str) -> Shape:
    """Return the shape of a plan of this kind."""
    rows = connection.execute(_KINDS_OF_CHANGES, {"plan": plan_id}).all()
    moves_links = kind not in (*SOURCE_KINDS, "hand")
    if not moves_links and any(action == "unlink" for _, action, _ in rows):
        moves_links = connection.execute(_GIVEN_AWAY, {"plan": plan_id}).first() is not None
    actions = frozenset(action for noun, action, _ in rows if noun == "user")
    fields = frozenset[str]()
    if actions & UPDATES:
        updated = connection.execute(_updated_fields(database), {"plan": plan_id})
        fields = frozenset(updated.scalars())
    return Shape(
        actions,
        frozenset(action for noun, action, _ in rows if noun == "school"),
        moves_links,
        kind not in SOURCE_KINDS,
        any(rests for _, _, rests in rows),
        fields,
        kind == REPAIR,
    )


_KINDS_OF_CHANGES = (
    select(Change.kind, Change.action, Change.basis.is_not(None))
    .where(Change.plan_id == bindparam("plan"))
    .distinct()
)
_GIVEN_AWAY = (
    select(Change.seq)
    .where(
        Change.plan_id == bindparam("plan"),
        Change.action == "unlink",
        Change.after.is_not(None),
    )
    .limit(1)
)


# -- preconditions


def _check_preconditions(
    database: Database, places: PlanPlaces, about: dict[str, Any], shape: Shape
) -> None:
    drifted: set[str] = set()
    for _, query in preconditions(database, shape, places.name):
        drifted.update(places.connection.execute(query, about).scalars())
    if drifted:
        raise Drifted(sorted(drifted))


Named = tuple[str, TextClause]
"""A statement, after its name or, of a precondition, after what has changed if it fails."""
_SAY_MORE = UPDATES | {"archive", "restore"}


# --- Set-wise statements ---
# A plan is checked and applied in sets, whatever its size: each statement joins the changes of the
# plan, found by the primary key, with the rows that they name, and reads what they say out of their
# JSON. They are built for one database, because SQLite and PostgreSQL spell JSON differently, and
# set only the columns that some change of the plan names.

_UPDATES = f"{{of}}action IN {tuple(sorted(UPDATES))} AND {{of}}after IS NOT NULL"


def _updated_fields(database: Database) -> TextClause:
    return text(
        f"SELECT DISTINCT k.key FROM changes c, {database.json_keys('c.after', 'k')}"
        " WHERE c.plan_id = :plan AND c.kind = 'user'"
        f" AND {_UPDATES.format(of='c.')}"
    )


def preconditions(database: Database, shape: Shape, places: str) -> Iterator[Named]:
    """Yield each precondition of a plan: what has changed if it fails, and its statement.

    The statement binds ``plan`` and ``district`` and returns the targets for which it fails.
    ``places`` is the table of ``sync/ledger/new_memberships.py``, or the query for it.
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
                text(
                    f"SELECT c.target_id FROM changes c LEFT JOIN {table} t ON t.id = c.target_id"
                    f" AND t.district_id = :district WHERE c.plan_id = :plan AND c.kind = '{kind}'"
                    " AND (CASE WHEN c.revision IS NULL THEN t.id IS NOT NULL"
                    " ELSE t.id IS NULL OR t.revision <> c.revision END)"
                ),
            )
    # the evidence is unchanged
    yield (
        "evidence",
        text(
            "SELECT c.target_id FROM changes c LEFT JOIN records r ON r.id = c.record_id"
            " WHERE c.plan_id = :plan AND c.record_id IS NOT NULL"
            " AND (r.id IS NULL OR r.version <> c.record_version)"
        ),
    )
    if shape.rests:
        yield (
            "evidence",
            text(
                # one by one, because a list of unknown length would be joined with all records
                f"SELECT c.target_id FROM changes c, {each} WHERE c.plan_id = :plan"
                " AND c.basis IS NOT NULL AND COALESCE((SELECT CASE WHEN"
                f" {version} IS NULL OR r.version = {database.to_int(version)} THEN 1 END"
                f" FROM records r WHERE r.id = {database.to_int(record)}), 0) = 0"
            ),
        )
    if actions & {"create", "link", "adopt"}:
        # this key is not linked yet
        yield (
            "link",
            text(
                "SELECT c.target_id FROM changes c JOIN links l ON l.record_id = c.record_id"
                " WHERE c.plan_id = :plan AND c.action IN ('create', 'link', 'adopt')"
                " AND l.target_id <> c.target_id"
                f" AND (c.before IS NULL OR NOT {database.json_has('c.before', 'target')})"
            ),
        )
    if actions & {"link", "unlink"}:
        # a link that ends or moves is unchanged
        yield (
            "link",
            text(
                "SELECT c.target_id FROM changes c LEFT JOIN links l ON l.record_id = c.record_id"
                " WHERE c.plan_id = :plan AND c.action IN ('link', 'unlink')"
                f" AND c.before IS NOT NULL AND {database.json_has('c.before', 'target')}"
                " AND (l.target_id IS NULL"
                f" OR l.target_id <> {database.json_text('c.before', 'target')})"
            ),
        )
    if shape.actions:
        # the schools of its memberships exist, or the plan creates them
        yield (
            "school",
            text(
                f"SELECT p.target_id FROM {places} p WHERE p.school_id <> '' AND p.school_id NOT IN"
                " (SELECT s.id FROM schools s WHERE s.district_id = :district"
                " UNION SELECT n.target_id FROM changes n WHERE n.plan_id = :plan"
                " AND n.kind = 'school' AND n.action = 'create')"
            ),
        )


def _writing(database: Database, shape: Shape, places: str) -> Sequence[Named]:
    """Return the statements that apply a plan, in the order in which they run."""
    done: list[tuple[str, str]] = []
    if "create" in shape.school_actions:
        done.append(("schools_created", _create_schools(database)))
    if shape.school_actions - {"create", "link", "unlink"}:
        done.append(("schools_updated", _update(database, "schools", "school", _SCHOOL_FIELDS)))
        done.append(("schools_status", _status(database, "schools", "school")))
    if shape.school_actions - {"create"}:
        done.append(("schools_revised", _REVISE.format(table="schools", kind="school")))
    if shape.repairs:
        done.append(("memberships_left_over", _LEFT_OVER))
    if "create" in shape.actions:
        done.append(("created", _create_users(database)))
    if shape.actions & UPDATES:
        fields = [name for name in _FIELDS if name in shape.fields]
        done.append(("updated", _update(database, "users", "user", fields)))
        done.append(("memberships_ended", _end_memberships(database)))
    if shape.by_a_person and shape.actions & _SAY_MORE:
        done.append(("attributes", _attributes(database)))
    if shape.actions & {"create", *UPDATES}:
        done.append(("memberships", _MEMBERSHIPS.format(places=places)))
    if not shape.only_creates:
        done.append(("status", _status(database, "users", "user")))
        done.append(("revised", _REVISE.format(table="users", kind="user")))
    if shape.repairs:
        done.append(("put_back", _put_back(database)))
    if shape.moves_links:
        done.append(("links_ended", _end_links(database)))
        done.append(("links_moved", _move_links(database)))
    done.append(("linked", _LINK))
    done.append(("settled", _settle(database)))
    if shape.rests:
        done.append(("holds", _hold(database)))
        settled, still_open = _settle_basis(database)
        done += [("settled_basis", settled), ("kept_open", still_open)]
    return [(name, text(query)) for name, query in done]


def _create_schools(database: Database) -> str:
    text_of = database.json_text
    columns = ", ".join(_SCHOOL_FIELDS)
    values = ", ".join(text_of("c.after", name) for name in _SCHOOL_FIELDS)
    return (
        f"INSERT INTO schools (id, district_id, status, revision, {columns})"
        f" SELECT c.target_id, CAST(:district AS BIGINT), 'active', 1, {values} FROM changes c"
        " WHERE c.plan_id = :plan AND c.kind = 'school' AND c.action = 'create' ORDER BY c.seq"
    )


def _create_users(database: Database) -> str:
    columns = ", ".join(_FIELDS)
    values = ", ".join(_value(database, "c.after", name) for name in _FIELDS)
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


def _value(database: Database, column: str, name: str) -> str:
    value = database.json_text(column, name)
    return database.to_int(value) if name == "graduation_year" else value


def _update(database: Database, table: str, kind: str, fields: Sequence[str]) -> str:
    sets = "".join(
        f", {name} = CASE WHEN {database.json_has('c.after', name)}"
        f" THEN {_value(database, 'c.after', name)} ELSE {table}.{name} END"
        for name in fields
    )
    return (
        f"UPDATE {table} SET revision = {table}.revision + 1{sets} FROM changes c"
        f" WHERE c.plan_id = :plan AND c.kind = '{kind}' AND c.target_id = {table}.id"
        f" AND {_UPDATES.format(of='c.')}"
    )


def _attributes(database: Database) -> str:
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


def _put_back(database: Database) -> str:
    sets = ", ".join(
        f"{name} = CASE WHEN {database.json_has('c.after', name)}"
        f" THEN {read('c.after', name)} ELSE users.{name} END"
        for name in UNPLANNED
        for read in (database.json_true if name == "kept_archived" else database.json_text,)
    )
    return (
        f"UPDATE users SET {sets} FROM changes c WHERE c.plan_id = :plan AND c.kind = 'user'"
        " AND c.target_id = users.id AND c.after IS NOT NULL"
    )


def _end_memberships(database: Database) -> str:
    return (
        "DELETE FROM memberships WHERE user_id IN (SELECT c.target_id FROM changes c"
        " WHERE c.plan_id = :plan AND c.kind = 'user' AND c.action <> 'create'"
        f" AND c.after IS NOT NULL AND {database.json_has('c.after', 'memberships')})"
    )


def _status(database: Database, table: str, kind: str) -> str:
    status = database.json_text("c.after", "status")
    archived_at = (
        f", archived_at = CASE WHEN {status} = 'archived' THEN"
        f" COALESCE({database.json_text('c.after', 'archived_at')}, :now) ELSE NULL END"
        if table == "users"
        else ""
    )
    return (
        f"UPDATE {table} SET status = {status}{archived_at} FROM changes c"
        f" WHERE c.plan_id = :plan AND c.kind = '{kind}' AND c.target_id = {table}.id"
        " AND c.action <> 'create' AND c.after IS NOT NULL"
        f" AND {database.json_has('c.after', 'status')}"
    )


def _end_links(database: Database) -> str:
    return (
        "DELETE FROM links WHERE record_id IN (SELECT c.record_id FROM changes c"
        " WHERE c.plan_id = :plan AND c.action = 'unlink' AND c.after IS NOT NULL"
        f" AND {database.json_has('c.after', 'target')}"
        f" AND {database.json_text('c.after', 'target')} IS NULL)"
    )


def _move_links(database: Database) -> str:
    return (
        f"UPDATE links SET target_id = {database.json_text('c.after', 'target')}"
        " FROM changes c WHERE c.plan_id = :plan AND c.action IN ('link', 'unlink')"
        " AND c.after IS NOT NULL AND c.record_id = links.record_id"
        f" AND {database.json_text('c.after', 'target')} IS NOT NULL"
    )


def _hold(database: Database) -> str:
    record, held = database.json_item("b", 0), database.json_item("b", 2)
    value = database.to_int(held)
    return (
        f"UPDATE links SET held = (h.held = 1) FROM (SELECT {database.to_int(record)} AS id,"
        f" {value} AS held FROM changes c, {database.json_each('c.basis', '', 'b')}"
        f" WHERE c.plan_id = :plan AND c.basis IS NOT NULL AND {held} IS NOT NULL) AS h"
        " WHERE links.record_id = h.id"
    )


def _settle(database: Database) -> str:
    records = "SELECT record_id FROM changes WHERE plan_id = :plan AND record_id IS NOT NULL"
    return f"DELETE FROM open_records WHERE {database.one_of('record_id', records)}"


def _settle_basis(database: Database) -> tuple[str, str]:
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
_LEFT_OVER = (  # of people whose own row somebody has deleted
    "DELETE FROM memberships WHERE user_id IN (SELECT target_id FROM changes"
    " WHERE plan_id = :plan AND kind = 'user' AND action = 'create')"
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
