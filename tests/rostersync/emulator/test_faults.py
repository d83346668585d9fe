"""Each fault, seen from outside with nothing but an HTTP client; and its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest
import requests

from rostersync.emulator.district.generator import District
from rostersync.emulator.emulator import Emulator
from rostersync.emulator.server.faults import FAULTS

from .reading import access_token, bearer

LIMIT = 100
Check = Callable[["Vendor"], None]


class Vendor:
    """One emulator and the questions that a client asks it."""

    def __init__(self, emulator: Emulator, http: requests.Session) -> None:
        self.emulator = emulator
        self.http = http
        config = emulator.config("oauth2" if emulator.vendor.startswith("oneroster") else "")
        self.config = config
        self.clever = emulator.vendor == "clever"
        vendor = emulator.vendor
        self.truth = [entry.external_id for entry in emulator.district.truth(0, vendor)]
        if self.clever:
            self.root, self.headers = config["base_url"], bearer(config["token"])
        elif vendor == "classlink":
            self.headers = bearer(config["bearer"])
            self.root = f"{config['base_url']}/{config['application_id']}/ims/oneroster/v1p1"
        else:
            self.root = config.get("base_url") or config["api_url"]
            self.headers = bearer(access_token(http, config))

    def get(self, url: str, **more: object) -> requests.Response:
        prepared = self.http.prepare_request(requests.Request("GET", url, headers=self.headers))
        prepared.url = url  # as written: an application id must not be unescaped
        return self.http.send(prepared, timeout=more.get("timeout", 20), allow_redirects=False)  # type: ignore[arg-type]

    def page(self, number: int = 1, **more: object) -> requests.Response:
        if self.clever:
            after = f"&starting_after={self.truth[(number - 1) * LIMIT - 1]}" if number > 1 else ""
            return self.get(f"{self.root}/users?limit={LIMIT}{after}", **more)
        return self.get(f"{self.root}/users?limit={LIMIT}&offset={(number - 1) * LIMIT}", **more)

    def ids(self, number: int = 1) -> list[str]:
        body = self.page(number).json()
        if self.clever:
            return [entry["data"]["id"] for entry in body["data"]]
        return [row["sourcedId"] for row in body["users"]]

    def next_link(self, number: int = 1) -> str | None:
        answer = self.page(number)
        if self.clever:
            links = answer.json()["links"]
            return next((link["uri"] for link in links if link["rel"] == "next"), None)
        link = answer.headers.get("Link", "")
        return next((part for part in link.split(",") if 'rel="next"' in part), None)

    def discovery(self) -> requests.Response:
        vendor = self.emulator.vendor
        if vendor == "clever":
            config = self.emulator.config("lookup")
            pair = (config["client_id"], config["client_secret"])
            return self.http.get(
                f"{config['tokens_url']}?owner_type=district", auth=pair, timeout=20
            )
        config = self.emulator.config("discovery")
        if vendor == "classlink":
            key = bearer(config["api_key"])
            return self.http.get(f"{config['base_url']}/applications", headers=key, timeout=20)
        token = bearer(access_token(self.http, config))
        return self.http.get(config["onboarding_url"], headers=token, timeout=20)


def rate_limited(v: Vendor) -> None:
    v.emulator.fail("rate_limited", stream="users", page=2, amount=7)
    assert v.page(1).status_code == 200
    answer = v.page(2)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "7"
    assert answer.json()["message"]


def rate_limited_empty(v: Vendor) -> None:
    v.emulator.fail("rate_limited_empty")
    answer = v.page()
    assert (answer.status_code, answer.content) == (429, b"")
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert int(answer.headers["X-RateLimit-Reset"]) > time.time() - 60


def server_error(v: Vendor) -> None:
    v.emulator.fail("server_error", times=2)
    assert [v.page().status_code for _ in range(3)] == [500, 500, 200]


def bad_gateway(v: Vendor) -> None:
    v.emulator.fail("bad_gateway", stream="users", amount=LIMIT // 2)
    answer = v.page()
    assert answer.status_code == 502
    assert answer.headers["Content-Type"].startswith("text/html")
    assert v.get(f"{v.root}/users?limit={LIMIT // 2}").status_code == 200


def html_503(v: Vendor) -> None:
    v.emulator.fail("html_503")
    answer = v.page()
    assert answer.status_code == 503
    assert answer.text.startswith("<!doctype html>")


def html_200(v: Vendor) -> None:
    v.emulator.fail("html_200", stream="users", page=3)
    assert v.page(2).json()
    answer = v.page(3)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Expecting value"):
        answer.json()


def timeout(v: Vendor) -> None:
    v.emulator.fail("timeout", times=1)
    with pytest.raises(requests.Timeout):
        v.page(timeout=0.2)
    assert v.page().status_code == 200


def reset(v: Vendor) -> None:
    v.emulator.fail("reset", times=1)
    with pytest.raises(requests.ConnectionError):
        v.page()


def cut_off(v: Vendor) -> None:
    v.emulator.fail("cut_off", times=1)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        v.page()


def truncated_json(v: Vendor) -> None:
    v.emulator.fail("truncated_json", stream="users", page=2)
    answer = v.page(2)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(ValueError, match="line 1"):
        answer.json()


def gzip_broken(v: Vendor) -> None:
    v.emulator.fail("gzip_broken", stream="users")
    with pytest.raises(requests.exceptions.ContentDecodingError):
        v.page()


def gzip_cut(v: Vendor) -> None:
    whole = v.page(2).content
    v.emulator.fail("gzip_cut", stream="users", page=2)
    # Many clients say nothing of it: the JSON just ends early.
    found = v.page(2).content
    assert 0 < len(found) < len(whole)
    assert whole.startswith(found)


def early_last_page(v: Vendor) -> None:
    v.emulator.fail("early_last_page", stream="users", page=2)
    assert v.ids(2) == v.truth[LIMIT : 2 * LIMIT]
    assert v.next_link(2) is None
    assert v.ids(3) == []


def endless_paging(v: Vendor) -> None:
    v.emulator.fail("endless_paging", stream="users", page=2)
    again = v.truth[LIMIT : 2 * LIMIT]
    assert v.ids(1) == v.truth[:LIMIT]
    assert v.ids(2) == v.ids(3) == v.ids(9) == again
    if v.emulator.vendor != "classlink":
        assert v.next_link(9) is not None


def shifting_pages(v: Vendor) -> None:
    v.emulator.fail("shifting_pages", stream="users", page=2, amount=1)
    assert v.ids(1)[-1] == v.truth[LIMIT - 1]
    assert v.ids(2)[0] == v.truth[LIMIT + 1]
    v.emulator.heal()
    v.emulator.fail("shifting_pages", stream="users", page=2, amount=-1)
    assert v.ids(2)[0] == v.truth[LIMIT - 1]


def foreign_link(v: Vendor) -> None:
    v.emulator.fail("foreign_link", stream="users", page=1)
    assert "https://elsewhere.example/" in (v.next_link(1) or "")
    assert "elsewhere" not in (v.next_link(2) or "")


def empty_role(v: Vendor) -> None:
    v.emulator.fail("empty_role", role="student")
    students = {
        entry.external_id
        for entry in v.emulator.district.truth(0, v.emulator.vendor)
        if entry.memberships[0][0] == "student"
    }
    found = v.ids()
    assert found
    assert not students & set(found)


def empty_users(v: Vendor) -> None:
    v.emulator.fail("empty_users")
    assert v.ids() == []
    if v.emulator.vendor in ("classlink", "oneroster"):
        assert v.page().headers["x-total-count"] == "0"


def wrong_total(v: Vendor) -> None:
    v.emulator.fail("wrong_total", stream="users", amount=-5)
    assert v.page().headers["x-total-count"] == str(len(v.truth) - 5)
    v.emulator.heal()
    v.emulator.fail("wrong_total", stream="users", amount=9)
    assert v.page().headers["x-total-count"] == str(len(v.truth) + 9)


def token_revoked(v: Vendor) -> None:
    v.emulator.fail("token_revoked", stream="users", page=2)
    assert [v.page(n).status_code for n in (1, 2, 3)] == [200, 401, 401]
    v.emulator.heal()
    v.emulator.fail("token_revoked")
    assert v.page().status_code == 401


def token_expired(v: Vendor) -> None:
    v.emulator.fail("token_expired")
    assert [v.page().status_code for _ in range(2)] == [401, 401]
    v.headers = bearer(access_token(v.http, v.config))
    assert v.page().status_code == 200


def token_swapped(v: Vendor) -> None:
    v.emulator.fail("token_swapped")
    neighbour = v.emulator.tenants[1].district
    assert v.ids() == [entry.external_id for entry in neighbour.truth(0, v.emulator.vendor)]


def clock_skew(v: Vendor) -> None:
    def ahead() -> float:
        return parsedate_to_datetime(v.page().headers["Date"]).timestamp() - time.time()

    assert abs(ahead()) < 1000
    v.emulator.fail("clock_skew", amount=5000)
    if v.page().status_code == 200:
        assert 4000 < ahead() < 6000


def district_vanished(v: Vendor) -> None:
    name = v.emulator.district.name
    assert name in v.discovery().text or v.clever
    both = len(v.discovery().content)
    v.emulator.fail("district_vanished")
    assert name not in v.discovery().text
    assert 0 < len(v.discovery().content) < both
    assert v.page().status_code == 401


def discovery_empty(v: Vendor) -> None:
    v.emulator.fail("discovery_empty")
    body = v.discovery().json()
    assert (body if isinstance(body, list) else body.get("data", body.get("applications"))) == []


def revision_changes(v: Vendor) -> None:
    v.emulator.fail("revision_changes", stream="users", page=2)
    revisions = [v.page(n).headers["x-perm-rev"] for n in (1, 2, 3)]
    assert revisions[0] != revisions[1] == revisions[2]


def forbidden(v: Vendor) -> None:
    v.emulator.fail("forbidden", stream="schools")
    assert v.get(f"{v.root}/schools").status_code == 403
    assert v.page().status_code == 200


def lost_events(v: Vendor) -> None:
    v.emulator.day = 1
    before = v.get(f"{v.root}/events?limit=500").json()
    v.emulator.fail("lost_events")
    after = v.get(f"{v.root}/events?limit=500").json()
    name = "data" if v.clever else "events"
    assert len(after[name]) * 2 == len(before[name])


CHECKS: dict[str, Check] = {
    name: check for name, check in globals().items() if name in FAULTS and callable(check)
}
VENDORS = ("clever", "classlink", "gg4l", "oneroster")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_each_fault_can_be_seen_and_ends(
    district: District, http: requests.Session, name: str, vendor: str
) -> None:
    vendors = FAULTS[name].vendors
    with Emulator(district, vendor) as emulator:
        if vendors is not None and vendor not in vendors:
            with pytest.raises(ValueError, match=f"{vendor} cannot have {name}"):
                emulator.fail(name)
            return
        asked = Vendor(emulator, http)
        CHECKS[name](asked)
        emulator.heal()
        emulator.day = 0
        if not asked.clever and vendor != "classlink":
            asked.headers = bearer(access_token(http, asked.config))
        assert asked.ids() == asked.truth[:LIMIT]


def test_a_fault_that_is_none_is_refused_with_the_list_of_those_that_are(
    district: District,
) -> None:
    emulator = Emulator(district)
    with pytest.raises(ValueError, match=r"No fault 'bad_luck': .*server_error"):
        emulator.fail("bad_luck")
    with pytest.raises(ValueError, match="needs a role"):
        emulator.fail("empty_role")


def test_what_was_asked_is_logged_without_secrets(
    district: District, http: requests.Session
) -> None:
    with Emulator(district, "clever") as emulator:
        asked = Vendor(emulator, http)
        emulator.fail("server_error", stream="users", page=2, times=1)
        for number in (1, 2, 2):
            asked.page(number)
        assert [(r.status, r.stream, r.page) for r in emulator.requests] == [
            (200, "users", 1), (500, "users", 2), (200, "users", 2),
        ]  # fmt: skip
        assert emulator.counts() == {"users": 3}
        assert emulator.config()["token"] not in repr(emulator.requests)


def test_a_stopped_emulator_lets_nobody_wait(district: District, http: requests.Session) -> None:
    import threading

    failed: list[BaseException] = []
    with Emulator(district, "clever") as emulator:
        asked = Vendor(emulator, http)
        emulator.fail("timeout", amount=3600)

        def wait() -> None:
            try:
                asked.page(timeout=60)
            except requests.RequestException as error:
                failed.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        while not emulator.requests:
            time.sleep(0.01)
    thread.join(20)
    assert not thread.is_alive()
    assert isinstance(failed[0], requests.ConnectionError)
