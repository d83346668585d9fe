"""One broken Orchard for each check of the suite: the check must find what is wrong with it.

One file, because it is one list: a mutant for each check, in the order of the checks.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Check,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Page,
    Part,
    Record,
    VendorDistrict,
)
from connectors.http.client import Action
from core.errors import ConfigError, CredentialsRefused, RosterSyncError, SkipRecord, VendorFailure
from core.models import Kind, Role
from tests.rostersync.testing.orchard import Orchard, OrchardConfig

MUTANTS: dict[str, type[Connector]] = {}
"""Check → the connector that breaks its rule and, as far as can be, no other."""

Reading = Generator[Page, None, Certificate]


def breaks(check: str) -> Any:
    def add(mutant: type[Connector]) -> type[Connector]:
        assert check not in MUTANTS, f"two mutants for {check}"
        MUTANTS[check] = mutant
        return mutant

    return add


# --------------------------------------------------------------------------- contract


@breaks("the_connector_introduces_itself")
class ShoutsItsName(Orchard):
    name = "Orchard!"


@breaks("the_streams_are_declared")
class BuildsNoUsers(Orchard):
    streams: ClassVar[Mapping[str, Kind]] = {"schools": Kind.SCHOOL, "people": Kind.SCHOOL}


@breaks("the_config_has_the_common_fields")
class ReadsContactsByDefault(Orchard):
    class Config(OrchardConfig):
        roles: tuple[Role, ...] = Field(default=tuple(Role), description="Roles to read.")

    config_model = Config


@breaks("every_config_field_is_documented")
class ExplainsNothing(Orchard):
    class Config(OrchardConfig):
        class Inner(BaseModel):
            depth: int = 3

        inner: Inner | None = Field(default=None, description="A table within.")

    config_model = Config


@breaks("unknown_config_keys_are_refused")
class TakesAnyKey(Orchard):
    class Config(OrchardConfig):
        model_config = ConfigDict(extra="ignore")

    config_model = Config


@breaks("a_config_cannot_be_changed")
class ChangesItsConfig(Orchard):
    class Config(OrchardConfig):
        model_config = ConfigDict(frozen=False)

    config_model = Config


@breaks("secrets_are_declared_as_secrets")
class KeepsItsTokenInClear(Orchard):
    class Config(OrchardConfig):
        token: str = Field(description="The token.")  # type: ignore[assignment]

    config_model = Config


# ----------------------------------------------------------------------------- roster


@breaks("pages_end_with_a_certificate")
class ReturnsNothing(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        yield from super().pages(request)
        return None  # type: ignore[return-value]


class _Certifies(Orchard):
    """Ends its reading with something else than the Orchard does."""

    more: ClassVar[dict[str, Any]] = {}

    def certificate(self, **more: Any) -> Certificate:
        return replace(super().certificate(**more), **self.more)


@breaks("a_roster_in_order_is_complete")
class NeverSure(_Certifies):
    more: ClassVar[dict[str, Any]] = {"complete": False, "reason": "One never knows."}


@breaks("nobody_is_lost")
class LosesTheLastPage(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        *first, _ = super().pages(request)
        yield from first
        return self.certificate()


@breaks("no_record_is_served_twice")
class ServesAPageTwice(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        pages = list(super().pages(request))
        yield from [*pages, pages[-1]]
        return self.certificate()


@breaks("only_declared_streams_are_served")
class ServesAnotherStream(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        schools, *people = super().pages(request)
        yield from [schools, *(replace(page, stream="pupils") for page in people)]
        return self.certificate()


@breaks("schools_are_served_first")
class ServesPeopleFirst(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        schools, *people = super().pages(request)
        yield from [*people, schools]
        return self.certificate()


@breaks("a_page_splits_the_same_each_time")
class SplitsByMood(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        for page in super().pages(request):
            turns = itertools.count()
            yield replace(
                page,
                split=lambda body, page=page, turns=turns: list(page.split(body))[
                    :: -1 if next(turns) % 2 else 1
                ],
            )
        return self.certificate()


@breaks("identify_agrees_with_parse")
class NamesItOtherwise(Orchard):
    def parse(self, stream: str, raw: bytes) -> Record:
        record = super().parse(stream, raw)
        return replace(record, key=record.key.upper())


@breaks("parse_is_pure")
class RemembersWhatItRead(Orchard):
    seen: ClassVar[set[bytes]] = set()

    def parse(self, stream: str, raw: bytes) -> Record:
        record = super().parse(stream, raw)
        again = raw in self.seen
        self.seen.add(raw)
        return replace(record, unknown=("times=2",)) if again else record


@breaks("equal_gists_parse_alike")
class LeavesTheRoleOut(Orchard):
    def gist(self, stream: str, raw: bytes) -> bytes | None:
        entry = json.loads(raw)
        entry.pop("role", None)
        return json.dumps(entry).encode()


@breaks("a_page_without_some_rows_is_one_of_the_others")
class CountsItsRows(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        for page in super().pages(request):
            whole = len(page.split(page.body))
            yield replace(
                page,
                split=lambda body, page=page, whole=whole: page.split(body)[
                    : 99 if len(page.split(body)) == whole else 0
                ],
            )
        return self.certificate()


@breaks("two_readings_are_byte_identical")
class StampsEachPage(Orchard):
    stamps = itertools.count()

    def pages(self, request: FetchRequest) -> Reading:
        for page in super().pages(request):
            stamp = f'{{"read":{next(self.stamps)},'.encode()
            yield replace(page, body=page.body.replace(b"{", stamp, 1))
        return self.certificate()


@breaks("a_record_is_a_user_or_a_school")
class SaysNothing(Orchard):
    def parse(self, stream: str, raw: bytes) -> Record:
        return replace(super().parse(stream, raw), user=None)


class _Person(Orchard):
    """Reads people otherwise than the Orchard does."""

    def changes(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def person(self, key: str, entry: Mapping[str, Any], **more: Any) -> Record:
        return super().person(key, entry, **self.changes(entry))


@breaks("memberships_point_at_served_schools")
class PointsNowhere(_Person):
    def changes(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        return {"memberships": ({"role": "student", "school": "s9"},)}


@breaks("a_student_without_email_is_read")
class InventsAddresses(_Person):
    def changes(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        return {"email": entry.get("email") or "none@springfield.example"}


@breaks("names_keep_their_letters")
class MisreadsUnicode(_Person):
    def changes(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        return {"given_name": entry["given"].encode().decode("latin-1")}


@breaks("every_record_can_be_shown_as_fields")
class HasNoFields(Orchard):
    def fields(self, stream: str, raw: bytes) -> Mapping[str, Any]:
        return {}


@breaks("declared_totals_are_true")
class DeclaresTooMany(Orchard):
    def certificate(self, **more: Any) -> Certificate:
        return super().certificate(**{**more, "declared": {"people": 6}})


@breaks("vendor_times_know_their_zone")
class KnowsNoZone(_Certifies):
    more: ClassVar[dict[str, Any]] = {"vendor_time": datetime(2025, 9, 1)}  # noqa: DTZ001 - that is the fault


@breaks("an_empty_roster_is_served_as_empty")
class CannotBelieveIt(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        for page in super().pages(request):
            if page.body == b"[]":
                raise ConfigError("There is nobody.")
            yield page
        return self.certificate()


@breaks("close_may_be_called_twice")
class ClosesOnce(Orchard):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise ValueError("closed already")
        self.closed = True
        super().close()


@breaks("a_reading_may_be_dropped")
class GoesOnWhereItStopped(Orchard):
    places: ClassVar[dict[object, int]] = {}

    def pages(self, request: FetchRequest) -> Reading:
        place = getattr(self.config, "base_url", "")
        for number, page in enumerate(super().pages(request)):
            if number >= self.places.get(place, 0):
                self.places[place] = number + 2
                yield page
        self.places.pop(place)
        return self.certificate()


# ---------------------------------------------------------------------------- privacy


@breaks("secrets_are_never_shown")
class LogsItsToken(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        logging.getLogger("orchard").debug("using %s", self.config.token.get_secret_value())  # type: ignore[attr-defined]
        return (yield from super().pages(request))


@breaks("errors_show_no_secret")
class QuotesItsToken(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        try:
            return (yield from super().pages(request))
        except CredentialsRefused:
            token: SecretStr = self.config.token  # type: ignore[attr-defined]
            raise CredentialsRefused(f"Refused: {token.get_secret_value()}") from None


@breaks("no_name_is_logged")
class LogsNames(Orchard):
    def person(self, key: str, entry: Mapping[str, Any], **more: Any) -> Record:
        logging.getLogger("orchard").debug("read %s %s", entry["given"], entry["family"])
        return super().person(key, entry, **more)


@breaks("certificates_name_nobody")
class NotesNames(_Certifies):
    more: ClassVar[dict[str, Any]] = {"notes": ("Rosa Castellanos came last.",)}


@breaks("a_bad_row_is_skipped_alone")
class GivesUpAtABadRow(Orchard):
    def identify(self, stream: str, raw: bytes) -> str:
        return str(json.loads(raw)["id"])


class _Skips(Orchard):
    """Skips a bad row in other words than the Orchard does."""

    def skip(self, raw: bytes) -> SkipRecord:
        raise NotImplementedError

    def identify(self, stream: str, raw: bytes) -> str:
        try:
            return super().identify(stream, raw)
        except SkipRecord:
            raise self.skip(raw) from None


@breaks("a_skip_says_what_to_repair")
class SkipsWithoutAColumn(_Skips):
    def skip(self, raw: bytes) -> SkipRecord:
        return SkipRecord("A row is bad.", rule="bad")


@breaks("a_skip_names_nobody")
class SkipsByName(_Skips):
    def skip(self, raw: bytes) -> SkipRecord:
        return SkipRecord(f"{json.loads(raw)['given']} is bad.", rule="bad", column="id")


@breaks("unknown_words_are_tolerated_and_counted")
class DropsUnknownRoles(Orchard):
    def person(self, key: str, entry: Mapping[str, Any], **more: Any) -> Record:
        return replace(super().person(key, entry), unknown=())


@breaks("private_data_is_dropped")
class KeepsPasswords(_Person):
    def changes(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        return {"username": entry.get("password")}


# ----------------------------------------------------------------------------- faults


class _Swallows(Orchard):
    """Takes a vendor's failure for the end of the roster."""

    end = Certificate(complete=True, cursor={"serial": 7})

    def pages(self, request: FetchRequest) -> Reading:
        try:
            return (yield from super().pages(request))
        except RosterSyncError:
            return self.end


for _check in (
    "a_truncated_roster_is_never_complete",
    "a_failing_vendor_is_a_vendor_failure",
    "bad_json_is_a_vendor_failure",
    "a_page_of_html_is_a_vendor_failure",
    "refused_credentials_are_told_apart",
):
    breaks(_check)(_Swallows)


@breaks("an_incomplete_reading_says_why")
class GivesNoReason(_Swallows):
    end = Certificate(complete=False)


@breaks("throttling_is_waited_out")
class DoesNotWait(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        for _ in range(3):
            try:
                return (yield from super().pages(request))
            except VendorFailure:
                continue
        return self.certificate()

    def client(self, *args: Any, **more: Any) -> Any:
        return super().client(*args, **{**more, "statuses": {429: Action.FAIL}})


@breaks("a_failing_vendor_is_given_up")
class NeverGivesUp(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        for _ in range(9):
            try:
                return (yield from super().pages(request))
            except VendorFailure:
                continue
        raise VendorFailure("The Orchard failed.")


@breaks("check_tells_a_refusal")
class ChecksLoudly(Orchard):
    def check(self) -> Iterable[Check]:
        self.ask("/district")
        return [Check("reach", True, "The Orchard answers.")]


# -------------------------------------------------------------------------- abilities


@breaks("what_works_is_promised")
class HidesAnAbility(Orchard):
    capabilities = Capabilities(incremental=True, skips_unchanged=True, discovery=True)


@breaks("single_ids_can_be_asked_for")
class FindsEverybody(Orchard):
    def exists(self, keys: Iterable[str]) -> Mapping[str, bool]:
        return dict.fromkeys(keys, True)


@breaks("districts_can_be_listed")
class ListsNoDistrict(Orchard):
    @classmethod
    def districts(cls, config: ConnectorConfig) -> Sequence[VendorDistrict]:
        return []


@breaks("joined_rows_make_people")
class ServesPartsUnannounced(Orchard):
    def parse(self, stream: str, raw: bytes) -> Record | Part:  # type: ignore[override]
        key = self.identify(stream, raw)
        return Part(owner=key, key=key, data=json.loads(raw))

    def combine(self, owner: str, parts: Sequence[tuple[str, Part]]) -> Record | None:
        stream = parts[0][0]
        return Orchard.parse(self, stream, json.dumps(parts[0][1].data).encode())


@breaks("cursors_come_with_incremental_fetches")
class ForgetsItsCursor(_Certifies):
    more: ClassVar[dict[str, Any]] = {"cursor": None}


@breaks("an_unchanged_roster_is_skipped")
class ReadsItAllTheSame(Orchard):
    def pages(self, request: FetchRequest) -> Reading:
        return (yield from super().pages(replace(request, revision=None)))


@breaks("check_changes_nothing")
class ChecksInVain(Orchard):
    def check(self) -> Iterable[Check]:
        return [Check("reach", False, "Nothing works.")]
