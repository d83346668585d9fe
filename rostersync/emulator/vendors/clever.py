"""Clever, API v3.0 and v3.1, and the token list that a partner looks districts up in.

Facts: dev.clever.com/docs (api-overview, onboarding, users, paging-and-limits, error-messages,
events-api) and the official Swagger files of v3.0 and v3.1.

One file, because a vendor is one file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from rostersync.emulator.district import ids
from rostersync.emulator.district.people import School
from rostersync.emulator.district.view import (
    CREATED,
    DELETED,
    SCHOOL_UPDATED,
    UPDATED,
    DayView,
    RosterEvent,
    position,
)
from rostersync.emulator.server.desk import Desk, Tenant
from rostersync.emulator.server.wire import Reply, Request
from rostersync.emulator.vendors.clever_records import (
    district_record,
    iso,
    previous_attributes,
    school_record,
    user_record,
)
from rostersync.emulator.vendors.paging import page_of, served_slots

MAX_LIMIT = 10_000
DEFAULT_LIMIT = 100
EVENT_DAYS = 30
VERSIONS = ("v3.0", "v3.1")
_ROLES = {role: role for role in ("student", "teacher", "staff", "contact")} | {
    "district_admin": "admin"
}
_OTHER_LISTS = ("sections", "courses", "terms", "resources")
_SCOPES = ["read:district_admins", "read:districts", "read:school_admins", "read:schools",
           "read:staff", "read:student_contacts", "read:students", "read:teachers",
           "read:user_id"]  # fmt: skip
_encode = msgspec.json.encode


class Clever:
    """The Clever side of an emulator, mounted at ``prefix``."""

    name = "clever"

    def __init__(self, emulator: Desk, prefix: str) -> None:
        self.emulator = emulator
        self.prefix = prefix
        self._windows: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def config(self, base_url: str, tenant: Tenant, vendor: str, mode: str) -> dict[str, Any]:
        """Return a connector config: ``token`` (default) or ``lookup`` by client id and secret."""
        version = "v3.1" if vendor == "clever31" else "v3.0"
        out: dict[str, Any] = {"base_url": f"{base_url}/{version}"}
        if mode in ("", "token"):
            return out | {"token": tenant.token}
        if mode == "lookup":
            return out | {
                "tokens_url": f"{base_url}/oauth/tokens",
                "client_id": self.emulator.partner_id,
                "client_secret": self.emulator.partner_secret,
                "district_id": ids.clever_district(tenant.seed),
            }
        raise ValueError(f"Clever has no way in called {mode!r}: token, lookup.")

    # Requests.

    def reply(self, request: Request) -> Reply:
        """Answer one request, path below the prefix."""
        if request.path == "/oauth/tokens":
            return self._tokens(request)
        _, _, rest = request.path.partition("/")
        version, _, rest = rest.partition("/")
        if version not in VERSIONS or request.method != "GET":
            return _html(404, "Page not found")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        tenant = self.emulator.tenant_of(token) if scheme.lower() == "bearer" else None
        if tenant is None:
            return _message(401, "Authorization required")
        rate = self._rate(token)
        if rate.get("X-RateLimit-Remaining") == "-1":
            rate["X-RateLimit-Remaining"] = "0"
            return Reply(429, b"", rate, kind="")
        reply = self._data(request, version, rest.strip("/").split("/"), tenant)
        reply.headers.update(rate)
        return reply

    def _rate(self, token: str) -> dict[str, str]:
        limit = self.emulator.rate_limit
        if limit is None:
            return {}
        minute = int(time.time() // 60)
        with self._lock:
            window, used = self._windows.get(token, (minute, 0))
            used = used + 1 if window == minute else 1
            self._windows[token] = (minute, used)
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(-1, limit - used)),
            "X-RateLimit-Reset": str(int((minute + 1) * 60 + self.emulator.skew)),
            "X-RateLimit-Bucket": "district-app",
        }

    def _tokens(self, request: Request) -> Reply:
        if request.method != "GET":
            return _oauth_error(400, "unsupported_grant_type", "Codes are exchanged elsewhere.")
        if not self.emulator.partner_knows(request.headers.get("authorization", "")):
            return _oauth_error(401, "invalid_client", "The client id or secret is wrong.")
        params = request.params()
        if params.get("owner_type") != "district":
            return _oauth_error(400, "invalid_request", "owner_type must be district.")
        data = [
            {
                "id": f"61{ids.clever_district(tenant.seed)[2:]}",
                "created": iso(tenant.district.population.epoch - 86_400 * 30 + tenant.turn),
                "owner": {"type": "district", "id": ids.clever_district(tenant.seed)},
                "access_token": tenant.token,
                "scopes": _SCOPES,
            }
            for tenant in self.emulator.discovered()
            if params.get("district") in (None, "", ids.clever_district(tenant.seed))
        ]
        uri = f"{self.prefix}/oauth/tokens?{request.query}"
        body = {"data": data, "links": [{"rel": "self", "uri": uri}]}
        return Reply(200, _encode(body), stream="discovery", page=1)

    def _data(self, request: Request, version: str, parts: list[str], tenant: Tenant) -> Reply:
        params = request.params()
        match parts:
            case ["districts"]:
                return self._all(
                    request,
                    version,
                    "districts",
                    [district_record(tenant.view, self.emulator.vendor_state)],
                )
            case ["districts", _] | ["users", _, "district"] | ["schools", _, "district"]:
                if parts[0] == "districts" and parts[1] != ids.clever_district(tenant.seed):
                    return _message(404, "Resource not found")
                return Reply(
                    200,
                    _encode({"data": district_record(tenant.view, self.emulator.vendor_state)}),
                    stream="districts",
                )
            case ["schools"]:
                rows = [school_record(s, tenant.view) for s in tenant.view.schools]
                return self._all(request, version, "schools", rows)
            case ["schools", school_id] | ["schools", school_id, "users"]:
                school = _school_by_id(tenant.view, school_id)
                if school is None:
                    return _message(404, "Resource not found")
                if len(parts) == 3:
                    return self._school_users(request, version, tenant, school, params)
                body = _encode({"data": school_record(school, tenant.view)})
                return Reply(200, body, stream="school")
            case ["users"]:
                return self._users(request, version, tenant, params)
            case ["users", user_id]:
                return self._user(version, tenant, user_id)
            case ["events"]:
                return self._events(request, version, tenant, params)
            case [collection] if collection in _OTHER_LISTS:
                return self._all(request, version, collection, [])
        return _html(404, "Page not found")

    # Lists.

    def _limit(self, params: Mapping[str, str]) -> int | Reply:
        text = params.get("limit", str(DEFAULT_LIMIT))
        if not text.isdecimal() or int(text) < 1:
            return _message(400, "limit must be a positive number")
        if int(text) > MAX_LIMIT:
            return _message(413, f"limit may not exceed {MAX_LIMIT}")
        return int(text)

    def _all(
        self, request: Request, version: str, stream: str, rows: list[dict[str, Any]]
    ) -> Reply:
        # A list so short that it is worked out each time; its paging is that of the users.
        params = request.params()
        limit = self._limit(params)
        if isinstance(limit, Reply):
            return limit
        start = 0
        if after := params.get("starting_after"):
            start = sum(1 for row in rows if row["id"] <= after)
        elif (before := params.get("ending_before")) and before != "last":
            start = max(0, sum(1 for row in rows if row["id"] < before) - limit)
        page = rows[start : start + limit]
        links = [self._link("self", version, stream, params)]
        if start + limit < len(rows):
            links.append(self._next(version, stream, params, page[-1]["id"]))
        if start and page:
            links.append(self._prev(version, stream, params, page[0]["id"]))
        body = {"data": [_entry(version, stream, row) for row in page], "links": links}
        return Reply(200, _encode(body), stream=stream, page=start // limit + 1, limit=limit)

    def _users(
        self, request: Request, version: str, tenant: Tenant, params: dict[str, str]
    ) -> Reply:
        limit = self._limit(params)
        if isinstance(limit, Reply):
            return limit
        role = params.get("role") or None
        if role is not None and role not in _ROLES:
            return _message(
                400, "role is not one of contact, district_admin, staff, student, teacher"
            )
        faults = self.emulator.faults
        slots, faulty = served_slots(
            tenant.view, faults, _ROLES[role] if role else None, leaving=False
        )
        start = 0
        if after := params.get("starting_after"):
            slot = ids.clever_slot(after)
            if slot is None:
                return _message(400, "starting_after is no id")
            start = position(slots, max(0, slot + 1))
        elif (before := params.get("ending_before")) is not None:
            slot = len(slots) if before == "last" else ids.clever_slot(before)
            if slot is None:
                return _message(400, "ending_before is no id")
            end = len(slots) if before == "last" else position(slots, max(0, slot))
            start = max(0, end - limit)
        found = page_of(slots, faults, "users", start, limit, faulty=faulty)
        foreign = faults.strike("foreign_link", "users", found.page)

        def make() -> bytes:
            view = tenant.view
            links = [self._link("self", version, "users", params)]
            if found.more and found.slots:
                last = ids.clever_user(found.slots[-1], tenant.seed)
                links.append(
                    self._next(version, "users", params, last, foreign=foreign is not None)
                )
            if start and found.slots:
                first = ids.clever_user(found.slots[0], tenant.seed)
                links.append(self._prev(version, "users", params, first))
            new = version == "v3.1"
            # Row by row: ten thousand records at once would keep the collector busy.
            rows = b",".join(
                _encode(_entry(version, "users", user_record(view.person(s), tenant.seed, new=new)))
                for s in found.slots
            )
            return b'{"data":[' + rows + b'],"links":' + _encode(links) + b"}"

        key = None
        if not found.faulty and foreign is None:
            key = (self.prefix, version, tenant.seed, tenant.day, role, start, limit, request.query)
        body = self.emulator.body(key, make)
        return Reply(200, body, stream="users", page=found.page, limit=limit)

    def _school_users(
        self,
        request: Request,
        version: str,
        tenant: Tenant,
        school: School,
        params: dict[str, str],
    ) -> Reply:
        role = params.get("role") or None
        if role is not None and role not in ("staff", "student", "teacher"):
            return _message(400, "role is not one of staff, student, teacher")
        primary = params.get("primary") == "true"
        rows = [
            user_record(person, tenant.seed, new=version == "v3.1")
            for person in tenant.view.people(role)
            if school.index in (person.schools[:1] if primary else person.schools)
        ]
        school_id = ids.clever_school(school.index, tenant.seed)
        return self._all(request, version, f"schools/{school_id}/users", rows)

    def _user(self, version: str, tenant: Tenant, user_id: str) -> Reply:
        slot = ids.clever_slot(user_id)
        view = tenant.view
        if slot is None or not view.has(slot) or ids.clever_user(slot, tenant.seed) != user_id:
            reply = _message(404, "Resource not found")
        else:
            record = user_record(view.person(slot), tenant.seed, new=version == "v3.1")
            reply = Reply(200, _encode({"data": record}))
        reply.stream = "user"
        return reply

    def _link(self, rel: str, version: str, path: str, params: Mapping[str, str]) -> dict[str, str]:
        query = f"?{urlencode(params)}" if params else ""
        return {"rel": rel, "uri": f"{self.prefix}/{version}/{path}{query}"}

    def _next(
        self,
        version: str,
        path: str,
        params: Mapping[str, str],
        last: str,
        *,
        foreign: bool = False,
    ) -> dict[str, str]:
        kept = {k: v for k, v in params.items() if k not in ("starting_after", "ending_before")}
        kept.setdefault("limit", str(DEFAULT_LIMIT))
        link = self._link("next", version, path, {**kept, "starting_after": last})
        if foreign:
            link["uri"] = "https://elsewhere.example" + link["uri"]
        return link

    def _prev(
        self, version: str, path: str, params: Mapping[str, str], first: str
    ) -> dict[str, str]:
        kept = {k: v for k, v in params.items() if k not in ("starting_after", "ending_before")}
        kept.setdefault("limit", str(DEFAULT_LIMIT))
        return self._link("prev", version, path, {**kept, "ending_before": first})

    # Events.

    def _event_views(self, tenant: Tenant) -> Iterator[DayView]:
        for day in range(max(1, tenant.day - EVENT_DAYS + 1), tenant.day + 1):
            yield tenant.district.view(day)

    def _events(
        self, request: Request, version: str, tenant: Tenant, params: dict[str, str]
    ) -> Reply:
        limit = self._limit(params)
        if isinstance(limit, Reply):
            return limit
        views = list(self._event_views(tenant)) if self.emulator.events else []
        places = [(view.day, seq) for view in views for seq in range(view.event_count())]
        if wanted := [v for k, v in _pairs(request) if k == "record_type"]:
            kept = []
            for day, seq in places:
                kind = tenant.district.view(day).event(seq).kind
                if ("schools" if kind == SCHOOL_UPDATED else "users") in wanted:
                    kept.append((day, seq))
            places = kept
        lost = self.emulator.faults.strike("lost_events", "events") is not None
        if lost:
            places = [place for place in places if place[1] % 2 == 0]
        start = 0
        if after := params.get("starting_after"):
            mark = ids.clever_event_place(after)
            if mark is None:
                return _message(400, "starting_after is no id")
            start = sum(1 for place in places if place <= mark)
        elif before := params.get("ending_before"):
            mark = ids.clever_event_place(before) if before != "last" else (1 << 62, 0)
            if mark is None:
                return _message(400, "ending_before is no id")
            start = max(0, sum(1 for place in places if place < mark) - limit)
        chosen = places[start : start + limit]

        def make() -> bytes:
            rows = [
                _entry(
                    version,
                    "events",
                    self._event(tenant, version, tenant.district.view(day).event(seq)),
                )
                for day, seq in chosen
            ]
            links = [self._link("self", version, "events", params)]
            if start + limit < len(places):
                links.append(self._next(version, "events", params, rows[-1]["data"]["id"]))
            return _encode({"data": rows, "links": links})

        key = None
        if not lost and self.emulator.events:
            key = (self.prefix, version, tenant.seed, tenant.day, "events", request.query)
        body = self.emulator.body(key, make)
        return Reply(200, body, stream="events", page=start // limit + 1, limit=limit)

    def _event(self, tenant: Tenant, version: str, event: RosterEvent) -> dict[str, Any]:
        now, before = tenant.district.view(event.day), tenant.district.view(event.day - 1)
        seed, new = tenant.seed, version == "v3.1"
        data: dict[str, Any]
        if event.kind == SCHOOL_UPDATED:
            kind = "schools.updated"
            data = {"object": school_record(now.schools[event.slot], now)}
            old = school_record(before.schools[event.slot], before)
            data["previous_attributes"] = previous_attributes(data["object"], old)
        elif event.kind == DELETED:
            kind = "users.deleted"
            data = {"object": user_record(before.person(event.slot), seed, new=new)}
        else:
            kind = "users.created" if event.kind == CREATED else "users.updated"
            data = {"object": user_record(now.person(event.slot), seed, new=new)}
            if event.kind == UPDATED:
                old = user_record(before.person(event.slot), seed, new=new)
                data["previous_attributes"] = previous_attributes(data["object"], old)
        return {
            "id": ids.clever_event(event.day, event.seq, seed),
            "type": kind,
            "created": iso(int(now.time.timestamp()) + min(event.seq, 3_000)),
            "data": data,
        }


def _pairs(request: Request) -> list[tuple[str, str]]:
    from urllib.parse import parse_qsl

    return parse_qsl(request.query, keep_blank_values=True)


def _entry(version: str, stream: str, record: dict[str, Any]) -> dict[str, Any]:
    # `uri` is relative to the API's host, without the place where the emulator is mounted.
    kind = "users" if stream.endswith("/users") else stream
    return {"data": record, "uri": f"/{version}/{kind}/{record['id']}"}


def _school_by_id(view: DayView, school_id: str) -> School | None:
    seed = view.district.seed
    return next((s for s in view.schools if ids.clever_school(s.index, seed) == school_id), None)


def _message(status: int, text: str) -> Reply:
    return Reply(status, _encode({"message": text}))


def _oauth_error(status: int, error: str, text: str) -> Reply:
    return Reply(status, _encode({"error": error, "error_description": text}), stream="discovery")


def _html(status: int, text: str) -> Reply:
    return Reply(status, f"<!doctype html><title>{text}</title>".encode(), kind="text/html")
