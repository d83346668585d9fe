"""The command line: a thin layer over the public Python API, one file per family of commands.

Rooms import what is heavy inside their commands, so that ``rostersync --help`` starts at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys


def main() -> None:
    """Run the command line and end the process with the exit code of the outside contract."""
    from sync.run.gc_pause import look_no_more, look_seldom

    look_seldom()
    _open_what_is_closed()
    from rostersync.cli.app import flushed, run
    from rostersync.cli.door import end_as_interrupted

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end_as_interrupted)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # JSON is UTF-8 wherever it goes; a terminal that lacks a letter shows a question mark
            stream.reconfigure(errors="replace")
            if not stream.isatty():
                stream.reconfigure(encoding="utf-8")
    code = flushed(run(sys.argv[1:]))
    look_no_more()
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Let output go nowhere that was closed before we began, as a service may close it."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the process ends
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        sys.stderr.write("The output is closed: what would be printed is lost.\n")
