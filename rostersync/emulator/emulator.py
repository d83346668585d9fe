"""The emulator: one district (and some neighbours) served as a vendor would, over real HTTP.

One file, because it is one class: what a test may set, and what vendors may ask.
"""

from __future__ import annotations

import gzip
import hmac
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from core.steps import log_of, note
from rostersync.emulator.district.generator import District
from rostersync.emulator.server.desk import Tenant
from rostersync.emulator.server.faults import FAULTS, Fault, FaultBox
from rostersync.emulator.server.grants import basic
from rostersync.emulator.server.wire import Reply, Request, Spool, Stored, WireServer
from rostersync.emulator.vendors.classlink import ClassLink
from rostersync.emulator.vendors.clever import Clever
from rostersync.emulator.vendors.gg4l import Gg4l
from rostersync.emulator.vendors.oneroster import OneRoster

log = log_of(__name__)

VENDORS: tuple[str, ...] = ("clever", "clever31", "classlink", "gg4l", "oneroster", "oneroster12")
"""What ``Emulator(vendor=...)`` takes, besides ``all``."""
SITES: dict[str, str] = {
    "clever": "clever",
    "clever31": "clever",
    "classlink": "classlink",
    "gg4l": "gg4l",
    "oneroster": "oneroster",
    "oneroster12": "oneroster",
}
_CONTROL = "/_emulator/"


class Site(Protocol):
    """One vendor's side of the emulator, mounted at a prefix."""

    name: str

    def reply(self, request: Request) -> Reply:
        """Answer one request, its path below the prefix."""
        ...

    def config(self, base_url: str, tenant: Tenant, vendor: str, mode: str) -> dict[str, Any]:
        """Return a connector config for a tenant, with its secrets in clear."""
        ...


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as it was answered. No header is kept, and so no secret."""

    method: str
    path: str
    status: int
    stream: str
    page: int
    bytes: int


class Emulator:
    """Serves a district on loopback. A context manager; ``base_url`` is known once entered.

    ``vendor`` is one of ``VENDORS``, served at the root of its own port, or ``all``: every vendor
    on one port, under /clever, /classlink, /gg4l and /oneroster. ``neighbours`` are small further
    districts that discovery lists and that have their own credentials. ``rate_limit`` is Clever's
    requests a minute for each token, None for none. ``events`` switches the feeds of changes on.
    ``keep_bodies`` keeps each page's bytes in a temporary file, so that it is made only once;
    ``bodies_in_memory`` keeps them in memory instead, for measuring clients. ``options`` go to the
    vendor (see the vendor's module).
    """

    def __init__(
        self,
        district: District,
        vendor: str = "clever",
        *,
        day: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        neighbours: int = 1,
        rate_limit: int | None = 1200,
        events: bool = True,
        keep_bodies: bool = True,
        bodies_in_memory: bool = False,
        **options: Any,
    ) -> None:
        if vendor != "all" and vendor not in VENDORS:
            raise ValueError(f"No vendor {vendor!r}: all, {', '.join(VENDORS)}.")
        self.vendor = vendor
        self.district = district
        self.rate_limit = rate_limit
        self.events = events
        self.vendor_state: str | None = None
        self.faults = FaultBox()
        self.requests: list[Logged] = []
        self.options = options
        self.tenants = [Tenant(self, district, main=True)]
        for number in range(neighbours):
            self.add_district(
                District(
                    seed=district.seed + 1_000 + number,
                    users=60,
                    name=f"Neighbour {number + 1} USD",
                    domain=f"neighbour{number + 1}.example",
                )
            )
        self._host, self._port = host, port
        self._keep = keep_bodies
        self._in_memory = bodies_in_memory
        self._server: WireServer | None = None
        self._spool: Spool | None = None
        self._bodies: dict[object, Stored] = {}
        self._making = threading.Lock()
        self._day = 0
        self.day = day
        names = dict.fromkeys(SITES.values()) if vendor == "all" else [SITES[vendor]]
        self._sites: dict[str, Site] = {
            name: _SITE_TYPES[name](self, f"/{name}" if vendor == "all" else "") for name in names
        }

    # Life.

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to serve. ``OSError`` if the port is taken."""
        self._spool = Spool(in_memory=self._in_memory)
        self._server = WireServer((self._host, self._port), self._answer)
        self._server.skew = self.skew
        self._server.start()

    def stop(self) -> None:
        """Close all connections and stop."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        if self._spool is not None:
            self._bodies.clear()
            self._spool.close()
            self._spool = None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        if self._server is None:
            raise RuntimeError("The emulator is not serving: use it in a `with` statement.")
        host, port = self._server.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}"

    @property
    def base_url(self) -> str:
        """The base URL that the connector of this vendor is configured with."""
        return str(self.config()["base_url" if self.vendor != "gg4l" else "api_url"])

    def config(self, mode: str = "", *, vendor: str | None = None) -> dict[str, Any]:
        """Return a ready connector config of the main district, its secrets in clear.

        ``mode`` chooses among the vendor's ways in: Clever ``token`` or ``lookup``; ClassLink
        ``proxy``, ``direct``, ``discovery`` or ``server``; GG4L ``district`` or ``discovery``;
        OneRoster ``oauth2``, ``oauth1`` or ``bearer``. The first is the default.
        """
        vendor = vendor or self.vendor
        if vendor == "all":
            raise ValueError("Name the vendor whose config is meant.")
        site = self._sites[SITES[vendor]]
        prefix = f"/{site.name}" if self.vendor == "all" else ""
        return site.config(self.origin + prefix, self.tenants[0], vendor, mode)

    # Time and faults.

    @property
    def day(self) -> int:
        """The scripted day that is served; set it to move on (or back)."""
        return self._day

    @day.setter
    def day(self, day: int) -> None:
        self.district.view(day)
        self._day = day

    @property
    def skew(self) -> float:
        """How many seconds the vendor's clock is fast."""
        fault = self.faults.get("clock_skew")
        return fault.amount if fault is not None else 0.0

    def fail(
        self,
        name: str,
        *,
        stream: str | None = None,
        page: int | None = None,
        times: int | None = None,
        amount: float | None = None,
        role: str | None = None,
    ) -> Fault:
        """Put a fault in force. ``ValueError`` if there is no such fault, or not at this vendor.

        ``stream`` (``users``, ``schools``, ``events``, ``discovery``, ``token``, ``user``) and
        ``page`` (from 1) say where it strikes, ``times`` how often.
        """
        if name == "token_expired":
            times = times or 1  # for ever would be token_revoked
        given = FAULTS[name].amount if amount is None and name in FAULTS else amount or 0.0
        fault = Fault(name, stream, page, times, given, role)
        self.faults.add(fault, None if self.vendor == "all" else self.vendor.removesuffix("31"))
        if self._server is not None:
            self._server.skew = self.skew
        return fault

    def heal(self) -> None:
        """End every fault."""
        self.faults.clear()
        if self._server is not None:
            self._server.skew = 0.0

    def rotate(self) -> None:
        """Give the main district new credentials; the old ones are refused from now on."""
        self.tenants[0].turn += 1
        for site in self._sites.values():
            if isinstance(site, OneRoster | Gg4l):
                site.grants.forget()

    def add_district(self, district: District) -> Tenant:
        """Let another district share with the application."""
        tenant = Tenant(self, district, main=False)
        self.tenants.append(tenant)
        return tenant

    def counts(self) -> Counter[str]:
        """Return how many requests each stream had."""
        return Counter(logged.stream or "other" for logged in self.requests)

    # What the vendors' sites ask.

    def tenant_of(self, token: str) -> Tenant | None:
        """Return the district that a Clever token opens, None for a token that opens none."""
        return self.tenant_by(lambda tenant: hmac.compare_digest(tenant.token, token))

    def tenant_by(self, fits: Callable[[Tenant], bool]) -> Tenant | None:
        """Return the district whose credentials fit, as the faults of accounts leave it."""
        tenant = next((tenant for tenant in self.tenants if fits(tenant)), None)
        if tenant is None or not tenant.main:
            return tenant
        if self.faults.strike("token_revoked") or self.faults.get("district_vanished"):
            return None
        if self.faults.strike("token_swapped"):
            return self.swapped()
        return tenant

    def swapped(self) -> Tenant:
        """Return the district that answers in the main one's place."""
        if len(self.tenants) < 2:
            raise ValueError("token_swapped needs a neighbour.")
        return self.tenants[1]

    def discovered(self) -> list[Tenant]:
        """Return the districts that discovery lists."""
        if self.faults.get("discovery_empty"):
            return []
        gone = self.faults.get("district_vanished") is not None
        return [tenant for tenant in self.tenants if not (tenant.main and gone)]

    @property
    def partner_id(self) -> str:
        """The partner's client id (or, at ClassLink, what its API key is made from)."""
        return blake2b(b"partner id", digest_size=10).hexdigest()

    @property
    def partner_secret(self) -> str:
        """The partner's client secret, or API key."""
        return blake2b(b"partner secret", digest_size=20).hexdigest()

    def partner_knows(self, authorization: str) -> bool:
        """Return whether a Basic header holds the partner's client id and secret."""
        pair = basic(authorization)
        return pair == (self.partner_id, self.partner_secret)

    def body(self, key: object, make: Callable[[], bytes]) -> bytes | Stored:
        """Return a body, from the spool if it was made before. Key None: not kept."""
        if key is None or not self._keep or self._spool is None:
            return make()
        found = self._bodies.get(key)
        if found is None:
            with self._making:
                found = self._bodies.get(key)
                if found is None:
                    found = self._bodies[key] = self._spool.put(make())
        return found

    # Answering.

    def _answer(self, request: Request) -> Reply:
        if request.path.startswith(_CONTROL) and self.vendor == "all":
            return self._control(request)
        if self.vendor == "all":
            site = self._sites.get(request.path.split("/", 2)[1])
            prefix = f"/{site.name}" if site is not None else ""
        else:
            site, prefix = self._sites[SITES[self.vendor]], ""
        if site is None:
            reply = Reply(404, b'{"message":"no vendor lives here"}')
        else:
            reply = self._strike(site.reply(request.below(prefix) if prefix else request))
        note(log, "answer request", stream=reply.stream or None, http_status=reply.status)
        path = request.path + (f"?{request.query}" if request.query else "")
        self.requests.append(
            Logged(request.method, path, reply.status, reply.stream, reply.page, len(reply.body))
        )
        return reply

    def _strike(self, reply: Reply) -> Reply:
        """Put the faults of the transport on an answer."""
        for name, kind in FAULTS.items():
            if not kind.transport or (fault := self.faults.get(name)) is None:
                continue
            if name == "bad_gateway" and fault.amount and reply.limit <= fault.amount:
                continue
            if name == "token_revoked" and fault.stream is None:
                continue  # the vendor's own check has seen to it
            onward = name == "token_revoked"
            struck = self.faults.strike(name, reply.stream, reply.page, onward=onward)
            if struck is not None:
                return _spoil(reply, struck)
        return reply

    def _control(self, request: Request) -> Reply:
        """Answer the emulator's own door: GET status, POST day, fault, heal, rotate."""
        what = request.path.removeprefix(_CONTROL)
        try:
            asked = msgspec.json.decode(request.body) if request.body else {}
            match request.method, what:
                case "GET", "status":
                    pass
                case "GET", "requests":
                    rows = [msgspec.to_builtins(r) for r in self.requests[-1000:]]
                    return Reply(200, msgspec.json.encode(rows))
                case "POST", "day":
                    self.day = int(asked["day"])
                case "POST", "fault":
                    self.fail(**asked)
                case "POST", "heal":
                    self.heal()
                case "POST", "rotate":
                    self.rotate()
                case _:
                    return Reply(
                        404, b'{"message":"GET status, requests; POST day, fault, heal, rotate"}'
                    )
        except (ValueError, TypeError, KeyError) as error:
            return Reply(400, msgspec.json.encode({"message": str(error)}))
        status = {
            "day": self.day,
            "last_day": self.district.last_day,
            "users": len(self.district.view(self.day).slots()),
            "requests": dict(self.counts()),
        }
        return Reply(200, msgspec.json.encode(status))


_GATEWAY = b"<html><body>502 Bad Gateway</body></html>"
_MAINTENANCE = (
    b"<!doctype html><html><head><title>Sign in</title></head>"
    b"<body><h1>We will be right back</h1></body></html>"
)


def _spoil(reply: Reply, fault: Fault) -> Reply:
    """Return the answer as a fault of the transport leaves it."""
    wait = {"Retry-After": f"{fault.amount:g}"}
    html = "text/html; charset=utf-8"
    match fault.name:
        case "rate_limited":
            return replace(reply, status=429, body=_error("Too many requests"), headers=wait)
        case "rate_limited_empty":
            reset = str(int(time.time() + fault.amount))
            spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
            return replace(reply, status=429, body=b"", headers=wait | spent, kind="")
        case "server_error":
            return replace(reply, status=500, body=_error("Internal error"), headers={})
        case "forbidden":
            return replace(reply, status=403, body=_error("Not shared"), headers={})
        case "token_revoked":
            return replace(reply, status=401, body=_error("Not authorised"), headers={})
        case "bad_gateway":
            return replace(reply, status=502, body=_GATEWAY, headers={}, kind=html)
        case "html_503":
            return replace(reply, status=503, body=_MAINTENANCE, headers={}, kind=html)
        case "html_200":
            return replace(reply, status=200, body=_MAINTENANCE, headers={}, kind=html)
        case "timeout":
            return replace(reply, status=0, hang=max(fault.amount, 0.001))
        case "reset":
            return replace(reply, status=0, cut=-1)
    body = reply.body.read() if isinstance(reply.body, Stored) else reply.body
    match fault.name:
        case "cut_off":
            reply.cut = len(body) // 2
        case "truncated_json":
            reply.body = body[: len(body) // 2]
        case "gzip_broken":
            packed = gzip.compress(body)
            # The last eight bytes are the checksum and the length.
            reply.body = packed[:-8] + bytes(byte ^ 0x5A for byte in packed[-8:])
            reply.headers["Content-Encoding"] = "gzip"
        case "gzip_cut":
            packed = gzip.compress(body)
            reply.body = packed[: len(packed) // 2]
            reply.headers["Content-Encoding"] = "gzip"
    return reply


def _error(text: str) -> bytes:
    return msgspec.json.encode({"message": text})


_SITE_TYPES: dict[str, Callable[[Emulator, str], Site]] = {
    "clever": Clever,
    "classlink": ClassLink,
    "gg4l": Gg4l,
    "oneroster": OneRoster,
}
