"""Clever on the wire: what is served equals the truth, and the rules are the documented ones."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from rostersync.emulator.district.generator import District
from rostersync.emulator.district.truth import Truth
from rostersync.emulator.emulator import Emulator

from .conftest import bearer, follow

GRADES = {"PreKindergarten": "PK", "Kindergarten": "KG", "Ungraded": "UG"}


@pytest.fixture
def clever(district: District) -> Iterator[Emulator]:
    with Emulator(district, "clever") as emulator:
        yield emulator


def get(http: requests.Session, emulator: Emulator, path: str, **more: Any) -> requests.Response:
    config = emulator.config()
    return http.get(
        f"{config['base_url']}/{path}", headers=bearer(config["token"]), timeout=20, **more
    )


def read_back(record: dict[str, Any], person: int) -> Truth:
    """Read a record by the documentation's own words, for comparison with the truth."""
    roles = record["roles"]
    memberships: list[tuple[str, str | None, bool]] = []
    for role in ("student", "teacher"):
        if role in roles:
            primary = roles[role]["school"]
            memberships += [(role, s, s == primary) for s in roles[role]["schools"]]
    if "staff" in roles:
        schools = roles["staff"]["schools"]
        memberships += [("staff", school, False) for school in schools] or [("staff", None, False)]
    if "district_admin" in roles:
        memberships.append(("admin", None, False))
    if "contact" in roles:
        memberships.append(("contact", None, False))
    student, teacher = roles.get("student", {}), roles.get("teacher", {})
    staff = roles.get("staff", {})
    first = student or teacher or staff
    year = student.get("graduation_year")
    grade = student.get("grade") or None
    if grade is not None:
        grade = GRADES.get(grade) or f"{int(grade):02d}"
    return Truth(
        person=person,
        external_id=record["id"],
        given_name=record["name"].get("first") or None,
        middle_name=record["name"].get("middle") or None,
        family_name=record["name"]["last"],
        preferred_given_name=student.get("preferred_name", {}).get("first"),
        email=record.get("email") or None,
        username=first.get("credentials", {}).get("district_username"),
        memberships=tuple(memberships),
        grade=grade,
        graduation_year=int(year) if year else None,
        sis_id=student.get("sis_id") or teacher.get("sis_id"),
        student_number=student.get("student_number"),
        staff_number=teacher.get("teacher_number") or staff.get("staff_id"),
        state_id=(student or teacher).get("state_id") or None,
    )


@pytest.mark.parametrize("vendor", ["clever", "clever31"])
@pytest.mark.parametrize("day", [0, 1, 2, 3])
def test_what_is_served_equals_the_truth_field_by_field(
    district: District, http: requests.Session, vendor: str, day: int
) -> None:
    with Emulator(district, vendor, day=day) as emulator:
        rows = follow(http, emulator.config(), "users?limit=400")
    truth = list(district.truth(day, vendor))
    assert [read_back(row, t.person) for row, t in zip(rows, truth, strict=True)] == truth


def test_ids_are_24_hex_digits_and_ascend(clever: Emulator, http: requests.Session) -> None:
    found = [row["id"] for row in follow(http, clever.config(), "users?limit=500")]
    assert found == sorted(set(found))
    assert all(len(user_id) == 24 and int(user_id, 16) for user_id in found)


def test_pages_of_any_size_hold_the_same_people(clever: Emulator, http: requests.Session) -> None:
    whole = follow(http, clever.config(), "users?limit=10000")
    assert follow(http, clever.config(), "users?limit=173") == whole
    assert len(follow(http, clever.config(), "users")) == len(whole)
    assert clever.counts()["users"] == 1 + -(-1500 // 173) + 15


def test_a_page_of_more_than_10000_is_refused(clever: Emulator, http: requests.Session) -> None:
    assert get(http, clever, "users?limit=10001").status_code == 413
    assert get(http, clever, "users?limit=none").status_code == 400


def test_a_page_can_be_read_backwards(clever: Emulator, http: requests.Session) -> None:
    whole = follow(http, clever.config(), "users?limit=10000")
    answer = get(http, clever, f"users?limit=10&ending_before={whole[50]['id']}").json()
    assert [entry["data"] for entry in answer["data"]] == whole[40:50]


def test_each_role_can_be_listed_and_people_with_two_roles_are_in_both(
    clever: Emulator, http: requests.Session
) -> None:
    whole = follow(http, clever.config(), "users?limit=10000")
    met = 0
    for role in ("student", "teacher", "staff", "district_admin", "contact"):
        rows = follow(http, clever.config(), f"users?limit=10000&role={role}")
        assert rows == [row for row in whole if role in row["roles"]]
        met += len(rows)
    assert met > len(whole)
    assert get(http, clever, "users?role=principal").status_code == 400


def test_people_and_schools_are_found_by_id(clever: Emulator, http: requests.Session) -> None:
    row = follow(http, clever.config(), "users")[77]
    assert get(http, clever, f"users/{row['id']}").json()["data"] == row
    school = follow(http, clever.config(), "schools")[1]
    assert get(http, clever, f"schools/{school['id']}").json()["data"] == school
    assert get(http, clever, f"users/{row['id'][:-1]}g").status_code == 404
    members = follow(http, clever.config(), f"schools/{school['id']}/users?limit=10000")
    assert row["id"] in {m["id"] for m in members} or school["id"] not in str(row["roles"])
    assert members
    assert all(school["id"] in str(member["roles"]) for member in members)


def test_somebody_who_left_answers_404(
    district: District, clever: Emulator, http: requests.Session
) -> None:
    before = {entry.external_id for entry in district.truth(0, "clever")}
    after = {entry.external_id for entry in district.truth(1, "clever")}
    gone = sorted(before - after)[0]
    assert get(http, clever, f"users/{gone}").status_code == 200
    clever.day = 1
    answer = get(http, clever, f"users/{gone}")
    assert answer.status_code == 404
    assert "message" in answer.json()


def test_without_the_right_token_nothing_is_served(
    clever: Emulator, http: requests.Session
) -> None:
    url = f"{clever.base_url}/users"
    assert http.get(url, timeout=20).status_code == 401
    assert http.get(url, headers=bearer("f" * 40), timeout=20).status_code == 401
    old = clever.config()["token"]
    clever.rotate()
    assert http.get(url, headers=bearer(old), timeout=20).status_code == 401
    assert get(http, clever, "users").status_code == 200


def test_the_token_list_needs_the_partners_secret_and_names_each_district(
    clever: Emulator, http: requests.Session
) -> None:
    config = clever.config("lookup")
    url, pair = config["tokens_url"], (config["client_id"], config["client_secret"])
    wrong = http.get(f"{url}?owner_type=district", auth=(pair[0], "wrong"), timeout=20)
    assert wrong.status_code == 401
    assert set(wrong.json()) == {"error", "error_description"}
    rows = http.get(f"{url}?owner_type=district", auth=pair, timeout=20).json()["data"]
    assert len(rows) == 2
    mine = next(row for row in rows if row["owner"]["id"] == config["district_id"])
    assert mine["access_token"] == clever.config()["token"]
    one = http.get(
        f"{url}?owner_type=district&district={config['district_id']}", auth=pair, timeout=20
    )
    assert one.json()["data"] == [mine]
    basic = base64.b64encode(":".join(pair).encode()).decode()
    assert basic not in repr(clever.requests)


def test_each_neighbour_is_a_district_of_its_own(clever: Emulator, http: requests.Session) -> None:
    neighbour = clever.tenants[1]
    config = {**clever.config(), "token": neighbour.token}
    mine = {row["district"] for row in follow(http, clever.config(), "users")}
    theirs = {row["district"] for row in follow(http, config, "users")}
    assert len(mine) == len(theirs) == 1
    assert mine != theirs


def test_the_rate_limit_is_real_and_its_429_is_empty(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "clever", rate_limit=3) as emulator:
        answers = [get(http, emulator, "districts") for _ in range(7)]
    assert answers[0].headers["X-RateLimit-Remaining"] == "2"
    refused = [a for a in answers if a.status_code == 429]
    assert refused
    assert refused[0].content == b""
    assert int(refused[0].headers["X-RateLimit-Reset"]) > 0


def test_the_district_says_its_state(clever: Emulator, http: requests.Session) -> None:
    assert get(http, clever, "districts").json()["data"][0]["data"]["state"] == "running"
    clever.vendor_state = "paused"
    record = get(http, clever, "districts").json()["data"][0]["data"]
    assert record["state"] == "paused"
    assert record["pause_start"]


def test_an_unknown_page_is_html(clever: Emulator, http: requests.Session) -> None:
    answer = get(http, clever, "nothing/here")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"].startswith("text/html")


def test_events_in_order_turn_one_day_into_the_next(
    district: District, clever: Emulator, http: requests.Session
) -> None:
    state = {row["id"]: row for row in follow(http, clever.config(), "users?limit=10000")}
    clever.day = 3
    for event in follow(http, clever.config(), "events?limit=7"):
        record = event["data"]["object"]
        if event["type"] == "users.deleted":
            state.pop(record["id"], None)
        elif event["type"].startswith("users."):
            state[record["id"]] = record
        assert ("previous_attributes" in event["data"]) == event["type"].endswith("updated")
    assert state == {row["id"]: row for row in follow(http, clever.config(), "users?limit=10000")}


def test_previous_attributes_tell_what_it_was(clever: Emulator, http: requests.Session) -> None:
    before = {row["id"]: row for row in follow(http, clever.config(), "users?limit=10000")}
    clever.day = 1
    updates = [e for e in follow(http, clever.config(), "events") if e["type"] == "users.updated"]
    assert len(updates) == 20
    for event in updates:
        old = before[event["data"]["object"]["id"]]
        assert event["data"]["previous_attributes"]["last_modified"] == old["last_modified"]


def test_the_newest_event_can_be_asked_for_and_followed(
    clever: Emulator, http: requests.Session
) -> None:
    clever.day = 1
    newest = get(http, clever, "events?limit=1&ending_before=last").json()["data"][0]["data"]
    assert follow(http, clever.config(), f"events?starting_after={newest['id']}") == []
    clever.day = 2
    after = follow(http, clever.config(), f"events?starting_after={newest['id']}")
    assert len(after) == 5 + 4 + 3 + 12 + 1
    assert all(event["id"] > newest["id"] for event in after)


def test_events_are_opt_in(district: District, http: requests.Session) -> None:
    with Emulator(district, "clever", day=2, events=False) as emulator:
        assert follow(http, emulator.config(), "events") == []


def test_many_connections_at_once_are_told_the_same(http: requests.Session) -> None:
    roles = ("student", "teacher", "staff", "district_admin") * 3
    fresh = District(seed=5, users=2_000)
    with Emulator(fresh, "clever") as emulator, ThreadPoolExecutor(len(roles)) as pool:
        config = emulator.config()

        def read(role: str) -> list[str]:
            with requests.Session() as session:
                session.trust_env = False
                rows = follow(session, config, f"users?limit=300&role={role}")
            return [row["id"] for row in rows]

        answers = list(pool.map(read, roles))
        for role, found in zip(roles, answers, strict=True):
            assert found == [row["id"] for row in follow(http, config, f"users?role={role}")]
