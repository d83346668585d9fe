"""oneroster_csv keeps every rule of a connector, in both versions of the format."""

from connectors.oneroster_csv import OneRosterCsv
from rostersync.testing import ConnectorSuite, Scenario, ours


class TestOneRosterCsv12(ConnectorSuite):
    connector = OneRosterCsv

    def scenario(self) -> Scenario:
        return ours.oneroster_csv()


class TestOneRosterCsv11(ConnectorSuite):
    connector = OneRosterCsv

    def scenario(self) -> Scenario:
        return ours.oneroster_csv_11()
