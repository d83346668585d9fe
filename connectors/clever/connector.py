"""Clever Secure Sync: districts, schools and users of all roles, in full or by events.

Docs: https://dev.clever.com/docs/api-overview (data), https://dev.clever.com/docs/events-api
API version: v3.0 and v3.1 (the base URL decides). A user of several roles is one record; guardians
are records too. Pages follow a cursor by ascending id, 10,000 records at most, 1,200 requests a
minute for each token.

One file, because a vendor is one file: reading in full and by events share their paging.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import msgspec
from pydantic import Field, SecretStr, model_validator

from connectors.clever import events as clever_events
from connectors.clever.records import ROLES, gist, parse_school, parse_user, trace
from connectors.contract.ahead import ahead
from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Check,
    ConnectorConfig,
    FetchRequest,
    Page,
    Record,
    Trace,
    VendorDistrict,
)
from connectors.contract.json_records import (
    UNREADABLE,
    Word,
    json_of,
    key_of,
    read_time,
    text,
    without,
)
from connectors.contract.pacing import Pacer
from connectors.contract.urls import VendorUrl, query_of, segment, with_query
from connectors.http.client import Answer, PageTooLarge, StatusError, VendorHttp
from connectors.http.http_connector import HttpConfig, HttpConnector, early_end, failed_check
from connectors.http.oauth import Basic, Bearer, token_of_vendor
from core.errors import (
    ConfigError,
    CredentialsRefused,
    Disconnected,
    IncompleteFetch,
    RosterSyncError,
    VendorFailure,
    WrongDistrict,
)
from core.models import Kind

REQUESTS_PER_MINUTE = 1200
"""For each token (https://dev.clever.com/docs/paging-and-limits)."""
SMALLEST_PAGE = 100


class CleverConfig(HttpConfig):
    """Config of the clever connector."""

    base_url: VendorUrl = Field(
        default="https://api.clever.com/v3.0", description="The API, with its version."
    )
    token: SecretStr | None = Field(
        default=None, description="The district's token; or leave it out and name the app."
    )
    client_id: str | None = Field(
        default=None, description="The app's client id, with which tokens are looked up each run."
    )
    client_secret: SecretStr | None = Field(default=None, description="The app's client secret.")
    district_id: str | None = Field(
        default=None, description="Clever's id of the district (see `discover`)."
    )
    tokens_url: VendorUrl = Field(
        default="https://clever.com/oauth/tokens", description="Where tokens are looked up."
    )
    events: bool = Field(
        default=False, description="Fetch changes by the Events API, where the app has it on."
    )
    page_size: int = Field(
        default=10000, ge=1, le=10000, description="Records asked for in one request."
    )

    @model_validator(mode="after")
    def _has_credentials(self) -> CleverConfig:
        if self.token is None and (self.client_id is None or self.client_secret is None):
            raise ValueError("give either token, or client_id and client_secret")
        return self


# --- wire shapes ----------------------------------------------------------------------------------


class Link(msgspec.Struct):
    """A link of a list; ``uri`` is relative to the API's host."""

    rel: str
    uri: str


class Item(msgspec.Struct):
    """One entry of a list: the record is wrapped."""

    data: msgspec.Raw


class Listing(msgspec.Struct):
    """A list as Clever answers it."""

    data: list[Item]
    links: list[Link] = []


class Single(msgspec.Struct):
    """A single record as Clever answers it."""

    data: msgspec.Raw


class DistrictRecord(msgspec.Struct):
    """A district: whose token this is, and the state of its data."""

    id: str
    name: Word = None
    state: Word = None
    last_sync: Word = None
    pause_start: Word = None
    pause_end: Word = None


class TokenOwner(msgspec.Struct):
    """The owner of a token."""

    type: str
    id: str


class TokenRecord(msgspec.Struct):
    """A district's token as the token list shows it."""

    owner: TokenOwner
    access_token: str
    created: str = ""
    scopes: list[str] = []


class TokenList(msgspec.Struct):
    """The districts that let this app in."""

    data: list[TokenRecord]
    links: list[Link] = []


_listing = msgspec.json.Decoder(Listing)
_links = msgspec.json.Decoder(list[Link])
_single = msgspec.json.Decoder(Single)
_district = msgspec.json.Decoder(DistrictRecord)
_tokens = msgspec.json.Decoder(TokenList)

_LAST_LINKS = re.compile(rb'"links"\s*:\s*(\[[^\[\]]*\])\s*\}\s*\Z')

_THEIR_ROLES = {ours: theirs for theirs, ours in ROLES.items()}
_DROPPED = frozenset({
    "dob", "gender", "race", "hispanic_ethnicity", "ell_status", "frl_status", "iep_status",
    "gifted_status", "section_504_status", "disability", "home_language", "home_language_code",
    "location", "phone", "phone_type", "weighted_gpa", "unweighted_gpa", "password",
})  # fmt: skip
_UNKNOWN = frozenset({400, 404, 410})
"""How a server may answer a cursor that it does not know."""
_CALM = frozenset({"", "running", "success"})


# --- the connector --------------------------------------------------------------------------------


class Clever(HttpConnector):
    """Reads one district of Clever."""

    name: ClassVar[str] = "clever"
    version: ClassVar[str] = "3"
    title: ClassVar[str] = "Clever Secure Sync (API v3.0 and v3.1)"
    vendor: ClassVar[str] = "Clever"
    docs: ClassVar[str] = "https://dev.clever.com/docs/api-overview"
    config_model: ClassVar[type[ConnectorConfig]] = CleverConfig
    capabilities = Capabilities(incremental=True, discovery=True, reads_by_id=True)
    streams: ClassVar[Mapping[str, Kind]] = {"schools": Kind.SCHOOL, "users": Kind.USER}

    config: CleverConfig

    def __init__(self, config: CleverConfig) -> None:
        super().__init__(config)
        self._http: VendorHttp | None = None
        self._known: DistrictRecord | None = None
        self._tokens_http: VendorHttp | None = None
        self.capabilities = replace(Clever.capabilities, incremental=config.events)

    # -- reading

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve schools, then users, then prove by one empty page that nothing came after them.

        With a cursor: only what the events after it touched.
        """
        district = self._district()
        notes: list[str] = []
        cursor: dict[str, Any] | None
        if request.cursor is not None:
            served, cursor = yield from self._changes(request.cursor, notes)
        else:
            cursor = self._newest_event(notes) if self.config.events else None
            served = 0
            for stream in self.streams:
                with early_end():
                    for body in ahead(self._bodies(stream, self._params(stream))):
                        served += 1
                        yield Page(stream, body, split_listing)
        return Certificate(
            complete=True,
            pages=served,
            incremental=request.cursor is not None,
            vendor_district=district.id,
            vendor_time=read_time(district.last_sync),
            vendor_state=_state(district),
            cursor=cursor,
            notes=tuple(notes),
        )

    def vendor_district(self) -> str | None:
        """Return Clever's id of the district that the token belongs to."""
        return self._district().id

    def identify(self, stream: str, raw: bytes) -> str:
        """Return Clever's id, the only key there is for every record type."""
        return key_of(raw, "id")

    def parse(self, stream: str, raw: bytes) -> Record:
        """Return the school or user that a record describes."""
        return parse_school(raw) if stream == "schools" else parse_user(raw)

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return what is read of a record: not when it was touched."""
        return gist(stream, raw)

    def trace(self, stream: str, raw: bytes) -> Trace | None:
        """Return the names of a user whose record cannot be used."""
        return trace(raw) if stream == "users" else None

    def fields(self, stream: str, raw: bytes) -> Mapping[str, Any]:
        """Return the record without demographics, for mapping rules."""
        return without(super().fields(stream, raw), _DROPPED)

    def exists(self, keys: Iterable[str]) -> Mapping[str, bool]:
        """Ask for single users."""
        return {key: self._is_there(f"users/{segment(key)}", "one user") for key in keys}

    def _is_there(self, path: str, what: str) -> bool:
        try:
            self._client().get(f"{self.config.base_url}/{path}", what, _read_single)
        except StatusError as error:
            if error.http_status == 404:
                return False
            raise
        return True

    def _params(self, stream: str) -> dict[str, str | int]:
        # One role: let Clever filter. Several: one pass over all users, or people of two roles
        # would come twice.
        if stream == "users" and len(self.config.roles) == 1:
            return {"role": _THEIR_ROLES[self.config.roles[0]]}
        return {}

    def _bodies(self, path: str, params: Mapping[str, str | int]) -> Generator[bytes, None, None]:
        """Serve the pages of a list, each as its body, until an empty one proves the end.

        Only the cursor is taken from a ``next`` link, never its host. A page without such a link is
        followed by the question what comes after its last id: a link that is missing too early
        would look like everybody else left.
        """
        limit = self.config.page_size
        cursor: str | None = None
        seen: set[str] = set()
        before = b""
        while True:
            query = {**params, "limit": limit}
            if cursor is not None:
                query["starting_after"] = cursor
            url = with_query(f"{self.config.base_url}/{path}", query)
            try:
                body, following = self._client().get(url, path, _read_page)
            except PageTooLarge:
                if limit <= SMALLEST_PAGE:
                    raise
                limit = max(SMALLEST_PAGE, limit // 2)
                continue
            if following is None:
                items = _listing.decode(body).data
                if not items:
                    return
                following = key_of(items[-1].data, "id")
            if following in seen or body == before:
                raise IncompleteFetch(
                    f"Clever served the same page of {path} twice; the reading was stopped.",
                    hint="The next run tries again.",
                )
            seen.add(following)
            yield body
            before, cursor = body, following

    # -- the district and its token

    def _district(self) -> DistrictRecord:
        """Return the district of the token, asked for once."""
        if self._known is None:
            self._known = self._ask_district()
        return self._known

    def _ask_district(self) -> DistrictRecord:
        """Ask whose the token is; refuse another district than the configured."""
        records = self._client().get(
            f"{self.config.base_url}/districts", "the district", _read_districts
        )
        wanted = self.config.district_id
        for record in records:
            if wanted is None or record.id == wanted:
                return record
        if not records:
            raise Disconnected(
                "Clever shows no district for these credentials.",
                hint="Ask the district whether it still shares its data with the app.",
            )
        raise WrongDistrict(
            f"The Clever token belongs to district {records[0].id}, not to {wanted}.",
            hint="Give this source the token of its own district; nothing was read.",
        )

    def _client(self) -> VendorHttp:
        if self._http is None:
            static = self.config.token
            token = static if static is not None else self._look_up()
            renew = self._look_up if static is None else None
            pacer = Pacer(REQUESTS_PER_MINUTE, self.clock)
            self._http = self.client(Bearer(token, renew), pacer=pacer)
        return self._http

    def _look_up(self) -> SecretStr:
        """Return the district's newest token. Tokens rotate, so they are asked for each run."""
        wanted = self.config.district_id
        if wanted is None:
            raise ConfigError(
                "The Clever source names no district_id.",
                hint="`rostersync discover clever` lists the districts that the app may read.",
            )
        found = [token for token in self._token_list(wanted) if token.owner.id == wanted]
        if not found:
            raise Disconnected(
                f"Clever no longer lists district {wanted} for this app.",
                hint="Its data is kept. Ask the district whether it still shares with the app.",
            )
        newest = max(found, key=lambda token: token.created)
        return token_of_vendor(newest.access_token)

    def _token_list(self, district: str | None = None) -> list[TokenRecord]:
        config = self.config
        if config.client_id is None or config.client_secret is None:
            raise ConfigError(
                "Listing Clever's districts needs client_id and client_secret.",
                hint="Give the app's credentials, from its settings at Clever.",
            )
        if self._tokens_http is None:
            self._tokens_http = self.client(Basic(config.client_id, config.client_secret))
        params: dict[str, str | int] = {"owner_type": "district"}
        if district is not None:
            params["district"] = district
        tokens: list[TokenRecord] = []
        seen: set[str] = set()
        while True:
            url = with_query(config.tokens_url, params)
            try:
                page = self._tokens_http.get(url, "the list of districts", _read_tokens)
            except StatusError as error:
                if error.http_status == 404:
                    return tokens
                raise
            tokens += page.data
            cursor = cursor_of(page.links)
            if cursor is None or cursor in seen:
                return [token for token in tokens if token.owner.type == "district"]
            seen.add(cursor)
            params["starting_after"] = cursor

    # -- events

    def _newest_event(self, notes: list[str]) -> dict[str, Any] | None:
        """Return the cursor at which an incremental fetch after this full one begins.

        It is asked for before the pull, so that what changes meanwhile is read again.
        """
        url = with_query(f"{self.config.base_url}/events", {"limit": 1, "ending_before": "last"})
        try:
            body, _ = self._client().get(url, "events", _read_page)
        except (VendorFailure, CredentialsRefused):
            notes.append("Clever's events are not open to these credentials; fetching in full.")
            return None
        newest = split_listing(body)[-1:]
        return clever_events.cursor(key_of(newest[0], "id") if newest else None, self.clock.now())

    def _changes(
        self, cursor: Mapping[str, Any], notes: list[str]
    ) -> Generator[Page, None, tuple[int, dict[str, Any]]]:
        """Serve what the events after ``cursor`` last said about each record."""
        last = clever_events.event_of(cursor, self.clock.now())
        changes = clever_events.Changes(self.streams, last)
        served = 0
        try:
            with early_end():
                params = {} if last is None else {"starting_after": last}
                for body in self._bodies("events", params):
                    served += 1
                    for event in split_listing(body):
                        changes.take(event)
        except IncompleteFetch as error:
            cause = error.__cause__
            if served == 0 and isinstance(cause, StatusError) and cause.http_status in _UNKNOWN:
                raise clever_events.forgotten() from error
            raise
        notes += [f"Events of an unknown type were left out: {e}." for e in sorted(changes.strange)]
        yield from changes.pages()
        return served, clever_events.cursor(changes.last, self.clock.now())

    # -- looking around

    def check(self) -> Iterable[Check]:
        """Try the token, and count which roles the district shares."""
        try:
            district = self._district()
        except RosterSyncError as error:
            yield failed_check(error)
            return
        yield Check("credentials", True, f"The token is good for {text(district.name)}.")
        state = _state(district)
        yield Check(
            "vendor",
            state not in ("error", "pending"),
            f"Clever calls the district {state or 'running'}; "
            f"its data is of {text(district.last_sync) or 'an unknown date'}.",
        )
        yield self._shares("schools", "schools", {})
        for role in self.config.roles:
            yield self._shares(role.value, "users", {"role": _THEIR_ROLES[role]})
        if self.config.events:
            notes: list[str] = []
            self._newest_event(notes)
            yield Check("events", not notes, notes[0] if notes else "Events can be read.")

    def _shares(self, name: str, path: str, params: Mapping[str, str | int]) -> Check:
        url = with_query(f"{self.config.base_url}/{path}", {**params, "limit": 1})
        try:
            body, _ = self._client().get(url, path, _read_page)
        except RosterSyncError as error:
            return Check(name, False, f"{error.message} {error.hint}".strip())
        shared = bool(_listing.decode(body).data)
        return Check(name, shared, f"{name}: {'shared' if shared else 'nobody is shared'}.")

    @classmethod
    def districts(cls, config: ConnectorConfig) -> Sequence[VendorDistrict]:
        """List the districts that let the app in, with the names they give themselves."""
        if not isinstance(config, CleverConfig):
            raise ConfigError("This is not the config of a Clever source.")
        lister = cls(config)
        try:
            return [_describe(cls, config, token) for token in lister._token_list()]
        finally:
            lister.close()


def _describe(connector: type[Clever], config: CleverConfig, token: TokenRecord) -> VendorDistrict:
    try:
        own = token_of_vendor(token.access_token)
    except VendorFailure:
        return VendorDistrict(token.owner.id, token.owner.id, "unknown")
    one = connector(config.model_copy(update={"token": own, "district_id": token.owner.id}))
    try:
        district = one._district()
    except (VendorFailure, CredentialsRefused, WrongDistrict):
        return VendorDistrict(token.owner.id, token.owner.id, "unknown")
    finally:
        one.close()
    return VendorDistrict(district.id, text(district.name) or district.id, text(district.state))


# --- reading answers ------------------------------------------------------------------------------


def split_listing(body: bytes) -> list[bytes]:
    """Return the records of a list, unwrapped."""
    try:
        return [bytes(item.data) for item in _listing.decode(body).data]
    except UNREADABLE:
        raise IncompleteFetch("A page of Clever was cut or is not a list.") from None


def cursor_of(links: Iterable[Link]) -> str | None:
    """Return the ``starting_after`` of the ``next`` link, if there is one."""
    for link in links:
        if link.rel == "next":
            found = query_of(link.uri).get("starting_after")
            return found[0] if found else None
    return None


def _read_page(answer: Answer) -> tuple[bytes, str | None]:
    """Return a list's body and the cursor of the next page.

    In practice the links come last; then the megabytes of the body need not be decoded here,
    because splitting it finds a fault in its middle.
    """
    body = answer.body
    tail = _LAST_LINKS.search(body, max(0, len(body) - 8192))
    if tail is not None and body[:1] == b"{":
        links = json_of(_links, tail.group(1), "Clever")
        if (cursor := cursor_of(links)) is not None:
            return body, cursor
    return body, cursor_of(json_of(_listing, body, "Clever").links)


def _read_single(answer: Answer) -> Single:
    return json_of(_single, answer.body, "Clever")


def _read_districts(answer: Answer) -> list[DistrictRecord]:
    listing = json_of(_listing, answer.body, "Clever")
    return [json_of(_district, item.data, "Clever") for item in listing.data]


def _read_tokens(answer: Answer) -> TokenList:
    return json_of(_tokens, answer.body, "Clever")


def _state(district: DistrictRecord) -> str | None:
    state = (text(district.state) or "").lower()
    return None if state in _CALM else state
