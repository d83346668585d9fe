"""Secrets are given by reference, ``env:NAME`` or ``file:PATH``, and read when they are needed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from core.errors import ConfigError

HOW_TO = "Give env:NAME (an environment variable) or file:PATH (a file), never the secret itself."


def is_reference(value: object) -> bool:
    """Say whether ``value`` is a secret reference."""
    return isinstance(value, str) and value.startswith(("env:", "file:")) and len(value) > 5


LARGEST = 1 << 20
"""Bytes of a secret, a key or a district file: a thousand times what anybody writes."""


def read_small_file(path: Path, largest: int = LARGEST) -> bytes:
    """Return what is in a plain file; a pipe is not waited for, and a device never read.

    Raises ``OSError``; ``ValueError`` for what is no plain file, or is too large.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no plain file")
        found = file.read(largest + 1)
    if len(found) > largest:
        raise ValueError("it is too large")
    return found


def read_secret(reference: str) -> str:
    """Return the secret that ``reference`` points at. Raises ``ConfigError``; never echoes it."""
    kind, _, where = reference.partition(":")
    if kind == "env":
        value = os.environ.get(where, "")
        if not value:
            raise ConfigError(
                f"The environment variable {where} is not set or empty.",
                hint=f"Set {where} for this command and for the service that runs it.",
            )
        return value
    if kind == "file":
        try:
            value = read_small_file(Path(where)).decode().strip()
        except (OSError, ValueError):
            raise ConfigError(
                f"The secret file {where} cannot be read.",
                hint="Check that it is a file of UTF-8 text and that this user may read it.",
            ) from None
        if not value:
            raise ConfigError(f"The secret file {where} is empty.", hint=HOW_TO)
        return value
    raise ConfigError("A secret is given in clear.", hint=HOW_TO)
