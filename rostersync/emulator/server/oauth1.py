"""The provider's side of two-legged OAuth 1.0a: RFC 5849, with HMAC-SHA1 and HMAC-SHA256.

Written for the emulator, from the RFC: the signature of each request is worked out again from
what came over the wire, and the timestamp and nonce are checked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Collection
from urllib.parse import parse_qsl, quote, unquote

from rostersync.emulator.server.wire import Request

METHODS: tuple[str, ...] = ("HMAC-SHA256", "HMAC-SHA1")
_HASHES = {"HMAC-SHA256": hashlib.sha256, "HMAC-SHA1": hashlib.sha1}
EARLY_SECONDS, LATE_SECONDS = 300, 600
"""A timestamp may be so far ahead of, or behind, the provider's clock."""


def _enc(text: str) -> str:
    return quote(text, safe="-._~")


def header_params(authorization: str) -> list[tuple[str, str]] | None:
    """Return the unescaped parameters of an ``Authorization: OAuth`` header, None if it is none."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() != "oauth":
        return None
    params = []
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or len(value) < 2 or value[0] != '"' or value[-1] != '"':
            return None
        if name.lower() != "realm":
            params.append((unquote(name), unquote(value[1:-1])))
    return params


def base_string(method: str, url: str, params: Collection[tuple[str, str]]) -> str:
    """Return the signature base string of RFC 5849 section 3.4.1. ``url`` is without a query."""
    pairs = sorted((_enc(name), _enc(value)) for name, value in params)
    normal = "&".join(f"{name}={value}" for name, value in pairs)
    return f"{method.upper()}&{_enc(url)}&{_enc(normal)}"


def signature(method_name: str, base: str, secret: str) -> str:
    """Return the base64 signature of a base string; the token secret is empty."""
    key = f"{_enc(secret)}&".encode()
    return base64.b64encode(hmac.new(key, base.encode(), _HASHES[method_name]).digest()).decode()


class Verifier:
    """Checks signed requests. It remembers the nonces of the last minutes."""

    def __init__(
        self,
        secret_of: Callable[[str], str | None],
        clock: Callable[[], float] = time.time,
        methods: Collection[str] = METHODS,
    ) -> None:
        self._secret_of = secret_of
        self._clock = clock
        self._methods = methods
        self._nonces: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def refusal(self, request: Request, origin: str) -> str | None:
        """Return why a request is refused, None if it is signed well.

        ``origin`` is scheme and host as the client sees them; the path is taken as it came.
        """
        params = header_params(request.headers.get("authorization", ""))
        if params is None:
            return "no OAuth header"
        given = dict(params)
        if len(given) != len(params):
            return "a parameter is given twice"
        wanted = ("oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce")
        if any(not given.get(name) for name in (*wanted, "oauth_signature")):
            return "a parameter is missing"
        if given.get("oauth_version", "1.0") != "1.0":
            return "not OAuth 1.0"
        if given["oauth_signature_method"] not in self._methods:
            return "signature method not accepted"
        secret = self._secret_of(given["oauth_consumer_key"])
        if secret is None:
            return "consumer key unknown"
        signed = [pair for pair in params if pair[0] != "oauth_signature"]
        signed += parse_qsl(request.query, keep_blank_values=True)
        base = base_string(request.method, origin.lower() + request.path, signed)
        ours = signature(given["oauth_signature_method"], base, secret)
        if not hmac.compare_digest(ours.encode(), given["oauth_signature"].encode()):
            return "signature invalid"
        return self._stale(given)

    def _stale(self, given: dict[str, str]) -> str | None:
        now = self._clock()
        if not given["oauth_timestamp"].isdecimal():
            return "timestamp is no number"
        age = now - int(given["oauth_timestamp"])
        if not -EARLY_SECONDS <= age <= LATE_SECONDS:
            return "timestamp outside the window"
        key = (given["oauth_consumer_key"], given["oauth_nonce"])
        with self._lock:
            if len(self._nonces) > 50_000:
                fresh = now - EARLY_SECONDS - LATE_SECONDS
                self._nonces = {k: at for k, at in self._nonces.items() if at > fresh}
            if key in self._nonces:
                return "nonce used before"
            self._nonces[key] = now
        return None
