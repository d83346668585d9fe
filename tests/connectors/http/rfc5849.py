"""OAuth 1.0a signatures by the letter of RFC 5849, for the tests; oauthlib has no part in them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import quote, unquote_plus, urlsplit


def escaped(value: str) -> str:
    """Section 3.6."""
    return quote(value, safe="~")


def base_string(method: str, url: str, oauth: dict[str, str]) -> str:
    """Section 3.4.1. The path is taken as it is written."""
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if parts.port is not None and parts.port != {"http": 80, "https": 443}.get(scheme):
        host = f"{host}:{parts.port}"
    pairs = [(escaped(name), escaped(value)) for name, value in oauth.items()]
    for pair in filter(None, parts.query.split("&")):
        name, _, value = pair.partition("=")
        pairs.append((escaped(unquote_plus(name)), escaped(unquote_plus(value))))
    normalized = "&".join(f"{name}={value}" for name, value in sorted(pairs))
    address = f"{scheme}://{host}{parts.path or '/'}"
    return f"{method.upper()}&{escaped(address)}&{escaped(normalized)}"


def signed(url: str, key: str, secret: str, method: str, *, version: bool) -> dict[str, str]:
    """Return the fields of the header for a GET, each escaped (section 3.5.1)."""
    oauth = {
        "oauth_consumer_key": key,
        "oauth_nonce": "n0nce",
        "oauth_signature_method": method,
        "oauth_timestamp": "1767600000",
        **({"oauth_version": "1.0"} if version else {}),
    }
    digest = hashlib.sha256 if method == "HMAC-SHA256" else hashlib.sha1
    text = base_string("GET", url, oauth)
    signature = hmac.new(f"{escaped(secret)}&".encode(), text.encode(), digest).digest()
    oauth["oauth_signature"] = base64.b64encode(signature).decode()
    return {name: escaped(value) for name, value in oauth.items()}
