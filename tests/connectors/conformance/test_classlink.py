"""classlink keeps every rule of a connector, on the emulator over real HTTP."""

from connectors.classlink import ClassLink
from rostersync.testing import ConnectorSuite, Scenario
from rostersync.testing.ours import vendors


class TestClassLink(ConnectorSuite):
    connector = ClassLink

    def scenario(self) -> Scenario:
        return vendors.classlink()
