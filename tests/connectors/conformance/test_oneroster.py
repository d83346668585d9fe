"""oneroster keeps every rule of a connector, in both versions, on the emulator over real HTTP."""

from connectors.oneroster import OneRoster
from rostersync.testing import ConnectorSuite, Scenario
from rostersync.testing.ours import vendors


class TestOneRoster12(ConnectorSuite):
    connector = OneRoster

    def scenario(self) -> Scenario:
        return vendors.oneroster()


class TestOneRoster11(ConnectorSuite):
    connector = OneRoster

    def scenario(self) -> Scenario:
        return vendors.oneroster_11()
