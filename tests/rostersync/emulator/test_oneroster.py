"""ClassLink, GG4L and plain OneRoster on the wire: the same truth, three sets of rules.

One file, because ClassLink and GG4L are held to the same truth as OneRoster by the same tests.
"""

from __future__ import annotations

import base64
import csv
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import oauthlib.oauth1  # type: ignore[import-untyped]
import pytest
import requests

from rostersync.emulator.district.days import Changes, Day
from rostersync.emulator.district.generator import District
from rostersync.emulator.emulator import Emulator
from rostersync.emulator.vendors.files import write_oneroster

from .reading import access_token, bearer, escaped, pages, read_back

ONEROSTERS = ["classlink", "gg4l", "oneroster", "oneroster12"]


def door(http: requests.Session, emulator: Emulator) -> tuple[str, dict[str, str]]:
    """Return the root of the roster and the header that opens it."""
    config = emulator.config()
    if emulator.vendor == "classlink":
        root = f"{config['base_url']}/{config['application_id']}/ims/oneroster/v1p1"
        # requests would unescape %43: the proxy's other, equal id has none of that trap.
        return root, bearer(config["bearer"])
    return config.get("base_url") or config["api_url"], bearer(access_token(http, config))


def raw_get(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """GET a URL exactly as it is written."""
    place = urlsplit(url)
    with closing(HTTPConnection(place.netloc, timeout=20)) as connection:
        target = place.path + (f"?{place.query}" if place.query else "")
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()


class Verbatim(requests.Session):
    """A session that puts a URL on the wire as it is written."""

    def get(self, url: str | bytes, **more: Any) -> requests.Response:
        status, headers, body = raw_get(str(url), dict(more["headers"]))
        answer = requests.Response()
        answer.status_code, answer._content = status, body
        answer.headers.update(headers)
        return answer


@pytest.fixture
def wire() -> Iterator[Verbatim]:
    with Verbatim() as session:
        session.trust_env = False
        yield session


@pytest.mark.parametrize("day", [0, 2, 3])
@pytest.mark.parametrize("vendor", ONEROSTERS)
def test_what_is_served_equals_the_truth_field_by_field(
    district: District, wire: Verbatim, vendor: str, day: int
) -> None:
    with Emulator(district, vendor, day=day) as emulator:
        root, headers = door(wire, emulator)
        rows = pages(wire, f"{root}/users", headers)
        orgs = pages(wire, f"{root}/schools", headers, "orgs")
    schools = {org["sourcedId"] for org in orgs}
    served = [row for row in rows if row["status"] == "active"]
    truth = list(district.truth(day, vendor))
    assert [read_back(r, t.person, schools) for r, t in zip(served, truth, strict=True)] == truth
    assert len(rows) - len(served) == (4 if day >= 2 else 0)


@pytest.mark.parametrize("vendor", ["classlink", "gg4l", "oneroster"])
def test_somebody_with_two_roles_may_be_two_users_of_1_1(
    wire: Verbatim, tmp_path: Path, vendor: str
) -> None:
    district = District(users=3_000, split_roles=True, days=(Day(Changes(30, role="teacher")),))
    truth = list(district.truth(1, vendor))
    second = [entry for entry in truth if entry.external_id.endswith("_R2")]
    assert len(second) > 15
    with Emulator(district, vendor, day=1) as emulator:
        root, headers = door(wire, emulator)
        rows = pages(wire, f"{root}/users", headers)
        schools = {org["sourcedId"] for org in pages(wire, f"{root}/schools", headers, "orgs")}
        assert [read_back(r, t.person, schools) for r, t in zip(rows, truth, strict=True)] == truth
        by_id = {row["sourcedId"]: row for row in rows}
        one = second[0].external_id
        answer = wire.get(f"{root}/users/{escaped(one)}", headers=headers)
        assert answer.json() == {"user": by_id[one]}
        assert by_id[one]["userIds"] == by_id[one.removesuffix("_R2")]["userIds"]
        teachers = pages(wire, f"{root}/teachers", headers)
        assert teachers == [row for row in rows if row["role"] == "teacher"]
        since = quote("dateLastModified>'2026-09-02T00:00:00.000Z'")
        recent = pages(wire, f"{root}/users", headers, query=f"&filter={since}")
        assert recent == [r for r in rows if r["dateLastModified"] > "2026-09-02T00"]
        single = next(entry for entry in truth if f"{entry.external_id}_R2" not in by_id)
        gone = wire.get(f"{root}/users/{escaped(single.external_id)}_R2", headers=headers)
        assert gone.status_code == 404
    if vendor == "oneroster":
        write_oneroster(district, tmp_path, day=1)
        with (tmp_path / "users.csv").open(encoding="utf-8", newline="") as file:
            assert [r["sourcedId"] for r in csv.DictReader(file)] == [t.external_id for t in truth]


@pytest.mark.parametrize("vendor", ONEROSTERS)
def test_students_and_teachers_are_parts_of_the_users(
    district: District, wire: Verbatim, vendor: str
) -> None:
    with Emulator(district, vendor) as emulator:
        root, headers = door(wire, emulator)
        everybody = {row["sourcedId"] for row in pages(wire, f"{root}/users", headers)}
        students = {row["sourcedId"] for row in pages(wire, f"{root}/students", headers)}
        teachers = {row["sourcedId"] for row in pages(wire, f"{root}/teachers", headers)}
    assert students | teachers < everybody
    assert not students & teachers


@pytest.mark.parametrize("vendor", ONEROSTERS)
def test_one_person_is_found_by_any_sourced_id_however_odd(
    district: District, wire: Verbatim, vendor: str
) -> None:
    with Emulator(district, vendor) as emulator:
        root, headers = door(wire, emulator)
        rows = pages(wire, f"{root}/users", headers)
        if vendor != "gg4l":
            assert any("|" in row["sourcedId"] for row in rows)
            assert any(" " in row["sourcedId"] for row in rows)
        for row in rows[5:45]:
            answer = wire.get(f"{root}/users/{escaped(row['sourcedId'])}", headers=headers)
            assert answer.json() == {"user": row}
        gone = wire.get(f"{root}/users/{rows[0]['sourcedId']}x", headers=headers)
        assert gone.status_code == 404
        assert "unknownobject" in gone.text


@pytest.mark.parametrize("vendor", ONEROSTERS)
def test_nobody_gets_in_without_credentials(
    district: District, wire: Verbatim, vendor: str
) -> None:
    with Emulator(district, vendor) as emulator:
        root, headers = door(wire, emulator)
        for wrong in ({}, bearer("nonsense"), {"Authorization": "Basic eDp5"}):
            assert wire.get(f"{root}/users", headers=wrong).status_code == 401
        assert wire.get(f"{root}/users", headers=headers).status_code == 200


def test_limits_are_capped_without_a_word(district: District, wire: Verbatim) -> None:
    with Emulator(district, "gg4l") as emulator:
        root, headers = door(wire, emulator)
        answer = wire.get(f"{root}/users?limit=5000", headers=headers)
        assert len(answer.json()["users"]) == 500
        assert "x-total-count" not in answer.headers
    with Emulator(district, "oneroster", max_limit=90) as emulator:
        root, headers = door(wire, emulator)
        answer = wire.get(f"{root}/users?limit=1000", headers=headers)
        assert len(answer.json()["users"]) == 90
        assert answer.headers["x-total-count"] == "1500"


def test_link_headers_have_angle_brackets_but_at_gg4l(district: District, wire: Verbatim) -> None:
    for vendor, bracket in (("gg4l", False), ("oneroster12", True)):
        with Emulator(district, vendor) as emulator:
            root, headers = door(wire, emulator)
            link = wire.get(f"{root}/users?limit=100&offset=200", headers=headers).headers["link"]
        rels = {part.rpartition("rel=")[2]: part.split(";")[0].strip() for part in link.split(",")}
        assert rels.keys() == {'"next"', '"prev"', '"first"', '"last"'}
        assert rels['"next"'].startswith("<") is bracket
        assert "offset=300" in rels['"next"']
        assert "offset=100" in rels['"prev"']
        assert "offset=1400" in rels['"last"']


def test_the_last_page_has_no_next(district: District, wire: Verbatim) -> None:
    with Emulator(district, "oneroster") as emulator:
        root, headers = door(wire, emulator)
        last = wire.get(f"{root}/users?limit=500&offset=1000", headers=headers)
    assert 'rel="next"' not in last.headers["link"]


def test_lists_are_sorted_by_id_either_way(district: District, wire: Verbatim) -> None:
    with Emulator(district, "classlink", day=2) as emulator:
        root, headers = door(wire, emulator)
        up = pages(wire, f"{root}/users", headers, query="&sort=sourcedId&orderBy=asc")
        down = pages(wire, f"{root}/users", headers, query="&sort=sourcedId&orderBy=desc")
    found = [row["sourcedId"] for row in up]
    assert found == sorted(found)
    assert up == down[::-1]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("role='teacher'", lambda row: row["role"] == "teacher"),
        ("status='tobedeleted'", lambda row: row["status"] == "tobedeleted"),
        ("role='aide' OR role='teacher'", lambda row: row["role"] in ("aide", "teacher")),
        (
            "enabledUser='false' AND status='active'",
            lambda row: row["enabledUser"] == "false" and row["status"] == "active",
        ),
        ("username~'12'", lambda row: "12" in row["username"]),
        ("role!='student'", lambda row: row["role"] != "student"),
    ],
)
def test_filters_are_understood(district: District, wire: Verbatim, text: str, fits: Any) -> None:
    with Emulator(district, "classlink", day=2) as emulator:
        root, headers = door(wire, emulator)
        whole = pages(wire, f"{root}/users", headers)
        found = pages(wire, f"{root}/users", headers, query=f"&filter={quote(text)}")
    assert found == [row for row in whole if fits(row)]
    assert found


@pytest.mark.parametrize("vendor", ["classlink", "oneroster", "oneroster12"])
def test_the_date_filter_gives_just_what_changed(
    district: District, wire: Verbatim, vendor: str
) -> None:
    with Emulator(district, vendor, day=2) as emulator:
        root, headers = door(wire, emulator)
        whole = pages(wire, f"{root}/users", headers)
        for since in ("2026-09-03T00:00:00.000Z", "2026-09-02T05:10:00.000Z", "2026-08-20"):
            text = quote(f"dateLastModified>'{since}'")
            found = pages(wire, f"{root}/users", headers, query=f"&filter={text}")
            assert found == [row for row in whole if row["dateLastModified"] > since]
            assert found
        recent = quote("dateLastModified>'2026-09-03T00:00:00.000Z'")
        answer = wire.get(f"{root}/students?filter={recent}", headers=headers)
    assert all("student" in str(row.get("role") or row["roles"]) for row in answer.json()["users"])


def test_a_filter_that_cannot_be_read_is_refused_in_the_words_of_each_version(
    district: District, wire: Verbatim
) -> None:
    for vendor, where in (("oneroster", "statusInfoSet"), ("oneroster12", "imsx_codeMajor")):
        with Emulator(district, vendor) as emulator:
            root, headers = door(wire, emulator)
            answer = wire.get(f"{root}/users?filter=nonsense", headers=headers)
        assert answer.status_code == 400
        assert where in answer.json()


def test_fields_choose_what_is_served(district: District, wire: Verbatim) -> None:
    with Emulator(district, "oneroster") as emulator:
        root, headers = door(wire, emulator)
        answer = wire.get(f"{root}/users?fields=sourcedId,status", headers=headers).json()
        blank = wire.get(f"{root}/users?fields=", headers=headers)
    assert all(row.keys() == {"sourcedId", "status"} for row in answer["users"])
    assert blank.status_code == 400


def test_demographics_are_not_shared(district: District, wire: Verbatim) -> None:
    with Emulator(district, "oneroster12") as emulator:
        root, headers = door(wire, emulator)
        assert wire.get(f"{root}/demographics", headers=headers).status_code == 403


# ClassLink.


def test_discovery_lists_tenants_and_some_to_pass_over(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "classlink") as emulator:
        config = emulator.config("discovery")
        url = f"{config['base_url']}/applications"
        assert http.get(url, headers=bearer("wrong"), timeout=20).status_code == 401
        answer = http.get(f"{url}?limit=3&offset=0", headers=bearer(config["api_key"]), timeout=20)
        assert len(answer.json()["applications"]) == 3
        assert "x-total-count" not in answer.headers
        rows = http.get(url, headers=bearer(config["api_key"]), timeout=20).json()["applications"]
    usable = [r for r in rows if r["enabled"] == "true" and r["tenant_status"] == "Active"]
    assert len(rows) == 4
    assert len(usable) == 2
    mine = next(row for row in usable if str(row["tenant_id"]) == config["tenant_id"])
    assert mine["oneroster_application_id"] == emulator_id(district)


def emulator_id(district: District) -> str:
    return f"%2FgVa{district.seed:x}ed75Gs%43{district.seed % 10}"


def test_the_application_id_must_come_verbatim(district: District) -> None:
    with Emulator(district, "classlink") as emulator:
        config = emulator.config()
        headers = bearer(config["bearer"])
        right = config["application_id"]
        assert "%43" in right

        def status(application: str, prefix: str = "") -> int:
            url = f"{config['base_url']}{prefix}/{application}/ims/oneroster/v1p1/users?limit=1"
            return raw_get(url, headers)[0]

        assert status(right) == 200
        assert status(right, "/proxy/v1p0") == 200
        assert status(right.replace("%43", "C")) == 404
        assert status(quote(right, safe="")) == 404


def test_the_roster_says_its_count_total_and_revision(district: District, wire: Verbatim) -> None:
    with Emulator(district, "classlink") as emulator:
        root, headers = door(wire, emulator)

        def revision() -> str:
            answer = wire.get(f"{root}/users?limit=7", headers=headers)
            assert (answer.headers["x-count"], answer.headers["x-total-count"]) == ("7", total)
            return str(answer.headers["x-perm-rev"])

        total = "1500"
        first = revision()
        assert revision() == first
        emulator.day, total = 1, "1482"
        assert revision() != first


def test_the_direct_way_takes_credentials_from_discovery(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "classlink") as emulator:
        config, direct = emulator.config("discovery"), emulator.config("direct")
        url = f"{config['base_url']}/applications/{emulator.config()['application_id']}/server"
        status, _, body = raw_get(url, bearer(config["api_key"]))
    assert status == 200
    assert direct["consumer_secret"].encode() in body
    assert direct["base_url"].encode() in body


# OAuth 1.0a, against the signatures of another implementation.

HOSTILE = [
    "",
    "?limit=10&offset=0",
    "?filter=dateLastModified%3E%272026-01-05T00%3A00%3A00.000Z%27",
    "?filter=username~%27a%2Bb%26c%3Dd%27&limit=5",
    "?limit=5&sort=sourcedId&orderBy=asc&filter=familyName%3D%27Mu%C3%B1oz%27",
    "?a=2&a=1&b=%20&c=~-._",
]


def signed(config: dict[str, Any], url: str, **more: Any) -> dict[str, str]:
    client = oauthlib.oauth1.Client(
        config["consumer_key"], client_secret=config["consumer_secret"], **more
    )
    return dict(client.sign(url)[1])


@pytest.mark.parametrize("method", ["HMAC-SHA256", "HMAC-SHA1"])
@pytest.mark.parametrize("query", HOSTILE)
@pytest.mark.parametrize("vendor", ["classlink", "oneroster"])
def test_another_implementations_signature_is_accepted(
    district: District, wire: Verbatim, vendor: str, query: str, method: str
) -> None:
    with Emulator(district, vendor) as emulator:
        config = emulator.config("direct" if vendor == "classlink" else "oauth1")
        root = config["base_url"]
        root += "/ims/oneroster/v1p1" if vendor == "classlink" else ""
        for path in ("/users", "/users/0000007%7CP", "/users/0000011%20b"):
            url = f"{root}{path}{query}"
            headers = signed(config, url, signature_method=method)
            assert wire.get(url, headers=headers).status_code in (200, 400, 404)
            other = signed(config, f"{root}{path}?x=1", signature_method=method)
            assert wire.get(url, headers=other).status_code == 401


def refusal(wire: Verbatim, url: str, headers: dict[str, str]) -> str:
    answer = wire.get(url, headers=headers)
    assert answer.status_code == 401
    return str(answer.json()["statusInfoSet"][0]["imsx_description"])


def test_a_signature_is_refused_when_anything_is_wrong(district: District, wire: Verbatim) -> None:
    with Emulator(district, "oneroster") as emulator:
        config = emulator.config("oauth1")
        url = f"{config['base_url']}/users?limit=1"
        wrong = {**config, "consumer_secret": "wrong"}
        assert refusal(wire, url, signed(wrong, url)) == "signature invalid"
        unknown = {**config, "consumer_key": "nobody"}
        assert refusal(wire, url, signed(unknown, url)) == "consumer key unknown"
        old = str(int(time.time()) - 700)
        assert (
            refusal(wire, url, signed(config, url, timestamp=old)) == "timestamp outside the window"
        )
        early = str(int(time.time()) + 400)
        assert (
            refusal(wire, url, signed(config, url, timestamp=early))
            == "timestamp outside the window"
        )
        plain = signed(config, url, signature_method="PLAINTEXT")
        assert refusal(wire, url, plain) == "signature method not accepted"
        once = signed(config, url)
        assert wire.get(url, headers=once).status_code == 200
        assert refusal(wire, url, once) == "nonce used before"


def test_a_clock_that_is_wrong_refuses_honest_signatures(
    district: District, wire: Verbatim
) -> None:
    with Emulator(district, "oneroster") as emulator:
        config = emulator.config("oauth1")
        url = f"{config['base_url']}/users?limit=1"
        emulator.fail("clock_skew", amount=3600)
        answer = wire.get(url, headers=signed(config, url))
        assert answer.status_code == 401
        shifted = str(int(time.time()) + 3600)
        assert wire.get(url, headers=signed(config, url, timestamp=shifted)).status_code == 200


# OAuth 2.


def test_a_token_needs_the_right_secret_and_a_scope(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "oneroster12") as emulator:
        config = emulator.config()
        pair = (config["client_id"], config["client_secret"])
        ask = {"grant_type": "client_credentials", "scope": config["scope"]}
        url = config["token_url"]
        assert http.post(url, data=ask, auth=(pair[0], "no"), timeout=20).status_code == 401
        assert http.post(url, data={**ask, "scope": ""}, auth=pair, timeout=20).status_code == 400
        named = {**ask, "client_id": pair[0], "client_secret": pair[1]}
        assert http.post(url, data=named, timeout=20).status_code == 200
        old = config["scope"].replace("v1p2", "v1p1")
        token = http.post(url, data={**ask, "scope": old}, auth=pair, timeout=20).json()
        answer = http.get(
            f"{config['base_url']}/users", headers=bearer(token["access_token"]), timeout=20
        )
        assert answer.status_code == 403


def test_a_sub_collection_needs_the_wider_scope(district: District, http: requests.Session) -> None:
    with Emulator(district, "oneroster12") as emulator:
        config = emulator.config()
        core = bearer(access_token(http, config))
        wide = {**config, "scope": config["scope"].replace("roster-core", "roster")}
        wider = bearer(access_token(http, wide))
        school = pages(http, f"{config['base_url']}/schools", core, "orgs")[0]["sourcedId"]
        url = f"{config['base_url']}/schools/{school}/students"
        assert http.get(url, headers=core, timeout=20).status_code == 403
        assert http.get(url, headers=wider, timeout=20).json()["users"]


def test_the_ways_to_ask_for_a_token_can_be_narrowed(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "oneroster", credentials="body", expires_in=None) as emulator:
        config = emulator.config()
        pair = (config["client_id"], config["client_secret"])
        ask = {"grant_type": "client_credentials", "scope": config["scope"]}
        assert http.post(config["token_url"], data=ask, auth=pair, timeout=20).status_code == 401
        named = {**ask, "client_id": pair[0], "client_secret": pair[1]}
        answer = http.post(config["token_url"], data=named, timeout=20)
        assert "expires_in" not in answer.json()


@pytest.mark.parametrize("vendor", ["gg4l", "oneroster"])
def test_a_token_expires(district: District, http: requests.Session, vendor: str) -> None:
    with Emulator(district, vendor, expires_in=1800) as emulator:
        root, headers = door(http, emulator)
        assert http.get(f"{root}/schools", headers=headers, timeout=20).status_code == 200
        emulator.fail("clock_skew", amount=2000)
        assert http.get(f"{root}/schools", headers=headers, timeout=20).status_code == 401


def test_one_renewal_helps_when_a_token_expired_early(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "gg4l") as emulator:
        root, headers = door(http, emulator)
        emulator.fail("token_expired")
        assert http.get(f"{root}/schools", headers=headers, timeout=20).status_code == 401
        assert http.get(f"{root}/schools", headers=headers, timeout=20).status_code == 401
        root, headers = door(http, emulator)
        assert http.get(f"{root}/schools", headers=headers, timeout=20).status_code == 200


# GG4L.


def test_onboarding_gives_each_districts_credentials_to_the_partner_alone(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "gg4l", completed_spelling="Complete") as emulator:
        config = emulator.config("discovery")
        partner = bearer(access_token(http, config))
        rows = http.get(config["onboarding_url"], headers=partner, timeout=20).json()
        mine = next(row for row in rows if row["districtGuid"] == config["district_guid"])
        assert mine["clientSecret"] == emulator.config()["client_secret"]
        assert "lastDataProcessingCompleteTimestamp" in mine
        assert len(rows) == 2
        root, theirs = door(http, emulator)
        assert http.get(config["onboarding_url"], headers=theirs, timeout=20).status_code == 401
        assert http.get(f"{root}/users", headers=partner, timeout=20).status_code == 401
        basic = base64.b64encode(b"x:y").decode()
        assert (
            http.get(
                f"{root}/users", headers={"Authorization": f"Basic {basic}"}, timeout=20
            ).status_code
            == 401
        )


def test_gg4l_events_turn_one_day_into_the_next(district: District, http: requests.Session) -> None:
    with Emulator(district, "gg4l") as emulator:
        root, headers = door(http, emulator)
        state = {row["sourcedId"]: row for row in pages(http, f"{root}/users", headers)}
        emulator.day = 3
        kinds = set()
        url: str | None = f"{root}/events?limit=50"
        while url is not None:
            answer = http.get(url, headers=headers, timeout=20)
            for event in answer.json()["events"]:
                entity, _, action = event["eventType"].partition(".")
                kinds.add(event["eventType"])
                if entity == "School":
                    continue
                if action == "Deleted":
                    state.pop(event["sourcedId"])
                else:
                    state[event["sourcedId"]] = event["object"]
            link = answer.headers.get("Link")
            url = link.split(";")[0] if link else None
        now = pages(http, f"{root}/users", headers)
    assert state == {row["sourcedId"]: row for row in now if row["status"] == "active"}
    assert {"Student.Created", "Student.Updated", "Student.Deleted", "School.Updated"} <= kinds
