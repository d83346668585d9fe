"""The channels of messages, and how serious a message is: a webhook is told that, too."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How serious a message is; a webhook gets it as ``type``."""

    INFO = "info"
    SUCCESS = "success"
    """Something that was told before is over."""
    WARNING = "warning"
    """Somebody should look at it."""
    FAILURE = "failure"
    """Something does not work."""


_FAILURES = frozenset({"failed", "uploads"})
_WARNINGS = frozenset({"held", "drifted", "edited", "grace", "waiting"})


def severity_of(topic: str, state: Any) -> Severity:
    """Return how serious it is that a topic has this state."""
    kind = topic.partition(":")[0]
    if kind in ("source", "stale"):
        if state in ("ok", False):
            return Severity.SUCCESS
        return Severity.FAILURE if kind == "source" else Severity.WARNING
    if kind in _FAILURES:
        return Severity.FAILURE
    return Severity.WARNING if kind in _WARNINGS else Severity.INFO


def by_apprise(addresses: Sequence[str], title: str, body: str, severity: Severity) -> bool:
    """Send by https://github.com/caronc/apprise: mail, Slack, Teams, a webhook (``json://``)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its plugins' own affair
        import apprise  # imported late: it costs half a second

        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # an address is a secret
        reached = False
        for address in addresses:
            channel = apprise.Apprise()
            if channel.add(address) and channel.notify(
                body=body, title=title, notify_type=apprise.NotifyType(severity.value)
            ):
                reached = True
    return reached
