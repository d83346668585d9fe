"""Reading one OneRoster collection page by page without losing anybody.

Used by the OneRoster connectors. Servers cap pages silently, leave out the headers, ignore the
offset, count from one, or change while they are read; each of these is met in the field, and each
ends in a whole reading or in ``IncompleteFetch``, never in a short one that looks whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import msgspec

from connectors.contract.json_records import key_of
from connectors.contract.urls import joined, parse_links, query_of, same_origin, with_query
from connectors.http.client import Action, Answer, PageTooLarge, StatusError, VendorHttp
from connectors.oneroster_standard.records import rows_of
from core.errors import IncompleteFetch, RetryableError, SkipRecord

SMALLEST_PAGE = 50
SORT = {"sort": "sourcedId", "orderBy": "asc"}
"""Pages of a sorted collection stay where they are."""

KEYS = {
    "schools": ("orgs", "schools"),
    "orgs": ("orgs",),
    "users": ("users",),
    "students": ("users", "students"),
    "teachers": ("users", "teachers"),
    "events": ("events",),
}
"""Under which names a collection's records may stand: the resource's, then the path's."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One page: what was served, and its records."""

    body: bytes
    records: list[msgspec.Raw]


class Collection:
    """One reading of one collection.

    ``sort`` asks for a stable order, and is dropped if the server refuses it. ``heavy`` are
    statuses that ask for a smaller page. ``watch`` sees every answer. After the last page ``total``
    is what the server declared, or None.
    """

    def __init__(
        self,
        http: VendorHttp,
        root: str,
        path: str,
        *,
        limit: int,
        params: Mapping[str, str | int] | None = None,
        sort: bool = True,
        heavy: frozenset[int] = frozenset(),
        watch: Callable[[Answer], None] | None = None,
    ) -> None:
        self.total: int | None = None
        self._http = http
        self._url = f"{root}/{path}"
        self._path = path
        self._limit = limit
        self._params = dict(params or {})
        self._sort = sort
        self._heavy = heavy
        self._watch = watch

    def pages(self) -> Generator[Rows, None, None]:
        """Serve the pages that hold records, to the end."""
        offset = 0
        elsewhere: str | None = None  # a next link that carries a cursor of its own
        from_one: int | None = None  # where the next page is, if the server counts from one
        last = ""
        firsts: set[str] = set()
        while True:
            url = elsewhere or self._page_url(offset)
            try:
                answer, rows = self._ask(url)
            except PageTooLarge:
                if self._limit <= SMALLEST_PAGE:
                    raise
                self._limit = max(SMALLEST_PAGE, self._limit // 2)
                continue
            except StatusError as error:
                if offset == 0 and self._sort and error.http_status in (400, 422):
                    self._sort = False
                    continue
                raise
            if not rows.records:
                return
            first = self._id(rows.records[0])
            if first == last and from_one is not None:
                offset, from_one = from_one, None
                continue
            if first == last and len(rows.records) == 1:
                return  # nothing but the last record again: a server that counts from one
            if first in firsts or first == last:
                raise IncompleteFetch(
                    f"{self._http.vendor} served the same page of {self._path} twice, or its "
                    "pages shifted.",
                    hint="The roster changed while it was read; the next run tries again.",
                )
            firsts.add(first)
            last = self._id(rows.records[-1])
            yield rows
            offset += len(rows.records)
            total = self._declared(answer, offset)
            link = parse_links(answer.headers.get("Link", "")).get("next")
            # A full last page is asked about once more: a total that is too low would look right.
            full = len(rows.records) >= self._limit
            if link is None and total is not None and offset >= total and not full:
                return
            elsewhere, from_one = self._follow(url, link, offset)

    def _page_url(self, offset: int) -> str:
        order = SORT if self._sort else {}
        return with_query(
            self._url, {**self._params, **order, "limit": self._limit, "offset": offset}
        )

    def _ask(self, url: str) -> tuple[Answer, Rows]:
        heavy = dict.fromkeys(self._heavy, Action.SHRINK) if self._limit > SMALLEST_PAGE else None
        return self._http.get(url, self._path, self._read, heavy)

    def _read(self, answer: Answer) -> tuple[Answer, Rows]:
        records = rows_of(answer.body, KEYS[self._path])
        counted = answer.number("x-count")
        if counted is not None and counted != len(records):
            raise RetryableError(
                f"{self._http.vendor} says {counted} {self._path} and sent {len(records)}.",
                hint="The next run tries again.",
            )
        if self._watch is not None:
            self._watch(answer)
        return answer, Rows(answer.body, records)

    def _declared(self, answer: Answer, read: int) -> int | None:
        """Return the total the server declares, if it makes sense; it must not move."""
        total = answer.number("X-Total-Count")
        if total is None:
            return self.total
        if self.total is not None and total != self.total:
            raise IncompleteFetch(
                f"{self._http.vendor}'s count of {self._path} moved from {self.total} to {total} "
                "while they were read.",
                hint="The roster changed meanwhile; the next run tries again.",
            )
        if total < read:
            return None
        self.total = total
        return total

    def _follow(self, url: str, link: str | None, offset: int) -> tuple[str | None, int | None]:
        """Return (a link to follow as it is, an offset to use should the server count from one).

        Our own offset says where the next page begins: a link may skip what a silent cap left
        out. A link is followed if it carries no offset, to the same host only.
        """
        if link is None:
            return None, None
        target = joined(url, link)
        given = query_of(target).get("offset", [])
        if not given:
            return (target if same_origin(target, url) and target != url else None), None
        if given[0] == str(offset + 1):
            return None, offset + 1
        return None, None

    def _id(self, raw: msgspec.Raw) -> str:
        """Return what tells a record from its neighbours: its id; of an event, all it says."""
        if self._path != "events":
            try:
                return key_of(bytes(raw), "sourcedId")
            except SkipRecord:
                pass  # parsing the record will report it
        return bytes(raw).decode(errors="replace")
