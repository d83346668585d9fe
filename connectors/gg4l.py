"""GG4L School Passport (SchoolDay): OneRoster 1.1 with events, districts found by onboarding.

Docs: https://dev.gg4l.com/docs, https://dev.gg4l.com/reference/pagination
API version: OneRoster 1.1. Pages hold 500 records at most. With the partner's onboarding
credentials a district's own credentials, its grant's end and the time of its last processing are
looked up each run; an unchanged time means that nothing is new.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from pydantic import Field, SecretStr, model_validator

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    ConnectorConfig,
    FetchRequest,
    Page,
    VendorDistrict,
)
from connectors.contract.json_records import (
    Reader,
    Word,
    decode,
    json_of,
    key_of,
    read_time,
    split_array,
    text,
)
from connectors.contract.urls import VendorUrl, safe_url
from connectors.http.client import Answer, Authorizer
from connectors.http.http_connector import early_end
from connectors.http.oauth import ClientCredentials
from connectors.oneroster_standard.reader import OneRosterFields, OneRosterReader
from connectors.oneroster_standard.records import is_whole
from core.errors import ConfigError, CursorLost, Disconnected, SkipRecord

ONEROSTER = "/ims/oneroster/v1p1"
EVENT_DAYS = 29
"""Events are kept 30 days; a cursor is given up a day earlier."""
EVENT_OVERLAP = 3600
"""Seconds by which events are read again: they are idempotent, clocks are not equal."""


class Gg4lConfig(OneRosterFields):
    """Config of the gg4l connector."""

    token_url: VendorUrl | None = Field(
        default=None, description="Where the district's tokens are."
    )
    api_url: VendorUrl | None = Field(default=None, description="The district's API.")
    client_id: str | None = Field(default=None, description="The district's client id.")
    client_secret: SecretStr | None = Field(
        default=None, description="The district's client secret."
    )
    onboarding_url: VendorUrl | None = Field(
        default=None, description="Instead of these: the onboarding API's list of credentials."
    )
    onboarding_token_url: VendorUrl | None = Field(
        default=None, description="Where the partner's onboarding tokens are."
    )
    onboarding_client_id: str | None = Field(
        default=None, description="The partner's onboarding client id."
    )
    onboarding_client_secret: SecretStr | None = Field(
        default=None, description="The partner's onboarding client secret."
    )
    district_guid: str | None = Field(
        default=None, description="GG4L's id of the district (see `discover`)."
    )
    events: bool = Field(default=False, description="Fetch changes by the Events API.")
    page_size: int = Field(
        default=500, ge=1, le=500, description="Records asked for in one request."
    )

    @model_validator(mode="after")
    def _has_credentials(self) -> Gg4lConfig:
        own = (self.token_url, self.api_url, self.client_id, self.client_secret)
        if self.finds_district or all(part is not None for part in own):
            return self
        raise ValueError(
            "give token_url, api_url, client_id and client_secret, or onboarding_url, "
            "onboarding_token_url, onboarding_client_id and onboarding_client_secret"
        )

    @property
    def finds_district(self) -> bool:
        """True if the district's credentials are looked up."""
        partner = (
            self.onboarding_url,
            self.onboarding_token_url,
            self.onboarding_client_id,
            self.onboarding_client_secret,
        )
        return all(part is not None for part in partner)


# --- wire shapes ----------------------------------------------------------------------------------


class Grant(msgspec.Struct, rename="camel"):
    """What a district granted: credentials, where to use them, until when."""

    district_guid: Word = None
    district_name: Word = None
    client_id: Word = None
    client_secret: Word = None
    token_url: Word = None
    api_url: Word = None
    expiry_date: Word = None
    last_data_processing_completed_timestamp: Word = None
    last_data_processing_complete_timestamp: Word = None

    @property
    def processed(self) -> str | None:
        """When GG4L last finished with the district's data; both spellings are in the docs."""
        return text(self.last_data_processing_completed_timestamp) or text(
            self.last_data_processing_complete_timestamp
        )


class Event(msgspec.Struct):
    """One change. Whether ``changes`` holds old or new values is not documented: not read."""

    sourcedId: Word = None
    eventType: Word = None
    timestamp: Word = None
    object: msgspec.Raw = msgspec.Raw(b"null")


_grants = msgspec.json.Decoder(list[Grant])
_event = Reader(Event)

_PEOPLE = frozenset({"student", "teacher", "user", "staff", "admin", "administrator", "parent"})
_SCHOOLS = frozenset({"school", "org"})
_OTHERS = frozenset(
    {"class", "section", "course", "enrollment", "academicsession", "term", "district"}
)


# --- the connector --------------------------------------------------------------------------------


class Gg4l(OneRosterReader):
    """Reads one district of GG4L."""

    name: ClassVar[str] = "gg4l"
    version: ClassVar[str] = "3"
    title: ClassVar[str] = "GG4L School Passport (OneRoster 1.1)"
    vendor: ClassVar[str] = "GG4L"
    docs: ClassVar[str] = "https://dev.gg4l.com/docs"
    config_model: ClassVar[type[ConnectorConfig]] = Gg4lConfig
    capabilities = Capabilities(
        incremental=True, skips_unchanged=True, discovery=True, reads_by_id=True
    )
    sorts = False  # not documented for GG4L
    masks_names = True  # PII Shield: districts choose which attributes are shared

    config: Gg4lConfig

    def __init__(self, config: Gg4lConfig) -> None:
        super().__init__(config)
        self._grant: Grant | None = None

    def _is_incremental(self) -> bool:
        return self.config.events or self.config.delta

    # -- the district and its credentials

    def root(self) -> str:
        """Return the district's API, with missing parts of its path added."""
        base = self.config.api_url
        if self.config.finds_district:
            base = _checked(text(self._granted().api_url), "apiUrl")
        if base is None:
            raise ConfigError("The GG4L source has no api_url.")
        base = base.rstrip("/")
        return base + ("" if base.endswith(ONEROSTER) else ONEROSTER)

    def authorizer(self) -> Authorizer:
        """Return the district's client credentials."""
        config = self.config
        if config.finds_district:
            token_url = _checked(text(self._granted().token_url), "tokenUrl")
            client_id, secret = self._pair()
            return ClientCredentials(
                self.token_client, token_url, client_id, secret, self.clock,
                look_up=self._pair_anew, escape=False,
            )  # fmt: skip
        if config.token_url is None or config.client_id is None or config.client_secret is None:
            raise ConfigError("The GG4L source has no credentials.")
        return ClientCredentials(
            self.token_client, config.token_url, config.client_id, config.client_secret,
            self.clock, escape=False,
        )  # fmt: skip

    def listed_as(self) -> str | None:
        """Return the district's GUID, where it was looked up."""
        if self.config.finds_district:
            return text(self._granted().district_guid)
        return None

    def begin(self, request: FetchRequest) -> Certificate | None:
        """Look the grant up. An unchanged time of processing leaves nothing to read."""
        if not self.config.finds_district:
            return None
        grant = self._granted()
        if request.revision is not None and grant.processed == request.revision:
            return self.finish(
                Certificate(
                    complete=True, unchanged=True, vendor_district=text(grant.district_guid)
                )
            )
        return None

    def finish(self, certificate: Certificate) -> Certificate:
        """Say of when the data is."""
        if self._grant is None:
            return certificate
        processed = self._grant.processed
        return replace(certificate, revision=processed, vendor_time=read_time(processed))

    def _pair(self) -> tuple[str, SecretStr]:
        grant = self._granted()
        return text(grant.client_id) or "", SecretStr(text(grant.client_secret) or "")

    def _pair_anew(self) -> tuple[str, SecretStr]:
        self._grant = None
        return self._pair()

    def _granted(self) -> Grant:
        if self._grant is None:
            self._grant = self._look_up()
        return self._grant

    def _look_up(self) -> Grant:
        wanted = self.config.district_guid
        if wanted is None:
            raise ConfigError(
                "The GG4L source names no district_guid.",
                hint="`rostersync discover gg4l` lists the districts that share with you.",
            )
        ours = [grant for grant in self._list() if text(grant.district_guid) == wanted]
        if not ours:
            raise Disconnected(
                f"GG4L no longer lists district {wanted} for this app.",
                hint="Its data is kept. Ask the district whether it still shares with the app.",
            )
        grant = ours[0]
        end = read_time(grant.expiry_date)
        if end is not None and end.timestamp() <= self.clock.now():
            raise Disconnected(
                f"The grant of district {wanted} ended on {end.date().isoformat()}.",
                hint="Its data is kept. Ask the district to share with the app again.",
            )
        return grant

    def _list(self) -> list[Grant]:
        config = self.config
        if (
            config.onboarding_url is None
            or config.onboarding_token_url is None
            or config.onboarding_client_id is None
            or config.onboarding_client_secret is None
        ):
            raise ConfigError("Listing GG4L's districts needs the onboarding credentials.")
        partner = ClientCredentials(
            self.token_client, config.onboarding_token_url, config.onboarding_client_id,
            config.onboarding_client_secret, self.clock, escape=False,
        )  # fmt: skip
        return self.client(partner).get(
            config.onboarding_url, "the list of districts", _read_grants
        )

    # -- events

    def cursor(self) -> dict[str, Any] | None:
        """Return where events go on: the server's time when this reading began, less an hour."""
        if not self.config.events:
            return super().cursor()
        now = self._server_time if self._server_time is not None else self.clock.now()
        return {"after": int(now) - EVENT_OVERLAP}

    def changes(
        self, cursor: Mapping[str, Any], certificate: Certificate
    ) -> Generator[Page, None, Certificate]:
        """Serve what the events after ``cursor`` last said about each record.

        The cursor is in seconds: a server that counts in milliseconds then tells too much, which
        is harmless, never too little.
        """
        if not self.config.events:
            return (yield from super().changes(cursor, certificate))
        after = cursor.get("after")
        if not isinstance(after, int) or self.clock.now() - after > EVENT_DAYS * 86400:
            raise CursorLost("GG4L's events no longer reach back to the last fetch.")
        latest: dict[str, dict[str, bytes]] = {stream: {} for stream in self.streams}
        strange: set[str] = set()
        served = 0
        with early_end():
            for rows in self.collection("events", {"after": after}).pages():
                served += 1
                for raw in rows.records:
                    self._take(decode(_event, bytes(raw), "sourcedId"), latest, strange)
        for stream, records in latest.items():
            if records:
                yield Page(stream, b"[" + b",".join(records.values()) + b"]", split_array)
        notes = [f"Events of an unknown type were left out: {word}." for word in sorted(strange)]
        return replace(
            certificate,
            pages=served,
            incremental=True,
            cursor=self.cursor(),
            notes=(*certificate.notes, *notes),
        )

    def _take(
        self, event: Event, latest: Mapping[str, dict[str, bytes]], strange: set[str]
    ) -> None:
        """Keep an event's record as the last word on it; ask for it where it is not whole."""
        entity, _, verb = (text(event.eventType) or "").lower().partition(".")
        if entity in _PEOPLE:
            stream = "users"
        elif entity in _SCHOOLS:
            stream = "schools"
        else:
            if entity not in _OTHERS:
                strange.add(re.sub(r"[^\w.]", "?", text(event.eventType) or "")[:40])
            return
        raw: bytes | None = bytes(event.object)
        try:
            key = key_of(raw or b"", "sourcedId")
        except SkipRecord:
            key, raw = text(event.sourcedId) or "", None
        if not key:
            raise CursorLost("An event of GG4L names no record.")
        if verb == "deleted":
            raw = None
        elif stream == "users" and (raw is None or not is_whole(raw)):
            raw = self.single(key)
        elif raw is None:
            raise CursorLost("An event of GG4L carries no record.")
        if raw is None:
            raw = msgspec.json.encode({"sourcedId": key, "status": "tobedeleted"})
        latest[stream].pop(key, None)
        latest[stream][key] = raw

    # -- discovery

    @classmethod
    def districts(cls, config: ConnectorConfig) -> Sequence[VendorDistrict]:
        """List the districts that share with the partner; ``expired`` where the grant has ended."""
        if not isinstance(config, Gg4lConfig):
            raise ConfigError("This is not the config of a GG4L source.")
        lister = cls(config)
        try:
            return [_describe(grant, lister.clock.now()) for grant in lister._list()]
        finally:
            lister.close()


def _describe(grant: Grant, now: float) -> VendorDistrict:
    guid = text(grant.district_guid) or ""
    end: datetime | None = read_time(grant.expiry_date)
    state = "expired" if end is not None and end.timestamp() <= now else None
    return VendorDistrict(guid, text(grant.district_name) or guid, state)


def _checked(url: str | None, field: str) -> str:
    """Return a URL that discovery gave, under the same rules as one of the config."""
    try:
        return safe_url(url or "")
    except ValueError as error:
        raise ConfigError(
            f"GG4L lists the district with a {field} that {error}.", hint="Report this to GG4L."
        ) from None


def _read_grants(answer: Answer) -> list[Grant]:
    return json_of(_grants, answer.body, "GG4L")
