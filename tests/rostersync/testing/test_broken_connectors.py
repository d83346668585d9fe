"""Broken connectors: each fault is one failure, of the check that names it."""

from __future__ import annotations

import pytest

from rostersync.testing import ConnectorSuite, Outcome, Scenario, run_conformance
from tests.rostersync.testing.grove import Grove, grove_scenario
from tests.rostersync.testing.grove_mutants import SHOWS_TOO_MUCH
from tests.rostersync.testing.mutants import MUTANTS
from tests.rostersync.testing.orchard import orchard_scenario


class TestGrove(ConnectorSuite):
    connector = Grove

    def scenario(self) -> Scenario:
        return grove_scenario()


def failures(connector: type[Grove]) -> list[tuple[str, str]]:
    report = run_conformance(connector, grove_scenario())
    return [(one.check, one.detail) for one in report.of(Outcome.FAILED)]


@pytest.mark.parametrize("connector", SHOWS_TOO_MUCH, ids=lambda one: one.__name__)
def test_what_must_not_come_out_is_one_failure_that_says_where(connector: type[Grove]) -> None:
    check, words = SHOWS_TOO_MUCH[connector]
    ((failed, sentence),) = failures(connector)
    assert failed == check
    assert words in sentence


@pytest.mark.parametrize(
    "check",
    [
        "secrets_are_declared_as_secrets",  # a str for a secret
        "a_roster_in_order_is_complete",
        "a_bad_row_is_skipped_alone",
        "a_failing_vendor_is_a_vendor_failure",
    ],
)
def test_one_fault_is_one_failure(check: str) -> None:
    report = run_conformance(MUTANTS[check], orchard_scenario())
    failed = report.of(Outcome.FAILED)
    assert len(failed) == 1, [(one.check, one.detail) for one in failed]
