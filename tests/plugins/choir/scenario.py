"""Where the conformance checks find a choir sheet in each situation."""

from pathlib import Path

from rostersync.testing import FolderScenario


def scenario() -> FolderScenario:
    fixtures = Path(__file__).parent / "fixtures"
    return FolderScenario(fixtures, people=4, schools=0, file="choir.csv")
