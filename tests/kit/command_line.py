"""The command line, called in this process: exit code, stdout and stderr of each call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Called(NamedTuple):
    """What one call came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Cli = Callable[..., Called]

D = "springfield"
"""The district of a ``oneroster_folder``."""


def statuses(called: Called) -> tuple[int, str]:
    """Return the exit code and the status of a call."""
    return called.code, called.document["status"]


def users(cli: Cli, *conditions: str) -> list[dict[str, Any]]:
    """Return the users that fit the conditions."""
    called = cli("users", D, *conditions, "--json")
    assert called.code == 0
    found: list[dict[str, Any]] = called.document
    return found


def synced(cli: Cli, *more: str) -> dict[str, Any]:
    """Run a sync that ends well; return what it tells."""
    called = cli("sync", D, *more, "--json")
    assert called.code == 0, called
    document: dict[str, Any] = called.document
    return document
