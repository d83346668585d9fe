"""GG4L: grants found by onboarding, short tokens, bracket-less links, events."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from connectors.contract.connector import FetchRequest
from connectors.gg4l import EVENT_OVERLAP, Gg4l, Gg4lConfig
from core.errors import ConfigError, CredentialsRefused, CursorLost, Disconnected
from core.models import Role
from tests.connectors.conftest import START, Asked, Reply, Vendor, Waits
from tests.connectors.provider import Provider, people

SERVICES = "/datahub/services"


class DataHub(Provider):
    """GG4L with its token endpoint and its list of grants."""

    def __init__(self, vendor: Vendor, grants: Any) -> None:
        self.clients = {"district-1": "secret-1", "partner": "p-secret"}
        self.tokens: dict[str, str] = {}
        self.issued = 0
        self.listed = 0
        self.expires_in: int | None = 7199
        school = {"sourcedId": "o1", "status": "active", "name": "Lincoln", "type": "school"}
        super().__init__(
            vendor,
            prefix=f"{SERVICES}/ims/oneroster/v1p1",
            collections={"orgs": [], "schools": [school], "users": people(25)},
            links="bare",
            total=False,
        )
        text = json.dumps(grants).replace("https://gg4l.example", vendor.url)
        self.grants: list[dict[str, Any]] = json.loads(text)

    def answer(self, asked: Asked) -> Reply:
        given = asked.headers.get("authorization", "")
        path = asked.target.partition("?")[0]
        if path == "/datahub/oauth/token":
            user, _, secret = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
            if asked.method != "POST" or asked.body != b"grant_type=client_credentials":
                return Reply(400)
            if self.clients.get(user) != secret:
                return Reply(401, b'{"error": "invalid_client"}')
            self.issued += 1
            token = f"{user}-{self.issued}"
            self.tokens = {**{t: u for t, u in self.tokens.items() if u != user}, token: user}
            answer: dict[str, Any] = {"access_token": token, "token_type": "bearer"}
            if self.expires_in is not None:
                answer["expires_in"] = self.expires_in
            return Reply(body=json.dumps(answer).encode())
        owner = self.tokens.get(given.removeprefix("Bearer "))
        if path == f"{SERVICES}/vendor/onboarding/credentials":
            self.listed += 1
            if owner != "partner":
                return Reply(401)
            return Reply(body=json.dumps(self.grants).encode())
        if owner is None or owner == "partner":
            return Reply(401)
        return super().answer(asked)


@pytest.fixture
def hub(vendor: Vendor, fixture: Any) -> DataHub:
    return DataHub(vendor, fixture("gg4l/onboarding/credentials.json"))


def gg4l(waits: Waits, hub: DataHub, *, partner: bool = True, **config: Any) -> Gg4l:
    url = hub.vendor.url
    values: dict[str, Any] = (
        {
            "onboarding_url": f"{url}{SERVICES}/vendor/onboarding/credentials",
            "onboarding_token_url": f"{url}/datahub/oauth/token",
            "onboarding_client_id": "partner",
            "onboarding_client_secret": SecretStr("p-secret"),
            "district_guid": "Bd3FgHj7",
        }
        if partner
        else {
            "token_url": f"{url}/datahub/oauth/token",
            "api_url": f"{url}{SERVICES}",
            "client_id": "district-1",
            "client_secret": SecretStr("secret-1"),
        }
    )
    connector = Gg4l(Gg4lConfig(**{**values, **config}))
    connector.clock = waits.clock
    return connector


@pytest.mark.parametrize("partner", [True, False], ids=["looked up", "given"])
def test_a_district_is_read_whole(hub: DataHub, waits: Waits, fetch: Any, partner: bool) -> None:
    fetched = fetch(gg4l(waits, hub, partner=partner, page_size=10))
    assert len(fetched.users) == 25
    assert list(fetched.schools) == ["o1"]
    assert fetched.certificate.complete


def test_an_api_url_with_its_whole_path_is_used_as_it_is(
    hub: DataHub, waits: Waits, fetch: Any
) -> None:
    config = {"api_url": f"{hub.vendor.url}{SERVICES}/ims/oneroster/v1p1/"}
    assert fetch(gg4l(waits, hub, partner=False, **config)).certificate.complete


def test_a_page_never_asks_for_more_than_500(hub: DataHub) -> None:
    with pytest.raises(ValidationError):
        gg4l(Waits(), hub, page_size=501)


def test_a_next_offset_that_is_one_too_high_loses_nobody(
    hub: DataHub, waits: Waits, fetch: Any
) -> None:
    hub.links = "plus-one"
    assert len(fetch(gg4l(waits, hub, page_size=10)).users) == 25


def test_a_server_that_counts_from_one_loses_and_doubles_nobody(
    hub: DataHub, waits: Waits, fetch: Any
) -> None:
    hub.links, hub.from_one = "plus-one", True
    fetched = fetch(gg4l(waits, hub, page_size=10))
    assert [record.key for record in fetched.records["users"]] == [
        user["sourcedId"] for user in people(25)
    ]


def test_gg4ls_own_fields_tell_primary_school_and_grade(
    waits: Waits, hub: DataHub, fixture: Any
) -> None:
    raw = json.dumps(fixture("gg4l/springfield/users.json")["users"][0]).encode()
    user = gg4l(waits, hub).parse("users", raw).user
    assert user is not None
    assert [(m.school, m.primary) for m in user.memberships] == [
        ("Bd3FgHj7Kl-o-1", False),
        ("Bd3FgHj7Kl-o-2", True),
    ]
    assert user.grade == "06"


def test_a_person_whose_name_is_masked_is_still_a_person(
    waits: Waits, hub: DataHub, fixture: Any
) -> None:
    raw = json.dumps(fixture("gg4l/springfield/users.json")["users"][1]).encode()
    user = gg4l(waits, hub).parse("users", raw).user
    assert user is not None
    assert (user.given_name, user.family_name, user.email) == (None, None, None)
    assert [(m.role, m.school) for m in user.memberships] == [(Role.STUDENT, None)]


# --- tokens


def test_a_token_is_renewed_before_it_expires(hub: DataHub, waits: Waits, fetch: Any) -> None:
    def slow(asked: Asked, params: dict[str, str]) -> None:
        if "/users?" in asked.target:
            waits.passed += 3000

    hub.fault = slow
    fetch(gg4l(waits, hub, partner=False, page_size=5))
    assert hub.issued == 2  # the fourth page comes later than the first token holds


def test_a_401_renews_the_token_once(hub: DataHub, waits: Waits, fetch: Any) -> None:
    def forget(asked: Asked, params: dict[str, str]) -> Reply | None:
        if params.get("offset") == "10" and hub.issued == 1:
            hub.tokens.clear()
            return Reply(401)
        return None

    hub.fault = forget
    assert len(fetch(gg4l(waits, hub, partner=False, page_size=10)).users) == 25
    assert hub.issued == 2


def test_rotated_credentials_just_work(hub: DataHub, waits: Waits, fetch: Any) -> None:
    def rotate(asked: Asked, params: dict[str, str]) -> Reply | None:
        if params.get("offset") == "10" and hub.clients["district-1"] == "secret-1":
            hub.clients["district-1"] = hub.grants[0]["clientSecret"] = "secret-9"
            hub.tokens.clear()
            return Reply(401)
        return None

    hub.fault = rotate
    assert len(fetch(gg4l(waits, hub, page_size=10)).users) == 25


def test_refused_credentials_are_a_credential_error(hub: DataHub, waits: Waits, fetch: Any) -> None:
    hub.clients["district-1"] = "other"
    with pytest.raises(CredentialsRefused):
        fetch(gg4l(waits, hub, partner=False))
    with pytest.raises(CredentialsRefused):
        fetch(gg4l(waits, hub))


# --- onboarding


def test_discovery_lists_districts_and_grants_that_have_ended(
    hub: DataHub, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gg4l, "clock", waits.clock)
    config = gg4l(waits, hub).config
    assert [(d.id, d.name, d.state) for d in Gg4l.districts(config)] == [
        ("Bd3FgHj7", "Springfield USD", None),
        ("Ce4GhIk8", "Shelbyville SD", "expired"),
    ]


def test_the_grant_tells_whose_roster_it_is_and_of_when(
    hub: DataHub, waits: Waits, fetch: Any
) -> None:
    certificate = fetch(gg4l(waits, hub)).certificate
    assert certificate.vendor_district == "Bd3FgHj7"
    assert certificate.revision == "2026-01-05T06:00:00.000Z"
    assert certificate.vendor_time is not None
    assert certificate.vendor_time.isoformat() == "2026-01-05T06:00:00+00:00"


@pytest.mark.parametrize(
    ("spelling", "stamp"),
    [
        ("lastDataProcessingCompletedTimestamp", "2026-01-05T06:00:00.000Z"),
        ("lastDataProcessingCompleteTimestamp", "2026-01-05T01:00:00.000-05:00"),
    ],
)
def test_an_unchanged_time_of_processing_leaves_nothing_to_read(
    hub: DataHub, waits: Waits, fetch: Any, spelling: str, stamp: str
) -> None:
    del hub.grants[0]["lastDataProcessingCompletedTimestamp"]
    hub.grants[0][spelling] = stamp
    first = fetch(gg4l(waits, hub))
    assert not first.certificate.unchanged
    hub.vendor.asked.clear()
    again = fetch(gg4l(waits, hub), FetchRequest(revision=first.certificate.revision))
    assert again.certificate.unchanged
    assert again.certificate.vendor_district == "Bd3FgHj7"
    assert again.pages == []
    assert len(hub.vendor.asked) == 2  # the partner's token, the grants


def test_a_grant_that_has_ended_is_disconnected(hub: DataHub, waits: Waits, fetch: Any) -> None:
    hub.grants[0]["expiryDate"] = "2026-01-05T00:00:00.000+01:00"
    with pytest.raises(Disconnected, match="ended on 2026-01-04"):
        fetch(gg4l(waits, hub))
    assert hub.asked("users") == []


def test_a_district_that_is_no_longer_listed_is_disconnected(
    hub: DataHub, waits: Waits, fetch: Any
) -> None:
    del hub.grants[0]
    with pytest.raises(Disconnected):
        fetch(gg4l(waits, hub))


def test_a_discovered_address_without_tls_is_refused(
    hub: DataHub, waits: Waits, fetch: Any
) -> None:
    hub.grants[0]["apiUrl"] = "http://gg4l.example/datahub/services"
    with pytest.raises(ConfigError, match="https"):
        fetch(gg4l(waits, hub))


def test_credentials_of_some_kind_must_be_given() -> None:
    with pytest.raises(ValidationError, match="give token_url, api_url"):
        Gg4lConfig(client_id="x")


# --- events


@pytest.fixture
def changing(hub: DataHub, fixture: Any) -> DataHub:
    hub.collections["events"] = fixture("gg4l/events/events.json")["events"]
    teacher = {"sourcedId": "s2", "givenName": "Jo", "role": "teacher", "orgs": []}
    whole = {"sourcedId": "s3", "givenName": "Kim", "role": "student", "orgs": []}
    hub.collections["users"] = [teacher, whole]
    return hub


@pytest.mark.parametrize("size", [1, 2, 500])
def test_events_give_the_last_word_on_each_record(
    changing: DataHub, waits: Waits, fetch: Any, size: int
) -> None:
    request = FetchRequest(cursor={"after": int(START)})
    fetched = fetch(gg4l(waits, changing, events=True, page_size=size), request)
    assert changing.asked("events")[0]["after"] == str(int(START))
    assert fetched.users["s1"].user.email == "two@springfield.example"
    assert fetched.users["s2"].user.given_name == "Jo"
    assert fetched.users["s3"].user.given_name == "Kim"
    assert fetched.users["s4"].deleted
    assert fetched.schools["o1"].school.name == "Lincoln"
    assert len(fetched.records["users"]) == 4
    assert fetched.certificate.incremental
    assert fetched.certificate.notes == ("Events of an unknown type were left out: Bus.Created.",)


def test_a_person_of_an_event_who_is_not_there_any_more_is_gone(
    changing: DataHub, waits: Waits, fetch: Any
) -> None:
    changing.collections["users"].clear()
    request = FetchRequest(cursor={"after": int(START)})
    fetched = fetch(gg4l(waits, changing, events=True), request)
    assert fetched.users["s2"].deleted


def test_a_full_fetch_leaves_a_cursor_by_the_servers_clock(
    changing: DataHub, waits: Waits, fetch: Any
) -> None:
    cursor = fetch(gg4l(waits, changing, events=True)).certificate.cursor
    assert cursor["after"] > START + EVENT_OVERLAP  # the loopback server's clock is not the test's


@pytest.mark.parametrize("cursor", [{}, {"after": "x"}, {"after": int(START) - 30 * 86400}])
def test_a_cursor_that_events_do_not_reach_asks_for_a_full_fetch(
    changing: DataHub, waits: Waits, fetch: Any, cursor: Any
) -> None:
    with pytest.raises(CursorLost):
        fetch(gg4l(waits, changing, events=True), FetchRequest(cursor=cursor))


def test_events_are_read_only_where_a_district_asks_for_them(hub: DataHub, waits: Waits) -> None:
    assert not gg4l(waits, hub).capabilities.incremental
    assert gg4l(waits, hub, events=True).capabilities.incremental
