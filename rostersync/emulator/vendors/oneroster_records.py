"""The records of OneRoster 1.1 and 1.2: a person, an org, the school year, as they are served.

Facts: the OneRoster 1.1 and 1.2 rostering documents; what is left to the vendor is a ``Dialect``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from rostersync.emulator.district import truth
from rostersync.emulator.district.ids import IDS
from rostersync.emulator.district.people import Person, School
from rostersync.emulator.district.view import DayView

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


def user_record(person: Person, seed: int, dialect: Dialect, entry: int = 0) -> dict[str, Any]:
    """Return a person as a OneRoster user; ``entry`` 1 is that of a second role (1.1 only)."""
    ids = IDS[dialect.ids]
    schools = [ids.school(s, seed) for s in person.schools]
    orgs = schools if schools and person.roles[entry] != "admin" else [ids.district(seed)]
    record: dict[str, Any] = {
        "sourcedId": ids.user(person.slot, seed) + ("_R2" if entry else ""),
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
        record["role"] = role_11(person, entry)
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


def org_records(view: DayView, dialect: Dialect, *, district: bool) -> list[dict[str, Any]]:
    """Return the schools, after the district itself if wanted."""
    seed, ids = view.district.seed, IDS[dialect.ids]
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
                "identifier": f"{6_000_000 + seed:07d}",
                "children": [_ref(ids.school(s.index, seed), "org") for s in view.schools],
            }
        )
    rows += [_org(school, view, parent, dialect) for school in view.schools]
    return rows


def _org(school: School, view: DayView, parent: str, dialect: Dialect) -> dict[str, Any]:
    seed = view.district.seed
    moved = view.day * 86_400 if school.version else -86_400
    return {
        "sourcedId": IDS[dialect.ids].school(school.index, seed),
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


def role_11(person: Person, entry: int = 0) -> str:
    """Return the one role word that 1.1 has for an entry of a person."""
    role = person.roles[entry]
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


def year_record(view: DayView) -> dict[str, Any]:
    """Return the one academic session there is."""
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


def iso(seconds: int) -> str:
    """Return unix seconds as an ISO 8601 date-time in UTC with milliseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{seconds % 1000:03d}Z"
