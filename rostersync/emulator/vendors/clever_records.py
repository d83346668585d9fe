"""The records of Clever v3.0 and v3.1: a person, a school, the district, as they are served.

Facts: dev.clever.com/docs/users, /schools, /districts and the official Swagger files; oddities
(contacts without a first name, ``""`` beside absent keys) as in the official sample answers.
"""

from __future__ import annotations

import time
from typing import Any

from rostersync.emulator.district import ids
from rostersync.emulator.district.people import Person, School
from rostersync.emulator.district.view import DayView

_GRADES = {"PK": "PreKindergarten", "KG": "Kindergarten", "UG": "Ungraded"}


def district_record(view: DayView, state: str | None) -> dict[str, Any]:
    """Return the district; ``state`` is ``running`` unless given."""
    population = view.population
    district_id = ids.clever_district(view.district.seed)
    record: dict[str, Any] = {
        "id": district_id,
        "name": view.district.name,
        "sis_type": "sftp",
        "error": "",
        "state": state or "running",
        "last_sync": iso(int(view.time.timestamp())),
        "launch_date": population.first_day.isoformat(),
        "portal_url": "https://clever.example/in/emulated",
        "login_methods": ["Clever Passwords"],
        "district_contact": {
            "id": f"5c{district_id[2:]}",
            "district": district_id,
            "email": f"it@{population.domain}",
            "name": {"first": "It", "last": "Admin"},
            "title": "",
        },
    }
    if state == "paused":
        year = population.first_day.year
        record["pause_start"], record["pause_end"] = f"{year}-06-15", f"{year}-08-10"
    if state in ("error", "pending"):
        record["error"] = "The last upload could not be read."
    return record


def previous_attributes(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Return the former values of what differs or is gone, as an event tells them."""
    out: dict[str, Any] = {}
    for key, value in old.items():
        if key not in new:
            out[key] = value
        elif isinstance(value, dict) and isinstance(new[key], dict):
            if inner := previous_attributes(new[key], value):
                out[key] = inner
        elif new[key] != value:
            out[key] = value
    return out


def school_record(school: School, view: DayView) -> dict[str, Any]:
    """Return a school as Clever v3 shows it."""
    seed = view.district.seed
    epoch = view.population.epoch
    return {
        "id": ids.clever_school(school.index, seed),
        "district": ids.clever_district(seed),
        "name": school.name,
        "school_number": school.number,
        "sis_id": school.number,
        "state_id": school.state_id,
        "nces_id": school.nces_id,
        "mdr_number": "",
        "low_grade": grade_word("KG" if school.low < 1 else f"{school.low:02d}"),
        "high_grade": grade_word(f"{school.high:02d}"),
        "phone": "",
        "location": {
            "address": f"{school.index + 1} School Rd",
            "city": "",
            "state": "",
            "zip": "",
        },
        "principal": {"name": "", "email": ""},
        "created": iso(epoch - 86_400 * 400),
        "last_modified": iso(epoch + (86_400 * view.day if school.version else -86_400)),
    }


def user_record(person: Person, seed: int, *, new: bool = False) -> dict[str, Any]:
    """Return a person as Clever v3.0 shows them (``new``: v3.1)."""
    schools = [ids.clever_school(s, seed) for s in person.schools]
    roles: dict[str, Any] = {}
    credentials = {"district_username": person.username}
    if "student" in person.roles:
        roles["student"] = student = {
            "credentials": credentials,
            "dob": "" if person.dice & 1 else f"{person.dice % 12 + 1}/{person.dice % 28 + 1}/2014",
            "ell_status": "N",
            "email": person.email,
            "enrollments": [],
            "gender": "FMX"[person.dice % 3],
            "grade": grade_word(person.grade),
            "graduation_year": str(person.graduation_year or ""),
            "hispanic_ethnicity": "",
            "location": {"address": "", "city": "", "state": "", "zip": "10459"},
            "race": "Unknown",
            "school": schools[0],
            "schools": schools,
            "sis_id": person.sis_id,
            "state_id": person.state_id,
            "student_number": person.student_number,
        }
        if new and person.preferred:
            student["preferred_name"] = {"first": person.preferred, "middle": "", "last": ""}
        if person.dice & 2:
            student["ext"] = {}
    if "teacher" in person.roles:
        roles["teacher"] = {
            "credentials": credentials,
            "legacy_id": f"4f{ids.clever_user(person.slot, seed)[2:]}",
            "school": schools[0] if schools else "",
            "schools": schools,
            "sis_id": person.sis_id,
            "state_id": person.state_id,
            "teacher_number": person.staff_number,
            "title": person.title,
        }
    if "staff" in person.roles:
        roles["staff"] = {
            "credentials": credentials,
            "department": "",
            "schools": schools,
            "staff_id": person.staff_number,
            "title": person.title,
        }
    if "admin" in person.roles:
        roles["district_admin"] = {"title": person.title}
    name = {"first": person.given, "middle": person.middle, "last": person.family}
    if "contact" in person.roles:
        # As the official sample has it: no first name, the whole name in the last one.
        name = {"last": f"{person.given} {person.family}"}
        roles["contact"] = {
            "phone": "",
            "phone_type": "",
            "sis_id": "",
            "student_relationships": [
                {
                    "relationship": "Parent",
                    "student": ids.clever_user(person.child, seed),
                    "type": "Parent/Guardian",
                }
            ],
        }
    record: dict[str, Any] = {
        "created": iso(person.created),
        "district": ids.clever_district(seed),
        "id": ids.clever_user(person.slot, seed),
        "last_modified": iso(person.modified),
        "name": name,
        "roles": roles,
    }
    if person.email or person.dice & 4:
        record["email"] = person.email
    if new:
        record["lms_status"] = {"synced_in_lms": False}
    return record


def grade_word(code: str) -> str:
    """Return Clever's word for a CEDS grade."""
    return _GRADES.get(code) or code.lstrip("0")


def iso(seconds: int) -> str:
    """Return unix seconds as Clever writes a moment: UTC with milliseconds."""
    moment = time.gmtime(seconds)
    return (
        f"{moment[0]}-{moment[1]:02d}-{moment[2]:02d}"
        f"T{moment[3]:02d}:{moment[4]:02d}:{moment[5]:02d}.{seconds % 1000:03d}Z"
    )
