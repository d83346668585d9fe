"""OAuth 1.0a: signatures are those of RFC 5849, over the very URL that is sent."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from connectors.contract.urls import segment, with_query
from connectors.http.client import VendorHttp
from connectors.http.oauth import OAuth1, SignatureMethod
from core.errors import CredentialsRefused
from tests.connectors.conftest import START, Asked, Reply, Vendor, Waits

from .rfc5849 import signed

HOSTILE = [
    "https://district.example/ims/oneroster/v1p1/users",
    "https://district.example/ims/oneroster/v1p1/users?limit=10000&offset=0",
    "https://District.EXAMPLE:443/%2FgVa0ed75Gs%43/ims/oneroster/v1p1/orgs?limit=1",
    "https://district.example:8443/a%2fb/users?sort=sourcedId&orderBy=asc",
    "https://d.example/u?filter=dateLastModified%3E%3D%272026-01-05T00%3A00%3A00.000Z%27",
    "https://d.example/u?filter=role%3D%27student%27%20AND%20status%3D%27active%27",
    "https://d.example/u?a=1&a=2&b=&c&a=0",
    "https://d.example/u?z=%C3%A9%E2%82%AC&%C3%A9=1",
    "https://d.example/users/t%207%2F%C3%BC%7C~.-_%27%28%29%2A%21",
    "http://127.0.0.1:8000?x=%25&y=%2B",
]
METHODS: list[SignatureMethod] = ["HMAC-SHA256", "HMAC-SHA1"]


def fields(header: str) -> dict[str, str]:
    assert header.startswith("OAuth ")
    return dict(re.findall(r'(\w+)="([^"]*)"', header))


@pytest.mark.parametrize("version", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("url", HOSTILE)
def test_a_signature_is_the_one_of_the_standard(
    waits: Waits, url: str, method: SignatureMethod, version: bool
) -> None:
    ours = OAuth1("key&1", SecretStr("s&cret/é"), waits.clock, method=method, version=version)
    header = ours.sign("GET", url, "n0nce", 1767600000)
    assert fields(header) == signed(url, "key&1", "s&cret/é", method, version=version)


words = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cn"])
)


@given(
    path=st.lists(words, min_size=1, max_size=3),
    query=st.dictionaries(words.filter(bool), words, max_size=4),
    key=words.filter(bool),
    secret=words.filter(bool),
)
def test_any_path_and_query_is_signed_as_the_standard_says(
    path: list[str], query: dict[str, str], key: str, secret: str
) -> None:
    url = with_query("https://d.example/" + "/".join(map(segment, path)), query)
    ours = OAuth1(key, SecretStr(secret), Waits().clock).sign("GET", url, "n0nce", 1767600000)
    assert fields(ours) == signed(url, key, secret, "HMAC-SHA256", version=True)


verbatim = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#?"), max_size=40
)


@given(path=verbatim, query=verbatim, version=st.booleans())
def test_a_link_is_signed_as_the_vendor_wrote_it(path: str, query: str, version: bool) -> None:
    # Not a bare semicolon at the end of the path: oauthlib drops it, and no vendor writes one.
    url = f"https://D.example:443/{path}x?{query}"
    ours = OAuth1("k&1", SecretStr("s&é"), Waits().clock, version=version)
    header = ours.sign("GET", url, "n0nce", 1767600000)
    assert fields(header) == signed(url, "k&1", "s&é", "HMAC-SHA256", version=version)


def test_nothing_of_a_signature_is_logged(waits: Waits, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    OAuth1("k3y", SecretStr("s3cret"), waits.clock).header("GET", HOSTILE[1])
    assert caplog.text == ""


def test_the_header_of_classlink_has_no_version_and_no_token(waits: Waits) -> None:
    header = OAuth1("k", SecretStr("s"), waits.clock, version=False).header("GET", HOSTILE[0])
    assert sorted(fields(header)) == [
        "oauth_consumer_key",
        "oauth_nonce",
        "oauth_signature",
        "oauth_signature_method",
        "oauth_timestamp",
    ]
    assert fields(header)["oauth_timestamp"] == str(int(START))


def test_every_request_is_signed_afresh(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = lambda asked: Reply(500 if len(vendor.asked) == 1 else 200)
    http = VendorHttp("T", OAuth1("k", SecretStr("s"), waits.clock), clock=waits.clock)
    http.get(f"{vendor.url}/users", "users", lambda answer: answer.body)
    nonces = [fields(asked.headers["authorization"])["oauth_nonce"] for asked in vendor.asked]
    assert len(set(nonces)) == 2


def test_a_clock_that_is_wrong_is_set_right_by_the_server_once(web, waits: Waits) -> None:
    from email.utils import formatdate

    late = {"Date": formatdate(START + 900, usegmt=True)}
    web.get("https://d.example/users", status=401, headers=late)
    web.get("https://d.example/users", body=b"[]", headers=late)
    web.get("https://d.example/users", status=401, headers=late)
    http = VendorHttp("T", OAuth1("k", SecretStr("s"), waits.clock), clock=waits.clock)
    http.get("https://d.example/users", "users", lambda answer: answer.body)
    sent = [fields(call.request.headers["Authorization"])["oauth_timestamp"] for call in web.calls]
    assert sent == [str(int(START)), str(int(START) + 900)]
    with pytest.raises(CredentialsRefused):
        http.get("https://d.example/users", "users", lambda answer: answer.body)


def test_the_signed_url_is_the_one_on_the_wire(vendor: Vendor, waits: Waits) -> None:
    good: list[bool] = []

    def answer(asked: Asked) -> Reply:
        sent = fields(asked.headers["authorization"])
        again = OAuth1("k", SecretStr("s"), waits.clock).sign(
            "GET", vendor.url + asked.target, sent["oauth_nonce"], int(sent["oauth_timestamp"])
        )
        good.append(fields(again) == sent)
        return Reply()

    vendor.answer = answer
    http = VendorHttp("T", OAuth1("k", SecretStr("s"), waits.clock), clock=waits.clock)
    for url in HOSTILE:
        target = re.sub(r"^https?://[^/?]+", "", url)
        http.get(
            vendor.url + (target if target.startswith("/") else f"/{target}"), "x", lambda a: a
        )
    assert good == [True] * len(HOSTILE)


def test_a_secret_stands_in_no_repr(waits: Waits) -> None:
    assert "s3cret" not in repr(OAuth1("k", SecretStr("s3cret"), waits.clock))
