"""The conformance suite: a connector that keeps every rule passes, one that breaks a rule fails."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from connectors.contract.connector import Certificate, Connector, FetchRequest, Page, Record
from core.errors import ConfigError, VendorFailure
from core.models import Role
from rostersync.testing import (
    CHECKS,
    ConnectorSuite,
    FolderScenario,
    NotSupplied,
    Outcome,
    Scenario,
    Situation,
    run_conformance,
    scenario_of,
)
from rostersync.testing.bench import Bench, hurried
from rostersync.testing.report import judge
from tests.plugins.choir.connector import ChoirSheet
from tests.plugins.choir.scenario import scenario as choir_scenario
from tests.rostersync.testing import file_mutants, grove_mutants  # noqa: F401 - they join MUTANTS
from tests.rostersync.testing.grove import Grove, grove_scenario
from tests.rostersync.testing.mutants import MUTANTS
from tests.rostersync.testing.orchard import TOKEN, Orchard, orchard_scenario


def scenario_for(connector: type[Connector]) -> Scenario:
    """Return the scenario of the made-up vendor that a mutant is made of."""
    if issubclass(connector, ChoirSheet):
        return choir_scenario()
    return grove_scenario() if issubclass(connector, Grove) else orchard_scenario()


FILES_ONLY = 4
"""Checks that apply to connectors which take uploads, and so not to the Orchard."""


class TestOrchard(ConnectorSuite):
    connector = Orchard

    def scenario(self) -> Scenario:
        return orchard_scenario()


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_finds_the_connector_that_breaks_its_rule(check: str) -> None:
    mutant = MUTANTS[check]
    result = judge(CHECKS[check], Bench(mutant, scenario_for(mutant)))
    assert result.outcome is Outcome.FAILED
    assert result.detail


@pytest.mark.parametrize(
    ("mutant", "words"),
    [
        (file_mutants.ExportsWithoutAddresses, "something else about people: email"),
        (file_mutants.ExportsOurIds, "4 people are not in the export"),
        (file_mutants.LeavesEverybodyOut, "leaves everybody out"),
    ],
)
def test_an_export_that_would_change_people_is_told_by_what_it_says(
    mutant: type[ChoirSheet], words: str
) -> None:
    report = run_conformance(mutant, choir_scenario())
    (failed,) = report.of(Outcome.FAILED)
    assert failed.check == "an_export_read_back_says_the_same"
    assert words in failed.detail


def test_there_are_at_least_25_checks_and_each_states_its_rule() -> None:
    assert len(CHECKS) >= 25
    assert all(one.rule.endswith(".") and len(one.rule) > 40 for one in CHECKS.values())


def test_the_report_lists_every_check_with_its_rule() -> None:
    report = run_conformance(Orchard, orchard_scenario())
    assert report.passed
    assert [result.check for result in report.results] == list(CHECKS)
    printed = report.as_json()
    assert json.loads(json.dumps(printed)) == printed
    assert printed["counts"] == {
        "passed": len(CHECKS) - FILES_ONLY, "failed": 0, "exempt": 0, "not_applicable": FILES_ONLY,
    }  # fmt: skip


def test_a_failed_check_fails_the_report_and_raises_nothing() -> None:
    report = run_conformance(MUTANTS["private_data_is_dropped"], orchard_scenario())
    assert not report.passed
    assert [result.check for result in report.of(Outcome.FAILED)] == ["private_data_is_dropped"]


def test_a_failure_never_quotes_the_data_it_is_about() -> None:
    report = run_conformance(MUTANTS["no_name_is_logged"], orchard_scenario())
    assert "Okonkwo" not in json.dumps(report.as_json())


class NewWords(Orchard):
    """A connector that knows no word for a student."""

    def parse(self, stream: str, raw: bytes) -> Record:
        record = super().parse(stream, raw)
        user = record.user
        if user is None or Role.STUDENT not in {one.role for one in user.memberships}:
            return record
        user = user.model_copy(update={"memberships": ()})
        return replace(record, user=user, unknown=(*record.unknown, "role=pupil"))


def test_a_role_word_that_is_not_mapped_is_named_once_and_not_what_follows_from_it() -> None:
    report = run_conformance(NewWords, orchard_scenario())
    failed = report.of(Outcome.FAILED)
    assert [result.check for result in failed] == ["nobody_is_lost"]
    assert "maps 'pupil' of the roster to no role" in failed[0].detail
    follow = [one for one in report.of(Outcome.NOT_APPLICABLE) if "follows from" in one.detail]
    assert {one.check for one in follow} >= {
        "memberships_point_at_served_schools", "a_student_without_email_is_read",
        "a_bad_row_is_skipped_alone",
    }  # fmt: skip
    assert all("'pupil'" in one.detail for one in follow)


class Unreachable(Orchard):
    """A connector that fails before its first page."""

    def pages(self, request: FetchRequest) -> Generator[Page, None, Certificate]:
        raise VendorFailure("Nobody answers.")
        yield


def test_a_roster_that_cannot_be_read_is_one_failure_and_not_thirty() -> None:
    report = run_conformance(Unreachable, orchard_scenario())
    told = [one for one in report.of(Outcome.FAILED) if "Nobody answers" in one.detail]
    assert [one.check for one in told] == ["pages_end_with_a_certificate"]
    follow = [one for one in report.of(Outcome.NOT_APPLICABLE) if "follows from" in one.detail]
    assert len(follow) > 10


def test_an_exempt_check_is_reported_with_its_reason() -> None:
    reason = "this vendor has no passwords at all"
    report = run_conformance(
        MUTANTS["private_data_is_dropped"],
        orchard_scenario(),
        {"private_data_is_dropped": reason},
    )
    assert report.passed
    assert [result.detail for result in report.of(Outcome.EXEMPT)] == [reason]


def test_an_exemption_without_a_reason_fails() -> None:
    report = run_conformance(
        MUTANTS["private_data_is_dropped"], orchard_scenario(), {"private_data_is_dropped": " "}
    )
    assert [result.detail for result in report.of(Outcome.FAILED)] == [
        "the exemption gives no reason"
    ]


def test_an_exemption_of_an_unknown_check_fails() -> None:
    report = run_conformance(Orchard, orchard_scenario(), {"no_such_check": "for no good reason"})
    assert [result.check for result in report.of(Outcome.FAILED)] == ["no_such_check"]


def test_an_exemption_that_is_not_needed_fails() -> None:
    report = run_conformance(Orchard, orchard_scenario(), {"parse_is_pure": "it is not pure here"})
    assert [result.check for result in report.of(Outcome.FAILED)] == ["parse_is_pure"]
    assert "must be removed" in report.of(Outcome.FAILED)[0].detail


def test_checks_of_http_do_not_apply_to_files(tmp_path: Path) -> None:
    scenario = FolderScenario(tmp_path, people=1, schools=1)
    result = judge(CHECKS["throttling_is_waited_out"], Bench(Orchard, scenario))
    assert (result.outcome, result.detail) == (Outcome.NOT_APPLICABLE, "does not speak HTTP")


def test_a_situation_that_is_not_supplied_fails_its_checks(tmp_path: Path) -> None:
    scenario = FolderScenario(tmp_path, people=1, schools=1)
    with pytest.raises(NotSupplied), scenario.open(Situation.EMPTY):
        pass
    result = judge(CHECKS["an_empty_roster_is_served_as_empty"], Bench(Orchard, scenario))
    assert result.outcome is Outcome.FAILED
    assert "supply it, or exempt the check" in result.detail


def test_a_config_that_the_connector_refuses_is_told_by_its_key() -> None:
    scenario = orchard_scenario()
    scenario._config = lambda base_url: {"base_url": base_url, "tokn": TOKEN}
    result = judge(CHECKS["nobody_is_lost"], Bench(Orchard, scenario))
    assert "token, tokn" in result.detail
    assert TOKEN not in result.detail


PYTEST = """
from tests.rostersync.testing.mutants import MUTANTS
from tests.rostersync.testing.orchard import orchard_scenario
from rostersync.testing import ConnectorSuite

class TestMutant(ConnectorSuite):
    connector = MUTANTS["private_data_is_dropped"]
    exempt = {exempt}
    def scenario(self):
        return orchard_scenario()
"""


@pytest.mark.parametrize(
    ("exempt", "outcome"),
    [
        ({}, {"failed": 1}),
        ({"private_data_is_dropped": "this vendor has none"}, {"xfailed": 1}),
        ({"private_data_is_dropped": ""}, {"xfailed": 1, "failed": 1}),
        ({"private_data_is_dropped": "it has none", "parse_is_pure": "it is not pure"},
         {"xfailed": 1, "failed": 1}),
    ],
)  # fmt: skip
def test_an_authors_four_lines_tell_failures_and_exemptions(
    pytester: pytest.Pytester, exempt: dict[str, str], outcome: dict[str, int]
) -> None:
    pytester.makepyfile(PYTEST.replace("{exempt}", repr(exempt)))
    found = pytester.runpytest_inprocess("-p", "no:xdist", "-p", "no:cacheprovider")
    counts = found.parseoutcomes()
    assert {word: counts.get(word, 0) for word in ("failed", "xfailed")} == {
        "failed": 0,
        "xfailed": 0,
        **outcome,
    }
    assert counts["passed"] == len(CHECKS) - FILES_ONLY + 1 - sum(outcome.values())


def test_a_connector_without_a_scenario_is_told_how_to_bring_one() -> None:
    with pytest.raises(ConfigError) as caught:
        scenario_of("orchard")
    assert "brings no scenario" in caught.value.message
    assert "rostersync.scenarios" in caught.value.hint


def test_long_sleeps_return_at_once_and_are_counted() -> None:
    with hurried() as naps:
        time.sleep(3600)
    assert naps == [3600]


def test_the_loopback_vendor_answers_in_every_situation() -> None:
    statuses = {}
    for situation in Situation:
        with orchard_scenario().open(situation) as setting, closing(requests.Session()) as http:
            base_url = setting.config["base_url"]
            headers = {"Authorization": f"Bearer {TOKEN}"}
            try:
                answer = http.get(f"{base_url}/people", headers=headers, timeout=5)
                statuses[situation.value] = answer.status_code
            except requests.RequestException:
                statuses[situation.value] = 0
            assert [exchange.path for exchange in setting.exchanges or ()] == ["/people"]
    assert statuses == {
        "roster": 200, "empty": 200, "truncated": 0, "bad_row": 200, "unknown_words": 200,
        "private_data": 200, "changed": 200, "cursor_lost": 200, "refused": 401,
        "throttled": 429, "failing": 500, "garbled": 200,
        "html": 200,
    }  # fmt: skip
