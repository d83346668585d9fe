"""A scenario from the emulator: a vendor as it answers, behind a relay that edits single records.

The emulator serves normal rosters. The relay puts the bad row, the unknown word and the private
data into its answers, and makes the faults that ``HttpScenario`` makes for everybody.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from rostersync.emulator import District, Emulator
from rostersync.emulator.district.days import Changes, Day, Joins, Leaves
from rostersync.testing.loopback import Answer, Asked, HttpScenario, as_json
from rostersync.testing.scenario import Scenario, Setting, Situation

_DAYS = (Day(Changes(1)), Day(Changes(3), Joins(2), Leaves(2)))
"""The day of the normal roster, and the day after it: the situation ``CHANGED``."""

Edit = Callable[[Situation, str, Any], None]
"""Changes one decoded answer in place: (situation, path, document)."""

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}
_COUNTS = {"x-count", "x-total-count"}


def leave(situation: Situation, path: str, document: Any) -> None:
    """Edit nothing."""


class EmulatorScenario(Scenario):
    """A vendor of the emulator with a small district.

    ``mode`` chooses among the vendor's ways in, ``settle`` finishes the emulator's config for the
    connector, ``edit`` puts what a situation asks for into an answer, ``resumes`` tells a
    request that goes on from a cursor.
    """

    over_http: ClassVar[bool] = True

    def __init__(
        self,
        vendor: str,
        *,
        mode: str = "",
        edit: Edit = leave,
        settle: Callable[[dict[str, Any]], dict[str, Any]] = dict,
        resumes: Callable[[Asked], bool] = lambda asked: False,
        spared: tuple[str, ...] = (),
        exempt: Mapping[str, str] | None = None,
        expected: Path | None = None,
    ) -> None:
        self._district = District(seed=10, users=60, schools=4, days=_DAYS)
        truth = list(self._district.truth(1, vendor))
        super().__init__(people=len(truth), schools=4, exempt=exempt, expected=expected)
        self._vendor = vendor
        self._mode = mode
        self._edit = edit
        self._settle = settle
        self._resumes = resumes
        self._spared = spared

    @contextmanager
    def open(self, situation: Situation) -> Iterator[Setting]:
        """Start the emulator and the relay before it."""
        with Emulator(self._district, vendor=self._vendor) as emulator:
            if situation is Situation.EMPTY:
                emulator.fail("empty_users")
            emulator.day = 2 if situation is Situation.CHANGED else 1

            def config(base_url: str) -> Mapping[str, Any]:
                own = json.dumps(self._settle(emulator.config(self._mode)))
                moved: dict[str, Any] = json.loads(own.replace(emulator.origin, base_url))
                return moved

            relay = HttpScenario(
                lambda asked: self._relay(emulator.origin, asked),
                config,
                people=self.people,
                schools=self.schools,
                spared=self._spared,
            )
            with relay.open(situation) as setting:
                yield setting

    def _relay(self, origin: str, asked: Asked) -> Answer:
        if asked.situation is Situation.CURSOR_LOST and self._resumes(asked):
            return as_json({"message": "no such place"}, status=404)
        # The host that the connector called is kept, because a signature covers it; compression is
        # not asked for, because the answer is to be edited.
        headers = {
            name: value
            for name, value in asked.headers.items()
            if name not in _HOP_BY_HOP and name != "accept-encoding"
        }
        upstream = http.client.HTTPConnection(urlsplit(origin).netloc, timeout=30)
        try:
            upstream.request(asked.method, asked.target, body=asked.body or None, headers=headers)
            answer = upstream.getresponse()
            body = answer.read().replace(origin.encode(), asked.base_url.encode())
            edited = self._edited(asked, body)
            one_more = asked.situation is Situation.BAD_ROW and edited is not body
            kept = {
                name: str(int(value) + 1)
                if one_more and name.lower() in _COUNTS
                else value.replace(origin, asked.base_url)
                for name, value in answer.getheaders()
                if name.lower() not in _HOP_BY_HOP
            }
            return Answer(edited, answer.status, kept)
        finally:
            upstream.close()

    def _edited(self, asked: Asked, body: bytes) -> bytes:
        try:
            document = json.loads(body)
        except ValueError:
            return body
        before = json.dumps(document)
        self._edit(asked.situation, asked.path, document)
        edited = json.dumps(document, ensure_ascii=False)
        return body if json.dumps(document) == before else edited.encode()
