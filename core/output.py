"""Printing a whole text where nothing else is printed: a full or closed output is a sentence.

Used by the modules that print a page when they are run by themselves.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def print_page(text: str) -> int:
    """Print text and return the exit code: 0, or 2 with a sentence where it cannot be written."""
    try:
        if sys.stdout is None:
            raise OSError
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has read enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it
        return 0
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
        reason = os.strerror(error.errno) if error.errno else "it is closed"
        with suppress(OSError, AttributeError):
            sys.stderr.write(f"The output could not be written: {reason}. Give another place.\n")
            sys.stderr.flush()
        return 2
    return 0
