"""ClassLink Roster Server: discovery, the OneRoster proxy, and the direct way with OAuth 1.0a.

Facts: help.classlink.com (pp-access-rs-data, rs-data-best-practices), classlinkinc's request
libraries, and captures of the proxy published by code.org. Options of ``Emulator``:
``signature_methods`` (both HMAC-SHA256 and HMAC-SHA1).
"""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from rostersync.emulator.server.desk import Desk, Tenant
from rostersync.emulator.server.oauth1 import METHODS, Verifier
from rostersync.emulator.server.wire import Reply, Request
from rostersync.emulator.vendors.oneroster import origin_of
from rostersync.emulator.vendors.oneroster_records import Dialect
from rostersync.emulator.vendors.oneroster_service import Service

_ROOT = "/ims/oneroster/v1p1"
_encode = msgspec.json.encode


def application_id(tenant: Tenant) -> str:
    """Return a tenant's application id: escaped already, and not as a library would escape it."""
    return f"%2FgVa{tenant.seed:x}ed75Gs%43{tenant.seed % 10}"


def bearer(tenant: Tenant) -> str:
    """Return the static bearer of a tenant's application, a UUID."""
    return str(UUID(tenant.secret("classlink bearer", 16)))


def consumer_key(tenant: Tenant) -> str:
    """Return the OAuth 1.0a consumer key of a tenant's roster server."""
    return f"cl{tenant.seed}"


class ClassLink:
    """The ClassLink side of an emulator, mounted at ``prefix``."""

    name = "classlink"

    def __init__(self, emulator: Desk, prefix: str) -> None:
        self.emulator = emulator
        self.prefix = prefix
        dialect = Dialect(
            "classlink",
            absent="",
            total="x-total-count",
            count="x-count",
            wrapped_errors=True,
        )
        self._service = Service(emulator, dialect, self._headers)
        self._oauth1 = Verifier(
            self._consumer_secret, self._now, emulator.options.get("signature_methods", METHODS)
        )

    def _now(self) -> float:
        return time.time() + self.emulator.skew

    @property
    def api_key(self) -> str:
        """The partner's API key."""
        return self.emulator.partner_secret

    def config(self, base_url: str, tenant: Tenant, vendor: str, mode: str) -> dict[str, Any]:
        """Return a connector config: ``proxy`` (default), ``direct``, ``discovery``, ``server``."""
        match mode or "proxy":
            case "proxy":
                return {
                    "base_url": base_url,
                    "application_id": application_id(tenant),
                    "bearer": bearer(tenant),
                }
            case "direct":
                return {
                    "base_url": f"{base_url}/direct",
                    "consumer_key": consumer_key(tenant),
                    "consumer_secret": tenant.secret("classlink consumer"),
                    "signature_method": "HMAC-SHA256",
                }
            case "discovery":
                return {
                    "base_url": base_url,
                    "api_key": self.api_key,
                    "tenant_id": str(tenant_id(tenant)),
                }
            case "server":
                return {**self.config(base_url, tenant, vendor, "discovery"), "direct": True}
        raise ValueError(
            f"ClassLink has no way in called {mode!r}: proxy, direct, discovery, server."
        )

    def reply(self, request: Request) -> Reply:
        """Answer one request, path below the prefix: as it came, nothing unescaped."""
        if request.path.startswith("/applications"):
            return self._discovery(request)
        if request.path.startswith(f"/direct{_ROOT}/"):
            return self._direct(request)
        path = request.path.removeprefix("/proxy/v1p0")
        escaped, root, rest = path[1:].partition(_ROOT + "/")
        if not root:
            return self._service.error(404, "unknownobject", "no such path")
        # Verbatim: an id that was unescaped or escaped anew is another id.
        tenant = next((t for t in self.emulator.tenants if application_id(t) == escaped), None)
        if tenant is None:
            return self._service.error(404, "unknownobject", "no such application")
        token = request.headers.get("authorization", "").partition(" ")[2]
        opened = self.emulator.tenant_by(lambda t: t is tenant and bearer(t) == token)
        if opened is None:
            return self._service.error(401, "unauthorisedrequest", "not authorised")
        place = f"{origin_of(request, self.emulator)}{self.prefix}/{escaped}{_ROOT}"
        return self._service.reply(request, rest, place, opened)

    def _direct(self, request: Request) -> Reply:
        signed = Request(request.method, self.prefix + request.path, request.query, request.headers)
        host = origin_of(request, self.emulator)
        refusal = self._oauth1.refusal(signed, host)
        if refusal is not None:
            return self._service.error(401, "unauthorisedrequest", refusal)
        header = request.headers["authorization"]
        opened = self.emulator.tenant_by(lambda t: f'"{consumer_key(t)}"' in header)
        if opened is None:
            return self._service.error(401, "unauthorisedrequest", "not authorised")
        rest = request.path.removeprefix(f"/direct{_ROOT}/")
        return self._service.reply(request, rest, f"{host}{self.prefix}/direct{_ROOT}", opened)

    def _consumer_secret(self, key: str) -> str | None:
        tenant = next((t for t in self.emulator.tenants if consumer_key(t) == key), None)
        return tenant.secret("classlink consumer") if tenant is not None else None

    def _headers(self, tenant: Tenant, stream: str, page: int) -> dict[str, str]:
        turned = self.emulator.faults.strike("revision_changes", stream, page, onward=True)
        # The revision is one of permissions too: a role that is no longer shared moves it.
        faults = self.emulator.faults
        shared = "".join(name for name in ("empty_role", "empty_users") if faults.get(name))
        text = f"revision {tenant.seed} {tenant.day}{' changed' if turned else ''}{shared}"
        return {
            "x-perm-rev": blake2b(text.encode(), digest_size=8).hexdigest(),
            "x-page-generation-time-ms": "12",
        }

    def _discovery(self, request: Request) -> Reply:
        token = request.headers.get("authorization", "").partition(" ")[2]
        if token != self.api_key:
            reply = self._service.error(401, "unauthorisedrequest", "the API key is not known")
            reply.stream = "discovery"
            return reply
        rest = request.path.removeprefix("/applications").strip("/")
        if rest:
            return self._server(request, rest)
        params = request.params()
        limit, offset = params.get("limit", "10000"), params.get("offset", "0")
        if not limit.isdecimal() or not offset.isdecimal():
            return self._service.error(400, "invaliddata", "limit and offset are numbers")
        rows = self._applications()[int(offset) : int(offset) + min(10_000, int(limit))]
        body = _encode({"status": 1, "applications": rows})
        page = int(offset) // max(1, int(limit)) + 1
        return Reply(200, body, stream="discovery", page=page)

    def _applications(self) -> list[dict[str, Any]]:
        rows = [
            {
                "id": 10_000 + tenant.seed,
                "application_id": 60_000 + tenant.seed,
                "tenant_id": tenant_id(tenant),
                "bearer": bearer(tenant),
                "tenant_name": tenant.district.name,
                "enabled": "true",
                "tenant_status": "Active",
                "oneroster_application_id": application_id(tenant),
                "name": "Emulated App",
                "version": "",
            }
            for tenant in self.emulator.discovered()
        ]
        if rows:
            # What a client must pass over: an application switched off, a tenant not active.
            off = {"id": 1, "tenant_id": 91, "tenant_name": "Switched Off USD", "enabled": "false"}
            asleep = {"id": 2, "tenant_id": 92, "tenant_name": "Asleep USD"}
            rows += [
                {**rows[0], **off, "bearer": None, "oneroster_application_id": "%2Foff"},
                {
                    **rows[0],
                    **asleep,
                    "tenant_status": "Inactive",
                    "oneroster_application_id": "%2Fasleep",
                },
            ]
        return rows

    def _server(self, request: Request, rest: str) -> Reply:
        escaped, _, tail = rest.rpartition("/")
        listed = self.emulator.discovered()
        tenant = next((t for t in listed if application_id(t) == escaped), None)
        if tail != "server" or tenant is None:
            return self._service.error(404, "unknownobject", "no such application")
        place = f"{origin_of(request, self.emulator)}{self.prefix}/direct"
        server = {
            "client_id": consumer_key(tenant),
            "client_secret": tenant.secret("classlink consumer"),
            "endpoint_url": place,
        }
        body = _encode({"status": 1, "server": server, "message": ""})
        return Reply(200, body, stream="discovery", page=1)


def tenant_id(tenant: Tenant) -> int:
    """Return a tenant's number at ClassLink."""
    return 2_000 + tenant.seed
