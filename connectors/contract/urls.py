"""Which URLs of a vendor are allowed, and how URLs are built and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qs, quote, urljoin, urlsplit

from pydantic import AfterValidator
from requests.utils import parse_header_links

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def safe_url(url: str) -> str:
    """Return a URL that credentials may be sent to; raise ``ValueError`` for any other."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a full URL that begins with https://")
    if parts.username or parts.password:
        raise ValueError("must not carry a user name or password")
    if parts.scheme == "http" and not is_loopback(url):
        raise ValueError("must begin with https:// (http reaches this machine only)")
    return url.rstrip("/")


VendorUrl = Annotated[str, AfterValidator(safe_url)]
"""A config field that holds a URL: https, or http on loopback; without a slash at its end."""


def is_loopback(url: str) -> bool:
    """Tell whether a URL names this machine."""
    host = urlsplit(url).hostname or ""
    return host in _LOOPBACK or host.startswith("127.")


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL, with the scheme's port filled in."""
    parts = urlsplit(url)
    return (
        parts.scheme.lower(),
        (parts.hostname or "").lower(),
        parts.port or (443 if parts.scheme.lower() == "https" else 80),
    )


def same_origin(one: str, other: str) -> bool:
    """Tell whether two URLs share scheme, host and port. A URL that cannot be read does not."""
    try:
        return origin(one) == origin(other)
    except ValueError:
        return False


def with_query(url: str, params: Mapping[str, str | int]) -> str:
    """Add a query, escaped by RFC 3986 (a space is %20), so that it can be signed as it is sent."""
    if not params:
        return url
    query = "&".join(f"{quote(k, safe='~')}={quote(str(v), safe='~')}" for k, v in params.items())
    return f"{url}{'&' if '?' in url else '?'}{query}"


def query_of(url: str) -> dict[str, list[str]]:
    """Return the parameters of a URL that a vendor gave; none if it is no URL."""
    try:
        return parse_qs(urlsplit(url).query)
    except ValueError:
        return {}


def joined(url: str, target: str) -> str:
    """Return where a link or redirect of a vendor leads; blank if it leads to no address."""
    try:
        return urljoin(url, target)
    except ValueError:
        return ""


def segment(identifier: str) -> str:
    """Escape an id for use as one segment of a path."""
    return quote(identifier, safe="~")


_BARE = re.compile(r"(^|, *)(?=https?:)")
"""Where a link begins in a header without angle brackets, as some servers write it."""


def parse_links(header: str) -> dict[str, str]:
    """Read a ``Link`` header as relation → URL, with angle brackets (RFC 8288) or without."""
    links: dict[str, str] = {}
    bracketed = header if "<" in header else _BARE.sub(r"\1<", header)
    for link in parse_header_links(bracketed):
        for relation in link.get("rel", "").lower().split():
            links.setdefault(relation, link["url"])
    return links
