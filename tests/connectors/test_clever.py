"""Clever: what its answers mean in our words, and how a roster is read to its proven end.

One file, because a vendor is one file: its records, its events and its refusals share one server.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr, ValidationError

from connectors.clever.connector import Clever, CleverConfig
from connectors.contract.connector import FetchRequest
from core.errors import (
    ConfigError,
    CredentialsRefused,
    CursorLost,
    Disconnected,
    IncompleteFetch,
    RetryableError,
    SkipRecord,
    WrongDistrict,
)
from core.models import Role
from tests.connectors.conftest import START, Asked, Reply, Vendor, Waits

API = "https://api.clever.example/v3.0"
DISTRICT = "6b00000000000000000000d1"
LINCOLN, GRANT = "6b00000000000000000000a1", "6b00000000000000000000a2"
ADA, JO, MO, ROSA = (f"6b00000000000000000000b{n}" for n in "1234")


def clever(waits: Waits, **config: Any) -> Clever:
    connector = Clever(CleverConfig(**{"base_url": API, "token": SecretStr("tok"), **config}))
    connector.clock = waits.clock
    return connector


def lists(*records: dict[str, Any], then: str | None = None) -> dict[str, Any]:
    links = [{"rel": "self", "uri": "/v3.0/x"}]
    if then is not None:
        links.append({"rel": "next", "uri": f"/v3.0/x?limit=2&starting_after={then}"})
    return {"data": [{"data": record, "uri": "/v3.0/x"} for record in records], "links": links}


def student(key: str) -> dict[str, Any]:
    return {"id": key, "name": {"first": "A", "last": "B"}, "roles": {"student": {}}}


NOTHING = lists()


class District:
    """A Clever of a few lines: pages by ascending id, as the documentation says."""

    def __init__(self, vendor: Vendor, fixture: Any, **collections: Any) -> None:
        self.collections: dict[str, list[Any]] = {
            "districts": fixture("clever/springfield/districts.json")["data"],
            "schools": fixture("clever/springfield/schools.json")["data"],
            "users": fixture("clever/springfield/users.json")["data"],
            "events": [],
            **collections,
        }
        self.faults: dict[str, Reply] = {}
        self.url = f"{vendor.url}/v3.0"
        vendor.answer = self.answer

    def answer(self, asked: Asked) -> Reply:
        path, _, query = asked.target.partition("?")
        params = dict(part.split("=") for part in query.split("&") if part)
        if path in self.faults:
            return self.faults[path]
        name, _, key = path.removeprefix("/v3.0/").partition("/")
        records = self.collections[name]
        if key:
            found = [item for item in records if item["data"]["id"] == key]
            return Reply(body=json.dumps(found[0]).encode()) if found else Reply(404)
        if params.get("ending_before") == "last":
            records = records[-int(params["limit"]) :]
        if "role" in params:
            records = [item for item in records if params["role"] in item["data"]["roles"]]
        after, limit = params.get("starting_after", ""), int(params.get("limit", 100))
        rest = [item for item in records if item["data"]["id"] > after]
        links = [{"rel": "self", "uri": asked.target}]
        if len(rest) > limit:
            last = rest[limit - 1]["data"]["id"]
            links.append(
                {"rel": "next", "uri": f"/v3.0/{name}?limit={limit}&starting_after={last}"}
            )
        return Reply(body=json.dumps({"data": rest[:limit], "links": links}).encode())


@pytest.fixture
def district(vendor: Vendor, fixture: Any) -> District:
    return District(vendor, fixture)


# --- one roster, whole


def test_a_district_is_read_whole(district: District, waits: Waits, fetch: Any) -> None:
    fetched = fetch(clever(waits, base_url=district.url))
    assert list(fetched.schools) == [LINCOLN, GRANT]
    assert list(fetched.users) == [ADA, JO, MO, ROSA]
    certificate = fetched.certificate
    assert certificate.complete
    assert not certificate.incremental
    assert certificate.vendor_district == DISTRICT
    assert certificate.vendor_time is not None
    assert certificate.vendor_time.isoformat() == "2026-01-05T08:30:00.123000+00:00"
    assert certificate.vendor_state is None
    assert certificate.cursor is None


def test_a_student_is_read_with_all_that_has_a_place_with_us(
    district: District, waits: Waits, fetch: Any
) -> None:
    user = fetch(clever(waits, base_url=district.url)).users[ADA].user
    assert user.model_dump(exclude_none=True) == {
        "external_id": ADA,
        "given_name": "Ada",
        "middle_name": "N",
        "family_name": "Okafor",
        "email": "ada.okafor@springfield.example",
        "username": "aokafor",
        "memberships": (
            {"role": Role.STUDENT, "school": LINCOLN, "primary": True},
            {"role": Role.STUDENT, "school": GRANT, "primary": False},
        ),
        "grade": "05",
        "graduation_year": 2033,
        "sis_id": "100001",
        "student_number": "100001",
        "enabled": True,
    }


def test_a_person_of_two_roles_is_one_record_with_both(
    district: District, waits: Waits, fetch: Any
) -> None:
    record = fetch(clever(waits, base_url=district.url)).users[JO]
    assert [(m.role, m.school, m.primary) for m in record.user.memberships] == [
        (Role.TEACHER, GRANT, True),
        (Role.STAFF, LINCOLN, False),
    ]
    assert record.user.staff_number == "7007"
    assert record.user.state_id == "IL-T-7"
    assert record.user.sis_id == "T-7"


def test_a_principal_among_the_staff_stays_staff(
    district: District, waits: Waits, fetch: Any
) -> None:
    roles = {m.role for m in fetch(clever(waits, base_url=district.url)).users[JO].user.memberships}
    assert Role.ADMIN not in roles


def test_a_district_admin_belongs_to_no_school(
    district: District, waits: Waits, fetch: Any
) -> None:
    user = fetch(clever(waits, base_url=district.url)).users[MO].user
    assert [(m.role, m.school) for m in user.memberships] == [(Role.ADMIN, None)]


def test_a_guardian_without_a_first_name_is_read(
    district: District, waits: Waits, fetch: Any
) -> None:
    user = fetch(clever(waits, base_url=district.url)).users[ROSA].user
    assert (user.given_name, user.family_name, user.email) == (None, "Rosa Maria Okafor", None)
    assert [m.role for m in user.memberships] == [Role.CONTACT]


def test_a_school_is_read_with_its_numbers(district: District, waits: Waits, fetch: Any) -> None:
    school = fetch(clever(waits, base_url=district.url)).schools[LINCOLN].school
    assert school.model_dump() == {
        "external_id": LINCOLN,
        "name": "Lincoln Elementary",
        "nces_id": "170000100101",
        "state_id": "IL-0101",
        "number": "101",
    }


def test_the_newest_version_brings_preferred_names_and_no_demographics(
    waits: Waits, fixture: Any
) -> None:
    raw = json.dumps(fixture("clever/v31/users.json")["data"][0]["data"]).encode()
    connector = clever(waits)
    record = connector.parse("users", raw)
    assert record.user is not None
    assert (record.user.given_name, record.user.preferred_given_name) == ("Samantha", "Sam")
    assert record.user.grade == "TK"
    assert record.user.graduation_year == 2038
    shown = json.dumps(dict(connector.fields("users", raw)))
    for word in ("gifted", "frl", "disability", "Hmong"):
        assert word not in shown
    assert "preferred_name" in shown


def oddity(fixture: Any, key: str) -> bytes:
    for item in fixture("clever/oddities/users.json")["data"]:
        if item["data"].get("id") == key:
            return json.dumps(item["data"]).encode()
    raise KeyError(key)


def test_staff_without_a_school_and_an_invalid_email_are_read(waits: Waits, fixture: Any) -> None:
    record = clever(waits).parse("users", oddity(fixture, "6b00000000000000000000e1"))
    user = record.user
    assert [(doubt.rule, doubt.column) for doubt in record.doubts] == [("email-format", "email")]
    assert user is not None
    assert (user.given_name, user.email, user.staff_number) == ("Zoë", None, "S-9")
    assert [(m.role, m.school) for m in user.memberships] == [(Role.STAFF, None)]


def test_blank_null_and_absent_are_the_same(waits: Waits, fixture: Any) -> None:
    record = clever(waits).parse("users", oddity(fixture, "6b00000000000000000000e2"))
    user = record.user
    assert user is not None
    assert (user.given_name, user.middle_name, user.family_name) == (None, None, "李")
    assert (user.username, user.graduation_year, user.sis_id) == (None, None, "42")
    assert [(m.school, m.primary) for m in user.memberships] == [(LINCOLN, False)]
    assert record.unknown == ("grade=Grade Eleven",)


def test_a_new_role_word_is_counted_and_does_not_stop_the_person(
    waits: Waits, fixture: Any
) -> None:
    record = clever(waits).parse("users", oddity(fixture, "6b00000000000000000000e3"))
    assert record.unknown == ("role=school_admin",)
    assert record.user is not None
    assert [m.role for m in record.user.memberships] == [Role.STAFF]


@pytest.mark.parametrize(
    ("key", "rule", "column"),
    [
        ("6b00000000000000000000e4", "unknown-role", "roles"),
        ("6b00000000000000000000e5", "unreadable", "name"),
    ],
)
def test_an_unusable_record_is_skipped_with_its_key_rule_and_column(
    waits: Waits, fixture: Any, key: str, rule: str, column: str
) -> None:
    with pytest.raises(SkipRecord) as caught:
        clever(waits).parse("users", oddity(fixture, key))
    assert (caught.value.key, caught.value.rule, caught.value.column) == (key, rule, column)


def test_a_record_without_an_id_is_skipped_without_a_key(waits: Waits) -> None:
    with pytest.raises(SkipRecord) as caught:
        clever(waits).identify("users", b'{"name": {"first": "Secret"}}')
    assert caught.value.key is None
    assert "Secret" not in caught.value.message


def test_a_page_with_its_links_first_is_read(
    vendor: Vendor, fixture: Any, waits: Waits, fetch: Any
) -> None:
    district = District(vendor, fixture, users=fixture("clever/oddities/users.json")["data"][:3])
    whole = district.answer

    def links_first(asked: Asked) -> Reply:
        reply = json.loads(whole(asked).body)
        turned = {"links": reply["links"], "extra": {"links": [1]}, "data": reply["data"]}
        return Reply(body=json.dumps(turned, indent=1).encode())

    vendor.answer = links_first
    fetched = fetch(clever(waits, base_url=district.url, page_size=1))
    assert len(fetched.users) == 3
    assert len(fetched.schools) == 2


# --- paging


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_every_page_size_gives_the_same_people(
    district: District, waits: Waits, fetch: Any, size: int
) -> None:
    fetched = fetch(clever(waits, base_url=district.url, page_size=size))
    assert [record.key for record in fetched.records["users"]] == [ADA, JO, MO, ROSA]


def test_a_next_link_that_is_missing_too_early_loses_nobody(
    web: Any, waits: Waits, fetch: Any, fixture: Any
) -> None:
    web.get(f"{API}/districts", json=fixture("clever/springfield/districts.json"))
    web.get(f"{API}/schools?limit=2", json=NOTHING)
    web.get(f"{API}/users?limit=2", json=lists(student("a"), student("b")))
    web.get(f"{API}/users?limit=2&starting_after=b", json=lists(student("c")))
    web.get(f"{API}/users?limit=2&starting_after=c", json=NOTHING)
    assert list(fetch(clever(waits, page_size=2)).users) == ["a", "b", "c"]


def test_pages_without_end_are_stopped(web: Any, waits: Waits, fetch: Any, fixture: Any) -> None:
    web.get(f"{API}/districts", json=fixture("clever/springfield/districts.json"))
    web.get(f"{API}/schools?limit=2", json=NOTHING)
    web.get(f"{API}/users?limit=2", json=lists(student("a"), then="a"))
    web.get(f"{API}/users?limit=2&starting_after=a", json=lists(student("b"), then="a"))
    with pytest.raises(IncompleteFetch, match="twice"):
        fetch(clever(waits, page_size=2))


def test_a_page_that_comes_again_under_a_new_cursor_is_stopped(
    web: Any, waits: Waits, fetch: Any, fixture: Any
) -> None:
    web.get(f"{API}/districts", json=fixture("clever/springfield/districts.json"))
    web.get(f"{API}/schools?limit=2", json=NOTHING)
    web.get(f"{API}/users?limit=2", json=lists(student("a")))
    web.get(f"{API}/users?limit=2&starting_after=a", json=lists(student("a")))
    with pytest.raises(IncompleteFetch, match="twice"):
        fetch(clever(waits, page_size=2))


def test_a_link_to_another_host_is_never_followed(
    district: District, vendor: Vendor, other_vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    honest = district.answer

    def poisoned(asked: Asked) -> Reply:
        reply = honest(asked)
        body = re.sub(rb'"uri": "/v3.0', b'"uri": "' + other_vendor.url.encode(), reply.body)
        return Reply(reply.status, body)

    vendor.answer = poisoned
    fetched = fetch(clever(waits, base_url=district.url, page_size=2))
    assert len(fetched.users) == 4
    assert other_vendor.asked == []


def test_413_halves_the_page_and_goes_on_at_the_same_place(
    district: District, vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    honest = district.answer

    def heavy(asked: Asked) -> Reply:
        found = re.search(r"limit=(\d+)", asked.target)
        return Reply(413) if found and int(found.group(1)) > 300 else honest(asked)

    vendor.answer = heavy
    fetched = fetch(clever(waits, base_url=district.url, page_size=1000))
    assert len(fetched.users) == 4
    assert sorted({int(n) for a in vendor.asked for n in re.findall(r"limit=(\d+)", a.target)}) == [
        250, 500, 1000,
    ]  # fmt: skip


def test_one_role_lets_clever_filter_and_two_read_everybody_once(
    district: District, vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    fetched = fetch(clever(waits, base_url=district.url, roles=["teacher"]))
    assert list(fetched.users) == [JO]
    vendor.asked.clear()
    fetched = fetch(clever(waits, base_url=district.url, roles=["teacher", "staff"]))
    assert [record.key for record in fetched.records["users"]].count(JO) == 1
    assert not any("role=" in asked.target for asked in vendor.asked)


def test_equal_rosters_give_equal_pages(district: District, waits: Waits, fetch: Any) -> None:
    one, two = (fetch(clever(waits, base_url=district.url, page_size=2)) for _ in range(2))
    assert [page.body for page in one.pages] == [page.body for page in two.pages]


def test_a_full_fetch_costs_one_request_for_each_page_and_one_to_prove_each_end(
    district: District, vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    fetch(clever(waits, base_url=district.url, page_size=2))
    assert len(vendor.asked) == 1 + (1 + 1) + (2 + 1)


# --- faults


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, b""),
        Reply(500, b"{}"),
        Reply(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"}),
        Reply(200, b"<html>Sign in</html>", {"Content-Type": "text/html"}),
        Reply(200, b'{"data": [{"data": {"id": "a"'),
        Reply(200, b'{"message": "?"}'),
        Reply(200, b""),
        Reply(hang_up=True),
    ],
    ids=["429", "500", "502 html", "200 html", "cut", "no list", "empty", "hang up"],
)
def test_a_fault_in_the_middle_is_incomplete_and_what_came_before_counts(
    district: District, waits: Waits, reply: Reply
) -> None:
    district.faults["/v3.0/users"] = reply
    connector = clever(waits, base_url=district.url, attempts=3)
    pages = connector.pages(FetchRequest())
    assert next(pages).stream == "schools"
    with pytest.raises(IncompleteFetch):
        next(pages)
    connector.close()


def test_a_refused_token_is_a_credential_error(
    district: District, waits: Waits, fetch: Any
) -> None:
    district.faults["/v3.0/districts"] = Reply(401, b'{"message": "bad token"}')
    with pytest.raises(CredentialsRefused):
        fetch(clever(waits, base_url=district.url))


def test_a_page_cut_in_its_middle_but_whole_at_its_end_is_incomplete(waits: Waits) -> None:
    from connectors.clever.connector import split_listing

    with pytest.raises(IncompleteFetch):
        split_listing(b'{"data": [{"data": {"id": "a"}], "links": []}')


# --- the district and its token


def test_a_token_of_another_district_is_refused_before_anybody_is_read(
    district: District, vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    with pytest.raises(WrongDistrict) as caught:
        fetch(clever(waits, base_url=district.url, district_id="6b00000000000000000000d9"))
    assert caught.value.exit_code == 2
    assert [asked.target for asked in vendor.asked] == ["/v3.0/districts"]


def test_the_district_of_a_token_can_be_asked_for_alone(
    district: District, vendor: Vendor, waits: Waits
) -> None:
    connector = clever(waits, base_url=district.url)
    assert connector.vendor_district() == DISTRICT
    connector.close()
    assert len(vendor.asked) == 1


def test_asking_first_whose_roster_it_is_costs_no_request_more(
    district: District, vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    connector = clever(waits, base_url=district.url)
    asked_first = connector.vendor_district()
    assert fetch(connector).certificate.vendor_district == asked_first
    assert sum(asked.target == "/v3.0/districts" for asked in vendor.asked) == 1


APP = {
    "token": None,
    "client_id": "app",
    "client_secret": SecretStr("shh"),
    "district_id": DISTRICT,
    "tokens_url": "https://clever.example/oauth/tokens",
}


def test_the_newest_token_of_the_district_is_looked_up_each_run(
    web: Any, waits: Waits, fetch: Any, fixture: Any
) -> None:
    web.get(
        f"https://clever.example/oauth/tokens?owner_type=district&district={DISTRICT}",
        json=fixture("clever/springfield/tokens.json"),
    )
    web.get(f"{API}/districts", json=fixture("clever/springfield/districts.json"))
    web.get(f"{API}/schools?limit=10000", json=NOTHING)
    web.get(f"{API}/users?limit=10000", json=NOTHING)
    assert fetch(clever(waits, **APP)).certificate.complete
    assert web.calls[0].request.headers["Authorization"] == "Basic YXBwOnNoaA=="
    assert web.calls[1].request.headers["Authorization"].endswith("new")


def test_a_token_that_rotates_in_the_middle_just_works(
    web: Any, waits: Waits, fetch: Any, fixture: Any
) -> None:
    tokens = fixture("clever/springfield/tokens.json")
    url = f"https://clever.example/oauth/tokens?owner_type=district&district={DISTRICT}"
    web.get(url, json={**tokens, "data": tokens["data"][:1]})
    web.get(f"{API}/districts", json=fixture("clever/springfield/districts.json"))
    web.get(f"{API}/schools?limit=10000", status=401, body="")
    web.get(url, json=tokens)
    web.get(f"{API}/schools?limit=10000", json=NOTHING)
    web.get(f"{API}/users?limit=10000", json=NOTHING)
    assert fetch(clever(waits, **APP)).certificate.complete


@pytest.mark.parametrize("answer", [{"json": {"data": [], "links": []}}, {"status": 404}])
def test_a_district_that_is_no_longer_listed_is_disconnected(
    web: Any, waits: Waits, fetch: Any, answer: dict[str, Any]
) -> None:
    web.get("https://clever.example/oauth/tokens", **answer)
    with pytest.raises(Disconnected) as caught:
        fetch(clever(waits, **APP))
    assert caught.value.exit_code == 12


def test_credentials_of_some_kind_must_be_given() -> None:
    with pytest.raises(ValidationError, match="either token, or client_id"):
        CleverConfig(client_id="app")


def test_an_app_without_a_district_is_told_to_discover(waits: Waits, fetch: Any) -> None:
    with pytest.raises(ConfigError, match="district_id"):
        fetch(clever(waits, **{**APP, "district_id": None}))


def test_discovery_lists_the_districts_with_their_names(web: Any, fixture: Any) -> None:
    web.get("https://clever.example/oauth/tokens", json=fixture("clever/springfield/tokens.json"))
    web.get(f"{API}/districts", json=fixture("clever/springfield/districts.json"))
    web.get(f"{API}/districts", status=401, body="")
    found = Clever.districts(CleverConfig(**{"base_url": API, **APP, "district_id": None}))
    assert {district.id for district in found} == {DISTRICT}
    assert {district.name for district in found} == {"#Springfield USD", DISTRICT}


@pytest.mark.parametrize("state", ["paused", "pending", "error"])
def test_the_vendors_own_state_is_told_and_the_roster_is_read_on(
    vendor: Vendor, fixture: Any, waits: Waits, fetch: Any, state: str
) -> None:
    districts = fixture("clever/paused/districts.json")["data"]
    districts[0]["data"]["state"] = state
    district = District(vendor, fixture, districts=districts)
    fetched = fetch(clever(waits, base_url=district.url))
    assert fetched.certificate.vendor_state == state
    assert fetched.certificate.vendor_time.isoformat() == "2026-06-10T01:00:00+00:00"
    assert len(fetched.users) == 4


def test_single_users_can_be_asked_for(district: District, waits: Waits) -> None:
    connector = clever(waits, base_url=district.url)
    assert connector.exists([ADA, "6b00000000000000000000zz"]) == {
        ADA: True,
        "6b00000000000000000000zz": False,
    }
    connector.close()


def test_a_check_tells_which_roles_are_shared(district: District, waits: Waits) -> None:
    district.collections["users"] = district.collections["users"][:1]
    connector = clever(waits, base_url=district.url)
    found = {check.name: check.passed for check in connector.check()}
    connector.close()
    assert found == {
        "credentials": True,
        "vendor": True,
        "schools": True,
        "student": True,
        "teacher": False,
        "staff": False,
        "admin": False,
    }


def test_a_check_of_a_refused_token_says_so(district: District, waits: Waits) -> None:
    district.faults["/v3.0/districts"] = Reply(401)
    connector = clever(waits, base_url=district.url)
    checks = list(connector.check())
    connector.close()
    assert [(check.name, check.passed) for check in checks] == [("credentials", False)]


# --- events


@pytest.fixture
def changing(vendor: Vendor, fixture: Any) -> District:
    first = {"data": {"id": "6c00000000000000000000e1", "type": "users.updated", "data": {}}}
    return District(vendor, fixture, events=[first])


def test_a_full_fetch_remembers_the_newest_event_from_before_it_began(
    changing: District, vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    fetched = fetch(clever(waits, base_url=changing.url, events=True))
    assert fetched.certificate.cursor == {"event": "6c00000000000000000000e1", "at": int(START)}
    assert vendor.asked[1].target == "/v3.0/events?limit=1&ending_before=last"


def changes(changing: District, fixture: Any, waits: Waits, fetch: Any, size: int = 10000) -> Any:
    connector = clever(waits, base_url=changing.url, events=True, page_size=size)
    cursor = fetch(connector).certificate.cursor
    changing.collections["events"] += fixture("clever/events/events.json")["data"]
    again = clever(waits, base_url=changing.url, events=True, page_size=size)
    return fetch(again, FetchRequest(cursor=cursor))


@pytest.mark.parametrize("size", [1, 3, 10000])
def test_events_give_the_last_word_on_each_record(
    changing: District, fixture: Any, waits: Waits, fetch: Any, size: int
) -> None:
    fetched = changes(changing, fixture, waits, fetch, size)
    assert fetched.certificate.incremental
    assert fetched.certificate.cursor["event"] == "6c00000000000000000000e8"
    assert fetched.users[ADA].user.email == "ada.o@springfield.example"
    assert fetched.users[ADA].user.grade == "06"
    assert fetched.users[JO].deleted
    assert fetched.users[JO].user is None
    assert fetched.users["6b00000000000000000000b9"].user.staff_number == "S-11"
    assert len(fetched.records["users"]) == 3
    assert fetched.schools[GRANT].school.name == "Grant Middle School"
    assert fetched.certificate.notes == ("Events of an unknown type were left out: buses.updated.",)


def test_a_record_out_of_an_event_has_the_bytes_of_a_full_fetch(
    changing: District, fixture: Any, waits: Waits, fetch: Any
) -> None:
    full = fetch(clever(waits, base_url=changing.url, events=True))
    raw = full.pages[1].split(full.pages[1].body)[0]
    event = {"id": "6c00000000000000000000e2", "type": "users.updated"}
    changing.collections["events"].append(
        {"data": {**event, "data": {"object": json.loads(raw), "previous_attributes": {}}}}
    )
    again = clever(waits, base_url=changing.url, events=True)
    delta = fetch(again, FetchRequest(cursor=full.certificate.cursor))
    assert delta.pages[0].split(delta.pages[0].body) == [raw]


def test_nothing_new_is_an_empty_incremental_fetch(
    changing: District, waits: Waits, fetch: Any
) -> None:
    cursor = fetch(clever(waits, base_url=changing.url, events=True)).certificate.cursor
    again = clever(waits, base_url=changing.url, events=True)
    fetched = fetch(again, FetchRequest(cursor=cursor))
    assert fetched.pages == []
    assert fetched.certificate.incremental
    assert fetched.certificate.cursor == cursor


@pytest.mark.parametrize(
    "cursor",
    [
        {"event": "6c00000000000000000000e1", "at": int(START) - 30 * 86400},
        {"event": "6c00000000000000000000e1"},
        {},
    ],
    ids=["too old", "no date", "empty"],
)
def test_a_cursor_that_clever_no_longer_reaches_asks_for_a_full_fetch(
    changing: District, waits: Waits, fetch: Any, cursor: dict[str, Any]
) -> None:
    with pytest.raises(CursorLost):
        fetch(clever(waits, base_url=changing.url, events=True), FetchRequest(cursor=cursor))


@pytest.mark.parametrize("status", [400, 404, 410])
def test_an_event_that_clever_does_not_know_asks_for_a_full_fetch(
    changing: District, waits: Waits, fetch: Any, status: int
) -> None:
    changing.faults["/v3.0/events"] = Reply(status)
    cursor = {"event": "6c00000000000000000000e1", "at": int(START)}
    with pytest.raises(CursorLost):
        fetch(clever(waits, base_url=changing.url, events=True), FetchRequest(cursor=cursor))


@pytest.mark.parametrize("status", [403, 500])
def test_events_that_cannot_be_read_now_are_no_reason_for_a_full_fetch(
    changing: District, waits: Waits, fetch: Any, status: int
) -> None:
    changing.faults["/v3.0/events"] = Reply(status)
    cursor = {"event": "6c00000000000000000000e1", "at": int(START)}
    with pytest.raises((IncompleteFetch, CredentialsRefused)):
        fetch(
            clever(waits, base_url=changing.url, events=True, attempts=2),
            FetchRequest(cursor=cursor),
        )


def test_an_event_without_its_record_asks_for_a_full_fetch(
    changing: District, waits: Waits, fetch: Any
) -> None:
    broken = {"id": "6c00000000000000000000e9", "type": "users.updated", "data": {"object": None}}
    changing.collections["events"].append({"data": broken})
    cursor = {"event": "6c00000000000000000000e1", "at": int(START)}
    with pytest.raises(CursorLost):
        fetch(clever(waits, base_url=changing.url, events=True), FetchRequest(cursor=cursor))


@pytest.mark.parametrize("status", [403, 404, 501])
def test_events_that_are_not_open_leave_the_full_fetch_whole(
    changing: District, waits: Waits, fetch: Any, status: int
) -> None:
    changing.faults["/v3.0/events"] = Reply(status)
    fetched = fetch(clever(waits, base_url=changing.url, events=True))
    assert fetched.certificate.complete
    assert fetched.certificate.cursor is None
    assert "events" in fetched.certificate.notes[0]


def test_events_are_read_only_where_a_district_asks_for_them(
    changing: District, vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    assert not clever(waits).capabilities.incremental
    fetch(clever(waits, base_url=changing.url))
    assert not any("events" in asked.target for asked in vendor.asked)


def test_the_pages_of_a_fetch_are_valid_json_on_their_own(
    district: District, waits: Waits, fetch: Any
) -> None:
    for page in fetch(clever(waits, base_url=district.url)).pages:
        for raw in page.split(page.body):
            assert "id" in msgspec.json.decode(raw)


def test_a_vendor_that_stays_busy_before_the_first_page_is_a_vendor_failure(
    district: District, waits: Waits, fetch: Any
) -> None:
    district.faults["/v3.0/districts"] = Reply(503)
    with pytest.raises(RetryableError):
        fetch(clever(waits, base_url=district.url, attempts=2))
