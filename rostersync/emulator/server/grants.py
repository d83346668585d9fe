"""Access tokens of OAuth 2 client credentials (RFC 6749 section 4.4), given out and checked."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from rostersync.emulator.server.wire import Reply, Request


@dataclass(frozen=True, slots=True)
class Grant:
    """What one access token opens, and until when (unix seconds)."""

    owner: Any
    client_id: str
    scopes: frozenset[str]
    ends: float


class Grants:
    """The tokens given out."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._grants: dict[str, Grant] = {}
        self._lock = threading.Lock()

    def give(self, owner: Any, client_id: str, scopes: frozenset[str], seconds: float) -> str:
        """Return a new token."""
        token = secrets.token_hex(24)
        with self._lock:
            self._grants[token] = Grant(owner, client_id, scopes, self._clock() + seconds)
        return token

    def find(self, authorization: str) -> Grant | None:
        """Return what a bearer header opens, None for nothing."""
        scheme, _, token = authorization.partition(" ")
        grant = self._grants.get(token) if scheme.lower() == "bearer" else None
        if grant is None or grant.ends <= self._clock():
            return None
        return grant

    def forget(self) -> None:
        """End every token given out so far."""
        with self._lock:
            self._grants.clear()


def basic(authorization: str) -> tuple[str, str] | None:
    """Return (id, secret) of a Basic header, unescaped as RFC 6749 2.3.1 has it, else None."""
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return None
    name, colon, secret = decoded.partition(":")
    return (unquote(name), unquote(secret)) if colon else None


def form(request: Request) -> dict[str, str]:
    """Return the fields of a form body."""
    return dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))


def refused(status: int, error: str, text: str) -> Reply:
    """Return an error of the token endpoint, as RFC 6749 section 5.2 has it."""
    body = msgspec.json.encode({"error": error, "error_description": text})
    headers = {"WWW-Authenticate": 'Basic realm="token"'} if status == 401 else {}
    return Reply(status, body, headers, stream="token", page=1)
