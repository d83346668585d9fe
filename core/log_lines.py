"""What ``--verbose`` shows: each step on stderr, as text or as JSON lines.

Used by the command line and by the processes that the service starts. Only our own loggers are
heard: libraries log addresses and statements, so they stay silent.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum

from core.errors import UsageError
from core.steps import ROOT

VARIABLE = "ROSTERSYNC_LOG"


class LogFormat(StrEnum):
    """How the steps are written."""

    TEXT = "text"
    JSON = "json"


def asked_for() -> LogFormat | None:
    """Return what ``ROSTERSYNC_LOG`` asks for. Raises ``UsageError`` for another word."""
    word = os.environ.get(VARIABLE, "")
    if not word:
        return None
    try:
        return LogFormat(word)
    except ValueError:
        raise UsageError(
            f"{VARIABLE} is neither text nor json.", hint=f"Set {VARIABLE}=text, or unset it."
        ) from None


@contextmanager
def shown(wanted: LogFormat | None) -> Iterator[None]:
    """Show the steps on stderr while the context lasts; None: show nothing."""
    if wanted is None:
        yield
        return
    log = logging.getLogger(ROOT)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if wanted is LogFormat.JSON else _TextLines())
    level, passes_on = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False  # what another handler hears, it would show a second time
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = passes_on


def _room(record: logging.LogRecord) -> str:
    return record.name.removeprefix(f"{ROOT}.")


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return ``TIME ROOM STEP name=value …``."""
        return f"{_time(record)} {_room(record)}: {record.getMessage()}"


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one JSON object: ``at``, ``room``, ``step``, and the facts of the step."""
        import msgspec

        said = {"at": _time(record), "room": _room(record)}
        step = getattr(record, "step", None)
        if step is None:
            said |= {"level": record.levelname.lower(), "message": record.getMessage()}
        else:
            said |= {"step": step, **record.__dict__["facts"]}
        return msgspec.json.encode(said).decode()
