"""The OneRoster service that ClassLink, GG4L and plain OneRoster servers have in common.

Facts: the OneRoster 1.1 and 1.2 rostering documents (collections, envelope, paging, filter,
errors). What differs by vendor is a ``Dialect``; who may ask is the vendor's own business.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlencode

import msgspec

from rostersync.emulator.district.ids import IDS
from rostersync.emulator.district.view import SECOND, DayView, position
from rostersync.emulator.server.desk import Desk, Tenant
from rostersync.emulator.server.wire import Reply, Request
from rostersync.emulator.vendors.filtering import Clause, matches, parse_filter
from rostersync.emulator.vendors.oneroster_records import (
    Dialect,
    org_records,
    user_record,
    year_record,
)
from rostersync.emulator.vendors.paging import Listing, page_of, served_slots

_encode = msgspec.json.encode

PEOPLE: dict[str, str | None] = {"users": None, "students": "student", "teachers": "teacher"}
ORGS = ("orgs", "schools")
SESSIONS = ("academicSessions", "terms", "gradingPeriods")
EMPTY = ("classes", "courses", "enrollments")
_ENVELOPES = {
    "users": ("users", "user"),
    "students": ("users", "user"),
    "teachers": ("users", "user"),
    "orgs": ("orgs", "org"),
    "schools": ("orgs", "org"),
    "academicSessions": ("academicSessions", "academicSession"),
    "terms": ("academicSessions", "academicSession"),
    "gradingPeriods": ("academicSessions", "academicSession"),
}


class Service:
    """Answers OneRoster requests of one vendor. ``headers`` adds the vendor's own to a page."""

    def __init__(
        self,
        emulator: Desk,
        dialect: Dialect,
        headers: Callable[[Tenant, str, int], dict[str, str]] | None = None,
    ) -> None:
        self.emulator = emulator
        self.dialect = dialect
        self._headers = headers
        self._filtered: dict[object, array[int]] = {}

    def reply(self, request: Request, rest: str, root: str, tenant: Tenant) -> Reply:
        """Answer ``GET root/rest``; ``root`` is absolute and only used in links."""
        if request.method != "GET":
            return self.error(405, "unsupported", "only GET")
        parts = [unquote(part) for part in rest.strip("/").split("/")]
        match parts:
            case [collection] if collection in PEOPLE:
                return self._people(request, collection, root, tenant)
            case [collection] if collection in ORGS:
                rows = org_records(tenant.view, self.dialect, district=collection == "orgs")
                return self._rows(request, collection, root, tenant, rows, "schools")
            case [collection] if collection in SESSIONS:
                return self._rows(
                    request, collection, root, tenant, [year_record(tenant.view)], collection
                )
            case [collection] if collection in EMPTY:
                return self._rows(request, collection, root, tenant, [], collection)
            case [collection, sourced_id] if collection in PEOPLE:
                return self._person(collection, sourced_id, tenant)
            case [collection, sourced_id] if collection in ORGS:
                rows = org_records(tenant.view, self.dialect, district=collection == "orgs")
                found = next((row for row in rows if row["sourcedId"] == sourced_id), None)
                if found is None:
                    return self.error(404, "unknownobject", "no such org")
                return Reply(200, _encode({"org": found}), stream="school")
            case ["schools", school_id, collection] if collection in ("students", "teachers"):
                return self._school_people(request, school_id, collection, root, tenant)
            case ["demographics"] | ["demographics", _]:
                return self.error(403, "forbidden", "demographics are not shared")
        return self.error(404, "unknownobject", "no such collection")

    def error(self, status: int, token: str, text: str) -> Reply:
        """Return the error body of this version of the standard."""
        minor = {
            "imsx_codeMinorFieldName": "TargetEndSystem",
            "imsx_codeMinorFieldValue": token,
        }
        if self.dialect.two or self.dialect.wrapped_errors:
            info: dict[str, Any] = {
                "imsx_codeMajor": "failure",
                "imsx_severity": "error",
                "imsx_description": text,
                "imsx_CodeMinor": {"imsx_codeMinorField": [minor]},
            }
            body = {"imsx_StatusInfo": info} if self.dialect.wrapped_errors else info
        else:
            one = {
                "imsx_codeMajor": "failure",
                "imsx_severity": "error",
                "imsx_codeMinor": token,
                "imsx_description": text,
            }
            body = {"statusInfoSet": [one]}
        return Reply(status, _encode(body))

    # Lists.

    def _window(self, request: Request) -> tuple[int, int] | Reply:
        params = request.params()
        limit, offset = params.get("limit", "100"), params.get("offset", "0")
        if not limit.isdecimal() or not offset.isdecimal() or int(limit) < 1:
            return self.error(400, "invaliddata", "limit and offset are numbers")
        return min(int(limit), self.dialect.max_limit), int(offset)

    def _people(self, request: Request, collection: str, root: str, tenant: Tenant) -> Reply:
        window = self._window(request)
        if isinstance(window, Reply):
            return window
        limit, offset = window
        params = request.params()
        faults = self.emulator.faults
        slots, faulty = served_slots(
            tenant.view, faults, PEOPLE[collection], leaving=True, split=self._split(tenant.view)
        )
        if (text := params.get("filter")) is not None:
            clauses = parse_filter(text)
            if clauses is None:
                return self.error(400, "invalid_filter_field", "the filter cannot be read")
            key = (tenant.seed, tenant.day, collection, text)
            if faulty or key not in self._filtered:
                slots = self._filter(tenant.view, slots, clauses)
                if not faulty:
                    self._filtered[key] = slots
            else:
                slots = self._filtered[key]
        if params.get("sort") == "sourcedId" and params.get("orderBy") == "desc":
            slots = slots[::-1]
        found = page_of(slots, faults, "users", offset, limit, faulty=faulty)
        chosen = params.get("fields")
        if chosen == "":
            return self.error(400, "invalid_blank_selection_field", "fields is empty")

        def make() -> bytes:
            view = tenant.view
            records = (self._record(view, entry) for entry in found.slots)
            if chosen:
                return _encode({"users": _project(list(records), chosen)})
            # Row by row: ten thousand records at once would keep the collector busy.
            return b'{"users":[' + b",".join(map(_encode, records)) + b"]}"

        body_key: object = None
        if not found.faulty:
            body_key = (root, tenant.seed, tenant.day, collection, request.query)
        body = self.emulator.body(body_key, make)
        reply = Reply(200, body, stream="users", page=found.page, limit=limit)
        self._head(reply, request, root, collection, tenant, found, offset, limit)
        return reply

    def _rows(
        self,
        request: Request,
        collection: str,
        root: str,
        tenant: Tenant,
        rows: list[dict[str, Any]],
        stream: str,
    ) -> Reply:
        window = self._window(request)
        if isinstance(window, Reply):
            return window
        limit, offset = window
        if (text := request.params().get("filter")) is not None:
            clauses = parse_filter(text)
            if clauses is None:
                return self.error(400, "invalid_filter_field", "the filter cannot be read")
            rows = [row for row in rows if matches(row, clauses)]
        # The faults of paging act on positions: let them page over the rows' numbers.
        numbers = array("I", range(len(rows)))
        found = page_of(numbers, self.emulator.faults, stream, offset, limit, faulty=False)
        chosen = _project([rows[n] for n in found.slots], request.params().get("fields"))
        word = collection.rpartition("/")[2]
        envelope = _ENVELOPES.get(word, (word, ""))[0]
        body = _encode({envelope: chosen})
        reply = Reply(200, body, stream=stream, page=found.page, limit=limit)
        self._head(reply, request, root, collection, tenant, found, offset, limit)
        return reply

    def _head(
        self,
        reply: Reply,
        request: Request,
        root: str,
        collection: str,
        tenant: Tenant,
        found: Listing,
        offset: int,
        limit: int,
    ) -> None:
        dialect, faults = self.dialect, self.emulator.faults
        if dialect.total is not None:
            total = found.total
            fault = faults.strike("wrong_total", reply.stream, found.page)
            if fault is not None:
                total += int(fault.amount)
            reply.headers[dialect.total] = str(total)
        if dialect.count is not None:
            reply.headers[dialect.count] = str(len(found.slots))
        if dialect.links is not None:
            foreign = faults.strike("foreign_link", reply.stream, found.page) is not None
            reply.headers["Link"] = self._links(
                request, root, collection, found, offset, limit, foreign=foreign
            )
        if self._headers is not None:
            reply.headers.update(self._headers(tenant, reply.stream, found.page))

    def _links(
        self,
        request: Request,
        root: str,
        collection: str,
        found: Listing,
        offset: int,
        limit: int,
        *,
        foreign: bool,
    ) -> str:
        kept = {k: v for k, v in request.params().items() if k not in ("limit", "offset")}
        base = f"{root}/{collection}"

        def link(rel: str, at: int) -> str:
            place = base
            if foreign and rel == "next":
                place = "https://elsewhere.example/" + base.split("/", 3)[3]
            url = f"{place}?{urlencode({**kept, 'limit': limit, 'offset': at})}"
            return (
                f'<{url}>; rel="{rel}"' if self.dialect.links == "angle" else f'{url}; rel="{rel}"'
            )

        links = []
        if found.more:
            links.append(link("next", offset + limit))
        if offset:
            links.append(link("prev", max(0, offset - limit)))
        links.append(link("first", 0))
        last = max(0, (found.total - 1) // limit * limit)
        links.append(link("last", last))
        return ", ".join(links)

    def _school_people(
        self, request: Request, school_id: str, collection: str, root: str, tenant: Tenant
    ) -> Reply:
        ids = IDS[self.dialect.ids]
        view = tenant.view
        index = next(
            (s.index for s in view.schools if ids.school(s.index, tenant.seed) == school_id), None
        )
        if index is None:
            return self.error(404, "unknownobject", "no such school")
        rows = [
            user_record(person, tenant.seed, self.dialect)
            for person in view.people(PEOPLE[collection], leaving=True)
            if index in person.schools
        ]
        return self._rows(request, f"schools/{school_id}/{collection}", root, tenant, rows, "users")

    def _person(self, collection: str, sourced_id: str, tenant: Tenant) -> Reply:
        ids = IDS[self.dialect.ids]
        entry = int(sourced_id.endswith("_R2"))
        sourced_id = sourced_id.removesuffix("_R2")
        slot = ids.slot(sourced_id)
        view = tenant.view
        reply = self.error(404, "unknownobject", "no such user")
        if (
            slot is not None
            and view.has(slot, leaving=True)
            and ids.user(slot, tenant.seed) == sourced_id
        ):
            person = view.person(slot)
            roles = person.roles[:2] if self._split(view) else person.roles[:1]
            own = roles[entry] if entry < len(roles) else ""
            if own and PEOPLE[collection] in (None, own):
                record = user_record(person, tenant.seed, self.dialect, entry)
                reply = Reply(200, _encode({"user": record}))
        reply.stream = "user"
        return reply

    def _filter(
        self, view: DayView, slots: array[int], clauses: Sequence[Sequence[Clause]]
    ) -> array[int]:
        candidates: Sequence[int] = slots
        if len(clauses) == 1:
            since = next(
                (c for c in clauses[0] if c.field == "dateLastModified" and c.op in (">", ">=")),
                None,
            )
            moment = _moment(since.value) if since is not None else None
            touched = view.touched_since(moment - 1) if moment is not None else None
            if touched is not None:
                candidates = self._among(view, touched, slots)
        return array("I", (e for e in candidates if matches(self._record(view, e), clauses)))

    def _among(self, view: DayView, touched: array[int], slots: array[int]) -> list[int]:
        """Return the entries of touched slots that are in a list."""
        if self._split(view):
            served = set(slots)
            both = (entry for slot in touched for entry in (slot, slot | SECOND))
            return [entry for entry in both if entry in served]
        # The list is sorted, and long: look the few up in it.
        found = []
        for slot in touched:
            at = position(slots, slot)
            if at < len(slots) and slots[at] == slot:
                found.append(slot)
        return found

    def _split(self, view: DayView) -> bool:
        return view.district.split_roles and not self.dialect.two

    def _record(self, view: DayView, entry: int) -> dict[str, Any]:
        person = view.person(entry & ~SECOND)
        return user_record(person, view.district.seed, self.dialect, entry >> 31)


def _project(rows: list[dict[str, Any]], fields: str | None) -> list[dict[str, Any]]:
    names = set(fields.split(",")) if fields else set()
    # 1.1: an unknown name gives the whole record.
    if not names or (rows and not all(any(name in row for row in rows) for name in names)):
        return rows
    return [{key: value for key, value in row.items() if key in names} for row in rows]


def _moment(text: str) -> float | None:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
