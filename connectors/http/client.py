"""HTTP as every vendor connector uses it: one client with one table from status to action.

It promises that connections are reused; every request ends within its time-outs, and each answer by
its deadline; a body never grows beyond a limit; TLS certificates are always verified, and plain
``http`` reaches loopback only; no answer can send a request, and with it the credentials, to
another host; URLs go over the wire byte for byte as given; retries, waits and pacing happen here
and nowhere else. Messages and logs name the vendor and the collection, never a URL, a header or a
piece of a body that could hold a name.

One file, because a request, its retries and its table of statuses promise one thing together.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cache
from http.client import HTTPException
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, TypeVar
from urllib.parse import quote

import requests
import tenacity
import urllib3

from connectors.contract.pacing import Clock, Pacer
from connectors.contract.urls import is_loopback, joined, same_origin
from connectors.http.vendor_codes import vendor_codes
from connectors.http.verbatim import VendorSession, VerbatimAdapter, keep_target
from core.errors import ConfigError, CredentialsRefused, RetryableError, VendorFailure
from core.steps import log_of, step

log = log_of(__name__)
T = TypeVar("T")

CONNECT_SECONDS = 15.0
MAX_BODY = 256 * 1024 * 1024
"""Bytes of one answer after decompression. A page of 10,000 users is about 6 MB."""
MAX_TOKEN_BODY = 1 << 20
"""Bytes of an answer to a form: a token."""
MAX_REDIRECTS = 3
_CHUNK = 1 << 20
REQUEST_SECONDS = 600.0
_PLAIN = re.compile(r"[!-~]+")
"""What may go over the wire as a URL: no blanks, no control or non-ASCII characters."""
_OF_THE_WIRE = (
    requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, ValueError,
)  # fmt: skip
"""What the libraries raise if there is no usable answer."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_LAST_SECOND = 4_102_444_800
"""The end of 2099, in unix seconds."""


class Action(StrEnum):
    """What an HTTP status asks us to do."""

    READ = "read"
    RETRY = "retry"
    """Try again after a wait; give up with ``RetryableError``."""
    REAUTHENTICATE = "reauthenticate"
    """Renew the credentials and try once more; give up with ``CredentialsRefused``."""
    FORBIDDEN = "forbidden"
    """The credentials are good, the permission is missing: ``Forbidden``."""
    SHRINK = "shrink"
    """The page is too large: ``PageTooLarge``, and the connector asks for half of it."""
    FAIL = "fail"
    """Trying again would not help: ``StatusError``."""


STATUSES: Mapping[int, Action] = {
    200: Action.READ,
    400: Action.FAIL,
    401: Action.REAUTHENTICATE,
    403: Action.FORBIDDEN,
    404: Action.FAIL,
    408: Action.RETRY,
    413: Action.SHRINK,
    425: Action.RETRY,
    429: Action.RETRY,
    500: Action.RETRY,
    501: Action.FAIL,
    502: Action.RETRY,
    503: Action.RETRY,
    504: Action.RETRY,
    505: Action.FAIL,
}
"""The one table. A connector overrides rows; other 5xx are retried, everything else fails."""


class StatusError(VendorFailure):
    """The vendor answered with a status that retrying would not change; see ``http_status``."""

    def __init__(self, message: str, *, http_status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.http_status = http_status


class PageTooLarge(StatusError):
    """The vendor asks for smaller pages."""


class Forbidden(CredentialsRefused):
    """The vendor knows the credentials, but this collection is not shared with them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete answer. ``headers`` ignore case, ``body`` is decompressed."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def number(self, *names: str) -> int | None:
        """Return the first of these headers that holds a whole number of at most 18 digits."""
        for name in names:
            value = self.headers.get(name, "").strip()
            if _NUMBER.fullmatch(value):
                return int(value)
        return None


class Authorizer(Protocol):
    """Gives each request its credentials, in the header that ``carrier`` names."""

    carrier: str = "Authorization"

    def header(self, method: str, url: str) -> str | None:
        """Return the header's value for one request."""

    def renew(self, refused: Answer) -> bool:
        """After a 401, get new credentials. Return False if there are none: the refusal stands."""


class Anonymous(Authorizer):
    """Sends no credentials."""

    def header(self, method: str, url: str) -> str | None:
        """Return nothing."""
        return None

    def renew(self, refused: Answer) -> bool:
        """There is nothing to renew."""
        return False


@cache
def user_agent() -> str:
    """Return our user agent: ``rostersync/VERSION``."""
    try:
        return f"rostersync/{version('rostersync')}"
    except PackageNotFoundError:  # a checkout that was not installed
        return "rostersync/0"


class VendorHttp:
    """One vendor's HTTP client: signs, paces, retries, and reads complete answers.

    Errors raised by its requests: ``CredentialsRefused`` (401 that renewing did not cure),
    ``Forbidden`` (403), ``PageTooLarge``, ``StatusError`` (with ``http_status``), and
    ``RetryableError`` when retrying did not help.
    """

    def __init__(
        self,
        vendor: str,
        authorizer: Authorizer,
        *,
        clock: Clock,
        read_seconds: float = 120.0,
        request_seconds: float = REQUEST_SECONDS,
        attempts: int = 6,
        first_wait: float = 1.0,
        longest_wait: float = 120.0,
        statuses: Mapping[int, Action] | None = None,
        pacer: Pacer | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self.vendor = vendor
        self.authorizer = authorizer
        self.requests = 0
        """Requests sent so far, retries included."""
        self._clock = clock
        self._timeout = (min(CONNECT_SECONDS, read_seconds), read_seconds)
        self._request_seconds = request_seconds
        self._attempts = attempts
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._statuses = {**STATUSES, **(statuses or {})}
        self._pacer = pacer
        self._max_body = max_body
        self._not_before = 0.0
        self._session = VendorSession()
        self._session.max_redirects = 0
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, VerbatimAdapter())

    def __repr__(self) -> str:
        return f"VendorHttp({self.vendor})"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def get(
        self,
        url: str,
        what: str,
        read: Callable[[Answer], T],
        statuses: Mapping[int, Action] | None = None,
    ) -> T:
        """GET ``url`` and return what ``read`` makes of its answer.

        ``what`` names the collection in messages, ``statuses`` overrides rows for this request.
        ``read`` raises ``RetryableError`` for a body that it cannot understand: a truncated body
        may be complete next time.
        """
        result: T = self._retrying()(self._attempt, "GET", url, what, None, read, statuses)
        return result

    def post_form(
        self, url: str, what: str, form: Mapping[str, str], read: Callable[[Answer], T]
    ) -> T:
        """POST a form, as token endpoints expect it; the rest is as in ``get``."""
        body = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in form.items())
        result: T = self._retrying()(self._attempt, "POST", url, what, body.encode(), read, None)
        return result

    # -- one request

    def _attempt(
        self,
        method: str,
        url: str,
        what: str,
        body: bytes | None,
        read: Callable[[Answer], T],
        statuses: Mapping[int, Action] | None,
    ) -> T:
        table = {**self._statuses, **statuses} if statuses else self._statuses
        answer = self._exchange(method, url, what, body)
        action = _action(table, answer.status)
        if action is Action.REAUTHENTICATE and self.authorizer.renew(answer):
            answer = self._exchange(method, url, what, body)
            action = _action(table, answer.status)
        if action is Action.READ:
            return read(answer)
        raise self._error(action, answer, what)

    def _exchange(self, method: str, url: str, what: str, body: bytes | None) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            with step(log, "ask vendor", collection=_collection(what)) as done:
                answer = self._send(method, url, what, body)
                done.tell(http_status=answer.status, bytes=len(answer.body))
            location = answer.headers.get("Location")
            if answer.status not in (301, 302, 307, 308) or not location:
                return answer
            target = joined(url, location)
            if method != "GET" or not same_origin(target, url):
                raise StatusError(
                    f"{self.vendor} redirects {what} to another host, or to no address; it was not"
                    " followed.",
                    http_status=answer.status,
                    hint="Check the base URL of this source.",
                )
            url = target
        raise StatusError(
            f"{self.vendor} redirects {what} in a circle.",
            http_status=answer.status,
            hint="Check the base URL of this source.",
        )

    def _send(self, method: str, url: str, what: str, body: bytes | None) -> Answer:
        if not _PLAIN.fullmatch(url):
            raise VendorFailure(
                f"{self.vendor} names an address for {what} that is not a URL.",
                hint="Check the base URL of this source; if it is right, report this.",
            )
        self._pace()
        request = requests.Request(method, url, data=body).prepare()
        keep_target(request, url, seconds=self._request_seconds)
        request.headers["User-Agent"] = user_agent()
        request.headers["Accept"] = "application/json"
        request.headers["Accept-Encoding"] = "gzip, deflate"
        if body is not None:
            request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        if (authorization := self.authorizer.header(method, url)) is not None:
            if not (authorization.isascii() and authorization.isprintable()):
                raise ConfigError(
                    "The secret of this source cannot be sent: it holds a line break, another"
                    " control character or a letter outside ASCII.",
                    hint="Give the secret alone, on one line, as the vendor shows it.",
                )
            request.headers[self.authorizer.carrier] = authorization
        # Proxies from the environment are used, but never for our own machine.
        self._session.trust_env = not is_loopback(url)
        settings = self._session.merge_environment_settings(url, {}, True, True, None)
        self.requests += 1
        over_at = time.monotonic() + self._request_seconds
        try:
            response = self._session.send(
                request, timeout=self._timeout, allow_redirects=False, **settings
            )
            with response:
                answer = Answer(
                    url, response.status_code, response.headers, self._body(response, what)
                )
        except (*_OF_THE_WIRE, OSError) as error:
            if time.monotonic() >= over_at:
                raise self._too_slow(what) from None
            raise self._unreachable(error, what) from None
        self._session.cookies.clear()
        self._heed_limits(answer)
        return answer

    def _body(self, response: requests.Response, what: str) -> bytes:
        parts: list[bytes] = []
        size = 0
        most = MAX_TOKEN_BODY if response.request.method == "POST" else self._max_body
        while part := response.raw.read(_CHUNK, decode_content=True):
            size += len(part)
            if size > most:
                raise StatusError(
                    f"{self.vendor} sent more than {most >> 20} MB in one answer for {what}.",
                    http_status=response.status_code,
                    hint="Set a smaller page_size for this source.",
                )
            parts.append(part)
        return b"".join(parts)

    def _too_slow(self, what: str) -> VendorFailure:
        return VendorFailure(
            f"{self.vendor} had not ended its answer after {self._request_seconds:g} seconds"
            f" ({what}); it was given up.",
            hint="The next run tries again. If its answers really take that long, set a smaller"
            " page_size, or a longer request_timeout for this source.",
        )

    def _unreachable(self, error: Exception, what: str) -> VendorFailure:
        if isinstance(error, requests.exceptions.SSLError):
            return VendorFailure(
                f"{self.vendor}'s certificate could not be verified ({what}).",
                hint="Check the URL, the machine's clock and its certificate store.",
            )
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
            words = f"{self.vendor} did not answer in time ({what})."
        elif isinstance(error, requests.ConnectionError):
            words = f"{self.vendor} could not be reached, or hung up ({what})."
        else:
            words = f"{self.vendor} broke off its answer, or it could not be read ({what})."
        return RetryableError(words, hint="The next run tries again.")

    # -- waiting

    def _pace(self) -> None:
        wait = self._not_before - self._clock.monotonic()
        if wait > 0:
            self._clock.sleep(wait)
        if self._pacer is not None:
            self._pacer.wait()

    def _heed_limits(self, answer: Answer) -> None:
        remaining = answer.number("X-RateLimit-Remaining", "RateLimit-Remaining")
        if remaining == 0 and answer.status == 200:
            wait = min(self._until_reset(answer) or 0.0, self._longest_wait)
            self._not_before = self._clock.monotonic() + wait

    def _until_reset(self, answer: Answer) -> float | None:
        """Return the seconds until the vendor's window ends: a number of seconds, or a time."""
        reset = answer.number("X-RateLimit-Reset", "RateLimit-Reset")
        if reset is None:
            return None
        if reset < 1_000_000_000:
            return float(reset)
        # A time on the vendor's clock, so it is compared with the vendor's clock.
        theirs = http_date(answer.headers.get("Date", ""))
        return max(0.0, reset - (theirs if theirs is not None else self._clock.now()))

    def _retry_after(self, answer: Answer) -> float | None:
        value = answer.headers.get("Retry-After", "").strip()
        if value.isdecimal():  # a number of any length: it is only compared
            return float(value)
        if value and (when := http_date(value)) is not None:
            theirs = http_date(answer.headers.get("Date", ""))
            return max(0.0, when - (theirs if theirs is not None else self._clock.now()))
        return self._until_reset(answer) if answer.status in (429, 503) else None

    def _retrying(self) -> tenacity.Retrying:
        spread = tenacity.wait_random_exponential(
            multiplier=self._first_wait, max=self._longest_wait
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, RetryableError) else None
            return spread(state) if asked is None else asked + min(spread(state), 1.0)

        def again(error: BaseException) -> bool:
            return (
                isinstance(error, RetryableError) and (error.retry_after or 0) <= self._longest_wait
            )

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=wait,
            retry=tenacity.retry_if_exception(again),
            sleep=self._clock.sleep,
            before_sleep=self._say_retry,
            reraise=True,
        )

    def _say_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        log.info("%s Trying again in %.1f s.", getattr(error, "message", ""), wait)

    # -- errors

    def _error(self, action: Action, answer: Answer, what: str) -> Exception:
        status = answer.status
        codes = vendor_codes(answer.body, answer.headers)
        said = f": it names {codes}." if codes else "."
        if action is Action.RETRY:
            if status == 429:
                message = f"{self.vendor} asks us to slow down ({what}, status 429)."
            else:
                message = f"{self.vendor} has trouble answering {what} (status {status}){said}"
            return RetryableError(
                message, hint="The next run tries again.", retry_after=self._retry_after(answer)
            )
        if action is Action.REAUTHENTICATE:
            return CredentialsRefused(
                f"{self.vendor} refused the credentials ({what}, status {status}){said}",
                hint="Check them with the vendor, or ask the district to share again.",
            )
        if action is Action.FORBIDDEN:
            return Forbidden(
                f"{self.vendor} does not let these credentials read {what} (status {status}){said}",
                hint="Ask the district to share this collection with the app"
                f"{', with that scope' if 'scope' in codes else ''}.",
            )
        if action is Action.SHRINK:
            return PageTooLarge(
                f"{self.vendor} finds the page of {what} too large (status {status}).",
                http_status=status,
                hint="Set a smaller page_size for this source.",
            )
        return StatusError(
            f"{self.vendor} answered {what} with status {status}{said}",
            http_status=status,
            hint="Check the base URL of this source." if status in (404, 405) else "",
        )


def _collection(what: str) -> str:
    """Return what is asked for as a word of the log: the collection, never an id within it."""
    return "-".join(re.findall(r"[a-z]+", what.lower().strip("/").split("/")[0])) or "other"


def _action(table: Mapping[int, Action], status: int) -> Action:
    return table.get(status, Action.RETRY if status >= 500 else Action.FAIL)


def http_date(value: str) -> float | None:
    """Read an HTTP date of this century as unix seconds; None for anything else."""
    try:
        found = parsedate_to_datetime(value[:100]).timestamp() if value else None
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if found is not None and 0 < found < _LAST_SECOND else None
