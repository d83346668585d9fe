"""OneRoster 1.1 and 1.2 over REST: schools and users of any provider that follows the standard.

Docs: https://www.imsglobal.org/spec/oneroster/v1p2 (1.2),
https://www.imsglobal.org/oneroster-v11-final-specification (1.1)
API version: the base URL's. Authorised by OAuth 2 client credentials, OAuth 1.0a (1.1 only), a
static bearer token, or an API key in a header of the server's own.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr, model_validator

from connectors.contract.connector import Capabilities, ConnectorConfig
from connectors.contract.urls import VendorUrl
from connectors.http.client import Authorizer
from connectors.http.oauth import ApiKey, Bearer, ClientCredentials, OAuth1, SignatureMethod
from connectors.oneroster_standard.reader import ONEROSTER_SCOPES, OneRosterFields, OneRosterReader
from core.errors import ConfigError

_NOT_FOR_KEYS = (
    "host", "connection", "content-", "transfer-", "accept", "cookie", "user-agent",
)  # fmt: skip
"""How headers begin that carry no key."""


class OneRosterConfig(OneRosterFields):
    """Config of the oneroster connector."""

    base_url: VendorUrl = Field(
        description="Up to and with /ims/oneroster/v1p1 or /ims/oneroster/rostering/v1p2."
    )
    auth: Literal["oauth2", "oauth1", "bearer", "api_key"] = Field(
        default="oauth2", description="How the server wants to be asked."
    )
    token_url: VendorUrl | None = Field(default=None, description="oauth2: where tokens come from.")
    client_id: str | None = Field(default=None, description="oauth2: the client id.")
    client_secret: SecretStr | None = Field(default=None, description="oauth2: the client secret.")
    scope: str | None = Field(
        default=None, description="oauth2: scopes to ask for; by default roster-core.readonly."
    )
    credentials_in: Literal["header", "body"] = Field(
        default="header", description="oauth2: where the token endpoint expects id and secret."
    )
    consumer_key: str | None = Field(default=None, description="oauth1: the consumer key.")
    consumer_secret: SecretStr | None = Field(
        default=None, description="oauth1: the consumer secret."
    )
    signature_method: SignatureMethod = Field(
        default="HMAC-SHA256", description="oauth1: HMAC-SHA256 or HMAC-SHA1."
    )
    bearer: SecretStr | None = Field(default=None, description="bearer: the token.")
    api_key: SecretStr | None = Field(default=None, description="api_key: the key.")
    api_key_header: str = Field(
        default="X-API-Key",
        pattern=r"^[A-Za-z0-9-]{1,80}$",
        description="api_key: the header in which the server expects the key.",
    )
    page_size: int = Field(
        default=5000, ge=1, le=50000, description="Records asked for in one request."
    )

    @model_validator(mode="after")
    def _has_credentials(self) -> OneRosterConfig:
        needed = {
            "oauth2": ("token_url", "client_id", "client_secret"),
            "oauth1": ("consumer_key", "consumer_secret"),
            "bearer": ("bearer",),
            "api_key": ("api_key",),
        }[self.auth]
        missing = [field for field in needed if getattr(self, field) is None]
        if self.api_key_header.lower().startswith(_NOT_FOR_KEYS):
            raise ValueError("api_key_header is a header that HTTP itself needs")
        if missing:
            raise ValueError(f"auth = {self.auth!r} needs {' and '.join(missing)}")
        return self


class OneRoster(OneRosterReader):
    """Reads one provider's OneRoster service."""

    name: ClassVar[str] = "oneroster"
    version: ClassVar[str] = "3"
    title: ClassVar[str] = "OneRoster REST 1.1 and 1.2"
    vendor: ClassVar[str] = "The OneRoster server"
    docs: ClassVar[str] = "https://www.imsglobal.org/spec/oneroster/v1p2"
    config_model: ClassVar[type[ConnectorConfig]] = OneRosterConfig
    capabilities = Capabilities(incremental=True, reads_by_id=True)

    config: OneRosterConfig

    def root(self) -> str:
        """Return the configured base URL."""
        return self.config.base_url

    def authorizer(self) -> Authorizer:
        """Return the credentials of the configured kind."""
        config = self.config
        if config.auth == "bearer" and config.bearer is not None:
            return Bearer(config.bearer)
        if config.auth == "api_key" and config.api_key is not None:
            return ApiKey(config.api_key_header, config.api_key)
        if config.auth == "oauth1" and config.consumer_key and config.consumer_secret:
            return OAuth1(
                config.consumer_key,
                config.consumer_secret,
                self.clock,
                method=config.signature_method,
            )
        if config.token_url and config.client_id and config.client_secret:
            version = "1.2" if "v1p2" in config.base_url else "1.1"
            return ClientCredentials(
                self.token_client,
                config.token_url,
                config.client_id,
                config.client_secret,
                self.clock,
                scope=ONEROSTER_SCOPES[version] if config.scope is None else config.scope,
                in_body=config.credentials_in == "body",
            )
        raise ConfigError(f"The credentials for auth = {config.auth!r} are not complete.")
