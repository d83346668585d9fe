"""Blame: whatever a connector raises is the failure of its source, told by place and without data.

Used wherever the engine asks a connector something. Errors that a connector may raise pass; every
other one becomes ``ConnectorFailed``, so that the other sources of a district go on (F8, F18).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from core.errors import (
    ConfigError,
    ConnectorFailed,
    CredentialsRefused,
    FileRefused,
    NothingNew,
    VendorFailure,
)
from core.machine import machine_failure

EXPECTED = (ConfigError, CredentialsRefused, FileRefused, NothingNew, VendorFailure)
"""What a connector may raise wherever it is asked (``Connector``)."""

_OF_THE_DATABASE = (OperationalError, InterfaceError, InternalError)
"""A full disk, a connection that was lost: no connector is to blame."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,79}")


@contextmanager
def blaming(connector: str, *, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn what the block raises into ``ConnectorFailed``, but for what may be raised there.

    ``connector`` is the name that the message says; ``also`` are errors that the caller waits for,
    beside ``EXPECTED``.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, (*EXPECTED, *_OF_THE_DATABASE, *also)):
            raise
        raise connector_failed(error, connector) from error


def connector_failed(error: BaseException, connector: str) -> ConnectorFailed:
    """Return a failure that says which connector failed, with what and where, and nothing more."""
    known = machine_failure(error)
    if known is not None:
        return ConnectorFailed(
            f"{known.message} That was while {connector} was read.", hint=known.hint
        )
    kind = type(error).__name__
    named = kind if _NAME.fullmatch(kind) else "an error"
    return ConnectorFailed(
        f"The connector {connector} failed by itself ({named} in {place_of(error.__traceback__)}).",
        hint="Nobody left because of it. It is a fault of the connector, not of the district:"
        " report this line as it stands. No data of the roster is in it.",
    )


def place_of(traceback: TracebackType | None) -> str:
    """Return where an error was raised: module and line, the last one that is not of a library."""
    place = "an unknown place"
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if _NAME.fullmatch(module) and not _is_library(module):
            place = f"{module}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


_LIBRARIES = frozenset({
    "msgspec", "pydantic", "pydantic_core", "psycopg", "requests", "sqlalchemy", "tenacity",
    "urllib3",
})  # fmt: skip


def _is_library(module: str) -> bool:
    top = module.partition(".")[0]
    return top in _LIBRARIES or top in sys.stdlib_module_names
