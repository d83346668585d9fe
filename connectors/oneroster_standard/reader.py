"""Reading a OneRoster service over REST, as every vendor that follows the standard is read.

Docs: https://www.imsglobal.org/spec/oneroster/v1p2 (1.2),
https://www.imsglobal.org/oneroster-v11-final-specification (1.1)
``connectors/oneroster.py``, ``connectors/classlink.py`` and ``connectors/gg4l.py`` say where a
service is and how to sign in.

One file, because it is one class: the whole of a reading, with its hooks for vendors.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Any, ClassVar

import msgspec
from pydantic import Field

from connectors.contract.ahead import ahead
from connectors.contract.connector import (
    Certificate,
    Check,
    FetchRequest,
    Page,
    Record,
    Trace,
)
from connectors.contract.json_records import key_of, read_time, without
from connectors.contract.urls import segment, with_query
from connectors.http.client import Answer, Authorizer, Forbidden, StatusError, VendorHttp, http_date
from connectors.http.http_connector import HttpConfig, HttpConnector, early_end, failed_check
from connectors.oneroster_standard.paging import KEYS, Collection, Rows
from connectors.oneroster_standard.records import (
    DROPPED,
    gist,
    org_facts,
    parse_school,
    parse_user,
    rows_of,
    single_of,
    split_rows,
    touched,
    trace,
)
from connectors.oneroster_standard.vocabulary import PersonIdTypes
from core.errors import (
    CredentialsRefused,
    CursorLost,
    IncompleteFetch,
    RosterSyncError,
    SkipRecord,
    VendorFailure,
)
from core.models import Kind

ONEROSTER_SCOPES = {
    "1.1": "https://purl.imsglobal.org/spec/or/v1p1/scope/roster-core.readonly",
    "1.2": "https://purl.imsglobal.org/spec/or/v1p2/scope/roster-core.readonly",
}
"""All that reading schools and users needs. Demographics are never asked for."""
_LONGEST_FACET = 64


class OneRosterFields(HttpConfig):
    """The fields that every OneRoster connector has."""

    person_id_type: PersonIdTypes = ()
    delta: bool = Field(
        default=False,
        description="Between full fetches read only what changed, by dateLastModified.",
    )
    overlap_minutes: int = Field(
        default=60, ge=0, le=10080, description="How far a delta reaches back before the last one."
    )


class OneRosterReader(HttpConnector):
    """Reads schools and users over OneRoster REST. A subclass says where and with what credentials.

    What a vendor does differently is a hook: ``root``, ``authorizer``, ``heavy``, ``sorts``,
    ``begin`` (before anything is read), ``watch`` (every answer of a collection).
    """

    streams: ClassVar[Mapping[str, Kind]] = {"schools": Kind.SCHOOL, "users": Kind.USER}
    reading_fields: ClassVar[frozenset[str]] = frozenset({"roles", "schools", "person_id_type"})
    sorts: ClassVar[bool] = True
    heavy: ClassVar[frozenset[int]] = frozenset()
    """Statuses that ask for a smaller page, beside 413."""
    masks_names: ClassVar[bool] = False
    """A district may keep names from the app: then somebody without any is a person, too."""

    config: OneRosterFields

    def __init__(self, config: OneRosterFields) -> None:
        super().__init__(config)
        self._http: VendorHttp | None = None
        self._org: tuple[str, ...] | None = None
        self._newest = ""
        self._server_time: float | None = None
        self.capabilities = replace(type(self).capabilities, incremental=self._is_incremental())

    # -- what a vendor decides

    def root(self) -> str:
        """Return the URL below which the collections stand."""
        raise NotImplementedError

    def authorizer(self) -> Authorizer:
        """Return what gives requests their credentials."""
        raise NotImplementedError

    def begin(self, request: FetchRequest) -> Certificate | None:
        """Prepare a reading. Return a certificate if there is nothing to read."""
        return None

    def watch(self, answer: Answer) -> None:
        """Look at each answer of a collection before its records are served."""

    def finish(self, certificate: Certificate) -> Certificate:
        """Add to the certificate what only this vendor tells."""
        return certificate

    def unchanged(self, request: FetchRequest) -> bool:
        """Tell, after the first answer, whether the vendor calls its data unchanged."""
        return False

    def listed_as(self) -> str | None:
        """Return the vendor's own id of the district, where the vendor was asked for its list."""
        return None

    def _is_incremental(self) -> bool:
        return self.config.delta

    # -- reading

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        """Serve schools, then users; with a cursor, only those touched since."""
        self._newest, self._server_time = "", None
        known = self.begin(request)
        if known is not None:
            return known
        district = self._district_words(patient=False)
        certificate = Certificate(complete=True, vendor_district=district)
        if request.cursor is not None:
            certificate = yield from self.changes(request.cursor, certificate)
        else:
            certificate = yield from self._whole(request, certificate)
        return self.finish(certificate)

    def _whole(
        self, request: FetchRequest, certificate: Certificate
    ) -> Generator[Page, None, Certificate]:
        declared: dict[str, int] = {}
        silent: set[str] = set()
        notes: list[str] = []
        short: str | None = None
        served = 0
        for stream in self.streams:
            reading = self.collection(stream)
            counted = 0
            try:
                with early_end():
                    for rows in ahead(reading.pages()):
                        if served == 0 and self.unchanged(request):
                            return replace(certificate, unchanged=True, revision=request.revision)
                        served += 1
                        counted += len(rows.records)
                        yield self._page(stream, rows)
            except (Forbidden, IncompleteFetch) as error:
                if stream == "users" or not _is_closed(error):
                    raise
                silent.add(stream)
                notes.append(f"{self.vendor} does not share its {stream}.")
            if reading.total is not None:
                declared[stream] = reading.total
                if reading.total != counted:
                    short = f"{self.vendor} declares {reading.total} {stream} and served {counted}."
        return replace(
            certificate,
            complete=short is None,
            reason=short,
            pages=served,
            declared=declared,
            absent_streams=frozenset(silent),
            cursor=self.cursor(),
            notes=(*certificate.notes, *notes),
        )

    def collection(self, path: str, params: Mapping[str, str | int] | None = None) -> Collection:
        """Return a new reading of a collection."""
        return Collection(
            self.http(),
            self.root(),
            path,
            limit=self.config.page_size,
            params=params,
            sort=self.sorts,
            heavy=self.heavy,
            watch=self._watch,
        )

    def _watch(self, answer: Answer) -> None:
        if self._server_time is None:
            self._server_time = http_date(answer.headers.get("Date", ""))
        self.watch(answer)

    def _page(self, stream: str, rows: Rows) -> Page:
        if self.config.delta:
            self._remember_newest(rows.records)
        return Page(stream, rows.body, partial(split_rows, keys=KEYS[stream]))

    def identify(self, stream: str, raw: bytes) -> str:
        """Return the sourcedId, unique for its type within one provider."""
        return key_of(raw, "sourcedId")

    def parse(self, stream: str, raw: bytes) -> Record:
        """Return the school or user that a record describes."""
        if stream == "schools":
            return parse_school(raw)
        return parse_user(raw, self.config.person_id_type, nameless=self.masks_names)

    def gist(self, stream: str, raw: bytes) -> bytes | None:
        """Return what is read of a record: not when it was touched."""
        return gist(stream, raw)

    def trace(self, stream: str, raw: bytes) -> Trace | None:
        """Return the names of a user whose record cannot be used."""
        return trace(raw) if stream == "users" else None

    def fields(self, stream: str, raw: bytes) -> Mapping[str, Any]:
        """Return the record without passwords and profiles, for mapping rules."""
        return without(super().fields(stream, raw), DROPPED)

    def http(self) -> VendorHttp:
        """Return the client of this source."""
        if self._http is None:
            self._http = self.client(self.authorizer())
        return self._http

    # -- what changed

    def changes(
        self, cursor: Mapping[str, Any], certificate: Certificate
    ) -> Generator[Page, None, Certificate]:
        """Serve what was touched since ``cursor``. Raises ``CursorLost`` if it cannot be asked."""
        since = read_time(cursor.get("since"))
        if since is None or not self.config.delta:
            raise CursorLost(f"{self.vendor} gave no date to go on from in the last fetch.")
        after = since - timedelta(minutes=self.config.overlap_minutes)
        self._newest = since.isoformat()
        params = {"filter": f"dateLastModified>='{_stamp(after)}'"}
        served = 0
        for stream in self.streams:
            try:
                with early_end():
                    for rows in self.collection(stream, params).pages():
                        served += 1
                        yield self._page(stream, rows)
            except Forbidden:
                continue
            except VendorFailure as error:
                cause = error.__cause__
                if isinstance(cause, StatusError) and cause.http_status in (400, 422, 501):
                    raise CursorLost(f"{self.vendor} cannot be asked for changes.") from error
                raise
        return replace(certificate, pages=served, incremental=True, cursor=self.cursor())

    def _remember_newest(self, records: Iterable[msgspec.Raw]) -> None:
        newest = read_time(self._newest)
        for raw in records:
            found = read_time(touched(raw))
            if found is not None and (newest is None or found > newest):
                newest = found
        self._newest = newest.isoformat() if newest is not None else ""

    def cursor(self) -> dict[str, Any] | None:
        """Return the cursor after this reading: the newest date of the vendor's own records.

        Never our clock, and never later than the server's: a record dated in the future would
        hide whatever changes until then.
        """
        newest = read_time(self._newest)
        if not self.config.delta or newest is None:
            return None
        if self._server_time is not None:
            newest = min(newest, datetime.fromtimestamp(self._server_time, UTC))
        return {"since": _stamp(newest)}

    # -- single questions

    def vendor_district(self) -> str | None:
        """Return what tells the district from others: the vendor's id of it, and its own org.

        The standard has no name for the district but the one org of type district: its sourcedId,
        and its number, since sourcedIds of two districts may well be equal. A provider that has or
        shares no orgs gives None, which binds nothing. It is asked as patiently as for people, and
        a failure is raised: it must not let another district's roster in.
        """
        return self._district_words(patient=True)

    def same_district(self, bound: str, found: str) -> bool:
        """Compare what both say: an org that is no longer shared contradicts nothing."""
        known, new = _facets(bound), _facets(found)
        return all(known[name] == new[name] for name in known.keys() & new.keys())

    def _district_words(self, *, patient: bool) -> str | None:
        """Return ``vendor_district``; impatient, a provider that fails at it just does not tell."""
        listed = self.listed_as()
        if self._org is None:
            try:
                self._org = self._ask_org()
            except VendorFailure:
                if patient:
                    raise
                self._org = ()
        return ";".join(((_facet(listed),) if listed else ()) + self._org) or None

    def _ask_org(self) -> tuple[str, ...]:
        """Ask for the district's org; by the whole list where a filter is not understood."""
        url = with_query(f"{self.root()}/orgs", {"filter": "type='district'", "limit": 2})
        try:
            orgs = self.http().get(url, "the district", _read_orgs)
        except (CredentialsRefused, SkipRecord):  # of this collection: the others will tell
            return ()
        except StatusError as error:
            if error.http_status in (404, 405):
                return ()
            orgs = self._all_orgs()
        found = [org for org in orgs if org[0] and org[1] == "district"]
        if len(found) != 1:
            return ()
        key, _, number = found[0]
        return (f"org:{_facet(key)}", *([f"number:{_facet(number)}"] if number else []))

    def _all_orgs(self) -> list[tuple[str, str, str]]:
        """Return every org, from a server that cannot be asked for one type."""
        try:
            return [
                org_facts(raw) for rows in self.collection("orgs").pages() for raw in rows.records
            ]
        except (CredentialsRefused, StatusError, SkipRecord):
            return []

    def exists(self, keys: Iterable[str]) -> Mapping[str, bool]:
        """Ask for single users; one marked ``tobedeleted`` is not there."""
        return {key: self.single(key) is not None for key in keys}

    def single(self, key: str) -> bytes | None:
        """Return one user's raw record, or None if it is gone."""
        url = f"{self.root()}/users/{segment(key)}"
        try:
            raw = self.http().get(url, "one user", lambda answer: single_of(answer.body, "user"))
        except StatusError as error:
            if error.http_status == 404:
                return None
            raise
        try:
            return None if self.parse("users", raw).deleted else raw
        except SkipRecord:
            return raw

    def check(self) -> Iterable[Check]:
        """Try the credentials, and what is shared."""
        try:
            self.begin(FetchRequest())
            self.http()
        except RosterSyncError as error:
            yield failed_check(error)
            return
        for path in ("schools", "users", "students", "teachers"):
            yield self._shares(path)

    def _shares(self, path: str) -> Check:
        try:
            url = with_query(f"{self.root()}/{path}", {"limit": 1})
            found, total = self.http().get(url, path, partial(_read_count, path=path))
        except (Forbidden, StatusError) as error:
            return Check(path, False, f"{error.message} {error.hint}".strip())
        except RosterSyncError as error:
            return failed_check(error)
        many = f"{total} {path}" if total is not None else path if found else f"no {path}"
        return Check(path, bool(found), f"{self.vendor} shares {many}.")


def _is_closed(error: Exception) -> bool:
    """Tell whether a collection is not shared: forbidden, or not found at all."""
    cause = error.__cause__
    missing = isinstance(cause, StatusError) and cause.http_status == 404
    return isinstance(error, Forbidden) or missing


def _stamp(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def _facet(value: str) -> str:
    """Return a value in a form without separators, and short enough to keep."""
    escaped = segment(value)
    if len(escaped) <= _LONGEST_FACET:
        return escaped
    return "~" + blake2b(value.encode(), digest_size=16).hexdigest()


def _facets(words: str) -> dict[str, str]:
    """Return what ``vendor_district`` said, by name; what a vendor lists it as has none."""
    parts = (part.rpartition(":") for part in words.split(";"))
    return {name: value for name, _, value in parts}


def _read_orgs(answer: Answer) -> list[tuple[str, str, str]]:
    return [org_facts(raw) for raw in rows_of(answer.body, KEYS["orgs"])]


def _read_count(answer: Answer, path: str) -> tuple[int, int | None]:
    return len(rows_of(answer.body, KEYS[path])), answer.number("X-Total-Count")
