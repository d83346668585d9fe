"""What can go wrong at a vendor, by name, and where it strikes.

``emulator.fail("server_error", stream="users", page=2, times=1)`` answers one request for the
second page of users with 500. A fault without ``times`` strikes until ``emulator.heal()``.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from rostersync.emulator.district.people import ROLE_MASKS

_TOTALS = frozenset({"classlink", "oneroster", "oneroster12"})
_DISCOVERY = frozenset({"clever", "classlink", "gg4l"})
_EVENTS = frozenset({"clever", "gg4l"})


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault: what it does, what ``amount`` means, and which vendors can have it."""

    does: str
    amount: float = 0.0
    vendors: frozenset[str] | None = None
    transport: bool = False


FAULTS: dict[str, FaultKind] = {
    "rate_limited": FaultKind("429 with a body; amount: seconds in Retry-After", 1, transport=True),
    "rate_limited_empty": FaultKind(
        "429 with no body; amount: seconds in Retry-After and X-RateLimit-Reset", 1, transport=True
    ),
    "server_error": FaultKind("500 with the vendor's error body", transport=True),
    "bad_gateway": FaultKind(
        "502 with an HTML body; amount: only for pages of more than so many records",
        transport=True,
    ),
    "html_503": FaultKind("503 with an HTML maintenance page", transport=True),
    "html_200": FaultKind("200 with an HTML log-in page", transport=True),
    "timeout": FaultKind("no answer at all for amount seconds", 3600, transport=True),
    "reset": FaultKind("the connection is reset before the answer", transport=True),
    "cut_off": FaultKind("the connection is reset in the middle of the body", transport=True),
    "truncated_json": FaultKind(
        "200, and the JSON ends half way although the length fits", transport=True
    ),
    "gzip_broken": FaultKind("200, gzip, and the checksum is wrong", transport=True),
    "gzip_cut": FaultKind(
        "200, gzip, and it ends half way although the length fits", transport=True
    ),
    "early_last_page": FaultKind("the page says that it is the last one, and it is not"),
    "endless_paging": FaultKind("the page is served again and again, always with a next one"),
    "shifting_pages": FaultKind(
        "from this page on amount records are passed over (negative: served again)", 1
    ),
    "foreign_link": FaultKind(
        "the link to the next page names another host",
        vendors=frozenset({"clever", "gg4l", "oneroster", "oneroster12"}),
    ),
    "empty_role": FaultKind("people who have only the role `role` are not served"),
    "empty_users": FaultKind("the list of users is served, and empty"),
    "wrong_total": FaultKind(
        "the declared total is wrong by amount (negative: too low)", 5, _TOTALS
    ),
    "token_revoked": FaultKind(
        "the district's credentials are refused: 401; with a stream and page, from there on",
        transport=True,
    ),
    "token_expired": FaultKind(
        "401 for the access token in use; a new one works",
        vendors=frozenset({"gg4l", "oneroster", "oneroster12"}),
    ),
    "token_swapped": FaultKind("the same credentials answer for another district"),
    "clock_skew": FaultKind("the vendor's clock is amount seconds fast", 3600),
    "district_vanished": FaultKind(
        "discovery no longer lists the district, and its credentials are refused", 0, _DISCOVERY
    ),
    "discovery_empty": FaultKind("discovery lists nobody at all", 0, _DISCOVERY),
    "revision_changes": FaultKind(
        "the revision of the roster is another one from this page on", 0, frozenset({"classlink"})
    ),
    "forbidden": FaultKind("403: the district does not share this collection", transport=True),
    "lost_events": FaultKind("every second event is missing from the feed", 0, _EVENTS),
}
"""Every fault by name."""


@dataclass(slots=True)
class Fault:
    """One fault as asked for. Fields left None do not narrow it."""

    name: str
    stream: str | None = None
    page: int | None = None
    times: int | None = None
    amount: float = 0.0
    role: str | None = None


class FaultBox:
    """The faults that are in force."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault, vendor: str | None) -> None:
        """Put a fault in force; ``ValueError`` if it is unknown or this vendor lacks it."""
        kind = FAULTS.get(fault.name)
        if kind is None:
            raise ValueError(f"No fault {fault.name!r}: {', '.join(sorted(FAULTS))}.")
        if vendor is not None and kind.vendors is not None and vendor not in kind.vendors:
            raise ValueError(
                f"{vendor} cannot have {fault.name}: {', '.join(sorted(kind.vendors))}."
            )
        if fault.name == "empty_role" and fault.role not in ROLE_MASKS:
            raise ValueError(f"empty_role needs a role: {', '.join(ROLE_MASKS)}.")
        self._faults.append(fault)

    def clear(self) -> None:
        """End every fault."""
        self._faults.clear()

    def get(self, name: str) -> Fault | None:
        """Return a fault in force by name, without using it up."""
        return next((f for f in self._faults if f.name == name and f.times != 0), None)

    def strike(
        self, name: str, stream: str = "", page: int = 0, *, onward: bool = False
    ) -> Fault | None:
        """Return the fault that strikes here, and count it. ``onward``: later pages count too."""
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                if fault.name != name or fault.times == 0:
                    continue
                if fault.stream is not None and fault.stream != stream:
                    continue
                if fault.page is not None and not (
                    page == fault.page or (onward and page > fault.page)
                ):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
