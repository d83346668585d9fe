"""Notifications: each change in a district's state is told once, to its own addresses.

The state comes from ``sync/views/overview.py``; what was last told about each topic is in
``districts.told``. Messages carry counts and ids, never a person. A failing channel makes nothing
else fail: what could not be told is told the next time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.exc import SQLAlchemyError

from core.errors import ConfigError, RosterSyncError
from core.failpoints import failpoint
from core.secrets import is_reference, read_secret
from core.steps import log_of, step
from core.storage.database import Database
from core.storage.schema import District
from core.storage.stored import utc_text
from rostersync.service.channels import Severity, by_apprise, severity_of
from sync.planning import grace
from sync.rules.season import Season, next_change
from sync.run import find
from sync.run.calendar import Calendar, calendar_of
from sync.run.display import UPLOAD, local_moment
from sync.sources.received_files import upload_by_id
from sync.views.overview import overview
from sync.views.rollover_report import rollover_report
from sync.views.waiting import waiting_now

log = log_of(__name__)

OPERATOR_VARIABLE = "ROSTERSYNC_NOTIFY"
"""Addresses of the operator, who is told about every district: URLs, ``env:`` or ``file:``
references, separated by spaces."""

Told = dict[str, Any]
Send = Callable[[Sequence[str], str, str, Severity], bool]
"""``send(addresses, title, body, severity)``: returns whether at least one address accepted it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: ``topic`` is its slug, ``title`` one line, ``body`` a few sentences."""

    topic: str
    title: str
    body: str
    severity: Severity = Severity.INFO


def tell_if_possible(database: Database, slug: str, now: datetime) -> None:
    """Tell what has changed in a district; if that fails, it is left for the next time."""
    with suppress(RosterSyncError, SQLAlchemyError):
        tell(database, slug, now)


def tell(database: Database, slug: str, now: datetime, send: Send | None = None) -> list[Message]:
    """Tell what has changed in a district since it was last told; return what was told.

    Never raises for a channel. Raises ``UsageError`` for an unknown district.
    """
    with database.read() as connection:
        row = find.district_row(connection, slug)
        stored: Told = row.told or {}
        found = calendar_of(row)
        if _under_way(stored, now):
            return []
        before = _untold(stored)
        after, messages = news(database, connection, found, now, before)
    if after == stored:
        return []
    addresses = addresses_of(found.settings.notify)
    claimed = after
    if messages and addresses:
        topics = {one.topic: before.get(one.topic) for one in messages}
        claimed = {**after, SENDING: {"at": utc_text(now), "before": topics}}
    if not _claim(database, found.district_id, stored, claimed):
        return []
    if claimed is after:
        return messages
    failpoint("notify.claimed")
    with step(log, "send notifications", district=slug, messages=len(messages)) as done:
        unheard = {one.topic for one in messages if not _sent(send or by_apprise, addresses, one)}
        done.tell(unheard=len(unheard))
    failpoint("notify.sent")
    _claim(database, found.district_id, claimed, _taken_back(claimed, unheard))
    return [one for one in messages if one.topic not in unheard]


SENDING = "sending"
"""The key of ``told`` under which what is being sent stands, until it has been sent."""

_AT_MOST = timedelta(minutes=30)
"""Who has not done with sending by then was killed at it: what it may not have sent is sent again.

So a change of state is told once, and after a kill between the claim and its end at least once: a
held plan of which nobody hears is worse than one that is told twice.
"""


def _under_way(stored: Told, now: datetime) -> bool:
    """Say whether somebody else is sending at this moment."""
    sending = stored.get(SENDING)
    return sending is not None and now - datetime.fromisoformat(sending["at"]) < _AT_MOST


def _untold(stored: Told) -> Told:
    """Return what was certainly told, without messages during which a process was killed."""
    return _taken_back(stored, set(stored.get(SENDING, {}).get("before", ())))


def _taken_back(claimed: Told, topics: Collection[str]) -> Told:
    """Return what is told once sending has ended, these topics not among it."""
    if SENDING not in claimed:
        return claimed
    told = {topic: state for topic, state in claimed.items() if topic != SENDING}
    for topic in topics:
        state = claimed[SENDING]["before"][topic]
        if state is None:
            told.pop(topic, None)
        else:
            told[topic] = state
    return told


def _claim(database: Database, district_id: int, before: Told, after: Told) -> bool:
    """Write what is told from now on, unless somebody else has told it in this moment."""
    with database.write() as connection:
        database.apply_lock(connection, district_id)
        stored = connection.execute(_TOLD, {"district": district_id}).scalar_one()
        if (stored or {}) != before:
            return False
        connection.execute(_TELL, {"district": district_id, "told": after})
    return True


_TOLD = select(District.told).where(District.id == bindparam("district"))
_TELL = update(District.table).where(District.id == bindparam("district"))


# -- the channels


def addresses_of(references: Iterable[str]) -> list[str]:
    """Return the readable addresses of a district and of the operator."""
    wanted = [*references, *os.environ.get(OPERATOR_VARIABLE, "").split()]
    found = []
    for one in wanted:
        try:
            found += (read_secret(one) if is_reference(one) else one).split()
        except ConfigError:
            continue  # status and check report it; a missing address stops nobody
    return list(dict.fromkeys(found))


def _sent(send: Send, addresses: Sequence[str], message: Message) -> bool:
    try:
        return send(addresses, message.title, message.body, message.severity)
    except Exception:  # noqa: BLE001 - whatever a channel does, the sync goes on
        return False


# -- what is new


def news(
    database: Database, connection: Connection, found: Calendar, now: datetime, before: Told
) -> tuple[Told, list[Message]]:
    """Return the new state of what is told, and the messages: one for each change."""
    slug = found.settings.slug
    (one,) = overview(connection, now, slug)
    told: Told = {}
    messages: list[Message] = []

    def say(topic: str, state: Any, title: str, *body: str) -> None:
        told[topic] = state
        severity = severity_of(topic, state)
        messages.append(Message(topic, f"{slug}: {title}", "\n".join(body), severity))

    _held(one, before, told, say)
    for source in one["sources"]:
        _source(found, source, before, told, say)
    for topic, title in (("failed", "a sync failed"), ("drifted", "a sync drifted")):
        if topic in one["needs"]:
            if before.get(topic):
                told[topic] = before[topic]
            else:
                run = one["last_run"]["id"]
                say(topic, run, title, f"Nothing was changed. See: rostersync runs {slug} ({run})")
    if number := one["outside_edits"]:
        told["edited"] = True
        if not before.get("edited"):
            say("edited", True, f"edited past the history: {number}", "See: rostersync status")
    if one["failed_uploads"]:
        numbers = one["failed_uploads"]
        if set(numbers) <= set(before.get("uploads", [])):
            told["uploads"] = numbers
        else:
            title = f"{', '.join(numbers)} could not be read"
            new = [number for number in numbers if number not in before.get("uploads", [])]
            notes = [f"{number}: {_note_of(connection, number)}" for number in new]
            see = f"Nobody was changed. See: rostersync files {slug}"
            say("uploads", numbers, title, *notes, see)
    _season(found, now, before, told, say)
    _rollover(database, connection, found, now, before, told, say)
    _grace(connection, found, now, before, told, say)
    return told, messages


def _held(one: Any, before: Told, told: Told, say: Callable[..., None]) -> None:
    plan = one["held_plan"]
    if plan is None or plan["status"] != "held":
        return
    groups = sorted(
        f"{trip['limit']}|{trip['source']}|{trip['school'] or ''}|{trip['role'] or ''}"
        for trip in plan["held"]
    )
    known = before.get("held", [])
    if known and set(groups) <= set(known):
        told["held"] = groups  # the same limits: a new plan with them is not told again (P3)
        return
    counts = ", ".join(f"{number} {action}" for action, number in plan["counts"].items())
    why = [
        f"{trip['scope']}: {trip['found']} found"
        + (f", {trip['allowed']} allowed" if trip["allowed"] else "")
        for trip in plan["held"][:10]
    ]
    say(
        "held", groups, f"{plan['id']} waits for your approval",
        f"Held: {counts}. Whatever was safe was applied.", *why,
        f"Review it: rostersync show {plan['id']}. Then: rostersync approve {plan['id']} or"
        f" rostersync reject {plan['id']} --reason ...",
    )  # fmt: skip


def _note_of(connection: Connection, number: str) -> str:
    """Return why a file could not be read."""
    return str(upload_by_id(connection, int(number.lstrip(UPLOAD)))["note"])


def _source(
    found: Calendar, source: Any, before: Told, told: Told, say: Callable[..., None]
) -> None:
    slug, zone = found.settings.slug, found.settings.zone
    name, state = source["source"], source["state"]
    topic = f"source:{name}"
    was = before.get(topic, "ok")
    if state != "ok":
        told[topic] = state
    if state != was:
        code = source["code"]
        why = f"{source['reason'] or 'no reason was given'} ({code})"
        match state:
            case "ok":
                say(topic, "ok", f"{name} is read again", "It gave a complete roster.")
                del told[topic]
            case "failing":
                say(
                    topic,
                    state,
                    f"{name} could not be read completely",
                    why,
                    "Nobody leaves because of it. The next due time tries again.",
                )
            case "slowed":
                again = local_moment(source["next_try"], zone)
                say(
                    topic,
                    state,
                    f"{name} fails again and again",
                    f"{source['failures']} times in a row. The last time: {why}",
                    f"It is polled less; the next try is at {again}. See: rostersync check {slug}",
                )
            case _:
                say(
                    topic,
                    state,
                    f"{name} was stopped",
                    f"{source['failures']} failures in a row. The last one: {why}",
                    f"It is not polled until: rostersync source resume {slug} {name}",
                )
    topic = f"stale:{name}"
    if source["stale"]:
        if before.get(topic):
            told[topic] = True
        else:
            say(topic, True, f"{name} gives no new data",
                f"The last good data came at {local_moment(source['good_at'], zone)}.")  # fmt: skip
    elif before.get(topic):
        say(topic, False, f"{name} gives data again", "The freshness alarm is over.")
        del told[topic]


_SEASONS = {
    Season.NORMAL: "the pause ends. The first complete run is guarded: what a rollover does not"
    " explain waits for you.",
    Season.PAUSED: "the district is paused. No source changes anybody; acts by hand work.",
    Season.ADDITIONS_ONLY: "people may join, and nobody changes or leaves.",
}


def _season(
    found: Calendar, now: datetime, before: Told, told: Told, say: Callable[..., None]
) -> None:
    today = found.today(now)
    pauses, state = found.settings.pause, found.state
    turn = next_change(today, pauses, state.hand, state.resumed)
    if turn is None or turn - today != timedelta(days=1):
        return
    season = state.on(turn, pauses).season
    key = f"{turn} {season}"
    if before.get("season") == key:
        told["season"] = key
        return
    say("season", key, f"tomorrow: {season.value.replace('_', ' ')}",
        f"From {turn} on {_SEASONS[season]}")  # fmt: skip


def _rollover(
    database: Database,
    connection: Connection,
    found: Calendar,
    now: datetime,
    before: Told,
    told: Told,
    say: Callable[..., None],
) -> None:
    state = found.state
    if state.returned is None or state.complete_on is None or state.complete_on < state.returned:
        if "rollover" in before:
            told["rollover"] = before["rollover"]
        return
    waits = bool(state.waiting) and not state.waited_out
    people = len(waiting_now(connection, found.district_id))
    if people:
        told["waiting"] = people
    key = f"{state.returned} {'waiting' if waits else 'done'}"
    slug = found.settings.slug
    if before.get("rollover") == key:
        told["rollover"] = key
        if people > before.get("waiting", 0):
            say("waiting", people, f"{people} people wait for a rollover",
                "They are in no roster any more, and their schools still show the old year.",
                f"See who: rostersync users {slug} --leaving")  # fmt: skip
        return
    report = rollover_report(database, connection, slug, now)
    totals = report["totals"]
    counts = ", ".join(f"{number} {kind}" for kind, number in totals.items())
    dates = ", ".join(
        f"{one['source']} {local_moment(one['vendor_time'], found.settings.zone) or 'does not say'}"
        for one in report["sources"]
    )
    title = "back from the pause"
    if waits:
        number = len(state.waiting)
        title = f"{number} school{'' if number == 1 else 's'} still"
        title += f" show{'s' if number == 1 else ''} the old year"
    waiting = (
        (f"{people} people wait with it: rostersync users {slug} --leaving",) if people else ()
    )
    say("rollover", key, title, f"Since {report['since']}: {counts}.", *waiting,
        f"Date of the vendors' data: {dates}.",
        f"In no roster, and still in: {report['still_in']['manual']} made by hand,"
        f" {report['still_in']['protected']} protected.",
        f"Confirm it: rostersync rollover {slug}")  # fmt: skip


def _grace(
    connection: Connection,
    found: Calendar,
    now: datetime,
    before: Told,
    told: Told,
    say: Callable[..., None],
) -> None:
    if found.settings.grace.days == 0 and found.settings.grace.fetches == 1:
        return
    warned = grace.warnings(connection, found, now)
    if not warned:
        return
    groups = sorted(
        f"{one['limit']}|{one['source']}|{one['school'] or ''}|{one['role'] or ''}"
        for one in warned
    )
    if set(groups) <= set(before.get("grace", [])):
        told["grace"] = groups
        return
    most = max(warned, key=lambda one: int(one["found"]))
    say("grace", groups, "many people are about to leave",
        f"{most['found']} people are gone from {most['source']}, more than the limit of"
        f" {most['allowed']}. They will be held when their grace ends.",
        f"See who: rostersync users {found.settings.slug} --leaving")  # fmt: skip
