"""The command line: a thin door on the public Python API, one file a room.

Rooms import what is heavy inside their commands, so that ``rostersync --help`` starts at once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with the exit code of the outside contract."""
    from rostersync.cli.app import run

    sys.exit(run(sys.argv[1:]))
