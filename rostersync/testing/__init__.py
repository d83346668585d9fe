"""The conformance suite: what every connector must do, as checks that an author inherits.

A plugin's whole test is a subclass of ``ConnectorSuite`` with a connector and a scenario; the same
checks run as a program by ``run_conformance`` (``rostersync connector test NAME``). Each check is
named after what it proves, and its docstring is the rule.
"""

from rostersync.testing.bench import Check, CheckFailed
from rostersync.testing.checks import CHECKS
from rostersync.testing.installed import scenario_of
from rostersync.testing.loopback import Answer, Asked, HttpScenario, as_json
from rostersync.testing.report import Outcome, Report, Result, record_expected, run_conformance
from rostersync.testing.scenario import (
    CANARY,
    Exchange,
    FolderScenario,
    NotSupplied,
    Scenario,
    Setting,
    Situation,
)
from rostersync.testing.suite import ConnectorSuite

__all__ = [
    "CANARY",
    "CHECKS",
    "Answer",
    "Asked",
    "Check",
    "CheckFailed",
    "ConnectorSuite",
    "Exchange",
    "FolderScenario",
    "HttpScenario",
    "NotSupplied",
    "Outcome",
    "Report",
    "Result",
    "Scenario",
    "Setting",
    "Situation",
    "as_json",
    "record_expected",
    "run_conformance",
    "scenario_of",
]
