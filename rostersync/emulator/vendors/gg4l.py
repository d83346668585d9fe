"""GG4L School Passport: onboarding discovery, OAuth 2 for each district, OneRoster 1.1, events.

Facts: dev.gg4l.com (pagination, event types, onboarding API) and help.gg4l.com (oneroster-api,
data-api). Options of ``Emulator``: ``expires_in`` (7199), ``expiry_date`` (ISO date-time at which
the district's grant ends), ``completed_spelling`` (``Completed`` or ``Complete``: both are met),
``totals`` (True: send ``X-Total-Count``; nothing is known of it).
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlencode

import msgspec

from rostersync.emulator.district import ids
from rostersync.emulator.district.view import CREATED, DELETED, SCHOOL_UPDATED, DayView
from rostersync.emulator.server.desk import Desk, Tenant
from rostersync.emulator.server.grants import Grants, basic, form, refused
from rostersync.emulator.server.wire import Reply, Request
from rostersync.emulator.vendors.oneroster import origin_of
from rostersync.emulator.vendors.oneroster_records import Dialect, iso, org_records, user_record
from rostersync.emulator.vendors.oneroster_service import Service

_API = "/datahub/services/ims/oneroster/v1p1"
_TOKEN = "/datahub/oauth/token"  # noqa: S105  (a path)
_ONBOARDING = "/datahub/services/vendor/onboarding/credentials"
EVENT_DAYS = 30
MAX_LIMIT = 500
_encode = msgspec.json.encode


class Gg4l:
    """The GG4L side of an emulator, mounted at ``prefix``."""

    name = "gg4l"

    def __init__(self, emulator: Desk, prefix: str) -> None:
        self.emulator = emulator
        self.prefix = prefix
        dialect = Dialect(
            "gg4l",
            max_limit=MAX_LIMIT,
            absent="null",
            total="X-Total-Count" if emulator.options.get("totals") else None,
            links="bare",
            primary_marker=True,
        )
        self._service = Service(emulator, dialect)
        self.grants = Grants(self._now)

    def _now(self) -> float:
        return time.time() + self.emulator.skew

    def config(self, base_url: str, tenant: Tenant, vendor: str, mode: str) -> dict[str, Any]:
        """Return a connector config: ``district`` (default), or ``discovery`` for a partner."""
        if mode in ("", "district"):
            return {
                "token_url": base_url + _TOKEN,
                "api_url": base_url + _API,
                "client_id": client_id(tenant),
                "client_secret": tenant.secret("gg4l client"),
            }
        if mode == "discovery":
            return {
                "onboarding_url": base_url + _ONBOARDING,
                "onboarding_token_url": base_url + _TOKEN,
                "onboarding_client_id": self.emulator.partner_id,
                "onboarding_client_secret": self.emulator.partner_secret,
                "district_guid": ids.gg4l_guid(tenant.seed),
            }
        raise ValueError(f"GG4L has no way in called {mode!r}: district, discovery.")

    def reply(self, request: Request) -> Reply:
        """Answer one request, path below the prefix."""
        if request.path == _TOKEN:
            return self._token(request)
        grant = self.grants.find(request.headers.get("authorization", ""))
        if grant is not None and self.emulator.faults.strike("token_expired"):
            self.grants.forget()
            grant = None
        if request.path == _ONBOARDING:
            if grant is None or grant.owner is not None:
                return _refused("the partner's token is needed")
            return self._onboarding(request)
        if not request.path.startswith(_API + "/"):
            return Reply(404, b"<html>Not found</html>", kind="text/html")
        if grant is None or grant.owner is None:
            return _refused("the access token is not known or has expired")
        tenant = self.emulator.tenant_by(lambda t: client_id(t) == grant.client_id)
        if tenant is None:
            return _refused("the district has ended its grant")
        rest = request.path[len(_API) + 1 :]
        root = f"{origin_of(request, self.emulator)}{self.prefix}{_API}"
        if rest == "events":
            return self._events(request, tenant, root)
        return self._service.reply(request, rest, root, tenant)

    def _token(self, request: Request) -> Reply:
        if request.method != "POST":
            return refused(405, "invalid_request", "POST only")
        if form(request).get("grant_type") != "client_credentials":
            return refused(400, "unsupported_grant_type", "client_credentials only")
        pair = basic(request.headers.get("authorization", ""))
        owner: Tenant | None = None
        if pair != (self.emulator.partner_id, self.emulator.partner_secret):
            owner = self.emulator.tenant_by(
                lambda t: pair == (client_id(t), t.secret("gg4l client"))
            )
            if owner is None:
                return refused(401, "invalid_client", "client id or secret is wrong")
        seconds = self.emulator.options.get("expires_in", 7199)
        token = self.grants.give(owner, pair[0] if pair else "", frozenset(), seconds)
        body = {"access_token": token, "token_type": "bearer", "expires_in": seconds}
        return Reply(200, _encode(body), stream="token", page=1)

    def _onboarding(self, request: Request) -> Reply:
        origin = origin_of(request, self.emulator) + self.prefix
        spelling = self.emulator.options.get("completed_spelling", "Completed")
        completed = f"lastDataProcessing{spelling}Timestamp"
        rows = []
        for tenant in self.emulator.discovered():
            epoch = tenant.district.population.epoch
            rows.append(
                {
                    "districtName": tenant.district.name,
                    "clientId": client_id(tenant),
                    "clientSecret": tenant.secret("gg4l client"),
                    "createdTimestamp": iso(epoch - 60 * 86_400),
                    completed: iso(int(tenant.view.time.timestamp())),
                    "tokenUrl": origin + _TOKEN,
                    "apiUrl": origin + _API,
                    "districtGuid": ids.gg4l_guid(tenant.seed),
                    "expiryDate": self.emulator.options.get("expiry_date")
                    or iso(epoch + 3_650 * 86_400).replace("Z", "+00:00"),
                }
            )
        return Reply(200, _encode(rows), stream="discovery", page=1)

    def _events(self, request: Request, tenant: Tenant, root: str) -> Reply:
        params = request.params()
        limit, offset = params.get("limit", "100"), params.get("offset", "0")
        after, before = params.get("after", "0"), params.get("before", str(1 << 60))
        if not all(text.isdecimal() for text in (limit, offset, after, before)) or limit == "0":
            return self._service.error(400, "invaliddata", "limit, offset, after, before: numbers")
        most, start = min(int(limit), MAX_LIMIT), int(offset)
        places = [
            (view, seq)
            for view in self._event_views(tenant)
            if int(after) < _epoch_ms(view) < int(before)
            for seq in range(view.event_count())
        ]
        lost = self.emulator.faults.strike("lost_events", "events") is not None
        if lost:
            places = places[::2]

        def make() -> bytes:
            rows = [self._event(tenant, view, seq) for view, seq in places[start : start + most]]
            return _encode({"events": rows})

        key = None
        if not lost and self.emulator.events:
            key = (root, tenant.seed, tenant.day, "events", request.query)
        body = self.emulator.body(key, make)
        reply = Reply(200, body, stream="events", page=start // most + 1)
        if start + most < len(places):
            query = urlencode({**params, "limit": most, "offset": start + most})
            reply.headers["Link"] = f'{root}/events?{query}; rel="next"'
        return reply

    def _event_views(self, tenant: Tenant) -> list[DayView]:
        if not self.emulator.events:
            return []
        days = range(max(1, tenant.day - EVENT_DAYS + 1), tenant.day + 1)
        return [tenant.district.view(day) for day in days]

    def _event(self, tenant: Tenant, view: DayView, seq: int) -> dict[str, Any]:
        event = view.event(seq)
        action = {CREATED: "Created", DELETED: "Deleted"}.get(event.kind, "Updated")
        changes: dict[str, Any] | None = None
        if event.kind == SCHOOL_UPDATED:
            rows = org_records(view, self._service.dialect, district=False)
            entity, record = "School", rows[event.slot]
            changes = {"name": record["name"]}
        else:
            state = tenant.district.view(view.day - 1) if event.kind == DELETED else view
            person = state.person(event.slot)
            record = user_record(person, tenant.seed, self._service.dialect)
            entity = {"student": "Student", "teacher": "Teacher"}.get(person.roles[0], "User")
            if action == "Updated":
                old = user_record(
                    tenant.district.view(view.day - 1).person(event.slot),
                    tenant.seed,
                    self._service.dialect,
                )
                changes = {key: value for key, value in record.items() if old.get(key) != value}
        out: dict[str, Any] = {
            "sourcedId": record["sourcedId"],
            "eventType": f"{entity}.{action}",
            "timestamp": iso(_epoch_ms(view) // 1000),
            "object": record,
        }
        if changes is not None:
            out["changes"] = changes
        return out


def client_id(tenant: Tenant) -> str:
    """Return the OAuth 2 client id of a district."""
    return f"gg4l-{tenant.seed}"


def _epoch_ms(view: DayView) -> int:
    return int(view.time.timestamp()) * 1000


def _refused(text: str) -> Reply:
    return Reply(401, _encode({"error": "invalid_token", "error_description": text}))
