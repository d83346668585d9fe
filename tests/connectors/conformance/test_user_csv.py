"""user_csv keeps every rule of a connector that its format knows."""

from connectors.user_csv import UserCsv
from rostersync.testing import ConnectorSuite, Scenario, ours


class TestUserCsv(ConnectorSuite):
    connector = UserCsv

    def scenario(self) -> Scenario:
        return ours.user_csv()
