"""A vendor's server that misbehaves on purpose, in the dialect of each connector over HTTP.

with Hostile("classlink") as vendor:
    vendor.people = people(20)
    vendor.spoil = lambda asked, answer: answer.add("X-Total-Count", "9" * 5000)
    vendor.config()      # the connector's config, its secrets in clear

``people`` are plain dictionaries (see ``people``); a dialect writes them as its vendor does. A test
changes one thing at a time: ``listed`` is what the list of users serves, ``alter`` edits a record,
``spoil`` edits a whole answer, bytes, headers, speed and all.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

Person = dict[str, Any]
DIALECTS = ("clever", "classlink", "gg4l", "oneroster", "oneroster12")
"""Every connector that reads over HTTP; OneRoster in both versions."""
TOTALS = frozenset({"classlink", "oneroster", "oneroster12"})
"""Dialects whose server declares how many users there are."""
CONNECTORS = {
    "clever": "clever",
    "classlink": "classlink",
    "gg4l": "gg4l",
    "oneroster": "oneroster",
    "oneroster12": "oneroster",
}


def people(count: int, *, start: int = 0, **more: Any) -> list[Person]:
    """Return students of one school, with ids that sort as they stand."""
    return [
        {
            "id": f"p{number:05d}",
            "given": "Robin",
            "family": f"Of {number}",
            "email": f"p{number:05d}@springfield.example",
            "role": "student",
            "grade": "05",
            "school": "o1",
            **more,
        }
        for number in range(start, start + count)
    ]


@dataclass
class Answer:
    """One answer, until it is sent. ``pause`` seconds pass before each byte of the body."""

    status: int = 200
    body: bytes = b"{}"
    headers: list[tuple[str, str]] = field(default_factory=list)
    pause: float = 0.0
    slow_head: float = 0.0

    def add(self, name: str, value: str) -> Answer:
        """Send a header, instead of one of that name."""
        self.headers = [(n, v) for n, v in self.headers if n.lower() != name.lower()]
        self.headers.append((name, value))
        return self


@dataclass(frozen=True)
class Asked:
    """One request: ``what`` is ``users``, ``schools``, ``user``, ``token`` …; ``page`` from 1."""

    what: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    page: int = 0


class Hostile:
    """A server on loopback that speaks one dialect. Its limit of a page is ``page_size``."""

    def __init__(self, dialect: str, *, page_size: int = 10) -> None:
        self.dialect = dialect
        self.page_size = page_size
        self.people: list[Person] = []
        self.listed: Callable[[list[Person]], list[Person]] = lambda people: people
        self.alter: Callable[[Person, dict[str, Any]], Any] = lambda person, record: record
        self.spoil: Callable[[Asked, Answer], Answer | None] = lambda asked, answer: answer
        self.asked: list[Asked] = []
        self.answers_by_id = True
        """False: a request for a single user is answered 404, whatever the user."""
        self.schools: list[tuple[str, str]] = [("o1", "Lincoln")]
        self._stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(size)
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = outer._answer(self.path, headers)
                with contextlib.suppress(OSError):
                    outer._send(self, answer)

            do_GET = do_POST = serve

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A caller that hung up is what some tests are about."""

        self._new_server = lambda: Server(("127.0.0.1", 0), Handler)

    def __enter__(self) -> Self:
        self._server = self._new_server()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *about: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def config(self, **more: Any) -> dict[str, Any]:
        """Return the connector's config, its secrets in clear."""
        common = {"page_size": self.page_size, "attempts": 2, "retry_wait": 0, "read_timeout": 2}
        own: dict[str, Any]
        match self.dialect:
            case "clever":
                own = {"base_url": f"{self.origin}/v3.0", "token": "t0ken"}
            case "classlink":
                own = {"base_url": self.origin, "application_id": "app", "bearer": "t0ken"}
            case "gg4l":
                own = {
                    "token_url": f"{self.origin}/token",
                    "api_url": f"{self.origin}/ims/oneroster/v1p1",
                    "client_id": "app",
                    "client_secret": "s3cret",
                }
            case "oneroster12":
                own = {
                    "base_url": f"{self.origin}/ims/oneroster/rostering/v1p2",
                    "token_url": f"{self.origin}/token",
                    "client_id": "app",
                    "client_secret": "s3cret",
                }
            case _:
                own = {
                    "base_url": f"{self.origin}/ims/oneroster/v1p1",
                    "auth": "bearer",
                    "bearer": "t0ken",
                }
        return {**common, **own, **more}

    def counts(self, what: str) -> int:
        """Return how often something was asked for."""
        return sum(asked.what == what for asked in self.asked)

    # -- answering

    def _answer(self, target: str, headers: dict[str, str]) -> Answer:
        parts = urlsplit(target)
        params = dict(parse_qsl(parts.query))
        steps = [unquote(step) for step in parts.path.split("/") if step]
        what, key = steps[-1] if steps else "", ""
        if len(steps) > 1 and steps[-2] == "users":
            what, key = "user", steps[-1]
        asked = Asked(what, parts.path, params, headers, self._page_of(what, params))
        self.asked.append(asked)
        answer = self._plain(asked, key)
        spoiled = self.spoil(asked, answer)
        return answer if spoiled is None else spoiled

    def _page_of(self, what: str, params: dict[str, str]) -> int:
        if what != "users":
            return 1
        if self.dialect == "clever":
            after = params.get("starting_after")
            ids = [person["id"] for person in self.listed(self.people)]
            start = ids.index(after) + 1 if after in ids else 0
            return start // self.page_size + 1
        return int(params.get("offset", 0)) // self.page_size + 1

    def _plain(self, asked: Asked, key: str) -> Answer:
        match asked.what:
            case "token":
                token = {"access_token": "t0ken", "token_type": "bearer", "expires_in": 3600}
                return Answer(body=_json(token))
            case "districts":
                return Answer(body=_json({"data": [{"data": {"id": "d1", "name": "D"}}]}))
            case "orgs" if self.dialect != "clever":
                org = {"sourcedId": "d1", "type": "district", "name": "D", "identifier": "4711"}
                return Answer(body=_json({"orgs": [org]}))
            case "schools":
                return self._listing(asked, "orgs", [self._school(*one) for one in self.schools])
            case "users":
                rows = [self.record(person) for person in self.listed(self.people)]
                return self._listing(asked, "users", rows)
            case "user":
                found = [person for person in self.people if person["id"] == key]
                if not found or not self.answers_by_id:
                    return Answer(404, b'{"error": "Resource not found"}')
                record = self.record(found[0])
                named = "data" if self.dialect == "clever" else "user"
                return Answer(body=_json({named: record}))
        return Answer(404, b"{}")

    def _listing(self, asked: Asked, name: str, rows: list[Any]) -> Answer:
        limit = min(int(asked.params.get("limit", 100)), self.page_size)
        if self.dialect == "clever":
            after = asked.params.get("starting_after")
            ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
            start = ids.index(after) + 1 if after in ids else 0
            page = rows[start : start + limit]
            links = []
            if start + limit < len(rows):
                uri = f"/v3.0/{asked.what}?limit={limit}&starting_after={page[-1]['id']}"
                links.append({"rel": "next", "uri": uri})
            body = {"data": [{"data": row} for row in page], "links": links}
            return Answer(body=_json(body))
        start = int(asked.params.get("offset", 0))
        page = rows[start : start + limit]
        answer = Answer(body=_json({name: page}))
        if self.dialect in TOTALS:
            answer.add("X-Total-Count", str(len(rows)))
        return answer

    # -- records

    def _school(self, key: str, name: str) -> dict[str, Any]:
        if self.dialect == "clever":
            return {"id": key, "name": name}
        return {"sourcedId": key, "status": "active", "name": name, "type": "school"}

    def record(self, person: Person) -> Any:
        """Return a person's record in this dialect, as ``alter`` leaves it."""
        return self.alter(person, self._record(person))

    def _record(self, person: Person) -> dict[str, Any]:
        roles = [person["role"], *person.get("more_roles", ())]
        if self.dialect == "clever":
            inner: dict[str, Any] = {"school": person["school"], "schools": [person["school"]]}
            if person.get("grade") is not None:
                inner["grade"] = person["grade"]
            if "year" in person:
                inner["graduation_year"] = person["year"]
            if "number" in person:
                inner["student_number"] = person["number"]
            return {
                "id": person["id"],
                "name": {"first": person["given"], "last": person["family"]},
                "email": person["email"],
                "roles": {role: dict(inner) for role in roles},
            }
        record = {
            "sourcedId": person["id"],
            "status": "active",
            "enabledUser": person.get("enabled", "true"),
            "givenName": person["given"],
            "familyName": person["family"],
            "email": person["email"],
            "username": person["id"],
        }
        if person.get("grade") is not None:
            record["grades"] = [person["grade"]]
        if "number" in person:
            record["identifier"] = person["number"]
        if "ids" in person:
            record["userIds"] = [{"type": kind, "identifier": i} for kind, i in person["ids"]]
        org = {"sourcedId": person["school"], "type": "org"}
        if self.dialect == "oneroster12":
            held = [{"role": role, "roleType": "secondary", "org": org} for role in roles]
            held[0]["roleType"] = "primary"
            return {**record, "roles": held}
        return {**record, "role": roles[0], "orgs": [org]}

    # -- sending

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        head = [f"HTTP/1.1 {answer.status} So be it"]
        given = {name.lower() for name, _ in answer.headers}
        if "content-length" not in given and "transfer-encoding" not in given:
            head.append(f"Content-Length: {len(answer.body)}")
        head += [f"{name}: {value}" for name, value in answer.headers]
        start = ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")
        self._drip(handler.connection, start, answer.slow_head)
        self._drip(handler.connection, answer.body, answer.pause)
        if answer.pause or answer.slow_head:
            handler.close_connection = True

    def _drip(self, connection: socket.socket, data: bytes, pause: float) -> None:
        if not pause:
            connection.sendall(data)
            return
        for number in range(len(data)):
            if self._stop.wait(pause):
                return
            connection.sendall(data[number : number + 1])


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


@contextlib.contextmanager
def quickly(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < seconds, f"it took {took:.1f} s, more than {seconds} s"
