"""The server of a situation: it serves the records of a day as they stand in its files.

``users.json``, ``schools.json`` and ``orgs.json`` hold the records of a vendor, one list each.
What else a server does is said in ``[day.server]`` of the situation; ``SWITCHES`` lists it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.attack.hostile import Answer, Asked, Hostile

SWITCHES = {
    "total": "X-Total-Count: a number, or false for none; otherwise the rows of users.json",
    "hidden": "ids that answer when they are asked for one by one, but are not in the list",
    "by_id": "false: every request for a single person is answered 404",
    "page": "what happens on this page of users (counted from 1) of those below; otherwise on all",
    "status": "answer with this status",
    "body": "answer with this body",
    "headers": "add these headers",
    "page_size": "records on a page (10)",
    "ignores_offset": "true: every page is the first one",
    "caps": "never serve more than so many records on a page, whatever was asked for",
    "keys": "the header that must hold the API key, or every answer is 401",
}


class Served(Hostile):
    """A loopback server in the dialect of one connector, whose day is changed by ``serve``."""

    def __init__(self, dialect: str) -> None:
        super().__init__(dialect)
        self.switches: Mapping[str, Any] = {}
        self._orgs: list[Any] | None = None
        self.spoil = self._spoil

    def serve(self, files: Mapping[str, bytes], switches: Mapping[str, Any]) -> None:
        """Serve the files of a day."""
        unknown = switches.keys() - SWITCHES.keys()
        assert not unknown, f"[day.server] knows no {sorted(unknown)}: see SWITCHES"
        self.switches = switches
        self.page_size = switches.get("page_size", 10)
        self.answers_by_id = switches.get("by_id", True)
        records = json.loads(files["users.json"])
        key = "id" if self.dialect == "clever" else "sourcedId"
        self.people = [{"id": one.get(key), "raw": one} for one in records]
        hidden = set(switches.get("hidden", ()))
        self.listed = lambda people: [one for one in people if one["id"] not in hidden]
        self.schools = [(one, "") for one in json.loads(files["schools.json"])]
        self._orgs = json.loads(files["orgs.json"]) if "orgs.json" in files else None

    def _record(self, person: dict[str, Any]) -> Any:
        return person["raw"]

    def _school(self, key: Any, name: str) -> Any:
        return key

    def _plain(self, asked: Asked, key: str) -> Answer:
        if self._orgs is not None and asked.what in ("orgs", "districts"):
            named = "data" if self.dialect == "clever" else "orgs"
            rows = [{"data": one} for one in self._orgs] if named == "data" else self._orgs
            return Answer(body=json.dumps({named: rows}).encode())
        if self.switches.get("ignores_offset"):
            asked.params.pop("offset", None)
        if "caps" in self.switches and "limit" in asked.params:
            asked.params["limit"] = str(min(int(asked.params["limit"]), self.switches["caps"]))
        return super()._plain(asked, key)

    def _spoil(self, asked: Asked, answer: Answer) -> Answer:
        wanted = self.switches.get("keys")
        if wanted is not None and wanted.lower() not in asked.headers:
            return Answer(401)
        if asked.what != "users":
            return answer
        total = self.switches.get("total")
        if total is not None:
            answer.headers = [one for one in answer.headers if one[0] != "X-Total-Count"]
            if total is not False:
                answer.add("X-Total-Count", str(total))
        if self.switches.get("page", asked.page) == asked.page:
            if "status" in self.switches:
                answer = Answer(self.switches["status"])
            if "body" in self.switches:
                answer.body = self.switches["body"].encode()
            for name, value in self.switches.get("headers", {}).items():
                answer.add(name, value)
        return answer
