"""finra_flex keeps every rule of a connector that its format knows."""

from connectors.finra_flex import FinraFlex
from rostersync.testing import ConnectorSuite, Scenario, ours


class TestFinraFlex(ConnectorSuite):
    connector = FinraFlex

    def scenario(self) -> Scenario:
        return ours.finra_flex()
