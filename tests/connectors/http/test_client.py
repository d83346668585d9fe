"""The HTTP base: what comes over the wire, what is tried again, what is refused.

One file, because it is the test of one file, the client, and every test talks to the same server.
"""

from __future__ import annotations

import gzip
import logging
from email.utils import formatdate

import pytest
import responses
from pydantic import BaseModel, SecretStr, ValidationError

from connectors.contract.pacing import Pacer
from connectors.contract.urls import VendorUrl, parse_links, with_query
from connectors.http.client import (
    Action,
    Anonymous,
    Answer,
    Forbidden,
    PageTooLarge,
    StatusError,
    VendorHttp,
)
from connectors.http.oauth import Bearer
from connectors.http.vendor_codes import vendor_codes
from core.errors import CredentialsRefused, RetryableError, VendorFailure
from tests.connectors.conftest import START, Asked, Reply, Vendor, Waits


def body_of(answer: Answer) -> bytes:
    return answer.body


def client(waits: Waits, authorizer=None, **options) -> VendorHttp:
    return VendorHttp("Testville", authorizer or Anonymous(), clock=waits.clock, **options)


def answering(*replies: Reply):
    """Answer with each reply in turn, the last one for ever."""
    left = list(replies)
    return lambda asked: left.pop(0) if len(left) > 1 else left[0]


# --- the wire


@pytest.mark.parametrize(
    "path",
    [
        "/%2FgVa0ed75Gs%43/ims/oneroster/v1p1/users",
        "/%2fgVa0%c3%a9d/users",
        "/a%7Eb~c/%41%2e%2E/x",
        "/x?filter=role%3D%27student%27&sort=a%20b",
        "/x?a=%2f%2F",
    ],
)
def test_a_url_goes_over_the_wire_byte_for_byte(vendor: Vendor, waits: Waits, path: str) -> None:
    vendor.answer = answering(Reply())
    client(waits).get(vendor.url + path, "users", body_of)
    assert vendor.asked[0].target == path
    assert "x-rostersync-target" not in vendor.asked[0].headers


def test_every_request_says_who_asks_and_takes_gzip(vendor: Vendor, waits: Waits) -> None:
    packed = gzip.compress(b'{"users": []}')
    vendor.answer = answering(Reply(body=packed, headers={"Content-Encoding": "gzip"}))
    assert client(waits).get(f"{vendor.url}/users", "users", body_of) == b'{"users": []}'
    headers = vendor.asked[0].headers
    assert headers["user-agent"].startswith("rostersync/")
    assert "gzip" in headers["accept-encoding"]


def test_one_connection_carries_many_requests(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply())
    http = client(waits)
    for _ in range(5):
        http.get(f"{vendor.url}/users", "users", body_of)
    assert len(vendor.connections) == 1
    assert http.requests == 5


def test_no_cookie_is_kept(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(headers={"Set-Cookie": "session=1; Path=/"}))
    http = client(waits)
    http.get(f"{vendor.url}/users", "users", body_of)
    http.get(f"{vendor.url}/users", "users", body_of)
    assert "cookie" not in vendor.asked[1].headers


def test_a_netrc_file_cannot_replace_the_credentials(
    vendor: Vendor, waits: Waits, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    vendor.answer = answering(Reply())
    client(waits, Bearer(SecretStr("ours"))).get(f"{vendor.url}/x", "users", body_of)
    assert vendor.asked[0].headers["authorization"] == "Bearer ours"


def test_a_body_past_the_cap_is_refused(vendor: Vendor, waits: Waits) -> None:
    bomb = gzip.compress(b" " * 3_000_000)
    vendor.answer = answering(Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(StatusError, match="more than 1 MB"):
        client(waits, max_body=1 << 20).get(f"{vendor.url}/users", "users", body_of)
    assert len(vendor.asked) == 1


def test_a_redirect_to_another_host_is_not_followed(
    vendor: Vendor, other_vendor: Vendor, waits: Waits
) -> None:
    vendor.answer = answering(Reply(302, headers={"Location": f"{other_vendor.url}/users"}))
    with pytest.raises(StatusError, match="another host"):
        client(waits, Bearer(SecretStr("t"))).get(f"{vendor.url}/users", "users", body_of)
    assert other_vendor.asked == []


def test_a_redirect_on_the_same_host_is_followed(vendor: Vendor, waits: Waits) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.target == "/users":
            return Reply(307, headers={"Location": "/v2/users"})
        return Reply(body=b"[]")

    vendor.answer = answer
    assert client(waits).get(f"{vendor.url}/users", "users", body_of) == b"[]"


def test_a_circle_of_redirects_ends(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(302, headers={"Location": "/users"}))
    with pytest.raises(StatusError, match="circle"):
        client(waits).get(f"{vendor.url}/users", "users", body_of)


@pytest.mark.parametrize("place", ["/us ers", "/us\u00e9rs"])
def test_a_redirect_to_an_address_that_is_none_is_not_followed(
    waits: Waits, web: responses.RequestsMock, place: str
) -> None:
    web.get("https://vendor.example/users", status=302, headers={"Location": place})
    with pytest.raises(VendorFailure, match="address"):
        client(waits).get("https://vendor.example/users", "users", body_of)


def test_an_address_with_a_line_break_reaches_no_wire(waits: Waits) -> None:
    with pytest.raises(VendorFailure, match="address"):
        client(waits).get("https://vendor.example/a\r\nX: y", "users", body_of)


def test_an_untrusted_certificate_is_refused_and_not_tried_again(waits: Waits, web) -> None:
    import requests

    web.get("https://vendor.example/users", body=requests.exceptions.SSLError("self-signed"))
    with pytest.raises(VendorFailure, match="certificate") as caught:
        client(waits).get("https://vendor.example/users", "users", body_of)
    assert not isinstance(caught.value, RetryableError)
    assert len(web.calls) == 1
    assert web.calls[0].request.req_kwargs["verify"] is not False


# --- one table from status to action


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 599])
def test_a_status_that_may_pass_is_tried_again(vendor: Vendor, waits: Waits, status: int) -> None:
    vendor.answer = answering(Reply(status, b""), Reply(body=b"[]"))
    assert client(waits).get(f"{vendor.url}/users", "users", body_of) == b"[]"
    assert len(waits.waits) == 1


@pytest.mark.parametrize("status", [400, 404, 405, 409, 410, 422, 501, 204, 206])
def test_a_status_that_stays_is_not_tried_again(vendor: Vendor, waits: Waits, status: int) -> None:
    vendor.answer = answering(Reply(status, b"" if status == 204 else b"{}"))
    with pytest.raises(StatusError) as caught:
        client(waits).get(f"{vendor.url}/users", "users", body_of)
    assert caught.value.http_status == status
    assert len(vendor.asked) == 1
    assert waits.waits == []


def test_401_is_a_credential_error_at_once(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(401))
    with pytest.raises(CredentialsRefused) as caught:
        client(waits, Bearer(SecretStr("t"))).get(f"{vendor.url}/users", "users", body_of)
    assert caught.value.exit_code == 14
    assert len(vendor.asked) == 1


def test_401_asks_once_for_the_token_that_holds_now(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = lambda asked: Reply(
        200 if asked.headers["authorization"] == "Bearer fresh" else 401
    )
    bearer = Bearer(SecretStr("stale"), lambda: SecretStr("fresh"))
    client(waits, bearer).get(f"{vendor.url}/users", "users", body_of)
    assert [asked.headers["authorization"] for asked in vendor.asked] == [
        "Bearer stale",
        "Bearer fresh",
    ]


def test_the_same_token_looked_up_again_is_not_tried_again(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(401))
    bearer = Bearer(SecretStr("stale"), lambda: SecretStr("stale"))
    with pytest.raises(CredentialsRefused):
        client(waits, bearer).get(f"{vendor.url}/users", "users", body_of)
    assert len(vendor.asked) == 1


def test_403_names_the_collection_that_is_not_shared(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(403))
    with pytest.raises(Forbidden, match="schools"):
        client(waits).get(f"{vendor.url}/x", "schools", body_of)


def test_413_asks_for_smaller_pages(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(413))
    with pytest.raises(PageTooLarge):
        client(waits).get(f"{vendor.url}/x", "users", body_of)


def test_a_connector_overrides_one_row_of_the_table(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(502))
    with pytest.raises(PageTooLarge):
        client(waits, statuses={502: Action.SHRINK}).get(f"{vendor.url}/x", "users", body_of)


@pytest.mark.parametrize(
    "reply",
    [Reply(body=b'{"data": [', length=500), Reply(hang_up=True)],
    ids=["cut by the connection", "no answer at all"],
)
def test_a_broken_answer_is_asked_for_again(vendor: Vendor, waits: Waits, reply: Reply) -> None:
    vendor.answer = answering(reply, Reply(body=b"[]"))
    assert client(waits).get(f"{vendor.url}/users", "users", body_of) == b"[]"


def test_a_slow_vendor_is_a_failure_of_the_vendor(vendor: Vendor, waits: Waits) -> None:
    import threading

    hold = threading.Event()

    def answer(asked: Asked) -> Reply:
        hold.wait(5)
        return Reply()

    vendor.answer = answer
    try:
        with pytest.raises(RetryableError, match="in time"):
            client(waits, read_seconds=0.05, attempts=1).get(vendor.url, "users", body_of)
    finally:
        hold.set()


def test_a_vendor_that_cannot_be_reached_is_a_failure_of_the_vendor(waits: Waits) -> None:
    with pytest.raises(RetryableError, match="could not be reached") as caught:
        client(waits, attempts=2).get("http://127.0.0.1:9/users", "users", body_of)
    assert caught.value.exit_code == 12


# --- waiting


def test_retry_after_in_seconds_is_kept(vendor: Vendor, waits: Waits) -> None:
    vendor.answer = answering(Reply(429, b"", {"Retry-After": "17"}), Reply())
    client(waits).get(f"{vendor.url}/users", "users", body_of)
    assert 17 <= waits.waits[0] <= 18


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": formatdate(START + 20, usegmt=True)}, 20),
        (
            {
                "Retry-After": formatdate(START + 7220, usegmt=True),
                "Date": formatdate(START + 7200, usegmt=True),  # the vendor's clock is ahead
            },
            20,
        ),
        ({"X-RateLimit-Reset": "30"}, 30),
        ({"RateLimit-Reset": "12"}, 12),
        ({"X-RateLimit-Reset": str(int(START) + 42), "Date": formatdate(START, usegmt=True)}, 42),
        ({"X-RateLimit-Reset": str(int(START) + 42)}, 42),
        ({"Retry-After": "5", "X-RateLimit-Reset": "30"}, 5),
    ],
)
def test_a_429_waits_until_the_vendors_window_ends(
    web, waits: Waits, headers: dict[str, str], wait: float
) -> None:
    web.get("https://vendor.example/users", status=429, body=b"", headers=headers)
    web.get("https://vendor.example/users", body=b"[]")
    client(waits).get("https://vendor.example/users", "users", body_of)
    assert wait <= waits.waits[0] <= wait + 1


def test_waits_grow_and_differ(web, waits: Waits) -> None:
    for _ in range(6):
        web.get("https://vendor.example/users", status=500, body=b"")
    with pytest.raises(RetryableError):
        client(waits).get("https://vendor.example/users", "users", body_of)
    assert len(waits.waits) == 5
    assert all(0 <= wait <= 2**n for n, wait in enumerate(waits.waits))


def test_a_wait_of_a_day_ends_the_run_instead(web, waits: Waits) -> None:
    web.get("https://vendor.example/users", status=429, headers={"Retry-After": "86400"})
    with pytest.raises(RetryableError) as caught:
        client(waits).get("https://vendor.example/users", "users", body_of)
    assert caught.value.retry_after == 86400
    assert waits.waits == []


def test_a_used_up_window_is_waited_out_before_the_next_request(web, waits: Waits) -> None:
    spent = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(START) + 9)}
    web.get("https://vendor.example/1", headers=spent)
    web.get("https://vendor.example/2")
    http = client(waits)
    http.get("https://vendor.example/1", "users", body_of)
    assert waits.waits == []
    http.get("https://vendor.example/2", "users", body_of)
    assert waits.waits == [pytest.approx(9)]


def test_requests_never_pass_the_vendors_rate_in_any_minute(waits: Waits) -> None:
    pacer = Pacer(1200, waits.clock)
    sent: list[float] = []
    for _ in range(5000):
        pacer.wait()
        sent.append(waits.passed)
    late = [n for n in range(1200, 5000) if sent[n] - sent[n - 1200] < 60.0 - 1e-6]
    assert late == []
    assert waits.passed < 60.0 * 5


def test_a_reading_below_the_vendors_rate_never_waits(waits: Waits) -> None:
    pacer = Pacer(1200, waits.clock)
    for _ in range(1200):
        pacer.wait()
    assert waits.passed == 0


# --- what is told, and what is not


SECRETS = ["tok-3f9c1d77aa", "ada.okafor@springfield.example", "Ada Okafor", "id-4711-aaaa"]


def test_no_secret_and_no_person_stands_in_error_log_or_repr(
    web, waits: Waits, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = b'{"message": "User \'Ada Okafor\' <ada.okafor@springfield.example> tok-3f9c1d77aa bad"}'
    for _ in range(3):
        web.get("https://vendor.example/users/id-4711-aaaa", status=500, body=body)
    bearer = Bearer(SecretStr("tok-3f9c1d77aa"))
    http = client(waits, bearer, attempts=3)
    with pytest.raises(RetryableError) as caught:
        http.get("https://vendor.example/users/id-4711-aaaa", "one user", body_of)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("rosters")]
    assert [words.split(" ")[0] for words in ours].count("Testville") == 2
    assert [words for words in ours if words.startswith("ask vendor collection=one-user")]
    told = " ".join([str(caught.value), caught.value.hint, repr(http), repr(bearer), *ours])
    assert [secret for secret in SECRETS if secret in told] == []


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        (b'{"message": "rate limit reached"}', ""),
        (b'{"error": "invalid_client", "error_description": "unknown"}', "the code invalid_client"),
        (b'{"imsx_codeMajor": "failure", "imsx_codeMinor": "server_busy"}', "the code server_busy"),
        (
            b'{"imsx_StatusInfo": {"imsx_CodeMinor": {"imsx_codeMinorField":'
            b' [{"imsx_codeMinorFieldValue": "unknownobject"}]}}}',
            "the code unknownobject",
        ),
        (b'{"statusInfoSet": [{"imsx_codeMinor": "forbidden"}]}', "the code forbidden"),
        (b'{"errors": ["Liam Carter has no access"]}', ""),
        (
            b'{"error": "insufficient_scope, ask for read:students."}',
            "the code insufficient_scope and the scope read:students",
        ),
        (b'{"error": "read:liam.carter write:students_of_liam"}', ""),
        (b"<html>Bad Gateway</html>", ""),
        (b"", ""),
        (b"[[[[[]]]]]", ""),
        (b'{"error": {"a": 1}}', ""),
        (b"\xff\xfe", ""),
        (b"[" * 50000, ""),
    ],
)
def test_an_error_body_of_any_shape_is_read_for_its_codes_and_scopes_only(
    body: bytes, codes: str
) -> None:
    assert vendor_codes(body, {}) == codes


def test_a_challenge_names_its_code_and_scope() -> None:
    challenge = 'Bearer realm="Liam Carter", error="invalid_token", scope="read:schools"'
    assert vendor_codes(b"", {"WWW-Authenticate": challenge}) == (
        "the code invalid_token and the scope read:schools"
    )


@pytest.mark.parametrize(
    ("header", "links"),
    [
        (
            '<https://a.example/users?limit=2&offset=2>; rel="next", '
            '<https://a.example/users?limit=2>; rel="first"',
            {
                "next": "https://a.example/users?limit=2&offset=2",
                "first": "https://a.example/users?limit=2",
            },
        ),
        (
            'https://a.example/users?limit=100&offset=100; rel="next", '
            'https://a.example/users?limit=100&offset=0; rel="first"',
            {
                "next": "https://a.example/users?limit=100&offset=100",
                "first": "https://a.example/users?limit=100&offset=0",
            },
        ),
        ("</users?offset=2>; rel=next", {"next": "/users?offset=2"}),
        (
            '<https://a.example/x>; title="t"; rel="prev next"',
            {"prev": "https://a.example/x", "next": "https://a.example/x"},
        ),
        (
            'https://a.example/x; rel="next", https://a.example/y; rel="last"',
            {"next": "https://a.example/x", "last": "https://a.example/y"},
        ),
        ("", {}),
        ("rubbish", {}),
    ],
)
def test_link_headers_are_read_with_and_without_brackets(
    header: str, links: dict[str, str]
) -> None:
    assert parse_links(header) == links


def test_a_query_is_escaped_so_that_it_can_be_signed_as_sent() -> None:
    url = with_query("https://a.example/x", {"filter": "role='a b'", "n": 1})
    assert url == "https://a.example/x?filter=role%3D%27a%20b%27&n=1"


@pytest.mark.parametrize(
    "url",
    ["http://vendor.example/x", "ftp://vendor.example", "vendor.example", "https://u:p@v.example"],
)
def test_a_url_that_could_leak_credentials_is_refused(url: str) -> None:
    class Config(BaseModel):
        base_url: VendorUrl

    with pytest.raises(ValidationError):
        Config(base_url=url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/x/", "http://localhost/x/", "https://v.example/x/"]
)
def test_http_reaches_this_machine_only(url: str) -> None:
    class Config(BaseModel):
        base_url: VendorUrl

    assert Config(base_url=url).base_url == url.rstrip("/")
