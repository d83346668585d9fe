"""A plugin that breaks the contract in one way at a time: see ``WAYS``.

It serves the five people of ``KEYS`` well until it is told a way (``Crook.way``), as a plugin may
after an update. What it raises carries a name and an address, which must be told nowhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, NoReturn

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Record,
    Settlement,
)
from core.errors import Busy, CursorLost, Held, RestartFetch, UsageError
from core.models import Kind, Membership, NormalizedUser, Role

SECRET = "Liam Carter <liam.carter@springfield.example>"
KEYS = [f"c{number}" for number in range(5)]


def _too_deep() -> NoReturn:
    _too_deep()


def _raiser(error: BaseException) -> Callable[[], NoReturn]:
    def act() -> NoReturn:
        raise error

    return act


def _undecodable() -> NoReturn:
    b"\xff\xfe".decode()
    raise AssertionError


RAISED: dict[str, Callable[[], NoReturn]] = {
    "value": _raiser(ValueError(SECRET)),
    "key": _raiser(KeyError(SECRET)),
    "attribute": _raiser(AttributeError(SECRET)),
    "assertion": _raiser(AssertionError(SECRET)),
    "memory": _raiser(MemoryError(SECRET)),
    "system": _raiser(OSError(5, SECRET)),
    "timeout": _raiser(TimeoutError(SECRET)),
    "exit": _raiser(SystemExit(SECRET)),
    "stop": _raiser(StopIteration(SECRET)),
    "recursion": _too_deep,
    "decode": _undecodable,
    "group": _raiser(ExceptionGroup(SECRET, [ValueError(SECRET)])),
    "busy": _raiser(Busy("busy")),
    "usage": _raiser(UsageError("no such thing")),
    "held": _raiser(Held("held")),
    "cursor": _raiser(CursorLost("lost")),
    "restart": _raiser(RestartFetch("again")),
}
"""Name → what a connector may raise wherever it is asked."""

PLACES = (
    "open", "vendor_district", "pages", "later", "split", "identify", "parse", "gist", "fields",
    "exists", "received", "settled", "close",
)  # fmt: skip
"""Where it may do so; ``later`` is after its first page."""

CERTIFICATES: dict[str, Any] = {
    "none": lambda good: None,
    "a_dict": lambda good: {"complete": True},
    "naive_time": lambda good: replace(good, vendor_time=datetime(2026, 1, 1)),  # noqa: DTZ001
    "time_is_text": lambda good: replace(good, vendor_time="2026"),
    "cursor_is_a_set": lambda good: replace(good, cursor={"at": {1, 2}}),
    "cursor_is_endless": lambda good: replace(good, cursor={"at": "x" * 2_000_000}),
    "nul_in_state": lambda good: replace(good, vendor_state="a\x00b"),
    "surrogate_in_note": lambda good: replace(good, notes=("\ud800",)),
    "notes_is_none": lambda good: replace(good, notes=None),
    "nul_in_revision": lambda good: replace(good, revision="\x00"),
    "declared_is_text": lambda good: replace(good, declared={"people": "five"}),
    "declared_is_a_list": lambda good: replace(good, declared=[5]),
    "declared_is_huge": lambda good: replace(good, declared={"people": 10**4000}),
    "pages_is_text": lambda good: replace(good, pages="many"),
    "district_is_a_number": lambda good: replace(good, vendor_district=5),
    "nul_in_district": lambda good: replace(good, vendor_district="d1\x00"),
    "reason_is_bytes": lambda good: replace(good, complete=False, reason=b"no"),
}
"""Name → something that is not a certificate."""

SERVED: dict[str, Any] = {
    "page_is_none": lambda page: None,
    "page_is_bytes": lambda page: page.body,
    "unknown_stream": lambda page: replace(page, stream="elsewhere"),
    "body_is_text": lambda page: replace(page, body="text"),
    "split_gives_text": lambda page: replace(page, split=lambda body: ["a", "b"]),
    "split_gives_none": lambda page: replace(page, split=lambda body: None),
    "nul_in_file": lambda page: replace(page, file="a\x00", lines=lambda rows: [1] * len(rows)),
    "few_lines": lambda page: replace(page, file="f", lines=lambda rows: []),
}
"""Name → something that is not a page."""

PARSED: dict[str, Any] = {
    "none": lambda record: None,
    "text": lambda record: "text",
    "nothing": lambda record: replace(record, user=None),
    "user_is_a_dict": lambda record: replace(record, user={"external_id": record.key}),
    "nul_in_former": lambda record: replace(record, former_keys=("a\x00",)),
    "former_is_a_number": lambda record: replace(record, former_keys=(5,)),
    "nul_in_unknown": lambda record: replace(record, unknown=("grade=\x00",)),
    "unknown_is_none": lambda record: replace(record, unknown=None),
    "surrogate_in_extra": lambda record: replace(record, extra=("\ud800",)),
    "nul_in_grade": lambda record: replace(
        record, user=record.user.model_copy(update={"grade": "\x00"})
    ),
    "date_in_grade": lambda record: replace(
        record,
        user=record.user.model_copy(update={"grade": datetime(2026, 1, 1)}),  # noqa: DTZ001
    ),
}
"""Name → what ``parse`` returns instead of a record."""

IDENTIFIED: dict[str, Any] = {
    "none": None,
    "number": 5,
    "bytes": b"c1",
    "nul": "c\x00",
    "surrogate": "\ud800",
    "list": ["c1"],
}
"""Name → what ``identify`` returns instead of an id."""

ENDLESS = ("same_page", "same_ids", "same_id_alone", "empty_pages", "sleeps", "drips")


class CrookConfig(ConnectorConfig):
    """Nothing of its own."""


class Crook(Connector):
    """Serves five people, unless it is told a way to do worse."""

    name = "crook"
    version = "1"
    title = "A plugin that fails"
    config_model = CrookConfig
    capabilities = Capabilities(reads_by_id=True)
    streams: ClassVar[Mapping[str, Kind]] = {"people": Kind.USER}

    way: ClassVar[tuple[str, str]] = ("", "")
    keys: ClassVar[Sequence[str]] = KEYS
    patience: ClassVar[float] = 0.0
    served: ClassVar[int] = 0

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        self._strike("open")

    def _strike(self, place: str) -> None:
        where, what = type(self).way
        if where == place:
            RAISED[what]()

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve two pages, or worse."""
        self._strike("pages")
        where, what = type(self).way
        if where == "endless":
            yield from self._endless(what)
        half = len(self.keys) // 2
        for number, some in enumerate((self.keys[:half], self.keys[half:])):
            page = self._page([{"key": key} for key in some])
            yield SERVED[what](page) if where == "served" and number else page
            self._strike("later")
        good = Certificate(complete=True, pages=2, vendor_district="d1")
        return CERTIFICATES[what](good) if where == "certificate" else good  # type: ignore[no-any-return]

    def _endless(self, what: str) -> Generator[Page, None, None]:
        number = 0
        while True:
            number += 1
            type(self).served = number
            rows: list[dict[str, Any]] = [{"key": key} for key in self.keys]
            if what == "same_ids":
                rows = [{"key": key, "turn": number} for key in self.keys]
            elif what == "same_id_alone":
                rows = [{"key": self.keys[0], "turn": number}]
            elif what == "empty_pages":
                yield Page("people", b" " * number, lambda body: [])
                continue
            elif what == "sleeps":
                time.sleep(30)
            elif what == "drips":
                time.sleep(0.05)
                rows = [{"key": f"new{number}"}]
            yield self._page(rows)

    def _page(self, rows: Sequence[Mapping[str, Any]]) -> Page:
        body = "\n".join(json.dumps(row) for row in rows).encode()
        return Page("people", body, self._split)

    def _split(self, body: bytes) -> list[bytes]:
        self._strike("split")
        return body.splitlines()

    def vendor_district(self) -> str | None:
        """Tell the district, or fail."""
        self._strike("vendor_district")
        return "d1"

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the key of a row."""
        key = str(json.loads(raw)["key"])
        if key == self.keys[-1]:
            self._strike("identify")
            if type(self).way[0] == "identified":
                return IDENTIFIED[type(self).way[1]]  # type: ignore[no-any-return]
        return key

    def parse(self, stream: str, raw: bytes) -> Record:
        """Return the user of a row."""
        key = str(json.loads(raw)["key"])
        user = NormalizedUser(
            external_id=key, given_name="Robin", family_name=f"Of {key}", grade="05",
            memberships=(Membership(role=Role.STUDENT),),
        )  # fmt: skip
        record = Record(Kind.USER, key, user=user)
        if key == self.keys[-1]:
            self._strike("parse")
            if type(self).way[0] == "parsed":
                return PARSED[type(self).way[1]](record)  # type: ignore[no-any-return]
        return record

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return nothing, or fail."""
        self._strike("gist")
        return None

    def fields(self, stream: str, raw: bytes) -> Mapping[str, Any]:
        """Return the row."""
        self._strike("fields")
        return super().fields(stream, raw)

    def exists(self, keys: Iterable[str]) -> Mapping[str, bool]:
        """Say that nobody is there, or fail."""
        self._strike("exists")
        return dict.fromkeys(keys, False)

    def received(self) -> None:
        """Fail, if told so."""
        self._strike("received")

    def settled(self, settlement: Settlement) -> None:
        """Fail, if told so."""
        self._strike("settled")

    def close(self) -> None:
        """Fail, if told so."""
        self._strike("close")
