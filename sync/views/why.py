"""Why: one person's records, evidence, field winners, history, and what comes next, on one page.

Reads evidence, directory and ledger in one state, decides nothing, writes nothing. The command
``why`` prints it.

One file, because each part of the page is one function beside the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, text

from core.models import PROFILE_FIELDS, fold_email
from core.settings import DistrictSettings
from core.storage.database import Database
from core.storage.schema import Change, Plan, Rejection
from core.storage.stored import from_json
from sync.ledger.domain_moves import read_aliases
from sync.people import entries
from sync.people.person import RecordView, UserView, read_user
from sync.people.wish import Sources, in_precedence, unknown_schools, wish_of
from sync.planning.decide import Context, decide_user
from sync.planning.schools import linked_schools
from sync.rules.reasons import means
from sync.run import find
from sync.run.clock import Clock, utc_now
from sync.run.display import CONFLICT, PLAN, RUN, shown_id, shown_time
from sync.run.find import Json
from sync.run.open_records import is_open
from sync.views import conflicts as conflict_views
from sync.views import people, plans, why_missing
from sync.views.waiting import is_waiting


def why(database: Database, slug: str, user_id: str, *, now: Clock | None = None) -> Json:
    """Return the page of one user, or of a record ``SOURCE:external_id`` that has no user yet.

    For a record that a source does not have, the page says what is known about that source
    (``sync/views/why_missing.py``): ``source`` and ``findings`` are then set too. Keys: ``user``
    (None without a user), ``situation`` and ``reasons`` (code and sentence), ``next`` (what would
    let them go, bring them back or bring them in), ``records``, ``matches``, ``fields`` (value,
    winning source, others), ``locks``, ``protected``, ``conflicts``, ``held``, ``changes``. Times
    are UTC. Raises ``UsageError`` for an unknown district or person.
    """
    at = (now or utc_now)()
    with database.read() as connection:
        district = find.district_row(connection, slug)
        user = read_user(connection, district.id, user_id)
        if user is None and (record := _record_alone(connection, district, user_id)) is not None:
            return _page_of_record(connection, district, record, at)
        if (
            user is None
            and (page := why_missing.page(connection, district, user_id, at)) is not None
        ):
            return page
        if user is None:  # an email, or the record of somebody we know
            meant = people.resolve_user(connection, district, user_id)
            user = read_user(connection, district.id, meant)
        assert user is not None  # noqa: S101 - resolved in this very state
        return _page_of_user(connection, district, user, at)


# -- a user


def _page_of_user(connection: Connection, district: Any, user: UserView, at: datetime) -> Json:
    context = _context(connection, district, at)
    conflicts = _conflicts_naming(connection, district, user.id)
    named = any(c["status"] == "open" and c["reason"] != "resembles_leaver" for c in conflicts)
    decision = decide_user(user, context, in_conflict=named)
    situation = decision.situation
    speaking = in_precedence([r for r in user.records if r.speaks], context.sources)
    history = _history(connection, user.id)
    held = _standing(connection, user.id)
    codes = [situation.name]
    codes += ["open"] if decision.steps and situation.action != "nothing" else []
    waits = is_waiting(connection, user.id)
    codes += ["waits_for_rollover"] if waits else []
    codes += ["held"] if held else []
    codes += ["rejected"] if _rejected(connection, district.id, user.id) else []
    codes += ["incomplete"] if context.failed & {r.source_id for r in user.records} else []
    codes += ["unknown_school"] if unknown_schools(speaking, context.sources) else []
    protected = [c for c in history if "protected" in c["fields"]]
    return {
        "district": district.slug,
        "user": people.user_json(connection, district, user.id),
        "situation": situation.name,
        "reasons": [{"code": situation.name, "means": situation.means}, *_told(codes[1:])],
        "next": _next(user, "waits" if waits else situation.name, speaking, context),
        "records": _records(connection, user.records, context),
        "matches": _matches(history),
        "fields": _fields(user, speaking, context, history),
        "locks": [{"field": name, **_last(history, name)} for name in sorted(user.locked_fields)],
        "protected": {
            "on": user.protected,
            **({"since": protected[-1]["at"], "by": protected[-1]["actor"]} if protected else {}),
        },
        "conflicts": conflicts,
        "held": held,
        "changes": history,
    }


def _told(codes: Sequence[str]) -> list[Json]:
    return [{"code": code, "means": means(code)} for code in codes]


def _context(connection: Connection, district: Any, at: datetime) -> Context:
    """Return the context by which a run would decide now."""
    settings = DistrictSettings.model_validate(district.settings)
    sources = connection.execute(_SOURCES_WITH_LAST_READING, {"district": district.id}).all()
    return Context(
        sources=Sources(
            {row.id: rank for rank, row in enumerate(sources)},
            {row.id: row.name for row in sources},
            linked_schools(connection, district.id),
        ),
        origins={},
        grace=settings.grace,
        zone=settings.zone,
        now=at,
        aliases=read_aliases(connection, district.id, ahead=True),
        failed=frozenset(
            row.id for row in sources if row.complete is not None and not row.complete
        ),
    )


def _records(connection: Connection, records: Sequence[RecordView], context: Context) -> list[Json]:
    since = {
        row.record_id: row.applied_at
        for row in connection.execute(_LINKED_SINCE, {"records": [r.id for r in records] or [0]})
    }
    return [
        {
            "source": context.sources.names.get(record.source_id),
            "external_id": record.external_id,
            "present": record.present,
            "in_scope": record.in_scope,
            "held": bool(record.held),
            "since": since.get(record.id),
            "absent_since": shown_time(record.absent_since),
            "absent_fetches": record.absent_fetches,
            "enabled": record.data.enabled,
            "version": record.version,
        }
        for record in in_precedence(records, context.sources)
    ]


def _matches(history: Sequence[Json]) -> list[Json]:
    """Return how each record came to this person: the changes that linked one."""
    return [
        {
            "source": change["source"],
            "external_id": change["external_id"],
            "action": change["action"],
            "reason": change["reason"],
            "means": means(change["reason"]),
            "at": change["at"],
            "plan_id": change["plan_id"],
        }
        for change in history
        if change["action"] in ("create", "link", "adopt") and change["external_id"]
    ]


def _fields(
    user: UserView, speaking: Sequence[RecordView], context: Context, history: Sequence[Json]
) -> dict[str, Json]:
    """Return each field with a value: which source decides it, and which ones disagree."""
    wish = wish_of(speaking, context.sources) if speaking else None
    shown: dict[str, Json] = {}
    for name in PROFILE_FIELDS:
        value = user.profile[name]
        said = [
            (context.sources.names.get(r.source_id), getattr(r.data, name))
            for r in speaking
            if getattr(r.data, name) is not None
        ]
        if value is None and not said:
            continue
        wanted = None if wish is None else wish.profile.get(name)
        winner = said[0][0] if said and wanted == value else _from_history(history, name)
        others = {source: other for source, other in said if other != value}
        shown[name] = {
            "value": value, "from": winner, "locked": name in user.locked_fields, "others": others
        }  # fmt: skip
    if user.memberships or speaking:
        roles = sorted({role for role, _, _ in user.memberships})
        said_roles = {
            str(context.sources.names.get(r.source_id)): sorted(
                {member.role for member in r.data.memberships}
            )
            for r in speaking
            if r.data.memberships
        }
        wanted_roles = [] if wish is None else sorted({role for role, _, _ in wish.memberships})
        follows = bool(said_roles) and wanted_roles == roles
        shown["roles"] = {
            "value": roles,
            "from": " and ".join(sorted(said_roles))
            if follows
            else _from_history(history, "roles"),
            "locked": "role" in user.locked_fields,
            "others": {} if follows else said_roles,
        }
    return shown


def _from_history(history: Sequence[Json], name: str) -> str:
    """Return who last set a field that no source sets: ``hand``, or ``history`` for a source."""
    names = {"roles": ("memberships", "roles", "role")}.get(name, (name,))
    for change in reversed(history):
        if change["action"] == "create" or any(one in change["fields"] for one in names):
            return "hand" if change["plan_kind"] == "hand" else "history"
    return "history"


def _next(
    user: UserView, situation: str, speaking: Sequence[RecordView], context: Context
) -> dict[str, str]:
    """Return what would let this person go, or bring them back."""
    names = context.sources.names
    if user.status == "archived":
        if situation == "kept_archived":
            return {"comes_back": "An admin restores them: rostersync user restore."}
        if speaking:
            return {"comes_back": "The next run restores them: a source shares them."}
        return {"comes_back": "A source shares them again, or an admin restores them."}
    if user.protected:
        return {"leaves": "Nothing but a person's act, while they are protected."}
    if speaking:
        who = ", ".join(sorted({str(names.get(r.source_id)) for r in speaking}))
        return {"leaves": f"A complete reading in which none of these shares them: {who}."}
    return {
        "left_in_grace": {"leaves": "The days and readings of grace run out."},
        "left_in_conflict": {"leaves": "The conflict that names them is resolved."},
        "source_failed": {"leaves": "Their source is read completely and does not share them."},
        "by_hand": {"leaves": "An admin archives them; no source ever held them."},
        "left": {"leaves": "The next run that may take people away."},
        "waits": {"leaves": "Their school rolls over, or a person approves the held plan later."},
        "leaves_scope": {"leaves": "The held plan is approved: their source was narrowed."},
    }.get(situation, {"leaves": "A person's act."})


# -- a record that has no user


def _record_alone(connection: Connection, district: Any, word: str) -> Any | None:
    """Return the unlinked record that a word names, by its id or its address."""
    source, colon, external_id = word.strip().partition(":")
    if not colon:
        about = {"district": district.id, "email": fold_email(word)}
        found = connection.execute(_LONE_RECORD_BY_EMAIL, about).all() if "@" in word else []
        return found[0] if len(found) == 1 else None
    about = {"district": district.id, "source": source, "external_id": external_id}
    return connection.execute(_LONE_RECORD, about).one_or_none()


def _page_of_record(connection: Connection, district: Any, record: Any, at: datetime) -> Json:
    asked = {record.external_id} | entries.waits_with(connection, record.id)
    conflicts = [
        one for one in conflict_views.conflicts(connection, district, status=None)
        if one["source"] == record.source and one["external_id"] in asked
    ]  # fmt: skip
    held = _standing_of_record(connection, district.id, record.id)
    speaks = record.present and record.in_scope
    codes = ["newcomer"] if speaks else []
    if not record.present:
        codes.append("not_shared")
    elif not record.in_scope:
        codes.append("outside_scope")
    elif any(one["status"] == "open" for one in conflicts):
        codes = ["in_conflict"]
    elif held:
        codes = ["held"]
    elif _rejected_record(connection, district.id, record.id):
        codes = ["rejected"]
    elif record.open:
        codes.append("open")
    standing = why_missing.standing_of_source(connection, district, record.source, at)
    codes += [code for code in standing.codes if code != "never_read"]
    return {
        "district": district.slug,
        "user": None,
        "situation": codes[0],
        "reasons": _told(codes),
        "next": {"comes_in": standing.comes_in or _comes_in(codes[0])},
        "records": [
            {
                "source": record.source, "external_id": record.external_id,
                "present": bool(record.present), "in_scope": bool(record.in_scope), "held": False,
                "since": None, "absent_since": record.absent_since,
                "absent_fetches": record.absent_fetches, "version": record.version,
            }
        ],
        "matches": [], "fields": {}, "locks": [], "protected": {"on": False},
        "conflicts": conflicts, "held": held, "changes": [],
    }  # fmt: skip


def _comes_in(code: str) -> str:
    return {
        "in_conflict": "A person decides whose record it is: rostersync resolve.",
        "held": "The held plan is approved.",
        "rejected": "Their data change, or the plan is made again after that.",
        "not_shared": "The source shares them again.",
        "outside_scope": "The source is asked for them: its roles or schools are widened.",
    }.get(code, "The next run.")


# -- the ledger, the held plan, the conflicts


def _history(connection: Connection, user_id: str) -> list[Json]:
    """Return the applied changes of one person, the oldest first, as the feed shows them."""
    rows = connection.execute(_APPLIED_CHANGES, {"user": user_id}).all()
    by_plan: dict[int, list[Any]] = {}
    for row in rows:
        by_plan.setdefault(row.plan_id, []).append(row)
    told: list[Json] = []
    for plan_id, some in by_plan.items():
        schools = plans.school_names(connection, plan_id)
        shown = plans.changes_at(connection, plan_id, [row.seq for row in some], schools)
        told += [
            {
                **shown[row.seq],
                "serial": row.first_serial + row.seq,
                "at": _seconds(row.applied_at),
                "actor": row.actor,
                "note": row.decision_reason,
                "plan_kind": row.plan_kind,
                "run_id": None if row.run_id is None else shown_id(RUN, row.run_id),
                "plan_id": shown_id(PLAN, plan_id),
            }
            for row in some
        ]
    return told


def _last(history: Sequence[Json], name: str) -> Json:
    """Return when and by whom a field was locked."""
    for change in reversed(history):
        old, new = change["fields"].get("locked_fields", (None, None))
        if name in (new or ()) and name not in (old or ()):
            return {"since": change["at"], "by": change["actor"], "reason": change["note"]}
    return {"since": None, "by": None, "reason": None}


def _seconds(stored: str) -> str | None:
    return shown_time(datetime.fromisoformat(stored))


def _standing(connection: Connection, user_id: str) -> list[Json]:
    return _held_rows(connection.execute(_STANDING_OF_USER, {"user": user_id}))


def _standing_of_record(connection: Connection, district_id: int, record_id: int) -> list[Json]:
    about = {"district": district_id, "record": record_id}
    return _held_rows(connection.execute(_STANDING_OF_RECORD, about))


_STANDING = (
    select(Change.plan_id, Change.action, Change.reason, Plan.held)
    .join_from(Change.table, Plan.table, Plan.id == Change.plan_id)
    .where(Plan.standing)
    .order_by(Change.seq)
)
_STANDING_OF_USER = _STANDING.where(Change.target_id == bindparam("user"))
_STANDING_OF_RECORD = _STANDING.where(  # by its plan: changes have no index of their records
    Plan.district_id == bindparam("district"), Change.record_id == bindparam("record")
)


def _held_rows(rows: Any) -> list[Json]:
    told = []
    for plan_id, action, reason, limits in rows:
        told.append(
            {
                "plan_id": shown_id(PLAN, plan_id), "action": action, "reason": reason,
                "means": means(reason),
                "limits": [{**one, "means": means(one["limit"])} for one in limits],
            }
        )  # fmt: skip
    return told


def _rejected(connection: Connection, district_id: int, user_id: str) -> bool:
    about = {"district": district_id, "user": user_id}
    return connection.execute(_REJECTED, about).first() is not None


def _rejected_record(connection: Connection, district_id: int, record_id: int) -> bool:
    about = {"district": district_id, "record": record_id}
    return connection.execute(_REJECTED_RECORD, about).first() is not None


_REJECTED = (
    select(Rejection.plan_id)
    .where(Rejection.district_id == bindparam("district"), Rejection.target_id == bindparam("user"))
    .limit(1)
)
_SAME_CONTENT = and_(
    Change.plan_id == Rejection.plan_id, Change.content_print == Rejection.content_print
)
_REJECTED_RECORD = (
    select(Rejection.plan_id)
    .join_from(Rejection.table, Change.table, _SAME_CONTENT)
    .where(Rejection.district_id == bindparam("district"), Change.record_id == bindparam("record"))
    .limit(1)
)


def _conflicts_naming(connection: Connection, district: Any, user_id: str) -> list[Json]:
    """Return the conflicts that name this person, including settled ones, with the evidence."""
    like = f"%{user_id}%"
    return [
        {
            "id": shown_id(CONFLICT, row.id),
            "source": row.source,
            "external_id": row.external_id,
            "reason": row.reason,
            "means": means(row.reason),
            "status": row.status,
            "decision": row.decision,
            "evidence": _evidence(row.candidates, user_id),
        }
        for row in connection.execute(_CONFLICTS_NAMING, {"district": district.id, "like": like})
    ]


def _evidence(candidates: Any, user_id: str) -> list[str]:
    decoded = from_json(candidates)
    return [slug for one in decoded if one["id"] == user_id for slug in one.get("evidence", ())]


# --- Set-wise statements ---
# A page about one person is read from many tables, a few rows of each. They are found by the user,
# the record or the district.

_SOURCES_WITH_LAST_READING = text(
    "SELECT s.id, s.name, (SELECT f.complete FROM fetches f WHERE f.source_id = s.id"
    " ORDER BY f.id DESC LIMIT 1) AS complete FROM sources s WHERE s.district_id = :district"
    " ORDER BY s.precedence, s.id"
)
_LINKED_SINCE = text(
    "SELECT c.record_id, MAX(p.applied_at) AS applied_at FROM changes c JOIN plans p"
    " ON p.id = c.plan_id WHERE p.status = 'applied' AND c.record_id IN :records"
    " AND c.action IN ('create', 'link', 'adopt') GROUP BY c.record_id"
).bindparams(bindparam("records", expanding=True))
_LONE_RECORD = text(
    f"SELECT r.*, {is_open('r.id')} AS open, s.name AS source"
    " FROM records r JOIN sources s ON s.id = r.source_id"
    " WHERE s.district_id = :district AND s.name = :source AND r.kind = 'user'"
    " AND r.external_id = :external_id"
    " AND NOT EXISTS (SELECT 1 FROM links l WHERE l.record_id = r.id)"
)
_LONE_RECORD_BY_EMAIL = text(
    f"SELECT r.*, {is_open('r.id')} AS open, s.name AS source"
    " FROM records r JOIN sources s ON s.id = r.source_id"
    " WHERE s.district_id = :district AND r.kind = 'user' AND r.email = :email"
    " AND NOT EXISTS (SELECT 1 FROM links l WHERE l.record_id = r.id)"
    " AND NOT EXISTS (SELECT 1 FROM users u WHERE u.district_id = :district"
    " AND u.email_folded = :email) ORDER BY r.id LIMIT 2"
)
_APPLIED_CHANGES = text(
    "SELECT c.plan_id, c.seq, p.first_serial, p.applied_at, p.decision_reason,"
    " p.kind AS plan_kind, p.applied_run_id AS run_id, r.actor FROM changes c"
    " JOIN plans p ON p.id = c.plan_id LEFT JOIN runs r ON r.id = p.applied_run_id"
    " WHERE c.target_id = :user AND c.kind = 'user' AND p.status = 'applied'"
    " ORDER BY p.first_serial, c.seq"
)
_CONFLICTS_NAMING = text(
    "SELECT c.*, r.external_id, s.name AS source FROM conflicts c"
    " LEFT JOIN records r ON r.id = c.record_id LEFT JOIN sources s ON s.id = r.source_id"
    " WHERE c.district_id = :district AND c.kind = 'user'"
    " AND (CAST(c.candidates AS TEXT) LIKE :like OR c.decision = :like) ORDER BY c.id"
)
