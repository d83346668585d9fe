"""A made-up vendor as strangers meet them: OAuth 2, page tokens, changes since a time, deletions.

``Grove`` is written against ``rostersync`` alone and keeps every rule; the mutants break it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, SecretStr

from rostersync import (
    Answer as HttpAnswer,
)
from rostersync import (
    Capabilities,
    Certificate,
    Check,
    ClientCredentials,
    CursorLost,
    FetchRequest,
    HttpConfig,
    HttpConnector,
    Kind,
    Membership,
    NormalizedSchool,
    NormalizedUser,
    Page,
    Record,
    RetryableError,
    Role,
    RosterSyncError,
    SkipRecord,
    StatusError,
    VendorHttp,
    early_end,
    failed_check,
    with_query,
)
from rostersync.testing import CANARY, Answer, Asked, HttpScenario, Situation, as_json

CLIENT, SECRET, TOKEN = "grove-client", "grove-secret-81ac", "grove-access-2f7d90"
PAGE = 2
SCHOOLS = [{"id": "s1", "name": "Lincoln Elementary"}, {"id": "s2", "name": "Roosevelt High"}]


def _person(key: str, first: str, last: str, kind: str, school: str, **more: Any) -> dict[str, Any]:
    return {"id": key, "first": first, "last": last, "kind": kind, "school": school, **more}


PEOPLE = [
    _person("g1", "Ada", "Okonkwo", "student", "s1"),
    _person("g2", "Zoë", "Müller", "student", "s1", mail="zoe@grove.example"),
    _person("g3", "Minh", "Nguyễn", "student", "s2", mail="minh@grove.example"),
    _person("g4", "Rosa", "Castellanos", "teacher", "s2", mail="rosa@grove.example"),
    _person("g5", "Henry", "Abernathy", "admin", "s2", mail="henry@grove.example"),
]

NEWCOMER = _person("g6", "Noor", "Haddad", "student", "s1")

# ------------------------------------------------------------------------------- the vendor


def people_of(situation: Situation) -> list[dict[str, Any]]:
    """Return everybody whom the Grove has in a situation."""
    first, *others = PEOPLE
    match situation:
        case Situation.EMPTY:
            return []
        case Situation.BAD_ROW:
            return [*PEOPLE, {"first": CANARY, "last": CANARY, "kind": "student"}]
        case Situation.UNKNOWN_WORDS:
            return [{**first, "kind": "wizard"}, *others]
        case Situation.PRIVATE_DATA:
            return [{**first, "password": CANARY}, *others]
        case Situation.CHANGED:
            return [{**first, "first": "Adaeze"}, *others[1:], NEWCOMER]
        case _:
            return PEOPLE


def changes_of(situation: Situation) -> list[dict[str, Any]]:
    """Return what changed since the cursor of the normal roster."""
    if situation is not Situation.CHANGED:
        return []
    changed, *_ = people_of(situation)
    return [changed, {"id": PEOPLE[1]["id"], "deleted": True}, NEWCOMER]


def vendor(asked: Asked) -> Answer:
    """Answer as the Grove does."""
    if asked.path == "/token":
        pair = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {pair}":
            return as_json({"error": "invalid_client"}, status=401)
        return as_json({"access_token": TOKEN, "expires_in": 3600})
    if asked.headers.get("authorization") != f"Bearer {TOKEN}":
        return as_json({"error": "unauthorized"}, status=401)
    rows = SCHOOLS if asked.path == "/schools" else people_of(asked.situation)
    since = asked.query.get("since")
    if since is not None and asked.situation is Situation.CURSOR_LOST:
        return as_json({"error": "since is too long ago"}, status=410)
    if since is not None:
        rows = changes_of(asked.situation) if asked.path == "/people" else []
    start = int(asked.query.get("page", "0"))
    more = start + PAGE < len(rows)
    return as_json(
        {
            "items": rows[start : start + PAGE],
            "next": str(start + PAGE) if more else None,
            "as_of": "t1" if since is None else "t2",
        }
    )


def grove_scenario() -> HttpScenario:
    return HttpScenario(
        vendor,
        lambda base_url: {
            "base_url": base_url, "client_id": CLIENT, "client_secret": SECRET,
        },
        people=5,
        schools=2,
        spared=("/token",),
        expected=Path(__file__).with_name("grove_expected.json"),
    )  # fmt: skip


# ---------------------------------------------------------------------------- the connector


class GroveConfig(HttpConfig):
    """Config of ``grove``."""

    base_url: str = Field(description="Where the Grove is.")
    client_id: str = Field(description="The client's id.")
    client_secret: SecretStr = Field(description="The client's secret.")


class Grove(HttpConnector):
    """Reads one district's Grove."""

    name = "grove"
    version = "1"
    title = "The Grove"
    vendor = "The Grove"
    config_model = GroveConfig
    capabilities = Capabilities(incremental=True)
    streams: ClassVar[Mapping[str, Kind]] = {"schools": Kind.SCHOOL, "people": Kind.USER}
    config: GroveConfig

    def http(self) -> VendorHttp:
        config = self.config
        return self.client(
            ClientCredentials(
                self.token_client, f"{config.base_url}/token", config.client_id,
                config.client_secret, self.clock,
            )
        )  # fmt: skip

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        since = None if request.cursor is None else str(request.cursor["as_of"])
        http = self.http()
        as_of = ""
        with early_end():
            for stream in self.streams:
                token: str | None = None
                while True:
                    page = self.ask(http, stream, since, token)
                    yield Page(stream, page["body"], entries)
                    token, as_of = page["next"], page["as_of"]
                    if token is None:
                        break
        return self.certificate(as_of, since)

    def certificate(self, as_of: str, since: str | None) -> Certificate:
        return Certificate(complete=True, incremental=since is not None, cursor={"as_of": as_of})

    def ask(
        self, http: VendorHttp, stream: str, since: str | None, token: str | None
    ) -> dict[str, Any]:
        params = self.params(since) | ({} if token is None else {"page": token})
        try:
            return http.get(with_query(f"{self.config.base_url}/{stream}", params), stream, page_of)
        except StatusError as error:
            if error.http_status == 410:
                raise CursorLost("The Grove no longer knows the cursor.") from error
            raise

    def params(self, since: str | None) -> dict[str, str | int]:
        return {} if since is None else {"since": since}

    def check(self) -> Iterable[Check]:
        try:
            self.ask(self.http(), "schools", None, None)
        except RosterSyncError as error:
            return [failed_check(error)]
        return [Check("connection", True, "The Grove answers.")]

    def identify(self, stream: str, raw: bytes) -> str:
        key = json.loads(raw).get("id")
        if not key:
            raise SkipRecord("The entry has no id.", rule="missing-value", column="id")
        return str(key)

    def parse(self, stream: str, raw: bytes) -> Record:
        key, entry = self.identify(stream, raw), json.loads(raw)
        kind = self.streams[stream]
        if self.gone(entry):
            return Record(kind, key, deleted=True)
        if kind is Kind.SCHOOL:
            return Record(kind, key, school=NormalizedSchool(external_id=key, name=entry["name"]))
        known = entry["kind"] in set(Role)
        roles = (Membership(role=Role(entry["kind"]), school=entry["school"]),) if known else ()
        user = NormalizedUser(external_id=key, memberships=roles, **self.profile(entry))
        return Record(kind, key, user=user, unknown=() if known else (f"role={entry['kind']}",))

    def gone(self, entry: Mapping[str, Any]) -> bool:
        return bool(entry.get("deleted"))

    def profile(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "given_name": entry["first"], "family_name": entry["last"], "email": entry.get("mail"),
        }  # fmt: skip


def page_of(answer: HttpAnswer) -> dict[str, Any]:
    """Return a page of the Grove, or raise for an answer that is not a page."""
    try:
        page = json.loads(answer.body)
        return {
            "body": json.dumps(page["items"], ensure_ascii=False).encode(),
            "next": page["next"], "as_of": page["as_of"],
        }  # fmt: skip
    except (ValueError, KeyError, TypeError):
        raise RetryableError("The Grove answered with something that is no page.") from None


def entries(body: bytes) -> list[bytes]:
    return [json.dumps(one, ensure_ascii=False).encode() for one in json.loads(body)]
