"""Broken Groves: the faults that a suite once called green, each with the check that names it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Generator
from dataclasses import replace

from rostersync import Certificate, CursorLost, FetchRequest, Page, VendorFailure, VendorHttp
from rostersync.testing import CANARY
from tests.rostersync.testing.grove import SECRET, Grove, entries
from tests.rostersync.testing.mutants import breaks


class PrintsItsSecret(Grove):
    """Prints the secret while it reads."""

    def http(self) -> VendorHttp:
        print("connecting with", self.config.client_secret.get_secret_value())
        return super().http()


class WritesItsSecretToStandardError(Grove):
    """Writes the secret to standard error, before the first page."""

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        sys.stderr.write(SECRET)
        return (yield from super().pages(request))


class LogsItsAccessToken(Grove):
    """Logs the token that the vendor has issued."""

    def http(self) -> VendorHttp:
        http = super().http()
        header = http.authorizer.header("GET", self.config.base_url)
        logging.getLogger("grove").debug("asking with %s", header)
        return http


@breaks("nothing_is_printed")
class PrintsItsProgress(Grove):
    """Prints what is no secret and names nobody."""

    def http(self) -> VendorHttp:
        print("reading ...")
        return super().http()


@breaks("errors_name_nobody")
class QuotesTheVendor(Grove):
    """Repeats what a failing vendor says, which may be about a person."""

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        try:
            return (yield from super().pages(request))
        except VendorFailure as failure:
            raise VendorFailure(f"{failure.message} The record of {CANARY} is bad.") from None


class LogsFamilyNames(Grove):
    """Logs a family name alone."""

    def profile(self, entry):  # type: ignore[no-untyped-def]
        logging.getLogger("grove").info("read %s", entry["last"])
        return super().profile(entry)


@breaks("every_field_is_as_expected")
class LosesEveryAddress(Grove):
    """Reads no email address at all."""

    def profile(self, entry):  # type: ignore[no-untyped-def]
        return {**super().profile(entry), "email": None}


class SwapsTheNames(Grove):
    """Takes the given name for the family name."""

    def profile(self, entry):  # type: ignore[no-untyped-def]
        said = super().profile(entry)
        return {**said, "given_name": said["family_name"], "family_name": said["given_name"]}


class TakesTheFamilyNameForTheId(Grove):
    """Knows people by their family name."""

    def identify(self, stream: str, raw: bytes) -> str:
        key = super().identify(stream, raw)
        return str(json.loads(raw).get("last") or key)


READS_OTHERWISE = {
    LosesEveryAddress: "email of 4 people (g2, g3, g4 …)",
    SwapsTheNames: "family_name of 5 people (g1, g2, g3 …); given_name of 5 people",
    TakesTheFamilyNameForTheId: "people are missing under their ids (g1, g2, g3 …); 5 people have",
}
"""The broken connector → words of the one failure, which quotes no value."""


@breaks("only_changes_are_asked_for")
class NeverSendsSince(Grove):
    """Takes the cursor, and asks for everybody."""

    def params(self, since: str | None) -> dict[str, str | int]:
        return {}


@breaks("people_who_are_gone_are_told")
class DropsDeletions(Grove):
    """Skips whatever the vendor marks as deleted."""

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        pages = super().pages(request)
        while True:
            try:
                page = next(pages)
            except StopIteration as end:
                certificate: Certificate = end.value
                return certificate
            kept = [one for one in json.loads(page.body) if not one.get("deleted")]
            yield replace(page, body=json.dumps(kept).encode())


@breaks("the_cursor_moves_on")
class KeepsItsCursor(Grove):
    """Returns the cursor that it was given."""

    def certificate(self, as_of: str, since: str | None) -> Certificate:
        return super().certificate(since or as_of, since)


@breaks("changes_come_to_what_a_full_reading_says")
class ReadsTheFirstPageOfChanges(Grove):
    """Stops after one page of changes."""

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        if request.cursor is None:
            return (yield from super().pages(request))
        since = str(request.cursor["as_of"])
        page = self.ask(self.http(), "people", since, None)
        yield Page("people", page["body"], entries)
        return self.certificate(page["as_of"], since)


@breaks("a_lost_cursor_is_told")
class TakesALostCursorForAFailure(Grove):
    """Lets the status of a lost cursor out as a failure of the vendor."""

    def ask(self, http: VendorHttp, *asked):  # type: ignore[no-untyped-def]
        try:
            return super().ask(http, *asked)
        except CursorLost as lost:
            raise VendorFailure("The Grove answered with status 410.") from lost


READS_CHANGES_OTHERWISE = {
    NeverSendsSince: ("only_changes_are_asked_for", "send the cursor's place to the vendor"),
    DropsDeletions: ("people_who_are_gone_are_told", "1 of 1 people who are gone were not told"),
    KeepsItsCursor: ("the_cursor_moves_on", "return where this reading ended"),
    ReadsTheFirstPageOfChanges: ("changes_come_to_what_a_full_reading_says", "1 new people"),
    TakesALostCursorForAFailure: ("a_lost_cursor_is_told", "raised IncompleteFetch: raise Cu"),
}
"""The broken connector → the one check that fails, and words of its sentence."""

SHOWS_TOO_MUCH = {
    PrintsItsSecret: ("secrets_are_never_shown", "secret of the config is shown in the standard"),
    WritesItsSecretToStandardError: ("secrets_are_never_shown", "standard output or standard err"),
    LogsItsAccessToken: ("secrets_are_never_shown", "token that the vendor issued is shown in the"),
    PrintsItsProgress: ("nothing_is_printed", "use logging"),
    QuotesTheVendor: ("errors_name_nobody", "leave the body out"),
    LogsFamilyNames: ("no_name_is_logged", "names a person"),
}
"""The broken connector → the one check that fails, and words of its sentence."""
