"""The bench that a check works at: one connector, its scenario, and readings kept for reuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest.mock import patch

from pydantic import BaseModel, SecretStr, ValidationError

from connectors.contract.connector import (
    Capabilities,
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
        self._roots: set[str] = set()

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
            raise CheckFailed(
                f"reading {situation.value!r} raised {type(reading.crash).__name__}, which is no "
                "error of the contract"
            ) from reading.crash
        return reading

    def roster(self) -> Reading:
        """Return the reading of the normal roster; fail if it did not succeed."""
        try:
            reading = self.read()
            demand(
                reading.error is None,
                f"reading the roster in order failed: {reading.error}",
            )
        except CheckFailed as root:
            raise self._once(root) from root.__cause__
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
            raise self._once(
                CheckFailed(
                    f"parse() maps no role of ours to {named} of the roster in order, so the people"
                    " who have it come out without a role or not at all: map it first"
                )
            )
        return reading

    def _once(self, root: CheckFailed) -> CheckFailed:
        """Return a failure the first time, and afterwards one that only refers to it."""
        if str(root) in self._roots:
            return Follows(f"follows from what failed before: {root}")
        self._roots.add(str(root))
        return root

    @property
    def flags(self) -> Capabilities:
        """The capabilities as the connector had them once it knew its roster's format."""
        return self.roster().connector.capabilities


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
