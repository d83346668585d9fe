"""A full or closed output, or Ctrl-C, is a sentence also where a module is run by itself.

Used by every module that ``python -m`` may run, except for the command line and the service, which
have their own words.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

UNSEEN: dict[int, str] = dict.fromkeys(
    (
        *range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F),
        *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080),
    ),
    "\ufffd",
)  # fmt: skip
"""Control characters, line breaks of every kind, and what changes the writing direction."""

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
        return said("The output could not be written: it is closed. Give another place.", 2)
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
        return said("Interrupted.", 130)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        _silence()
        reason = os.strerror(error.errno)
        return said(f"The output could not be written: {reason}. Give another place.", 2)
    return code or 0


def _silence() -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the interpreter flushes it


def said(sentence: str, code: int) -> int:
    """Say a sentence on stderr, if anybody listens, and return the exit code as it is."""
    try:
        sys.stderr.write(f"{sentence.translate(UNSEEN)}\n")
        sys.stderr.flush()
    except (OSError, AttributeError):  # nobody does; the interpreter would try once more
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    return code
