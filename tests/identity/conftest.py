"""What the tests of identity share: the command line in this process."""

from tests.cli.conftest import cli

__all__ = ["cli"]
