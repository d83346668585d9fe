"""OneRoster REST 1.1 and 1.2: records in our words, and a paging that loses nobody.

One file, because a vendor is one file: its records, its paging and its refusals share one server.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from connectors.contract.connector import FetchRequest
from connectors.oneroster import OneRoster, OneRosterConfig
from core.errors import (
    CredentialsRefused,
    CursorLost,
    IncompleteFetch,
    RetryableError,
    SkipRecord,
)
from core.models import Role
from tests.connectors.conftest import Asked, Reply, Vendor, Waits
from tests.connectors.provider import Provider, people

HTML = Reply(200, b"<html>Sign in</html>", {"Content-Type": "text/html"})


@pytest.fixture
def provider(vendor: Vendor) -> Provider:
    school = {"sourcedId": "o1", "status": "active", "name": "Lincoln", "type": "school"}
    return Provider(vendor, collections={"orgs": [], "schools": [school], "users": people(25)})


def oneroster(waits: Waits, provider: Provider | None = None, **config: Any) -> OneRoster:
    root = provider.root if provider is not None else "https://d.example/ims/oneroster/v1p1"
    values = {"base_url": root, "auth": "bearer", "bearer": SecretStr("tok"), **config}
    connector = OneRoster(OneRosterConfig(**values))
    connector.clock = waits.clock
    return connector


def parse(waits: Waits, record: Any, **config: Any) -> Any:
    return oneroster(waits, **config).parse("users", json.dumps(record).encode())


# --- records


def test_a_1_1_student_is_read_in_our_words(waits: Waits, fixture: Any) -> None:
    user = parse(waits, fixture("oneroster/v1p1/users.json")["users"][0]).user
    assert user.model_dump(exclude_none=True) == {
        "external_id": "5678",
        "given_name": "Ada",
        "family_name": "Okafor",
        "email": "ada@springfield.example",
        "username": "aokafor",
        "memberships": (
            {"role": Role.STUDENT, "school": "7_1111", "primary": True},
            {"role": Role.STUDENT, "school": "7_2222", "primary": False},
        ),
        "grade": "05",
        "student_number": "100001",
        "state_id": "998877",
        "enabled": True,
    }


def test_every_1_1_role_finds_its_place(waits: Waits, fixture: Any) -> None:
    records = [parse(waits, user) for user in fixture("oneroster/v1p1/users.json")["users"]]
    roles = [[m.role for m in r.user.memberships] if r.user else None for r in records]
    assert roles == [
        [Role.STUDENT, Role.STUDENT],
        [Role.CONTACT],
        [Role.TEACHER],
        [Role.ADMIN],
        None,
    ]


def test_a_disabled_user_is_present_but_must_not_sign_in(waits: Waits, fixture: Any) -> None:
    teacher = parse(waits, fixture("oneroster/v1p1/users.json")["users"][2])
    assert not teacher.user.enabled
    assert not teacher.deleted
    assert teacher.user.staff_number == "7007"
    assert teacher.user.student_number is None


def test_tobedeleted_and_inactive_say_that_a_person_is_gone(waits: Waits, fixture: Any) -> None:
    gone = parse(waits, fixture("oneroster/v1p1/users.json")["users"][4])
    assert gone.deleted
    assert parse(waits, fixture("oneroster/oddities/users.json")["users"][1]).deleted


def test_a_1_2_person_of_two_roles_has_both_at_their_schools(waits: Waits, fixture: Any) -> None:
    user = parse(waits, fixture("oneroster/v1p2/users.json")["users"][0]).user
    assert [(m.role, m.school, m.primary) for m in user.memberships] == [
        (Role.TEACHER, "7_2222", True),
        (Role.STAFF, "7_1111", False),
    ]
    assert (user.given_name, user.preferred_given_name) == ("Samantha", "Sam")
    assert (user.preferred_family_name, user.preferred_middle_name) == ("Lee-Ng", None)
    assert user.staff_number == "T-1"
    assert user.person_key == "master:person-1"


def test_an_extension_role_is_counted_and_the_others_hold(waits: Waits, fixture: Any) -> None:
    record = parse(waits, fixture("oneroster/v1p2/users.json")["users"][1])
    assert record.unknown == ("role=ext:bus.driver",)
    assert [(m.role, m.school, m.primary) for m in record.user.memberships] == [
        (Role.ADMIN, "7_1111", True)
    ]


def test_the_first_known_grade_is_taken(waits: Waits, fixture: Any) -> None:
    user = parse(waits, fixture("oneroster/v1p2/users.json")["users"][2]).user
    assert (user.grade, user.student_number) == ("KG", "100003")


def test_a_user_without_a_known_role_is_skipped(waits: Waits, fixture: Any) -> None:
    for record in (
        fixture("oneroster/v1p2/users.json")["users"][3],
        fixture("oneroster/oddities/users.json")["users"][4],
    ):
        with pytest.raises(SkipRecord) as caught:
            parse(waits, record)
        assert caught.value.rule == "unknown-role"
        assert caught.value.key == record["sourcedId"]


def test_odd_types_and_words_are_read_as_far_as_they_go(waits: Waits, fixture: Any) -> None:
    users = fixture("oneroster/oddities/users.json")["users"]
    record = parse(waits, users[0])
    assert record.key == "4711"
    assert [(m.role, m.school) for m in record.user.memberships] == [(Role.STUDENT, "9")]
    assert record.user.enabled
    assert record.unknown == ("enabledUser=maybe", "grade=Grade 9")
    assert record.user.student_number == "12"
    plain = parse(waits, users[2])
    assert plain.unknown == ("status=unheard",)
    assert [(m.role, m.school) for m in plain.user.memberships] == [(Role.STAFF, None)]


def test_an_unreadable_record_names_its_column_and_no_value(waits: Waits, fixture: Any) -> None:
    users = fixture("oneroster/oddities/users.json")["users"]
    with pytest.raises(SkipRecord) as caught:
        parse(waits, users[3])
    assert (caught.value.rule, caught.value.column) == ("unreadable", "givenName")
    with pytest.raises(SkipRecord) as caught:
        parse(waits, users[5])
    assert caught.value.key is None


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({}, None),
        ({"person_id_type": "fed"}, "userid:fed:aokafor@springfield.example"),
        ({"person_id_type": ["x", "fed"]}, "userid:fed:aokafor@springfield.example"),
        ({"person_id_type": ["x", "y"]}, None),
    ],
)
def test_entries_of_one_person_join_by_a_configured_id_type_only(
    waits: Waits, fixture: Any, config: dict[str, Any], key: str | None
) -> None:
    record = parse(waits, fixture("oneroster/v1p1/users.json")["users"][0], **config)
    assert record.user.person_key == key


def test_the_master_identifier_wins_over_the_configured_type(waits: Waits, fixture: Any) -> None:
    record = parse(waits, fixture("oneroster/v1p2/users.json")["users"][0], person_id_type="LDAP")
    assert record.user.person_key == "master:person-1"


def test_passwords_and_profiles_reach_nothing(waits: Waits, fixture: Any) -> None:
    for path in ("oneroster/v1p1/users.json", "oneroster/v1p2/users.json"):
        raw = json.dumps(fixture(path)["users"][0]).encode()
        connector = oneroster(waits)
        told = repr(connector.parse("users", raw)) + repr(connector.fields("users", raw))
        assert "not-for-us" not in told


def test_a_school_has_an_nces_id_or_a_number(waits: Waits, fixture: Any) -> None:
    connector = oneroster(waits)
    schools = [
        connector.parse("schools", json.dumps(org).encode()).school
        for org in fixture("oneroster/v1p1/schools.json")["orgs"]
    ]
    assert [(s.name, s.nces_id, s.number) for s in schools] == [
        ("Lincoln Elementary", "170000100101", None),
        ("Grant Middle", None, "102"),
    ]


def test_an_org_that_is_a_district_is_no_school(waits: Waits) -> None:
    raw = b'{"sourcedId": "D1", "name": "Springfield USD", "type": "district"}'
    assert oneroster(waits).parse("schools", raw).deleted


# --- envelopes


@pytest.mark.parametrize(
    "body",
    [
        {"users": people(2)},
        {"students": people(2)},
        {"users": people(2), "statusInfoSet": [{"imsx_severity": "warning"}]},
        {"statusInfoSet": [], "result": people(2)},
    ],
)
def test_records_are_found_under_whatever_name_they_stand(
    provider: Provider, waits: Waits, fetch: Any, body: Any
) -> None:
    def fault(asked: Asked, params: dict[str, str]) -> Reply | None:
        if "/users?" not in asked.target:
            return None
        page = body if params["offset"] == "0" else {"users": []}
        return Reply(body=json.dumps(page).encode())

    provider.fault = fault
    assert len(fetch(oneroster(waits, provider)).users) == 2


@pytest.mark.parametrize(
    "reply",
    [
        HTML,
        Reply(200, b'{"imsx_codeMajor": "failure", "imsx_severity": "error"}'),
        Reply(200, b'{"statusInfoSet": [{"imsx_codeMajor": "failure"}]}'),
        Reply(200, b'{"users": [{"sourcedId": "a"'),
        Reply(200, b'{"users": {"a": 1}}'),
        Reply(200, b""),
        Reply(500, b"<html>"),
        Reply(429, b""),
        Reply(hang_up=True),
    ],
)
def test_an_answer_without_records_is_never_an_empty_roster(
    provider: Provider, waits: Waits, fetch: Any, reply: Reply
) -> None:
    provider.fault = lambda asked, params: reply if "/users?" in asked.target else None
    with pytest.raises(IncompleteFetch):
        fetch(oneroster(waits, provider, attempts=2))


@pytest.mark.parametrize(
    "body",
    [
        b'{"imsx_codeMajor":"failure","imsx_severity":"error","imsx_description":"no such thing",'
        b'"imsx_CodeMinor":{"imsx_codeMinorField":[{"imsx_codeMinorFieldName":"TargetEndSystem",'
        b'"imsx_codeMinorFieldValue":"forbidden"}]}}',
        b'{"imsx_StatusInfo":{"imsx_description":"no","imsx_codeMinor":"forbidden"}}',
        b'{"statusInfoSet":[{"imsx_codeMinor":"forbidden"}]}',
        b'{"errors":[{"code":"forbidden"}]}',
        b'{"error":"forbidden"}',
    ],
)
def test_the_code_of_a_providers_error_is_told_and_its_words_are_not(
    provider: Provider, waits: Waits, fetch: Any, body: bytes
) -> None:
    provider.fault = lambda asked, params: (
        Reply(422, body) if "/users?" in asked.target and "sort" not in params else None
    )
    provider.refuses_sort = True
    with pytest.raises(IncompleteFetch, match="it names the code forbidden") as caught:
        fetch(oneroster(waits, provider))
    assert "no such thing" not in str(caught.value)


# --- paging


@pytest.mark.parametrize("links", [None, "rfc", "bare", "plus-one"])
@pytest.mark.parametrize("total", [True, False])
@pytest.mark.parametrize("cap", [None, 3, 7])
@pytest.mark.parametrize("size", [1, 5, 10, 24, 25, 26, 1000])
def test_nobody_is_lost_whatever_headers_and_caps_a_provider_has(
    provider: Provider, waits: Waits, fetch: Any, links: Any, total: bool, cap: Any, size: int
) -> None:
    provider.links, provider.total, provider.cap = links, total, cap
    fetched = fetch(oneroster(waits, provider, page_size=size))
    assert [record.key for record in fetched.records["users"]] == [
        user["sourcedId"] for user in people(25)
    ]
    assert fetched.certificate.complete
    assert fetched.certificate.declared == ({"schools": 1, "users": 25} if total else {})


def test_a_provider_that_counts_from_one_is_followed(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.from_one, provider.links, provider.total = True, "plus-one", False
    fetched = fetch(oneroster(waits, provider, page_size=10))
    assert [record.key for record in fetched.records["users"]] == [
        user["sourcedId"] for user in people(25)
    ]


def test_pages_are_asked_for_in_a_stable_order(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    fetch(oneroster(waits, provider))
    asked = provider.asked("users")[0]
    assert (asked["sort"], asked["orderBy"]) == ("sourcedId", "asc")


def test_a_provider_that_refuses_to_sort_is_read_without(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.refuses_sort = True
    assert len(fetch(oneroster(waits, provider, page_size=10)).users) == 25


def test_a_provider_that_ignores_the_offset_is_stopped(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.ignores_offset = True
    with pytest.raises(IncompleteFetch, match="twice"):
        fetch(oneroster(waits, provider, page_size=10))


def test_a_roster_that_changes_while_it_is_read_is_incomplete(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    def fault(asked: Asked, params: dict[str, str]) -> None:
        if params.get("offset") == "10":
            provider.collections["users"] = provider.collections["users"][1:]

    provider.fault = fault
    with pytest.raises(IncompleteFetch, match="moved from 25 to 24"):
        fetch(oneroster(waits, provider, page_size=10))


def test_pages_that_shift_by_one_are_incomplete_without_a_total_too(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.total = False

    def fault(asked: Asked, params: dict[str, str]) -> None:
        if params.get("offset") == "10":
            provider.collections["users"].insert(0, {**people(1)[0], "sourcedId": "a-new-one"})

    provider.fault = fault
    with pytest.raises(IncompleteFetch, match="shifted"):
        fetch(oneroster(waits, provider, page_size=10))


@pytest.mark.parametrize("declared", [5, 10, 20, 24, 26, 100])
def test_a_wrong_total_never_makes_a_complete_certificate(
    provider: Provider, waits: Waits, fetch: Any, declared: int
) -> None:
    provider.headers = {"X-Total-Count": str(declared)}
    provider.total = False
    connector = oneroster(waits, provider, page_size=10)
    certificate = fetch(connector).certificate
    users_read = sum("/users?" in asked.target for asked in provider.vendor.asked)
    assert users_read >= 3
    assert not certificate.complete
    assert certificate.reason is not None


def test_an_early_empty_page_is_incomplete_where_a_total_is_declared(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.fault = lambda asked, params: (
        Reply(body=b'{"users": []}', headers={"X-Total-Count": "25"})
        if "/users?" in asked.target and params["offset"] == "10"
        else None
    )
    certificate = fetch(oneroster(waits, provider, page_size=10)).certificate
    assert not certificate.complete
    assert "declares 25 users and served 10" in (certificate.reason or "")


def test_413_halves_the_page_and_goes_on_at_the_same_place(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.collections["users"] = people(500)
    provider.fault = lambda asked, params: Reply(413) if int(params.get("limit", 0)) > 130 else None
    fetched = fetch(oneroster(waits, provider, page_size=1000))
    assert len(fetched.users) == 500


def test_no_link_leads_to_another_host(
    provider: Provider, other_vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    provider.total = False
    provider.headers = {"Link": f'<{other_vendor.url}/users?page=2>; rel="next"'}
    fetched = fetch(oneroster(waits, provider, page_size=10))
    assert len(fetched.users) == 25
    assert other_vendor.asked == []


def test_a_next_link_with_a_cursor_of_its_own_is_followed(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    def fault(asked: Asked, params: dict[str, str]) -> Reply | None:
        if "/users?" not in asked.target:
            return None
        number = int(params.get("token", 0))
        page = people(25)[number * 10 : number * 10 + 10]
        link = f'<{provider.root}/users?token={number + 1}>; rel="next"'
        headers = {"Link": link} if number < 2 else {"Link": ""}
        if number > 2 or int(params.get("offset", 0)) > 0:
            page = []
        return Reply(body=json.dumps({"users": page}).encode(), headers=headers)

    provider.fault = fault
    assert len(fetch(oneroster(waits, provider, page_size=10)).users) == 25


def test_a_full_fetch_costs_one_request_for_each_page(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    fetch(oneroster(waits, provider, page_size=10))
    assert len(provider.asked("schools")) == 1
    assert len(provider.asked("users")) == 3
    assert len(provider.vendor.asked) == 5  # and one for the district


def test_equal_rosters_give_equal_pages(provider: Provider, waits: Waits, fetch: Any) -> None:
    one, two = (fetch(oneroster(waits, provider, page_size=10)) for _ in range(2))
    assert [page.body for page in one.pages] == [page.body for page in two.pages]


def test_ids_with_blanks_bars_and_slashes_can_be_asked_for(
    provider: Provider, waits: Waits, fixture: Any
) -> None:
    provider.collections["users"] = fixture("oneroster/v1p1/users.json")["users"]
    connector = oneroster(waits, provider)
    found = connector.exists(["P|55", "t 7/ü", "X9", "nobody"])
    connector.close()
    assert found == {"P|55": True, "t 7/ü": True, "X9": False, "nobody": False}


# --- what is shared


@pytest.mark.parametrize("status", [403, 404])
def test_schools_that_are_not_shared_are_missed_by_nobody(
    provider: Provider, waits: Waits, fetch: Any, status: int
) -> None:
    provider.fault = lambda asked, params: Reply(status) if "/schools" in asked.target else None
    fetched = fetch(oneroster(waits, provider))
    assert len(fetched.users) == 25
    assert fetched.certificate.absent_streams == frozenset({"schools"})
    assert "schools" in fetched.certificate.notes[0]


def test_users_that_are_not_shared_are_an_error(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.fault = lambda asked, params: Reply(403) if "/users" in asked.target else None
    with pytest.raises(CredentialsRefused):
        fetch(oneroster(waits, provider))


def district(key: str) -> dict[str, str]:
    return {"sourcedId": key, "name": "Springfield USD", "type": "district"}


@pytest.mark.parametrize(
    ("orgs", "bound"),
    [
        ([district("D1")], "org:D1"),
        ([district("D1"), district("D2")], None),
        ([{"sourcedId": "o1", "type": "school"}], None),
        ([], None),
    ],
)
def test_the_only_district_org_tells_whose_roster_it_is(
    provider: Provider, waits: Waits, fetch: Any, orgs: list[Any], bound: str | None
) -> None:
    provider.collections["orgs"] = orgs
    assert fetch(oneroster(waits, provider)).certificate.vendor_district == bound


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_a_provider_that_cannot_be_asked_for_its_district_is_read_all_the_same(
    provider: Provider, waits: Waits, fetch: Any, status: int
) -> None:
    provider.fault = lambda asked, params: Reply(status) if "/orgs" in asked.target else None
    fetched = fetch(oneroster(waits, provider))
    assert fetched.certificate.complete
    assert fetched.certificate.vendor_district is None
    assert bool(waits.waits) == (status == 500), "only what may pass is waited for"


def test_a_bound_district_is_asked_for_patiently_and_its_silence_ends_the_reading(
    provider: Provider, waits: Waits
) -> None:
    provider.collections["orgs"] = [district("D1")]
    refusals = [Reply(429), Reply(429)]
    provider.fault = lambda asked, params: (
        refusals.pop() if "/orgs" in asked.target and refusals else None
    )
    connector = oneroster(waits, provider)
    assert connector.vendor_district() == "org:D1"
    connector.close()
    provider.fault = lambda asked, params: Reply(429) if "/orgs" in asked.target else None
    connector = oneroster(waits, provider)
    with pytest.raises(RetryableError):
        connector.vendor_district()
    connector.close()


def test_a_server_that_refuses_filters_tells_its_district_by_the_whole_list(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.collections["orgs"] = [{"sourcedId": "o1", "type": "school"}, district("D1")]
    provider.fault = lambda asked, params: Reply(400) if "filter" in params else None
    assert fetch(oneroster(waits, provider)).certificate.vendor_district == "org:D1"


@pytest.mark.parametrize(
    ("bound", "found", "same"),
    [
        ("org:7_1;number:0600001", "org:7_1;number:0600001", True),
        ("org:7_1;number:0600001", "org:7_1;number:0600002", False),
        ("org:7_1;number:0600001", "org:7_1", True),
        ("2222;org:7_1", "2222", True),
        ("2222", "2223;org:7_1", False),
    ],
)
def test_two_answers_are_of_one_district_unless_they_contradict(
    provider: Provider, waits: Waits, bound: str, found: str, same: bool
) -> None:
    connector = oneroster(waits, provider)
    assert connector.same_district(bound, found) is same
    connector.close()


def test_a_check_counts_what_is_shared(provider: Provider, waits: Waits) -> None:
    provider.collections["students"] = people(25)
    provider.envelope["students"] = "users"
    connector = oneroster(waits, provider)
    checks = {check.name: (check.passed, check.message) for check in connector.check()}
    connector.close()
    assert checks["users"] == (True, "The OneRoster server shares 25 users.")
    assert checks["students"][0]
    assert not checks["teachers"][0]


# --- credentials


TOKEN = {
    "auth": "oauth2",
    "token_url": "https://login.example/token",
    "client_id": "id 1",
    "client_secret": SecretStr("s/1"),
    "base_url": "https://d.example/ims/oneroster/rostering/v1p2",
}


def test_oauth2_asks_with_basic_and_the_rostering_scope(web: Any, waits: Waits) -> None:
    web.post("https://login.example/token", json={"access_token": "A", "token_type": "Bearer"})
    web.get("https://d.example/ims/oneroster/rostering/v1p2/users/a", json={"user": people(1)[0]})
    connector = oneroster(waits, **TOKEN)
    assert connector.exists(["a"]) == {"a": True}
    asked = web.calls[0].request
    assert asked.headers["Authorization"] == "Basic aWQlMjAxOnMlMkYx"  # id%201:s%2F1
    assert asked.body == (
        b"grant_type=client_credentials&scope="
        b"https%3A%2F%2Fpurl.imsglobal.org%2Fspec%2For%2Fv1p2%2Fscope%2Froster-core.readonly"
    )
    assert web.calls[1].request.headers["Authorization"] == "Bearer A"
    connector.close()


def test_oauth2_credentials_can_stand_in_the_body(web: Any, waits: Waits) -> None:
    web.post("https://login.example/token", json={"access_token": "A"})
    web.get("https://d.example/ims/oneroster/rostering/v1p2/users/a", status=404)
    connector = oneroster(waits, **TOKEN, credentials_in="body", scope="")
    assert connector.exists(["a"]) == {"a": False}
    asked = web.calls[0].request
    assert "Authorization" not in asked.headers
    assert asked.body == b"grant_type=client_credentials&client_id=id%201&client_secret=s%2F1"
    connector.close()


@pytest.mark.parametrize(
    ("expires", "passed", "tokens"),
    [(3600, 3500, 1), (3600, 3545, 2), ("3600", 3545, 2), (None, 10**7, 1), (30, 20, 2)],
)
def test_a_token_is_renewed_a_minute_before_it_expires(
    web: Any, waits: Waits, expires: Any, passed: float, tokens: int
) -> None:
    answer = {"access_token": "A"} | ({} if expires is None else {"expires_in": expires})
    web.post("https://login.example/token", json=answer)
    web.get("https://d.example/ims/oneroster/rostering/v1p2/users/a", status=404)
    connector = oneroster(waits, **TOKEN)
    connector.exists(["a"])
    waits.passed += passed
    connector.exists(["a"])
    connector.close()
    assert sum(call.request.method == "POST" for call in web.calls) == tokens


def test_a_401_renews_the_token_once_and_then_fails(web: Any, waits: Waits) -> None:
    web.post("https://login.example/token", json={"access_token": "A", "expires_in": 3600})
    web.get("https://d.example/ims/oneroster/rostering/v1p2/users/a", status=401)
    connector = oneroster(waits, **TOKEN)
    with pytest.raises(CredentialsRefused):
        connector.exists(["a"])
    connector.close()
    assert [call.request.method for call in web.calls] == ["POST", "GET", "POST", "GET"]


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_refused_client_is_a_credential_error(web: Any, waits: Waits, status: int) -> None:
    web.post("https://login.example/token", status=status, json={"error": "invalid_client"})
    connector = oneroster(waits, **TOKEN)
    with pytest.raises(CredentialsRefused, match="invalid_client") as caught:
        connector.exists(["a"])
    assert caught.value.exit_code == 14
    connector.close()


def test_oauth1_signs_each_page(provider: Provider, waits: Waits, fetch: Any) -> None:
    connector = oneroster(
        waits, provider, auth="oauth1", consumer_key="k", consumer_secret=SecretStr("s"),
        signature_method="HMAC-SHA1", page_size=10,
    )  # fmt: skip
    assert len(fetch(connector).users) == 25
    headers = [asked.headers["authorization"] for asked in provider.vendor.asked]
    assert len(set(headers)) == len(headers)
    assert all('oauth_signature_method="HMAC-SHA1"' in header for header in headers)
    assert all('oauth_version="1.0"' in header for header in headers)


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ({"auth": "bearer"}, "bearer"),
        ({"auth": "oauth1", "consumer_key": "k"}, "consumer_secret"),
        ({"auth": "oauth2", "client_id": "k"}, "token_url and client_secret"),
    ],
)
def test_what_is_missing_of_the_credentials_is_named(config: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValidationError, match=missing):
        OneRosterConfig(base_url="https://d.example/ims/oneroster/v1p1", **config)


# --- what changed


def test_a_full_fetch_remembers_the_vendors_newest_date(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    certificate = fetch(oneroster(waits, provider, delta=True)).certificate
    assert certificate.cursor == {"since": "2026-01-05T08:24:00.000Z"}


def test_a_date_in_the_future_does_not_hide_what_changes_until_then(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.collections["users"][3]["dateLastModified"] = "2999-01-01T00:00:00Z"
    cursor = fetch(oneroster(waits, provider, delta=True)).certificate.cursor
    assert cursor["since"] < "2999"


def test_a_delta_asks_for_what_was_touched_since_and_serves_the_same_records(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    full = fetch(oneroster(waits, provider, delta=True))
    changed = [
        {**people(5)[4], "familyName": "New", "dateLastModified": "2026-01-05T09:00:00.000Z"},
        {**people(6)[5], "status": "tobedeleted"},
    ]
    provider.collections.update(users=changed, schools=[])
    request = FetchRequest(cursor=full.certificate.cursor)
    delta = fetch(oneroster(waits, provider, delta=True), request)
    assert provider.asked("users")[-1]["filter"] == "dateLastModified>='2026-01-05T07:24:00.000Z'"
    assert delta.certificate.incremental
    assert delta.certificate.cursor == {"since": "2026-01-05T09:00:00.000Z"}
    assert delta.users["s00004"].user.family_name == "New"
    assert delta.users["s00005"].deleted


def test_nothing_changed_keeps_the_cursor(provider: Provider, waits: Waits, fetch: Any) -> None:
    cursor = {"since": "2026-01-05T08:24:00.000Z"}
    provider.collections.update(users=[], schools=[])
    delta = fetch(oneroster(waits, provider, delta=True), FetchRequest(cursor=cursor))
    assert delta.pages == []
    assert delta.certificate.cursor == cursor


@pytest.mark.parametrize("cursor", [{}, {"since": "yesterday"}, {"since": None}])
def test_a_cursor_without_a_date_asks_for_a_full_fetch(
    provider: Provider, waits: Waits, fetch: Any, cursor: Any
) -> None:
    with pytest.raises(CursorLost):
        fetch(oneroster(waits, provider, delta=True), FetchRequest(cursor=cursor))


def test_a_provider_without_filters_asks_for_a_full_fetch(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    provider.fault = lambda asked, params: (
        Reply(400, b'{"imsx_description": "invalid_filter_field"}') if "filter" in params else None
    )
    with pytest.raises(CursorLost):
        fetch(
            oneroster(waits, provider, delta=True),
            FetchRequest(cursor={"since": "2026-01-05T08:24:00.000Z"}),
        )


def test_deltas_are_read_only_where_a_district_asks_for_them(waits: Waits) -> None:
    assert not oneroster(waits).capabilities.incremental
    assert oneroster(waits, delta=True).capabilities.incremental


# --- an API key


def test_an_api_key_travels_in_the_header_that_the_server_names(
    provider: Provider, waits: Waits, fetch: Any
) -> None:
    config = {"auth": "api_key", "api_key": SecretStr("k3y"), "api_key_header": "X-District-Key"}
    fetched = fetch(oneroster(waits, provider, bearer=None, **config))
    assert fetched.certificate.complete
    for asked in provider.vendor.asked:
        assert asked.headers["x-district-key"] == "k3y"
        assert "authorization" not in asked.headers


def test_a_key_is_sent_to_no_other_host(
    provider: Provider, other_vendor: Any, waits: Waits, fetch: Any
) -> None:
    provider.fault = lambda asked, params: (
        Reply(302, headers={"Location": f"{other_vendor.url}/users"})
        if "/users?" in asked.target
        else None
    )
    config = {"auth": "api_key", "api_key": SecretStr("k3y")}
    with pytest.raises(IncompleteFetch, match="redirects users to another host"):
        fetch(oneroster(waits, provider, bearer=None, **config))
    assert other_vendor.asked == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"api_key": None}, "needs api_key"),
        ({"api_key_header": "Host"}, "a header that HTTP itself needs"),
        ({"api_key_header": "X Key"}, "should match pattern"),
        ({"api_key_header": "X-Key: a\r\nX-Other"}, "should match pattern"),
    ],
)
def test_an_api_key_that_cannot_be_sent_is_refused(config: dict[str, Any], said: str) -> None:
    given = {"base_url": "https://d.example", "auth": "api_key", "api_key": SecretStr("k3y")}
    with pytest.raises(ValidationError, match=said):
        OneRosterConfig(**{**given, **config})
