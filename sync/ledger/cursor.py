"""The cursor of an app that follows the applied changes: a serial, and of which history it is.

``812-5f0c2a9be1d44703`` is the serial 812 and the first digits of the chain's hash at that serial.
After a backup was restored, or in another database, the same serial stands for another change; the
hash tells. Reads only.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from core.errors import UnknownCursor, UsageError
from core.storage.schema import Plan

_DIGITS = 16
"""How many hexadecimal digits of the hash a cursor has."""
_FORM = re.compile(rf"(?P<serial>\d{{1,18}})(?:-(?P<chain>[0-9a-f]{{{_DIGITS}}}))?", re.ASCII)


def shown_cursor(serial: int, chain: bytes | None) -> str:
    """Return the cursor after a change, by the chain's hash at its plan."""
    return f"{serial}-{(chain or b'').hex()[:_DIGITS]}" if serial else "0"


def cursor_at(connection: Connection, district: Any, serial: int) -> str:
    """Return the cursor after the change with this serial, which there must be; 0: the start."""
    return shown_cursor(serial, _chain_at(connection, district, serial))


def cursor_now(connection: Connection, district: Any) -> str:
    """Return the cursor after the newest change."""
    return cursor_at(connection, district, newest_serial(connection, district))


def newest_serial(connection: Connection, district: Any) -> int:
    """Return the serial of the newest applied change of a district, 0 if there is none."""
    return int(connection.execute(_NEWEST, {"district": district.id}).scalar() or 0)


def serial_of(connection: Connection, district: Any, cursor: int | str) -> int:
    """Return the serial of a cursor, or of a bare serial, that this ledger gave.

    A bare serial says nothing of its history: it is taken if there is a change with it. Raises
    ``UnknownCursor`` for what was never given, with the cursor to go on from, and ``UsageError``.
    """
    found = _FORM.fullmatch(str(cursor).strip())
    if found is None:
        raise UsageError(
            "That is no cursor.",
            hint="Give the cursor of the last answer, such as 812-5f0c2a9be1d44703, or 0 for the"
            " start.",
        )
    serial, chain = int(found["serial"]), found["chain"]
    newest = newest_serial(connection, district)
    known = serial <= newest
    if known and chain is not None:
        known = cursor_at(connection, district, serial) == f"{serial}-{chain}"
    if not known:
        raise UnknownCursor(
            f"{district.slug} never gave this cursor: its last change has the serial {newest}."
            if serial > newest
            else f"{district.slug} never gave this cursor: its change {serial} is another one.",
            go_on_from=cursor_now(connection, district),
            district=district.slug,
        )
    return serial


def _chain_at(connection: Connection, district: Any, serial: int) -> bytes | None:
    about = {"district": district.id, "serial": serial}
    found = connection.execute(_CHAIN, about).scalar()
    return None if found is None else bytes(found)


_APPLIED = (Plan.district_id == bindparam("district"), Plan.status == "applied")
_NEWEST = select(func.max(Plan.first_serial + Plan.size) - 1).where(*_APPLIED)
_CHAIN = (
    select(Plan.chain)
    .where(
        *_APPLIED,
        Plan.first_serial <= bindparam("serial"),
        Plan.first_serial + Plan.size > bindparam("serial"),
    )
    .order_by(Plan.first_serial.desc())
    .limit(1)
)
