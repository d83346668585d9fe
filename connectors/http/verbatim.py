"""Requests that go over the wire byte for byte as they were given, and end by a deadline.

Used by ``connectors.http.client`` only. requests and urllib3 normalise URLs. A vendor that compares
an escaped id, or a signature over the URL, byte for byte would then refuse the request.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from connectors.http.deadline import TimedResponse

_TARGET = "x-rostersync-target"
_DEADLINE = "x-rostersync-deadline"
_SMALL_ESCAPE = re.compile(r"%(?:[a-f][0-9A-Fa-f]|[0-9A-F][a-f])")


def _verbatim(
    connection: HTTPConnection, url: str, headers: Mapping[str, Any] | None
) -> tuple[str, dict[str, Any]]:
    """Return target and headers to send, and give the connection the deadline of the request."""
    kept = dict(headers or {})
    if (deadline := kept.pop(_DEADLINE, None)) is not None:
        timed = partial(TimedResponse, deadline=float(deadline))
        connection.response_class = cast("type[TimedResponse]", timed)
    return kept.pop(_TARGET, url), kept


class _HttpConnection(HTTPConnection):
    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        target, kept = _verbatim(self, url, headers)
        super().request(method, target, body, kept, **options)


class _HttpsConnection(HTTPSConnection):
    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        target, kept = _verbatim(self, url, headers)
        super().request(method, target, body, kept, **options)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class VerbatimAdapter(HTTPAdapter):
    """Sends the target of a request as it was given.

    urllib3 rewrites escapes (%2f becomes %2F). ClassLink's application ids are already escaped and
    are compared byte for byte, so the target travels beside the request and is put back.
    """

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make connections of our own class."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        """Make connections of our own class through a proxy, too."""
        manager = super().proxy_manager_for(proxy, **options)
        if not str(proxy).lower().startswith("socks"):
            manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager


class VendorSession(requests.Session):
    """A session that follows no redirect by itself."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Keep redirects for ourselves: requests would read their bodies without a cap."""
        return None  # noqa: RET501  the base class returns the target


def keep_target(request: requests.PreparedRequest, url: str, *, seconds: float) -> None:
    """Make a prepared request go to exactly this URL, and its answer end after ``seconds``."""
    request.headers[_DEADLINE] = repr(time.monotonic() + seconds)
    request.url = url  # requests has unescaped what needs no escape (%43)
    if _SMALL_ESCAPE.search(url):
        parts = urlsplit(url)
        request.headers[_TARGET] = parts.path + (f"?{parts.query}" if parts.query else "")
