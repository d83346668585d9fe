"""A OneRoster provider of a few lines, with the habits of real ones as switches."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

from tests.connectors.conftest import Asked, Reply, Vendor


@dataclass
class Provider:
    """Answers collections by limit and offset as the standard says, unless told otherwise."""

    vendor: Vendor
    prefix: str = "/ims/oneroster/v1p1"
    collections: dict[str, list[Any]] = field(default_factory=dict)
    envelope: dict[str, str] = field(default_factory=dict)
    cap: int | None = None
    """A silent cap of pages."""
    total: bool = True
    """Whether X-Total-Count is sent."""
    links: str | None = None
    """``rfc``, ``bare`` (no brackets), ``plus-one`` (counts from one), or none."""
    ignores_offset: bool = False
    refuses_sort: bool = False
    from_one: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    fault: Callable[[Asked, dict[str, str]], Reply | None] = lambda asked, params: None

    def __post_init__(self) -> None:
        self.vendor.answer = self.answer

    @property
    def root(self) -> str:
        return self.vendor.url + self.prefix

    def asked(self, path: str) -> list[dict[str, str]]:
        """Return the parameters of each request for a collection."""
        start = f"{self.prefix}/{path}?"
        return [
            dict(parse_qsl(asked.target.partition("?")[2]))
            for asked in self.vendor.asked
            if asked.target.startswith(start)
        ]

    def answer(self, asked: Asked) -> Reply:
        path, _, query = asked.target.partition("?")
        params = dict(parse_qsl(query))
        reply = self.fault(asked, params)
        if reply is not None:
            return reply
        if not path.startswith(self.prefix + "/"):
            return Reply(404)
        name, _, key = path.removeprefix(self.prefix + "/").partition("/")
        rows = self.collections.get(name)
        if rows is None:
            return Reply(404, b'{"imsx_codeMajor": "failure"}')
        if key:
            found = [row for row in rows if quote(str(row.get("sourcedId")), safe="~") == key]
            if not found:
                return Reply(404)
            return Reply(body=json.dumps({"user": found[0]}).encode())
        if "sort" in params and self.refuses_sort:
            return Reply(400, b'{"statusInfoSet": [{"imsx_codeMinor": "invalid_sort_field"}]}')
        limit = min(int(params.get("limit", 100)), self.cap or 10**9)
        offset = 0 if self.ignores_offset else int(params.get("offset", 0))
        start = max(0, offset - 1) if self.from_one else offset
        page = rows[start : start + limit]
        headers = dict(self.headers)
        if self.total:
            headers["X-Total-Count"] = str(len(rows))
        after = offset + len(page) + (1 if self.links == "plus-one" else 0)
        if self.links and start + len(page) < len(rows):
            url = f"{self.root}/{name}?limit={limit}&offset={after}"
            wrapped = f"<{url}>" if self.links == "rfc" else url
            headers["Link"] = f'{wrapped}; rel="next", {wrapped}; rel="last"'
        body = json.dumps({self.envelope.get(name, {"schools": "orgs"}.get(name, name)): page})
        return Reply(body=body.encode(), headers=headers)


def people(count: int) -> list[dict[str, Any]]:
    """Return students with ids that sort as they stand."""
    return [
        {
            "sourcedId": f"s{number:05d}",
            "status": "active",
            "dateLastModified": f"2026-01-05T08:{number % 60:02d}:00.000Z",
            "givenName": "A",
            "familyName": f"B{number}",
            "role": "student",
            "orgs": [{"sourcedId": "o1"}],
        }
        for number in range(count)
    ]
