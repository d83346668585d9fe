"""What every connector that reads a vendor over HTTP has in common: config fields and clients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from pydantic import Field

from connectors.contract.connector import Check, Connector, ConnectorConfig
from connectors.contract.pacing import Clock, Pacer
from connectors.http.client import Action, Anonymous, Authorizer, VendorHttp
from connectors.http.oauth import Basic
from core.errors import (
    ConfigError,
    CredentialsRefused,
    Disconnected,
    IncompleteFetch,
    RosterSyncError,
    SkipRecord,
    VendorFailure,
    WrongDistrict,
)


class HttpConfig(ConnectorConfig):
    """The fields of every connector that reads over HTTP."""

    page_size: int = Field(
        default=10000, ge=1, le=50000, description="Records asked for in one request."
    )
    read_timeout: float = Field(
        default=120.0, gt=0, le=3600, description="Seconds to wait for an answer to go on."
    )
    request_timeout: float = Field(
        default=600.0,
        gt=0,
        le=7200,
        description="Seconds that one answer may take in all, however it drips in.",
    )
    attempts: int = Field(
        default=6, ge=1, le=20, description="Tries of one request before the run gives up."
    )
    retry_wait: float = Field(
        default=1.0, ge=0, le=60, description="Seconds before a second try; then growing."
    )


class HttpConnector(Connector):
    """A connector that reads over HTTP. ``clock`` may be replaced, so that tests never wait."""

    vendor: ClassVar[str]
    """The vendor's name as messages say it."""
    clock: Clock = Clock()

    def __init__(self, config: ConnectorConfig) -> None:
        super().__init__(config)
        self._clients: list[VendorHttp] = []

    def client(
        self,
        authorizer: Authorizer,
        *,
        statuses: Mapping[int, Action] | None = None,
        pacer: Pacer | None = None,
    ) -> VendorHttp:
        """Return a new client with this source's time-outs; ``close()`` closes it."""
        config = self.config
        if not isinstance(config, HttpConfig):
            raise TypeError(f"the config model of {self.name} must derive from HttpConfig")
        http = VendorHttp(
            self.vendor,
            authorizer,
            clock=self.clock,
            read_seconds=config.read_timeout,
            request_seconds=config.request_timeout,
            attempts=config.attempts,
            first_wait=config.retry_wait,
            statuses=statuses,
            pacer=pacer,
        )
        self._clients.append(http)
        return http

    def token_client(self, basic: Basic | None) -> VendorHttp:
        """Return a client for a token endpoint, which wants Basic or credentials in its form."""
        return self.client(Anonymous() if basic is None else basic)

    @property
    def requests_sent(self) -> int:
        """Requests sent so far, retries and token requests included."""
        return sum(http.requests for http in self._clients)

    def close(self) -> None:
        """Close all connections."""
        for http in self._clients:
            http.close()


def failed_check(error: RosterSyncError) -> Check:
    """Return the failed check for an error that ended checking, under the name of what failed."""
    if isinstance(error, CredentialsRefused):
        name = "credentials"
    elif isinstance(error, WrongDistrict):
        name = "district"
    elif isinstance(error, ConfigError):
        name = "config"
    else:
        name = "sharing" if isinstance(error, Disconnected) else "connection"
    return Check(name, False, f"{error.message} {error.hint}".strip())


@contextmanager
def early_end() -> Iterator[None]:
    """Turn a vendor's failure into ``IncompleteFetch``: pages served so far count as read."""
    try:
        yield
    except (IncompleteFetch, Disconnected):
        raise
    except (VendorFailure, SkipRecord) as error:
        raise IncompleteFetch(error.message, hint=error.hint) from error
