"""clever keeps every rule of a connector, on the emulator over real HTTP."""

from connectors.clever.connector import Clever
from rostersync.testing import ConnectorSuite, Scenario
from rostersync.testing.ours import vendors


class TestClever(ConnectorSuite):
    connector = Clever

    def scenario(self) -> Scenario:
        return vendors.clever()
