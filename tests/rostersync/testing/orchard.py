"""A made-up vendor over HTTP and a connector that keeps every rule: what the suite is tried on."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from pydantic import Field, SecretStr

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Check,
    ConnectorConfig,
    FetchRequest,
    Page,
    Record,
    VendorDistrict,
)
from connectors.contract.json_records import json_of, key_of, split_array
from connectors.http.client import StatusError
from connectors.http.http_connector import HttpConfig, HttpConnector
from connectors.http.oauth import Bearer
from core.errors import CursorLost, RosterSyncError
from core.models import Kind, Membership, NormalizedSchool, NormalizedUser, Role
from rostersync.testing import CANARY, Answer, Asked, HttpScenario, Situation, as_json

TOKEN = "orchard-token-5f1c"
PAGE = 2

SCHOOLS = [{"id": "s1", "name": "Lincoln Elementary"}, {"id": "s2", "name": "Roosevelt High"}]
PEOPLE = [
    {"id": "p1", "given": "Ada", "family": "Okonkwo", "role": "student", "school": "s1"},
    {"id": "p2", "given": "Zoë", "family": "Müller", "role": "student", "school": "s1"},
    {"id": "p3", "given": "Minh", "family": "Nguyễn", "role": "student", "school": "s2"},
    {"id": "p4", "given": "Rosa", "family": "Castellanos", "role": "teacher", "school": "s2",
     "email": "rosa.castellanos@springfield.example"},
    {"id": "p5", "given": "Henry", "family": "Abernathy", "role": "admin", "school": "s2"},
]  # fmt: skip


NEWCOMER = {"id": "p6", "given": "Noor", "family": "Haddad", "role": "student", "school": "s1"}


def people_of(situation: Situation) -> list[dict[str, Any]]:
    match situation:
        case Situation.EMPTY:
            return []
        case Situation.BAD_ROW:
            return [*PEOPLE, {"given": CANARY, "family": CANARY, "role": "student"}]
        case Situation.UNKNOWN_WORDS:
            return [{**PEOPLE[0], "role": "wizard"}, *PEOPLE[1:]]
        case Situation.PRIVATE_DATA:
            return [{**PEOPLE[0], "password": CANARY}, *PEOPLE[1:]]
        case Situation.CHANGED:
            return [{**PEOPLE[0], "given": "Adaeze"}, *PEOPLE[2:], NEWCOMER]
        case _:
            return PEOPLE


def changes_of(situation: Situation) -> list[dict[str, Any]]:
    """Return what changed since the cursor of the normal roster."""
    if situation is not Situation.CHANGED:
        return []
    changed, *_ = people_of(situation)
    return [changed, {"id": PEOPLE[1]["id"], "deleted": True}, NEWCOMER]


def vendor(asked: Asked) -> Answer:
    """Answer as the Orchard does."""
    if asked.headers.get("authorization") != f"Bearer {TOKEN}":
        return as_json({"error": "unauthorized"}, status=401)
    people = people_of(asked.situation)
    match asked.path.split("/")[1:]:
        case ["district"]:
            return as_json({"id": "d1", "name": "Springfield", "revision": "r7"})
        case ["schools"]:
            return as_json({"items": SCHOOLS, "next": None})
        case ["people"]:
            start = int(asked.query.get("start", "0"))
            more = start + PAGE < len(people)
            return as_json(
                {
                    "items": people[start : start + PAGE],
                    "next": start + PAGE if more else None,
                    "total": len(people),
                }
            )
        case ["people", key] if any(person.get("id") == key for person in people):
            return as_json({"id": key})
        case ["changes"]:
            if asked.situation is Situation.CURSOR_LOST:
                return as_json({"error": "gone"}, status=410)
            changes = changes_of(asked.situation)
            return as_json({"items": changes, "next": None, "serial": 7 + len(changes)})
        case _:
            return as_json({"error": "not found"}, status=404)


def orchard_scenario() -> HttpScenario:
    return HttpScenario(
        vendor,
        lambda base_url: {"base_url": base_url, "token": TOKEN},
        people=5,
        schools=2,
        expected=Path(__file__).with_name("orchard_expected.json"),
    )


class OrchardConfig(HttpConfig):
    base_url: str = Field(description="Where the Orchard is.")
    token: SecretStr = Field(description="The district's token.")


class Envelope(msgspec.Struct):
    items: msgspec.Raw
    next: int | None = None
    total: int | None = None
    serial: int = 7


class Orchard(HttpConnector):
    name = "orchard"
    version = "1"
    title = "The Orchard"
    vendor = "The Orchard"
    config_model = OrchardConfig
    capabilities = Capabilities(
        incremental=True, skips_unchanged=True, discovery=True, reads_by_id=True
    )
    streams: ClassVar[Mapping[str, Kind]] = {
        "schools": Kind.SCHOOL,
        "people": Kind.USER,
    }

    def ask(self, path: str) -> Any:
        return self._get(path, lambda answer: json_of(msgspec.json.Decoder(), answer.body, "It"))

    def envelope(self, path: str) -> Envelope:
        decoder = msgspec.json.Decoder(Envelope)
        return self._get(path, lambda answer: json_of(decoder, answer.body, "It"))

    def _get(self, path: str, read: Any) -> Any:
        config: Any = self.config
        token = config.token
        secret = token if isinstance(token, SecretStr) else SecretStr(token)
        with closing(self.client(Bearer(secret))) as http:
            try:
                return http.get(config.base_url + path, path.split("?")[0], read)
            except StatusError as error:
                if error.http_status == 410:
                    raise CursorLost("The Orchard no longer knows the cursor.") from error
                raise

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        if request.cursor is not None:
            changes = self.envelope(f"/changes?since={request.cursor['serial']}")
            yield Page("people", bytes(changes.items), split_array)
            return Certificate(complete=True, incremental=True, cursor={"serial": changes.serial})
        revision = self.ask("/district")["revision"]
        if request.revision == revision:
            return Certificate(complete=True, unchanged=True, revision=revision)
        yield Page("schools", bytes(self.envelope("/schools").items), split_array)
        start: int | None = 0
        total = 0
        while start is not None:
            page = self.envelope(f"/people?start={start}")
            yield Page("people", bytes(page.items), split_array)
            start, total = page.next, page.total or 0
        return self.certificate(declared={"people": total}, revision=revision)

    def certificate(self, **more: Any) -> Certificate:
        return Certificate(complete=True, cursor={"serial": 7}, **more)

    def identify(self, stream: str, raw: bytes) -> str:
        return key_of(raw, "id")

    def parse(self, stream: str, raw: bytes) -> Record:
        key = self.identify(stream, raw)
        entry = json.loads(raw)
        if stream == "schools":
            school = NormalizedSchool(external_id=key, name=entry["name"])
            return Record(Kind.SCHOOL, key, school=school)
        if entry.get("deleted"):
            return Record(Kind.USER, key, deleted=True)
        return self.person(key, entry)

    def person(self, key: str, entry: Mapping[str, Any], **more: Any) -> Record:
        word = entry["role"]
        known = word in set(Role)
        memberships = (Membership(role=Role(word), school=entry["school"]),) if known else ()
        user = NormalizedUser(
            external_id=key,
            **{
                "given_name": entry["given"],
                "family_name": entry["family"],
                "email": entry.get("email"),
                "memberships": memberships,
                **more,
            },
        )
        unknown = () if known else (f"role={word}",)
        return Record(Kind.USER, key, user=user, unknown=unknown)

    def exists(self, keys: Iterable[str]) -> Mapping[str, bool]:
        answers = {}
        for key in keys:
            try:
                answers[key] = self.ask(f"/people/{key}") is not None
            except StatusError:
                answers[key] = False
        return answers

    def check(self) -> Iterable[Check]:
        try:
            self.ask("/district")
        except RosterSyncError as error:
            return [Check("reach", False, error.message)]
        return [Check("reach", True, "The Orchard answers.")]

    @classmethod
    def districts(cls, config: ConnectorConfig) -> Sequence[VendorDistrict]:
        with closing(cls(config)) as connector:
            found = connector.ask("/district")
        return [VendorDistrict(found["id"], found["name"])]
