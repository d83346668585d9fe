"""Our own connectors run the same suite as everybody's, and hide no exemption."""

from __future__ import annotations

from connectors.installed import installed, load
from rostersync.testing import CHECKS, Outcome, run_conformance, scenario_of

OURS = [entry.name for entry in installed() if entry.distribution == "rostersync"]


def test_each_of_our_connectors_brings_a_scenario() -> None:
    assert len(OURS) >= 7
    assert all(scenario_of(name).people for name in OURS)


def test_these_are_all_the_exemptions_of_ours() -> None:
    exempt = {name: set(scenario_of(name).exempt) for name in OURS if scenario_of(name).exempt}
    assert exempt == {
        "finra_flex": {
            "a_bad_row_is_skipped_alone",
            "a_skip_names_nobody",
            "a_skip_says_what_to_repair",
            "a_student_without_email_is_read",
            "private_data_is_dropped",
            "unknown_words_are_tolerated_and_counted",
        },
        "user_csv": {
            "a_student_without_email_is_read",
            "private_data_is_dropped",
            "unknown_words_are_tolerated_and_counted",
        },
    }


def test_a_connector_is_tested_by_its_name_alone() -> None:
    report = run_conformance(load("clever_csv"), scenario_of("clever_csv"))
    assert report.passed
    assert len(report.results) == len(CHECKS)
    assert {result.detail for result in report.of(Outcome.NOT_APPLICABLE)} == {
        "does not speak HTTP",
        "does not claim to read incrementally",
        "has no secrets",
        "does not claim to read single ids",
        "does not claim to list districts",
        "does not claim to skip an unchanged roster",
    }
