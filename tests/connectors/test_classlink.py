"""ClassLink: its applications, its escaped ids, its revision."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from connectors.classlink import ClassLink, ClassLinkConfig
from connectors.contract.connector import FetchRequest
from core.errors import (
    ConfigError,
    CredentialsRefused,
    Disconnected,
    IncompleteFetch,
    RestartFetch,
    VendorFailure,
)
from tests.connectors.conftest import Asked, Reply, Vendor, Waits
from tests.connectors.provider import Provider, people

APP = "%2FgVa0ed75Gs%43"
BEARER = "11111111-2222-4333-8444-555555555555"
FRESH = "11111111-2222-4333-8444-777777777777"


class Proxy(Provider):
    """The proxy with its list of applications; roster requests need the right bearer."""

    def __init__(self, vendor: Vendor, applications: Any) -> None:
        self.applications: list[Any] = applications["applications"]
        self.bearer = BEARER
        self.server: Any = {}
        self.signed: list[str] = []
        self.listed = 0
        school = {"sourcedId": "o1", "status": "active", "name": "Lincoln", "type": "school"}
        super().__init__(
            vendor,
            prefix=f"/{APP}/ims/oneroster/v1p1",
            collections={"orgs": [], "schools": [school], "users": people(25)},
            headers={"x-perm-rev": "rev-1"},
        )

    def answer(self, asked: Asked) -> Reply:
        given = asked.headers.get("authorization")
        path, _, query = asked.target.partition("?")
        if path == "/applications":
            self.listed += 1
            if given != "Bearer partner-key":
                return Reply(401)
            offset = int(dict(p.split("=") for p in query.split("&"))["offset"])
            page = self.applications[offset:]
            return Reply(body=json.dumps({"status": 7, "applications": page}).encode())
        if path == f"/applications/{APP}/server":
            return Reply(
                401 if given != "Bearer partner-key" else 200, json.dumps(self.server).encode()
            )
        if path.startswith("/own/"):
            self.signed.append(given or "")
        elif given != f"Bearer {self.bearer}":
            return Reply(401)
        return super().answer(asked)


@pytest.fixture
def proxy(vendor: Vendor, fixture: Any) -> Proxy:
    return Proxy(vendor, fixture("classlink/discovery/applications.json"))


def classlink(waits: Waits, proxy: Provider, **config: Any) -> ClassLink:
    values = {"base_url": proxy.vendor.url, **config}
    connector = ClassLink(ClassLinkConfig(**values))
    connector.clock = waits.clock
    return connector


PARTNER = {"api_key": SecretStr("partner-key"), "tenant_id": "2222"}
OWN = {"application_id": APP, "bearer": SecretStr(BEARER)}


@pytest.mark.parametrize("config", [PARTNER, OWN], ids=["looked up", "given"])
def test_a_district_is_read_whole_at_its_escaped_address(
    proxy: Proxy, waits: Waits, fetch: Any, config: dict[str, Any]
) -> None:
    fetched = fetch(classlink(waits, proxy, **config))
    assert len(fetched.users) == 25
    assert list(fetched.schools) == ["o1"]
    assert fetched.certificate.complete
    assert fetched.certificate.declared == {"schools": 1, "users": 25}
    assert fetched.certificate.revision == "rev-1"
    assert any(a.target.startswith(f"/{APP}/ims/oneroster/v1p1/users?") for a in proxy.vendor.asked)


def test_a_small_letter_in_the_escaped_id_stays_small(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    proxy.prefix = "/%2fgVa0ed75Gs%43/ims/oneroster/v1p1"
    config = {**OWN, "application_id": "%2fgVa0ed75Gs%43"}
    assert len(fetch(classlink(waits, proxy, **config)).users) == 25


def test_the_other_known_path_of_the_proxy_is_a_setting(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    proxy.prefix = f"/proxy/v1p0/{APP}/ims/oneroster/v1p1"
    template = "/proxy/v1p0/{application_id}/ims/oneroster/v1p1"
    assert fetch(classlink(waits, proxy, **OWN, path_template=template)).certificate.complete


def test_the_tenant_tells_whose_roster_it_is(proxy: Proxy, waits: Waits, fetch: Any) -> None:
    assert fetch(classlink(waits, proxy, **PARTNER)).certificate.vendor_district == "2222"


# --- the district's own server, looked up


@pytest.fixture
def own(proxy: Proxy, fixture: Any) -> Proxy:
    """Return the proxy with a server of the district's own, at the same machine."""
    proxy.server = fixture("classlink/discovery/server.json")
    proxy.server["server"]["endpoint_url"] = f"{proxy.vendor.url}/own"
    proxy.prefix = "/own/ims/oneroster/v1p1"
    return proxy


def test_the_districts_own_server_is_looked_up_and_read(
    own: Proxy, waits: Waits, fetch: Any
) -> None:
    fetched = fetch(classlink(waits, own, **PARTNER, direct=True))
    assert len(fetched.users) == 25
    assert fetched.certificate.complete
    assert fetched.certificate.vendor_district == "2222"
    assert own.signed
    assert all('oauth_consumer_key="springfield-key"' in header for header in own.signed)
    assert not any("springfield-secret" in header for header in own.signed)


@pytest.mark.parametrize(
    ("server", "error"),
    [
        ({"status": 1, "server": None, "message": "none"}, Disconnected),
        ({"status": 0, "message": "no"}, Disconnected),
        ({"server": {"client_id": "k", "client_secret": "s", "endpoint_url": ""}}, Disconnected),
        ({"server": {"client_id": "k", "client_secret": "s",
                     "endpoint_url": "http://elsewhere.example"}}, VendorFailure),
    ],
)  # fmt: skip
def test_a_server_that_is_not_named_or_not_safe_gets_nothing(
    own: Proxy, waits: Waits, fetch: Any, server: Any, error: type[VendorFailure]
) -> None:
    own.server = server
    with pytest.raises(error) as refused:
        fetch(classlink(waits, own, **PARTNER, direct=True))
    assert own.signed == []
    assert "elsewhere" not in f"{refused.value.message}{refused.value.hint}"


@pytest.mark.parametrize(
    "config",
    [{**OWN, "direct": True}, {**PARTNER, "direct": True, "consumer_key": "k",
                               "consumer_secret": SecretStr("s")}],
)  # fmt: skip
def test_direct_goes_with_the_partners_key_only(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="direct goes with api_key"):
        ClassLinkConfig(**config)


# --- discovery


def test_only_enabled_and_active_districts_are_listed(proxy: Proxy) -> None:
    config = ClassLinkConfig(base_url=proxy.vendor.url, api_key=SecretStr("partner-key"))
    assert [(d.id, d.name) for d in ClassLink.districts(config)] == [("2222", "Springfield USD")]


def test_a_long_list_of_applications_is_read_to_its_short_page(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    other = proxy.applications[1]
    proxy.applications[:0] = [{**other, "tenant_id": 10_000 + n} for n in range(10_000)]
    assert fetch(classlink(waits, proxy, **PARTNER)).certificate.complete
    assert proxy.listed == 2


@pytest.mark.parametrize(
    "tenant", ["3333", "4444", "9999"], ids=["disabled", "inactive", "vanished"]
)
def test_a_district_that_is_not_shared_any_more_is_disconnected(
    proxy: Proxy, waits: Waits, fetch: Any, tenant: str
) -> None:
    with pytest.raises(Disconnected):
        fetch(classlink(waits, proxy, **{**PARTNER, "tenant_id": tenant}))


def test_an_empty_list_of_districts_is_not_believed(proxy: Proxy, waits: Waits, fetch: Any) -> None:
    proxy.applications.clear()
    with pytest.raises(VendorFailure) as caught:
        fetch(classlink(waits, proxy, **PARTNER))
    assert not isinstance(caught.value, Disconnected)


def test_an_application_without_a_bearer_is_disconnected(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    proxy.applications[0]["bearer"] = None
    with pytest.raises(Disconnected):
        fetch(classlink(waits, proxy, **PARTNER))


def test_a_regenerated_bearer_just_works(proxy: Proxy, waits: Waits, fetch: Any) -> None:
    def rotate(asked: Asked, params: dict[str, str]) -> Reply | None:
        if params.get("offset") == "10" and proxy.bearer == BEARER:
            proxy.bearer = proxy.applications[0]["bearer"] = FRESH
            return Reply(401)
        return None

    proxy.fault = rotate
    fetched = fetch(classlink(waits, proxy, **PARTNER, page_size=10))
    assert len(fetched.users) == 25
    assert proxy.listed == 2


def test_a_bearer_that_stays_refused_is_a_credential_error(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    proxy.bearer = FRESH
    with pytest.raises(CredentialsRefused):
        fetch(classlink(waits, proxy, **PARTNER))
    with pytest.raises(CredentialsRefused):
        fetch(classlink(waits, proxy, **OWN))


def test_two_applications_of_one_district_must_be_told_apart(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    second = {**proxy.applications[0], "oneroster_application_id": "%2Fother"}
    proxy.applications.append(second)
    with pytest.raises(ConfigError, match="2 applications"):
        fetch(classlink(waits, proxy, **PARTNER))
    assert fetch(classlink(waits, proxy, **PARTNER, application_id=APP)).certificate.complete


# --- the revision


def test_an_unchanged_revision_leaves_nothing_to_read(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    again = fetch(classlink(waits, proxy, **PARTNER), FetchRequest(revision="rev-1"))
    assert again.pages == []
    assert again.certificate.unchanged
    assert again.certificate.complete
    assert again.certificate.revision == "rev-1"
    assert proxy.asked("users") == []


def test_a_new_revision_is_read(proxy: Proxy, waits: Waits, fetch: Any) -> None:
    again = fetch(classlink(waits, proxy, **PARTNER), FetchRequest(revision="rev-0"))
    assert not again.certificate.unchanged
    assert len(again.users) == 25


def test_a_revision_that_moves_in_the_middle_starts_again(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    def move(asked: Asked, params: dict[str, str]) -> None:
        if params.get("offset") == "10":
            proxy.headers["x-perm-rev"] = "rev-2"

    proxy.fault = move
    connector = classlink(waits, proxy, **PARTNER, page_size=10)
    with pytest.raises(RestartFetch):
        list(connector.pages(FetchRequest()))
    fetched = fetch(connector)
    assert len(fetched.users) == 25
    assert fetched.certificate.revision == "rev-2"


def test_a_server_without_revisions_is_read_each_time(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    proxy.headers.clear()
    fetched = fetch(classlink(waits, proxy, **PARTNER))
    assert fetched.certificate.revision is None
    assert fetched.certificate.complete


# --- pages


def test_502_halves_the_page_and_goes_on_at_the_same_place(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    proxy.collections["users"] = people(900)
    proxy.fault = lambda asked, params: (
        Reply(502, b"") if "/users?" in asked.target and int(params["limit"]) > 300 else None
    )
    fetched = fetch(classlink(waits, proxy, **PARTNER, page_size=1000))
    assert len(fetched.users) == 900
    assert [(a["offset"], a["limit"]) for a in proxy.asked("users")] == [
        ("0", "1000"),
        ("0", "500"),
        ("0", "250"),
        ("250", "250"),
        ("500", "250"),
        ("750", "250"),
    ]


def test_a_502_that_stays_is_incomplete(proxy: Proxy, waits: Waits, fetch: Any) -> None:
    proxy.fault = lambda asked, params: Reply(502, b"") if "/users?" in asked.target else None
    with pytest.raises(IncompleteFetch):
        fetch(classlink(waits, proxy, **PARTNER, page_size=1000, attempts=3))
    assert waits.waits != []


def test_a_page_that_holds_less_than_it_counts_is_asked_for_again(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    short: list[bool] = []

    def cut(asked: Asked, params: dict[str, str]) -> Reply | None:
        if "/users?" in asked.target and not short:
            short.append(True)
            body = json.dumps({"users": people(20)}).encode()
            return Reply(body=body, headers={"x-count": "25", "X-Total-Count": "25"})
        return None

    proxy.fault = cut
    assert len(fetch(classlink(waits, proxy, **PARTNER)).users) == 25


def test_i7_the_total_is_trusted_and_no_page_is_asked_for_too_many(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    fetch(classlink(waits, proxy, **OWN))
    assert len(proxy.asked("users")) == 1


# --- straight from the district


def test_a_direct_server_is_asked_with_oauth_1_as_classlink_writes_it(
    vendor: Vendor, waits: Waits, fetch: Any
) -> None:
    provider = Provider(vendor, collections={"orgs": [], "schools": [], "users": people(3)})
    config = {"consumer_key": "k", "consumer_secret": SecretStr("s")}
    assert len(fetch(classlink(waits, provider, **config)).users) == 3
    assert len(fetch(classlink(waits, provider, **config, base_url=provider.root)).users) == 3
    for asked in vendor.asked:
        header = asked.headers["authorization"]
        assert 'oauth_signature_method="HMAC-SHA256"' in header
        assert "oauth_version" not in header
        assert "oauth_token" not in header


def test_credentials_of_some_kind_must_be_given() -> None:
    for config in ({}, {"application_id": APP}, {"consumer_key": "k"}, {"tenant_id": "2222"}):
        with pytest.raises(ValidationError, match="give api_key and tenant_id"):
            ClassLinkConfig(**config)


def test_an_application_id_that_was_unescaped_is_refused() -> None:
    with pytest.raises(ValidationError, match="application_id"):
        ClassLinkConfig(application_id="/gVa0ed75GsC", bearer=SecretStr("b"))


def test_a_partner_without_a_district_is_told_to_discover(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    with pytest.raises(ConfigError, match="tenant_id"):
        fetch(classlink(waits, proxy, api_key=SecretStr("partner-key")))


def test_a_refused_partner_key_is_a_credential_error(
    proxy: Proxy, waits: Waits, fetch: Any
) -> None:
    with pytest.raises(CredentialsRefused):
        fetch(classlink(waits, proxy, api_key=SecretStr("wrong"), tenant_id="2222"))
