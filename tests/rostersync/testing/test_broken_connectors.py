"""Broken connectors: each fault is one failure, of the check that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import UsageError
from rostersync.testing import (
    CHECKS,
    ConnectorSuite,
    Outcome,
    Scenario,
    record_expected,
    run_conformance,
)
from rostersync.testing.bench import Bench
from rostersync.testing.report import judge
from tests.rostersync.testing.grove import PEOPLE, Grove, grove_scenario
from tests.rostersync.testing.grove_mutants import (
    READS_CHANGES_OTHERWISE,
    READS_OTHERWISE,
    SHOWS_TOO_MUCH,
    SwapsTheNames,
)
from tests.rostersync.testing.mutants import MUTANTS
from tests.rostersync.testing.orchard import Orchard, orchard_scenario


class TestGrove(ConnectorSuite):
    connector = Grove

    def scenario(self) -> Scenario:
        return grove_scenario()


def failures(connector: type[Grove]) -> list[tuple[str, str]]:
    report = run_conformance(connector, grove_scenario())
    return [(one.check, one.detail) for one in report.of(Outcome.FAILED)]


@pytest.mark.parametrize("connector", READS_CHANGES_OTHERWISE, ids=lambda one: one.__name__)
def test_a_fault_of_incremental_reading_is_one_failure_that_names_it(
    connector: type[Grove],
) -> None:
    check, words = READS_CHANGES_OTHERWISE[connector]
    ((failed, sentence),) = failures(connector)
    assert failed == check
    assert words in sentence


@pytest.mark.parametrize("connector", SHOWS_TOO_MUCH, ids=lambda one: one.__name__)
def test_what_must_not_come_out_is_one_failure_that_says_where(connector: type[Grove]) -> None:
    check, words = SHOWS_TOO_MUCH[connector]
    ((failed, sentence),) = failures(connector)
    assert failed == check
    assert words in sentence


@pytest.mark.parametrize("connector", READS_OTHERWISE, ids=lambda one: one.__name__)
def test_a_wrong_value_is_one_failure_that_names_field_and_people(connector: type[Grove]) -> None:
    ((failed, sentence),) = failures(connector)
    assert failed == "every_field_is_as_expected"
    assert READS_OTHERWISE[connector] in sentence
    assert not any(person["last"] in sentence for person in PEOPLE)


def test_expected_records_are_written_once_and_then_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = grove_scenario()
    confirmed = scenario.expected
    assert confirmed is not None
    scenario.expected = tmp_path / "expected.json"
    check = CHECKS["every_field_is_as_expected"]
    assert "--record" in judge(check, Bench(Grove, scenario)).detail
    monkeypatch.setenv("ROSTERSYNC_RECORD", "1")
    assert judge(check, Bench(Grove, scenario)).outcome is Outcome.PASSED
    assert scenario.expected.read_text() == confirmed.read_text()
    swapped = judge(check, Bench(SwapsTheNames, scenario))
    assert swapped.outcome is Outcome.FAILED
    assert "delete expected.json" in swapped.detail, "the variable alone writes nothing anew"
    scenario.expected.write_text("[]")
    unreadable = judge(check, Bench(Grove, scenario)).detail
    assert "holds no expected records" in unreadable
    assert "delete expected.json" in unreadable
    scenario.expected.unlink()
    assert judge(check, Bench(Grove, scenario)).outcome is Outcome.PASSED, "now it is written"
    assert scenario.expected.read_text() == confirmed.read_text()
    scenario.expected = None
    assert "expected=Path" in judge(check, Bench(Grove, scenario)).detail


def test_nothing_is_recorded_of_a_roster_that_is_not_read_whole(tmp_path: Path) -> None:
    scenario = orchard_scenario()
    scenario.expected = tmp_path / "expected.json"
    with pytest.raises(UsageError, match="4 of 5 people were read"):
        record_expected(MUTANTS["nobody_is_lost"], scenario)
    assert not scenario.expected.exists()
    assert record_expected(Orchard, scenario) == scenario.expected


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
