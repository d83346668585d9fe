"""The conformance report: every check, its result, and the rule that it proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from connectors.contract.connector import Connector
from core.errors import RosterSyncError, UsageError
from rostersync.testing import expected
from rostersync.testing.bench import Bench, Check, CheckFailed, Follows
from rostersync.testing.checks import CHECKS
from rostersync.testing.scenario import NotSupplied, Scenario


class Outcome(StrEnum):
    """The outcome of one check."""

    PASSED = "passed"
    FAILED = "failed"
    EXEMPT = "exempt"
    NOT_APPLICABLE = "not_applicable"


@dataclass(frozen=True, slots=True)
class Result:
    """One check's outcome; ``detail`` is the sentence of a failure, the reason of an exemption."""

    check: str
    rule: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """Every check's result for one connector, in the order in which they ran."""

    connector: str
    version: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """True if no check failed."""
        return all(result.outcome is not Outcome.FAILED for result in self.results)

    def of(self, outcome: Outcome) -> tuple[Result, ...]:
        """Return the results with that outcome."""
        return tuple(result for result in self.results if result.outcome is outcome)

    def as_json(self) -> dict[str, Any]:
        """Return the report as the command line prints it with ``--json``."""
        return {
            "connector": self.connector,
            "version": self.version,
            "passed": self.passed,
            "counts": {outcome.value: len(self.of(outcome)) for outcome in Outcome},
            "checks": [
                {
                    "check": result.check,
                    "rule": result.rule,
                    "outcome": result.outcome.value,
                    "detail": result.detail,
                }
                for result in self.results
            ],
        }


def run_conformance(
    connector: type[Connector], scenario: Scenario, exempt: Mapping[str, str] | None = None
) -> Report:
    """Run every check on a connector and report; no error of a check is raised.

    ``exempt`` maps a check's name to the reason why this connector need not pass it, beside the
    scenario's own ``exempt``. An exemption of an unknown check, without a reason, or of a check
    that passes, is a failure.
    """
    bench = Bench(connector, scenario)
    reasons = {**scenario.exempt, **(exempt or {})}
    faults = tuple(
        Result(name, "An exemption names a check and gives a reason.", Outcome.FAILED, fault)
        for name, fault in exemption_faults(reasons).items()
    )
    results = tuple(judge(one, bench, reasons.get(name)) for name, one in CHECKS.items())
    return Report(connector.name, connector.version, faults + results)


def record_expected(connector: type[Connector], scenario: Scenario) -> Path:
    """Write the scenario's expected records from what the connector makes of the normal roster.

    Raise ``UsageError`` where the scenario names no file, or the roster cannot be read.
    """
    if scenario.expected is None:
        raise UsageError(
            "The scenario names no file of expected records.",
            hint="Give it expected=Path(...) and try again.",
        )
    try:
        expected.write(scenario.expected, Bench(connector, scenario).whole())
    except CheckFailed as failed:
        raise UsageError(
            f"The normal roster cannot be read, so nothing was written: {failed}",
            hint="Correct that first.",
        ) from None
    return scenario.expected


def exemption_faults(exempt: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with declared exemptions: check name → sentence."""
    faults = {name: "there is no such check" for name in exempt if name not in CHECKS}
    faults |= {
        name: "the exemption gives no reason"
        for name, reason in exempt.items()
        if len(reason.split()) < 3
    }
    return faults


def judge(one: Check, bench: Bench, reason: str | None = None) -> Result:
    """Run one check; with a ``reason`` it is exempt, which fails if it passes all the same."""
    if why := one.unless(bench):
        return Result(one.name, one.rule, Outcome.NOT_APPLICABLE, why)
    told = dict(bench.told)
    try:
        fault = _fault(one, bench)
    except Follows as follows:
        return Result(one.name, one.rule, Outcome.NOT_APPLICABLE, str(follows))
    if reason is not None:
        bench.told = told  # what an exempt check tells is told to nobody
        if fault:
            return Result(one.name, one.rule, Outcome.EXEMPT, reason)
        return Result(
            one.name, one.rule, Outcome.FAILED, "passes, so its exemption must be removed"
        )
    return Result(one.name, one.rule, Outcome.FAILED if fault else Outcome.PASSED, fault)


def _fault(one: Check, bench: Bench) -> str:
    try:
        one.prove(bench)
    except Follows:
        raise
    except (CheckFailed, NotSupplied) as failed:
        return str(failed)
    except RosterSyncError as error:
        return f"raised {type(error).__name__}: {error.message}"
    except Exception as error:  # noqa: BLE001 - a crash of the connector is a finding
        return f"raised {type(error).__name__}, which is no error of the contract"
    return ""
