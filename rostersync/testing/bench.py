"""The bench that a check works at: one connector, its scenario, and readings kept for reuse."""

from __future__ import annotations

import re
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from pydantic import BaseModel, SecretStr, ValidationError

from connectors.contract.connector import (
    Capabilities,
    Certificate,
    Connector,
    ConnectorConfig,
    FetchRequest,
    Part,
    Record,
)
from connectors.contract.pacing import Clock
from connectors.http.http_connector import HttpConnector
from rostersync.testing.reading import Reading, read
from rostersync.testing.scenario import Scenario, Setting, Situation

NOT_AS_EXPECTED = "a value is not as expected"
A_FAILURE_CERTIFIED = "a failure certified complete"
"""Faults that several checks meet: the first one tells it."""


class CheckFailed(AssertionError):
    """The connector breaks the rule that the check proves."""


class Follows(CheckFailed):
    """The check failed for a reason that another check has reported already."""


def demand(fact: object, sentence: str) -> None:
    """Raise CheckFailed with the sentence unless the fact holds."""
    if not fact:
        raise CheckFailed(sentence)


class Taken(NamedTuple):
    """One situation as it was read: the reading, its setting, and the seconds it asked to wait."""

    reading: Reading
    setting: Setting
    slept: float


class Bench:
    """Sets up situations for checks, and reads them; each situation is read once and kept."""

    def __init__(self, connector: type[Connector], scenario: Scenario) -> None:
        self.connector = connector
        self.scenario = scenario
        self._taken: dict[Situation, Taken] = {}
        self.told: dict[str, str] = {}
        """Fault → the sentence of the check that told it."""

    @contextmanager
    def open(self, situation: Situation = Situation.ROSTER) -> Iterator[tuple[Connector, Setting]]:
        """Yield a connector on a vendor in that situation, and close it at the end."""
        with self.scenario.open(situation) as setting, hurried():
            connector = self.connect(setting)
            try:
                yield connector, setting
            finally:
                connector.close()

    def connect(self, setting: Setting) -> Connector:
        """Return a new connector with the setting's config, validated as the engine does it."""
        return self.connector(self.configure(setting))

    def configure(self, setting: Setting, **changes: Any) -> ConnectorConfig:
        """Return the validated config of a setting, with some fields changed."""
        try:
            return self.connector.config_model.model_validate({**setting.config, **changes})
        except ValidationError as error:
            places = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
            raise CheckFailed(f"the scenario's config is refused at: {places}") from None

    def take(self, situation: Situation = Situation.ROSTER) -> Taken:
        """Read the situation in full, or return the earlier reading of it."""
        if situation not in self._taken:
            with self.scenario.open(situation) as setting, hurried() as naps:
                reading = read(self.connect(setting), FetchRequest(directory=setting.directory))
            self._taken[situation] = Taken(reading, setting, sum(naps))
        return self._taken[situation]

    def read(self, situation: Situation = Situation.ROSTER) -> Reading:
        """Return the full reading of the situation; fail if the connector crashed on it."""
        reading = self.take(situation).reading
        if reading.crash is not None:
            crash = CheckFailed(
                f"reading {situation.value!r} raised {type(reading.crash).__name__}"
                f"{_where(reading.crash)}, which is no error of the contract: raise"
                " SkipRecord for a row, VendorFailure for the vendor"
            )
            raise self.once(crash) from reading.crash
        return reading

    def roster(self) -> Reading:
        """Return the reading of the normal roster; fail if it did not succeed."""
        reading = self.read()
        if reading.error is not None:
            raise self.once(
                CheckFailed(f"reading the roster in order failed: {reading.error}")
            ) from reading.error
        return reading

    def people(self) -> Reading:
        """Return the reading of the normal roster; fail if people lack the roles that they have."""
        reading = self.roster()
        words = sorted(
            {
                token.partition("=")[2]
                for served in reading.served
                if isinstance(served.said, Record | Part)
                for token in served.said.unknown
                if token.startswith("role=")
            }
        )
        lost = any(not user.memberships for user in reading.users) or any(
            skip.rule == "unknown-role" for skip in reading.skips
        )
        if lost and (words or reading.skips):
            named = ", ".join(repr(word) for word in words) or "a word"
            raise self.once(
                CheckFailed(
                    f"parse() maps {named} of the roster to no role, so the people who have it come"
                    " out without a role or not at all: map it first"
                )
            )
        return reading

    def certified(self) -> tuple[Reading, Certificate]:
        """Return the reading of the roster in order; fail unless it was certified complete."""
        reading = self.roster()
        certificate = reading.certificate
        if certificate is None:
            raise self.once(CheckFailed("pages() returned no Certificate: end it with one"))
        if not certificate.complete:
            raise self.once(
                CheckFailed(
                    "the roster in order was not certified complete, so that nobody could ever"
                    f" leave: {certificate.reason}"
                )
            )
        return reading, certificate

    def whole(self) -> Reading:
        """Return the reading of the roster in order; fail if somebody is missing in it."""
        self.certified()
        reading = self.people()
        rules = Counter(skip.rule for skip in reading.skips)
        if rules:
            raise self.once(CheckFailed(f"rows of the roster in order were skipped: {dict(rules)}"))
        wanted = self.scenario
        people = len({user.external_id for user in reading.users})
        if people != wanted.people:
            raise self.once(CheckFailed(f"{people} of {wanted.people} people were read"))
        schools = len({school.external_id for school in reading.schools})
        if schools != wanted.schools:
            raise self.once(CheckFailed(f"{schools} of {wanted.schools} schools were read"))
        return reading

    def once(self, root: CheckFailed, fault: str = "") -> CheckFailed:
        """Return a failure the first time, and afterwards one that only refers to it.

        One fault is one failure: what has the same ``fault`` (or, without one, says the same) was
        told already.
        """
        told = self.told.get(fault or str(root))
        if told is not None:
            return Follows(f"follows from what failed before: {told}")
        self.told[fault or str(root)] = str(root)
        return root

    @property
    def flags(self) -> Capabilities:
        """The capabilities as the connector had them once it knew its roster's format."""
        return self.roster().connector.capabilities


def _where(crash: Exception) -> str:
    """Return the line of the connector's own code that raised, as far as there is one."""
    frames = traceback.extract_tb(crash.__traceback__)
    own = [one for one in frames if not _OURS.search(one.filename)]
    return f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""


_OURS = re.compile(r"[/\\](rostersync|_?connectors|_?core|_?sync|site-packages)[/\\]|<frozen")
"""Files of the product and of libraries: an author is to look at none of them."""


@contextmanager
def hurried() -> Iterator[list[float]]:
    """Let every ``time.sleep`` return at once, and record the seconds that were asked for.

    Otherwise retries of a failing vendor would take minutes. Sleeps of less than a tenth of a
    second are left alone: somebody is polling.
    """
    naps: list[float] = []
    sleep = time.sleep

    def nap(seconds: float) -> None:
        if seconds < 0.1:
            sleep(seconds)
        else:
            naps.append(seconds)

    # Our own clients keep the clock they were made with, so theirs asks `time` each time.
    clock = Clock(sleep=lambda seconds: time.sleep(seconds))
    with patch.object(time, "sleep", nap), patch.object(HttpConnector, "clock", clock):
        yield naps


def secrets_of(model: BaseModel) -> list[str]:
    """Return every secret that a config holds, in nested models too."""
    found: list[str] = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, SecretStr):
            found.append(value.get_secret_value())
        elif isinstance(value, BaseModel):
            found += secrets_of(value)
    return [secret for secret in found if secret]


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of the contract and the function that proves it.

    ``rule`` is the function's docstring; ``unless`` says in a few words why the check does not
    apply to a connector; it is empty if it does.
    """

    name: str
    rule: str
    prove: Callable[[Bench], None]
    unless: Callable[[Bench], str]


def always(bench: Bench) -> str:
    """Apply to every connector."""
    return ""


def over_http(bench: Bench) -> str:
    """Apply to connectors that speak HTTP."""
    return "" if bench.scenario.over_http else "does not speak HTTP"


def check(
    unless: Callable[[Bench], str] = always,
) -> Callable[[Callable[[Bench], None]], Check]:
    """Make a check of a function; its docstring is the rule it proves."""

    def make(prove: Callable[[Bench], None]) -> Check:
        rule = " ".join((prove.__doc__ or "").split())
        return Check(prove.__name__, rule, prove, unless)

    return make
