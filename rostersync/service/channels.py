"""The channels of messages, and how serious a message is: a webhook is told that, too."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
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


SECONDS = 60.0
"""How long all channels of a message together may take. One that answers a byte at a time never
ends by itself."""


def by_apprise(addresses: Sequence[str], title: str, body: str, severity: Severity) -> bool:
    """Send by https://github.com/caronc/apprise: mail, Slack, Teams, a webhook (``json://``).

    Return whether one of the channels took the message in time; none holds up another.
    """
    reached: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its plugins' own affair
        import apprise  # imported late: it costs half a second

        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # an address is a secret

        def send(address: str) -> None:
            with suppress(Exception):  # whatever a channel does, the sync goes on
                channel = apprise.Apprise()
                if channel.add(address) and channel.notify(
                    body=body, title=title, notify_type=apprise.NotifyType(severity.value)
                ):
                    reached.append(address)

        senders = [threading.Thread(target=send, args=(one,), daemon=True) for one in addresses]
        for sender in senders:
            sender.start()
        until = time.monotonic() + SECONDS
        for sender in senders:
            sender.join(max(0.0, until - time.monotonic()))
        return bool(reached)
