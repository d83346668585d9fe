"""The desk: what a vendor's side of the emulator may ask of the program that serves it.

``rostersync/emulator/emulator.py`` is the one desk; vendors know only what stands here.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Protocol

from rostersync.emulator.district.generator import District
from rostersync.emulator.district.view import DayView
from rostersync.emulator.server.faults import FaultBox
from rostersync.emulator.server.wire import Stored


class Desk(Protocol):
    """The districts, credentials, faults and clock that a vendor's answers depend on."""

    faults: FaultBox
    options: dict[str, Any]
    tenants: list[Tenant]
    rate_limit: int | None
    events: bool
    vendor_state: str | None

    @property
    def day(self) -> int:
        """The scripted day that is served."""
        ...

    @property
    def skew(self) -> float:
        """How many seconds the vendor's clock is fast."""
        ...

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        ...

    @property
    def partner_id(self) -> str:
        """The partner's client id."""
        ...

    @property
    def partner_secret(self) -> str:
        """The partner's client secret, or API key."""
        ...

    def partner_knows(self, authorization: str) -> bool:
        """Return whether a Basic header holds the partner's client id and secret."""
        ...

    def tenant_of(self, token: str) -> Tenant | None:
        """Return the district that a Clever token opens, None for a token that opens none."""
        ...

    def tenant_by(self, fits: Callable[[Tenant], bool]) -> Tenant | None:
        """Return the district whose credentials fit, as the faults of accounts leave it."""
        ...

    def discovered(self) -> list[Tenant]:
        """Return the districts that discovery lists."""
        ...

    def body(self, key: object, make: Callable[[], bytes]) -> bytes | Stored:
        """Return a body, from the spool if it was made before. Key None: not kept."""
        ...


class Tenant:
    """One district at the vendor, with the credentials that open it."""

    def __init__(self, desk: Desk, district: District, *, main: bool) -> None:
        self.district = district
        self.seed = district.seed
        self.main = main
        self.turn = 0
        self._desk = desk

    @property
    def day(self) -> int:
        """The day that is served; the neighbours stay at day 0."""
        return self._desk.day if self.main else 0

    @property
    def view(self) -> DayView:
        """The district on that day."""
        return self.district.view(self.day)

    def secret(self, use: str, size: int = 20) -> str:
        """Return one of the tenant's (made-up) secrets in hex; another one after a rotation."""
        text = f"{use} {self.seed} {self.turn}".encode()
        return blake2b(text, digest_size=size).hexdigest()

    @property
    def token(self) -> str:
        """The bearer token of a Clever district app: 40 hex digits."""
        return self.secret("clever token")
