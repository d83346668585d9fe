"""A vendor on loopback for HTTP connectors: the author serves the roster, faults are built in."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from rostersync.testing.scenario import CANARY, Exchange, Scenario, Setting, Situation

RETRY_AFTER = 1
"""Seconds that the throttled vendor asks to wait."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as the vendor got it; ``headers`` have names in lower case.

    ``target`` is path and query as they came over the wire, ``path`` the path alone.
    """

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    situation: Situation
    base_url: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``cut`` breaks the body off in the middle, though the headers promise it all."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


def as_json(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is ``value`` as JSON."""
    return Answer(
        json.dumps(value, ensure_ascii=False).encode(),
        status,
        {"Content-Type": "application/json", **(headers or {})},
    )


class HttpScenario(Scenario):
    """A scenario over real HTTP on loopback.

    ``answer`` gives the vendor's answer to one request (look at ``asked.situation`` for ``empty``,
    ``bad_row``, ``unknown_words`` and ``private_data``); ``config`` the connector's config for a
    server's base URL. All other situations are made of ``answer`` by this class. ``spared`` are
    paths that the faults, but for the refusal, leave alone: a token endpoint.
    """

    over_http: ClassVar[bool] = True

    def __init__(
        self,
        answer: Callable[[Asked], Answer],
        config: Callable[[str], Mapping[str, Any]],
        *,
        people: int,
        schools: int,
        spared: tuple[str, ...] = (),
        exempt: Mapping[str, str] | None = None,
        expected: Path | None = None,
    ) -> None:
        super().__init__(people=people, schools=schools, exempt=exempt, expected=expected)
        self._answer = answer
        self._config = config
        self._spared = spared

    @contextmanager
    def open(self, situation: Situation) -> Iterator[Setting]:
        """Start a server for the situation; stop it when the context ends."""
        exchanges: list[Exchange] = []
        issued: list[str] = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        base_url = f"http://127.0.0.1:{server.server_address[1]}"

        def respond(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
            url = urlsplit(target)
            asked = Asked(
                method,
                target,
                url.path,
                dict(parse_qsl(url.query)),
                headers,
                body,
                situation,
                base_url,
            )
            answer = self._faulty(
                asked, first=all(exchange.path in self._spared for exchange in exchanges)
            )
            exchanges.append(Exchange(time.monotonic(), url.path, answer.status))
            issued.extend(_tokens(headers, answer.body))
            return answer

        server.respond = respond  # type: ignore[attr-defined]
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield Setting(self._config(base_url), exchanges=exchanges, issued=issued)
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _faulty(self, asked: Asked, *, first: bool) -> Answer:
        if asked.situation is Situation.REFUSED:
            return as_json({"error": "unauthorized"}, status=401)
        if asked.path in self._spared:
            return self._answer(asked)
        match asked.situation:
            case Situation.THROTTLED if first:
                return Answer(status=429, headers={"Retry-After": str(RETRY_AFTER)})
            case Situation.FAILING:
                said = f"The record of '{CANARY}' <{CANARY}@vendor.example> cannot be read"
                return as_json({"message": said}, status=500)
            case Situation.GARBLED:
                return Answer(b'{"data": [', 200, {"Content-Type": "application/json"})
            case Situation.HTML:
                page = b"<!doctype html><title>Maintenance</title><p>Back soon."
                return Answer(page, 200, {"Content-Type": "text/html"})
            case Situation.TRUNCATED:
                whole = self._answer(asked)
                return Answer(whole.body, whole.status, whole.headers, cut=True)
            case _:
                return self._answer(asked)


_TOKENS = re.compile(rb'"(?:[a-z_]*token|bearer|client_secret|api_key)"\s*:\s*"([^"]{8,})"', re.I)
"""Where an answer hands out a secret."""


def _tokens(headers: Mapping[str, str], body: bytes) -> Iterator[str]:
    """Yield the secrets of one exchange: what the request carried, what the answer hands out."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and len(value) >= _SHORTEST_TOKEN:
        yield value
    for found in _TOKENS.findall(body[:65536]):
        yield found.decode(errors="replace")


_SHORTEST_TOKEN = 8


class _Handler(BaseHTTPRequestHandler):
    """Passes requests on to the scenario, and writes its answers."""

    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer: Answer = self.server.respond(  # type: ignore[attr-defined]
            self.command, self.path, headers, body
        )
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.cut else answer.body)
        if answer.cut:
            self.close_connection = True

    do_GET = do_POST = do_HEAD = do_PUT = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing, because a test's output belongs to the test."""
