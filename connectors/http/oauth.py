"""Credentials on requests: Basic, bearer tokens, API keys, OAuth 1.0a, OAuth 2 client credentials.

Each class is an ``Authorizer`` of ``connectors.http.client``. Secrets are kept as ``SecretStr`` and
appear in no repr. OAuth 1.0a is signed by oauthlib.
"""

from __future__ import annotations

import base64
import logging
import secrets
import string
from collections.abc import Callable
from typing import Literal
from urllib.parse import parse_qsl, quote

import msgspec
from oauthlib import oauth1
from pydantic import SecretStr

from connectors.contract.json_records import UNREADABLE
from connectors.contract.pacing import Clock
from connectors.http.client import Answer, Authorizer, StatusError, VendorHttp, http_date
from core.errors import CredentialsRefused, RetryableError, VendorFailure

_LONGEST_TEXT = 16_384
"""Characters of a token; servers refuse longer headers."""
SignatureMethod = Literal["HMAC-SHA256", "HMAC-SHA1"]
logging.getLogger("oauthlib").setLevel(logging.WARNING)  # it logs what it signs

_NONCE = string.ascii_letters + string.digits
_RENEW_EARLY = 60.0
_SKEW = 60.0
_LONGEST_TOKEN = 10 * 365 * 86400.0
"""Seconds; a token that is said to hold longer is kept until it is refused."""


def rfc3986(value: str) -> str:
    """Escape everything but letters, digits and ``-._~`` (RFC 5849 3.6)."""
    return quote(value, safe="~")


class Basic(Authorizer):
    """HTTP Basic. The parts are form-escaped first where OAuth 2 asks for it (RFC 6749 2.3.1)."""

    def __init__(self, user: str, secret: SecretStr, *, escape: bool = False) -> None:
        self._user = user
        self._secret = secret
        self._escape = escape

    def header(self, method: str, url: str) -> str:
        """Return the header for any request."""
        parts = [self._user, self._secret.get_secret_value()]
        if self._escape:
            parts = [rfc3986(part) for part in parts]
        return f"Basic {base64.b64encode(':'.join(parts).encode()).decode()}"

    def renew(self, refused: Answer) -> bool:
        """Return False: a refused pair stays refused."""
        return False


class Bearer(Authorizer):
    """A static bearer token; after a 401, ``look_up`` asks for the current one."""

    def __init__(self, token: SecretStr, look_up: Callable[[], SecretStr] | None = None) -> None:
        self._token = token
        self._look_up = look_up

    def header(self, method: str, url: str) -> str:
        """Return the header for any request."""
        return f"Bearer {self._token.get_secret_value()}"

    def renew(self, refused: Answer) -> bool:
        """Look the token up again; return True if it has changed."""
        if self._look_up is None:
            return False
        fresh = self._look_up()
        changed = fresh.get_secret_value() != self._token.get_secret_value()
        self._token = fresh
        return changed


class ApiKey(Authorizer):
    """A key in a header that the server names itself, such as ``X-API-Key``."""

    def __init__(self, carrier: str, key: SecretStr) -> None:
        self.carrier = carrier
        self._key = key

    def header(self, method: str, url: str) -> str:
        """Return the key."""
        return self._key.get_secret_value()

    def renew(self, refused: Answer) -> bool:
        """A refused key stays refused."""
        return False


class OAuth1(Authorizer):
    """Two-legged OAuth 1.0a in the header (RFC 5849); each request is signed anew.

    ``version`` adds ``oauth_version="1.0"``, which plain OneRoster servers expect and ClassLink
    does not send. After a 401 the server's ``Date`` tells whether our clock is wrong; if so, the
    next signature uses the server's time.
    """

    def __init__(
        self,
        key: str,
        secret: SecretStr,
        clock: Clock,
        *,
        method: SignatureMethod = "HMAC-SHA256",
        version: bool = True,
    ) -> None:
        self._key = key
        self._secret = secret
        self._clock = clock
        self._method: SignatureMethod = method
        self._version = version
        self._skew = 0.0

    def header(self, method: str, url: str) -> str:
        """Return the signed header for one request."""
        nonce = "".join(secrets.choice(_NONCE) for _ in range(16))
        return self.sign(method, url, nonce, int(self._clock.now() + self._skew))

    def renew(self, refused: Answer) -> bool:
        """Adjust our time to the server's, if that was the cause."""
        theirs = http_date(refused.headers.get("Date", ""))
        if theirs is None or abs(theirs - self._clock.now() - self._skew) < _SKEW:
            return False
        self._skew = theirs - self._clock.now()
        return True

    def sign(self, method: str, url: str, nonce: str, timestamp: int) -> str:
        """Return the header for a request with this nonce and timestamp (unix seconds).

        The path is signed as it is written: ClassLink compares escaped paths byte for byte.
        """
        client = _Signer(
            self._key,
            client_secret=self._secret.get_secret_value(),
            signature_method=self._method,
            nonce=nonce,
            timestamp=str(timestamp),
        )
        client.version = self._version
        _, headers, _ = client.sign(_with_strict_query(url), method)
        return str(headers["Authorization"])


class _Signer(oauth1.Client):  # type: ignore[misc, unused-ignore]
    """oauthlib's client, which may leave ``oauth_version`` out."""

    version = True

    def get_oauth_params(self, request: object) -> list[tuple[str, str]]:
        """Return the parameters of the header, but for the signature."""
        found: list[tuple[str, str]] = super().get_oauth_params(request)
        return [pair for pair in found if self.version or pair[0] != "oauth_version"]


def _with_strict_query(url: str) -> str:
    """Return the URL with every character of its query escaped that may be, which signs the same.

    A vendor's link may hold characters that oauthlib refuses to decode; it goes over the wire as
    the vendor wrote it.
    """
    address, mark, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    return address + mark + "&".join(f"{rfc3986(name)}={rfc3986(value)}" for name, value in pairs)


class TokenAnswer(msgspec.Struct):
    """The answer of a token endpoint (RFC 6749 5.1). Only the token itself is always present."""

    access_token: str
    expires_in: int | float | str | None = None


_token_answer = msgspec.json.Decoder(TokenAnswer)


class ClientCredentials(Authorizer):
    """OAuth 2 client credentials (RFC 6749 4.4): a token that is renewed before it expires.

    Without ``expires_in`` a token is kept until a 401. A 401 renews it once. ``look_up`` may return
    other credentials when even a new token is refused (the vendor rotated them).
    """

    def __init__(
        self,
        http: Callable[[Basic | None], VendorHttp],
        token_url: str,
        client_id: str,
        client_secret: SecretStr,
        clock: Clock,
        *,
        scope: str = "",
        in_body: bool = False,
        escape: bool = True,
        look_up: Callable[[], tuple[str, SecretStr]] | None = None,
    ) -> None:
        self._look_up = look_up
        self._escape = escape
        self._make_http = http
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._scope = scope
        self._in_body = in_body
        self._http: VendorHttp | None = None
        self._token: SecretStr | None = None
        self._until: float | None = None

    def header(self, method: str, url: str) -> str:
        """Return the header for any request, with a token that is valid for another minute."""
        expired = self._until is not None and self._clock.monotonic() >= self._until
        if self._token is None or expired:
            self._fetch()
        token = self._token.get_secret_value() if self._token is not None else ""
        return f"Bearer {token}"

    def renew(self, refused: Answer) -> bool:
        """Fetch a new token."""
        self._fetch()
        return True

    def _fetch(self) -> None:
        try:
            answer = self._ask()
        except CredentialsRefused:
            if self._look_up is None:
                raise
            found = self._look_up()
            if found == (self._client_id, self._client_secret):
                raise
            (self._client_id, self._client_secret), self._http = found, None
            answer = self._ask()
        self._token = token_of_vendor(answer.access_token)
        self._until = None
        try:
            seconds = float(answer.expires_in) if answer.expires_in is not None else None
        except (ValueError, OverflowError):
            seconds = None
        if seconds is not None and 0 <= seconds < _LONGEST_TOKEN:  # no number is none of these
            early = min(_RENEW_EARLY, seconds / 2)
            self._until = self._clock.monotonic() + seconds - early

    def _ask(self) -> TokenAnswer:
        if self._http is None:
            basic = Basic(self._client_id, self._client_secret, escape=self._escape)
            self._http = self._make_http(None if self._in_body else basic)
        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        if self._in_body:
            form["client_id"] = self._client_id
            form["client_secret"] = self._client_secret.get_secret_value()
        try:
            return self._http.post_form(self._token_url, "the access token", form, _read_token)
        except StatusError as error:
            if error.http_status in (400, 422):  # invalid_client, invalid_scope
                raise CredentialsRefused(
                    error.message, hint="Check id, secret and scope."
                ) from None
            raise


def token_of_vendor(token: str) -> SecretStr:
    """Return a token that a vendor has given out. Raises ``VendorFailure`` if none can be sent."""
    if not (token and token.isascii() and token.isprintable() and len(token) <= _LONGEST_TEXT):
        raise VendorFailure(
            "The token endpoint gave a token that cannot be sent.",
            hint="Report this to the vendor; it may be over soon.",
        )
    return SecretStr(token)


def _read_token(answer: Answer) -> TokenAnswer:
    try:
        return _token_answer.decode(answer.body)
    except UNREADABLE:
        raise RetryableError("The token endpoint's answer holds no access token.") from None
