"""clever_csv keeps every rule of a connector."""

from connectors.clever_csv import CleverCsv
from rostersync.testing import ConnectorSuite, Scenario, ours


class TestCleverCsv(ConnectorSuite):
    connector = CleverCsv

    def scenario(self) -> Scenario:
        return ours.clever_csv()
