"""A full or closed output, or Ctrl-C, is a sentence also where a module is run by itself.

Used by every module that ``python -m`` may run, except for the command line and the service, which
have their own words.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})


def print_page(text: str) -> int:
    """Print text and return the exit code: 0, or 2 with a sentence where it cannot be written."""

    def page() -> None:
        sys.stdout.write(text)

    return told(page)


def told(main: Callable[[], int | None]) -> int:
    """Run a program that prints, and return its exit code.

    2 with a sentence where its output cannot be written, 0 if nobody reads any more, 130 after
    Ctrl-C.
    """
    if sys.stdout is None:
        return _said("The output could not be written: it is closed. Give another place.", 2)
    try:
        try:
            code = main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) or end.code is None else 1
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has read enough
        _silence()
        return 0
    except KeyboardInterrupt:
        _silence()
        return _said("Interrupted.", 130)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _silence()
        reason = os.strerror(error.errno)
        return _said(f"The output could not be written: {reason}. Give another place.", 2)
    return code or 0


def _silence() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it


def _said(sentence: str, code: int) -> int:
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
    return code
