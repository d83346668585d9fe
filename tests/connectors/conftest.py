"""A clock that never waits, and a vendor of a few lines on loopback, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import responses

from connectors.contract.connector import Certificate, Connector, FetchRequest, Page, Record
from connectors.contract.pacing import Clock

FIXTURES = Path(__file__).parents[2] / "fixtures"
START = 1_767_600_000.0  # a Monday in January 2026


@dataclass
class Waits:
    """Time that passes only when somebody waits."""

    passed: float = 0.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.passed += seconds

    @property
    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: 1000.0 + self.passed,
            now=lambda: START + self.passed,
            sleep=self.sleep,
        )


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    """Answers of a vendor; each one that is prepared must be asked for."""
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        yield mock


@dataclass(frozen=True)
class Asked:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What to answer; ``length`` may lie about the body, ``hang_up`` closes without an answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    hang_up: bool = False


class Vendor:
    """A server on loopback that answers by a function of the request, and remembers them all."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.connections: set[Any] = set()
        self.answer: Callable[[Asked], Reply] = lambda asked: Reply(404)
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(size))
                vendor.asked.append(asked)
                vendor.connections.add(self.client_address)
                reply = vendor.answer(asked)
                if reply.hang_up:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                length = len(reply.body) if reply.length is None else reply.length
                headers = {
                    "Content-Type": "application/json",
                    "Content-Length": str(length),
                    **reply.headers,
                }
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
                if length != len(reply.body):
                    self.close_connection = True

            do_GET = do_POST = serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A caller that hung up is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    server = Vendor()
    yield server
    server.close()


@pytest.fixture
def other_vendor() -> Iterator[Vendor]:
    server = Vendor()
    yield server
    server.close()


@dataclass
class Fetched:
    """What one reading gave: its records, its pages and its certificate."""

    records: dict[str, list[Record]]
    skipped: list[Exception]
    pages: list[Page]
    certificate: Certificate

    @property
    def users(self) -> dict[str, Record]:
        return {record.key: record for record in self.records.get("users", [])}

    @property
    def schools(self) -> dict[str, Record]:
        return {record.key: record for record in self.records.get("schools", [])}


@pytest.fixture
def fetch() -> Callable[..., Fetched]:
    """Read a connector as the engine does: every page, every record, to the certificate."""
    from core.errors import SkipRecord

    def read(connector: Connector, request: FetchRequest | None = None) -> Fetched:
        fetched = Fetched({}, [], [], Certificate(complete=False))
        pages = connector.pages(request or FetchRequest())
        try:
            while True:
                try:
                    page = next(pages)
                except StopIteration as end:
                    fetched.certificate = end.value
                    return fetched
                fetched.pages.append(page)
                for raw in page.split(page.body):
                    try:
                        key = connector.identify(page.stream, raw)
                        record = connector.parse(page.stream, raw)
                    except SkipRecord as skipped:
                        fetched.skipped.append(skipped)
                        continue
                    assert isinstance(record, Record)
                    assert record.key == key
                    fetched.records.setdefault(page.stream, []).append(record)
        finally:
            connector.close()

    return read


@pytest.fixture
def fixture() -> Callable[[str], Any]:
    """Return a file of ``fixtures/`` as JSON."""
    return lambda path: json.loads((FIXTURES / path).read_text(encoding="utf-8"))
