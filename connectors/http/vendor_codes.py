"""What a vendor's error says, in codes and in words of our own.

Used by ``connectors/http/client.py``. The text of a vendor may hold anything, names and addresses
too, so that none of it is repeated: only codes of the standards, and the scopes that are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

import msgspec

from connectors.contract.json_records import UNREADABLE

CODES = frozenset({
    # OAuth 2 (RFC 6749 5.2, RFC 6750 3.1)
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
    "unsupported_grant_type", "invalid_scope", "invalid_token", "insufficient_scope",
    "access_denied", "temporarily_unavailable",
    # OneRoster 1.1 and 1.2 (imsx_codeMinor)
    "unknownobject", "unauthorisedrequest", "forbidden", "server_busy", "invaliddata",
    "invalid_data", "invalid_sort_field", "invalid_filter_field", "invalid_selection_field",
    "invalid_blank_selection_field", "internal_server_error", "unsupported", "incompletedata",
    "linkfailure", "deletefailure",
})  # fmt: skip
"""The error codes that are repeated, in small letters. Whatever is not one of them is not."""

_SCOPES = re.compile(
    r"https://purl\.imsglobal\.org/spec/or/v1p[12]/scope/"
    r"(?:roster|roster-core|roster-demographics|resource|resource-core|gradebook|gradebook-core)"
    r"\.(?:readonly|createput|delete)(?![\w-])(?!\.\w)"
    r"|(?<![\w.:-])(?:read|write):(?:students|teachers|staff|district_admins|contacts|users|schools"
    r"|districts|sections|courses|terms|events|sis)(?![\w:-])(?!\.\w)"
)
"""Scopes of OneRoster and Clever, in full: of their words only those that are known."""
_TOKEN = re.compile(r"[A-Za-z_]{4,40}")
_LONGEST = 65_536
_DEEPEST = 6


def vendor_codes(body: bytes, headers: Mapping[str, str]) -> str:
    """Return the codes and the scopes that an error names, as a clause; blank if it names none.

    Never fails on a shape: OneRoster's ``imsx_*`` objects bare, wrapped or in lists, OAuth errors,
    ``{"message"}``, HTML, nothing. The header ``WWW-Authenticate`` counts, too.
    """
    texts = [headers.get("WWW-Authenticate", "")[:_LONGEST]]
    with suppress(*UNREADABLE):
        texts += _texts(msgspec.json.decode(body[:_LONGEST]), _DEEPEST)
    codes: dict[str, None] = {}
    scopes: dict[str, None] = {}
    for text in texts:
        scopes |= dict.fromkeys(_SCOPES.findall(text))
        codes |= dict.fromkeys(
            word for token in _TOKEN.findall(text) if (word := token.lower()) in CODES
        )
    said = [f"the code {code}" for code in list(codes)[:3]]
    if scopes:
        said.append(f"the scope{'s'[: len(scopes) > 1]} {', '.join(list(scopes)[:5])}")
    return " and ".join(said)


def _texts(found: object, deepest: int) -> Iterator[str]:
    """Yield the strings of an error document, as far down as errors are nested."""
    if isinstance(found, str):
        yield found
    elif deepest and isinstance(found, list):
        for item in found[:20]:
            yield from _texts(item, deepest - 1)
    elif deepest and isinstance(found, dict):
        for value in list(found.values())[:50]:
            yield from _texts(value, deepest - 1)
