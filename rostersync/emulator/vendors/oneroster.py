"""A plain OneRoster server: 1.1 (OAuth 1.0a, OAuth 2 or a static bearer) and 1.2 (OAuth 2).

Facts: the OneRoster 1.1 and 1.2 rostering documents; the scopes are those of their OpenAPI files.
Options of ``Emulator``: ``expires_in`` (3600; None leaves it out of the token's answer),
``credentials`` (``both``, ``basic`` or ``body``: how the client may name itself), ``totals`` and
``links`` (True: send ``X-Total-Count`` and ``Link``), ``max_limit`` (10000: a silent cap),
``signature_methods`` (both).
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from rostersync.emulator.server.desk import Desk, Tenant
from rostersync.emulator.server.grants import Grants, basic, form, refused
from rostersync.emulator.server.oauth1 import METHODS, Verifier
from rostersync.emulator.server.wire import Reply, Request
from rostersync.emulator.vendors.oneroster_records import Dialect
from rostersync.emulator.vendors.oneroster_service import Service

ROOTS = {"/ims/oneroster/v1p1": False, "/ims/oneroster/rostering/v1p2": True}
SCOPE = "https://purl.imsglobal.org/spec/or/{}/scope/{}"


def scope(name: str, *, two: bool) -> str:
    """Return a scope's URI, ``name`` being ``roster-core.readonly`` or ``roster.readonly``."""
    return SCOPE.format("v1p2" if two else "v1p1", name)


class OneRoster:
    """The plain OneRoster side of an emulator, mounted at ``prefix``."""

    name = "oneroster"

    def __init__(self, emulator: Desk, prefix: str) -> None:
        self.emulator = emulator
        self.prefix = prefix
        options = emulator.options
        total = "X-Total-Count" if options.get("totals", True) else None
        most = int(options.get("max_limit", 10_000))
        self._services = {
            two: Service(
                emulator,
                Dialect(
                    "oneroster",
                    two=two,
                    max_limit=most,
                    total=total,
                    links="angle" if options.get("links", True) else None,
                ),
            )
            for two in (False, True)
        }
        self.grants = Grants(self._now)
        self._oauth1 = Verifier(
            self._consumer_secret, self._now, options.get("signature_methods", METHODS)
        )

    def _now(self) -> float:
        return time.time() + self.emulator.skew

    def config(self, base_url: str, tenant: Tenant, vendor: str, mode: str) -> dict[str, Any]:
        """Return a connector config: ``oauth2`` (default), ``oauth1`` or ``bearer``."""
        two = vendor == "oneroster12"
        root = next(root for root, is_two in ROOTS.items() if is_two == two)
        out: dict[str, Any] = {"base_url": base_url + root, "auth": mode or "oauth2"}
        match out["auth"]:
            case "oauth2":
                return out | {
                    "token_url": f"{base_url}/oauth2/token",
                    "client_id": client_id(tenant),
                    "client_secret": tenant.secret("oneroster client"),
                    "scope": scope("roster-core.readonly", two=two),
                }
            case "oauth1" if not two:
                return out | {
                    "consumer_key": consumer_key(tenant),
                    "consumer_secret": tenant.secret("oneroster consumer"),
                    "signature_method": "HMAC-SHA256",
                }
            case "bearer" if not two:
                return out | {"bearer": tenant.secret("oneroster bearer")}
        raise ValueError(f"No way in called {mode!r} here: oauth2; with 1.1 also oauth1, bearer.")

    def reply(self, request: Request) -> Reply:
        """Answer one request, path below the prefix."""
        if request.path == "/oauth2/token":
            return self._token(request)
        for root, two in ROOTS.items():
            if request.path.startswith(root + "/"):
                service = self._services[two]
                rest = request.path[len(root) + 1 :]
                tenant = self._tenant(request, rest, service, two=two)
                if isinstance(tenant, Reply):
                    return tenant
                origin = origin_of(request, self.emulator) + self.prefix + root
                return service.reply(request, rest, origin, tenant)
        return Reply(404, b"<html>Not found</html>", kind="text/html")

    def _tenant(
        self, request: Request, rest: str, service: Service, *, two: bool
    ) -> Tenant | Reply:
        authorization = request.headers.get("authorization", "")
        tenant: Tenant | None = None
        if authorization.lower().startswith("oauth ") and not two:
            signed = Request(
                request.method, self.prefix + request.path, request.query, request.headers
            )
            refusal = self._oauth1.refusal(signed, origin_of(request, self.emulator))
            if refusal is not None:
                return service.error(401, "unauthorisedrequest", refusal)
            tenant = self.emulator.tenant_by(lambda t: f'"{consumer_key(t)}"' in authorization)
        elif (grant := self.grants.find(authorization)) is not None:
            if self.emulator.faults.strike("token_expired"):
                self.grants.forget()
                return service.error(401, "unauthorisedrequest", "the token has expired")
            core = rest.count("/") <= 1  # a collection or a single record
            wanted = {scope("roster.readonly", two=two)}
            if core:
                wanted.add(scope("roster-core.readonly", two=two))
            if not grant.scopes & wanted:
                return service.error(403, "forbidden", "the scope is missing")
            tenant = self.emulator.tenant_by(lambda t: client_id(t) == grant.client_id)
        elif not two:
            token = authorization.partition(" ")[2]
            tenant = self.emulator.tenant_by(lambda t: t.secret("oneroster bearer") == token)
        return tenant or service.error(401, "unauthorisedrequest", "not authorised")

    def _consumer_secret(self, key: str) -> str | None:
        tenant = next((t for t in self.emulator.tenants if consumer_key(t) == key), None)
        return tenant.secret("oneroster consumer") if tenant is not None else None

    def _token(self, request: Request) -> Reply:
        if request.method != "POST":
            return refused(405, "invalid_request", "POST only")
        fields = form(request)
        allowed = self.emulator.options.get("credentials", "both")
        pair = basic(request.headers.get("authorization", "")) if allowed != "body" else None
        if pair is None and allowed != "basic":
            pair = (fields.get("client_id", ""), fields.get("client_secret", ""))
        if fields.get("grant_type") != "client_credentials":
            return refused(400, "unsupported_grant_type", "client_credentials only")
        tenant = self.emulator.tenant_by(
            lambda t: pair == (client_id(t), t.secret("oneroster client"))
        )
        if tenant is None or pair is None:
            return refused(401, "invalid_client", "client id or secret is wrong")
        known = {
            scope(name, two=two)
            for two in (False, True)
            for name in ("roster-core.readonly", "roster.readonly")
        }
        asked = frozenset(fields.get("scope", "").split())
        if not asked or not asked & known:
            return refused(400, "invalid_scope", "a scope of the roster service is needed")
        seconds = self.emulator.options.get("expires_in", 3600)
        token = self.grants.give(tenant, pair[0], asked & known, seconds or 3600)
        body: dict[str, Any] = {
            "access_token": token,
            "token_type": "bearer",
            "scope": " ".join(sorted(asked & known)),
        }
        if seconds is not None:
            body["expires_in"] = seconds
        return Reply(200, msgspec.json.encode(body), stream="token", page=1)


def client_id(tenant: Tenant) -> str:
    """Return the OAuth 2 client id of a district."""
    return f"client-{tenant.seed}"


def consumer_key(tenant: Tenant) -> str:
    """Return the OAuth 1.0a consumer key of a district."""
    return f"key-{tenant.seed}"


def origin_of(request: Request, emulator: Desk) -> str:
    """Return scheme and host as the client named them."""
    host = request.headers.get("host") or urlsplit(emulator.origin).netloc
    return f"http://{host}"
