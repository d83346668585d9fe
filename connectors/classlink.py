"""ClassLink Roster Server: OneRoster 1.1 through ClassLink's proxy or straight from the district.

Docs: https://developer.classlink.com/reference
API version: OneRoster 1.1. Three ways in: the partner's API key with the district's tenant id (its
application and bearer, or with ``direct`` its own server, are looked up each run), one application
with its bearer, or the district's own server with OAuth 1.0a. ``x-perm-rev`` is the revision of
data and permissions together: it must not move within a reading, and the same one again means that
nothing is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import msgspec
from pydantic import Field, SecretStr, model_validator

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    ConnectorConfig,
    FetchRequest,
    VendorDistrict,
)
from connectors.contract.json_records import Word, json_of, text
from connectors.contract.urls import VendorUrl, safe_url, with_query
from connectors.http.client import Answer, Authorizer
from connectors.http.oauth import Bearer, OAuth1, SignatureMethod
from connectors.oneroster_standard.reader import OneRosterFields, OneRosterReader
from core.errors import ConfigError, Disconnected, RestartFetch, VendorFailure

ONEROSTER = "/ims/oneroster/v1p1"


class ClassLinkConfig(OneRosterFields):
    """Config of the classlink connector."""

    base_url: VendorUrl = Field(
        default="https://oneroster-proxy.apis.classlink.com",
        description="The proxy, or with consumer_key the district's own server.",
    )
    application_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9%._~-]+$",
        description="oneroster_application_id, escaped as ClassLink shows it.",
    )
    bearer: SecretStr | None = Field(default=None, description="The application's bearer.")
    api_key: SecretStr | None = Field(
        default=None, description="The partner's API key, with which applications are looked up."
    )
    tenant_id: str | None = Field(
        default=None, description="ClassLink's id of the district (see `discover`)."
    )
    direct: bool = Field(
        default=False,
        description="With api_key: read the district's own server, whose address, key and secret"
        " are looked up, instead of the proxy.",
    )
    path_template: str = Field(
        default="/{application_id}" + ONEROSTER,
        pattern=r"^/.*\{application_id\}.*$",
        description="Where the proxy serves an application.",
    )
    consumer_key: str | None = Field(default=None, description="Direct: the OAuth 1.0a key.")
    consumer_secret: SecretStr | None = Field(
        default=None, description="Direct: the OAuth 1.0a secret."
    )
    signature_method: SignatureMethod = Field(
        default="HMAC-SHA256", description="Direct: HMAC-SHA256 or HMAC-SHA1."
    )
    page_size: int = Field(
        default=10000, ge=1, le=10000, description="Records asked for in one request."
    )

    @model_validator(mode="after")
    def _has_credentials(self) -> ClassLinkConfig:
        direct = self.consumer_key is not None and self.consumer_secret is not None
        proxy = self.application_id is not None and self.bearer is not None
        if self.direct and (direct or self.api_key is None):
            raise ValueError("direct goes with api_key, and without consumer_key")
        if not (direct or proxy or self.api_key is not None):
            raise ValueError(
                "give api_key and tenant_id, or application_id and bearer, or consumer_key and "
                "consumer_secret"
            )
        return self


# --- wire shapes ----------------------------------------------------------------------------------


class Application(msgspec.Struct):
    """One district that shares with the app."""

    tenant_id: Word = None
    tenant_name: Word = None
    tenant_status: Word = None
    enabled: Word = None
    bearer: Word = None
    oneroster_application_id: Word = None

    @property
    def is_usable(self) -> bool:
        """Enabled by the partner, active at the district."""
        enabled = (text(self.enabled) or "").lower() == "true"
        return enabled and (text(self.tenant_status) or "").lower() == "active"


class Applications(msgspec.Struct):
    """The applications of a partner. The number ``status`` beside them says nothing."""

    applications: list[Application]


class Server(msgspec.Struct):
    """A district's own server and what opens it."""

    client_id: Word = None
    client_secret: Word = None
    endpoint_url: Word = None


class Servers(msgspec.Struct):
    """The one server of an application."""

    server: Server | None = None


_applications = msgspec.json.Decoder(Applications)
_servers = msgspec.json.Decoder(Servers)


# --- the connector --------------------------------------------------------------------------------


class ClassLink(OneRosterReader):
    """Reads one district of ClassLink."""

    name: ClassVar[str] = "classlink"
    version: ClassVar[str] = "3"
    title: ClassVar[str] = "ClassLink Roster Server (OneRoster 1.1)"
    vendor: ClassVar[str] = "ClassLink"
    docs: ClassVar[str] = "https://developer.classlink.com/reference"
    config_model: ClassVar[type[ConnectorConfig]] = ClassLinkConfig
    capabilities = Capabilities(
        incremental=True, skips_unchanged=True, discovery=True, reads_by_id=True
    )
    heavy = frozenset({502})

    config: ClassLinkConfig

    def __init__(self, config: ClassLinkConfig) -> None:
        super().__init__(config)
        self._application: Application | None = None
        self._server: tuple[str, str, SecretStr] | None = None
        self._revision: str | None = None

    # -- the district and its credentials

    def root(self) -> str:
        """Return the district's own server, or the application at the proxy, verbatim."""
        config = self.config
        if self._is_direct():
            base = self._own_server()[0] if config.direct else config.base_url
            return base + ("" if base.endswith(ONEROSTER) else ONEROSTER)
        application = config.application_id
        if application is None:
            application = text(self._found().oneroster_application_id) or ""
        return config.base_url + config.path_template.replace("{application_id}", application)

    def authorizer(self) -> Authorizer:
        """Return OAuth 1.0a for a direct server, else the application's bearer."""
        config = self.config
        key, secret = config.consumer_key, config.consumer_secret
        if config.direct:
            _, key, secret = self._own_server()
        if key and secret:
            return OAuth1(
                key,
                secret,
                self.clock,
                method=config.signature_method,
                version=config.signature_method == "HMAC-SHA1",
            )
        if config.api_key is not None:
            return Bearer(self._bearer(), self._bearer_anew)
        if config.bearer is None:
            raise ConfigError("The ClassLink source has no bearer.")
        return Bearer(config.bearer)

    def listed_as(self) -> str | None:
        """Return the tenant id, where it was looked up."""
        if self.config.api_key is not None and self.config.consumer_key is None:
            return text(self._found().tenant_id)
        return None

    def begin(self, request: FetchRequest) -> None:
        """Forget the last reading: applications are looked up at every run."""
        self._revision = None

    def _is_direct(self) -> bool:
        return self.config.direct or self.config.consumer_key is not None

    def _own_server(self) -> tuple[str, str, SecretStr]:
        """Return address, key and secret of the district's own server, looked up once a run."""
        if self._server is None:
            self._server = self._look_up_server()
        return self._server

    def _look_up_server(self) -> tuple[str, str, SecretStr]:
        application = text(self._found().oneroster_application_id) or ""
        assert self.config.api_key is not None  # noqa: S101 - the config saw to it
        http = self.client(Bearer(self.config.api_key))
        url = f"{self.config.base_url}/applications/{application}/server"
        server = http.get(url, "the district's own server", _read_server) or Server()
        address, key = text(server.endpoint_url), text(server.client_id)
        secret = text(server.client_secret)
        if address is None or key is None or secret is None:
            raise Disconnected(
                "ClassLink names no server of the district's own, or not what opens it.",
                hint="Leave direct out to read through the proxy, or ask ClassLink about it.",
            )
        try:
            return safe_url(address), key, SecretStr(secret)
        except ValueError:
            raise VendorFailure(
                "ClassLink names a server that no credentials may be sent to: it is not https.",
                hint="Leave direct out to read through the proxy, or ask ClassLink about it.",
            ) from None

    def _bearer(self) -> SecretStr:
        bearer = text(self._found().bearer)
        if bearer is None:
            raise Disconnected(
                "ClassLink lists the district without a bearer.",
                hint="Ask the district whether its sharing with the app is complete.",
            )
        return SecretStr(bearer)

    def _bearer_anew(self) -> SecretStr:
        self._application = None
        return self._bearer()

    def _found(self) -> Application:
        """Return the district's application. It is looked up once a run, and after a 401."""
        if self._application is None:
            self._application = self._look_up()
        return self._application

    def _look_up(self) -> Application:
        wanted, app = self.config.tenant_id, self.config.application_id
        if wanted is None and app is None:
            raise ConfigError(
                "The ClassLink source names no tenant_id.",
                hint="`rostersync discover classlink` lists the districts that share with you.",
            )
        listed = self._list()
        if not listed:
            raise VendorFailure(
                "ClassLink lists no district at all, which is not to be trusted.",
                hint="Nothing was changed. If it stays so, check the partner's API key.",
            )
        ours = [
            one
            for one in listed
            if (wanted is None or text(one.tenant_id) == wanted)
            and (app is None or text(one.oneroster_application_id) == app)
        ]
        usable = [one for one in ours if one.is_usable]
        if not usable:
            state = "lists it, but not as enabled and active" if ours else "no longer lists it"
            raise Disconnected(
                f"District {wanted or 'of this application'} is not connected: ClassLink {state}.",
                hint="Its data is kept. Ask the district whether it still shares with the app.",
            )
        if len(usable) > 1:
            raise ConfigError(
                f"District {wanted} shares with {len(usable)} applications.",
                hint="Name one of them as application_id.",
            )
        return usable[0]

    def _list(self) -> list[Application]:
        """Return all applications. There is no total: a short page is the last (I7)."""
        if self.config.api_key is None:
            raise ConfigError("Listing ClassLink's districts needs the partner's api_key.")
        http = self.client(Bearer(self.config.api_key))
        found: list[Application] = []
        limit = 10000
        while True:
            url = with_query(
                f"{self.config.base_url}/applications", {"limit": limit, "offset": len(found)}
            )
            page = http.get(url, "the list of districts", _read_applications)
            if page and page[0] in found:
                return found
            found += page
            if len(page) < limit:
                return found

    # -- the revision

    def watch(self, answer: Answer) -> None:
        """Start again if data or permissions moved while they were read."""
        revision = answer.headers.get("x-perm-rev", "").strip() or None
        if self._revision is None:
            self._revision = revision
        elif revision is not None and revision != self._revision:
            raise RestartFetch(
                "ClassLink's roster changed while it was read.",
                hint="It is read again from the beginning.",
            )

    def unchanged(self, request: FetchRequest) -> bool:
        """Tell whether this is the revision that was read last."""
        return request.revision is not None and self._revision == request.revision

    def finish(self, certificate: Certificate) -> Certificate:
        """Say which revision was read."""
        return replace(certificate, revision=self._revision)

    # -- discovery

    @classmethod
    def districts(cls, config: ConnectorConfig) -> Sequence[VendorDistrict]:
        """List the districts that share with the partner, enabled and active ones only."""
        if not isinstance(config, ClassLinkConfig):
            raise ConfigError("This is not the config of a ClassLink source.")
        lister = cls(config)
        try:
            return [
                VendorDistrict(
                    text(one.tenant_id) or "",
                    text(one.tenant_name) or text(one.tenant_id) or "",
                    text(one.tenant_status),
                )
                for one in lister._list()
                if one.is_usable
            ]
        finally:
            lister.close()


def _read_applications(answer: Answer) -> list[Application]:
    return json_of(_applications, answer.body, "ClassLink").applications


def _read_server(answer: Answer) -> Server | None:
    return json_of(_servers, answer.body, "ClassLink").server
