"""The command line: a thin layer over the public Python API, one file per family of commands.

Rooms import what is heavy inside their commands, so that ``rostersync --help`` starts at once.
"""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line and end the process with the exit code of the outside contract."""
    from sync.run.gc_pause import look_no_more, look_seldom

    look_seldom()
    from rostersync.cli.app import flushed, run

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # JSON is UTF-8 wherever it goes; a terminal that lacks a letter shows a question mark
            stream.reconfigure(errors="replace")
            if not stream.isatty():
                stream.reconfigure(encoding="utf-8")
    code = flushed(run(sys.argv[1:]))
    look_no_more()
    sys.exit(code)
