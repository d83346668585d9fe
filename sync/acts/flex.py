"""FINRA FLEX: the status of the delivery to a firm, its one upload, and changes after it.

A firm's status goes Provisioning → Available (file-rules.md 11.3); then one upload is accepted
(11.6). Later changes go to the help desk: they are recorded here, written as the text of a mail,
and applied as a plan when the help desk has confirmed them. Courses are not assigned by this
program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, update

from connectors.installed import load
from core.errors import FileRefused, UsageError
from core.models import checked_actor
from core.storage.database import Database
from core.storage.schema import District, FlexDelivery, FlexRequest, Plan, Source, Upload, User
from sync.acts.hand_edit import CHANGES_TO, UserEdit, add_user, archive_user, edit_user
from sync.run.clock import Clock, utc_now
from sync.run.display import PLAN, shown_id, shown_time
from sync.run.find import district_row
from sync.run.outcome import Outcome
from sync.sources.received_files import PENDING, PROCESSED, PROCESSING, QUEUED

PROVISIONING, AVAILABLE = "Provisioning", "Available"
WITHOUT_REPORT = "without_report"
"""Among the counts of an upload: it was asked for although no account could be checked."""
REQUEST = "F"
FIELDS = {"first_name": "given_name", "last_name": "family_name", "email": "email"}
"""Column of the template → our field."""

Kind = Literal["add", "remove", "update"]


# -- the delivery


def delivery(connection: Connection, slug: str) -> dict[str, Any]:
    """Return the status of the delivery, as ``flex status --json`` shows it. ``UsageError``."""
    district = _firm(connection, slug)
    row = connection.execute(_DELIVERY, {"district": district.id}).one_or_none()
    return {
        "district": slug,
        "status": PROVISIONING if row is None else row.status,
        "changed_at": None if row is None else shown_time(row.changed_at),
        "changed_by": None if row is None else row.changed_by,
        "upload_accepted": _accepted(connection, district.id) is not None,
        "open_requests": sum(one["status"] == "open" for one in requests(connection, slug)),
    }


_DELIVERY = select(FlexDelivery.table).where(FlexDelivery.district_id == bindparam("district"))


def set_delivery(
    database: Database, slug: str, status: str, *, actor: str, now: Clock | None = None
) -> None:
    """Record the new status of the delivery. Raises ``UsageError``."""
    with database.write() as connection:
        district = _firm(connection, slug)
        values = {
            "district_id": district.id, "status": status, "changed_by": checked_actor(actor),
            "changed_at": (now or utc_now)(),
        }  # fmt: skip
        connection.execute(_FORGET_DELIVERY, {"district": district.id})
        connection.execute(insert(FlexDelivery.table), values)


_FORGET_DELIVERY = delete(FlexDelivery.table).where(
    FlexDelivery.district_id == bindparam("district")
)


def refuse_upload(
    database: Database, source: Source, *, dry: bool, without_report: bool = False
) -> None:
    """Raise ``FileRefused`` if no upload may be accepted now (I8).

    A check (``dry``) is allowed at any time before the one upload is accepted. If no FinPro report
    is configured, nobody's account is checked, so the one upload must be asked for with
    ``without_report``.
    """
    with database.read() as connection:
        row = connection.execute(_DELIVERY, {"district": source.district_id}).one_or_none()
        accepted = _accepted(connection, source.district_id)
        if accepted is not None:
            title = connection.execute(_TITLE, {"upload": accepted}).scalar_one()
            raise FileRefused(
                f"The firm's one upload was accepted already ({title}); a second is not taken.",
                hint="Ask for changes instead: rostersync flex request add|remove|update, then"
                f" rostersync flex request text writes the mail to {CHANGES_TO}.",
            )
    if (row is None or row.status != AVAILABLE) and not dry:
        raise FileRefused(
            "FLEX is still Provisioning for this firm: nothing can be uploaded yet.",
            hint="When FINRA says that it is available: rostersync flex status DISTRICT"
            " --set available. Until then --plan checks the file.",
        )
    if not (dry or without_report or source.config.get("finpro_report")):
        raise FileRefused(
            "No FinPro report is configured, so nobody's account would be checked; and a firm has"
            " one upload only.",
            hint="Set finpro_report in the config of the source, or say --without-report.",
        )


def refuse_apply(connection: Connection, plan_run: int | None) -> None:
    """Raise ``FileRefused`` if a plan is that of an upload that was only checked, and may not run.

    To apply it is to make the firm's one upload: what holds of that holds of it (I8).
    """
    checked = connection.execute(_CHECKED, {"run": plan_run}).one_or_none()
    if checked is None or not load(checked.connector).capabilities.one_upload:
        return
    row = connection.execute(_DELIVERY, {"district": checked.district_id}).one_or_none()
    accepted = _accepted(connection, checked.district_id)
    unchecked = not checked.config.get("finpro_report") and not checked.counts.get(WITHOUT_REPORT)
    if accepted is not None or row is None or row.status != AVAILABLE or unchecked:
        raise FileRefused(
            "This plan is that of a FLEX upload which was only checked, and a firm has one upload.",
            hint="Upload the file itself: rostersync upload DISTRICT FILE says what is in the way.",
        )


_CHECKED = (
    select(Upload.district_id, Upload.counts, Source.connector, Source.config)
    .join_from(Upload.table, Source.table, Source.id == Upload.source_id)
    .where(Upload.run_id == bindparam("run"), Upload.dry)
)


def one_upload(title: str, *, dry: bool) -> list[str]:
    """Return what a firm is told of its one upload, in sentences."""
    return [
        f"{title} {'would be' if dry else 'is'} the firm's one upload.",
        f"Later changes go to {CHANGES_TO}: record them with rostersync flex request.",
    ]


def _accepted(connection: Connection, district_id: int) -> int | None:
    """Return the accepted upload of a source that takes only one; None if there is none yet."""
    sources = [
        row.id
        for row in connection.execute(_SOURCES, {"district": district_id})
        if load(row.connector).capabilities.one_upload
    ]
    found = connection.execute(_ACCEPTED, {"sources": sources}).scalar()
    return None if found is None else int(found)


_TITLE = select(Upload.title).where(Upload.id == bindparam("upload"))
_SOURCES = select(Source.id, Source.connector).where(Source.district_id == bindparam("district"))
_APPLIED = exists().where(Plan.run_id == Upload.run_id, Plan.status == "applied")
_ACCEPTED = select(func.min(Upload.id)).where(
    Upload.source_id.in_(bindparam("sources", expanding=True)),
    Upload.status.in_((PENDING, QUEUED, PROCESSING, PROCESSED)),
    or_(~Upload.dry, _APPLIED),
)


def _firm(connection: Connection, slug: str) -> District:
    district = district_row(connection, slug)
    if district.settings.get("kind") != "firm":
        raise UsageError(
            f"{slug} is no firm: FINRA FLEX is for districts of the kind firm.",
            hint='Set kind = "firm" in the district file, if it is one.',
        )
    return district


# -- change requests


def ask(
    database: Database,
    slug: str,
    kind: Kind,
    crd_id: str,
    fields: Mapping[str, str],
    *,
    actor: str,
    now: Clock | None = None,
) -> str:
    """Record a change to request, and return its id. ``fields`` are columns of the template.

    Raises ``UsageError`` if the person does not exist (or exists already), or a field is missing.
    """
    crd_id = crd_id.strip().lstrip("0")
    if not (crd_id.isascii() and crd_id.isdigit() and len(crd_id) <= 10):
        raise UsageError("A CRD number has digits only.", hint="Give it as FINRA shows it.")
    given = {name: " ".join(value.split()) for name, value in fields.items() if value.strip()}
    missing = [name for name in FIELDS if name not in given] if kind == "add" else []
    if missing or (kind == "update" and not given):
        raise UsageError(
            f"A request to {kind} somebody needs {', '.join(missing) or 'a field to change'}.",
            hint="Give --first-name, --last-name, --email.",
        )
    with database.write() as connection:
        district = _firm(connection, slug)
        _person(connection, district.id, crd_id, there=kind != "add")
        values = {
            "district_id": district.id, "kind": kind, "crd_id": crd_id, "fields": given,
            "actor": checked_actor(actor), "created_at": (now or utc_now)(),
        }  # fmt: skip
        return shown_id(REQUEST, connection.execute(_ASK, values).scalar_one())


_ASK = insert(FlexRequest.table).returning(FlexRequest.id)
_PERSON = select(User.id).where(
    User.district_id == bindparam("district"),
    User.crd_id == bindparam("crd"),
    User.status != "archived",
)


def _person(connection: Connection, district_id: int, crd_id: str, *, there: bool) -> str | None:
    found = connection.execute(_PERSON, {"district": district_id, "crd": crd_id}).scalar()
    if (found is not None) != there:
        raise UsageError(
            "Nobody active has this CRD number."
            if there
            else "Somebody has this CRD number already.",
            hint="rostersync users DISTRICT --search NUMBER shows them.",
        )
    return found


def requests(connection: Connection, slug: str) -> Iterator[dict[str, Any]]:
    """Yield the change requests of a firm, the oldest first. Raises ``UsageError``."""
    district = _firm(connection, slug)
    for row in FlexRequest.all_of(connection.execute(_REQUESTS, {"district": district.id})):
        yield {
            "id": shown_id(REQUEST, row.id),
            "kind": row.kind,
            "crd_id": row.crd_id,
            "fields": row.fields,
            "status": row.status,
            "actor": row.actor,
            "created_at": shown_time(row.created_at),
            "confirmed_by": row.confirmed_by,
            "confirmed_at": shown_time(row.confirmed_at),
            "plan_id": None if row.plan_id is None else shown_id(PLAN, row.plan_id),
        }


_REQUESTS = (
    select(FlexRequest.table)
    .where(FlexRequest.district_id == bindparam("district"))
    .order_by(FlexRequest.id)
)


def mail_text(connection: Connection, slug: str) -> str:
    """Return a mail to the help desk that requests every open change, or nothing."""
    asked = [one for one in requests(connection, slug) if one["status"] == "open"]
    if not asked:
        return ""
    name = " ".join(district_row(connection, slug).name.split())
    lines = [
        f"To: {CHANGES_TO}",
        f"Subject: FLEX user changes for {name}",
        "",
        "Please make these changes in FLEX:",
        "",
    ]
    for one in asked:
        given = one["fields"]
        said = ", ".join(f"{column} {given[column]}" for column in FIELDS if column in given)
        verb = {"add": "Add", "remove": "Remove", "update": "Change"}[one["kind"]]
        lines.append(f"{one['id']}. {verb} crd_id {one['crd_id']}" + (f": {said}" if said else ""))
    lines += ["", f"Number of changes: {len(asked)}. Please confirm by their numbers."]
    return "\n".join(lines) + "\n"


def confirm(
    database: Database, slug: str, request: str, *, actor: str, now: Clock | None = None
) -> Outcome:
    """Apply a change that the help desk has confirmed, as a plan. Raises ``UsageError``."""
    number = request.strip().upper().removeprefix(REQUEST)
    with database.read() as connection:
        district = _firm(connection, slug)
        asked = {
            "district": district.id,
            "id": int(number) if number.isdecimal() and len(number) < 19 else 0,
        }
        row = FlexRequest.one_of(connection.execute(_ASKED, asked))
        if row is None:
            raise UsageError(
                f"{slug} has no such request.",
                hint=f"rostersync flex request list {slug} lists them.",
            )
        if row.status == "confirmed":
            return Outcome(slug, "nothing_to_do", plan_ids=[row.plan_id] if row.plan_id else [])
        user = _person(connection, district.id, row.crd_id, there=row.kind != "add")
    outcome = _acts(database, slug, row, user or "", actor, now)[row.kind]()
    values = {
        "status": "confirmed", "confirmed_by": checked_actor(actor),
        "confirmed_at": (now or utc_now)(),
        "plan_id": outcome.plan_ids[0] if outcome.plan_ids else None,
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(_CONFIRMED, {"request": row.id, **values})
    return outcome


_ASKED = select(FlexRequest.table).where(
    FlexRequest.district_id == bindparam("district"), FlexRequest.id == bindparam("id")
)
_CONFIRMED = update(FlexRequest.table).where(FlexRequest.id == bindparam("request"))


def _acts(
    database: Database, slug: str, row: FlexRequest, user: str, actor: str, now: Clock | None
) -> dict[str, Callable[[], Outcome]]:
    fields = {FIELDS[name]: value for name, value in row.fields.items()}
    about: dict[str, Any] = {
        "actor": actor, "reason": f"FLEX change request {REQUEST}{row.id}", "now": now,
        "asked": True,
    }  # fmt: skip
    return {
        "add": lambda: add_user(
            database, slug, UserEdit(fields | {"crd_id": row.crd_id}, role="staff"), **about
        ),
        "remove": lambda: archive_user(database, slug, user, keep=True, **about),
        "update": lambda: edit_user(database, slug, user, UserEdit(fields), **about),
    }
