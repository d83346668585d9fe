"""The suite that a plugin's test inherits: every check as one pytest test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from connectors.contract.connector import Connector
from rostersync.testing.bench import Bench, CheckFailed, Follows
from rostersync.testing.checks import CHECKS
from rostersync.testing.report import Outcome, exemption_faults, judge
from rostersync.testing.scenario import NotSupplied, Scenario

if TYPE_CHECKING:
    import pytest


class ConnectorSuite:
    """Every conformance check, as tests of a connector. Needs pytest.

    The whole test of a connector::

        class TestFruit(ConnectorSuite):
            connector = Fruit
            def scenario(self):
                return FolderScenario(FIXTURES, people=5, schools=2)

    ``exempt`` maps the name of a check that the connector need not pass to the reason. An exempt
    check still runs and shows as an expected failure; one that passes fails until its exemption is
    removed.
    """

    connector: ClassVar[type[Connector]]
    exempt: ClassVar[Mapping[str, str]] = {}
    _bench: ClassVar[Bench | None] = None

    def scenario(self) -> Scenario:
        """Return where the checks get their vendor from."""
        raise NotImplementedError("a suite says in scenario() where its vendor comes from")

    def bench(self) -> Bench:
        """Return the bench of this suite; its readings are shared by all its checks."""
        suite = type(self)
        if "_bench" not in suite.__dict__ or suite._bench is None:
            suite._bench = Bench(suite.connector, self.scenario())
        return suite._bench

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test of each check that applies to this connector."""
        if "rule" in metafunc.fixturenames:
            bench = self.bench()
            metafunc.parametrize(
                "rule", [name for name, one in CHECKS.items() if not one.unless(bench)]
            )

    def test_conforms(self, rule: str) -> None:
        """The connector keeps the rule."""
        import pytest

        bench = self.bench()
        one = CHECKS[rule]
        reason = {**bench.scenario.exempt, **self.exempt}.get(rule)
        if reason is None:
            try:
                one.prove(bench)
            except Follows as follows:
                pytest.skip(str(follows))
            except (CheckFailed, NotSupplied) as failed:
                raise CheckFailed(f"{one.rule}\n{self.connector.name}: {failed}") from failed
            return
        result = judge(one, bench, reason)
        if result.outcome is Outcome.EXEMPT:
            pytest.xfail(f"exempt: {result.detail}")
        raise CheckFailed(f"{rule} {result.detail}")

    def test_every_exemption_has_a_reason(self) -> None:
        """An exemption names a check that there is, and gives a reason."""
        faults = exemption_faults({**self.bench().scenario.exempt, **self.exempt})
        if faults:
            raise CheckFailed(str(faults))
