"""Secrets are given by reference, ``env:NAME`` or ``file:PATH``, and read when they are needed."""

from __future__ import annotations

import os
from pathlib import Path

from core.errors import ConfigError

HOW_TO = "Give env:NAME (an environment variable) or file:PATH (a file), never the secret itself."


def is_reference(value: object) -> bool:
    """Say whether ``value`` is a secret reference."""
    return isinstance(value, str) and value.startswith(("env:", "file:")) and len(value) > 5


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
            value = Path(where).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                f"The secret file {where} cannot be read.",
                hint="Check that it exists, is UTF-8 text and that this user may read it.",
            ) from None
        if not value:
            raise ConfigError(f"The secret file {where} is empty.", hint=HOW_TO)
        return value
    raise ConfigError("A secret is given in clear.", hint=HOW_TO)
