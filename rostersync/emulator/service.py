"""The OneRoster service that ClassLink, GG4L and plain OneRoster servers have in common.

Facts: the OneRoster 1.1 and 1.2 rostering documents (collections, envelope, paging, filter,
errors). What differs by vendor is a ``Dialect``; who may ask is the vendor's own business.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlencode

import msgspec

from rostersync.emulator import truth
from rostersync.emulator.generator import DayView
from rostersync.emulator.ids import IDS
from rostersync.emulator.listing import Listing, page_of, served_slots
from rostersync.emulator.people import Person, School
from rostersync.emulator.wire import Reply, Request

if TYPE_CHECKING:
    from rostersync.emulator.server import Emulator, Tenant

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
_STAFF_12 = ("aide", "counselor", "proctor")
_ADMIN_12 = ("districtAdministrator", "systemAdministrator")
_CONTACTS = ("parent", "guardian", "relative")
_HREF = "https://elsewhere.example/ims/oneroster/v1p1"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one vendor's service differs: ids, limits, headers and how it says "no value"."""

    ids: str
    two: bool = False
    max_limit: int = 10_000
    absent: Literal["", "omit", "null"] = "omit"
    total: str | None = "X-Total-Count"
    count: str | None = None
    links: Literal["angle", "bare"] | None = None
    primary_marker: bool = False
    wrapped_errors: bool = False


class Service:
    """Answers OneRoster requests of one vendor. ``headers`` adds the vendor's own to a page."""

    def __init__(
        self,
        emulator: Emulator,
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
                rows = self._orgs(tenant.view, district=collection == "orgs")
                return self._rows(request, collection, root, tenant, rows, "schools")
            case [collection] if collection in SESSIONS:
                return self._rows(
                    request, collection, root, tenant, [_year(tenant.view)], collection
                )
            case [collection] if collection in EMPTY:
                return self._rows(request, collection, root, tenant, [], collection)
            case [collection, sourced_id] if collection in PEOPLE:
                return self._person(collection, sourced_id, tenant)
            case [collection, sourced_id] if collection in ORGS:
                rows = self._orgs(tenant.view, district=collection == "orgs")
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
        slots, faulty = served_slots(tenant.view, faults, PEOPLE[collection], leaving=True)
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
            rows = [self.user(view.person(slot), tenant.seed) for slot in found.slots]
            return _encode({"users": _project(rows, chosen)})

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
            self.user(person, tenant.seed)
            for person in view.people(PEOPLE[collection], leaving=True)
            if index in person.schools
        ]
        return self._rows(request, f"schools/{school_id}/{collection}", root, tenant, rows, "users")

    def _person(self, collection: str, sourced_id: str, tenant: Tenant) -> Reply:
        ids = IDS[self.dialect.ids]
        slot = ids.slot(sourced_id)
        view = tenant.view
        reply = self.error(404, "unknownobject", "no such user")
        if (
            slot is not None
            and view.has(slot, leaving=True)
            and ids.user(slot, tenant.seed) == sourced_id
        ):
            person = view.person(slot)
            if PEOPLE[collection] in (None, *person.roles):
                reply = Reply(200, _encode({"user": self.user(person, tenant.seed)}))
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
                served = set(slots) if len(touched) > 1000 else None
                candidates = [
                    s for s in touched
                    if (s in served if served is not None else view.has(s, leaving=True))
                ]  # fmt: skip
                if served is None and len(slots) != len(view.slots(leaving=True)):
                    listed = set(slots)
                    candidates = [s for s in candidates if s in listed]
        seed = view.district.seed
        return array(
            "I", (s for s in candidates if matches(self.user(view.person(s), seed), clauses))
        )

    # Records.

    def user(self, person: Person, seed: int) -> dict[str, Any]:
        """Return a person as a OneRoster user."""
        dialect = self.dialect
        ids = IDS[dialect.ids]
        schools = [ids.school(s, seed) for s in person.schools]
        orgs = schools if schools and person.roles[0] != "admin" else [ids.district(seed)]
        record: dict[str, Any] = {
            "sourcedId": ids.user(person.slot, seed),
            "status": "tobedeleted" if person.leaving else "active",
            "dateLastModified": iso(person.modified),
            "username": person.username,
            "userIds": [{"type": t, "identifier": i} for t, i in truth.user_ids(person)],
            "enabledUser": "true" if person.enabled else "false",
            "givenName": person.given,
            "familyName": person.family,
            "middleName": person.middle,
        }
        if dialect.two:
            record["preferredFirstName"] = person.preferred
            record["roles"] = roles_12(person, schools, ids.district(seed))
            if schools:
                record["primaryOrg"] = _ref(schools[0], "org")
        else:
            record["role"] = role_11(person)
            record["orgs"] = [_ref(org, "org") for org in orgs]
        record["identifier"] = person.student_number or person.staff_number
        record["email"] = person.email
        record["sms"] = record["phone"] = ""
        record["agents"] = (
            [_ref(ids.user(person.child, seed), "user")] if "contact" in person.roles else []
        )
        record["grades"] = [person.grade] if person.grade else []
        if not dialect.two:
            record["password"] = ""
        if dialect.primary_marker and schools:
            record["metadata"] = {
                "gg4l.primary_school": schools[0],
                "gg4l.primaryGrade": person.grade or None,
            }
        if dialect.absent == "omit":
            return {key: value for key, value in record.items() if value not in ("", [])}
        if dialect.absent == "null":
            return {key: None if value == "" else value for key, value in record.items()}
        return record

    def _orgs(self, view: DayView, *, district: bool) -> list[dict[str, Any]]:
        seed, ids = view.district.seed, IDS[self.dialect.ids]
        parent = ids.district(seed)
        rows = []
        if district:
            rows.append(
                {
                    "sourcedId": parent,
                    "status": "active",
                    "dateLastModified": iso(view.population.epoch - 86_400),
                    "name": view.district.name,
                    "type": "district",
                    "identifier": "1",
                    "children": [_ref(ids.school(s.index, seed), "org") for s in view.schools],
                }
            )
        rows += [self._org(school, view, parent) for school in view.schools]
        return rows

    def _org(self, school: School, view: DayView, parent: str) -> dict[str, Any]:
        seed = view.district.seed
        moved = view.day * 86_400 if school.version else -86_400
        return {
            "sourcedId": IDS[self.dialect.ids].school(school.index, seed),
            "status": "active",
            "dateLastModified": iso(view.population.epoch + moved),
            "name": school.name,
            "type": "school",
            "identifier": school.number,
            "parent": _ref(parent, "org"),
            "children": [],
        }


def _ref(sourced_id: str, kind: str) -> dict[str, str]:
    # An href that leads elsewhere, as they do in the wild: a client must not follow it.
    return {"href": f"{_HREF}/{kind}s/{sourced_id}", "sourcedId": sourced_id, "type": kind}


def role_11(person: Person) -> str:
    """Return the one role word that 1.1 has for a person."""
    role = person.roles[0]
    if role == "contact":
        return _CONTACTS[person.dice % 3]
    return {"staff": "aide", "admin": "administrator"}.get(role, role)


def roles_12(person: Person, schools: list[str], district: str) -> list[dict[str, Any]]:
    """Return the ``roles`` of 1.2: one entry for each role and org, one primary for each org."""
    out = []
    for place, role in enumerate(person.roles):
        word = {
            "staff": _STAFF_12[person.dice % 3],
            "admin": _ADMIN_12[person.dice % 2],
            "contact": _CONTACTS[person.dice % 3],
        }.get(role, role)
        at = schools if schools and role not in ("admin", "contact") else [district]
        out += [
            {
                "roleType": "secondary" if place and at is schools else "primary",
                "role": word,
                "org": _ref(org, "org"),
            }
            for org in at
        ]
    return out


def _year(view: DayView) -> dict[str, Any]:
    end = view.population.year_end
    return {
        "sourcedId": f"SY{end}",
        "status": "active",
        "dateLastModified": iso(view.population.epoch - 86_400),
        "title": f"{end - 1}-{end}",
        "startDate": f"{end - 1}-08-15",
        "endDate": f"{end}-06-15",
        "type": "schoolYear",
        "schoolYear": str(end),
    }


def _project(rows: list[dict[str, Any]], fields: str | None) -> list[dict[str, Any]]:
    names = set(fields.split(",")) if fields else set()
    # 1.1: an unknown name gives the whole record.
    if not names or (rows and not all(any(name in row for row in rows) for name in names)):
        return rows
    return [{key: value for key, value in row.items() if key in names} for row in rows]


# The filter: clauses joined by AND and OR, AND binding closer, no brackets.


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison of a filter."""

    field: str
    op: str
    value: str


_CLAUSE = re.compile(r"^([A-Za-z_][\w.]*)\s?(!=|>=|<=|=|>|<|~)\s?'(.*)'$")


def parse_filter(text: str) -> list[list[Clause]] | None:
    """Return a filter as ORs of ANDs, None if it cannot be read."""
    groups = []
    for group in text.split(" OR "):
        clauses = []
        for part in group.split(" AND "):
            found = _CLAUSE.match(part.strip())
            if found is None:
                return None
            clauses.append(Clause(*found.groups()))
        groups.append(clauses)
    return groups


def matches(row: dict[str, Any], groups: Sequence[Sequence[Clause]]) -> bool:
    """Return whether a record fits a filter."""
    return any(all(_fits(row, clause) for clause in group) for group in groups)


def _fits(row: dict[str, Any], clause: Clause) -> bool:
    value: Any = row
    for name in clause.field.split("."):
        if isinstance(value, list):
            value = [item.get(name) for item in value if isinstance(item, dict)]
        else:
            value = value.get(name) if isinstance(value, dict) else None
    if isinstance(value, list):
        texts = [str(item) for item in value]
        if clause.op == "~":
            return any(clause.value in text for text in texts)
        value = ",".join(texts)
    text = "" if value is None else str(value)
    match clause.op:
        case "=":
            return text == clause.value
        case "!=":
            return text != clause.value
        case ">":
            return text > clause.value
        case ">=":
            return text >= clause.value
        case "<":
            return text < clause.value
        case "<=":
            return text <= clause.value
    return clause.value in text


def _moment(text: str) -> float | None:
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso(seconds: int) -> str:
    """Return unix seconds as an ISO 8601 date-time in UTC with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{seconds % 1000:03d}Z"
