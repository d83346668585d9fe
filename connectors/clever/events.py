"""Clever's events: what each of them last said about a record. Used by ``clever.py`` only.

Docs: https://dev.clever.com/docs/events-api
An event carries the whole record as it is now (``deleted``: as it was last), so the former values,
which stand in two different places, are not needed. Events are kept 30 days, oldest first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from connectors.contract.connector import Page
from connectors.contract.json_records import Reader, decode, key_of, split_array
from core.errors import CursorLost

DAYS = 29
"""A cursor is given up a day before Clever forgets its event."""
_OTHERS = frozenset({"courses", "districts", "resources", "sections", "terms"})
_LOST = "Clever's events no longer reach back to the last fetch."


class EventBody(msgspec.Struct):
    """What an event is about."""

    object: msgspec.Raw = msgspec.Raw(b"null")


class EventRecord(msgspec.Struct):
    """One change; ``type`` is ``users.updated`` and the like."""

    id: str
    type: str = ""
    data: EventBody | None = None


_event = Reader(EventRecord)


def cursor(event: str | None, now: float) -> dict[str, Any]:
    """Return a cursor after ``event`` (None: there was none yet) at ``now`` (unix seconds)."""
    return {"event": event, "at": int(now)}


def event_of(found: Mapping[str, Any], now: float) -> str | None:
    """Return the event to go on after. Raises ``CursorLost`` for a cursor that is too old."""
    at = found.get("at")
    if not isinstance(at, int) or now - at > DAYS * 86400:
        raise CursorLost(_LOST)
    event = found.get("event")
    return None if event is None else str(event)


def forgotten() -> CursorLost:
    """Return the error for an event that Clever no longer has."""
    return CursorLost(_LOST)


class Changes:
    """The last word of a run of events on each record, in the order of those words."""

    def __init__(self, streams: Iterable[str], last: str | None) -> None:
        self.last = last
        """The newest event taken in: where the next incremental fetch goes on."""
        self.strange: set[str] = set()
        """Event types that are not known."""
        self._latest: dict[str, dict[str, bytes]] = {stream: {} for stream in streams}

    def take(self, raw: bytes | msgspec.Raw) -> None:
        """Take in the next event."""
        event = decode(_event, bytes(raw), "id")
        self.last = event.id
        stream, _, verb = event.type.partition(".")
        if stream not in self._latest or verb not in ("created", "updated", "deleted"):
            if stream not in _OTHERS:
                self.strange.add(re.sub(r"[^\w.]", "?", event.type)[:40])
            return
        record = bytes(event.data.object) if event.data is not None else b"null"
        if record == b"null":
            raise CursorLost("An event of Clever carries no record.")
        key = key_of(record, "id")
        if verb == "deleted":
            record = msgspec.json.encode({"id": key, "rostersync_deleted": True})
        self._latest[stream].pop(key, None)
        self._latest[stream][key] = record

    def pages(self) -> Iterator[Page]:
        """Serve the records in the raw form of a full fetch, so that fingerprints agree."""
        for stream, records in self._latest.items():
            if records:
                yield Page(stream, b"[" + b",".join(records.values()) + b"]", split_array)
