"""gg4l keeps every rule of a connector, on the emulator over real HTTP."""

from connectors.gg4l import Gg4l
from rostersync.testing import ConnectorSuite, Scenario
from rostersync.testing.ours import vendors


class TestGg4l(ConnectorSuite):
    connector = Gg4l

    def scenario(self) -> Scenario:
        return vendors.gg4l()
