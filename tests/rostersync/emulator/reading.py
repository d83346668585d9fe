"""Readers that know only the vendors' documentation, to compare what is served with the truth."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

from rostersync.emulator.district.truth import Truth

ROLES = {
    "administrator": "admin",
    "districtAdministrator": "admin",
    "systemAdministrator": "admin",
    "aide": "staff",
    "counselor": "staff",
    "proctor": "staff",
    "guardian": "contact",
    "parent": "contact",
    "relative": "contact",
    "student": "student",
    "teacher": "teacher",
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def access_token(http: requests.Session, config: dict[str, Any]) -> str:
    fields = {"grant_type": "client_credentials"}
    if "scope" in config:
        fields["scope"] = config["scope"]
    own = "onboarding_" if "onboarding_url" in config else ""
    pair = (config[f"{own}client_id"], config[f"{own}client_secret"])
    answer = http.post(config[f"{own}token_url"], data=fields, auth=pair, timeout=20)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def pages(
    http: requests.Session,
    url: str,
    headers: dict[str, str],
    key: str = "users",
    limit: int = 400,
    query: str = "",
) -> list[dict[str, Any]]:
    """Read a OneRoster list by offset until a page is empty."""
    rows: list[dict[str, Any]] = []
    while True:
        answer = http.get(
            f"{url}?limit={limit}&offset={len(rows)}{query}", headers=headers, timeout=20
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()[key]
        if not page:
            return rows
        rows += page


def read_back(record: dict[str, Any], person: int, schools: set[str]) -> Truth:
    """Read a OneRoster user of either version."""

    def text(name: str) -> str | None:
        return record.get(name) or None

    memberships: list[tuple[str, str | None, bool]] = []
    if "roles" in record:
        primary = (record.get("primaryOrg") or {}).get("sourcedId")
        for place, entry in enumerate(record["roles"]):
            org = entry["org"]["sourcedId"]
            role = ROLES[entry["role"]]
            if org in schools:
                main = role == ROLES[record["roles"][0]["role"]]
                memberships.append((role, org, org == primary and main))
            else:
                memberships.append((role, None, False))
            assert place or entry["roleType"] == "primary"
    else:
        role = ROLES[record["role"]]
        orgs = [org["sourcedId"] for org in record["orgs"]]
        memberships = [(role, org, not at) for at, org in enumerate(orgs) if org in schools]
        memberships = memberships or [(role, None, False)]
    student = memberships[0][0] == "student"
    found = {entry["type"]: entry["identifier"] for entry in record["userIds"]}
    return Truth(
        person=person,
        external_id=record["sourcedId"],
        given_name=text("givenName"),
        middle_name=text("middleName"),
        family_name=text("familyName"),
        preferred_given_name=text("preferredFirstName"),
        email=text("email"),
        username=text("username"),
        memberships=tuple(memberships),
        grade=(record.get("grades") or [None])[0],
        student_number=text("identifier") if student else None,
        staff_number=None if student else text("identifier"),
        state_id=found.get("StateID"),
        identifier=text("identifier"),
        user_ids=tuple(found.items()),
        enabled=record["enabledUser"] == "true",
    )


def escaped(sourced_id: str) -> str:
    return quote(sourced_id, safe="")
